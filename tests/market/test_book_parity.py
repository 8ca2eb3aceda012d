"""The price-level book against the per-order exchanges, fill for fill; FIFO cases worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from parity import (
    EVENTS,
    POLICIES,
    cancel,
    fills_of,
    limit,
    long_streams,
    market,
    place,
    play,
    policies,
    quote,
    recentre,
    stream,
    streams,
    take,
)  # fmt: skip

from lobgraph.validate.exchange import NOISE

both = pytest.mark.parametrize("matching", ["fifo", "pro_rata"])


@both
@pytest.mark.parametrize("seed", range(5))
def test_random_streams(matching, seed):
    events = stream(matching, seed, 20_000)
    allowed = POLICIES[seed % len(POLICIES)] == "allow"
    never = "self-trade prevented" if allowed else "self-trade"
    assert {name for name in EVENTS if not events[name]} == {never}


@both
@pytest.mark.slow
def test_long_random_streams(matching):
    """1.2 million commands without a difference, in which everything that can happen has happened often."""
    events = long_streams(matching)
    assert not {name: n for name, n in events.items() if n < 500}


@both
@settings(max_examples=300)
@given(commands=streams, self_trade=policies)
def test_any_stream(matching, commands, self_trade):
    play(*commands, matching=matching, self_trade=self_trade)


@both
@pytest.mark.slow
@settings(max_examples=5_000)
@given(commands=streams, self_trade=policies)
def test_any_stream_at_length(matching, commands, self_trade):
    play(*commands, matching=matching, self_trade=self_trade)


def test_no_commands():
    play()


# --- cases worked by hand: the oracle itself must be right, too ---


def test_first_come_first_served():
    """Noise 5, agent 0's 3, agent 1's 2, noise 4 at one bid: a sale of 9 fills them in that order."""
    x = play(
        limit(1, -1, 5),
        place(0, 1, -1, 3),
        place(1, 1, -1, 2),
        limit(1, -1, 4),
        market(-1, 9),
    )
    assert fills_of(x) == [(NOISE, NOISE, -1, 999, 5), (0, NOISE, -1, 999, 3), (1, NOISE, -1, 999, 1)]
    assert x.ahead(x.own[1, 1]) == 0
    assert x.own[1, 1].qty == 1
    assert x.accounts[0].inventory == 3
    assert x.accounts[0].cash == -3 * 999
    assert x.accounts[NOISE].inventory == -4  # 5 of the 9 lots were noise among itself


def test_marketable_limit_trades_then_rests():
    x = play(limit(-1, 1, 4), limit(-1, 2, 4), limit(-1, 3, 4), place(2, 1, 2, 10))
    assert fills_of(x) == [(NOISE, 2, 1, 1001, 4), (NOISE, 2, 1, 1002, 4)]
    assert (x.own[2, 1].px, x.own[2, 1].qty) == (1002, 2)
    assert x.best == {1: 1002, -1: 1003}


def test_post_only_slides_and_never_takes():
    x = play(
        limit(-1, 1, 4), limit(1, -1, 4), place(0, 1, 3, 2, post_only=1), place(1, -1, -5, 2, post_only=1)
    )
    assert fills_of(x) == []
    assert (x.own[0, 1].px, x.own[1, -1].px) == (1000, 1001)


def test_noise_cancel_takes_its_run_of_noise_lots_only():
    """Queue: 3 noise, agent 0's 2, 3 noise. Lots 4, 5, 0 (a run from number 4, wrapping) go: one of them ahead."""
    share = (4 << 16) // 6 + 1
    x = play(limit(1, -1, 3), place(0, 1, -1, 2), limit(1, -1, 3), cancel(-1, 3, share))
    assert x.ahead(x.own[0, 1]) == 2
    assert x.lots(999) == 5


def test_reducing_keeps_the_place_and_requeuing_loses_it():
    quotes, fewer, more = (quote(0, -1, lots, 1, 0) for lots in (4, 2, 5))
    x = play(quotes, limit(1, -1, 3), fewer)
    assert (x.own[0, 1].qty, x.ahead(x.own[0, 1])) == (2, 0)
    x = play(quotes, limit(1, -1, 3), more)
    assert (x.own[0, 1].qty, x.ahead(x.own[0, 1])) == (5, 3)


LADDER = [limit(-1, 1, 1), place(0, -1, 1, 3), limit(-1, 1, 2)]  # asks at 1001: noise 1, agent 0's 3, noise 2


@pytest.mark.parametrize(
    ("self_trade", "fills", "resting"),
    [
        ("allow", [(NOISE, 1), (0, 3), (NOISE, 1)], None),
        ("cancel_resting", [(NOISE, 1), (NOISE, 2)], None),
        ("cancel_incoming", [(NOISE, 1)], 3),
        ("cancel_both", [(NOISE, 1)], None),
        ("decrement", [(NOISE, 1), (NOISE, 1)], None),  # 3 of the 4 lots left meet 3: both go, one trades on
    ],
)
def test_self_trade(self_trade, fills, resting):
    """An agent buys 5 through its own ask, at market and by a limit order, whose rest stays unless it is cancelled."""
    x = play(*LADDER, take(0, 1, 5), self_trade=self_trade)
    assert fills_of(x) == [(maker, 0, 1, 1001, qty) for maker, qty in fills]
    assert (x.own[0, -1].qty if (0, -1) in x.own else None) == resting
    x = play(*LADDER, place(0, 1, 1, 5), self_trade=self_trade)
    assert fills_of(x) == [(maker, 0, 1, 1001, qty) for maker, qty in fills]
    assert ((0, 1) in x.own) == (self_trade == "cancel_resting")  # bought 3 of 5 from others


def test_decrement_of_a_larger_resting_order_keeps_its_place():
    x = play(*LADDER, take(0, 1, 3), self_trade="decrement")
    assert fills_of(x) == [(NOISE, 0, 1, 1001, 1)]
    assert (x.own[0, -1].qty, x.ahead(x.own[0, -1]), x.lots(1001)) == (1, 0, 3)


@pytest.mark.parametrize("self_trade", POLICIES)
def test_an_order_that_does_not_reach_its_own_is_left_alone(self_trade):
    x = play(limit(-1, 1, 4), place(0, -1, 1, 3), take(0, 1, 4), self_trade=self_trade)
    assert fills_of(x) == [(NOISE, 0, 1, 1001, 4)]
    assert x.own[0, -1].qty == 3


def test_what_leaves_the_window_is_dropped():
    """The mid climbs 30 ticks in a window of 64: the agent's bid far below is lost, and counted."""
    climb = [c for i in range(6) for c in (limit(-1, 6, 1), market(1, 1), limit(1, 4, 1))]
    x = play(limit(1, -1, 1), place(0, 1, -30, 7), *climb, recentre())
    assert (0, 1) not in x.own
    assert x.dropped >= 7
