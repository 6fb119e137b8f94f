from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_proba
from scipy.stats import chisquare
from torch import nn
from toy import digits, fitted_net

from modal_balance.acquisition.diversity import badge_batch, coreset_batch, gradient_embedding
from modal_balance.hypotheses.last_layer import last_layer_features


def random_pool(seed, n_points=30, n_features=4, n_classes=3):
    """Return features (N, D) and predictions (N, C), float64, without duplicates."""
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(n_points, n_features)))
    return features, random_proba(seed, 1, n_points, n_classes)[0]


def integer_pool(seed, n_points, n_features=2):
    """Return points on a small grid, with many duplicates and ties, and exact distances."""
    grid = np.random.default_rng(seed).integers(0, 4, size=(n_points, n_features))
    return torch.from_numpy(grid).double()


def different(indices):
    return len(set(indices.tolist())) == len(indices)


def radius(features, centres):
    """Largest distance of a point from its nearest centre."""
    return np.linalg.norm(features[:, None].numpy() - centres.numpy(), axis=2).min(1).max()


# --- BADGE: the embedding -------------------------------------------------------------------------


def test_embedding_is_the_gradient_of_the_loss_in_the_output_layers_weight():
    X, _ = digits()
    net = fitted_net()
    module, out = net.module_.eval(), net.module_[-1]
    embedding = gradient_embedding(*last_layer_features(net, X[:20]))
    assert embedding.shape == (20, 4 * 32)
    for row, expected in zip(torch.from_numpy(X[:20]), embedding, strict=True):
        logits = module(row[None])
        loss = nn.functional.cross_entropy(logits, logits.argmax(1))
        (gradient,) = torch.autograd.grad(loss, out.weight)
        assert torch.allclose(gradient.flatten(), expected, atol=1e-6)
        assert gradient.abs().max() > 1e-3
    tied = gradient_embedding(torch.ones(1, 1), torch.tensor([[0.2, 0.4, 0.4]]))
    assert torch.allclose(tied, torch.tensor([[0.2, -0.6, 0.4]]))  # the first label counts


# --- BADGE: the batch -----------------------------------------------------------------------------


def test_the_first_point_has_the_largest_gradient_and_scores_are_distances():
    features, proba = random_pool(0)
    embedding = gradient_embedding(features, proba).numpy()
    indices, scores = badge_batch(features, proba, 8, random_state=0)
    assert indices.dtype == torch.int64
    assert scores.dtype == torch.float64
    chosen = embedding[indices]
    assert indices[0] == np.linalg.norm(embedding, axis=1).argmax()
    assert scores[0] == pytest.approx(np.linalg.norm(chosen[0]))
    for i in range(1, 8):
        nearest = np.linalg.norm(chosen[:i] - chosen[i], axis=1).min()
        assert scores[i] == pytest.approx(nearest)


def test_further_points_are_drawn_by_squared_distance():
    features, proba = random_pool(3, n_points=6)
    embedding = gradient_embedding(features, proba).numpy()
    n_draws = 1500
    draws = [badge_batch(features, proba, 3, random_state=s)[0].tolist() for s in range(n_draws)]
    first = draws[0][0]
    squares = ((embedding - embedding[first]) ** 2).sum(1)
    expected = squares / squares.sum()
    observed = np.bincount([draw[1] for draw in draws], minlength=6) / n_draws
    assert np.abs(observed - expected).max() < 4 * 0.5 / np.sqrt(n_draws)
    second = int(expected.argmax())
    both = np.minimum(squares, ((embedding - embedding[second]) ** 2).sum(1))
    third = [draw[2] for draw in draws if draw[1] == second]
    observed = np.bincount(third, minlength=6) / len(third)
    assert np.abs(observed - both / both.sum()).max() < 4 * 0.5 / np.sqrt(len(third))


def batches_by_definition(embedding, pending, n_instances):
    """Return the probability of every ordered batch of k-means++."""
    first = max(range(len(embedding)), key=lambda i: float((embedding[i] ** 2).sum()))
    batches = {(): 1.0} if len(pending) else {(first,): 1.0}
    while len(next(iter(batches))) < n_instances:
        longer = {}
        for batch, probability in batches.items():
            centres = [*pending, *(embedding[i] for i in batch)]
            squares = [min(float(((g - c) ** 2).sum()) for c in centres) for g in embedding]
            for i, square in enumerate(squares):
                if i not in batch:
                    longer[(*batch, i)] = probability * square / sum(squares)
        batches = longer
    return batches


