"""Compiled loops of the flow's tests: one event many times over from the same book, races, waiting times."""

from __future__ import annotations

import numpy as np
from numba import njit

from lobgraph.market import book as bk
from lobgraph.market import flow as fl
from lobgraph.market import state as ms
from lobgraph.market.rng import U64, draw

NOTHING, LIMIT, MARKET, CANCEL = range(4)


def make_book(window: int, bid: int, ask: int, levels: int, depth: int, agents: int = 1) -> ms.Book:
    """A book with `depth` noise lots on `levels` levels a side."""
    i32 = np.int32
    orders = [np.zeros(2 * agents, i32) for _ in range(4)]
    b = ms.Book(
        np.zeros(window, i32),
        np.zeros(ms.HEAD, np.int64),
        *orders,
        np.zeros((agents + 1, ms.ACCOUNT), np.int64),
    )
    bk.clear.py_func(b, bid, ask)
    for i in range(levels):
        b.qty[(bid - i) & (window - 1)] = depth
        b.qty[(ask + i) & (window - 1)] = depth
    b.head[[ms.NOISE_BID, ms.NOISE_ASK]] = levels * depth
    b.head[ms.ADDED] = 2 * levels * depth
    return b


@njit(cache=True)
def outcomes(b, f, regime, a, fundamental, seed, out):
    """One event from the same book, out.shape[0] times: rows (kind, side, distance from the opposite best, lots)."""
    qty, head = b.qty.copy(), b.head.copy()
    h = b.head
    w = b.qty.shape[0]
    rate = fl.total_rate(b, f, regime, a)
    for i in range(out.shape[0]):
        b.qty[:] = qty
        h[:] = head
        fl.event(b, f, regime, a, fundamental, rate, draw(U64(seed), 2 * i), draw(U64(seed), 2 * i + 1))
        out[i] = 0
        if h[ms.ADDED] > head[ms.ADDED]:
            out[i, 0] = LIMIT
        elif h[ms.TRADED] > head[ms.TRADED]:
            out[i, 0] = MARKET
            out[i, 1] = 1 if h[ms.SIGNED] > head[ms.SIGNED] else -1
            out[i, 3] = h[ms.TRADED] - head[ms.TRADED]
        elif h[ms.CANCELLED] > head[ms.CANCELLED]:
            out[i, 0] = CANCEL
        if out[i, 0] == LIMIT or out[i, 0] == CANCEL:
            for px in range(head[ms.LOW], head[ms.LOW] + w):
                change = b.qty[px & (w - 1)] - qty[px & (w - 1)]
                if change != 0:
                    bid = h[ms.OWN_BID] + h[ms.NOISE_BID] != head[ms.OWN_BID] + head[ms.NOISE_BID]
                    out[i, 1] = 1 if bid else -1
                    out[i, 2] = head[ms.ASK] - px if bid else px - head[ms.BID]
                    out[i, 3] = change if out[i, 0] == LIMIT else -change
                    break
    b.qty[:] = qty
    h[:] = head


@njit(cache=True)
def waits(f, seed, out):
    """Waiting times at unit rate as `run_flow` draws them."""
    for i in range(out.shape[0]):
        out[i] = fl.wait(f, draw(U64(seed), 2 * i + 1), 1.0)


@njit(cache=True)
def races(b, f, bid_lots, ask_lots, own, seed, count):
    """From the given lots at a spread of 1 until the mid moves, `count` times.

    own 0: returns how often the mid moves up. own 1: agent 0 owns the last lot at the bid; how often it is executed
    before the mid moves.
    """
    qty, head = b.qty.copy(), b.head.copy()
    h = b.head
    w = b.qty.shape[0]
    hits = 0
    index = 0
    for _ in range(count):
        b.qty[:] = qty
        h[:] = head
        b.rest[:] = 0
        bid, ask = h[ms.BID], h[ms.ASK]
        h[ms.NOISE_BID] += bid_lots - own - b.qty[bid & (w - 1)]
        h[ms.NOISE_ASK] += ask_lots - b.qty[ask & (w - 1)]
        b.qty[bid & (w - 1)] = bid_lots - own
        b.qty[ask & (w - 1)] = ask_lots
        if own:
            bk.place(b, 0, bid, 1, 1, 1)
        while h[ms.BID] == bid and h[ms.ASK] == ask and (not own or b.rest[0] > 0):
            rate = fl.total_rate(b, f, 0, 0)
            fl.event(b, f, 0, 0, 0, rate, draw(U64(seed), 2 * index), draw(U64(seed), 2 * index + 1))
            index += 1
        hits += b.rest[0] == 0 if own else h[ms.ASK] > ask
    b.qty[:] = qty
    h[:] = head
    b.rest[:] = 0
    return hits
