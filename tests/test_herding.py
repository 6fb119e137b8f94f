"""Selection by coverage: MaxHerding and uncertainty herding."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, EpochScoring, TrainEndCheckpoint
from toy import digits, fitted_classifier, indices_of, iris, quick, skorch_net

from modal_balance import (
    BootstrapCommittee,
    balance_margin_query,
    herding_query,
    margin_query,
    random_query,
    uncertainty_herding_query,
)
from modal_balance.acquisition import herding, herding_batch
from modal_balance.acquisition.temperature import (
    calibrated_temperature,
    expected_calibration_error,
    tempered,
)
from modal_balance.strategies import coordinates
from modal_balance.strategies import herding as strategy

try:
    from modAL.models import ActiveLearner, Committee
except ImportError:
    ActiveLearner = Committee = None


def blobs(n_each=20, seed=0):
    """Three groups in the plane, of the sizes 3, 2 and 1 times n_each."""
    rng = np.random.default_rng(seed)
    sizes = (3 * n_each, 2 * n_each, n_each)
    centres = ((0.0, 0.0), (8.0, 0.0), (0.0, 8.0))
    X = np.concatenate([rng.normal(c, 1, (n, 2)) for c, n in zip(centres, sizes, strict=True)])
    return X, np.repeat([0, 1, 2], sizes)


# --- the batch ------------------------------------------------------------------------------------


def dense_coverage(points, batch, radius, weights):
    """The definition, point by point."""
    total = 0.0
    for x, u in zip(points, weights, strict=True):
        total += u * max((np.exp(-((x - s) ** 2).sum() / radius**2) for s in batch), default=0.0)
    return total / len(points)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_known", [0, 3])
@pytest.mark.parametrize("held", [True, False])
def test_the_batch_is_the_greedy_maximum_of_the_coverage(monkeypatch, weighted, n_known, held):
    if not held:  # a kernel that is computed in blocks of two points
        monkeypatch.setattr(herding, "HELD_VALUES", 0)
        monkeypatch.setattr(herding, "BLOCK_VALUES", 50)
    rng = np.random.default_rng(1)
    X, known = rng.normal(size=(25, 3)), rng.normal(size=(n_known, 3))
    weights = rng.random(25) if weighted else np.ones(25)
    expected, gains, batch = [], [], list(known)
    for _ in range(6):
        left = [i for i in range(25) if i not in expected]
        values = [dense_coverage(X, [*batch, X[i]], 1.3, weights) for i in left]
        gains.append(max(values) - dense_coverage(X, batch, 1.3, weights))
        expected.append(left[int(np.argmax(values))])
        batch.append(X[expected[-1]])
    indices, found = herding_batch(
        torch.from_numpy(X),
        6,
        radius=1.3,
        weights=torch.from_numpy(weights) if weighted else None,
        covered_by=torch.from_numpy(known),
        random_state=0,
    )
    assert indices.tolist() == expected
    np.testing.assert_allclose(found, gains, atol=1e-12)


def test_a_reference_set_stands_for_the_pool():
    X = torch.from_numpy(blobs()[0])
    indices, _ = herding_batch(X, 1, radius=2.0, reference=X[60:100], random_state=0)
    assert 60 <= indices[0] < 100  # the middle of the second group, whatever the others are


def test_ties_are_broken_at_random_and_nothing_is_chosen_twice():
    X = torch.zeros(6, 2)
    firsts = set()
    for seed in range(8):
        indices, gains = herding_batch(X, 6, radius=1.0, random_state=seed)
        assert sorted(indices.tolist()) == list(range(6))
        assert gains.tolist() == [1.0, 0, 0, 0, 0, 0]
        firsts.add(indices[0].item())
    assert len(firsts) > 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"radius": 0.0}, ValueError, "radius must be a finite number above 0, got 0.0"),
        ({"radius": "wide"}, TypeError, "radius must be a number, got 'wide'"),
        ({"weights": torch.ones(3)}, ValueError, r"weights must have the shape \(4,\)"),
        ({"weights": -torch.ones(4)}, ValueError, "weights must be finite numbers of at least 0"),
        ({"weights": [1, 1, 1, 1]}, TypeError, "weights must be a torch tensor"),
        ({"covered_by": torch.ones(1, 5)}, ValueError, "covered_by has 5 columns but features ha"),
        ({"reference": torch.ones(0, 2)}, ValueError, "reference has no points"),
    ],
)
def test_bad_arguments_of_the_batch_are_named(options, error, message):
    with pytest.raises(error, match=message):
        herding_batch(torch.rand(4, 2), 1, **({"radius": 1.0} | options))


# --- the strategy ---------------------------------------------------------------------------------


def test_without_a_learner_groups_come_by_their_size():
    X, group = blobs()
    indices, gains = herding_query(None, X, 3, radius=0.3, random_state=0)
    assert group[indices].tolist() == [0, 1, 2]
    assert (np.diff(gains) < 0).all() and gains.sum() < 1


def test_labelled_and_pending_points_cover():
    X, group = blobs()
    labelled, pending = [[0.0, 0.0]], [[8.0, 0.0]]
    options = {"X_labelled": labelled, "X_pending": pending, "radius": 0.3, "random_state": 0}
    assert group[herding_query(None, X, 1, **options)[0]].tolist() == [2]


@pytest.mark.modal
def test_a_modal_learner_brings_its_labels_and_needs_none():
    X, group = blobs()
    learner = ActiveLearner(LogisticRegression(), query_strategy=herding_query)
    first = indices_of(herding_query(learner, X, 2, radius=0.3, random_state=0))
    assert group[first].tolist() == [0, 1]
    learner.teach(X[first], group[first])
    assert group[indices_of(herding_query(learner, X, 1, radius=0.3))].tolist() == [2]


@pytest.mark.parametrize(
    "learner",
    [
        quick(),
        RandomForestClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        [LogisticRegression(), RandomForestClassifier()],
        fitted_classifier(),
    ],
    ids=lambda learner: type(learner).__name__,
)
def test_any_learner_will_do_fitted_or_not(learner):
    X = digits()[0][-60:]
    expected = herding_query(None, X, 5, random_state=0)[0]
    assert herding_query(learner, X, 5, random_state=0)[0].tolist() == expected.tolist()


def test_an_unfitted_pipeline_encodes_the_pool_in_a_copy():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=40), "colour": rng.choice(["red", "blue"], 40)})
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["colour"]), remainder="passthrough"
    )
    pipeline = make_pipeline(encode, LogisticRegression())
    found = herding_query(pipeline, frame, 4, random_state=0)[0]
    encoded = np.c_[frame.colour == "blue", frame.colour == "red", frame["size"]]
    assert found.tolist() == herding_query(None, encoded, 4, random_state=0)[0].tolist()
    assert not hasattr(encode, "transformers_")
    with pytest.raises(ValueError, match=r"are not numbers, in \['colour'\]. Pass a learner whose"):
        herding_query(LogisticRegression(), frame, 4)
    needs_labels = make_pipeline(SelectKBest(k=1), LogisticRegression())
    with pytest.raises(ValueError, match="SelectKBest cannot be fitted on the pool without labels"):
        herding_query(needs_labels, encoded.astype(float), 4)


class Stateless:
    """A transformer of the user's, without scikit-learn's base class and fitted attributes."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, :2]


