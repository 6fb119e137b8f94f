import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_balance import balance_batch, balance_scores
from modal_balance.acquisition.cover_then_rest import iter_cover_then_rest
from modal_balance.acquisition.pair_scan import PairCuts
from modal_balance.acquisition.predictions import HeldPredictions
from modal_balance.equivalence.pairs import all_pairs


def predictions(S, N, C, seed, sharpness=3.0):
    rng = np.random.default_rng(seed)
    return torch.softmax(torch.tensor(sharpness * rng.normal(size=(S, N, C))), dim=2)


def by_margin(*arguments, **options):
    return iter_cover_then_rest(*arguments, rest="margin", **options)


def slow_batch(proba, edges, n_instances, tolerance):
    """The rule by loops over everything: gains from the paper's definition, then margins."""
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
    while len(chosen) < n_instances and W.sum() > tolerance:
        gain = [-1.0 if x in chosen else (W * (1 - G[x])).sum() for x in range(N)]
        chosen.append(int(np.argmax(gain)))
        gains.append(max(gain))
        W = W * G[chosen[-1]]
    top = np.sort(proba.mean(0), axis=1)
    for x in np.argsort(top[:, -1] - top[:, -2], kind="stable"):
        if len(chosen) < n_instances and x not in chosen:
            chosen.append(int(x))
            gains.append((W * (1 - G[x])).sum())
            W = W * G[x]
    return chosen, gains


@settings(max_examples=40, deadline=None)
@given(
    S=st.integers(2, 5),
    N=st.integers(6, 12),
    C=st.integers(2, 4),
    tolerance=st.sampled_from([0.5, 0.1, 1e-2, 1e-4]),
    seed=st.integers(0, 10_000),
)
def test_batches_and_gains_are_those_of_slow_loops(S, N, C, tolerance, seed):
    proba, edges = predictions(S, N, C, seed), all_pairs(S)
    picks = list(by_margin(proba, edges, None, N - 1, cover_tolerance=tolerance, ties="first"))
    expected, gains = slow_batch(proba, edges, N - 1, tolerance)
    assert [index for index, _ in picks] == expected
    assert [gain for _, gain in picks] == pytest.approx(gains, rel=1e-9, abs=1e-12)


def test_while_the_edges_are_not_covered_it_is_the_batch_of_the_objective():
    proba, edges = predictions(8, 60, 3, 0, sharpness=0.5), all_pairs(8)
    picks = list(by_margin(proba, edges, None, 5, cover_tolerance=1e-4, random_state=0))
    indices, gains = balance_batch(proba, edges, n_instances=5, random_state=0)
    assert [index for index, _ in picks] == indices.tolist()
    assert [gain for _, gain in picks] == pytest.approx(gains.tolist())


def test_hard_hypotheses_are_covered_by_what_tells_them_apart():
    votes = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]])  # only point 1 tells the two apart
    proba = torch.eye(2)[votes]
    proba[:, 3] = torch.tensor([0.6, 0.4])  # and point 3 is uncertain for both
    picks = list(by_margin(proba, torch.tensor([[0, 1]]), None, 4, ties="first"))
    assert picks[:2] == [(1, 1.0), (3, 0.0)]
    assert sorted(index for index, _ in picks) == [0, 1, 2, 3]


def test_without_edges_margins_decide_and_ties_are_random():
    proba = torch.full((4, 30, 2), 0.5)
    proba[:, 20:] = torch.tensor([0.9, 0.1])
    no_edges = torch.empty((0, 2), dtype=torch.int64)
    batches = [
        [index for index, _ in by_margin(proba, no_edges, None, 10, random_state=s)]
        for s in (0, 0, 1)
    ]
    assert max(batches[0]) < 20 and batches[0] == batches[1] != batches[2]


def test_points_out_for_annotation_count_as_chosen():
    proba, edges = predictions(6, 40, 3, 1), all_pairs(6)
    whole = [index for index, _ in by_margin(proba, edges, None, 6)]
    left = np.setdiff1d(np.arange(40), whole[:2])
    rest = by_margin(proba[:, left], edges, None, 4, pending=proba[:, whole[:2]])
    assert [left[index] for index, _ in rest] == whole[2:]


@pytest.mark.parametrize("rest", ["margin", "clusters"])
@pytest.mark.parametrize("chunk_size", [1, 7, 512])
def test_chunks_do_not_matter(chunk_size, rest):
    proba, edges = predictions(6, 40, 3, 2), all_pairs(6)
    options = {"rest": rest, "random_state": 0}
    expected = list(iter_cover_then_rest(proba, edges, None, 12, **options))
    found = list(iter_cover_then_rest(proba, edges, None, 12, chunk_size=chunk_size, **options))
    assert [index for index, _ in found] == [index for index, _ in expected]


class CountedLooks(HeldPredictions):
    """Predictions that count how often all of them are looked at."""

    n_looks = 0

    def map(self, function):
        self.n_looks += 1
        return super().map(function)


