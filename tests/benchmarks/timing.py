"""How long a call takes."""

from __future__ import annotations

from time import perf_counter


def seconds_of(function, repeats=5):
    """Return the smallest time of several calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        started = perf_counter()
        function()
        times.append(perf_counter() - started)
    return min(times)
