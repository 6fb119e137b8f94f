from math import ceil, log2

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba
from scipy.spatial.distance import pdist, squareform

from modal_balance.equivalence.partition import farthest_first_cells
from modal_balance.reference.finite import (
    count_queries,
    ec2_scores,
    eced_scores,
    halving_thresholds,
    information_gain_scores,
    query_until_solved,
)

seeds = st.integers(0, 10**6)
many = settings(max_examples=25, deadline=None)
scores = st.sampled_from([eced_scores, ec2_scores, information_gain_scores])


def random_table(seed, *, n_hypotheses=8, n_points=7, n_classes=3):
    """Return distinct hypotheses without noise, and their cells."""
    rng = np.random.default_rng(seed)
    proba = random_proba(seed, n_hypotheses, n_points, n_classes, hard=1)
    labels = proba.argmax(-1)
    _, twin = np.unique(labels.numpy(), axis=0, return_inverse=True)
    return proba, torch.from_numpy(rng.integers(4, size=n_hypotheses))[twin.ravel()], labels


# --- the loop -------------------------------------------------------------------------------------


@many
@given(seed=seeds, truth=st.integers(0, 7), score=scores)
def test_the_cell_of_the_truth_is_found(seed, truth, score):
    proba, cells, labels = random_table(seed)
    path = query_until_solved(proba, cells, labels[truth], score)
    assert path.solved
    left = path.posterior > 0
    assert left[truth]
    assert set(cells[left].tolist()) == {int(cells[truth])}
    # The remaining hypotheses predict all labels; before the last label there were more cells.
    assert torch.equal(left, (labels == labels[truth])[:, path.queries].all(1))
    if path.queries:
        before = (labels == labels[truth])[:, path.queries[:-1]].all(1)
        assert len(cells[before].unique()) > 1
    assert len(set(path.queries)) == len(path.queries)
    assert path.posterior.sum().item() == pytest.approx(1)


@many
@given(seed=seeds, truth=st.integers(0, 7), score=scores)
def test_each_query_scores_highest_among_the_hypotheses_left(seed, truth, score):
    proba, cells, labels = random_table(seed)
    left = torch.ones(8, dtype=torch.bool)
    for point in query_until_solved(proba, cells, labels[truth], score).queries:
        found = score(proba[left], cells[left])
        assert found[point] >= found.max() - 1e-14
        left &= labels[:, point] == labels[truth, point]


@many
@given(seed=seeds, score=scores)
def test_counts_are_the_lengths_of_the_paths(seed, score):
    proba, cells, labels = random_table(seed)
    prior = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(8)))
    lengths = [
        len(query_until_solved(proba, cells, labels[truth], score, prior).queries)
        for truth in range(8)
    ]
    assert count_queries(proba, cells, score, prior).tolist() == lengths


def test_nothing_is_asked_where_there_is_one_cell():
    proba, _, labels = random_table(0)
    path = query_until_solved(proba, torch.zeros(8, dtype=torch.int64), labels[0], ec2_scores)
    assert path.queries == []
    assert path.solved


def test_twins_in_different_cells_remain_unsolved():
    proba, _, labels = random_table(0)
    proba[1] = proba[0]
    path = query_until_solved(proba, torch.arange(8), labels[0], ec2_scores)
    assert not path.solved
    assert set(path.posterior.nonzero().flatten().tolist()) == {0, 1}


def test_points_that_score_nothing_are_not_asked():
    proba, cells, labels = random_table(0)
    path = query_until_solved(
        proba, cells, labels[0], lambda proba, cells, prior: torch.zeros(proba.shape[1])
    )
    assert path.queries == []
    assert not path.solved


def test_noisy_answers_are_asked_for_until_little_probability_is_outside_one_cell():
    proba, cells = halving_thresholds(8, sigma=0.3)
    noisy = (0.9 * proba + 0.05).repeat(1, 6, 1)  # every point six times
    labels = proba[5].argmax(-1).repeat(6)
    path = query_until_solved(noisy, cells, labels, eced_scores, tolerance=0.01)
    assert path.solved
    assert 1 < len(path.queries) < 42
    assert path.posterior[cells == cells[5]].sum() >= 0.99
    # The posterior follows Bayes' rule, with the labels in any order.
    likelihood = torch.ones(8, dtype=torch.float64)
    for point in sorted(path.queries):
        likelihood *= noisy[:, point, labels[point]]
    assert torch.allclose(path.posterior, likelihood / likelihood.sum())
    assert not query_until_solved(noisy[:, :3], cells, labels[:3], eced_scores).solved


# --- the stylised example -------------------------------------------------------------------------


