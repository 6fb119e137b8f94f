"""What every query strategy promises, whoever calls it and with whatever data."""

import pickle
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy import (
    STRATEGIES,
    digits,
    fast_classifier,
    fitted_classifier,
    indices_of,
    name_of,
)

import modal_balance

try:
    from modAL.models import ActiveLearner
except ImportError:
    ActiveLearner = None

# Draws and random first points follow positions in the pool, not rows.
DRAWN = {"power_balance_query", "power_bald_query", "badge_query", "coreset_query", "random_query"}
# Clusters are of a batch, so that a smaller batch is not the beginning of a larger one.
CLUSTERED = {"clustered_margin_query", "balance_margin_query"}
N = 60


every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def pool():
    return digits()[0][-N:]


def data_frame(X):
    """Columns with names and an index that is neither sorted nor unique."""
    return pd.DataFrame(
        X, columns=[f"pixel {i}" for i in range(64)], index=[5, 3, 3] * (len(X) // 3)
    )


POOLS = {
    "float32": lambda X: X,
    "float64": lambda X: X.astype(np.float64),
    "Fortran order": np.asfortranarray,
    "DataFrame": data_frame,
    "tensor": torch.from_numpy,
    "list": lambda X: X.tolist(),
}


def new_learner(kind, form=lambda X: X):
    X, y = digits()
    X, y = form(X[:42]), y[:42]
    if kind == "pipeline":
        return make_pipeline(StandardScaler(), fast_classifier()).fit(X, y)
    if kind == "modAL":
        pytest.importorskip("modAL")
        return ActiveLearner(fast_classifier(), X_training=X, y_training=y)
    return fast_classifier().fit(X, y)


# Shared: a query changes no learner, see test_nothing_is_changed.
fitted_learner = lru_cache(new_learner)
fitted_again = lru_cache(new_learner)


@lru_cache
def batch_of_three(strategy, kind):
    """What a learner fitted with an array chooses from an array."""
    return indices_of(strategy(fitted_learner(kind), pool(), 3, random_state=0)).tolist()


# Every form of data with a classifier; the forms that are converted most with other learners.
LEARNERS_AND_FORMS = [("classifier", form) for form in POOLS] + [
    pytest.param(kind, form, marks=pytest.mark.modal if kind == "modAL" else ())
    for kind in ("pipeline", "modAL")
    for form in ("float32", "DataFrame")
]


@every_strategy
@pytest.mark.parametrize(("kind", "form"), LEARNERS_AND_FORMS)
def test_any_learner_and_any_data_give_the_same_batch(strategy, kind, form):
    if form == "DataFrame":
        learner = fitted_learner(kind, data_frame)
    elif form == "float32":
        learner = fitted_again(kind)  # it chooses the same
    else:
        learner = fitted_learner(kind)
    indices = indices_of(strategy(learner, POOLS[form](pool()), 3, random_state=0))
    assert indices.dtype == np.int64 and indices.shape == (3,)
    assert indices.tolist() == batch_of_three(strategy, kind)


@every_strategy
def test_a_smaller_batch_is_the_beginning_of_a_larger_one(strategy):
    learner = fitted_learner("classifier")
    batches = []
    for n_instances in (1, 2):
        indices = indices_of(strategy(learner, pool(), n_instances, random_state=0))
        assert indices.dtype == np.int64
        assert indices.shape == (n_instances,)
        batches.append(indices.tolist())
    batches.append(batch_of_three(strategy, "classifier"))
    for batch in batches:
        assert len(set(batch)) == len(batch) and set(batch) <= set(range(N))
    if name_of(strategy) not in CLUSTERED:
        assert batches[1][:1] == batches[0] and batches[2][:2] == batches[1]


@every_strategy
def test_the_whole_pool_can_be_asked_for_and_no_more(strategy):
    learner = fitted_learner("classifier")
    indices = indices_of(strategy(learner, pool(), N, random_state=0))
    assert sorted(indices.tolist()) == list(range(N))
    with pytest.raises(ValueError, match=f"X_pool has {N} rows but n_instances={N + 1}"):
        strategy(learner, pool(), N + 1, random_state=0)


@every_strategy
def test_the_random_state_decides(strategy):
    learner = fitted_classifier()
    batches = [
        strategy(learner, pool(), 5, random_state=seed)[0].tolist() for seed in (0, 0, 1, 2, 3)
    ]
    assert batches[0] == batches[1]
    is_fixed = name_of(strategy) == "herding_query"
    if not is_fixed and "X_labelled" not in getattr(
        strategy, "keywords", {}
    ):  # nothing is left to chance there
        assert len({tuple(batch) for batch in batches}) > 1
    states = [np.random.RandomState(7) for _ in range(2)]
    first, second = (strategy(learner, pool(), 5, random_state=s)[0].tolist() for s in states)
    assert first == second


@every_strategy
def test_without_a_random_state_numpys_global_one_decides(strategy):
    batches = []
    for _ in range(2):
        np.random.seed(11)
        batches.append(strategy(fitted_classifier(), pool(), 5)[0].tolist())
    assert batches[0] == batches[1]


@every_strategy
def test_duplicates_in_the_pool_are_never_chosen_twice(strategy):
    twins = np.repeat(pool()[:5], 6, axis=0)
    indices, _ = strategy(fitted_classifier(), twins, 30, random_state=0)
    assert sorted(indices.tolist()) == list(range(30))


@every_strategy
def test_permuting_the_pool_permutes_the_batch(strategy):
    labelled = "X_labelled" in getattr(strategy, "keywords", {})
    if name_of(strategy) in DRAWN and not labelled:
        pytest.skip("draws by position")
    order = np.random.default_rng(0).permutation(N)
    here, _ = strategy(fitted_classifier(), pool(), 4, random_state=0)
    there, _ = strategy(fitted_classifier(), pool()[order], 4, random_state=0)
    assert order[there].tolist() == here.tolist()


@every_strategy
def test_nothing_is_changed(strategy):
    learner = fast_classifier().fit(digits()[0][:42], digits()[1][:42])
    X = pool().copy()
    module = learner.net_.module_.train()
    before = pickle.dumps(learner)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    strategy(learner, X, 5, random_state=0)
    with pytest.raises(ValueError, match="n_instances"):
        strategy(learner, X, 0, random_state=0)
    assert (X == pool()).all()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert all(m.training for m in module.modules())
    assert not any(m._forward_hooks for m in module.modules())
    same = pickle.loads(before)
    for one, other in zip(same.net_.module_.parameters(), module.parameters(), strict=True):
        assert torch.equal(one, other)


@every_strategy
def test_partials_pickle(strategy):
    copy = pickle.loads(pickle.dumps(partial(strategy, random_state=3)))
    expected = strategy(fitted_classifier(), pool(), 4, random_state=3)
    assert copy(fitted_classifier(), pool(), 4)[0].tolist() == expected[0].tolist()


def test_every_strategy_is_in_this_suite():
    public = {name for name in modal_balance.__all__ if name.endswith("_query")}
    tested = {name_of(parameter.values[0]) for parameter in STRATEGIES}
    assert tested == public
