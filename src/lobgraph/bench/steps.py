"""Cases of the environment and of training."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from ..env.market_env import MarketEnv
from .timing import Effort, Windows, windows_of
from .traffic import moved
from .world import Setting, case, count_events, random_actions, settled, synchronise

ROLLOUT = 32  # steps per update of train_steps
PHASES = ("env", "inference", "gae", "update")


def env_steps(setting: Setting, effort: Effort) -> dict[str, Any]:
    """Whole env steps with random actions: actions decoded, market, rewards, full observation, resets.

    Resets with their warm-up flow are in the rate, spread evenly over the steps; `reset_ns_per_step` is their share.
    """
    env, actions = settled(setting)
    length = env.cfg.env.episode_steps

    def work(steps: int) -> float:
        for i in range(steps):
            env.step(actions[i % len(actions)])
        synchronise(env)
        return float(steps * env.num_envs)

    # A window of a few environments holds whole episodes; with many, the staggered ends spread by themselves.
    windows = windows_of(work, effort, block=length if setting.envs < 256 else 1)
    events = count_events(env, actions, max(4, 8192 // setting.envs))
    if env.device.type == "cuda":
        return case("env_steps", env, events, windows, "env steps/s", **moved(env, events, windows))
    reset = reset_seconds(replace(setting, envs=max(8, 256 // setting.books), events=1.0, threads=1))
    return case("env_steps", env, events, windows, "env steps/s", reset_ns_per_step=1e9 * reset / length)


@lru_cache(maxsize=64)
def reset_seconds(setting: Setting) -> float:
    """Processor seconds to reset one environment: books made anew, warm-up flow, first observation. Least of five."""
    env = MarketEnv(setting.config())
    env.reset()
    seconds = []
    for _ in range(5):
        start = process_time()
        env.reset()
        seconds.append(process_time() - start)
    return min(seconds) / setting.envs


def train_steps(setting: Setting, effort: Effort) -> dict[str, Any]:
    """Training end to end with the shared graph encoder: rollout, GAE, update. `phase_shares` of the time.

    The first update is left out (it warms up); each later one is a repeat.
    """
    from ..rl.train import train

    updates = effort.repeats + 1
    cfg = setting.config(
        1.0,
        [
            f"ppo.rollout_steps={ROLLOUT}",
            f"ppo.total_steps={setting.envs * ROLLOUT * updates}",
            "run.evaluate_every=0",
            "run.progress=false",
            "run.tensorboard=false",
            f"run.torch_threads={setting.threads}",
            f"run.device={setting.device}",
        ],
    )
    with tempfile.TemporaryDirectory() as directory:
        start, used = perf_counter(), process_time()
        history = train(cfg, directory=Path(directory) / "run").history
        busy = (process_time() - used) / (perf_counter() - start)
    timed = history.iloc[1:]
    seconds = timed[[f"time/{phase}" for phase in PHASES]].sum(axis=1)
    shares = {phase: float(timed[f"time/{phase}"].sum() / seconds.sum()) for phase in PHASES}
    env = MarketEnv(cfg)  # another one of the same setting, to count its events
    env.reset()
    events = count_events(env, random_actions(env), max(4, 2048 // setting.envs))
    windows = Windows((setting.envs * ROLLOUT / seconds).tolist(), [busy] * len(seconds))
    return case("train_steps", env, events, windows, "env steps/s", phase_shares=shares)
