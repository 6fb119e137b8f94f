"""Measures the package on a GPU, or at toy size on the CPU: ``measure.py REPORT.md``.

Each line of the report is written when it is measured. TEST_DEVICE names the device.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from modal_balance import (
    DropoutHypotheses,
    MCDropoutClassifier,
    balance_batch,
    balance_margin_query,
    disjoint_pairs,
)
from modal_balance.hypotheses import chunks
from modal_balance.simulation.networks import TwoBlockCNN

DEVICE = os.environ.get("TEST_DEVICE", "cuda")
TOY = DEVICE == "cpu"


def seconds_of(function, repeats=3):
    """Return the smallest time of several calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        synchronize()
        started = perf_counter()
        function()
        synchronize()
        times.append(perf_counter() - started)
    return min(times)


def synchronize():
    if not TOY:
        torch.cuda.synchronize()


def gemm_rate():
    """The device's rate of float32 matrix products, in operations per second."""
    n = 512 if TOY else 8192
    a, b = torch.randn(2, n, n, device=DEVICE).unbind()
    return 2 * n**3 / seconds_of(lambda: a @ b)


def selection(n_points, n_pairs, n_classes, rate):
    """A batch of 10 by the objective, as tests/benchmarks/test_selection_speed.py measures it."""
    torch.manual_seed(0)
    shape = (2 * n_pairs, n_points, n_classes)
    proba = torch.randn(shape, device=DEVICE)
    proba += 2 * torch.randn(1, n_points, n_classes, device=DEVICE)
    proba = torch.softmax(proba, -1)
    edges = disjoint_pairs(2 * n_pairs)
    seconds = seconds_of(lambda: balance_batch(proba, edges, None, 10, random_state=0))
    operations = 2 * len(edges) * len(proba) * n_points * n_classes * 9  # the first needs none
    share = operations / seconds / rate
    what = f"batch of 10, N = {n_points:,}, K = {n_pairs}, C = {n_classes}"
    return what, f"{seconds:.3f} s, {share:.0%} of the GEMM rate"


def images_of_digits():
    """Images of MNIST's size and their labels: scikit-learn's digits, enlarged."""
    digits = torch.from_numpy(load_digits().images / 16).float()[:, None]
    return nn.functional.interpolate(digits, size=28), load_digits().target


def convolutional_hypotheses(n_images, n_samples, chunk_values):
    """The hypotheses of the paper's network for MNIST.

    A CPU wants as many values at once as stay in its cache, and a GPU more.
    """
    torch.manual_seed(0)
    digits = images_of_digits()[0]
    images = digits[torch.randint(len(digits), (n_images,))].numpy()
    net = NeuralNetClassifier(
        TwoBlockCNN(1, 10), criterion=nn.CrossEntropyLoss, device=DEVICE, verbose=0
    )
    hypotheses = DropoutHypotheses(net.initialize(), n_samples, seed=0)
    name = "CHUNK_VALUES" if TOY else "CHUNK_VALUES_CUDA"
    usual = getattr(chunks, name)
    setattr(chunks, name, chunk_values)
    try:
        hypotheses.predict_proba_samples(images[: n_images // 40])  # a call that does not count
        synchronize()
        started = perf_counter()
        hypotheses.predict_proba_samples(images)
        synchronize()
        seconds = perf_counter() - started
    finally:
        setattr(chunks, name, usual)
    rate = n_images * n_samples / seconds
    what = f"{n_samples} hypotheses of a CNN on {n_images:,} images of 28 x 28, "
    what += f"{chunk_values:,} values of a layer at once"
    return what, f"{seconds:.2f} s, {rate:,.0f} predictions a second"


def training(device):
    X, y = load_digits(return_X_y=True)
    classifier = MCDropoutClassifier(random_state=0, device=device)
    seconds = seconds_of(lambda: classifier.fit(X[:200], y[:200]), repeats=1)
    return f"MCDropoutClassifier(device={device!r}).fit on 200 digits", f"{seconds:.2f} s"


def convolutional_training():
    """The training of the paper on 100 images, stopped early on 128 others."""
    X, y = images_of_digits()[0].numpy(), images_of_digits()[1]
    classifier = MCDropoutClassifier.paper(
        module=TwoBlockCNN,
        random_state=0,
        device=DEVICE,
        max_epochs=1 if TOY else 100,
        n_samples=2,  # validation is not what is measured
    )
    X_val, y_val = X[100:228], y[100:228]
    seconds = seconds_of(
        lambda: classifier.fit(X[:100], y[:100], X_val=X_val, y_val=y_val), repeats=1
    )
    n_steps = 32 * classifier.n_iter_
    what = f"MCDropoutClassifier.paper, TwoBlockCNN, fit on 100 images, {DEVICE}"
    return what, f"{seconds:.2f} s, {seconds / n_steps * 1e3:.2f} ms of {n_steps} steps each"


def query(n_points):
    X, y = load_digits(return_X_y=True)
    classifier = MCDropoutClassifier(random_state=0, device=DEVICE).fit(X[:200], y[:200])
    pool = np.random.default_rng(0).random((n_points, 64), dtype=np.float32) * 16
    seconds = seconds_of(
        lambda: balance_margin_query(classifier, pool, 50, random_state=0), repeats=1
    )
    return f"balance_margin_query, 50 of {n_points:,} rows, {DEVICE}", f"{seconds:.2f} s"


def main(path):
    name = "CPU, toy size" if TOY else torch.cuda.get_device_name()
    rate = gemm_rate()
    steps = [
        lambda: selection(*((500, 10, 4) if TOY else (40_000, 100, 10)), rate),
        lambda: selection(*((2_000, 10, 4) if TOY else (1_000_000, 100, 10)), rate),
        lambda: training("cpu"),
        lambda: training(DEVICE),
        lambda: query(11_000 if TOY else 100_000),
        lambda: convolutional_hypotheses(*((100, 5) if TOY else (10_000, 200)), 2**25),
        lambda: convolutional_hypotheses(*((100, 5) if TOY else (40_000, 200)), 2**27),
        lambda: convolutional_hypotheses(*((100, 5) if TOY else (10_000, 200)), 2**29),
        lambda: convolutional_hypotheses(*((100, 5) if TOY else (4_000, 200)), 2**22),
        convolutional_training,
    ]
    with open(path, "w", buffering=1) as report:

        def say(line):
            print(line, flush=True)
            report.write(line + "\n")

        say(f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}")
        say(f"float32 matrix products: {rate / 1e12:.2f} TFLOP/s\n")
        say("| what | time | most memory on the device |\n| --- | --- | --- |")
        failed = 0
        for step in steps:
            if not TOY:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            try:
                what, found = step()
            except Exception as error:  # the other steps are worth having
                what, found = "FAILED", f"{type(error).__name__}: {str(error)[:200]}"
                failed += 1
            peak = "" if TOY else f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
            say(f"| {what} | {found} | {peak} |")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]))))
