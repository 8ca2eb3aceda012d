"""Makers' quotes on cases worked out by hand, and what holds for all of them."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Standing, market

from lobgraph.agents.makers import (
    AtBest,
    AvellanedaStoikov,
    FixedSpread,
    Glft,
    Imbalance,
    InventorySkew,
    others_depth,
)
from lobgraph.agents.strategy import StrategyError

FLAT = np.zeros((1, 1, 2, 5), np.int64)


def asked(strategy, view: Standing) -> tuple[float, float]:
    """The bid and the ask that a strategy wants, before rounding and bounds."""
    strategy.start(view)
    strategy.act(view)
    bid, ask = view.asked
    return float(bid[0, 0, 0]), float(ask[0, 0, 0])


def standing(q: int = 0, step: int = 0, steps: int = 200, dt: float = 0.005, **arrays) -> Standing:
    """One book with mid 1000 and spread 4."""
    cfg = market(maker={}, steps=steps, dt=dt)
    return Standing(cfg, "maker", [[998]], [[1002]], step, inventory=q, **arrays)


def test_fixed_spread() -> None:
    assert asked(FixedSpread(half_spread=2.5), standing(q=7)) == (997.5, 1002.5)


def test_inventory_skew() -> None:
    assert asked(InventorySkew(half_spread=2.0, skew=0.25), standing(q=6)) == (996.5, 1000.5)
    assert asked(InventorySkew(half_spread=2.0, skew=0.25), standing(q=-6)) == (999.5, 1003.5)


# sigma 2, T 1, gamma' .1, kappa 1.5: (1 / gamma) ln(1 + gamma / kappa) = 10 ln(16 / 15) = .645385; gamma sigma^2 T = .4
@pytest.mark.parametrize(
    ("gamma", "size", "q", "step", "bid", "ask"),
    [
        (0.1, 1, 0, 0, 1000 - 0.845385, 1000 + 0.845385),
        (0.1, 1, 3, 0, 998.8 - 0.845385, 998.8 + 0.845385),
        (0.1, 1, -3, 100, 1000.6 - 0.745385, 1000.6 + 0.745385),  # half the time is left: shift .2 a lot
        (
            0.05,
            2,
            3,
            0,
            999.4 - 0.845385,
            999.4 + 0.845385,
        ),  # twice the size at half the aversion: the same spread
        (0.1, 1, 3, 200, 1000 - 0.645385, 1000 + 0.645385),  # no time left: no risk
    ],
)
def test_avellaneda_stoikov(gamma, size, q, step, bid, ask) -> None:
    strategy = AvellanedaStoikov(gamma=gamma, sigma=2.0, kappa=1.5, size=size)
    assert asked(strategy, standing(q, step)) == pytest.approx((bid, ask), abs=1e-5)


def test_avellaneda_stoikov_with_a_shorter_horizon() -> None:
    strategy = AvellanedaStoikov(gamma=0.1, sigma=2.0, kappa=1.5, horizon=0.25, size=1)
    assert asked(strategy, standing(q=3)) == pytest.approx((999.7 - 0.695385, 999.7 + 0.695385), abs=1e-5)


# gamma' = kappa = 1: c = ln 2; s = sqrt(sigma^2 / (2 A) 2^2) = 1 with sigma 2 and A 8
@pytest.mark.parametrize(
    ("gamma", "size", "q", "bid", "ask"),
    [
        (1.0, 1, 0, -0.5, 0.5),
        (1.0, 1, 2, -2.5, -1.5),
        (1.0, 1, -1, 0.5, 1.5),
        (0.25, 4, 2, -1.0, 0.0),  # two lots are half an order of four
    ],
)
def test_glft(gamma, size, q, bid, ask) -> None:
    strategy = Glft(gamma=gamma, sigma=2.0, kappa=1.0, A=8.0, size=size)
    want = 1000 - log(2) + bid, 1000 + log(2) + ask
    assert asked(strategy, standing(q, step=17)) == pytest.approx(want)


def test_glft_near_no_aversion_quotes_one_over_kappa() -> None:
    strategy = Glft(gamma=1e-9, sigma=2.0, kappa=0.8, A=1.0, size=1)
    assert asked(strategy, standing(q=5)) == pytest.approx((1000 - 1.25, 1000 + 1.25), abs=1e-3)


def test_imbalance_leans_to_the_thinner_side() -> None:
    depth = FLAT.copy()[0]
    depth[0, 0], depth[0, 1] = [9, 0, 21, 0, 0], [3, 0, 7, 0, 0]  # (9 - 3) / 12 = (30 - 10) / 40 = 1/2
    for levels in (1, 3):
        strategy = Imbalance(half_spread=2.0, lean=1.0, levels=levels, skew=0.1, size=5)
        assert asked(strategy, standing(q=10, depth=depth[None])) == (998.0, 1002.0)  # + 1/2 * 2 - 1
    weighted = (9 * 1002 + 3 * 998) / 12
    assert asked(Imbalance(2.0, 1.0, 1, 0.0), standing(depth=depth[None])) == (weighted - 2, weighted + 2)
    with pytest.raises(StrategyError, match=r"levels must be at most market.depth_levels = 5, got 6"):
        Imbalance(levels=6).start(standing())


def test_own_orders_are_left_out() -> None:
    depth, quotes = FLAT.copy(), np.zeros((1, 1, 1, 2, 3), np.int64)
    depth[0, 0] = [[5, 0, 8, 0, 0], [4, 2, 0, 0, 0]]
    quotes[0, 0, 0] = [[998, 5, 0], [1003, 1, 1]]  # alone at the best bid, behind the best ask
    view = standing(depth=depth, quotes=quotes)
    np.testing.assert_array_equal(others_depth(view)[0, 0, 0], [[0, 0, 8, 0, 0], [4, 1, 0, 0, 0]])
    assert asked(AtBest(), view) == (996, 1002)
    assert asked(AtBest(improve=1.0), view) == (997, 1001)
    quotes[0, 0, 0] = [[990, 5, 0], [1020, 1, 1]]  # beyond what is shown
    view = standing(depth=depth, quotes=quotes)
    np.testing.assert_array_equal(others_depth(view)[0, 0], depth[0])
    depth[0, 0, 0] = 0  # nobody there: stay
    assert asked(AtBest(), standing(depth=depth)) == (998, 1002)


@given(
    kind=st.sampled_from(["fixed", "skew", "imbalance", "as", "glft", "best"]),
    q=st.integers(-300, 300),
    bid=st.integers(900, 1000),
    spread=st.integers(1, 30),
    gamma=st.floats(1e-6, 3.0),
    width=st.floats(0.0, 20.0),
    size=st.integers(1, 50),
)
@settings(max_examples=150, deadline=None)
def test_bids_stay_at_or_below_the_mid_and_asks_at_or_above(kind, q, bid, spread, gamma, width, size) -> None:
    strategy = {
        "fixed": FixedSpread(width, size),
        "skew": InventorySkew(width, gamma, size),
        "imbalance": Imbalance(width, gamma, 3, gamma, size),
        "as": AvellanedaStoikov(gamma, 0.7, 0.5, size=size),
        "glft": Glft(gamma, 0.7, 0.5, 0.3, size=size),
        "best": AtBest(width, size),
    }[kind]
    depth = np.full((1, 1, 2, 5), 3)
    view = Standing(market(maker={}), "maker", [[bid]], [[bid + spread]], 3, inventory=q, depth=depth)
    strategy.start(view)
    actions = strategy.act(view)
    assert np.isfinite(actions).all()
    assert (actions[..., :2] >= 0).all()
    assert (actions[..., 2] == size).all()
    wanted_bid, wanted_ask = view.asked
    assert kind == "best" or (wanted_bid <= wanted_ask).all()  # at_best may improve past the mid


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AvellanedaStoikov(gamma=0.0), "avellaneda_stoikov: gamma must be above 0, got 0"),
        (lambda: AvellanedaStoikov(kappa=float("nan")), "kappa must be above 0, got nan"),
        (lambda: Glft(A=-1.0), "glft: A must be above 0, got -1"),
        (lambda: FixedSpread(half_spread=-1.0), "fixed_spread: half_spread must be at least 0, got -1"),
        (lambda: InventorySkew(skew=float("inf")), "inventory_skew: skew must be finite, got inf"),
        (lambda: Imbalance(levels=0), "imbalance: levels must be at least 1, got 0"),
    ],
)
def test_impossible_parameters(make, message) -> None:
    with pytest.raises(StrategyError, match=message):
        make()