def test_thresholds_are_as_far_apart_as_the_paper_says():
    # On a pool of 2^9 uniform points, a point represents all points between two thresholds.
    proba, _ = halving_thresholds(8, sigma=0)
    position = 2.0 ** -np.arange(8)  # 2^(1-i) for i = 1..n
    pool = (np.arange(512) + 0.5) / 512
    on_pool = (pool <= position[:, None]).astype(int)
    between = np.searchsorted(np.sort(position), pool)  # 0: below all thresholds
    table = proba.argmax(-1).numpy()
    assert all((on_pool[:, between == 8 - 1 - j] == table[:, [j]]).all() for j in range(7))
    assert (on_pool[:, between == 0] == 1).all()
    distances = np.abs(position[:, None] - position)
    assert squareform(pdist(on_pool, "hamming")) == pytest.approx(distances)


@pytest.mark.parametrize("sigma", [0.5, 0.3, 0.1, 1 / 64])
def test_cells_are_those_of_a_traversal_that_begins_at_the_first_threshold(sigma):
    position = 2.0 ** -np.arange(10)
    votes = torch.from_numpy(((np.arange(512) + 0.5) / 512 <= position[:, None]).astype(int))
    _, cells = halving_thresholds(10, sigma)
    for seed in range(60):
        found, centres = farthest_first_cells(votes, sigma, random_state=seed)
        if centres[0] == 0:
            assert torch.equal(found[:, None] == found, cells[:, None] == cells)
            return
    raise AssertionError("no seed begins at the first threshold")


@pytest.mark.parametrize(
    ("sigma", "n_apart"), [(1, 0), (0.5, 1), (0.3, 2), (0.25, 2), (0.1, 4), (1e-9, 6), (0, 6)]
)
def test_thresholds_beyond_sigma_are_cells_of_their_own(sigma, n_apart):
    _, cells = halving_thresholds(6, sigma)
    assert cells.tolist() == [min(index, n_apart) for index in range(6)]


@pytest.mark.parametrize("sigma", [1 / 8, 1 / 64, 1 / 1024])
def test_figure_2_information_gain_needs_log_n_queries_and_equivalence_classes_do_not(sigma):
    n_apart = int(log2(1 / sigma))  # thresholds beyond sigma
    for n_hypotheses in (64, 128, 256):
        proba, cells = halving_thresholds(n_hypotheses, sigma)
        information_gain = count_queries(proba, cells, information_gain_scores)
        ec2 = count_queries(proba, cells, ec2_scores)
        # Binary search down to the hypotheses that are few and far apart ...
        assert information_gain.max() == log2(n_hypotheses)
        # ... against one query that splits them off, and a binary search among them only.
        assert ec2.max() == 1 + ceil(log2(n_apart)) <= 1 + log2(1 / sigma)
        assert ec2[n_apart:].tolist() == [1] * (n_hypotheses - n_apart)
        assert torch.equal(count_queries(proba, cells, eced_scores), ec2)


def test_identifying_the_hypothesis_needs_log_n_queries_for_every_truth():
    proba, cells = halving_thresholds(64, sigma=0)
    assert count_queries(proba, cells, information_gain_scores).tolist() == [6] * 64


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [0] * 7}, TypeError, "labels must be an int64 torch tensor, got list"),
        ({"labels": torch.zeros(7)}, TypeError, "got a tensor of torch.float32"),
        ({"labels": torch.zeros(6, dtype=torch.int64)}, ValueError, r"shape \(7,\).*got \(6,\)"),
        ({"labels": torch.full((7,), 3)}, ValueError, r"labels must lie in 0\.\.2"),
        ({"tolerance": 1.0}, ValueError, r"tolerance must lie in \[0, 1\), got 1\.0"),
        ({"cells": torch.zeros(3, dtype=torch.int64)}, ValueError, "cells must have the shape"),
        ({"prior": torch.ones(8)}, ValueError, "prior must hold probabilities"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    proba, cells, labels = random_table(0)
    arguments = {"proba": proba, "cells": cells, "labels": labels[0], "score": ec2_scores} | change
    with pytest.raises(error, match=message):
        query_until_solved(**arguments)


def test_impossible_answers_are_refused():
    proba = torch.eye(3)[torch.tensor([[0, 1], [1, 0]])]  # class 2 is never predicted
    with pytest.raises(ValueError, match="No hypothesis predicts the label 2 at point 0"):
        query_until_solved(proba, torch.tensor([0, 1]), torch.tensor([2, 2]), ec2_scores)


def test_counts_need_hypotheses_without_noise_and_a_positive_prior():
    proba, cells, _ = random_table(0)
    with pytest.raises(ValueError, match="without noise"):
        count_queries(0.9 * proba + 0.1 / 3, cells, eced_scores)
    with pytest.raises(ValueError, match="prior must be positive"):
        count_queries(proba, cells, ec2_scores, torch.tensor([1.0] + [0.0] * 7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, 0.1), "n_hypotheses=1"), ((4, -0.1), "sigma must lie"), ((4, 1.1), "sigma must lie")],
)
def test_bad_examples_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        halving_thresholds(*arguments)
