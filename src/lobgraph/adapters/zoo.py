"""PettingZoo: every played agent of one market acts at once (`ParallelMarket`), or in turn (`aec_env`). Needs the extra `gym`."""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from ..config import Config
from ..rl.actors import Actor
from .agents import Agents
from .render import MODES, check_mode, render
from .spaces import action_space, observation_space


class ParallelMarket(ParallelEnv[str, Any, Any]):
    """One market; agents maker_0, maker_1, ..., taker_0, ..., arbitrageur_0, ... of the roles that nobody holds.

    An agent that broke a limit, or whose target's deadline has come, is terminated; the time limit truncates. Infos are empty
    but at an agent's end: "terms", its reward's terms summed over the episode.

    Args:
        cfg: a Config, the path of a scenario file, or the name of a shipped scenario.
        others: role -> who holds it, see adapters.gym.RoleEnv; roles with agents.<role>.actor other than `learn` are held too.
        observations: "flat" (a vector, as long for every role) or "dict".
        actions: "normalised" (in [-1, 1]), "physical" (the units of MarketEnv) or "discrete".
        choices: role -> table of "discrete", see decode.choices_of.
        seed: of all draws until reset(seed=...); default cfg.run.seed.
        render_mode: "ansi" or "rgb_array".
    """

    metadata = {
        "name": "lobgraph_v0",
        "render_modes": list(MODES),
        "is_parallelizable": True,
        "render_fps": 10,
    }

    def __init__(
        self,
        cfg: Config | str | Path,
        others: Mapping[str, Actor] | None = None,
        observations: str = "flat",
        actions: str = "normalised",
        choices: Mapping[str, np.ndarray] | None = None,
        seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = check_mode(render_mode)
        self.core = Agents(cfg, others, observations, actions, choices, seed)
        self.market = self.core.market
        self.possible_agents = self.core.names.copy()
        self.agents: list[str] = []
        self._observation_spaces = {
            n: observation_space(self.core.cfg, observations) for n in self.possible_agents
        }
        self._action_spaces = {
            n: action_space(self.core.decoders[self.core.role_of[n]]) for n in self.possible_agents
        }

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """The next episode; with a seed, and the first time, episode 0 of the seed."""
        observations = self.core.reset(seed)
        self.agents = self.core.alive.copy()
        return observations, {name: {} for name in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]]:
        """One decision of all agents; those that end in it are still in the results, and no longer in `agents`."""
        results = self.core.step(actions)
        if len(self.core.alive) != len(self.agents):
            self.agents = self.core.alive.copy()
        return results

    def render(self) -> Any:
        return render(self.market, self.render_mode)

    def close(self) -> None:
        """Nothing is held that would need it."""


def parallel_env(cfg: Config | str | Path, **settings: Any) -> ParallelMarket:
    """A PettingZoo ParallelEnv of the market; arguments of ParallelMarket."""
    return ParallelMarket(cfg, **settings)


def aec_env(cfg: Config | str | Path, **settings: Any) -> AECEnv[str, Any, Any]:
    """The same in turns, by PettingZoo's own conversion."""
    return parallel_to_aec(ParallelMarket(cfg, **settings))
