"""Train a stack of small MC-dropout MLPs, one per seed or fold, with torch.bmm.

Each member has separate rows, labels, weights and dropout masks, so a stack gives the same results
as separate fits. There are no validation rows: all labels are used for training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """Settings of a fit."""

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    dropout: float = 0.2
    input_dropout: float = 0.0
    lr: float = 1e-3
    steps: int = 200
    batch: int = 0  # 0: full batch, else rows drawn without replacement a step
    weight_decay: float = 0.0  # decoupled (AdamW), weights only
    schedule: str = "constant"  # constant, cosine, onecycle, linear
    smoothing: float = 0.0
    class_weight: float = 0.0  # exponent: 0 plain, 1 balanced, 0.5 square root
    init: str = "torch"  # torch (uniform 1/sqrt(fan in)), he
    last_scale: float = 1.0  # factor on the output layer's initial weights
    first_scale: float = 1.0  # factor on the first layer's initial weights
    zero_bias: bool = False
    skip: bool = False  # linear input -> logits beside the hidden layers, zero at the start
    skip_lr: float = 1.0  # learning-rate factor of the skip connection
    ema: float = 0.0  # decay of the averaged weights used to predict, 0: last weights
    noise: float = 0.0  # standard deviation of Gaussian noise on the inputs
    mixup: float = 0.0  # Beta(a, a) of mixup, 0: none
    guard: bool = True  # columns constant over the labelled rows are set to 0
    clip: float = 0.0  # standardised inputs clipped to +- this, 0: none
    soft_clip: float = 0.0  # c * tanh(x / c) instead
    norm: str = "std"  # std, or shrink: variance floored at a tenth of the median variance
    scale_inputs: str = "none"  # none, dim: inputs times sqrt(64/d) if d > 64
    beta2: float = 0.999
    stop_loss: float = 0.0  # stop a member's training when its running loss falls below
    ensemble: int = 1  # networks averaged (reference only)


class Normaliser:
    """Standardise inputs [S, n, d] by the labelled rows, with guards against small samples."""

    def __init__(self, x: Tensor, recipe: Recipe) -> None:
        self.recipe = recipe
        self.mean = x.mean(1, keepdim=True)
        std = x.std(1, keepdim=True, correction=0)
        constant = std <= 1e-6 * (1.0 + self.mean.abs())
        if recipe.norm == "shrink":
            var = std**2
            floor = torch.where(constant, torch.nan, var).nanmedian(2, keepdim=True).values * 0.1
            std = torch.maximum(var, floor).sqrt()
        self.scale = torch.where(
            constant, torch.zeros_like(std) if recipe.guard else torch.ones_like(std), 1.0 / std
        )
        if recipe.scale_inputs == "dim":
            self.extra = min(1.0, math.sqrt(64 / x.shape[2]))
        else:
            self.extra = 1.0

    def __call__(self, x: Tensor, member: int | None = None) -> Tensor:
        mean, scale = (
            (self.mean, self.scale) if member is None else (self.mean[member], self.scale[member])
        )
        x = (x - mean) * scale
        if self.recipe.clip:
            x = x.clamp(-self.recipe.clip, self.recipe.clip)
        if self.recipe.soft_clip:
            x = self.recipe.soft_clip * torch.tanh(x / self.recipe.soft_clip)
        return x * self.extra


def _activation(name: str, x: Tensor, slope: Tensor | None) -> Tensor:
    if name == "relu":
        return F.relu(x)
    if name == "gelu":
        return F.gelu(x)
    if name == "silu":
        return F.silu(x)
    if name == "selu":
        return F.selu(x)
    if name == "tanh":
        return torch.tanh(x)
    if name == "prelu":
        assert slope is not None
        return torch.where(x > 0, x, x * slope)
    raise ValueError(name)


def lr_factor(schedule: str, t: float) -> float:
    """Return the learning-rate factor at progress ``t`` in [0, 1)."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    if schedule == "linear":
        return 1.0 - t
    if schedule == "onecycle":  # 10% linear warm-up, then cosine to 0
        return t / 0.1 if t < 0.1 else 0.5 * (1 + math.cos(math.pi * (t - 0.1) / 0.9))
    raise ValueError(schedule)


