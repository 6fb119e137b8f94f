"""Draw hypotheses from an estimator and freeze them.

For every kind of estimator the result is an object whose ``predict_proba_samples(X)`` is a pure
function of X. So the same hypotheses predict the pool, the reference pool and any chunks of them,
in any order.

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
        One of the following, fitted; or a Pipeline that ends in one, a search such as GridSearchCV
        over one, or a FrozenEstimator around one:

        * a skorch classifier whose module has dropout, or an estimator with a ``draw_hypotheses``
          method such as :class:`~modal_balance.MCDropoutClassifier`;
        * a RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier or VotingClassifier:
          its members are the hypotheses, and each must have ``predict_proba``. Settings for
          combining their votes are not used;
        * a modAL Committee, or a list of classifiers: each member is one hypothesis. But if
          hypotheses can be drawn from a member, as from a network with dropout, such members and
          any forests share the draws equally;
        * an object with a ``predict_proba_samples`` method, see :class:`Hypotheses`.
    n_samples : int
        Number of hypotheses, at least 1. If there are more members, a random subset is used; if
        there are fewer, all of them. Ignored for an object with ``predict_proba_samples``.
    random_state : int, RandomState, Generator or None, default=None
        Draws the hypotheses.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    Returns
    -------
    Hypotheses
        Valid until the estimator is trained again.

    Raises
    ------
    TypeError
        If drawing hypotheses from this kind of estimator is not supported.
    ValueError
        If an ensemble has a single member. A network without dropout raises only when it predicts.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, draw_hypotheses
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X, y)
    >>> hypotheses = draw_hypotheses(clf, 20, random_state=0)
    >>> hypotheses.predict_proba_samples(X[:5]).shape
    torch.Size([20, 5, 3])

    The trees of a forest are hypotheses as well:

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
    min_members: int = 2,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Hypotheses:
    """Draw hypotheses as :func:`draw_hypotheses` does, from an unwrapped learner.

    ``min_members`` is the smallest number of members allowed, if each of them is one hypothesis.
    The other arguments are those of :func:`draw_hypotheses`.
    """
    n_samples = check_integer(n_samples, "n_samples", 1)
    unwrapped.check_has_hypotheses()
    drawn = _draw(unwrapped, n_samples, min_members, as_random_state(random_state), verbose)
    for step in reversed(unwrapped.steps):
        drawn = TransformedHypotheses(step.transform, drawn)
    return drawn


def _draw(
    unwrapped: UnwrappedLearner,
    n_samples: int,
    min_members: int,
    rng: np.random.RandomState,
    verbose: int,
) -> Hypotheses:
    if unwrapped.members is not None:
        n_members = len(unwrapped.members)
        can_draw = any(member.unwrapped.can_draw for member in unwrapped.members)
        if n_members < min_members and not can_draw:
            raise ValueError(
                f"{unwrapped.name} has {n_members} member, and a single hypothesis cannot be "
                "compared. Use at least 2 members."
            )
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
    """Draw a share of n_samples from each member, or use the member as one hypothesis."""
    members = list(unwrapped.members or ())
    if len(members) > n_samples:
        kept = np.sort(rng.permutation(len(members))[:n_samples])
        members = [members[index] for index in kept]
    # Beside a network, a forest counts as much as the network.
    beside = any(member.unwrapped.can_draw for member in members)
    drawing = [
        index
        for index, (member, *_) in enumerate(members)
        if member.can_draw or (beside and member.members is not None)
    ]
    n_drawn = n_samples - (len(members) - len(drawing))
    shares = dict(zip(drawing, even_shares(n_drawn, len(drawing)), strict=True))
    parts = []
    for index, (member, transform, labels) in enumerate(members):
        if index in shares:
            hypotheses = draw_from(member, shares[index], random_state=rng, verbose=verbose)
        else:
            hypotheses = SingleHypothesis(member.estimator)
        classes = getattr(hypotheses, "classes_", None)
        if labels is not None:  # members of an ensemble predict class numbers
            classes = labels if classes is None else labels[np.asarray(classes).astype(int)]
        parts.append(Part(hypotheses, classes, transform))
    # Shuffle, so that the draws of one member are not all compared with those of one other.
    seed = draw_seed(rng) if drawing else None
    return StackedHypotheses(parts, seed=seed)


def even_shares(n: int, n_parts: int) -> list[int]:
    """Divide n draws among some parts as evenly as possible."""
    return [n // n_parts + (part < n % n_parts) for part in range(n_parts)]