class StatelessToo(Stateless, TransformerMixin, BaseEstimator):
    """The same with the base class."""


def test_the_steps_of_a_fitted_pipeline_are_fitted_whatever_they_look_like():
    X, y = iris()
    expected = herding_query(None, X[:, :2], 5, random_state=0)[0].tolist()
    forest = RandomForestClassifier(5, random_state=0)
    pipeline = make_pipeline(Stateless(), forest).fit(X, y)
    assert herding_query(pipeline, X, 5, X_labelled=[], random_state=0)[0].tolist() == expected
    cold = Pipeline([("scale", StandardScaler()), ("net", skorch_net().initialize())])
    expected_cold = herding_query(None, X, 5, random_state=0)[0].tolist()
    assert herding_query(cold, X, 5, X_labelled=[], random_state=0)[0].tolist() == expected_cold
    union = make_union(SelectKBest(k=2), StatelessToo())  # the first cannot be fitted without y
    pipeline = make_pipeline(union, forest).fit(X, y)
    columns = np.c_[X[:, 2:], X[:, :2]]
    expected = herding_query(None, columns, 5, random_state=0)[0].tolist()
    assert herding_query(pipeline, X, 5, X_labelled=[], random_state=0)[0].tolist() == expected


@pytest.mark.parametrize("name", ["X_labelled", "X_pending"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_other_rows_go_by_their_names(library, name):
    module = pytest.importorskip(library)
    X, _ = iris()
    columns = dict(zip("abcd", X.T, strict=True))
    table = module.table if library == "pyarrow" else module.DataFrame

    def query(some):
        return herding_query(None, table(columns), 4, **{name: some}, random_state=0)[0].tolist()

    some = {key: columns[key][:40] for key in "abcd"}
    backwards = {key: some[key] for key in "dcba"}
    assert query(table(backwards)) == query(table(some)) == query(X[:40])
    assert query(X[:40, ::-1]) != query(X[:40])
    if library == "pandas":  # as in scikit-learn, numbers are no names
        assert query(module.DataFrame(X[:40])) == query(X[:40])
    with pytest.raises(
        ValueError, match=rf"{name} has the columns \['e'\] where X_pool has \['d'\]"
    ):
        query(table({"a": some["a"], "b": some["b"], "c": some["c"], "e": some["d"]}))


def test_the_unit_of_a_column_does_not_matter_and_gaps_count_as_the_mean():
    X, _ = blobs()
    expected = herding_query(None, X, 5, random_state=0)[0].tolist()
    assert herding_query(None, X * [1000.0, 0.001], 5, random_state=0)[0].tolist() == expected
    far = X + [1.7e9, 0]  # such as times in seconds
    assert herding_query(None, far, 5, random_state=0)[0].tolist() == expected
    rounded = np.full(len(X), 0.1, dtype=np.float32)
    rounded[::3] = np.nextafter(np.float32(0.1), np.float32(1))  # as good as constant
    assert herding_query(None, np.c_[X, rounded], 5, random_state=0)[0].tolist() == expected
    forest = RandomForestClassifier(5).fit(np.where(X > 9, np.nan, X), np.arange(120) % 2)
    holes = X - X.mean(0)
    filled, holes[7] = holes.copy(), np.nan
    filled[7] = np.delete(filled, 7, 0).mean(0)
    # The scale of the columns is that of the other rows, so it is a little larger with the gap.
    assert herding_query(forest, holes, 3, random_state=0)[0].tolist() == (
        herding_query(forest, filled, 3, random_state=0)[0].tolist()
    )


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "double[pyarrow]"])
def test_missing_values_of_pandas_are_those_of_numpy(dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 2, (60, 3)).astype(float), columns=list("abc"))
    X["c"] = rng.normal(size=60)
    X.loc[::7, "b"] = np.nan
    forest = RandomForestClassifier(5, random_state=0).fit(X, X["a"])
    pool = X.astype({"b": dtype})
    for query in (herding_query, uncertainty_herding_query):
        batches = [query(forest, P, 4, random_state=0)[0].tolist() for P in (X, pool)]
        assert batches[0] == batches[1]
    for query in (herding_query, random_query):  # without a learner, there is none to refuse gaps
        batches = [query(None, P, 4, random_state=0)[0].tolist() for P in (X, pool)]
        assert batches[0] == batches[1]
    with pytest.raises(ValueError, match="X_pool contains infinity"):
        herding_query(None, X.fillna(np.inf), 4)


