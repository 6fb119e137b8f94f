"""Slow, obviously correct reference implementations for the tests."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch


def random_proba(seed, n_hypotheses, n_points, n_classes, *, hard=0.0, sharpness=2.0):
    """Random predictions (S, N, C), float64; a share ``hard`` of them are exactly 0 and 1."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(1, n_points, n_classes))
    own = rng.normal(size=(n_hypotheses, n_points, n_classes))
    logits = sharpness * (shared + own)
    proba = np.exp(logits - logits.max(-1, keepdims=True))
    proba /= proba.sum(-1, keepdims=True)
    one_hot = np.eye(n_classes)[proba.argmax(-1)]
    proba = np.where(rng.random((n_hypotheses, n_points, 1)) < hard, one_hot, proba)
    return torch.from_numpy(proba)


def delta_by_enumeration(proba, edges, weights, batch):
    """The paper's objective of a batch, as a sum over all C^b label configurations."""
    proba = proba.numpy()
    n_hypotheses, _, n_classes = proba.shape
    k, l = edges.numpy().T
    total, largest, terms = 0.0, 0.0, []
    for labels in product(range(n_classes), repeat=len(batch)):
        likelihood = np.ones(n_hypotheses)
        for x, y in zip(batch, labels, strict=True):
            likelihood = likelihood * proba[:, x, y]
        largest = np.maximum(largest, likelihood)
        terms.append(likelihood)
    for likelihood in terms:
        ratio = likelihood / largest
        total += likelihood.mean() * (weights.numpy() * (1 - ratio[k] * ratio[l])).sum()
    return total
