import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba

from modal_balance.acquisition import information
from modal_balance.acquisition.information import bald_scores, epig_scores


def random_case(seed, n_hypotheses, n_points, n_targets, n_classes, **options):
    """Predictions on a pool and on targets, by the same hypotheses."""
    proba = random_proba(seed, n_hypotheses, n_points + n_targets, n_classes, **options)
    return proba[:, :n_points], proba[:, n_points:]


cases = st.builds(
    random_case,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(1, 6),
    n_points=st.integers(1, 5),
    n_targets=st.integers(1, 5),
    n_classes=st.integers(2, 4),
    hard=st.sampled_from([0.0, 0.3, 1.0]),
    sharpness=st.sampled_from([0.0, 0.5, 8.0]),
)


def joint_of(p, q):
    """p(y, y*) of two points, each given as (S, C), summed hypothesis by hypothesis."""
    n_classes = p.shape[1]
    joint = np.zeros((n_classes, n_classes))
    for of_point, of_target in zip(p.tolist(), q.tolist(), strict=True):
        for y in range(n_classes):
            for z in range(n_classes):
                joint[y, z] += of_point[y] * of_target[z] / len(p)
    return joint


def epig_by_entropies(proba, target):
    """Mean over targets of H(y) + H(y*) - H(y, y*)."""

    def entropy(values):
        return -sum(v * math.log(v) for v in np.ravel(values) if v > 0)

    scores = []
    for x in range(proba.shape[1]):
        joints = [joint_of(proba[:, x], target[:, t]) for t in range(target.shape[1])]
        terms = [entropy(j.sum(1)) + entropy(j.sum(0)) - entropy(j) for j in joints]
        scores.append(sum(terms) / len(terms))
    return scores


def epig_by_divergences(proba, target):
    """Mean over targets of the divergence of p(y, y*) from p(y) p(y*)."""
    scores = []
    for x in range(proba.shape[1]):
        total = 0.0
        for t in range(target.shape[1]):
            joint = joint_of(proba[:, x], target[:, t])
            apart = np.outer(joint.sum(1), joint.sum(0))
            total += sum(
                j * math.log(j / a) for j, a in zip(joint.flat, apart.flat, strict=True) if j > 0
            )
        scores.append(total / target.shape[1])
    return scores


@settings(max_examples=25, deadline=None)
@given(case=cases)
def test_scores_equal_both_forms_of_the_definition(case):
    found = epig_scores(*case)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(epig_by_entropies(*case), abs=1e-13)
    assert found.tolist() == pytest.approx(epig_by_divergences(*case), abs=1e-13)


@settings(max_examples=40, deadline=None)
@given(case=cases)
def test_no_label_tells_more_about_another_than_about_the_hypothesis(case):
    proba, target = case
    scores = epig_scores(proba, target)
    assert (scores >= 0).all()
    assert (scores <= bald_scores(proba) + 1e-12).all()
    assert (scores <= bald_scores(target).mean() + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(case=cases)
def test_information_is_mutual(case):
    proba, target = case
    there = torch.stack([epig_scores(proba, target[:, [t]]) for t in range(target.shape[1])])
    back = torch.stack([epig_scores(target, proba[:, [x]]) for x in range(proba.shape[1])])
    assert torch.allclose(there, back.T, atol=1e-12)
    assert torch.allclose(there.mean(0), epig_scores(proba, target), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(case=cases, seed=st.integers(0, 10**6))
def test_the_order_of_hypotheses_classes_and_targets_is_irrelevant(case, seed):
    proba, target = case
    rng = np.random.default_rng(seed)
    hypotheses, targets, classes = (torch.from_numpy(rng.permutation(n)) for n in target.shape)
    permuted = epig_scores(proba[hypotheses][:, :, classes], target[hypotheses][:, targets])
    assert torch.allclose(permuted, epig_scores(proba, target), atol=1e-12)


@pytest.mark.parametrize("block_entries", [1, 500, 2**20])
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 1000])
def test_any_chunk_size_gives_the_same_scores(chunk_size, block_entries, monkeypatch):
    proba, target = random_case(0, 10, 100, 30, 4, hard=0.2)
    expected = epig_scores(proba, target)
    monkeypatch.setattr(information, "BLOCK_ENTRIES", block_entries)
    found = epig_scores(proba, target, chunk_size=chunk_size)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_of_very_many_classes_the_memory_is_bounded(monkeypatch):
    proba, target = random_case(0, 3, 70, 2, 40)
    expected = epig_by_entropies(proba[:, :5], target)
    monkeypatch.setattr(information, "BLOCK_ENTRIES", 5000)
    largest = 0
    entropy_of = information.plogp

    def noted(values):
        nonlocal largest
        largest = max(largest, values.numel())
        return entropy_of(values)

    monkeypatch.setattr(information, "plogp", noted)
    assert epig_scores(proba, target)[:5].tolist() == pytest.approx(expected, abs=1e-12)
    assert largest <= 5000


