"""Paired runs of active learning on labelled data, for each strategy and seed."""

from __future__ import annotations

import pickle
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import joblib
import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing
from sklearn.utils._pprint import _EstimatorPrettyPrinter
from sklearn.utils.validation import check_consistent_length, column_or_1d
from tqdm.auto import tqdm

from .._utils.arguments import (
    as_indexable,
    check_integer,
    check_labels,
    check_validation_pair,
    n_rows,
)
from .._utils.pickling import serialized
from .._utils.versions import __version__
from ..strategies.herding import herding_query
from .loop import Round, Strategy, first_labels, fit_round, rounds
from .results import Key, Record, append_record, finished_rounds, frame_of, records_to_resume

if TYPE_CHECKING:
    import pandas as pd


def simulate(
    estimator: Any,
    X: Any,
    y: Any,
    strategies: Mapping[str, Strategy],
    *,
    n_initial: int = 1,
    initial_per_class: bool = True,
    first_batch: Strategy | None = herding_query,
    n_instances: int = 10,
    budget: int = 200,
    seeds: SupportsIndex | Iterable[int] = 10,
    X_test: Any = None,
    y_test: Any = None,
    test_size: float = 0.3,
    pool_size: int | None = None,
    X_val: Any = None,
    y_val: Any = None,
    dataset: str = "",
    estimator_name: str | None = None,
    results: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Compare query strategies on data whose labels are known.

    Runs are paired by their seed: under the same seed, every strategy gets the same split, pool and
    initial labels, and in each round the networks of all strategies start from the same weights.

    Parameters
    ----------
    estimator : estimator
        Any classifier, or a pipeline that ends in one. A clone is fitted in every round.
    X, y : array-like, DataFrame or CSR matrix with n rows, and their labels
        The pool. If `X_test` is not given, test rows are held out from it.
    strategies : dict of str to callable
        Query strategies by name: those of this package, modAL's, or any
        ``strategy(learner, X_pool, n_instances=...)`` that returns positions in the pool.
    n_initial : int, default=1
        Number of initial labels. 0: none.
    initial_per_class : bool, default=True
        Whether `n_initial` is a number per class. False: it is the total number, and the rows are
        drawn at random.
    first_batch : callable or None, default=herding_query
        Strategy that chooses, in all runs, until labels of two classes are known; used with
        ``n_initial=0``. None: each strategy chooses its own first batch with an untrained
        estimator, see :meth:`MCDropoutClassifier.fit_unlabelled`.
    n_instances : int, default=10
        Size of a batch.
    budget : int, default=200
        Total number of labels at the end, including the initial ones; at most the pool.
    seeds : int or iterable of int, default=10
        The seeds; a number n stands for 0 to n - 1.
    X_test, y_test : array-like, default=None
        Test rows. None: each seed holds out a stratified part of `X`.
    test_size : float, default=0.3
        Share of `X` to hold out.
    pool_size : int, default=None
        Number of rows of the pool, drawn at random for each seed. None: all.
    X_val, y_val : array-like, default=None
        Validation data, for the estimator's ``fit`` or for the strategies.
    dataset : str, default=""
        Name of the data set in the results.
    estimator_name : str, default=None
        Name of the estimator in the results. None: its class.
    results : path, default=None
        File to which each round is appended as a line of JSON. Finished runs in it are not run
        again, and an interrupted run resumes, with the same result.
    n_jobs : int, default=None
        Number of parallel runs, see :class:`joblib.Parallel`.
    verbose : int, default=0
        1 or more shows a progress bar over the runs.

    Returns
    -------
    DataFrame
        One row per round, as :func:`~modal_balance.simulation.results.read_results` returns them.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, a class has too few rows, or the results file has one of the
        runs with other settings: other data, or an estimator or strategy with another ``repr``
        (functions of the same name look the same, and so do callbacks of a skorch net).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from modal_balance import margin_query, random_query
    >>> from modal_balance.simulation import simulate
    >>> X, y = load_iris(return_X_y=True)
    >>> strategies = {"margin": margin_query, "random": random_query}
    >>> frame = simulate(RandomForestClassifier(20), X, y, strategies, budget=23, seeds=2)
    >>> frame.groupby("strategy").n_labelled.max().to_dict()
    {'margin': 23, 'random': 23}
    """
    if hasattr(estimator, "query_strategy"):
        raise TypeError(
            f"Expected an estimator, got {type(estimator).__name__}. Pass the estimator inside it; "
            "the strategies are a separate argument."
        )
    n_initial = check_integer(n_initial, "n_initial", 0)
    n_instances = check_integer(n_instances, "n_instances", 1)
    budget = check_integer(budget, "budget", 1)
    if pool_size is not None:
        pool_size = check_integer(pool_size, "pool_size", 2)
    check_validation_pair(X_val, y_val)
    check_validation_pair(X_test, y_test, ("X_test", "y_test"))
    if not isinstance(strategies, Mapping) or not all(map(callable, strategies.values())):
        raise TypeError(
            "strategies must be a dict of names to query strategies, such as "
            f'{{"margin": margin_query}}, got {strategies!r}.'
        )
    if not strategies:
        raise ValueError("strategies is empty. Expected a dict of names to query strategies.")
    check_labels(y, "y")
    y = column_or_1d(y)
    check_consistent_length(X, y)
    if y_test is not None:
        y_test = column_or_1d(y_test)
    given = seeds if isinstance(seeds, Iterable) else range(seeds)
    numbers = [check_integer(seed, "A seed", 0) for seed in dict.fromkeys(given)]
    dataset = str(dataset)
    name = str(type(estimator).__name__ if estimator_name is None else estimator_name)
    settings: Record = {
        "n_initial": n_initial,
        "initial_per_class": initial_per_class,
        "n_instances": n_instances,
        "budget": budget,
        "test_size": None if X_test is not None else test_size,
        "pool_size": pool_size,
        "n_rows": n_rows(X),
        "validation_rows": 0 if X_val is None else n_rows(X_val),
        "parameters": _description(estimator),
    }
    if n_initial == 0 and first_batch is not None:
        settings["first_batch"] = _description(first_batch)
    path = None if results is None else Path(results)
    if path is not None:
        settings["data"] = joblib.hash(
            (_contents(X), y, _contents(X_test), y_test, _contents(X_val), y_val)
        )
    settings_of = {s: settings | {"query": _description(strategies[s])} for s in strategies}
    about: Record = {"versions": _versions(), "machine": platform.processor()}
    keys: list[Key] = [(dataset, name, s, seed) for seed in numbers for s in strategies]
    done: dict[Key, list[Record]] = {}
    if path is not None:
        done = finished_rounds(records_to_resume(path), {key: settings_of[key[2]] for key in keys})

    splits = {
        seed: _split(X, y, X_test, y_test, test_size, pool_size, n_initial, initial_per_class, seed)
        for seed in numbers
    }
    n_first = max((len(split.first) for split in splits.values()), default=0)
    if budget < n_first:
        raise ValueError(
            f"budget={budget} is less than the {n_first} initial labels, which it includes "
            f"(n_initial={n_initial}{' for each class' if initial_per_class else ''})."
        )
    fixed = {"X_val": X_val, "y_val": y_val, "first_batch": first_batch}
    options = {"n_instances": n_instances, "budget": budget} | fixed
    # The first fit of a seed is the same for all strategies.
    begun = sorted({key[3] for key in keys if key not in done})
    fits = Parallel(n_jobs=n_jobs)(
        delayed(_first_fit)(estimator, splits[seed], seed, fixed) for seed in begun
    )
    first_fits = dict(zip(begun, fits, strict=True))
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    records = [record for rows in done.values() for record in rows]
    with tqdm(total=len(keys), desc="runs", disable=verbose < 1) as bar:
        for new in parallel(
            delayed(_run)(
                estimator,
                strategies[key[2]],
                splits[key[3]],
                None if key in done else first_fits[key[3]],
                key,
                done.get(key, []),
                {"settings": settings_of[key[2]]} | about,
                path,
                options,
            )
            for key in keys
        ):
            records += new
            bar.update()
    return frame_of(records)


class _Split(NamedTuple):
    """Pool, test rows and initial labels of a seed."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any
    first: NDArray[np.intp]


def _split(
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    test_size: float,
    pool_size: int | None,
    n_initial: int,
    per_class: bool,
    seed: int,
) -> _Split:
    X, y = as_indexable(X), np.asarray(y)
    rows = np.arange(len(y))
    if X_test is None:
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2:
            raise ValueError(
                f"A class of y has {counts.min()} row. Expected at least 2 of each, one to learn "
                "from and one to test on; or pass X_test and y_test."
            )
        rows, test = train_test_split(rows, test_size=test_size, stratify=y, random_state=seed)
        X_test, y_test = _safe_indexing(X, test), y[test]
    if pool_size is not None and pool_size < len(rows):
        rows = np.random.RandomState(seed).permutation(rows)[:pool_size]
    first = first_labels(y[rows], n_initial, per_class=per_class, random_state=seed)
    return _Split(_safe_indexing(X, rows), y[rows], X_test, y_test, first)


@contextmanager
def _one_thread() -> Iterator[None]:
    # The networks are small, so runs are parallel, but not the computations of a run.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _first_fit(estimator: Any, split: _Split, seed: int, options: dict[str, Any]) -> bytes:
    """Return the fit of the first round, serialized."""
    with _one_thread():
        fit = fit_round(
            estimator,
            split.X,
            split.y,
            X_test=split.X_test,
            y_test=split.y_test,
            labelled=split.first,
            random_state=seed,
            **options,
        )
    return serialized(fit)


def _run(
    estimator: Any,
    strategy: Strategy,
    split: _Split,
    first_fit: bytes | None,
    key: Key,
    done: list[Record],
    about: Record,
    path: Path | None,
    options: dict[str, Any],
) -> list[Record]:
    """Finish a run, and return its new records."""
    known = [int(row) for row in split.first] + [row for r in done for row in r["indices"]]
    if done and not done[-1]["indices"]:
        return []
    new = []
    with _one_thread():
        for state in rounds(
            estimator,
            split.X,
            split.y,
            strategy,
            X_test=split.X_test,
            y_test=split.y_test,
            labelled=known,
            random_state=key[3],
            first_round=len(done),
            first_fit=None if first_fit is None else pickle.loads(first_fit),  # a copy for each run
            **options,
        ):
            record = _record(state, key) | about
            if path is not None:
                append_record(path, record)
            new.append(record)
    return new


def _record(state: Round, key: Key) -> Record:
    dataset, estimator, strategy, seed = key
    report = state.report
    last = state.estimator[-1] if hasattr(state.estimator, "steps") else state.estimator
    draw = 0.0 if report is None else report.inference_seconds
    return {
        "dataset": dataset,
        "estimator": estimator,
        "strategy": strategy,
        "seed": seed,
        "round": state.number,
        "n_labelled": len(state.labelled),
        "indices": state.indices.tolist(),
        **state.metrics,
        "validation_error": getattr(last, "validation_error_", None),
        "tau": None if report is None else report.tau,
        "n_pairs": None if report is None else report.n_pairs,
        "n_edges": None if report is None else report.n_edges,
        "gains": [] if report is None else [_rounded(score) for score in report.scores],
        "seconds_fit": round(state.seconds_fit, 5),
        "seconds_draw": round(draw, 5),
        "seconds_select": round(state.seconds_query - draw, 5),
    }


def _contents(X: Any) -> Any:
    """Return data without what a sparse matrix remembers about itself after some operations."""
    return (X.data, X.indices, X.indptr, X.shape) if issparse(X) else X


def _description(thing: Any) -> str:
    """Return a text that is the same in every process: not shortened, and without addresses."""
    with config_context(print_changed_only=True), np.printoptions(threshold=sys.maxsize):
        if isinstance(thing, BaseEstimator):
            # As the repr of an estimator, which shows at most 30 items of a list.
            text = _EstimatorPrettyPrinter(
                compact=True, n_max_elements_to_show=sys.maxsize
            ).pformat(thing)
        else:
            text = repr(thing)
    text = re.sub(r"_params_to_validate=(set\(\)|{.*?}), ", "", " ".join(text.split()))  # of skorch
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _rounded(score: float) -> float | None:
    return float(f"{score:.6g}") if np.isfinite(score) else None


def _versions() -> dict[str, str]:
    names = ("scikit-learn", "torch", "skorch", "numpy")
    return {"modal-balance": __version__} | {name: version(name) for name in names}
