"""Two markets with agents acting, step by step: what the compiled CPU path and numba's CUDA simulator must agree on.

Run as a script (NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1), it writes the runs of the device kernels to a file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from unittest import mock

import numpy as np
import tapes
from tapes import SECOND, make_tape, random_messages

from lobgraph.config import make_config
from lobgraph.env.market_env import MarketEnv

ENVS, STEPS = 3, 24
LEVELS = {990 + i: 5 + i % 3 for i in range(10)} | {1001 + i: 6 + i % 4 for i in range(10)}
AGENTS = {
    "maker": {"count": 2, "max_offset": 3.0, "max_size": 6, "latency": 0.125, "post_only": False,
              "risk": {"max_inventory": 20}},
    "taker": {"count": 1, "max_size": 8, "target": 40, "stop_at_target": False,
              "risk": {"max_inventory": 100, "max_drawdown": 60.0}},
    "arbitrageur": {"count": 1, "pairs": "all", "max_size": 5, "latency": 0.125, "risk": {"max_inventory": 15}},
}  # fmt: skip
FAST = {"normal": {"stress": 0.4}, "stress": {"normal": 0.6}}


def noise_market() -> MarketEnv:
    """Two venues of X and a book of Y under noise: regimes, fundamentals with jumps, a window the price runs out of."""
    tree = {
        "market": {"books": ["X1", "X2", "Y"], "underlying": ["X", "X", "Y"], "window": 64,
                   "initial_price": [10_000, 10_040, 700], "maker_rebate": 0.0002, "taker_fee": 0.0005},
        "flow": {"intensity": 16.0, "market_rate": 6.0, "tilt": 0.05, "tilt_max": 0.4, "warmup": 2.0,
                 "initial_depth": 6},
        "flow_per_book": {"Y": {
            "reference": "own", "limit_rates": [2.0, 6.0, 4.0, 2.0, 1.0], "inside": 1, "metaorders": {"active": 3},
            "hawkes": {"branching": 0.4, "decays": [20.0, 0.5], "cross": 0.1},
            "reactive": {"spreads": [1, 3], "queues": [0, 8], "market": [[1.0, 0.7], [0.5, 1.2]]}}},
        "intraday": {},
        "regimes": {"switch_rates": FAST},
        "fundamentals": {"lag": [0.0, 2.0], "volatility": 3.0, "mean_reversion": 0.1, "jump_rate": 0.3, "jump_size": 12.0},
        "agents": AGENTS,
        "env": {"episode_steps": 10, "stagger": True, "threads": 1},
    }  # fmt: skip
    return MarketEnv(make_config(tree), num_envs=ENVS, seed=3, first_env=5)


def stressed_market() -> MarketEnv:
    """Every kind of event at random times, a circuit breaker, and limits of value and rate that bind."""
    risk = {
        "max_inventory": 20,
        "max_position": 120_000.0,
        "breach": "liquidate",
        "max_order_rate": 0.6,
        "order_window": 5.0,
    }
    tree = {
        "market": {"books": ["X1", "X2", "Y"], "underlying": ["X", "X", "Y"], "window": 64,
                   "initial_price": [10_000, 10_040, 700]},
        "flow": {"intensity": 8.0, "market_rate": 3.0, "warmup": 1.0, "initial_depth": 6},
        "stress": [
            {"kind": "crash", "rate": 0.2, "duration": 2, "side": "random"},
            {"kind": "drought", "at": "random", "duration": 3, "show": True},
            {"kind": "volatility", "at": 2, "duration": 3, "books": ["Y"]},
            {"kind": "shock", "rate": 0.2, "side": "random"},
            {"kind": "fat_finger", "at": "random", "magnitude": 60, "books": ["X1"]},
            {"kind": "halt", "rate": 0.1, "duration": 2, "books": ["X2"], "show": True},
        ],
        "circuit_breaker": {"move": 4, "window": 4, "halt": 2},
        "agents": AGENTS | {"maker": AGENTS["maker"] | {"risk": risk}},
        "env": {"episode_steps": 10, "threads": 1},
    }  # fmt: skip
    return MarketEnv(make_config(tree), num_envs=ENVS, seed=6)


def replay_market() -> MarketEnv:
    """Two recorded books whose messages refer also to what is not there."""
    rng = np.random.default_rng(4)
    days = [random_messages(rng, LEVELS, 999, 600, fits=False) for _ in range(2)]
    tape = tapes.join(*(make_tape(LEVELS, 999, day) for day in days))
    tree = {
        "market": {"books": ["P", "Q"], "underlying": ["P", "Q"], "window": 256, "self_trade": "allow",
                   "mark": "mid"},
        "replay": {"files": {"P": "day.csv", "Q": "day.csv"}},
        "agents": AGENTS,
        "env": {"episode_steps": 5, "threads": 1},
    }  # fmt: skip
    span = (5 * SECOND, 40 * SECOND)
    with mock.patch("lobgraph.data.load.load_tape_files", return_value=(tape, span)):
        return MarketEnv(make_config(tree), num_envs=ENVS, seed=2)


def random_actions(env: MarketEnv, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Uniform up to a tenth of their width outside the bounds."""
    actions = {}
    for role, s in env.specs.items():
        u = rng.uniform(-0.1, 1.1, (env.num_envs, s.count, s.items, len(s.action_names)))
        actions[role] = (s.low + u * (s.high - s.low)).astype(np.float32)
    return actions


def run(env: MarketEnv, step: Callable | None = None) -> dict[str, np.ndarray]:
    """Every array of State and Buffers after the reset and after each step, (STEPS + 1, ...), by `step` or on the CPU."""
    rng = np.random.default_rng(11)
    named = list(zip(env.state._fields + env.buffers._fields, env.state + env.buffers, strict=True))
    seen: dict[str, list[np.ndarray]] = {name: [] for name, _ in named}
    for i in range(STEPS + 1):
        (step or on_cpu)(env, random_actions(env, rng) if i else None)
        for name, array in named:
            seen[name].append(array.copy())
    return {name: np.stack(arrays) for name, arrays in seen.items()}


def on_cpu(env: MarketEnv, actions: dict[str, np.ndarray] | None) -> None:
    """A step of the compiled loop, or without actions the reset."""
    if actions is None:
        env.reset()
    else:
        env.step(actions)


def on_device(env: MarketEnv, actions: dict[str, np.ndarray] | None) -> None:
    """The same by the device kernels, blocks of two threads with one to spare."""
    from lobgraph.env.device import start_all, step_all
    from lobgraph.market.params import make_params

    launch = (env.num_envs // 2 + 1, 2)
    if actions is None:
        env._params = make_params(env.cfg, env.seed, env.first_env, env._span)
        start_all[launch](env._params, env._flow, env._tape, env.state, env.buffers)
    else:
        arrays = env._arrays(actions)
        step_all[launch](env._params, env._flow, env._tape, env.state, env.buffers, *arrays)


def main(file: str) -> None:
    warnings.simplefilter("error")  # a scalar that leaves its type by accident; hashes wrap around on purpose
    warnings.filterwarnings("ignore", "overflow encountered in scalar (add|multiply)", RuntimeWarning)
    noise = run(noise_market(), on_device)
    replay = run(replay_market(), on_device)
    stressed = run(stressed_market(), on_device)
    runs = {"noise": noise, "replay": replay, "stressed": stressed}
    np.savez(file, **{f"{name}/{n}": x for name, of in runs.items() for n, x in of.items()})


if __name__ == "__main__":
    main(sys.argv[1])
