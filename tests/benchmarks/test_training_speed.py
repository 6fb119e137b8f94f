"""How long an epoch of training takes, beside a bare PyTorch loop that does the same work.

python -m pytest tests/benchmarks/test_training_speed.py
"""

import time
from functools import partial

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from modal_balance.estimators.early_stopping import DrawnBatches, train
from modal_balance.estimators.networks import MLP

N_ROWS, N_CLASSES, BATCH, SAMPLES, EPOCHS = 150, 6, 128, 4096, 5
WEIGHT = torch.linspace(0.5, 1.5, N_CLASSES)
pytestmark = [
    pytest.mark.benchmark(min_rounds=10, warmup=True, warmup_iterations=2),
    pytest.mark.parametrize("n_features", [30, 561]),
]


def data(n_features, n_rows=N_ROWS):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows, n_features, generator=generator)
    return X, torch.randint(N_CLASSES, (n_rows,), generator=generator)


def epochs_of_train(n_features):
    """Return a function that runs EPOCHS epochs as the classifier does, validation included."""
    net = NeuralNetClassifier(
        partial(MLP, n_features, N_CLASSES),
        criterion=nn.CrossEntropyLoss,
        criterion__weight=WEIGHT,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=BATCH,
        iterator_train=DrawnBatches,
        iterator_train__samples_per_epoch=SAMPLES,
        iterator_train__seed=0,
        train_split=None,
        callbacks="disable",
        verbose=0,
    ).initialize()
    training, validation = data(n_features), data(n_features, N_ROWS // 4)
    return lambda: train(net, training, validation, max_epochs=EPOCHS, patience=EPOCHS)


def epochs_of_a_bare_loop(n_features):
    """Return a function that runs EPOCHS epochs in plain PyTorch, validation included."""
    (X, y), (X_val, y_val) = data(n_features), data(n_features, N_ROWS // 4)
    module = MLP(n_features, N_CLASSES)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss(weight=WEIGHT)

    def run():
        for _ in range(EPOCHS):
            module.train()
            total = 0.0
            for batch in torch.randint(N_ROWS, (SAMPLES,)).split(BATCH):
                optimizer.zero_grad()
                loss = criterion(module(X[batch]), y[batch])
                loss.backward()
                optimizer.step()
                total += loss.item()
            module.eval()
            with torch.no_grad():
                (module(X_val).argmax(1) == y_val).double().mean().item()

    return run


def test_train(benchmark, n_features):
    benchmark(epochs_of_train(n_features))


def test_bare_loop(benchmark, n_features):
    benchmark(epochs_of_a_bare_loop(n_features))


def test_train_takes_at_most_half_as_long_again_as_a_bare_loop(n_features):
    runs = [epochs_of_train(n_features), epochs_of_a_bare_loop(n_features)]
    seconds = np.empty((12, 2))
    for row in seconds:  # in turn, so that whatever else the machine does slows both
        for column, run in enumerate(runs):
            start = time.perf_counter()
            run()
            row[column] = time.perf_counter() - start
    ours, bare = seconds[2:].min(axis=0)  # without the warm-up
    print(f"{n_features} features: {ours / EPOCHS:.4f} s an epoch, {ours / bare:.2f} x a bare loop")
    assert ours / bare < 1.5
