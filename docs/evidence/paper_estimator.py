"""Batch-BALanCe with the paper's estimator, as a query strategy.

It sums over configurations of the points chosen so far: all of them for batches of less than four
points, otherwise M = 10,000 importance samples. With the likelihoods p_j(m) and the products of
ratios lambda_e(m) of configuration m, Eq. 5 for all candidates x at once is

    Delta(x) = sum_c [ sum_j r_j p_j(c|x) - sum_e w_e lambda_e(c|x) sum_j T[j, e] p_j(c|x) ]
    r_j     = 1/(S M) sum_m p_j(m) / pbar(m)
    T[j, e] = 1/(S M) sum_m p_j(m) / pbar(m) lambda_e(m)

which is the closed form with a sampled W. The samples are summed once instead of once for each
candidate, so 10,000 of them cost little. ``single=True`` rounds the total to float32 and takes the
first of several maxima, as in the authors' released program.

S: hypotheses    N: points    C: classes    E: edges    M: configurations
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from modal_balance.equivalence.pairs import disjoint_pairs, edges_beyond
from modal_balance.reference.paper_estimators import eq5_delta
from modal_balance.strategies.edges import predict_samples
from modal_balance.strategies.query import Query, Radius

N_EXACT = 3  # points of a batch for which all configurations are enumerated


def deltas(
    proba: Tensor, edges: Tensor, weights: Tensor, configurations: Tensor | None, chosen: list[int]
) -> Tensor:
    """Return Delta of the batch so far with each point added, (N,).

    `configurations` (M, b) are drawn labels of the points `chosen`. None: use the exact W.
    """
    n_hypotheses = len(proba)
    ratio = proba / proba.amax(2, keepdim=True)  # (S, N, C)
    cut_free = ratio[edges[:, 0]] * ratio[edges[:, 1]]  # (E, N, C)
    W = weights.expand(n_hypotheses, -1).clone() / n_hypotheses  # (S, E)
    r = proba.new_full((n_hypotheses,), 1 / n_hypotheses)
    if configurations is None:
        for point in chosen:
            W *= proba[:, point] @ cut_free[:, point].T
    else:
        likelihood = proba.new_ones(n_hypotheses, len(configurations))  # (S, M)
        free = proba.new_ones(len(edges), len(configurations))  # (E, M)
        for point, labels in zip(chosen, configurations.T, strict=True):
            likelihood *= proba[:, point, labels]
            free *= cut_free[:, point, labels]
        weighted = likelihood / likelihood.mean(0) / (n_hypotheses * len(configurations))
        r = weighted.sum(1)
        W = weights * (weighted @ free.T)
    flat, free = proba.flatten(1), cut_free.flatten(1)  # (S, NC), (E, NC)
    total = r @ flat - ((W.T @ flat) * free).sum(0)
    return total.view(proba.shape[1:]).sum(1)


def draw_configurations(proba: Tensor, n: int, rng: np.random.RandomState) -> Tensor:
    """Return n label configurations drawn from the joint of b points (S, b, C), (n, b)."""
    hypotheses = torch.from_numpy(rng.randint(len(proba), size=n))
    uniform = torch.from_numpy(rng.random_sample((n, proba.shape[1], 1)))
    below = (proba[hypotheses].cumsum(2)[:, :, :-1] < uniform).sum(2)  # (n, b)
    return below


def paper_estimator_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, n_samples: int = 40,
    n_configurations: int = 10_000, single: bool = False, X_val: Any = None, y_val: Any = None,
    random_state: Any = None, callback: Any = None,
) -> Any:  # fmt: skip
    """Query with the paper's estimator, its disjoint pairs and annealed tau."""
    query = Query.of(
        learner, X_pool, n_instances, n_samples=n_samples, min_samples=2,
        radius=Radius(None, 0.25, X_val, y_val), random_state=random_state, callback=callback,
    )  # fmt: skip
    predictions = predict_samples(query)
    proba = predictions.proba.double()
    pairs = disjoint_pairs(len(proba) - len(proba) % 2)
    edges, weights = edges_beyond(predictions.reference_votes, pairs, predictions.tau)
    chosen: list[int] = []
    scores: list[float] = []
    for _ in range(n_instances):
        drawn = None
        if len(chosen) >= N_EXACT:
            drawn = draw_configurations(proba[:, chosen], n_configurations, query.random_state)
        delta = deltas(proba, edges, weights.double(), drawn, chosen)
        delta = delta.float().double() if single else delta
        delta[chosen] = -torch.inf
        best = (delta == delta.max()).nonzero()[0] if len(edges) else torch.tensor(
            [i for i in query.random_state.permutation(len(delta)) if i not in chosen][:1]
        )  # fmt: skip
        chosen.append(int(best[0]))
        scores.append(float(delta[chosen[-1]]))
    return query.result(
        torch.tensor(chosen), torch.tensor(scores), tau=predictions.tau, n_pairs=len(pairs),
        n_edges=len(edges),
    )  # fmt: skip


def main() -> None:
    """Check this form against the package's Eq. 5, which sums the samples for each candidate."""
    rng = np.random.RandomState(0)
    proba = torch.from_numpy(rng.dirichlet(np.ones(3), size=(8, 6)))
    edges = disjoint_pairs(8)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    drawn = draw_configurations(proba[:, [0, 3, 4]], 200_000, rng)
    ours = deltas(proba, edges, weights, drawn, [0, 3, 4])
    exact = deltas(proba, edges, weights, None, [0, 3, 4])
    for point in (1, 2, 5):
        theirs = eq5_delta(proba, edges, weights, [0, 3, 4, point], n_configurations=200_000,
                           random_state=1)  # fmt: skip
        print(point, round(float(ours[point]), 4), round(theirs, 4), round(float(exact[point]), 4))
        assert abs(float(ours[point]) - theirs) < 5e-3
        assert abs(float(ours[point]) - float(exact[point])) < 5e-3


if __name__ == "__main__":
    main()
