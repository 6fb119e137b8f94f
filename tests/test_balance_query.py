import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from skorch.dataset import ValidSplit
from toy import digits, fast_classifier, fitted_classifier, fitted_net, skorch_net

from modal_balance import (
    RandomSelectionWarning,
    balance_query,
    disjoint_pairs,
    draw_hypotheses,
    edges_beyond,
)
from modal_balance.equivalence import votes

X, y = digits()
POOL = X[-200:]


def query(learner=None, X_pool=POOL, n_instances=4, **options):
    """The report of a query."""
    reports = []
    options = {"tau": 0.02, "n_samples": 16, "random_state": 0} | options
    learner = fitted_classifier() if learner is None else learner
    indices, gains = balance_query(learner, X_pool, n_instances, callback=reports.append, **options)
    (report,) = reports
    assert report.indices.tolist() == indices.tolist()
    assert report.scores.tolist() == gains.tolist()
    return report


def test_draws_are_compared_in_disjoint_pairs_unless_told_otherwise():
    assert query(n_samples=18).n_pairs == 9
    assert (
        query(n_samples=18, pairing="auto").indices.tolist()
        == query(n_samples=18, pairing="disjoint").indices.tolist()
    )


def test_the_pairs_are_of_the_hypotheses_there_are():
    class Posterior(LogisticRegression):
        def draw_hypotheses(self, n_samples, random_state=None, *, verbose=0):
            return draw_hypotheses(fitted_classifier(), 5, random_state=0)

    learner = Posterior(max_iter=999).fit(X[:40], y[:40])
    assert query(learner, tau=0).n_pairs == 2
    assert query(learner, tau=0, pairing="all").n_pairs == 10


def test_the_reference_pool_is_where_hypotheses_are_compared():
    hypotheses = draw_hypotheses(fitted_classifier(), 16, random_state=0)
    least_certain = hypotheses.predict_proba_samples(POOL).mean(0).max(1).values.argmin()
    one_row = POOL[[int(least_certain)]]
    proba = hypotheses.predict_proba_samples(one_row)
    edges, _ = edges_beyond(votes(proba), disjoint_pairs(8 * 2), 0.5)
    with_reference = query(X_reference=one_row, tau=0.5)
    assert with_reference.n_edges == len(edges)
    everywhere = query(X_reference=POOL, tau=0.02)
    assert everywhere.indices.tolist() == query(tau=0.02).indices.tolist()


def test_pending_points_are_not_asked_again():
    batch = query(n_instances=6).indices
    left = np.setdiff1d(np.arange(len(POOL)), batch[:3])
    options = {"n_instances": 3, "X_reference": POOL}
    rest = query(X_pool=POOL[left], X_pending=POOL[batch[:3]], **options).indices
    assert left[rest].tolist() == batch[3:].tolist()
    assert left[query(X_pool=POOL[left], **options).indices].tolist() != batch[3:].tolist()


def test_no_pending_points_are_no_error():
    expected = query().indices.tolist()
    assert query(X_pending=POOL[:0]).indices.tolist() == expected
    assert query(X_pending=[]).indices.tolist() == expected


# --- where tau comes from -------------------------------------------------------------------------


def test_tau_given_comes_first():
    assert query(tau=0.123, X_val=X[:50], y_val=y[:50]).tau == 0.123


def test_validation_data_come_second():
    report = query(tau=None, X_val=X[100:200], y_val=y[100:200], anneal=0.5)
    hypotheses = draw_hypotheses(fitted_classifier(), 16, random_state=0)
    wrong = hypotheses.predict_proba_samples(X[100:200]).mean(0).argmax(-1).numpy() != y[100:200]
    assert report.tau == pytest.approx(0.5 * wrong.mean())
    assert report.tau > 0


def test_the_estimators_own_error_comes_third():
    classifier = fast_classifier().fit(X[:60], y[:60], X_val=X[100:160], y_val=y[100:160])
    assert query(classifier, tau=None).tau == classifier.validation_error_ / 4
    net = fitted_net(train_split=ValidSplit(3), max_epochs=10, lr=0.5)
    assert query(net, tau=None, anneal=1).tau == pytest.approx(1 - max(net.history[:, "valid_acc"]))


def test_an_unknown_tau_is_an_error_that_says_what_to_pass():
    with pytest.raises(ValueError, match="Pass tau=, or X_val= and y_val=.*train_split"):
        query(fitted_net(), tau=None)


