"""What can be seen of an environment: observations by hand, the graph of one agent, snapshots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import mids, random_actions, scene, still_actions

from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def test_graph_is_the_observation_with_weighted_edges():
    corr = [[1.0, -0.4], [-0.4, 1.0]]
    env = MarketEnv(scene(fundamentals={"correlation": corr}), num_envs=2, seed=1)
    obs = env.reset()
    g = env.graph("arbitrageur", env=1, agent=1)
    assert torch.equal(g.x, obs["arbitrageur"].nodes[1, 1])
    assert torch.equal(g.vector, obs["arbitrageur"].vector[1, 1])
    assert torch.equal(g.pair_attr, obs["arbitrageur"].edges[1, 1])
    assert torch.equal(g.pair_index, env.pairs.T)
    weights = {(int(s), int(t)): float(w) for (s, t), w in zip(g.edge_index.T, g.edge_weight, strict=True)}
    want = {(0, 1): 1.0, (1, 0): 1.0, (0, 2): -0.4, (2, 0): -0.4, (1, 2): -0.4, (2, 1): -0.4}
    assert weights == pytest.approx(want)
    g.x += 1.0
    assert not torch.equal(g.x, obs["arbitrageur"].nodes[1, 1]), "a graph must be a copy"
    with pytest.raises(KeyError, match=r"broker.*maker"):
        env.graph("broker")
    with pytest.raises(IndexError, match="2 envs, 2 agents"):
        env.graph("maker", env=2)


@pytest.mark.parametrize(("edges", "want"), [("full", {1.0}), ("underlying", {0.0, 1.0})])
def test_edge_weights_by_kind(edges, want):
    env = MarketEnv(scene(graph={"edges": edges}), num_envs=1)
    off = env.adjacency[~torch.eye(3, dtype=torch.bool)]
    assert set(off.tolist()) == want
    assert not torch.diag(env.adjacency).any()


def test_observation_by_hand():
    """Node features of a market after random play, from the snapshot."""
    env = MarketEnv(scene(), num_envs=2, seed=6)
    env.reset()
    start, rng = mids(env), np.random.default_rng(1)
    for _ in range(8):
        before = mids(env)
        obs, *_ = env.step(random_actions(env, rng))
    names = env.specs["maker"].node_features
    for e in range(2):
        snap = env.snapshot(e)
        for role, s in env.specs.items():
            for k in range(s.count):
                nodes = {n: obs[role].nodes[e, k, :, i].numpy() for i, n in enumerate(names)}
                g = s.agents.start + k
                np.testing.assert_allclose(nodes["move"], snap["mid"] - before[e], atol=1e-5)
                np.testing.assert_allclose(nodes["drift"], 0.1 * (snap["mid"] - start[e]), atol=1e-5)
                np.testing.assert_allclose(nodes["spread"], snap["best_ask"] - snap["best_bid"])
                np.testing.assert_allclose(nodes["bid_size"], np.log1p(snap["bid_qty"][:, 0]), atol=1e-5)
                np.testing.assert_allclose(nodes["ask_depth"], np.log1p(snap["ask_qty"].sum(1)), atol=1e-5)
                b, a = snap["bid_qty"][:, 0], snap["ask_qty"][:, 0]
                np.testing.assert_allclose(nodes["imbalance"], (b - a) / (b + a), atol=1e-5)
                risk = getattr(env.cfg.agents, role)
                np.testing.assert_allclose(
                    nodes["inventory"], snap["inventory"][g] / risk.risk.max_inventory, atol=1e-6
                )
                px, lots = snap["quotes"][g, :, 0].T
                np.testing.assert_allclose(nodes["bid_share"], lots / risk.max_size, atol=1e-6)
                np.testing.assert_allclose(
                    nodes["bid_distance"], np.where(lots > 0, snap["mid"] - px, 0), atol=1e-5
                )
                assert ((nodes["bid_queue"] >= 0) & (nodes["bid_queue"] < 1)).all()
                level = snap["mid"] - np.array([10_000, 10_040, 700])  # venues compare at par
                gaps = [level[1] - level[0], level[0] - level[1], 0]
                np.testing.assert_allclose(nodes["gap_venues"], gaps, atol=1e-5)
                edges = dict(zip(env.specs[role].edge_features, obs[role].edges[e, k].T.numpy(), strict=True))
                drift = snap["mid"] - start[e]
                gaps = [level[0] - level[1], drift[0] - drift[2], drift[1] - drift[2]]
                np.testing.assert_allclose(edges["gap"], gaps, atol=1e-4)
                spread = snap["best_ask"] - snap["best_bid"]
                np.testing.assert_allclose(edges["cost"], (spread[[0, 0, 1]] + spread[[1, 2, 2]]) / 2)
                assert edges["same_underlying"].tolist() == [1, 0, 0]
                assert obs[role].vector[e, k, 0] == pytest.approx(1 - 8 / 12)
        left = snap["remaining"][2] / 60
        i = names.index("remaining")
        np.testing.assert_allclose(obs["taker"].nodes[e, 0, :, i], left, atol=1e-6)
        shown = {
            n: float(x)
            for n, x in zip(env.specs["taker"].vector_features, obs["taker"].vector[e, 0], strict=True)
        }
        assert [shown["regime_normal"], shown["regime_stress"]] == [1 - snap["regime"], snap["regime"]]
        net = (
            0.5 * env.state.equity[e, 2, ms.NOW] - env.state.money[e, 2, ms.NOW]
        )  # the taker is agent 2, of 3 books
        assert net
        assert shown["equity"] == pytest.approx(np.sign(net) * np.log1p(abs(net) / 3), abs=1e-5)


def test_the_regime_can_be_hidden():
    names = MarketEnv(scene(env={"show_regime": False}), num_envs=1).specs["maker"].vector_features
    assert not [n for n in names if "regime" in n]


def test_snapshot():
    env = MarketEnv(scene(), num_envs=2, seed=6)
    env.reset()
    for seed in range(4):
        env.step(random_actions(env, np.random.default_rng(seed)))
    s = env.snapshot(1)
    w, depth = 256, env.cfg.market.depth_levels
    shapes = {"best_bid": (3,), "bid_qty": (3, depth), "book_qty": (3, w), "quotes": (5, 3, 2, 2),
              "inventory": (5, 3), "remaining": (5, 3), "fills_passive": (5, 3), "fundamental": (3,)}  # fmt: skip
    for key, shape in shapes.items():
        assert s[key].shape == shape, key
    for a in range(3):
        book = {int(s["book_px0"][a]) + i: int(q) for i, q in enumerate(s["book_qty"][a]) if q}
        bids = [p for p in book if p <= s["best_bid"][a]]
        asks = [p for p in book if p >= s["best_ask"][a]]
        assert len(bids) + len(asks) == len(book)
        assert (max(bids), min(asks)) == (s["best_bid"][a], s["best_ask"][a])
        assert s["bid_qty"][a].tolist() == [book.get(int(s["best_bid"][a]) - i, 0) for i in range(depth)]
        assert s["ask_qty"][a].tolist() == [book.get(int(s["best_ask"][a]) + i, 0) for i in range(depth)]
        for g in range(5):
            for px, lots in s["quotes"][g, a]:
                assert lots == 0 or book[int(px)] >= lots
    assert (s["step"], s["episode"], s["regime"] in (0, 1)) == (4, 0, True)
    assert abs(s["fundamental"] - s["mid"]).max() < 50
    s["book_qty"][:] = 0
    assert env.state.qty.any(), "a snapshot must be a copy"


def test_a_snapshot_needs_a_reset():
    env = MarketEnv(scene(), num_envs=1)
    for call in (lambda: env.step(still_actions(env)), env.snapshot):
        with pytest.raises(RuntimeError, match="reset"):
            call()
