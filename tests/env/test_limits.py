"""Limits of position value, order rate and drawdown: cases by hand, and what no actions can break."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import STILL, mids, one_book, random_actions, scene, still_actions

from lobgraph.config import ConfigError
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.measures import measure
from lobgraph.evaluation.record import play
from lobgraph.market import state as ms


def still_market(role: str, risk: dict, **settings) -> MarketEnv:
    """One agent in a still book of 50 lots a level, best prices 999 and 1001."""
    flow = {**STILL, "initial_depth": 50}
    defaults = {"target": 0} if role == "taker" else {}
    env = MarketEnv(
        one_book({role: {"count": 1, **defaults, **settings, "risk": risk}}, flow=flow), num_envs=1, seed=0
    )
    env.reset()
    return env


def take(env: MarketEnv, lots: float) -> None:
    env.step({"taker": torch.tensor([[[[np.sign(lots), abs(lots)]]]], dtype=torch.float32)})


def quote(env: MarketEnv, bid: float, ask: float, lots: float) -> list[int]:
    """Lots that rest after a step in which the maker quotes."""
    env.step({"maker": torch.tensor([[[[bid, ask, lots]]]], dtype=torch.float32)})
    return env.state.order[0, 0, ms.ORDER_REST].tolist()


def counts(env: MarketEnv) -> dict[str, int]:
    names = ("INVENTORY", "CUT", "CUT_VALUE", "CUT_RATE")
    return {name: int(env.state.account[0, 0, 0, getattr(ms, name)]) for name in names}


# --- by hand ---


def test_a_position_is_cut_to_its_value():
    """9,999 tick-lots at a mid of 1000: 9 lots. Sales are free until the position is as large on the other side."""
    env = still_market("taker", {"max_position": 9_999.0, "max_inventory": 12})
    take(env, 8)
    assert counts(env) == {"INVENTORY": 8, "CUT": 0, "CUT_VALUE": 0, "CUT_RATE": 0}
    take(env, 8)  # 12 - 8 = 4 by inventory, 9 - 8 = 1 by value
    assert counts(env) == {"INVENTORY": 9, "CUT": 4, "CUT_VALUE": 3, "CUT_RATE": 0}
    take(env, -10)
    take(env, -10)
    assert counts(env) == {"INVENTORY": -9, "CUT": 4, "CUT_VALUE": 3 + 2, "CUT_RATE": 0}


def test_resting_orders_shrink_with_the_limit_as_the_price_rises():
    """5 lots may be held at 1000, 4 at 1002: quotes that rest are cut with no message of their maker."""
    risk = {"max_position": 5_000.0, "max_order_rate": 0.1}
    agents = {"maker": {"count": 1, "max_size": 10, "risk": risk}, "taker": {"count": 1, "target": 0}}
    env = MarketEnv(one_book(agents, flow={**STILL, "initial_depth": 2}), num_envs=1, seed=0)
    env.reset()
    actions = {"maker": torch.tensor([[[[8.0, 8.0, 9.0]]]]), "taker": torch.tensor([[[[1.0, 8.0]]]])}
    env.step(actions)  # the taker clears four levels
    assert env.state.order[0, 0, ms.ORDER_REST].tolist() == [5, 5, 0, 0]
    assert mids(env).item() == 1002
    env.step(actions | {"taker": torch.zeros(1, 1, 1, 2)})
    assert env.state.order[0, 0, ms.ORDER_REST].tolist() == [4, 4, 0, 0]
    assert counts(env) == {"INVENTORY": 0, "CUT": 0, "CUT_VALUE": 8 + 2 + 10, "CUT_RATE": 1}


def test_a_position_that_the_price_takes_past_the_limit_is_kept_or_liquidated():
    for breach, held, over in (("cut", 9, False), ("liquidate", 0, True)):
        env = still_market("taker", {"max_position": 9_500.0, "breach": breach})
        take(env, 9)
        env.state.head[0, 0, ms.ASK] += 200  # 9 lots at 1100 are worth 9,900
        _, _, terminated, _, _ = env.step(still_actions(env))
        assert terminated["taker"].item() is over
        if not over:
            assert counts(env)["INVENTORY"] == held
            take(env, 3)
            assert counts(env)["INVENTORY"] == held
            assert counts(env)["CUT_VALUE"] == 3


def test_messages_beyond_the_rate_are_not_sent():
    """2 in 4 decisions: the third and fourth stay unsent, then one leaves the window and another may follow."""
    env = still_market("taker", {"max_order_rate": 0.5, "order_window": 4.0})
    held = []
    for _ in range(8):
        take(env, 1)
        held.append(counts(env)["INVENTORY"])
    assert held == [1, 2, 2, 2, 3, 4, 4, 4]
    assert counts(env)["CUT_RATE"] == 4


def test_only_what_places_or_changes_an_order_counts():
    env = still_market("maker", {"max_order_rate": 0.5, "order_window": 4.0})
    assert quote(env, 3.0, 3.0, 5.0) == [5, 5]  # the first message
    assert quote(env, 3.0, 3.0, 5.0) == [5, 5]  # changes nothing
    assert quote(env, 3.0, 3.0, 0.0) == [0, 0]  # a cancel
    assert quote(env, 3.0, 3.0, 4.0) == [4, 4]  # the second
    assert quote(env, 3.0, 3.0, 0.0) == [0, 0]  # the first has left the window
    assert quote(env, 3.0, 3.0, 2.0) == [2, 2]
    assert quote(env, 3.0, 3.0, 3.0) == [2, 2]  # one too many: what rests stays
    assert quote(env, 3.0, 3.0, 0.0) == [0, 0]
    assert counts(env)["CUT_RATE"] == 1


def test_the_side_of_a_quote_that_cancels_is_sent_whatever_the_rate():
    """Long as far as it may be, the maker's bid is cut to nothing: it goes; the ask that moves is one message too many."""
    agents = {
        "maker": {
            "count": 1,
            "max_size": 5,
            "risk": {"max_order_rate": 0.5, "order_window": 4.0, "max_inventory": 5},
        }
    }
    env = MarketEnv(one_book(agents, flow={**STILL, "initial_depth": 50}), num_envs=1, seed=0)
    env.reset()
    for message in ((2.0, 2.0, 5.0), (3.0, 3.0, 5.0)):  # all that four decisions allow
        assert quote(env, *message) == [5, 5]
    px = env.state.order[0, 0, ms.ORDER_PX].copy()
    env.state.account[0, 0, 0, ms.INVENTORY] = 5
    assert quote(env, 3.0, 4.0, 5.0) == [0, 5]
    assert env.state.order[0, 0, ms.ORDER_PX, 1] == px[1]
    assert counts(env) == {"INVENTORY": 5, "CUT": 5, "CUT_VALUE": 0, "CUT_RATE": 1}
    assert env.state.head[0, 0, ms.OWN_BID : ms.OWN_ASK + 1].tolist() == [0, 5]
    assert quote(env, 3.0, 4.0, 0.0) == [0, 0]
    assert counts(env)["CUT_RATE"] == 1


