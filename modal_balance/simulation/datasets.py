"""Data sets of the experiments, by name or from files, and the paper's settings.

The settings are those of section 4.1, Table 1 and appendix B of the BALanCe paper.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import sklearn
import sklearn.datasets
from numpy.typing import NDArray

from .._utils.arguments import RandomState, as_random_state, check_integer, check_number

__all__ = [
    "DATASETS",
    "Dataset",
    "dataset_names",
    "imbalanced",
    "load_dataset",
    "read_archive",
    "repeated",
]


@dataclass(frozen=True)
class Dataset:
    """A data set for experiments.

    Parameters
    ----------
    name : str
        Name of the data set.
    X : ndarray of float32, shape (n, n_features)
        Training rows; images as flattened pixels in [0, 1].
    y : ndarray of int64, shape (n,)
        Labels, counted from 0.
    X_test, y_test : ndarray or None
        Test rows, if the publisher has split the data.
    source : str
        Description of the copy that was loaded.

    Examples
    --------
    >>> from modal_balance.simulation.datasets import load_dataset
    >>> load_dataset("iris").X.shape
    (150, 4)
    """

    name: str
    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32] | None
    y_test: NDArray[np.int64] | None
    source: str


class Source(NamedTuple):
    """Origin of a data set."""

    openml: int | None  # number at OpenML; None: scikit-learn has it, or OpenML does not
    files: tuple[str, ...] = ()  # possible names of its .npz archive in a folder
    n_test: int | None = None  # number of last rows that are the publisher's test set
    pixels: bool = False  # values from 0 to 255
    loader: Callable[..., Any] | None = None
    elsewhere: str = ""


DATASETS: dict[str, Source] = {
    "digits": Source(None, loader=sklearn.datasets.load_digits),
    "breast_cancer": Source(None, loader=sklearn.datasets.load_breast_cancer),
    "wine": Source(None, loader=sklearn.datasets.load_wine),
    "iris": Source(None, loader=sklearn.datasets.load_iris),
    "mnist": Source(554, ("mnist",), 10_000, pixels=True),
    "fashion_mnist": Source(40996, ("fashion_mnist",), 10_000, pixels=True),
    "emnist_balanced": Source(41039, ("emnist_balanced", "emnist_balanced_42k"), None, pixels=True),
    "emnist_bymerge": Source(
        None,
        ("emnist_bymerge", "emnist_bymerge_140k"),
        pixels=True,
        elsewhere="https://www.nist.gov/itl/products-and-services/emnist-dataset",
    ),
    "emnist_byclass": Source(
        None,
        ("emnist_byclass",),
        pixels=True,
        elsewhere="https://www.nist.gov/itl/products-and-services/emnist-dataset",
    ),
    "har": Source(1478, ("har", "har_hapt561")),
    "drift": Source(1476, ("drift", "gas_drift", "gas_drift_8of10")),
    "dry_bean": Source(43937, ("dry_bean",)),
    "cinic10": Source(
        None, ("cinic10",), pixels=True, elsewhere="https://datashare.ed.ac.uk/handle/10283/3192"
    ),
    # Images (height, width, channels); the copy at OpenML has another order of pixels.
    "cifar10": Source(
        None,
        ("cifar10", "cifar10_jpeg_7500"),
        pixels=True,
        elsewhere="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    **{
        f"keel_{name}": Source(None, elsewhere="https://sci2s.ugr.es/keel")
        for name in (
            "banana", "chess", "contraceptive", "german", "magic", "marketing", "mushroom",
            "nursery", "optdigits", "penbased", "tic-tac-toe", "vehicle",
        )
    },
}  # fmt: skip


def dataset_names() -> list[str]:
    """Return the names that :func:`load_dataset` knows.

    Examples
    --------
    >>> from modal_balance.simulation.datasets import dataset_names
    >>> "digits" in dataset_names()
    True
    """
    return list(DATASETS)


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    *,
    fetch: Callable[..., Any] = sklearn.datasets.fetch_openml,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of :func:`dataset_names`.
    data_dir : path, default=None
        Folder with ``.npz`` archives, which is searched first. An archive has the arrays
        ``X_train``, ``y_train``, ``X_test`` and ``y_test``, or ``X`` and ``y``. Otherwise the data
        set comes from scikit-learn, or from OpenML through scikit-learn's cached download.
    fetch : callable, default=sklearn.datasets.fetch_openml
        Function that downloads the data set.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the name is unknown, or the data set must be downloaded by hand.

    Examples
    --------
    >>> from modal_balance.simulation.datasets import load_dataset
    >>> load_dataset("digits").source.endswith("load_digits")
    True
    """
    if name not in DATASETS:
        raise ValueError(f"There is no data set {name!r}. Known are {', '.join(DATASETS)}.")
    source = DATASETS[name]
    if data_dir is not None:
        for stem in (*source.files, name):
            path = Path(data_dir) / f"{stem}.npz"
            if path.exists():
                return _from_archive(name, path, source)
    if source.loader is not None:
        X, y = source.loader(return_X_y=True)
        text = f"scikit-learn {sklearn.__version__}, {source.loader.__name__}"
        return Dataset(name, X.astype(np.float32), _codes(y), None, None, text)
    if source.openml is None:
        raise ValueError(
            f"{name} is neither in scikit-learn nor at OpenML. Get it from {source.elsewhere}, "
            f"write it to {name}.npz with the arrays X_train, y_train, X_test and y_test, or X and "
            "y, and pass the folder as data_dir."
        )
    bunch = fetch(data_id=source.openml, as_frame=False, parser="liac-arff")
    X, y = _as_rows(np.asarray(bunch.data), source.pixels), _codes(np.asarray(bunch.target))
    details = bunch.details
    text = f"OpenML {source.openml}, {details['name']}, version {details['version']}"
    text += f", md5 {details.get('md5_checksum', 'unknown')}"
    if source.n_test is None:
        return Dataset(name, X, y, None, None, text)
    n = len(X) - source.n_test
    return Dataset(name, X[:n], y[:n], X[n:], y[n:], text)


