"""What all strategies share: the checked call of a strategy, and its report.

S: hypotheses    N: points of the pool    M: pending points    C: classes
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from sklearn.utils.random import sample_without_replacement
from skorch import NeuralNet
from torch import Tensor
from tqdm.auto import tqdm

from .._utils.arguments import (
    RandomState,
    as_random_state,
    check_integer,
    check_number,
    check_validation_pair,
    n_rows,
)
from .._utils.user_warnings import warn_user
from ..acquisition.predictions import check_one_for_each_row
from ..equivalence.pairs import annealed_tau
from ..hypotheses.draw import draw_from
from ..hypotheses.dropout_calls import has_dropout
from ..hypotheses.last_layer import output_layer
from ..hypotheses.masks import NoDropoutError
from ..hypotheses.protocol import Hypotheses, Part, SingleHypothesis, StackedHypotheses
from ..hypotheses.unwrap import (
    UnwrappedLearner,
    committee_members,
    estimator_of,
    is_fitted,
    unwrap_inputs,
    unwrap_learner,
)
from ..pools.caching import memory_bytes
from ..pools.sources import RowsInMemory, Source, failed_rows
from .rows import check_rows, check_same_width, in_memory, open_pool, with_columns_of


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class QueryReport:
    """What happened in a query.

    Parameters
    ----------
    indices : ndarray of shape (n_instances,), int64
        Positions of the chosen points in the pool, in the order of choice. All arrays of the
        report are copies.
    scores : ndarray of shape (n_instances,), float64
        Scores, gains or distances, as the strategy returns them.
    seconds : float
        Duration of the query.
    inference_seconds : float
        Part of this time that was spent on drawing hypotheses and predicting.
    tau : float or None, default=None
        Radius of an equivalence class. tau, ``n_pairs`` and ``n_edges`` are None if the strategy
        has no equivalence classes.
    n_pairs : int or None, default=None
        Number of pairs of hypotheses compared.
    n_edges : int or None, default=None
        Number of these pairs that lie in different equivalence classes.
    from_objective : ndarray of shape (n_instances,), bool, or None, default=None
        Which points were chosen by the BALanCe objective. The others are low-margin points, or
        random ones if no edge was left to cut. None if the strategy does not use the objective.
    covers_pool : bool, default=False
        Whether the batch covers the pool, so that the model's predictions did not choose it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from modal_balance import MCDropoutClassifier, balance_query
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(random_state=0).fit(X[::5], y[::5])
    >>> reports = []
    >>> _ = balance_query(clf, X, 3, tau=0.01, random_state=0, callback=reports.append)
    >>> reports[0].n_pairs
    50
    """

    indices: np.ndarray
    scores: np.ndarray
    seconds: float
    inference_seconds: float
    tau: float | None = None
    n_pairs: int | None = None
    n_edges: int | None = None
    from_objective: np.ndarray | None = None
    covers_pool: bool = False


def check_has_classes(unwrapped: UnwrappedLearner) -> None:
    """Raise a ValueError if a learner knows only one class; pass if its classes are unknown.

    The classes of a committee are those of all its members. Raises also for several outputs.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from modal_balance.hypotheses.unwrap import unwrap_learner
    >>> from modal_balance.strategies.query import check_has_classes
    >>> check_has_classes(unwrap_learner(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    """
    known: list[Any] = []
    for voter in unwrapped.voters:
        several = getattr(voter.classifier, "classes_", None)
        if isinstance(several, list) and np.ndim(several[0]) > 0:
            raise ValueError(
                f"This {voter.name} predicts {len(several)} outputs. Expected one: fit an "
                "estimator for each output."
            )
        # The classes_ of a skorch net are the labels of its last fit, not its columns.
        is_net = isinstance(voter.classifier, NeuralNet)
        classes = None if is_net else getattr(voter.classifier, "classes_", None)
        if classes is None:
            return
        known += [label for label in np.asarray(classes).tolist() if label not in known]
    if len(known) < 2:
        raise ValueError(
            f"This {unwrapped.name} knows a single class, {known[0]!r}, and a query needs at "
            "least two. Label points of another class first, chosen by herding_query or "
            "random_query, or declare the classes."
        )


Item = TypeVar("Item")
Callback = Callable[[QueryReport], object]
# What a strategy needs of a learner: its inputs only, a fitted estimator, predictions (the mean of
# its hypotheses, or predict_proba if it has none), or hypotheses.
Needs = Literal["inputs", "fit", "predictions", "hypotheses"]


class Radius(NamedTuple):
    """Where tau comes from: a given value, or ``anneal`` times a validation error.

    Without ``X_val`` and ``y_val``, the validation error is the learner's own.
    """

    tau: float | None
    anneal: float
    X_val: Any = None
    y_val: Any = None

    def check(self) -> None:
        """Raise unless the values are valid."""
        annealed_tau(0.0, self.anneal)
        check_validation_pair(self.X_val, self.y_val)
        if self.tau is not None:
            check_number(self.tau, "tau", 1)


@dataclass
class Query:
    """A checked call of a query strategy."""

    learner: Any
    needs: Needs
    unwrapped: UnwrappedLearner
    X_pool: Any  # all rows, or the first row of a large pool
    source: Source | None  # the rows of a large pool; None: the pool is in memory
    n_instances: int
    n_samples: int  # 0: the strategy draws no hypotheses
    memory_limit: int | None  # bytes; None: depends on what is free
    random_state: np.random.RandomState
    verbose: int
    callback: Callback | None
    started: float
    X_pending: Any = None  # M rows; None: there are none
    X_reference: Any = None
    X_target: Any = None
    X_labelled: Any = None
    radius: Radius | None = None  # None: the strategy has no tau
    inference_seconds: float = 0.0  # spent so far on drawing hypotheses and predicting

    @classmethod
    def of(
        cls,
        learner: Any,
        X_pool: Any,
        n_instances: int,
        *,
        needs: Needs = "fit",
        n_samples: int | None = None,
        min_samples: int = 1,
        radius: Radius | None = None,
        memory_limit: int | str | None = None,
        X_pending: Any = None,
        X_reference: Any = None,
        X_target: Any = None,
        X_labelled: Any = None,
        random_state: RandomState = None,
        verbose: int = 0,
        callback: Callback | None = None,
    ) -> Query:
        """Return the query, or raise a TypeError or ValueError if an argument is invalid.

        ``needs`` says what the strategy needs of the learner; for "inputs", any estimator or None
        will do. ``n_samples`` must be at least ``min_samples``; None means that no hypotheses are
        drawn. The other arguments are those of the strategies. The learner is unwrapped here and
        nowhere else.
        """
        started = perf_counter()
        verbose = check_integer(
            int(verbose) if isinstance(verbose, bool) else verbose, "verbose", 0
        )
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a callable or None, got {callback!r}.")
        n_samples = 0 if n_samples is None else check_integer(n_samples, "n_samples", min_samples)
        if needs == "inputs":
            unwrapped = unwrap_inputs(learner)
        else:
            unwrapped = unwrap_learner(learner)
        if needs in ("predictions", "hypotheses"):
            check_has_classes(unwrapped)
        if needs == "hypotheses":
            unwrapped.check_has_hypotheses()
        if needs == "predictions" and not unwrapped.has_hypotheses:
            SingleHypothesis(unwrapped.estimator)  # raises if it has no predict_proba
        limit = None if memory_limit is None else memory_bytes(memory_limit)
        X_pool, source = open_pool(X_pool, unwrapped)
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
            needs,
            unwrapped,
            X_pool,
            source,
            n_instances,
            n_samples,
            limit,
            state,
            verbose,
            callback,
            started,
        )
        X_pending = in_memory(X_pending, "X_pending", unwrapped)
        if X_pending is not None and n_rows(X_pending) > 0:
            query.X_pending = query.other_rows(X_pending, "X_pending")
        query.X_reference = query.other_rows(X_reference, "X_reference")
        query.X_target = query.other_rows(X_target, "X_target")
        query.X_labelled = query.other_rows(X_labelled, "X_labelled")
        if radius is not None:
            # Read rows on disk first: the check counts them.
            query.radius = radius._replace(X_val=query.other_rows(radius.X_val, "X_val"))
            query.radius.check()
        return query

    def other_rows(self, X: Any, name: str) -> Any:
        """Return checked rows with the shape of the pool's rows, in memory; None stays None."""
        if X is None:
            return None
        X = check_rows(in_memory(X, name, self.unwrapped), name, self.unwrapped)
        check_same_width(X, name, self.X_pool)
        return with_columns_of(self.X_pool, X, name)

    @property
    def n_points(self) -> int:
        """Number N of points of the pool."""
        return n_rows(self.X_pool) if self.source is None else self.source.n_rows

    @property
    def pool_rows(self) -> Source:
        """The rows of the pool, in memory or elsewhere."""
        return RowsInMemory(self.X_pool) if self.source is None else self.source

    def some_rows(self, n_wanted: int) -> tuple[np.ndarray, Any]:
        """Return the sorted positions of random rows of the pool, and the rows."""
        numbers = random_positions(self.n_points, n_wanted, self.random_state)
        with self.names_rows(numbers):
            return numbers, self.pool_rows.rows(numbers)

    @contextmanager
    def names_rows(self, numbers: np.ndarray) -> Iterator[None]:
        """Raise errors of the block again, with the range of these sorted rows and their place."""
        try:
            yield
        except Exception as error:
            first, last = int(numbers[0]), int(numbers[-1])
            raise failed_rows(self.pool_rows, first, last + 1, error) from error

    def draw(self) -> Hypotheses:
        """Draw ``n_samples`` hypotheses.

        If the strategy needs only predictions, and the classifier has a single one, this is the
        only hypothesis.
        """
        if self.needs == "predictions" and self._predicts_once():
            single = SingleHypothesis(self.unwrapped.estimator)
            return StackedHypotheses([Part(single, single.classes_)])  # checks its predictions
        started = perf_counter()
        # A large pool is predicted in blocks, with one progress bar for all of them.
        verbose = self.verbose if self.source is None else 0
        drawn = draw_from(
            self.unwrapped,
            self.n_samples,
            min_members=1 if self.needs == "predictions" else 2,
            random_state=self.random_state,
            verbose=verbose,
        )
        self.inference_seconds += perf_counter() - started
        return drawn

    def _predicts_once(self) -> bool:
        """Return whether the learner is a single model without dropout."""
        if not self.unwrapped.has_hypotheses:
            return True
        classifier = self.unwrapped.classifier
        if not isinstance(classifier, NeuralNet) or has_dropout(classifier.module_):
            return False
        try:  # only a forward pass shows a dropout function
            one = draw_from(self.unwrapped, 1, random_state=0)
            one.predict_proba_samples(RowsInMemory(self.X_pool).read(0, 1))
        except NoDropoutError:
            return True
        return False

    def predict(self, hypotheses: Hypotheses, X: Any) -> Tensor:
        """Return the predictions of hypotheses on n checked rows, (S, n, C)."""
        started = perf_counter()
        proba = hypotheses.predict_proba_samples(X)
        check_one_for_each_row(proba.shape[1], n_rows(X))
        self.inference_seconds += perf_counter() - started
        return proba

    def features(self, X: Any) -> tuple[Tensor, Tensor]:
        """Return the last-layer features (n, D) and the network's own prediction (n, C)."""
        started = perf_counter()
        _, features, proba = output_layer(self.unwrapped.classifier, self.unwrapped.transform(X))
        check_one_for_each_row(len(proba), n_rows(X))
        self.inference_seconds += perf_counter() - started
        return features, proba

    def with_progress(self, picks: Iterable[Item]) -> Iterable[Item]:
        """Return the picks of a batch in an iterator that shows a progress bar if verbose."""
        bar: Iterable[Item] = tqdm(
            picks, total=self.n_instances, desc="Batch", unit="point", disable=self.verbose < 1
        )
        return bar

    def result(
        self,
        indices: Tensor,
        scores: Tensor,
        *,
        tau: float | None = None,
        n_pairs: int | None = None,
        n_edges: int | None = None,
        from_objective: Tensor | None = None,
        covers_pool: bool = False,
    ) -> Any:
        """Call the callback with the report, and return what the learner expects of a strategy.

        The scores have shape (n_instances,). For the other arguments see :class:`QueryReport`, and
        for the result :func:`as_learner_expects`.
        """
        chosen, values = indices.cpu().numpy(), scores.cpu().double().numpy()
        if self.callback is not None:
            self.callback(
                QueryReport(
                    indices=chosen.copy(),  # the callback may write to its arrays
                    scores=values.copy(),
                    seconds=perf_counter() - self.started,
                    inference_seconds=self.inference_seconds,
                    tau=tau,
                    n_pairs=n_pairs,
                    n_edges=n_edges,
                    from_objective=None if from_objective is None else from_objective.numpy(),
                    covers_pool=covers_pool,
                )
            )
        return as_learner_expects(self.learner, chosen, values)


def random_positions(n: int, n_wanted: int, random_state: np.random.RandomState) -> np.ndarray:
    """Return ``n_wanted`` random positions among n, sorted, int64."""
    numbers = sample_without_replacement(n, n_wanted, random_state=random_state)
    return np.sort(numbers).astype(np.int64)


def labelled_rows(learner: Any, X_labelled: Any = None) -> Any:
    """Return the labelled rows, by default those that a learner keeps; None if there are none.

    Warns about a fitted estimator, which does not keep its rows.
    """
    if X_labelled is None:
        X_labelled, _ = kept_labels(learner)
        estimator = estimator_of(_learners(learner)[0])
        if X_labelled is None and is_fitted(estimator):
            warn_user(
                f"{type(estimator).__name__} does not keep the rows it was fitted on, so the batch "
                "may be close to labelled points. Pass them as X_labelled, or to a modAL "
                "ActiveLearner as X_training.",
                UserWarning,
            )
    return None if X_labelled is None or n_rows(X_labelled) == 0 else X_labelled


def kept_labels(learner: Any) -> tuple[Any, Any]:
    """Return the labelled rows and the labels that a modAL learner keeps, or (None, None).

    Of a committee, whose members may have been started with different rows, these are those of the
    member with the most.
    """
    kept = [
        (getattr(one, "X_training", None), one.y_training)
        for one in _learners(learner)
        if getattr(one, "y_training", None) is not None
    ]
    return max(kept, key=lambda rows: len(rows[1]), default=(None, None))


def _learners(learner: Any) -> list[Any]:
    """Return the members of a committee, or a list of the learner."""
    return committee_members(learner) or [learner]


def as_learner_expects(learner: Any, indices: np.ndarray, scores: np.ndarray) -> Any:
    """Return the indices and scores, or the indices alone for a learner of modAL 0.4.1.

    modAL 0.4.2 unpacks (indices, metrics); modAL 0.4.1 misreads a tuple.

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