# --- whatever the actions ---


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 12), st.sampled_from([0.0, 0.4]))
def test_no_actions_break_the_limits(seed, messages, window, latency):
    """Value: at the mid of the decision, nobody holds more than the limit, or more than before. Rate: in every window."""
    risk = {
        "max_inventory": 30,
        "max_position": 90_000.0,
        "max_order_rate": messages / window,
        "order_window": float(window),
    }
    maker = {
        "count": 2,
        "max_size": 9,
        "max_offset": 2.0,
        "post_only": False,
        "latency": latency,
        "risk": risk,
    }
    taker = {"count": 1, "target": 0, "max_size": 12, "risk": risk}
    env = MarketEnv(scene(agents={"maker": maker, "taker": taker}, env={"episode_steps": 60}), 4, seed)
    env.reset()
    rng = np.random.default_rng(seed)
    sent, cut = [], np.zeros(2, np.int64)
    for _ in range(50):
        before = np.abs(env.state.account[:, :, :-1, ms.INVENTORY])
        most = 90_000 / mids(env)[..., None]
        env.step(random_actions(env, rng))
        account = env.state.account[:, :, :-1]
        held = np.abs(account[..., ms.INVENTORY])
        assert (held <= np.maximum(before, most)).all()
        assert (held <= 30).all()
        sent.append(account[..., ms.SENT] & 1)
        assert (np.array(sent[-window:]).sum(axis=0) <= messages).all()
        assert not env.state.account[..., ms.INVENTORY].sum(axis=2).any()
        assert not env.state.account[..., ms.CASH].sum(axis=2).any()
        cut = np.maximum(cut, account[..., [ms.CUT_VALUE, ms.CUT_RATE]].max(axis=(0, 1, 2)))
    assert cut[1] > 0 or messages >= window


