from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.metrics import zero_one_loss

from modal_balance import all_pairs, annealed_tau, disjoint_pairs, edges_beyond, votes
from modal_balance.equivalence.pairs import hamming_distances
from modal_balance.equivalence.tau import check_tau


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
    assert type(check_tau(tau)) is float
    assert check_tau(tau) == tau


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
