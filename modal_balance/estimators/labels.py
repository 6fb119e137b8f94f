"""Labels: find and encode classes, split rows by class, and weigh classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from .._utils.arguments import check_labels


def find_classes(y: NDArray[Any], declared: ArrayLike | None) -> NDArray[Any]:
    """Return the sorted classes: the declared labels, or those in `y` if none are declared.

    If none are declared, labels that look like numbers of a regression raise a ValueError or give a
    warning, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.labels import find_classes
    >>> find_classes(np.array([7, 7]), declared=[9, 7, 8])
    array([7, 8, 9])
    """
    if declared is None:
        check_classification_targets(y)
    else:
        check_labels(declared, "classes")
    classes = np.unique(y if declared is None else np.asarray(declared))
    if declared is not None and np.shape(declared) != classes.shape:
        raise ValueError(
            f"classes={declared!r}. Expected a flat sequence of labels without duplicates."
        )
    if len(classes) < 2:
        raise ValueError(
            f"There is only one class, {classes.tolist()}. Expected at least two: label rows of "
            "another class, or declare further labels with classes=."
        )
    return classes


def encode(y: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return the position of each label in `classes`; `name` is that of `y` in error messages.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.labels import encode
    >>> encode(np.array(["b", "c", "b"]), np.array(["a", "b", "c"]), "y")
    array([1, 2, 1])
    """
    position = {label: i for i, label in enumerate(classes.tolist())}
    labels, inverse = np.unique(y, return_inverse=True)
    unknown = [label for label in labels.tolist() if label not in position]
    if unknown:
        advice = "Declare all labels that may occur with classes=."
        if labels.tolist() == list(range(len(labels))):
            advice += (
                " If this is a member of an ensemble, such as VotingClassifier, which numbers the "
                "labels itself, leave out classes=."
            )
        raise ValueError(
            f"{name} has the labels {unknown}, but the classes are {classes.tolist()}. {advice}"
        )
    return np.array([position[label] for label in labels.tolist()], dtype=np.int64)[inverse]


def stratified_holdout(
    codes: NDArray[np.integer[Any]], fraction: float, rng: np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split labelled rows into training and validation rows, with every class in training.

    ``round(fraction * n)`` rows, at least one, are held out: at random within each class, in
    proportion to the classes. Each class keeps at least one row in training; other classes make up
    for it if they can. If every class has a single row, none is held out. (``train_test_split``
    rejects classes with a single row, and fewer held-out rows than classes.)

    `codes` (n,) are the classes of the rows, counted from 0, and `fraction`, in (0, 1), is the
    share of the rows to hold out. The result is the numbers of the training rows and those of the
    validation rows, both sorted.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.labels import stratified_holdout
    >>> codes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2])
    >>> _, validation = stratified_holdout(codes, 0.3, np.random.RandomState(0))
    >>> np.bincount(codes[validation], minlength=3)
    array([2, 1, 0])
    """
    counts = np.bincount(codes)
    spare = np.maximum(counts - 1, 0)
    n_out = min(max(1, round(fraction * len(codes))), int(spare.sum()))
    share = fraction * counts
    take = np.minimum(np.floor(share).astype(int), spare)
    tiebreak = rng.permutation(len(counts))
    while take.sum() < n_out:  # at most about one step per class and per row of the lone classes
        claim = np.where(take < spare, share - take, -np.inf)
        take[np.lexsort((tiebreak, claim))[-1]] += 1
    shuffled = rng.permutation(len(codes))
    held_out = np.zeros(len(codes), dtype=bool)
    for code, n_rows in enumerate(take):
        held_out[shuffled[codes[shuffled] == code][:n_rows]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def class_weights(
    codes: NDArray[np.integer[Any]],
    classes: NDArray[Any],
    class_weight: Mapping[Any, float] | str | None,
) -> Tensor:
    """Return the weight of each class in the loss, float32, shape (n_classes,).

    "balanced" gives class c the weight ``n / (k * n_c)``: n rows, n_c of class c, k classes
    present; a class without rows has weight 1, which is never used. A dict maps labels to weights;
    missing labels have weight 1. None: all weights are 1.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.labels import class_weights
    >>> class_weights(np.array([0, 0, 0, 2]), np.array(["a", "b", "c"]), "balanced").tolist()
    [0.6666666865348816, 1.0, 2.0]
    """
    weights = np.ones(len(classes))
    labels = classes.tolist()
    if isinstance(class_weight, Mapping):
        # As in scikit-learn, weights of classes without rows are allowed, misspelt labels are not.
        known = set(labels) <= set(class_weight) or set(class_weight) <= set(labels)
        weights[:] = [class_weight.get(label, 1.0) for label in labels]
        valid = known and bool(np.all(np.isfinite(weights) & (weights > 0)))
    elif isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes, minlength=len(classes))
        present = counts > 0
        weights[present] = len(codes) / (present.sum() * counts[present])
        valid = True
    else:
        valid = class_weight is None
    if not valid:
        raise ValueError(
            f"class_weight={class_weight!r}. Expected 'balanced', None, or a dict of positive "
            f"weights for the classes {labels}."
        )
    return torch.as_tensor(weights, dtype=torch.float32)


def stratified_folds(
    codes: NDArray[np.integer[Any]], n_folds: int, rng: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Return folds of labelled rows, with each class distributed as evenly as possible.

    The only row of a class is in no fold, because a network trained without it could not predict
    it. (``StratifiedKFold`` puts it in a fold, and rejects classes with fewer rows than folds.)

    `codes` (n,) are the classes of the rows, counted from 0. There are at most `n_folds` folds, and
    no more folds than rows. Each is an array of sorted row numbers. No fold is empty, and none
    contains all rows of a class.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.estimators.labels import stratified_folds
    >>> codes = np.array([0, 0, 0, 0, 1, 1, 2])
    >>> [codes[fold].tolist() for fold in stratified_folds(codes, 2, np.random.RandomState(0))]
    [[0, 0, 1], [0, 0, 1]]
    """
    shuffled = rng.permutation(len(codes))
    dealt = shuffled[np.bincount(codes)[codes[shuffled]] > 1]
    by_class = dealt[np.argsort(codes[dealt], kind="stable")]
    n_folds = min(n_folds, len(by_class))
    return [np.sort(by_class[fold::n_folds]) for fold in range(n_folds)]
