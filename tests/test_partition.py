from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from modal_balance import balance_scores, edges_beyond
from modal_balance.equivalence import all_pairs
from modal_balance.equivalence.partition import check_cells, farthest_first_cells, partition_edges

seeds = st.integers(0, 10**6)
taus = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.8, 1.0])


def random_votes(seed, n_hypotheses=9, n_points=20, n_classes=3, n_families=3):
    """Return votes of a few families, whose members differ from their head in some points."""
    rng = np.random.default_rng(seed)
    heads = rng.integers(n_classes, size=(n_families, n_points))
    votes = heads[rng.integers(n_families, size=n_hypotheses)]
    noise = rng.random((n_hypotheses, n_points)) < rng.choice([0, 0.1, 0.3])
    return torch.from_numpy(np.where(noise, rng.integers(n_classes, size=votes.shape), votes))


def distance_matrix(reference_votes):
    return squareform(pdist(reference_votes.numpy(), "hamming"))


def traversal_by_hand(distances, tau, first):
    """Farthest-first traversal over a full matrix of distances, in plain loops."""
    n_hypotheses = len(distances)
    centres = [first]
    while True:
        nearest = [min(distances[h][c] for c in centres) for h in range(n_hypotheses)]
        if max(nearest) <= tau:
            break
        centres.append(nearest.index(max(nearest)))
    return [
        min(range(len(centres)), key=lambda m: distances[h][centres[m]])
        for h in range(n_hypotheses)
    ], centres


# --- the traversal --------------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=seeds, tau=taus)
def test_cells_are_those_of_plain_loops(seed, tau):
    reference_votes = random_votes(seed)
    cells, centres = farthest_first_cells(reference_votes, tau, random_state=seed)
    expected = traversal_by_hand(distance_matrix(reference_votes), tau, int(centres[0]))
    assert (cells.tolist(), centres.tolist()) == expected
    assert cells.dtype == centres.dtype == torch.int64


@settings(deadline=None)
@given(seed=seeds, tau=taus)
def test_hypotheses_lie_within_tau_of_their_centre_and_centres_apart(seed, tau):
    reference_votes = random_votes(seed)
    distances = distance_matrix(reference_votes)
    cells, centres = farthest_first_cells(reference_votes, tau, random_state=seed)
    for hypothesis, cell in enumerate(cells.tolist()):
        assert distances[hypothesis, centres[cell]] <= tau
        assert distances[hypothesis, centres[cell]] == distances[hypothesis, centres].min()
    for one, other in combinations(centres.tolist(), 2):
        assert distances[one, other] > tau
    assert cells[centres].tolist() == list(range(len(centres)))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, tau=taus)
def test_no_cover_by_balls_of_half_the_radius_has_fewer_cells(seed, tau):
    reference_votes = random_votes(seed, n_hypotheses=7)
    covered = distance_matrix(reference_votes) <= tau / 2  # [centre, hypothesis]
    _, centres = farthest_first_cells(reference_votes, tau, random_state=seed)
    fewest = next(
        size
        for size in range(1, 8)
        if any(covered[list(balls)].any(0).all() for balls in combinations(range(7), size))
    )
    assert len(centres) <= fewest


@settings(deadline=None)
@given(seed=seeds)
def test_radius_zero_keeps_exactly_identical_voters_together(seed):
    reference_votes = random_votes(seed, n_points=3)
    cells, centres = farthest_first_cells(reference_votes, 0, random_state=seed)
    same_votes = (reference_votes[:, None] == reference_votes).all(-1)
    assert torch.equal(cells[:, None] == cells, same_votes)
    assert len(centres) == len(reference_votes.unique(dim=0))


@settings(deadline=None)
@given(seed=seeds)
def test_radius_one_gives_one_cell(seed):
    cells, centres = farthest_first_cells(random_votes(seed), 1, random_state=seed)
    assert cells.tolist() == [0] * 9
    assert len(centres) == 1


