from itertools import combinations
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba

from modal_balance import balance_scores
from modal_balance.equivalence import all_pairs
from modal_balance.reference.finite import (
    cell_sums,
    check_noise_free,
    ec2_scores,
    eced_scores,
    information_gain_scores,
)

seeds = st.integers(0, 10**6)
many = settings(max_examples=40, deadline=None)


def random_table(seed, *, hard=0.3, n_hypotheses=6, n_points=4, n_classes=3):
    """Predictions, cells and a prior, some of whose probabilities are 0."""
    rng = np.random.default_rng(seed)
    proba = random_proba(seed, n_hypotheses, n_points, n_classes, hard=hard)
    cells = torch.from_numpy(rng.integers(-1, 3, size=n_hypotheses))
    prior = rng.random(n_hypotheses) * (rng.random(n_hypotheses) < 0.8)
    prior[0] += 0.1
    return proba, cells, torch.from_numpy(prior / prior.sum())


def cross_edges(cells, prior):
    """Every pair in different cells, and the weights p(h) p(h')."""
    edges = [(k, l) for k, l in combinations(range(len(cells)), 2) if cells[k] != cells[l]]
    edges = torch.tensor(edges, dtype=torch.int64).view(-1, 2)
    return edges, prior[edges[:, 0]] * prior[edges[:, 1]]


def eced_by_loops(proba, cells, prior, offset):
    """Return ECED as in Eq. 1: edge by edge, and the offset as a second sum."""
    proba, prior = proba.numpy(), prior.numpy()
    n_hypotheses, n_points, n_classes = proba.shape
    scores = []
    for x in range(n_points):
        score = 0.0
        for y in range(n_classes):
            ratio = [proba[h, x, y] / max(proba[h, x]) for h in range(n_hypotheses)]
            best = max(ratio[h] for h in range(n_hypotheses) if prior[h] > 0)
            probability = sum(prior[h] * proba[h, x, y] for h in range(n_hypotheses))
            for k, l in combinations(range(n_hypotheses), 2):
                if cells[k] != cells[l]:
                    discount = 1 - ratio[k] * ratio[l]
                    discount -= (1 - best**2) if offset else 0
                    score += probability * prior[k] * prior[l] * discount
        scores.append(score)
    return scores


def ec2_by_simulation(proba, cells, prior):
    """Let every hypothesis be the truth in turn; count the weight of the edges its label cuts."""
    labels = proba.argmax(-1)
    edges, weights = cross_edges(cells, prior)
    scores = []
    for x in range(proba.shape[1]):
        score = 0.0
        for truth in range(len(proba)):
            consistent = labels[:, x] == labels[truth, x]
            cut = ~(consistent[edges[:, 0]] & consistent[edges[:, 1]])
            score += (prior[truth] * weights[cut].sum()).item()
        scores.append(score)
    return scores


# --- ECED -----------------------------------------------------------------------------------------


@many
@given(seed=seeds, offset=st.booleans(), hard=st.sampled_from([0, 0.3, 1]))
def test_eced_is_the_sum_over_edges_and_labels(seed, offset, hard):
    proba, cells, prior = random_table(seed, hard=hard)
    expected = eced_by_loops(proba, cells, prior, offset)
    assert eced_scores(proba, cells, prior, offset=offset).tolist() == pytest.approx(
        expected, abs=1e-14
    )


@many
@given(seed=seeds)
def test_eced_without_offset_is_balance_with_the_edges_between_cells(seed):
    proba, cells, _ = random_table(seed)
    uniform = torch.full((6,), 1 / 6, dtype=torch.float64)
    edges, weights = cross_edges(cells, uniform)
    if len(edges):
        expected = balance_scores(proba, edges, weights)
        assert torch.allclose(eced_scores(proba, cells, offset=False), expected, rtol=0, atol=1e-14)


