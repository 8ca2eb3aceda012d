"""How a setting changes over the training: a share of its first value, by update."""

from __future__ import annotations

import math

from ..config import Schedule


def share(kind: Schedule, update: int, updates: int, end: float, warmup: float = 0.0) -> float:
    """The share of its value that a setting has in `update` (1 to `updates`).

    It rises in equal steps over the first `warmup` of the training, reaches 1, and falls to `end` after the last update:
    in a straight line, along half a cosine, or not at all.
    """
    rise = warmup * updates
    if rise > 0.0 and update <= rise:
        return update / rise
    if kind == "constant":
        return 1.0
    done = max(0.0, update - 1 - rise) / (updates - rise)
    left = 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return end + (1.0 - end) * left


def between(first: float, last: float, done: float) -> float:
    """From `first` (done = 0) to `last` (done = 1), by equal factors."""
    return first * (last / first) ** done
