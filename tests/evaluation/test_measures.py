"""Measures of agents: worked out by hand on Series written by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hand import config, move_mid, still
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lobgraph.config import ROLES
from lobgraph.evaluation.measures import MEASURES, measure

MAKER, TAKER, ARBITRAGEUR = 0, 1, 2  # columns of the agents in hand.config
BID, ASK = 0, 1
X, Y = 0, 1


def row(s, role: str, agent: int = 0, episode: int = 0) -> pd.Series:
    table = measure(s)
    return table[(table["role"] == role) & (table["agent"] == agent) & (table["episode"] == episode)].iloc[0]


def test_layout() -> None:
    s = still(config("agents.maker.count=2"), episodes=3)
    table = measure(s)
    assert list(table.columns) == ["episode", "role", "agent", *MEASURES]
    assert len(table) == 3 * 4
    assert (table[list(MEASURES)].dtypes == np.float64).all()
    assert not table.duplicated(["episode", "role", "agent"]).any()


def test_described_where_defined() -> None:
    """A measure has values for the roles that its description names, and NaN for the others."""
    risk = "{max_position: 1e6, breach: liquidate, max_order_rate: 1, max_drawdown: 1e3}"
    cfg = config(*(f"agents.{role}.risk={risk}" for role in ROLES), "circuit_breaker={move: 10}")
    s = still(cfg)
    s.target[:] = 2
    rise = np.arange(5)
    move_mid(s, (1000 + rise % 2 * 2).tolist())
    s.equity[:] = np.array([0.0, 2.0, 1.0, 3.0, 2.0])[:, None, None]
    s.inventory[1:, :, :, X], s.inventory[1:, :, :, Y] = 1, -1
    s.aggressive[0, :, :, X, 0], s.passive[0, :, :, Y, 1], s.volume[:] = 1, 1, 2
    s.quote_px[..., BID], s.quote_px[..., ASK], s.quote_qty[:] = 999, 1001, 1
    table = measure(s).set_index("role")
    for name, m in MEASURES.items():
        assert m.unit
        assert m.meaning
        assert set(table.index[table[name].notna()]) == set(m.roles), name


def test_nothing_done() -> None:
    table = measure(still(config()))
    for role in ROLES:
        r = table[table["role"] == role].iloc[0]
        zero = ["return", "objective", "pnl", "spread_capture", "holding", "fees", "max_drawdown", "var_95", "cvar_95", "turnover",
                "max_inventory", "final_inventory", "mean_abs_inventory"]  # fmt: skip
        assert (r[zero] == 0).all()
        assert r["length"] == 4
        assert r[["sharpe", "sortino", "calmar", "passive_share"]].isna().all()  # nothing over nothing
    maker = table[table["role"] == "maker"].iloc[0]
    assert maker["presence"] == maker["liquidity_share"] == 0
    assert maker[["fill_ratio", "time_at_best", "quoted_spread"]].isna().all()


def test_money() -> None:
    """Bought 3 lots a tick under the mid, which then rose by 4; 2 tick-lots of fees: 3 + 12 - 2 = 13."""
    s = still(config())
    s.edge[1:, :, MAKER, X] = 3.0
    s.fees[2:, :, MAKER] = 2.0
    s.equity[:, 0, MAKER] = [0, 3, 1, 13, 13]
    s.terms[:, 0, MAKER, 0] = [3, 0, 12, 0]
    s.terms[:, 0, MAKER, 1] = [0, -2, 0, 0]
    r = row(s, "maker")
    assert r[["pnl", "spread_capture", "holding", "fees", "return"]].tolist() == [13, 3, 12, 2, 13]


def test_objective() -> None:
    """A pnl of 13 less penalties; what a maker is given for presence is no part of it."""
    s = still(config())
    s.equity[:, 0] = np.array([0, 3, 1, 13, 13])[:, None]
    s.terms[:, 0, :, 0] = np.array([3, -2, 12, 0])[:, None]
    s.terms[1, 0, :, 2], s.terms[2, 0, :, 3] = (
        -4.0,
        [0.5, -2.0, -1.0],
    )  # inventory; liquidity, delay, unhedged
    for role, want, paid in (("maker", 9.0, 9.5), ("taker", 7.0, 7.0), ("arbitrageur", 8.0, 8.0)):
        r = row(s, role)
        assert (r["pnl"], r["objective"], r["return"]) == (13.0, want, paid), role


def test_risk() -> None:
    """Equity 0, 10, 4, 6, 12: changes 10, -6, 2, 6 of mean 3 in steps of 4 seconds."""
    s = still(config())
    s.equity[:, 0, MAKER] = [0, 10, 4, 6, 12]
    r = row(s, "maker")
    std = np.std([10, -6, 2, 6], ddof=1)
    assert r["sharpe"] == pytest.approx(3 / std / 2)
    assert r["sharpe"] * 16**0.5 == pytest.approx(3 * 4 / (std * 2))  # over the episode's 16 seconds
    assert r["sortino"] == pytest.approx(3 / np.sqrt(36 / 4) / 2)
    assert r["max_drawdown"] == 6
    assert r["calmar"] == pytest.approx(12 / 16 / 6)
    assert r["var_95"] == r["cvar_95"] == 6  # of four steps the worst


def test_tail() -> None:
    """Of 50 losses 1..50: 2.5 are the worst 5 %: VaR the third largest, CVaR (50 + 49 + 48 / 2) / 2.5."""
    s = still(config(steps=50))
    losses = np.random.default_rng(0).permutation(np.arange(1.0, 51.0))
    s.equity[1:, 0, MAKER] = -np.cumsum(losses)
    r = row(s, "maker")
    assert r["var_95"] == 48
    assert r["cvar_95"] == pytest.approx((50 + 49 + 48 / 2) / 2.5)
    assert r["max_drawdown"] == losses.sum()


def test_equal_changes_have_no_ratio() -> None:
    s = still(config())
    s.equity[:, 0, MAKER] = 0.1 * np.arange(5)  # rounding makes the changes differ in the last place
    assert np.isnan(row(s, "maker")["sharpe"])


def test_trades_and_inventory() -> None:
    s = still(config())
    s.passive[0, 0, MAKER, X] = [2, 1]
    s.aggressive[2, 0, MAKER, Y] = [0, 5]
    s.inventory[1:, 0, MAKER, X] = 1
    s.inventory[3:, 0, MAKER, Y] = -5
    r = row(s, "maker")
    assert r["turnover"] == 8
    assert r["passive_share"] == pytest.approx(3 / 8)
    assert r["max_inventory"] == 5  # in one book, as risk.max_inventory
    assert r["final_inventory"] == 6
    assert r["mean_abs_inventory"] == (1 + 1 + 6 + 6) / 4


def test_quotes() -> None:
    """Four steps on book X: both sides at the best, then the bid 3 lots deeper, then one side, then nothing; Y never."""
    s = still(config())
    s.quote_px[1:, 0, MAKER, X, BID] = [999, 998, 996, 0]
    s.quote_px[1:, 0, MAKER, X, ASK] = [1001, 1001, 0, 0]
    s.quote_qty[1:, 0, MAKER, X, BID] = [2, 2, 2, 0]
    s.quote_qty[1:, 0, MAKER, X, ASK] = [1, 3, 0, 0]
    s.passive[1, 0, MAKER, X, 0] = 5
    r = row(s, "maker")
    assert r["fill_ratio"] == pytest.approx(5 / (5 + 10))
    assert r["time_at_best"] == pytest.approx(3 / 5)
    assert r["quoted_spread"] == pytest.approx((2 + 3) / 2)
    assert r["presence"] == 2 / 8
    # within two levels of the best: 2 + 1, then 2 + 3; the bid at 996 is too far. All: 20 lots in each of 8 steps and books
    assert r["liquidity_share"] == pytest.approx(8 / 160)


def test_termination_ends_what_counts() -> None:
    """Terminated in its second step of four; what the arrays hold after that is not its own."""
    s = still(config())
    s.active[2:, :, MAKER] = False
    for x in (s.equity, s.fees):
        x[:, 0, MAKER] = [0, 5, -3, 90, -90]
    s.edge[:, 0, MAKER, X] = [0, 1, 2, 50, 50]
    s.inventory[:, 0, MAKER, X] = [0, 4, 2, 70, 70]
    s.passive[:, 0, MAKER, X, 0] = [4, 0, 70, 70]
    s.aggressive[:, 0, MAKER, X, 1] = [0, 2, 70, 70]
    s.terms[:, 0, MAKER, 0] = [1, 2, 50, 50]
    s.quote_px[1:, 0, MAKER, X], s.quote_qty[1:, 0, MAKER, X, BID] = [999, 1001], [1, 0, 70, 70]
    r = row(s, "maker")
    want = {"length": 2, "pnl": -3, "fees": -3, "spread_capture": 2, "holding": -8, "return": 3, "max_drawdown": 8,
            "var_95": 8, "turnover": 6, "max_inventory": 4, "final_inventory": 2, "mean_abs_inventory": 3,
            "fill_ratio": 4 / 5, "time_at_best": 1, "presence": 0, "liquidity_share": 1 / 80}  # fmt: skip
    assert {k: r[k] for k in want} == pytest.approx(want)
    assert row(s, "taker")["length"] == 4


def buys(s, lots: list[int], px: list[int], agent: int = TAKER, book: int = X) -> None:
    """Aggressive buys (+) and sells (-) at these prices, step by step; equity at the mid."""
    q, p = np.array(lots), np.array(px)
    s.aggressive[:, 0, agent, book, 0], s.aggressive[:, 0, agent, book, 1] = (
        np.maximum(q, 0),
        np.maximum(-q, 0),
    )
    s.inventory[1:, 0, agent, book] = np.cumsum(q)
    s.cash[1:, 0, agent, book] = -np.cumsum(q * p)
    s.equity[:, 0, agent] = (s.cash[:, 0, agent] + s.inventory[:, 0, agent] * s.mid[:, 0]).sum(axis=-1)


def test_execution() -> None:
    """Of 10 lots, 4 bought at 1003 and 2 at 1006 while the mid goes 1000, 1002, 1004, 1004, 1008."""
    s = still(config())
    move_mid(s, [1000, 1002, 1004, 1004, 1008])
    s.target[0, TAKER, X] = 10
    buys(s, [0, 4, 2, 0], [0, 1003, 1006, 0])
    s.volume[:, 0, X] = [0, 10, 30, 0]
    s.signed[:, 0, X] = [0, 10, -30, 0]  # all bought at the ask: 1004; all sold at the bid: 1003
    r = row(s, "taker")
    paid = 4 * 1003 + 2 * 1006
    assert r["shortfall"] == pytest.approx((paid - 6 * 1000 + 4 * (1008 - 1000)) / 10)
    assert r["slippage_twap"] == pytest.approx(paid / 6 - (1000 + 1002 + 1004 + 1004) / 4)
    assert r["slippage_vwap"] == pytest.approx(paid / 6 - (10 * 1004 + 30 * 1003) / 40)
    assert r["completion"] == 0.6
    assert r["aggressive_share"] == 1


def test_execution_is_symmetric() -> None:
    """A seller in the mirrored market (prices about 1000) fares as the buyer."""
    results = []
    for sign in (1, -1):
        s = still(config())
        move_mid(s, [1000 + sign * m for m in (0, 2, 4, 4, 8)])
        s.target[0, TAKER, X] = sign * 10
        buys(s, [0, sign * 4, sign * 2, 0], [0, 1000 + sign * 3, 1000 + sign * 6, 0])
        s.volume[:, 0, X], s.signed[:, 0, X] = 3, sign
        results.append(row(s, "taker")[["shortfall", "slippage_twap", "slippage_vwap", "completion", "pnl"]])
    pd.testing.assert_series_equal(*results, check_names=False)


def test_shortfall_is_paper_less_real() -> None:
    """Perold's definition: the paper portfolio's profit less the real one's, whatever was traded, over both books."""
    s = still(config())
    move_mid(s, [1000, 1001, 999, 1003, 1005])
    move_mid(s, [1000, 998, 997, 1002, 990], book=Y)
    s.target[0, TAKER] = [10, -6]
    buys(s, [5, -1, 3, 8], [1002, 1000, 1001, 1004])
    buys(s, [-2, 0, 0, 1], [999, 0, 0, 1000], book=Y)
    r = row(s, "taker")
    assert r["shortfall"] * 16 == pytest.approx(10 * 5 + 6 * 10 - r["pnl"])
    assert r["completion"] == pytest.approx((10 + 1) / 16)  # 15 held of 10 is 10


