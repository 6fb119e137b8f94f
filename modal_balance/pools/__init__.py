"""Pools of any size: sources of their rows, and shards that predict and cache them."""
