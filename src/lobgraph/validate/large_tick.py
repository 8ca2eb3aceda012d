"""Large ticks: market orders far rarer than limit orders, so that prices stand still and every level is a queue.

Behind the best prices, orders come and are cancelled only: M/M/infinity, Poisson with mean a / d. At the best, market
orders take one more a time: a birth-death queue with mean (a - m) / d while it is never empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..env.market_env import MarketEnv
from ..market.state import ASK, BID
from .markets import noise_market
from .queues import stationary
from .settings import LargeTick
from .table import Row

NAME = "large_tick"
LIMIT = "Smith et al. 2003, p_c -> 0"
POISSON = "M/M/infinity"
QUEUE = "birth-death queue"


class Outcome(NamedTuple):
    rows: list[Row]
    best: np.ndarray  # (n,) share of time with 0, 1, ... orders at the best prices
    behind: np.ndarray  # (n,) likewise on the levels behind
    errors: np.ndarray  # (2, n) their standard errors
    best_law: np.ndarray  # (n,) exact
    behind_law: np.ndarray  # (n,) exact


def sample(s: LargeTick, seed: int, note: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    """(T, E) int64 spreads in ticks and (T, E, 2, reach) int64 orders by level from the best, every half lifetime."""
    window = max(64, 1 << (8 * s.reach).bit_length())
    flow = {
        "limit_rates": [s.limit_rate] * s.reach, "market_rate": s.market_rate, "cancel_rates": [s.cancel_rate],
        "initial_depth": max(round(s.limit_rate / s.cancel_rate), 1), "initial_spread": 1,
        "warmup": min(12.0 / s.cancel_rate, 1e5),
    }  # fmt: skip
    cfg = noise_market(flow, window=window, dt=0.5 / s.cancel_rate)
    env = MarketEnv(cfg, num_envs=s.envs, seed=seed)
    note(f"{NAME}: {s.envs} books for {s.lifetimes} lifetimes of an order")
    env.reset()
    head, qty, mask = env.state.head[:, 0], env.state.qty[:, 0], window - 1
    level, rows = np.arange(s.reach), np.arange(s.envs)[:, None]
    spreads, depths = [], []
    for _ in range(2 * s.lifetimes):
        env.step({})
        bid, ask = head[:, BID, None], head[:, ASK, None]
        spreads.append((ask - bid)[:, 0])
        depths.append(np.stack([qty[rows, (bid - level) & mask], qty[rows, (ask + level) & mask]], axis=1))
    return np.array(spreads), np.array(depths, dtype=np.int64)


def histogram(lots: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(E, bins) shares by environment of (T, E, ...) counts; counts beyond the last bin join it."""
    flat = np.minimum(np.moveaxis(lots, 1, 0).reshape(lots.shape[1], -1), bins - 1)
    shares = np.stack([np.bincount(row, minlength=bins) for row in flat]) / flat.shape[1]
    return shares.mean(axis=0), shares.std(axis=0, ddof=1) / np.sqrt(len(shares))


def _mean(x: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of a (T, E, ...) quantity, environments being independent."""
    each = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1).mean(axis=1)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def run(s: LargeTick, seed: int, note: Callable[[str], None]) -> Outcome:
    """Spread, moments and laws of the queues. Means within 1 %, variances 3 %, laws .02 in total variation."""
    spreads, depths = sample(s, seed, note)
    a, m, d = s.limit_rate, s.market_rate, s.cancel_rate
    laws = stationary(a, m, d), stationary(a, 0.0, d)
    bins = max(map(len, laws))
    laws = [np.pad(law, (0, bins - len(law))) for law in laws]
    n = np.arange(bins)
    given = f"a {a:g}, m {m:g}, d {d:g}"
    rows = [Row(NAME, "mean spread (ticks)", given, *_mean(spreads), 1.0, LIMIT, 0.0005)]
    best = _mean(depths[..., :1])
    limit = (a - m) / d
    rows.append(Row(NAME, "mean orders at the best", given, *best, limit, LIMIT, 0.01 * limit))
    shares, errors = [], []
    for place, lots, law, source in (
        ("at the best", depths[..., :1], laws[0], QUEUE),
        ("behind the best", depths[..., 1:], laws[1], POISSON),
    ):
        mean = float(law @ n)
        variance = float(law @ (n - mean) ** 2)
        share, error = histogram(lots, bins)
        noise = float(np.sqrt(2.0 / np.pi) / 2.0 * error.sum())  # mean total variation if the laws are equal
        rows += [
            Row(NAME, f"mean orders {place}", given, *_mean(lots), mean, source, 0.01 * mean),
            Row(NAME, f"variance of orders {place}", given, *_mean((lots - mean) ** 2), variance, source, 0.03 * variance),
            Row(NAME, f"total variation {place}", given, float(np.abs(share - law).sum() / 2.0), noise / 2.0, 0.0, source, 0.02),
        ]  # fmt: skip
        shares.append(share)
        errors.append(error)
    return Outcome(rows, shares[0], shares[1], np.array(errors), laws[0], laws[1])
