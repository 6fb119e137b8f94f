import math
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba

from modal_balance.acquisition import batchbald
from modal_balance.acquisition.batchbald import (
    JointInformation,
    _thin,
    batchbald_batch,
    conditional_bald_scores,
    iter_batchbald_batch,
)
from modal_balance.acquisition.greedy import greedy
from modal_balance.acquisition.information import bald_scores
from modal_balance.exceptions import RandomSelectionWarning

cases = st.builds(
    random_proba,
    seed=st.integers(0, 10**6),
    n_hypotheses=st.integers(1, 5),
    n_points=st.integers(4, 6),
    n_classes=st.integers(2, 3),
    hard=st.sampled_from([0.0, 0.3]),
    sharpness=st.sampled_from([0.5, 2.0, 8.0]),
)


def information_by_enumeration(proba, batch):
    """Mutual information of a batch: joint entropy over all C^b configurations, less noise."""
    n_hypotheses, _, n_classes = proba.shape
    rows = proba.tolist()

    def negentropy(values):
        return sum(v * math.log(v) for v in values if v > 0)

    joint = [
        sum(math.prod(row[x][y] for x, y in zip(batch, labels, strict=True)) for row in rows)
        / n_hypotheses
        for labels in product(range(n_classes), repeat=len(batch))
    ]
    noise = sum(negentropy(row[x]) for row in rows for x in batch) / n_hypotheses
    return noise - negentropy(joint)


def greedy_by_enumeration(proba, n_instances):
    """Greedy maximisation of the enumerated information; ties go to the lowest index."""
    batch = []
    for _ in range(n_instances):
        values = [
            -1.0 if x in batch else information_by_enumeration(proba, [*batch, x])
            for x in range(proba.shape[1])
        ]
        batch.append(values.index(max(values)))
    return batch


def after(proba, batch, **options):
    """The objective with some points chosen."""
    objective = JointInformation(proba, **options)
    for point in batch:
        objective.add(point)
    return objective


def exact_batch(proba, n_instances):
    """Return the chosen indices, ignoring the warning that the last ones add nothing."""
    picks = greedy(JointInformation(proba), n_instances, ties="first")
    return [index for index, _ in picks]


# --- exact gains ----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6), size=st.integers(0, 3))
def test_gains_equal_the_enumeration_of_all_configurations(proba, seed, size):
    batch = np.random.default_rng(seed).permutation(proba.shape[1])[:size].tolist()
    gains = after(proba, batch).gains()
    assert gains.dtype == torch.float64
    before = information_by_enumeration(proba, batch)
    for x in set(range(proba.shape[1])) - set(batch):
        exact = information_by_enumeration(proba, [*batch, x]) - before
        assert gains[x].item() == pytest.approx(exact, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(proba=cases)
def test_batch_is_the_greedy_maximiser_of_the_enumerated_information(proba):
    found = exact_batch(proba, 3)
    best = greedy_by_enumeration(proba, 3)
    for size in (1, 2, 3):
        assert information_by_enumeration(proba, found[:size]) == pytest.approx(
            information_by_enumeration(proba, best[:size]), abs=1e-12
        )


@settings(max_examples=40, deadline=None)
@given(proba=cases, n_pending=st.integers(0, 2))
def test_pending_points_count_as_chosen_before_the_batch(proba, n_pending):
    pending = list(range(n_pending))
    pool, predicted = proba[:, n_pending:], proba[:, pending]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomSelectionWarning)  # there may be nothing to gain
        indices, gains = batchbald_batch(pool, 2, pending=predicted, random_state=0)
    picks = (indices + n_pending).tolist()
    for i, pick in enumerate(picks):
        chosen = [*pending, *picks[:i]]
        before = information_by_enumeration(proba, chosen)
        exact = {
            x: information_by_enumeration(proba, [*chosen, x]) - before
            for x in range(n_pending, proba.shape[1])
            if x not in chosen
        }
        assert gains[i].item() == pytest.approx(exact[pick], abs=1e-12)
        assert exact[pick] >= max(exact.values()) - 1e-12
        if i == 0:
            scores = conditional_bald_scores(pool, predicted)
            assert scores.tolist() == pytest.approx(list(exact.values()), abs=1e-12)


def test_conditional_scores_with_nothing_pending_are_bald_scores():
    proba = random_proba(0, 8, 40, 4)
    assert torch.allclose(conditional_bald_scores(proba, None), bald_scores(proba), atol=1e-12)
    assert torch.allclose(
        conditional_bald_scores(proba, proba[:, :0]), bald_scores(proba), atol=1e-12
    )


