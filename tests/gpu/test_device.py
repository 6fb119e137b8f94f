"""On a GPU everything gives what it gives on the CPU: ``bash tests/gpu/run.sh``."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy import STRATEGIES, fast_classifier

from modal_balance import (
    DropoutHypotheses,
    MCDropoutClassifier,
    balance_batch,
    balance_margin_query,
    balance_query,
    disjoint_pairs,
    draw_hypotheses,
    margin_query,
)
from modal_balance.hypotheses.last_layer import last_layer_features

DEVICE = os.environ.get("TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"
)
X, y = load_digits(return_X_y=True)
X, IMAGES = (X / 16).astype(np.float32), (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """Convolutions in float32: by default cuDNN rounds their factors to 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


class Residual(nn.Module):
    """A dropout layer that is called twice, and a shortcut past it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.drop = nn.Dropout(0.4)

    def forward(self, X):
        hidden = self.drop(torch.relu(self.first(X)))
        return self.last(hidden + self.drop(torch.relu(self.second(hidden))))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def self_normalising():
    return nn.Sequential(nn.Linear(64, 32), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(32, 10))


MODULES = {
    "residual": (Residual, X),
    "convolutional": (convolutional, IMAGES),
    "self-normalising": (self_normalising, X),
}


def net_on(device, make):
    torch.manual_seed(0)
    net = NeuralNetClassifier(make(), criterion=nn.CrossEntropyLoss, device=device, verbose=0)
    return net.initialize()


@pytest.mark.parametrize("kind", MODULES)
def test_hypotheses_are_those_of_the_cpu(kind):
    make, rows = MODULES[kind]
    here, there = [
        DropoutHypotheses(net_on(device, make), 30, seed=1).predict_proba_samples(rows[:500])
        for device in ("cpu", DEVICE)
    ]
    assert there.device.type == DEVICE
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", MODULES)
def test_features_are_those_of_the_cpu(kind):
    make, rows = MODULES[kind]
    here, there = [last_layer_features(net_on(d, make), rows[:500])[0] for d in ("cpu", DEVICE)]
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_batch_and_its_gains_are_those_of_the_cpu(dtype):
    generator = torch.Generator().manual_seed(0)
    proba = torch.softmax(2 * torch.randn(40, 3000, 5, generator=generator, dtype=dtype), -1)
    edges = disjoint_pairs(40)
    here = balance_batch(proba, edges, None, 8, random_state=0)
    there = balance_batch(proba.to(DEVICE), edges, None, 8, random_state=0)
    # In float32 the last bits may decide later on, when little is left to gain.
    n_same = 8 if dtype == torch.float64 else 3
    assert there[0][:n_same].tolist() == here[0][:n_same].tolist()
    torch.testing.assert_close(there[1].cpu()[:n_same], here[1][:n_same], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def classifier():
    return fast_classifier(device=DEVICE).fit(X[:100], y[:100])


@pytest.mark.parametrize("query", STRATEGIES)
def test_every_strategy_chooses_a_batch(query, classifier):
    indices, scores = query(classifier, X[100:1000], 6, random_state=0)
    assert len(set(indices.tolist())) == 6
    assert not np.isnan(scores).any()
    again = query(classifier, X[100:1000], 6, random_state=0)[0]
    assert indices.tolist() == again.tolist()


@pytest.mark.parametrize("query", [balance_query, balance_margin_query, margin_query])
def test_a_large_pool_in_memory_and_on_disk_gives_the_same_batch(query, classifier, tmp_path):
    pool = np.random.default_rng(0).random((11_000, 64), dtype=np.float32)
    np.save(tmp_path / "pool.npy", pool)
    batches = [
        query(classifier, where, 12, random_state=0, memory_limit="8GB")[0].tolist()
        for where in (pool, str(tmp_path / "pool.npy"))
    ]
    assert batches[0] == batches[1]
    on_cpu = query(classifier, pool, 12, random_state=0, memory_limit=1000)[0]  # kept in a file
    assert len(set(on_cpu)) == 12


@pytest.mark.parametrize("posterior", ["dropout", "ensemble", "sgmcmc"])
def test_a_classifier_trains_and_predicts_there(posterior):
    options = {"posterior": posterior, "n_members": 4, "random_state": 0}
    here, there = [
        MCDropoutClassifier(**options, device=device).fit(X[:300], y[:300])
        for device in ("cpu", DEVICE)
    ]
    assert next(there.net_.module_.parameters()).device.type == DEVICE
    # Dropout and noise are those of the device's own generator.
    assert there.score(X[300:], y[300:]) == pytest.approx(here.score(X[300:], y[300:]), abs=0.08)
    assert draw_hypotheses(there, 4).predict_proba_samples(X).device.type == DEVICE
