"""What a policy looks at: how far its actions move when a part of what it sees is replaced by that part's mean (occlusion).

In: policies and the states of played episodes. Out: importances as mean absolute change of the mean action, in per cent of
the action's range, over states, agents and actions; of the value in tick-lots. What two parts say alike is shown by neither
alone: occlusion leaves the other one to speak.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config import load_config
from ..env.market_env import MarketEnv
from ..models.attention import GATLayer
from ..models.policy import Output, PolicySet
from ..rl.actors import cast, held_actors
from ..rl.checkpoint import load_policies

EPISODES, EVERY = 16, 10  # played, and steps between the states that are looked at
NODES = 1024  # states times books that are looked at, at least 64 states: the passes grow with the square of the books


class States(NamedTuple):
    """What the agents of one role saw at S moments; as an Observation with the moments as environments."""

    nodes: Tensor  # (S, K, N, F) float32, not normalised
    edges: Tensor  # (S, K, P, Fe)
    vector: Tensor  # (S, K, V)


@dataclass(frozen=True)
class Importance:
    """Rows are targets (whose action moves), columns sources (whose features are replaced). Per cent of the range."""

    role: str
    books: list[str]
    weights: np.ndarray  # (N, N) of the market graph, as configured
    influence: (
        np.ndarray
    )  # (N, N) of a book's features on a book's action, through all paths; diagonal: its own
    edges: np.ndarray  # (N, N) change of all actions together without the edge; NaN where there is none
    node_value: np.ndarray  # (N,) tick-lots: change of the value without a book's features
    node_features: list[str]
    own: np.ndarray  # (F,) of the acting book's own feature
    others: np.ndarray  # (F,) of the same feature of all other books together
    vector_features: list[str]
    agent: np.ndarray  # (V,)
    attention: np.ndarray | None  # (layers, N, N) mean attention of a gat encoder, rows sum to 1

    def table(self) -> pd.DataFrame:
        """One row per feature, the most important first: own, others, in per cent of the action's range."""
        rows = [
            {"feature": f, "of_the_book": a, "of_others": b}
            for f, a, b in zip(self.node_features, self.own, self.others, strict=True)
        ]
        rows += [
            {"feature": f, "of_the_book": x, "of_others": np.nan}
            for f, x in zip(self.vector_features, self.agent, strict=True)
        ]
        found = pd.DataFrame(rows)
        return found.loc[found[["of_the_book", "of_others"]].max(axis=1).sort_values(ascending=False).index]

    def pairs(self) -> pd.DataFrame:
        """One row per ordered pair of books: weight of its edge, influence, and the change without the edge."""
        n = len(self.books)
        return pd.DataFrame(
            {
                "action_of": np.repeat(self.books, n),
                "features_of": np.tile(self.books, n),
                "weight": self.weights.ravel(),
                "influence": self.influence.ravel(),
                "without_edge": self.edges.ravel(),
            }
        )


def importance(
    policies: PolicySet, role: str, states: States, books: list[str], adjacency: Tensor
) -> Importance:
    """Occlude every book, edge and feature in turn. `policies` are attached; books (N,) names; adjacency (N, N)."""
    policies = policies.subset(role)
    spec, n = policies.specs[role], states.nodes.shape[2]
    seen = _Seen(policies, role, states)
    influence, node_value = np.zeros((n, n)), np.zeros(n)
    for j in range(n):
        influence[:, j], node_value[j] = seen.without(nodes=[j])
    own, others = np.zeros((2, len(spec.node_features)))
    for f in range(len(own)):
        for i in range(n):
            own[f] += seen.without(nodes=[i], features=[f])[0][i] / n
            if n > 1 and policies.graph.encoder != "mlp":
                rest = [j for j in range(n) if j != i]
                others[f] += seen.without(nodes=rest, features=[f])[0][i] / n
    agent = np.array([seen.without(vector=[v])[0].mean() for v in range(len(spec.vector_features))])
    return Importance(
        role, books, adjacency.numpy(), influence, seen.edges(adjacency), node_value, list(spec.node_features), own,
        others, list(spec.vector_features), agent, attention(policies, states),
    )  # fmt: skip


