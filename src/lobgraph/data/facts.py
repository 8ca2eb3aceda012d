"""Measured facts of a recorded day: rates, spread, depth, sizes, volatility, correlation between assets.

In: Recording (messages) or Snapshots (rows only). Averages are over time: a row counts as long as it held, the last one
until the window's end. A market order is a run of executions with one time stamp and direction, hidden ones included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from .nasdaq10 import Snapshots
from .recording import DELETE, EXECUTE, HIDDEN, NS, REDUCE, SUBMIT, DataError, Recording

HORIZONS = (1, 10, 60)  # seconds of returns

Day = Recording | Snapshots


@dataclass(frozen=True)
class Facts:
    """What a day looked like. Rates are per second, both sides together; prices in ticks, sizes in lots."""

    name: str
    date: str
    seconds: float
    levels: int
    messages: int  # rows of the file
    price: float  # mid at the start
    limit_rate: float  # NaN where messages were not recorded, as the next two
    cancel_rate: float  # partial and full
    execution_rate: float  # messages of visible executions
    market_rate: float  # market orders
    market_size: float  # mean
    hidden_share: float  # of the traded volume
    limit_size: float  # mean
    cancel_size: float  # mean
    spread: float  # time-weighted mean
    spread_median: float
    depth_best: float  # time-weighted mean over bid and ask
    depth_bid: float
    depth_ask: float
    volatility: dict[int, float] = field(default_factory=dict)  # horizon [s] -> std of mid returns, ticks
    depth_by_level: list[float] = field(default_factory=list)
    gap_by_level: list[float] = field(default_factory=list)  # mean distance from the same side's best

    def as_dict(self) -> dict[str, object]:
        """Plain values, one level deep but for volatility and the lists."""
        return asdict(self)


class MarketOrders(NamedTuple):
    """One row per market order, in order of time."""

    time: np.ndarray  # (m,) int64 ns
    side: np.ndarray  # (m,) int8 +1 buy, -1 sell
    qty: np.ndarray  # (m,) int64 lots, hidden ones included
    hidden: np.ndarray  # (m,) int64 lots


def weights(day: Day) -> np.ndarray:
    """(n,) seconds each row held; crossed or one-sided rows count nothing."""
    if isinstance(day, Snapshots):
        held = np.full(day.rows, day.seconds / day.rows)
    else:
        held = np.diff(day.time, append=day.end) / NS
    both = (day.row_qty[:, :, 0] > 0).all(axis=1)
    return np.where(both & (day.row_px[:, 0, 0] < day.row_px[:, 1, 0]), held, 0.0)


def mid(day: Day) -> np.ndarray:
    """(n,) float64 ticks; rows without two sides carry the last mid before them."""
    both = (day.row_qty[:, :, 0] > 0).all(axis=1)
    if not both.any():
        raise DataError(f"{day.name}: no row has both a bid and an ask")
    last = np.maximum.accumulate(np.where(both, np.arange(day.rows), int(np.argmax(both))))
    return (0.5 * day.row_px[:, :, 0].sum(axis=1))[last]


def market_orders(day: Day) -> MarketOrders:
    """Runs of executions (visible and hidden) with one time stamp and direction."""
    if isinstance(day, Snapshots):
        qty = day.order_qty.astype(np.int64)
        return MarketOrders(day.order_time, day.order_side, qty, np.zeros_like(qty))
    at = np.flatnonzero((day.type == EXECUTE) | (day.type == HIDDEN))
    time, side, qty = day.time[at], day.side[at], day.qty[at].astype(np.int64)
    first = np.flatnonzero(np.diff(time, prepend=-1) | (np.diff(side, prepend=0) != 0)) if len(at) else at
    hidden = np.where(day.type[at] == HIDDEN, qty, 0)
    sums = [np.add.reduceat(x, first) if len(first) else x for x in (qty, hidden)]
    return MarketOrders(time[first], (-side[first]).astype(np.int8), *sums)


def measure(day: Day) -> Facts:
    """All facts of one asset's day."""
    w = weights(day)
    if w.sum() <= 0:
        raise DataError(f"{day.name}: no row with both sides holds for any time; nothing to measure")
    seconds, share = day.seconds, w / w.sum()
    spread = (day.row_px[:, 1, 0] - day.row_px[:, 0, 0]).astype(np.float64)
    qty = day.row_qty.astype(np.float64)
    by_level = np.einsum("n,nkl->kl", share, qty)
    there = day.row_qty > 0
    gaps = np.where(there, np.abs(day.row_px - day.row_px[:, :, :1]), 0)
    held = np.einsum("n,nkl->l", share, there.astype(np.float64))
    gap = np.einsum("n,nkl->l", share, gaps.astype(np.float64)) / np.maximum(held, 1e-12)
    orders = market_orders(day)
    nan = float("nan")
    rates = {
        "limit_rate": nan,
        "cancel_rate": nan,
        "execution_rate": nan,
        "limit_size": nan,
        "cancel_size": nan,
    }
    if isinstance(day, Recording):
        limit, cancel = day.type == SUBMIT, (day.type == REDUCE) | (day.type == DELETE)
        rates = {
            "limit_rate": limit.sum() / seconds,
            "cancel_rate": cancel.sum() / seconds,
            "execution_rate": (day.type == EXECUTE).sum() / seconds,
            "limit_size": _mean(day.qty[limit]),
            "cancel_size": _mean(day.qty[cancel]),
        }
    m = mid(day)
    return Facts(
        name=day.name,
        date=day.date,
        seconds=seconds,
        levels=day.levels,
        messages=day.rows,
        price=float(m[0]),
        **{k: float(v) for k, v in rates.items()},
        market_rate=len(orders.time) / seconds,
        market_size=_mean(orders.qty),
        hidden_share=float(orders.hidden.sum() / max(orders.qty.sum(), 1)),
        spread=float(share @ spread),
        spread_median=_quantile(spread, share, 0.5),
        depth_best=float(by_level[:, 0].mean()),
        depth_bid=float(by_level[0, 0]),
        depth_ask=float(by_level[1, 0]),
        volatility={h: float(np.std(returns(day, h)) * np.mean(m)) for h in HORIZONS if seconds >= 3 * h},
        depth_by_level=[float(x) for x in by_level.mean(axis=0)],
        gap_by_level=[float(x) for x in gap],
    )


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _quantile(x: np.ndarray, share: np.ndarray, q: float) -> float:
    order = np.argsort(x, kind="stable")
    return float(x[order][np.searchsorted(np.cumsum(share[order]), q)])