@pytest.mark.parametrize("n_pending", [0, 1, 2])
def test_batches_come_with_the_probabilities_of_their_definition(n_pending):
    features, proba = random_pool(3, n_points=5 + n_pending)
    embedding = gradient_embedding(features, proba).numpy()
    pool = features[n_pending:], proba[n_pending:]
    pending = {"pending_features": features[:n_pending], "pending_proba": proba[:n_pending]}
    n_instances = 2 if n_pending else 3
    expected = batches_by_definition(embedding[n_pending:], embedding[:n_pending], n_instances)
    generator = np.random.RandomState(0)
    n_draws = 1000
    drawn = Counter(
        tuple(badge_batch(*pool, n_instances, **pending, random_state=generator)[0].tolist())
        for _ in range(n_draws)
    )
    assert set(drawn) <= set(expected)
    # The chi-squared distribution holds for frequent batches; the others are merged.
    often = [batch for batch, probability in expected.items() if probability * n_draws >= 10]
    counts = [drawn[batch] for batch in often]
    means = [expected[batch] * n_draws for batch in often]
    counts, means = [*counts, n_draws - sum(counts)], [*means, n_draws - sum(means)]
    if means[-1] < 5:
        counts[-2:], means[-2:] = [sum(counts[-2:])], [sum(means[-2:])]
    assert chisquare(counts, means).pvalue > 0.001


def test_scores_beside_pending_points_are_distances_to_the_nearest():
    features, proba = random_pool(0, n_points=30)
    embedding = gradient_embedding(features, proba).numpy()
    indices, scores = badge_batch(
        features[5:],
        proba[5:],
        4,
        pending_features=features[:5].float(),
        pending_proba=proba[:5].float(),
        random_state=0,
    )
    for i in range(4):
        centres = np.concatenate([embedding[:5], embedding[5:][indices[:i].numpy()]])
        nearest = np.linalg.norm(centres - embedding[5 + indices[i]], axis=1).min()
        assert scores[i].item() == pytest.approx(nearest, rel=1e-5)


def test_twins_of_pending_points_are_chosen_last_and_at_random():
    features, proba = random_pool(0, n_points=6)
    pending = {"pending_features": features[:4], "pending_proba": proba[:4]}
    tails = set()
    for seed in range(20):
        indices, scores = badge_batch(features, proba, 4, **pending, random_state=seed)
        assert set(indices[:2].tolist()) == {4, 5}
        assert (scores > 0).tolist() == [True, True, False, False]
        tails.add(tuple(indices[2:].tolist()))
    assert len(tails) > 5
    indices, scores = badge_batch(features[:4], proba[:4], 4, **pending, random_state=0)
    assert sorted(indices.tolist()) == [0, 1, 2, 3]
    assert scores.tolist() == [0] * 4


def test_no_pending_points_are_as_good_as_none():
    pool = random_pool(0)
    empty = {"pending_features": pool[0][:0], "pending_proba": pool[1][:0]}
    expected = badge_batch(*pool, 6, random_state=0)
    found = badge_batch(*pool, 6, **empty, random_state=0)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize(
    ("pending_features", "pending_proba", "error", "message"),
    [
        (
            torch.ones(1, 2),
            None,
            ValueError,
            "pending_features and pending_proba must be given together",
        ),
        (None, torch.ones(1, 2) / 2, ValueError, "pending_features and pending_proba must be giv"),
        (torch.ones(1, 3), torch.ones(1, 2) / 2, ValueError, "pending_features has 3 columns but"),
        (torch.ones(1, 2), torch.ones(1, 4) / 4, ValueError, "pending_proba has 4 columns but pr"),
        (torch.ones(1, 2), torch.ones(2, 2) / 2, ValueError, r"pending_proba must .* \(1, class"),
        (torch.ones(1, 2), torch.ones(1, 2), ValueError, "pending_proba has a row that sums to 2"),
        ([[1.0, 1.0]], torch.ones(1, 2) / 2, TypeError, "pending_features must be a floating-po"),
    ],
)
def test_bad_pending_points_are_refused(pending_features, pending_proba, error, message):
    pool = torch.ones(5, 2), torch.full((5, 2), 0.5)
    with pytest.raises(error, match=message):
        badge_batch(*pool, 1, pending_features=pending_features, pending_proba=pending_proba)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_distinct=st.integers(1, 6),
    copies=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_badge_takes_every_different_gradient_before_a_duplicate(seed, n_distinct, copies, dtype):
    features, proba = (part.to(dtype) for part in random_pool(seed, n_distinct))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n_distinct * copies))
    order %= n_distinct
    n_points = len(order)
    indices, scores = badge_batch(features[order], proba[order], n_points, random_state=seed)
    assert sorted(indices.tolist()) == list(range(n_points))
    assert sorted(order[indices[:n_distinct]].tolist()) == list(range(n_distinct))
    assert (scores[:n_distinct] > 0).all()
    assert (scores[n_distinct:] == 0).all()


