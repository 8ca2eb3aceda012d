"""The log of one book -> messages as an exchange would publish them, with order ids and the visible levels after each.

One pass over the log with a queue of orders at every price. The kernel's book knows the noise's lots, not its orders, so
the pass decides whose lots a trade or a cancel takes: a trade the oldest orders' (what agents' orders lose is in the log);
a cancel, in each stretch of the queue between agents' orders, as many lots as the kernel took there, and of these a whole
order of that many where there is one, else part of a larger one, else the largest orders whole until one of these applies.
Of several the one nearest to the place that the kernel drew is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..market.jit import inlined, kernel
from ..market.state import (
    LOG_CANCEL,
    LOG_CLEAR,
    LOG_DROP,
    LOG_FILL,
    LOG_KIND,
    LOG_LOTS,
    LOG_PLACE,
    LOG_PX,
    LOG_REST,
    LOG_SIDE,
    LOG_TIME,
    LOG_TRADE,
    LOG_WHO,
)

SUBMIT, REDUCE, DELETE, EXECUTE = 1, 2, 3, 4  # LOBSTER's message types
BEST, HELD = 0, 1  # columns of Orders.side: best price in ticks, lots
FILLED = 0  # column of Orders.now: lots of agents' orders that the trade under way takes


class Orders(NamedTuple):
    """Orders by number, number 0 meaning none, in a doubly linked queue at each price; W slots of prices, G agents."""

    lots: np.ndarray  # (N + 1,) int64
    who: np.ndarray  # (N + 1,) int64 agent, -1 for the noise
    fill: np.ndarray  # (N + 1,) int64 lots that the trade under way takes, of agents' orders
    after: np.ndarray  # (N + 1,) int64 the next order in the queue
    before: np.ndarray  # (N + 1,) int64
    first: np.ndarray  # (W,) int64 oldest order at the price in slot px & (W - 1)
    last: np.ndarray  # (W,) int64
    total: np.ndarray  # (W,) int64 lots
    own: np.ndarray  # (G, 2) int64 an agent's bid and ask
    side: np.ndarray  # (2, 2) int64 of bids and asks, columns BEST and HELD
    now: np.ndarray  # (1,) int64


class Messages(NamedTuple):
    """What `replay_log` writes; of no rows: only count."""

    text: np.ndarray  # (n, 6) int64 time [ns], type, order, side, price, lots
    row_px: np.ndarray  # (n, 2, L) int32
    row_qty: np.ndarray  # (n, 2, L) int32


def make_orders(count: int, window: int, agents: int) -> Orders:
    lots, who, fill, after, before = np.zeros((5, count + 1), np.int64)
    first, last, total = np.zeros((3, window), np.int64)
    own = np.zeros((max(agents, 1), 2), np.int64)
    side, now = np.zeros((2, 2), np.int64), np.zeros(1, np.int64)
    return Orders(lots, who, fill, after, before, first, last, total, own, side, now)


def messages(log: np.ndarray, window: int, agents: int, levels: int, since: int) -> Messages:
    """Messages from time `since` (ns) on that touch the top `levels` of either side, with the book after each.

    log: (n, LOG) int64 of one book from its making on; orders are numbered from 1 as they come to rest. Raises
    ValueError for a log that is not of one book from its start: an entry says what the orders before it do not allow.
    """
    count = int((log[:, LOG_KIND] == LOG_REST).sum())
    none = np.zeros((0, 2, levels), np.int32)
    size, fault = replay_log(
        log, make_orders(count, window, agents), Messages(np.zeros((0, 6), np.int64), none, none), since
    )
    if fault >= 0:
        raise ValueError(f"log: entry {fault} {log[fault].tolist()} does not fit the orders before it")
    out = Messages(
        np.zeros((size, 6), np.int64),
        np.zeros((size, 2, levels), np.int32),
        np.zeros((size, 2, levels), np.int32),
    )
    if size:
        replay_log(log, make_orders(count, window, agents), out, since)
    return out


@kernel()
def replay_log(log, q, out, since):
    """Returns the number of messages, and the first entry that does not fit, or -1. Writes `out` unless it has no rows."""
    number, size = 0, 0
    for i in range(log.shape[0]):
        e = log[i]
        kind, k, px = e[LOG_KIND], (1 - e[LOG_SIDE]) >> 1, e[LOG_PX]
        start = size if e[LOG_TIME] >= since else np.int64(-1)  # -1: before the recording, nothing is written
        end = start
        if kind == LOG_REST and e[LOG_LOTS] > 0:
            number += 1
            _append(q, number, k, px, e[LOG_LOTS], e[LOG_WHO])
            end = _tell(q, out, start, e, SUBMIT, number, k, e[LOG_LOTS], _seen(q, k, px, out))
        elif kind == LOG_CANCEL:
            end = _cancel(q, out, start, e, k)
        elif kind == LOG_FILL:
            order = q.own[e[LOG_WHO], k]
            q.fill[order] = e[LOG_LOTS]
            q.now[FILLED] += e[LOG_LOTS]
        elif kind == LOG_TRADE:
            end = _trade(q, out, start, e, k)
        elif kind == LOG_DROP:
            shown = _seen(q, k, px, out)
            order = q.first[px & (q.first.shape[0] - 1)]
            while order > 0:
                later, lots = q.after[order], q.lots[order]
                _take(q, order, k, px, lots)
                end = _tell(q, out, end, e, DELETE, order, k, lots, shown)
                order = later
        elif kind == LOG_CLEAR:
            _clear(q)
        if end == -2:
            return size, i
        size = max(end, size)
    return size, np.int64(-1)


# --- queues ---


@kernel()
def _clear(q):
    q.first[:] = 0
    q.last[:] = 0
    q.total[:] = 0
    q.own[:] = 0
    q.side[:] = 0


@kernel()
def _append(q, order, k, px, lots, who):
    """A new order at the end of the queue at px."""
    slot = px & (q.first.shape[0] - 1)
    q.lots[order], q.who[order] = lots, who
    q.before[order], q.after[order] = q.last[slot], 0
    if q.last[slot] > 0:
        q.after[q.last[slot]] = order
    else:
        q.first[slot] = order
    q.last[slot] = order
    q.total[slot] += lots
    if who >= 0:
        q.own[who, k] = order
    if q.side[k, HELD] == 0 or (px - q.side[k, BEST]) * (1 - 2 * k) > 0:
        q.side[k, BEST] = px
    q.side[k, HELD] += lots


@kernel()
def _take(q, order, k, px, lots):
    """Take lots off an order at px; the last ones take it out of its queue."""
    mask = q.first.shape[0] - 1
    slot = px & mask
    q.lots[order] -= lots
    q.total[slot] -= lots
    q.side[k, HELD] -= lots
    if q.lots[order] == 0:
        earlier, later = q.before[order], q.after[order]
        if earlier > 0:
            q.after[earlier] = later
        else:
            q.first[slot] = later
        if later > 0:
            q.before[later] = earlier
        else:
            q.last[slot] = earlier
        if q.who[order] >= 0:
            q.own[q.who[order], k] = 0
    if q.total[slot] == 0 and px == q.side[k, BEST] and q.side[k, HELD] > 0:
        while q.total[px & mask] == 0:
            px -= 1 - 2 * k
        q.side[k, BEST] = px


@kernel()
def _seen(q, k, px, out):
    """Whether px is among the best levels that are shown."""
    mask, step = q.first.shape[0] - 1, 1 - 2 * k
    better, at = 0, q.side[k, BEST]
    while (at - px) * step > 0:
        better += q.total[at & mask] > 0
        if better == out.row_px.shape[2]:
            return False
        at -= step
    return True


@kernel()
def _tell(q, out, at, e, kind, order, k, lots, shown):
    """Write a message and the levels after it at row `at`; returns the next row. `at` -1 or not `shown`: nothing."""
    if at < 0 or not shown:
        return at
    if out.text.shape[0] > 0:
        text = out.text[at]
        text[0], text[1], text[2], text[3], text[4], text[5] = (
            e[LOG_TIME],
            kind,
            order,
            e[LOG_SIDE],
            e[LOG_PX],
            lots,
        )
        mask = q.first.shape[0] - 1
        for s in range(2):
            px, left, level = q.side[s, BEST], q.side[s, HELD], 0
            while left > 0 and level < out.row_px.shape[2]:
                here = q.total[px & mask]
                if here > 0:
                    out.row_px[at, s, level], out.row_qty[at, s, level] = px, here
                    left -= here
                    level += 1
                px -= 1 - 2 * s
    return at + 1


# --- what takes lots ---


@kernel()
def _trade(q, out, at, e, k):
    """The noise's oldest orders, and of the agents' what LOG_FILL said, in the order of the queue."""
    px = e[LOG_PX]
    noise = e[LOG_LOTS] - q.now[FILLED]
    q.now[FILLED] = 0
    order = q.first[px & (q.first.shape[0] - 1)]
    if px != q.side[k, BEST] or noise < 0:
        return np.int64(-2)
    while order > 0:
        later = q.after[order]
        if q.who[order] >= 0:
            lots = q.fill[order]
            q.fill[order] = 0
        else:
            lots = min(q.lots[order], noise)
            noise -= lots
        if lots > q.lots[order]:
            return np.int64(-2)
        if lots > 0:
            _take(q, order, k, px, lots)
            at = _tell(q, out, at, e, EXECUTE, order, k, lots, True)
        order = later
    return at if noise == 0 else np.int64(-2)


@kernel()
def _cancel(q, out, at, e, k):
    """Part or all of an agent's order, or the noise's lots, stretch by stretch of the queue between agents' orders."""
    px, lots = e[LOG_PX], e[LOG_LOTS]
    shown = _seen(q, k, px, out)
    if e[LOG_WHO] >= 0:
        order = q.own[e[LOG_WHO], k]
        if order == 0 or q.lots[order] < lots:
            return np.int64(-2)
        kind = DELETE if q.lots[order] == lots else REDUCE
        _take(q, order, k, px, lots)
        return _tell(q, out, at, e, kind, order, k, lots, shown)
    noise = np.int64(0)
    first = q.first[px & (q.first.shape[0] - 1)]
    order = first
    while order > 0:
        noise += q.lots[order] if q.who[order] < 0 else 0
        order = q.after[order]
    if noise < lots:
        return np.int64(-2)
    begin, order = np.int64(0), first
    while order > 0:
        end, stop = begin, order
        while stop > 0 and q.who[stop] < 0:
            end += q.lots[stop]
            stop = q.after[stop]
        place = e[LOG_PLACE]
        here = _overlap(place, place + lots, begin, end) + _overlap(
            place - noise, place + lots - noise, begin, end
        )
        at = _cancel_stretch(q, out, at, e, k, order, stop, here, max(place - begin, 0), shown)
        begin = end
        order = q.after[stop] if stop > 0 else 0
    return at


@inlined()
def _overlap(a, b, c, d):
    return max(min(b, d) - max(a, c), 0)


@kernel()
def _cancel_stretch(q, out, at, e, k, order, stop, lots, place, shown):
    """Cancel `lots` of the noise's orders from `order` up to `stop`, near the one `place` lots into the stretch."""
    while lots > 0:
        best, rank, gap = (
            order,
            3,
            np.int64(0),
        )  # rank 0: an order of as many lots, 1: a larger one, 2: a smaller
        begin, other = np.int64(0), order
        while other != stop:
            own = q.lots[other]
            kind = 0 if own == lots else (1 if own > lots else 2)
            far = (
                -own if kind == 2 else max(begin - place, place - begin - own + 1, 0)
            )  # of smaller ones the largest
            if kind < rank or (kind == rank and far < gap):
                best, rank, gap = other, kind, far
            begin += own
            other = q.after[other]
        part = min(q.lots[best], lots)
        whole = part == q.lots[best]
        if whole and best == order:
            order = q.after[order]
        _take(q, best, k, e[LOG_PX], part)
        at = _tell(q, out, at, e, DELETE if whole else REDUCE, best, k, part, shown)
        lots -= part
    return at
