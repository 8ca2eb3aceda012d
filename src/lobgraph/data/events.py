"""A recorded day -> its order flow as a marked point process: limit orders, market orders and cancels of both sides.

A market order is a run of executions with one time stamp and direction. Events of one time stamp keep the file's order;
the book before row 0, which no file tells, is taken to be row 0.
From snapshots, limit orders and cancels are net changes, put at random times within their 100 ms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .distance import net_changes, traded_part
from .facts import Day
from .nasdaq10 import Snapshots
from .recording import DELETE, EXECUTE, HIDDEN, NS, REDUCE, SUBMIT, Recording

LIMIT, MARKET, CANCEL = range(3)  # as config.KINDS


class Events(NamedTuple):
    """Events in order of time. Sides: 0 buy (limit orders and cancels of the bid, buying market orders), 1 sell."""

    time: np.ndarray  # (n,) float64 seconds since the day's start
    kind: np.ndarray  # (n,) int64 LIMIT, MARKET, CANCEL
    side: np.ndarray  # (n,) int64
    row: np.ndarray  # (n,) int64 row of the day after the event (a market order's first), from 1: row - 1 is the book before
    away: (
        np.ndarray
    )  # (n,) int64 ticks behind the own best price before the event, negative: better; 0 of market orders
    qty: np.ndarray  # (n,) int64 lots
    seconds: float  # length of the window


def events(day: Day) -> Events:
    """The order flow of one day; hidden executions count as parts of market orders, halts and crosses not at all."""
    if isinstance(day, Recording):
        time, kind, side, row, away, qty = _of_messages(day)
    else:
        time, kind, side, row, away, qty = _of_snapshots(day)
    order = np.lexsort((row, time))
    row = np.maximum(row, 1)
    kind, side, row, away, qty = (x[order] for x in (kind, side, row, away, qty))
    return Events((time[order] - day.start) / NS, kind, side, row, away, qty, day.seconds)


def _of_messages(day: Recording) -> list[np.ndarray]:
    limit, gone = day.type == SUBMIT, (day.type == REDUCE) | (day.type == DELETE)
    traded = (day.type == EXECUTE) | (day.type == HIDDEN)
    at = np.flatnonzero(traded)
    first = np.flatnonzero(np.diff(day.time[at], prepend=-1) | (np.diff(day.side[at], prepend=0) != 0))
    lots = np.add.reduceat(day.qty[at].astype(np.int64), first) if len(first) else np.zeros(0, np.int64)
    at = at[first]
    row = np.concatenate([np.flatnonzero(limit | gone), at])
    kind = np.where(limit[row], LIMIT, np.where(gone[row], CANCEL, MARKET))
    buys = np.where(kind == MARKET, -day.side[row], day.side[row]) > 0
    best = day.row_px[np.maximum(row - 1, 0), :, 0].astype(np.int64)
    own = np.where(buys, best[:, 0], best[:, 1])
    away = np.where(kind == MARKET, 0, (own - day.px[row]) * np.where(buys, 1, -1))
    qty = day.qty[row].astype(np.int64)
    qty[len(qty) - len(lots) :] = lots
    return [day.time[row], kind, 1 - buys.astype(np.int64), row, away, qty]


def _of_snapshots(day: Snapshots) -> list[np.ndarray]:
    row, side, away, change = net_changes(day)
    gone = np.where(change < 0, -change - traded_part(day, row, side, away, change), 0)
    use = (change > 0) | (gone > 0)
    row, side, away, change, gone = (x[use] for x in (row, side, away, change, gone))
    best = day.row_px[row - 1, :, 0].astype(np.int64)
    away = away - (best[:, 1] - best[:, 0])  # from the opposite best -> behind the own
    part = np.random.default_rng(0).random(
        len(row)
    )  # no order among those of one interval is better than another
    time = day.time[row - 1] + (part * (day.time[1] - day.time[0])).astype(np.int64)
    kind = np.where(change > 0, LIMIT, CANCEL)
    at = np.minimum(np.searchsorted(day.time, day.order_time), day.rows - 1)
    none = np.zeros(len(at), np.int64)
    columns = (
        (time, day.order_time), (kind, none + MARKET), (side, (day.order_side < 0).astype(np.int64)), (row, at),
        (away, none), (np.where(change > 0, change, gone), day.order_qty),
    )  # fmt: skip
    return [np.concatenate(pair).astype(np.int64) for pair in columns]