def test_badge_fills_up_at_random_where_all_gradients_are_alike():
    alike = torch.ones(10, 2), torch.full((10, 2), 0.5)
    certain = torch.rand(10, 2), torch.tensor([1.0, 0.0]).expand(10, 2)
    for pool in (alike, certain):
        batches = [badge_batch(*pool, 4, random_state=seed) for seed in range(60)]
        assert all(different(indices) for indices, _ in batches)
        assert all((scores[1:] == 0).all() for _, scores in batches)
        chosen = torch.stack([indices for indices, _ in batches])
        for place in range(4):  # no index is preferred at any place of the batch
            assert len(chosen[:, place].unique()) == 10
        again, _ = badge_batch(*pool, 4, random_state=5)
        assert torch.equal(again, batches[5][0])


def test_badge_avoids_what_the_model_is_sure_of():
    features, proba = random_pool(0, n_points=40)
    proba[10:] = torch.eye(3, dtype=torch.float64)[proba[10:].argmax(1)]
    indices, _ = badge_batch(features, proba, 11, random_state=0)
    assert set(range(10)) < set(indices.tolist())  # and one of the others, whose gradients are 0


# --- core-set -------------------------------------------------------------------------------------


def greedy_centres(features, labelled, n_instances, first=None):
    """Farthest-first traversal by its definition; ties go to the lowest index."""
    features, labelled = features.numpy(), labelled.numpy()
    chosen, distances = ([], []) if first is None else ([first], [np.inf])
    while len(chosen) < n_instances:
        best, furthest = -1, -1.0
        for x in range(len(features)):
            centres = [*labelled, *features[chosen]]
            nearest = min(np.sqrt(((features[x] - c) ** 2).sum()) for c in centres)
            if x not in chosen and nearest > furthest:
                best, furthest = x, nearest
        chosen.append(best)
        distances.append(furthest)
    return chosen, distances


@pytest.mark.parametrize("n_labelled", [0, 1, 7])
def test_coreset_equals_the_slow_loop(n_labelled):
    for seed in range(5):
        features, _ = random_pool(seed)
        labelled, _ = random_pool(seed + 100, n_points=n_labelled)
        indices, distances = coreset_batch(
            features, 10, labelled_features=labelled if n_labelled else None, random_state=seed
        )
        first = None if n_labelled else int(indices[0])
        expected, expected_distances = greedy_centres(features, labelled, 10, first)
        assert indices.tolist() == expected
        assert distances.tolist() == pytest.approx(expected_distances)
        assert indices.dtype == torch.int64
        assert distances.dtype == torch.float64


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_points=st.integers(1, 9),
    n_labelled=st.integers(0, 3),
    share=st.floats(0, 1),
)
def test_the_radius_is_at_most_twice_the_best(seed, n_points, n_labelled, share):
    n_instances = 1 + int(share * (n_points - 1))
    features = integer_pool(seed, n_points)
    labelled = integer_pool(seed + 1, n_labelled)
    indices, distances = coreset_batch(
        features, n_instances, labelled_features=labelled, random_state=seed
    )
    assert different(indices)
    assert (distances.diff() <= 0).all()
    best = min(
        radius(features, torch.cat([labelled, features[list(batch)]]))
        for batch in combinations(range(n_points), n_instances)
    )
    assert radius(features, torch.cat([labelled, features[indices]])) <= 2 * best + 1e-9


def test_coreset_takes_duplicates_last_and_at_random():
    features, _ = random_pool(0)
    indices, distances = coreset_batch(features, 30, labelled_features=features[10:])
    assert sorted(indices[:10].tolist()) == list(range(10))
    assert (distances[10:] == 0).all()

    distinct, _ = random_pool(0, n_points=6)
    order = np.random.default_rng(0).permutation(24) % 6
    fills = set()
    for seed in range(40):
        indices, distances = coreset_batch(distinct[order], 10, random_state=seed)
        assert different(indices)
        assert sorted(order[indices[:6]]) == list(range(6))
        assert (distances[:6] > 0).all()
        assert (distances[6:] == 0).all()
        fills.update(indices[6:].tolist())
    assert len(fills) == 24


def test_ties_and_the_first_point_without_labelled_ones_are_random():
    corners = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    for labelled in (torch.zeros(1, 2), torch.zeros(0, 2), None):
        draws = [
            coreset_batch(corners, 1, labelled_features=labelled, random_state=seed)
            for seed in range(40)
        ]
        assert {int(index) for index, _ in draws} == {0, 1, 2, 3}
        distance = torch.inf if labelled is None or len(labelled) == 0 else 1
        assert {float(distance) for _, distance in draws} == {distance}


def test_blocks_of_labelled_points_do_not_change_the_batch(monkeypatch):
    features, _ = random_pool(0)
    labelled, _ = random_pool(1, n_points=11)
    expected = coreset_batch(features, 6, labelled_features=labelled, random_state=0)
    monkeypatch.setattr("modal_balance.acquisition.diversity.BLOCK_VALUES", 90)
    blocks = coreset_batch(features, 6, labelled_features=labelled, random_state=0)
    assert torch.equal(expected[0], blocks[0])
    assert torch.equal(expected[1], blocks[1])


