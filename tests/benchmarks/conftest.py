"""Benchmarks: ``python -m pytest tests/benchmarks -s``. Nothing here asserts a speed."""

from __future__ import annotations

import os
from time import perf_counter

import pytest
import torch


def seconds_of(function, repeats=5):
    """Return the smallest time of several calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        started = perf_counter()
        function()
        times.append(perf_counter() - started)
    return min(times)


@pytest.fixture
def gemm_rate():
    """The machine's rate of float32 matrix products, measured now, in operations per second."""
    a, b = torch.randn(2, 2048, 2048).unbind()
    return 2 * 2048**3 / seconds_of(lambda: a @ b)


@pytest.fixture(scope="session", autouse=True)
def machine():
    """Use all cores, unlike the tests, and print on what the figures were taken."""
    torch.set_num_threads(os.cpu_count() or 1)
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads")
