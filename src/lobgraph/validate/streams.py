"""Random streams of commands for side_by_side.py: moods that build books up, drain them, crowd agents together."""

from __future__ import annotations

import numpy as np

from .side_by_side import (
    AGENT,
    AGENTS,
    COMMAND,
    KIND,
    LOTS,
    LOTS2,
    OFFSET,
    OFFSET2,
    POST_ONLY,
    QUOTE,
    REDUCE,
    SHARE,
    SIDE,
    WINDOW,
)

MOODS = {  # weights of the kinds, in their order
    "build": [8, 1, 3, 3, 2, 2, 1, 0.2, 0.5],
    "drain": [2, 4, 6, 1, 3, 1, 3, 0.2, 0.2],
    "trend": [6, 3, 3, 2, 1, 2, 1, 1, 0.2],
    "sweep": [6, 2, 2, 2, 1, 1, 2, 0.2, 0.2],
    "agents": [2, 1, 3, 6, 4, 5, 3, 0.1, 0.2],
    "crowd": [4, 2, 2, 6, 1, 1, 0.5, 0.1, 0.1],  # agents and noise at few prices, small trades
    "clash": [1, 0.5, 1, 6, 1, 4, 2, 0.1, 0.1],  # agents through the mid, their own orders too
    "edge": [4, 3, 1, 4, 0.5, 1, 1, 1, 0.3],  # orders at the window's edge, sweeps to it
}


def random_commands(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 9) int64 commands of one mood."""
    mood = rng.choice(list(MOODS))
    c = np.zeros((n, COMMAND), np.int64)
    p = np.array(MOODS[mood]) / sum(MOODS[mood])
    c[:, KIND] = rng.choice(9, n, p=p)
    c[:, AGENT] = rng.integers(0, AGENTS, n)
    buy = 0.5 + (rng.choice([-0.25, 0.25]) if mood == "trend" else 0.0)
    c[:, SIDE] = np.where(rng.random(n) < buy, 1, -1)
    width = 0.8 if mood in ("crowd", "clash") else rng.choice([1.5, 4.0, 12.0])
    around = np.round(rng.normal(0, width, n)).astype(np.int64)
    behind = -c[:, SIDE] * np.abs(np.round(rng.normal(0, width, n)).astype(np.int64))  # on its own side
    far = rng.integers(-WINDOW, WINDOW, n)
    edge = -c[:, SIDE] * (WINDOW // 2 - rng.integers(0, 6, n))
    which = rng.random(n)
    near, middle = (0.2, 0.97) if mood == "clash" else (0.7, 0.97)
    c[:, OFFSET] = np.where(which < near, behind, np.where(which < middle, around, far))
    if mood == "edge":
        c[:, OFFSET] = np.where(which < 0.4, edge, c[:, OFFSET])
    quote = c[:, KIND] == QUOTE
    c[quote, OFFSET] = -np.abs(c[quote, OFFSET])
    c[:, OFFSET2] = np.abs(np.round(rng.normal(0, width, n))) + (rng.random(n) < 0.95)
    if mood == "clash":  # quotes that cross the mid, either side first
        c[quote, OFFSET] += rng.integers(-1, 3, quote.sum())
        c[:, OFFSET2] -= rng.integers(-1, 3, n)
    size = rng.choice([0.3, 0.05])
    c[:, LOTS] = rng.geometric(size, n)
    c[:, LOTS2] = rng.geometric(size, n) - 1
    big = rng.random(n) < {"sweep": 0.1, "edge": 0.05}.get(mood, 0.005)
    c[big, LOTS] *= rng.integers(10, 60, big.sum())
    c[:, SHARE] = rng.integers(0, 1 << 16, n)
    c[(c[:, KIND] == REDUCE) & (rng.random(n) < 0.3), SHARE] = 0
    c[:, POST_ONLY] = rng.random(n) < (0.1 if mood == "clash" else 0.4)
    return c
