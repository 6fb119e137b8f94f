"""BatchBALD beside batchbald-redux: the same points while the joint is exact, and the time.

    pip install batchbald-redux psutil
    python -m pytest tests/benchmarks/test_batchbald_speed.py -s

Both run on one thread and are timed in processor seconds: other programs on the machine then
matter little. The time of batchbald-redux is proportional to N.
"""

import time

import pytest
import torch

from modal_balance.acquisition.batchbald import batchbald_batch
from modal_balance.acquisition.information import bald_scores, epig_scores

S, C, BATCH, M = 40, 7, 10, 10_000
EXACT = 5  # picks: 7^4 < M < 7^5


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def predictions(n_points):
    """A pool on which hypotheses agree in part, as (S, N, C) in float32."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(1, n_points, C, generator=generator)
    own = torch.randn(S, n_points, C, generator=generator)
    return torch.softmax(2 * (shared + own), -1)


def timed(function):
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


@pytest.mark.parametrize("n_points", [5000])
def test_beside_batchbald_redux(n_points):
    redux = pytest.importorskip("batchbald_redux.batchbald")
    proba = predictions(n_points)
    batchbald_batch(proba[:, :100], 2)  # the first call of anything is slow
    (indices, gains), ours = timed(
        lambda: batchbald_batch(proba, BATCH, max_configurations=M, random_state=0)
    )
    # It takes log probabilities as (N, S, C), and returns the information of the batch so far.
    log_proba = proba.transpose(0, 1).log().contiguous()
    peer, theirs = timed(lambda: redux.get_batchbald_batch(log_proba, BATCH, M))
    fewer, fast = timed(lambda: batchbald_batch(proba, BATCH, max_configurations=1000))
    print(f"\n1000 configurations: {fast:.2f} s, ratio {theirs / fast:.0f}, {fewer[0].tolist()}")
    for batch in (indices.tolist(), fewer[0].tolist(), peer.indices):  # of the same quality?
        _, gains_of_batch = batchbald_batch(proba[:, batch], BATCH, max_configurations=200_000)
        print(f"information of {batch}: {gains_of_batch.sum():.4f} nats")
    print(f"\nN={n_points}: ours {ours:.2f} s, redux {theirs:.1f} s, ratio {theirs / ours:.0f}")
    print("ours ", [round(g, 4) for g in gains.cumsum(0).tolist()], indices.tolist())
    print("redux", [round(s, 4) for s in peer.scores], peer.indices)
    assert indices[:EXACT].tolist() == peer.indices[:EXACT]
    assert gains.cumsum(0)[:EXACT].tolist() == pytest.approx(peer.scores[:EXACT], abs=1e-4)


def test_batchbald(benchmark):
    proba = predictions(5000)
    benchmark.pedantic(batchbald_batch, (proba, BATCH), {"random_state": 0}, rounds=1)


def test_bald(benchmark):
    benchmark.pedantic(bald_scores, (predictions(5000),), rounds=3, warmup_rounds=1)


def test_epig(benchmark):
    proba = predictions(6000)
    benchmark.pedantic(epig_scores, (proba[:, :5000], proba[:, 5000:]), rounds=1)
