"""Speed of the engine, the environment and training, measured with the code that users run.

Each case is repeated; the median, the least and the largest are printed and saved with the machine and the threads.
Rates count what happened: events that changed a book (a thinned-out cancel is none), recorded messages, env steps
(one environment, one decision), training steps with rollout, GAE and update.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from .config import Config, load_config
from .env.drive import start_range, step_range
from .env.market_env import MarketEnv
from .env.world import make_world
from .market.state import EVENTS, TAPE_CANCEL, TAPE_LIMIT, TAPE_TRADE, Tape

PX0 = 10_000


def machine() -> dict[str, Any]:
    """What a speed depends on: processor, cores, versions."""
    import numba

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":")[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = names[0] if names else name
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _rates(work: Callable[[], float], repeats: int) -> list[float]:
    """Units per second of `work`, which returns the units it did, after one call to warm up."""
    work()
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - start))
    return rates


def _case(
    name: str, cfg: Config, events: float, threads: int, rates: list[float], unit: str, **extra: Any
) -> dict:
    return {
        "name": name,
        "environments": cfg.env.num_envs,
        "books": cfg.market.num_books,
        "agents_per_role": cfg.counts,
        "events_per_step": round(float(events), 1),
        "threads": threads,
        "median": statistics.median(rates),
        "min": min(rates),
        "max": max(rates),
        "unit": unit,
        **extra,
    }


def _config(envs: int, books: int, agents: dict[str, int], threads: int, dt: float = 1.0) -> Config:
    roles = [f"agents.{role}.count={agents.get(role, 0)}" for role in ("maker", "taker", "arbitrageur")]
    return load_config(
        None,
        [
            f"env.num_envs={envs}",
            f"market.books={books}",
            f"market.dt={dt}",
            f"env.threads={threads}",
            *roles,
        ],
    )


def _settled(env: MarketEnv, steps: int = 3) -> dict[str, torch.Tensor]:
    """Reset and run a few steps with fixed random actions, which are returned."""
    generator = torch.Generator().manual_seed(0)
    actions = {}
    for role, spec in env.specs.items():
        low, high = torch.from_numpy(spec.low), torch.from_numpy(spec.high)
        u = torch.rand((env.num_envs, spec.count, spec.items, len(low)), generator=generator)
        actions[role] = low + u * (high - low)
    env.reset()
    for _ in range(steps):
        env.step(actions)
    return actions


def flow_events(envs: int, books: int, threads: int, repeats: int) -> dict:
    """Noise flow alone: no agents, no observation."""
    cfg = _config(envs, books, {}, threads, dt=4.0)
    env = MarketEnv(cfg)
    _settled(env)
    head = env.state.head
    steps = max(2, 4096 // (envs * books))

    def work() -> float:
        before = head[:, :, EVENTS].sum()
        for _ in range(steps):
            if env.state.clock[0, 1] >= cfg.env.episode_steps - 1:
                env.state.clock[:, 1] = 0  # a reset would count its warm-up as time but not as events
            env.step({})
        return float(head[:, :, EVENTS].sum() - before)

    rates = _rates(work, repeats)
    return _case("flow_events", cfg, work() / steps / envs / books, threads, rates, "events/s")


def synthetic_tape(messages: int, seed: int = 0) -> Tape:
    """A consistent recorded stream of one book: limit orders, cancels of them, trades at the best; 1 ms apart."""
    rng = np.random.default_rng(seed)
    live: dict[int, list[tuple[int, int]]] = {1: [], -1: []}
    depth: dict[int, dict[int, int]] = {1: {PX0 - 1: 50}, -1: {PX0 + 1: 50}}
    rows = np.zeros((messages, 4), np.int64)
    for i in range(messages):
        side = 1 if rng.random() < 0.5 else -1
        u = rng.random()
        if u < 0.5 or len(live[side]) < 50:
            px, qty = PX0 - side * int(rng.integers(1, 40)), int(rng.integers(1, 6))
            live[side].append((px, qty))
            depth[side][px] = depth[side].get(px, 0) + qty
            rows[i] = TAPE_LIMIT, side, px, qty
        elif u < 0.95:
            px, qty = live[side].pop(int(rng.integers(len(live[side]))))
            qty = min(qty, depth[side].get(px, 0))
            depth[side][px] = depth[side].get(px, 0) - qty
            rows[i] = TAPE_CANCEL, side, px, qty
        else:
            px = max((p * side for p, q in depth[side].items() if q > 0), default=side * (PX0 - side)) * side
            qty = min(3, depth[side].get(px, 0))
            depth[side][px] = depth[side].get(px, 0) - qty
            rows[i] = TAPE_TRADE, side, px, qty
    return Tape(
        time=np.arange(1, messages + 1, dtype=np.int64) * 1_000_000,
        kind=rows[:, 0].astype(np.uint8),
        side=rows[:, 1].astype(np.int8),
        px=rows[:, 2].astype(np.int32),
        qty=rows[:, 3].astype(np.int32),
        start=np.array([0, messages], np.int64),
        snap_px=np.array([[[PX0 - 1], [PX0 + 1]]], np.int32),
        snap_qty=np.array([[[50], [50]]], np.int32),
        snap_start=np.array([0, 1], np.int64),
        every=messages + 1,
    )


def tape_messages(envs: int, repeats: int) -> dict:
    """Replay on one thread with one agent's order resting in the book: a maker that quotes far from the mid."""
    count, per_step = 100_000, 100
    cfg = _config(envs, 1, {"maker": 1}, 1, dt=0.001 * per_step)
    env = MarketEnv(cfg)
    env.reset()
    tape = synthetic_tape(count)
    params = env._params._replace(replay=1, episode_steps=1 << 40)
    quote = np.full((envs, 1, 1, 3), 8.0, np.float32)
    taker, arb = np.zeros((envs, 0, 1, 2), np.float32), np.zeros((envs, 0, 0, 3), np.float32)
    head, rates = env.state.head, []
    for _ in range(repeats + 1):
        world = make_world(params, env._flow, tape, env.state, env.buffers)
        start_range(world, 0, envs)
        before = head[:, 0, EVENTS].sum()
        start = time.perf_counter()
        for _ in range(count // per_step - 1):
            step_range(world, quote, taker, arb, 0, envs)
        rates.append(float(head[:, 0, EVENTS].sum() - before) / (time.perf_counter() - start))
    return _case("tape_messages", cfg, per_step, 1, rates[1:], "messages/s")


def env_steps(envs: int, books: int, agents: dict[str, int], threads: int, repeats: int) -> dict:
    """Whole environment steps with fixed random actions: actions, market, rewards, observation, resets."""
    cfg = _config(envs, books, agents, threads)
    env = MarketEnv(cfg)
    actions = _settled(env)
    steps = max(3, 2048 // (envs * books))
    head, clock = env.state.head, env.state.clock

    def work() -> float:
        for _ in range(steps):
            env.step(actions)
        return float(steps * envs)

    rates = _rates(work, repeats)
    per_step = head[:, :, EVENTS].sum() / np.maximum(clock[:, 1].sum(), 1)
    return _case("env_steps", cfg, per_step, threads, rates, "env steps/s")


def train_steps(envs: int, books: int, threads: int, updates: int) -> dict:
    """Training end to end: a maker a book and an arbitrageur with the shared graph encoder. Phase shares of the time."""
    from .rl.train import train

    overrides = [
        f"env.num_envs={envs}", f"market.books={books}", "agents.maker.count=2", "agents.arbitrageur.count=1",
        "ppo.rollout_steps=32", f"ppo.total_steps={envs * 32 * updates}", "run.progress=false",
        "run.tensorboard=false", f"env.threads={threads}", f"run.torch_threads={threads}",
    ]  # fmt: skip
    cfg = load_config(None, overrides)
    with tempfile.TemporaryDirectory() as directory:
        history = train(cfg, directory=Path(directory) / "run").history
    phases = ["env", "inference", "gae", "update"]
    timed = history.iloc[1:]
    seconds = timed[[f"time/{phase}" for phase in phases]].sum(axis=1)
    rates = (envs * 32 / seconds).tolist()
    shares = {p: float(timed[f"time/{p}"].sum() / seconds.sum()) for p in phases}
    return _case("train_steps", cfg, 44.0 * books, threads, rates, "env steps/s", phase_shares=shares)


def run_bench(quick: bool = False, json_path: str | Path | None = None) -> dict[str, Any]:
    """Run all cases, print the table, save JSON. `quick` runs one size of each with few repeats."""
    console = Console()
    cores = len(os.sched_getaffinity(0))
    threads = sorted({1, cores})
    sizes = (64,) if quick else (1, 64, 1024, 4096)
    repeats = 3 if quick else 5
    report: dict[str, Any] = {"machine": machine(), "cases": []}
    console.print(
        f"{report['machine']['processor']}, {cores} cores, load {report['machine']['load_before']:.1f}; "
        "the first run of a new version compiles its kernels (about a minute)"
    )

    def add(case: dict) -> None:
        report["cases"].append(case)
        roles = ", ".join(f"{n} {r}" for r, n in case["agents_per_role"].items()) or "no agents"
        shares = case.get("phase_shares")
        tail = "" if not shares else "; " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items())
        console.print(
            f"  {case['name']}: {case['environments']} envs x {case['books']} books, {roles}, "
            f"{case['threads']} threads: {case['median']:,.0f} {case['unit']}{tail}"
        )

    for envs in sizes:
        for t in threads:
            if t == 1 or envs >= 8 * t:
                add(flow_events(envs, 1, t, repeats))
    add(tape_messages(16, repeats))
    for envs in sizes:
        for t in threads:
            if t == 1 or envs >= 8 * t:
                add(env_steps(envs, 1, {"maker": 1, "taker": 1}, t, repeats))
                add(env_steps(envs, 4, {"maker": 2, "arbitrageur": 1}, t, repeats))
    for envs in (64,) if quick else (64, 256, 1024):
        add(train_steps(envs, 4, cores, 4 if quick else 8))
    _print_table(console, report["cases"])
    if json_path is not None:
        path = Path(json_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1))
        console.print(f"saved {path}")
    return report


def _print_table(console: Console, cases: list[dict]) -> None:
    table = Table(title="lobgraph bench")
    for name in (
        "case",
        "envs",
        "books",
        "agents",
        "events/step/book",
        "threads",
        "median",
        "min",
        "max",
        "unit",
    ):
        table.add_column(name, justify="left" if name in ("case", "agents", "unit") else "right")
    for c in cases:
        roles = "+".join(f"{n} {r[:4]}" for r, n in c["agents_per_role"].items()) or "-"
        numbers = [f"{c[k]:,.0f}" for k in ("median", "min", "max")]
        per_book = (
            f"{c['events_per_step'] / c['books'] if c['name'] != 'flow_events' else c['events_per_step']:.0f}"
        )
        table.add_row(
            c["name"],
            str(c["environments"]),
            str(c["books"]),
            roles,
            per_book,
            str(c["threads"]),
            *numbers,
            c["unit"],
        )
    Console(width=max(console.width, 110)).print(table)
