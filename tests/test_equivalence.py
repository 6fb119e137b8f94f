from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import delta_by_enumeration, random_proba
from scipy.spatial.distance import pdist
from sklearn.metrics import zero_one_loss

from modal_balance import annealed_tau, disjoint_pairs, edges_beyond
from modal_balance.equivalence import all_pairs, votes
from modal_balance.equivalence.pairs import hamming_distances, random_edges, ring_pairs


def random_votes(seed=0, n_hypotheses=6, n_points=50, n_classes=3):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(n_classes, size=(n_hypotheses, n_points)))


def test_votes_are_the_most_probable_classes():
    proba = torch.tensor([[[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    assert votes(proba).tolist() == [[1, 0], [2, 0]]


@given(seed=st.integers(0, 10**6), n_classes=st.integers(1, 400))
def test_distances_are_those_of_scipy_and_scikit_learn(seed, n_classes):
    reference_votes = random_votes(seed, n_classes=n_classes)
    distances = hamming_distances(reference_votes, all_pairs(6))
    assert distances.tolist() == pytest.approx(pdist(reference_votes.numpy(), "hamming"))
    assert distances[0].item() == pytest.approx(zero_one_loss(*reference_votes[:2].numpy()))


@given(seed=st.integers(0, 10**6))
def test_distance_is_a_metric(seed):
    distances = hamming_distances(random_votes(seed), all_pairs(6))
    square = torch.zeros(6, 6, dtype=torch.float64)
    square[tuple(all_pairs(6).T)] = distances
    square = square + square.T
    for k, l, m in combinations(range(6), 3):
        assert square[k, l] <= square[k, m] + square[m, l] + 1e-12


def test_disjoint_pairs_use_every_hypothesis_once():
    pairs = disjoint_pairs(10)
    assert pairs.shape == (5, 2)
    assert sorted(pairs.flatten().tolist()) == list(range(10))


def test_all_pairs_are_all_pairs():
    assert all_pairs(5).tolist() == [list(pair) for pair in combinations(range(5), 2)]


@given(n_hypotheses=st.integers(2, 14), n_neighbours=st.integers(1, 20))
def test_ring_pairs_are_those_of_neighbours_on_a_ring(n_hypotheses, n_neighbours):
    expected = set()
    for i in range(n_hypotheses):
        for d in range(1, n_neighbours + 1):
            expected.add(frozenset({i, (i + d) % n_hypotheses}))
    expected = sorted(sorted(pair) for pair in expected if len(pair) == 2)
    pairs = ring_pairs(n_hypotheses, n_neighbours)
    assert pairs.dtype == torch.int64
    assert pairs.is_contiguous()
    assert pairs.tolist() == expected


def test_small_and_full_rings():
    assert ring_pairs(2).tolist() == [[0, 1]]
    assert torch.equal(ring_pairs(3), all_pairs(3))
    assert torch.equal(ring_pairs(8, 4), all_pairs(8))
    assert len(ring_pairs(100, 3)) == 300


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1,), ValueError, "n_hypotheses=1: a pair needs at least 2"),
        ((2.0,), TypeError, "n_hypotheses must be an integer, got 2.0"),
        ((4, 0), ValueError, "n_neighbours must be at least 1, got 0"),
        ((4, 1.5), TypeError, "n_neighbours must be an integer, got 1.5"),
    ],
)
def test_bad_rings_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ring_pairs(*arguments)


@pytest.mark.parametrize("n_hypotheses", [0, 1, 3])
def test_odd_numbers_have_no_disjoint_pairs(n_hypotheses):
    with pytest.raises(ValueError, match=f"n_hypotheses={n_hypotheses}"):
        disjoint_pairs(n_hypotheses)


def test_one_hypothesis_has_no_pairs():
    with pytest.raises(ValueError, match="n_hypotheses=1"):
        all_pairs(1)


def test_edges_are_the_pairs_strictly_beyond_tau():
    reference_votes = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]])
    edges, weights = edges_beyond(reference_votes, all_pairs(3), 0.25)
    assert edges.tolist() == [[0, 2]]
    assert weights.tolist() == [1 / 3]  # of all pairs compared, as in the paper's 1/K


def test_no_edges_are_an_empty_set():
    edges, weights = edges_beyond(random_votes(), all_pairs(6), 1.0)
    assert edges.shape == (0, 2)
    assert weights.shape == (0,)
    assert hamming_distances(random_votes(), edges).shape == (0,)


