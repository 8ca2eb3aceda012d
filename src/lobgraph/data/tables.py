"""A recorded day -> the noise flow's tables: rates by distance from the opposite or the own best, and sizes.

Files show L levels only: events and resting lots deeper than that are missing, so that rates fall off at large distance
and a market run on the raw tables is thinner than the recorded one (`refine` makes up for it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import root_scalar

from .distance import rates_by_distance
from .events import CANCEL, LIMIT, MARKET, Events, events
from .facts import Day, weights
from .recording import DataError, Recording

Reference = Literal["opposite", "own"]

COVER = 0.995  # share of limit orders within the table; the rest is placed at its end
MAX_DISTANCE = 2048
MAX_SIZES = 200
ROUND = 100  # shares of a round lot
STEEPEST = 8.0  # power of the size by which weights are tilted, at most
POOL = 0.02  # a cancel rate is pooled over neighbours until they hold this share of the resting lots


def reference_of(text: str) -> Reference:
    """'own' or 'opposite', checked. Raises DataError."""
    if text == "own" or text == "opposite":
        return text
    raise DataError(f"reference: must be own or opposite, got {text!r}")


@dataclass(frozen=True)
class Tables:
    """Measured flow of one book. Rates per second and side, by distance from the best price `reference`."""

    limit_rates: np.ndarray  # (D,) float64 limit orders
    cancel_rates: np.ndarray  # (D',) float64 fraction of the resting lots
    market_rate: float  # market orders
    cancel_events: float  # cancels per second, both sides
    limit_size: tuple[np.ndarray, np.ndarray]  # values (B,) int64 lots, weights (B,) float64
    market_size: tuple[np.ndarray, np.ndarray]
    cancel_size: tuple[np.ndarray, np.ndarray]
    resting: float  # mean lots per tick and side within the table
    net: bool  # flows are net changes between snapshots, not messages
    reference: Reference = (
        "opposite"  # index 0 at one tick from the opposite best, or (cancels) at the own best
    )
    inside: int = 0  # own: entries of limit_rates before that at the own best
    round_lot: int = 1  # lots; 1: orders are not mostly round

    def entry(self, away: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Entries of limit_rates for orders `away` ticks behind the own best price at `spread`; those beyond go to the ends."""
        index = away + self.inside if self.reference == "own" else away + spread - 1
        return np.clip(index, 0, len(self.limit_rates) - 1)


def measure_tables(day: Day, reference: Reference = "opposite") -> Tables:
    """Measure one book. Raises DataError where a kind of event never occurs."""
    flow = events(day)
    kinds = np.bincount(flow.kind, minlength=3)
    for kind, what in ((LIMIT, "limit order"), (CANCEL, "cancel"), (MARKET, "market order")):
        if kinds[kind] == 0:
            raise DataError(f"{day.name}: no {what} in the file; nothing to calibrate from")
    by_distance = _from_own if reference == "own" else _from_opposite
    limits, cancels, resting, inside = by_distance(day, flow)
    sizes = [size_distribution(flow.qty[flow.kind == kind]) for kind in (LIMIT, MARKET, CANCEL)]
    return Tables(
        limit_rates=limits * (kinds[LIMIT] / (2.0 * day.seconds * limits.sum())),
        cancel_rates=cancels,
        market_rate=kinds[MARKET] / day.seconds / 2.0,
        cancel_events=kinds[CANCEL] / day.seconds,
        limit_size=sizes[0],
        market_size=sizes[1],
        cancel_size=sizes[2],
        resting=resting,
        net=not isinstance(day, Recording),
        reference=reference,
        round_lot=round_lot_of(sizes[0], day.lot),
        inside=inside,
    )