class _Seen:
    """The policy's actions and values on the states, and how they change when something is replaced."""

    def __init__(self, policies: PolicySet, role: str, states: States) -> None:
        self.policies, self.role, self.states = policies, role, states
        self.node_mean = states.nodes.mean((0, 1))  # (N, F)
        self.vector_mean = states.vector.mean((0, 1))  # (V,)
        n, items = states.nodes.shape[2], torch.arange(states.nodes.shape[2])
        if policies.specs[role].acts_on == "pair":  # a book's action: those of the pairs it is in
            self.of_book = (policies.pairs.t()[None] == items[:, None, None]).any(1).float()  # (N, P)
        else:
            self.of_book = torch.eye(n)
        self.of_book /= self.of_book.sum(1, keepdim=True).clamp(min=1.0)
        self.actions, self.values = self._act(states)

    @torch.no_grad()
    def _act(self, states: States) -> tuple[Tensor, Tensor]:
        """(K, I, S, D) mean actions as they are sent, in half-ranges; (K, S) values. Nothing is remembered (memory: gru)."""
        self.policies.forget()
        out: Output = self.policies._outputs({self.role: states})[0][self.role]
        return out.policy.mean.clamp(-1.0, 1.0), out.value

    def without(
        self,
        nodes: list[int] | None = None,
        features: list[int] | None = None,
        vector: list[int] | None = None,
    ) -> tuple[np.ndarray, float]:
        """Change of the books' actions (N,) and of the value, with these at their mean over the states."""
        s = self.states
        if nodes is not None:
            columns = list(range(s.nodes.shape[3])) if features is None else features
            s = s._replace(nodes=s.nodes.clone())
            for j in nodes:
                s.nodes[:, :, j, columns] = self.node_mean[j, columns]
        if vector is not None:
            s = s._replace(vector=s.vector.clone())
            s.vector[..., vector] = self.vector_mean[vector]
        actions, values = self._act(s)
        scale = float(self.policies.scaler(self.role).scale)
        return self._moved(actions), float((values - self.values).abs().mean()) / scale

    def _moved(self, actions: Tensor) -> np.ndarray:
        """(N,) mean |change|, per cent of the range, which is two half-ranges."""
        moved = (actions - self.actions).abs().mean((0, 2, 3))  # (I,)
        return (self.of_book @ moved).numpy() * 50.0

    def edges(self, adjacency: Tensor) -> np.ndarray:
        """(N, N) mean change of all books' actions when one edge is taken out of the graph as the encoder has it."""
        found = np.full(adjacency.shape, np.nan)
        whole = self.policies.weights
        if self.policies.graph.encoder == "mlp":
            return found
        for i, j in whole.nonzero().tolist():
            self.policies.weights = whole.clone()
            self.policies.weights[i, j] = 0.0
            found[i, j] = self._moved(self._act(self.states)[0]).mean()
        self.policies.weights = whole
        return found


@torch.no_grad()
def attention(policies: PolicySet, states: States) -> np.ndarray | None:
    """(layers, N, N) attention of each target (row) to each source, mean over states, agents and heads; None without gat."""
    if policies.graph.encoder != "gat":
        return None
    nodes = states.nodes.permute(1, 2, 0, 3).clone()
    x, _, _ = policies.normalise_(nodes, states.edges[:, 0].transpose(0, 1).clone(), states.vector.clone())
    found = []
    for layer in next(iter(policies.encoders.values())).convs:  # type: ignore[union-attr]
        assert isinstance(layer, GATLayer)
        found.append(layer.attention(x, policies.weights).mean((0, 3, 4)).numpy())
        x = layer(x, policies.weights)
    return np.stack(found)


def importance_of_run(run: str | Path, seed: int, episodes: int = EPISODES) -> dict[str, Importance]:
    """Importances by learning role of a run's policies, over states of episodes that they play by their mean."""
    run = Path(run)
    changed = [f"env.num_envs={episodes}", "env.stagger=false", "ppo.minibatches=1"]
    cfg = load_config(run / "config.yaml", changed)
    env = MarketEnv(cfg, seed=seed, autoreset=False)
    policies, held = load_policies(run, env), cast(env, held_actors(cfg))
    obs = env.reset()
    seen: dict[str, list[States]] = {role: [] for role in policies.specs}
    for t in range(cfg.env.episode_steps):
        if t % EVERY == EVERY - 1 or cfg.env.episode_steps < EVERY:
            for role, parts in seen.items():
                parts.append(States(*(x.clone() for x in obs[role])))
        actions = policies.act(obs, deterministic=True) | {role: own(obs) for role, own in held.items()}
        obs, *_ = env.step(actions)
    most = max(64, NODES // cfg.market.num_books)
    found = {}
    for role, parts in seen.items():
        every = States(*(torch.cat(x) for x in zip(*parts, strict=True)))
        chosen = torch.linspace(0, len(every.nodes) - 1, min(most, len(every.nodes))).long()
        states = States(*(x[chosen] for x in every))
        found[role] = importance(policies, role, states, cfg.market.books, env.adjacency)
    return found
