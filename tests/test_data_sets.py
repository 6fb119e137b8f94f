"""Data sets of torch and skorch as pools: the rows that arrays would have given."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset
from toy import digits, fast_classifier, skorch_net

import modal_balance
from modal_balance import balance_query, margin_query

X, y = digits()
FOREST = RandomForestClassifier(5, random_state=0).fit(X[:60], y[:60])
CLASSIFIER = fast_classifier().fit(X[:60], y[:60])
STRATEGIES = sorted(name for name in modal_balance.__all__ if name.endswith("_query"))


class ReadRowByRow(torch.utils.data.Dataset):
    """A data set as people write them, for files on a disk. Counts what is read."""

    def __init__(self, rows):
        self.rows, self.n_read = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        self.n_read += 1
        return torch.from_numpy(self.rows[number]), 0


class Unsized(IterableDataset):
    def __iter__(self):
        yield torch.zeros(64), 0


DATA_SETS = {
    "skorch, no labels": lambda rows, labels: Dataset(rows),
    "skorch": Dataset,
    "tensors": lambda rows, labels: TensorDataset(torch.tensor(rows), torch.tensor(labels)),
    "subset": lambda rows, labels: Subset(Dataset(np.r_[rows[:3], rows]), range(3, len(rows) + 3)),
    "concatenated": lambda rows, labels: ConcatDataset(
        [Dataset(rows[:7], labels[:7]), Dataset(rows[7:], labels[7:])]
    ),
    "a user's own": lambda rows, labels: ReadRowByRow(rows),
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))
    return skorch_net(module).fit(X[:60], y[:60])


@pytest.mark.parametrize("kind", DATA_SETS)
def test_every_data_set_gives_the_batch_of_an_array(net, kind):
    batches = [
        balance_query(net, pool, 5, n_samples=10, tau=0.0, random_state=0)[0].tolist()
        for pool in (X[60:160], DATA_SETS[kind](X[60:160], y[60:160]))
    ]
    assert batches[0] == batches[1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_takes_a_data_set(net, name):
    query = getattr(modal_balance, name)
    options = {"tau": 0.0} if "balance" in name else {}
    batches = [
        query(net, pool, 3, random_state=0, **options)[0].tolist()
        for pool in (X[60:160], ReadRowByRow(X[60:160]))
    ]
    assert batches[0] == batches[1]


def test_other_rows_may_be_data_sets_too(net):
    def batch(wrap):
        return balance_query(
            net,
            wrap(X[60:160]),
            4,
            n_samples=10,
            X_val=wrap(X[160:200]),
            y_val=y[160:200],
            X_reference=wrap(X[200:260]),
            X_pending=wrap(X[260:264]),
            random_state=0,
        )[0].tolist()

    assert batch(ReadRowByRow) == batch(np.asarray)
    with pytest.raises(ValueError, match=r"X_pending has rows of shape \(9,\)"):
        balance_query(net, Dataset(X[60:160]), 4, tau=0.0, X_pending=Dataset(X[:4, :9]))


def test_a_large_data_set_is_read_once(net):
    rows = np.random.default_rng(0).random((10_300, 64), dtype=np.float32)
    pool = ReadRowByRow(rows)
    indices = margin_query(net, pool, 20, n_samples=4, random_state=0)[0]
    assert pool.n_read < 1.05 * len(rows)  # and of each block, a first batch to try
    assert set(indices) == set(margin_query(net, rows, 20, n_samples=4, random_state=0)[0])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda net: (net, Dataset(X[:0])), ValueError, "X_pool is empty"),
        (lambda net: (net, Unsized()), TypeError, "which has no length"),
        (lambda net: (net, Dataset(X[:9] * np.nan)), ValueError, "NaN or infinity"),
        (lambda net: (FOREST, Dataset(X[:9])), TypeError, "RandomForestClassifier cannot"),
        (lambda net: (CLASSIFIER, Dataset(X[:9])), TypeError, "MCDropoutClassifier cannot"),
        (
            lambda net: (make_pipeline(StandardScaler().fit(X), net), Dataset(X[:9])),
            TypeError,
            "Pipeline cannot",
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_why(net, make, error, words):
    learner, pool = make(net)
    with pytest.raises(error, match=words):
        margin_query(learner, pool, 2, random_state=0)
