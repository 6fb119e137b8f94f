"""Queries on a Dask cluster choose the same batch as in memory, even if a worker dies."""

import gc
import multiprocessing
import os
import time
from functools import lru_cache

import numpy as np
import pytest
import torch
from toy import quick

from modal_balance import balance_query, bald_query, coreset_query, herding_query
from modal_balance.acquisition.balance_margin import iter_balance_margin_batch
from modal_balance.acquisition.objective import EdgeDiscrimination
from modal_balance.equivalence.pairs import disjoint_pairs
from modal_balance.pools.cluster import client_at_hand, cluster_shards
from modal_balance.pools.local import local_shards
from modal_balance.pools.sources import RowsInMemory

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of closing sockets, at the end

N, D = 22_000, 6
TWO_BLOCKS = 10_300
COLUMNS = [f"column {i}" for i in range(D)]


@lru_cache(maxsize=1)
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)).astype(np.float32)
    score = X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.normal(size=N)
    return X, (score > 0.5).astype(int) + (X[:, 2] > 1)


@lru_cache(maxsize=1)
def classifier():
    X, y = rows()
    return quick(hidden_layer_sizes=(16,), dropout=0.5).fit(X[:80], y[:80])


def batch(X_pool, learner=None, n_instances=15, **options):
    indices, gains = balance_query(
        learner or classifier(), X_pool, n_instances, n_samples=12, tau=0.02, random_state=3,
        **options,
    )  # fmt: skip
    return indices.tolist(), gains.tolist()


@pytest.fixture(scope="module")
def expected():
    assert client_at_hand() is None
    return batch(rows()[0])


@pytest.fixture(scope="module")
def alone():
    """Return the choices of other strategies without a cluster."""
    assert client_at_hand() is None
    return {
        strategy: strategy(classifier(), rows()[0][:TWO_BLOCKS], 5, random_state=0)
        for strategy in (bald_query, coreset_query, herding_query)
    }


@pytest.fixture(scope="module", autouse=True)
def workers_start_fast():
    """Fork the workers' processes from one that has imported once what all of them need."""
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context()  # names libraries of its own, the first time
        multiprocessing.get_context("forkserver").set_forkserver_preload(
            ["distributed", "dask.array", "dask.dataframe", "skorch", "modal_balance.strategies",
             "modal_balance.estimators", "modal_balance.pools.cluster"]
        )  # fmt: skip
        yield


@pytest.fixture(scope="module")
def client(expected, alone):
    """Yield a client with two workers in separate processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
    assert client_at_hand() is None


def left_behind(client):
    """What is left on the cluster of earlier queries, which it forgets a moment later."""
    for _ in range(100):
        left = [key for keys in client.has_what().values() for key in keys]
        if not left:
            break
        time.sleep(0.1)
    return left


def networks_here():
    gc.collect()
    return sum(isinstance(thing, torch.nn.Module) for thing in gc.get_objects())


def test_the_workers_are_left_as_they_were(client, expected):
    client.run(torch.set_num_threads, 3)
    assert batch(rows()[0]) == expected
    assert list(client.run(torch.get_num_threads).values()) == [3, 3]
    assert left_behind(client) == []
    assert list(client.run(networks_here).values()) == [0, 0]
    client.run(torch.set_num_threads, 1)


def test_pools_in_memory_on_disk_and_in_collections(client, expected, tmp_path):
    X, y = rows()
    np.save(tmp_path / "pool.npy", X)
    assert batch(X) == expected
    assert batch(tmp_path / "pool.npy", memory_limit=1000) == expected  # the workers' files
    dask_array = pytest.importorskip("dask.array")
    assert batch(dask_array.from_array(X, chunks=((3, 14_000, 7_000, 997), 4))) == expected
    pd = pytest.importorskip("pandas")
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X, columns=COLUMNS)
    named = quick(hidden_layer_sizes=(16,), dropout=0.5).fit(frame[:80], y[:80])
    assert batch(dask_frame.from_pandas(frame, npartitions=7), named) == expected


def test_other_strategies(alone, client):
    for strategy, (indices, scores) in alone.items():
        found = strategy(classifier(), rows()[0][:TWO_BLOCKS], 5, random_state=0)
        assert found[0].tolist() == indices.tolist()
        assert found[1].tolist() == scores.tolist()


def softmax_hypotheses(X, S=10, C=3, die=None):
    """A function of rows; with ``die`` the first process that reaches that call is gone."""
    weights = 2 * torch.randn(S, X.shape[1], C, generator=torch.Generator().manual_seed(0))
    driver = os.getpid()

    def predict(X):  # a function in a function, so that it is pickled as it is
        if die is not None and os.getpid() != driver:
            with open(die, "a+") as log:
                log.write(".")
                log.seek(0)
                n_calls = len(log.read())
            if n_calls == 8:
                os._exit(1)
        return torch.softmax(torch.from_numpy(X) @ weights, -1)

    return predict


@pytest.mark.parametrize("cache_policy", ["memory", "file", "nothing"])
def test_a_worker_that_dies_while_it_predicts_changes_nothing(client, cache_policy, tmp_path):
    X = rows()[0][:9000]
    edges = disjoint_pairs(10)
    cuts = EdgeDiscrimination.of(edges, 10)

    def choose(shards, predict, *first):
        with shards(
            *first, RowsInMemory(X), predict, cuts, predict(X[:1]), memory_limit=10**9,
            cache_policy=cache_policy, block_rows=1024,
        ) as pool:  # fmt: skip
            pool.fill()
            return list(iter_balance_margin_batch(pool, edges, None, 8, random_state=1))

    expected = choose(local_shards, softmax_hypotheses(X))
    log = tmp_path / "calls"
    assert choose(cluster_shards, softmax_hypotheses(X, die=str(log)), client) == expected
    assert len(log.read_text()) > 9  # it died, and its work was done again


def test_a_worker_that_dies_between_two_picks_changes_nothing(client):
    X = rows()[0][:9000]
    edges = disjoint_pairs(10)
    predict, cuts = softmax_hypotheses(X), EdgeDiscrimination.of(edges, 10)
    arguments = (RowsInMemory(X), predict, cuts, predict(X[:1]))
    options = {"memory_limit": 10**9, "cache_policy": "memory", "block_rows": 1024}

    def picks(pool):
        return iter_balance_margin_batch(pool, edges, None, 12, cut_share=1, random_state=1)

    with local_shards(*arguments, **options) as pool:
        expected = list(picks(pool))
    with cluster_shards(client, *arguments, **options) as pool:
        pool.fill()
        found = []
        for number, pick in enumerate(picks(pool)):
            found.append(pick)
            if number == 2:
                client.restart_workers([next(iter(client.nthreads()))])
    assert found == expected


def test_errors_name_the_partition_and_leave_nothing_on_the_workers(client):
    dask_array = pytest.importorskip("dask.array")
    X = rows()[0].copy()
    X[18_500, 1] = np.nan
    pool = dask_array.from_array(X, chunks=(6000, D))
    with pytest.raises(ValueError, match=r"Rows 10240 to 20479 .*partition 3\) failed.*NaN"):
        batch(pool, X_reference=X[:50])
    assert left_behind(client) == []
    batch(rows()[0])
    assert left_behind(client) == []
