"""RLlib: a MultiAgentEnv of one market with every played agent. Needs the extra `ray`, in a virtual environment of its own."""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from .agents import Agents
from .spaces import action_space, observation_space


class RLlibMarket(MultiAgentEnv):
    """One market; agents maker_0, taker_0, ... of the roles that nobody holds. RLlib makes one for each environment.

    config: the arguments of adapters.zoo.ParallelMarket by name (cfg, others, observations, actions, choices, seed), as
    `AlgorithmConfig.environment(RLlibMarket, env_config={"cfg": "single_maker"})` hands them over. RLlib's own policies take
    actions "normalised" and "discrete", no Box of two dimensions.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        given = dict(config or {})
        observations = given.get("observations", "flat")
        # of the same seed every copy would play the same episodes
        copy_of = (getattr(config, "worker_index", 0), getattr(config, "vector_index", 0))
        self.core = Agents(**given)
        self._seed: int | None = self.core.market.seed + 1_000_003 * copy_of[0] + copy_of[1]
        self.possible_agents = self.core.names.copy()
        self.agents = self.possible_agents.copy()
        self.observation_spaces = {
            n: observation_space(self.core.cfg, observations) for n in self.possible_agents
        }
        self.action_spaces = {
            n: action_space(self.core.decoders[self.core.role_of[n]]) for n in self.possible_agents
        }

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """The next episode; with a seed, and the first time, episode 0."""
        if seed is None:
            seed, self._seed = self._seed, None
        else:
            self._seed = None
        observations = self.core.reset(seed)
        self.agents = self.core.alive.copy()
        return observations, {}

    def step(self, action_dict: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One decision of all agents that have not ended."""
        observations, rewards, terminated, truncated, infos = self.core.step(action_dict)
        self.agents = self.core.alive.copy()
        over = not self.agents
        cut = any(truncated.values())
        terminated["__all__"], truncated["__all__"] = over and not cut, over and cut
        return observations, rewards, terminated, truncated, infos
