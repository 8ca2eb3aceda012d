"""One market with all agents that are played, each under its name: dicts in, dicts out. PettingZoo and RLlib share it.

An agent's episode ends with its own terminated or truncated; the market goes on for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config, ConfigError
from ..rl.actors import Actor
from .batch import Batch
from .decode import Decoder
from .encode import Encoder, check_choice
from .registry import as_config


class Agents:
    """The played agents of one market, maker_0, taker_0, arbitrageur_0 and so on. Arguments: see zoo.ParallelMarket.

    names: all of them. alive: those whose episode goes on.
    """

    def __init__(
        self,
        cfg: Config | str | Path,
        others: Mapping[str, Actor] | None = None,
        observations: str = "flat",
        actions: str = "normalised",
        choices: Mapping[str, np.ndarray] | None = None,
        seed: int | None = None,
    ) -> None:
        cfg = as_config(cfg)
        self.kind = check_choice("observations", observations, ("flat", "dict"))
        self.batch = Batch(cfg, 1, seed, others, stagger=False)
        self.cfg, self.market = cfg, self.batch.market
        self.encoder = Encoder(cfg)
        choices = dict(choices or {})
        if unknown := sorted(set(choices) - set(self.batch.specs)):
            raise ConfigError(
                f"choices: {unknown[0]!r} is not played; roles are {', '.join(self.batch.specs)}"
            )
        self.decoders = {
            role: Decoder(cfg, spec, actions, choices.get(role)) for role, spec in self.batch.specs.items()
        }
        self.names: list[str] = []
        self.role_of: dict[str, str] = {}
        self._place: dict[str, tuple[np.ndarray, tuple[int, ...], int]] = {}
        self._rows: dict[str, int] = {}  # name -> the agent's row in the market's buffers
        self._raw: dict[str, np.ndarray] = {}  # role -> (K, *shape) what its agents gave
        for role, spec in self.batch.specs.items():
            decoder = self.decoders[role]
            kind = np.int64 if decoder.kind == "discrete" else np.float32
            self._raw[role] = np.zeros((spec.count, *decoder.shape), kind)
            for k in range(spec.count):
                name = f"{role}_{k}"
                self.names.append(name)
                self.role_of[name] = role
                self._rows[name] = spec.agents.start + k
                self._place[name] = (self._raw[role], decoder.shape, k)
        self.alive: list[str] = []
        self._started = False
        self._which = np.ones(1, np.bool_)

    def reset(self, seed: int | None = None) -> dict[str, Any]:
        """The next episode; with a seed, and the first time, episode 0. Returns name -> observation."""
        if seed is None and self._started:
            self.batch.restart(self._which)
        else:
            self.batch.reset(seed)
        for raw in self._raw.values():
            raw[...] = 0
        self._started = True
        self.alive = self.names.copy()
        return self.observe(self.names)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]]:
        """One decision of all that are alive; dicts of name -> observation, reward, terminated, truncated, info.

        Raises ValueError for an agent that is missing, unknown or has ended, and for actions of the wrong shape or NaN.
        """
        acting = self.alive
        if not acting:
            raise RuntimeError("step: the episode has ended or not begun; call reset()")
        if len(actions) != len(acting):
            self._check_names(actions)
        place = self._place
        for name in acting:
            if name not in actions:
                self._check_names(actions)
            raw, shape, k = place[name]
            given = actions[name]
            if np.shape(given) != shape:
                raise ValueError(f"actions[{name!r}]: shape must be {shape}, got {np.shape(given)}")
            raw[k] = given
        self.batch.step(
            {role: decode(self._raw[role], ("agent",))[None] for role, decode in self.decoders.items()}
        )
        buffers = self.market.buffers
        rewards, flags = buffers.reward[0].tolist(), buffers.flag[0].tolist()
        reward, terminated, truncated, infos = {}, {}, {}, {}
        ended = False
        for name in acting:
            row = self._rows[name]
            reward[name] = rewards[row]
            terminated[name], truncated[name], _ = flags[row]
            infos[name] = {}
            if terminated[name] or truncated[name]:
                ended = True
                infos[name]["terms"] = self._terms(name)
        obs = self.observe(acting)
        if ended:
            self.alive = [name for name in acting if not (terminated[name] or truncated[name])]
        return obs, reward, terminated, truncated, infos

    def observe(self, names: list[str]) -> dict[str, Any]:
        """Name -> observation, copied once for all."""
        out = self.market.buffers
        if self.kind == "flat":
            flat = self.encoder.flat(out.nodes[0], out.edges, out.vector[0])
            return {name: flat[self._rows[name]] for name in names}
        parts = self.encoder.dict(out.nodes[0], out.edges, out.vector[0])
        return {name: {part: x[self._rows[name]] for part, x in parts.items()} for name in names}

    def _terms(self, name: str) -> dict[str, float]:
        out, row = self.market.buffers, self._rows[name]
        sums = out.ended[0, row, :4] if out.done[0] else out.running[0, row, :4]
        return dict(zip(self.batch.specs[self.role_of[name]].reward_terms, sums.tolist(), strict=True))

    def _check_names(self, actions: Mapping[str, Any]) -> None:
        if missing := [name for name in self.alive if name not in actions]:
            raise ValueError(f"actions: {missing[0]!r} is missing; these act: {', '.join(self.alive)}")
        if strangers := [name for name in actions if name not in self.alive]:
            over = "has ended" if strangers[0] in self.names else "is no agent here"
            raise ValueError(f"actions: {strangers[0]!r} {over}; these act: {', '.join(self.alive)}")
