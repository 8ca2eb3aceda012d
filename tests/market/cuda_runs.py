"""Three markets with agents acting, step by step: what the CPU, numba's CUDA simulator and a GPU must agree on.

Run as a script (NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1), it writes the runs of MarketEnv(device="cuda") to a file.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any
from unittest import mock

import numpy as np
import tapes
import torch
from tapes import SECOND, make_tape, random_messages

from lobgraph.config import make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.placement import GpuOptions

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


def noise_market(envs: int = ENVS, **where: Any) -> MarketEnv:
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
    return MarketEnv(make_config(tree), num_envs=envs, seed=3, first_env=5, **where)


def stressed_market(envs: int = ENVS, **where: Any) -> MarketEnv:
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
    return MarketEnv(make_config(tree), num_envs=envs, seed=6, **where)


def replay_market(envs: int = ENVS, **where: Any) -> MarketEnv:
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
        return MarketEnv(make_config(tree), num_envs=envs, seed=2, **where)


def random_actions(env: MarketEnv, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Uniform up to a tenth of their width outside the bounds."""
    actions = {}
    for role, s in env.specs.items():
        u = rng.uniform(-0.1, 1.1, (env.num_envs, s.count, s.items, len(s.action_names)))
        actions[role] = (s.low + u * (s.high - s.low)).astype(np.float32)
    return actions


MARKETS = {"noise": noise_market, "replay": replay_market, "stressed": stressed_market}
# Blocks of two threads have one to spare. The simulator is slow: one way of running for each market, all ways are on a GPU.
WAYS = {
    "noise": GpuOptions(layout="mixed", block=2),
    "replay": GpuOptions(layout="env_last", block=2, sort=True),
    "stressed": GpuOptions(layout="env_major", block=2, fused=True),
}


def run(env: MarketEnv, steps: int = STEPS, every: int = 1) -> dict[str, np.ndarray]:
    """Every array of State and Buffers after the reset and after every `every`-th step, (steps / every + 1, ...).

    Also the statistics of the episodes that ended in each third of the steps, episodes/<name>, one row a third.
    """
    rng = np.random.default_rng(11)
    named = list(zip(env.state._fields + env.buffers._fields, (*env.state, *env.buffers), strict=True))
    seen: dict[str, list[np.ndarray]] = {name: [] for name, _ in named}
    told: dict[str, list[np.ndarray]] = {}
    for i in range(steps + 1):
        if i == 0:
            env.reset()
        else:
            env.step({role: torch.from_numpy(x) for role, x in random_actions(env, rng).items()})
        if i % every == 0:
            for name, array in named:
                seen[name].append(torch.as_tensor(array).cpu().numpy().copy())
        if i and i % (steps // 3) == 0:
            for name, value in _numbers(env).items():
                told.setdefault(name, []).append(value)
    return {name: np.stack(arrays) for name, arrays in (seen | told).items()}


def _numbers(env: MarketEnv) -> dict[str, np.ndarray]:
    """env.episodes() as arrays; NaN where no episode ended."""
    ended = env.episodes()
    numbers = {}
    for name in ("mean", "std", "least", "most", "max_inventory", "equity"):
        for role, spec in env.specs.items():
            blank = np.full(spec.count, np.nan)
            numbers[f"episodes/{name}/{role}"] = blank if ended is None else getattr(ended, name)[role]
    numbers["episodes/count"] = np.array(0 if ended is None else ended.count)
    return numbers


def nan_message(device: str) -> str:
    """What is said of a NaN in an action; on a GPU by the next look, and until then the step is made."""
    env = noise_market(device=device)
    env.reset()
    actions = {role: torch.from_numpy(x) for role, x in random_actions(env, np.random.default_rng(1)).items()}
    actions["taker"][2, 0, 1, 1] = torch.nan
    try:
        env.step(actions)
        assert int(env.state.clock[2, 1]) > 0, "the step was not made"
        env.check()
    except ValueError as error:
        env.check()  # said once
        return str(error)
    return "nothing"


def main(file: str) -> None:
    warnings.simplefilter("error")  # a scalar that leaves its type by accident; hashes wrap around on purpose
    warnings.filterwarnings("ignore", "overflow encountered in scalar (add|multiply)", RuntimeWarning)
    runs = {name: run(make(device="cuda", gpu=WAYS[name])) for name, make in MARKETS.items()}
    arrays = {f"{name}/{n}": x for name, of in runs.items() for n, x in of.items()}
    np.savez(file, nan=np.array(nan_message("cuda")), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
