"""T steps of the environment into preallocated arrays: observations, actions, log-probabilities, values, rewards.

Observations are stored agent-major, (G, N, S, F) with S = T * E samples, sample t * E + e: as they come while the rollout
is filled, then counted and normalised in place, so that the update gathers minibatches without touching them again.
Steps of agents that have already ended are marked and count nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..config import Config, PPOConfig
from ..models.policy import PolicySet
from .gae import compute_gae


class TrainingError(RuntimeError):
    """Training cannot go on: says what was not finite, where, and when. The last checkpoint is intact."""


class VectorEnv(Protocol):
    """What training needs of `lobgraph.env.market_env.MarketEnv`; `HeldEnv` shows it those roles alone that learn."""

    @property
    def num_envs(self) -> int: ...

    specs: Any  # role -> RoleSpec
    adjacency: Tensor  # (N, N) float32
    pairs: Tensor  # (P, 2) int64
    nodes: Tensor  # (E, G, N, F) float32, the current observation
    edges: Tensor  # (E, P, Fe)
    vector: Tensor  # (E, G, V)

    def reset(self, seed: int | None = None) -> Any: ...
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]: ...


class Aim(NamedTuple):
    """What a role's learner makes as large as it can: a discounted return, or its certainty equivalent."""

    gamma: float
    gae_lambda: float  # how far credit goes beyond the critic's word
    risk_aversion: float  # per unit of reward; 0: the mean return


def aims_of(cfg: Config, roles: Iterable[str]) -> dict[str, Aim]:
    """Each role's aim: its own settings, or where it has none those of `ppo`."""
    found = {}
    for role in roles:
        own = getattr(cfg.agents, role)
        gamma = cfg.ppo.gamma if own.gamma is None else own.gamma
        gae_lambda = cfg.ppo.gae_lambda if own.gae_lambda is None else own.gae_lambda
        found[role] = Aim(gamma, gae_lambda, own.risk_aversion)
    return found


@dataclass
class RoleStore:
    """One role's part of a rollout; K agents, I items acted on, D action dimensions."""

    actions: Tensor  # (K, I, S, D) float32, normalised and unclipped
    logprobs: Tensor  # (K, S)
    values: Tensor  # (K, S)
    rewards: Tensor  # (T, E, K), as the environment gave them
    terminated: Tensor  # (T, E, K) bool
    truncated: Tensor  # (T, E, K) bool
    active: Tensor  # (T, E, K) bool
    next_values: Tensor  # (T, E, K)
    advantages: Tensor  # (K, S)
    returns: Tensor  # (K, S)
    running: Tensor  # (E, K) discounted return so far, carried between rollouts
    mask: Tensor | None = None  # (K, S) float32 of `active`, None when all are


@dataclass
class FinalObs:
    """Last observations of the episodes that ended at step t in environments `rows`, not normalised."""

    t: int
    rows: Tensor  # (D,) int64
    nodes: Tensor  # (D, G, N, F)
    edges: Tensor  # (D, P, Fe)
    vector: Tensor  # (D, G, V)
    state: Tensor  # (G, N, D, W) of the memory at step t, which led to them