def test_inputs_of_a_net_are_side_by_side_also_one_number_for_each_row():
    X, _ = iris()
    together = herding_query(None, X, 5, random_state=0)
    for words in (X[:, 3], torch.from_numpy(X[:, 3]), pd.Series(X[:, 3])):
        apart = herding_query(None, {"numbers": X[:, :3], "words": words}, 5, random_state=0)
        np.testing.assert_array_equal(apart, together)


def test_distances_can_be_measured_in_the_last_layer():
    X = digits()[0][-60:]
    with pytest.raises(ValueError, match="has not been fitted"):
        herding_query(quick(), X, 1, space="last_layer")
    inputs, layer = (
        herding_query(fitted_classifier(), X, 8, space=space, random_state=0)[0].tolist()
        for space in ("inputs", "last_layer")
    )
    assert inputs != layer
    with pytest.raises(ValueError, match=r"space must be one of .*, got 'output'"):
        herding_query(None, X, 1, space="output")


def test_a_large_pool_is_that_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(strategy, "REFERENCE_POINTS", 300)
    X, _ = blobs(1700)  # 10,200 rows
    np.save(tmp_path / "pool.npy", X)
    for query, learner in (
        (herding_query, None),
        (uncertainty_herding_query, quick().fit(X[::99], X[::99, 0] > 1)),
    ):
        batches = [
            query(learner, pool, 3, radius=0.3, random_state=0)[0].tolist()
            for pool in (X, tmp_path / "pool.npy", np.asfortranarray(X))
        ]
        assert batches[0] == batches[1] == batches[2]
    with pytest.raises(ValueError, match="holds the inputs of all points in memory"):
        herding_query(None, X, 3, memory_limit=1000)