class Stack:
    """``S`` independent networks; ``fit`` takes x [S, n, d], y [S, n] (-1 marks padding)."""

    def __init__(self, recipe: Recipe, n_classes: int, seed: int = 0) -> None:
        self.recipe, self.n_classes = recipe, n_classes
        self.generator = torch.Generator().manual_seed(seed)
        self.seed = seed

    def _init(self, members: int, d: int) -> None:
        r, g = self.recipe, self.generator
        sizes = (d, *r.hidden, self.n_classes)
        self.w: list[Tensor] = []
        self.b: list[Tensor] = []
        for i, (a, o) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            last = i == len(sizes) - 2
            if r.init == "he" and not last:
                w = torch.randn(members, a, o, generator=g) * math.sqrt(2 / a)
            else:
                w = (torch.rand(members, a, o, generator=g) * 2 - 1) / math.sqrt(a)
            w *= r.last_scale if last else (r.first_scale if i == 0 else 1.0)
            b = (torch.rand(members, 1, o, generator=g) * 2 - 1) / math.sqrt(a)
            if last:
                b *= min(1.0, r.last_scale)
            if r.zero_bias:
                b.zero_()
            self.w.append(w.requires_grad_())
            self.b.append(b.requires_grad_())
        self.slopes: list[Tensor | None] = [
            torch.full((members, 1, 1), 0.25).requires_grad_() if r.activation == "prelu" else None
            for _ in r.hidden
        ]
        self.skip = torch.zeros(members, d, self.n_classes, requires_grad=True) if r.skip else None

    def _forward(self, x: Tensor) -> Tensor:
        """Return logits under new dropout masks."""
        r, h = self.recipe, x
        for i in range(len(r.hidden)):
            h = _activation(r.activation, torch.baddbmm(self.b[i], h, self.w[i]), self.slopes[i])
            if r.dropout:
                h = F.dropout(h, r.dropout)
        out = torch.baddbmm(self.b[-1], h, self.w[-1])
        return out + torch.bmm(x, self.skip) if self.skip is not None else out

    def fit(self, x: Tensor, y: Tensor, checkpoints: dict[int, object] | None = None) -> None:
        """Train the networks, and store the weights at the steps in ``checkpoints`` there."""
        r = self.recipe
        torch.manual_seed(self.seed)
        self.normaliser = Normaliser(x, r)
        x = self.normaliser(x)
        members, n, d = x.shape
        self._init(members, d)
        real = (y >= 0).float()
        target = F.one_hot(y.clamp(min=0), self.n_classes).float()
        weight = real
        if r.class_weight:
            counts = (target * real[..., None]).sum(1)  # [S, K]
            per_class = torch.where(counts > 0, counts.clamp(min=1) ** -r.class_weight, 0.0)
            weight = real * per_class.gather(1, y.clamp(min=0))
        weight = weight / weight.sum(1, keepdim=True)
        target = target * (1 - r.smoothing) + r.smoothing / self.n_classes
        decayed = list(self.w) + ([] if self.skip is None else [self.skip])
        plain = list(self.b) + [s for s in self.slopes if s is not None]
        groups = [
            {"params": self.w, "weight_decay": r.weight_decay, "f": 1.0},
            {"params": plain, "weight_decay": 0.0, "f": 1.0},
        ]
        if self.skip is not None:
            groups.append({"params": [self.skip], "weight_decay": r.weight_decay, "f": r.skip_lr})
        optimiser = torch.optim.AdamW(groups, lr=r.lr, betas=(0.9, r.beta2), fused=True)
        parameters = decayed + plain
        averaged = [p.detach().clone() for p in parameters] if r.ema else None
        batches = max(1, n // r.batch) if r.batch and n > r.batch else 1
        order = torch.empty(0)
        stopped = torch.zeros(members)
        running: Tensor | None = None
        for step in range(r.steps):
            factor = lr_factor(r.schedule, step / r.steps)
            for group in optimiser.param_groups:
                group["lr"] = r.lr * factor * group["f"]
            xb, tb, wb = x, target, weight
            if batches > 1:
                k = step % batches
                if k == 0:
                    order = torch.rand(members, n).argsort(1)
                index = order[:, k * n // batches : (k + 1) * n // batches]
                xb = x.gather(1, index[..., None].expand(-1, -1, d))
                tb = target.gather(1, index[..., None].expand(-1, -1, self.n_classes))
                wb = weight.gather(1, index) * batches
            if r.mixup:
                lam = float(np.random.default_rng(step).beta(r.mixup, r.mixup))
                shift = 1 + step % max(1, xb.shape[1] - 1)
                xb = lam * xb + (1 - lam) * xb.roll(shift, 1)
                tb = lam * tb + (1 - lam) * tb.roll(shift, 1)
                wb = lam * wb + (1 - lam) * wb.roll(shift, 1)
            if r.noise:
                xb = xb + r.noise * torch.randn_like(xb)
            if r.input_dropout:
                xb = F.dropout(xb, r.input_dropout)
            loss = -(F.log_softmax(self._forward(xb), 2) * tb).sum(2).mul(wb).sum(1)
            if r.stop_loss:
                value = loss.detach()
                running = value if running is None else 0.9 * running + 0.1 * value
                stopped = torch.maximum(stopped, (running < r.stop_loss).float())
                if bool(stopped.all()):
                    break
                before = [p.detach().clone() for p in parameters] if bool(stopped.any()) else None
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            if r.stop_loss and before is not None:
                with torch.no_grad():
                    for p, old in zip(parameters, before, strict=True):
                        p.copy_(torch.where(stopped[:, None, None] > 0, old, p))
            if averaged is not None:
                decay = min(r.ema, (1 + step) / (10 + step))
                torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1 - decay)
            if checkpoints is not None and step + 1 in checkpoints:
                checkpoints[step + 1] = [p.detach().clone() for p in (averaged or parameters)]
        if averaged is not None:
            self._load(averaged)

    def _load(self, values: list[Tensor]) -> None:
        decayed = list(self.w) + ([] if self.skip is None else [self.skip])
        plain = list(self.b) + [s for s in self.slopes if s is not None]
        with torch.no_grad():
            for p, value in zip(decayed + plain, values, strict=True):
                p.copy_(value)

    @torch.no_grad()
    def proba(self, x: Tensor, member: int, masks: int = 100, mask_seed: int = 0) -> Tensor:
        """Return the mean softmax over fixed dropout masks, for rows [N, d] of one member."""
        r = self.recipe
        g = torch.Generator().manual_seed(mask_seed)
        drawn = [
            (torch.rand(masks, h, generator=g) >= r.dropout).float() / (1 - r.dropout)
            for h in r.hidden
        ]
        x = self.normaliser(x, member)
        slope = [None if s is None else s[member] for s in self.slopes]
        first = _activation(
            r.activation, torch.addmm(self.b[0][member], x, self.w[0][member]), slope[0]
        )
        linear = x @ self.skip[member] if self.skip is not None else None
        total = torch.zeros(len(x), self.n_classes)
        for t in range(masks if r.dropout else 1):
            h, w = first, self.w[0][member]
            for i in range(len(r.hidden)):
                if i:
                    h = _activation(r.activation, torch.addmm(self.b[i][member], h, w), slope[i])
                # the mask is folded into the next layer's weights
                w = (
                    self.w[i + 1][member] * drawn[i][t][:, None]
                    if r.dropout
                    else self.w[i + 1][member]
                )
            out = torch.addmm(self.b[-1][member], h, w)
            total += torch.softmax(out if linear is None else out + linear, 1)
        return total / (masks if r.dropout else 1)
