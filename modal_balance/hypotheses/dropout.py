"""MC-dropout hypotheses: a fitted skorch classifier under fixed sets of dropout masks.

S: hypotheses    n: rows    C: classes
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor
from tqdm.auto import tqdm

from .._utils.torch_state import copy_of, undisturbed
from .._utils.user_warnings import warn_user
from ..acquisition.predictions import working_precision
from ..exceptions import UnseenDropoutWarning
from .chunks import Blocks, rows_per_chunk
from .masks import DropoutEnsemble
from .net_inputs import (
    PROBABILITY_CAUSE,
    batches,
    check_row_fits,
    first_row,
    predict_batch,
    twice,
    uncompiled,
    with_module,
)


class DropoutHypotheses:
    """MC-dropout hypotheses of a fitted skorch classifier: one network for each set of masks.

    Parameters
    ----------
    net : skorch.NeuralNet
        A fitted net whose module has dropout: ``nn.Dropout*`` layers, torch's dropout functions,
        dropout in attention or between recurrent layers.
    n_samples : int
        Number of hypotheses S.
    seed : int
        Seed of the masks.
    classes : ndarray of shape (C,) or None, default=None
        Labels of the columns. None: the labels are 0..C-1, as in skorch.
    dtype : torch.dtype or None, default=None
        Evaluate a copy of the module in this precision. None: the precision of the module.
    verbose : int, default=0
        1 or more: predictions show a progress bar.

    References
    ----------
    Gal & Ghahramani, *Dropout as a Bayesian Approximation*, ICML 2016.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skorch import NeuralNetClassifier
    >>> from modal_balance import DropoutHypotheses
    >>> module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    >>> net = NeuralNetClassifier(module, criterion=torch.nn.CrossEntropyLoss).initialize()
    >>> hypotheses = DropoutHypotheses(net, n_samples=10, seed=0)
    >>> X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    >>> hypotheses.predict_proba_samples(X).shape
    torch.Size([10, 3, 2])
    """

    def __init__(
        self,
        net: NeuralNet,
        n_samples: int,
        seed: int,
        *,
        classes: np.ndarray | None = None,
        dtype: torch.dtype | None = None,
        verbose: int = 0,
    ) -> None:
        net = uncompiled(net)
        self.net = net if dtype is None else with_module(net, copy_of(net.module_, dtype))
        self.n_samples = n_samples
        self.seed = seed
        self.classes_ = classes
        self.verbose = verbose
        self._warned = False

    def predict_proba_samples(self, X: Any) -> Tensor:
        """Return the predictions of all hypotheses.

        Parameters
        ----------
        X : array, tensor, dict of arrays, DataFrame, CSR matrix or Dataset
            n rows that the net accepts. Floating-point input is cast to the precision of
            the module.

        Returns
        -------
        Tensor of shape (S, n, C), on the device of the net

        Raises
        ------
        ValueError
            If the module has no dropout, if the rows do not fit it or hold NaN or infinity, or if
            the output of the net is not a distribution over at least two classes.

        Warns
        -----
        UnseenDropoutWarning
            If the dropout of a module cannot be sampled.
        """
        dataset = self.net.get_dataset(X)
        if len(dataset) == 0:
            raise ValueError("X has no rows. Pass at least one row to predict.")
        # Data loaders also draw from torch's global random state.
        with undisturbed(self.net.module_):
            return self._predict(dataset)

    def _predict(self, dataset: Any) -> Tensor:
        n_rows = len(dataset)
        # Created for every prediction: the seed fixes the masks, so nothing has to be stored.
        ensemble = DropoutEnsemble(
            self.net.module_, self.n_samples, self.seed, verbose=self.verbose
        )
        forward = partial(predict_batch, self.net)
        row = first_row(self.net, dataset)
        check_row_fits(self.net, row)
        ensemble.trace(partial(forward, row), partial(forward, twice(row)))
        self._warn_of_unseen(ensemble.unseen)
        n_batch = rows_per_chunk(self.n_samples, ensemble.row_size, ensemble.device)
        blocks = Blocks(self.verbose)
        proba: Tensor | None = None  # (S, n, C)
        start = 0
        with tqdm(total=n_rows, desc="Hypotheses", unit="row", disable=self.verbose < 1) as bar:
            for batch in batches(self.net, dataset, n_batch):
                chunk = blocks.predict(
                    lambda rows: ensemble(partial(forward, rows)), batch
                )  # (S, n_batch, C)
                chunk = working_precision(
                    chunk, name="The net's prediction", cause=PROBABILITY_CAUSE
                )
                if proba is None:
                    proba = chunk.new_empty(self.n_samples, n_rows, chunk.shape[2])
                proba[:, start : start + chunk.shape[1]] = chunk
                start += chunk.shape[1]
                bar.update(chunk.shape[1])
        assert proba is not None
        return proba

    def _warn_of_unseen(self, unseen: list[str]) -> None:
        if unseen and not self._warned:
            self._warned = True
            warn_user(
                f"The dropout of {', '.join(unseen)} cannot be sampled and is off in the "
                "hypotheses, which therefore differ less than in training. Use nn.Dropout layers, "
                "nn.MultiheadAttention, or recurrent layers on sequences that are not packed.",
                UnseenDropoutWarning,
            )
