"""Data sets of the experiments."""

from .load import DATASETS, Dataset, dataset_names, load_dataset, read_archive
from .variants import imbalanced, repeated

__all__ = [
    "DATASETS",
    "Dataset",
    "dataset_names",
    "imbalanced",
    "load_dataset",
    "read_archive",
    "repeated",
]
