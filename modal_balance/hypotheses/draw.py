"""Drawing hypotheses from an estimator, and freezing them.

Whatever the estimator, drawing once gives an object whose ``predict_proba_samples(X)`` is a pure
function of X: the pool, the reference pool and any part of them, in any order, are seen by the same
hypotheses.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._utils.arguments import RandomState, as_random_state, check_integer, draw_seed
from .dropout import DropoutHypotheses
from .protocol import (
    GivenHypotheses,
    Hypotheses,
    Part,
    SingleHypothesis,
    StackedHypotheses,
    TransformedHypotheses,
)
from .unwrap import UnwrappedLearner, unwrap_learner


def draw_hypotheses(
    estimator: Any, n_samples: int, *, random_state: RandomState = None, verbose: int = 0
) -> Hypotheses:
    """Draw hypotheses from a fitted estimator and freeze them.

    Parameters
    ----------
    estimator : estimator
        One of these, fitted; or a Pipeline that ends in one, a search such as GridSearchCV over
        one, or a FrozenEstimator around one:

        * a skorch classifier whose module drops out, or an estimator with a ``draw_hypotheses``
          method such as :class:`~modal_balance.MCDropoutClassifier`;
        * a RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier or VotingClassifier:
          its members are the hypotheses. How they vote does not matter, but each must have
          ``predict_proba``;
        * a modAL Committee, or a list of classifiers. Members whose hypotheses can be drawn, such
          as networks with dropout layers, share the draws; any other is one hypothesis;
        * an object with a ``predict_proba_samples`` method, see :class:`Hypotheses`.
    n_samples : int
        Number of hypotheses, at least 1. Of more members a random subset is taken; of fewer, all.
        An object with ``predict_proba_samples`` is taken as it is.
    random_state : int, RandomState, Generator or None, default=None
        Decides the draw.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Returns
    -------
    Hypotheses
        Valid until the estimator is trained again.

    Raises
    ------
    TypeError
        If it is not known how to draw hypotheses from such an estimator.
    ValueError
        If an ensemble has a single member. Whether a network drops anything shows when it predicts.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 20, random_state=0)
    >>> hypotheses.predict_proba_samples(X[:5]).shape
    torch.Size([20, 5, 3])

    The trees of a forest are hypotheses, too:

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> forest = RandomForestClassifier(50, random_state=0).fit(X, y)
    >>> draw_hypotheses(forest, 100).predict_proba_samples(X[:5]).shape
    torch.Size([50, 5, 3])
    """
    unwrapped = unwrap_learner(estimator)
    return draw_from(unwrapped, n_samples, random_state=random_state, verbose=verbose)


def draw_from(
    unwrapped: UnwrappedLearner,
    n_samples: int,
    *,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Hypotheses:
    """Draw hypotheses as :func:`draw_hypotheses` does, from an unwrapped learner.

    Parameters
    ----------
    unwrapped : UnwrappedLearner
        The estimator or committee.
    n_samples : int
        Number of hypotheses, at least 1.
    random_state : int, RandomState, Generator or None, default=None
        Decides the draw.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Returns
    -------
    Hypotheses
    """
    n_samples = check_integer(n_samples, "n_samples", 1)
    unwrapped.check_has_hypotheses()
    drawn = _draw(unwrapped, n_samples, as_random_state(random_state), verbose)
    for transform in reversed(unwrapped.transforms):
        drawn = TransformedHypotheses(transform, drawn)
    return drawn


def _draw(
    unwrapped: UnwrappedLearner, n_samples: int, rng: np.random.RandomState, verbose: int
) -> Hypotheses:
    if unwrapped.members is not None:
        return _draw_from_members(unwrapped, n_samples, rng, verbose)
    classifier = unwrapped.classifier
    if hasattr(classifier, "draw_hypotheses"):
        drawn: Hypotheses = classifier.draw_hypotheses(n_samples, random_state=rng, verbose=verbose)
        return drawn
    if hasattr(classifier, "predict_proba_samples"):
        return GivenHypotheses(classifier)
    return DropoutHypotheses(classifier, n_samples, draw_seed(rng), verbose=verbose)


def _draw_from_members(
    unwrapped: UnwrappedLearner, n_samples: int, rng: np.random.RandomState, verbose: int
) -> Hypotheses:
    """Make each member one hypothesis, or let it draw its share of n_samples."""
    members = list(unwrapped.members or ())
    if len(members) < 2 and not any(member.unwrapped.can_draw for member in members):
        raise ValueError(
            f"{unwrapped.name} has {len(members)} member: a single hypothesis has nothing to be "
            "compared with. Use at least 2 members."
        )
    complete = len(members) <= n_samples
    if not complete:
        kept = np.sort(rng.permutation(len(members))[:n_samples])
        members = [members[index] for index in kept]
    drawing = [index for index, member in enumerate(members) if member.unwrapped.can_draw]
    n_drawn = n_samples - (len(members) - len(drawing))
    parts = []
    for index, (member, transform, labels) in enumerate(members):
        if index in drawing:
            # As even a split of what is to be drawn as possible.
            place, n_places = drawing.index(index), len(drawing)
            share = n_drawn // n_places + (place < n_drawn % n_places)
            hypotheses = draw_from(member, share, random_state=rng, verbose=verbose)
        else:
            hypotheses = SingleHypothesis(member.estimator)
        classes = getattr(hypotheses, "classes_", None)
        if labels is not None:  # the members of an ensemble know its classes by number
            classes = labels if classes is None else labels[np.asarray(classes).astype(int)]
        parts.append(Part(hypotheses, classes, transform))
    # Draws of one member must not all be compared with those of one other.
    seed = draw_seed(rng) if drawing else None
    return StackedHypotheses(parts, complete=complete, seed=seed)
