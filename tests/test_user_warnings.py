"""Warnings point at the user's line, whatever lies in between."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy import DIGITS, fitted_classifier, forest_of, quick

from modal_balance import RandomSelectionWarning, balance_query, batchbald_query

SAME = np.zeros((6, 64))
FEW = {"n_samples": 4, "random_state": 0}


@pytest.mark.parametrize("parameters", [{"tau": 1.0}, {"tau": 0.0, "max_edges": 1}])
def test_progress_bars_and_generators_are_passed_over(parameters):
    rows = np.concatenate([SAME, DIGITS[0][:1]])
    with pytest.warns(RandomSelectionWarning) as caught:
        balance_query(forest_of(y=None), rows[:, :4], 6, **parameters, **FEW)
    assert {warning.filename for warning in caught} == {__file__}


def test_batchbald_warns_at_the_query():
    with pytest.warns(RandomSelectionWarning, match="add no information") as caught:
        batchbald_query(forest_of(), SAME[:, :4], 5, **FEW)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.modal
def test_a_learner_in_between_is_passed_over():
    from modAL.models import ActiveLearner

    learner = ActiveLearner(fitted_classifier(), query_strategy=balance_query)
    with pytest.warns(RandomSelectionWarning) as caught:
        learner.query(SAME, n_instances=2, tau=1.0, **FEW)
    assert caught[0].filename == __file__


def test_a_pipeline_in_between_is_passed_over():
    X, y = DIGITS
    alone = [int(np.flatnonzero(y == label)[0]) for label in range(10)]
    with pytest.warns(UserWarning, match="None of the 10 rows can be held out") as caught:
        make_pipeline(StandardScaler(), quick(n_steps=1)).fit(X[alone], y[alone])
    assert caught[0].filename == __file__
