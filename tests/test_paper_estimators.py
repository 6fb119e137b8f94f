from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta_by_enumeration, random_proba
from scipy.stats import chisquare

from modal_balance import balance_batch, balance_scores
from modal_balance.acquisition.objective import BalanceObjective
from modal_balance.equivalence import all_pairs
from modal_balance.reference.paper_estimators import (
    _draw_labels,
    _importance_estimate,
    eq3_scores,
    eq4_delta,
    eq5_delta,
)

cases = st.builds(
    random_proba,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(2, 6),
    n_points=st.integers(4, 7),
    n_classes=st.integers(2, 3),
    hard=st.sampled_from([0.0, 0.3]),
    sharpness=st.sampled_from([0.5, 2.0, 8.0]),
)


@pytest.fixture
def one_thread():
    """Use one thread: with many small operations, threads would only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def random_edges(proba, seed):
    """A random non-empty subset of all pairs, with random weights."""
    rng = np.random.default_rng(seed)
    pairs = all_pairs(len(proba))
    pairs = pairs[torch.from_numpy(rng.permutation(len(pairs))[: rng.integers(1, len(pairs) + 1)])]
    return pairs, torch.from_numpy(rng.uniform(0.1, 1, size=len(pairs)))


def correlated_case():
    """Return certain and uncertain hypotheses, so that labels are informative of each other."""
    sure, unsure = torch.tensor([[0.98, 0.02], [0.5, 0.5]], dtype=torch.float64)
    proba = torch.stack([sure, sure, unsure, unsure])[:, None].expand(4, 3, 2)
    edges = torch.tensor([[0, 2], [1, 3]])
    return proba, edges, torch.full((2,), 0.5, dtype=torch.float64)


def closed_form(proba, edges, weights, batch):
    """Delta of a batch as the sum of its gains."""
    objective = BalanceObjective(proba, edges, weights)
    total = 0.0
    for point in batch:
        total += objective.gains()[point].item()
        objective.add(point)
    return total


# --- exact: Eq. 3 and Eq. 4 -----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_eq3_is_the_closed_form_of_single_points(proba, seed):
    edges, weights = random_edges(proba, seed)
    scores = eq3_scores(proba, edges, weights)
    assert torch.allclose(scores, balance_scores(proba, edges, weights), rtol=0, atol=1e-12)
    assert scores.tolist() == pytest.approx(
        [eq4_delta(proba, edges, weights, [point]) for point in range(proba.shape[1])], abs=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), batch_size=st.integers(1, 4))
def test_eq4_is_the_sum_over_all_configurations(proba, seed, batch_size):
    edges, weights = random_edges(proba, seed)
    batch = np.random.default_rng(seed).permutation(proba.shape[1])[:batch_size].tolist()
    assert eq4_delta(proba, edges, weights, batch) == pytest.approx(
        delta_by_enumeration(proba, edges, weights, batch), abs=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), batch_size=st.integers(1, 5))
def test_eq4_is_the_closed_form(seed, batch_size):
    proba = random_proba(seed, 5, 6, 3, sharpness=0.5)
    edges, weights = random_edges(proba, seed)
    batch = np.random.default_rng(seed).permutation(6)[:batch_size].tolist()
    assert eq4_delta(proba, edges, weights, batch) == pytest.approx(
        closed_form(proba, edges, weights, batch), abs=1e-12
    )


def test_gains_of_a_batch_sum_to_eq4():
    proba = random_proba(0, 8, 20, 4, sharpness=0.5)
    edges, weights = random_edges(proba, 0)
    indices, gains = balance_batch(proba, edges, weights, 5, random_state=0)
    assert gains.sum().item() == pytest.approx(eq4_delta(proba, edges, weights, indices), abs=1e-12)


@pytest.mark.parametrize("block", [1, 30, 2**22])
def test_blocks_of_configurations_do_not_matter(monkeypatch, block):
    proba = random_proba(0, 5, 4, 3)
    expected = eq4_delta(proba, all_pairs(5), None, [0, 1, 2])
    monkeypatch.setattr("modal_balance.reference.paper_estimators.BLOCK", block)
    assert eq4_delta(proba, all_pairs(5), None, [0, 1, 2]) == pytest.approx(expected, abs=1e-14)


# --- sampled: Eq. 5 -------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), batch_size=st.integers(1, 4))
def test_eq5_is_unbiased_when_configurations_come_from_the_joint(proba, seed, batch_size):
    # The expectation without any sampling: every configuration of the first b - 1 points.
    edges, weights = random_edges(proba, seed)
    batch = np.random.default_rng(seed).permutation(proba.shape[1])[:batch_size]
    chosen = proba[:, torch.from_numpy(batch)]
    expectation = 0.0
    for labels in product(range(proba.shape[2]), repeat=batch_size - 1):
        likelihood = np.ones(len(proba))
        for i, y in enumerate(labels):
            likelihood = likelihood * chosen[:, i, y].numpy()
        if likelihood.mean() > 0:
            one = torch.tensor([labels], dtype=torch.int64)
            estimate = _importance_estimate(chosen, edges, weights, one)
            expectation += likelihood.mean() * estimate
    exact = delta_by_enumeration(proba, edges, weights, batch.tolist())
    assert expectation == pytest.approx(exact, abs=1e-12)


def draw_jointly(proba, n_configurations, rng):
    """Draw one hypothesis, then every label from it."""
    drawn = proba.numpy()[rng.integers(len(proba), size=n_configurations)]
    below = rng.random(drawn.shape[:2] + (1,)) >= drawn.cumsum(-1)
    return torch.from_numpy(below.sum(-1))


def draw_from_marginals(proba, n_configurations, rng):
    """Draw each label from its marginal, the mistake described in the docstring."""
    marginal = proba.numpy().mean(0)
    below = rng.random((n_configurations, len(marginal), 1)) >= marginal.cumsum(-1)
    return torch.from_numpy(below.sum(-1))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("draw", "unbiased"), [(draw_jointly, True), (draw_from_marginals, False)])
def test_labels_from_their_own_marginals_would_be_biased(draw, unbiased):
    proba, edges, weights = correlated_case()
    rng = np.random.default_rng(0)
    estimates = [
        _importance_estimate(proba, edges, weights, draw(proba[:, :2], 300, rng))
        for _ in range(200)
    ]
    error = np.mean(estimates) - delta_by_enumeration(proba, edges, weights, [0, 1, 2])
    standard_error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert (abs(error) < 3 * standard_error) == unbiased


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", ["correlated", "random"])
def test_mean_of_eq5_over_seeds_is_the_closed_form(case):
    proba, edges, weights = correlated_case()
    if case == "random":
        proba = random_proba(0, 8, 4, 3)
        edges, weights = random_edges(proba, 0)
    batch = range(proba.shape[1])
    estimates = [eq5_delta(proba, edges, weights, batch, 100, seed) for seed in range(300)]
    standard_error = np.std(estimates, ddof=1) / np.sqrt(300)
    exact = closed_form(proba, edges, weights, batch)
    assert standard_error > 1e-6
    assert abs(np.mean(estimates) - exact) < 3 * standard_error


@pytest.mark.usefixtures("one_thread")
def test_error_of_eq5_falls_with_the_square_root_of_the_configurations():
    proba = random_proba(0, 6, 3, 3, sharpness=1.5)
    edges = all_pairs(6)
    exact = eq4_delta(proba, edges, None, [0, 1, 2])
    sizes = [100, 1000, 10_000]
    errors = [
        [eq5_delta(proba, edges, None, [0, 1, 2], size, seed) - exact for seed in range(60)]
        for size in sizes
    ]
    rms = np.sqrt(np.mean(np.square(errors), axis=1))
    # 60 seeds leave 9 % of uncertainty in each error, hence 0.03 in the slope.
    slope = np.polyfit(np.log(sizes), np.log(rms), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.09)


def test_configurations_are_drawn_from_the_joint_distribution():
    proba, _, _ = correlated_case()
    labels = _draw_labels(proba[:, :2], 20_000, 0)
    counts = np.bincount((2 * labels[:, 0] + labels[:, 1]).numpy(), minlength=4)
    joint = torch.einsum("hy,hz->yz", proba[:, 0], proba[:, 1]).flatten().numpy() / 4
    marginals = np.outer(proba[:, 0].mean(0), proba[:, 1].mean(0)).ravel()
    assert chisquare(counts, 20_000 * joint).pvalue > 1e-3
    assert chisquare(counts, 20_000 * marginals).pvalue < 1e-9


def test_impossible_labels_are_never_drawn():
    proba = random_proba(0, 4, 3, 3, hard=1)
    edges, weights = random_edges(proba, 0)
    for seed in range(20):
        assert np.isfinite(eq5_delta(proba, edges, weights, [0, 1, 2], 50, seed))


def test_one_point_needs_no_sampling():
    proba = random_proba(0, 6, 4, 3)
    exact = eq3_scores(proba, all_pairs(6)).tolist()
    found = [eq5_delta(proba, all_pairs(6), None, [point], 1, 0) for point in range(4)]
    assert found == pytest.approx(exact, abs=1e-14)


def test_eq5_is_reproducible_and_leaves_global_random_states_alone():
    proba = random_proba(0, 6, 4, 3)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, again, other = (eq5_delta(proba, all_pairs(6), None, [0, 1], 50, s) for s in (0, 0, 1))
    assert first == again != other
    assert (np.random.get_state()[1] == numpy_state).all()
    assert (torch.get_rng_state() == torch_state).all()


# --- all of them ----------------------------------------------------------------------------------


def test_float32_is_computed_in_float64():
    proba = random_proba(0, 6, 4, 3).float()
    exact = eq4_delta(proba.double(), all_pairs(6), None, [0, 1])
    assert eq3_scores(proba, all_pairs(6)).dtype == torch.float64
    assert eq4_delta(proba, all_pairs(6), None, [0, 1]) == exact


def test_without_edges_everything_is_zero():
    proba, none = random_proba(0, 6, 4, 3), torch.zeros((0, 2), dtype=torch.int64)
    assert eq3_scores(proba, none).tolist() == [0] * 4
    assert eq4_delta(proba, none, None, [0, 1]) == eq5_delta(proba, none, None, [0, 1], 10, 0) == 0


def test_too_many_configurations_are_refused():
    proba = torch.full((2, 20, 10), 0.1)
    with pytest.raises(ValueError, match="7 points with 10 classes has 10000000 label config"):
        eq4_delta(proba, all_pairs(2), None, range(7))


@pytest.mark.parametrize("delta", [eq4_delta, eq5_delta])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"proba": torch.ones(6, 4, 3)}, ValueError, "proba has a row that sums to 3"),
        ({"edges": torch.tensor([[0, 6]])}, ValueError, "edges has indices from 0 to 6"),
        ({"weights": torch.ones(3)}, ValueError, "weights must be a tensor of shape"),
        ({"batch": []}, ValueError, "at least one point"),
        ({"batch": torch.tensor([[0, 1]])}, ValueError, r"got shape \(1, 2\)"),
        ({"batch": [0.0, 1.0]}, TypeError, "batch must hold int64 indices of points, got torch.fl"),
        ({"batch": [0, 4]}, ValueError, "batch has indices from 0 to 4, but proba has 4"),
        ({"batch": [-1]}, ValueError, "batch has indices from -1"),
    ],
)
def test_bad_input_is_refused_by_name(delta, change, error, message):
    arguments = {
        "proba": random_proba(0, 6, 4, 3),
        "edges": all_pairs(6),
        "weights": None,
        "batch": [0, 1],
    } | change
    with pytest.raises(error, match=message):
        delta(**arguments)


def test_at_least_one_configuration_is_drawn():
    with pytest.raises(ValueError, match="n_configurations must be at least 1, got 0"):
        eq5_delta(random_proba(0, 6, 4, 3), all_pairs(6), None, [0, 1], 0)
