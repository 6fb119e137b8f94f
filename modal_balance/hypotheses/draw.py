"""Frozen hypotheses: an estimator's posterior samples as fixed functions of the input.

The only layer that knows skorch and scikit-learn. Whatever the estimator, drawing once gives an
object whose ``predict_proba_samples(X)`` is a pure function of X: the pool, the reference pool and
any part of them, in any order, are seen by the same hypotheses.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from skorch import NeuralNet

from ..arguments import RandomState
from .dropout import DropoutHypotheses
from .ensembles import Member, committee_members, ensemble_members, why_not
from .joined import JoinedHypotheses, Part, SingleHypothesis
from .masks import has_dropout
from .protocol import GivenHypotheses, Hypotheses, TransformedHypotheses
from .unwrapping import unwrap


def draw_hypotheses(
    estimator: Any, n_samples: int, *, random_state: RandomState = None, verbose: int = 0
) -> Hypotheses:
    """Draw hypotheses from a fitted estimator and freeze them.

    Parameters
    ----------
    estimator : estimator
        One of these, fitted; or a Pipeline that ends in one, a search such as GridSearchCV over
        one, or a FrozenEstimator around one:

        * a skorch classifier whose module has ``nn.Dropout*`` layers, or an estimator with a
          ``draw_hypotheses`` method such as :class:`~modal_balance.MCDropoutClassifier`;
        * a RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier or VotingClassifier:
          its members are the hypotheses. How they vote does not matter, but each must have
          ``predict_proba``;
        * a modAL Committee, or a list of classifiers. Members whose hypotheses can be drawn, such
          as networks with dropout, share the draws; any other is one hypothesis;
        * an object with a ``predict_proba_samples`` method, see :class:`Hypotheses`.
    n_samples : int
        Number of hypotheses, at least 1. Of more members a random subset is taken; of fewer, all.
        An object with ``predict_proba_samples`` is taken as it is.
    random_state : int, RandomState instance or None, default=None
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
        If the network has no active dropout layer, or an ensemble has a single member.

    Warns
    -----
    UnseenDropoutWarning
        If a layer drops activations inside itself, out of reach.

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
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}.")
    members = committee_members(estimator)
    if members is not None:
        return _draw_from_members(members, estimator, n_samples, random_state, verbose)
    classifier, transforms = unwrap(estimator)
    drawn = _draw(classifier, n_samples, random_state, verbose)
    for transform in reversed(transforms):
        drawn = TransformedHypotheses(transform, drawn)
    return drawn


def _draw(estimator: Any, n_samples: int, random_state: RandomState, verbose: int) -> Hypotheses:
    if hasattr(estimator, "draw_hypotheses"):
        drawn: Hypotheses = estimator.draw_hypotheses(
            n_samples, random_state=random_state, verbose=verbose
        )
        return drawn
    if hasattr(estimator, "predict_proba_samples"):
        return GivenHypotheses(estimator)
    if isinstance(estimator, NeuralNet):
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        return DropoutHypotheses(estimator, n_samples, seed, verbose=verbose)
    members = ensemble_members(estimator)
    if members is not None:
        return _draw_from_members(members, estimator, n_samples, random_state, verbose)
    reason = why_not(estimator)
    raise TypeError(
        f"It is not known how to draw hypotheses from a {type(estimator).__name__}. "
        + (f"{reason} " if reason else "")
        + "Put it into a BootstrapCommittee or a modAL Committee, or use a random forest, "
        "MCDropoutClassifier, a skorch classifier whose module has nn.Dropout layers, an object "
        "with predict_proba_samples, or a Pipeline that ends in one of these."
    )


def _draw_from_members(
    members: list[Member],
    ensemble: Any,
    n_samples: int,
    random_state: RandomState,
    verbose: int,
) -> Hypotheses:
    """Make each member one hypothesis, or let it draw its share of n_samples."""
    if len(members) < 2 and not any(_can_draw(member.estimator) for member in members):
        raise ValueError(
            f"{type(ensemble).__name__} has {len(members)} member: a single hypothesis has nothing "
            "to be compared with. Use at least 2 members."
        )
    rng = check_random_state(random_state)
    complete = len(members) <= n_samples
    if not complete:
        kept = np.sort(rng.permutation(len(members))[:n_samples])
        members = [members[index] for index in kept]
    drawing = [index for index, member in enumerate(members) if _can_draw(member.estimator)]
    n_drawn = n_samples - (len(members) - len(drawing))
    parts = []
    for index, (estimator, transform, labels) in enumerate(members):
        hypotheses: Hypotheses = (
            _share(estimator, n_drawn, drawing.index(index), len(drawing), rng, verbose)
            if index in drawing
            else SingleHypothesis(estimator)
        )
        classes = hypotheses.classes_
        if labels is not None:  # the members of an ensemble know its classes by number
            classes = labels if classes is None else labels[np.asarray(classes).astype(int)]
        parts.append(Part(hypotheses, classes, transform))
    # Draws of one member must not all be compared with those of one other.
    seed = int(rng.randint(np.iinfo(np.int32).max)) if drawing else None
    return JoinedHypotheses(parts, complete=complete, seed=seed)


def _share(
    estimator: Any, n_samples: int, place: int, n_places: int, rng: Any, verbose: int
) -> Hypotheses:
    """Draw a member's share of n_samples, split as evenly as possible."""
    share = n_samples // n_places + (place < n_samples % n_places)
    return draw_hypotheses(estimator, share, random_state=rng, verbose=verbose)


def _can_draw(estimator: Any) -> bool:
    """Return whether a member of a committee is more than one hypothesis."""
    classifier = unwrap(estimator).estimator
    # A network without dropout has its own prediction to give, and that is all.
    if isinstance(classifier, NeuralNet):
        return has_dropout(classifier.module_)
    net = getattr(classifier, "net_", None)
    if isinstance(net, NeuralNet) and getattr(classifier, "posterior", None) == "dropout":
        return has_dropout(net.module_)
    return hasattr(classifier, "draw_hypotheses") or hasattr(classifier, "predict_proba_samples")