@many
@given(seed=seeds)
def test_a_prior_counts_hypotheses_as_often_as_copies_would(seed):
    proba, cells, _ = random_table(seed)
    copies = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, size=6))
    copies[0] += 1
    prior = copies / copies.sum().double()
    repeated = proba.repeat_interleave(copies, dim=0), cells.repeat_interleave(copies)
    for score in (eced_scores, information_gain_scores):
        assert torch.allclose(score(proba, cells, prior), score(*repeated), rtol=0, atol=1e-14)


@many
@given(seed=seeds)
def test_offset_is_what_a_point_scores_on_which_all_agree(seed):
    proba, cells, prior = random_table(seed, hard=0)
    agreed = proba[:1].expand(6, -1, -1)
    assert eced_scores(agreed, cells, prior).tolist() == pytest.approx([0] * 4, abs=1e-15)
    _, weights = cross_edges(cells, prior)
    if weights.sum() > 0:
        assert (eced_scores(agreed, cells, prior, offset=False) > 0).all()
    # Elsewhere it subtracts something, but scores are not negative.
    with_offset = eced_scores(proba, cells, prior)
    assert (with_offset >= 0).all()
    assert (with_offset <= eced_scores(proba, cells, prior, offset=False) + 1e-15).all()
    assert (with_offset <= weights.sum() + 1e-15).all()


@many
@given(seed=seeds)
def test_names_of_cells_and_order_of_hypotheses_do_not_matter(seed):
    proba, cells, prior = random_table(seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(6))
    renamed = torch.tensor([40, -7, 5, 0])[cells + 1]
    expected = eced_scores(proba, cells, prior)
    assert torch.allclose(eced_scores(proba, renamed, prior), expected)
    assert torch.allclose(eced_scores(proba[order], cells[order], prior[order]), expected)


def test_one_cell_has_nothing_to_tell_apart():
    proba, _, prior = random_table(0)
    assert eced_scores(proba, torch.zeros(6, dtype=torch.int64), prior).tolist() == [0] * 4


# --- EC2 ------------------------------------------------------------------------------------------


@many
@given(seed=seeds)
def test_ec2_is_the_mean_weight_cut_over_all_truths(seed):
    proba, cells, prior = random_table(seed, hard=1)
    assert ec2_scores(proba, cells, prior).tolist() == pytest.approx(
        ec2_by_simulation(proba, cells, prior), abs=1e-14
    )


@many
@given(seed=seeds)
def test_without_noise_eced_is_ec2_and_its_offset_vanishes(seed):
    proba, cells, prior = random_table(seed, hard=1)
    expected = ec2_scores(proba, cells, prior)
    assert torch.allclose(eced_scores(proba, cells, prior), expected, rtol=0, atol=1e-15)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_eced_tends_to_ec2_with_the_noise(seed):
    proba, cells, prior = random_table(seed, hard=1)
    expected = ec2_scores(proba, cells, prior)
    errors = [
        (eced_scores((1 - noise) * proba + noise / 3, cells, prior) - expected).abs().max().item()
        for noise in (1e-3, 1e-5)
    ]
    assert errors[0] < 5e-3
    assert errors[1] < 5e-5


@many
@given(seed=seeds)
def test_ec2_is_adaptive_submodular(seed):
    # After a label, hypotheses have probabilities p(h) / P and edges p(h) p(h') / P^2.
    proba, cells, prior = random_table(seed, hard=1)
    first = ec2_scores(proba, cells, prior)
    for label in range(3):
        joint = prior * proba[:, 0, label]
        if (probability := joint.sum()) > 0:
            then = ec2_scores(proba, cells, joint / probability) * probability**2
            assert (then <= first + 1e-14).all()


def test_ec2_refuses_noise():
    proba, cells, prior = random_table(0, hard=0)
    with pytest.raises(ValueError, match="prediction of 0.*Use eced_scores"):
        ec2_scores(proba, cells, prior)


# --- information gain -----------------------------------------------------------------------------


