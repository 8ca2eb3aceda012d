"""A recorded day -> the noise flow's tables: rates by distance from the opposite best, and size distributions.

Files show L levels only: events and resting lots deeper than that are missing, so that rates fall off at large distance
and a market run on the raw tables is thinner than the recorded one (`refine` makes up for it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .distance import net_changes, rates_by_distance, traded_part
from .facts import Day, market_orders
from .recording import DELETE, REDUCE, SUBMIT, DataError, Recording

COVER = 0.995  # share of limit orders within the table; the rest is placed at its end
MAX_DISTANCE = 2048
MAX_SIZES = 200
POOL = 0.02  # a cancel rate is pooled over neighbours until they hold this share of the resting lots


@dataclass(frozen=True)
class Tables:
    """Measured flow of one book. Rates per second and side, index 0 at one tick from the opposite best."""

    limit_rates: np.ndarray  # (D,) float64 limit orders
    cancel_rates: np.ndarray  # (D,) float64 fraction of the resting lots
    market_rate: float  # market orders
    cancel_events: float  # cancels per second, both sides
    limit_size: tuple[np.ndarray, np.ndarray]  # values (B,) int64 lots, weights (B,) float64
    market_size: tuple[np.ndarray, np.ndarray]
    cancel_size: tuple[np.ndarray, np.ndarray]
    resting: float  # mean lots per tick and side within the table
    net: bool  # flows are net changes between snapshots, not messages


def measure_tables(day: Day) -> Tables:
    """Measure one book. Raises DataError where a kind of event never occurs."""
    reach = min(
        int(np.abs(day.row_px[:, ::-1, 0][:, :, None] - day.row_px)[day.row_qty > 0].max()),
        MAX_DISTANCE,
    )
    full = rates_by_distance(day, max(reach, 1))
    total = full.limit_orders.sum() + full.limits_beyond
    if total <= 0:
        raise DataError(f"{day.name}: no limit order in the file; nothing to calibrate from")
    inside = int(np.searchsorted(np.cumsum(full.limit_orders), COVER * total)) + 1
    d = min(max(inside, 8), len(full.limit_orders), MAX_DISTANCE, int(day.row_px[0].max()) // 8)
    limits = full.limit_orders[:d].copy()
    limits[-1] += total - limits.sum()
    if isinstance(day, Recording):
        limit, cancel = day.type == SUBMIT, (day.type == REDUCE) | (day.type == DELETE)
        limit_sizes, cancel_sizes = day.qty[limit], day.qty[cancel]
    else:
        row, side, away, change = net_changes(day)
        gone = np.where(change < 0, -change - traded_part(day, row, side, away, change), 0)
        limit_sizes, cancel_sizes = change[change > 0], gone[gone > 0]
    orders = market_orders(day)
    for what, sizes in (("cancel", cancel_sizes), ("market order", orders.qty)):
        if len(sizes) == 0:
            raise DataError(f"{day.name}: no {what} in the file; nothing to calibrate from")
    limits *= len(limit_sizes) / (2.0 * day.seconds * limits.sum())
    return Tables(
        limit_rates=limits,
        cancel_rates=pooled(full.cancelled_shares[:d], full.mean_shares[:d]),
        market_rate=len(orders.time) / day.seconds / 2.0,
        cancel_events=len(cancel_sizes) / day.seconds,
        limit_size=size_distribution(limit_sizes),
        market_size=size_distribution(orders.qty),
        cancel_size=size_distribution(cancel_sizes),
        resting=float(full.mean_shares[:d].mean()),
        net=not isinstance(day, Recording),
    )


def pooled(lost: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(D,) lost / held, each over the nearest distances that together hold the share POOL of all."""
    need = POOL * held.sum()
    lost, held = np.concatenate([[0.0], np.cumsum(lost)]), np.concatenate([[0.0], np.cumsum(held)])
    d = len(lost) - 1
    rates = np.zeros(d)
    for i in range(d):
        low, high = i, i + 1
        while held[high] - held[low] < need and (low > 0 or high < d):
            low, high = max(low - 1, 0), min(high + 1, d)
        rates[i] = (lost[high] - lost[low]) / max(held[high] - held[low], 1e-12)
    return rates


def size_distribution(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights of at most MAX_SIZES sizes: the most frequent ones exactly, the rest in equally filled bins."""
    values, counts = np.unique(np.asarray(sizes, np.int64), return_counts=True)
    if len(values) > MAX_SIZES:
        keep = np.zeros(len(values), bool)
        keep[np.argsort(-counts, kind="stable")[: MAX_SIZES // 2]] = True
        rest, weight = values[~keep], counts[~keep]
        bins = np.minimum((np.cumsum(weight) - 1) * (MAX_SIZES // 2) // weight.sum(), MAX_SIZES // 2 - 1)
        filled = np.bincount(bins, weights=weight)
        middle = np.bincount(bins, weights=weight * rest)[filled > 0] / filled[filled > 0]
        values = np.concatenate([values[keep], np.maximum(np.round(middle), 1).astype(np.int64)])
        counts = np.concatenate([counts[keep], filled[filled > 0]])
    return merged(values, counts / counts.sum())


def merged(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct values with the sums of their weights."""
    distinct, where = np.unique(values, return_inverse=True)
    return distinct, np.bincount(where, weights=weights)


def scaled(size: tuple[np.ndarray, np.ndarray], factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of `factor` times the size, rounded, at least one lot."""
    return merged(np.maximum(np.round(size[0] * factor), 1).astype(np.int64), size[1])


def stretched(rates: np.ndarray, stretch: float, width: float) -> np.ndarray:
    """(D',) rates with every distance d moved to stretch * (m + width * (d - m)), m their mean; the total stays.

    Mass moved below one tick goes to the first tick. Bins are moved as intervals, so that nothing is lost to rounding.
    """
    d = np.arange(1, len(rates) + 1, dtype=np.float64)
    m = float(d @ rates / rates.sum())
    low, high = (stretch * (m + width * (d + half - m)) for half in (-0.5, 0.5))
    edges = np.arange(1, max(int(np.ceil(high.max())), 1) + 1) + 0.5
    below = np.clip((edges[:, None] - low) / np.maximum(high - low, 1e-9), 0.0, 1.0) @ rates
    below[-1] = rates.sum()
    return np.maximum(np.diff(below, prepend=0.0), 0.0)
