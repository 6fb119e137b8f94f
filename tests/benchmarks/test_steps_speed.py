"""How long a fit on few labels takes: one network, an ensemble, and a plain PyTorch loop.

python -m pytest tests/benchmarks/test_steps_speed.py -s
"""

import time

import numpy as np
import pytest
import torch
from torch import nn

from modal_balance import MCDropoutClassifier
from modal_balance.estimators.networks import MLP

N_STEPS = 400


def fit(**parameters):
    return lambda X, y: MCDropoutClassifier(random_state=0, **parameters).fit(X, y)


def plain_loop(X, y):
    """Train as the classifier does, by autograd."""
    inputs, labels = torch.tensor(X).float(), torch.tensor(y)
    module = MLP(X.shape[1], 10, dropout=0.2, input_dropout=0.2).train()
    optimizer = torch.optim.Adam(module.parameters())
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        criterion(module(inputs), labels).backward()
        optimizer.step()


RUNS = {
    "plain PyTorch loop": plain_loop,
    "one network": fit(validation=None),
    "with cross-validation": fit(),
    "ten members": fit(validation=None, posterior="ensemble"),
}


@pytest.mark.parametrize(("n_rows", "n_features"), [(20, 64), (100, 64), (200, 64), (100, 784)])
def test_fit_on_few_labels(n_rows, n_features):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, n_features)), np.arange(n_rows) % 10
    seconds = np.empty((6, len(RUNS)))
    for row in seconds:  # in turn, so that whatever else the machine does slows all
        for column, run in enumerate(RUNS.values()):
            start = time.perf_counter()
            run(X, y)
            row[column] = time.perf_counter() - start
    best = seconds[1:].min(axis=0)
    parts = [f"{name} {value:.3f} s" for name, value in zip(RUNS, best, strict=True)]
    print(f"{n_rows} x {n_features}: " + ", ".join(parts))
