"""The rule behind ``balance_margin_query``: the BALanCe objective, then diverse low margins."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_balance import balance_batch
from modal_balance.acquisition.balance_margin import iter_balance_margin_batch
from modal_balance.acquisition.objective import EdgeDiscrimination
from modal_balance.acquisition.predictions import HeldPredictions
from modal_balance.equivalence.pairs import all_pairs

NO_EDGES = torch.empty((0, 2), dtype=torch.int64)


def predictions(S, N, C, seed, sharpness=3.0):
    rng = np.random.default_rng(seed)
    return torch.softmax(torch.tensor(sharpness * rng.normal(size=(S, N, C))), dim=2)


def batch(proba, edges, n_instances, **options):
    """The picks, as (points, scores, from the objective)."""
    picks = iter_balance_margin_batch(proba, edges, None, n_instances, **options)
    return [list(column) for column in zip(*picks, strict=True)]


def slow_objective_picks(proba, edges, n_most, cut_share):
    """Return greedy picks by loops over the paper's definition, until a share of weight is cut."""
    proba = proba.numpy()
    S, N, C = proba.shape
    ratio = proba / proba.max(2, keepdims=True)
    G = np.zeros((N, S, len(edges)))
    for x in range(N):
        for j in range(S):
            for e, (k, l) in enumerate(edges.tolist()):
                G[x, j, e] = sum(proba[j, x, c] * ratio[k, x, c] * ratio[l, x, c] for c in range(C))
    W = np.full((S, len(edges)), 1 / (S * len(edges)))
    chosen, gains = [], []
    while len(chosen) < n_most and W.sum() > 1 - cut_share:
        gain = [-1.0 if x in chosen else (W * (1 - G[x])).sum() for x in range(N)]
        chosen.append(int(np.argmax(gain)))
        gains.append(max(gain))
        W = W * G[chosen[-1]]
    return chosen, gains


def margins(proba):
    top = np.sort(proba.mean(0).numpy(), axis=1)
    return top[:, -1] - top[:, -2]


@settings(max_examples=40, deadline=None)
@given(
    S=st.integers(2, 5),
    N=st.integers(6, 12),
    C=st.integers(2, 4),
    cut_share=st.sampled_from([0.3, 0.7, 0.99, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_a_batch_is_the_objective_then_the_shortlist_of_margins(S, N, C, cut_share, seed):
    proba, edges, n = predictions(S, N, C, seed), all_pairs(S), N // 2
    points, scores, by_objective = batch(
        proba, edges, n, cut_share=cut_share, ties="first", random_state=0
    )
    expected, gains = slow_objective_picks(proba, edges, n - 1, cut_share)
    b = len(expected)
    assert by_objective == [True] * b + [False] * (n - b)
    assert points[:b] == expected
    assert scores[:b] == pytest.approx(gains, rel=1e-9, abs=1e-12)
    # The other picks are among five times as many points with the lowest margins.
    margin = margins(proba)
    free = [x for x in np.argsort(margin, kind="stable") if x not in expected]
    assert b > 0 or points[0] == free[0]
    assert set(points[b:]) <= set(free[: 5 * (n - b)]) and len(set(points)) == n
    assert scores[b:] == pytest.approx(1 - margin[points[b:]], abs=1e-12)


def test_the_whole_weight_is_cut_only_by_all_but_one_point():
    proba, edges = predictions(8, 60, 3, 0, sharpness=0.5), all_pairs(8)
    points, scores, by_objective = batch(proba, edges, 6, cut_share=1, random_state=0)
    indices, gains = balance_batch(proba, edges, n_instances=5, random_state=0)
    assert by_objective == [True] * 5 + [False]
    assert points[:5] == indices.tolist()
    assert scores[:5] == pytest.approx(gains.tolist())


def test_hard_hypotheses_are_first_told_apart():
    votes = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]])  # only point 1 distinguishes the two
    proba = torch.eye(2)[votes]
    proba[:, 3] = torch.tensor([0.6, 0.4])  # and point 3 is uncertain for both
    points, scores, by_objective = batch(proba, torch.tensor([[0, 1]]), 4, ties="first")
    assert points[:2] == [1, 3]
    assert scores[:2] == pytest.approx([1.0, 0.8])
    assert by_objective == [True, False, False, False]
    assert sorted(points) == [0, 1, 2, 3]


