"""KnownMarket: many copies of a small market whose best policy is known, with the interface of MarketEnv.

Actions in, observations, rewards and ends of episodes out, as torch sees them: float32; the market itself is float64.
All episodes last `steps` decisions and end together. The end is part of the problem, so that it is `terminated`, never
`truncated`. Draws are a function of (seed, purpose, episode, step, environment): another policy meets the same noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
import torch
from scipy.special import ndtri

from ..config import ConfigError
from ..env.actions import RoleSpec
from ..env.observe import Observation
from .params import KnownParams

BATCH = 4096  # environments side by side in `simulate`
Rule = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
P = TypeVar("P", bound=KnownParams)


@dataclass(frozen=True)
class Policy:
    """A named policy: observations by role in, actions (E, 1, 1, D) float64 by role out.

    `rule(step (E,) int64, nodes (E, N, F), edges (E, P, Fe))` -> (E, D) in physical units.
    """

    name: str
    role: str
    steps: int  # decisions in an episode
    rule: Rule

    def __call__(self, obs: Mapping[str, Observation]) -> dict[str, np.ndarray]:
        seen = obs[self.role]
        left = seen.vector[:, 0, 0].double().numpy()
        step = self.steps - np.rint(left * self.steps).astype(np.int64)
        nodes, edges = (x[:, 0].double().numpy() for x in (seen.nodes, seen.edges))
        return {self.role: self.rule(step, nodes, edges)[:, None, None, :]}


class Results(NamedTuple):
    """Episodes that were played."""

    profit: np.ndarray  # (n,) money earned; inventory at the end valued at the mid
    objective: np.ndarray  # (n,) sum of the rewards, which the market's best policy maximises in the mean
    inventory: np.ndarray  # (n, N) at the end


class KnownMarket(ABC, Generic[P]):
    """A batch of E markets with one agent. Subclasses say how an episode starts, advances and looks.

    Args:
        params: the market's parameters; None: as published.
        num_envs: E.
        seed: root of all draws.
    """

    role: ClassVar[str]
    action_names: ClassVar[tuple[str, ...]]
    terms: tuple[str, ...]  # of the reward
    node_features: ClassVar[tuple[str, ...]]
    edge_features: ClassVar[tuple[str, ...]] = ("gap",)
    vector_features: ClassVar[tuple[str, ...]] = ("time_left",)  # share of the episode
    books: ClassVar[int] = 1  # N

    def __init__(self, params: P, num_envs: int = 64, seed: int = 0) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs: must be at least 1, got {num_envs}")
        self.params, self.seed = params, int(seed)
        self._num_envs = num_envs
        self.steps = params.steps
        low, high = self._bounds()
        pair = self.role == "arbitrageur"
        self.spec = RoleSpec(
            role=self.role, count=1, acts_on="pair" if pair else "node", items=1, action_names=self.action_names,
            low=np.array(low, np.float32), high=np.array(high, np.float32), node_features=self.node_features,
            edge_features=self.edge_features, vector_features=self.vector_features, reward_terms=self.terms,
            agents=slice(0, 1),
        )  # fmt: skip
        self._low, self._high = np.array(low, float), np.array(high, float)
        self.specs = {self.role: self.spec}
        n, e = self.books, num_envs
        self.pairs = torch.tensor([(i, j) for i in range(n) for j in range(i + 1, n)]).reshape(-1, 2).long()
        self.adjacency = torch.ones(n, n).fill_diagonal_(0.0)  # (N, N)
        self.nodes = torch.zeros(e, 1, n, len(self.node_features))  # (E, G, N, F)
        self.edges = torch.zeros(e, len(self.pairs), len(self.edge_features))  # (E, P, Fe)
        self.vector = torch.zeros(e, 1, len(self.vector_features))  # (E, G, V)
        self.t, self.episode = -1, 0  # decisions taken in this episode; -1: not started
        self.equity = np.zeros(e)  # (E,) money earned so far, inventory valued at the mid
        self.inventory = np.zeros((e, n))  # (E, N)

    @property
    def num_envs(self) -> int:
        """E."""
        return self._num_envs

    # --- what a market is ---

    @abstractmethod
    def _bounds(self) -> tuple[list[float], list[float]]:
        """Lowest and highest of every action, physical units."""

    @abstractmethod
    def _start(self) -> None:
        """Set the market's arrays to the start of an episode; `equity` and `inventory` are 0 already."""

    @abstractmethod
    def _advance(self, action: np.ndarray) -> np.ndarray:
        """Act (E, D), within bounds; advance a step; return the terms of the reward (E, len(terms)) float64."""

    @abstractmethod
    def _look(self) -> None:
        """Write what the agent sees into `nodes` and `edges`."""

    @abstractmethod
    def optimal(self) -> Policy:
        """The best policy."""

    @abstractmethod
    def value(self) -> float:
        """What the best policy's `estimate` is in theory."""

    @abstractmethod
    def policies(self) -> dict[str, Policy]:
        """All named policies, the best one first under "optimal"."""

    def estimate(self, results: Results) -> tuple[float, float]:
        """The policy's value from its episodes, in the unit of `value`, and its standard error."""
        return mean_error(results.objective)

    # --- the loop ---

    def reset(self, seed: int | None = None) -> dict[str, Observation]:
        """Start episode 0 of every environment; the same seed gives the same noise. Returns the observations."""
        self.seed = self.seed if seed is None else int(seed)
        self.episode = 0
        return self._begin()

    def _begin(self) -> dict[str, Observation]:
        self.t = 0
        self.equity[:], self.inventory[:] = 0.0, 0.0
        self._sums = np.zeros((self.num_envs, len(self.terms)))
        self._largest = np.zeros(self.num_envs)
        self._start()
        return self._seen()

    def _seen(self) -> dict[str, Observation]:
        self.vector[:, 0, 0] = 1.0 - self.t / self.steps
        self._look()
        return {self.role: Observation(self.nodes, self.edges[:, None], self.vector)}

    def step(
        self, actions: Mapping[str, torch.Tensor] | Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Observation], dict, dict, dict, dict[str, Any]]:
        """Advance every environment by one decision; all start anew in the step in which the episode ends.

        Returns obs, reward (E, 1) float32, terminated and truncated (E, 1) bool, info, as MarketEnv.step does. Raises
        ValueError for actions of the wrong shape or with NaN.
        """
        terms = self._advance(np.clip(self._checked(actions), self._low, self._high))
        self.t += 1
        self._sums += terms
        np.maximum(self._largest, np.abs(self.inventory).max(axis=1), out=self._largest)
        ended = self.t == self.steps
        obs, role, e = self._seen(), self.role, self.num_envs
        info: dict[str, Any] = {
            "done": torch.full((e,), ended),
            "active": {role: torch.ones(e, 1, dtype=torch.bool)},
            "terms": {role: torch.from_numpy(terms[:, None])},
            "final_obs": None,
            "episodes": None,
        }
        if ended:
            info["final_obs"] = {role: Observation(*(x.clone() for x in obs[role]))}
            info["episodes"] = self._episodes()
            self.episode += 1
            obs = self._begin()
        reward = torch.from_numpy(terms.sum(axis=1)[:, None]).float()
        terminated, truncated = torch.full((e, 1), ended), torch.zeros(e, 1, dtype=torch.bool)
        return obs, {role: reward}, {role: terminated}, {role: truncated}, info

    def _checked(self, actions: Mapping[str, Any]) -> np.ndarray:
        if self.t < 0:
            raise RuntimeError(f"{type(self).__name__}.step: call reset() first")
        if set(actions) != {self.role}:
            raise ValueError(f"actions: expected the role {self.role!r}, got {sorted(actions)}")
        given = actions[self.role]
        if isinstance(given, torch.Tensor):
            given = given.detach().cpu().numpy()
        array = np.asarray(given, dtype=np.float64)
        shape = (self.num_envs, 1, 1, len(self.action_names))
        if array.shape != shape:
            raise ValueError(
                f"actions[{self.role!r}]: shape must be {shape} (envs, agents, {self.spec.acts_on}s, "
                f"{'/'.join(self.action_names)}), got {array.shape}"
            )
        if np.isnan(array).any():
            where = tuple(np.argwhere(np.isnan(array))[0].tolist())
            raise ValueError(
                f"actions[{self.role!r}]: NaN at (env, agent, {self.spec.acts_on}, action) {where}"
            )
        return array[:, 0, 0]

    def _episodes(self) -> dict[str, Any]:
        """Statistics of the episodes that end, with the keys of MarketEnv's."""
        role, sums = self.role, torch.from_numpy(self._sums.copy())[:, None]
        held = torch.from_numpy(self.inventory.copy())[:, None]  # (E, K, N), of this market's unit
        return {
            "env": torch.arange(self.num_envs),
            "length": torch.full((self.num_envs,), self.steps),
            "return": {role: sums.sum(-1).float()},
            "terms": {role: sums},
            "max_inventory": {role: torch.from_numpy(self._largest.copy())[:, None]},
            "equity": {role: torch.from_numpy(self.equity.copy())[:, None]},
            "inventory": {role: held},
            "remaining": {role: held if role == "taker" else torch.zeros_like(held)},
        }

    # --- noise ---

    def uniform(self, purpose: int) -> np.ndarray:
        """(E,) draws in (0, 1), without its ends, of this episode, step and purpose; environment i's do not depend on E."""
        bits = np.random.Philox(
            key=np.array([self.seed, purpose], np.uint64),
            counter=np.array([0, self.t, self.episode, 0], np.uint64),
        )
        return np.random.Generator(bits).random(self.num_envs) + 2.0**-54

    def normal(self, purpose: int) -> np.ndarray:
        """(E,) standard normal draws, by inversion."""
        return ndtri(self.uniform(purpose))

    # --- playing ---

    def copy(self, num_envs: int, seed: int) -> Self:
        """The same market, another batch."""
        return type(self)(self.params, num_envs, seed)

    def simulate(self, policy: Any, episodes: int, seed: int = 0) -> Results:
        """Play `episodes` episodes in a fresh batch.

        policy: called with the observations, returns the actions; or has a method `act` that does (a trained PolicySet:
            its mean action is played).
        """
        if episodes < 1:
            raise ValueError(f"episodes: must be at least 1, got {episodes}")
        act = actor(policy)
        market = self.copy(min(episodes, BATCH), seed)
        obs, parts = market.reset(), []
        while sum(len(part.profit) for part in parts) < episodes:
            obs, _, _, _, info = market.step(act(obs))
            if (ended := info["episodes"]) is not None:
                values = (
                    ended["equity"][self.role][:, 0],
                    ended["terms"][self.role][:, 0].sum(-1),
                    ended["inventory"][self.role][:, 0],
                )
                parts.append(Results(*(x.numpy() for x in values)))
        return Results(*(np.concatenate(x)[:episodes] for x in zip(*parts, strict=True)))


def actor(policy: Any) -> Callable[[Mapping[str, Observation]], Mapping[str, Any]]:
    """A policy as a function of the observations; see `KnownMarket.simulate`."""
    if hasattr(policy, "act"):
        return lambda obs: policy.act(obs, deterministic=True)
    return policy


def mean_error(x: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else np.inf


def spread_error(x: np.ndarray) -> tuple[float, float]:
    """Standard deviation and its standard error, for any distribution with a fourth moment."""
    square = (x - x.mean()) ** 2
    std = float(np.sqrt(square.mean()))
    return std, float(square.std() / np.sqrt(len(x)) / (2.0 * std)) if std > 0 else 0.0