def test_first_centre_is_random_and_reproducible():
    reference_votes = random_votes(0)
    first = [
        int(farthest_first_cells(reference_votes, 0.2, random_state=s)[1][0]) for s in range(40)
    ]
    again = [
        int(farthest_first_cells(reference_votes, 0.2, random_state=s)[1][0]) for s in range(40)
    ]
    assert first == again
    assert set(first) == set(range(9))


def test_many_classes_are_told_apart():
    reference_votes = torch.tensor([[1, 70_000], [257, 70_000], [1, 70_000 + 65_536]])
    assert len(farthest_first_cells(reference_votes, 0, random_state=0)[1]) == 3


def test_inputs_and_the_global_random_state_are_left_alone():
    reference_votes = random_votes(0)
    copy, state = reference_votes.clone(), np.random.get_state()[1].copy()
    farthest_first_cells(reference_votes, 0.2, random_state=0)
    assert torch.equal(copy, reference_votes)
    assert (np.random.get_state()[1] == state).all()


# --- edges ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(cells=st.lists(st.integers(-2, 3), min_size=2, max_size=8))
def test_edges_join_exactly_the_pairs_in_different_cells(cells):
    edges, weights = partition_edges(torch.tensor(cells))
    pairs = list(combinations(range(len(cells)), 2))
    assert [tuple(edge) for edge in edges.tolist()] == [
        (k, l) for k, l in pairs if cells[k] != cells[l]
    ]
    assert weights.tolist() == [1 / len(pairs)] * len(edges)
    assert (edges.dtype, weights.dtype) == (torch.int64, torch.float64)


@settings(deadline=None)
@given(seed=seeds)
def test_radius_zero_gives_the_edges_of_all_pairs(seed):
    reference_votes = random_votes(seed, n_points=3)
    cells, _ = farthest_first_cells(reference_votes, 0, random_state=seed)
    expected = edges_beyond(reference_votes, all_pairs(9), 0)
    assert torch.equal(partition_edges(cells)[0], expected[0])
    assert torch.equal(partition_edges(cells)[1], expected[1])


def test_partition_edges_serve_the_scores():
    # Two families of hypotheses contradict each other on the second point only.
    proba = torch.tensor([[[0.9, 0.1], [0.9, 0.1]]] * 2 + [[[0.9, 0.1], [0.1, 0.9]]] * 2)
    cells, _ = farthest_first_cells(proba.argmax(-1), 0.25, random_state=0)
    scores = balance_scores(proba, *partition_edges(cells))
    assert scores[1] > scores[0] > 0
    assert scores.max() <= 4 / 6


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "tau", "error", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), 1.5, ValueError, "tau must lie in"),
        (torch.zeros(2, 3), 0.1, TypeError, "integers, got a tensor of torch.float32"),
        ([[0, 1]], 0.1, TypeError, "integers, got list"),
        (torch.zeros(3, dtype=torch.int64), 0.1, ValueError, "shape"),
        (torch.zeros(0, 3, dtype=torch.int64), 0.1, ValueError, "at least one hypothesis"),
        (torch.zeros(3, 0, dtype=torch.int64), 0.1, ValueError, "reference pool is empty"),
        (torch.tensor([[-1, 0]]), 0.1, ValueError, "got -1"),
    ],
)
def test_bad_votes_are_refused(votes, tau, error, message):
    with pytest.raises(error, match=message):
        farthest_first_cells(votes, tau)


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        (torch.tensor([0.0, 1.0]), TypeError, "cells must be an int64 torch tensor, got a tensor"),
        ([0, 1], TypeError, "got list"),
        (torch.zeros(2, 2, dtype=torch.int64), ValueError, r"cells must have the shape \(hyp"),
        (torch.tensor([0]), ValueError, "a pair needs at least 2"),
    ],
)
def test_bad_cells_are_refused(cells, error, message):
    with pytest.raises(error, match=message):
        partition_edges(cells)


def test_number_of_cells_must_be_that_of_the_hypotheses():
    with pytest.raises(ValueError, match=r"shape \(4,\), one cell for each hypothesis, got \(3,\)"):
        check_cells(torch.tensor([0, 1, 1]), n_hypotheses=4)
