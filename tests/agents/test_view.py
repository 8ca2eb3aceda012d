"""What a View says against the environment's own snapshot, observation and accounts; prices arrive as asked for."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import pytest
import torch

from lobgraph.agents.view import View
from lobgraph.config import make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.observe import PRIVATE, PUBLIC
from lobgraph.market import state as ms

NODES = PUBLIC + PRIVATE


@pytest.fixture(scope="module")
def env() -> MarketEnv:
    """Two venues and a third book, all roles, some steps of random actions; the last one not an episode's first."""
    env = MarketEnv(
        make_config({
            "market": {"books": 3, "underlying": ["X", "X", "Y"], "initial_price": [1000, 1040, 700], "mark": "mid"},
            "agents": {
                "maker": {"count": 2, "max_size": 6, "quote_spread": 0.5},
                "taker": {"count": 2, "max_size": 8, "target": 60},
                "arbitrageur": {"count": 1, "pairs": "all", "max_size": 5},
            },
            "env": {"episode_steps": 40, "threads": 1},
            "flow": {"warmup": 5.0},
        }),
        num_envs=5,
        seed=3,
    )  # fmt: skip
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(9):
        actions = {}
        for role, s in env.specs.items():
            u = rng.random((5, s.count, s.items, len(s.low)))
            actions[role] = torch.as_tensor(s.low + u * (s.high - s.low), dtype=torch.float32)
        env.step(actions)
    return env


def test_it_is_what_the_snapshot_shows(env: MarketEnv) -> None:
    for role, spec in env.specs.items():
        view = View(env, role)
        for e in range(5):
            shot = env.snapshot(e)
            own = {
                k: shot[k][spec.agents]
                for k in ("inventory", "remaining", "fills_passive", "fills_aggressive")
            }
            for name in ("best_bid", "best_ask", "mid", "fundamental", "regime", "step", "episode"):
                np.testing.assert_allclose(getattr(view, name)[e], shot[name])
            np.testing.assert_array_equal(view.depth[e], np.stack([shot["bid_qty"], shot["ask_qty"]], axis=1))
            np.testing.assert_array_equal(view.bid_qty[e], shot["bid_qty"][:, 0])
            np.testing.assert_array_equal(view.ask_qty[e], shot["ask_qty"][:, 0])
            np.testing.assert_array_equal(view.spread[e], shot["best_ask"] - shot["best_bid"])
            np.testing.assert_array_equal(view.inventory[e], own["inventory"])
            np.testing.assert_array_equal(view.remaining[e], own["remaining"])
            np.testing.assert_array_equal(view.quotes[e, ..., :2], shot["quotes"][spec.agents])
            for row, name in enumerate(("fills_passive", "fills_aggressive")):
                np.testing.assert_array_equal(
                    view.fills[e, ..., row, 0] - view.fills[e, ..., row, 1], own[name]
                )
    assert (view.fills != 0).any()
    assert (View(env, "maker").quotes[..., 1] > 0).any()


def test_it_is_what_the_observation_shows(env: MarketEnv) -> None:
    for role, spec in env.specs.items():
        view, section = View(env, role), getattr(env.cfg.agents, role)
        node = dict(
            zip(NODES, env.nodes[:, spec.agents].numpy().transpose(3, 0, 1, 2), strict=True)
        )  # (E, K, N) each
        vector = env.vector[:, spec.agents].numpy()
        np.testing.assert_allclose(node["spread"], np.repeat(view.spread[:, None], view.agents, 1))
        np.testing.assert_allclose(
            node["imbalance"], np.repeat(view.imbalance[:, None], view.agents, 1), atol=1e-6
        )
        np.testing.assert_allclose(node["inventory"] * section.risk.max_inventory, view.inventory, atol=1e-4)
        np.testing.assert_allclose(
            vector[..., 0] * view.steps * view.dt, view.time_left[:, None].repeat(view.agents, 1)
        )
        signed = np.sign(view.signed_volume) * np.log1p(np.abs(view.signed_volume))
        np.testing.assert_allclose(node["trade_flow"][:, 0], signed, rtol=1e-6)
        px, rest, ahead = np.moveaxis(view.quotes, -1, 0)  # (E, K, A, 2) each
        distance = np.where(rest > 0, np.abs(view.mid[:, None, :, None] - px), 0)
        np.testing.assert_allclose(node["bid_distance"], distance[..., 0])
        np.testing.assert_allclose(node["ask_distance"], distance[..., 1])
        assert (ahead >= 0).all()


