"""Every kind of data and of labels through several rounds of modAL's query and teach."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn
from toy import digits, fast_classifier, skorch_net

from modal_balance import RandomSelectionWarning, balance_query

models = pytest.importorskip("modAL.models")
pytestmark = [
    pytest.mark.modal,
    # Two members may come to agree in the last round of so small a pool.
    pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning"),
]

X, y = digits()
N_START, N_POOL = 40, 120
needs_newer_modal = pytest.mark.skipif(
    not hasattr(models, "DeepActiveLearner"), reason="modAL 0.4.1 takes no tensors or dicts"
)
query = partial(balance_query, n_samples=8, tau=0.0, random_state=0)


def rounds(learner, X_pool, y_pool, take, n_rounds=3, n_instances=3):
    """Query and teach; return the positions chosen, as rows of the first pool."""
    left, chosen = np.arange(len(y_pool)), []
    for _ in range(n_rounds):
        indices, rows = learner.query(take(X_pool, left), n_instances=n_instances)
        assert indices.dtype == np.int64
        learner.teach(take(X_pool, left[indices]), y_pool[left[indices]])
        chosen += left[indices].tolist()
        left = np.delete(left, indices)
        del rows
    assert len(set(chosen)) == n_rounds * n_instances
    return chosen


def learner_of(kind, X_start, y_start, estimators=None):
    """Return an ActiveLearner or a Committee that has been taught the first rows."""
    estimators = estimators or ESTIMATORS[kind]()
    learners = [models.ActiveLearner(e, query, X_start, y_start) for e in estimators]
    for learner in learners:
        # Else teach refuses missing values. modAL 0.4.2 does not take this as an argument.
        learner.force_all_finite = False
    return learners[0] if len(learners) == 1 else models.Committee(learners, query)


ESTIMATORS = {
    "classifier": lambda: [fast_classifier()],
    "forest": lambda: [RandomForestClassifier(8, random_state=0)],
    "pipeline": lambda: [make_pipeline(StandardScaler(), fast_classifier())],
    "committee": lambda: [
        RandomForestClassifier(8, random_state=0),
        LogisticRegression(max_iter=999, C=0.1),
    ],
}


def by_index(data, rows):
    return data[rows]


def by_position(data, rows):
    return data.iloc[rows]


def from_list(data, rows):
    return [data[row] for row in rows]


def frame_of(X):
    index = np.tile(["row", "row", "other"], len(X) // 3 + 1)[: len(X)]
    return pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)], index=index)


def memory_map(X, path):
    mapped = np.memmap(path, dtype=X.dtype, mode="w+", shape=X.shape)
    mapped[:] = X
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


FORMS = {
    "float32": (lambda X: X, by_index),
    "float64": (lambda X: X.astype(np.float64), by_index),
    "DataFrame": (frame_of, by_position),
    "list": (lambda X: X.tolist(), from_list),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_kind_of_array_gives_the_same_rounds(kind, tmp_path):
    whole = np.round(X * 16)[: N_START + N_POOL]  # exact in any precision
    forms = FORMS | {
        "integer": (lambda X: X.astype(np.int64), by_index),
        "memory map": (lambda X: memory_map(X, tmp_path / "pool"), by_index),
    }
    chosen = {}
    for name, (form, take) in forms.items():
        data = form(whole)
        start, pool = take(data, np.arange(N_START)), take(data, np.arange(N_START, len(whole)))
        learner = learner_of(kind, start, y[:N_START])
        chosen[name] = rounds(learner, pool, y[N_START : len(whole)], take, n_rounds=2)
    assert all(same == chosen["float32"] for same in chosen.values()), chosen


@pytest.mark.parametrize("kind", ["forest", "committee"])
def test_csr_matrices_give_the_same_rounds_as_arrays(kind):
    chosen = []
    for form in (np.asarray, sparse.csr_matrix):
        estimators = ESTIMATORS["forest"]()
        if kind == "committee":
            estimators.append(MultinomialNB())
        learner = learner_of(kind, form(X[:N_START]), y[:N_START], estimators)
        chosen.append(rounds(learner, form(X[100:200]), y[100:200], by_index))
    assert chosen[0] == chosen[1]


@needs_newer_modal
def test_tensors_are_queried_and_taught():
    tensor = torch.from_numpy(X)
    chosen = []
    for data in (tensor, X):
        learner = learner_of("classifier", data[:N_START], y[:N_START])
        chosen.append(rounds(learner, data[100:200], y[100:200], by_index))
    assert chosen[0] == chosen[1]


@needs_newer_modal
def test_dicts_are_queried_and_taught():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(64, 4)

        def forward(self, left, right):
            return self.out(self.drop(torch.cat([left, right], 1)))

    torch.manual_seed(0)

    def halves(X):
        return {"left": X[:, :30], "right": X[:, 30:]}

    learner = models.DeepActiveLearner(skorch_net(Halves()), query)
    known = np.arange(N_START)
    for _ in range(3):
        learner.teach(halves(X[known]), y[known])
        indices, rows = learner.query(halves(X[100:200]), n_instances=3)
        assert np.array_equal(rows["left"], X[100:200][indices, :30])
        known = np.append(known, 100 + indices)


def test_tensors_and_dicts_are_taken_from_either_version():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 4))
    net = skorch_net(module).fit({"input": X[:N_START]}, y[:N_START])
    learner = models.ActiveLearner(net, query)
    results = [
        query(learner, pool, n_instances=3)
        for pool in (X[100:200], torch.from_numpy(X[100:200]), {"input": X[100:200]})
    ]
    batches = [(r[0] if isinstance(r, tuple) else r).tolist() for r in results]
    assert batches[0] == batches[1] == batches[2]


# --- mixed columns with missing values ------------------------------------------------------------


def mixed():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    frame = pd.DataFrame(X[order], columns=list("abcd"), index=np.arange(150)[::-1] * 5)
    frame["a"] = frame["a"].where(frame["a"] < 6.5)
    frame["petal"] = np.where(frame["c"] > 4, "long", np.where(frame["c"] > 2, "middling", None))
    return frame, np.array(["setosa", "versicolor", "virginica"])[y[order]]


def preprocessing():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("n", numbers, list("abd")), ("w", words, ["petal"])])


@pytest.mark.parametrize("kind", ["classifier", "forest", "committee"])
def test_mixed_columns_with_missing_values(kind):
    frame, labels = mixed()
    estimators = [make_pipeline(preprocessing(), e) for e in ESTIMATORS[kind]()]
    learner = learner_of(kind, frame[:30], labels[:30], estimators)
    rounds(learner, frame[30:], labels[30:], by_position)
    learners = getattr(learner, "learner_list", [learner])
    assert all(l.X_training.dtypes.equals(frame.dtypes) for l in learners)


# --- labels ---------------------------------------------------------------------------------------

WORDS = np.array(["nil", "one", "two", "three"])


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("labels", [WORDS[y], y - 1, y.astype(float), y % 2, y % 2 == 0])
def test_any_labels(kind, labels):
    learner = learner_of(kind, X[:N_START], labels[:N_START])
    rounds(learner, X[100:200], labels[100:200], by_index, n_rounds=1)
    assert set(learner.predict(X[:20])) <= set(labels)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_class_that_appears_in_round_three(kind):
    start = np.flatnonzero(y[:60] < 3)
    learner = learner_of(kind, X[start], WORDS[y[start]])
    left = np.flatnonzero(y[100:300] < 3) + 100
    for number in range(4):
        if number == 2:
            left = np.append(left, np.flatnonzero(y[300:400] == 3)[:5] + 300)
        indices, rows = learner.query(X[left], n_instances=2)
        taught = np.append(indices, len(left) - 1) if number == 2 else indices
        learner.teach(X[left[taught]], WORDS[y[left[taught]]])
        left = np.delete(left, taught)
    known = getattr(learner, "classes_", None)
    known = learner.estimator.classes_ if known is None else known
    assert set(known) == set(WORDS)


def test_a_class_declared_and_unseen():
    classifier = fast_classifier(classes=range(5))
    learner = learner_of("", X[:N_START], y[:N_START], [classifier])
    rounds(learner, X[100:200], y[100:200], by_index)
    assert learner.predict_proba(X[:3]).shape == (3, 5)


@pytest.mark.parametrize("kind", ["classifier", "forest", "committee"])
def test_sixty_two_classes(kind):
    labels = np.arange(62 * 8) % 62
    rng = np.random.default_rng(0)
    points = rng.normal(size=(62, 6))[labels] + 0.1 * rng.normal(size=(len(labels), 6))
    names = np.array([f"class {k:02}" for k in range(62)])[labels]
    estimators = [GaussianNB(), RandomForestClassifier(8)] if kind == "committee" else None
    points = points.astype(np.float32)
    learner = learner_of(kind, points[:124], names[:124], estimators)
    rounds(learner, points[124:], names[124:], by_index)


def test_no_edges_warn_in_a_loop():
    learner = learner_of("forest", X[:N_START], y[:N_START])
    with pytest.warns(RandomSelectionWarning, match="no edges"):
        learner.query(X[100:200], n_instances=3, tau=1.0)
