"""Sample weights from the posterior of a network: cyclical stochastic-gradient Langevin dynamics.

The potential of the weights theta, and the step on it:

    U(theta) = - sum_i w_i log p(y_i | x_i, theta) - log N(theta; 0, prior_std^2)
    theta   <- theta - alpha_k grad U(theta) + sqrt(2 alpha_k T) noise
    alpha_k  = alpha_0 / 2 [cos(pi mod(k - 1, L) / L) + 1],    L = ceil(K / M) steps a cycle

Every cycle starts with large steps without noise, which move the chain to another mode, and
continues with smaller steps that sample there. The gradient is estimated as n / B times the sum
over B of the n rows. With eta = alpha n, the step is one of gradient descent on the mean loss, and
its size does not depend on the number of rows:

    theta <- theta - eta [ mean_i w_i grad loss_i + theta / (n prior_std^2) ]
                   + sqrt(2 eta T / n) noise

Zhang, Li, Zhang, Chen & Wilson, *Cyclical Stochastic Gradient MCMC for Bayesian Deep Learning*,
ICLR 2020; Welling & Teh, *Bayesian Learning via Stochastic Gradient Langevin Dynamics*, ICML 2011.

M: snapshots    n: rows    C: classes
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from .._utils.torch_state import undisturbed
from .base import COUNT, POSITIVE, Constraint, between, check_parameters


class CyclicalSGLD(BaseEstimator):
    """Settings of the sampler behind ``MCDropoutClassifier(posterior="sgmcmc")``.

    The posterior is that of the weights given the training rows, under a Gaussian prior and the
    likelihood that belongs to the loss of the classifier: with ``class_weight="balanced"``, each
    row has the weight of its class. The network runs in eval mode without dropout, so it is a fixed
    function of its weights.

    Parameters
    ----------
    n_cycles : int, default=10
        Number of cycles of the step size.
    steps_per_cycle : int, default=250
        Steps of a cycle. Sampling takes ``n_cycles * steps_per_cycle`` steps after training.
    samples_per_cycle : int, default=4
        Snapshots kept per cycle, evenly spaced over its sampling stage; the last one is at the end
        of the cycle. There are ``n_cycles * samples_per_cycle`` snapshots.
    step_size : float, default=0.1
        Step on the mean loss at the start of a cycle: eta, n times the alpha_0 of the paper. The
        step size is the same for all weights, so the inputs should be standardised.
    exploration : float in [0, 1), default=0.5
        Share of a cycle, at its start, without noise and without snapshots.
    prior_std : float, default=1.0
        Standard deviation of the prior of each weight.
    temperature : float, default=1.0
        1 samples the posterior. Below 1, networks are more similar and closer to the mode.

    References
    ----------
    Zhang, Li, Zhang, Chen & Wilson, *Cyclical Stochastic Gradient MCMC for Bayesian Deep Learning*,
    ICLR 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from modal_balance import MCDropoutClassifier
    >>> from modal_balance.estimators.sgmcmc import CyclicalSGLD
    >>> X, y = load_iris(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> sampler = CyclicalSGLD(n_cycles=5, steps_per_cycle=50)
    >>> classifier = MCDropoutClassifier(posterior=sampler, random_state=0).fit(X, y)
    >>> classifier.draw_hypotheses(20, random_state=0).predict_proba_samples(X).shape
    torch.Size([20, 150, 3])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_cycles": COUNT,
        "steps_per_cycle": COUNT,
        "samples_per_cycle": COUNT,
        "step_size": POSITIVE,
        "exploration": between(0, 1, "a number in [0, 1)", low_itself=True),
        "prior_std": POSITIVE,
        "temperature": POSITIVE,
    }

    def __init__(
        self,
        n_cycles: int = 10,
        steps_per_cycle: int = 250,
        samples_per_cycle: int = 4,
        *,
        step_size: float = 0.1,
        exploration: float = 0.5,
        prior_std: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        self.n_cycles = n_cycles
        self.steps_per_cycle = steps_per_cycle
        self.samples_per_cycle = samples_per_cycle
        self.step_size = step_size
        self.exploration = exploration
        self.prior_std = prior_std
        self.temperature = temperature

    def sample(
        self,
        module: nn.Module,
        X: Tensor,
        y: Tensor,
        *,
        class_weight: Tensor | None = None,
        batch_size: int = 128,
        seed: int = 0,
        verbose: int = 0,
    ) -> dict[str, Tensor]:
        """Return snapshots of the weights of a trained module, which is not changed.

        Parameters
        ----------
        module : nn.Module
            Maps inputs to logits (n, C). The chain starts at its parameters; those without
            gradient are fixed.
        X : Tensor of shape (n, ...)
            Training inputs, on the device of the module.
        y : Tensor of int64, shape (n,)
            Labels 0..C-1.
        class_weight : Tensor of shape (C,), default=None
            Weight of the rows of each class in the likelihood. None: 1.
        batch_size : int, default=128
            Rows for each gradient, drawn with replacement. If there are no more rows than that, the
            gradient is exact.
        seed : int, default=0
            Seed of the batches and the noise.
        verbose : int, default=0
            1 shows a progress bar over the steps.

        Returns
        -------
        dict of str to Tensor
            Stacked values, (M, ...), of each sampled parameter.

        Raises
        ------
        ValueError
            If a setting is invalid, or the weights become infinite or NaN.
        """
        self._check()
        module = copy.deepcopy(module)
        sampled = {k: p for k, p in module.named_parameters() if p.requires_grad}
        parameters = list(sampled.values())
        n_rows, length = len(X), self.steps_per_cycle
        noise_from, keep_after = self._stages()
        generator = torch.Generator(device=X.device).manual_seed(seed)
        kept: list[list[Tensor]] = []
        steps = tqdm(range(self.n_cycles * length), desc="Langevin steps", disable=verbose < 1)
        with undisturbed(module), steps:
            for k in steps:
                phase = k % length
                eta = self.step_size / 2 * (math.cos(math.pi * phase / length) + 1)
                rows: Any = slice(None)
                if n_rows > batch_size:
                    rows = torch.randint(
                        n_rows, (batch_size,), generator=generator, device=X.device
                    )
                gradients = _gradients(module, parameters, X[rows], y[rows], class_weight)
                noise_std = math.sqrt(2 * eta * self.temperature / n_rows)
                for theta, gradient in zip(parameters, gradients, strict=True):
                    theta.sub_(gradient + theta / (n_rows * self.prior_std**2), alpha=eta)
                    if phase >= noise_from:
                        noise = torch.empty_like(theta).normal_(generator=generator)
                        theta.add_(noise, alpha=noise_std)
                if phase in keep_after:
                    if not all(bool(theta.isfinite().all()) for theta in parameters):
                        raise ValueError(
                            f"The weights were no longer finite after step {k + 1} of the sampler. "
                            "Scale X (for example with StandardScaler), or lower the step_size of "
                            f"CyclicalSGLD, which is {self.step_size}."
                        )
                    kept.append([theta.detach().clone() for theta in parameters])
        stacks = [torch.stack(values) for values in zip(*kept, strict=True)]
        return dict(zip(sampled, stacks, strict=True))

    def _check(self) -> None:
        check_parameters(self)
        n_sampling = self.steps_per_cycle - self._stages()[0]
        if self.samples_per_cycle > n_sampling:
            raise ValueError(
                f"samples_per_cycle={self.samples_per_cycle}, but only {n_sampling} of the "
                f"{self.steps_per_cycle} steps of a cycle are in its sampling stage. Ask for at "
                f"most {n_sampling}, or pass more steps_per_cycle."
            )

    def _stages(self) -> tuple[int, set[int]]:
        """Return the first step of a cycle with noise, and the steps that end in a snapshot."""
        length = self.steps_per_cycle
        noise_from = math.floor(self.exploration * length)
        spacing = (length - noise_from) / self.samples_per_cycle
        keep_after = {length - 1 - math.floor(i * spacing) for i in range(self.samples_per_cycle)}
        return noise_from, keep_after


def _gradients(
    module: nn.Module,
    parameters: Sequence[Tensor],
    X: Tensor,
    y: Tensor,
    class_weight: Tensor | None,
) -> tuple[Tensor, ...]:
    """Return the gradients of the mean loss over some rows."""
    with torch.enable_grad():
        loss = cross_entropy(module(X), y, class_weight, reduction="sum") / len(y)
        return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
