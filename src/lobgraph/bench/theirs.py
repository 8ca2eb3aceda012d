"""JaxMARL-HFT measured by its own interpreter: this file is run there as a script, and knows nothing of lobgraph.

    python theirs.py WORK.json RESULT.json

with the checkout on PYTHONPATH. It imports public modules of the checkout by name; none of its code is here.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

STEPS = 64  # of an episode and of a rollout
CHECKED = 20  # steps of the comparison without agents


def rates(rollout: Callable[[bool], Any], envs: int, repeats: int = 3) -> dict[str, float]:
    """Env steps per second of the middle one of `repeats` rollouts, outputs kept and discarded."""
    found = {}
    for name, keep in (("kept", True), ("discarded", False)):
        rollout(keep)
        seconds = []
        for _ in range(repeats):
            start = perf_counter()
            rollout(keep)
            seconds.append(perf_counter() - start)
        found[name] = envs * STEPS / sorted(seconds)[repeats // 2]
    return found


def their_work(work: dict[str, Any]) -> dict[str, Any]:
    """Runs in the other interpreter, with the checkout first on its path."""
    import multiprocessing
    import types

    cores = multiprocessing.cpu_count()
    multiprocessing.cpu_count = lambda: max(
        4, cores
    )  # its loader takes a quarter of the cores, which must not be none
    try:
        import wandb  # noqa: F401
    except ImportError:  # imported there, not used by environments
        stub: Any = types.ModuleType("wandb")
        stub.agent = None
        sys.modules["wandb"] = stub
    import jax
    import jax.numpy as jnp
    from gymnax_exchange.jaxen.base_env import BaseLOBEnv
    from gymnax_exchange.jaxen.marl_env import MARLEnv
    from gymnax_exchange.jaxob.jaxob_config import MultiAgentConfig, World_EnvironmentConfig
    from gymnax_exchange.jaxob.JaxOrderBookArrays import scan_through_entire_array

    def world(case: dict[str, Any], window: int, resolution: int) -> Any:
        return World_EnvironmentConfig(
            n_data_msg_per_step=case["messages"], window_selector=window, ep_type="fixed_steps", episode_time=STEPS,
            start_resolution=resolution, book_depth=work["levels"], nOrders=work["orders"], nTrades=100, tick_size=work["tick"],
            dataPath=work["data"], alphatradePath=work["cache"], stock="SYN", timePeriod="day",
            use_pickles_for_init=False,
        )  # fmt: skip

    key = jax.random.PRNGKey(0)
    case = work["cases"][0]
    base = BaseLOBEnv(cfg=world(case, 0, STEPS), key=key)
    params = base.default_params
    _, state = base.reset_env(key, params)
    empty, volume = -jnp.ones_like(state.trades), 0
    asks, bids = state.ask_raw_orders, state.bid_raw_orders
    for step in range(CHECKED):  # the books alone: step_env of BaseLOBEnv mixes up its counters
        rows = base.get_data_messages(params.message_data, state.start_index, step, 0)
        asks, bids, trades = scan_through_entire_array(base.cfg, key, rows, (asks, bids, empty))
        trades = np.asarray(trades)
        volume += int(np.abs(trades[trades[:, 0] > 0, 1]).sum())
    bids, asks = np.asarray(bids), np.asarray(asks)
    check = {
        "bid": int(bids[bids[:, 1] > 0, 0].max()),
        "ask": int(asks[asks[:, 1] > 0, 0].min()),
        "volume": volume,
    }
    print("CHECK " + json.dumps(check), flush=True)

    rows = []
    for case in work["cases"]:
        begun = perf_counter()
        config = MultiAgentConfig(
            world_config=world(case, -1, STEPS), number_of_agents_per_type=[case["agents"]] * 2
        )
        env = MARLEnv(key=key, multi_agent_config=config)
        rows.append(_their_rate(jax, env, case, begun))
        print("ROW " + json.dumps(rows[-1]), flush=True)
    return {"check": check, "rows": rows, "device": str(jax.devices()[0]), "jax": jax.__version__}


def _their_rate(jax: Any, env: Any, case: dict[str, Any], begun: float) -> dict[str, float]:
    params, envs = env.default_params, case["envs"]
    loaded = perf_counter() - begun

    def one(state: Any, key: Any) -> Any:
        act, step = jax.random.split(key)
        keys = jax.random.split(act, len(env.action_spaces))
        actions = [
            space.sample(k)
            if case["agents"] == 1
            else jax.vmap(space.sample)(jax.random.split(k, case["agents"]))
            for k, space in zip(keys, env.action_spaces, strict=True)
        ]
        obs, state, reward, _, _ = env.step(step, state, actions, params)
        return state, (obs, reward)

    def roll(state: Any, key: Any, keep: bool) -> Any:
        def body(carry: Any, _: Any) -> Any:
            state, key = carry
            key, use = jax.random.split(key)
            state, seen = jax.vmap(one)(state, jax.random.split(use, envs))
            return (state, key), (seen if keep else None)

        return jax.lax.scan(body, (state, key), None, length=STEPS)

    key = jax.random.PRNGKey(1)
    _, state = jax.jit(jax.vmap(env.reset_env, in_axes=(0, None)))(jax.random.split(key, envs), params)
    compiled = {
        keep: jax.jit(roll, static_argnums=2).lower(state, key, keep).compile() for keep in (True, False)
    }
    ready = perf_counter() - begun - loaded

    def rollout(keep: bool) -> None:
        jax.block_until_ready(compiled[keep](state, key))

    found = rates(rollout, envs)
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use", 0)
    return found | {"compile_seconds": ready, "load_seconds": loaded, "peak_bytes": peak}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(their_work(json.loads(Path(sys.argv[1]).read_text()))))