def test_no_edges_give_a_seeded_random_batch_and_a_warning():
    batches = []
    for seed in (0, 0, 1):
        with pytest.warns(RandomSelectionWarning, match="no edges"):
            report = query(tau=1.0, random_state=seed, n_instances=10)
        assert report.n_edges == 0
        batches.append(report.indices.tolist())
    assert batches[0] == batches[1] != batches[2]


# --- learners -------------------------------------------------------------------------------------


def test_a_bare_net_can_be_queried():
    report = query(fitted_net())
    assert len(set(report.indices)) == 4


def test_images_and_dicts_can_be_pools():
    images = X.reshape(-1, 1, 8, 8)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Dropout2d(0.5), torch.nn.Flatten(),
        torch.nn.Linear(144, 4),
    )  # fmt: skip
    net = skorch_net(module).fit(images[:40], y[:40])
    assert len(set(query(net, images[-50:]).indices)) == 4

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.out = torch.nn.Dropout(0.5), torch.nn.Linear(64, 4)

        def forward(self, pixels):
            return self.out(self.drop(pixels))

    net = skorch_net(Named()).fit({"pixels": X[:40]}, y[:40])
    pool = {"pixels": POOL}
    assert len(set(query(net, pool, X_pending={"pixels": X[:2]}).indices)) == 4


def test_reports_can_be_compared():
    first, second = query(), query()
    assert first != second and [second, first].index(first) == 1 and len({first, second}) == 2


def test_times_are_reported():
    report = query()
    assert report.inference_seconds > 0
    assert report.seconds > report.inference_seconds


def test_progress_is_shown_only_when_asked_for(capsys):
    query()
    assert capsys.readouterr() == ("", "")
    query(verbose=1)
    shown = capsys.readouterr().err
    assert "Hypotheses" in shown
    assert "Batch" in shown


# --- bad input, refused before any work -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples must be at least 2, got 0"),
        ({"n_samples": 4.5}, TypeError, "n_samples must be an integer"),
        ({"pairing": "some"}, ValueError, "pairing='some' is unknown"),
        ({"tau": -0.1}, ValueError, r"tau must lie in \[0, 1\]"),
        ({"tau": 1.5}, ValueError, r"tau must lie in \[0, 1\]"),
        ({"anneal": -1}, ValueError, "anneal"),
        ({"X_val": X[:5]}, ValueError, "X_val was given without y_val"),
        ({"y_val": y[:5]}, ValueError, "y_val was given without X_val"),
        ({"tau": None, "X_val": X[:5], "y_val": y[:4]}, ValueError, "X_val has 5 rows but y_val"),
        ({"tau": None, "X_val": X[:0], "y_val": y[:0]}, ValueError, "X_val is empty"),
        ({"X_reference": X[:0]}, ValueError, "X_reference is empty"),
        ({"X_reference": X[:5, :9]}, ValueError, "X_reference has rows of shape"),
        ({"X_pending": X[:5, :9]}, ValueError, "X_pending has rows of shape"),
        ({"X_pending": X[:5] * np.nan}, ValueError, "X_pending contains NaN"),
        ({"random_state": "zero"}, TypeError, "random_state must be an int"),
        ({"X_pool": POOL[:, :9]}, ValueError, "cannot be run on a row of X"),
        ({"X_pool": POOL * np.nan}, ValueError, "X_pool contains NaN"),
        ({"n_instances": 201}, ValueError, "X_pool has 200 rows but n_instances=201"),
    ],
)
def test_bad_input_is_refused_before_the_net_runs_on_the_pool(options, error, message):
    rows = []

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.out = torch.nn.Dropout(0.5), torch.nn.Linear(64, 4)

        def forward(self, x):
            rows.append(len(x))
            return self.out(self.drop(x))

    net = fitted_net(Counting())
    rows.clear()
    with pytest.raises(error, match=message):
        query(net, **options)
    assert sum(rows) <= 3  # at most one row and its copy, to see whether rows fit


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (LinearRegression().fit(X, y), "is a regressor"),
        (LogisticRegression(max_iter=9999).fit(X, y), "Cannot draw hypotheses"),
        (None, "must be a modAL learner or a fitted estimator"),
    ],
)
def test_learners_without_a_posterior_are_refused(learner, message):
    with pytest.raises(TypeError, match=message):
        balance_query(learner, POOL, tau=0.1)


def test_invalid_probabilities_are_refused():
    net = fitted_net(predict_nonlinearity=None)
    with pytest.raises(ValueError, match="sums to .* predict_nonlinearity"):
        query(net)
