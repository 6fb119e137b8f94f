"""Real query and teach loops under whichever version of modAL is installed."""

import inspect
import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.dataset import ValidSplit
from toy import digits, fast_classifier, skorch_net

from modal_balance import balance_query

pytest.importorskip("modAL")
from modAL import models
from modAL.models import ActiveLearner

pytestmark = pytest.mark.modal

X, y = digits()
TAKES_METRICS = "return_metrics" in inspect.signature(ActiveLearner.query).parameters
quick = partial(balance_query, n_samples=20, random_state=0)


def test_the_contract_follows_the_version():
    assert (version("modAL-python") >= "0.4.2") == TAKES_METRICS


def loop(learner, X_pool, y_pool, take, rounds=3, **options):
    """Query and teach; return the positions chosen, as rows of the first pool."""
    left = np.arange(len(y_pool))
    chosen = []
    for _ in range(rounds):
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # modAL 0.4.1, on tuples
            indices, rows = learner.query(take(X_pool, left), n_instances=4, **options)
        assert indices.shape == (4,)
        assert len(rows) == 4
        learner.teach(take(X_pool, left[indices]), y_pool[left[indices]])
        chosen += left[indices].tolist()
        left = np.delete(left, indices)
    assert len(set(chosen)) == 4 * rounds
    assert len(learner.X_training) == len(learner.y_training) == 40 + 4 * rounds
    return chosen


def from_array(data, rows):
    return data[rows]


def from_frame(data, rows):
    return data.iloc[rows]


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: make_pipeline(StandardScaler(), c)])
def test_loop_over_arrays(wrap):
    learner = ActiveLearner(
        wrap(fast_classifier()), query_strategy=quick, X_training=X[:40], y_training=y[:40]
    )
    loop(learner, X[100:200], y[100:200], from_array)


def test_loop_over_data_frames_gives_positions_and_the_rows_there():
    names = [f"pixel {i}" for i in range(64)]
    frame = pd.DataFrame(X, columns=names, index=np.arange(len(X))[::-1] * 2 + 1000)
    learner = ActiveLearner(
        fast_classifier(), query_strategy=quick, X_training=frame[:40], y_training=y[:40]
    )
    pool = frame[100:200]
    indices, rows = learner.query(pool, n_instances=4)
    assert rows.equals(pool.iloc[indices])
    arrays = ActiveLearner(
        fast_classifier(), query_strategy=quick, X_training=X[:40], y_training=y[:40]
    )
    assert loop(learner, pool, y[100:200], from_frame) == loop(
        arrays, X[100:200], y[100:200], from_array
    )


def test_loop_over_a_bare_net():
    torch.manual_seed(0)
    net = skorch_net(train_split=ValidSplit(3))
    learner = ActiveLearner(net, query_strategy=quick, X_training=X[:40], y_training=y[:40])
    loop(learner, X[100:200], y[100:200], from_array)


def test_options_pass_through_query():
    learner = ActiveLearner(
        fast_classifier(), query_strategy=balance_query, X_training=X[:40], y_training=y[:40]
    )
    reports = []
    learner.query(X[100:200], n_instances=5, n_samples=14, pairing="all", callback=reports.append)
    assert reports[0].n_pairs == 7 * 13
    assert len(reports[0].indices) == 5
    loop(learner, X[100:200], y[100:200], from_array, n_samples=10, tau=0.01, random_state=3)


@pytest.mark.skipif(not TAKES_METRICS, reason="modAL 0.4.1 has no metrics")
def test_metrics_are_the_gains():
    learner = ActiveLearner(
        fast_classifier(), query_strategy=quick, X_training=X[:40], y_training=y[:40]
    )
    indices, _, gains = learner.query(X[100:200], n_instances=2, return_metrics=True)
    expected = balance_query(
        learner.estimator, X[100:200], n_instances=2, n_samples=20, random_state=0
    )
    assert indices.tolist() == expected[0].tolist()
    assert gains.tolist() == expected[1].tolist()


def test_a_subclass_of_a_learner_keeps_its_contract():
    class Mine(ActiveLearner):
        def query(self, X_pool, *args, **kwargs):
            return super().query(X_pool, *args, **kwargs)

    learner = Mine(fast_classifier(), query_strategy=quick, X_training=X[:40], y_training=y[:40])
    indices, rows = learner.query(X[100:200], n_instances=2)
    assert indices.shape == (2,)
    assert np.array_equal(rows, X[100:200][indices])


