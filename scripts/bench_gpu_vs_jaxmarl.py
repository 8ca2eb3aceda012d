#!/usr/bin/env python3
"""Side by side with an installed JaxMARL-HFT checkout: the same recorded messages a step, environments and agents.

    python scripts/bench_gpu_vs_jaxmarl.py --jaxmarl CHECKOUT [--python ITS_PYTHON] [--device cuda]

One synthetic day in LOBSTER format is written to a temporary folder and fed to both. Theirs runs in a process of its own
interpreter, which imports its public modules by name (MARLEnv, BaseLOBEnv, the configuration classes); none of its code is
here. Fair: makers and takers (market making and execution agents there) with random actions drawn on the device, 64-step
episodes with reset in the same step, the device waited for at both ends, compilation apart, outputs kept (every
observation and reward of the rollout stored) and discarded (as its own speed test does). Its books hold `--orders` orders
a side and drop what is beyond; the day never has more. Before anything is timed, both play the day without agents, and best
bid, best ask and traded volume must agree.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

STEPS = 64  # of an episode and of a rollout
CHECKED = 20  # steps of the comparison without agents
OPEN = 34_200  # s
TICK = 100  # 1e-4 money units
MID = 10_000  # ticks
LEVELS = 10
SPACING = 1_000_000  # ns between messages
STEM = "SYN_2024-01-02_34200000_57600000"


# --- the day ---


def write_day(folder: Path, messages: int, seed: int = 0) -> Path:
    """A day of orders within LEVELS ticks of a fixed mid, 30 to 60 alive on a side, as the two files LOBSTER sells."""
    rng = np.random.default_rng(seed)
    sides = (1, -1)
    live: dict[int, list[list[int]]] = {1: [], -1: []}  # [id, level, lots], oldest first
    depth = {side: np.zeros(LEVELS, np.int64) for side in sides}
    message_lines, book_lines = [], []
    first = [(side, level) for level in range(LEVELS) for side in sides]
    for i in range(messages):
        side = int(rng.choice(sides))
        orders, u = live[side], rng.random()
        if i < len(first) or len(orders) < 30 or (u < 0.5 and len(orders) < 60):
            side, level = first[i] if i < len(first) else (side, int(rng.integers(LEVELS)))
            order = [i + 1, level, int(rng.integers(1, 10))]
            live[side].append(order)
            kind, lots = 1, order[2]
            depth[side][level] += lots
        else:
            best = int(np.flatnonzero(depth[side])[0])
            trades = u > 0.9
            at = (
                next(k for k, o in enumerate(orders) if o[1] == best)
                if trades
                else int(rng.integers(len(orders)))
            )
            order = orders[at]
            alone = (
                depth[side][order[1]] == order[2]
            )  # the last one of a level stays: all levels are always there
            lots = int(rng.integers(1, order[2] + 1)) if trades else order[2]
            lots = min(lots, order[2] - 1) if alone else lots
            if lots == 0:
                order = [i + 1, order[1], int(rng.integers(1, 10))]
                orders.append(order)
                kind, lots = 1, order[2]
                depth[side][order[1]] += lots
            else:
                kind = 4 if trades else (3 if lots == order[2] else 2)
                depth[side][order[1]] -= lots
                order[2] -= lots
                if order[2] == 0:
                    orders.pop(at)
        px = (MID - side * (1 + order[1])) * TICK
        time = OPEN * 10**9 + (i + 1) * SPACING
        message_lines.append(f"{time // 10**9}.{time % 10**9:09d},{kind},{order[0]},{lots},{px},{side}")
        book_lines.append(_book_line(depth))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{STEM}_message_{LEVELS}.csv"
    path.write_text("\n".join(message_lines[len(first) :]) + "\n")
    (folder / f"{STEM}_orderbook_{LEVELS}.csv").write_text("\n".join(book_lines[len(first) :]) + "\n")
    return path


def _book_line(depth: dict[int, np.ndarray]) -> str:
    values = []
    for level in range(LEVELS):
        for side in (-1, 1):  # ask first
            values += [(MID - side * (1 + level)) * TICK, int(depth[side][level])]
    return ",".join(map(str, values))


# --- ours ---


def our_env(day: Path, case: dict[str, Any], device: str, agents: bool = True) -> Any:
    """Our environments on the day: a step holds as many messages as fit between two decisions."""
    from lobgraph import MarketEnv, load_config

    step = case["messages"] * SPACING * 1e-9
    start = OPEN + (len(_first()) + 1) * SPACING * 1e-9
    last = start + STEPS * step if agents else start + CHECKED * step
    end = OPEN + case["day"] * SPACING * 1e-9 if agents else last
    count = case["agents"] if agents else 0
    overrides = [
        "market.books=[SYN]", f"market.dt={step!r}", f"market.initial_price={MID}", f"env.num_envs={case['envs']}",
        f"env.episode_steps={STEPS if agents else CHECKED}", f"replay.files={{SYN: '{day}'}}",
        f"replay.start={start:.9f}", f"replay.end={max(end, last):.9f}",
        f"agents.maker.count={count}", f"agents.taker.count={count}",
    ]  # fmt: skip
    return MarketEnv(load_config(None, overrides), seed=0, device=device, autoreset=agents)


def _first() -> range:
    return range(2 * LEVELS)


def our_check(day: Path, case: dict[str, Any], device: str) -> dict[str, int]:
    from lobgraph.market.state import ASK, BID, TRADED

    env = our_env(day, case | {"envs": 1}, device, agents=False)
    env.reset()
    before = int(env.host_state().head[0, 0, TRADED])
    for _ in range(CHECKED):
        env.step({})
    head = env.host_state().head[0, 0]
    return {"bid": int(head[BID]) * TICK, "ask": int(head[ASK]) * TICK, "volume": int(head[TRADED]) - before}


def our_rate(day: Path, case: dict[str, Any], device: str) -> dict[str, float]:
    import torch

    begun = perf_counter()
    env = our_env(day, case, device)
    env.reset()
    bounds = {
        role: (torch.from_numpy(s.low).to(env.device), torch.from_numpy(s.high - s.low).to(env.device))
        for role, s in env.specs.items()
    }
    shapes = {role: (env.num_envs, s.count, s.items, len(s.low)) for role, s in env.specs.items()}
    stored: list[Any] = []

    def rollout(keep: bool) -> None:
        stored.clear()
        for _ in range(STEPS):
            actions = {
                role: low + width * torch.rand(shapes[role], device=env.device)
                for role, (low, width) in bounds.items()
            }
            _, reward, _, _, _ = env.step(actions)
            if keep:
                stored.append(
                    (env.nodes.clone(), env.vector.clone(), {r: x.clone() for r, x in reward.items()})
                )
        if env.device.type == "cuda":
            torch.cuda.synchronize(env.device)

    rollout(False)
    compiled = perf_counter() - begun
    rates = _rates(rollout, case["envs"])
    peak = torch.cuda.max_memory_allocated(env.device) if env.device.type == "cuda" else 0
    return rates | {"compile_seconds": compiled, "peak_bytes": peak}


def _rates(rollout: Callable[[bool], Any], envs: int, repeats: int = 3) -> dict[str, float]:
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


# --- theirs, in a process of its own interpreter ---


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

    def world(case: dict[str, Any], window: int, resolution: int) -> Any:
        return World_EnvironmentConfig(
            n_data_msg_per_step=case["messages"], window_selector=window, ep_type="fixed_steps", episode_time=STEPS,
            start_resolution=resolution, book_depth=LEVELS, nOrders=work["orders"], nTrades=100, tick_size=TICK,
            dataPath=work["data"], alphatradePath=work["cache"], stock="SYN", timePeriod="day",
            use_pickles_for_init=False,
        )  # fmt: skip

    key = jax.random.PRNGKey(0)
    case = work["cases"][0]
    base = BaseLOBEnv(cfg=world(case, 0, STEPS), key=key)
    params = base.default_params
    _, state = base.reset_env(key, params)
    empty, volume = -jnp.ones_like(state.trades), 0
    for _ in range(CHECKED):
        _, state, _, _, _ = base.step_env(key, state.replace(trades=empty), {}, params)
        trades = np.asarray(state.trades)
        volume += int(np.abs(trades[trades[:, 0] > 0, 1]).sum())
    bids, asks = np.asarray(state.bid_raw_orders), np.asarray(state.ask_raw_orders)
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

    rates = _rates(rollout, envs)
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use", 0)
    return rates | {"compile_seconds": ready, "load_seconds": loaded, "peak_bytes": peak}


def theirs(args: argparse.Namespace, folder: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Run `their_work` in its interpreter; raises RuntimeError with the end of what it said if that fails."""
    work = {"data": str(folder), "cache": str(folder / "cache"), "orders": args.orders, "cases": cases}
    (folder / "cache").mkdir()
    (folder / "work.json").write_text(json.dumps(work))
    environ = os.environ | {
        "PYTHONPATH": str(args.jaxmarl.resolve()), "HOME": str(folder), "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "MPLBACKEND": "agg",
    }  # fmt: skip
    if args.device == "cpu":
        environ["JAX_PLATFORMS"] = "cpu"
    command = [args.python, str(Path(__file__).resolve()), "--inside", str(folder / "work.json")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=args.jaxmarl)
    result = folder / "result.json"
    if done.returncode != 0 or not result.is_file():
        raise RuntimeError(
            f"JaxMARL-HFT in {args.jaxmarl} by {args.python} failed:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return json.loads(result.read_text())


# --- both ---


def cases_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        {"messages": m, "agents": k, "envs": e, "day": args.day}
        for m in args.messages
        for k in args.agents
        for e in args.envs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jaxmarl", type=Path, help="checkout of JaxMARL-HFT")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has jax and what it needs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N, of both")
    parser.add_argument("--envs", type=int, nargs="+", default=[64, 4096])
    parser.add_argument(
        "--agents", type=int, nargs="+", default=[1, 5, 10], help="makers, and as many takers"
    )
    parser.add_argument("--messages", type=int, nargs="+", default=[100, 1], help="recorded messages a step")
    parser.add_argument("--orders", type=int, default=100, help="orders that one side of its book holds")
    parser.add_argument("--day", type=int, default=200_000, help="messages of the day")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        result = their_work(json.loads(args.inside.read_text()))
        (args.inside.parent / "result.json").write_text(json.dumps(result))
        return
    if args.jaxmarl is None or not (args.jaxmarl / "gymnax_exchange").is_dir():
        parser.error("--jaxmarl: name a checkout of JaxMARL-HFT (a folder that holds gymnax_exchange)")
    if args.day < (least := (STEPS + 2) * max(args.messages) * 2):
        parser.error(f"--day: two episodes need at least {least} messages")
    from lobgraph.env.placement import device_of

    args.device = str(device_of(args.device))
    cases = cases_of(args)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day = write_day(folder / "rawLOBSTER" / "SYN" / "day", args.day)
        check = our_check(day, cases[0], args.device)
        their = theirs(args, folder, cases)
        same = check == their["check"]
        print(
            f"after {CHECKED} steps without agents: ours {check}, theirs {their['check']}: {'equal' if same else 'DIFFERENT'}"
        )
        rows = [
            (case, our_rate(day, case, args.device), row)
            for case, row in zip(cases, their["rows"], strict=True)
        ]
    print(
        f"ours on {args.device}, theirs on {their['device']} (jax {their['jax']}), {args.orders} orders a side; env steps/s"
    )
    print(
        f"{'messages':>8} {'agents':>7} {'envs':>6} {'outputs':>10} {'ours':>14} {'theirs':>14} {'ratio':>9}  compilation s"
    )
    for case, our, other in rows:
        for kind in ("kept", "discarded"):
            print(
                f"{case['messages']:>8} {case['agents']:>3}+{case['agents']:<3} {case['envs']:>6} {kind:>10} {our[kind]:>14,.0f} "
                f"{other[kind]:>14,.0f} {our[kind] / other[kind]:>9.1f}  {our['compile_seconds']:.0f}, {other['compile_seconds']:.0f}"
            )
    if args.json:
        record = [{"case": c, "ours": o, "theirs": t} for c, o, t in rows]
        report = {
            "check": {"ours": check, "theirs": their["check"]},
            "rows": record,
            "device": their["device"],
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if not same:
        raise SystemExit("the two markets differ: the figures above compare different work")


if __name__ == "__main__":
    main()
