"""The functions behind the command line: next rows, answers, status."""

from functools import partial

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("skrub")

from sklearn.cluster import KMeans  # noqa: E402
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import cohen_kappa_score  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from toy import quick  # noqa: E402

import modal_balance  # noqa: E402
from modal_balance import (  # noqa: E402
    MCDropoutClassifier,
    balance_query,
    margin_query,
    power_balance_query,
    random_query,
)
from modal_balance.strategies import herding_query  # noqa: E402
from modal_balance.table import (  # noqa: E402
    merge_answers,
    next_rows,
    table_status,
)
from modal_balance.table.choices import MODELS, strategies_by_name  # noqa: E402
from modal_balance.table.preparation import prepare  # noqa: E402

FAST = LogisticRegression(max_iter=200)
SMALL = RandomForestClassifier(5, oob_score=True, random_state=0)


def mixed(n=120, n_labels=30, seed=0):
    """A table of all kinds of columns with holes, and the labels that it hides."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue"], n)
    frame = pd.DataFrame(
        {
            "name": [f"r{i:03}" for i in range(n)],
            "size": size,
            "colour": colour,
            "note": [f"number {i}, of {rng.choice(['wood', 'iron', 'glass'])}" for i in range(n)],
            "day": pd.date_range("2024-01-01", periods=n).astype(str),
            "nothing": [None] * n,
        }
    )
    holes = rng.random((n, 4)) < 0.1
    frame[["size", "colour", "note", "day"]] = frame[["size", "colour", "note", "day"]].mask(holes)
    truth = np.where(size > 0.3, "up", np.where(colour == "red", "flat", "down")).astype(object)
    known = truth.copy()
    known[n_labels:] = None
    frame["kind"] = known
    return frame, truth


def plain(*args, **kwargs):
    """The table without its text and dates, which take longest to prepare."""
    frame, truth = mixed(*args, **kwargs)
    return frame.drop(columns=["note", "day", "nothing"]), truth


@pytest.mark.parametrize(
    ("model", "n_labels"), [(model, 30) for model in MODELS] + [("network-and-trees", 4)]
)
def test_every_model_chooses_rows_without_a_label(model, n_labels):
    frame, truth = mixed(60, n_labels)
    before = frame.copy()
    rows = next_rows(frame, "kind", 5, id_column="name", model=model, random_state=0)
    assert rows.attrs["reason"] == ""
    assert len(set(rows.position)) == 5 and rows.position.min() >= n_labels
    assert rows.name.tolist() == frame.name[rows.position].tolist()
    assert rows.kind.isna().all()
    assert set(rows.likeliest) | set(rows.second) <= set(truth[:n_labels])
    assert (rows.likeliest != rows.second).all()
    assert (rows.probability >= rows.second_probability).all()
    assert (rows.probability + rows.second_probability <= 1 + 1e-6).all()
    pd.testing.assert_frame_equal(frame, before)


class Scaled(LogisticRegression):
    """Notes the rows that it is given to scale columns by."""

    n_rows: list[int] = []

    def fit(self, X, y, X_unlabelled=None):
        self.n_rows.append(len(X_unlabelled))
        return super().fit(X, y)


def test_the_whole_table_decides_how_columns_are_scaled():
    frame, _ = mixed(n=40, n_labels=20)
    next_rows(frame, "kind", 3, id_column="name", model=Scaled(), strategy="random")
    table_status(frame, "kind", id_column="name", model=Scaled())
    before, pipeline = len(Scaled.n_rows), make_pipeline(StandardScaler(), Scaled())
    next_rows(frame, "kind", 3, id_column="name", model=pipeline, strategy="random")
    assert len(Scaled.n_rows) == before + 1
    assert set(Scaled.n_rows) == {40}


# One of each kind: of hypotheses, of predictions, of features, with a pool in memory, of chance.
@pytest.mark.parametrize("strategy", ["balance", "margin", "coreset", "badge", "random"])
def test_strategies_are_asked_for_by_name(strategy):
    frame, _ = plain(60)
    rows = next_rows(
        frame, "kind", 4, strategy=strategy, model=quick(), pending=[40, 41], random_state=0
    )
    assert len(set(rows.position)) == 4
    assert rows.position.between(30, 59).all() and not set(rows.position) & {40, 41}
    assert rows.doubt.between(0, 100).all() and rows.why.str.len().gt(0).all()


def test_every_strategy_has_a_name():
    public = {name for name in modal_balance.__all__ if name.endswith("_query")}
    assert {function.__name__ for function in strategies_by_name().values()} == public


def test_the_batch_is_that_of_the_strategy_on_the_prepared_columns():
    frame, _ = mixed()
    X = prepare(frame[["size", "colour", "day"]], random_state=0)
    frame = frame.drop(columns=["note", "nothing"])
    forest = RandomForestClassifier(50, random_state=0)
    rows = next_rows(frame, "kind", 6, id_column="name", model=forest, strategy="margin")
    names, codes = np.unique(frame.kind[:30].astype(str), return_inverse=True)
    fitted = RandomForestClassifier(50, random_state=0).fit(X[:30], codes)
    proba = np.sort(fitted.predict_proba(X), axis=1)
    margin = proba[:, -1] - proba[:, -2]
    chosen = rows.position.to_numpy()
    np.testing.assert_allclose(np.sort(margin[chosen]), np.sort(margin[30:])[:6], atol=1e-6)
    np.testing.assert_allclose(rows.probability, proba[chosen, -1])
    np.testing.assert_allclose(rows.second_probability, proba[chosen, -2])
    assert rows.likeliest.tolist() == names[fitted.predict(X[chosen])].tolist()
    gap = rows.probability - rows.second_probability
    np.testing.assert_allclose(rows.doubt, 100 * (1 - gap), atol=0.5)
    torn = rows[rows.doubt >= 80].iloc[0]
    assert torn.why == f"torn between {torn.likeliest} and {torn.second}"


def test_with_few_labels_per_class_the_batch_covers_the_table():
    frame, _ = mixed(n_labels=7)
    covered = next_rows(frame, "kind", 4, strategy="herding", model=FAST, random_state=0)
    with pytest.warns(UserWarning, match="later batches .* will fail: Cannot draw hypotheses"):
        rows = next_rows(frame, "kind", 4, model=FAST, random_state=0)
    assert frame.kind[:7].nunique() == 2
    assert rows.position.tolist() == covered.position.tolist()
    assert (
        set(rows.why) == set(covered.why) == {"similar to many rows, but not to those with a label"}
    )
    assert not set(next_rows(mixed()[0], "kind", 4, random_state=0).why) & set(rows.why)


@pytest.mark.parametrize("strategy", [balance_query, power_balance_query])
def test_rows_drawn_at_random_say_so(strategy):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": np.r_[rng.normal(0, 0.1, 40), rng.normal(9, 0.1, 40)]})
    frame["kind"] = ["small", *[None] * 39, "large", *[None] * 39]
    frame.loc[[1, 2, 3, 41, 42, 43], "kind"] = ["small"] * 3 + ["large"] * 3
    far = partial(strategy, tau=0.9)  # no two trees differ on so many rows
    rows = next_rows(frame, "kind", 3, model="forest", strategy=far, random_state=0)
    assert set(rows.why) == {"drawn at random: no row is left that tells models apart"}
    rows = next_rows(frame, "kind", 3, model="forest", strategy="margin", random_state=0)
    assert set(rows.why) <= {"probably small", "probably large"}


def test_custom_models_and_strategies():
    frame, _ = plain()

    def last_rows(learner, X_pool, n_instances):
        assert isinstance(learner.estimator, LogisticRegression)
        assert learner.X_training.shape[0] == len(learner.y_training) == 30
        return np.arange(len(X_pool))[::-1][:n_instances]

    rows = next_rows(frame, "kind", 3, model=FAST, strategy=last_rows)
    assert rows.position.tolist() == [119, 118, 117]
    assert not hasattr(FAST, "classes_")
    arguments = {"model": FAST, "random_state": 1}
    by_name = next_rows(frame, "kind", 3, strategy="random", **arguments)
    by_function = next_rows(frame, "kind", 3, strategy=random_query, **arguments)
    pd.testing.assert_frame_equal(by_name, by_function)


def test_strategies_get_the_options_that_they_name_and_that_are_not_fixed():
    frame, _ = plain()

    def takes_any(learner, X_pool, n_instances, **options):
        assert not options
        return np.arange(n_instances)

    rows = next_rows(frame, "kind", 3, model=FAST, strategy=takes_any)
    assert rows.position.tolist() == [30, 31, 32]
    fixed = partial(random_query, random_state=5)
    one, other = (
        next_rows(frame, "kind", 5, model=FAST, strategy=fixed, random_state=seed)
        for seed in range(2)
    )
    assert one.position.tolist() == other.position.tolist()


def test_a_strategy_that_chooses_a_row_twice_is_an_error():
    frame, _ = plain()
    with pytest.raises(ValueError, match=r"returned \[0, 0\]. Expected 2 different positions"):
        next_rows(frame, "kind", 2, model=FAST, strategy=lambda *_, n_instances: np.zeros(2, int))


def test_a_seed_gives_the_same_rows_and_leaves_the_global_state_alone():
    frame, _ = plain()
    before = np.random.get_state()[1].copy()
    one, same = (next_rows(frame[:60], "kind", 5, random_state=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, same)
    assert (np.random.get_state()[1] == before).all()
    batches = [
        next_rows(frame, "kind", 5, model=SMALL, strategy="random", random_state=s)
        for s in range(3)
    ]
    assert len({tuple(batch.position) for batch in batches}) == 3


@pytest.mark.parametrize(
    ("labels", "reason"), [([], "There are no labels yet"), (["up"] * 2, "one class, 'up'")]
)
def test_without_two_classes_the_batch_covers_the_table_with_a_warning(labels, reason):
    frame, _ = mixed(n_labels=0)
    frame.loc[: len(labels) - 1, "kind"] = labels
    with pytest.warns(UserWarning, match=reason):
        rows = next_rows(frame, "kind", 8, random_state=0)
    assert reason in rows.attrs["reason"] and "herding" in rows.attrs["reason"]
    assert len(set(rows.position)) == 8 and rows.position.min() >= len(labels)
    assert rows.likeliest.isna().all() and rows.probability.isna().all()


def test_the_first_batch_takes_a_row_of_each_group_and_none_of_a_group_that_is_known():
    rng = np.random.RandomState(0)
    groups = np.repeat(np.arange(5), 40)
    X = (100 * np.eye(5)[groups] + rng.normal(size=(200, 5))).astype(np.float32)
    assert set(groups[herding_query(None, X, 5, random_state=0)[0]]) == set(range(5))
    left = groups != 2
    picks, gains = herding_query(None, X[left], 3, X_labelled=X[groups == 3][:1], random_state=0)
    assert set(groups[left][picks]) == {0, 1, 4}
    assert (np.diff(gains) <= 0).all()


def test_the_first_batch_covers_better_than_chance():
    frame, _ = mixed(300, 0)
    X = prepare(frame[["size", "colour", "day", "note"]], random_state=0)
    best = KMeans(10, n_init=3, random_state=0).fit(X).inertia_

    def spread(rows):
        return (np.linalg.norm(X[:, None] - X[rows][None], axis=2).min(1) ** 2).sum()

    rng = np.random.RandomState(0)
    random = [spread(rng.permutation(300)[:10]) for _ in range(10)]
    assert best < spread(herding_query(None, X, 10, random_state=0)[0]) < np.mean(random)


def test_a_whole_pool_of_duplicates_can_be_chosen():
    X = np.zeros((6, 2), dtype=np.float32)
    picks, _ = herding_query(None, X, 6, random_state=0)
    assert sorted(picks) == list(range(6))


@pytest.mark.parametrize("form", ["frame", "list", "array"])
def test_pending_rows_are_not_chosen_again(form):
    frame, _ = plain(60)
    first = next_rows(frame, "kind", 10, id_column="name", random_state=0, model=SMALL)
    out = {"frame": first, "list": first.name.tolist(), "array": first.name.to_numpy()}[form]
    second = next_rows(
        frame, "kind", 50, id_column="name", pending=out, random_state=0, model=SMALL
    )
    assert sorted([*first.position, *second.position]) == list(range(30, 60))


def test_a_pending_id_that_a_spreadsheet_may_have_changed_stands_for_both_rows():
    frame, _ = plain(60)
    frame.loc[40:41, "name"] = ["1.1", "1.10"]
    rows = next_rows(
        frame, "kind", 30, id_column="name", pending=["1.1"], random_state=0, model=SMALL
    )
    assert sorted(rows.position) == [*range(30, 40), *range(42, 60)]


def test_rows_that_have_a_label_are_no_longer_pending():
    frame, truth = plain(60)
    first = next_rows(frame, "kind", 5, random_state=0, model=SMALL)
    first["kind"] = truth[first.position]
    merged = merge_answers(frame, first, "kind")
    again = next_rows(merged, "kind", 5, pending=first, random_state=0, model=SMALL)
    pd.testing.assert_frame_equal(again, next_rows(merged, "kind", 5, random_state=0, model=SMALL))


def test_fewer_rows_than_asked_for_and_none():
    frame, truth = plain(40)
    assert len(next_rows(frame, "kind", 20, random_state=0, model=SMALL)) == 10
    rows = next_rows(frame.assign(kind=truth), "kind", 20, model=SMALL)
    assert len(rows) == 0 and list(rows.columns)[:2] == ["position", "kind"]


def test_labels_that_are_numbers_keep_their_spelling():
    frame, truth = plain()
    numbers = pd.Series(truth).map({"up": 1.0, "down": 0.0, "flat": 2.0}).where(frame.kind.notna())
    rows = next_rows(frame.assign(kind=numbers), "kind", 4, random_state=0, model=SMALL)
    words = next_rows(
        frame.assign(kind=[None if np.isnan(v) else f"{v:.0f} " for v in numbers]),
        "kind",
        4,
        random_state=0,
        model=SMALL,
    )
    assert rows.position.tolist() == words.position.tolist()
    assert rows.likeliest.tolist() == [float(v) for v in words.likeliest]
    assert {type(v) for v in rows.likeliest} == {float}


def test_classes_reach_a_model_as_numbers_without_a_gap():
    seen = []

    class Strict(LogisticRegression):
        def fit(self, X, y):
            seen.append(np.unique(y).tolist())
            return super().fit(X, y)

    frame, _ = plain()
    frame["kind"] = frame.kind.map({"up": "7", "down": "3", "flat": "9"})
    rows = next_rows(frame, "kind", 3, model=Strict(max_iter=200), strategy="random")
    assert set(rows.likeliest) <= {"3", "7", "9"}
    table_status(frame, "kind", model=Strict(max_iter=200))
    assert all(classes == list(range(len(classes))) for classes in seen) and len(seen) == 6


def test_text_and_values_give_the_same_rows():
    frame, _ = mixed(60)
    text = frame.astype(object).where(frame.notna(), "").astype(str)
    one, other = (next_rows(f, "kind", 4, model=SMALL, random_state=0) for f in (frame, text))
    assert one.position.tolist() == other.position.tolist()


def test_unsure_and_empty_rows_are_not_asked():
    frame, _ = mixed(40, 30)
    frame.loc[30:33, "kind"] = "?"
    frame.loc[34:35] = None
    rows = next_rows(frame, "kind", 20, random_state=0, model=SMALL)
    assert sorted(rows.position) == [36, 37, 38, 39]


def test_the_index_of_the_frame_is_kept_and_does_not_matter():
    frame, _ = plain()
    expected = next_rows(frame, "kind", 4, random_state=0, model=SMALL)
    shuffled = frame.set_axis([f"x{i % 7}" for i in range(120)])
    rows = next_rows(shuffled, "kind", 4, random_state=0, model=SMALL)
    assert rows.position.tolist() == expected.position.tolist()
    assert rows.index.tolist() == shuffled.index[expected.position].tolist()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f[:0], {}, "no rows below its header"),
        (lambda f: f[["kind"]], {}, "no column to learn from besides the target 'kind'"),
        (lambda f: f[["kind", "nothing"]], {}, "nothing to learn from"),
        (
            lambda f: f,
            {"target": "kinds"},
            "no target column 'kinds' in the table. Did",
        ),
        (lambda f: f, {"id_column": "nam"}, "no id column 'nam'"),
        (lambda f: f, {"id_column": "kind"}, "both the target and the id"),
        (lambda f: f, {"id_column": "colour"}, "'colour' is empty at position|occurs twice"),
        (lambda f: f.assign(kind=range(120)), {}, "120 different values in 120 labels"),
        (lambda f: f.set_axis([*f.columns[:-2], "size", "kind"], axis=1), {}, "more than one"),
        (lambda f: f.rename(columns={"kind": "why"}), {"target": "why"}, "cannot be called"),
        (lambda f: f, {"model": "tree"}, "no model 'tree'. Known are network-and-trees"),
        (lambda f: f, {"strategy": "best"}, "no strategy 'best'. Known are"),
        (lambda f: f, {"n": 0}, "n must be at least 1"),
        (
            lambda f: f,
            {"pending": [3, 400]},
            "the pending rows: the table has no row position 400",
        ),
        (
            lambda f: f,
            {"pending": pd.DataFrame({"row": [3]})},
            "no column .* in the pending",
        ),
    ],
)
def test_bad_arguments_are_named(change, arguments, message):
    frame, _ = mixed()
    with pytest.raises(ValueError, match=message):
        next_rows(change(frame), **{"target": "kind", "n": 3} | arguments)


def test_anything_but_a_frame_is_refused():
    with pytest.raises(TypeError, match="a pandas DataFrame for the table, got ndarray"):
        next_rows(np.zeros((3, 2)), "kind")


def test_a_loop_in_a_notebook_learns():
    frame, truth = plain(200, 0)
    for seed in range(4):
        rows = next_rows(frame, "kind", 15, model=SMALL, random_state=seed) if seed else None
        if rows is None:
            with pytest.warns(UserWarning, match="no labels yet"):
                rows = next_rows(frame, "kind", 15, model=SMALL, random_state=seed)
        rows["kind"] = truth[rows.position]
        # Classes that the first batch missed appear later.
        frame = merge_answers(frame, rows, "kind")
    assert frame.kind.notna().sum() == 60
    assert (frame.kind == truth)[frame.kind.notna()].all()
    X = prepare(frame.drop(columns=["kind", "name"]), random_state=0)
    known = frame.kind.notna().to_numpy()
    forest = RandomForestClassifier(random_state=0).fit(X[known], frame.kind[known].astype(str))
    assert forest.score(X[~known], truth[~known].astype(str)) > 0.75


def test_the_accuracy_is_that_of_models_that_have_not_seen_the_row():
    frame, truth = mixed(200, 60)
    forest = RandomForestClassifier(30, oob_score=True, random_state=0)
    status = table_status(frame, "kind", id_column="name", model=forest, random_state=0)
    assert (status.n_rows, status.n_labelled, status.n_unlabelled) == (200, 60, 140)
    counts = pd.Series(truth[:60]).value_counts()
    assert status.counts == counts.sort_index().to_dict()
    accuracy = status.accuracy
    assert accuracy.n_tested == 60 and accuracy.value == accuracy.n_right / 60
    assert accuracy.low < accuracy.value < accuracy.high
    assert accuracy.most_frequent == counts.max() / 60
    X = prepare(frame.drop(columns=["kind", "name"]), random_state=0)
    assert (
        abs(cross_val_score(forest, X[:60], truth[:60].astype(str)).mean() - accuracy.value) < 0.1
    )
    nonsense = frame.assign(kind=np.random.RandomState(0).permutation(frame.kind))
    guess = table_status(nonsense, "kind", id_column="name", model=forest, random_state=0)
    assert guess.accuracy.value < accuracy.low


def test_settled_compares_the_predictions_before_and_after_each_of_three_rounds():
    frame, _ = mixed(200, 60)
    frame = frame.drop(columns=["note", "nothing"])
    X = prepare(frame.drop(columns=["kind", "name"]), random_state=0)
    y = frame.kind[:60].astype(str)
    predictions = [
        LogisticRegression(max_iter=200).fit(X[:n], y[:n]).predict(X[60:]) for n in (40, 50, 55, 60)
    ]
    expected = [cohen_kappa_score(a, b) for a, b in zip(predictions, predictions[1:], strict=False)]
    columns = frame[["name", "kind"]]
    rounds = [columns[40:50], columns[50:55], columns[55:60]]
    arguments = {"id_column": "name", "model": FAST, "random_state": 0}
    # It makes no difference whether the answers are in the table or in files.
    for given in (frame, frame.assign(kind=frame.kind.where(frame.index < 40, None))):
        status = table_status(given, "kind", answers=rounds, **arguments)
        np.testing.assert_allclose(status.kappas, expected)
        assert status.settled is bool(min(expected) >= 0.99)
    for threshold, settled in ((min(expected), True), (max(expected), False)):
        again = table_status(frame, "kind", answers=rounds, threshold=threshold, **arguments)
        assert again.settled is settled
    two = table_status(frame, "kind", answers=rounds[1:], threshold=0.0, **arguments)
    assert len(two.kappas) == 2 and two.settled is False
    # The rows of a file that is named again are no further round.
    again = table_status(frame, "kind", answers=[rounds[2]] * 3, threshold=0.0, **arguments)
    assert again.kappas == status.kappas[2:] and again.settled is False
    without = table_status(frame, "kind", **arguments)
    assert without.settled is None and "name the answers" in without.notes[0]


def test_only_the_last_three_rounds_count_and_empty_ones_are_skipped():
    frame, _ = plain(100, 60)
    rounds = [frame[["name", "kind"]][at : at + 5] for at in (30, 35, 40, 45)]
    rounds.append(frame[["name", "kind"]][70:75])  # not filled in
    status = table_status(frame, "kind", answers=rounds, id_column="name", model=FAST)
    assert len(status.kappas) == 3


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ([], "labels of two classes"),
        (["a", "a"], "labels of two classes"),
        (["a", "b"], "two classes have two labels"),
        (["a", "a", "b"], "two classes have two labels"),
    ],
)
def test_with_few_labels_the_status_says_what_is_unknown(labels, note):
    frame, _ = mixed(n_labels=0)
    frame.loc[: len(labels) - 1, "kind"] = labels
    status = table_status(frame, "kind", random_state=0)
    assert status.accuracy is None and note in status.notes[0]
    assert sum(status.counts.values()) == len(labels)


def test_the_classifier_of_the_package_needs_no_extra_preparation():
    frame, _ = mixed()
    classifier = MCDropoutClassifier(n_steps=20, random_state=0)
    given = next_rows(frame, "kind", 3, model=classifier, random_state=0)
    named = next_rows(frame, "kind", 3, model=SMALL, strategy=margin_query, random_state=0)
    assert len(given) == len(named) == 3