def test_anything_but_a_learner_is_refused():
    with pytest.raises(TypeError, match="learner must be a modAL learner, an estimator or None"):
        herding_query("forest", blobs()[0], 1)
    with pytest.raises(ValueError, match="X_labelled has rows of shape"):
        herding_query(None, blobs()[0], 1, X_labelled=[[1.0]])


# --- uncertainty herding --------------------------------------------------------------------------


def test_a_narrow_kernel_is_margin_selection_and_a_high_temperature_herding():
    X, y = iris()
    classifier = quick().fit(X[:30], y[:30])
    options = {"n_instances": 5, "random_state": 0}
    narrow = uncertainty_herding_query(classifier, X[30:], radius=1e-6, temperature=1, **options)
    assert narrow[0].tolist() == margin_query(classifier, X[30:], **options)[0].tolist()
    hot = uncertainty_herding_query(classifier, X[30:], radius=0.5, temperature=1e9, **options)
    assert hot[0].tolist() == herding_query(None, X[30:], radius=0.5, **options)[0].tolist()


def test_the_kernel_narrows_and_the_temperature_follows_the_labels():
    X, y = iris()
    classifier = quick().fit(X[:30], y[:30])
    options = {"X_labelled": X[:30], "random_state": 0, "n_instances": 4}
    # The width is the distance of the nearest two labelled points, here put as a share of the
    # median.
    z = 3 * np.tanh((X - X[30:].mean(0)) / X[30:].std(0) / 3)
    between, all_distances = pdist(z[:30]), pdist(z[30:])
    share = between[between > 0].min() / np.median(all_distances[all_distances > 0])
    first = uncertainty_herding_query(classifier, X[30:], **options)
    same = uncertainty_herding_query(classifier, X[30:], radius=share, **options)
    np.testing.assert_allclose(first[1], same[1], rtol=1e-4)
    wide = uncertainty_herding_query(classifier, X[30:], radius=1.0, **options)
    # If the labels contradict the classifier, the temperature is high: all points are uncertain.
    wrong = {"y_labelled": np.random.default_rng(0).permutation(y[:30])}
    hot = uncertainty_herding_query(classifier, X[30:], radius=1.0, **wrong, **options)
    assert hot[1].sum() > wide[1].sum()
    with pytest.raises(ValueError, match="y_labelled has 3 labels but X_labelled has 30 rows"):
        uncertainty_herding_query(classifier, X[30:], y_labelled=y[:3], **options)


def test_the_temperature_is_1_if_the_labels_do_not_suffice_for_a_copy():
    X, y = iris()
    neighbours = KNeighborsClassifier(15)  # a copy on 12 of 15 labels cannot predict
    hard = VotingClassifier([("a", neighbours), ("b", RandomForestClassifier(5, random_state=0))])
    for estimator in (BaggingClassifier(neighbours, 3, bootstrap=False, random_state=0), hard):
        fitted = estimator.fit(X[:15], y[:15])
        options = {"X_labelled": X[:15], "y_labelled": y[:15], "random_state": 0}
        _, expected = uncertainty_herding_query(fitted, X[15:], 4, temperature=1, **options)
        _, gains = uncertainty_herding_query(fitted, X[15:], 4, **options)
        np.testing.assert_allclose(gains, expected, rtol=1e-5)


def test_the_fit_of_the_copy_does_not_warn():
    X, y = iris()
    with pytest.warns(UserWarning, match="OOB scores"):
        forest = RandomForestClassifier(3, oob_score=True, random_state=0).fit(X[:15], y[:15])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uncertainty_herding_query(forest, X[15:], 4, X_labelled=X[:15], y_labelled=y[:15])


