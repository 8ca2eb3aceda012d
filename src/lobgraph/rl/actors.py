"""Whatever may act for a role, made into one function of the environment: policies, strategies, functions, or nothing.

Training uses it for the roles that do not learn, evaluation for all of them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..agents.remember import freeze, objects_of, thaw
from ..agents.strategy import Strategy, StrategyError, article, make_strategy, strategies
from ..agents.view import View
from ..config import LEARN, NOTHING, ROLES, Config, ConfigError
from ..models.policy import PolicyError, PolicySet
from .checkpoint import load_policies

# A run directory or policy file; text that names a strategy; policies; a strategy; any function of the observations (by
# role) that returns the role's actions (E, K, items, act_dim) or a mapping by role that holds them; None: do nothing.
Actor = str | Path | PolicySet | Strategy | Callable[[Any], Any] | None
Act = Callable[[Any], Any]  # observations by role -> actions of one role (E, K, items, act_dim)


def resolve(given: Actor, role: str | None = None) -> Actor:
    """Text made into what it names: a strategy of this package, else a policy where there is such a path, else a user's.

    Raises StrategyError or PolicyError for what is not there, or acts for other roles than `role` (None: any will do).
    """
    if isinstance(given, str) and given == NOTHING:
        return None
    if isinstance(given, str) and given.partition(":")[0] in strategies():
        given = make_strategy(given, role)
    elif isinstance(given, Path) or (
        isinstance(given, str) and os.path.exists(given) and not given.endswith(".py")
    ):
        given = load_policies(given)
    elif isinstance(given, str):
        if not given.partition(":")[0].endswith(".py") and ("/" in given or "\\" in given):
            raise StrategyError(
                f"{given!r}: no such run or policy file from {os.getcwd()}, and no strategy {given!r}"
            )
        given = make_strategy(given, role)
    if role is not None and isinstance(given, PolicySet) and role not in given.specs:
        raise PolicyError(f"the policies given for {role!r} act only for {sorted(given.specs)}")
    if role is not None and isinstance(given, Strategy) and given.role != role:
        raise StrategyError(f"{given} is a strategy for {article(given.role)}, not for {article(role)}")
    return given


def resolve_all(given: Mapping[str, Actor], role: str | None = None) -> tuple[str, dict[str, Actor]]:
    """The role that all of them can act in, and label -> strategy, policies or None.

    `role` None: the only one that fits. Raises StrategyError or PolicyError for one that is not there or does not act for
    `role`, and ConfigError where several roles fit, or none.
    """
    if role is not None:
        if role not in ROLES:
            raise ConfigError(f"role {role!r}: no such role; there are {', '.join(ROLES)}")
        return role, {label: resolve(actor, role) for label, actor in given.items()}
    found = {label: resolve(actor) for label, actor in given.items()}
    fits = {label: _roles_of(actor) for label, actor in found.items()}
    shared = [r for r in ROLES if all(r in roles for roles in fits.values())]
    if len(shared) == 1:
        return shared[0], found
    if shared:
        raise ConfigError(f"role: they could act as {' or '.join(shared)}; say which")
    each = ", ".join(f"{label!r} acts as {' or '.join(roles)}" for label, roles in fits.items())
    raise ConfigError(f"role: no role fits all of them; {each}")


def _roles_of(given: Actor) -> list[str]:
    if isinstance(given, Strategy):
        return [given.role]
    return list(given.specs) if isinstance(given, PolicySet) else list(ROLES)


def held_actors(cfg: Config, roles: Iterable[str] | None = None) -> dict[str, Actor]:
    """What the configuration puts in the place of learners: role -> strategy, policies or None; roles that learn are not in it.

    `roles`: which to look at; default all that are present. Raises StrategyError or PolicyError that names the key.
    """
    held = {}
    for role in cfg.counts if roles is None else roles:
        text = getattr(cfg.agents, role).actor
        if text != LEARN:
            with naming(f"agents.{role}.actor"):
                held[role] = resolve(text, role)
    return held


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Put the key that is to blame before the message of a StrategyError or PolicyError."""
    try:
        yield
    except (StrategyError, PolicyError) as error:
        raise type(error)(f"{key}: {error}") from None


def cast(env: Any, held: Mapping[str, Actor]) -> dict[str, Act]:
    """The functions that act for the held roles in `env`; policies act by their mean. Errors name the key, as above."""
    acts = {}
    for role, given in held.items():
        with naming(f"agents.{role}.actor"):
            acts[role] = actor(given, role, env)
    return acts


