"""Schedules by hand, against Almgren and Chriss's own numbers, and what holds for every taker with a target."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Standing, lots, market

from lobgraph.agents.strategy import StrategyError, make_strategy
from lobgraph.agents.takers import (
    AlmgrenChriss,
    Execution,
    Immediate,
    Pov,
    Twap,
    Vwap,
    WaitThenCross,
    follow,
    holdings,
    urgency,
)

EVERY = ("immediate", "twap", "vwap", "pov", "almgren_chriss:kappa=0.3", "wait_then_cross")


def standing(
    step: int, held: int = 0, target: int = 20, steps: int = 10, mid: float = 1000.0, **arrays
) -> Standing:
    """One book around `mid` with spread 2; orders of at most 10 lots."""
    cfg = market(taker={}, steps=steps)
    bid, ask = [[int(mid - 1)]], [[int(mid + 1)]]
    return Standing(cfg, "taker", bid, ask, step, inventory=held, target=target, **arrays)


def run(strategy: Execution, target: int, steps: int = 10, mids=None, volumes=None) -> list[int]:
    """The orders of an episode in which all is filled."""
    held, orders = 0, []
    for t in range(steps):
        last = orders[-1] if orders else 0
        fills = np.zeros((1, 1, 1, 2, 2), np.int64)
        fills[..., 1, 0 if last > 0 else 1] = abs(last)
        volume = abs(last) + (volumes[t - 1] if volumes is not None and t else 0)
        mid = mids[t] if mids is not None else 1000.0
        view = standing(t, held, target, steps, mid, fills=fills, volume=volume)
        if t == 0:
            strategy.start(view)
        orders.append(int(lots(strategy.act(view))[0, 0, 0]))
        held += orders[-1]
    return orders


def test_immediate() -> None:
    assert run(Immediate(), 25) == [10, 10, 5, 0, 0, 0, 0, 0, 0, 0]
    assert run(Immediate(), -25)[:4] == [-10, -10, -5, 0]


def test_twap() -> None:
    assert run(Twap(), 20) == [2] * 10
    assert run(Twap(), -5) == [
        0,
        -1,
        -1,
        0,
        0,
        -1,
        -1,
        0,
        0,
        -1,
    ]  # rounds .5 1 1.5 2 2.5 3 3.5 4 4.5 5 to even


def test_vwap_follows_volume() -> None:
    assert run(Vwap(), 20, volumes=[30] * 10) == [2] * 10
    # One decision of TWAP, 2 of 20. Then V = 40 lots, r = 40: (40 + 40) / (40 + 9 * 40) = 1/5, in all 4.
    # Then V = 40, the rate as the weighted mean (40 w + 0) / (1 + w), w = 1/2: 13.33: (40 + 13.33) / (40 + 8 * 13.33) = .364: 7.
    orders = run(Vwap(half_life=1.0), 20, volumes=[40, 0, *[0] * 8])
    assert orders[:3] == [2, 2, 3]
    assert sum(orders) == 20


def test_pov_is_a_part_of_the_volume() -> None:
    # A fifth of all: a quarter of the others'. 12 20 8 4 lots seen: 3, 8, 10, 11 lots in all.
    orders = run(Pov(rate=0.2), 100, steps=40, volumes=[12, 20, 8, 4, *[0] * 36])
    assert orders[:6] == [0, 3, 5, 2, 1, 0]
    assert sum(orders) == 100
    assert orders[-8:] == [10] * 8  # the catch-up at the end: 89 lots left, 10 a decision
    assert orders[-9] == 9


def test_almgren_chriss_holdings_of_the_paper() -> None:
    kappa = urgency(1e-6, sigma=0.95, eta=2.5e-6, permanent=2.5e-7, dt=1.0)
    assert kappa == pytest.approx(0.607, abs=5e-4)
    left = 1e6 * holdings(kappa, dt=1.0, steps=5)
    np.testing.assert_allclose(left, [1e6, 541956, 289854, 147897, 62142, 0], atol=0.5)


def test_almgren_chriss_orders() -> None:
    strategy = AlmgrenChriss(kappa=None, risk_aversion=1e-6, sigma=0.95, eta=2.5e-6, permanent=2.5e-7)
    # Holdings of 20: 10.84 5.80 2.96 1.24 0, traded 9.16 14.20 17.04 18.76 20
    assert run(strategy, 20, steps=5) == [9, 5, 3, 2, 1]
    assert run(AlmgrenChriss(kappa=0.0), 20) == [2] * 10
    assert run(AlmgrenChriss(kappa=100.0), 8) == [8, *[0] * 9]


def test_almgren_chriss_measures_what_is_not_given() -> None:
    view = standing(0)
    strategy = AlmgrenChriss(risk_aversion=0.01)
    strategy.start(view)
    orders = run(strategy, 100, steps=40)
    assert sum(orders) == 100
    assert orders[0] > 4  # it hurries: more than a TWAP's 2.5
    with pytest.raises(StrategyError, match=r"eta must exceed permanent \* dt / 2 = 0.5, got 0.1"):
        AlmgrenChriss(sigma=1.0, eta=0.1, permanent=1.0).start(view)


@given(kappa=st.floats(0, 500), steps=st.integers(1, 400), dt=st.floats(1e-3, 100))
@settings(deadline=None)
def test_holdings_fall_from_all_to_nothing(kappa: float, steps: int, dt: float) -> None:
    left = holdings(kappa, dt, steps)
    assert left[0] == 1.0
    assert left[-1] == 0.0
    assert (np.diff(left) <= 1e-15).all()
    assert (left <= 1.0 - np.arange(steps + 1) / steps + 1e-9).all()  # never behind the TWAP


def test_wait_then_cross() -> None:
    # Arrival at 1000; buys 2 a decision at 998 or below while it waits (5 of 10), then the rest in equal parts.
    mids = [1000, 998, 999, 997, 1003, 1003, 1003, 990, 1003, 1003]
    assert run(WaitThenCross(edge=2.0, deadline=0.5, size=2), 14, mids=mids) == [0, 2, 0, 2, 0, 2, 2, 2, 2, 2]
    assert run(WaitThenCross(edge=2.0, deadline=0.5, size=2), -10, mids=mids) == [
        0,
        0,
        0,
        0,
        -2,
        -2,
        -1,
        -2,
        -1,
        -2,
    ]
    assert run(WaitThenCross(edge=5.0, deadline=1.0), 12) == [0] * 8 + [
        2,
        10,
    ]  # full orders at the last moment


def test_wait_then_cross_minds_the_spread() -> None:
    strategy, cfg = WaitThenCross(edge=0.0, deadline=1.0, size=3), market(taker={}, steps=10)
    orders = []
    for t, spread in enumerate([2, 4, 2, 2]):
        view = Standing(cfg, "taker", [[1000 - spread // 2]], [[1000 + spread // 2]], t, target=20)
        if t == 0:
            strategy.start(view)
        orders.append(int(lots(strategy.act(view))[0, 0, 0]))
    assert orders == [3, 0, 3, 3]


@given(
    text=st.sampled_from(EVERY),
    target=st.integers(-200, 200),
    steps=st.integers(20, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=120, deadline=None)
def test_takers_finish_and_never_turn(text: str, target: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mids = 1000 + np.cumsum(rng.integers(-2, 3, steps))
    orders = run(make_strategy(text), target, steps, mids, rng.poisson(8, steps))  # type: ignore[arg-type]
    assert all(order * np.sign(target) >= 0 for order in orders)
    assert max(map(abs, orders)) <= 10
    assert sum(orders) == target


@given(
    share=st.lists(st.floats(-1, 2), min_size=4, max_size=4),
    target=st.integers(-40, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_follow_keeps_within_reach_when_orders_are_not_filled(share, target, seed) -> None:
    rng = np.random.default_rng(seed)
    held = 0
    for t in range(4):
        order = int(lots(follow(standing(t, held, target, 4), np.full((1, 1, 1), share[t])))[0, 0, 0])
        assert 0 <= order * np.sign(target) <= abs(target - held)
        held += int(np.sign(order)) * int(rng.integers(0, abs(order) + 1))


def test_they_need_a_target() -> None:
    view = Standing(market(taker={"target": 0}), "taker", [[999]], [[1001]])
    with pytest.raises(StrategyError, match=r"twap: trades a target, and agents.taker.target is 0"):
        Twap().start(view)
    with pytest.raises(StrategyError, match=r"pov: rate must be above 0 and at most 0.99, got 1"):
        Pov(rate=1.0)
