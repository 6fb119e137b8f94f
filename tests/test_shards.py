"""Batches from shards are identical for every partition of a pool and every cache policy."""

import pickle
import tempfile
from functools import partial
from itertools import cycle
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_balance._utils.pickling import serialized
from modal_balance.acquisition.balance import iter_balance_batch
from modal_balance.acquisition.balance_margin import iter_balance_margin_batch
from modal_balance.acquisition.greedy import TieOrder
from modal_balance.acquisition.objective import BalanceObjective, EdgeDiscrimination, candidates
from modal_balance.equivalence.pairs import all_pairs, disjoint_pairs
from modal_balance.pools.caching import FileCache
from modal_balance.pools.local import even_bounds, local_shards
from modal_balance.pools.shard import block_rows_for
from modal_balance.pools.sources import RowsInMemory

RULES = {
    "balance_margin": iter_balance_margin_batch,
    "balance": iter_balance_batch,
}
CACHE_POLICIES = ["memory", "file", "nothing"]


class Table:
    """Hypotheses that look up their predictions by row number, without arithmetic."""

    def __init__(self, proba):
        self.proba = proba

    def __call__(self, X):
        return self.proba[:, X[:, 0]]


class Softmax:
    """Hypotheses with matrix products, whose last bits depend on the shape of the input."""

    def __init__(self, S, D, C, seed):
        self.weights = 2 * torch.randn(S, D, C, generator=torch.Generator().manual_seed(seed))

    def __call__(self, X):
        return torch.softmax(torch.from_numpy(X) @ self.weights, -1)


