"""Compare rules for choosing a batch, with all networks trained in parallel (resumable).

The classifier is MCDropoutClassifier() without cross-validation, put together from its parts: ten
stacked networks take three times the time of one. All pairs of hypotheses with different votes are
edges (tau = 0). Runs are paired: for a data set, batch size and seed, all rules start with the same
labels, and the networks of a round with the same weights. "Cover" in the names of rules means
greedy selection on the BALanCe objective.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "few_labels"))
from data_sets import labelled_rows, load

from modal_balance._utils.torch_state import seeded
from modal_balance.acquisition.balance import balance_scores
from modal_balance.acquisition.batchbald import batchbald_batch
from modal_balance.acquisition.diversity import badge_batch, coreset_batch
from modal_balance.acquisition.greedy import greedy
from modal_balance.acquisition.information import bald_scores, epig_scores
from modal_balance.acquisition.objective import BalanceObjective
from modal_balance.acquisition.top import power_batch
from modal_balance.acquisition.uncertainty import (
    entropy_scores,
    mean_std_scores,
    variation_ratio_scores,
)
from modal_balance.equivalence.pairs import all_pairs, disjoint_pairs, edges_beyond, votes
from modal_balance.estimators.labels import class_weights
from modal_balance.estimators.networks import MLP
from modal_balance.estimators.scaling import SquashedScaling
from modal_balance.estimators.training import train_steps
from modal_balance.simulation.results import append_record

DEVELOPMENT = ("digits", "digits_imbalanced", "dry_bean", "synthetic", "breast_cancer")
CONFIRMATION = ("har", "drift", "fashion", "wine", "mnist")
DROPOUT = 0.2
N_HYPOTHESES, N_TEST_HYPOTHESES = 60, 32


@dataclass
class State:
    """Input of a rule for a pool of N points: S hypotheses, D features of the last hidden layer."""

    proba: torch.Tensor  # (S, N, C)
    features: torch.Tensor  # (N, D)
    labelled_features: torch.Tensor  # (L, D)
    rng: np.random.RandomState
    complete: bool = False  # members of a committee instead of draws

    def __post_init__(self) -> None:
        self.mean = self.proba.mean(0)  # (N, C)
        top = self.mean.topk(2, dim=1)
        self.uncertain = (1 - (top.values[:, 0] - top.values[:, 1])).double().numpy()  # (N,)
        self.top = top.indices.numpy()  # (N, 2)


Rule = Callable[[State, int], list[int]]


def random(state: State, n: int) -> list[int]:
    return state.rng.permutation(len(state.mean))[:n].tolist()


def largest(scores: np.ndarray, n: int, chosen: list[int]) -> list[int]:
    """Return `chosen`, filled up to n points with the largest scores."""
    left = scores.copy()
    left[chosen] = -np.inf
    return chosen + np.argsort(-left, kind="stable")[: n - len(chosen)].tolist()


def margin(state: State, n: int) -> list[int]:
    return largest(state.uncertain, n, [])


def cover(state: State, n: int, tolerance: float = 1e-4) -> list[int]:
    """Return up to n points that cut all edge weight but a share of `tolerance`."""
    # 32 members of a committee have 496 pairs; with all pairs of 100 a query would take a second.
    pairs = (
        all_pairs(min(32, len(state.proba))) if state.complete else disjoint_pairs(len(state.proba))
    )
    edges, weights = edges_beyond(votes(state.proba), pairs, 0.0)
    chosen: list[int] = []
    if len(edges) == 0:
        return chosen
    objective = BalanceObjective(state.proba, edges, weights)
    full = objective.weight_left()
    for index, gain in greedy(objective, n, random_state=state.rng):
        if gain <= 0 or objective.n_restarts > 0 or objective.weight_left() <= tolerance * full:
            break
        chosen.append(index)
    return chosen


def after_cover(rest: Callable[..., list[int]], state: State, n: int) -> list[int]:
    return rest(state, n, chosen=cover(state, n))


def cover_margin(state: State, n: int) -> list[int]:
    return largest(state.uncertain, n, cover(state, n))


def in_turn(state: State, n: int, chosen: list[int] | None = None, by: str = "pair") -> list[int]:
    """Take the lowest margin of each pair of top classes (or top class), then the next ones."""
    chosen = list(chosen or [])
    top = np.sort(state.top, axis=1)
    groups = state.top[:, 0] if by == "class" else top[:, 0] * state.mean.shape[1] + top[:, 1]
    count = dict.fromkeys(groups.tolist(), 0)
    for index in chosen:
        count[groups[index]] += 1
    turn = np.full(len(groups), np.inf)
    for index in largest(state.uncertain, len(groups), chosen)[len(chosen) :]:
        turn[index] = count[groups[index]]
        count[groups[index]] += 1
    order = np.lexsort((-state.uncertain, turn))
    return chosen + order[: n - len(chosen)].tolist()


def residual(
    state: State, n: int, chosen: list[int] | None = None, of: str = "features",
    noise: float = 0.1, power: float = 1.0, labelled: bool = True,
) -> list[int]:  # fmt: skip
    """Choose by uncertainty times the share of variance that is left after the points before.

    The variance is that of a linear model on the features of the last layer, given the labelled
    points and the batch so far; or that of the predictions of the hypotheses, given the batch.
    """
    chosen = list(chosen or [])
    if of == "features":
        F = torch.cat([state.features, torch.ones(len(state.features), 1)], 1).double()
        L = torch.cat([state.labelled_features, torch.ones(len(state.labelled_features), 1)], 1)
        given = L.double() if labelled else F[:0]
        noises = torch.full((len(F),), noise * float((F**2).sum(1).mean()), dtype=torch.float64)
    else:
        centred = state.proba - state.mean  # (S, N, C)
        F = centred.permute(1, 0, 2).flatten(1).double() / len(state.proba) ** 0.5
        given = F[:0]
        noises = (state.proba * (1 - state.proba)).mean(0).sum(1).double() + 1e-9
    first = (F**2).sum(1).clamp(min=1e-12)  # (N,)
    left = first.clone()
    if len(given):
        A = given.T @ given + noises[0] * torch.eye(F.shape[1], dtype=torch.float64)
        half = torch.linalg.cholesky(torch.linalg.inv(A) * noises[0])
        F = F @ half  # features whitened by the posterior
        left = (F**2).sum(1)
    columns: list[torch.Tensor] = []

    def take(i: int) -> None:
        nonlocal left
        column = F @ F[i]
        for other in columns:
            column = column - other * other[i]
        column = column / (left[i] + noises[i]).sqrt()
        columns.append(column)
        left = (left - column**2).clamp(min=0)

    for i in chosen:
        take(i)
    while len(chosen) < n:
        score = state.uncertain * ((left / first).numpy() ** power)
        score[chosen] = -1
        chosen.append(int(score.argmax()))
        take(chosen[-1])
    return chosen


def disagreement(
    state: State, n: int, chosen: list[int] | None = None, power: float = 1.0, noise: float = 1.0,
    with_noise: bool = False, times: float | None = None, cover_first: bool = False,
    sharpness: float = 1.0, every_pair: bool = False,
) -> list[int]:  # fmt: skip
    """Choose by uncertainty times the share of disagreement that is left after the batch so far.

    Disagreement is k(x, x') = sum over edges and classes of
    w_e (p_k - p_l)(c|x) (p_k - p_l)(c|x') / 2, the covariance of the predictions if all pairs are
    edges. What is left is the variance given noisy observations at the batch, with the label noise
    on which the hypotheses agree.
    """
    chosen = list(chosen or [])
    if times is not None:
        n_few = min(len(state.mean), round(times * n))
        few = np.array(largest(state.uncertain, n_few, []))
        part = State(
            state.proba[:, few],
            state.features[few],
            state.labelled_features,
            state.rng,
            state.complete,
        )
        begun = cover(part, n) if cover_first else []
        return few[
            disagreement(part, n, begun, power, noise, with_noise, every_pair=every_pair)
        ].tolist()
    if state.complete or every_pair:
        F = (state.proba - state.mean).permute(1, 0, 2).flatten(1) / len(state.proba) ** 0.5
    else:
        edges, weights = edges_beyond(votes(state.proba), disjoint_pairs(len(state.proba)), 0.0)
        if len(edges) == 0:
            return largest(state.uncertain, n, chosen)
        apart = state.proba[edges[:, 0]] - state.proba[edges[:, 1]]  # (E, N, C)
        scale = (weights / weights.sum() / 2).sqrt()[:, None, None]
        F = (apart * scale).permute(1, 0, 2).flatten(1)
    F = F.double()
    noises = noise * (state.proba * (1 - state.proba)).mean(0).sum(1).double() + 1e-9
    first = (F**2).sum(1).clamp(min=1e-12)
    left = first.clone()
    columns: list[torch.Tensor] = []

    def take(i: int) -> None:
        nonlocal left
        column = F @ F[i]
        for other in columns:
            column = column - other * other[i]
        columns.append(column / (left[i] + noises[i]).sqrt())
        left = (left - columns[-1] ** 2).clamp(min=0)

    for i in chosen:
        take(i)
    while len(chosen) < n:
        own = noises if with_noise else 0
        score = state.uncertain**sharpness * (((left + own) / (first + own)).numpy() ** power)
        score[chosen] = -1
        chosen.append(int(score.argmax()))
        take(chosen[-1])
    return chosen


def cluster_inputs(state: State, rows: np.ndarray, of: str) -> np.ndarray:
    """Return the vectors by which points are clustered, (n, D)."""
    if of == "features":
        return state.features[rows].numpy()
    if of == "means":
        return state.mean[rows].numpy()
    if of == "votes":
        return torch.nn.functional.one_hot(state.proba[:, rows].argmax(2)).permute(
            1, 0, 2).flatten(1).float().numpy()  # fmt: skip
    return state.proba[:, rows].permute(1, 0, 2).flatten(1).numpy()


def clusters(F: np.ndarray, n: int, weight: np.ndarray, how: str, seed: int) -> np.ndarray:
    if how == "ward":
        return AgglomerativeClustering(n).fit(F).labels_ if n > 1 else np.zeros(len(F), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal points
        return KMeans(n, n_init=1, random_state=seed).fit(F, sample_weight=weight).labels_


def clustered(
    state: State, n: int, chosen: list[int] | None = None, of: str = "features", times: float = 5,
    how: str = "k-means", take: str = "margin", cover_first: bool = False,
) -> list[int]:  # fmt: skip
    """Return the least certain point of each of n clusters of the n * times lowest margins.

    take: "centre" for the point nearest to the centre of its cluster, "gain" for the largest gain
    (Eq. 3). cover_first: begin with greedy selection on the objective, among the same points.
    """
    chosen = list(chosen or [])
    n_few = min(len(state.mean), len(chosen) + round(times * (n - len(chosen))))
    few = np.array(largest(state.uncertain, n_few, chosen)[len(chosen) :])
    if cover_first:
        part = State(
            state.proba[:, few],
            state.features[few],
            state.labelled_features,
            state.rng,
            state.complete,
        )
        covering = few[cover(part, n)].tolist()
        chosen += covering
        few = np.setdiff1d(few, covering)
    n_left = n - len(chosen)
    if n_left == 0 or len(few) <= n_left:
        return largest(state.uncertain, n, chosen)
    F = cluster_inputs(state, few, of)
    labels = clusters(F, n_left, state.uncertain[few], how, state.rng.randint(2**31))
    value = state.uncertain[few]
    if take == "centre":
        value = np.zeros(len(few))
        for c in np.unique(labels):
            value[labels == c] = -((F[labels == c] - F[labels == c].mean(0)) ** 2).sum(1)
    elif take == "gain":
        edges, weights = edges_beyond(votes(state.proba), disjoint_pairs(len(state.proba)), 0.0)
        if len(edges):
            value = BalanceObjective(state.proba[:, few], edges, weights).gains().numpy()
    for cluster in np.unique(labels):  # fewer than asked for where points are equal
        own = labels == cluster
        chosen.append(int(few[own][value[own].argmax()]))
    return largest(state.uncertain, n, chosen)


def cover_clusters_apart(
    state: State, n: int, times: float = 5, among: float | None = None, tolerance: float = 1e-4,
    share: float = 1,
) -> list[int]:  # fmt: skip
    """Choose by the objective first, then the least certain points of clusters without a choice.

    among: the objective chooses from the n * among lowest margins.
    tolerance: share of the edge weight that the objective leaves.
    share: largest share of the n points that the objective chooses.
    """
    n_covering = int(share * n)
    if n_covering == 0:
        chosen = []
    elif among is None:
        chosen = cover(state, n_covering, tolerance)
    else:
        few = np.array(largest(state.uncertain, min(len(state.mean), round(among * n)), []))
        part = State(state.proba[:, few], state.features[few], state.labelled_features, state.rng,
                     state.complete)  # fmt: skip
        chosen = few[cover(part, n_covering, tolerance)].tolist()
    n_left = n - len(chosen)
    if n_left == 0:
        return chosen
    few = np.array(largest(state.uncertain, len(chosen) + round(times * n_left), chosen))
    if len(few) <= n:
        return few.tolist()
    value = state.uncertain[few]
    labels = clusters(
        cluster_inputs(state, few, "hypotheses"), n, value, "k-means", state.rng.randint(2**31)
    )
    rest = []
    for cluster in np.setdiff1d(labels, labels[: len(chosen)]):
        own = labels == cluster
        rest.append(int(few[own][value[own].argmax()]))
    rest.sort(key=lambda point: -state.uncertain[point])
    return largest(state.uncertain, n, chosen + rest[:n_left])


def furthest(state: State, n: int, times: float = 5, of: str = "hypotheses") -> list[int]:
    """Return points of the n * times lowest margins, each the furthest from those before it."""
    few = np.array(largest(state.uncertain, min(len(state.mean), round(times * n)), []))
    F = cluster_inputs(state, few, of)
    chosen = [0]
    distance = ((F - F[0]) ** 2).sum(1)
    while len(chosen) < n:
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((F - F[chosen[-1]]) ** 2).sum(1))
    return few[chosen].tolist()


def power(state: State, n: int, coldness: float) -> list[int]:
    noise = state.rng.gumbel(size=len(state.uncertain))
    return largest(coldness * np.log(state.uncertain + 1e-12) + noise, n, [])


def dense(state: State, n: int, exponent: float = 1.0) -> list[int]:
    F = torch.nn.functional.normalize(state.features, dim=1)
    density = (F @ F.mean(0)).clamp(min=1e-6).double().numpy()
    return largest(state.uncertain * density**exponent, n, [])


def highest(scores: Callable[[torch.Tensor], torch.Tensor], state: State, n: int) -> list[int]:
    return largest(scores(state.proba).double().numpy(), n, [])


def by_power(scores: Callable[[torch.Tensor], torch.Tensor], state: State, n: int) -> list[int]:
    return power_batch(scores(state.proba), n, random_state=state.rng)[0].tolist()


def gains(proba: torch.Tensor) -> torch.Tensor:
    return balance_scores(proba, *edges_beyond(votes(proba), disjoint_pairs(len(proba)), 0.0))


def epig(state: State, n: int) -> list[int]:
    targets = state.rng.permutation(len(state.mean))[:200]
    return largest(epig_scores(state.proba, state.proba[:, targets]).double().numpy(), n, [])


def badge(state: State, n: int) -> list[int]:
    return badge_batch(state.features, state.mean, n, random_state=state.rng)[0].tolist()


def coreset(state: State, n: int) -> list[int]:
    return coreset_batch(
        state.features, n, labelled_features=state.labelled_features, random_state=state.rng
    )[0].tolist()  # fmt: skip


def batchbald(state: State, n: int) -> list[int]:
    return batchbald_batch(state.proba, n, max_configurations=300, random_state=state.rng)[
        0
    ].tolist()


# The strategies of the package.
PACKAGE: dict[str, Rule] = {
    "entropy": partial(highest, entropy_scores),
    "variation ratio": partial(highest, variation_ratio_scores),
    "mean STD": partial(highest, mean_std_scores),
    "BALD": partial(highest, bald_scores),
    "BatchBALD": batchbald,
    "PowerBALD": partial(by_power, bald_scores),
    "PowerBALanCe": partial(by_power, gains),
    "EPIG": epig,
    "BADGE": badge,
    "core-set": coreset,
}

RULES: dict[str, Rule] = {
    **PACKAGE,
    "random": random,
    "margin": margin,
    "cover, margin": cover_margin,
    "margin, pairs of classes in turn": in_turn,
    "margin, classes in turn": partial(in_turn, by="class"),
    "margin x variance of hypotheses": partial(residual, of="hypotheses"),
    "margin x variance, noise .1": residual,
    "margin x variance, noise 1": partial(residual, noise=1.0),
    "margin x variance of batch alone": partial(residual, labelled=False),
    "clusters of features": clustered,
    "clusters of hypotheses": partial(clustered, of="hypotheses"),
    "cover, clusters": partial(after_cover, clustered),
    "cover, variance": partial(after_cover, residual),
    "cover, clusters of hypotheses": partial(after_cover, partial(clustered, of="hypotheses")),
    "cover, clusters apart": cover_clusters_apart,
    "cover of 2 x, clusters apart": partial(cover_clusters_apart, among=2),
    "cover of 5 x, clusters apart": partial(cover_clusters_apart, among=5),
    "cover to 0.1, clusters apart": partial(cover_clusters_apart, tolerance=0.1),
    "cover to 0.3, clusters apart": partial(cover_clusters_apart, tolerance=0.3),
    "cover to 0.6, clusters apart": partial(cover_clusters_apart, tolerance=0.6),
    "cover to 0.3 of 5 x, clusters apart": partial(cover_clusters_apart, tolerance=0.3, among=5),
    "cover to 0.3 of 20 x, clusters apart": partial(cover_clusters_apart, tolerance=0.3, among=20),
    **{
        f"cover of at most {label}, clusters apart": partial(
            cover_clusters_apart, tolerance=0.3, share=share
        )
        for label, share in {"1/5": 0.2, "1/2": 0.5}.items()
    },
    "cover, variance of hypotheses": partial(after_cover, partial(residual, of="hypotheses")),
    "cover, pairs in turn": partial(after_cover, in_turn),
    **{
        f"clusters of hypotheses, {label}": partial(clustered, of="hypotheses", **options)
        for label, options in {
            "2 x": {"times": 2},
            "3 x": {"times": 3},
            "10 x": {"times": 10},
            "20 x": {"times": 20},
            "nearest to centre": {"take": "centre"},
            "largest gain": {"take": "gain"},
            "ward": {"how": "ward"},
            "ward, 10 x": {"how": "ward", "times": 10},
            "cover first": {"cover_first": True},
            "cover first, ward": {"cover_first": True, "how": "ward"},
        }.items()
    },
    **{
        f"disagreement, {label}": partial(disagreement, **options)
        for label, options in {
            "power 1": {},
            "power .5": {"power": 0.5},
            "power 2": {"power": 2.0},
            "noise .1": {"noise": 0.1},
            "with noise": {"with_noise": True},
            "5 x": {"times": 5},
            "5 x, cover first": {"times": 5, "cover_first": True},
            "sharp": {"sharpness": 3.0},
            "every pair, 3 x, cover first": {"times": 3, "cover_first": True, "every_pair": True},
            "every pair, 5 x, cover first": {"times": 5, "cover_first": True, "every_pair": True},
            "every pair, 10 x, cover first": {"times": 10, "cover_first": True, "every_pair": True},
            "every pair, 5 x": {"times": 5, "every_pair": True},
        }.items()
    },
    "cover, disagreement": partial(after_cover, disagreement),
    "clusters of means": partial(clustered, of="means"),
    "clusters of votes": partial(clustered, of="votes"),
    "furthest hypotheses": furthest,
    "power margin 8": partial(power, coldness=8.0),
    "power margin 32": partial(power, coldness=32.0),
    "margin x density": dense,
}


def hypotheses(
    network: MLP, X: torch.Tensor, seed: int, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions (S, n, C) under fixed dropout masks, and last-layer features (n, D)."""
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
        proba = torch.softmax(torch.baddbmm(last.bias, h2, own), dim=2)
        return proba, torch.relu(second(h1))


Predict = Callable[[np.ndarray, int, int], tuple[torch.Tensor, torch.Tensor]]


def trained_networks(
    X: list[np.ndarray], y: list[np.ndarray], n_classes: int, seed: int
) -> list[Predict]:
    """Train a network on each set of rows, in parallel; return predictions and features."""
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

    def predict(network: MLP, scale: SquashedScaling, rows: np.ndarray, seed: int, n: int):
        return hypotheses(network.eval(), torch.from_numpy(scale(rows)), seed, n)

    return [partial(predict, net, s) for net, s in zip(networks, scalings, strict=True)]


def fitted_committee(
    estimator: str, X: np.ndarray, y: np.ndarray, n_classes: int, seed: int
) -> Predict:
    """Fit a forest of 100 trees, or 20 logistic regressions on bootstrap samples."""
    if estimator == "forest":
        forest = RandomForestClassifier(100, random_state=seed).fit(X, y)
        members, classes = forest.estimators_, forest.classes_.astype(int)
    else:
        members = []
        scale = StandardScaler().fit(X)
        rng = np.random.RandomState(seed)
        classes = np.arange(n_classes)
        while len(members) < 20:
            rows = rng.randint(len(X), size=len(X))
            if len(np.unique(y[rows])) > 1:
                model = LogisticRegression(max_iter=300).fit(scale.transform(X[rows]), y[rows])
                members.append(model)

    def predict(rows: np.ndarray, seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        proba = np.zeros((len(members), len(rows), n_classes), dtype=np.float32)
        rows = rows if estimator == "forest" else scale.transform(rows)
        for i, member in enumerate(members):
            own = classes if estimator == "forest" else member.classes_.astype(int)
            proba[i][:, own] = member.predict_proba(rows)
        return torch.from_numpy(proba), torch.zeros(len(rows), 1)

    return predict


def run(name: str, data_dir: Path, estimator: str, rules: list[str], seed: int, batch: int,
        budget: int, n_first: int, out: Path) -> None:  # fmt: skip
    """Run all rules from the same labels to the budget, and append their curves."""
    data = load(name, data_dir)
    rows = np.random.RandomState(seed).permutation(len(data.y_pool))[:2000]
    x_pool, y_pool = data.x_pool[rows], data.y_pool[rows]
    x_test, y_test = data.x_test[:1000], data.y_test[:1000]
    pool = type(data)(name, x_pool, y_pool, x_test, y_test, data.n_classes)
    start = labelled_rows(pool, n_first, seed)
    assert start is not None
    known = {rule: start.tolist() for rule in rules}
    budget = min(budget, len(y_pool) - batch)
    curves: dict[str, list[dict[str, float]]] = {rule: [] for rule in rules}
    number = 0
    while True:
        inputs = [x_pool[known[rule]] for rule in rules]
        labels = [y_pool[known[rule]] for rule in rules]
        n = len(labels[0])
        own_seed = (100_003 * seed + number) % 2**31
        if estimator == "dropout":
            models = trained_networks(inputs, labels, data.n_classes, own_seed)
        else:
            models = [
                fitted_committee(estimator, X, y, data.n_classes, own_seed)
                for X, y in zip(inputs, labels, strict=True)
            ]
        n_asked = min(batch, budget - n)
        for rule, predict, X in zip(rules, models, inputs, strict=True):
            mean = predict(x_test, own_seed, N_TEST_HYPOTHESES)[0].mean(0).double().numpy()
            guess = mean.argmax(1)
            nll = -np.log(np.clip(mean[np.arange(len(y_test)), y_test], 1e-7, 1)).mean()
            f1 = f1_score(y_test, guess, average="macro", zero_division=0)
            point = {"n": n, "accuracy": (guess == y_test).mean(), "macro_f1": f1, "nll": nll}
            curves[rule].append({k: round(float(v), 5) for k, v in point.items()})
            if n_asked > 0:
                left = np.setdiff1d(np.arange(len(y_pool)), known[rule])
                proba, features = predict(x_pool[left], own_seed + 1, N_HYPOTHESES)
                own = predict(X, own_seed + 1, 2)[1]
                rng = np.random.RandomState(own_seed)
                state = State(proba, features, own, rng, estimator != "dropout")
                chosen = RULES[rule](state, n_asked)
                assert len(set(chosen)) == n_asked
                known[rule] = known[rule] + left[chosen].tolist()
        if n_asked <= 0:
            break
        number += 1
    for rule in rules:
        record = {"dataset": name, "batch": batch, "seed": seed, "first": n_first}
        append_record(out, record | {"estimator": estimator, "rule": rule, "curve": curves[rule]})


def main() -> None:
    """Run what is missing in the results file, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=list(DEVELOPMENT))
    parser.add_argument("--estimator", default="dropout", choices=["dropout", "forest", "logistic"])
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=20, help="labels at the start")
    parser.add_argument("--batch", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--budget", type=int, default=150)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    text = args.out.read_text() if args.out.exists() else ""
    if text and not text.endswith("\n"):
        raise SystemExit(f"The last line of {args.out} is incomplete. Remove it.")
    lines = text.splitlines()
    keys = ("dataset", "batch", "seed", "first", "estimator", "rule")
    done = {tuple(({"estimator": "dropout"} | json.loads(line))[k] for k in keys) for line in lines}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for batch in args.batch:
            for name in args.datasets:
                key = (name, batch, seed, args.first, args.estimator)
                rules = [rule for rule in args.rules if (*key, rule) not in done]
                # 20 + 4 x 50 where batches are large
                budget = args.budget if batch < 50 else max(args.budget, 220)
                if rules:
                    run(name, args.data_dir, args.estimator, rules, seed, batch, budget, args.first,
                        args.out)  # fmt: skip


if __name__ == "__main__":
    main()
