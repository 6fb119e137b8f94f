"""Equivalence classes of hypotheses: distances, pairs, tau, edges and partitions."""

from .pairs import (
    all_pairs,
    annealed_tau,
    disjoint_pairs,
    edges_beyond,
    hamming_distances,
    random_edges,
    ring_pairs,
    votes,
)
from .partition import farthest_first_cells, partition_edges

__all__ = [
    "all_pairs",
    "annealed_tau",
    "disjoint_pairs",
    "edges_beyond",
    "farthest_first_cells",
    "hamming_distances",
    "partition_edges",
    "random_edges",
    "ring_pairs",
    "votes",
]
