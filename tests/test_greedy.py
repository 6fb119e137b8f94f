import pytest
import torch

from modal_balance.acquisition.greedy import best_of, greedy


class Cover:
    """How many numbers are covered by the sets chosen: the textbook submodular function."""

    def __init__(self, *sets):
        self.sets, self.n_points, self.covered = sets, len(sets), set()

    def best(self, order, chosen):
        gains = torch.tensor([len(s - self.covered) for s in self.sets], dtype=torch.float64)
        return best_of(gains, order, chosen, tolerance=1e-12)

    def add(self, point):
        self.covered |= self.sets[point]


def test_picks_the_largest_gain_given_what_was_picked():
    cover = Cover({1, 2, 3, 4}, {1, 2, 3}, {5, 6}, {4})
    assert list(greedy(cover, 2)) == [(0, 4), (2, 2)]


def test_never_picks_a_point_twice():
    picks = greedy(Cover({1}, {1}, {1}, {1}), 4, random_state=0)
    assert sorted(index for index, _ in picks) == [0, 1, 2, 3]


def test_stops_evaluating_after_the_last_pick():
    cover = Cover({1}, {2})
    assert len(list(greedy(cover, 1))) == 1
    assert cover.covered == set()


def test_unknown_ties_are_refused_at_once():
    with pytest.raises(ValueError, match="ties='last' is unknown"):
        greedy(Cover({1}), 1, ties="last")
