"""Whole modAL loops with forests, the learners that need no network."""

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from toy import indices_of, iris, iris_words

from modal_balance import balance_query
from modal_balance.hypotheses.validation import validation_error

pytest.importorskip("modAL")
from modAL.models import ActiveLearner

pytestmark = pytest.mark.modal

X, y = iris()
WORDS = iris_words()
every_forest = pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
query_iris = partial(balance_query, tau=0.02, random_state=0)


def learner_of(kind, labels=y, rows=X, n_known=12, query=query_iris, n_trees=15, **parameters):
    forest = kind(n_trees, random_state=0, **parameters)
    return ActiveLearner(
        forest, query_strategy=query, X_training=rows[:n_known], y_training=labels[:n_known]
    )


def rounds(learner, X_pool, y_pool, n_rounds, n_instances, **options):
    """Query and teach; return the positions of the batches in the first pool."""
    left = np.arange(len(y_pool))
    batches = []
    for _ in range(n_rounds):
        indices, rows = learner.query(X_pool[left], n_instances=n_instances, **options)
        assert np.array_equal(rows, X_pool[left[indices]], equal_nan=True)
        learner.teach(rows, y_pool[left[indices]])
        batches.append(left[indices].tolist())
        left = np.delete(left, indices)
    return batches


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@every_forest
def test_a_loop_labels_distinct_points_until_the_pool_is_empty(kind):
    learner = learner_of(kind)
    batches = rounds(learner, X[12:30], y[12:30], 3, 6)
    assert sorted(sum(batches, [])) == list(range(18))
    assert np.array_equal(np.sort(learner.X_training, axis=0), np.sort(X[:30], axis=0))


@pytest.mark.filterwarnings("ignore::modal_balance.RandomSelectionWarning")
@every_forest
def test_no_more_than_the_pool_can_be_asked_for(kind):
    learner = learner_of(kind)
    indices, _ = learner.query(X[100:105], n_instances=5)
    assert sorted(indices.tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="X_pool has 5 rows but n_instances=6"):
        learner.query(X[100:105], n_instances=6)


@every_forest
def test_the_same_seed_gives_the_same_loop(kind):
    loops = [rounds(learner_of(kind), X[12:], y[12:], 3, 4, random_state=s) for s in (0, 0)]
    assert loops[0] == loops[1]
    # Copies of one row tie to the last bit: the seed alone decides which of them is taken.
    _, row = learner_of(kind).query(X[12:])
    copies = np.repeat(row, 40, axis=0)
    taken = {
        int(learner_of(kind).query(copies, X_reference=X[12:], random_state=s)[0][0])
        for s in range(8)
    }
    assert len(taken) > 1


@every_forest
def test_names_of_classes_give_the_batches_of_their_numbers(kind):
    by_name, by_number = learner_of(kind, WORDS), learner_of(kind)
    assert rounds(by_name, X[12:], WORDS[12:], 3, 4) == rounds(by_number, X[12:], y[12:], 3, 4)
    assert by_name.predict(X).tolist() == np.unique(WORDS)[by_number.predict(X)].tolist()


@every_forest
@pytest.mark.parametrize("max_edges", [1, 20, 10_000])
def test_at_most_so_many_edges_are_covered(kind, max_edges):
    learner = learner_of(kind)
    batches = rounds(learner, X[12:], y[12:], 3, 4, max_edges=max_edges)
    assert len(set(sum(batches, []))) == 12
    if max_edges > 15 * 14 / 2:  # more than there are pairs of trees: nothing is left out
        assert batches == rounds(learner_of(kind), X[12:], y[12:], 3, 4)


def test_missing_values_go_the_whole_way():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    forest = RandomForestClassifier(15, random_state=0)
    learner = ActiveLearner(forest, query_strategy=query_iris)
    learner.force_all_finite = False  # modAL 0.4.2 hands the keyword on to the forest
    learner.teach(holes[:12], y[:12])
    batches = rounds(learner, holes[12:], y[12:], 3, 4)
    assert len(set(sum(batches, []))) == 12
    assert np.isnan(learner.X_training).any()


@every_forest
def test_a_class_that_nobody_has_seen_yet_joins_when_it_is_labelled(kind):
    known = np.flatnonzero(y < 2)[:12]
    pool = np.setdiff1d(np.arange(len(X)), known)
    learner = ActiveLearner(
        kind(15, random_state=0),
        query_strategy=query_iris,
        X_training=X[known],
        y_training=WORDS[known],
    )
    assert learner.estimator.classes_.tolist() == ["setosa", "versicolor"]
    rounds(learner, X[pool], WORDS[pool], 4, 5)
    assert learner.estimator.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert learner.score(X, WORDS) > 0.8


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
@every_forest
def test_the_out_of_bag_error_is_the_radius(kind):
    learner = learner_of(
        kind, n_known=40, query=partial(balance_query, random_state=0), n_trees=30,
        oob_score=True, bootstrap=True,
    )  # fmt: skip
    for _ in range(3):
        error = 1 - learner.estimator.oob_score_
        assert validation_error(learner.estimator) == pytest.approx(error)
        indices, rows = learner.query(X[40:], n_instances=3)
        expected = balance_query(learner.estimator, X[40:], 3, tau=error / 4, random_state=0)
        assert indices.tolist() == indices_of(expected).tolist()
        learner.teach(rows, y[40:][indices])


def test_without_a_validation_error_the_radius_must_be_given():
    learner = learner_of(RandomForestClassifier)
    with pytest.raises(ValueError, match="tau is unknown.*oob_score=True"):
        learner.query(X[12:], tau=None)


@every_forest
def test_a_forest_learns_the_digits(kind):
    digits, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    digits, numbers = digits[order], numbers[order]
    learner = learner_of(
        kind, numbers, digits, 20, partial(balance_query, tau=0.05, random_state=0), n_trees=30
    )
    before = learner.score(digits[800:], numbers[800:])
    rounds(learner, digits[20:500], numbers[20:500], 6, 20)
    assert learner.score(digits[800:], numbers[800:]) > max(before + 0.15, 0.8)
