"""Query a pool on disk: seconds for predictions and for picks, and the most memory ever used.

    python tests/benchmarks/large_pools.py --rows 1000000 2000000 --memory-limit 1GB
    python tests/benchmarks/large_pools.py --rows 200000 --compare

Every size runs in a process of its own. Rows are random, by seed, and lie in an .npy file. A small
network with dropout has learnt 200 of them; its hypotheses predict the pool.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext
from time import process_time, sleep

import joblib
import numpy as np
import psutil

from modal_balance import MCDropoutClassifier, balance_margin_query, balance_query
from modal_balance.acquisition.balance import iter_balance_batch
from modal_balance.acquisition.balance_margin import iter_balance_margin_batch

CHUNK = 100_000  # rows written at once
STRATEGIES = {"balance": balance_query, "balance_margin": balance_margin_query}
ITERATORS = {"balance": iter_balance_batch, "balance_margin": iter_balance_margin_batch}


def labels_of(X, n_classes):
    """Classes that are rings around the origin of the first two features, blurred."""
    radius = np.hypot(X[:, 0], X[:, 1]) + 0.3 * X[:, 2]
    return np.clip((radius * n_classes / 2.5).astype(int), 0, n_classes - 1)


def write_pool(path, n_rows, n_features):
    shape = (n_rows, n_features)
    pool = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, n_rows, CHUNK):
        rng = np.random.default_rng([0, start])
        stop = min(start + CHUNK, n_rows)
        pool[start:stop] = rng.normal(size=(stop - start, n_features))
    pool.flush()


def classifier(n_features, n_classes):
    X = np.random.default_rng(1).normal(size=(200, n_features)).astype(np.float32)
    y = labels_of(X, n_classes)
    y[:n_classes] = np.arange(n_classes)
    return MCDropoutClassifier((64,), dropout=0.3, random_state=0).fit(X, y)


class PeakMemory:
    """The most resident memory of this process and its children, sampled while in use."""

    def __enter__(self):
        self.peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        process = psutil.Process()
        while not self._ended.is_set():
            total = 0
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            self.peak = max(self.peak, total)
            sleep(0.05)

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()


def measure(path, options):
    """Return a dictionary of what one query took."""
    learner = classifier(options.features, options.classes)
    start = psutil.Process().memory_info().rss
    reports = []
    parallel = joblib.parallel_config(n_jobs=options.jobs) if options.jobs > 1 else nullcontext()
    used = process_time()
    with PeakMemory() as memory, parallel:
        STRATEGIES[options.strategy](
            learner, path, options.batch, n_samples=options.hypotheses, tau=0.01,
            memory_limit=options.memory_limit, random_state=0, callback=reports.append,
            verbose=options.verbose,
        )  # fmt: skip
    (report,) = reports
    return {
        "seconds": round(report.seconds, 1),
        "prediction": round(report.inference_seconds, 1),
        "selection": round(report.seconds - report.inference_seconds, 1),
        "processor": round(process_time() - used, 1),  # of this process
        "before_MB": round(start / 1e6),
        "peak_MB": round(memory.peak / 1e6),
        "first": report.indices[:5].tolist(),
    }


def compare(path, options):
    """Print the seconds of a pool that is streamed and of one in memory, taken in turn."""
    from modal_balance.equivalence import disjoint_pairs, edges_beyond, votes
    from modal_balance.hypotheses import draw_hypotheses

    learner = classifier(options.features, options.classes)
    X = np.load(path)

    def in_memory():
        hypotheses = draw_hypotheses(learner, options.hypotheses, random_state=0)
        proba = hypotheses.predict_proba_samples(X)
        pairs = disjoint_pairs(options.hypotheses)
        edges, weights = edges_beyond(votes(proba[:, :10_000]), pairs, 0.01)
        return list(ITERATORS[options.strategy](proba, edges, weights, options.batch))

    def streamed(pool):
        return STRATEGIES[options.strategy](
            learner, pool, options.batch, n_samples=options.hypotheses, tau=0.01,
            memory_limit="64GB", random_state=0,
        )  # fmt: skip

    # Seconds of the processor: the machine may have other things to do.
    ways = {
        "predictions as one tensor": in_memory,
        "blocks, rows in memory": lambda: streamed(X),
        "blocks, rows on disk": lambda: streamed(path),
    }
    seconds = {name: [] for name in ways}
    for _ in range(options.repeats + 1):
        for name, way in ways.items():
            started = process_time()
            way()
            seconds[name].append(process_time() - started)
    base = np.array(seconds["predictions as one tensor"][1:])  # the first does not count
    for name, times in seconds.items():
        ratio = np.median(np.array(times[1:]) / base)
        print(f"{name}: {np.median(times[1:]):.2f} s of the processor, {ratio:.2f} x")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--hypotheses", type=int, default=100)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="balance_margin")
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the pool is written")
    parser.add_argument("--verbose", type=int, default=0)
    parser.add_argument("--compare", action="store_true", help="with predictions in memory")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        options.batch = options.batch[0]
        print(json.dumps(measure(options.child, options)))
        return
    for n_rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = os.path.join(folder, "pool.npy")
            write_pool(path, n_rows, options.features)
            for batch in options.batch:
                if options.compare:
                    options.batch = batch
                    compare(path, options)
                    continue
                command = [sys.executable, __file__, "--child", path, "--batch", str(batch)]
                for name in ("features", "hypotheses", "classes", "strategy", "jobs", "verbose"):
                    command += [f"--{name}", str(getattr(options, name))]
                command += ["--memory-limit", options.memory_limit]
                shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                print(json.dumps({"rows": n_rows, "batch": batch} | json.loads(shown.stdout)))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