def random_proba(S, N, C, seed, decimals=None):
    """Predictions; rounded to few decimals, many points are the same."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, N, C, generator=generator) + 2 * torch.randn(
        S, N, C, generator=generator
    )
    if decimals is not None:
        logits = logits.round(decimals=decimals).clamp(-1, 1)
    return torch.softmax(logits, -1)


def sharded(predict, X, edges, rule, n_instances, *, block_rows=512, **options):
    """The picks of a rule on a pool in shards."""
    template = predict(X[:2])
    cuts = EdgeDiscrimination.of(edges, len(template))
    with local_shards(
        RowsInMemory(X), predict, cuts, template, memory_limit=10**9, block_rows=block_rows,
        **options,
    ) as pool:  # fmt: skip
        pool.fill()
        return list(RULES[rule](pool, edges, None, n_instances, random_state=1))


@settings(max_examples=25, deadline=None)
@given(
    S=st.integers(2, 9),
    N=st.integers(3, 3000),
    C=st.integers(2, 5),
    n_instances=st.integers(1, 12),
    n_shards=st.sampled_from([1, 2, 7, 10**6]),
    cache_policy=st.sampled_from(CACHE_POLICIES),
    rule=st.sampled_from(list(RULES)),
    everyone=st.booleans(),
    decimals=st.sampled_from([None, 0]),
    seed=st.integers(0, 10_000),
)
def test_batches_and_gains_are_those_of_a_pool_in_memory(
    S, N, C, n_instances, n_shards, cache_policy, rule, everyone, decimals, seed
):
    S, n_instances = 2 * (S // 2), min(n_instances, N)
    edges = all_pairs(S) if everyone else disjoint_pairs(S)
    proba = random_proba(S, N, C, seed, decimals)
    X = np.arange(N)[:, None]
    expected = list(RULES[rule](proba, edges, None, n_instances, random_state=1))
    found = sharded(
        Table(proba), X, edges, rule, n_instances, n_shards=n_shards, cache_policy=cache_policy
    )
    assert found == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(2))
def test_bits_of_predictions_do_not_depend_on_shards_nor_on_what_is_kept(rule, seed):
    rng = np.random.default_rng(seed)
    S, N, D, C = 2 * rng.integers(2, 20), rng.integers(1000, 4500), rng.integers(2, 30), 4
    X = rng.normal(size=(N, D)).astype(np.float32)
    predict, edges = Softmax(S, D, C, seed), disjoint_pairs(int(S))
    batches = [
        sharded(predict, X, edges, rule, 8, block_rows=512, n_shards=n, cache_policy=cache_policy)
        for n, cache_policy in zip((1, 2, 7, N), cycle(CACHE_POLICIES), strict=False)
    ]
    assert all(batch == batches[0] for batch in batches)


@pytest.mark.parametrize("cache_policy", CACHE_POLICIES)
def test_batches_and_gains_do_not_depend_on_the_number_of_processes(cache_policy):
    X = np.random.default_rng(0).normal(size=(5000, 9)).astype(np.float32)
    choose = partial(
        sharded,
        Softmax(10, 9, 3, 0),
        X,
        disjoint_pairs(10),
        "balance_margin",
        30,
        cache_policy=cache_policy,
    )
    expected = choose()
    for options in ({"n_jobs": 2}, {"n_jobs": 3, "backend": "threading"}):
        with joblib.parallel_config(**options):
            assert choose() == expected


def test_pending_points_and_gains_of_all_points_are_those_of_a_pool_in_memory():
    proba = random_proba(6, 2500, 3, 0)
    edges, pending = all_pairs(6), random_proba(6, 2, 3, 1)
    held = BalanceObjective(proba, edges)
    with local_shards(
        RowsInMemory(np.arange(2500)[:, None]), Table(proba), EdgeDiscrimination.of(edges, 6),
        proba[:, :1], memory_limit=10**9, block_rows=512,
    ) as pool:  # fmt: skip
        objective = BalanceObjective(pool, edges)
        for one in (held, objective):
            one.add_pending(pending)
            one.add(17)
        assert torch.equal(objective.gains(), held.gains())
        points = [2000, 3, 700, 3]
        assert torch.equal(pool.rows(points), proba[:, points])


def test_the_grid_of_blocks_depends_on_the_shape_of_predictions_alone():
    assert block_rows_for(torch.ones(100, 7, 5)) == block_rows_for(torch.ones(100, 1, 5)) == 10_240
    assert block_rows_for(torch.ones(100, 1, 100)) % 512 == 0
    assert 100 * 100 * block_rows_for(torch.ones(100, 1, 100)) <= 2**25
    assert even_bounds(25_000, 10_240, 2) == [0, 10_240, 25_000]
    assert even_bounds(5, 10, 3) == [0, 5]


def test_only_the_weights_and_one_row_travel_for_a_pick():
    S, N, C = 100, 30_000, 5
    edges = disjoint_pairs(S)
    proba = random_proba(S, 300, C, 0)
    sent, answered = [], []

    class Far(Table):
        """A remote pool that counts what is sent and returned."""

        n_points, template = N, proba[:, :1]

        def map(self, function):
            block = pickle.loads(serialized(function))(0, *EdgeDiscrimination.of(edges, S)(proba))
            sent.append(len(serialized(function)))
            answered.append(len(serialized(block)))
            return [block]

        def rows(self, points):
            answered.append(proba[:, points].nbytes)
            return proba[:, points]

    list(iter_balance_batch(Far(proba), edges, None, 3, random_state=0))
    weights = 4 * S * len(edges)
    assert sent[0] < 4000  # all weights are the same at first
    assert weights < sent[1] < weights + 4000
    assert max(answered) < 4000
    assert 4 * S * C in answered


# --- ties -----------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_candidates_of_parts_hold_the_point_that_a_look_at_all_would_choose(data):
    values = data.draw(st.lists(st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]), min_size=2))
    gains = torch.tensor(values, dtype=torch.float64)
    cut = data.draw(st.integers(1, len(values) - 1))
    tolerance = data.draw(st.sampled_from([1e-12, 0.02, 0.3]))
    order = TieOrder(len(values), "random", data.draw(st.integers(0, 99)))
    near = (gains >= gains.max() * (1 - tolerance)).nonzero().flatten()
    expected = near[order.of(near).argmin()].item()
    parts = [
        candidates(gains[:cut], 0, order, tolerance),
        candidates(gains[cut:], cut, order, tolerance),
    ]
    found = torch.cat([part.points for part in parts])
    best = gains.max()
    tied = [p for p in found.tolist() if gains[p] >= best * (1 - tolerance)]
    assert min(tied, key=lambda point: order.of(torch.tensor([point])).item()) == expected


@pytest.mark.parametrize("n_points", [50, 20_000])
def test_the_order_of_ties_is_a_random_one_without_repetitions(n_points):
    points = torch.arange(n_points)
    ranks = TieOrder(n_points, "random", 0).of(points)
    assert len(ranks.unique()) == n_points
    assert not torch.equal(ranks, TieOrder(n_points, "random", 1).of(points))
    correlation = np.corrcoef(ranks.argsort().argsort(), points)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(n_points)
    some = torch.tensor([7, 3, n_points - 1])
    assert torch.equal(TieOrder(n_points, "random", 0).of(some), ranks[some])
    assert torch.equal(TieOrder(n_points, "first").of(some), some)


# --- scratch files and errors ---------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Use a separate folder for scratch files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Faulty(Softmax):
    """Hypotheses that fail on the rows with a NaN."""

    def __init__(self, error):
        super().__init__(4, 3, 2, 0)
        self.error = error

    def __call__(self, X):
        if np.isnan(X).any():
            raise self.error
        return super().__call__(X)


def raises_and_leaves_no_file(error, scratch, n_jobs=1):
    X = np.ones((3000, 3), dtype=np.float32)
    X[2000] = np.nan
    with joblib.parallel_config(n_jobs=n_jobs), pytest.raises(type(error)):
        sharded(Faulty(error), X, disjoint_pairs(4), "balance_margin", 3, cache_policy="file")
    assert [path for path in scratch.rglob("*") if "modal_balance" in path.name] == []


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt()])
def test_errors_and_interrupts_leave_no_file(error, scratch):
    raises_and_leaves_no_file(error, scratch)


def test_a_scratch_file_is_gone_when_the_batch_is_chosen(scratch):
    X = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    sharded(Softmax(4, 3, 2, 0), X, disjoint_pairs(4), "balance_margin", 3, cache_policy="file")
    assert list(Path(scratch).iterdir()) == []


def test_a_full_disk_is_one_error_that_says_what_to_do(scratch):
    resource = pytest.importorskip("resource")
    cache, limits = FileCache(), resource.getrlimit(resource.RLIMIT_FSIZE)
    cache.put(0, (torch.ones(2, 8, 2),))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match="The scratch files in .* cannot be written: File too.*TMP"
        ):
            cache.put(8, (torch.ones(2, 8000, 2),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.get(8) is None  # not half of it
    assert cache.get(0)[0].equal(torch.ones(2, 8, 2))


def test_a_cache_in_files_returns_what_it_was_given_and_is_gone_with_its_object(scratch):
    block = tuple(torch.rand(2, 8, 3, dtype=kind) for kind in (torch.float32, torch.float64))
    block = (*block, block[0][:, ::2, 1:])  # a view with gaps
    cache = FileCache()
    cache.put(16, block)
    found = cache.get(16)
    assert [(b.dtype, b.tolist()) for b in found] == [(b.dtype, b.tolist()) for b in block]
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get(16) is None and cache.get(8) is None
    del cache, found
    assert list(scratch.iterdir()) == []
