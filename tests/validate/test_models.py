"""The models in the engine: fast at small counts, with tolerances of four standard errors; slowly as published."""

import numpy as np
import pytest

from lobgraph.market.state import CASH, INVENTORY
from lobgraph.validate import cst, glosten_milgrom, kyle, large_tick, table, zero_intelligence
from lobgraph.validate.markets import PRICE, Exchange
from lobgraph.validate.per_order import mean_spread
from lobgraph.validate.run import validate
from lobgraph.validate.settings import make_settings


def check(model, *overrides, seed=0, few=()):
    """Run one model; every row must be within its tolerance. `few`: overrides of counts only."""
    s = make_settings(None, [f"{model}.{text}" for text in (*overrides, *few)])
    outcome = globals()[model].run(getattr(s, model), seed, lambda _: None)
    rows = table.make_table(outcome.rows)
    assert not table.misses(rows)
    return outcome, rows


# --- zero intelligence, queues ---


def test_zero_intelligence_at_parameters_nobody_printed():
    few = ("precision=0.01", "envs=16")
    outcome, rows = check(
        "zero_intelligence", "limit_rate=0.3", "market_rate=2", "cancel_rate=[0.2,0.6]", "reach=30", few=few
    )
    assert list(rows["source"]) == ["per-order simulation"] * 2
    assert outcome.spread[1, 0] > 1.05 * outcome.spread[0, 0]  # more cancels, wider


def test_the_published_table_is_used_only_for_its_parameters():
    s = make_settings().zero_intelligence
    assert zero_intelligence.published(s, 0.03) == 26.16
    assert zero_intelligence.published(s, 0.04) is None
    for other in ("limit_rate=0.03", "reach=400"):
        changed = make_settings(None, [f"zero_intelligence.{other}"]).zero_intelligence
        assert zero_intelligence.published(changed, 0.03) is None


def test_order_by_order_in_the_large_tick_limit():
    """Nothing of the engine's: many limit orders, hardly any other, so the spread is one tick and stays."""
    assert mean_spread(20.0, 1.0, 0.5, 3, 20.0, 50.0, np.random.default_rng(0)) == pytest.approx(
        1.0, abs=1e-3
    )


def test_large_ticks():
    """p_c = m / a = .05: the spread is one tick, the depth at the best (a - m) / d."""
    outcome, rows = check("large_tick", few=("lifetimes=30",), seed=3)
    assert outcome.best.sum() == pytest.approx(1.0)
    assert set(rows["source"]) == {large_tick.LIMIT, large_tick.QUEUE, large_tick.POISSON}


def test_races_meet_the_exact_solution_at_any_spread():
    given = ("limit_rates=[0.9,0.2,1.4]", "market_rate=1.3", "cancel_rates=[0.2,0.5]")
    _, rows = check("cst", *given, "bids=[2,4]", "asks=[1,3]", "spreads=[1,2,4]", few=("races=20000",))
    assert len(rows) == 2 * 2 * 2 * 3


# --- auctions ---


@pytest.mark.parametrize(
    "given", [(), ("S0=9", "sigma_u=0.4", "p0=-3", "start_impact=0.5", "start_intensity=6")]
)
def test_kyle(given):
    outcome, rows = check("kyle", *given, few=("auctions=20000",))
    assert abs(np.log(outcome.path[0] / outcome.path[-1])).min() > 0.5  # the search began elsewhere
    assert (rows["error"] < 0.06 * rows["expected"].abs().max()).all()


def test_kyles_maker_earns_when_it_moves_the_price_too_far():
    """The accounts can tell: at 1.5 times the equilibrium's impact the maker earns 2 * .5 of the informed's gain."""
    s = make_settings().kyle
    market = kyle.Market(s, 0)
    held = market.hold(1.0, 0.75, *market.draw(20_000))
    assert held.profit[:, kyle.MAKER].mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(held.profit.sum(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(held.price, 0.75 * held.flow, atol=0.01)  # one price for all who trade


@pytest.mark.parametrize("given", [(), ("mu=0.55", "V_L=-2", "V_H=3", "prior=0.3", "trades=3")])
def test_glosten_milgrom(given):
    outcome, _ = check("glosten_milgrom", *given, few=("episodes=20000",))
    s = outcome.s
    assert outcome.histories[:2] == ["S", "B"]
    assert {len(h) for h in outcome.histories} == set(range(1, s.trades + 1))


def test_bayes_after_buys():
    s = make_settings().glosten_milgrom
    assert [round(glosten_milgrom.belief(s, "B" * k), 3) for k in range(1, 5)] == [0.65, 0.775, 0.865, 0.922]
    assert glosten_milgrom.belief(s, "BSSB") == pytest.approx(0.5)
    assert [glosten_milgrom.history_of(i) for i in (1, 2, 3, 5, 14)] == ["", "S", "B", "SB", "BBS"]


def test_a_maker_without_a_spread_loses_to_the_informed():
    """At a spread of two ticks around the mean the maker loses about mu (V_H - V_L) / 2 in the first trade."""
    s = make_settings(None, ["glosten_milgrom.trades=1"]).glosten_milgrom
    books = Exchange(glosten_milgrom.ENVS, 1, glosten_milgrom.WINDOW, seed=0)
    quotes = np.array([0, 0, 999, 1001])
    seen = glosten_milgrom.play(s, books, quotes, 20_000, np.random.default_rng(0))
    earned = seen.profit.sum() / seen.visits.sum() / glosten_milgrom.TICKS
    assert earned == pytest.approx(-0.15, abs=4 * 0.5 / np.sqrt(20_000))
    account = books.account(INVENTORY), books.account(CASH)
    assert not account[0].sum(axis=1).any()
    assert not account[1].sum(axis=1).any()
    assert set(np.abs(account[1][:, 0]) - PRICE) <= {-1, 1}


# --- as published, and beyond ---


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_everything_as_published(seed):
    rows = validate(seed=seed)
    assert not table.misses(rows)
    stated = {
        "zero_intelligence": 0.01 * rows["expected"],
        "cst": cst.TOLERANCE,
        "kyle": 0.02,
        "glosten_milgrom": 0.01,
    }
    for model, most in stated.items():
        assert (rows["tolerance"] <= most * 1.2 + 1e-12)[rows["model"] == model].mean() > 0.8, model


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        ("zero_intelligence", "limit_rate=0.1", "market_rate=2", "cancel_rate=[0.05,0.4,2]", "reach=200"),
        ("zero_intelligence", "limit_rate=0.004", "market_rate=0.5", "cancel_rate=0.02", "reach=1500"),
        ("cst", "limit_rates=[0.6,2.5]", "market_rate=1.2", "cancel_rates=[0.3,0.9,0.1]", "bids=[1,6,12]"),
        ("cst", "limit_rates=[3]", "market_rate=2", "cancel_rates=[1]", "asks=[2,9]", "spreads=[1,4]"),
        ("large_tick", "limit_rate=5", "market_rate=0.6", "cancel_rate=0.04", "reach=7"),
        ("large_tick", "limit_rate=300", "market_rate=40", "cancel_rate=5", "lifetimes=1000"),
        ("kyle", "S0=100", "sigma_u=3", "p0=0", "start_impact=0.05", "start_intensity=20"),
        ("kyle", "S0=0.0004", "sigma_u=5000", "start_impact=0.0001", "start_intensity=1"),
        ("glosten_milgrom", "mu=0.8", "prior=0.2", "trades=5"),
        ("glosten_milgrom", "mu=0.05", "prior=0.9", "V_L=90", "V_H=110"),
    ],
)
def test_parameters_nobody_printed(given):
    check(*given, seed=7)
