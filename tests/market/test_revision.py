"""Stale quotes: which are withdrawn, where their lots come back, how often, and that agents' orders stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import config
from numba import njit

from lobgraph.market import book as bk
from lobgraph.market import flow as fl
from lobgraph.market import state as ms
from lobgraph.market import tables
from lobgraph.market.rng import U64
from lobgraph.validate.races import make_book

SURE = 1e6  # revisions per second: one in every step
BIDS, ASKS = range(960, 1000), range(1001, 1041)


@njit(cache=True)
def revise(b, f, fundamental, key):
    fl.revise(b, f, 0, fundamental, U64(key))


def book(bids: dict[int, int], asks: dict[int, int], agents: int = 1) -> ms.Book:
    """Noise lots by price, in a window that holds them all."""
    b = make_book(256, max(bids), min(asks), 0, 0, agents)
    for side, levels in ((1, bids), (-1, asks)):
        for px, lots in levels.items():
            bk.rest_lots(b, side, px, lots, bk.NOBODY)
    return b


def levels(b: ms.Book) -> tuple[dict[int, int], dict[int, int]]:
    """Lots by price of both sides."""
    found: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for px in range(b.head[ms.LOW], b.head[ms.LOW] + len(b.qty)):
        if lots := int(b.qty[px & (len(b.qty) - 1)]):
            found[0 if px <= b.head[ms.BID] else 1][px] = lots
    return found


def revised(bids: dict[int, int], asks: dict[int, int], fundamental: float) -> list[dict[int, int]]:
    """The rule on dictionaries: level by level, seen from the side that is to rise."""
    up = 2 * fundamental > max(bids) + min(asks)
    way = 1 if up else -1
    own, stale = (
        {way * px: lots for px, lots in side.items()} for side in ((bids, asks) if up else (asks, bids))
    )
    last = min(stale)
    while stale and min(stale) < way * fundamental - 0.5:
        px = min(stale)
        lots = stale.pop(px)
        last = min(stale, default=px)
        at = min(max(own) + last - px, px)
        own[at] = own.get(at, 0) + lots
    sides = [{way * px: lots for px, lots in side.items()} for side in (own, stale)]
    return sides if up else sides[::-1]


def flow(rate: float = SURE, dt: float = 1.0) -> ms.Flow:
    return tables.make_flow(config({"revision_rate": rate}, market={"dt": dt}))


side_of = lambda prices: st.dictionaries(st.sampled_from(prices), st.integers(1, 50), min_size=1, max_size=12)  # noqa: E731


@given(side_of(BIDS), side_of(ASKS), st.integers(940 * 65536, 1060 * 65536))
def test_levels_are_those_of_the_rule(bids, asks, fundamental):
    b = book(bids, asks)
    revise(b, flow(), fundamental, 3)
    assert list(levels(b)) == revised(bids, asks, fundamental / 65536)
    assert b.head[ms.NOISE_BID] + b.head[ms.NOISE_ASK] == sum(bids.values()) + sum(asks.values())
    assert b.head[ms.BID] < b.head[ms.ASK]


@pytest.mark.parametrize(("fundamental", "bid", "ask"), [
    (1000.5, 1000, 1001), (1001.5, 1000, 1001), (1001.6, 1001, 1002), (1003.4, 1002, 1003), (999.5, 1000, 1001),
    (999.4, 999, 1000), (998.0, 998, 999),
])  # fmt: skip
def test_a_one_tick_market_moves_by_whole_ticks_when_more_than_half_of_one_is_due(fundamental, bid, ask):
    full = dict.fromkeys(range(980, 1001), 5), dict.fromkeys(range(1001, 1021), 7)
    b = book(*full)
    revise(b, flow(), round(fundamental * 65536), 3)
    assert (b.head[ms.BID], b.head[ms.ASK]) == (bid, ask)


def test_a_wide_spread_stays_as_wide():
    b = book({990: 5, 985: 5}, {1000: 7, 1004: 7, 1010: 7})
    revise(b, flow(), 1002 * 65536, 3)
    assert levels(b) == ({985: 5, 990: 5, 994: 7}, {1004: 7, 1010: 7})


def test_agents_keep_their_orders_and_the_best_price():
    """Only noise is withdrawn: an agent's offer at the stale price is the best then, with nothing ahead, and is not crossed."""
    b = book({1000: 5, 999: 5}, {1001: 7, 1002: 7})
    bk.place(b, 1, 1001, 3, ms.CANCEL_RESTING, 1)
    bk.remark(b)
    assert b.ahead[1] == 7
    revise(b, flow(), 1003 * 65536, 3)
    assert (b.rest[1], b.ahead[1]) == (3, 0)
    assert levels(b) == ({999: 5, 1000: 5 + 7 + 7}, {1001: 3})


@pytest.mark.parametrize(("rate", "dt"), [(0.3, 1.0), (2.0, 0.25), (0.0, 1.0)])
def test_how_often(rate, dt):
    f, count = flow(rate, dt), 0
    for key in range(2000):
        b = book({1000: 1}, {1001: 1, 1002: 1})
        revise(b, f, 1002 * 65536, key)
        count += int(b.head[ms.ASK] > 1001)
    chance = -np.expm1(-rate * dt)
    assert abs(count - 2000 * chance) <= 4.5 * np.sqrt(2000 * chance * (1 - chance))
