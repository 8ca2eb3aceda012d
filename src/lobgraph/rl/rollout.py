"""T steps of the environment into preallocated arrays: observations, actions, log-probabilities, values, rewards.

Observations are stored agent-major, (G, N, S, F) with S = T * E samples, sample t * E + e: as they come while the rollout
is filled, then counted and normalised in place, so that the update gathers minibatches without touching them again.
Steps of agents that have already ended are marked and count nowhere.

All arrays are on the environment's device and stay where they are. While the T steps are made nothing is asked of the
device, so that they can be one CUDA graph (graphs.py); what Python must know of them is read once, after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..config import Config, PPOConfig
from ..models.policy import PolicySet
from .gae import compute_gae
from .graphs import Captured
from .group import ALONE, Group, read
from .phases import Phases

EXPLODED = 1e12  # what is larger, or not a number, ends the training: nothing of a market is


class TrainingError(RuntimeError):
    """Training cannot go on: says what was not finite or too large, where, and when. The last checkpoint is intact."""


def largest(*parts: Tensor) -> Tensor:
    """() the largest absolute value of all parts; NaN where one is."""
    ends = [torch.stack(x.aminmax()) for x in parts if x.numel()]
    return torch.stack(ends).abs().max() if ends else torch.zeros(())


def wild(x: Tensor) -> Tensor:
    """Which values are not finite, or have exploded; bool of x's shape."""
    return ~(x.abs() <= EXPLODED)


class VectorEnv(Protocol):
    """What training needs of `lobgraph.env.market_env.MarketEnv`; `HeldEnv` shows it those roles alone that learn.

    Its tensors are on one device, that of `nodes`. With a true attribute `capturable` a step can be part of a CUDA graph: it
    asks the device nothing, its results stay where they are, and info["final_obs"] is there at every step, rows of
    environments that are not done being anything.
    """

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
    """Last observations of the D episodes that ended in a rollout, not normalised, in the order in which they ended.

    There is room for S of them and E rows more, where environments write that have not ended.
    """

    count: Tensor  # () int64 D
    sample: Tensor  # (S + E,) int64 t * E + e: after which step, in which environment
    nodes: Tensor  # (S + E, G, N, F)
    edges: Tensor  # (S + E, P, Fe)
    vector: Tensor  # (S + E, G, V)
    state: Tensor  # (G, N, S + E, W) of the memory at that step, which led to them

    def first(self, count: int) -> FinalObs:
        """The first `count` of them."""
        sample, nodes, edges, vector = (x[:count] for x in (self.sample, self.nodes, self.edges, self.vector))
        return FinalObs(self.count, sample, nodes, edges, vector, self.state[:, :, :count])

    def add(self, step: int, done: Tensor, parts: tuple[Tensor, Tensor, Tensor], state: Tensor) -> None:
        """Keep those of environments that are `done` (E,). parts: (E, ...) nodes, edges, vector; state: (G, N, E, W)."""
        envs = len(done)
        own = torch.arange(envs, device=done.device)
        place = torch.where(done, done.cumsum(0).add_(self.count - 1), own + (len(self.sample) - envs))
        self.sample.index_copy_(0, place, own + step * envs)
        for kept, part in zip((self.nodes, self.edges, self.vector), parts, strict=True):
            kept.index_copy_(0, place, part)
        if state.numel():
            self.state.index_copy_(2, place, state)
        self.count.add_(done.sum())


