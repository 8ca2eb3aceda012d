"""Flow by distance from the opposite best: limit orders, cancels and resting shares, from messages or from snapshots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .facts import Day, weights
from .nasdaq10 import Snapshots
from .recording import DELETE, REDUCE, SUBMIT, Recording

MIN_SHARES = 0.5  # mean shares at a distance below which a cancel rate per share says nothing


class DistanceRates(NamedTuple):
    """By distance from the opposite best before the event, entry i at i + 1 ticks; per second and side. (D,) float64."""

    limit_orders: np.ndarray
    limit_shares: np.ndarray
    cancelled_shares: np.ndarray
    mean_shares: np.ndarray  # time-weighted mean visible shares
    limits_beyond: float  # limit orders /s and side farther than D

    @property
    def cancel_rate(self) -> np.ndarray:
        """(D,) cancelled fraction per second, NaN where too few shares rest to say."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean_shares >= MIN_SHARES, self.cancelled_shares / self.mean_shares, np.nan)


def rates_by_distance(day: Day, distances: int) -> DistanceRates:
    """Limit orders, cancels and resting shares at 1..distances ticks from the opposite best.

    From Snapshots the flows are net: a level's rise between two rows counts as one limit order, its fall, less what
    market orders took, as cancels; levels entering or leaving the recorded depth count as neither.
    """
    orders, shares, cancelled, beyond = (
        _flows(day, distances) if isinstance(day, Recording) else _net(day, distances)
    )
    w = weights(day)
    away = np.abs(day.row_px[:, ::-1, 0][:, :, None] - day.row_px)
    use = (day.row_qty > 0) & (away <= distances) & (w > 0)[:, None, None]
    lots = (w[:, None, None] * day.row_qty)[use]
    resting = np.bincount(away[use], weights=lots, minlength=distances + 1)[1:] / w.sum()
    per = 2.0 * day.seconds
    return DistanceRates(orders / per, shares / per, cancelled / per, resting / 2.0, beyond / per)


def _flows(day: Recording, distances: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    opposite = np.where(day.side > 0, np.roll(day.row_px[:, 1, 0], 1), np.roll(day.row_px[:, 0, 0], 1))
    known = np.where(day.side > 0, np.roll(day.row_qty[:, 1, 0], 1), np.roll(day.row_qty[:, 0, 0], 1)) > 0
    known[0] = False
    away = np.abs(opposite.astype(np.int64) - day.px)
    near = known & (away >= 1) & (away <= distances)

    def count(which: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
        use = near & which
        return np.bincount(away[use], weights=None if by is None else by[use], minlength=distances + 1)[1:]

    limit, cancel = day.type == SUBMIT, (day.type == REDUCE) | (day.type == DELETE)
    beyond = float((known & limit & (away > distances)).sum())
    return count(limit).astype(np.float64), count(limit, day.qty), count(cancel, day.qty), beyond


def net_changes(day: Snapshots) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Changes of lots at prices that two successive rows both show: (row, side 0 bid 1 ask, distance, change)."""
    found = []
    for k, sign in ((0, -1), (1, 1)):
        px, qty = day.row_px[:, k].astype(np.int64), day.row_qty[:, k].astype(np.int64)
        last = np.where(qty > 0, px, 0)[:, -1]  # 0: fewer than L levels, so the whole side is in view
        edge = np.where(last > 0, sign * last, np.iinfo(np.int64).max)
        seen = np.minimum(edge[1:], edge[:-1])  # prices up to here are in view before and after
        row = np.arange(1, day.rows)
        keys, lots = [], []
        for shift, factor in ((1, 1), (0, -1)):
            p, q = px[shift : day.rows - 1 + shift], qty[shift : day.rows - 1 + shift]
            use = (q > 0) & (sign * p <= seen[:, None])
            keys.append((np.broadcast_to(row[:, None], p.shape)[use] << 32) | p[use])
            lots.append(factor * q[use])
        key, where = np.unique(np.concatenate(keys), return_inverse=True)
        change = np.bincount(where, weights=np.concatenate(lots)).astype(np.int64)
        key, change = key[change != 0], change[change != 0]
        at = key >> 32
        away = np.abs(day.row_px[at - 1, 1 - k, 0] - (key & 0xFFFFFFFF))
        found.append((at, np.full(len(at), k), away, change))
    at, side, away, change = (np.concatenate(x) for x in zip(*found, strict=True))
    return at, side, away, change


def _net(day: Snapshots, distances: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    row, side, away, change = net_changes(day)
    cancels = np.where(change < 0, -change - traded_part(day, row, side, away, change), 0)
    near = (away >= 1) & (away <= distances)

    def count(which: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
        use = near & which
        return np.bincount(away[use], weights=None if by is None else by[use], minlength=distances + 1)[1:]

    rise = change > 0
    beyond = float((rise & (away > distances)).sum())
    return count(rise).astype(np.float64), count(rise, change), count(cancels > 0, cancels), beyond


def traded_part(
    day: Snapshots, row: np.ndarray, side: np.ndarray, away: np.ndarray, change: np.ndarray
) -> np.ndarray:
    """Lots of each fall that the market orders since the row before explain, from the best price outwards."""
    volume = np.zeros((day.rows, 2))
    at = np.minimum(np.searchsorted(day.time, day.order_time), day.rows - 1)
    np.add.at(volume, (at, (day.order_side > 0).astype(int)), day.order_qty)  # a buy takes asks, side 1
    fall = np.maximum(-change, 0)
    order = np.lexsort((away, side, row))
    group = (2 * row + side)[order]
    before = np.cumsum(fall[order]) - fall[order]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    before -= np.repeat(before[first], np.diff(first, append=len(group)))
    left = np.maximum(volume[row, side][order] - before, 0)
    taken = np.zeros(len(change), np.int64)
    taken[order] = np.minimum(fall[order], left)
    return taken
