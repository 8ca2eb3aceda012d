"""Compiled loops of the flow's tests: one event many times over from the same book, waiting times."""

from __future__ import annotations

from numba import njit

from lobgraph.market import flow as fl
from lobgraph.market import state as ms
from lobgraph.market.features import set_bases
from lobgraph.market.rng import U64, draw

NOTHING, LIMIT, MARKET, CANCEL = range(4)


@njit(cache=True)
def outcomes(b, f, regime, a, fundamental, seed, out):
    """One event from the same book, out.shape[0] times: rows (kind, side, distance from the opposite best, lots)."""
    if f.book[a, ms.RICH]:
        set_bases(b, f, regime, a)
    rate = fl.total_rate(b, f, regime, a, fundamental)
    qty, head = b.qty.copy(), b.head.copy()
    h = b.head
    w = b.qty.shape[0]
    for i in range(out.shape[0]):
        b.qty[:] = qty
        h[:] = head
        r1, r2 = draw(U64(seed), 2 * i), draw(U64(seed), 2 * i + 1)
        if f.book[a, ms.RICH]:
            fl.typed_event(b, f, regime, a, fundamental, rate, 0.0, r1, r2)
        else:
            fl.event(b, f, regime, a, fundamental, rate, r1, r2)
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
