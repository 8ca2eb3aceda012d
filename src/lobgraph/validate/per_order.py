"""A second, slow zero-intelligence market that shares nothing with the engine: a list of orders, one price each.

The same process as Smith, Farmer, Gillemot, Krishnamurthy (2003), written order by order with numpy's generator.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def mean_spread(limit, market, cancel, reach, warmup, seconds, rng):
    """Time average of the spread in ticks over `seconds` after `warmup`; rates per second, `limit` per tick and side.

    Every order is a price in the list of its side. A market order or a cancel removes one; where the best price lost its
    last order the list is searched for the next. A side without orders keeps its last best price, as the engine's does.
    """
    level = max(round(limit / cancel), 1)
    room = 4 * reach * level + 100_000
    bids, asks = np.empty(room, np.int64), np.empty(room, np.int64)
    n_bids, n_asks = 0, 0
    bid, ask = 0, 2
    for distance in range(2, reach + 1):
        for _ in range(level):
            bids[n_bids], asks[n_asks] = ask - distance, bid + distance
            n_bids, n_asks = n_bids + 1, n_asks + 1
    clock, area = 0.0, 0.0
    end = warmup + seconds
    while clock < end:
        rate = 2.0 * limit * reach + 2.0 * market + cancel * (n_bids + n_asks)
        later = clock + rng.exponential(1.0 / rate)
        if later > warmup:
            area += (ask - bid) * (min(later, end) - max(clock, warmup))
        clock = later
        u = rng.random() * rate
        if u < 2.0 * limit * reach:  # a limit order
            distance = rng.integers(1, reach + 1)
            if rng.random() < 0.5:
                bids[n_bids] = ask - distance
                bid = bids[n_bids] if n_bids == 0 else max(bid, bids[n_bids])
                n_bids += 1
            else:
                asks[n_asks] = bid + distance
                ask = asks[n_asks] if n_asks == 0 else min(ask, asks[n_asks])
                n_asks += 1
            continue
        sell = True
        which = -1
        if u < 2.0 * limit * reach + 2.0 * market:  # a market order takes an order at the best price
            sell = rng.random() < 0.5
            if sell:
                for i in range(n_bids):
                    if bids[i] == bid:
                        which = i
                        break
            else:
                for i in range(n_asks):
                    if asks[i] == ask:
                        which = i
                        break
        else:  # each order is equally likely to be cancelled
            which = rng.integers(0, n_bids + n_asks)
            sell = which < n_bids
            if not sell:
                which -= n_bids
        if which < 0:
            continue
        if sell:
            gone = bids[which]
            n_bids -= 1
            bids[which] = bids[n_bids]
            if gone == bid and n_bids > 0:
                bid = bids[:n_bids].max()
        else:
            gone = asks[which]
            n_asks -= 1
            asks[which] = asks[n_asks]
            if gone == ask and n_asks > 0:
                ask = asks[:n_asks].min()
    return area / seconds
