"""Heads over node embeddings: per-node and per-pair action means, and the value of the whole graph.

All arrays are agent-major: embeddings (K, N, M, H) for K agents, N nodes, M samples; vectors (K, M, V); edge features
(P, M, Fe), the same for all agents. Every head treats nodes (pairs) alike, so that a reordering of the nodes reorders
the output and any number of them works.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

POLICY_GAIN = 0.01  # of the last policy layer: the first policy is close to the middle of every range


def linear(in_features: int, out_features: int, gain: float, bias: bool = True) -> nn.Linear:
    """A linear layer with orthogonal weights and zero bias."""
    layer = nn.Linear(in_features, out_features, bias)
    nn.init.orthogonal_(layer.weight, gain)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def flat_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer over the last axis, as one matrix product."""
    return functional.linear(x.reshape(-1, x.shape[-1]), layer.weight, layer.bias).view(*x.shape[:-1], -1)


class NodeBody(nn.Module):
    """tanh(W_h h_i + W_v v + b): the layer over [embedding, vector] without building the concatenation."""

    def __init__(self, hidden: int, vector: int) -> None:
        super().__init__()
        both = linear(hidden + vector, hidden, math.sqrt(2.0))
        self.embedding, self.vector = nn.Linear(hidden, hidden), nn.Linear(vector, hidden, bias=False)
        with torch.no_grad():
            self.embedding.weight.copy_(both.weight[:, :hidden])
            self.embedding.bias.zero_()
            self.vector.weight.copy_(both.weight[:, hidden:])

    def forward(self, h: Tensor, vector: Tensor) -> Tensor:
        """(K, N, M, H), (K, M, V) to (K, N, M, H)."""
        return torch.tanh_(flat_linear(self.embedding, h) + flat_linear(self.vector, vector).unsqueeze(1))


class NodeHead(nn.Module):
    """Action means per node: maker and taker."""

    def __init__(self, hidden: int, vector: int, actions: int) -> None:
        super().__init__()
        self.body = NodeBody(hidden, vector)
        self.out = linear(hidden, actions, POLICY_GAIN)

    def forward(self, h: Tensor, edges: Tensor, vector: Tensor, pairs: Tensor) -> Tensor:
        """(K, N, M, H) to (K, N, M, D); `edges` and `pairs` are not used."""
        return flat_linear(self.out, self.body(h, vector))


class PairHead(nn.Module):
    """Action means per pair (i, j), from both embeddings, the edge and the vector: arbitrageur.

    tanh(W_i h_i + W_j h_j + W_e e_ij + W_v v): the products with h are taken per node, then gathered per pair.
    """

    def __init__(self, hidden: int, edge: int, vector: int, actions: int) -> None:
        super().__init__()
        widths = [hidden, hidden, edge, vector]
        both = linear(sum(widths), hidden, math.sqrt(2.0))
        self.first, self.second, self.edge, self.vector = (
            nn.Linear(w, hidden, bias=i == 0) for i, w in enumerate(widths)
        )
        with torch.no_grad():
            self.first.bias.zero_()
            parts = (self.first, self.second, self.edge, self.vector)
            for part, weight in zip(parts, both.weight.split(widths, dim=1), strict=True):
                part.weight.copy_(weight)
        self.out = linear(hidden, actions, POLICY_GAIN)

    def forward(self, h: Tensor, edges: Tensor, vector: Tensor, pairs: Tensor) -> Tensor:
        """(K, N, M, H), (P, M, Fe), (K, M, V), (P, 2) int64 to (K, P, M, D)."""
        x = flat_linear(self.first, h).index_select(1, pairs[:, 0])
        x.add_(flat_linear(self.second, h).index_select(1, pairs[:, 1]))
        x.add_(flat_linear(self.edge, edges)).add_(flat_linear(self.vector, vector).unsqueeze(1))
        return flat_linear(self.out, torch.tanh_(x))


class ValueHead(nn.Module):
    """Value of an agent from the mean of its node embeddings and its vector."""

    def __init__(self, hidden: int, vector: int) -> None:
        super().__init__()
        self.body = NodeBody(hidden, vector)
        self.out = linear(hidden, 1, 1.0)

    def forward(self, h: Tensor, vector: Tensor) -> Tensor:
        """(K, N, M, H), (K, M, V) to (K, M)."""
        return flat_linear(self.out, self.body(h.mean(1, keepdim=True), vector))[:, 0, :, 0]
