"""Run strategies on many tables, with the defaults of a user (resumable).

The learner is `MCDropoutClassifier()`, a forest, or a vote of both, without validation data and
with 20 random labels at the start; strategies have their defaults. The first command runs
everything on the page, the second a part of it:

python docs/evidence/run_tables.py --data-dir DATA
python docs/evidence/run_tables.py --data-dir DATA --strategies margin herding --batch 50 --seeds 3

Results are in tables/ESTIMATOR_BATCH/TABLE.jsonl next to this script. An interrupted run resumes
from them. The peers need the extra "evidence".
"""

from __future__ import annotations

import argparse
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split

import modal_balance as mb
from modal_balance.simulation import simulate
from modal_balance.simulation.datasets import Dataset, imbalanced, load_dataset, read_archive
from modal_balance.table.choices import MODELS

HERE = Path(__file__).parent
CLASSES = {
    "keel_banana": 2, "keel_chess": 2, "keel_contraceptive": 3, "keel_german": 2, "keel_magic": 2,
    "keel_marketing": 9, "keel_mushroom": 2, "keel_nursery": 4, "keel_optdigits": 10,
    "keel_penbased": 10, "keel_tic-tac-toe": 2, "keel_vehicle": 4, "digits": 10,
    "breast_cancer": 2, "wine": 3, "har": 6, "drift": 6, "dry_bean": 7, "mnist": 10,
    "fashion_mnist": 10, "emnist_balanced": 47,
}  # fmt: skip
THINNED = ["keel_optdigits", "keel_penbased", "har", "dry_bean", "fashion_mnist"]
TABLES = CLASSES | {f"{name}, thinned": CLASSES[name] for name in THINNED}  # numbers of classes
SHARE_KEPT = 0.08  # of the rows of the later half of the classes, where a table is thinned
LARGEST_POOL, LARGEST_TEST = 3000, 2000

OURS: dict[str, Any] = {
    "balance_query": mb.balance_query,
    "balance_margin_query": mb.balance_margin_query,
    "clustered margin": mb.clustered_margin_query,
    "margin": mb.margin_query,
    "random": mb.random_query,
    "entropy": mb.entropy_query,
    "variation ratio": mb.variation_ratio_query,
    "mean STD": mb.mean_std_query,
    "BALD": mb.bald_query,
    "BatchBALD": mb.batchbald_query,
    "EPIG": mb.epig_query,
    "PowerBALanCe": mb.power_balance_query,
    "PowerBALD": mb.power_bald_query,
    "BADGE": mb.badge_query,
    "core-set": mb.coreset_query,
    "herding": mb.herding_query,
    "uncertainty herding": mb.uncertainty_herding_query,
}
MAIN = [
    "balance_query", "balance_margin_query", "clustered margin", "herding", "margin", "random",
]  # fmt: skip
ESTIMATORS: dict[str, Any] = {
    "mcdropout": mb.MCDropoutClassifier(),
    # Rows left out of a tree's bootstrap give the error that tau needs.
    "forest": RandomForestClassifier(oob_score=True),
    "extra-trees": ExtraTreesClassifier(bootstrap=True, oob_score=True),
    "vote": MODELS["network-and-trees"](),
}


class Part(NamedTuple):
    """A part of the runs."""

    estimator: str
    batch: int
    budget: int
    strategies: list[str]
    seeds: int


# In order of importance, so that a page can be made from incomplete runs.
PARTS = [
    Part("mcdropout", 10, 150, ["main"], 3),
    Part("mcdropout", 50, 270, ["main"], 1),
    Part("mcdropout", 10, 150, ["all"], 1),
    Part("extra-trees", 10, 150, ["main"], 1),
    Part("mcdropout", 10, 150, ["main"], 5),
    Part("mcdropout", 50, 270, ["main"], 5),
    Part("mcdropout", 10, 150, ["all"], 5),
    Part("mcdropout", 10, 150, ["main"], 20),
    Part("extra-trees", 10, 150, ["main"], 5),
    Part("forest", 10, 150, ["main"], 5),
    Part("vote", 10, 150, ["margin", "balance_margin_query"], 5),
    Part("mcdropout", 1, 60, ["main"], 5),
]
BUDGETS = {part.batch: part.budget for part in PARTS}


