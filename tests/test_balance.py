import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import delta_by_enumeration, random_proba

from modal_balance import RandomSelectionWarning, balance_batch, balance_scores
from modal_balance.acquisition.objective import BalanceObjective
from modal_balance.equivalence import all_pairs

cases = st.builds(
    random_proba,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(2, 6),
    n_points=st.integers(4, 7),
    n_classes=st.integers(2, 3),
    hard=st.sampled_from([0.0, 0.3]),
    sharpness=st.sampled_from([0.5, 2.0, 8.0]),
)


def random_edges(proba, seed=0):
    """Return a random non-empty subset of all pairs, with random weights."""
    rng = np.random.default_rng(seed)
    pairs = all_pairs(len(proba))
    pairs = pairs[torch.from_numpy(rng.permutation(len(pairs))[: rng.integers(1, len(pairs) + 1)])]
    return pairs, torch.from_numpy(rng.uniform(0.1, 1, size=len(pairs)))


def nothing_left(proba, edges, cover):
    """Return whether all labels of these points exclude one hypothesis of every edge."""
    possible = proba > 0  # (S, N, C)
    return all(
        any(not (possible[j, x] & possible[k, x] & possible[l, x]).any() for x in cover)
        for k, l in edges.tolist()
        for j in range(len(proba))
    )


def gains_by_enumeration(proba, edges, weights, chosen):
    """Return what each point adds to Delta, with a restart when nothing is left."""
    cover = []
    for x in chosen:
        cover.append(x)
        if nothing_left(proba, edges, cover):
            cover = []
    before = delta_by_enumeration(proba, edges, weights, cover)
    return [
        delta_by_enumeration(proba, edges, weights, [*cover, x]) - before
        for x in range(proba.shape[1])
    ]


def graded_pool(n_points=400, n_pairs=20, n_classes=5, dtype=torch.float32, seed=0):
    """Return a pool with few uncertain points, as in practice, and its edges."""
    proba = random_proba(seed, 2 * n_pairs, n_points, n_classes, sharpness=1.5).to(dtype)
    edges = torch.arange(2 * n_pairs).view(2, n_pairs).T.contiguous()
    return proba, edges


# --- the closed form is the paper's objective -----------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), size=st.integers(0, 3))
def test_gains_equal_the_enumeration_of_all_configurations(proba, seed, size):
    edges, weights = random_edges(proba, seed)
    chosen = np.random.default_rng(seed).permutation(proba.shape[1])[:size].tolist()
    objective = BalanceObjective(proba, edges, weights)
    for point in chosen:
        objective.add(point)
    exact = gains_by_enumeration(proba, edges, weights, chosen)
    assert objective.gains().tolist() == pytest.approx(exact, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), n_pending=st.integers(0, 2))
def test_every_pick_has_the_largest_enumerated_gain(proba, seed, n_pending):
    edges, weights = random_edges(proba, seed)
    pending = list(range(n_pending))
    pool = proba[:, n_pending:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomSelectionWarning)  # there may be nothing to gain
        indices, gains = balance_batch(
            pool,
            edges,
            weights,
            2,
            pending=proba[:, pending] if n_pending else None,
            random_state=seed,
        )
    picks = (indices + n_pending).tolist()
    for i, pick in enumerate(picks):
        exact = gains_by_enumeration(proba, edges, weights, [*pending, *picks[:i]])
        left = [x for x in range(n_pending, proba.shape[1]) if x not in picks[:i]]
        assert gains[i].item() == pytest.approx(exact[pick], abs=1e-12)
        assert exact[pick] >= max(exact[x] for x in left) - 1e-12


@settings(max_examples=30, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_scores_equal_the_enumeration_of_single_points(proba, seed):
    edges, weights = random_edges(proba, seed)
    expected = [delta_by_enumeration(proba, edges, weights, [x]) for x in range(proba.shape[1])]
    assert balance_scores(proba, edges, weights).tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), n_pending=st.integers(1, 3))
def test_scores_beside_pending_points_equal_the_enumeration(proba, seed, n_pending):
    edges, weights = random_edges(proba, seed)
    scores = balance_scores(
        proba[:, n_pending:],
        edges,
        weights,
        pending=proba[:, :n_pending],
        chunk_size=2,
    )
    exact = gains_by_enumeration(proba, edges, weights, range(n_pending))
    assert scores.tolist() == pytest.approx(exact[n_pending:], abs=1e-12)


@pytest.mark.parametrize("n_pending", [1, 100])
def test_the_first_gain_of_a_batch_is_the_best_score(n_pending):
    proba, edges = graded_pool()
    pending = proba[:, :n_pending]
    scores = balance_scores(proba, edges, pending=pending)
    (index,), (gain,) = balance_batch(proba, edges, pending=pending, ties="first")
    assert gain == scores[index]
    assert scores.max() <= gain * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_objective_is_monotone_and_submodular(proba, seed):
    edges, weights = random_edges(proba, seed)
    a, b, x = np.random.default_rng(seed).permutation(proba.shape[1])[:3].tolist()

    def delta(*batch):
        return delta_by_enumeration(proba, edges, weights, list(batch))

    objective = BalanceObjective(proba, edges, weights)
    first = objective.gains()
    objective.add(a)
    then = objective.gains()
    assert delta(a, x) >= delta(a) - 1e-12
    assert delta(a, x) - delta(a) >= delta(a, b, x) - delta(a, b) - 1e-12
    if objective.n_restarts == 0:
        assert (then <= first + 1e-12).all()
        assert (then >= 0).all()