def _from_archive(name: str, path: Path, source: Source) -> Dataset:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    text = f"{path.name}, sha256 {digest}"
    if {"X_train", "y_train", "X_test", "y_test"} <= set(arrays):
        both = np.concatenate([arrays["y_train"], arrays["y_test"]])
        codes = _codes(both)
        n = len(arrays["y_train"])
        X = _as_rows(arrays["X_train"], source.pixels)
        X_test = _as_rows(arrays["X_test"], source.pixels)
        return Dataset(name, X, codes[:n], X_test, codes[n:], text)
    if {"X", "y"} <= set(arrays):
        X, y = _as_rows(arrays["X"], source.pixels), _codes(arrays["y"])
        return Dataset(name, X, y, None, None, text)
    raise ValueError(
        f"{path} has the arrays {sorted(arrays)}. Expected X_train, y_train, X_test and y_test, or "
        "X and y."
    )


def _as_rows(X: NDArray[Any], pixels: bool) -> NDArray[np.float32]:
    rows = X.reshape(len(X), -1).astype(np.float32)
    return rows / np.float32(255) if pixels else rows


def _codes(y: NDArray[Any]) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = np.unique(y, return_inverse=True)[1].astype(np.int64)
    return codes


def read_archive(path: str | Path, target: str | None = None) -> tuple[Any, NDArray[Any]]:
    """Return labelled rows from an archive of arrays.

    Parameters
    ----------
    path : path
        A ``.npz`` file with the arrays X and y.
    target : str, default=None
        Name of the array of labels. None: "y".

    Returns
    -------
    X : ndarray of float32, shape (n, n_features)
        The rows.
    y : ndarray of shape (n,)
        The labels.

    Raises
    ------
    ValueError
        If the file does not exist, or is not such an archive.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from modal_balance.simulation.datasets import read_archive
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.npz")
    >>> np.savez(path, X=[[1, 2], [3, 4]], y=["a", "b"])
    >>> read_archive(path)[0].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    target = target or "y"
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except (OSError, EOFError, TypeError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an archive: {error}") from None
    missing = {"X", target} - set(arrays)
    if missing:
        raise ValueError(f"{path} has no array {sorted(missing)}. It has {sorted(arrays)}.")
    X, y = arrays["X"].astype(np.float32), arrays[target]
    if len(X) != len(y):
        raise ValueError(f"{path} has {len(X)} rows of X but {len(y)} labels.")
    if not np.isfinite(X).all():
        raise ValueError(f"{path} has missing or infinite values. Impute them.")
    return X, y


def imbalanced(
    y: NDArray[Any],
    rare_classes: Sequence[Any] | NDArray[Any],
    share: float,
    random_state: RandomState = None,
) -> NDArray[np.intp]:
    """Return the rows that remain after rare classes are thinned at random.

    Parameters
    ----------
    y : array of shape (n,)
        Labels.
    rare_classes : sequence
        Classes to thin.
    share : float in [0, 1]
        Share of their rows to keep; at least one row of each class is kept.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the choice.

    Returns
    -------
    ndarray of int
        Row numbers, sorted.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.datasets import imbalanced
    >>> y = np.repeat([0, 1, 2], 50)
    >>> np.bincount(y[imbalanced(y, [1, 2], 0.1, random_state=0)]).tolist()
    [50, 5, 5]
    """
    check_number(share, "share", 1)
    rng = as_random_state(random_state)
    kept = np.ones(len(y), dtype=bool)
    for label in rare_classes:
        rows = rng.permutation(np.flatnonzero(y == label))
        if not len(rows):
            raise ValueError(f"rare_classes has {label!r}, which is not a label of y.")
        kept[rows[max(1, round(share * len(rows))) :]] = False
    return np.flatnonzero(kept)


def repeated(
    X: NDArray[Any],
    y: NDArray[Any],
    n_repeats: int,
    *,
    noise: float = 0.1,
    random_state: RandomState = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a pool with noisy copies of each row, like Repeated-MNIST.

    Parameters
    ----------
    X : array of shape (n, ...)
        Rows.
    y : array of shape (n,)
        Labels.
    n_repeats : int, at least 0
        Number of copies of each row: there are ``(1 + n_repeats) n`` rows.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise on the copies.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the noise.

    Returns
    -------
    X, y : arrays of shape ((1 + n_repeats) n, ...) and ((1 + n_repeats) n,)
        The original rows, then the copies; integers become float64.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD*, NeurIPS 2019, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from modal_balance.simulation.datasets import repeated
    >>> X, y = repeated(np.zeros((3, 2)), np.arange(3), 2, random_state=0)
    >>> X.shape, y.tolist()
    ((9, 2), [0, 1, 2, 0, 1, 2, 0, 1, 2])
    """
    check_integer(n_repeats, "n_repeats", 0)
    check_number(noise, "noise")
    rng = as_random_state(random_state)
    X = X if np.issubdtype(X.dtype, np.floating) else X.astype(np.float64)  # noise has fractions
    copies = [X]
    for _ in range(n_repeats):
        copies.append((X + rng.normal(scale=noise, size=X.shape)).astype(X.dtype))
    return np.concatenate(copies), np.tile(y, 1 + n_repeats)


