"""Small learners on scikit-learn's data sets, and the strategies, for use in tests."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from modal_balance import (
    MCDropoutClassifier,
    badge_query,
    balance_margin_query,
    balance_query,
    bald_query,
    batchbald_query,
    clustered_margin_query,
    coreset_query,
    draw_hypotheses,
    entropy_query,
    epig_query,
    herding_query,
    margin_query,
    mean_std_query,
    power_balance_query,
    power_bald_query,
    random_query,
    uncertainty_herding_query,
    variation_ratio_query,
)


@lru_cache(maxsize=1)
def digits():
    """Digits 0-3, scaled to [0, 1] and shuffled: X (720, 64) float32, y int64."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 4], y[y < 4]
    order = np.random.default_rng(0).permutation(len(X))
    return (X[order] / 16).astype(np.float32), y[order]


def fast_classifier(**parameters):
    """Return a classifier that trains in a moment; its hypotheses differ a lot."""
    defaults = {
        "dropout": 0.5, "n_steps": 20, "learning_rate": 0.005, "n_samples": 20, "random_state": 0,
    }  # fmt: skip
    return MCDropoutClassifier(**(defaults | parameters))


@lru_cache(maxsize=1)
def fitted_classifier():
    """Return a classifier fitted on 40 digits. It is shared, so do not fit it again."""
    X, y = digits()
    return fast_classifier().fit(X[:40], y[:40])


def skorch_net(module=None, **parameters):
    """A skorch classifier of digits with dropout."""
    if module is None:
        module = nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4)
        )  # fmt: skip
    defaults = {
        "criterion": nn.CrossEntropyLoss, "max_epochs": 3, "lr": 0.1, "verbose": 0,
        "train_split": None,
    }  # fmt: skip
    return NeuralNetClassifier(module, **(defaults | parameters))


def fitted_net(module=None, **parameters):
    """A skorch classifier fitted on 40 digits."""
    X, y = digits()
    torch.manual_seed(0)
    return skorch_net(module, **parameters).fit(X[:40], y[:40])


# --- iris and its forests -------------------------------------------------------------------------


@lru_cache(maxsize=1)
def iris():
    """Iris, shuffled: X (150, 4) float64, y int64."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


def iris_words():
    """The classes of iris by name."""
    return np.array(["setosa", "versicolor", "virginica"])[iris()[1]]


def iris_frame():
    """Iris as a table, with an index that is not the position."""
    pd = pytest.importorskip("pandas")
    X, _ = iris()
    return pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X))[::-1] * 7)


def forest_of(kind=RandomForestClassifier, n=12, y=None, **parameters):
    """A forest fitted on 60 irises."""
    X, numbers = iris()
    y = numbers if y is None else y
    return kind(n, max_depth=3, random_state=0, **parameters).fit(X[:60], y[:60])


# --- queries --------------------------------------------------------------------------------------


def samples(estimator, X=None, n_samples=100, random_state=0):
    """Return predictions of hypotheses drawn from an estimator, by default on iris."""
    hypotheses = draw_hypotheses(estimator, n_samples, random_state=random_state)
    return hypotheses.predict_proba_samples(iris()[0] if X is None else X)


def indices_of(result):
    """The indices alone, under either version of modAL."""
    return result[0] if isinstance(result, tuple) else result


def reported(learner, X_pool=None, **options):
    """Return the report of a query with ``balance_query``, by default on iris."""
    reports = []
    options = {"tau": 0.02, "random_state": 0, "n_instances": 5} | options
    X_pool = iris()[0] if X_pool is None else X_pool
    result = balance_query(learner, X_pool, **options, callback=reports.append)
    assert indices_of(result).tolist() == reports[0].indices.tolist()
    return reports[0]


FEW = {"n_samples": 20}
STRATEGIES = [
    pytest.param(partial(balance_query, n_samples=20, tau=0.02), id="balance"),
    pytest.param(partial(balance_query, n_samples=12, tau=0.02, pairing="all"), id="balance-all"),
    pytest.param(partial(balance_query, n_samples=20, tau=0.02, max_edges=7), id="balance-some"),
    pytest.param(partial(balance_query, tau=0.05, pairing="partition", **FEW), id="partition"),
    pytest.param(partial(balance_margin_query, tau=0.02, **FEW), id="balance-margin"),
    pytest.param(partial(power_balance_query, n_samples=20, tau=0.02), id="power-balance"),
    pytest.param(partial(power_bald_query, **FEW), id="power-bald"),
    pytest.param(partial(bald_query, **FEW), id="bald"),
    pytest.param(partial(batchbald_query, max_configurations=300, **FEW), id="batchbald"),
    pytest.param(partial(variation_ratio_query, **FEW), id="variation-ratio"),
    pytest.param(partial(mean_std_query, **FEW), id="mean-std"),
    pytest.param(partial(margin_query, **FEW), id="margin"),
    pytest.param(partial(clustered_margin_query, **FEW), id="clustered_margin"),
    pytest.param(partial(entropy_query, **FEW), id="entropy"),
    pytest.param(partial(epig_query, X_target=digits()[0][:30], **FEW), id="epig"),
    pytest.param(badge_query, id="badge"),
    pytest.param(coreset_query, id="coreset"),
    pytest.param(partial(coreset_query, X_labelled=digits()[0][:30]), id="coreset-labelled"),
    pytest.param(herding_query, id="herding"),
    pytest.param(uncertainty_herding_query, id="uncertainty-herding"),
    pytest.param(random_query, id="random"),
]


def name_of(strategy):
    """The name of a strategy, also of one with options filled in."""
    return getattr(strategy, "func", strategy).__name__


QUICK = {"n_steps": 50, "samples_per_epoch": 512, "max_epochs": 20, "n_samples": 10}


def quick(**parameters):
    """Return a classifier that trains in 0.1 s, with few steps and a higher rate."""
    return MCDropoutClassifier(**(QUICK | {"learning_rate": 0.01, "random_state": 0} | parameters))


def shuffled(load, n=None):
    X, y = load(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:n]
    return StandardScaler().fit_transform(X)[rows], y[rows]


IRIS = shuffled(load_iris)


DIGITS = shuffled(load_digits, 400)


def weights_of(classifier):
    return list(classifier.net_.module_.state_dict().values())


def same_weights(first, second):
    return all(map(torch.equal, weights_of(first), weights_of(second)))


class Linear(nn.Module):
    """Logistic regression without randomness: it starts at zero and has no dropout."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.out = nn.Linear(n_features, n_classes)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, X):
        return self.out(X)


class Convolution(nn.Module):
    def __init__(self, n_channels, n_classes, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, width, 3), nn.ReLU(), nn.Dropout2d(0.2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(width * 36, n_classes),
        )  # fmt: skip

    def forward(self, X):
        return self.layers(X)