@settings(max_examples=20, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_permuting_the_hypotheses_changes_nothing(proba, seed):
    edges, weights = random_edges(proba, seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(proba)))
    renamed = order.argsort()[edges]
    assert torch.allclose(
        balance_scores(proba[order], renamed, weights), balance_scores(proba, edges, weights)
    )


# --- precision, chunks, ties ----------------------------------------------------------------------


@pytest.mark.parametrize("pairing", ["disjoint", "all"])
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 400, 4096])
def test_any_chunk_size_gives_the_same_picks(chunk_size, pairing):
    proba, edges = graded_pool(n_pairs=12)
    proba[:, 200:] = proba[:, :200]  # every point twice: ties must be broken in the same way
    if pairing == "all":
        edges = all_pairs(len(proba))
    expected = balance_batch(proba, edges, None, 12, random_state=3)
    found = balance_batch(proba, edges, None, 12, random_state=3, chunk_size=chunk_size)
    assert found[0].tolist() == expected[0].tolist()
    assert torch.allclose(found[1], expected[1], rtol=1e-4)


@pytest.mark.parametrize("sharpness", [1.5, 6.0])
def test_float32_picks_what_float64_picks_up_to_ties(sharpness):
    exact = random_proba(0, 40, 400, 5, sharpness=sharpness)
    edges = torch.arange(40).view(2, 20).T.contiguous()
    indices, gains = balance_batch(exact.float(), edges, None, 50, ties="first")
    objective = BalanceObjective(exact, edges, None)
    for pick, index in enumerate(indices.tolist()):
        if pick:
            objective.add(int(indices[pick - 1]))
        possible = objective.gains().index_fill(0, indices[:pick], -1)
        assert possible[index] >= possible.max() * (1 - 1e-4)
        assert gains[pick].item() == pytest.approx(possible[index].item(), rel=1e-3)
    assert len(set(indices.tolist())) == 50


def test_gains_stay_positive_and_distinct_to_the_end():
    # The released code scores totals in float32: after a few picks all of them are 1.0.
    proba, edges = graded_pool()
    _, gains = balance_batch(proba, edges, None, 30, random_state=0)
    assert (gains > 0).all()
    assert gains[-1] < 1e-10 * gains[0]
    assert (gains[1:] < gains[:-1]).all()


def test_random_ties_are_broken_by_the_random_state_and_first_ties_by_index():
    proba, edges = graded_pool(n_points=10)
    proba = proba[:, [0]].expand(-1, 10, -1)
    first = [balance_batch(proba, edges, None, 1, random_state=s)[0].item() for s in range(30)]
    again = [balance_batch(proba, edges, None, 1, random_state=s)[0].item() for s in range(30)]
    assert first == again
    assert len(set(first)) > 5
    assert balance_batch(proba, edges, None, 3, ties="first")[0].tolist() == [0, 1, 2]


def test_global_random_states_are_left_alone():
    proba, edges = graded_pool()
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    balance_batch(proba, edges, None, 5, random_state=0)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert (torch.get_rng_state() == torch_state).all()


def test_inputs_are_not_changed():
    proba, edges = graded_pool()
    weights = torch.rand(len(edges))
    copies = proba.clone(), edges.clone(), weights.clone()
    balance_batch(proba, edges, weights, 12, pending=proba[:, :3], random_state=0)
    for given_now, copy in zip((proba, edges, weights), copies, strict=True):
        assert torch.equal(given_now, copy)


def test_duplicates_of_one_point_are_all_chosen_once():
    proba, edges = graded_pool(n_points=6)
    proba = proba[:, [0] * 6]
    assert sorted(balance_batch(proba, edges, None, 6, random_state=0)[0].tolist()) == list(
        range(6)
    )


def test_half_precision_is_computed_in_float32():
    proba, edges = graded_pool(n_points=50)
    half = proba.bfloat16()
    assert torch.allclose(balance_scores(half, edges), balance_scores(half.float(), edges))


def test_predictions_of_a_network_that_still_has_gradients_can_be_used():
    proba, edges = graded_pool(n_points=50)
    options = {"n_instances": 5, "pending": proba[:, :2], "random_state": 0}
    indices, gains = balance_batch(proba, edges, **options)
    options["pending"] = options["pending"].clone().requires_grad_()
    again, same_gains = balance_batch(proba.clone().requires_grad_(), edges, **options)
    assert torch.equal(indices, again) and torch.equal(gains, same_gains)
    assert not same_gains.requires_grad


# --- restarts -------------------------------------------------------------------------------------


