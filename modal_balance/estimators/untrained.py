"""A classifier on a network before there are any labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..arguments import as_random_state
from ..sklearn_compat import validate_data
from ..torch_state import seeded
from .fitting import untrained_net
from .labels import find_classes
from .parameters import check_parameters
from .posteriors import DropoutPosterior, Posterior
from .scaling import SquashedScaling

__all__ = ["StartsUntrained"]


class StartsUntrained:
    """Mixin: ``initialize`` for a classifier on a network, for a first query without labels."""

    _posterior: Posterior
    validation_error_: float | None

    def initialize(self: Any, X: ArrayLike) -> Any:
        """Give the network new weights, without training: it has seen no labels.

        A strategy may then choose the first points to label, as the BALanCe paper does on EMNIST.
        The columns are scaled by the rows of `X`, and `validation_error_` is that of a guess,
        ``1 - 1 / n_classes``. ``fit`` begins anew.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n, n_features)
            Inputs without labels, such as the pool.

        Returns
        -------
        MCDropoutClassifier
            The classifier itself.

        Raises
        ------
        ValueError
            If ``classes`` does not declare the labels, or a parameter or `X` is invalid.

        References
        ----------
        Zhang, Khan, Grossman, Chen, ICLR 2023, section 4.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from modal_balance import MCDropoutClassifier, balance_query
        >>> X, _ = load_iris(return_X_y=True)
        >>> classifier = MCDropoutClassifier(classes=range(3), random_state=0).initialize(X)
        >>> indices, _ = balance_query(classifier, X, 5, random_state=0)
        >>> len(indices)
        5
        """
        for name in ("net_", "snapshots_"):
            self.__dict__.pop(name, None)
        check_parameters(self)
        if self.classes is None:
            raise ValueError(
                "classes=None. Without labels nobody can tell which there are: declare all that "
                "may occur with classes=."
            )
        rows = validate_data(self, X, **self._input_rules())
        self.classes_ = find_classes(np.empty(0), self.classes)
        rng = as_random_state(self.random_state)
        torch_seed, mask_seed = rng.randint(np.iinfo(np.int32).max, size=2).tolist()
        self._scaling = SquashedScaling(rows) if self.normalise else None
        with seeded(torch_seed, self.device):
            net = untrained_net(self, torch.ones(len(self.classes_)), torch_seed)
        self._posterior = DropoutPosterior(net, mask_seed)
        self.validation_error_, self.n_validation_rows_ = 1 - 1 / len(self.classes_), 0
        self.n_iter_ = 0
        self.net_ = net
        return self
