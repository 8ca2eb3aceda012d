"""A market in which some roles learn and the others are held: by a strategy, by an earlier policy, or doing nothing.

In: an environment of all roles, and who acts for the held ones. Out: the same environment as the learner sees it, with
its own roles alone; the actions of the others are filled in at each step. The numbers come from the same buffers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..config import LEARN, ROLES, ConfigError
from ..models.policy import PolicySet
from .actors import Actor, PolicyActor, StrategyActor, cast
from .rollout import VectorEnv


def hold(market: VectorEnv, held: Mapping[str, Actor]) -> VectorEnv:
    """The market as those see it who are not held; the market itself where nobody is."""
    return HeldEnv(market, held) if held else market


class HeldEnv:
    """The VectorEnv of the roles that learn; G' agents of the market's G.

    Episode statistics in info["episodes"] are of all roles, all else is of the learning ones.

    Args:
        market: the environment of all roles.
        held: role -> who acts for it; policies act by their mean. At least one role must be left.

    Raises ConfigError if no role is left, PolicyError or StrategyError naming the key of one that does not fit.
    """

    def __init__(self, market: VectorEnv, held: Mapping[str, Actor]) -> None:
        self.market = market
        self.held = {role: held[role] for role in market.specs if role in held}
        self.specs: dict[str, Any] = {}
        rows: list[int] = []  # of the learning agents among the market's
        for role, spec in market.specs.items():
            if role not in held:
                own = range(spec.agents.start, spec.agents.stop)
                self.specs[role] = replace(spec, agents=slice(len(rows), len(rows) + len(own)))
                rows.extend(own)
        check_learners(self.specs, market.specs)
        device = market.nodes.device
        for role, given in self.held.items():
            if device.type != "cpu" and not (given is None or isinstance(given, PolicySet)):
                raise ConfigError(
                    f"agents.{role}.actor: strategies act on the CPU, and the market is on {device}; set run.device=cpu, "
                    "or hold the role by a policy"
                )
        self.adjacency, self.pairs = market.adjacency, market.pairs
        self.edges = market.edges  # (E, P, Fe)
        self._rows: Tensor | None = (
            None  # (G',) int64 where they do not lie side by side: then copied at each step
        )
        if rows == list(range(rows[0], rows[-1] + 1)):
            side_by_side = slice(rows[0], rows[-1] + 1)
            self.nodes, self.vector = market.nodes[:, side_by_side], market.vector[:, side_by_side]
        else:
            self._rows = torch.tensor(rows, device=device)
            self.nodes, self.vector = market.nodes[:, self._rows], market.vector[:, self._rows]
        self._acts = cast(market, self.held)
        self._obs: Any = None

    @property
    def num_envs(self) -> int:
        """E."""
        return self.market.num_envs

    @property
    def capturable(self) -> bool:
        """Whether a step can be part of a CUDA graph: that of the market, and held policies without memory."""
        held = self.held.values()
        steady = all(x is None or (isinstance(x, PolicySet) and not x.recurrent) for x in held)
        return steady and getattr(self.market, "capturable", False)

    def reset(self, seed: int | None = None) -> dict[str, Any]:
        """Start anew, the held strategies too: the same seed gives the same episodes for the same actions."""
        self._acts = cast(self.market, self.held)
        return self._show(self.market.reset() if seed is None else self.market.reset(seed))

    def step(self, actions: Mapping[str, Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One decision of everybody; `actions` are those of the learning roles. Returns what MarketEnv.step does."""
        if strangers := sorted(set(actions) - set(self.specs)):
            raise ValueError(f"actions: {strangers[0]!r} does not learn here; roles are {sorted(self.specs)}")
        held = {role: act(self._obs) for role, act in self._acts.items()}
        obs, reward, terminated, truncated, info = self.market.step({**actions, **held})
        info = dict(info)
        for name in ("active", "terms", "final_obs"):
            info[name] = self._own(info[name])
        return self._show(obs), self._own(reward), self._own(terminated), self._own(truncated), info

    def save_state(self) -> dict[str, Tensor]:
        """The market's, and what the held ones remember; raises StrategyError for what cannot be written down."""
        saved = dict(self.market.save_state())  # type: ignore[attr-defined]
        for role, act in self._acts.items():
            if isinstance(act, StrategyActor | PolicyActor):
                tree, arrays = act.save()
                saved |= {f"held.{role}.{name}": torch.from_numpy(x) for name, x in arrays.items()}
                text = json.dumps(tree).encode()
                saved[f"held.{role}"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        return saved

    def load_state(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Go on where `save_state` was called. Raises ValueError as the market does."""
        own = {name: x for name, x in state.items() if not name.startswith("held.")}
        obs = self.market.load_state(own)  # type: ignore[attr-defined]
        self._acts = cast(self.market, self.held)
        for role, act in self._acts.items():
            if isinstance(act, StrategyActor | PolicyActor):
                tree = json.loads(bytes(state[f"held.{role}"].numpy()))
                prefix = f"held.{role}."
                act.load(
                    tree,
                    {n.removeprefix(prefix): x.numpy() for n, x in state.items() if n.startswith(prefix)},
                )
        return self._show(obs)

    def _show(self, obs: Any) -> dict[str, Any]:
        """Keep the observations of all roles for the held ones, return the others."""
        self._obs = obs
        if self._rows is not None:
            torch.index_select(self.market.nodes, 1, self._rows, out=self.nodes)
            torch.index_select(self.market.vector, 1, self._rows, out=self.vector)
        return self._own(obs)

    def _own(self, by_role: Any) -> Any:
        return None if by_role is None else {role: by_role[role] for role in self.specs}


def check_learners(learners: Collection[str], present: Collection[str]) -> None:
    """Raise ConfigError if nobody of those present is left to learn."""
    if learners:
        return
    if not present:
        raise ConfigError(
            f"agents: no role has an agent to train; set agents.<role>.count ({', '.join(ROLES)})"
        )
    keys = " or ".join(f"agents.{role}.actor" for role in present)
    raise ConfigError(
        f"{keys}: no role learns; set one to {LEARN!r} (`lobgraph compare` plays scripted roles)"
    )
