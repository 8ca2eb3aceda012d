"""Whatever may act for a role, made into one function of the environment: policies, strategies, functions, or nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..agents.strategy import Strategy, StrategyError, make_strategy
from ..agents.view import View
from ..models.policy import PolicySet
from ..rl.checkpoint import load_policies

if TYPE_CHECKING:
    from ..env.market_env import MarketEnv

# A run directory or policy file; text that names a strategy; policies; a strategy; any function of the observations (by
# role) that returns the role's actions (E, K, items, act_dim) or a mapping by role that holds them; None: do nothing.
Actor = str | Path | PolicySet | Strategy | Callable[[Any], Any] | None
NOTHING = "nothing"  # None, as text
Act = Callable[[Any], Any]  # observations by role -> actions of one role (E, K, items, act_dim)


def resolve(given: Actor, role: str) -> Actor:
    """Text made into what it names: a policy where there is such a path, else a strategy. Raises StrategyError, PolicyError."""
    if given == NOTHING:
        return None
    if isinstance(given, Path) or (
        isinstance(given, str) and Path(given).exists() and not given.endswith(".py")
    ):
        return load_policies(given)
    if isinstance(given, str):
        if not given.partition(":")[0].endswith(".py") and ("/" in given or "\\" in given):
            raise StrategyError(f"{given!r}: no such run or policy file, and no strategy {given!r}")
        return make_strategy(given, role)
    return given


def actor(given: Actor, role: str, env: MarketEnv, deterministic: bool, generator: torch.Generator) -> Act:
    """The function that acts for a role in `env`. Raises ValueError for what cannot act for it."""
    given = resolve(given, role)
    if given is None:
        still = idle(env, role)
        return lambda obs: still
    if isinstance(given, PolicySet):
        if role not in given.specs:
            raise ValueError(f"agents: the policies given for {role!r} act only for {sorted(given.specs)}")
        policies = given.subset(role).attach(env)
        return lambda obs: policies.act(obs, deterministic, generator)[role]
    if isinstance(given, Strategy):
        return strategy_actor(given, role, env)
    if not callable(given):
        raise ValueError(
            f"agents[{role!r}]: expected a path, a strategy, policies, a function or None, got {type(given).__name__}"
        )
    function = given

    def call(obs: Any) -> Tensor:
        actions = function(obs)
        return actions[role] if isinstance(actions, Mapping) else actions

    return call


def idle(env: MarketEnv, role: str) -> Tensor:
    """(E, K, items, act_dim) actions that leave no order in the book."""
    spec = env.specs[role]
    low, high = torch.as_tensor(spec.low), torch.as_tensor(spec.high)
    return torch.zeros(env.num_envs, spec.count, spec.items, len(spec.action_names)).clamp(low, high)


def strategy_actor(strategy: Strategy, role: str, env: MarketEnv) -> Act:
    """A strategy's own copy for this batch of environments, started at its first decision."""
    if strategy.role != role:
        raise ValueError(f"agents[{role!r}]: {strategy} is a strategy for a {strategy.role}")
    own = copy.deepcopy(strategy)
    started = False

    def call(obs: Any) -> Any:
        nonlocal started
        view = View(env, role)
        if not started:
            own.start(view)
            started = True
        return own.act(view)

    return call
