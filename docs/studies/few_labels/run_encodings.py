"""Compare encodings of numeric columns, and a few other changes, on random labels (resumable).

The networks of all seeds train in parallel. A recipe is ``name:option=value,...``, with the options
of OPTIONS; for example, ``bins`` is the number of bins of a column.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import append, done, labelled_rows, load, metrics
from stacked import StackedMLPs, smoothed_targets
from torch import Tensor

from modal_balance.estimators.networks import MLP
from modal_balance.estimators.scaling import SquashedScaling

Options = dict[str, Any]
OPTIONS: Options = {
    "bins": 0,  # largest number of bins of a column
    "budget": 10**9,  # largest number of bins of all columns
    "rows": 0,  # smallest number of rows per bin
    "scale": 1.0,  # factor of the encoded columns
    "source": "labelled",  # or "pool": rows for bins and scaling
    "k": 1,  # members of an ensemble
    "mix": 0,  # 1: every second member gets no encoding
    "bd": 0.0,  # share of rows whose encoding is dropped, in every step
    "hidden": (64, 64),
    "dropout": 0.2,
    "input_dropout": 0.2,
    "steps": 400,
    "lr": 1e-3,
    "wd": 0.0,  # decoupled weight decay
    "smooth": 0.05,
    "cw": 1.0,  # power of the balanced class weights
    "masks": 50,
}


class Encoder:
    """Scale the columns, and append the piecewise-linear encoding."""

    def __init__(self, labelled: np.ndarray, pool: np.ndarray, o: Options) -> None:
        rows = pool if o["source"] == "pool" else labelled
        self.scaling, self.factor = SquashedScaling(rows), o["scale"]
        numeric = [c for c in range(rows.shape[1]) if len(np.unique(rows[:, c])) > 2]
        n_bins = min(o["bins"], o["budget"] // max(1, len(numeric)))
        n_bins = min(n_bins, len(rows) // o["rows"]) if o["rows"] else n_bins
        self.edges = []
        for c in numeric if n_bins > 1 else ():
            column = rows[:, c].astype(np.float64)
            edges = np.unique(np.quantile(column, np.linspace(0, 1, n_bins + 1)))
            if len(edges) > 2:
                self.edges.append((c, edges))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        parts = [self.scaling(x)]
        for c, edges in self.edges:
            ramps = np.clip((x[:, c : c + 1] - edges[:-1]) / np.diff(edges), 0, 1)
            parts.append(self.factor * ramps.astype(np.float32))
        return np.concatenate(parts, axis=1).astype(np.float32)


def encoders(data: Any, rows: list[np.ndarray], o: Options) -> list[Encoder]:
    """Return an encoder for each seed; the same one if the pool determines it."""
    if o["source"] == "pool":
        return [Encoder(data.x_pool[:0], data.x_pool, o)] * len(rows)
    return [Encoder(data.x_pool[r], data.x_pool, o) for r in rows]


def fit(
    xs: list[np.ndarray], ys: list[np.ndarray], n_classes: int, n_plain: int, o: Options, seed: int
) -> StackedMLPs:
    """Train the networks of all seeds, k for each; narrower inputs are padded with zeros."""
    torch.manual_seed(seed)
    k, d, n = o["k"], max(x.shape[1] for x in xs), max(map(len, xs))
    nets = [
        MLP(d, n_classes, o["hidden"], o["dropout"], o["input_dropout"]) for _ in range(k * len(xs))
    ]
    x_all, targets = torch.zeros(len(xs), n, d), torch.zeros(len(xs), n, n_classes)
    weights = torch.zeros(len(xs), n)
    for m, (x, y) in enumerate(zip(xs, ys, strict=True)):
        x_all[m, : len(x), : x.shape[1]] = torch.from_numpy(x)
        targets[m, : len(x)] = smoothed_targets(torch.from_numpy(y), n_classes, o["smooth"])
        weight = (1 / np.bincount(y, minlength=n_classes).clip(1)[y]) ** o["cw"]
        weights[m, : len(x)] = torch.from_numpy(weight / weight.sum()).float()
    x_all, targets, weights = (part.repeat_interleave(k, 0) for part in (x_all, targets, weights))
    if o["mix"]:
        x_all[1::2, :, n_plain:] = 0
    stack = StackedMLPs(nets, n)
    adam = torch.optim.AdamW(stack.parameters, lr=o["lr"], weight_decay=o["wd"], fused=True)
    for _ in range(o["steps"]):
        x = x_all
        if o["bd"]:
            kept = (torch.rand(len(x), n, 1) >= o["bd"]).float()
            x = torch.cat([x[:, :, :n_plain], x[:, :, n_plain:] * kept], 2)
        stack.backward(x, targets, weights)
        adam.step()
    return stack


@torch.no_grad()
def samples(
    stack: StackedMLPs, m: int, x: np.ndarray, n_plain: int, o: Options, seed: int, masks: int
) -> Tensor:
    """Return the predictions (S, n, C) of the networks of seed m under dropout masks."""
    d = stack.weights[0].shape[1]
    inputs = torch.nn.functional.pad(torch.from_numpy(x), (0, d - x.shape[1]))
    generator, drawn = torch.Generator().manual_seed(seed), []
    for i in range(m * o["k"], (m + 1) * o["k"]):
        own = inputs
        if o["mix"] and i % 2:
            own = inputs.clone()
            own[:, n_plain:] = 0
        first = torch.addmm(stack.biases[0][i], own, stack.weights[0][i])
        for _ in range(max(1, masks // o["k"])):
            a = first
            for layer in range(1, len(stack.weights)):
                a = torch.relu(a)
                kept = torch.rand(a.shape[1], generator=generator) >= o["dropout"]
                mask = kept[:, None] / (1 - o["dropout"])
                a = torch.addmm(stack.biases[layer][i], a, stack.weights[layer][i] * mask)
            drawn.append(torch.softmax(a, 1))
    proba = torch.stack(drawn)
    return proba[torch.randperm(len(proba), generator=generator)]


def parse(text: str) -> tuple[str, Options]:
    """Return the name and the options of a recipe; hidden layers have the form 64x64."""
    name, _, rest = text.partition(":")
    o = dict(OPTIONS)
    for pair in filter(None, rest.split(",")):
        key, value = pair.split("=")
        if key == "hidden":
            o[key] = tuple(int(size) for size in value.split("x") if size)
        else:
            o[key] = type(OPTIONS[key])(value)
    return name, o


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 50, 100, 200, 300])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", type=int, default=3000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--recipes", nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    finished = done(args.out)
    for name in args.datasets:
        data = load(name, args.data_dir, args.pool)
        x_test, y_test = data.x_test[: args.test], data.y_test[: args.test]
        n_plain = data.x_pool.shape[1]
        for n in args.labels:
            for label, o in map(parse, args.recipes):
                seeds = [
                    seed
                    for seed in range(args.seeds)
                    if (label, name, n, seed) not in finished
                    and labelled_rows(data, n, seed) is not None
                ]
                if not seeds:
                    continue
                start = time.perf_counter()
                rows = [labelled_rows(data, n, seed) for seed in seeds]
                encode = encoders(data, rows, o)
                xs = [e(data.x_pool[r]) for e, r in zip(encode, rows, strict=True)]
                ys = [data.y_pool[r] for r in rows]
                stack = fit(xs, ys, data.n_classes, n_plain, o, 1000 * seeds[0] + n)
                seconds = (time.perf_counter() - start) / len(seeds)
                out = []
                for m, seed in enumerate(seeds):
                    drawn = samples(stack, m, encode[m](x_test), n_plain, o, seed, o["masks"])
                    proba = drawn.double().mean(0).numpy()
                    run = {"config": label, "dataset": name, "n": n, "seed": seed}
                    out.append(
                        {**run, "seconds": seconds, **metrics(proba, y_test, np.unique(ys[m]))}
                    )
                append(args.out, out)


if __name__ == "__main__":
    main()
