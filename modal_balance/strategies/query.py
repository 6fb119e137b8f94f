"""A checked call of a query strategy: what all strategies share.

S: hypotheses    N: points of the pool    M: pending points    C: classes
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from ..arguments import RandomState, as_random_state, check_integer, n_rows
from ..hypotheses.draw import draw_from
from ..hypotheses.features import network_features
from ..hypotheses.protocol import Hypotheses
from ..hypotheses.resolved import Resolved, resolve, resolve_inputs
from ..pools.memory import memory_bytes
from ..pools.sources import RowsInMemory, Source, failed_rows
from .inputs import check_has_classes, check_rows, check_same_width, in_memory, open_pool
from .report import QueryReport

Callback = Callable[[QueryReport], object]


@dataclass
class Query:
    """A checked call of a query strategy.

    Parameters
    ----------
    learner : object
        What the strategy was called with.
    resolved : Resolved
        The classifier or committee behind it.
    X_pool : array-like with N rows
        The pool; of a large pool, its first row.
    source : Source or None
        Where the rows of a pool of more than 10,000 rows are. None: the pool is smaller, and in
        memory.
    n_instances : int
        Size of the batch, 1 to N.
    memory_limit : int or None
        Bytes of memory that predictions may take. None: what is free decides.
    X_pending : array-like with M rows or None
        Pending points. None where there are none.
    random_state : RandomState
        Source of all randomness of the query.
    verbose : int
        1 or more: progress bars.
    callback : callable or None
        Called with the report.
    started : float
        When the query began.
    inference_seconds : float
        Time spent so far on drawing hypotheses and predicting.
    """

    learner: Any
    resolved: Resolved
    X_pool: Any
    source: Source | None
    n_instances: int
    memory_limit: int | None
    X_pending: Any
    random_state: np.random.RandomState
    verbose: int
    callback: Callback | None
    started: float
    inference_seconds: float = 0.0

    @classmethod
    def of(
        cls,
        learner: Any,
        X_pool: Any,
        n_instances: int,
        *,
        needs_fit: bool = True,
        memory_limit: int | str | None = None,
        X_pending: Any = None,
        random_state: RandomState = None,
        verbose: int = 0,
        callback: Callback | None = None,
    ) -> Query:
        """Return the query, or raise unless its arguments fit each other.

        Parameters
        ----------
        learner : ActiveLearner, DeepActiveLearner, Committee, list of these, or fitted estimator
            What the strategy was called with. It is taken apart here and nowhere else.
        X_pool : array-like with N rows, or what stands for one
            The pool, or what :func:`~modal_balance.pools.opening.lazy_source` takes.
        n_instances : int
            Size of the batch.
        needs_fit : bool, default=True
            Whether the strategy needs a fitted learner. Without, any estimator or None will do.
        memory_limit : int, str or None, default=None
            Memory that predictions may take.
        X_pending : array-like with M rows or None, default=None
            Pending points.
        random_state : int, RandomState, Generator or None, default=None
            Source of randomness.
        verbose : int, default=0
            1 or more: progress bars.
        callback : callable or None, default=None
            Called with the report.

        Returns
        -------
        Query

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        started = perf_counter()
        verbose = check_integer(
            int(verbose) if isinstance(verbose, bool) else verbose, "verbose", 0
        )
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a callable or None, got {callback!r}.")
        if needs_fit:
            resolved = resolve(learner)
            check_has_classes(resolved)
        else:
            resolved = resolve_inputs(learner)
        limit = None if memory_limit is None else memory_bytes(memory_limit)
        X_pool, source = open_pool(X_pool, resolved)
        n_points = n_rows(X_pool) if source is None else source.n_rows
        n_instances = check_integer(n_instances, "n_instances", 1)
        if n_instances > n_points:
            raise ValueError(
                f"X_pool has {n_points} rows but n_instances={n_instances}. Ask for at most "
                f"{n_points}, or pass a larger pool."
            )
        state = as_random_state(random_state)
        query = cls(
            learner,
            resolved,
            X_pool,
            source,
            n_instances,
            limit,
            None,
            state,
            verbose,
            callback,
            started,
        )
        X_pending = in_memory(X_pending, "X_pending", resolved)
        if X_pending is not None and n_rows(X_pending) > 0:
            query.X_pending = query.other_rows(X_pending, "X_pending")
        return query

    def other_rows(self, X: Any, name: str) -> Any:
        """Return other data in the form of the pool, or raise unless they have it.

        Parameters
        ----------
        X : array-like or None
            Other rows. None stays None.
        name : str
            What the error message calls them.

        Returns
        -------
        array-like or None
        """
        if X is None:
            return None
        X = check_rows(in_memory(X, name, self.resolved), name, self.resolved)
        check_same_width(X, name, self.X_pool)
        return X

    @property
    def n_points(self) -> int:
        """N."""
        return n_rows(self.X_pool) if self.source is None else self.source.n_rows

    def some_rows(self, n_wanted: int) -> tuple[np.ndarray, Any]:
        """Return random rows of the pool.

        Parameters
        ----------
        n_wanted : int
            How many, at most N.

        Returns
        -------
        numbers : ndarray of shape (n_wanted,), int64
            Their numbers, rising.
        rows : array-like with n_wanted rows
        """
        source = RowsInMemory(self.X_pool) if self.source is None else self.source
        numbers = sample_without_replacement(
            source.n_rows, n_wanted, random_state=self.random_state
        )
        numbers = np.sort(numbers).astype(np.int64)
        try:
            return numbers, source.rows(numbers)
        except Exception as error:
            raise failed_rows(source, int(numbers[0]), int(numbers[-1]) + 1, error) from error

    def draw(self, n_samples: int) -> Hypotheses:
        """Draw hypotheses from the classifier.

        Parameters
        ----------
        n_samples : int
            S.

        Returns
        -------
        Hypotheses
        """
        started = perf_counter()
        # A large pool is predicted in blocks, under one bar for all of them.
        verbose = self.verbose if self.source is None else 0
        drawn = draw_from(self.resolved, n_samples, random_state=self.random_state, verbose=verbose)
        self.inference_seconds += perf_counter() - started
        return drawn

    def predict(self, hypotheses: Hypotheses, X: Any) -> Tensor:
        """Return the predictions of hypotheses on n rows, (S, n, C).

        Parameters
        ----------
        hypotheses : Hypotheses
            What :meth:`draw` returned.
        X : array-like
            n checked rows.

        Returns
        -------
        Tensor of shape (S, n, C)
        """
        started = perf_counter()
        proba = hypotheses.predict_proba_samples(X)
        self.inference_seconds += perf_counter() - started
        return proba

    def features(self, X: Any) -> tuple[Tensor, Tensor]:
        """Return the last-layer features (n, D) and the network's own prediction (n, C).

        Parameters
        ----------
        X : array-like
            n checked rows.

        Returns
        -------
        features : Tensor of shape (n, D)
        proba : Tensor of shape (n, C)
        """
        started = perf_counter()
        features, proba = network_features(self.resolved.classifier, self.resolved.transform(X))
        self.inference_seconds += perf_counter() - started
        return features, proba

    def result(
        self,
        indices: Tensor,
        scores: Tensor,
        *,
        tau: float | None = None,
        n_pairs: int | None = None,
        n_edges: int | None = None,
        from_objective: Tensor | None = None,
    ) -> Any:
        """Report how the query went, and return what the learner expects of a strategy.

        Parameters
        ----------
        indices : Tensor of shape (n_instances,), int64
            The chosen points.
        scores : Tensor of shape (n_instances,)
            Their scores.
        tau, n_pairs, n_edges, from_objective : optional
            See :class:`QueryReport`.

        Returns
        -------
        ndarray or tuple of ndarray
            See :func:`as_learner_expects`.
        """
        chosen, values = indices.cpu().numpy(), scores.cpu().double().numpy()
        if self.callback is not None:
            self.callback(
                QueryReport(
                    indices=chosen.copy(),  # the callback may write into its arrays
                    scores=values.copy(),
                    seconds=perf_counter() - self.started,
                    inference_seconds=self.inference_seconds,
                    tau=tau,
                    n_pairs=n_pairs,
                    n_edges=n_edges,
                    from_objective=None if from_objective is None else from_objective.numpy(),
                )
            )
        return as_learner_expects(self.learner, chosen, values)


def as_learner_expects(learner: Any, indices: np.ndarray, scores: np.ndarray) -> Any:
    """Return what the learner's version of modAL wants of a query strategy.

    modAL 0.4.2 unpacks (indices, metrics). modAL 0.4.1 takes a tuple for a result of the old
    style, so it gets the indices alone.

    Parameters
    ----------
    learner : ActiveLearner, DeepActiveLearner, Committee or estimator
        What the strategy was called with.
    indices : ndarray of shape (n_instances,)
        The chosen points.
    scores : ndarray of shape (n_instances,)
        Their scores.

    Returns
    -------
    ndarray or tuple of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.strategies.query import as_learner_expects
    >>> as_learner_expects(LogisticRegression(), np.array([3]), np.array([0.5]))
    (array([3]), array([0.5]))
    """
    queries = [vars(base)["query"] for base in type(learner).__mro__ if "query" in vars(base)]
    takes_metrics = any("return_metrics" in inspect.signature(q).parameters for q in queries)
    if hasattr(learner, "query_strategy") and queries and not takes_metrics:
        return indices
    return indices, scores