@pytest.mark.parametrize("tolerance", [0.3, 0.03, 1e-9])
@pytest.mark.parametrize(("rest", "largest_cover"), [("clusters", 8), ("margin", 9)])
def test_the_pool_is_looked_at_once_for_each_point_of_the_cover(rest, largest_cover, tolerance):
    proba, edges = predictions(8, 60, 3, 3, sharpness=1.0), all_pairs(8)
    pool = CountedLooks(proba, PairCuts.of(edges, 8))
    options = {"rest": rest, "cover_tolerance": tolerance, "random_state": 0}
    picks = list(iter_cover_then_rest(pool, edges, None, 9, **options))
    left = 1 - np.cumsum([gain for _, gain in picks])
    n_cover = min(int((left > tolerance).sum()) + 1, largest_cover)
    for_margins = int(n_cover < 9)
    assert pool.n_looks == n_cover + for_margins


def test_bad_arguments_are_refused_at_the_call():
    proba, edges = predictions(3, 5, 2, 0), all_pairs(3)
    with pytest.raises(ValueError, match="n_instances"):
        by_margin(proba, edges, None, 6)
    with pytest.raises(ValueError, match="cover_tolerance"):
        by_margin(proba, edges, None, 2, cover_tolerance=1.0)


# --- clusters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0.1, 1e-4])
def test_the_cover_is_the_same_whatever_follows(tolerance):
    proba, edges = predictions(8, 60, 3, 3, sharpness=1.0), all_pairs(8)
    options = {"cover_tolerance": tolerance, "ties": "first"}
    clusters = list(iter_cover_then_rest(proba, edges, None, 20, random_state=0, **options))
    margins = list(by_margin(proba, edges, None, 20, **options))
    left = 1 - np.cumsum([gain for _, gain in margins])
    n_cover = int((left > tolerance).sum()) + 1
    assert 1 < n_cover < 20
    assert clusters[:n_cover] == margins[:n_cover]
    assert len({index for index, _ in clusters}) == 20


@pytest.mark.parametrize("n_instances", [1, 2, 6])
def test_one_point_at_least_is_left_to_the_clusters(n_instances):
    # Edges that these batches are far from covering.
    proba, edges = predictions(8, 60, 3, 5, sharpness=0.3), all_pairs(8)
    options = {"cover_tolerance": 1e-4, "ties": "first"}
    picks = list(iter_cover_then_rest(proba, edges, None, n_instances, random_state=0, **options))
    cover = list(by_margin(proba, edges, None, n_instances, **options))
    assert picks[:-1] == cover[:-1] and picks[-1] != cover[-1]
    before = proba[:, [index for index, _ in cover[:-1]]]
    index, gain = picks[-1]
    assert gain == pytest.approx(balance_scores(proba, edges, pending=before)[index].item())
    top = np.sort(proba.mean(0).numpy(), axis=1)
    margins = top[:, -1] - top[:, -2]
    margins[[index for index, _ in cover[:-1]]] = np.inf
    assert index in np.argsort(margins)[: 5 if n_instances > 1 else 1]


def grouped(n_groups, size, S=8, C=3, seed=0):
    """Return predictions (S, n_groups * size, C): all points of a group are answered alike."""
    one = predictions(S, n_groups, C, seed, sharpness=1.0)
    return one.repeat_interleave(size, dim=1)


def test_without_edges_each_group_of_the_shortlist_gives_one_point():
    # 4 groups of 5 have smaller margins than all others: the shortlist of a batch of 4.
    proba = torch.cat([grouped(4, 5), torch.eye(3)[0].expand(8, 30, 3)], dim=1)
    no_edges = torch.empty((0, 2), dtype=torch.int64)
    for seed in range(5):
        picks = iter_cover_then_rest(proba, no_edges, None, 4, random_state=seed)
        assert sorted(index // 5 for index, _ in picks) == [0, 1, 2, 3]
        # and the margins alone would ask the same four times over
        margins = by_margin(proba, no_edges, None, 4, random_state=seed)
        assert len({index // 5 for index, _ in margins}) == 1


def test_groups_out_for_annotation_are_not_asked_again():
    proba = grouped(5, 3, seed=1)  # 15 points, all in the shortlist of a batch of 3
    pending = grouped(5, 1, seed=1)[:, [1, 3]]
    no_edges = torch.empty((0, 2), dtype=torch.int64)
    picks = iter_cover_then_rest(proba, no_edges, None, 3, pending=pending, random_state=0)
    assert sorted(index // 3 for index, _ in picks) == [0, 2, 4]


def test_a_seed_decides_the_clusters():
    proba, edges = predictions(6, 200, 3, 2), all_pairs(6)
    batches = [
        [index for index, _ in iter_cover_then_rest(proba, edges, None, 30, random_state=seed)]
        for seed in (0, 0, 1)
    ]
    assert batches[0] == batches[1] != batches[2]
