"""Rates that depend on the state of the book: multipliers of the tables by spread and lots at the best price, placement
by spread (Huang, Lehalle, Rosenbaum 2015), from the events and the book between them.

Between two events the state is constant, so that the maximum of the likelihood is events over expected events in each
cell. Rare cells are drawn towards what spread and lots say each alone. Expected events may carry what else drives the
rates (excitation, time of day): then the multipliers hold beside these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..config import KINDS
from .events import CANCEL, LIMIT, MARKET, Events
from .facts import Day
from .tables import Tables

QUANTILES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9)  # of the time, where bins end
PRIOR = 20.0  # events that the product of both marginals is worth in a cell
PLACED = 50.0  # limit orders that the placement at all spreads is worth in that of one bin


class States(NamedTuple):
    """The book before each event and after the last: n + 1 stretches of time, sides [bid, ask]."""

    seconds: np.ndarray  # (n + 1,) float64 length; 0 where the book is one-sided or crossed
    spread: np.ndarray  # (n + 1,) int64 ticks
    queue: np.ndarray  # (n + 1, 2) int64 lots at the best price
    leaving: np.ndarray  # (n + 1, 2) float64 cancels per second by the table, in events


@dataclass(frozen=True)
class ReactiveFit:
    """Multipliers and placement by state. S bins of the spread, Q of the lots at the best price."""

    spreads: np.ndarray  # (S,) int64 smallest spread of each bin
    queues: np.ndarray  # (Q,) int64 smallest lots of each bin
    multipliers: np.ndarray  # (3, S, Q) float64 by kind
    events: np.ndarray  # (3, S, Q) float64 events seen
    expected: np.ndarray  # (3, S, Q) float64 events expected without multipliers, as many in all
    placement: np.ndarray  # (S, D) float64 share of the limit orders at each entry of limit_rates
    gain: np.ndarray  # (3,) float64 log likelihood above that without multipliers, per event

    def section(self) -> dict[str, Any]:
        """ReactiveConfig's fields."""
        tables = {k: _rounded(m) for k, m in zip(KINDS, self.multipliers, strict=True)}
        bins = {"spreads": [int(v) for v in self.spreads], "queues": [int(v) for v in self.queues]}
        return bins | tables | {"placement": _rounded(self.placement)}

    def figures(self) -> dict[str, float]:
        """Named numbers of the fit, for tables."""
        found = {"bins of the spread": float(len(self.spreads)), "bins of the queue": float(len(self.queues))}
        for i, kind in enumerate(KINDS):
            found[f"{kind}: log likelihood gain per event"] = float(self.gain[i])
            found[f"{kind}: smallest multiplier"] = float(self.multipliers[i].min())
            found[f"{kind}: largest multiplier"] = float(self.multipliers[i].max())
            found[f"{kind}: fewest events in a cell"] = float(self.events[i].min())
        return found


def fit_reactive(
    flow: Events, states: States, tables: Tables, drive: np.ndarray | None = None
) -> ReactiveFit:
    """Fit to the events of one day. `drive` (n + 1, 3, 2) float64: mean over each stretch of what else multiplies the
    rates, by kind and side (None: nothing does)."""
    drive = np.ones((len(states.seconds), 3, 2)) if drive is None else drive
    spreads = edges(states.spread, states.seconds, 1)
    queues = edges(states.queue.ravel(), np.repeat(states.seconds, 2), 0)
    shape = len(spreads), len(queues)
    cell = cells(states, spreads, queues)
    seen = np.zeros((3, *shape))
    live = np.flatnonzero((states.seconds[:-1] > 0) | (states.spread[:-1] > 0))
    np.add.at(seen.reshape(3, -1), (flow.kind[live], cell[live, flow.kind[live], flow.side[live]]), 1.0)
    wait = exposure(states) * drive
    expected = np.stack(
        [np.bincount(cell[:, j].ravel(), wait[:, j].ravel(), seen[0].size).reshape(shape) for j in range(3)]
    )
    expected *= (seen.sum(axis=(1, 2)) / np.maximum(expected.sum(axis=(1, 2)), 1e-300))[:, None, None]
    multipliers = np.stack([shrunk(s, e) for s, e in zip(seen, expected, strict=True)])
    multipliers *= (seen.sum(axis=(1, 2)) / (multipliers * expected).sum(axis=(1, 2)))[:, None, None]
    gain = (seen * np.log(np.maximum(multipliers, 1e-300))).sum(axis=(1, 2)) / seen.sum(axis=(1, 2))
    placed = placement(flow, states, tables, spreads)
    return ReactiveFit(spreads, queues, multipliers, seen, expected, placed, gain)