class Rollout:
    """Storage of one rollout and the code that fills it; `collect` then `advantages`, once per update."""

    def __init__(self, env: VectorEnv, policies: PolicySet, ppo: PPOConfig, aims: Mapping[str, Aim]) -> None:
        self.env, self.policies, self.ppo = env, policies, ppo
        self.aims = aims  # by role
        self.T, self.E = ppo.rollout_steps, env.num_envs
        samples = self.T * self.E
        _, agents, n, f = env.nodes.shape
        self.nodes = torch.empty(agents, n, samples, f)  # (G, N, S, F)
        on_pairs = any(spec.acts_on == "pair" for spec in env.specs.values())
        self.P = (
            env.edges.shape[1] if on_pairs else 0
        )  # with thirty books the pairs outweigh the rest: kept if used
        self.edges = torch.empty(self.P, samples, env.edges.shape[2])  # (P, S, Fe)
        self.vector = torch.empty(agents, samples, env.vector.shape[2])  # (G, S, V)
        self.roles = {role: self._role_store(spec, samples) for role, spec in env.specs.items()}
        self.state = policies.blank(self.E)  # (G, N, E, W) of the memory before the rollout's first step
        self.fresh = torch.zeros(samples, dtype=torch.bool)  # (S,) first decisions of episodes
        self._now = self.state.clone()  # the same before the step at hand
        self._starts = torch.ones(self.E, dtype=torch.bool)  # whose episode starts at the step at hand
        self.alive = torch.ones(self.E, agents, dtype=torch.bool)  # agents whose episode still runs
        self.counted = torch.ones(agents, samples, dtype=torch.bool)  # `alive` by sample
        self.final: list[FinalObs] = []
        self.episodes: list[dict[str, Any]] = []  # statistics of the episodes that ended in this rollout
        self.seconds = {"env": 0.0, "inference": 0.0}

    def _role_store(self, spec: Any, samples: int) -> RoleStore:
        k = spec.count

        def by_step(dtype: torch.dtype) -> Tensor:
            return torch.zeros(self.T, self.E, k, dtype=dtype)

        return RoleStore(
            actions=torch.empty(k, spec.items, samples, len(spec.action_names)),
            logprobs=torch.empty(k, samples),
            values=torch.empty(k, samples),
            rewards=by_step(torch.float32),
            terminated=by_step(torch.bool),
            truncated=by_step(torch.bool),
            active=by_step(torch.bool),
            next_values=by_step(torch.float32),
            advantages=torch.empty(k, samples),
            returns=torch.empty(k, samples),
            running=torch.zeros(self.E, k),
        )

    def warm_up(self) -> None:
        """Reset the environment and take the statistics of its first observations into use."""
        self.env.reset()
        self._starts.fill_(True)
        self._check_observation(0)
        self._store(slice(0, self.E))
        first = slice(0, self.E)
        self._count_observations(self.nodes[:, :, first], self.edges[:, first], self.vector[:, first], None)
        self.policies.commit()

    @torch.inference_mode()
    def collect(self, generator: torch.Generator) -> None:
        """Fill the storage with T steps of the current policies."""
        self.final.clear()
        self.episodes.clear()
        self.seconds = {"env": 0.0, "inference": 0.0}
        self.state.copy_(self._now)
        for t in range(self.T):
            start = perf_counter()
            self._check_observation(t)
            actions = self._act(slice(t * self.E, (t + 1) * self.E), generator)
            acted = perf_counter()
            _, rewards, terminated, truncated, info = self.env.step(actions)
            stepped = perf_counter()
            for role, store in self.roles.items():
                store.rewards[t], store.terminated[t] = rewards[role], terminated[role]
                store.truncated[t], store.active[t] = truncated[role], info["active"][role]
            self._follow_ends(t, terminated, info)
            self.seconds["env"] += stepped - acted
            self.seconds["inference"] += (acted - start) + (perf_counter() - stepped)
        start = perf_counter()
        self._check_observation(self.T)
        self._check_rewards()
        self._bootstrap()
        alive = None if bool(self.counted.all()) else self.counted
        self._count_observations(self.nodes, self.edges, self.vector, alive)
        self.policies.normalise_(self.nodes, self.edges, self.vector)
        self.seconds["inference"] += perf_counter() - start

    def advantages(self) -> None:
        """Scale rewards by the running spread of returns, then fill advantages and returns of every role."""
        ppo = self.ppo
        for role, store in self.roles.items():
            done = store.terminated | store.truncated
            aim = self.aims[role]
            rewards, aversion = store.rewards, aim.risk_aversion
            if ppo.norm_reward:
                scaler = self.policies.scaler(role)
                scaler.update_returns(rewards, done, store.active, store.running, aim.gamma)
                rewards, aversion = rewards * scaler.scale, aversion / float(scaler.scale)
            values = self._by_step(store.values)
            advantages, returns = compute_gae(
                rewards,
                values,
                store.next_values,
                store.terminated,
                store.truncated,
                aim.gamma,
                aim.gae_lambda,
                aversion,
            )
            self._by_step(store.advantages).copy_(advantages)
            self._by_step(store.returns).copy_(returns)
            store.mask = None
            if not bool(store.active.all()):
                store.mask = store.active.permute(2, 0, 1).reshape(store.values.shape).float()

    def _by_step(self, x: Tensor) -> Tensor:
        """(K, S) seen as (T, E, K), without a copy."""
        return x.view(-1, self.T, self.E).permute(1, 2, 0)

    # --- one step ---

    def _store(self, cols: slice) -> None:
        """The environment's current observation, as it is."""
        self.nodes[:, :, cols] = self.env.nodes.permute(1, 2, 0, 3)
        self.edges[:, cols] = self.env.edges[:, : self.P].transpose(0, 1)
        self.vector[:, cols] = self.env.vector.transpose(0, 1)
        self.counted[:, cols] = self.alive.t()

    def _act(self, cols: slice, generator: torch.Generator) -> dict[str, Tensor]:
        self._store(cols)
        parts = (self.nodes[:, :, cols].clone(), self.edges[:, cols].clone(), self.vector[:, cols].clone())
        self.fresh[cols] = self._starts
        outputs, self._now = self.policies.recur(
            *self.policies.normalise_(*parts), self._now, self.fresh[cols]
        )
        actions = {}
        for role, out in outputs.items():
            store, raw = self.roles[role], out.policy.sample(generator)
            store.actions[:, :, cols] = raw
            store.logprobs[:, cols] = out.policy.log_prob(raw)
            store.values[:, cols] = out.value
            actions[role] = self.policies.physical(role, raw)
        return actions

    def _count_observations(self, nodes: Tensor, edges: Tensor, vector: Tensor, alive: Tensor | None) -> None:
        """Add to the statistics; `alive` (G, S) bool leaves out what agents saw after their end."""
        if not self.ppo.norm_obs:
            return
        for g in range(nodes.shape[0]):  # by agent: temporaries stay small
            own = None if alive is None else alive[g]
            self.policies.node_norm.update(nodes[g], None if own is None else own.expand(nodes.shape[1:3]))
            self.policies.vector_norm.update(vector[g], own)
        self.policies.edge_norm.update(edges)

    def _follow_ends(self, t: int, terminated: Any, info: dict[str, Any]) -> None:
        """Keep what is needed of the episodes that ended, and who is still in the running ones."""
        ended = torch.cat([terminated[role] for role in self.roles], 1)
        done = info["done"]
        self._starts.copy_(done)
        self.alive &= ~ended
        if info["final_obs"] is None:
            return
        self.alive[done] = True
        rows = done.nonzero()[:, 0]
        last = [info["final_obs"][role] for role in self.roles]
        nodes, vector = (
            torch.cat([o.nodes[rows] for o in last], 1),
            torch.cat([o.vector[rows] for o in last], 1),
        )
        state = self._now[:, :, rows]
        self.final.append(FinalObs(t, rows, nodes, last[0].edges[rows, 0, : self.P], vector, state))
        if info["episodes"] is not None:  # None where only episodes cut short by stagger ended
            self.episodes.append(info["episodes"])

    # --- end of the rollout ---

    def _bootstrap(self) -> None:
        """Fill next_values: the next step's value, at the end of an episode that of its last observation."""
        env, final = self.env, self.final
        values = self._values(
            torch.cat([env.nodes, *(f.nodes for f in final)]),
            torch.cat([env.edges[:, : self.P], *(f.edges for f in final)]),
            torch.cat([env.vector, *(f.vector for f in final)]),
            torch.cat([self._now, *(f.state for f in final)], 2),
            torch.cat([self._starts, *(torch.zeros(len(f.rows), dtype=torch.bool) for f in final)]),
        )
        for role, store in self.roles.items():
            store.next_values[:-1] = self._by_step(store.values)[1:]
            store.next_values[-1] = values[role][: self.E]
            start = self.E
            for f in final:
                store.next_values[f.t, f.rows] = values[role][start : start + len(f.rows)]
                start += len(f.rows)

    def _values(
        self, nodes: Tensor, edges: Tensor, vector: Tensor, state: Tensor, fresh: Tensor
    ) -> dict[str, Tensor]:
        """(B, G, N, F), (B, P, Fe), (B, G, V), not normalised and overwritten, to (B, K) per role.

        state: (G, N, B, W) of the memory before them; fresh: (B,) bool, the first decisions of episodes.
        """
        nodes, edges, vector = self.policies.normalise_(nodes, edges, vector)
        major = (nodes.permute(1, 2, 0, 3), edges.transpose(0, 1), vector.transpose(0, 1))
        out = self.policies(*major, state, fresh)
        return {role: o.value.t() for role, o in out.items()}

    # --- guards ---

    def _check_observation(self, t: int) -> None:
        env = self.env
        if math.isfinite(float(env.nodes.sum()) + float(env.edges.sum()) + float(env.vector.sum())):
            return
        for role, spec in env.specs.items():
            names = {"nodes": spec.node_features, "vector": spec.vector_features}
            for kind, features in names.items():
                part = getattr(env, kind)[:, spec.agents]
                _raise_at(
                    part,
                    f"{role} observation ({kind}) before rollout step {t}",
                    ("env", "agent", "book"),
                    features,
                )
            _raise_at(
                env.edges, f"edge observation before rollout step {t}", ("env", "pair"), spec.edge_features
            )

    def _check_rewards(self) -> None:
        for role, store in self.roles.items():
            if not math.isfinite(float(store.rewards.sum())):
                _raise_at(store.rewards, f"{role} reward", ("rollout step", "env", "agent"), None)


def _raise_at(x: Tensor, what: str, axes: tuple[str, ...], features: tuple[str, ...] | None) -> None:
    """Raise TrainingError for the first non-finite value of x, naming its place; return if there is none."""
    bad = (~torch.isfinite(x)).nonzero()
    if not len(bad):
        return
    index = bad[0].tolist()
    value = float(x[tuple(index)])
    place = [f"{a} {i}" for a, i in zip(axes, index, strict=False)]
    if features is not None:
        place = [*place[: len(index) - 1], f"feature {features[index[-1]]!r}"]
    raise TrainingError(f"{what} is {value} at {', '.join(place)}")
