"""Any small market under any policy: lots and cash are conserved, observations are finite and within their bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobgraph.adapters.bounds import edge_bounds, node_bounds
from lobgraph.config import make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


@st.composite
def markets(draw):
    books = draw(st.integers(1, 3))
    tree = {
        "market": {
            "books": list("ABC"[:books]),
            "window": draw(st.sampled_from([64, 256])),
            "matching": draw(st.sampled_from(["fifo", "pro_rata"])),
            "self_trade": draw(
                st.sampled_from(["allow", "cancel_resting", "cancel_incoming", "cancel_both", "decrement"])
            ),
            "dt": draw(st.sampled_from([0.1, 1.0, 5.0])),
        },
        "flow": {"intensity": draw(st.sampled_from([0.0, 0.5, 5.0])), "warmup": 1.0},
        "agents": {
            "maker": {"count": draw(st.integers(1, 3)), "max_size": draw(st.sampled_from([1, 50]))},
            "taker": {"count": draw(st.integers(0, 2)), "target": draw(st.sampled_from([0, 20]))},
            "arbitrageur": {"count": int(books > 1)},
        },
        "env": {"episode_steps": draw(st.integers(2, 12)), "num_envs": 4},
        "ppo": {"minibatches": 1},
    }
    return make_config(tree)


def actions(env: MarketEnv, rng: np.random.Generator, mood: int) -> dict[str, torch.Tensor]:
    """Within the limits, at them, or the same for everybody."""
    made = {}
    for role, s in env.specs.items():
        share = rng.random((env.num_envs, s.count, s.items, len(s.action_names)), np.float32)
        share = (share, np.round(share), np.full_like(share, rng.random()))[mood]
        low, high = np.asarray(s.low, np.float32), np.asarray(s.high, np.float32)
        made[role] = torch.from_numpy(np.clip(low + share * (high - low), low, high))
    return made


def check_play(cfg, seed: int, steps: int) -> None:
    env = MarketEnv(cfg, seed=seed)
    obs, rng, state = env.reset(), np.random.default_rng(seed), env.state
    bounds = node_bounds(cfg), edge_bounds(cfg)
    for _ in range(steps):
        _, reward, _, _, info = env.step(actions(env, rng, int(rng.integers(0, 3))))
        h = state.head
        gone = h[..., [ms.CANCELLED, ms.TRADED, ms.DROPPED]].sum(-1)
        np.testing.assert_array_equal(state.qty.sum(-1), h[..., ms.ADDED] - gone)
        assert not state.account[..., [ms.INVENTORY, ms.CASH]].sum(2).any()
        assert (h[..., ms.BID] < h[..., ms.ASK]).all()
        assert (state.qty >= 0).all()
        for role in env.specs:
            assert reward[role].isfinite().all()
            assert info["terms"][role].isfinite().all()
            assert obs[role].vector.isfinite().all()
            for values, (low, high) in zip(obs[role][:2], bounds, strict=True):
                assert (values.numpy() >= low).all()
                assert (values.numpy() <= high).all()


@settings(max_examples=25, deadline=None)
@given(cfg=markets(), seed=st.integers(0, 2**40))
def test_any_market(cfg, seed):
    check_play(cfg, seed, 15)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(cfg=markets(), seed=st.integers(0, 2**40))
def test_any_market_at_length(cfg, seed):
    check_play(cfg, seed, 60)
