"""The scores whose distributions LOB-Bench compares (Nagy et al. 2025, arXiv:2502.09172, table of unconditional scores).

In: a Recording, or Snapshots, from which only what rows alone tell can be had. Out: per score its values and their times.
Rows are the book after each message that touches it (types 1 to 4); values are per row or message, not weighted by time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data.facts import Day, market_orders
from ..data.nasdaq10 import Snapshots
from ..data.recording import DELETE, EXECUTE, NS, REDUCE, SUBMIT, Recording

WINDOW = 100  # rows of the moving mean of order-flow imbalance
INSTANT = 1e-9  # stands for a time of 0 before the logarithm is taken
FAR = 1 << 40  # ticks: price of an empty ask side, where its best price is compared
# The score's name here and, in the order of the paper's table, what is compared. Those of CORE are the thirteen that most
# reports give; levels, volume a minute and the imbalance before moves are the benchmark's other eight.
CORE = (
    "spread", "imbalance", "log inter-arrival", "log time to cancel", "ask volume at touch", "bid volume at touch",
    "ask volume", "bid volume", "ask limit depth", "bid limit depth", "ask cancel depth", "bid cancel depth",
    "order-flow imbalance",
)  # fmt: skip
OTHERS = (
    "ask limit level", "bid limit level", "ask cancel level", "bid cancel level", "volume a minute",
    "imbalance before rises", "imbalance before no move", "imbalance before falls",
)  # fmt: skip
DISCRETE = ("spread", "ask limit level", "bid limit level", "ask cancel level", "bid cancel level")
FROM_ROWS = ("spread", "imbalance", "ask volume at touch", "bid volume at touch", "ask volume", "bid volume",
             "order-flow imbalance", "volume a minute", "imbalance before rises", "imbalance before no move",
             "imbalance before falls")  # fmt: skip


class Score(NamedTuple):
    """One score's values, in order of time."""

    time: np.ndarray  # (n,) int64 ns after midnight
    value: np.ndarray  # (n,) float64


def scores(day: Day) -> dict[str, Score]:
    """Every score that the day allows, by name: all of CORE and OTHERS from a Recording, FROM_ROWS from Snapshots.

    Prices in ticks, sizes in shares, inter-arrival times in milliseconds and times to cancel in seconds (natural
    logarithms), volume in shares a minute. Rows without both sides have no spread, and no depth refers to them.
    """
    if isinstance(day, Snapshots):
        time, px, qty = day.time, day.row_px.astype(np.int64), day.row_qty.astype(np.int64) * day.lot
        return _of_rows(time, px, qty) | {"volume a minute": _traded(day)}
    book = np.isin(day.type, (SUBMIT, REDUCE, DELETE, EXECUTE))
    time, px = day.time[book], day.row_px[book].astype(np.int64)
    qty = day.row_qty[book].astype(np.int64) * day.lot
    found = _of_rows(time, px, qty) | {"volume a minute": _traded(day)}
    found["log inter-arrival"] = Score(time[1:], _log(np.diff(time) / 1e6))
    found["log time to cancel"] = _time_to_cancel(day)
    kind, side, at = day.type[book], day.side[book], day.px[book].astype(np.int64)
    cancel = (kind == REDUCE) | (kind == DELETE)
    for name, use in (("limit", kind == SUBMIT), ("cancel", cancel)):
        found |= _depths(name, time, at, px, qty, use)
        found |= _levels(name, time, side, at, px, qty, use)
    return {name: found[name] for name in CORE + OTHERS}


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.where(x > 0, x, INSTANT))


def _of_rows(time: np.ndarray, px: np.ndarray, qty: np.ndarray) -> dict[str, Score]:
    """Scores of rows px, qty (n, 2, L) int64 alone."""
    both = (qty[:, :, 0] > 0).all(axis=1)
    touch = qty[:, :, 0].astype(np.float64)
    some = touch.sum(axis=1) > 0
    whole = qty.sum(axis=2).astype(np.float64)
    spread = (px[:, 1, 0] - px[:, 0, 0]).astype(np.float64)
    balance = (touch[:, 0] - touch[:, 1])[some] / touch.sum(axis=1)[some]
    return {
        "spread": Score(time[both], spread[both]),
        "imbalance": Score(time[some], balance),
        "ask volume at touch": Score(time, touch[:, 1]),
        "bid volume at touch": Score(time, touch[:, 0]),
        "ask volume": Score(time, whole[:, 1]),
        "bid volume": Score(time, whole[:, 0]),
    } | _flow_imbalance(time, px, qty)


