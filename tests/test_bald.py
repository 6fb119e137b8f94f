import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba

from modal_balance.acquisition.information import bald_scores

cases = st.builds(
    random_proba,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(1, 6),
    n_points=st.integers(1, 7),
    n_classes=st.integers(2, 5),
    hard=st.sampled_from([0.0, 0.3, 1.0]),
    sharpness=st.sampled_from([0.0, 0.5, 8.0]),
)


def bald_by_entropies(proba):
    """Entropy of the mean less mean entropy, number by number."""
    n_hypotheses, n_points, n_classes = proba.shape
    values = []
    for x in range(n_points):
        rows = proba[:, x].tolist()
        mean = [sum(row[c] for row in rows) / n_hypotheses for c in range(n_classes)]
        total = -sum(p * math.log(p) for p in mean if p > 0)
        noise = [-sum(p * math.log(p) for p in row if p > 0) for row in rows]
        values.append(total - sum(noise) / n_hypotheses)
    return values


def bald_by_divergences(proba):
    """Mean Kullback-Leibler divergence of each hypothesis's prediction from their mean."""
    n_hypotheses, n_points, n_classes = proba.shape
    values = []
    for x in range(n_points):
        rows = proba[:, x].tolist()
        mean = [sum(row[c] for row in rows) / n_hypotheses for c in range(n_classes)]
        terms = [
            p * math.log(p / m) for row in rows for p, m in zip(row, mean, strict=True) if p > 0
        ]
        values.append(sum(terms) / n_hypotheses)
    return values


@settings(max_examples=60, deadline=None)
@given(proba=cases)
def test_scores_equal_both_forms_of_the_definition(proba):
    found = bald_scores(proba)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(bald_by_entropies(proba), abs=1e-13)
    assert found.tolist() == pytest.approx(bald_by_divergences(proba), abs=1e-13)


@settings(max_examples=60, deadline=None)
@given(proba=cases)
def test_scores_lie_between_0_and_log_c_and_log_s(proba):
    scores = bald_scores(proba)
    assert (scores >= 0).all()
    assert (scores <= math.log(min(proba.shape[0], proba.shape[2])) + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_the_order_of_hypotheses_and_classes_is_irrelevant(proba, seed):
    rng = np.random.default_rng(seed)
    hypotheses, _, classes = (torch.from_numpy(rng.permutation(n)) for n in proba.shape)
    permuted = proba[hypotheses][:, :, classes]
    assert torch.allclose(bald_scores(permuted), bald_scores(proba), atol=1e-12)


def test_noise_that_all_hypotheses_expect_is_not_information():
    proba = random_proba(0, 1, 30, 4)
    assert bald_scores(proba).tolist() == pytest.approx([0] * 30, abs=1e-15)
    scores = bald_scores(proba.expand(9, -1, -1))
    assert scores.tolist() == pytest.approx([0] * 30, abs=1e-15)
    assert (scores >= 0).all()  # not negative by rounding: a negative score has no power


def test_hypotheses_that_contradict_each_other_surely_reach_the_upper_bound():
    proba = torch.eye(3).view(3, 1, 3)
    assert bald_scores(proba).item() == pytest.approx(math.log(3), abs=1e-15)


def test_single_precision_is_summed_in_double():
    proba = random_proba(0, 30, 200, 6).float()
    assert torch.allclose(bald_scores(proba), bald_scores(proba.double()), rtol=0, atol=1e-12)