def states_of(day: Day, flow: Events, tables: Tables) -> States:
    """The book in each stretch between events."""
    before = np.append(flow.row - 1, day.rows - 1)
    px, qty = day.row_px[before].astype(np.int64), day.row_qty[before].astype(np.int64)
    both = (qty[:, :, 0] > 0).all(axis=1) & (px[:, 0, 0] < px[:, 1, 0])
    spread = np.where(both, px[:, 1, 0] - px[:, 0, 0], 0)
    best = px[:, :, 0] if tables.reference == "own" else px[:, ::-1, 0]
    away = np.abs(px - best[:, :, None]) - (0 if tables.reference == "own" else 1)
    rate = tables.cancel_rates[np.clip(away, 0, len(tables.cancel_rates) - 1)]
    mean = float(tables.cancel_size[0] @ tables.cancel_size[1])
    seconds = np.diff(np.concatenate([[0.0], flow.time, [flow.seconds]]))
    return States(np.where(both, seconds, 0.0), spread, qty[:, :, 0], (qty * rate).sum(axis=2) / mean)


def exposure(states: States) -> np.ndarray:
    """(n + 1, 3, 2) events that the tables expect in each stretch, by kind and side; limit and market orders up to a factor."""
    wait = np.repeat(states.seconds[:, None, None], 6, axis=1).reshape(-1, 3, 2)
    wait[:, CANCEL] *= states.leaving
    return wait


def cells(states: States, spreads: np.ndarray, queues: np.ndarray) -> np.ndarray:
    """(n + 1, 3, 2) int64 cell s Q + q that holds for each kind and side: market orders look at what they would meet."""
    s = np.searchsorted(spreads, states.spread, side="right") - 1
    q = np.searchsorted(queues, states.queue, side="right") - 1
    own = np.maximum(s, 0)[:, None] * len(queues) + q
    found = np.empty((len(s), 3, 2), np.int64)
    found[:, LIMIT], found[:, MARKET], found[:, CANCEL] = own, own[:, ::-1], own
    return found


def edges(values: np.ndarray, seconds: np.ndarray, first: int) -> np.ndarray:
    """(B,) int64 smallest value of each bin, from `first` up: bins of about equal time, none of which splits a value."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(seconds[order]) / seconds.sum()
    at = [int(values[order][np.searchsorted(share, q)]) for q in QUANTILES]
    return np.unique([first, *(v for v in at if v > first)]).astype(np.int64)


def shrunk(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(S, Q) seen / expected, drawn towards the product of both marginals by PRIOR events."""
    row = _ratio(seen.sum(axis=1), expected.sum(axis=1), 1.0)[:, None]
    product = row * _ratio(seen.sum(axis=0), (expected * row).sum(axis=0), 1.0)
    return _ratio(seen, expected * product, 1.0) * product


def _ratio(seen: np.ndarray, expected: np.ndarray, prior: float) -> np.ndarray:
    """The mean of a Poisson rate's posterior, its prior a Gamma law of mean `prior` that is worth PRIOR events."""
    return (seen + PRIOR * prior) / (expected + PRIOR)


def placement(flow: Events, states: States, tables: Tables, spreads: np.ndarray) -> np.ndarray:
    """(S, D) share of the limit orders at each entry of the table, by spread; few orders are filled up with the table's
    own placement, as far as a spread of the bin has room for it."""
    use = np.flatnonzero((flow.kind == LIMIT) & (states.spread[:-1] > 0))
    bins = np.searchsorted(spreads, states.spread[use], side="right") - 1
    entry = tables.entry(flow.away[use], states.spread[use])
    counts = np.zeros((len(spreads), len(tables.limit_rates)))
    np.add.at(counts, (bins, entry), 1.0)
    widest = np.append(spreads[1:] - 1, max(int(states.spread.max()), int(spreads[-1])))
    for b, spread in enumerate(widest):
        usual = tables.limit_rates.copy()
        if tables.reference == "own":
            usual[: max(tables.inside - int(spread) + 1, 0)] = 0.0
        counts[b] += PLACED * usual / max(usual.sum(), 1e-300)
    return counts / counts.sum(axis=1, keepdims=True)


def scale_of(fit: ReactiveFit | None, states: States, activity: np.ndarray | None = None) -> np.ndarray:
    """(n + 1, 3, 2) what tables, multipliers and `activity` (n + 1, 3, 2) say of the rates in each stretch, over their time
    average."""
    rate = np.ones((len(states.seconds), 3, 2)) if activity is None else activity.copy()
    rate[:, CANCEL] *= states.leaving
    if fit is not None:
        cell = cells(states, fit.spreads, fit.queues)
        rate *= np.stack([fit.multipliers[j].ravel()[cell[:, j]] for j in range(3)], axis=1)
    mean = np.einsum("n,njs->j", states.seconds, rate) / (2.0 * states.seconds.sum())
    return np.maximum(rate / mean[:, None], 1e-3)


def _rounded(table: np.ndarray) -> list[list[float]]:
    return [[float(f"{v:.4g}") for v in row] for row in table]