@pytest.mark.skipif(not hasattr(models, "DeepActiveLearner"), reason="not in modAL 0.4.1")
def test_deep_active_learner():
    torch.manual_seed(0)
    learner = models.DeepActiveLearner(skorch_net(max_epochs=20, lr=0.3), query_strategy=quick)
    X_known, y_known = X[:40], y[:40]
    for _ in range(3):
        learner.teach(X_known, y_known)
        indices, rows = learner.query(X[100:200], n_instances=3, tau=0.02)
        assert np.array_equal(rows, X[100:200][indices])
        X_known = np.concatenate([X_known, rows])
        y_known = np.concatenate([y_known, y[100:200][indices]])


@pytest.mark.skipif(not hasattr(models, "DeepActiveLearner"), reason="not in modAL 0.4.1")
def test_deep_active_learner_of_our_classifier_is_an_active_learner_of_it():
    deep = models.DeepActiveLearner(fast_classifier(), query_strategy=quick)
    known = np.arange(40)
    deep.teach(X[known], y[known], warm_start=False)
    plain = ActiveLearner(
        fast_classifier(), query_strategy=quick, X_training=X[known], y_training=y[known]
    )
    for _ in range(2):
        indices, rows = deep.query(X[100:200], n_instances=3)
        assert indices.tolist() == plain.query(X[100:200], n_instances=3)[0].tolist()
        known = np.append(known, 100 + indices)
        deep.teach(X[known], y[known], warm_start=False)
        plain.teach(rows, y[100:200][indices])
    assert np.array_equal(deep.predict(X), plain.predict(X))


def test_an_unfitted_learner_is_told_what_to_do():
    learner = ActiveLearner(fast_classifier(), query_strategy=quick)
    with pytest.raises(ValueError, match="X_training and y_training"):
        learner.query(X[100:200])


@pytest.mark.skipif(not TAKES_METRICS, reason="modAL 0.4.1 has no metrics")
def test_metrics_of_a_committee_are_the_gains():
    learners = [
        ActiveLearner(fast_classifier(random_state=seed), X_training=X[:40], y_training=y[:40])
        for seed in range(2)
    ]
    committee = models.Committee(learners, query_strategy=partial(quick, tau=0.01))
    indices, _, gains = committee.query(X[100:200], return_metrics=True, n_instances=2)
    expected = balance_query(
        [learner.estimator for learner in learners],
        X[100:200],
        n_instances=2,
        n_samples=20,
        tau=0.01,
        random_state=0,
    )
    assert indices.tolist() == expected[0].tolist()
    assert gains.tolist() == expected[1].tolist()


# --- modAL's own examples, with these strategies in place of modAL's ------------------------------


def accuracy_of_loop(learner, X_pool, y_pool, X_test, y_test, n_rounds, n_instances):
    for _ in range(n_rounds):
        indices, rows = learner.query(X_pool, n_instances=n_instances)
        learner.teach(rows, y_pool[indices])
        X_pool = np.delete(X_pool, indices, axis=0)
        y_pool = np.delete(y_pool, indices)
    return np.mean(learner.predict(X_test) == y_test)


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
def test_pool_based_sampling_of_modals_examples():
    # iris, three labels to begin with, twenty more one by one
    X, y = load_iris(return_X_y=True)
    start = np.array([0, 50, 100])
    X_pool, y_pool = np.delete(X, start, axis=0), np.delete(y, start)
    forest = RandomForestClassifier(25, random_state=0)
    learner = ActiveLearner(
        forest,
        query_strategy=partial(balance_query, tau=0.0, random_state=0),
        X_training=X[start],
        y_training=y[start],
    )
    assert accuracy_of_loop(learner, X_pool, y_pool, X, y, 20, 1) > 0.9


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
def test_query_by_committee_of_modals_examples():
    # iris, a committee of forests of two labels each
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    learners = []
    for seed in range(4):
        start = rng.choice(len(X), 4, replace=False)
        learners.append(
            ActiveLearner(
                RandomForestClassifier(10, random_state=seed),
                X_training=X[start],
                y_training=y[start],
            )
        )
    committee = models.Committee(
        learners, query_strategy=partial(balance_query, tau=0.0, random_state=0)
    )
    assert accuracy_of_loop(committee, X, y, X, y, 20, 1) > 0.9


def test_ranked_batch_mode_of_modals_examples():
    # digits, batches; the strategy of a nearest-neighbour learner becomes that of a bagged one
    learner = ActiveLearner(
        BaggingClassifier(KNeighborsClassifier(1), 20, max_samples=0.7, random_state=0),
        query_strategy=partial(balance_query, tau=0.02, random_state=0),
        X_training=X[:20],
        y_training=y[:20],
    )
    before = np.mean(learner.predict(X[300:]) == y[300:])
    after = accuracy_of_loop(learner, X[20:300], y[20:300], X[300:], y[300:], 4, 5)
    assert after > max(before, 0.9)
