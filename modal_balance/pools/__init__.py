"""Pools of any size: where their rows come from, and where their predictions are cached."""
