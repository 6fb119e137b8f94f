"""modAL's own loops, with scikit-learn's classifiers, under the installed versions."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modal_balance import margin_query
from modal_balance._utils import modal_compat
from modal_balance._utils.modal_compat import repair_modal

pytest.importorskip("modAL")
import modAL.batch
import modAL.models
import modAL.models.base
import modAL.models.learners
import modAL.utils.data
import pandas as pd

pytestmark = pytest.mark.modal

X, Y = load_iris(return_X_y=True)
COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]
FIRST = np.arange(0, 150, 10)  # rows labelled at the start
INDEXES = {
    "reversed": np.arange(150)[::-1],
    "strings": [f"flower {i}" for i in range(150)],
    "duplicates": np.repeat(np.arange(75), 2),
    "levels": pd.MultiIndex.from_product([["a", "b", "c"], range(50)]),
}
SKLEARN_IS_NEW = tuple(int(n) for n in sklearn.__version__.split(".")[:2]) >= (1, 8)
PANDAS_IS_NEW = int(pd.__version__.split(".")[0]) >= 2


@pytest.fixture(autouse=True)
def repaired(monkeypatch):
    """These tests are about the repaired modAL, whatever the environment says."""
    monkeypatch.delenv("MODAL_BALANCE_NO_COMPAT", raising=False)
    repair_modal()


def rows(data, indices):
    return data.iloc[indices] if hasattr(data, "iloc") else data[indices]


def make_learner(pool, offset=0, C=1.0):
    first = FIRST + offset
    return modAL.models.ActiveLearner(
        LogisticRegression(C=C, max_iter=1000),
        X_training=rows(pool, first),
        y_training=Y[first],
    )


def make_committee(pool):
    return modAL.models.Committee(
        [make_learner(pool, offset, C) for offset, C in enumerate((0.1, 1.0, 10.0))]
    )


def run_loop(learner, pool, n_rounds=4):
    """Query and teach; return all queried rows in their order."""
    queried = []
    for _ in range(n_rounds):
        indices, instances = learner.query(pool, n_instances=3)
        np.testing.assert_array_equal(np.asarray(instances), X[indices])
        learner.teach(rows(pool, indices), Y[indices])
        queried.extend(int(i) for i in indices)
    return queried


@pytest.mark.parametrize("index", INDEXES)
def test_learner_takes_a_frame_like_an_array(index):
    frame = pd.DataFrame(X, columns=COLUMNS, index=INDEXES[index])
    on_array, on_frame = make_learner(X), make_learner(frame)

    queried = run_loop(on_array, X)
    assert run_loop(on_frame, frame) == queried

    expected_rows = [*FIRST, *queried]
    np.testing.assert_array_equal(on_array.X_training, X[expected_rows])
    pd.testing.assert_frame_equal(on_frame.X_training, frame.iloc[expected_rows])
    for learner in (on_array, on_frame):
        np.testing.assert_array_equal(learner.y_training, Y[expected_rows])
    np.testing.assert_array_equal(on_frame.predict_proba(frame), on_array.predict_proba(X))
    assert on_frame.score(frame, Y) > 0.9


@pytest.mark.parametrize("index", INDEXES)
def test_committee_takes_a_frame_like_an_array(index):
    frame = pd.DataFrame(X, columns=COLUMNS, index=INDEXES[index])
    on_array, on_frame = make_committee(X), make_committee(frame)

    assert run_loop(on_frame, frame, 2) == run_loop(on_array, X, 2)

    for a, f in zip(on_array.learner_list, on_frame.learner_list, strict=True):
        np.testing.assert_array_equal(f.X_training.to_numpy(), a.X_training)
    np.testing.assert_array_equal(on_frame.vote_proba(frame), on_array.vote_proba(X))
    assert on_frame.score(frame, Y) > 0.9


def test_frames_are_joined_by_column_name():
    frame = pd.DataFrame(X, columns=COLUMNS)
    learner = make_learner(frame)
    learner.teach(frame.iloc[[1, 2]][COLUMNS[::-1]], Y[[1, 2]])
    pd.testing.assert_frame_equal(learner.X_training, frame.iloc[[*FIRST, 1, 2]])


def test_frame_of_several_dtypes_keeps_them():
    frame = pd.DataFrame(X, columns=COLUMNS).astype({"sepal width": "float32"})
    frame["petal width"] = pd.Categorical(frame["petal width"])
    learner = make_learner(frame)
    learner.teach(frame.iloc[[1, 51, 101]], Y[[1, 51, 101]])
    pd.testing.assert_series_equal(learner.X_training.dtypes, frame.dtypes)


@pytest.mark.parametrize("as_frame", [False, True])
def test_fit_and_teach_only_new(as_frame):
    pool = pd.DataFrame(X, columns=COLUMNS) if as_frame else X
    learner, committee = make_learner(pool), make_committee(pool)

    def check(taught):
        for member in [learner, *committee.learner_list]:
            expected = clone(member.estimator).fit(rows(pool, taught), Y[taught])
            np.testing.assert_array_equal(member.predict_proba(pool), expected.predict_proba(pool))

    everything = np.arange(150)
    learner.fit(pool, Y)
    committee.fit(pool, Y)
    check(everything)

    learner.teach(rows(pool, FIRST), Y[FIRST], only_new=True)
    committee.teach(rows(pool, FIRST), Y[FIRST], only_new=True)
    check(FIRST)


def test_learner_that_starts_with_no_labels():
    learner = modAL.models.ActiveLearner(LogisticRegression(max_iter=1000))
    learner.teach(X[FIRST], Y[FIRST])
    learner.teach(X[FIRST + 1], Y[FIRST + 1])
    assert learner.X_training.shape == (30, 4)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_sparse_pool_stays_sparse(make):
    on_array, on_sparse = make_learner(X), make_learner(make(X))
    on_array.teach(X[[1, 2]], Y[[1, 2]])
    on_sparse.teach(make(X)[[1, 2]], Y[[1, 2]])
    assert scipy.sparse.issparse(on_sparse.X_training)
    np.testing.assert_array_equal(on_sparse.X_training.toarray(), on_array.X_training)


def test_force_all_finite_still_decides_whether_nan_is_taken():
    with_nan = X.copy()
    with_nan[0, 0] = np.nan
    strict = modAL.models.ActiveLearner(HistGradientBoostingClassifier())
    with pytest.raises(ValueError, match="contains NaN"):
        strict.teach(with_nan, Y)
    lenient = modAL.models.ActiveLearner(HistGradientBoostingClassifier(), force_all_finite=False)
    lenient.teach(with_nan, Y)
    assert lenient.score(with_nan, Y) > 0.9


def test_wrong_shapes_are_still_refused():
    learner = make_learner(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        learner.teach(X[:3], Y[:2])
    with pytest.raises(ValueError, match="dimensions of the new training data"):
        learner.teach(X[:3, :2], Y[:3])


LABELS = {
    "Series": lambda names: pd.Series(names, index=np.arange(150)[::-1]),
    "categories": lambda names: pd.Series(names, dtype="category"),
    "nullable": lambda names: pd.Series(Y, dtype="Int64"),
    "pandas array": lambda names: pd.Series(names, dtype="string").array,
    "Index": pd.Index,
    "list": list,
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_in_pandas_are_taught_like_an_array(kind):
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[Y]
    expected = Y if kind == "nullable" else names
    labels = LABELS[kind](names)

    def of(rows):
        if isinstance(labels, list):
            return [labels[row] for row in rows]
        return labels.iloc[rows] if hasattr(labels, "iloc") else labels[rows]

    learner, on_array = [
        modAL.models.ActiveLearner(
            RandomForestClassifier(5, random_state=0),
            query_strategy=margin_query,
            X_training=X[FIRST],
            y_training=y_first,
        )
        for y_first in (of(FIRST), expected[FIRST])
    ]
    taught = list(FIRST)
    for _ in range(2):
        indices, _ = learner.query(X, n_instances=3, random_state=0)
        assert np.array_equal(on_array.query(X, n_instances=3, random_state=0)[0], indices)
        learner.teach(X[indices], of(indices))
        on_array.teach(X[indices], expected[indices])
        taught += indices.tolist()
    assert np.array_equal(np.asarray(learner.y_training), expected[taught])
    assert np.array_equal(learner.predict(X), on_array.predict(X))


def test_labels_may_change_between_pandas_and_an_array():
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[Y]
    for first, then in [(pd.Series, np.asarray), (np.asarray, pd.Series), (pd.Series, list)]:
        learner = modAL.models.ActiveLearner(
            LogisticRegression(max_iter=1000), X_training=X[FIRST], y_training=first(names[FIRST])
        )
        learner.teach(X[[1, 51]], then(names[[1, 51]]))
        assert list(learner.y_training) == [*names[FIRST], "setosa", "versicolor"]


@pytest.mark.skipif(not SKLEARN_IS_NEW, reason="modAL's call is not repaired")
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("kind", ["category", "string of Arrow"])
def test_numbers_of_pandas_and_arrow_beside_words_are_taught(backend, kind):
    pyarrow = pytest.importorskip("pyarrow")
    kind = pd.ArrowDtype(pyarrow.string()) if kind != "category" else kind
    frame = pd.DataFrame({"width": X[:, 3], "length": X[:, 2].astype(int), "big": X[:, 0] > 6})
    frame = frame.convert_dtypes(dtype_backend=backend)
    frame["word"] = pd.Series(np.where(X[:, 1] > 3, "wide", "narrow"), dtype=kind)
    words = make_column_transformer((OneHotEncoder(), ["word"]), remainder="passthrough")
    estimator = make_pipeline(words, LogisticRegression(max_iter=1000))
    learner = modAL.models.ActiveLearner(
        estimator, X_training=frame.iloc[FIRST], y_training=Y[FIRST]
    )
    learner.teach(frame.iloc[1:150:10], Y[1:150:10])
    assert learner.X_training.dtypes.equals(frame.dtypes)
    expected = clone(estimator).fit(learner.X_training, learner.y_training).predict(frame)
    assert learner.predict(frame).tolist() == expected.tolist()


def test_rows_of_an_array_are_not_joined_to_a_frame():
    learner = make_learner(pd.DataFrame(X, columns=COLUMNS))
    with pytest.raises(TypeError, match="cannot concatenate"):
        learner.teach(X[:3], Y[:3])


def test_add_row_takes_a_row_of_a_frame():
    frame = pd.DataFrame(X, columns=COLUMNS)
    joined = modAL.utils.data.add_row(frame.iloc[:2], frame.iloc[2])
    pd.testing.assert_frame_equal(joined, frame.iloc[:3])


@pytest.mark.skipif(np.__version__ < "2", reason="modAL 0.4.1 uses np.bool, absent until NumPy 2")
def test_ranked_batches_on_arrays():
    learner = make_learner(X)
    learner.query_strategy = modAL.batch.uncertainty_batch_sampling
    assert len(set(run_loop(learner, X))) == 12


def test_names_of_what_is_repaired():
    holder = "base" if hasattr(modAL.models.base, "check_X_y") else "learners"
    expected = ["modAL.batch.data_vstack", "modAL.utils.data.data_vstack"]
    expected += [f"modAL.models.{holder}.data_vstack", "modAL.utils.data_vstack"]
    if SKLEARN_IS_NEW:
        expected += [f"modAL.models.{holder}.check_X_y"]
    # modAL.expected_error cannot be imported under NumPy >= 1.24, but may be here otherwise.
    assert sorted(expected) == [n for n in repair_modal() if "expected_error" not in n]


def modal_functions():
    return {
        (module, name): vars(module)[name]
        for module_name, module in sys.modules.items()
        if module_name.split(".")[0] == "modAL"
        for name in ("check_X_y", "data_vstack")
        if name in vars(module)
    }


def test_second_call_changes_nothing():
    names, before = repair_modal(), modal_functions()
    assert repair_modal() == names
    assert modal_functions() == before


def test_a_check_that_is_not_broken_is_left_alone(monkeypatch):
    def check_X_y(X, y, *, force_all_finite="deprecated", ensure_all_finite=None):
        """scikit-learn 1.6's, which takes both names."""

    holders = [module for module, name in modal_functions() if name == "check_X_y"]
    for module in holders:
        monkeypatch.setattr(module, "check_X_y", check_X_y)
    assert not any(name.endswith("check_X_y") for name in repair_modal())
    assert all(module.check_X_y is check_X_y for module in holders)


