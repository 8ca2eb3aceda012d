"""Cases of the adapters: what a step costs through each library's interface, beside MarketEnv.step on the same market.

Native and adapter windows alternate, so that what else the machine does meets both alike. Libraries that are not installed
are left out.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..env.market_env import MarketEnv
from .timing import Effort, Windows, windows_of
from .world import Setting, case, dt_for, random_actions

LIBRARIES = {
    "pettingzoo": "pettingzoo",
    "gymnasium": "gymnasium",
    "gymnasium_vector": "gymnasium",
    "sb3": "stable_baselines3",
    "torchrl": "torchrl",
}
Work = Callable[[int], float]


def adapters(setting: Setting, effort: Effort, adapter: str) -> dict[str, Any]:
    """Env steps/s through one adapter, with `native` (MarketEnv.step's) and `added_us` a step of the batch, medians both.

    Actions are drawn before, in the form that the adapter takes by default; episodes end and begin as they do.
    """
    held = [] if adapter in ("pettingzoo", "torchrl") else ["agents.taker.actor=nothing"]
    held.append("env.stagger=false" if setting.envs == 1 else "env.stagger=true")
    cfg = setting.config(dt_for(setting), held)
    env = MarketEnv(cfg)
    env.reset()
    actions = random_actions(env)

    def native(steps: int) -> float:
        for i in range(steps):
            env.step(actions[i % len(actions)])
        return float(steps * env.num_envs)

    through = _MAKE[adapter](cfg)
    block = cfg.env.episode_steps if setting.envs < 256 else 1
    brief = replace(effort, repeats=1)
    sides: tuple[Windows, Windows] = (Windows(), Windows())
    for _ in range(effort.repeats):
        for windows, work in zip(sides, (native, through), strict=True):
            found = windows_of(work, brief, block)
            windows.rates += found.rates
            windows.cores += found.cores
    base, own = (statistics.median(w.rates) for w in sides)
    added = 1e6 * env.num_envs * (1.0 / own - 1.0 / base)
    busy = 1e-3 * env.num_envs * (sides[1].core_ns - sides[0].core_ns)
    return case(
        "adapters", env, setting.events * setting.books, sides[1], "env steps/s", adapter=adapter,
        native=base, added_us=added, added_core_us=busy,
    )  # fmt: skip


def installed() -> list[str]:
    """Adapters whose library is there."""
    return [name for name, library in LIBRARIES.items() if importlib.util.find_spec(library)]


def _pettingzoo(cfg: Any) -> Work:
    from ..adapters.zoo import ParallelMarket

    env = ParallelMarket(cfg)
    env.reset()
    drawn = [{n: env.action_space(n).sample() for n in env.possible_agents} for _ in range(4)]

    def work(steps: int) -> float:
        for i in range(steps):
            env.step(drawn[i % 4])
            if not env.agents:
                env.reset()
        return float(steps)

    return work


def _gymnasium(cfg: Any) -> Work:
    from ..adapters.gym import RoleEnv

    env = RoleEnv(cfg, role="maker", seed=0)
    env.reset()
    drawn = [env.action_space.sample() for _ in range(4)]

    def work(steps: int) -> float:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(drawn[i % 4])
            if terminated or truncated:
                env.reset()
        return float(steps)

    return work


def _gymnasium_vector(cfg: Any) -> Work:
    from ..adapters.gym import RoleVectorEnv

    env = RoleVectorEnv(cfg, cfg.env.num_envs, role="maker", seed=0, stagger=True)
    env.reset()
    return _batched(env.step, [env.action_space.sample() for _ in range(4)], env.num_envs)


def _sb3(cfg: Any) -> Work:
    from ..adapters.sb3 import Sb3VecEnv

    env = Sb3VecEnv(cfg, role="maker")
    env.reset()
    rng = np.random.default_rng(0)
    shape = (env.num_envs, *env.decoder.shape)
    drawn = [rng.uniform(-1.0, 1.0, shape).astype(np.float32) for _ in range(4)]
    return _batched(env.step, drawn, env.num_envs)


def _torchrl(cfg: Any) -> Work:
    from ..adapters.torch_rl import TorchRLMarket

    env = TorchRLMarket(cfg)
    state = env.reset()
    drawn = [{key: env.rand_action(state.clone())[key] for key in env.action_keys} for _ in range(4)]

    def work(steps: int) -> float:
        nonlocal state
        for i in range(
            steps
        ):  # as a rollout does: the policy writes its actions into what the last step returned
            for key, action in drawn[i % 4].items():
                state.set(key, action)
            _, state = env.step_and_maybe_reset(state)
        return float(steps * cfg.env.num_envs)

    return work


def _batched(step: Callable[[Any], Any], drawn: list[Any], envs: int) -> Work:
    def work(steps: int) -> float:
        for i in range(steps):
            step(drawn[i % 4])
        return float(steps * envs)

    return work


_MAKE: dict[str, Callable[[Any], Work]] = {
    "pettingzoo": _pettingzoo,
    "gymnasium": _gymnasium,
    "gymnasium_vector": _gymnasium_vector,
    "sb3": _sb3,
    "torchrl": _torchrl,
}
