import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_balance.acquisition.greedy import best_of, greedy
from modal_balance.acquisition.top import power_batch, top_batch

BATCHES = [top_batch, power_batch]
every_batch = pytest.mark.parametrize("batch", BATCHES)


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


class Modular:
    """Scores that do not change as points are chosen."""

    def __init__(self, scores):
        self.scores, self.n_points = scores, len(scores)

    def best(self, order, chosen):
        return best_of(self.scores, order, chosen, tolerance=1e-12)

    def add(self, point):
        pass


# --- both -----------------------------------------------------------------------------------------


@every_batch
def test_indices_are_distinct_and_come_with_their_scores(batch):
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0))
    for n_instances in (1, 7, 50):
        indices, chosen = batch(scores, n_instances, random_state=0)
        assert indices.dtype == torch.int64
        assert chosen.dtype == torch.float64
        assert len(set(indices.tolist())) == n_instances
        assert torch.equal(chosen, scores[indices].double())


@every_batch
def test_the_random_state_decides_and_global_ones_are_left_alone(batch):
    scores = torch.ones(40)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    batches = [batch(scores, 5, random_state=seed)[0].tolist() for seed in (0, 0, 1)]
    assert batches[0] == batches[1] != batches[2]
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.equal(scores, torch.ones(40))


@every_batch
@pytest.mark.parametrize(
    ("scores", "n_instances", "error", "message"),
    [
        (torch.ones(3), 0, ValueError, "n_instances must be at least 1, got 0"),
        (torch.ones(3), 4, ValueError, "scores has 3 points but n_instances=4. Ask for at most 3"),
        (torch.ones(0), 1, ValueError, "scores has 0 points but n_instances=1"),
        (torch.ones(3), 2.0, TypeError, "n_instances must be an integer, got 2.0"),
        (torch.ones(3), True, TypeError, "n_instances must be an integer, got True"),
        (torch.ones(3, 1), 1, ValueError, r"shape \(points,\), got \(3, 1\)"),
        (torch.tensor([1.0, torch.nan]), 1, ValueError, "scores contains NaN or infinity"),
        (torch.tensor([1.0, torch.inf]), 1, ValueError, "scores contains NaN or infinity"),
        (torch.tensor([1, 2]), 1, TypeError, "got a tensor of torch.int64"),
        ([1.0, 2.0], 1, TypeError, "scores must be a floating-point torch tensor, got list"),
    ],
)
def test_bad_input_is_refused_by_name(batch, scores, n_instances, error, message):
    with pytest.raises(error, match=message):
        batch(scores, n_instances)


# --- the best -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.7, 2.0]), min_size=1, max_size=20), st.data())
def test_top_batch_is_the_greedy_batch_of_scores_that_stay(values, data):
    scores = doubles(*values)
    n_instances = data.draw(st.integers(1, len(values)))
    for ties in ("first", "random"):
        picks = greedy(Modular(scores), n_instances, ties=ties, random_state=5)
        indices, chosen = top_batch(scores, n_instances, ties=ties, random_state=5)
        assert list(zip(indices.tolist(), chosen.tolist(), strict=True)) == list(picks)


def test_top_batch_takes_negative_scores():
    assert top_batch(doubles(-3, -1, -2, 0), 3)[0].tolist() == [3, 1, 2]


def test_first_ties_go_by_index_and_random_ties_by_the_random_state():
    scores = doubles(1, 2, 2 * (1 - 1e-14), 2, 1)
    assert top_batch(scores, 5, ties="first")[0].tolist() == [1, 2, 3, 0, 4]
    batches = {tuple(top_batch(scores, 2, random_state=s)[0].tolist()) for s in range(60)}
    assert batches == {(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)}


def test_the_tolerance_is_that_of_the_precision():
    nearly = doubles(1, 1 + 1e-8)
    assert top_batch(nearly, 1, ties="first")[0].item() == 1
    assert top_batch((nearly * 4).float(), 1, ties="first")[0].item() == 0
    assert top_batch(doubles(1e-20, 2e-20), 1, ties="first")[0].item() == 1


def test_unknown_ties_are_refused():
    with pytest.raises(ValueError, match="ties='last' is unknown. Choose 'random' or 'first'"):
        top_batch(torch.ones(3), 1, ties="last")


# --- a draw ---------------------------------------------------------------------------------------


def first_draws(scores, coldness, n_draws=4000):
    generator = np.random.RandomState(0)
    draws = [
        power_batch(scores, 2, coldness=coldness, random_state=generator)[0].tolist()
        for _ in range(n_draws)
    ]
    return np.array(draws)


@pytest.mark.parametrize("coldness", [0.0, 0.5, 1.0, 3.0])
def test_points_are_drawn_in_proportion_to_a_power_of_their_score(coldness):
    scores = doubles(0.5, 1.0, 2.0, 0.25)
    draws = first_draws(scores, coldness)
    expected = (scores**coldness).numpy() / (scores**coldness).sum().item()
    shares = np.bincount(draws[:, 0], minlength=4) / len(draws)
    assert shares == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(draws)))
    # and the second among those left
    rest = draws[draws[:, 0] == 2, 1]
    left = np.delete(expected, 2) / np.delete(expected, 2).sum()
    shares = np.delete(np.bincount(rest, minlength=4), 2) / len(rest)
    assert shares == pytest.approx(left, abs=4 * np.sqrt(0.25 / len(rest)))


def test_scores_of_0_come_last_and_in_random_order():
    scores = doubles(0, 1e-300, 0, 5, 0)
    orders = {
        tuple(power_batch(scores, 5, coldness=0.1, random_state=s)[0].tolist()) for s in range(80)
    }
    assert {frozenset(order[:2]) for order in orders} == {frozenset({1, 3})}
    assert len({order[2:] for order in orders}) == 6


def test_coldness_0_does_not_see_the_scores():
    firsts = first_draws(doubles(0, 0, 1, 9), 0.0)[:, 0]
    shares = np.bincount(firsts, minlength=4) / len(firsts)
    assert shares == pytest.approx([0.25] * 4, abs=0.03)


def test_great_coldness_gives_the_best():
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0))
    expected = top_batch(scores, 50)[0]
    assert torch.equal(power_batch(scores, 50, coldness=1e9, random_state=0)[0], expected)


@pytest.mark.parametrize("coldness", [-0.5, torch.inf, torch.nan])
def test_bad_coldness_is_refused(coldness):
    with pytest.raises(ValueError, match="coldness must be a finite number >= 0, got"):
        power_batch(torch.ones(3), 1, coldness=coldness)


@pytest.mark.parametrize("coldness", ["1", None, torch.ones(3), True])
def test_coldness_that_is_no_number_is_refused(coldness):
    with pytest.raises(TypeError, match="coldness must be a finite number >= 0, got"):
        power_batch(torch.ones(3), 1, coldness=coldness)


def test_negative_scores_have_no_power():
    with pytest.raises(ValueError, match=r"scores has a negative value \(-0.5\).*bald_scores"):
        power_batch(doubles(1, -0.5), 1)