@many
@given(seed=seeds, hard=st.sampled_from([0, 0.3, 1]))
def test_information_gain_is_the_divergence_of_the_joint_from_the_product(seed, hard):
    proba, _, prior = random_table(seed, hard=hard)
    expected = []
    for x in range(4):
        information = 0.0
        for y in range(3):
            marginal = sum((prior[h] * proba[h, x, y]).item() for h in range(6))
            for h in range(6):
                joint = (prior[h] * proba[h, x, y]).item()
                if joint > 0:
                    information += joint * log(joint / (prior[h].item() * marginal))
        expected.append(information)
    assert information_gain_scores(proba, prior=prior).tolist() == pytest.approx(
        expected, abs=1e-14
    )


def test_information_gain_prefers_the_even_split_whatever_the_cells():
    # Point x puts x + 1 of 8 hypotheses on one side.
    proba = torch.zeros(8, 7, 2)
    for x in range(7):
        proba[: x + 1, x, 1] = proba[x + 1 :, x, 0] = 1
    cells = torch.tensor([0, 1, 1, 1, 1, 1, 1, 1])
    scores = information_gain_scores(proba, cells)
    assert scores.argmax() == 3
    assert scores[3].item() == pytest.approx(log(2))
    assert ec2_scores(proba, cells).argmax() == 0


# --- pieces and bad input -------------------------------------------------------------------------


def test_cell_sums_add_up_over_the_hypotheses_of_each_cell():
    values = torch.arange(12.0).view(4, 3)
    sums = cell_sums(values, torch.tensor([1, 0, 1, 1]))
    assert sums.tolist() == [values[1].tolist(), (values[0] + values[2] + values[3]).tolist()]


def test_inputs_are_not_changed():
    table = random_table(0, hard=1)
    copies = [tensor.clone() for tensor in table]
    for score in (eced_scores, ec2_scores, information_gain_scores):
        score(*table)
    assert all(torch.equal(*pair) for pair in zip(table, copies, strict=True))


def test_float32_scores_are_computed_in_float64():
    proba, cells, prior = random_table(0)
    scores = eced_scores(proba.float(), cells, prior.float())
    assert scores.dtype == torch.float64
    assert torch.allclose(scores, eced_scores(proba, cells, prior), atol=1e-6)


@pytest.mark.parametrize("score", [eced_scores, ec2_scores, information_gain_scores])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"proba": torch.ones(6, 4, 3)}, ValueError, "proba has a row that sums to 3"),
        (
            {"cells": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            r"cells must have the shape \(6",
        ),
        ({"cells": [0] * 6}, TypeError, "cells must be an int64 torch tensor, got list"),
        ({"prior": torch.ones(5) / 5}, ValueError, r"prior must be a tensor of shape \(6,\)"),
        ({"prior": [1 / 6] * 6}, ValueError, "prior must be a tensor of shape .*got list"),
        ({"prior": torch.ones(6)}, ValueError, "prior must hold probabilities"),
        ({"prior": torch.tensor([2.0, -1, 0, 0, 0, 0])}, ValueError, "prior must hold prob"),
        ({"prior": torch.full((6,), torch.nan)}, ValueError, "prior must hold probabilities"),
    ],
)
def test_bad_input_is_refused_by_name(score, change, error, message):
    proba, cells, prior = random_table(0, hard=1)
    arguments = {"proba": proba, "cells": cells, "prior": prior} | change
    with pytest.raises(error, match=message):
        score(**arguments)


def test_noise_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"prediction of 0\.25, .* Round them\."):
        check_noise_free(torch.tensor([[[0.25, 0.75]]]), hint="Round them.")


def test_cells_of_a_traversal_and_their_edges_agree():
    # Edges from cells and cells directly give the same scores.
    proba, _, _ = random_table(3)
    cells = torch.tensor([0, 0, 1, 2, 2, 2])
    pairs = all_pairs(6)
    edges = pairs[cells[pairs[:, 0]] != cells[pairs[:, 1]]]
    weights = torch.full((len(edges),), 1 / 36, dtype=torch.float64)
    assert torch.allclose(
        balance_scores(proba, edges, weights), eced_scores(proba, cells, offset=False)
    )
