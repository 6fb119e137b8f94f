"""Choosing a batch, against the time its matrix products would take at the machine's own rate."""

import pytest
import torch
from timing import seconds_of

from modal_balance import balance_batch, disjoint_pairs


@pytest.mark.parametrize(
    ("n_points", "n_pairs", "n_classes", "n_instances"),
    [(5_000, 20, 7, 10), (40_000, 100, 10, 10)],
    ids=["N=5000 K=20 C=7 B=10", "N=40000 K=100 C=10 B=10"],
)
def test_selection(benchmark, gemm_rate, n_points, n_pairs, n_classes, n_instances):
    generator = torch.Generator().manual_seed(0)
    shared = 2 * torch.randn(1, n_points, n_classes, generator=generator)
    own = torch.randn(2 * n_pairs, n_points, n_classes, generator=generator)
    proba = torch.softmax(shared + own, -1)
    edges = disjoint_pairs(2 * n_pairs)

    def select():
        return balance_batch(proba, edges, None, n_instances, random_state=0)

    indices, _ = benchmark.pedantic(select, rounds=5, warmup_rounds=1)
    assert len(set(indices.tolist())) == n_instances
    # The first pick needs no matrix product.
    operations = 2 * len(edges) * len(proba) * n_points * n_classes * (n_instances - 1)
    seconds = benchmark.stats.stats.min
    print(
        f"\nN={n_points} K={n_pairs} C={n_classes} B={n_instances}: {seconds:.3f} s, "
        f"{operations / seconds / gemm_rate:.0%} of the GEMM rate "
        f"({gemm_rate / 1e9:.0f} GFLOP/s measured in this run)"
    )


def test_all_pairs(benchmark, gemm_rate):
    from modal_balance.equivalence import all_pairs

    proba = torch.softmax(torch.randn(40, 5_000, 7), -1)
    edges = all_pairs(40)
    seconds = seconds_of(lambda: balance_batch(proba, edges, None, 10, random_state=0))
    benchmark.pedantic(lambda: balance_batch(proba, edges, None, 10, random_state=0), rounds=1)
    print(f"\nN=5000 C=7 B=10, all {len(edges)} pairs of 40 hypotheses: {seconds:.3f} s")
