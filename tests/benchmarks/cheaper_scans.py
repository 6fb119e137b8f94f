"""What could make the scans of a large batch cheaper, measured: bounds, and smaller floats.

    python tests/benchmarks/cheaper_scans.py

Picks by covers to the end of the batch (rest="cover"), one scan each, on the pool of
large_pools.py. For each scan: the share of points whose last known gain, which bounds the next, is
above the best gain there turns out to be, so that they must be looked at again; and for predictions
stored in float16 the error of the gains near the best, and how many points lie within it.
"""

from __future__ import annotations

from time import process_time

import numpy as np
import torch
from large_pools import classifier

from modal_balance.acquisition.pair_coverage import PairCoverage
from modal_balance.acquisition.pair_scan import PairCuts
from modal_balance.acquisition.predictions import HeldPredictions
from modal_balance.equivalence import disjoint_pairs, edges_beyond, votes
from modal_balance.hypotheses import draw_hypotheses

N, S, D, C, PICKS = 20_000, 100, 20, 5, 60


def seconds_of(function, repeats=5):
    """Return the median seconds of the processor that a call takes."""
    times = []
    for _ in range(repeats):
        started = process_time()
        function()
        times.append(process_time() - started)
    return np.median(times)


def main():
    X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    proba = draw_hypotheses(classifier(D, C), S, random_state=0).predict_proba_samples(X)
    edges, weights = edges_beyond(votes(proba), disjoint_pairs(S), 0.01)
    half = proba.half()
    exact = PairCoverage(proba, edges, weights, cover_tolerance=1e-4)
    cuts = PairCuts.of(edges, S)
    rough = PairCoverage(HeldPredictions(half.float(), cuts), edges, weights)

    shares, errors, near, fresh_scans = [], [], [], 0
    bound = torch.full((N,), torch.inf, dtype=torch.float64)
    covers = exact.n_covers
    for _ in range(PICKS):
        gains = exact.gains()
        fresh_scans += exact.fresh
        best, winner = gains.max(0)
        if not exact.fresh:
            shares.append((bound >= best).double().mean().item())
        bound = gains
        rough.remaining, rough.scale, rough.fresh = exact.remaining, exact.scale, exact.fresh
        others = rough.gains()
        top = gains >= 0.9 * best
        error = ((others - gains).abs() / gains)[top].max().item()
        errors.append(error)
        near.append(int((others >= others.max() * (1 - 2 * error - 1e-5)).sum()))
        exact.add(int(winner))
    covers = exact.n_covers - covers + 1
    print(f"{PICKS} picks, {covers} covers; scans that need no matrix product: {fresh_scans}")
    print(f"points above the best gain by their last gain: {np.mean(shares):.1%} on average, ")
    print(f"    at least {np.min(shares):.1%}")
    print(f"float16: relative error near the best {np.median(errors):.1e} to {max(errors):.1e}")
    print(f"    points within it: {np.median(near):.0f}, at most {max(near)}")

    scan, block = exact._scan(), cuts(proba)
    kept = block[1].half()

    def by_chunks(blocks_of):
        """Return seconds of a scan that makes what it needs in cache, a chunk at a time."""
        chunks = [slice(start, start + 512) for start in range(0, N, 512)]
        return seconds_of(lambda: [scan(0, *blocks_of(chunk)) for chunk in chunks])

    full = by_chunks(lambda chunk: (proba[:, chunk], block[1][:, chunk]))
    again = by_chunks(lambda chunk: cuts(proba[:, chunk]))
    halves = by_chunks(lambda chunk: (half[:, chunk].float(), kept[:, chunk].float()))
    print(f"a scan: {full:.3f} s; from float16: {halves / full:.2f} x; from predictions alone, ")
    print(f"    without what is kept beside them: {again / full:.2f} x")
    exact._begin_cover()
    scan = exact._scan()
    first = by_chunks(lambda chunk: (proba[:, chunk], block[1][:, chunk]))
    print(f"the first scan of a cover: {first / full:.2f} x")


if __name__ == "__main__":
    main()
