"""Tracing a real environment: rows agree with the environment's own account of the episode."""

import numpy as np
import pytest
import torch

from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.report.figures import episode_figures, trace_run
from lobgraph.report.style import save
from lobgraph.report.trace import record
from lobgraph.rl.train import train

SETTINGS = [
    "market.books=2", "agents.taker.count=1", "agents.arbitrageur.count=1", "agents.taker.target=20",
    "env.episode_steps=30", "env.num_envs=4", "ppo.minibatches=1",
]  # fmt: skip


@pytest.fixture
def env():
    return MarketEnv(load_config(None, SETTINGS), autoreset=False)


def random_actions(env, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def act(_):
        return {
            role: torch.as_tensor(spec.low)
            + torch.as_tensor(spec.high - spec.low)
            * torch.rand((env.num_envs, spec.count, spec.items, len(spec.action_names)), generator=generator)
            for role, spec in env.specs.items()
        }

    return act


def test_one_trace_per_environment(env):
    traces = record(env, random_actions(env), seed=3)
    assert len(traces) == 4
    for trace in traces:
        assert trace.roles == ("maker", "taker", "arbitrageur")
        assert len(trace.time) == 30
        assert trace.horizon == 30.0
        assert (trace.best_ask > trace.best_bid).all()
        np.testing.assert_array_equal(trace.mid, (trace.best_bid + trace.best_ask) / 2)
    assert traces[0].book_qty.shape[-1] == env.cfg.market.window
    assert traces[1].book_qty.shape[-1] == 0


def test_inventory_is_the_sum_of_fills(env):
    (trace,) = record(env, random_actions(env), seed=3, envs=[2])
    fills = trace.fills_passive + trace.fills_aggressive
    assert fills.any()
    np.testing.assert_array_equal(trace.inventory, np.cumsum(fills, axis=0))


def test_book_holds_the_depth_at_its_prices(env):
    (trace,) = record(env, random_actions(env), seed=3, envs=[0])
    for t in (0, 10, 29):
        for a in range(2):
            index = trace.best_bid[t, a] - trace.book_px0[t, a]
            assert trace.book_qty[t, a, index] == trace.bid_qty[t, a, 0]
            index = trace.best_ask[t, a] - trace.book_px0[t, a]
            np.testing.assert_array_equal(trace.book_qty[t, a, index : index + 5], trace.ask_qty[t, a])


def test_the_last_row_is_the_end_of_the_episode(env):
    """What the environment's own account of its ended episodes says."""
    act = random_actions(env)
    obs = env.reset(seed=3)
    for _ in range(30):
        obs, _, _, _, info = env.step(act(obs))
    traces = record(env, random_actions(env), seed=3)
    for role, spec in env.specs.items():
        for name in ("inventory", "remaining"):
            ended = info["episodes"][name][role].numpy()
            np.testing.assert_array_equal([getattr(t, name)[-1, spec.agents] for t in traces], ended)


def test_an_episode_that_ends_early_is_traced_to_its_end():
    settings = [s for s in SETTINGS if "count" not in s and "target" not in s]
    cfg = load_config(None, [*settings, "agents.maker.risk.max_drawdown=3"])
    env = MarketEnv(cfg, autoreset=False)
    traces = record(env, random_actions(env), seed=3)
    act = random_actions(env)
    obs = env.reset(seed=3)
    first = np.full(env.num_envs, 0)
    for t in range(30):
        obs, _, _, _, info = env.step(act(obs))
        first[(first == 0) & info["done"].numpy()] = t + 1
    assert first.min() < 30
    np.testing.assert_array_equal([len(t.time) for t in traces], first)


def test_the_end_must_be_seen():
    with pytest.raises(ValueError, match="autoreset=False"):
        record(MarketEnv(load_config(None, SETTINGS)), lambda obs: {})


def test_same_seed_same_trace(env):
    first, second = (record(env, random_actions(env), seed=5, envs=[0])[0] for _ in range(2))
    np.testing.assert_array_equal(first.book_qty, second.book_qty)


def test_a_run_is_traced_with_what_held_its_roles(tmp_path):
    cfg = load_config(None, [*SETTINGS, "agents.maker.actor=fixed_spread:half_spread=3", "graph.hidden=8",
                             "ppo.rollout_steps=4", "ppo.total_steps=16", "run.progress=false",
                             "run.tensorboard=false"])  # fmt: skip
    traces = trace_run(train(cfg, directory=tmp_path / "run").directory, episodes=2)
    assert len(traces) == 2
    for trace in traces:
        bid, ask = trace.quotes[:, 0, :, 0, 0], trace.quotes[:, 0, :, 1, 0]
        assert np.isin(ask - bid, (6, 7)).all()  # 3 ticks from the mid on each side, to whole ticks


def test_figures_of_a_real_episode(env, tmp_path):
    figures = episode_figures(record(env, random_actions(env), seed=3))
    for name, fig in figures.items():
        assert fig is not None, name
        assert save(fig, tmp_path / f"{name}.png").stat().st_size > 10_000
