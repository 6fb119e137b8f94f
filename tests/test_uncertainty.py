import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba

from modal_balance.acquisition.information import bald_scores
from modal_balance.acquisition.uncertainty import (
    entropy,
    entropy_scores,
    margin_scores,
    mean_prediction,
    mean_std_scores,
    plogp,
    variation_ratio_scores,
)

SCORES = [entropy_scores, margin_scores, variation_ratio_scores, mean_std_scores]
every_score = pytest.mark.parametrize("score", SCORES)
cases = st.builds(
    random_proba,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(1, 6),
    n_points=st.integers(1, 7),
    n_classes=st.integers(2, 5),
    hard=st.sampled_from([0.0, 0.3, 1.0]),
    sharpness=st.sampled_from([0.0, 0.5, 8.0]),
)


def score_by_loop(score, proba):
    """The definition, number by number, on lists."""
    n_hypotheses, n_points, n_classes = proba.shape
    values = []
    for x in range(n_points):
        column = [[proba[s, x, c].item() for s in range(n_hypotheses)] for c in range(n_classes)]
        mean = [sum(of_class) / n_hypotheses for of_class in column]
        if score is entropy_scores:
            values.append(-sum(p * math.log(p) for p in mean if p > 0))
        elif score is margin_scores:
            *_, second, first = sorted(mean)
            values.append(1 - (first - second))
        elif score is variation_ratio_scores:
            values.append(1 - max(mean))
        else:
            deviations = [
                math.sqrt(sum((p - m) ** 2 for p in of_class) / n_hypotheses)
                for of_class, m in zip(column, mean, strict=True)
            ]
            values.append(sum(deviations) / n_classes)
    return values


@every_score
@settings(max_examples=40, deadline=None)
@given(proba=cases)
def test_scores_equal_their_definition(score, proba):
    found = score(proba)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(score_by_loop(score, proba), abs=1e-13)


@settings(max_examples=40, deadline=None)
@given(proba=cases)
def test_scores_stay_in_their_range(proba):
    n_classes = proba.shape[2]
    limits = [math.log(n_classes), 1, 1 - 1 / n_classes, 1 / 2]
    for score, limit in zip(SCORES, limits, strict=True):
        assert (score(proba) >= 0).all()
        assert (score(proba) <= limit + 1e-12).all()


@every_score
@settings(max_examples=20, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_the_order_of_hypotheses_and_classes_is_irrelevant(score, proba, seed):
    rng = np.random.default_rng(seed)
    hypotheses, _, classes = (torch.from_numpy(rng.permutation(n)) for n in proba.shape)
    assert torch.allclose(score(proba[hypotheses][:, :, classes]), score(proba), atol=1e-12)


def test_what_each_score_sees():
    sure, unsure = [1.0, 0.0], [0.5, 0.5]
    # Columns: certain; all hypotheses uncertain; hypotheses that contradict each other.
    proba = torch.tensor([[sure, unsure, sure], [sure, unsure, sure[::-1]]])
    assert entropy_scores(proba).tolist() == pytest.approx([0, math.log(2), math.log(2)])
    assert margin_scores(proba).tolist() == [0, 1, 1]
    assert variation_ratio_scores(proba).tolist() == [0, 0.5, 0.5]
    assert mean_std_scores(proba).tolist() == [0, 0, 0.5]


@every_score
def test_single_precision_is_summed_in_double(score):
    proba = random_proba(0, 30, 200, 6).float()
    assert torch.allclose(score(proba), score(proba.double()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("score", [*SCORES, bald_scores])
def test_half_precision_and_empty_pools_are_accepted(score):
    half = random_proba(0, 5, 20, 4).bfloat16()
    assert torch.equal(score(half), score(half.float()))
    assert score(torch.zeros(3, 0, 2)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plogp_is_finite_and_right_from_0_to_1(dtype):
    tiny = torch.finfo(dtype).tiny
    p = torch.tensor([0.0, tiny / 8, tiny, 1e-20, 0.1, 0.5, 1.0], dtype=dtype)
    expected = [x * math.log(x) if x else 0.0 for x in p.tolist()]
    found = plogp(p)
    assert found.isfinite().all()
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=10 * tiny)
    assert p[-2] == 0.5  # the argument is left alone


def test_entropy_of_certainty_is_0_without_a_sign():
    assert str(entropy(torch.eye(3)).tolist()) == "[0.0, 0.0, 0.0]"


def test_mean_prediction_is_the_mean():
    proba = random_proba(0, 7, 20, 3)
    assert torch.allclose(mean_prediction(proba), proba.mean(0), atol=1e-15)


@pytest.mark.parametrize("score", [*SCORES, bald_scores])
@pytest.mark.parametrize(
    ("proba", "error", "message"),
    [
        (torch.ones(2, 3, 4), ValueError, "proba has a row that sums to 4, not 1"),
        (torch.full((2, 3, 4), torch.nan), ValueError, "proba contains NaN"),
        (torch.tensor([[[1.5, -0.5]]]), ValueError, "proba has a negative probability"),
        (torch.full((3, 4), 0.25), ValueError, "proba must have the shape"),
        (np.full((2, 3, 4), 0.25), TypeError, "proba must be a floating-point torch tensor"),
    ],
)
def test_bad_predictions_are_refused(score, proba, error, message):
    with pytest.raises(error, match=message):
        score(proba)