# --- both -----------------------------------------------------------------------------------------


def core(features, proba, n_instances, random_state=None):
    return coreset_batch(features, n_instances, random_state=random_state)


both = pytest.mark.parametrize("choose", [badge_batch, core])


@both
def test_the_seed_decides(choose):
    pool = random_pool(0)
    batches = [tuple(choose(*pool, 5, random_state=seed)[0].tolist()) for seed in (0, 0, 1, 2, 3)]
    assert batches[0] == batches[1]
    assert len(set(batches)) > 1
    one, other = (choose(*pool, 5, random_state=np.random.RandomState(7))[0] for _ in range(2))
    assert torch.equal(one, other)
    np.random.seed(11)
    first = choose(*pool, 5)[0]
    np.random.seed(11)
    assert torch.equal(first, choose(*pool, 5)[0])


@both
def test_a_smaller_batch_is_the_beginning_of_a_larger_one(choose):
    features, proba = random_pool(0, n_points=8)
    pool = features.repeat(3, 1), proba.repeat(3, 1)
    whole, scores = choose(*pool, 24, random_state=0)
    assert sorted(whole.tolist()) == list(range(24))
    for size in (1, 2, 5, 8, 9, 15):
        part, part_scores = choose(*pool, size, random_state=0)
        assert torch.equal(part, whole[:size])
        assert torch.allclose(part_scores, scores[:size], rtol=1e-12)


@both
def test_nothing_is_changed_and_any_precision_will_do(choose):
    pool = tuple(part.requires_grad_() for part in random_pool(0))
    copies = [part.detach().clone() for part in pool]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    _, scores = choose(*pool, 5, random_state=0)
    assert not scores.requires_grad
    assert all(torch.equal(part, copy) for part, copy in zip(pool, copies, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    half = choose(pool[0].bfloat16(), pool[1].half(), 5, random_state=0)[1]
    assert half.dtype == scores.dtype == torch.float64


@both
@pytest.mark.parametrize(
    ("features", "n_instances", "error", "message"),
    [
        (np.ones((5, 2)), 1, TypeError, "features must be a floating-point .* got ndarray"),
        (
            torch.ones(5, 2).long(),
            1,
            TypeError,
            "features must be a floating.* got a tensor of torch.int64",
        ),
        (torch.ones(5, 2, 2), 1, ValueError, r"shape \(points, features\).*got \(5, 2, 2\)"),
        (torch.ones(5, 0), 1, ValueError, r"at least one feature, got \(5, 0\)"),
        (torch.full((5, 2), torch.nan), 1, ValueError, "features contains NaN or infinity"),
        (torch.ones(5, 2), 6, ValueError, "features has 5 points but n_instances=6"),
        (torch.ones(5, 2), 0, ValueError, "n_instances must be at least 1, got 0"),
        (torch.ones(5, 2), 1.5, TypeError, "n_instances must be an integer, got 1.5"),
        (torch.ones(5, 2), True, TypeError, "n_instances must be an integer, got True"),
    ],
)
def test_bad_arguments_are_refused_by_name(choose, features, n_instances, error, message):
    with pytest.raises(error, match=message):
        choose(features, torch.full((5, 2), 0.5), n_instances, random_state=0)


@pytest.mark.parametrize(
    ("proba", "error", "message"),
    [
        (np.full((5, 2), 0.5), TypeError, "proba must be a floating-point torch tensor"),
        (torch.full((4, 2), 0.5), ValueError, r"shape \(5, classes\).*got \(4, 2\)"),
        (torch.full((1, 5, 2), 0.5), ValueError, r"got \(1, 5, 2\)"),
        (torch.ones(5, 2), ValueError, "proba has a row that sums to 2"),
        (torch.ones(5, 1), ValueError, "proba has 1 class"),
    ],
)
def test_bad_predictions_are_refused(proba, error, message):
    with pytest.raises(error, match=message):
        badge_batch(torch.ones(5, 2), proba, 1)
    with pytest.raises(error, match=message):
        gradient_embedding(torch.ones(5, 2), proba)


def test_bad_labelled_points_are_refused():
    for labelled, error, message in [
        (torch.ones(3, 4), ValueError, "labelled_features has 4 columns but features has 2"),
        (torch.full((3, 2), torch.inf), ValueError, "labelled_features contains NaN or infinity"),
        ([[1.0, 2.0]], TypeError, "labelled_features must be .* got list"),
    ]:
        with pytest.raises(error, match=message):
            coreset_batch(torch.ones(5, 2), 1, labelled_features=labelled)
