"""The two posteriors of MCDropoutClassifier: dropout masks, and snapshots of the weights.

S: hypotheses    M: snapshots    n: rows    C: classes
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from torch import Tensor

from ..arguments import draw_seed
from ..hypotheses.dropout import DropoutHypotheses
from ..hypotheses.masks import has_dropout
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.snapshots import SnapshotHypotheses
from .predicting import check_finite
from .sgmcmc import CyclicalSGLD

__all__ = ["DropoutPosterior", "Posterior", "SnapshotPosterior", "posterior_of"]

ROWS_AT_ONCE = 4096  # of the mean prediction: bounds the memory of (S, n, C)


class Posterior(Protocol):
    """The posterior of a fitted classifier; its inputs are those of the network."""

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean prediction (n, C), each row independent of the others."""
        ...

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return frozen hypotheses."""
        ...


class DropoutPosterior:
    """MC dropout: every set of masks is a hypothesis.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net that returns logits.
    seed : int
        Seed of the masks behind the mean prediction.
    """

    def __init__(self, net: NeuralNet, seed: int) -> None:
        self.net = net
        self.seed = seed

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean over `n_samples` sets of masks, or the network's own prediction.

        In float64: matrix products in float32 round differently for one row and for many.
        """
        if has_dropout(self.net.module_):
            return _mean(DropoutHypotheses(self.net, n_samples, self.seed, dtype=torch.float64), X)
        module = copy.deepcopy(self.net.module_).double().eval()
        with torch.no_grad():
            parts = [
                torch.softmax(module(part.to(self.net.device, torch.float64)), dim=1).cpu()
                for part in torch.split(X, ROWS_AT_ONCE)
            ]
        return check_finite(torch.cat(parts)).numpy()

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return networks with new masks."""
        seed = draw_seed(rng)
        return DropoutHypotheses(self.net, n_samples, seed, classes=classes, verbose=verbose)


class SnapshotPosterior:
    """Snapshots of the weights: a fixed set of hypotheses.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net that returns logits.
    snapshots : dict of str to Tensor
        For each parameter that was sampled its values, (M, *shape).
    """

    def __init__(self, net: NeuralNet, snapshots: dict[str, Tensor]) -> None:
        self.net = net
        self.snapshots = snapshots

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean over all snapshots, whatever `n_samples`."""
        return _mean(SnapshotHypotheses(self.net.module_, self.snapshots, dtype=torch.float64), X)

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return random snapshots without replacement, or all if there are no more."""
        # In random order: neighbours in the chain are alike, and disjoint pairs are of neighbours.
        n_snapshots = len(next(iter(self.snapshots.values())))
        chosen = torch.from_numpy(rng.permutation(n_snapshots)[:n_samples])
        snapshots = {name: values[chosen] for name, values in self.snapshots.items()}
        return SnapshotHypotheses(
            self.net.module_,
            snapshots,
            classes=classes,
            verbose=verbose,
            complete=n_samples >= n_snapshots,
        )


def posterior_of(
    net: NeuralNet, posterior: Any, X: Tensor, y: Tensor, seed: int, *, verbose: int = 0
) -> DropoutPosterior | SnapshotPosterior:
    """Return the posterior of a trained net, from its dropout or by sampling its weights.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net that returns logits, with a weighted cross-entropy as its loss.
    posterior : {"dropout", "sgmcmc"} or CyclicalSGLD
        Which posterior: of dropout masks, or of weights as the sampler finds them.
    X : Tensor of shape (n, ...)
        The rows it was trained on.
    y : Tensor of int64, shape (n,)
        Their labels 0..C-1.
    seed : int
        Seed of the masks or of the sampler.
    verbose : int, default=0
        1 shows a progress bar over the steps of the sampler.

    Returns
    -------
    DropoutPosterior or SnapshotPosterior
    """
    if isinstance(posterior, str):
        if posterior == "dropout":
            return DropoutPosterior(net, seed)
        posterior = CyclicalSGLD()
    snapshots = posterior.sample(
        net.module_,
        X.to(net.device),
        y.to(net.device),
        class_weight=net.criterion_.weight,
        batch_size=net.batch_size,
        seed=seed,
        verbose=verbose,
    )
    return SnapshotPosterior(net, snapshots)


def _mean(hypotheses: Hypotheses, X: Tensor) -> NDArray[np.float64]:
    parts = torch.split(X, ROWS_AT_ONCE)
    means = [hypotheses.predict_proba_samples(part).mean(dim=0).cpu() for part in parts]
    proba: NDArray[np.float64] = check_finite(torch.cat(means)).numpy()
    return proba
