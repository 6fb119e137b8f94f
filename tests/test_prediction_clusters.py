import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_balance.acquisition.low_margin import prediction_clusters_batch
from modal_balance.acquisition.uncertainty import margin_scores

S, C = 6, 3


def groups(sizes, seed=0, spread=1e-3):
    """Return predictions (S, m, C) that are similar within a group, and the groups."""
    rng = np.random.RandomState(seed)
    centres = rng.dirichlet(np.ones(C), size=(len(sizes), S))
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    proba = centres[group] + spread * rng.random_sample((len(group), S, C))
    proba /= proba.sum(2, keepdims=True)
    return torch.from_numpy(proba).transpose(0, 1).contiguous(), group


def least_certain_of_each(proba, group, left):
    uncertain = margin_scores(proba).numpy()
    rows = np.arange(len(group))
    return {max(rows[group == g], key=lambda i: uncertain[i]) for g in left}


@pytest.mark.parametrize("seed", range(5))
def test_one_point_of_each_group_the_least_certain(seed):
    proba, group = groups([4, 1, 7, 3], seed)
    points = prediction_clusters_batch(proba, 4, random_state=seed).tolist()
    assert set(points) == least_certain_of_each(proba, group, range(4))
    uncertain = margin_scores(proba)[points]
    assert uncertain.tolist() == sorted(uncertain.tolist(), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_have_a_point_already_are_left_out(seed):
    proba, group = groups([4, 2, 7, 3], seed)
    first = [int(np.flatnonzero(group == g)[0]) for g in (1, 3)]
    order = np.concatenate([first, np.setdiff1d(np.arange(len(group)), first)])
    points = prediction_clusters_batch(proba[:, order], 2, n_taken=2, random_state=seed)
    expected = least_certain_of_each(proba[:, order], group[order], [0, 2])
    assert set(points.tolist()) == expected


def test_one_point_of_each_of_very_many_groups():
    proba, group = groups(np.random.RandomState(0).randint(1, 7, 300), spread=1e-4)
    proba = proba.tile(4, 1, 1)  # 24 hypotheses: more numbers than components
    points = prediction_clusters_batch(proba, 300, random_state=0)
    expected = least_certain_of_each(proba, group, range(300))
    assert len(set(group[points])) >= 297
    assert len(set(points.tolist()) & expected) >= 297


def test_very_many_of_few_different_points_are_chosen_once_each():
    proba, group = groups([40] * 20, spread=0)
    points = prediction_clusters_batch(proba, 400, random_state=0)
    assert len(set(group[points[:20]])) == 20
    assert len(set(points.tolist())) == 400


def test_votes_will_do():
    answers = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]])  # three points, four trees
    proba = torch.eye(2, dtype=torch.float64)[torch.from_numpy(np.repeat(answers, 3, axis=0)).T]
    points = prediction_clusters_batch(proba, 3, random_state=0)
    assert sorted((points // 3).tolist()) == [0, 1, 2]


def test_equal_points_make_fewer_clusters_and_margins_fill_the_batch():
    one = torch.tensor([[0.6, 0.4], [0.4, 0.6]])
    other = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    proba = torch.stack([one, one, other, one], dim=1)  # (2, 4, 2)
    points = prediction_clusters_batch(proba, 3, random_state=0).tolist()
    assert 2 in points
    assert len(set(points)) == 3


def test_certain_points_are_clustered_as_well():
    proba = torch.eye(3)[torch.arange(6) % 3].expand(4, 6, 3)
    points = prediction_clusters_batch(proba, 3, random_state=0)
    assert sorted((points % 3).tolist()) == [0, 1, 2]


def test_one_point_is_the_least_certain_of_all():
    proba, _ = groups([4, 2, 7, 3])
    points = prediction_clusters_batch(proba, 1, random_state=0)
    assert points.tolist() == [int(margin_scores(proba).argmax())]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_points=st.integers(2, 25),
    n_taken=st.integers(0, 4),
    data=st.data(),
)
def test_points_are_different_and_not_taken(seed, n_points, n_taken, data):
    n_taken = min(n_taken, n_points - 1)
    n_instances = data.draw(st.integers(1, n_points - n_taken))
    rng = np.random.RandomState(seed)
    proba = torch.from_numpy(rng.dirichlet(np.ones(C), size=(S, n_points)))
    before = np.random.get_state()[1].copy()
    points = prediction_clusters_batch(proba, n_instances, n_taken=n_taken, random_state=seed)
    again = prediction_clusters_batch(proba, n_instances, n_taken=n_taken, random_state=seed)
    assert torch.equal(points, again)
    assert len(set(points.tolist())) == n_instances
    assert all(n_taken <= point < n_points for point in points.tolist())
    assert np.array_equal(np.random.get_state()[1], before)


def test_more_points_than_there_are_is_an_error():
    proba, _ = groups([2, 2])
    with pytest.raises(ValueError, match="n_instances=3"):
        prediction_clusters_batch(proba, 3, n_taken=2)
    with pytest.raises((TypeError, ValueError), match="n_taken"):
        prediction_clusters_batch(proba, 1, n_taken=-1)
