"""Rules for the rest of a batch, compared on paired seeds (resumable).

Every rule is a query strategy; the data sets are those of ../few_labels/data_sets.py.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "few_labels"))
from data_sets import load

import modal_balance as mb
from modal_balance.acquisition.greedy import as_tensors, greedy
from modal_balance.acquisition.pair_coverage import PairCoverage
from modal_balance.equivalence.pairs import edges_beyond
from modal_balance.estimators.bootstrap import BootstrapCommittee
from modal_balance.simulation import simulate
from modal_balance.strategies.coverage import pairs_of, predict_samples
from modal_balance.strategies.query import Query

DEVELOPMENT = ("digits", "digits_imbalanced", "dry_bean", "synthetic", "breast_cancer")
CONFIRMATION = ("har", "drift", "fashion", "wine", "mnist", "iris")

ESTIMATORS: dict[str, Any] = {
    "dropout": mb.MCDropoutClassifier(),
    "ensemble": mb.MCDropoutClassifier(posterior="ensemble"),
    "forest": RandomForestClassifier(100, oob_score=True),
    "logistic": BootstrapCommittee(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    ),
}


class Rule(PairCoverage):
    """The objective, of which each point chosen spends a power of what it should.

    power: exponent of G when W is updated; harmonic: W = w / (1 + cuts so far).
    """

    power: float = 1.0
    harmonic: bool = False

    def _multiply(self, proba: torch.Tensor) -> None:
        proba = proba.double()
        ratio = proba / proba.amax(-1, keepdim=True)
        agreement = (proba @ (ratio[self.first] * ratio[self.second]).T).clamp_(max=1)
        if self.harmonic:
            if not hasattr(self, "cuts"):
                self.cuts = torch.zeros_like(agreement)
            self.cuts += 1 - agreement
            self.remaining = (self.weights / self.weights.max()) / (1 + self.cuts)
        else:
            self.remaining *= agreement**self.power
        self.fresh = False
        largest = self.remaining.max().item()
        if self.scale * largest < 1e-290 or (
            self.weight_left() <= self.cover_tolerance * self.full_weight
        ):
            self._begin_cover()
        elif not self.harmonic:
            self.remaining /= largest
            self.scale *= largest


def rule_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, tau: float | None = None, n_samples: int = 100, power: Any = 1.0,
    tolerance: float = 1e-4, harmonic: bool = False, distances: bool = False,
    margin: float = 0.0,
) -> Any:  # fmt: skip
    """Batch-BALanCe with a rule of its own for the rest of the batch."""
    query = Query.of(learner, X_pool, n_instances, random_state=random_state, callback=callback)
    predictions = predict_samples(query, n_samples, tau, 0.25, None, None, None)
    votes = predictions.reference_votes
    pairs = pairs_of(len(predictions.proba), predictions.complete, "auto")
    edges, weights = edges_beyond(votes, pairs, predictions.tau)
    if distances and len(edges):
        apart = (votes[edges[:, 0]] != votes[edges[:, 1]]).double().mean(1)
        weights = apart / apart.sum() * weights.sum()
    if len(edges) == 0:
        chosen = torch.from_numpy(query.random_state.permutation(len(votes[0]))[:n_instances])
        return query.result(chosen, torch.zeros(n_instances), tau=predictions.tau, n_edges=0)
    n_from_margin = round(margin * n_instances)
    objective = Rule(predictions.proba, edges, weights, cover_tolerance=tolerance)
    objective.harmonic = harmonic
    if power == "auto":  # the batch spends exp(-2) of the weight
        trial = Rule(predictions.proba, edges, weights, cover_tolerance=0.0)
        left = []
        for _ in greedy(trial, n_instances - n_from_margin, random_state=0):
            left.append(trial.weight_left() / trial.full_weight)
        spent = max(-np.log(max(left[-1], 1e-300)), 1e-9)
        power = min(1.0, 2.0 / spent)
    objective.power = power
    picks = greedy(objective, n_instances - n_from_margin, random_state=query.random_state)
    indices, gains = as_tensors(picks)
    if n_from_margin:
        top = predictions.proba.mean(0).topk(2, dim=1).values
        gap = top[:, 0] - top[:, 1]
        gap[indices] = np.inf
        rest = gap.argsort()[:n_from_margin]
        indices = torch.cat([indices, rest])
        gains = torch.cat([gains, torch.zeros(n_from_margin).to(gains)])
    return query.result(indices, gains, tau=predictions.tau, n_pairs=len(pairs), n_edges=len(edges))


def cover_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, n_samples: int = 100, tau: float | None = 0.0,
    tolerance: float = 1e-4, distances: bool = False, power: float = 1.0,
) -> Any:  # fmt: skip
    """One cover of the edges by BALanCe, and the smallest margins for the rest of the batch."""
    query = Query.of(learner, X_pool, n_instances, random_state=random_state, callback=callback)
    predictions = predict_samples(query, n_samples, tau, 0.25, None, None, None)
    votes = predictions.reference_votes
    pairs = pairs_of(len(predictions.proba), predictions.complete, "auto")
    edges, weights = edges_beyond(votes, pairs, predictions.tau)
    if distances and len(edges):
        apart = (votes[edges[:, 0]] != votes[edges[:, 1]]).double().mean(1)
        weights = apart / apart.sum() * weights.sum()
    top = predictions.proba.mean(0).topk(2, dim=1).values.double()
    gap = top[:, 0] - top[:, 1]
    chosen: list[int] = []
    if len(edges):
        objective = Rule(predictions.proba, edges, weights, cover_tolerance=0.0)
        objective.power = power
        full = objective.weight_left()
        for index, gain in greedy(objective, n_instances, random_state=query.random_state):
            if gain <= 0 or objective.weight_left() <= tolerance * full:
                break
            chosen.append(index)
    gap[chosen] = np.inf
    chosen += gap.argsort()[: n_instances - len(chosen)].tolist()
    return query.result(
        torch.tensor(chosen), torch.zeros(n_instances), tau=predictions.tau, n_pairs=len(pairs),
        n_edges=len(edges),
    )  # fmt: skip


def margin_left_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, n_samples: int = 100, power: float = 0.1, sharpness: float = 1.0,
) -> Any:  # fmt: skip
    """Take the smallest margin, discounted by the share of a point's gain that is left.

    (1 - margin) ** sharpness * gain(x given the batch so far) / gain(x): BALanCe says how much of a
    point the batch has already answered, margin how much there is to ask.
    """
    query = Query.of(learner, X_pool, n_instances, random_state=random_state, callback=callback)
    predictions = predict_samples(query, n_samples, 0.0, 0.25, None, None, None)
    pairs = pairs_of(len(predictions.proba), predictions.complete, "auto")
    edges, weights = edges_beyond(predictions.reference_votes, pairs, 0.0)
    top = predictions.proba.mean(0).topk(2, dim=1).values.double()
    uncertain = (1 - (top[:, 0] - top[:, 1])) ** sharpness
    if len(edges) == 0:
        chosen = uncertain.argsort(descending=True)[:n_instances]
        return query.result(chosen, uncertain[chosen], tau=0.0, n_edges=0)
    objective = Rule(predictions.proba, edges, weights, cover_tolerance=0.0)
    objective.power = power
    first = objective.gains()
    chosen_list: list[int] = []
    scores = []
    for _ in range(n_instances):
        now = objective.gains()
        score = (
            uncertain * now / first.clamp(min=1e-12) * (first.sum() / now.sum().clamp(min=1e-300))
        )
        score[chosen_list] = -1.0
        best = int(score.argmax())
        chosen_list.append(best)
        scores.append(float(score[best]))
        objective.add(best)
    return query.result(
        torch.tensor(chosen_list), torch.tensor(scores), tau=0.0, n_pairs=len(pairs),
        n_edges=len(edges),
    )  # fmt: skip


def epig_pool_query(learner: Any, X_pool: Any, n_instances: int = 1, **options: Any) -> Any:
    """EPIG with 200 points of the pool as targets."""
    rows = np.random.RandomState(0).permutation(len(X_pool))[:200]
    return mb.epig_query(learner, X_pool, n_instances, X_target=X_pool[rows], **options)


epig_pool_query.__signature__ = inspect.signature(mb.epig_query)  # type: ignore[attr-defined]

STRATEGIES: dict[str, Any] = {
    "margin": mb.margin_query,
    "random": mb.random_query,
    "balance": partial(mb.balance_query, rest="cover"),
    "tau 0": partial(rule_query, tau=0.0),
    "tau 0, tolerance 0": partial(rule_query, tau=0.0, tolerance=0.0),
    "tau 0, tolerance .01": partial(rule_query, tau=0.0, tolerance=1e-2),
    "tau 0, tolerance .1": partial(rule_query, tau=0.0, tolerance=0.1),
    "power .3": partial(rule_query, power=0.3),
    "tau 0, power .3": partial(rule_query, tau=0.0, power=0.3),
    "tau 0, power .1": partial(rule_query, tau=0.0, power=0.1),
    "tau 0, power .03": partial(rule_query, tau=0.0, power=0.03),
    "tau 0, power auto": partial(rule_query, tau=0.0, power="auto"),
    "tau 0, harmonic": partial(rule_query, tau=0.0, harmonic=True),
    "tau 0, distances": partial(rule_query, tau=0.0, distances=True),
    "tau 0, distances, power .3": partial(rule_query, tau=0.0, distances=True, power=0.3),
    "tau 0, power .3, half margin": partial(rule_query, tau=0.0, power=0.3, margin=0.5),
    "tau 0, half margin": partial(rule_query, tau=0.0, margin=0.5),
    "tau 0, distances, half margin": partial(rule_query, tau=0.0, distances=True, margin=0.5),
    "margin left, power .1": partial(margin_left_query, power=0.1),
    "margin left, power .3": partial(margin_left_query, power=0.3),
    "margin left, power .1, sharp": partial(margin_left_query, power=0.1, sharpness=4.0),
    "margin left, power .3, sharp": partial(margin_left_query, power=0.3, sharpness=4.0),
    "cover, margin": cover_query,
    "cover .01, margin": partial(cover_query, tolerance=1e-2),
    "cover, distances, margin": partial(cover_query, distances=True),
    "annealed cover, margin": partial(cover_query, tau=None),
    "cover power .3, margin": partial(cover_query, power=0.3),
    "epig": epig_pool_query,
    "badge": mb.badge_query,
    "power-balance": partial(mb.power_balance_query, tau=0.0),
    "bald": mb.bald_query,
    "entropy": mb.entropy_query,
    "batchbald": partial(mb.batchbald_query, max_configurations=300),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=list(DEVELOPMENT))
    parser.add_argument("--estimators", nargs="+", default=["dropout"])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--budget", type=int, default=150)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.seeds):
        for name in args.datasets:
            data = load(name, args.data_dir)
            budget = min(args.budget, len(data.y_pool) - args.batch)
            for estimator in args.estimators:
                simulate(
                    ESTIMATORS[estimator],
                    data.x_pool,
                    data.y_pool,
                    {s: STRATEGIES[s] for s in args.strategies},
                    X_test=data.x_test[:1000],
                    y_test=data.y_test[:1000],
                    n_initial=20,
                    initial_per_class=False,
                    n_instances=args.batch,
                    budget=budget,
                    pool_size=2000,
                    seeds=[seed],
                    dataset=f"{name}, B={args.batch}",
                    estimator_name=estimator,
                    results=args.out,
                )


if __name__ == "__main__":
    main()
