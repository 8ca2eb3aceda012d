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
PILOT = 1000  # mean times between market orders
FEWEST_RUNS, MOST_RUNS = 32, 4096  # of the reference


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
    """Time-weighted mean spread in ticks and its standard error, from independent environments.

    A pilot tells how long to measure and is thrown away with what is left of the start: to stop as soon as the error is
    small enough would favour small spreads, since both rise together.
    """
    env = MarketEnv(market_of(s, cancel), num_envs=s.envs, seed=seed)
    env.reset()
    pilot = _time_average(env, PILOT)
    needed = PILOT * _repeats(pilot, s.precision)
    return _mean(_time_average(env, int(min(max(needed, PILOT), s.max_time))))


def _time_average(env: MarketEnv, steps: int) -> np.ndarray:
    """(E,) mean spread in ticks over the next `steps` decisions."""
    head, total = env.state.head[:, 0], np.zeros(env.num_envs)
    for _ in range(steps):
        env.step({})
        total += head[:, ASK] - head[:, BID]
    return total / steps


def reference_spread(s: ZeroIntelligence, cancel: float, seed: int) -> tuple[float, float]:
    """The same order by order: runs that each start from a full book and warm up; a pilot says how many."""
    warmup = 10.0 / cancel + 200.0 / s.market_rate
    seconds = 2.0 * warmup

    def runs(count: int, stage: int) -> np.ndarray:
        streams = [np.random.default_rng([seed, stage, i]) for i in range(count)]
        return np.array(
            [mean_spread(s.limit_rate, s.market_rate, cancel, s.reach, warmup, seconds, r) for r in streams]
        )

    needed = FEWEST_RUNS * _repeats(runs(FEWEST_RUNS, 0), s.precision)
    return _mean(runs(int(min(max(needed, FEWEST_RUNS), MOST_RUNS)), 1))


def _mean(x: np.ndarray) -> tuple[float, float]:
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))


def _repeats(pilot: np.ndarray, precision: float) -> float:
    """How many times as much to simulate as in the pilot for that relative standard error."""
    mean, error = _mean(pilot)
    return (error / (precision * mean)) ** 2


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
