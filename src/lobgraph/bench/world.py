"""A setting of the benchmark -> an environment with as many noise events a step as asked, and what happened in it.

The only place of the benchmark that reaches below MarketEnv's public interface: the header's counters and the threads.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..config import Config, load_config
from ..env.market_env import MarketEnv
from ..env.placement import GpuOptions
from ..env.world import make_world
from ..market.state import EVENTS, Tape
from .timing import Windows

Actions = dict[str, torch.Tensor]
SETTLE = 3  # steps before anything is counted
DRAWS = 4  # sets of random actions, taken in turn


@dataclass(frozen=True)
class Setting:
    """One point of a sweep; the defaults are the baseline."""

    envs: int = 1024
    books: int = 1
    makers: int = 1
    takers: int = 1
    arbitrageurs: int = 0
    events: float = 100.0  # asked for, per book and step
    threads: int = 1  # asked for; an environment batch takes fewer where they do not pay
    device: str = "cpu"
    gpu: GpuOptions | None = None

    def config(self, dt: float = 1.0, overrides: Sequence[str] = ()) -> Config:
        """The default market in this setting; `overrides` come last."""
        counts = {"maker": self.makers, "taker": self.takers, "arbitrageur": self.arbitrageurs}
        return load_config(
            None,
            [
                f"env.num_envs={self.envs}",
                f"env.threads={self.threads}",
                "env.stagger=true",
                f"market.books={self.books}",
                f"market.dt={dt}",
                *(f"agents.{role}.count={count}" for role, count in counts.items()),
                *overrides,
            ],
        )


def make_env(setting: Setting, dt: float = 1.0, overrides: Sequence[str] = ()) -> MarketEnv:
    """The environments of a setting, where it says."""
    return MarketEnv(setting.config(dt, overrides), device=setting.device, gpu=setting.gpu)


def synchronise(env: MarketEnv) -> None:
    """Wait for a GPU: before a clock is read. Nothing on the CPU, which is never behind."""
    if env.device.type == "cuda":
        torch.cuda.synchronize(env.device)


def threads_used(env: MarketEnv) -> int:
    """Threads the environments are spread over."""
    return len(env._cuts) - 1


def state_bytes(env: MarketEnv) -> int:
    """Bytes of market state per book: quantities, header, orders, accounts, and its share of the environment's rows."""
    return round(sum(a.nbytes for a in env.state) / (env.num_envs * env.state.head.shape[1]))


def counter(env: MarketEnv, column: int) -> int:
    """Sum over all books of one of the header's counters (market/state.py); a reset sets them to 0."""
    return int(env.state.head[:, :, column].sum())


def play(env: MarketEnv, tape: Tape, latest: int) -> None:
    """Let a tape that is in no file stand in the place of the noise, from the next episode on; `env.reset` undoes it.

    Episodes start at random times from 0 to `latest` ns.
    """
    params = env._params._replace(replay=1, replay_from=0, replay_to=latest)
    if env._loop is not None:
        env._loop.play(params, tape)
        return
    env._world = make_world(params, env._flow, tape, env.state, env.buffers)


def random_actions(env: MarketEnv, seed: int = 0) -> list[Actions]:
    """DRAWS sets of actions, uniform in their bounds."""
    generator = torch.Generator().manual_seed(seed)
    sets: list[Actions] = []
    for _ in range(DRAWS):
        actions = {}
        for role, spec in env.specs.items():
            low, high = torch.from_numpy(spec.low), torch.from_numpy(spec.high)
            u = torch.rand((env.num_envs, spec.count, spec.items, len(low)), generator=generator)
            actions[role] = (low + u * (high - low)).to(env.device)
        sets.append(actions)
    return sets


def count_events(env: MarketEnv, actions: list[Actions], steps: int) -> float:
    """Measured noise events per env step (all books) over `steps` steps.

    Steps that ended an episode are left out: the reset clears their count. Its warm-up is in no count either.
    """
    events, counted = 0, 0
    for i in range(steps):
        before = _events(env)
        info = env.step(actions[i % len(actions)])[-1]
        on = ~info["done"].cpu()
        events += int((_events(env) - before)[on].sum())
        counted += int(on.sum())
    return events / max(counted, 1)


def _events(env: MarketEnv) -> torch.Tensor:
    """(E,) events of each environment's books since they were made, on the host."""
    return torch.as_tensor(env.state.head)[:, :, EVENTS].sum(1).cpu()


def dt_for(setting: Setting, overrides: Sequence[str] = ()) -> float:
    """Seconds per step at which a book has about `setting.events` events, found by trying."""
    few = int(np.clip(1e5 / (setting.events * setting.books), 2, 256))
    return _dt_for(replace(setting, envs=few, threads=1, device="cpu", gpu=None), tuple(overrides))


@lru_cache(maxsize=256)
def _dt_for(setting: Setting, overrides: tuple[str, ...]) -> float:
    dt = setting.events / 45.0  # the default flow's events per second, about
    steps = int(np.clip(2000 / setting.events, 10, 200))
    for _ in range(3):
        env = MarketEnv(setting.config(dt, overrides))
        actions = random_actions(env)
        env.reset()
        found = count_events(env, actions, SETTLE + steps) / setting.books
        dt = float(np.clip(dt * setting.events / max(found, 1e-3), 1e-6, 1e5))
    return dt


def settled(setting: Setting, overrides: Sequence[str] = ()) -> tuple[MarketEnv, list[Actions]]:
    """An environment in this setting after its first steps, and actions for it."""
    env = make_env(setting, dt_for(setting, overrides), overrides)
    actions = random_actions(env)
    env.reset()
    for i in range(SETTLE):  # on a GPU they compile the kernels and capture the graph
        env.step(actions[i % DRAWS])
    return env, actions


def case(
    name: str, env: MarketEnv, events: float, windows: Windows, unit: str, **extra: Any
) -> dict[str, Any]:
    """A case's record. `events`: measured events or messages per env step, all books together.

    The rates are by the clock on the wall. `core_ns` is processor time per unit, of all threads, in the least disturbed
    window; `busy_cores` below `threads` says that other processes had the cores.
    """
    rates = windows.rates
    books = env.cfg.market.num_books
    return {
        "name": name,
        "environments": env.num_envs,
        "books": books,
        "agents_per_role": env.cfg.counts,
        "events_per_step": round(float(events), 3),
        "threads": threads_used(env),
        "device": str(env.device),
        "median": statistics.median(rates),
        "min": min(rates),
        "max": max(rates),
        "unit": unit,
        "repeats": len(rates),
        "busy_cores": windows.busy,
        "core_ns": windows.core_ns,
        "dt": env.cfg.market.dt,
        "state_bytes_per_book": state_bytes(env),
        **extra,
    }
