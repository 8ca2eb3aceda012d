"""Mean spread of the zero-intelligence market: the engine, the published table, and the market order by order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..config import Config
from ..env.market_env import MarketEnv
from ..market.state import ASK, BID
from .markets import noise_market
from .per_order import mean_spread
from .settings import ZeroIntelligence
from .table import Row

NAME = "zero_intelligence"
PUBLISHED_PC = 50.0  # ticks
PUBLISHED = {0.001: 22.59, 0.005: 23.87, 0.015: 26.16, 0.05: 31.85, 0.15: 44.48}  # eps -> ticks
PAPER = "Smith et al. 2003"
REFERENCE = "per-order simulation"
TOLERANCE = 0.01  # of the spread
BLOCK = 500  # mean times between market orders simulated between two looks at the precision
MOST_RUNS = 256  # of the reference


class Outcome(NamedTuple):
    rows: list[Row]
    eps: np.ndarray  # (D,) the cancel rates' eps = d / (2 m)
    spread: np.ndarray  # (D, 2) ticks and standard error, the engine's
    reference: np.ndarray  # (D, 2) likewise, order by order
    p_c: float  # ticks, m / a


def market_of(s: ZeroIntelligence, cancel: float) -> Config:
    """The engine's configuration; raises ConfigError if no window is large enough.

    The window re-centres when the mid has moved by a quarter of it, so a quarter must hold the placements and more.
    """
    window = max(64, 1 << (4 * s.reach + 128).bit_length())
    flow = {
        "limit_rates": [s.limit_rate] * s.reach, "market_rate": s.market_rate, "cancel_rates": [cancel],
        "initial_depth": max(round(s.limit_rate / cancel), 1), "warmup": min(10.0 / cancel, 1e5),
    }  # fmt: skip
    return noise_market(flow, window=window, dt=1.0 / s.market_rate)


def engine_spread(s: ZeroIntelligence, cancel: float, seed: int) -> tuple[float, float]:
    """Time-weighted mean spread in ticks and its standard error, from independent environments."""
    env = MarketEnv(market_of(s, cancel), num_envs=s.envs, seed=seed)
    env.reset()
    head = env.state.head[:, 0]
    total, steps = np.zeros(s.envs), 0
    mean = error = np.nan
    while steps < s.max_time and not error <= s.precision * mean:
        for _ in range(BLOCK):
            env.step({})
            total += head[:, ASK] - head[:, BID]
        steps += BLOCK
        mean, error = _mean(total / steps)
    return mean, error


def reference_spread(s: ZeroIntelligence, cancel: float, seed: int) -> tuple[float, float]:
    """The same from independent runs order by order, each from a full book, warmed up for ten lifetimes."""
    runs: list[float] = []
    mean = error = np.nan
    seconds = max(20.0 / cancel, 1000.0 / s.market_rate)
    while len(runs) < MOST_RUNS and not (len(runs) >= 8 and error <= s.precision * mean):
        rng = np.random.default_rng([seed, len(runs)])
        runs.append(mean_spread(s.limit_rate, s.market_rate, cancel, s.reach, 10.0 / cancel, seconds, rng))
        mean, error = _mean(np.array(runs))
    return mean, error


def _mean(x: np.ndarray) -> tuple[float, float]:
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else np.inf


def published(s: ZeroIntelligence, cancel: float) -> float | None:
    """The paper's spread in ticks for these parameters; None where it has none."""
    eps = cancel / (2.0 * s.market_rate)
    near = [want for e, want in PUBLISHED.items() if abs(e - eps) < 1e-9]
    same = abs(s.market_rate / s.limit_rate - PUBLISHED_PC) < 1e-9 and s.reach >= 800
    return near[0] if near and same else None


def run(s: ZeroIntelligence, seed: int, note: Callable[[str], None]) -> Outcome:
    """Simulate every cancel rate twice. Tolerance 1 % (or four standard errors)."""
    p_c = s.market_rate / s.limit_rate
    rows, spreads, references = [], [], []
    for i, cancel in enumerate(s.cancel_rates):
        eps = cancel / (2.0 * s.market_rate)
        note(f"{NAME}: p_c {p_c:g}, eps {eps:g}")
        mean, error = engine_spread(s, cancel, seed + i)
        other, other_error = reference_spread(s, cancel, seed + i)
        what = NAME, "mean spread (ticks)", f"p_c {p_c:g}, eps {eps:g}, reach {s.reach}", mean
        if (want := published(s, cancel)) is not None:
            rows.append(Row(*what, error, want, PAPER, TOLERANCE * want))
        rows.append(Row(*what, float(np.hypot(error, other_error)), other, REFERENCE, TOLERANCE * other))
        spreads.append((mean, error))
        references.append((other, other_error))
    eps = np.array(s.cancel_rates) / (2.0 * s.market_rate)
    return Outcome(rows, eps, np.array(spreads), np.array(references), p_c)