def test_labels_may_be_a_column():
    X, y = iris()
    options = {"X_labelled": X[:30], "random_state": 0, "n_instances": 4}
    forest = RandomForestClassifier(10, random_state=0).fit(X[:30], y[:30])
    flat, column = (
        uncertainty_herding_query(forest, X[30:], y_labelled=labels, **options)
        for labels in (y[:30], y[:30, None])
    )
    assert flat[0].tolist() == column[0].tolist()


def test_labels_of_a_net_are_columns_also_if_a_class_has_no_label_yet():
    X, y = blobs()
    known = y > 0
    X, y = X[known].astype("float32"), y[known]  # labels 1 and 2, far apart; 3 outputs
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 3)
    )
    net = NeuralNetClassifier(
        module, criterion=torch.nn.CrossEntropyLoss, lr=0.1, train_split=None, verbose=0
    ).fit(X[::2], y[::2])
    options = {"X_labelled": X[::2], "y_labelled": y[::2], "random_state": 0, "radius": 1.0}
    _, gains = uncertainty_herding_query(net, X[1::2], 4, **options)
    _, hot = uncertainty_herding_query(net, X[1::2], 4, temperature=19.9, **options)
    assert gains.sum() < 0.3 * hot.sum()  # the copy is sure and right
    with pytest.raises(TypeError, match="A skorch net needs the numbers 0, 1, ... as labels"):
        options["y_labelled"] = np.array(["one", "two"])[y[::2] - 1]
        uncertainty_herding_query(net, X[1::2], 4, **options)


@pytest.mark.modal
def test_uncertainty_herding_takes_the_labels_of_a_modal_learner():
    X, y = iris()
    learner = ActiveLearner(quick(), X_training=X[:30], y_training=y[:30])
    taken = indices_of(uncertainty_herding_query(learner, X[30:], 5, random_state=0))
    given = uncertainty_herding_query(
        learner.estimator, X[30:], 5, X_labelled=X[:30], y_labelled=y[:30], random_state=0
    )
    assert taken.tolist() == given[0].tolist()


@pytest.mark.modal
@pytest.mark.parametrize("gather", [list, Committee])
def test_the_labelled_rows_of_a_committee_are_those_of_the_member_with_the_most(gather):
    X, y = iris()
    starts = (slice(0, 30), slice(20, 60), slice(30, 45))
    learners = [
        ActiveLearner(LogisticRegression(max_iter=500), X_training=X[rows], y_training=y[rows])
        for rows in starts
    ]
    options = {"n_instances": 4, "random_state": 0}
    given = {"X_labelled": X[20:60], "y_labelled": y[20:60]}
    for query, known in (
        (herding_query, {"X_labelled": X[20:60]}),
        (uncertainty_herding_query, given),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = indices_of(query(gather(learners), X[60:], **options))
        expected = query([one.estimator for one in learners], X[60:], **known, **options)
        assert found.tolist() == expected[0].tolist()


@pytest.mark.modal
def test_a_learner_without_training_rows_is_warned_about():
    X, y = iris()
    learner = ActiveLearner(LogisticRegression(max_iter=500).fit(X[:30], y[:30]))
    for one in (learner, [learner], [learner.estimator]):
        with pytest.warns(UserWarning, match="LogisticRegression does not keep the rows"):
            herding_query(one, X[30:], 2, random_state=0)


def dropout_net(**options):
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 3)
    )
    return NeuralNetClassifier(
        module, criterion=torch.nn.CrossEntropyLoss, lr=0.1, train_split=None, **options
    )