def first_second(day: Day) -> int:
    """Where sampling starts, ns: the window's start, or the first whole second of Snapshots (none holds before it)."""
    return -(-int(day.time[0]) // NS) * NS if isinstance(day, Snapshots) else day.start


def sample(day: Day, horizon: float, start: int | None = None, end: int | None = None) -> np.ndarray:
    """(k,) row in force every `horizon` seconds from `start` to `end` (ns; the day's own by default)."""
    start, end = first_second(day) if start is None else start, day.end if end is None else end
    grid = np.arange(start, end + 1, round(horizon * NS))
    return np.maximum(np.searchsorted(day.time, grid, side="right") - 1, 0)


def returns(day: Day, horizon: float, start: int | None = None, end: int | None = None) -> np.ndarray:
    """(k,) log returns of the mid over `horizon` seconds, one after another."""
    return np.diff(np.log(mid(day)[sample(day, horizon, start, end)]))


def correlation(days: Sequence[Day], horizon: float) -> np.ndarray:
    """(A, A) correlation of mid returns over `horizon` seconds in the window all share; 0 where an asset never moves."""
    start, end = max(first_second(d) for d in days), min(d.end for d in days)
    if end - start < 3 * horizon * NS:
        raise DataError(f"{', '.join(d.name for d in days)}: share less than three horizons of {horizon:g} s")
    r = np.stack([returns(d, horizon, start, end) for d in days])
    r = r - r.mean(axis=1, keepdims=True)
    size = np.sqrt((r * r).sum(axis=1))
    c = r @ r.T / np.maximum(np.outer(size, size), 1e-300)
    np.fill_diagonal(c, 1.0)
    return c