@dataclass(frozen=True)
class PaperSettings:
    """The paper's settings of active learning on a data set.

    Parameters
    ----------
    n_validation, n_test : int
        Rows for early stopping and for testing.
    network : str
        "MLP", or the name of a network in :mod:`modal_balance.simulation.networks`.
    n_initial : int
        Number of initial labels.
    n_pairs : int
        Pairs of hypotheses, K; 2K hypotheses are drawn.
    n_instances : int
        Size of a batch, B.
    learning_rate : float
        Learning rate of Adam.
    samples_per_epoch : int
        Rows drawn per epoch.
    patience : int
        Epochs without a better validation accuracy before training stops.
    anneal : float
        Ratio of tau to the validation error.

    Examples
    --------
    >>> from modal_balance.simulation.datasets import PAPER_SETTINGS
    >>> PAPER_SETTINGS["mnist"].anneal
    0.5
    """

    n_validation: int
    n_test: int
    network: str
    n_initial: int
    n_pairs: int
    n_instances: int
    learning_rate: float
    samples_per_epoch: int
    patience: int
    anneal: float


# From the paper: K and B of the image sets; learning rate, patience and 2,000 validation rows of
# the tabular sets; 4,096 rows per epoch; the ratios of tau. The paper does not state the other
# values, which are our choice: the initial labels, K = 20 on the tabular sets, validation rows and
# patience of the image sets, and the row of CINIC-10.
PAPER_SETTINGS: dict[str, PaperSettings] = {
    "mnist": PaperSettings(128, 10_000, "TwoBlockCNN", 20, 100, 10, 1e-3, 4096, 3, 0.5),
    "fashion_mnist": PaperSettings(128, 10_000, "ThreeBlockCNN", 20, 100, 10, 1e-3, 4096, 3, 0.25),
    "emnist_balanced": PaperSettings(2000, 18_800, "ThreeBlockCNN", 0, 10, 5, 1e-3, 4096, 3, 0.25),
    "emnist_bymerge": PaperSettings(2000, 18_800, "ThreeBlockCNN", 0, 10, 5, 1e-3, 4096, 3, 0.25),
    "cinic10": PaperSettings(2000, 10_000, "VGG11", 200, 50, 10, 1e-3, 4096, 3, 0.25),
    "har": PaperSettings(2000, 2947, "MLP", 20, 20, 10, 1e-2, 4096, 3, 0.25),
    "drift": PaperSettings(2000, 2000, "MLP", 20, 20, 10, 1e-2, 4096, 3, 0.25),
    "dry_bean": PaperSettings(2000, 2000, "MLP", 20, 20, 10, 1e-2, 4096, 3, 0.25),
}
