import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError

from modal_balance import MCDropoutClassifier, balance_query, random_query
from modal_balance.simulation import rounds, simulate

X, y = load_iris(return_X_y=True)


def untrained(seed=3):
    return MCDropoutClassifier(classes=[2, 1, 0], random_state=seed).fit_unlabelled(X)


def test_weights_are_those_of_a_new_network_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    network = untrained().net_.module_
    assert torch.equal(torch.get_rng_state(), before)
    again, other = untrained().net_.module_, untrained(seed=4).net_.module_
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])
    # As torch initialises a linear layer: uniform, up to 1 / sqrt(n_in).
    weight = network.layers[3].weight.detach()
    assert 0.99 / 8 < weight.abs().max() <= 1 / 8
    assert weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)


def test_it_predicts_by_chance_and_says_so():
    classifier = untrained()
    assert classifier.validation_error_ == pytest.approx(2 / 3)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.predict_proba(X).shape == (150, 3)
    np.testing.assert_array_equal(classifier.predict_proba(X), untrained().predict_proba(X))


def test_a_strategy_chooses_the_first_points():
    reports = []
    indices, _ = balance_query(untrained(), X, 5, random_state=0, callback=reports.append)
    assert len(set(indices.tolist())) == 5
    assert reports[0].tau == pytest.approx(0.25 * 2 / 3)


def test_fit_is_as_it_would_have_been_without():
    classifier = untrained().fit(X[::3], y[::3])
    alone = MCDropoutClassifier(classes=[2, 1, 0], random_state=3).fit(X[::3], y[::3])
    np.testing.assert_array_equal(classifier.predict_proba(X), alone.predict_proba(X))
    assert classifier.validation_error_ == alone.validation_error_


def test_the_labels_must_be_declared():
    classifier = MCDropoutClassifier()
    with pytest.raises(ValueError, match=r"classes=None.*Declare all"):
        classifier.fit_unlabelled(X)
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_a_simulation_begins_without_labels():
    settings = {"n_initial": 0, "n_instances": 20, "budget": 40, "seeds": 1}
    strategies = {"random": random_query, "other": random_query}
    for estimator in (MCDropoutClassifier(validation=None), RandomForestClassifier(5)):
        frame = simulate(estimator, X, y, strategies, **settings)
        assert frame.n_labelled.tolist() == [0, 20, 40] * 2
        first, other = (frame[frame.strategy == name] for name in strategies)
        assert first.accuracy.iloc[0] == pytest.approx(1 / 3, abs=0.01)
        assert first.accuracy.iloc[1] > 0.6
        assert first.nll.iloc[0] == pytest.approx(np.log(3))
        assert first["indices"].iloc[0] == other["indices"].iloc[0]  # herding, whoever goes on


def test_herding_goes_on_until_there_are_two_classes():
    labels = np.arange(150) >= 148
    run = rounds(RandomForestClassifier(5), X, labels, random_query, X_test=X, y_test=labels,
                 labelled=[], n_instances=1, budget=3)  # fmt: skip
    assert [len(r.labelled) for r in run] == [0, 1, 2, 3]


def test_an_untrained_network_may_choose_the_first_batch():
    frame = simulate(
        MCDropoutClassifier(validation=None), X, y, {"random": random_query},
        n_initial=0, first_batch=None, n_instances=20, budget=40, seeds=1,
    )  # fmt: skip
    assert frame.n_labelled.tolist() == [0, 20, 40]
    assert frame.accuracy.iloc[0] < 0.6 < frame.accuracy.iloc[2]


def test_a_simulation_of_an_estimator_that_needs_labels_says_so():
    with pytest.raises(ValueError, match=r"RandomForestClassifier cannot begin without labels"):
        simulate(
            RandomForestClassifier(5), X, y, {"r": random_query},
            n_initial=0, first_batch=None, seeds=1,
        )  # fmt: skip
