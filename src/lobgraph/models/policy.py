"""All learned policies of a market: observations of every role in, actions, log-probabilities and values out.

Layout inside: agent-major, nodes (G, N, M, F) with the M samples (environments, or time steps of them) innermost, so
that every role's part is contiguous and one encoder pass serves all roles. What is shared: with `graph.shared` one
encoder for all roles' actors and critics; without it one for each policy, still shared by its actor and critic.
`ppo.sharing` says what a policy is: one per role, one per agent, or one for all roles (a trunk that knows the role).
With `graph.memory` each encoder is followed by a memory of its own: the state of node n of agent g is state[g, n].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..config import ROLES, Config, GraphConfig, PPOConfig
from .distributions import LOG_STD_RANGE, Gaussian, to_physical
from .encoder import MarketGraphEncoder, message_weights
from .heads import NodeBody, NodeHead, PairHead, ValueHead
from .memory import Memory
from .normalise import Normaliser, RewardScaler

TIME_LEFT = "time_left"  # the vector feature that is 1 at an episode's first decision and less at all others


class PolicyError(ValueError):
    """A policy that does not fit the environment or the file it is asked to act on."""


class ObservationLike(Protocol):
    """What a role sees; see `lobgraph.env.observe.Observation`."""

    @property
    def nodes(self) -> Tensor: ...  # (E, K, N, F)
    @property
    def edges(self) -> Tensor: ...  # (E, K, P, Fe)
    @property
    def vector(self) -> Tensor: ...  # (E, K, V)


@dataclass(frozen=True)
class PolicySpec:
    """What a policy needs to know of its role; kept in the checkpoint to check the market it is used on."""

    role: str
    count: int  # K agents at training
    acts_on: str  # "node" or "pair"
    action_names: tuple[str, ...]
    low: tuple[float, ...]  # physical bounds of the actions
    high: tuple[float, ...]
    node_features: tuple[str, ...]
    edge_features: tuple[str, ...]
    vector_features: tuple[str, ...]

    @classmethod
    def of(cls, spec: Any) -> Self:
        """From an environment's RoleSpec, or from a mapping read from JSON."""
        get = spec.__getitem__ if isinstance(spec, Mapping) else lambda name: getattr(spec, name)
        names = ("action_names", "node_features", "edge_features", "vector_features")
        return cls(
            role=str(get("role")),
            count=int(get("count")),
            acts_on=str(get("acts_on")),
            low=tuple(float(x) for x in np.asarray(get("low"))),
            high=tuple(float(x) for x in np.asarray(get("high"))),
            **{name: tuple(map(str, get(name))) for name in names},
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Output(NamedTuple):
    """One role's policy and value on M samples."""

    policy: Gaussian  # mean (K, I, M, D)
    value: Tensor  # (K, M), in units of the scaled reward


class PolicySet(nn.Module):
    """Policies by role. `attach(env)` tells it the market's graph; the same policies can be attached to another size.

    The first parameters are a function of `seed` alone; torch's global generator is left as it was.
    """

    def __init__(self, specs: Mapping[str, Any], graph: GraphConfig, ppo: PPOConfig, seed: int = 0) -> None:
        super().__init__()
        self.specs = {role: PolicySpec.of(spec) for role, spec in specs.items()}
        if not self.specs:
            raise PolicyError("a PolicySet needs at least one role")
        self.graph, self.ppo = graph, ppo
        any_spec = next(iter(self.specs.values()))
        sizes = [len(n) for n in (any_spec.node_features, any_spec.edge_features, any_spec.vector_features)]
        self.node_norm, self.edge_norm, self.vector_norm = (Normaliser(n) for n in sizes)
        for name, names in (("nodes", any_spec.node_features), ("vector", any_spec.vector_features)):
            self.register_buffer(f"hidden_{name}", _columns(graph.hide, names), persistent=False)
        if unknown := sorted(set(graph.hide) - {*any_spec.node_features, *any_spec.vector_features}):
            known = ", ".join((*any_spec.node_features, *any_spec.vector_features))
            raise PolicyError(f"graph.hide: no node or vector feature {unknown[0]!r}; there are {known}")
        self.reward_scale = nn.ModuleDict({role: RewardScaler() for role in self.specs})
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds GPUs too
            self._build(*sizes)
        self.agents: dict[str, slice] = {}  # role -> rows of the G agents, in the order of `specs`
        start = 0
        for role, spec in self.specs.items():
            self.agents[role] = slice(start, start + spec.count)
            start += spec.count
        self.autocast = False  # products in bfloat16, everything else in float32; training sets it
        self.weights = torch.zeros(0, 0)  # (N, N) adjacency as the encoder takes it, set by attach
        self.pairs = torch.zeros(0, 2, dtype=torch.int64)  # (P, 2)
        self.state: Tensor | None = (
            None  # (G, N, E, W) what `act` remembers of its environments; None: nothing yet
        )

    def _build(self, nodes: int, edges: int, vector: int) -> None:
        h, all_roles = self.graph.hidden, self.ppo.sharing == "all"
        if all_roles:
            vector += len(ROLES)  # a one-hot of the role
        self.trunk = NodeBody(h, vector) if all_roles else None
        self.actors, self.critics, self.encoders = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.memories = nn.ModuleDict()  # one for each encoder, or none
        self.log_std = nn.ParameterDict()  # (D,) each
        start = float(np.clip(np.log(self.ppo.initial_std), *LOG_STD_RANGE))
        for role, spec in self.specs.items():
            dims = len(spec.action_names)
            for key in self.keys(role):
                head = (
                    NodeHead(h, vector, dims) if spec.acts_on == "node" else PairHead(h, edges, vector, dims)
                )
                self.actors[key] = head
                self.log_std[key] = nn.Parameter(torch.full((dims,), start))
                if not all_roles:
                    self.critics[key] = ValueHead(h, vector)
                if not self.one_encoder:
                    self.encoders[key] = self._encoder(nodes)
            for name in ("low", "high"):
                self.register_buffer(f"{role}_{name}", torch.tensor(getattr(spec, name)), persistent=False)
        if all_roles:
            self.critics["all"] = ValueHead(h, vector)
        if self.one_encoder:
            self.encoders["all"] = self._encoder(nodes)
        if self.recurrent:
            self.memories.update({key: Memory(h) for key in self.encoders})

    def _encoder(self, features: int) -> MarketGraphEncoder:
        g = self.graph
        return MarketGraphEncoder(features, g.hidden, g.layers, g.encoder, g.heads)

    @property
    def one_encoder(self) -> bool:
        return self.graph.shared or self.ppo.sharing == "all"

    @property
    def device(self) -> torch.device:
        """Where the parameters are; `attach` takes them to the environment's."""
        return self.node_norm.mean.device

    @property
    def recurrent(self) -> bool:
        return self.graph.memory != "none"

    def keys(self, role: str) -> list[str]:
        """Names of the role's policies: one, or one per agent."""
        if self.ppo.sharing == "agent":
            return [f"{role}_{k}" for k in range(self.specs[role].count)]
        return [role]

    def scaler(self, role: str) -> RewardScaler:
        scaler = self.reward_scale[role]
        assert isinstance(scaler, RewardScaler)
        return scaler

    # --- the market they act on ---

    def attach(self, env: Any, roles: Mapping[str, Any] | None = None) -> Self:
        """Take the graph, the pairs, the number of agents and the device from `env`; raise PolicyError if its features differ."""
        specs = env.specs if roles is None else roles
        start = 0
        for role, spec in self.specs.items():
            if role not in specs:
                raise PolicyError(f"the policy acts for {role!r}, but the market has only {sorted(specs)}")
            _check_fit(spec, PolicySpec.of(specs[role]), self.ppo.sharing)
            count = int(specs[role].count)
            self.agents[role] = slice(start, start + count)
            start += count
        device = env.adjacency.device
        if self.device != device:
            self.to(device)
        self.weights = message_weights(self.graph.encoder, env.adjacency.float())
        self.pairs = env.pairs.to(device)
        self.forget()
        return self

    def blank(self, envs: int) -> Tensor:
        """(G, N, E, W) the state in which nothing is remembered; W is 0 without memory."""
        agents = max(rows.stop for rows in self.agents.values())
        width = self.graph.hidden if self.recurrent else 0
        return torch.zeros(agents, self.weights.shape[0], envs, width, device=self.device)

    def forget(self) -> None:
        """Let the next `act` start from nothing remembered, as at the first decision of an episode."""
        self.state = None

    # --- agent-major core, used by training ---

    def forward(
        self,
        nodes: Tensor,
        edges: Tensor,
        vector: Tensor,
        state: Tensor | None = None,
        fresh: Tensor | None = None,
    ) -> dict[str, Output]:
        """What `recur` returns first; without `state` every sample is the first decision of an episode."""
        if state is None:
            state, fresh = self.blank(nodes.shape[2]), None
        return self.recur(nodes, edges, vector, state, fresh)[0]

    def recur(
        self, nodes: Tensor, edges: Tensor, vector: Tensor, state: Tensor, fresh: Tensor | None = None
    ) -> tuple[dict[str, Output], Tensor]:
        """nodes (G, N, M, F), edges (P, M, Fe), vector (G, M, V), all normalised, for the G agents of `agents`.

        With memory the M samples are T steps of E environments, sample t * E + e. state: (G, N, E, W) before the first.
        fresh: (M,) bool, the first decisions of episodes; None: there are none. Returns also the state after the last.
        """
        if not self.autocast:
            return self._recur(nodes, edges, vector, state, fresh)
        # without its cache of converted weights, which a CUDA graph would keep beyond the step that changes them
        with torch.autocast(nodes.device.type, torch.bfloat16, cache_enabled=False):
            return self._recur(nodes, edges, vector, state, fresh)

    def _recur(
        self, nodes: Tensor, edges: Tensor, vector: Tensor, state: Tensor, fresh: Tensor | None
    ) -> tuple[dict[str, Output], Tensor]:
        if self.ppo.sharing == "all":
            vector = torch.cat([vector, self._role_one_hot(vector)], -1)
        units = [unit for role in self.agents for unit in self._units(role)]
        sizes = [size for _, _, size in units]
        if fresh is None and self.recurrent:
            fresh = torch.zeros(vector.shape[1], dtype=torch.bool, device=vector.device)
        embedded = None
        if self.one_encoder:
            embedded, state = self._embed("all", nodes, state, fresh)
        values: Sequence[Tensor | None] = [None] * len(units)
        vectors = vector.split(sizes)
        if self.trunk is not None:
            values = self.critics["all"](embedded, vector).split(sizes)
            embedded = self.trunk(embedded, vector)
        # split, not slices: the gradients of slices are padded with zeros to the full size and added up
        inputs, states = (nodes if embedded is None else embedded).split(sizes), list(state.split(sizes))
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {role: [] for role in self.agents}
        for i, (role, key, _) in enumerate(units):
            h, v, value = inputs[i], vectors[i], values[i]
            if embedded is None:
                h, states[i] = self._embed(key, h, states[i], fresh)
            mean = self.actors[key](h, edges, v, self.pairs)
            value = self.critics[key](h, v) if value is None else value
            parts[role].append((mean.float(), self.log_std[key].view(1, 1, 1, -1), value.float()))
        outputs = {}
        for role, each in parts.items():
            mean, log_std, value = (_cat(list(x)) for x in zip(*each, strict=True))
            outputs[role] = Output(Gaussian(mean, log_std), value)
        return outputs, state if embedded is not None else _cat(states)

    def _embed(self, key: str, nodes: Tensor, state: Tensor, fresh: Tensor | None) -> tuple[Tensor, Tensor]:
        """One encoder, then its memory if there is one: embeddings (K, N, M, H), and the new state (K, N, E, W)."""
        h = self.encoders[key](nodes, self.weights, True)
        return self.memories[key](h, state, fresh) if self.recurrent else (h, state)

    def _units(self, role: str) -> list[tuple[str, str, int]]:
        """The role's policies as (role, key, agents it acts for)."""
        rows = self.agents[role]
        count = rows.stop - rows.start
        if self.ppo.sharing != "agent":
            return [(role, role, count)]
        return [(role, key, 1) for key in self.keys(role)[:count]]

    def _role_one_hot(self, vector: Tensor) -> Tensor:
        """(G, M, len(ROLES)): expanded from one row per agent."""
        one_hot = torch.zeros(vector.shape[0], len(ROLES), device=vector.device)
        for role, rows in self.agents.items():
            one_hot[rows, ROLES.index(role)] = 1.0
        return one_hot.unsqueeze(1).expand(-1, vector.shape[1], -1)

    def normalise_(self, nodes: Tensor, edges: Tensor, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the committed statistics over the last axis of each, in place (not without `ppo.norm_obs`); hide features."""
        if self.ppo.norm_obs:
            self.node_norm.apply_(nodes)
            self.edge_norm.apply_(edges)
            self.vector_norm.apply_(vector)
        hidden = (self.get_buffer("hidden_nodes"), self.get_buffer("hidden_vector"))
        for part, columns in zip((nodes, vector), hidden, strict=True):
            if len(columns):
                part.index_fill_(-1, columns, 0.0)
        return nodes, edges, vector

    def commit(self) -> None:
        """Take the observation statistics gathered so far into use."""
        for norm in (self.node_norm, self.edge_norm, self.vector_norm):
            norm.commit()

    @staticmethod
    def highest_log_std(std_bound: float | None = None) -> float:
        """Of the policies; with `std_bound` lower, but never below their range."""
        low, high = LOG_STD_RANGE
        return high if std_bound is None else max(low, min(high, math.log(std_bound)))

    @torch.no_grad()
    def project(self, highest: Tensor) -> None:
        """Put the log standard deviations back into their range, up to `highest` (); call after each optimiser step."""
        for p in self.log_std.values():
            p.clamp_(min=LOG_STD_RANGE[0]).clamp_(max=highest)

    # --- by role, in the layout of the environment ---

    def _outputs(
        self, obs: Mapping[str, ObservationLike], fresh: Tensor | None = None
    ) -> tuple[dict[str, Output], Tensor]:
        """The outputs given what is remembered, and what would be remembered after them."""
        missing = [role for role in self.specs if role not in obs]
        if missing:
            raise PolicyError(f"no observation for role {missing[0]!r}")
        if not self.weights.shape[0]:
            raise PolicyError("call attach(env) first: the policies do not know the market's graph")
        parts = [obs[role] for role in self.specs]
        nodes = torch.cat([o.nodes.permute(1, 2, 0, 3) for o in parts])  # copies: normalised in place below
        vector = torch.cat([o.vector.transpose(0, 1) for o in parts])
        envs = vector.shape[1]
        state = self.state if self.state is not None and self.state.shape[2] == envs else self.blank(envs)
        if self.recurrent and fresh is None:
            fresh = self._first_decisions(parts[0].vector)
        edges = parts[0].edges[:, 0].transpose(0, 1).clone()
        return self.recur(*self.normalise_(nodes, edges, vector), state, fresh)

    def _first_decisions(self, vector: Tensor) -> Tensor:
        """(E,) bool: all of the episode is left. vector: (E, K, V), not normalised."""
        names = next(iter(self.specs.values())).vector_features
        if TIME_LEFT not in names:
            raise PolicyError(
                f"a policy with memory must know where episodes start: the market's vector features have no {TIME_LEFT!r}; "
                "give `fresh`"
            )
        return vector[:, 0, names.index(TIME_LEFT)] == 1.0

    @torch.no_grad()
    def act(
        self,
        obs: Mapping[str, ObservationLike],
        deterministic: bool = False,
        generator: torch.Generator | None = None,
        fresh: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Actions in physical units (E, K, I, D) for every role of this set; the mean action if `deterministic`.

        With memory, call it once for each decision of a batch of environments. fresh: (E,) bool, whose episode starts
        here; None: where the feature `time_left` is 1. The first call after `attach` remembers nothing in any case.
        """
        actions = {}
        outputs, self.state = self._outputs(obs, fresh)
        for role, out in outputs.items():
            raw = out.policy.mean if deterministic else out.policy.sample(generator)
            actions[role] = self.physical(role, raw)
        return actions

    def physical(self, role: str, raw: Tensor) -> Tensor:
        """Normalised agent-major (K, I, E, D) to physical (E, K, I, D), contiguous."""
        low, high = self.get_buffer(f"{role}_low"), self.get_buffer(f"{role}_high")
        return to_physical(raw.permute(2, 0, 1, 3), low, high).contiguous()

    def evaluate_actions(
        self, obs: Mapping[str, ObservationLike], raw: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Per role (logprobs (E, K), entropy (), values (E, K)) of normalised, unclipped actions (E, K, I, D).

        With memory: given what `act` remembers; nothing is added to it. The same holds for `values`.
        """
        result = {}
        for role, out in self._outputs(obs)[0].items():
            logprob = out.policy.log_prob(raw[role].permute(1, 2, 0, 3))
            result[role] = (logprob.t(), out.policy.entropy(), out.value.t())
        return result

    @torch.no_grad()
    def values(self, obs: Mapping[str, ObservationLike]) -> dict[str, Tensor]:
        """Per role (E, K), in units of the scaled reward."""
        return {role: out.value.t() for role, out in self._outputs(obs)[0].items()}

    def subset(self, role: str) -> PolicySet:
        """A copy that holds one role's policy alone, with the encoder and the normalisers it needs."""
        part = PolicySet({role: self.specs[role]}, self.graph, self.ppo).to(self.device)
        own = part.state_dict()
        part.load_state_dict({k: v for k, v in self.state_dict().items() if k in own})
        part.weights, part.pairs = self.weights, self.pairs
        part.agents[role] = slice(0, self.agents[role].stop - self.agents[role].start)
        return part


def _columns(hide: Sequence[str], names: Sequence[str]) -> Tensor:
    """Where the features to hide stand among `names`, int64."""
    return torch.tensor([i for i, name in enumerate(names) if name in hide], dtype=torch.int64)


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _check_fit(trained: PolicySpec, market: PolicySpec, sharing: str) -> None:
    for name in ("acts_on", "action_names", "node_features", "edge_features", "vector_features"):
        a, b = getattr(trained, name), getattr(market, name)
        if a != b:
            detail = f"{a!r}, the market has {b!r}"
            if isinstance(a, tuple):
                lost, new = sorted(set(a) - set(b)), sorted(set(b) - set(a))
                detail = f"{len(a)} of them, the market has {len(b)} (missing {lost}, new {new}"
                detail += ")" if lost or new else "; the order differs)"
            raise PolicyError(f"{trained.role} policy: {name} differ: it was trained with {detail}")
    if sharing == "agent" and market.count > trained.count:
        raise PolicyError(
            f"{trained.role} policy: trained with one policy for each of {trained.count} agents "
            f"(ppo.sharing: agent), the market has {market.count}"
        )


def make_policies(env: Any, cfg: Config) -> PolicySet:
    """Fresh policies for every role of `env`, attached to it; their parameters follow from cfg.run.seed."""
    return PolicySet(env.specs, cfg.graph, cfg.ppo, cfg.run.seed).attach(env)