def best_flow(px: np.ndarray, qty: np.ndarray) -> np.ndarray:
    """(n - 1,) float64 what came to the best bid less what left it, minus the ask's, from row to row of px, qty (n, 2, L).

    e of Cont, Kukanov and Stoikov 2014, eq. (10); an empty side's price counts as infinitely far.
    """
    bid = np.where(qty[:, 0, 0] > 0, px[:, 0, 0], -FAR)
    ask = np.where(qty[:, 1, 0] > 0, px[:, 1, 0], FAR)
    lots = qty[:, :, 0].astype(np.float64)
    up, down = np.diff(bid), np.diff(ask)
    buys = (up >= 0) * lots[1:, 0] - (up <= 0) * lots[:-1, 0]
    return buys - (down <= 0) * lots[1:, 1] + (down >= 0) * lots[:-1, 1]


def _flow_imbalance(time: np.ndarray, px: np.ndarray, qty: np.ndarray) -> dict[str, Score]:
    """The moving mean of `best_flow`, whole and by the sign of the mid's change in the row that follows."""
    names = {0: "imbalance before no move", 1: "imbalance before rises", -1: "imbalance before falls"}
    none = Score(np.zeros(0, np.int64), np.zeros(0))
    if len(time) <= WINDOW + 1:
        return {"order-flow imbalance": none} | dict.fromkeys(names.values(), none)
    total = np.cumsum(np.concatenate([[0.0], best_flow(px, qty)]))
    moving = (total[WINDOW:] - total[:-WINDOW]) / WINDOW  # entry j ends with row j + WINDOW
    both = np.asarray((qty[:, :, 0] > 0).all(axis=1))
    move = np.sign(np.diff(px[:, :, 0].sum(axis=1)))[WINDOW:]
    known = (both[1:] & both[:-1])[WINDOW:]
    by_move = {}
    for sign, name in names.items():
        use = known & (move == sign)
        by_move[name] = Score(time[WINDOW:-1][use], moving[:-1][use])
    return {"order-flow imbalance": Score(time[WINDOW:], moving)} | by_move


def _traded(day: Day) -> Score:
    """Shares a minute in each whole second that has a visible trade; snapshots also tell of hidden ones."""
    if isinstance(day, Snapshots):
        orders = market_orders(day)
        time, qty = orders.time, orders.qty
    else:
        trade = day.type == EXECUTE
        time, qty = day.time[trade], day.qty[trade]
    second, at = np.unique(time // NS, return_inverse=True)
    return Score(second * NS, np.bincount(at, weights=qty, minlength=len(second)) * day.lot * 60.0)


def _time_to_cancel(day: Recording) -> Score:
    """From an order's submission to its first cancel, partial or whole; orders that saw both only."""
    sent, gone = np.flatnonzero(day.type == SUBMIT), np.flatnonzero(np.isin(day.type, (REDUCE, DELETE)))
    orders, first = np.unique(day.order[sent], return_index=True)
    left, last = np.unique(day.order[gone], return_index=True)
    _, i, j = np.intersect1d(orders, left, assume_unique=True, return_indices=True)
    start, end = day.time[sent[first[i]]], day.time[gone[last[j]]]
    by_time = np.argsort(end, kind="stable")
    by_time = by_time[end[by_time] >= start[by_time]]
    return Score(end[by_time], _log((end - start)[by_time] / NS))


def _depths(
    name: str, time: np.ndarray, at: np.ndarray, px: np.ndarray, qty: np.ndarray, use: np.ndarray
) -> dict[str, Score]:
    """Distance in ticks of the message's price from the mid of its own row; the side is that on which it lies."""
    use = use & (qty[:, :, 0] > 0).all(axis=1)
    away = at[use] - 0.5 * px[use, :, 0].sum(axis=1)
    ask, bid = away > 0, away < 0
    when = time[use]
    return {
        f"ask {name} depth": Score(when[ask], away[ask]),
        f"bid {name} depth": Score(when[bid], -away[bid]),
    }


def _levels(
    name: str, time: np.ndarray, side: np.ndarray, at: np.ndarray, px: np.ndarray, qty: np.ndarray,
    use: np.ndarray,
) -> dict[str, Score]:  # fmt: skip
    """The level (1, 2, ...) at which a new order comes to stand, or at which a cancelled one stood before."""
    use = use.copy()
    if name == "cancel":
        px, qty = np.roll(px, 1, axis=0), np.roll(qty, 1, axis=0)
        use[0] = False
    found = {}
    for k, word, sign in ((1, "ask", -1), (0, "bid", 1)):
        own = use & (side == sign)
        here = (px[own, k] == at[own, None]) & (qty[own, k] > 0)
        seen = here.any(axis=1)
        found[f"{word} {name} level"] = Score(time[own][seen], here.argmax(axis=1)[seen] + 1.0)
    return found