def actor(
    given: Actor,
    role: str,
    env: Any,
    deterministic: bool = True,
    generator: torch.Generator | None = None,
) -> Act:
    """The function that acts for a role in `env`; a policy acts by its mean, or draws from `generator`.

    `env`: a VectorEnv; for a strategy a MarketEnv, whose state it sees. Raises ValueError for what cannot act for the role.
    """
    given = resolve(given, role)
    if given is None:
        still = idle(env, role)
        return lambda obs: still
    if isinstance(given, PolicySet):
        return PolicyActor(given, role, env, deterministic, generator)
    if isinstance(given, Strategy):
        return StrategyActor(given, role, env)
    if not callable(given):
        raise ValueError(
            f"agents[{role!r}]: expected a path, a strategy, policies, a function or None, got {type(given).__name__}"
        )
    function = given

    def call(obs: Any) -> Any:
        actions = function(obs)
        return actions[role] if isinstance(actions, Mapping) else actions

    return call


def idle(env: Any, role: str) -> Tensor:
    """(E, K, items, act_dim) actions that leave no order in the book."""
    spec = env.specs[role]
    device = env.nodes.device
    low, high = torch.as_tensor(spec.low, device=device), torch.as_tensor(spec.high, device=device)
    return torch.zeros(env.num_envs, spec.count, spec.items, len(spec.action_names), device=device).clamp(
        low, high
    )


class StrategyActor:
    """A strategy's own copy for this batch of environments, started at its first decision."""

    def __init__(self, strategy: Strategy, role: str, env: Any) -> None:
        self.own, self.role, self.env = copy.deepcopy(strategy), role, env
        self.spec = spec = env.specs[role]
        self.shape = (env.num_envs, spec.count, spec.items, len(spec.action_names))
        self.started = False
        self.made: dict[str, str] | None = None  # objects that `start` made, if that can be told

    def _start(self, view: View) -> None:
        self.own.start(view)
        self.started = True
        with suppress(StrategyError):  # `save` will say it
            self.made = objects_of(self.own)

    def __call__(self, obs: Any) -> np.ndarray:
        own, shape = self.own, self.shape
        view = View(self.env, self.role, first=not self.started)
        try:
            if not self.started:
                self._start(view)
            given = own.act(view)
        except NotImplementedError as error:
            raise StrategyError(str(error)) from error
        except SystemExit as error:  # would end the whole evaluation as if it had succeeded
            raise StrategyError(f"{own}: left the program (SystemExit: {error.code})") from error
        try:
            actions = np.asarray(given)
        except ValueError:  # lists of several lengths
            actions = np.empty(0, object)
        if actions.shape != shape or actions.dtype.kind not in "fiu":
            raise StrategyError(
                f"{own}: act must return real numbers of shape {shape} (envs, agents, {self.spec.acts_on}s, "
                f"{'/'.join(self.spec.action_names)}), got {actions.dtype} of shape {actions.shape}"
            )
        if np.isnan(actions).any():
            raise StrategyError(f"{own}: act returned NaN at (env, agent, {self.spec.acts_on}, action) "
                                f"{tuple(int(i) for i in np.argwhere(np.isnan(actions))[0])}")  # fmt: skip
        return actions

    def save(self) -> tuple[Any, dict[str, np.ndarray]]:
        """What it remembers; raises StrategyError for what cannot be written down. None before the first decision."""
        return freeze(self.own, self.made) if self.started else (None, {})

    def load(self, tree: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember that instead; `env` is where it was then."""
        self.started = tree is not None
        if self.started:
            self._start(View(self.env, self.role))
            thaw(tree, self.own, arrays, str(self.own))


class PolicyActor:
    """A policy's own copy for this batch of environments."""

    def __init__(
        self, policies: PolicySet, role: str, env: Any, deterministic: bool, generator: torch.Generator | None
    ) -> None:
        self.own, self.role = policies.subset(role).attach(env), role
        self.deterministic, self.generator = deterministic, generator

    def __call__(self, obs: Any) -> Tensor:
        return self.own.act(obs, self.deterministic, self.generator)[self.role]

    def save(self) -> tuple[Any, dict[str, np.ndarray]]:
        """What its memory holds."""
        state = self.own.state
        return (None, {}) if state is None else ("memory", {"memory": state.cpu().numpy()})

    def load(self, tree: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember that instead."""
        self.own.state = None if tree is None else torch.from_numpy(arrays["memory"]).to(self.own.device)