def _from_opposite(day: Day, flow: Events) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Limit orders, cancelled fraction, mean lots and `inside`, by ticks from the opposite best price."""
    reach = min(
        int(np.abs(day.row_px[:, ::-1, 0][:, :, None] - day.row_px)[day.row_qty > 0].max()),
        MAX_DISTANCE,
    )
    full = rates_by_distance(day, max(reach, 1))
    total = full.limit_orders.sum() + full.limits_beyond
    if total <= 0:
        raise DataError(f"{day.name}: no limit order in the file; nothing to calibrate from")
    cover = int(np.searchsorted(np.cumsum(full.limit_orders), COVER * total)) + 1
    d = min(max(cover, 8), len(full.limit_orders), MAX_DISTANCE, int(day.row_px[0].max()) // 8)
    limits = full.limit_orders[:d].copy()
    limits[-1] += total - limits.sum()
    return (
        limits,
        pooled(full.cancelled_shares[:d], full.mean_shares[:d]),
        float(full.mean_shares[:d].mean()),
        0,
    )


def _from_own(day: Day, flow: Events) -> tuple[np.ndarray, np.ndarray, float, int]:
    """The same by ticks behind the own best price, after the `inside` entries that better it."""
    known = (day.row_qty[flow.row - 1, flow.side, 0] > 0) & (flow.kind != MARKET)
    away = flow.away[known & (flow.kind == LIMIT)]
    inside = max(int(-np.quantile(away, 1.0 - COVER)), 1)
    d = min(max(int(np.quantile(away, COVER)) + 1, 8), MAX_DISTANCE, int(day.row_px[0].max()) // 8)
    limits = np.bincount(np.clip(away + inside, 0, inside + d - 1), minlength=inside + d).astype(np.float64)
    gone = known & (flow.kind == CANCEL) & (flow.away >= 0) & (flow.away < d)
    lost = np.bincount(flow.away[gone], flow.qty[gone].astype(np.float64), d) / (2.0 * day.seconds)
    w = weights(day)
    behind = np.abs(day.row_px - day.row_px[:, :, :1])
    use = (day.row_qty > 0) & (behind < d) & (w > 0)[:, None, None]
    held = np.bincount(behind[use], (w[:, None, None] * day.row_qty)[use], d) / (2.0 * w.sum())
    return limits, pooled(lost, held), float(held.mean()), inside


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
    """The distribution with `factor` times its mean, as far as its values allow: weights tilted by a power of the size,
    so that round lots stay round."""
    values, weights = size
    logs, want = np.log(values), np.log(factor * (values @ weights) / weights.sum())

    def tilted(power: float) -> np.ndarray:
        w = np.exp(power * (logs - logs.mean()) + np.log(np.maximum(weights, 1e-300)))
        return w / w.sum()

    def excess(power: float) -> float:
        return float(np.log(values @ tilted(power)) - want)

    if excess(-STEEPEST) >= 0 or excess(STEEPEST) <= 0:
        return values, tilted(-STEEPEST if excess(-STEEPEST) >= 0 else STEEPEST)
    return values, tilted(root_scalar(excess, bracket=(-STEEPEST, STEEPEST)).root)


def round_lot_of(size: tuple[np.ndarray, np.ndarray], lot: int) -> int:
    """Lots of a round lot (100 shares, `lot` shares a lot) where half of the orders are round, else 1."""
    if ROUND % lot:
        return 1
    round_lot = ROUND // lot
    share = size[1][size[0] % round_lot == 0].sum() / size[1].sum()
    return round_lot if share >= 0.5 else 1


def reshaped(rates: np.ndarray, inside: int, stretch: float, improve: float) -> np.ndarray:
    """(inside + D',) limit rates by ticks behind the own best, orders that better it `improve` times as many against the
    others and distances behind it stretched; those at it and the total stay."""
    behind = rates[inside + 1 :]
    if behind.sum() > 0:
        edges = 1.0 + np.maximum((np.arange(max(int(np.ceil(stretch * len(behind))), 1) + 1)) / stretch, 0.0)
        below = np.interp(edges, 1.0 + np.arange(len(behind) + 1), np.concatenate([[0.0], np.cumsum(behind)]))
        behind = np.diff(below)
    made = np.concatenate([rates[:inside] * improve, rates[inside : inside + 1], behind])
    return made * (rates.sum() / made.sum())


def stretched(rates: np.ndarray, stretch: float, width: float, mean: float | None = None) -> np.ndarray:
    """(D',) rates with every distance d moved to stretch * (m + width * (d - m)), m their (or the given) mean; the total
    stays.

    Mass moved below one tick goes to the first tick. Bins are moved as intervals, so that nothing is lost to rounding.
    """
    d = np.arange(1, len(rates) + 1, dtype=np.float64)
    m = float(d @ rates / rates.sum()) if mean is None else mean
    low, high = (stretch * (m + width * (d + half - m)) for half in (-0.5, 0.5))
    edges = np.arange(1, max(int(np.ceil(high.max())), 1) + 1) + 0.5
    below = np.clip((edges[:, None] - low) / np.maximum(high - low, 1e-9), 0.0, 1.0) @ rates
    below[-1] = rates.sum()
    return np.maximum(np.diff(below, prepend=0.0), 0.0)
