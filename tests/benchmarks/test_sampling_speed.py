"""Predictions of all dropout hypotheses at once, against one pass for each set of masks."""

import numpy as np
import torch
from skorch import NeuralNetClassifier
from timing import seconds_of
from torch import nn

from modal_balance import DropoutHypotheses
from modal_balance.estimators.networks import MLP


def test_sampling(benchmark):
    n_samples, X = 40, np.random.default_rng(0).normal(size=(7_000, 561)).astype(np.float32)
    net = NeuralNetClassifier(MLP(561, 6), criterion=nn.CrossEntropyLoss).initialize()
    hypotheses = DropoutHypotheses(net, n_samples, seed=0)

    proba = benchmark.pedantic(
        lambda: hypotheses.predict_proba_samples(X), rounds=5, warmup_rounds=1
    )
    assert proba.shape == (n_samples, 7_000, 6)

    module, rows = net.module_.eval(), torch.from_numpy(X)
    masks = [[torch.rand(64).ge(0.5) / 0.5 for _ in range(2)] for _ in range(n_samples)]

    @torch.no_grad()
    def one_pass_per_mask():
        layers = module.layers
        outputs = []
        for first, second in masks:
            hidden = torch.relu(layers[0](rows)) * first
            hidden = torch.relu(layers[3](hidden)) * second
            outputs.append(torch.softmax(layers[6](hidden), -1))
        return torch.stack(outputs)

    slow = seconds_of(one_pass_per_mask, repeats=3)
    fast = benchmark.stats.stats.min
    print(
        f"\n40 hypotheses on 7000 x 561: {fast:.3f} s, one pass per mask {slow:.3f} s, "
        f"ratio {slow / fast:.1f}"
    )