def test_no_target_no_benchmark() -> None:
    s = still(config())
    buys(s, [3, -3, 0, 0], [1001, 999, 0, 0])
    r = row(s, "taker")
    assert r[["shortfall", "slippage_twap", "slippage_vwap", "completion"]].isna().all()
    assert r["aggressive_share"] == 1


def test_pairs() -> None:
    """Sells the dear venue X and buys Y when the gap is 6, adds a lot at 4, closes at 0; prices at par are 1000 and 1100."""
    s = still(config("market.initial_price=[1000,1100]"))
    move_mid(s, [1006, 1006, 1004, 1000, 1000])
    move_mid(s, [1100] * 5, book=Y)
    buys(s, [0, -2, -1, 3], [0, 1005, 1003, 1001], agent=ARBITRAGEUR)
    buys(s, [0, 2, 0, -2], [0, 1101, 0, 1099], agent=ARBITRAGEUR, book=Y)
    s.inventory[3, 0, ARBITRAGEUR, Y] = 3  # the lot that hedges the third of X, given to it
    r = row(s, "arbitrageur")
    assert r["hedge_error"] == 0
    assert r["gap_entry"] == pytest.approx((2 * 6 + 1 * 4) / 3)
    assert r["exposure"] == (0 + 4 + 6 + 0) / 4
    assert r["net_exposure"] == 0
    assert r["gap_captured"] == pytest.approx(r["pnl"] / 10)
    s.fees[1:, 0, ARBITRAGEUR] = 7.0
    assert row(s, "arbitrageur")["gap_captured"] == pytest.approx((r["pnl"] + 7.0) / 10)  # before fees


