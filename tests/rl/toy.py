"""A market without a market: the interface of MarketEnv over problems whose best actions and values are known.

Node features x, edge features e and vectors v are uniform on [-1, 1] and drawn afresh at each step. The best action, in
normalised units, is (own) .5 x0 - .3 x1 + .2 v0 per node, (neighbours) sum_j w_ij x0_j / sum_j |w_ij| per node, (pair)
.4 (x0_i - x0_j) + .3 e0 per pair, (recall) .8 x0 as it was at the episode's first step, per node. The reward is minus the mean squared distance to it, `delay` steps later, so the best
possible mean reward is 0; with `constant` it is that constant, whatever is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from lobgraph.config import Config, load_config
from lobgraph.models.encoder import normalise_rows

F, FE, V = 3, 2, 2
LOW, HIGH = -2.0, 6.0  # physical bounds of every action


class Obs(NamedTuple):
    nodes: torch.Tensor
    edges: torch.Tensor
    vector: torch.Tensor


@dataclass(frozen=True)
class Spec:
    role: str
    count: int
    acts_on: str
    items: int
    agents: slice
    action_names: tuple[str, ...] = ("a",)
    low: np.ndarray = field(default_factory=lambda: np.array([LOW], np.float32))
    high: np.ndarray = field(default_factory=lambda: np.array([HIGH], np.float32))
    node_features: tuple[str, ...] = ("x0", "x1", "x2")
    edge_features: tuple[str, ...] = ("e0", "e1")
    vector_features: tuple[str, ...] = ("v0", "time_left")
    reward_terms: tuple[str, ...] = ("error", "bonus")


class ToyEnv:
    def __init__(
        self,
        roles: Mapping[str, int] | None = None,  # role -> agents; the arbitrageur acts on pairs
        nodes: int = 3,
        num_envs: int = 32,
        episode: int = 8,
        problem: str = "own",  # of the node roles: own | neighbours | recall
        delay: int = 0,
        constant: float | None = None,
        end_at: int | None = None,  # step of the episode after which agent 0 of every role is terminated
        seed: int = 0,
        adjacency: torch.Tensor | None = None,
    ) -> None:
        roles = roles or {"maker": 1}
        self.num_envs, self.N, self.episode, self.problem, self.delay = (
            num_envs,
            nodes,
            episode,
            problem,
            delay,
        )
        self.constant, self.end_at, self.seed = constant, end_at, seed
        self.pairs = torch.tensor([(i, j) for i in range(nodes) for j in range(i + 1, nodes)]).reshape(-1, 2)
        self.adjacency = ring(nodes) if adjacency is None else adjacency
        self.specs, first = {}, 0
        for role, k in roles.items():
            acts_on, items = ("pair", len(self.pairs)) if role == "arbitrageur" else ("node", nodes)
            self.specs[role] = Spec(role, k, acts_on, items, slice(first, first + k))
            first += k
        self.G = first
        e, p = num_envs, len(self.pairs)
        self.nodes, self.edges = torch.zeros(e, first, nodes, F), torch.zeros(e, p, FE)
        self.vector = torch.zeros(e, first, V)
        self.poison: dict[tuple[str, int], float] = {}  # ("nodes" | "reward", step) -> value to plant there

    def _views(self, nodes: torch.Tensor, edges: torch.Tensor, vector: torch.Tensor) -> dict[str, Obs]:
        return {
            r: Obs(nodes[:, s.agents], edges[:, None].expand(-1, s.count, -1, -1), vector[:, s.agents])
            for r, s in self.specs.items()
        }

    def _draw(self) -> dict[str, Obs]:
        for x in (self.nodes, self.edges, self.vector):
            x.uniform_(-1, 1, generator=self.rng)
        self.vector[:, :, 1] = 1.0 - self.t / self.episode
        if self.t == 0:
            self.cue = self.nodes[..., 0].clone()
        if ("nodes", self.total) in self.poison:
            self.nodes[1, 0, 2, 1] = self.poison["nodes", self.total]
        return self._views(self.nodes, self.edges, self.vector)

    def reset(self, seed: int | None = None) -> dict[str, Obs]:
        self.rng = torch.Generator().manual_seed(self.seed if seed is None else seed)
        self.t, self.total = 0, 0
        self.alive = torch.ones(self.num_envs, self.G, dtype=torch.bool)
        self.queue: list[dict[str, torch.Tensor]] = []
        self.sums = torch.zeros(self.num_envs, self.G)
        return self._draw()

    def best(self, role: str) -> torch.Tensor:
        """(E, K, items, 1) best normalised action for the current observation."""
        s = self.specs[role]
        x, v = self.nodes[:, s.agents], self.vector[:, s.agents]
        if s.acts_on == "pair":
            a = (
                0.4 * (x[:, :, self.pairs[:, 0], 0] - x[:, :, self.pairs[:, 1], 0])
                + 0.3 * self.edges[:, None, :, 0]
            )
        elif self.problem == "recall":
            a = 0.8 * self.cue[:, s.agents]
        elif self.problem == "neighbours":
            a = x[..., 0] @ normalise_rows(self.adjacency).T
        else:
            a = 0.5 * x[..., 0] - 0.3 * x[..., 1] + 0.2 * v[:, :, None, 0]
        return a.unsqueeze(-1)

    def _rewards(self, actions: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rewards = {}
        for role in self.specs:
            if self.constant is not None:
                rewards[role] = torch.full((self.num_envs, self.specs[role].count), self.constant)
            else:
                a = (actions[role].clamp(LOW, HIGH) - LOW) / (HIGH - LOW) * 2 - 1
                rewards[role] = -(a - self.best(role)).square().mean((2, 3))
        self.queue.append(rewards)
        return self.queue.pop(0) if len(self.queue) > self.delay else {r: 0 * x for r, x in rewards.items()}

    def step(self, actions: Mapping[str, torch.Tensor]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        for role, s in self.specs.items():
            assert actions[role].shape == (self.num_envs, s.count, s.items, 1)
            assert torch.isfinite(actions[role]).all()
            assert actions[role].min() >= LOW
            assert actions[role].max() <= HIGH
        active, reward = self.alive.clone(), self._rewards(actions)
        if ("reward", self.total) in self.poison:
            reward[next(iter(reward))][2, 0] = self.poison["reward", self.total]
        self.t, self.total = self.t + 1, self.total + 1
        ended = torch.zeros_like(active)
        if self.end_at == self.t:
            for s in self.specs.values():
                ended[:, s.agents.start] = True
            ended &= self.alive
            self.alive &= ~ended
        done = self.t == self.episode
        rewards, terminated, truncated, was_active = {}, {}, {}, {}
        for role, s in self.specs.items():
            rewards[role] = torch.where(active[:, s.agents], reward[role], 0.0)
            self.sums[:, s.agents] += rewards[role]
            terminated[role], was_active[role] = ended[:, s.agents], active[:, s.agents]
            truncated[role] = self.alive[:, s.agents] & done
        terms = {r: torch.stack([x, 0 * x], -1) for r, x in rewards.items()}
        info: dict[str, Any] = {"active": was_active, "terms": terms, "final_obs": None, "episodes": None}
        info["done"] = torch.full((self.num_envs,), done)
        obs = self._draw()
        if done:
            info["final_obs"] = {r: Obs(*(x.clone() for x in o)) for r, o in obs.items()}
            info["episodes"] = self._episodes()
            self.t, self.queue = 0, []
            self.sums, self.alive = torch.zeros_like(self.sums), torch.ones_like(self.alive)
            obs = self._draw()
        return obs, rewards, terminated, truncated, info

    def _episodes(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "env": torch.arange(self.num_envs),
            "length": torch.full((self.num_envs,), self.t),
        }
        by_role = {r: self.sums[:, s.agents].clone() for r, s in self.specs.items()}
        zero = {r: torch.zeros(*x.shape, self.N, dtype=torch.int64) for r, x in by_role.items()}
        out["return"], out["inventory"], out["remaining"] = by_role, zero, zero
        out["terms"] = {r: torch.stack([x, 0 * x], -1) for r, x in by_role.items()}
        out["max_inventory"] = {r: torch.ones_like(x) for r, x in by_role.items()}
        out["equity"] = {r: x.double() for r, x in by_role.items()}
        return out


class CopiedToy(ToyEnv):
    """A ToyEnv that can be copied, so that training evaluates its policies on the way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made = args, kwargs

    def copy(self, num_envs: int, seed: int) -> CopiedToy:
        args, kwargs = self.made
        return CopiedToy(*args, **{**kwargs, "num_envs": num_envs, "seed": seed})


