"""One interface for all strategies: the same keywords, reports and return types."""

import inspect
from collections import defaultdict

import numpy as np
import pytest
from toy import digits, fitted_classifier

from modal_balance import QueryReport, strategies

ALL = {name: getattr(strategies, name) for name in strategies.__all__ if name.endswith("_query")}
# Options that a strategy needs, or that make it fast.
OPTIONS = {
    name: {"n_samples": 12} if "n_samples" in inspect.signature(strategy).parameters else {}
    for name, strategy in ALL.items()
}
for name in ("balance_query", "balance_margin_query", "power_balance_query"):
    OPTIONS[name] |= {"tau": 0.02}
OPTIONS["batchbald_query"] |= {"max_configurations": 300}
# Strategies whose batch depends on pending points.
TAKES_PENDING_INTO_ACCOUNT = {
    "badge_query",
    "balance_margin_query",
    "balance_query",
    "batchbald_query",
    "clustered_margin_query",
    "coreset_query",
    "herding_query",
    "power_bald_query",
    "power_balance_query",
    "uncertainty_herding_query",
}
# The order of all parameters; each strategy has some of them.
ORDER = (
    "learner X_pool n_instances X_labelled y_labelled n_samples cut_share min_labels_per_class "
    "space radius temperature pairing max_configurations max_pool max_edges coldness X_target "
    "n_targets tau anneal X_val y_val X_reference memory_limit X_pending random_state verbose "
    "callback"
).split()

every_strategy = pytest.mark.parametrize("name", sorted(ALL))


def call(name, X_pool, n_instances=4, **options):
    defaults = {"random_state": 0} | OPTIONS[name]
    return ALL[name](fitted_classifier(), X_pool, n_instances, **(defaults | options))


def pool():
    return digits()[0][-80:]


@every_strategy
def test_every_strategy_has_the_same_common_parameters(name):
    parameters = inspect.signature(ALL[name]).parameters
    names = list(parameters)
    assert names[:3] == ["learner", "X_pool", "n_instances"]
    assert names[-4:] == ["X_pending", "random_state", "verbose", "callback"]
    assert all(parameters[n].kind == inspect.Parameter.KEYWORD_ONLY for n in names[3:])
    defaults = {n: parameters[n].default for n in names}
    assert (defaults["n_instances"], defaults["verbose"]) == (1, 0)
    assert [defaults[n] for n in ("X_pending", "random_state", "callback")] == [None] * 3


@every_strategy
def test_parameters_come_in_the_same_order_everywhere(name):
    names = list(inspect.signature(ALL[name]).parameters)
    assert names == [parameter for parameter in ORDER if parameter in names]


@every_strategy
def test_the_docstring_links_to_the_common_parameters(name):
    assert inspect.getdoc(ALL[name]).count(":doc:`/common_parameters`") == 1


def test_equal_parameters_have_equal_defaults():
    defaults = defaultdict(set)
    for strategy in ALL.values():
        for name, parameter in inspect.signature(strategy).parameters.items():
            defaults[name].add(parameter.default)
    assert all(len(values) == 1 for values in defaults.values()), defaults


@every_strategy
def test_the_callback_gets_a_report_of_what_is_returned(name):
    reports = []
    indices, scores = call(name, pool(), callback=reports.append)
    (report,) = reports
    assert isinstance(report, QueryReport)
    assert (indices.dtype, scores.dtype) == (np.int64, np.float64)
    assert indices.shape == scores.shape == (4,)
    assert np.array_equal(report.indices, indices)
    assert np.array_equal(report.scores, scores)
    assert 0 <= report.inference_seconds <= report.seconds
    is_balance = "balance" in name
    assert [value is not None for value in (report.tau, report.n_pairs, report.n_edges)] == [
        is_balance
    ] * 3


@every_strategy
def test_pending_points_count_in_the_strategies_that_say_so(name):
    X = pool()
    alone, scores = call(name, X)
    pending, pending_scores = call(name, X, X_pending=digits()[0][40:55])
    same = np.array_equal(alone, pending) and np.array_equal(scores, pending_scores)
    assert same == (name not in TAKES_PENDING_INTO_ACCOUNT)


@every_strategy
def test_no_pending_points_are_the_same_as_none(name):
    X = pool()
    assert np.array_equal(call(name, X)[0], call(name, X, X_pending=X[:0])[0])


@every_strategy
def test_pending_points_of_another_form_are_refused(name):
    with pytest.raises(ValueError, match="X_pending has"):
        call(name, pool(), X_pending=np.ones((3, 5), dtype=np.float32))


@every_strategy
def test_verbose_shows_a_bar_of_the_predictions(name, capsys):
    call(name, pool(), verbose=1)
    shown = capsys.readouterr().err
    bars = {
        "Hypotheses": "n_samples" in inspect.signature(ALL[name]).parameters,
        "Batch": name in ("balance_query", "balance_margin_query", "batchbald_query"),
    }
    assert {bar: bar in shown for bar in bars} == bars