def test_configurations_of_many_pending_points_are_drawn():
    proba = random_proba(1, 8, 12, 3, sharpness=0.5)
    pending = proba[:, :6]
    exact = conditional_bald_scores(proba, pending)  # 3^6 = 729 configurations
    runs = torch.stack(
        [
            conditional_bald_scores(proba, pending, max_configurations=15, random_state=s)
            for s in range(400)
        ]
    )
    error = runs.std(0) / math.sqrt(len(runs))
    assert (error > 0).all()
    assert ((runs.mean(0) - exact).abs() < 4 * error).all()


@settings(max_examples=30, deadline=None)
@given(proba=cases)
def test_the_first_gains_are_bald_scores(proba):
    assert torch.allclose(JointInformation(proba).gains(), bald_scores(proba), atol=1e-12)
    assert bald_scores(proba)[exact_batch(proba, 1)[0]] >= bald_scores(proba).max() - 1e-12


@settings(max_examples=30, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_gains_shrink_as_points_are_added(proba, seed):
    a, b = np.random.default_rng(seed).permutation(proba.shape[1])[:2].tolist()
    objective = JointInformation(proba)
    first = objective.gains()
    objective.add(a)
    second = objective.gains()
    objective.add(b)
    rest = [x for x in range(proba.shape[1]) if x not in (a, b)]
    assert (second[rest] <= first[rest] + 1e-12).all()
    assert (objective.gains()[rest] <= second[rest] + 1e-12).all()


@settings(max_examples=20, deadline=None)
@given(proba=cases, seed=st.integers(0, 10**6))
def test_the_order_of_hypotheses_and_classes_is_irrelevant(proba, seed):
    rng = np.random.default_rng(seed)
    hypotheses, _, classes = (torch.from_numpy(rng.permutation(n)) for n in proba.shape)
    permuted = after(proba[hypotheses][:, :, classes], [0, 1]).gains()
    assert torch.allclose(permuted, after(proba, [0, 1]).gains(), atol=1e-12)


def test_gains_of_the_batch_sum_to_its_information_and_stay_below_log_s():
    proba = random_proba(0, 6, 30, 3)
    indices, gains = batchbald_batch(proba, 5, random_state=0)
    exact = information_by_enumeration(proba, indices.tolist())
    assert gains.sum().item() == pytest.approx(exact, abs=1e-12)
    assert gains.sum() < math.log(6)


def test_hard_predictions_give_numbers_and_impossible_configurations_are_dropped():
    proba = random_proba(0, 8, 40, 4, hard=1.0)
    objective = after(proba, range(20))  # 4^20 configurations, of which 8 at most are possible
    assert len(objective.joint) <= 8
    assert objective.gains().isfinite().all()
    assert objective.joint.sum().item() == pytest.approx(1, abs=1e-12)


# --- drawn configurations -------------------------------------------------------------------------


@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_drawn_configurations_estimate_the_gains_without_bias(sharpness):
    proba = random_proba(1, 8, 12, 3, sharpness=sharpness)
    batch = [0, 3, 5, 7, 8, 9]
    exact = after(proba, batch).gains()  # 3^6 = 729 configurations
    runs = torch.stack(
        [after(proba, batch, max_configurations=15, random_state=s).gains() for s in range(400)]
    )
    assert (runs >= 0).all()
    error = runs.std(0) / math.sqrt(len(runs))
    assert (error > 0).all()
    assert ((runs.mean(0) - exact).abs() < 4 * error).all()


def test_the_error_falls_with_the_number_of_configurations_until_it_is_0():
    proba = random_proba(2, 8, 12, 3, sharpness=1.0)
    batch = [0, 3, 5, 7, 8, 9]
    exact = after(proba, batch).gains()
    errors = []
    for max_configurations in (10, 40, 160, 640, 729):
        runs = [
            after(proba, batch, max_configurations=max_configurations, random_state=s)
            for s in range(20)
        ]
        errors.append(
            torch.stack([run.gains() - exact for run in runs]).square().mean().sqrt().item()
        )
    assert all(fewer > 2 * more for fewer, more in zip(errors[:-1], errors[1:], strict=True))
    assert errors[-1] < 1e-14


def test_keeping_the_probable_configurations_beats_drawing_all_of_them():
    proba = random_proba(3, 10, 30, 4, sharpness=2.0)
    batch, size = [1, 4, 9, 16, 25], 200
    exact = after(proba, batch).gains()

    def plain(generator):
        """Draw a hypothesis, then labels given it; average H(y_x|m), subtract the mean noise."""
        hypotheses = np.arange(size) % len(proba)
        likelihood = torch.ones(size, len(proba), dtype=torch.float64)
        for x in batch:
            below = proba[:, x].cumsum(1)[hypotheses] < torch.from_numpy(
                generator.uniform(size=(size, 1))
            )
            labels = below.sum(1).clamp_(max=3)
            likelihood *= proba[:, x].T[labels]
        posterior = likelihood / likelihood.sum(1, keepdim=True)
        predictions = torch.einsum("ms,snc->mnc", posterior, proba)
        noise = torch.special.entr(proba).sum(2).mean(0)
        return torch.special.entr(predictions).sum(2).mean(0) - noise

    def error(runs):
        return (torch.stack(runs) - exact).square().mean().sqrt().item()

    plain_error = error([plain(np.random.RandomState(s)) for s in range(30)])
    ours = error(
        [after(proba, batch, max_configurations=size, random_state=s).gains() for s in range(30)]
    )
    assert ours < plain_error / 4


def test_thinning_keeps_the_expectation_of_every_weight():
    values = [0.3, 0, 0.01, 0.02, 0.2, 0.07, 0.1, 0.05, 0.05, 0.2]
    weights = torch.tensor(values, dtype=torch.float64)
    generator = np.random.RandomState(0)
    runs = []
    for _ in range(4000):
        chosen, factor = _thin(weights, 5, generator)
        assert len(chosen) == 5
        run = torch.zeros_like(weights).index_add_(0, chosen, factor * weights[chosen])
        assert run.sum().item() == pytest.approx(1, abs=1e-12)
        runs.append(run)
    runs = torch.stack(runs)
    error = runs.std(0) / math.sqrt(len(runs))
    assert ((runs.mean(0) - weights).abs() <= 4 * error + 1e-12).all()
    # Three weights exceed the common one, (1 - 0.7) / 2 = 0.15: they are kept in every run.
    assert (error == 0).nonzero().flatten().tolist() == [0, 1, 4, 9]
    assert (runs[:, [0, 4, 9]] == weights[[0, 4, 9]]).all()


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.1, 1.0]), min_size=1, max_size=30),
    size=st.integers(1, 30),
)
def test_thinning_never_takes_an_impossible_configuration(weights, size):
    weights = torch.tensor([*weights, 0.5, 0.0], dtype=torch.float64)
    chosen, factor = _thin(weights, size, np.random.RandomState(0))
    assert (weights[chosen] > 0).all()
    assert len(chosen) == min(size, int((weights > 0).sum()))
    assert (factor * weights[chosen]).sum().item() == pytest.approx(weights.sum().item())