def contradiction(n_points):
    """Return two hypotheses that contradict each other with certainty: a label cuts their edge."""
    proba = torch.zeros(2, n_points, 2)
    proba[0, :, 0] = proba[1, :, 1] = 1
    return proba, torch.tensor([[0, 1]])


def test_the_weights_are_put_back_when_exactly_nothing_is_left():
    proba, edges = contradiction(4)
    indices, gains = balance_batch(proba, edges, None, 4, random_state=0)
    assert sorted(indices.tolist()) == [0, 1, 2, 3]
    assert gains.tolist() == [1, 1, 1, 1]


def test_gains_sum_to_delta_of_the_batch():
    proba, edges = graded_pool(n_points=8, n_pairs=3, n_classes=3, dtype=torch.float64)
    indices, gains = balance_batch(proba, edges, None, 3, random_state=0)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    expected = delta_by_enumeration(proba, edges, weights, indices.tolist())
    assert gains.sum().item() == pytest.approx(expected, abs=1e-12)


# --- pending points -------------------------------------------------------------------------------


def test_pending_points_count_as_chosen():
    proba, edges = graded_pool()
    indices, gains = balance_batch(proba, edges, None, 6, ties="first")
    rest, rest_gains = balance_batch(
        proba,
        edges,
        None,
        3,
        pending=proba[:, indices[:3]],
        ties="first",
    )
    assert rest.tolist() == indices[3:].tolist()
    assert torch.allclose(rest_gains, gains[3:], rtol=1e-4)


def test_a_twin_of_a_pending_point_loses_its_gain():
    proba, edges = contradiction(1)
    unsure = torch.tensor([[[0.6, 0.4]], [[0.4, 0.6]]])
    pool = torch.cat([proba * 0.999 + 0.0005, unsure], dim=1)
    alone, _ = balance_batch(pool, edges, ties="first")
    _, gain = balance_batch(pool, edges, pending=pool[:, :1], ties="first")
    assert alone.item() == 0
    assert gain.item() < 0.01 * balance_scores(pool, edges)[1].item()


def test_many_pending_points_still_leave_gains_to_compare():
    proba, edges = graded_pool()
    _, gains = balance_batch(proba, edges, None, 3, pending=proba[:, :100], random_state=0)
    assert gains[0] > gains[1] > gains[2] > 0


# --- no edges -------------------------------------------------------------------------------------


def test_without_edges_the_batch_is_random_seeded_and_announced():
    proba, _ = graded_pool()
    none = torch.zeros((0, 2), dtype=torch.int64)
    batches = []
    for seed in (0, 0, 1):
        with pytest.warns(RandomSelectionWarning, match="no edges"):
            indices, gains = balance_batch(proba, none, None, 10, random_state=seed)
        assert gains.tolist() == [0] * 10
        assert len(set(indices.tolist())) == 10
        batches.append(indices.tolist())
    assert batches[0] == batches[1] != batches[2]
    assert batches[0] != sorted(batches[0])
    assert balance_scores(proba, none).tolist() == [0] * 400


def test_points_without_any_gain_are_chosen_at_random_and_announced():
    proba, edges = contradiction(10)
    proba[:, 2:] = torch.tensor([1.0, 0.0])  # both hypotheses agree with certainty
    tails = set()
    for seed in range(5):
        with pytest.warns(RandomSelectionWarning, match="2 points were chosen at random"):
            indices, gains = balance_batch(proba, edges, None, 4, random_state=seed)
        assert set(indices[:2].tolist()) == {0, 1}
        assert gains.tolist() == [1, 1, 0, 0]
        tails.add(tuple(indices[2:].tolist()))
    assert len(tails) > 1


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_instances": 0}, ValueError, "n_instances must be at least 1, got 0"),
        ({"n_instances": 401}, ValueError, "400 points but n_instances=401"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"ties": "last"}, ValueError, "ties='last'"),
        ({"edges": torch.tensor([[0, 40]])}, ValueError, "edges has indices from 0 to 40"),
        ({"edges": torch.tensor([[-1, 4]])}, ValueError, "edges has indices"),
        ({"edges": torch.tensor([0, 1])}, ValueError, "shape"),
        ({"edges": [[0, 1]]}, TypeError, "edges must be an int64"),
        ({"edges": torch.tensor([[0.0, 1.0]])}, TypeError, "edges must be an int64"),
        ({"weights": torch.ones(3)}, ValueError, "weights must be a tensor of shape"),
        ({"weights": -torch.ones(20)}, ValueError, "non-negative"),
        ({"weights": torch.zeros(20)}, ValueError, "not all 0"),
        ({"weights": torch.full((20,), torch.nan)}, ValueError, "finite"),
        ({"pending": torch.full((40, 2, 3), 1 / 3)}, ValueError, "pending has 40 hypotheses and 3"),
        ({"pending": torch.ones((40, 2, 5))}, ValueError, "pending has a row that sums to 5"),
        ({"proba": torch.ones((40, 2, 5))}, ValueError, "proba has a row that sums to 5"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    proba, edges = graded_pool()
    arguments = {"proba": proba, "edges": edges, "n_instances": 2, "random_state": 0} | change
    with pytest.raises(error, match=message):
        balance_batch(**arguments)