def test_accounts(env: MarketEnv) -> None:
    view, account = View(env, "taker"), env.state.account  # (E, A, G + 1, columns)
    np.testing.assert_array_equal(np.abs(view.target), np.full((5, 2, 3), 60))
    np.testing.assert_array_equal(view.cash, account[:, :, 2:4, ms.CASH].swapaxes(1, 2))
    np.testing.assert_array_equal(view.initial_price, [1000, 1040, 700])


@pytest.mark.parametrize("show", [False, True])
def test_halts_are_told_shown_or_not(show: bool) -> None:
    """The second of two books, from 2 s for 3 s: told from the first decision of which nothing but cancels is carried out."""
    halt = {"kind": "halt", "at": 2, "duration": 3, "books": ["B"], "show": show}
    cfg = make_config({
        "market": {"books": ["A", "B"]}, "stress": [halt], "flow": {"warmup": 5.0},
        "agents": {"maker": {"count": 0}, "taker": {"count": 1, "target": 0}}, "env": {"threads": 1},
    })  # fmt: skip
    env = MarketEnv(cfg, num_envs=2, seed=0)
    env.reset()
    told, refused, seen = [], [], []
    for _ in range(7):
        view = View(env, "taker")
        told.append(view.halted)
        seen.append(env.vector[..., -1].numpy().copy())
        before = env.state.account[..., 0, ms.REFUSED].copy()
        env.step({"taker": view.trade(1)})
        refused.append(env.state.account[..., 0, ms.REFUSED] - before)
    assert [x.tolist() for x in told] == [[[False, b], [False, b]] for b in (0, 0, 0, 1, 1, 0, 0)]
    assert [x[0].tolist() for x in refused] == [[0, b] for b in (0, 0, 1, 1, 1, 0, 0)]
    if show:
        np.testing.assert_array_equal(np.array(seen)[:, :, 0], np.array(told).mean(axis=2))


def test_nothing_is_halted_where_nothing_halts(env: MarketEnv) -> None:
    assert View(env, "maker").halted.tolist() == [[False] * 3] * 5


