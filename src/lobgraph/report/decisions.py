"""Decisions that were made, sorted into cells of (what the agent held, what the market looked like, time left).

In: a Series. Out: `Decisions`, flat arrays with an entry per decision, and their means over a grid of cells. Nothing is
asked of the strategy: what it did is read from the orders that stood or traded after each decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..evaluation.record import Series

CELLS = (11, 9)  # rows and columns of a map
FEWEST = 5  # decisions that a cell must hold to be shown
WINDOWS = ((1.0, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0.0))  # shares of the episode's time left


@dataclass(frozen=True)
class Decisions:
    """n decisions of a role's agents: where they stood and what they did."""

    x: np.ndarray  # (n,) float64
    y: np.ndarray  # (n,) float64
    left: np.ndarray  # (n,) float64 share of the episode's time left, 1 at the start
    values: Mapping[str, np.ndarray]  # what is mapped -> (n,) float64, NaN where there was none
    x_name: str
    y_name: str


VALUES = {  # role -> what is mapped; a maker's last one is a difference, the others' has a sign
    "maker": ("bid: ticks below mid", "ask: ticks above mid", "middle of quotes less mid"),
    "taker": ("lots traded",),
    "arbitrageur": ("lots traded in the first leg",),
}


def decisions(s: Series, role: str) -> Decisions:
    """Every decision of the role's agents: makers' quotes, takers' and arbitrageurs' market orders."""
    return {"maker": _quotes, "taker": _orders, "arbitrageur": _legs}[role](s, role)


def imbalance(s: Series) -> np.ndarray:
    """(T, B, A) float64 at each decision: (bid - ask) / (bid + ask) lots at the best."""
    bid, ask = s.bid_qty[:-1, ..., 0].astype(float), s.ask_qty[:-1, ..., 0].astype(float)
    return (bid - ask) / np.maximum(bid + ask, 1.0)


def _quotes(s: Series, role: str) -> Decisions:
    own = s.specs[role].agents
    placed = s.quote_px[1:, :, own]  # (T, B, K, A, 2)
    standing = (s.quote_qty[1:, :, own] > 0) | (s.passive[:, :, own] > 0)
    px = np.where(standing, placed, np.nan)
    mid = s.mid[:-1, :, None]
    offsets = (mid - px[..., 0], px[..., 1] - mid, px.mean(axis=-1) - mid)
    values = dict(zip(VALUES[role], offsets, strict=True))
    return _flat(s, role, imbalance(s)[:, :, None], s.inventory[:-1, :, own], values, "imbalance at the best",
                 "inventory (lots)")  # fmt: skip


def _orders(s: Series, role: str) -> Decisions:
    own = s.specs[role].agents
    traded = s.aggressive[:, :, own, :, 0] - s.aggressive[:, :, own, :, 1]  # (T, B, K, A)
    target = s.target[:, own]
    if not target.any():
        return _flat(s, role, imbalance(s)[:, :, None], s.inventory[:-1, :, own], {"lots traded": traded},
                     "imbalance at the best", "inventory (lots)")  # fmt: skip
    side = np.sign(target).astype(float)
    left = 100.0 * np.abs(s.remaining[:-1, :, own]) / np.maximum(np.abs(target), 1)
    towards = np.where(left > 0, side * traded, np.nan)  # with nothing left there is nothing to decide
    return _flat(s, role, side * imbalance(s)[:, :, None], left, {"lots traded": towards},
                 "imbalance, + favours its side", "still to trade (% of target)")  # fmt: skip


def _legs(s: Series, role: str) -> Decisions:
    own = s.specs[role].agents
    first, second = s.cfg.pairs.T
    level = s.mid[:-1] - s.mid[:1]
    venues = s.mid[:-1] - s.cfg.market.prices
    under = s.cfg.market.underlying_index
    same = under[first] == under[second]
    gap = np.where(same, venues[..., first] - venues[..., second], level[..., first] - level[..., second])
    traded = s.aggressive[:, :, own, :, 0] - s.aggressive[:, :, own, :, 1]
    return _flat(s, role, gap[:, :, None], s.inventory[:-1, :, own][..., first],
                 {"lots traded in the first leg": traded[..., first]}, "gap of the pair (ticks)",
                 "inventory of the first leg (lots)")  # fmt: skip


def _flat(
    s: Series,
    role: str,
    x: np.ndarray,
    y: np.ndarray,
    values: Mapping[str, np.ndarray],
    x_name: str,
    y_name: str,
) -> Decisions:
    """Arrays that broadcast to (T, B, K, items), to entries of those decisions in which the agent could act."""
    steps = len(s.volume)
    left = 1.0 - np.arange(steps)[:, None, None, None] / steps
    shape = np.broadcast_shapes(x.shape, y.shape)
    acted = np.broadcast_to(s.active[:, :, s.specs[role].agents, None], shape)
    pick = [np.broadcast_to(v, shape)[acted].astype(float) for v in (x, y, left)]
    each = {name: np.broadcast_to(v, shape)[acted].astype(float) for name, v in values.items()}
    return Decisions(pick[0], pick[1], pick[2], each, x_name, y_name)


def x_edges(d: Decisions) -> np.ndarray:
    """Edges of the columns: the whole range of an imbalance, else what lies within the 1 and 99 % quantiles."""
    if d.x_name.startswith("imbalance"):
        return np.linspace(-1.0, 1.0, CELLS[1] + 1)
    reach = max(1.0, float(np.quantile(np.abs(d.x), 0.99)) if len(d.x) else 1.0)
    return np.linspace(-reach, reach, CELLS[1] + 1)


def y_edges(d: Decisions) -> np.ndarray:
    """Edges of the rows: percent of a target, or whole lots about 0 as far as 99 % of the decisions reach."""
    if d.y_name.startswith("still"):
        return np.linspace(0.0, 100.0, CELLS[0])
    reach = float(np.quantile(np.abs(d.y), 0.99)) if len(d.y) else 0.0
    step = max(1, round((2 * reach + 1) / CELLS[0]))  # lots
    rows = 2 * int(np.ceil(max(reach - step / 2, step) / step)) + 1
    return step * (np.arange(rows + 1) - rows / 2)


def cell_means(
    d: Decisions, value: str, rows: np.ndarray, columns: np.ndarray, window: tuple[float, float] = (1.0, 0.0)
) -> np.ndarray:
    """(rows, columns) mean of a value over each cell's decisions with time left in (window[1], window[0]]; NaN: too few."""
    v = d.values[value]
    use = np.isfinite(v) & (d.left <= window[0] + 1e-9) & (d.left > window[1] + 1e-9)
    where = (np.clip(d.y[use], rows[0], rows[-1]), d.x[use])
    count = np.histogram2d(*where, bins=(rows, columns))[0]
    total = np.histogram2d(*where, bins=(rows, columns), weights=v[use])[0]
    return np.where(count >= FEWEST, total / np.maximum(count, 1), np.nan)
