"""Real query and teach loops under whichever version of modAL is installed."""

import inspect
import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
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
quick = partial(balance_query, n_pairs=10, random_state=0)


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
    net = skorch_net(train_split=ValidSplit(3))
    learner = ActiveLearner(net, query_strategy=quick, X_training=X[:40], y_training=y[:40])
    loop(learner, X[100:200], y[100:200], from_array)


def test_options_pass_through_query():
    learner = ActiveLearner(
        fast_classifier(), query_strategy=balance_query, X_training=X[:40], y_training=y[:40]
    )
    reports = []
    learner.query(X[100:200], n_instances=5, n_pairs=7, pairing="all", report=reports.append)
    assert reports[0].n_pairs == 7 * 13
    assert len(reports[0].indices) == 5
    loop(learner, X[100:200], y[100:200], from_array, n_pairs=5, tau=0.01, random_state=3)


@pytest.mark.skipif(not TAKES_METRICS, reason="modAL 0.4.1 has no metrics")
def test_metrics_are_the_gains():
    learner = ActiveLearner(
        fast_classifier(), query_strategy=quick, X_training=X[:40], y_training=y[:40]
    )
    indices, _, gains = learner.query(X[100:200], n_instances=2, return_metrics=True)
    expected = balance_query(
        learner.estimator, X[100:200], n_instances=2, n_pairs=10, random_state=0
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
    learner = models.DeepActiveLearner(skorch_net(max_epochs=20, lr=0.3), query_strategy=quick)
    X_known, y_known = X[:40], y[:40]
    for _ in range(3):
        learner.teach(X_known, y_known)
        indices, rows = learner.query(X[100:200], n_instances=3, tau=0.02)
        assert np.array_equal(rows, X[100:200][indices])
        X_known = np.concatenate([X_known, rows])
        y_known = np.concatenate([y_known, y[100:200][indices]])


def test_an_unfitted_learner_is_told_what_to_do():
    learner = ActiveLearner(fast_classifier(), query_strategy=quick)
    with pytest.raises(ValueError, match="X_training and y_training"):
        learner.query(X[100:200])


def test_a_committee_is_refused_by_name():
    member = ActiveLearner(fast_classifier(), X_training=X[:40], y_training=y[:40])
    committee = models.Committee([member, member], query_strategy=quick)
    with pytest.raises(TypeError, match="Committee cannot be queried as a whole"):
        committee.query(X[100:200])
