"""Run the paper's image experiments with its networks and protocol (resumable).

Networks are those of section 4.1 and appendix B, with early stopping on separate validation images.
tau is half of the validation error on MNIST, and a quarter elsewhere:

* MNIST and Repeated-MNIST, with 0 to 3 noisy copies of every image: 20 to 130 labels, B = 10;
* Fashion-MNIST: 20 to 130 labels, B = 10;
* EMNIST ByMerge, 47 classes: 0 to 130 labels, B = 5, K = 10;
* CIFAR-10 instead of CINIC-10, VGG-11: 200 to 300 labels, B = 10.

The default size is for a CPU, where a seed of one of these takes half an hour to two hours on a
core: pools of 1,000 different images, K = 25, epochs of 2,048 draws, 1,000 validation and 1,000
test images, predictions on these averaged over 20 masks, and a VGG with a quarter of the channels.
--paper-size, for a GPU, uses all images, the paper's K, epochs and validation images, 2 K masks and
the full VGG. Options change single sizes. The results are in images_small.jsonl, or images.jsonl at
the paper's size:

python docs/evidence/run_images.py --data-dir DATA
python docs/evidence/run_images.py --data-dir DATA --paper-size --device cuda --jobs 4
python docs/evidence/run_images.py --data-dir DATA --paper-size --device cuda --jobs 4 \\
    --pool 2500 --test 5000 --masks 20 \\
    --experiments mnist repeated-1 repeated-2 repeated-3 fashion_mnist emnist_bymerge
python docs/evidence/run_images.py --data-dir DATA --paper-size --device cuda --jobs 4 \\
    --pool 2000 --validation 1000 --test 1000 --masks 20 --experiments cifar10
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import modal_balance as mb
from modal_balance.simulation import networks, simulate
from modal_balance.simulation.datasets import PAPER_SETTINGS, load_dataset, repeated

HERE = Path(__file__).parent
# Name in the results, the paper's settings, repetitions, labels at the end, seeds.
EXPERIMENTS = {
    "mnist": ("MNIST", "mnist", 0, 130, 6),
    "repeated-1": ("MNIST, repeated 1", "mnist", 1, 130, 6),
    "repeated-2": ("MNIST, repeated 2", "mnist", 2, 130, 6),
    "repeated-3": ("MNIST, repeated 3", "mnist", 3, 130, 6),
    "fashion_mnist": ("Fashion-MNIST", "fashion_mnist", 0, 130, 3),
    "emnist_bymerge": ("EMNIST ByMerge", "emnist_bymerge", 0, 130, 3),
    "cifar10": ("CIFAR-10", "cinic10", 0, 300, 3),
}
SHAPES = {"cifar10": (32, 32, 3)}  # height, width, channels
SMALL = {
    "pool": 1000, "pairs": 25, "samples_per_epoch": 2048, "validation": 1000, "test": 1000,
    "masks": 20,
}  # fmt: skip
NARROW_VGG = (16, 32, 64, 64, 128, 128, 128, 128)  # a quarter of the channels


def strategies(n_pairs: int, anneal: float) -> dict[str, Any]:
    """Return the strategies by name, with 2K hypotheses each."""
    drawn: dict[str, Any] = {"n_samples": 2 * n_pairs}
    return {
        "random": mb.random_query,
        "margin": partial(mb.margin_query, **drawn),
        "BALD": partial(mb.bald_query, **drawn),
        "BatchBALD": partial(mb.batchbald_query, **drawn),
        "balance_query": partial(mb.balance_query, anneal=anneal, **drawn),
        "balance_margin_query": partial(mb.balance_margin_query, anneal=anneal, **drawn),
    }


def images(rows: Any, name: str) -> Any:
    """Return rows of pixels as images (n, channels, height, width)."""
    shape = SHAPES.get(name, (28, 28, 1))
    return np.ascontiguousarray(rows.reshape(-1, *shape).transpose(0, 3, 1, 2))


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument(
        "--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS, metavar="NAME"
    )
    parser.add_argument("--strategies", nargs="+", help="some of them, by name")
    parser.add_argument("--paper-size", action="store_true")
    parser.add_argument("--pool", type=int, help="different images in the pool")
    parser.add_argument("--pairs", type=int, help="K, where the paper's is larger")
    parser.add_argument("--samples-per-epoch", type=int)
    parser.add_argument("--validation", type=int, help="validation images")
    parser.add_argument("--test", type=int, help="test images")
    parser.add_argument("--masks", type=int, help="averaged by predictions")
    parser.add_argument("--budget", type=int, help="labels at the end")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, help="run the seeds below this number")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    results = args.results or HERE / ("images.jsonl" if args.paper_size else "images_small.jsonl")
    os.environ["PYTHONWARNINGS"] = "ignore"  # also of the processes
    runs = [
        (seed, experiment)
        for seed in range(args.first_seed, args.seeds or 6)
        for experiment in args.experiments
        if seed < (args.seeds or EXPERIMENTS[experiment][-1])
    ]
    for seed, experiment in runs:
        title, name, n_repeats, budget, _ = EXPERIMENTS[experiment]
        settings = PAPER_SETTINGS[name]
        name = "cifar10" if name == "cinic10" else name
        data = load_dataset(name, args.data_dir)
        network = getattr(networks, settings.network)
        size = SMALL
        if args.paper_size:
            size = {
                "pool": len(data.X),
                "pairs": settings.n_pairs,
                "samples_per_epoch": settings.samples_per_epoch,
                "validation": settings.n_validation,
                "test": settings.n_test,
                "masks": 2 * settings.n_pairs,
            }
        elif network is networks.VGG11:
            network = partial(network, widths=NARROW_VGG)
        size = {k: v if getattr(args, k) is None else getattr(args, k) for k, v in size.items()}
        rows = np.random.RandomState(seed).permutation(len(data.X))
        validation, pool = rows[: size["validation"]], rows[size["validation"] :][: size["pool"]]
        assert data.X_test is not None and data.y_test is not None
        test = np.random.RandomState(0).permutation(len(data.X_test))[: size["test"]]
        mean, deviation = data.X[pool].mean(), data.X[pool].std()
        X, X_val, X_test = (
            (part - mean) / deviation
            for part in (data.X[pool], data.X[validation], data.X_test[test])
        )
        X, y = repeated(X, data.y[pool], n_repeats, random_state=seed)
        known = strategies(min(size["pairs"], settings.n_pairs), settings.anneal)
        if args.strategies:
            known = {s: known[s] for s in args.strategies}
        simulate(
            mb.MCDropoutClassifier.paper(
                module=network,
                classes=np.unique(data.y),
                learning_rate=settings.learning_rate,
                samples_per_epoch=size["samples_per_epoch"],
                patience=settings.patience,
                n_samples=size["masks"],
                device=args.device,
            ),
            images(X, name),
            y,
            known,
            X_test=images(X_test, name),
            y_test=data.y_test[test],
            X_val=images(X_val, name),
            y_val=data.y[validation],
            n_initial=settings.n_initial,
            initial_per_class=False,
            n_instances=settings.n_instances,
            budget=args.budget or budget,
            seeds=[seed],
            dataset=title,
            estimator_name="paper",
            results=results,
            n_jobs=args.jobs,
        )
        print(title, f"seed {seed}", sep=", ", flush=True)


if __name__ == "__main__":
    main()
