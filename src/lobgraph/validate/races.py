"""Races of the two best queues through the engine's flow: which side the mid moves to, whether an order trades first."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..market import book as bk
from ..market import flow as fl
from ..market import state as ms
from ..market.rng import U64, draw


def make_book(
    window: int, bid: int, ask: int, levels: int, depth: int, agents: int = 1, memory: int = 0
) -> ms.Book:
    """A book with `depth` noise lots on `levels` levels a side, prices in ticks. `memory`: as for make_state."""
    px, rest, ahead, shift = np.zeros((4, 2 * agents), np.int32)
    b = ms.Book(
        np.zeros(window, np.int32),
        np.zeros(ms.HEAD + memory, np.int64),
        px,
        rest,
        ahead,
        shift,
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
def races(b, f, bid_lots, ask_lots, own, seed, count):
    """From the given lots at the best prices until the mid moves, `count` times; b is put back as it was.

    own 0: returns how often the mid moves up. own 1: agent 0 owns the last lot at the bid; how often it is executed
    before the mid moves.
    """
    qty, head = b.qty.copy(), b.head.copy()
    h = b.head
    w = b.qty.shape[0]
    hits = 0
    index = 0
    bid, ask = h[ms.BID], h[ms.ASK]
    at_bid, at_ask = bid & (w - 1), ask & (w - 1)
    for _ in range(count):
        b.qty[:] = qty
        h[:] = head
        b.rest[:] = 0
        h[ms.NOISE_BID] += bid_lots - own - b.qty[at_bid]
        h[ms.NOISE_ASK] += ask_lots - b.qty[at_ask]
        b.qty[at_bid] = bid_lots - own
        b.qty[at_ask] = ask_lots
        if own:
            bk.place(b, 0, bid, 1, 1, 1)
        # an empty side keeps its last best price, so the lots there say whether the queue still stands
        while h[ms.BID] == bid and h[ms.ASK] == ask and b.qty[at_bid] > 0 and b.qty[at_ask] > 0:
            if own and b.rest[0] == 0:
                break
            rate = fl.total_rate(b, f, 0, 0, 0)
            fl.event(b, f, 0, 0, 0, rate, draw(U64(seed), 2 * index), draw(U64(seed), 2 * index + 1))
            index += 1
        if own:
            hits += b.rest[0] == 0
        else:
            hits += h[ms.BID] > bid or b.qty[at_ask] == 0
    b.qty[:] = qty
    h[:] = head
    b.rest[:] = 0
    return hits