def test_points_unrelated_to_the_targets_score_0_though_bald_prefers_them():
    # Four hypotheses: two bits. The target depends on the first bit, which the first point shows
    # dimly; the second point shows the second bit clearly.
    dim, clear = torch.tensor([[0.7, 0.3], [0.3, 0.7]]), torch.eye(2)
    proba = torch.stack([torch.stack([dim[h // 2], clear[h % 2]]) for h in range(4)])
    target = torch.stack([clear[h // 2].view(1, 2) for h in range(4)])
    related, unrelated = epig_scores(proba, target).tolist()
    assert related > 0.05
    assert unrelated == pytest.approx(0, abs=1e-7)
    assert bald_scores(proba).argmax() == 1


def test_single_precision_is_close_to_double():
    proba, target = random_case(0, 30, 200, 100, 5)
    single = epig_scores(proba.float(), target.float())
    assert torch.allclose(single, epig_scores(proba, target), rtol=0, atol=2e-6)


def test_sums_that_miss_1_by_half_precision_do_not_show():
    proba, target = random_case(0, 30, 50, 40, 5, sharpness=0.5)
    half = epig_scores(proba.half(), target.half())
    assert torch.allclose(half, epig_scores(proba, target), rtol=0.02, atol=1e-4)
    missing = epig_scores(proba * 1.004, target * 0.996)
    assert torch.allclose(missing, epig_scores(proba, target), atol=1e-12)


def test_an_empty_pool_has_no_scores_and_inputs_are_not_changed():
    proba, target = random_case(0, 4, 3, 2, 3)
    copies = proba.clone(), target.clone()
    assert epig_scores(proba[:, :0], target).shape == (0,)
    epig_scores(proba, target)
    assert torch.equal(proba, copies[0])
    assert torch.equal(target, copies[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"proba": torch.ones(4, 3, 3)}, ValueError, "proba has a row that sums to 3"),
        ({"proba_target": torch.ones(4, 2, 3)}, ValueError, "proba_target has a row that sums to"),
        ({"proba_target": [[0.5]]}, TypeError, "proba_target must be a floating-point torch"),
        (
            {"proba_target": torch.full((5, 2, 3), 1 / 3)},
            ValueError,
            "proba_target has 5 hypotheses and 3 classes, proba has 4 and 3. Predict both",
        ),
        ({"proba_target": torch.full((4, 2, 2), 1 / 2)}, ValueError, "4 hypotheses and 2 classes"),
        ({"proba_target": torch.ones(4, 0, 3)}, ValueError, "proba_target has no points"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, got 0"),
        ({"chunk_size": 1.5}, TypeError, "chunk_size must be an integer, got 1.5"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    proba, target = random_case(0, 4, 3, 2, 3)
    with pytest.raises(error, match=message):
        epig_scores(**({"proba": proba, "proba_target": target} | change))