@pytest.mark.parametrize("writer", [Checkpoint, TrainEndCheckpoint])
def test_the_copy_of_a_net_writes_no_files_and_prints_nothing(writer, tmp_path, capsys):
    X, y = iris()
    X = X.astype("float32")
    accuracy = EpochScoring("accuracy", on_train=True)
    best = {"monitor": None} if writer is Checkpoint else {}
    writer = ("best", writer(dirname=str(tmp_path), **best))
    options = {"X_labelled": X[::3], "y_labelled": y[::3], "random_state": 0, "radius": 1.0}
    plain = dropout_net(verbose=0, callbacks=[accuracy]).fit(X[::3], y[::3])
    _, expected = uncertainty_herding_query(plain, X, 4, **options)
    net = dropout_net(verbose=1, callbacks=[accuracy, writer]).fit(X[::3], y[::3])
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert files
    capsys.readouterr()
    _, gains = uncertainty_herding_query(net, X, 4, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert capsys.readouterr().out == ""
    assert gains.tolist() == expected.tolist()
    assert net.verbose == 1 and writer in net.callbacks


def test_a_net_without_callbacks_is_copied_too():
    X, y = iris()
    X = X.astype("float32")
    options = {"X_labelled": X[::3], "y_labelled": y[::3], "random_state": 0, "radius": 1.0}
    plain, none = (
        dropout_net(verbose=0, callbacks=callbacks).fit(X[::3], y[::3])
        for callbacks in ([], "disable")
    )
    _, expected = uncertainty_herding_query(plain, X, 4, **options)
    _, gains = uncertainty_herding_query(none, X, 4, **options)
    assert gains.tolist() == expected.tolist()


def test_a_frozen_net_is_not_copied():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    X, y = iris()
    X = X.astype("float32")
    options = {"X_labelled": X[::3], "y_labelled": y[::3], "random_state": 0, "radius": 1.0}
    net = dropout_net(verbose=1, callbacks=[EpochScoring("accuracy")]).fit(X[::3], y[::3])
    callbacks = list(net.callbacks)
    _, gains = uncertainty_herding_query(frozen(net), X, 4, **options)
    _, expected = uncertainty_herding_query(frozen(net), X, 4, temperature=1, **options)
    assert gains.tolist() == expected.tolist()
    assert net.verbose == 1 and net.callbacks == callbacks


def test_the_copy_of_a_search_is_a_copy_of_its_best_estimator():
    X, y = iris()
    pool, X = X[1::3], X[::3]
    y = np.random.default_rng(0).permutation(y[::3])  # noise: the temperature is high
    grid = {"max_depth": [2, 8]}
    options = {"X_labelled": X, "y_labelled": y, "random_state": 0, "radius": 1.0}
    search = GridSearchCV(RandomForestClassifier(10, random_state=0), grid, cv=3).fit(X, y)
    search.cv = "a second search would fail"
    _, expected = uncertainty_herding_query(search.best_estimator_, pool, 4, **options)
    _, uncalibrated = uncertainty_herding_query(search, pool, 4, temperature=1, **options)
    assert not np.allclose(expected, uncalibrated, rtol=0.1)
    _, gains = uncertainty_herding_query(search, pool, 4, **options)
    assert gains.tolist() == expected.tolist()
    same = FunctionTransformer()
    best = make_pipeline(same, search.best_estimator_)
    _, expected = uncertainty_herding_query(best, pool, 4, **options)
    _, gains = uncertainty_herding_query(make_pipeline(same, search), pool, 4, **options)
    assert gains.tolist() == expected.tolist()


def test_numbers_are_measured_as_they_are_whatever_the_members_do_with_them():
    X, y = iris()
    pipeline = make_pipeline(SelectKBest(k=1), LogisticRegression())  # cannot be fitted without y
    expected = herding_query(None, X, 4, random_state=0)
    for learner in (BootstrapCommittee(pipeline, 3), BootstrapCommittee(pipeline, 3).fit(X, y)):
        found = herding_query(learner, X, 4, X_labelled=X[:0], random_state=0)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("is_fitted", [True, False])
def test_rows_of_words_get_coordinates_from_the_first_pipeline_of_an_ensemble(is_fitted):
    words = np.array(["a", "b", "c"], dtype=object)
    rows = pd.DataFrame({"word": words[np.repeat([0, 1, 2], [20, 15, 5])]})
    y = np.tile([0, 1], 20)
    pipeline = make_pipeline(OneHotEncoder(), LogisticRegression())
    vote = VotingClassifier([("a", pipeline), ("b", pipeline)])
    for ensemble in (BootstrapCommittee(pipeline, 3, random_state=0), vote):
        learner = ensemble.fit(rows, y) if is_fitted else ensemble
        picks, gains = herding_query(
            learner, rows, 3, X_labelled=rows[:1], radius=0.1, random_state=0
        )
        assert rows["word"].iloc[picks[:2]].tolist() == ["b", "c"]
        assert gains.tolist() == pytest.approx([15 / 40, 5 / 40, 0])


def test_fitted_members_encode_words_by_labels():
    rows = pd.DataFrame({"word": np.repeat(["a", "b", "c"], 12)})
    y = np.r_[np.tile([0, 0, 0, 1], 3), np.tile([0, 1], 6), np.tile([0, 1, 1, 1], 3)]
    pipeline = make_pipeline(TargetEncoder(cv=2, random_state=0), LogisticRegression())
    committee = BootstrapCommittee(pipeline, 3, random_state=0)
    with pytest.raises(ValueError, match="TargetEncoder cannot be fitted on the pool without"):
        herding_query(committee, rows, 3)
    picks, _ = herding_query(committee.fit(rows, y), rows, 3, X_labelled=rows[:0], random_state=0)
    assert sorted(rows["word"].iloc[picks]) == ["a", "b", "c"]


def test_labelled_points_that_differ_by_rounding_do_not_set_the_width():
    X, y = iris()
    forest = RandomForestClassifier(10, random_state=0).fit(X[::3], y[::3])
    copied, labels = np.concatenate([X[::3], X[:1] * (1 + 1e-7)]), [*y[::3], y[0]]
    options = {"random_state": 0, "temperature": 1}
    known = {"X_labelled": X[::3], "y_labelled": y[::3]}
    _, expected = uncertainty_herding_query(forest, X, 4, **known, **options)
    known = {"X_labelled": copied, "y_labelled": labels}
    _, gains = uncertainty_herding_query(forest, X, 4, **known, **options)
    assert gains.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_the_temperature_divides_logits_and_calibrates():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 3)) * 4)
    true = torch.softmax(logits / 2, 1)
    torch.testing.assert_close(tempered(torch.softmax(logits, 1), 2.0), true)
    labels = torch.tensor([np.random.default_rng(i).choice(3, p=p) for i, p in enumerate(true)])
    is_right = logits.argmax(1) == labels
    assert 1.5 < calibrated_temperature(torch.softmax(logits, 1), is_right) < 2.6


