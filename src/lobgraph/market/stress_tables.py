"""Configured events and circuit breaker -> the integer tables of Params that the kernels read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..config import Config
from ..config.stress import SHAPES, EventConfig
from .state import AT_RANDOM, BOTH, BREAKER, BUY, BY_RATE, EVENT_BOOKS, NEVER, SELL

SIDES = {"buy": BUY, "sell": SELL, "both": BOTH, "random": 0, None: BOTH}
CODES = {kind: code for code, kind in enumerate(SHAPES)}


def stress_sizes(cfg: Config) -> tuple[int, int]:
    """Number of events, and of steps that the circuit breaker looks back: what `make_state` asks."""
    breaker = cfg.circuit_breaker
    return len(cfg.stress), 0 if breaker is None else round(breaker.window / cfg.market.dt)


def presses_rates(cfg: Config) -> bool:
    """Whether an event multiplies rates of the flow by type; in a market that could have one, all rates are by type."""
    return any(event.kind in ("crash", "drought") for event in cfg.stress)


def shown_kinds(cfg: Config) -> list[str]:
    """Kinds of events that agents see, in the order of SHAPES. The circuit breaker's halts are halts."""
    seen = {event.kind for event in cfg.stress if event.show}
    if cfg.circuit_breaker is not None and cfg.circuit_breaker.show:
        seen.add("halt")
    return [kind for kind in SHAPES if kind in seen]


def stress_tables(cfg: Config) -> dict[str, Any]:
    """`stressed`, `stress`, `breaker` and `shown` of Params."""
    rows = [_event(cfg, event) for event in cfg.stress]
    return {
        "stressed": int(bool(cfg.stress) or cfg.circuit_breaker is not None),
        "stress": np.array(rows, dtype=np.int64).reshape(len(rows), EVENT_BOOKS + cfg.market.num_books),
        "breaker": _breaker(cfg),
        "shown": np.array([CODES[kind] for kind in shown_kinds(cfg)], dtype=np.int64),
    }


def _event(cfg: Config, event: EventConfig) -> list[int]:
    dt, steps = cfg.market.dt, cfg.env.episode_steps
    length = max(round(event.seconds / dt), 1)
    if event.rate is not None:
        start = BY_RATE
    elif event.at == "random":
        start = AT_RANDOM
    elif event.at == "never":
        start = NEVER
    else:
        start = int(float(event.at or 0.0) / dt + 1e-9)
    factor = 1.0 - event.size if event.kind == "drought" else event.size
    hit = [event.books is None or book in event.books for book in cfg.market.books]
    if event.kind == "shock":
        hit = [on * jump for on, jump in zip(hit, _jumps(cfg, event), strict=True)]
    return [
        CODES[event.kind],
        start,
        round(-math.expm1(-(event.rate or 0.0) * dt) * 2.0**32),
        max(steps - length + 1, 1),
        length,
        int(event.size) if event.kind == "fat_finger" else round(factor * 4096),
        round(event.share * 65536),
        SIDES[event.way],
        int(event.show),
        *map(int, hit),
    ]


def _jumps(cfg: Config, event: EventConfig) -> list[int]:
    """Size of a shock by book, 1/65536 tick: that of its underlying."""
    n = len(cfg.market.underlyings)
    volatility = np.broadcast_to(np.asarray(cfg.fundamentals.volatility, dtype=np.float64), (n,))
    scale = volatility if event.unit == "deviations" else np.ones(n)
    return [round(float(event.size * scale[u]) * 65536) for u in cfg.market.underlying_index]


def _breaker(cfg: Config) -> np.ndarray:
    breaker = cfg.circuit_breaker
    if breaker is None:
        return np.zeros(BREAKER, np.int64)
    return np.array(
        [
            int(2.0 * (breaker.move or 0.0)),
            round(1e4 * (breaker.percent or 0.0)),
            stress_sizes(cfg)[1],
            max(round(breaker.halt / cfg.market.dt), 1),
            int(breaker.books == "all"),
        ],
        dtype=np.int64,
    )
