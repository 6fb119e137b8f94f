"""Benchmarks: ``python -m pytest tests/benchmarks -s``. Nothing here asserts a speed."""

from __future__ import annotations

import os

import pytest
import torch
from timing import seconds_of


def pytest_configure(config):
    """Say what is missing, where the marks of the benchmarks would only be called unknown."""
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError(
            "The benchmarks need pytest-benchmark: python -m pip install -e '.[dev]'"
        )


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