def test_the_calibration_error_is_that_of_fifteen_bins():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([0.5, 0.5, 0.5], 200)
    is_right = rng.random(200) < 0.5
    bins, total = (proba.max(1) * 15).astype(int).clip(max=14), 0.0
    for b in range(15):
        here = bins == b
        if here.any():
            total += here.mean() * abs(proba.max(1)[here].mean() - is_right[here].mean())
    found = expected_calibration_error(torch.from_numpy(proba), torch.from_numpy(is_right))
    assert found == pytest.approx(total)


# --- within balance_margin_query ------------------------------------------------------------------


@pytest.mark.modal
def test_balance_margin_covers_the_pool_while_there_are_few_labels_for_each_class():
    X, y = digits()
    options = {"n_samples": 20, "tau": 0.02, "random_state": 0}
    for n_labels, is_covering in ((15, True), (16, False)):  # four classes
        y_few = np.arange(n_labels) % 4
        learner = ActiveLearner(quick(), X_training=X[:n_labels], y_training=y_few)
        plain = indices_of(balance_margin_query(learner.estimator, X[-60:], 5, **options))
        found = indices_of(balance_margin_query(learner, X[-60:], 5, **options))
        herd = indices_of(herding_query(learner, X[-60:], 5, random_state=0))
        assert found.tolist() == (herd if is_covering else plain).tolist()
        assert herd.tolist() != plain.tolist()
        off = balance_margin_query(learner, X[-60:], 5, min_labels_per_class=None, **options)
        assert indices_of(off).tolist() == plain.tolist()
        one = balance_margin_query(learner, X[-60:], 1, **options)
        assert (
            indices_of(one).tolist()
            == indices_of(margin_query(learner, X[-60:], 1, n_samples=20, random_state=0)).tolist()
        )
    with pytest.raises(ValueError, match="min_labels_per_class must be a finite number >= 0"):
        balance_margin_query(learner, X[-60:], 5, min_labels_per_class=-1)


@pytest.mark.modal
def test_balance_margin_covers_the_pool_for_a_committee_too():
    X, y = iris()
    for n_labels, is_covering in ((11, True), (12, False)):  # three classes
        rows = np.r_[0:150:50, 1:150][:n_labels]
        labels = np.arange(n_labels) % 3
        learners = [
            ActiveLearner(LogisticRegression(C=c), X_training=X[rows], y_training=labels)
            for c in (0.1, 1, 10)
        ]
        found = balance_margin_query(Committee(learners), X[20:], 4, tau=0.0, random_state=0)
        herd = herding_query(Committee(learners), X[20:], 4, random_state=0)
        assert (indices_of(found).tolist() == indices_of(herd).tolist()) is is_covering


