"""Memory and time of ``modal-balance next`` on a CSV file of a million rows.

python tests/benchmarks/million_rows.py
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd


def write_table(path, n=1_000_000):
    """Write eight columns of numbers, one of words, one of text, an id, and 60 labels."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": rng.normal(size=n).round(4) for i in range(8)})
    frame.insert(0, "id", [f"{i:07}" for i in range(n)])
    frame["colour"] = rng.choice(["red", "green", "blue"], n)
    words = np.array("wood iron glass stone paper clay wool sand salt rope".split())
    frame["note"] = [" ".join(row) for row in words[rng.integers(0, 10, (n, 5))]]
    frame["label"] = ""
    frame.loc[:59, "label"] = np.where(frame.x0[:60] > 0, "up", "down")
    frame.to_csv(path, index=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "t.csv")
        write_table(table)
        command = ["next", table, "--target", "label", "--id", "id", "--model", "forest"]
        subprocess.run([sys.executable, "-m", "modal_balance", *map(str, command)], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{table.stat().st_size / 1e6:.0f} MB of text: at most {used.ru_maxrss / 1e6:.2f} GB")
        print(f"of memory, {used.ru_utime:.0f} s of computing")