class Rollout:
    """Storage of one rollout and the code that fills it; `collect` then `advantages`, once per update.

    generator: draws the actions. recur: the policies' forward pass, `policies.recur` or a compiled one.
    graphs: record the steps and replay them.
    """

    def __init__(
        self,
        env: VectorEnv,
        policies: PolicySet,
        ppo: PPOConfig,
        aims: Mapping[str, Aim],
        generator: torch.Generator,
        group: Group = ALONE,
        recur: Callable[..., Any] | None = None,
        graphs: bool = False,
    ) -> None:
        self.env, self.policies, self.ppo = env, policies, ppo
        self.generator, self.group, self.recur = generator, group, recur or policies.recur
        self.aims = aims  # by role
        self.device = device = env.nodes.device
        self.T, self.E = ppo.rollout_steps, env.num_envs
        samples = self.T * self.E
        _, agents, n, f = env.nodes.shape
        self.nodes = torch.empty(agents, n, samples, f, device=device)  # (G, N, S, F)
        on_pairs = any(spec.acts_on == "pair" for spec in env.specs.values())
        self.P = (
            env.edges.shape[1] if on_pairs else 0
        )  # with thirty books the pairs outweigh the rest: kept if used
        self.edges = torch.empty(self.P, samples, env.edges.shape[2], device=device)  # (P, S, Fe)
        self.vector = torch.empty(agents, samples, env.vector.shape[2], device=device)  # (G, S, V)
        self.roles = {role: self._role_store(spec, samples) for role, spec in env.specs.items()}
        self.state = policies.blank(self.E)  # (G, N, E, W) of the memory before the rollout's first step
        yes = {"dtype": torch.bool, "device": device}
        self.fresh = torch.zeros(samples, **yes)  # (S,) first decisions of episodes
        self._now = self.state.clone()  # the same before the step at hand
        self._starts = torch.ones(self.E, **yes)  # whose episode starts at the step at hand
        self.alive = torch.ones(self.E, agents, **yes)  # agents whose episode still runs
        self.counted = torch.ones(agents, samples, **yes)  # `alive` by sample
        self._final = self._room_for_ends()
        self.ended = 0  # episodes that ended in this rollout
        self.taking_part = {
            role: samples * spec.count for role, spec in env.specs.items()
        }  # decisions that count
        self.seeing = [samples] * agents  # observations that count
        self._checked = False  # whether a step has given what it should
        self.paid = dict.fromkeys(env.specs, 0.0)  # sum of the rewards of the rollout
        self.episodes: list[
            dict[str, Any]
        ] = []  # info["episodes"] of this rollout, where the environment gives them
        self.phases = Phases(device)
        self._steps = Captured(self._play, graphs, [generator])

    def _room_for_ends(self) -> FinalObs:
        room, (_, agents, n, f) = self.T * self.E + self.E, self.env.nodes.shape

        def empty(*shape: int) -> Tensor:
            return torch.empty(*shape, device=self.device)

        return FinalObs(
            count=torch.zeros((), dtype=torch.int64, device=self.device),
            sample=torch.zeros(room, dtype=torch.int64, device=self.device),
            nodes=empty(room, agents, n, f),
            edges=empty(room, self.P, self.edges.shape[2]),
            vector=empty(room, agents, self.vector.shape[2]),
            state=empty(agents, n, room, self.state.shape[3]),
        )

    @property
    def final(self) -> FinalObs:
        """Of the episodes that ended in this rollout."""
        return self._final.first(self.ended)

    def _role_store(self, spec: Any, samples: int) -> RoleStore:
        k = spec.count

        def by_step(dtype: torch.dtype) -> Tensor:
            return torch.zeros(self.T, self.E, k, dtype=dtype, device=self.device)

        def by_sample() -> Tensor:
            return torch.empty(k, samples, device=self.device)

        return RoleStore(
            actions=torch.empty(k, spec.items, samples, len(spec.action_names), device=self.device),
            logprobs=by_sample(),
            values=by_sample(),
            rewards=by_step(torch.float32),
            terminated=by_step(torch.bool),
            truncated=by_step(torch.bool),
            active=by_step(torch.bool),
            next_values=by_step(torch.float32),
            advantages=by_sample(),
            returns=by_sample(),
            running=torch.zeros(self.E, k, device=self.device),
        )

    def warm_up(self) -> None:
        """Reset the environment and take the statistics of its first observations into use."""
        self.env.reset()
        self._starts.fill_(True)
        first = slice(0, self.E)
        self._store(first)
        seen = (self.nodes[:, :, first], self.edges[:, first], self.vector[:, first])
        if not read({"seen": largest(*seen)})["seen"] <= EXPLODED:
            self._refuse(1)
        self._count_observations(*seen, None)
        self.policies.commit()

    def carried(self) -> dict[str, Tensor]:
        """What the next rollout takes over from this one, by name; change it in place."""
        running = {f"{role} running": store.running for role, store in self.roles.items()}
        return {"memory": self._now, "starts": self._starts, "alive": self.alive, **running}

    @torch.inference_mode()
    def collect(self) -> None:
        """Fill the storage with T steps of the current policies. Raises TrainingError for what is not finite."""
        self.episodes.clear()
        self.phases.start()
        self._steps()
        if self._steps.on:
            self.phases.end("rollout")  # nobody looks between its steps
        self._learn_what_happened()
        self._bootstrap()
        some_ended = min(self.seeing) < self.T * self.E
        self._count_observations(self.nodes, self.edges, self.vector, self.counted if some_ended else None)
        self.policies.normalise_(self.nodes, self.edges, self.vector)
        self.phases.end("inference")

    def _play(self) -> None:
        """The T steps."""
        self.state.copy_(self._now)
        self._final.count.zero_()
        for t in range(self.T):
            self._step(t)

    def _step(self, t: int) -> None:
        actions = self._act(slice(t * self.E, (t + 1) * self.E))
        self._mark("inference")
        try:
            given = self.env.step(actions)
        except Exception:
            if not self._steps.on:
                self._refuse(t + 1)  # if the actions were wrong because the observation was
            raise
        self._mark("env")
        if not self._checked:
            self._check_step(given)
        _, rewards, terminated, truncated, info = given
        for role, store in self.roles.items():
            store.rewards[t], store.terminated[t] = rewards[role], terminated[role]
            store.truncated[t], store.active[t] = truncated[role], info["active"][role]
        self._follow_ends(t, terminated, info)

    def _check_step(self, given_all: Any) -> None:
        """What the environment's first step gave: an own one may be wrong, and one agent's reward would fit all of them."""
        env = getattr(self.env, "market", self.env)
        name = f"{type(env).__name__}.step"
        if not isinstance(given_all, tuple) or len(given_all) != 5:
            got = (
                f"{len(given_all)} values"
                if isinstance(given_all, tuple)
                else f"a {type(given_all).__name__}"
            )
            raise TrainingError(f"{name}: must return (obs, reward, terminated, truncated, info), got {got}")
        _, rewards, terminated, truncated, info = given_all
        done = info.get("done") if isinstance(info, dict) else None
        if not isinstance(done, Tensor) or done.dtype != torch.bool or done.shape != (self.E,):
            raise TrainingError(f'{name}: info["done"] must be a tensor of bool of shape {(self.E,)} (envs)')
        for what, given, kind in (
            ("reward", rewards, "numbers"), ("terminated", terminated, "bool"), ("truncated", truncated, "bool"),
            ('info["active"]', info.get("active") if isinstance(info, dict) else None, "bool"),
        ):  # fmt: skip
            for role, store in self.roles.items():
                x = given.get(role) if isinstance(given, dict) else None
                shape = tuple(store.rewards.shape[1:])
                bools = isinstance(x, Tensor) and x.dtype == torch.bool
                if not isinstance(x, Tensor) or x.shape != shape or bools != (kind == "bool"):
                    got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
                    raise TrainingError(
                        f"{name}: {what} of {role!r} must be a tensor of {kind} of shape {shape} "
                        f"(envs, agents), got {got}"
                    )
        self._checked = True

    def _mark(self, phase: str) -> None:
        if not self._steps.on:
            self.phases.end(phase)

    def _learn_what_happened(self) -> None:
        """The one time that the device is asked: how many episodes ended, who took part, is all of it finite?"""
        env = self.env
        seen = (self.nodes, self.edges, self.vector, env.nodes, env.edges[:, : self.P], env.vector)
        asked = {
            "ended": self._final.count,
            "seen": largest(*seen),
            "seeing": self.counted.sum(1),
        }
        asked |= {f"{role} paid": store.rewards.sum() for role, store in self.roles.items()}
        asked |= {f"{role} largest": largest(store.rewards) for role, store in self.roles.items()}
        asked |= {f"{role} taking part": store.active.sum() for role, store in self.roles.items()}
        found = read(asked)
        if not found["seen"] <= EXPLODED:
            self._refuse(self.T)
        for role, store in self.roles.items():
            if not found[f"{role} largest"] <= EXPLODED:
                _raise_at(store.rewards, f"{role} reward", ("rollout step", "env", "agent"), None)
        self.ended = int(found["ended"])
        self.paid = {role: found[f"{role} paid"] for role in self.roles}
        self.taking_part = {role: int(found[f"{role} taking part"]) for role in self.roles}
        self.seeing = [int(x) for x in found["seeing"]]

    def advantages(self) -> None:
        """Scale rewards by the running spread of returns, then fill advantages and returns of every role."""
        ppo = self.ppo
        for role, store in self.roles.items():
            done = store.terminated | store.truncated
            aim = self.aims[role]
            rewards, aversion = store.rewards, aim.risk_aversion
            if ppo.norm_reward:
                scaler = self.policies.scaler(role)
                count = self.taking_part[role]
                scaler.update_returns(rewards, done, store.active, store.running, aim.gamma, count)
                rewards = rewards * scaler.scale
                if aversion > 0.0:
                    aversion = aversion / scaler.scale.double()
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
            if self.taking_part[role] < store.active.numel():
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

    def _act(self, cols: slice) -> dict[str, Tensor]:
        self._store(cols)
        parts = (self.nodes[:, :, cols].clone(), self.edges[:, cols].clone(), self.vector[:, cols].clone())
        self.fresh[cols] = self._starts
        outputs, now = self.recur(*self.policies.normalise_(*parts), self._now, self.fresh[cols])
        self._now.copy_(now)
        actions, share = {}, (self.group.rank, self.group.size)
        for role, out in outputs.items():
            store, raw = self.roles[role], out.policy.sample(self.generator, share)
            store.actions[:, :, cols] = raw
            store.logprobs[:, cols] = out.policy.log_prob(raw)
            store.values[:, cols] = out.value
            actions[role] = self.policies.physical(role, raw)
        return actions

    def _count_observations(self, nodes: Tensor, edges: Tensor, vector: Tensor, alive: Tensor | None) -> None:
        """Add to the statistics; `alive` (G, S) bool leaves out what agents saw after their end, see `seeing`."""
        if not self.ppo.norm_obs:
            return
        for g in range(nodes.shape[0]):  # by agent: temporaries stay small
            if alive is None:
                self.policies.node_norm.merge(nodes[g])
                self.policies.vector_norm.merge(vector[g])
            else:
                n, count = nodes.shape[1], self.seeing[g]
                self.policies.node_norm.merge(nodes[g], alive[g].expand(n, -1), n * count)
                self.policies.vector_norm.merge(vector[g], alive[g], count)
        self.policies.edge_norm.merge(edges)

    def _follow_ends(self, t: int, terminated: Any, info: dict[str, Any]) -> None:
        """Keep what is needed of the episodes that ended, and who is still in the running ones."""
        done = info["done"]
        self._starts.copy_(done)
        self.alive.logical_and_(~_cat([terminated[role] for role in self.roles]))
        self.alive.logical_or_(done.unsqueeze(1))
        if info["episodes"] is not None:  # None where only episodes cut short by stagger ended, and on a GPU
            self.episodes.append(info["episodes"])
        if info["final_obs"] is None:  # the environment knows that none ended
            return
        last = [info["final_obs"][role] for role in self.roles]
        parts = (_cat([o.nodes for o in last]), last[0].edges[:, 0, : self.P], _cat([o.vector for o in last]))
        self._final.add(t, done, parts, self._now)

    # --- end of the rollout ---

    def _bootstrap(self) -> None:
        """Fill next_values: the next step's value, at the end of an episode that of its last observation."""
        env, final = self.env, self.final
        values = self._values(
            torch.cat([env.nodes, final.nodes]),
            torch.cat([env.edges[:, : self.P], final.edges]),
            torch.cat([env.vector, final.vector]),
            torch.cat([self._now, final.state], 2),
            torch.cat([self._starts, torch.zeros_like(final.sample, dtype=torch.bool)]),
        )
        for role, store in self.roles.items():
            store.next_values[:-1] = self._by_step(store.values)[1:]
            store.next_values[-1] = values[role][: self.E]
            store.next_values.view(self.T * self.E, -1).index_copy_(0, final.sample, values[role][self.E :])

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

    def _refuse(self, steps: int) -> None:
        """Raise TrainingError for the first value that was `wild` among the observations of the first `steps` steps.

        They stand in the storage as they came; after the last step there is also the one that the next would act on.
        """
        found: list[tuple[int, str]] = []  # step, what to say

        def look(
            seen: Tensor, what: str, axes: tuple[str, ...], features: tuple[str, ...], first: int
        ) -> None:
            bad = wild(seen).nonzero()  # (D, axes): steps come first
            if len(bad):
                t, *index = bad[0].tolist()
                what = f"{what} before rollout step {first + t}"
                found.append((first + t, _place(seen[t], tuple(index), what, axes, features)))

        def look_at(nodes: Tensor, edges: Tensor, vector: Tensor, first: int) -> None:
            """(t, E, G, N, F), (t, E, P, Fe), (t, E, G, V)"""
            for role, spec in self.env.specs.items():
                who = ("env", "agent", "book")
                look(nodes[:, :, spec.agents], f"{role} observation (nodes)", who, spec.node_features, first)
                look(
                    vector[:, :, spec.agents],
                    f"{role} observation (vector)",
                    who[:2],
                    spec.vector_features,
                    first,
                )
                look(edges, "edge observation", ("env", "pair"), spec.edge_features, first)

        (g, n, _, f), cols = self.nodes.shape, slice(0, steps * self.E)
        look_at(
            self.nodes[:, :, cols].view(g, n, steps, self.E, f).permute(2, 3, 0, 1, 4),
            self.edges[:, cols].view(self.P, steps, self.E, self.edges.shape[2]).permute(1, 2, 0, 3),
            self.vector[:, cols].view(g, steps, self.E, -1).permute(1, 2, 0, 3),
            0,
        )
        if steps == self.T:
            env = self.env
            look_at(env.nodes[None], env.edges[None, :, : self.P], env.vector[None], steps)
        if found:
            raise TrainingError(min(found, key=lambda x: x[0])[1])


def _cat(parts: list[Tensor]) -> Tensor:
    """By agents, the second axis."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _raise_at(x: Tensor, what: str, axes: tuple[str, ...], features: tuple[str, ...] | None) -> None:
    """Raise TrainingError for the first value of x that is `wild`, naming its place; return if there is none."""
    bad = wild(x).nonzero()
    if len(bad):
        raise TrainingError(_place(x, tuple(bad[0].tolist()), what, axes, features))


def _place(
    x: Tensor, index: tuple[int, ...], what: str, axes: tuple[str, ...], features: tuple[str, ...] | None
) -> str:
    """What x[index] is, and where in words."""
    place = [f"{a} {i}" for a, i in zip(axes, index, strict=False)]
    if features is not None:
        place = [*place[: len(index) - 1], f"feature {features[index[-1]]!r}"]
    return f"{what} is {float(x[index])} at {', '.join(place)}"