def test_limits_that_never_bind_change_nothing():
    """The same episodes to the bit with no limit and with limits out of reach."""
    wide = {"max_position": 1e12, "max_order_rate": 50.0, "breach": "liquidate", "max_drawdown": 1e6}
    worlds = []
    for risk in ({}, wide):
        agents = {"maker": {"count": 2, "risk": risk}, "arbitrageur": {"count": 1, "risk": risk}}
        env = MarketEnv(scene(agents=agents, env={"episode_steps": 40}), num_envs=4, seed=3)
        env.reset()
        rng = np.random.default_rng(0)
        for _ in range(30):
            env.step(random_actions(env, rng))
        worlds.append(env)
    for name in ("qty", "head", "order", "fundamental", "money"):
        one, two = (getattr(env.state, name) for env in worlds)
        np.testing.assert_array_equal(one, two, err_msg=name)
    kept = [c for c in range(ms.ACCOUNT) if c not in (ms.MOST, ms.SENT)]
    one, two = (env.state.account[..., kept] for env in worlds)
    np.testing.assert_array_equal(one, two)


# --- what a user is told ---


def test_what_limits_did_is_measured_by_name():
    risk = {"max_position": 30_000.0, "breach": "liquidate", "max_order_rate": 0.5, "max_drawdown": 30.0}
    maker = {"count": 2, "max_size": 9, "actor": "fixed_spread:half_spread=1", "risk": risk}
    cfg = one_book({"maker": maker}, market={"initial_price": 10_000}, env={"episode_steps": 60})
    (series,) = play(cfg, episodes=8, seed=1)
    found = measure(series)
    for name, column in (("cut_inventory", 0), ("cut_value", 1), ("cut_rate", 2)):
        np.testing.assert_array_equal(found[name], series.cut.sum(axis=2)[..., column].ravel())
    assert found["cut_rate"].sum() > 0
    assert found["cut_value"].sum() > 0
    ended = found["liquidated_drawdown"] + found["liquidated_value"]
    assert (ended[found["length"] < 60] == 1).all()
    assert 0 < ended.sum() < len(found)
    off = measure(
        next(iter(play(one_book({"maker": {"count": 1, "actor": "fixed_spread"}}), episodes=2, seed=1)))
    )
    absent = ["cut_value", "cut_rate", "liquidated_drawdown", "liquidated_value"]
    assert off[absent].isna().all(axis=None)
    assert (off["cut_inventory"] >= 0).all()


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ({"max_position": 999.0}, "agents.maker.risk.max_position: 999 tick-lots are not one lot's worth"),
        ({"breach": "liquidate"}, "agents.maker.risk.breach: .*max_position, which is not set"),
        ({"max_order_rate": 0.05}, r"agents.maker.risk.max_order_rate: 0.05 /s is not one message in 10 s"),
        ({"max_order_rate": 1.0, "order_window": 90.0}, "agents.maker.risk.order_window: must be 1 to 62"),
        ({"max_order_rate": 1.0, "order_window": 0.2}, "agents.maker.risk.order_window: must be 1 to 62"),
    ],
)
def test_limits_that_make_no_sense_are_named(risk, said):
    with pytest.raises(ConfigError, match=said):
        one_book({"maker": {"count": 1, "risk": risk}})


def test_a_target_beyond_the_limit_of_value_is_refused():
    with pytest.raises(ConfigError, match=r"agents\.taker\.target: 60 lots are worth 60000"):
        one_book({"taker": {"count": 1, "target": 60, "risk": {"max_position": 50_000.0}}})
