"""Simulate active learning on labelled data, to measure how many labels a strategy saves."""

from .loop import Learner, Round, first_labels, rounds
from .metrics import evaluate
from .simulate import simulate

__all__ = ["Learner", "Round", "evaluate", "first_labels", "rounds", "simulate"]
