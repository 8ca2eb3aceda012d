"""Bytes that a step must move on a GPU, counted from the arrays, and what they say of its bandwidth.

Once a step each array of the state but the levels is read and written, and what the agents see is written. Of the levels
each event reads and writes one 32-byte sector, and the observation reads those it sums. Tables (flow, constants) are
shared by all books and stay in the caches: not counted. What threads load again because the caches lost it is not
counted either: this is the least, and the achieved bandwidth is a lower bound of what the memory really did.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from ..env.market_env import MarketEnv
from .timing import Windows

SECTOR = 32  # bytes that an access fetches at least
WRITTEN = ("nodes", "edges", "vector", "reward", "terms", "flag", "done")


def bytes_per_step(env: MarketEnv, events: float) -> dict[str, float]:
    """Bytes of one env step by part: state, seen, levels. `events`: of one env step, all books."""
    state = sum(x.nbytes for name, x in zip(env.state._fields, env.state, strict=True) if name != "qty")
    seen = sum(getattr(env.buffers, name).nbytes for name in WRITTEN)
    books = env.cfg.market.num_books
    summed = 2 * env.cfg.market.depth_levels * 4 * books
    return {
        "state": 2 * state / env.num_envs,
        "seen": seen / env.num_envs,
        "levels": 2 * SECTOR * events + summed,
    }


def moved(env: MarketEnv, events: float, windows: Windows) -> dict[str, Any]:
    """For a case's record; the windows count env steps."""
    parts = bytes_per_step(env, events)
    total = sum(parts.values())
    return {
        "bytes_per_step": {name: round(b) for name, b in parts.items()},
        "gigabytes_per_second": total * median(windows.rates) / 1e9,
        "messages_per_second": events * median(windows.rates),
        "peak_bytes": torch.cuda.max_memory_allocated(env.device) if env.device.type == "cuda" else 0,
    }