def test_unhedged() -> None:
    s = still(config())
    s.inventory[1:, 0, ARBITRAGEUR, X] = [5, 5, -2, -2]
    s.inventory[1:, 0, ARBITRAGEUR, Y] = [0, -3, -3, 2]
    r = row(s, "arbitrageur")
    assert r["hedge_error"] == r["net_exposure"] == (5 + 2 + 5 + 0) / 4
    assert r["exposure"] == (5 + 8 + 5 + 4) / 4


def test_a_turn_opens_anew() -> None:
    """From +2 -2 to -3 +3 in one step: 3 lots opened at the gap of that step."""
    s = still(config())
    move_mid(s, [1002, 1007, 1000, 1000, 1000])
    s.inventory[1:, 0, ARBITRAGEUR, X] = [2, -3, -3, 0]
    s.inventory[1:, 0, ARBITRAGEUR, Y] = [-2, 3, 3, 0]
    assert row(s, "arbitrageur")["gap_entry"] == pytest.approx((2 * 2 + 3 * 7) / 5)


def test_gap_of_unrelated_books_starts_at_zero() -> None:
    s = still(config("market.underlying=[U,V]"))
    move_mid(s, [1010, 1013, 1013, 1013, 1013])
    s.inventory[2:, 0, ARBITRAGEUR, X], s.inventory[2:, 0, ARBITRAGEUR, Y] = 1, -1
    assert row(s, "arbitrageur")["gap_entry"] == 3


