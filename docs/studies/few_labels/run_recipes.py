"""Run named recipes on the few-label data sets and append the results (resumable)."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import LABELS, Dataset, append, done, labelled_rows, load, metrics
from network import Recipe, Stack
from sklearn.preprocessing import StandardScaler


def run(
    recipe: Recipe,
    label: str,
    data: Dataset,
    n: int,
    seeds: list[int],
    masks: int,
    steps_kept: list[int],
    raw: bool,
) -> list[dict[str, Any]]:
    """Fit a stack, with a member for each seed and ensemble network, and measure every member."""
    xs, ys, scalers, kept = [], [], [], []
    for seed in seeds:
        rows = labelled_rows(data, n, seed)
        if rows is None:
            continue
        scaler = StandardScaler(with_mean=not raw, with_std=not raw).fit(data.x_pool[rows])
        kept.append(seed)
        scalers.append(scaler)
        xs.append(scaler.transform(data.x_pool[rows]))
        ys.append(data.y_pool[rows])
    if not kept:
        return []
    many = recipe.ensemble
    x = torch.tensor(np.stack(xs)).float().repeat_interleave(many, 0)
    y = torch.tensor(np.stack(ys)).repeat_interleave(many, 0)
    stack = Stack(recipe, data.n_classes, seed=17 * n + kept[0])
    keep: dict[int, Any] = dict.fromkeys(steps_kept)
    start = time.perf_counter()
    stack.fit(x, y, keep if keep else None)
    seconds = (time.perf_counter() - start) / len(kept)
    out = []
    for step, values in keep.items() if keep else [(recipe.steps, None)]:
        if values is not None:
            stack._load(values)
        for m, seed in enumerate(kept):
            test = torch.tensor(scalers[m].transform(data.x_test)).float()
            proba = (
                sum(
                    stack.proba(test, m * many + e, masks, mask_seed=seed + 1000 * e)
                    for e in range(many)
                )
                / many
            )
            name = f"{label}@{step}" if keep else label
            out.append(
                {
                    "config": name,
                    "dataset": data.name,
                    "n": n,
                    "seed": seed,
                    "seconds": seconds,
                    **metrics(proba.double().numpy(), data.y_test, np.unique(ys[m])),
                }
            )
    return out


def parse(text: str) -> tuple[str, Recipe, list[int]]:
    """Parse ``name:key=value,key=value``; hidden is 64x64, steps to keep are ``at=50/100``."""
    label, _, rest = text.partition(":")
    fields = {f.name: f for f in dataclasses.fields(Recipe)}
    values: dict[str, Any] = {}
    at: list[int] = []
    for pair in filter(None, rest.split(",")):
        key, value = pair.split("=")
        if key == "at":
            at = [int(v) for v in value.split("/")]
        elif key == "hidden":
            values[key] = tuple(int(v) for v in value.split("x"))
        else:
            values[key] = type(fields[key].default)(
                eval(value) if value in ("True", "False") else value
            )
    if at:
        values["steps"] = max(at)
    return label, Recipe(**values), at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--raw", action="store_true", help="no StandardScaler outside the network")
    parser.add_argument("--recipes", nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    finished = done(args.out)
    sets = [load(name, args.data_dir) for name in args.datasets]
    for text in args.recipes:
        label, recipe, at = parse(text)
        start = time.perf_counter()
        for data in sets:
            for n in args.labels:
                names = [f"{label}@{s}" for s in at] or [label]
                seeds = [
                    s
                    for s in range(args.seeds)
                    if any((c, data.name, n, s) not in finished for c in names)
                ]
                if seeds:
                    append(args.out, run(recipe, label, data, n, seeds, args.masks, at, args.raw))
        print(f"{label}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