@pytest.mark.modal
def test_balance_margin_covers_the_pool_while_there_is_one_class():
    X, _ = digits()
    forest = RandomForestClassifier(5, oob_score=True, random_state=0)
    network = quick(classes=["a", "b"])
    for estimator, n_labels in ((forest, 3), (forest, 10), (network, 3), (network, 10)):
        learner = ActiveLearner(estimator, X_training=X[:n_labels], y_training=["a"] * n_labels)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # later batches, with a second class, will not fail
            found = indices_of(balance_margin_query(learner, X[-60:], 5, random_state=0))
        herd = herding_query(learner, X[-60:], 5, random_state=0)
        assert found.tolist() == indices_of(herd).tolist()
    learner = ActiveLearner(forest, X_training=X[:3], y_training=["a"] * 3)
    # Without covering, predictions of two classes are needed.
    with pytest.raises(ValueError, match="knows a single class, 'a'.*herding_query"):
        balance_margin_query(learner, X[-60:], 1)
    with pytest.raises(ValueError, match="knows a single class, 'a'"):
        balance_margin_query(learner, X[-60:], 5, min_labels_per_class=None)
    with pytest.raises(ValueError, match="knows a single class, 'a'"):
        balance_margin_query(learner, X[-60:], 5, min_labels_per_class=0)


@pytest.mark.modal
def test_balance_margin_predicts_where_inputs_are_too_many_for_distances(monkeypatch):
    monkeypatch.setattr(coordinates, "MAX_DENSE", 1000)
    X = sparse.random(40, 50, density=0.1, format="csr", random_state=0)
    forest = RandomForestClassifier(10, random_state=0)
    learner = ActiveLearner(forest, X_training=X[:4], y_training=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="X_pool is sparse, 36 x 50, too large to be made dense"):
        herding_query(learner, X[4:], 5, random_state=0)
    found = balance_margin_query(learner, X[4:], 5, tau=0.0, random_state=0)
    plain = balance_margin_query(learner.estimator, X[4:], 5, tau=0.0, random_state=0)
    assert indices_of(found).tolist() == indices_of(plain).tolist()


@pytest.mark.modal
def test_balance_margin_covers_pools_with_missing_values_and_hides_no_other_error():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[::7, 1] = np.nan
    forest = RandomForestClassifier(10, random_state=0)
    reports = []
    options = {"tau": 0.0, "random_state": 0, "callback": reports.append}
    learner = ActiveLearner(forest, X_training=np.nan_to_num(X[:4]), y_training=[0, 1, 2, 3])
    for pool in (pd.DataFrame(X), pd.DataFrame(X).convert_dtypes()):
        balance_margin_query(learner, pool, 5, **options)
    assert [report.covers_pool for report in reports] == [True, True]
    assert np.array_equal(reports[0].indices, reports[1].indices)
    learner.X_training = np.ones((4, 2))
    with pytest.raises(ValueError, match="X_labelled has 2 features"):
        balance_margin_query(learner, X, 5, **options)


@pytest.mark.modal
def test_a_batch_that_covers_the_pool_warns_if_later_batches_will_fail():
    X, y = iris()
    options = {"n_instances": 3, "random_state": 0}

    def query(estimator, n_labels, **more):
        learner = ActiveLearner(estimator, X_training=X[:n_labels], y_training=y[:n_labels])
        return indices_of(balance_margin_query(learner, X[30:], **options, **more)).tolist()

    forest = RandomForestClassifier(20, random_state=0)
    with pytest.warns(UserWarning, match="later batches .* will fail: tau is unknown"):
        batch = query(forest, 6)
    with pytest.raises(ValueError, match="tau is unknown"):
        query(forest, 30)
    with pytest.warns(UserWarning, match="fail: Cannot draw hypotheses from a LogisticRegression"):
        query(LogisticRegression(), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert query(forest, 6, tau=0.1) == batch
        query(forest, 6, cut_share=0)
        query(forest, 6, X_val=X[-9:], y_val=y[-9:])
        query(quick(), 6)
