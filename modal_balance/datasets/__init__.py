"""Data sets of the experiments, and tables of one's own."""

from .load import DATASETS, Dataset, dataset_names, load_dataset
from .tables import read_table
from .variants import imbalanced, repeated

__all__ = [
    "DATASETS",
    "Dataset",
    "dataset_names",
    "imbalanced",
    "load_dataset",
    "read_table",
    "repeated",
]
