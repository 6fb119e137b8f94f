"""Posteriors of MCDropoutClassifier: dropout masks, ensembles, and snapshots of weights.

S: hypotheses    M: snapshots    n: rows    C: classes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from torch import Tensor, nn

from .._utils.arguments import draw_seed
from .._utils.torch_state import copy_of
from ..hypotheses.draw import even_shares
from ..hypotheses.dropout import DropoutHypotheses
from ..hypotheses.dropout_calls import has_dropout
from ..hypotheses.protocol import Hypotheses, Part, StackedHypotheses
from ..hypotheses.snapshots import SnapshotHypotheses
from .base import check_finite
from .networks import MLP
from .sgmcmc import CyclicalSGLD

ROWS_AT_ONCE = 4096  # limits the memory of (S, n, C) for a mean prediction


class Posterior(Protocol):
    """Posterior of a fitted classifier; takes the inputs of the network."""

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean prediction (n, C), each row independent of the others."""
        ...

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return frozen hypotheses."""
        ...


class DropoutPosterior:
    """MC dropout: each set of masks is a hypothesis.

    The net is fitted and returns logits. `seed` is that of the masks behind the mean prediction.
    """

    def __init__(self, net: NeuralNet, seed: int) -> None:
        self.net = net
        self.seed = seed

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean over `n_samples` sets of masks, or the prediction without dropout."""
        dtype = _precision(self.net.module_)
        if has_dropout(self.net.module_, X[:1].to(self.net.device)):
            return _mean(DropoutHypotheses(self.net, n_samples, self.seed, dtype=dtype), X)
        module = copy_of(self.net.module_, dtype).eval()
        with torch.no_grad():
            parts = [
                torch.softmax(module(part.to(self.net.device, dtype)), dim=1).cpu()
                for part in torch.split(X, ROWS_AT_ONCE)
            ]
        return check_finite(torch.cat(parts).double()).numpy()

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return hypotheses with new masks."""
        seed = draw_seed(rng)
        return DropoutHypotheses(self.net, n_samples, seed, classes=classes, verbose=verbose)


class EnsemblePosterior:
    """MC dropout of several networks, each of which gets a share of the hypotheses.

    The nets are fitted, have dropout and return logits. `seed` is that of the masks behind the mean
    prediction.
    """

    def __init__(self, nets: Sequence[NeuralNet], seed: int) -> None:
        self.nets = list(nets)
        self.seed = seed

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean over `n_samples` sets of masks, divided evenly among the networks."""
        shares = even_shares(max(n_samples, len(self.nets)), len(self.nets))
        total: NDArray[np.float64] = np.zeros(())
        for i, (net, share) in enumerate(zip(self.nets, shares, strict=True)):
            mean = DropoutPosterior(net, self.seed + i).mean_proba(X, share)
            total = total + mean / len(self.nets)
        return total

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return hypotheses with new masks, divided among the networks as evenly as possible."""
        order = rng.permutation(len(self.nets))
        parts = [
            Part(
                DropoutHypotheses(
                    self.nets[m], share, draw_seed(rng), classes=classes, verbose=verbose
                ),
                classes,
            )
            for m, share in zip(order, even_shares(n_samples, len(order)), strict=True)
            if share
        ]
        # Shuffle, so that the draws of one network are not all compared with those of one other.
        return StackedHypotheses(parts, seed=draw_seed(rng))


class SnapshotPosterior:
    """Snapshots of the weights: a fixed set of hypotheses.

    The net is fitted and returns logits. `snapshots` maps the name of each sampled parameter to its
    stacked values, (M, *shape).
    """

    def __init__(self, net: NeuralNet, snapshots: dict[str, Tensor]) -> None:
        self.net = net
        self.snapshots = snapshots

    def mean_proba(self, X: Tensor, n_samples: int) -> NDArray[np.float64]:
        """Return the mean over all snapshots; `n_samples` is ignored."""
        dtype = _precision(self.net.module_)
        return _mean(SnapshotHypotheses(self.net.module_, self.snapshots, dtype=dtype), X)

    def draw(
        self, n_samples: int, rng: np.random.RandomState, classes: NDArray[Any], verbose: int
    ) -> Hypotheses:
        """Return random snapshots, drawn without replacement, at most all of them."""
        # In random order, because disjoint pairs would otherwise pair correlated snapshots.
        n_snapshots = len(next(iter(self.snapshots.values())))
        chosen = torch.from_numpy(rng.permutation(n_snapshots)[:n_samples])
        snapshots = {name: values[chosen] for name, values in self.snapshots.items()}
        return SnapshotHypotheses(self.net.module_, snapshots, classes=classes, verbose=verbose)


def posterior_of(
    nets: Sequence[NeuralNet], posterior: Any, X: Tensor, y: Tensor, seed: int, *, verbose: int = 0
) -> DropoutPosterior | EnsemblePosterior | SnapshotPosterior:
    """Return the posterior of trained nets; "sgmcmc" samples its snapshots here.

    The nets are fitted and return logits, with weighted cross-entropy as their loss: the members of
    an ensemble, otherwise one net. `posterior` is "dropout", "ensemble", "sgmcmc" or a
    CyclicalSGLD, as in :class:`~modal_balance.MCDropoutClassifier`. `X` (n, ...) are the training
    rows, and `y`, int64 (n,), their labels 0..C-1. `seed` is that of the masks or of the sampler,
    and `verbose=1` shows a progress bar over the steps of the sampler.
    """
    net = nets[0]
    if isinstance(posterior, str):
        if posterior == "dropout":
            return DropoutPosterior(net, seed)
        if posterior == "ensemble":
            if has_dropout(net.module_, X[:1].to(net.device)):
                return EnsemblePosterior(nets, seed)
            # A state_dict would name tied weights twice.
            states = [
                dict([*member.module_.named_parameters(), *member.module_.named_buffers()])
                for member in nets
            ]
            weights = {
                name: torch.stack([state[name].detach() for state in states])
                for name, values in states[0].items()
                if values.is_floating_point()
            }
            return SnapshotPosterior(net, weights)
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


def _precision(module: nn.Module) -> torch.dtype | None:
    """Return the precision of mean predictions; None is that of the module, which is not copied."""
    # float32 matrix products round differently for one row and for many. float64 costs our small
    # network little; it makes convolutions several times slower, and some devices do not have it.
    return torch.float64 if isinstance(module, MLP) else None


def _mean(hypotheses: Hypotheses, X: Tensor) -> NDArray[np.float64]:
    parts = torch.split(X, ROWS_AT_ONCE)
    means = [
        hypotheses.predict_proba_samples(part).mean(dim=0, dtype=torch.float64).cpu()
        for part in parts
    ]
    proba: NDArray[np.float64] = check_finite(torch.cat(means)).numpy()
    return proba