@cache
def whole_table(name: str, data_dir: Path | None) -> Dataset:
    """Return a table of the list, or one from NAME.npz with the arrays X and y."""
    if name in CLASSES or data_dir is None:
        return load_dataset(name, data_dir)
    X, y = read_archive(data_dir / f"{name}.npz")
    return Dataset(name, X, np.unique(y, return_inverse=True)[1], None, None, f"{name}.npz")


def table(name: str, data_dir: Path | None, seed: int) -> dict[str, Any]:
    """Return the pool and the test rows of a seed, as arguments of `simulate`.

    The test rows are those of the publisher, or a stratified 30 % of the rows; they are not
    thinned.
    """
    data = whole_table(name.removesuffix(", thinned"), data_dir)
    rng = np.random.RandomState(seed)
    if data.X_test is None or data.y_test is None:
        X, X_test, y, y_test = train_test_split(
            data.X, data.y, test_size=0.3, stratify=data.y, random_state=seed
        )
    else:
        X, y, X_test, y_test = data.X, data.y, data.X_test, data.y_test
    pool = np.arange(len(y))
    if name.endswith(", thinned"):
        classes = np.unique(y)
        pool = imbalanced(y, classes[len(classes) // 2 :], SHARE_KEPT, random_state=seed)
    pool = rng.permutation(pool)[:LARGEST_POOL]
    test = rng.permutation(len(y_test))[:LARGEST_TEST]
    return {"X": X[pool], "y": y[pool], "X_test": X_test[test], "y_test": y_test[test]}


def strategies(chosen: list[str]) -> dict[str, Any]:
    """Return strategies by name: "all", "main", "ours", "peers", or names of them."""
    known = dict(OURS)
    if set(chosen) - {"main", "ours", *OURS}:
        from peers import PEERS

        known |= PEERS
    groups = {"all": list(known), "main": MAIN, "ours": list(OURS)}
    groups["peers"] = [name for name in known if name not in OURS]
    names = [name for choice in chosen for name in groups.get(choice, [choice])]
    return {name: known[name] for name in names}


def run(
    part: Part, tables: list[str], data_dir: Path | None, results: Path, first_seed: int,
    n_jobs: int,
) -> None:  # fmt: skip
    """Run what is missing in the results files."""
    folder = results / f"{part.estimator}_{part.batch}"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, part.seeds):
        for name in tables:
            simulate(
                ESTIMATORS[part.estimator],
                **table(name, data_dir, seed),
                strategies=strategies(part.strategies),
                n_initial=20,
                initial_per_class=False,
                n_instances=part.batch,
                budget=part.budget,
                seeds=[seed],
                dataset=name,
                estimator_name=part.estimator,
                results=folder / f"{name.replace(', ', '_')}.jsonl",
                n_jobs=n_jobs,
            )
            print(*part[:3], name, f"seed {seed}", sep=", ", flush=True)


def main() -> None:
    """Run all parts, or the one given by the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, default=HERE / "tables")
    parser.add_argument(
        "--tables", nargs="+", default=list(TABLES), metavar="TABLE",
        help="of the list, or NAME for an archive NAME.npz in the folder of the data",
    )  # fmt: skip
    parser.add_argument("--strategies", nargs="+", help="names, or all, main, ours, peers")
    parser.add_argument("--estimator", choices=ESTIMATORS, default="mcdropout")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--budget", type=int)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="run the seeds below this number")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"  # also of the processes
    parts = PARTS
    if args.strategies:
        budget = args.budget or BUDGETS[args.batch]
        parts = [Part(args.estimator, args.batch, budget, args.strategies, args.seeds)]
    for part in parts:
        run(part, args.tables, args.data_dir, args.results, args.first_seed, args.jobs)


if __name__ == "__main__":
    main()
