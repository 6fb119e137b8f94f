"""The BALanCe paper's settings for its data sets (section 4.1, Table 1, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPER_SETTINGS", "PaperSettings"]


@dataclass(frozen=True)
class PaperSettings:
    """How the paper runs active learning on a data set.

    Parameters
    ----------
    n_validation, n_test : int
        Rows for early stopping, and to test on.
    network : str
        "MLP", or the name of one in :mod:`modal_balance.networks`.
    n_initial : int
        Labels at the start.
    n_pairs : int
        Pairs of hypotheses, K; twice as many are drawn.
    n_instances : int
        Size of a batch, B.
    learning_rate : float
        Of Adam.
    samples_per_epoch : int
        Rows drawn in an epoch.
    patience : int
        Epochs without a better validation accuracy before training stops.
    anneal : float
        Ratio of tau to the validation error.

    Examples
    --------
    >>> from modal_balance.datasets.paper import PAPER_SETTINGS
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


# From the paper: K and B of the image sets, learning rate and patience of the tabular sets, 2,000
# validation rows for these, draws of 4,096 rows, the ratios of tau. Where we could not tell, our
# choice: the labels at the start, K = 20 on the tabular sets, validation rows and patience of the
# image sets, the row of CINIC-10.
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