def test_volume_is_what_was_traded_in_the_step() -> None:
    cfg = make_config(
        {"agents": {"maker": {"count": 0}, "taker": {"count": 1, "target": 0}}, "env": {"threads": 1}}
    )
    env = MarketEnv(cfg, num_envs=6, seed=0)
    env.reset()
    for lots in (3, -8, 0):
        before = env.state.head[..., ms.TRADED].copy()
        env.step({"taker": View(env, "taker").trade(lots)})
        view = View(env, "taker")
        np.testing.assert_array_equal(view.volume, env.state.head[..., ms.TRADED] - before)
        np.testing.assert_array_equal(view.fills[:, 0, 0, 1], np.tile([max(lots, 0), max(-lots, 0)], (6, 1)))
    still = {"intensity": 0.0, "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0}
    env = MarketEnv(make_config(cfg.model_dump() | {"flow": still}), num_envs=2, seed=0)
    env.reset()
    env.step({"taker": View(env, "taker").trade(-7)})
    assert View(env, "taker").volume.tolist() == [[7], [7]]
    assert View(env, "taker").signed_volume.tolist() == [[-7], [-7]]


def test_arrays_are_the_strategys_to_keep(env: MarketEnv) -> None:
    view = View(env, "maker")
    names = [
        "step",
        "mid",
        "best_bid",
        "best_ask",
        "depth",
        "volume",
        "inventory",
        "cash",
        "fills",
        "target",
        "quotes",
        "regime",
    ]
    before = env.state.head.copy(), env.state.account.copy(), env.state.clock.copy(), env.state.order.copy()
    for name in names:
        getattr(view, name)[...] = -7
    for kept, now in zip(
        before, (env.state.head, env.state.account, env.state.clock, env.state.order), strict=True
    ):
        np.testing.assert_array_equal(kept, now)


def test_a_new_episode_is_fresh() -> None:
    env = MarketEnv(
        make_config({"market": {"books": 1}, "env": {"episode_steps": 3, "threads": 1}}), num_envs=2, seed=0
    )
    env.reset()
    seen = []
    for _ in range(4):
        view = View(env, "maker")
        seen.append(
            (bool(view.fresh.all()), int(view.step[0]), float(view.time_left[0]), int(view.episode[0]))
        )
        if view.fresh.all():
            assert (view.volume == 0).all()
            assert (view.fills == 0).all()
        env.step({"maker": view.quote(view.mid[:, None] - 1, view.mid[:, None] + 1, 5)})
    assert seen == [(True, 0, 3.0, 0), (False, 1, 2.0, 0), (False, 2, 1.0, 0), (True, 0, 3.0, 1)]


@pytest.mark.parametrize("unit", [1.0, 2.5, 0.3, 0.7])
def test_quotes_arrive_at_the_prices_asked_for(unit: float) -> None:
    far = 300.0  # ticks
    cfg = make_config({
        "market": {"books": 2, "window": 1024, "initial_price": 5000},
        "agents": {"maker": {"count": 2, "quote_spread": unit, "max_offset": far / unit, "max_size": 9}},
        "env": {"threads": 1},
        "flow": {"warmup": 5.0},
    })  # fmt: skip
    env = MarketEnv(cfg, num_envs=16, seed=1)
    env.reset()
    rng = np.random.default_rng(2)
    for step in range(20):
        view = View(env, "maker")
        mid = view.mid[:, None]
        reach = rng.choice([3, 30, 290], (2, 16, 2, 2))
        bid, ask = np.floor(mid) - rng.integers(0, reach[0]), np.ceil(mid) + rng.integers(1, reach[1])
        part = 0.0 if step % 2 else rng.uniform(0.01, 0.99, bid.shape)  # every other time between ticks
        sizes = rng.integers(0, 10, bid.shape)
        env.step({"maker": view.quote(bid - part, ask + part, sizes)})
        message = env.state.message.swapaxes(1, 2)  # (E, K, A, columns)
        np.testing.assert_array_equal(message[..., ms.BID_PX], np.floor(bid - part))
        np.testing.assert_array_equal(message[..., ms.ASK_PX], np.ceil(ask + part))
        np.testing.assert_array_equal(message[..., ms.BID_QTY], sizes)


def test_quotes_keep_to_their_side_of_the_mid_and_within_reach() -> None:
    cfg = make_config({"agents": {"maker": {"max_offset": 3.0, "quote_spread": 2.0}}, "env": {"threads": 1}})
    env = MarketEnv(cfg, num_envs=32, seed=0)
    env.reset()
    for shift in (-50.0, -1.0, 0.0, 1.0, 50.0):
        view = View(env, "maker")
        mid = view.mid[:, None]
        env.step({"maker": view.quote(mid + shift - 1, mid + shift + 1, 5)})
        message = env.state.message[:, 0, 0]
        m = view.mid[:, 0]
        assert (message[:, ms.BID_PX] <= m).all()
        assert (message[:, ms.ASK_PX] >= m).all()
        assert (message[:, ms.BID_PX] >= np.floor(m - 6)).all()
        assert (message[:, ms.ASK_PX] <= np.ceil(m + 6)).all()
        if shift == -50.0:  # the bid wants to be far away, the ask below the mid
            assert message[:, ms.BID_PX].tolist() == [floor(x - 6) for x in m]
            assert message[:, ms.ASK_PX].tolist() == [ceil(x) for x in m]


def test_orders_of_takers_and_arbitrageurs_arrive() -> None:
    cfg = make_config({
        "market": {"books": 2},
        "agents": {
            "maker": {"count": 0},
            "taker": {"count": 1, "max_size": 8, "target": 0},
            "arbitrageur": {"count": 1, "max_size": 5},
        },
        "env": {"threads": 1},
    })  # fmt: skip
    env = MarketEnv(cfg, num_envs=3, seed=0)
    env.reset()
    taker, arb = View(env, "taker"), View(env, "arbitrageur")
    env.step({"taker": taker.trade([[[2.4, -99.0]]]), "arbitrageur": arb.legs(3)})
    np.testing.assert_array_equal(env.state.message[..., ms.MARKET_QTY], [[[2, 3], [-8, -3]]] * 3)
    np.testing.assert_array_equal(View(env, "arbitrageur").inventory, [[[3, -3]]] * 3)
    env.step({"taker": taker.trade(0), "arbitrageur": arb.legs(2, close=True)})
    np.testing.assert_array_equal(View(env, "arbitrageur").inventory, [[[1, -1]]] * 3)
    np.testing.assert_array_equal(View(env, "taker").inventory, [[[2, -8]]] * 3)
