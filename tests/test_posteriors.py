import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from toy import DIGITS, Convolution, Linear, quick, weights_of

from modal_balance import balance_query, draw_hypotheses
from modal_balance.equivalence.pairs import votes

X, y = DIGITS


def ensemble(**parameters):
    return quick(**{"posterior": "ensemble", "n_members": 4, **parameters})


def proba_of(classifier, n_samples=12, random_state=0):
    return draw_hypotheses(classifier, n_samples, random_state=random_state).predict_proba_samples(
        X
    )


def test_without_dropout_the_members_are_the_hypotheses_and_all_there_are():
    classifier = ensemble(dropout=0.0).fit(X[:60], y[:60])
    hypotheses = draw_hypotheses(classifier, 100, random_state=0)
    proba = hypotheses.predict_proba_samples(X)
    assert proba.shape == (4, 400, 10) and hypotheses.fixed
    assert len({tuple(member.ravel().tolist()) for member in proba}) == 4
    np.testing.assert_allclose(proba.mean(0), classifier.predict_proba(X), atol=1e-5)
    assert draw_hypotheses(classifier, 3, random_state=0).fixed
    # The first net is one of them.
    inputs = classifier.to_inputs(X)
    with torch.no_grad():
        first = classifier.net_.module_.eval()(inputs).softmax(1)
    assert min((member - first).abs().max().item() for member in proba) < 1e-5


def test_with_dropout_the_members_share_the_draws():
    classifier = ensemble(dropout=0.5).fit(X[:60], y[:60])
    hypotheses = draw_hypotheses(classifier, 10, random_state=0)
    assert not hypotheses.fixed
    proba = hypotheses.predict_proba_samples(X)
    assert proba.shape == (10, 400, 10)
    assert torch.equal(proba, proba_of(classifier, 10, 0))
    assert not torch.equal(proba, proba_of(classifier, 10, 1))
    assert proba_of(classifier, 2).shape == (2, 400, 10)  # fewer than members
    many = draw_hypotheses(classifier, 800, random_state=0).predict_proba_samples(X[:150]).mean(0)
    np.testing.assert_allclose(
        many, classifier.set_params(n_samples=800).predict_proba(X[:150]), atol=0.05
    )


def test_members_differ_by_more_than_dropout():
    def spread(classifier):
        vote = votes(proba_of(classifier.fit(X[:30], y[:30]), 40))
        return (vote[:, None] != vote[None]).double().mean().item()

    assert spread(ensemble(dropout=0.2)) > spread(quick(dropout=0.2))


def test_a_seed_gives_the_same_ensemble():
    fits = [ensemble().fit(X[:40], y[:40]) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    again = clone(fits[0]).fit(X[:40], y[:40])
    np.testing.assert_array_equal(again.predict_proba(X), fits[0].predict_proba(X))
    loaded = pickle.loads(pickle.dumps(fits[0]))
    np.testing.assert_array_equal(loaded.predict_proba(X), fits[0].predict_proba(X))
    assert torch.equal(proba_of(loaded), proba_of(fits[0]))


def test_members_train_with_early_stopping_where_there_are_validation_data():
    classifier = ensemble(n_members=2, dropout=0.0, n_bins=0)
    classifier.fit(X[:60], y[:60], X_val=X[60:160], y_val=y[60:160])
    assert classifier.n_validation_rows_ == 100
    error = 1 - classifier.score(X[60:160], y[60:160])
    assert classifier.validation_error_ == pytest.approx(error)
    stacked = classifier.snapshots_["layers.0.weight"]
    assert stacked.shape == (2, 64, 64) and not torch.equal(*stacked)
    assert torch.equal(stacked[0], weights_of(classifier)[0])


def test_custom_networks_can_be_members():
    images = X.reshape(-1, 1, 8, 8)
    classifier = ensemble(module=Convolution, n_steps=20).fit(images[:60], y[:60])
    assert draw_hypotheses(classifier, 8).predict_proba_samples(images[:5]).shape == (8, 5, 10)
    # Without randomness, all members are the same network.
    same = ensemble(module=Linear).fit(X[:60], y[:60])
    proba = proba_of(same)
    assert len(proba) == 4 and torch.equal(proba[0], proba[1])


def test_an_ensemble_is_queried():
    classifier = ensemble(n_members=6, dropout=0.2).fit(X[:40], y[:40])
    indices, gains = balance_query(classifier, X[40:], n_instances=5, tau=0.01, random_state=0)
    assert len(set(indices.tolist())) == 5 and (gains > 0).all()
