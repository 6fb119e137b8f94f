"""Active learning on data whose labels are known: which strategy saves how many."""

from .loop import Learner, Round, first_labels, rounds
from .metrics import evaluate
from .simulate import simulate

__all__ = ["Learner", "Round", "evaluate", "first_labels", "rounds", "simulate"]
