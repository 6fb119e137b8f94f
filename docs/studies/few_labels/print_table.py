"""Print mean accuracy by number of labels, and differences from the baselines."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", type=int, default=[10, 20, 50, 100, 200])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--metric", default="acc")
    parser.add_argument("--like", default="")
    parser.add_argument("--detail", action="store_true")
    args = parser.parse_args()
    frame = pd.concat([pd.read_json(f, lines=True) for f in args.files])
    frame = frame.drop_duplicates(["config", "dataset", "n", "seed"], keep="last")
    frame = frame[
        frame.dataset.isin(args.datasets) & frame.n.isin(args.labels) & (frame.seed < args.seeds)
    ]
    if args.like:
        frame = frame[frame.config.str.contains(args.like + "|^LR$|^RF$|^SVC$|^HGB$")]
    scale = 100 if args.metric in ("acc", "f1", "ece") else 1
    frame["v"] = frame[args.metric] * scale
    cell = frame.groupby(["config", "dataset", "n"]).v.mean().unstack("config")
    by_n = cell.groupby("n").mean().T
    by_n["mean"] = cell.mean()
    by_n = by_n.join(cell.groupby("dataset").mean().T.add_prefix(""))
    if "LR" in cell:
        worst = cell.sub(cell["LR"], axis=0)
        by_n["worst-LR(cell)"] = worst.min()
        by_n["worst-LR(set)"] = worst.groupby("dataset").mean().min()
    by_n["s"] = frame.groupby("config").seconds.max()
    by_n["rows"] = frame.groupby("config").size()
    print(by_n.sort_values("mean").round(3 if scale == 1 else 2).to_string())
    if args.detail:
        print(cell.round(2).to_string())


if __name__ == "__main__":
    main()