def test_neighbours_of_equal_weight_are_drawn_with_labels_of_every_class():
    # Systematic draws, at equal distances, would take the same label from every row.
    chosen, _ = _thin(torch.full((400,), 1 / 400).double(), 100, np.random.RandomState(0))
    assert np.bincount(chosen.numpy() % 4, minlength=4).min() > 15


def test_long_batches_neither_underflow_nor_lose_weight():
    proba = random_proba(0, 10, 300, 5, sharpness=0.2)
    objective = after(proba, range(200), max_configurations=50, random_state=0)
    assert objective.joint.sum().item() == pytest.approx(1, abs=1e-9)
    gains = objective.gains()
    assert gains.isfinite().all()
    assert (gains >= 0).all()


# --- precision, chunks, ties ----------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 50, 256])
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 4096])
def test_any_chunk_size_gives_the_same_picks(chunk_size, block, monkeypatch):
    proba = random_proba(0, 12, 150, 4, sharpness=1.0).float()
    proba[:, 75:] = proba[:, :75]  # every point twice: ties must be broken in the same way
    options = {"max_configurations": 100, "random_state": 3}
    expected = batchbald_batch(proba, 6, **options)
    monkeypatch.setattr(batchbald, "CONFIGURATION_BLOCK", block)
    found = batchbald_batch(proba, 6, chunk_size=chunk_size, **options)
    assert found[0].tolist() == expected[0].tolist()
    assert torch.allclose(found[1], expected[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sharpness", [1.0, 6.0])
def test_float32_picks_what_float64_picks_up_to_ties(sharpness):
    exact = random_proba(0, 20, 300, 5, sharpness=sharpness)
    options = {"max_configurations": 300, "ties": "first", "random_state": 0}
    indices, gains = batchbald_batch(exact.float(), 7, **options)
    objective = JointInformation(exact, max_configurations=300, random_state=0)
    for pick, index in enumerate(indices.tolist()):
        if pick:
            objective.add(int(indices[pick - 1]))
        possible = objective.gains().index_fill(0, indices[:pick], -1)
        assert possible[index] >= possible.max() - 2e-6
        assert gains[pick].item() == pytest.approx(possible[index].item(), abs=2e-6)


def test_half_precision_is_computed_in_float32():
    half = random_proba(0, 10, 50, 3).bfloat16()
    assert torch.equal(
        batchbald_batch(half, 3, ties="first")[0], batchbald_batch(half.float(), 3, ties="first")[0]
    )


def test_random_ties_are_broken_by_the_random_state_and_first_ties_by_index():
    proba = random_proba(0, 10, 1, 3, sharpness=0.5).expand(-1, 10, -1).float()
    first = [batchbald_batch(proba, 1, random_state=s)[0].item() for s in range(30)]
    again = [batchbald_batch(proba, 1, random_state=s)[0].item() for s in range(30)]
    assert first == again
    assert len(set(first)) > 5
    assert batchbald_batch(proba, 3, ties="first")[0].tolist() == [0, 1, 2]


def test_the_random_state_decides_and_global_ones_are_left_alone():
    proba = random_proba(0, 20, 80, 4, sharpness=0.7)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    gains = [
        batchbald_batch(proba, 6, max_configurations=20, ties="first", random_state=s)[1].tolist()
        for s in (0, 0, 1)
    ]
    assert gains[0] == gains[1] != gains[2]
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_inputs_are_not_changed():
    proba = random_proba(0, 10, 50, 3).float()
    copy = proba.clone()
    batchbald_batch(proba, 4, max_configurations=10, random_state=0)
    assert torch.equal(proba, copy)


def test_the_generator_yields_the_batch_pick_by_pick():
    proba = random_proba(0, 10, 50, 3)
    indices, gains = batchbald_batch(proba, 5, random_state=0)
    assert indices.dtype == torch.int64
    picks = iter_batchbald_batch(proba, 5, random_state=0)
    assert list(picks) == list(zip(indices.tolist(), gains.tolist(), strict=True))


# --- nothing to gain ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_disagreement_the_batch_is_random_and_announced(dtype):
    proba = random_proba(0, 1, 40, 5).expand(6, -1, -1).to(dtype)
    batches = []
    for seed in (0, 1):
        with pytest.warns(RandomSelectionWarning, match="8 points were chosen though"):
            indices, gains = batchbald_batch(proba, 8, random_state=seed)
        assert len(set(indices.tolist())) == 8
        assert gains.tolist() == pytest.approx([0] * 8, abs=1e-6)
        batches.append(indices.tolist())
    assert batches[0] != batches[1]


def test_points_chosen_after_the_hypotheses_are_told_apart_are_announced():
    proba = torch.zeros(2, 4, 2)
    proba[0, :, 0] = proba[1, :, 1] = 1  # certain contradictions everywhere: one label tells all
    with pytest.warns(RandomSelectionWarning, match="3 points were chosen though"):
        indices, gains = batchbald_batch(proba, 4, random_state=0)
    assert sorted(indices.tolist()) == [0, 1, 2, 3]
    assert gains.tolist() == pytest.approx([math.log(2), 0, 0, 0])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [batchbald_batch, iter_batchbald_batch])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_instances": 0}, ValueError, "n_instances must be at least 1, got 0"),
        ({"n_instances": 51}, ValueError, "proba has 50 points but n_instances=51. Ask for at m"),
        ({"n_instances": 1.5}, TypeError, "n_instances must be an integer, got 1.5"),
        ({"max_configurations": 0}, ValueError, "max_configurations must be at least 1, got 0"),
        ({"max_configurations": 1e4}, TypeError, "max_configurations must be an integer"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, got 0"),
        ({"ties": "last"}, ValueError, "ties='last' is unknown"),
        ({"proba": torch.ones(10, 50, 3)}, ValueError, "proba has a row that sums to 3"),
        ({"proba": torch.zeros(3, 0, 2)}, ValueError, "proba has 0 points"),
        ({"pending": torch.full((9, 2, 3), 1 / 3)}, ValueError, "pending has 9 hypotheses and 3"),
        ({"pending": torch.ones(10, 2, 3)}, ValueError, "pending has a row that sums to 3"),
        ({"pending": [[0.5, 0.5]]}, TypeError, "pending must be a floating-point .* got list"),
    ],
)
def test_bad_input_is_refused_at_once_and_by_name(function, change, error, message):
    arguments = {"proba": random_proba(0, 10, 50, 3), "n_instances": 2} | change
    with pytest.raises(error, match=message):
        function(**arguments)
