"""A batch of markets as adapters see it: some roles are played from outside, the others are held; episodes start when told.

In: actions of the played roles, (E, K, items, act_dim) float32 in physical units. Out: the market's own buffers, which the
next step overwrites. `Seat` is the batch of which one agent is played.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..config import LEARN, Config, ConfigError
from ..env.actions import RoleSpec
from ..env.drive import TERMINATED, TRUNCATED
from ..env.market_env import MarketEnv
from ..rl.actors import Act, Actor, actor, held_actors, naming, resolve
from .restart import restart


class Batch:
    """E markets; roles that nobody holds are played.

    Args:
        cfg: the configuration.
        num_envs: E; default cfg.env.num_envs.
        seed: root of all draws; default cfg.run.seed.
        others: role -> who holds it (see rl/actors.py), in the place of agents.<role>.actor.
        play: role that is played whatever the configuration says; the roles that are to learn then do nothing, unless
            `others` names them. None: all that are to learn are played.
        stagger: whether first episodes start in the middle, to spread the ends; default cfg.env.stagger.

    Raises ConfigError if nobody is left to play or a role is not there, StrategyError or PolicyError for who cannot hold one.
    """

    def __init__(
        self,
        cfg: Config,
        num_envs: int | None = None,
        seed: int | None = None,
        others: Mapping[str, Actor] | None = None,
        play: str | None = None,
        stagger: bool | None = None,
    ) -> None:
        others = dict(others or {})
        for role in [*others, *([] if play is None else [play])]:
            if role not in cfg.counts:
                raise ConfigError(
                    f"role {role!r}: has no agents in {cfg.name}; roles are {', '.join(cfg.counts)}"
                )
        if stagger is not None and stagger != cfg.env.stagger:
            cfg = cfg.model_copy(update={"env": cfg.env.model_copy(update={"stagger": stagger})})
        self.cfg = cfg
        self.held = _held(cfg, others, play)
        self.market = MarketEnv(cfg, num_envs, seed, autoreset=False)
        self.specs: dict[str, RoleSpec] = {r: s for r, s in self.market.specs.items() if r not in self.held}
        if not self.specs:
            raise ConfigError(
                f"agents: every role is held; leave one to play ({', '.join(cfg.counts)}; agents.<role>.actor: {LEARN})"
            )
        self._acts: dict[str, Act] = self._cast()
        self._obs: Any = None

    @property
    def num_envs(self) -> int:
        """E."""
        return self.market.num_envs

    def _cast(self) -> dict[str, Act]:
        acts = {}
        for role, given in self.held.items():
            with naming(f"agents.{role}.actor"):
                acts[role] = actor(given, role, self.market)
        return acts

    def reset(self, seed: int | None = None) -> None:
        """Start episode 0 of every environment, those who hold roles anew too."""
        self._acts = self._cast()
        self._obs = self.market.reset(seed)

    def restart(self, which: np.ndarray) -> None:
        """Start the next episode of environments (E,) bool."""
        restart(self.market, which)

    def step(self, actions: dict[str, Any]) -> dict[str, Any]:
        """One decision of everybody; `actions` are those of the played roles. Returns MarketEnv.step's info."""
        for role, act in self._acts.items():
            actions[role] = act(self._obs)
        return self.market.step(actions)[4]


def _held(cfg: Config, others: Mapping[str, Actor], play: str | None) -> dict[str, Actor]:
    """Role -> who acts for it, of the roles that are not played."""
    held = {}
    for role in cfg.counts:
        if role == play:
            continue
        if role in others:
            with naming(f"others[{role!r}]"):
                held[role] = resolve(others[role], role)
        elif getattr(cfg.agents, role).actor != LEARN:
            held |= held_actors(cfg, [role])
        elif play is not None:
            held[role] = None
    return held


class Seat(Batch):
    """E markets in each of which one agent of a role is played: the role's first.

    Other agents of that role are held by `others[role]`, and do nothing without it.
    """

    def __init__(
        self,
        cfg: Config,
        role: str | None = None,
        num_envs: int | None = None,
        seed: int | None = None,
        others: Mapping[str, Actor] | None = None,
        stagger: bool | None = None,
    ) -> None:
        role = only_role(cfg, others or {}) if role is None else role
        mates = dict(others or {})
        mate = mates.pop(role, None)
        super().__init__(cfg, num_envs, seed, mates, role, stagger)
        self.role, self.spec = role, self.specs[role]
        if self.spec.count == 1 and mate is not None:
            raise ConfigError(f"others[{role!r}]: the only {role} is the one that is played")
        with naming(f"others[{role!r}]"):
            self._mate = resolve(mate, role)
        self._mates: Act | None = None
        out, g = self.market.buffers, self.spec.agents.start
        self.nodes, self.edges, self.vector = out.nodes[:, g], out.edges, out.vector[:, g]  # (E, N, F), ...
        self.reward = out.reward[:, g]  # (E,) float32
        self.terminated, self.truncated = out.flag[:, g, TERMINATED], out.flag[:, g, TRUNCATED]  # (E,) bool
        self._terms, self._last = out.running[:, g, :4], out.ended[:, g, :4]
        self._done = out.done

    def reset(self, seed: int | None = None) -> None:
        super().reset(seed)
        self._mates = None if self.spec.count == 1 else actor(self._mate, self.role, self.market)

    def play(self, action: np.ndarray) -> None:
        """One decision; `action` (E, items, act_dim) float32 in physical units, of the agent that is played."""
        if self._mates is None:
            own: Any = action[:, None]
        else:
            own = torch.as_tensor(self._mates(self._obs), dtype=torch.float32).numpy().copy()
            own[:, 0] = action
        self.step({self.role: own})

    def terms(self, env: int) -> dict[str, float]:
        """The reward's terms by name, summed over the episode that has just ended in `env`, before it is restarted."""
        sums = self._last[env] if self._done[env] else self._terms[env]
        return dict(zip(self.spec.reward_terms, sums.tolist(), strict=True))


def only_role(cfg: Config, others: Mapping[str, Actor]) -> str:
    """The role that nobody holds. Raises ConfigError where several are left, or none."""
    free = [r for r in cfg.learners if r not in others]
    if len(free) == 1:
        return free[0]
    raise ConfigError(
        f"role: say which is played, one of {', '.join(cfg.counts)}"
        + (f"; {' and '.join(free)} are held by nobody" if free else "")
    )
