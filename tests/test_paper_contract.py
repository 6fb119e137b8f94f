"""``balance_query`` is the paper's, ``balance_margin_query`` is ours, under either modAL."""

import copy
from functools import lru_cache

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from toy import digits, fast_classifier, fitted_classifier, fitted_net, indices_of

from modal_balance import (
    balance_margin_query,
    balance_query,
    clustered_margin_query,
    draw_hypotheses,
    margin_query,
)
from modal_balance.equivalence import all_pairs, disjoint_pairs
from modal_balance.reference.paper_estimators import eq3_scores, eq4_delta

X, y = digits()
POOL = X[-60:]
TAU = 0.02
N_SAMPLES = 10


def committee():
    return [
        LogisticRegression(max_iter=999).fit(X[:40], y[:40]),
        GaussianNB(var_smoothing=0.1).fit(X[:40], y[:40]),
        DecisionTreeClassifier(max_depth=3, random_state=0).fit(X[:40], y[:40]),
    ]


@lru_cache
def learner_of(kind):
    if kind == "classifier":
        return fitted_classifier()
    if kind == "net":
        return fitted_net()
    if kind == "forest":
        return RandomForestClassifier(8, max_depth=3, random_state=0).fit(X[:60], y[:60])
    if kind == "committee":
        return committee()
    from modAL.models import ActiveLearner, Committee

    if kind == "modAL committee":
        return Committee([ActiveLearner(member) for member in committee()])
    return ActiveLearner(fast_classifier(), X_training=X[:40], y_training=y[:40])


modal = pytest.mark.modal
KINDS = [
    "classifier",
    "net",
    "forest",
    "committee",
    pytest.param("modAL", marks=modal),
    pytest.param("modAL committee", marks=modal),
]


def edges_by_hand(proba, pairs):
    """Eq. 2: the pairs whose most probable classes differ on more than a share tau of the pool."""
    votes = proba.argmax(-1).numpy()
    ends = [[k, l] for k, l in pairs.tolist() if np.mean(votes[k] != votes[l]) > TAU]
    assert ends
    return torch.tensor(ends), torch.full((len(ends),), 1 / len(pairs), dtype=torch.float64)


def hypotheses_and_edges(kind):
    learner = learner_of(kind)
    proba = draw_hypotheses(learner, N_SAMPLES, random_state=0).predict_proba_samples(POOL)
    # Of trees and members every pair counts; draws are compared two by two.
    fixed = kind in ("forest", "committee", "modAL committee")
    pairs = all_pairs(len(proba)) if fixed else disjoint_pairs(len(proba))
    return proba.double(), *edges_by_hand(proba, pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_balance_query_picks_what_the_papers_formulas_rank_first(kind):
    proba, edges, weights = hypotheses_and_edges(kind)
    batch: list[int] = []
    for n in (1, 2, 3, 4):
        options = {"tau": TAU, "n_samples": N_SAMPLES, "random_state": 0}
        indices = indices_of(balance_query(learner_of(kind), POOL, n, **options)).tolist()
        assert indices[:-1] == batch  # greedy: each batch extends the smaller one
        if n == 1:
            values = eq3_scores(proba, edges, weights).numpy()
        else:
            free = [x for x in range(len(POOL)) if x not in batch]
            values = np.full(len(POOL), -1.0)
            for x in free:
                values[x] = eq4_delta(proba, edges, weights, [*batch, x])
        before = eq4_delta(proba, edges, weights, batch) if batch else 0.0
        gains = values - before
        # Gains equal up to float32 are ties, which the random state breaks.
        assert gains[indices[-1]] >= gains.max() * (1 - 1e-4) - 1e-12
        batch = indices


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_one_point_of_balance_margin_query_is_that_of_margin_query(kind, seed):
    twice = np.concatenate([POOL, POOL])  # every point has a tie
    options = {"n_samples": N_SAMPLES, "random_state": seed}
    ours = balance_margin_query(learner_of(kind), twice, 1, **options)
    margin = margin_query(learner_of(kind), twice, 1, **options)
    assert np.array_equal(
        np.concatenate(np.atleast_2d(ours)), np.concatenate(np.atleast_2d(margin))
    )


def test_tau_is_asked_for_only_where_an_edge_can_matter():
    forest = learner_of("forest")  # no out-of-bag error: tau is unknown
    balance_margin_query(forest, POOL, 1, random_state=0)
    low = balance_margin_query(forest, POOL, 5, cut_share=0, random_state=0)[0]
    assert low.tolist() == clustered_margin_query(forest, POOL, 5, random_state=0)[0].tolist()
    for strategy, n in ((balance_margin_query, 2), (balance_query, 1)):
        with pytest.raises(ValueError, match="tau is unknown.*oob_score"):
            strategy(forest, POOL, n, random_state=0)
    with pytest.raises(ValueError, match=r"tau must lie in \[0, 1\]"):  # checked all the same
        balance_margin_query(forest, POOL, 1, tau=2)


@pytest.mark.parametrize("strategy", [balance_query, balance_margin_query])
def test_reports_say_which_points_the_objective_chose(strategy):
    reports = []
    options = {"tau": TAU, "n_samples": 20, "random_state": 0, "callback": reports.append}
    indices, scores = strategy(fitted_classifier(), POOL, 8, **options)
    first = reports[0].from_objective
    assert first.dtype == bool and first[0]
    b = int(first.sum())
    assert first.tolist() == [True] * b + [False] * (8 - b)
    paper = balance_query(fitted_classifier(), POOL, 8, **options)
    assert (b == 8) == (strategy is balance_query)
    assert scores[:b] == pytest.approx(paper[1][:b])
    strategy(fitted_classifier(), POOL, 1, **options)
    assert reports[-1].from_objective.tolist() == [strategy is balance_query]
    clustered_margin_query(fitted_classifier(), POOL, 8, callback=reports.append)
    assert reports[-1].from_objective is None  # it has no objective


@pytest.mark.parametrize("strategy", [balance_query, balance_margin_query, margin_query])
def test_a_callback_that_writes_into_its_report_changes_nothing(strategy):
    def scribble(report):
        for array in (report.indices, report.scores, report.from_objective):
            if array is not None:
                array[:] = 0

    options = {"random_state": 0, "n_samples": N_SAMPLES}
    learner = copy.deepcopy(fitted_classifier())
    expected = strategy(learner, POOL, 4, **options)
    found = strategy(learner, POOL, 4, callback=scribble, **options)
    for one, other in zip(expected, found, strict=True):
        assert one.tolist() == other.tolist()