@pytest.mark.parametrize(("value", "off"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_environment_variable(monkeypatch, value, off):
    names = repair_modal()
    monkeypatch.setenv("MODAL_BALANCE_NO_COMPAT", value)
    assert repair_modal() == (() if off else names)


# Runs each code of a list in a fork of an interpreter that has imported what takes long, but
# neither modAL nor this package.
RUN_ALL = """
import json, os, sys
import pandas, skorch, sklearn.ensemble, sklearn.linear_model

for code, environment in json.loads(sys.argv[1]):
    if os.fork() == 0:
        os.environ.update(environment)
        exec(code, {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    _, status = os.wait()
    print("--- end", status, flush=True)
"""

BROKEN = """
import modal_balance.strategies
import pandas as pd
from modAL.models import ActiveLearner
from modAL.utils.data import data_vstack
from sklearn.linear_model import LogisticRegression

frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
for function, arguments in [
    (ActiveLearner(LogisticRegression()).teach, (frame, [0, 0, 1, 1])),
    (data_vstack, ((frame, frame),)),
]:
    try:
        function(*arguments)
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("works")
"""

FIRST_LOOP = """
{imports}
from sklearn.ensemble import RandomForestClassifier

X, y = pd.DataFrame({{"a": [0.0, 1.0, 2.0, 3.0]}}), pd.Series([0, 0, 1, 1])
learner = ActiveLearner(RandomForestClassifier(5), margin_query, X, y)
indices, _ = learner.query(X)
learner.teach(X.iloc[indices], y.iloc[indices])
print(len(learner.y_training), [type(f).__name__ for f in sys.meta_path] == finders)
"""

WITHOUT_MODAL = """
import sys, types
sys.modules["modAL"] = {modal}  # importing modAL.models now fails
from modal_balance import margin_query
from modal_balance._utils.modal_compat import repair_modal
from sklearn.ensemble import RandomForestClassifier
forest = RandomForestClassifier(5).fit([[0.0], [1.0]], [0, 1])
print(repair_modal(), margin_query(forest, [[0.5]])[0])
"""

START = ["import sys, pandas as pd", "finders = [type(f).__name__ for f in sys.meta_path]"]
BOTH = ["from modAL.models import ActiveLearner", "from modal_balance import margin_query"]
CODES = {
    "repairs switched off": (BROKEN, {"MODAL_BALANCE_NO_COMPAT": "1"}),
    "modAL first": (FIRST_LOOP.format(imports="\n".join(START + BOTH)), {}),
    "modal_balance first": (FIRST_LOOP.format(imports="\n".join(START + BOTH[::-1])), {}),
    "no modAL": (WITHOUT_MODAL.format(modal="None"), {}),
    "another modAL": (WITHOUT_MODAL.format(modal="types.ModuleType('modAL')"), {}),
}


@pytest.fixture(scope="module")
def printed():
    """Run every code where nothing has been repaired yet; return the lines that each prints."""
    run = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(list(CODES.values()))],
        cwd=Path(modal_compat.__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.stdout.count("--- end 0\n") == len(CODES), run.stderr
    parts = run.stdout.split("--- end 0\n")
    return {name: part.splitlines() for name, part in zip(CODES, parts, strict=False)}


def test_modal_is_broken_when_repairs_are_switched_off(printed):
    teach, stack = printed["repairs switched off"]
    if SKLEARN_IS_NEW:
        assert teach.startswith("TypeError") and "force_all_finite" in teach
    else:
        assert teach == "works"
    if PANDAS_IS_NEW:
        assert stack.startswith("AttributeError") and "append" in stack
    else:
        assert stack == "works"


@pytest.mark.parametrize("first", ["modAL", "modal_balance"])
def test_a_loop_runs_in_either_order_of_imports_and_the_import_system_is_unchanged(first, printed):
    assert printed[f"{first} first"] == ["5 True"]


@pytest.mark.parametrize("modal", ["no modAL", "another modAL"])
def test_without_a_modal_that_can_be_imported_strategies_work(modal, printed):
    assert printed[modal] == ["() [0]"]