def ring(n: int) -> torch.Tensor:
    """Each node hears its two neighbours on a ring, one of them with a negative weight."""
    a = torch.zeros(n, n)
    for i in range(n):
        a[i, (i + 1) % n], a[i, (i - 1) % n] = 0.9, -0.6
    return a.fill_diagonal_(0.0)


def toy_config(*overrides: str) -> Config:
    """Small and silent; `overrides` as in load_config."""
    base = (
        "env.num_envs=32",
        "ppo.rollout_steps=16",
        "ppo.total_steps=8192",
        "ppo.lr=3e-3",
        "graph.hidden=32",
        "run.progress=false",
        "run.tensorboard=false",
        "run.torch_threads=1",
    )
    return load_config(None, [*base, *overrides])


def error(policies: Any, env: ToyEnv, role: str, steps: int = 4) -> float:
    """Mean squared distance of the deterministic action to the best one."""
    obs, total = env.reset(seed=99), 0.0
    for _ in range(steps):
        actions = policies.act(obs, deterministic=True)
        normalised = (actions[role] - LOW) / (HIGH - LOW) * 2 - 1
        total += float((normalised - env.best(role)).square().mean()) / steps
        obs, *_ = env.step({r: actions.get(r, torch.zeros(1)) for r in env.specs})
    return total
