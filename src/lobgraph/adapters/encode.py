"""Observations as other libraries want them: one flat vector, a dict of arrays, or a graph; always copies, never the buffers.

A flat vector holds the books' features, then the pairs', then the agent's own: nodes (N * F), edges (P * Fe), vector (V).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..config import Config, ConfigError
from ..env.observe import edge_feature_names, node_feature_names, vector_feature_names
from ..market.params import edge_weights

Observations = Literal["flat", "dict", "graph"]
Arrays = dict[str, np.ndarray]
DICT = ("nodes", "edges", "vector", "adjacency")  # parts of a dict; of one book: nodes and vector


class Encoder:
    """Arrays of a market -> observations, of B environments or agents at once.

    nodes: (B, N, F), edges: (B, P, Fe), vector: (B, V), float32, what MarketEnv gives an agent.
    """

    def __init__(self, cfg: Config) -> None:
        books, pairs = cfg.market.num_books, len(cfg.pairs)
        self.nodes = (books, len(node_feature_names()))  # shapes of one observation
        self.edges = (pairs, len(edge_feature_names()))
        self.vector = (len(vector_feature_names(cfg)),)
        self.adjacency = edge_weights(cfg)  # (N, N) float32, rows are targets
        self.links = cfg.pairs.copy()  # (P, 2) int64 books of each pair
        a = self.nodes[0] * self.nodes[1]
        b = a + self.edges[0] * self.edges[1]
        self.size = b + self.vector[0]  # of a flat observation
        self._cuts = a, b
        self.names = flat_names(cfg)

    def flat(self, nodes: np.ndarray, edges: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """(B, size) float32."""
        count = len(nodes)
        a, b = self._cuts
        out = np.empty((count, self.size), np.float32)
        out[:, :a].reshape(count, *self.nodes)[...] = nodes
        if b > a:
            out[:, a:b].reshape(count, *self.edges)[...] = edges
        out[:, b:] = vector
        return out

    def dict(self, nodes: np.ndarray, edges: np.ndarray, vector: np.ndarray) -> Arrays:
        """The parts, (B, ...) each; without pairs no edges, of one book no adjacency."""
        parts = {"nodes": nodes.copy()}
        if self.edges[0]:
            parts["edges"] = np.array(np.broadcast_to(edges, (len(nodes), *self.edges)))
        parts["vector"] = vector.copy()
        if self.nodes[0] > 1:
            parts["adjacency"] = np.repeat(self.adjacency[None], len(nodes), axis=0)
        return parts


def flat_names(cfg: Config) -> tuple[str, ...]:
    """What stands at each place of a flat observation: BOOK.feature, BOOK-BOOK.feature, feature."""
    books = cfg.market.books
    nodes = [f"{book}.{name}" for book in books for name in node_feature_names()]
    edges = [f"{books[i]}-{books[j]}.{name}" for i, j in cfg.pairs for name in edge_feature_names()]
    return (*nodes, *edges, *vector_feature_names(cfg))


def check_choice(key: str, given: str, known: tuple[str, ...]) -> str:
    """Raise ConfigError for a choice that is not there."""
    if given not in known:
        raise ConfigError(f"{key}: must be {', '.join(known)}, got {given!r}")
    return given
