"""What each strategy chooses, by the scores of hypotheses drawn beside it, and its options."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from toy import digits, fast_classifier, fitted_classifier

import modal_balance as mb
from modal_balance import RandomSelectionWarning, acquisition, draw_hypotheses
from modal_balance.equivalence.pairs import disjoint_pairs, edges_beyond, votes
from modal_balance.equivalence.partition import farthest_first_cells
from modal_balance.hypotheses.last_layer import last_layer_features

X, y = digits()
POOL = X[-120:]


def drawn(n_samples, rows=POOL, seed=0):
    """The predictions of the hypotheses that a strategy with this seed draws."""
    hypotheses = draw_hypotheses(fitted_classifier(), n_samples, random_state=seed)
    return hypotheses.predict_proba_samples(rows)


def best(scores, n_instances=4):
    return scores.argsort(descending=True)[:n_instances].tolist()


@pytest.mark.parametrize(
    ("strategy", "score"),
    [
        (mb.bald_query, acquisition.bald_scores),
        (mb.margin_query, acquisition.margin_scores),
        (mb.entropy_query, acquisition.entropy_scores),
        (mb.variation_ratio_query, acquisition.variation_ratio_scores),
        (mb.mean_std_query, acquisition.mean_std_scores),
    ],
)
def test_the_points_of_the_highest_scores_are_chosen(strategy, score):
    indices, scores = strategy(fitted_classifier(), POOL, 4, n_samples=30, random_state=0)
    expected = score(drawn(30))
    assert indices.tolist() == best(expected)
    assert scores == pytest.approx(expected[indices].numpy())
    other, _ = strategy(fitted_classifier(), POOL, 4, n_samples=3, random_state=0)
    assert other.tolist() == best(score(drawn(3)))


def test_margin_is_the_difference_of_the_two_largest_mean_probabilities():
    indices, _ = mb.margin_query(fitted_classifier(), POOL, 1, n_samples=30, random_state=0)
    second, first = np.sort(drawn(30).mean(0).numpy(), axis=1)[:, -2:].T
    assert indices[0] == np.argmin(first - second)


def test_epig_depends_on_the_targets():
    indices, scores = mb.epig_query(
        fitted_classifier(), POOL, 4, n_samples=30, X_target=X[:50], random_state=0
    )
    expected = acquisition.epig_scores(drawn(30), drawn(30, X[:50]))
    assert indices.tolist() == best(expected)
    whole, _ = mb.epig_query(
        fitted_classifier(), POOL, 4, n_samples=30, n_targets=10**6, random_state=0
    )
    assert whole.tolist() == best(acquisition.epig_scores(drawn(30), drawn(30)))
    few = [
        mb.epig_query(fitted_classifier(), POOL, 1, n_targets=1, random_state=s)[1].item()
        for s in (0, 0, 1)
    ]
    assert few[0] == few[1] != few[2]


def test_batchbald_is_that_of_its_batch_function():
    indices, gains = mb.batchbald_query(fitted_classifier(), POOL, 4, n_samples=12, random_state=0)
    expected, expected_gains = acquisition.batchbald_batch(drawn(12), 4)
    assert indices.tolist() == expected.tolist()
    assert gains == pytest.approx(expected_gains.numpy())
    exact = [
        mb.batchbald_query(
            fitted_classifier(), POOL, 4, n_samples=12, max_configurations=4, random_state=seed
        )[1][-1]
        for seed in (0, 0)
    ]
    assert exact[0] == exact[1] != gains[-1]  # with so few configurations it is an estimate


@pytest.mark.parametrize("strategy", [mb.power_bald_query, mb.power_balance_query])
def test_coldness_leads_from_random_to_the_best(strategy):
    options = {"tau": 0.02} if strategy is mb.power_balance_query else {}
    if strategy is mb.power_bald_query:
        scores = acquisition.bald_scores(drawn(100))
    else:
        proba = drawn(100)
        edges = edges_beyond(votes(proba), disjoint_pairs(100), 0.02)
        scores = acquisition.balance_scores(proba, *edges)
    cold, cold_scores = strategy(
        fitted_classifier(), POOL, 4, coldness=1e4, random_state=0, **options
    )
    assert cold.tolist() == best(scores)
    assert cold_scores == pytest.approx(scores[cold].numpy())
    means = [
        np.mean(
            [
                scores[
                    strategy(fitted_classifier(), POOL, 4, coldness=c, random_state=s, **options)[0]
                ].mean()
                for s in range(5)
            ]
        )
        for c in (0.0, 2.0)
    ]
    assert means[0] < means[1] < scores[cold].mean()


def test_power_balance_without_edges_is_random_and_says_so():
    with pytest.warns(RandomSelectionWarning, match="no edges"):
        indices, scores = mb.power_balance_query(
            fitted_classifier(), POOL, 5, tau=1.0, random_state=0
        )
    assert scores.tolist() == [0] * 5
    assert indices.tolist() != sorted(indices.tolist())


def test_partition_makes_edges_between_cells():
    reports = []
    indices, gains = mb.balance_query(
        fitted_classifier(),
        POOL,
        4,
        n_samples=20,
        tau=0.1,
        pairing="partition",
        random_state=0,
        callback=reports.append,
    )
    proba = drawn(20)
    state = np.random.RandomState(0)
    state.randint(np.iinfo(np.int32).max)  # the seed of the hypotheses is drawn first
    cells, _ = farthest_first_cells(votes(proba), 0.1, random_state=state)
    apart = [(k, l) for k in range(20) for l in range(k + 1, 20) if cells[k] != cells[l]]
    assert 0 < len(apart) < 190
    assert (reports[0].n_edges, reports[0].n_pairs) == (len(apart), 190)
    weights = torch.full((len(apart),), 1 / 190)
    expected, expected_gains = acquisition.balance_batch(proba, torch.tensor(apart), weights, 4)
    assert indices.tolist() == expected.tolist()
    assert gains == pytest.approx(expected_gains.numpy(), rel=1e-5)


def test_max_edges_thins_the_edges():
    for strategy, options in (
        (mb.balance_query, {"n_samples": 20, "pairing": "all"}),
        (mb.balance_query, {"n_samples": 20, "pairing": "partition"}),
    ):
        reports = []
        for max_edges in (None, 10**6, 30):
            strategy(
                fitted_classifier(), POOL, 1, tau=0.02, max_edges=max_edges, random_state=0,
                callback=reports.append, **options,
            )  # fmt: skip
        assert reports[0].n_edges == reports[1].n_edges > 30
        assert reports[2].n_edges == 30
        assert reports[2].scores[0] == pytest.approx(reports[0].scores[0], rel=0.5)


def test_badge_uses_the_features_of_the_network():
    indices, scores = mb.badge_query(fitted_classifier(), POOL, 4, random_state=0)
    expected = acquisition.badge_batch(
        *last_layer_features(fitted_classifier(), POOL), 4, random_state=0
    )
    assert indices.tolist() == expected[0].tolist()
    assert scores == pytest.approx(expected[1].numpy())


def test_coreset_keeps_away_from_labelled_points():
    classifier = fitted_classifier()
    indices, distances = mb.coreset_query(classifier, POOL, 3, X_labelled=POOL[:60], random_state=0)
    assert (indices >= 60).all()
    features = last_layer_features(classifier, POOL)[0].double()
    nearest = torch.cdist(features, features[:60]).min(1).values
    assert indices[0] == nearest.argmax()
    assert distances[0] == pytest.approx(nearest.max().item(), rel=1e-5)


@pytest.mark.modal
def test_coreset_knows_the_labelled_points_of_a_learner():
    models = pytest.importorskip("modAL.models")
    learner = models.ActiveLearner(fast_classifier(), X_training=X[:40], y_training=y[:40])
    result = mb.coreset_query(learner, POOL, 3, random_state=0)
    indices = result[0] if isinstance(result, tuple) else result
    expected, _ = mb.coreset_query(learner.estimator, POOL, 3, X_labelled=X[:40], random_state=0)
    assert indices.tolist() == expected.tolist()


COVERING = (mb.coreset_query, mb.herding_query, mb.uncertainty_herding_query)


@pytest.mark.parametrize("strategy", COVERING)
def test_a_fitted_estimator_without_its_rows_is_warned_about(strategy):
    with pytest.warns(UserWarning, match="does not keep the rows it was fitted on") as caught:
        strategy(fitted_classifier(), POOL, 2, random_state=0)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("strategy", COVERING)
@pytest.mark.parametrize("n_labelled", [0, 40])
def test_given_labelled_rows_there_is_no_warning(recwarn, strategy, n_labelled):
    known = {"X_labelled": X[:n_labelled]}
    if strategy is mb.uncertainty_herding_query and n_labelled:
        known["y_labelled"] = y[:n_labelled]
    strategy(fitted_classifier(), POOL, 2, random_state=0, **known)
    if strategy is mb.herding_query:
        strategy(None, POOL, 2, random_state=0)
        strategy(fast_classifier(), POOL, 2, random_state=0)
    assert not recwarn.list


def test_random_selection_is_uniform():
    counts = np.zeros(6)
    for seed in range(300):
        counts[mb.random_query(fitted_classifier(), POOL[:6], 2, random_state=seed)[0]] += 1
    assert counts.sum() == 600
    assert counts.min() > 70  # 100 expected, standard deviation 8


@pytest.mark.parametrize(
    "learner",
    [
        None,
        RandomForestClassifier(),
        RandomForestClassifier(3).fit(X, np.zeros(len(X))),
        LinearRegression().fit(X, y),
    ],
    ids=["none", "unfitted", "single class", "regressor"],
)
def test_random_selection_needs_no_predictions(learner):
    found = mb.random_query(learner, POOL, 5, random_state=0)[0]
    expected = mb.random_query(fitted_classifier(), POOL, 5, random_state=0)[0]
    assert found.tolist() == expected.tolist()