def test_pending_points_count_as_cut():
    proba, edges = predictions(6, 40, 3, 1, sharpness=1.0), all_pairs(6)
    options = {"cut_share": 0.99, "random_state": 0}
    points, _, by_objective = batch(proba, edges, 9, **options)
    assert sum(by_objective) >= 3
    left = np.setdiff1d(np.arange(40), points[:2])
    rest, _, still = batch(proba[:, left], edges, 7, pending=proba[:, points[:2]], **options)
    assert sum(still) == sum(by_objective) - 2
    assert left[rest[: sum(still)]].tolist() == points[2 : sum(by_objective)]


@pytest.mark.parametrize("chunk_size", [1, 7, 512])
def test_chunks_do_not_matter(chunk_size):
    proba, edges = predictions(6, 40, 3, 2), all_pairs(6)
    expected = batch(proba, edges, 12, random_state=0)[0]
    assert batch(proba, edges, 12, chunk_size=chunk_size, random_state=0)[0] == expected


class CountedScans(HeldPredictions):
    """Predictions that count the scans of the whole pool."""

    n_scans = 0

    def map(self, function):
        self.n_scans += 1
        return super().map(function)


@pytest.mark.parametrize("cut_share", [0.0, 0.7, 0.97, 1.0])
def test_the_pool_is_scanned_once_for_each_objective_pick_and_once_for_margins(cut_share):
    proba, edges = predictions(8, 60, 3, 3, sharpness=1.0), all_pairs(8)
    pool = CountedScans(proba, EdgeDiscrimination.of(edges, 8))
    _, _, by_objective = batch(pool, edges, 9, cut_share=cut_share, random_state=0)
    assert pool.n_scans == sum(by_objective) + 1


@pytest.mark.parametrize("cut_share", [-0.1, 1.1, float("nan")])
def test_bad_arguments_are_refused_at_the_call(cut_share):
    proba, edges = predictions(3, 5, 2, 0), all_pairs(3)
    with pytest.raises(ValueError, match="n_instances"):
        iter_balance_margin_batch(proba, edges, None, 6)
    with pytest.raises(ValueError, match="cut_share must lie in"):
        iter_balance_margin_batch(proba, edges, None, 2, cut_share=cut_share)


# --- diverse low margins --------------------------------------------------------------------------


def grouped(n_groups, size, S=8, C=3, seed=0):
    """Return predictions (S, n_groups * size, C) that are equal within a group."""
    one = predictions(S, n_groups, C, seed, sharpness=1.0)
    return one.repeat_interleave(size, dim=1)


def test_without_edges_each_group_of_the_shortlist_gives_one_point():
    # 4 groups of 5 have lower margins than all others: the shortlist of a batch of 4.
    proba = torch.cat([grouped(4, 5), torch.eye(3)[0].expand(8, 30, 3)], dim=1)
    for seed in range(5):
        points, _, by_objective = batch(proba, NO_EDGES, 4, random_state=seed)
        assert sorted(point // 5 for point in points) == [0, 1, 2, 3]
        assert not any(by_objective)
        # margins alone would choose four equal points
        assert len({point // 5 for point in np.argsort(margins(proba), kind="stable")[:4]}) == 1


def test_groups_of_pending_points_are_not_asked_again():
    proba = grouped(5, 3, seed=1)  # 15 points, all in the shortlist of a batch of 3
    pending = grouped(5, 1, seed=1)[:, [1, 3]]
    points, _, _ = batch(proba, NO_EDGES, 3, pending=pending, random_state=0)
    assert sorted(point // 3 for point in points) == [0, 2, 4]


def test_a_seed_decides_the_clusters_and_the_ties():
    proba, edges = predictions(6, 200, 3, 2), all_pairs(6)
    batches = [batch(proba, edges, 30, random_state=seed)[0] for seed in (0, 0, 1)]
    assert batches[0] == batches[1] != batches[2]
    equal = torch.full((4, 30, 2), 0.5)
    alone = [batch(equal, NO_EDGES, 1, random_state=seed)[0] for seed in (0, 0, 1, 2, 3)]
    assert alone[0] == alone[1] and len(set(map(tuple, alone))) > 1