def test_random_edges_are_a_subset_whose_weights_make_up_for_the_others():
    edges, weights = all_pairs(7), torch.arange(1.0, 22.0)
    place = {tuple(edge): i for i, edge in enumerate(edges.tolist())}
    kept, kept_weights = random_edges(edges, weights, 6, random_state=0)
    places = [place[tuple(edge)] for edge in kept.tolist()]  # of edges that are there
    assert len(set(places)) == 6
    assert kept_weights.tolist() == pytest.approx([21 / 6 * (1 + i) for i in places])
    again, _ = random_edges(edges, weights, 6, random_state=0)
    assert torch.equal(again, kept)
    assert not torch.equal(random_edges(edges, weights, 6, random_state=1)[0], kept)


@pytest.mark.parametrize("max_edges", [21, 22, 10**6])
def test_edges_that_are_few_enough_are_all_kept(max_edges):
    edges, weights = all_pairs(7), torch.rand(21)
    kept, kept_weights = random_edges(edges, weights, max_edges, random_state=0)
    assert torch.equal(kept, edges)
    assert torch.equal(kept_weights, weights)


def test_the_objective_over_random_edges_is_unbiased():
    edges = all_pairs(6)
    proba = random_proba(0, 6, 4, 3)
    weights = torch.rand(15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = delta_by_enumeration(proba, edges, weights, [0, 2])
    runs = np.array(
        [
            delta_by_enumeration(proba, *random_edges(edges, weights, 4, random_state=s), [0, 2])
            for s in range(2000)
        ]
    )
    error = runs.std() / np.sqrt(len(runs))
    assert error > 0
    assert abs(runs.mean() - exact) < 4 * error


@pytest.mark.parametrize(
    ("max_edges", "error", "message"),
    [
        (0, ValueError, "max_edges must be at least 1, got 0"),
        (2.5, TypeError, "max_edges must be an integer, got 2.5"),
    ],
)
def test_bad_numbers_of_random_edges_are_refused(max_edges, error, message):
    with pytest.raises(error, match=message):
        random_edges(all_pairs(4), torch.ones(6), max_edges)


@pytest.mark.parametrize("tau", [-0.1, 1.1, float("nan")])
def test_tau_outside_the_unit_interval_is_refused(tau):
    with pytest.raises(ValueError, match=r"tau must lie in \[0, 1\]"):
        edges_beyond(random_votes(), all_pairs(6), tau)


@pytest.mark.parametrize("tau", ["0.1", np.array([0.1]), torch.tensor(0.1), None, True])
def test_tau_that_is_no_number_is_refused(tau):
    with pytest.raises(TypeError, match=r"tau must be a number in \[0, 1\], got "):
        edges_beyond(random_votes(), all_pairs(6), tau)
    with pytest.raises(TypeError, match=r"validation_error must be a number in \[0, 1\], got "):
        annealed_tau(tau)


@pytest.mark.parametrize("tau", [0, 1, np.float32(0.5), np.int64(1)])
def test_any_real_number_will_do_for_tau(tau):
    reference_votes = random_votes()
    edges, _ = edges_beyond(reference_votes, all_pairs(6), tau)
    expected, _ = edges_beyond(reference_votes, all_pairs(6), float(tau))
    assert torch.equal(edges, expected)


def test_anything_but_votes_and_pairs_is_refused():
    proba = torch.full((6, 5, 2), 0.5)
    for wrong, error, message in (
        (proba, TypeError, r"tensor of integers, .*Pass votes\(proba\)"),
        (random_votes().numpy(), TypeError, "tensor of integers, got"),
        (random_votes()[0], ValueError, r"shape \(hypotheses, points\) with .*, got \(50,\)"),
    ):
        with pytest.raises(error, match=message):
            edges_beyond(wrong, all_pairs(6), 0.1)
    with pytest.raises(ValueError, match="pairs is empty"):
        edges_beyond(random_votes(), all_pairs(6)[:0], 0.1)


def test_an_empty_reference_pool_is_refused():
    with pytest.raises(ValueError, match="reference pool is empty"):
        edges_beyond(random_votes(n_points=0), all_pairs(6), 0.1)


def test_tau_is_annealed_with_the_error():
    assert annealed_tau(0.4) == 0.1
    assert annealed_tau(0.4, 0.5) == 0.2
    assert annealed_tau(0.0) == 0.0
    assert annealed_tau(1.0, 3.0) == 1.0


@pytest.mark.parametrize(
    ("error", "anneal", "name"),
    [
        (1.1, 0.25, "validation_error"),
        (float("nan"), 0.25, "validation_error"),
        (0.1, -1.0, "anneal"),
        (0.1, float("nan"), "anneal"),
        (0.1, float("inf"), "anneal"),
    ],
)
def test_bad_annealing_is_refused_by_name(error, anneal, name):
    with pytest.raises(ValueError, match=name):
        annealed_tau(error, anneal)


@pytest.mark.parametrize("anneal", ["x", None, [0.25], True])
def test_annealing_that_is_no_number_is_refused(anneal):
    with pytest.raises(TypeError, match="anneal must be a finite number >= 0, got "):
        annealed_tau(0.1, anneal)