@settings(max_examples=50, deadline=None)
@given(arrays(np.int64, (30, 2), elements=st.integers(-50, 50)), st.integers(1, 30))
def test_risk_properties(changes: np.ndarray, end: int) -> None:
    """Against a loop over each agent's own steps."""
    s = still(config("agents.maker.count=2", steps=30))
    s.equity[1:, 0, :2] = np.cumsum(changes, axis=0)
    s.active[end:, :, 1] = False
    for agent, n in ((0, 30), (1, end)):
        d = changes[:n, agent].astype(float)
        path = np.concatenate([[0.0], np.cumsum(d)])
        worst = max(path[i] - path[j] for i in range(n + 1) for j in range(i, n + 1))
        r = row(s, "maker", agent)
        assert r["max_drawdown"] == worst
        assert r["cvar_95"] >= r["var_95"]
        assert (d <= -r["var_95"]).mean() >= 0.05 - 1e-12
        assert r["pnl"] == path[-1]
        if n > 1 and np.ptp(d):
            assert r["sharpe"] == pytest.approx(d.mean() / d.std(ddof=1) / 2)
        assert np.isnan(r["sortino"]) == (d >= 0).all()


def test_batches_are_separate() -> None:
    """Episodes do not touch each other: a batch of three is three batches of one."""
    rng = np.random.default_rng(3)
    s = still(config(), episodes=3)
    for name in (
        "equity",
        "fees",
        "edge",
        "inventory",
        "cash",
        "passive",
        "aggressive",
        "quote_qty",
        "volume",
    ):
        x = getattr(s, name)
        x[1:] = rng.integers(0, 9, x[1:].shape)
    s.target[:] = rng.integers(-9, 9, s.target.shape)
    s.active[2:, 1, MAKER] = False
    whole = measure(s)
    by_time = dict.fromkeys(("episode", "cluster", "target", "cut", "cause"), 0)
    for i in range(3):
        one = {
            f.name: np.take(v, [i], axis=by_time.get(f.name, 1))
            for f in dataclasses.fields(s)
            if isinstance(v := getattr(s, f.name), np.ndarray)
        }
        part = whole[whole["episode"] == i].reset_index(drop=True)
        pd.testing.assert_frame_equal(measure(dataclasses.replace(s, **one)), part)
