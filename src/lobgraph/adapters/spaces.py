"""The spaces of gymnasium for what agents see and do. Needs the extra `gym`."""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from ..config import Config
from .bounds import edge_bounds, node_bounds, vector_bounds
from .decode import Decoder
from .encode import Encoder


def observation_space(cfg: Config, observations: str) -> spaces.Space[Any]:
    """Of one agent, whatever its role. "flat": Box (size,). "dict": nodes (N, F), edges (P, Fe), vector (V,), adjacency (N, N).

    "graph": graph (a Graph of books and pairs) and vector.
    """
    shapes = Encoder(cfg)
    node, edge, own = node_bounds(cfg), edge_bounds(cfg), vector_bounds(cfg)
    if observations == "flat":
        parts = [np.tile(node, shapes.nodes[0]), np.tile(edge, shapes.edges[0]), np.array(own)]
        low, high = np.concatenate(parts, axis=1)
        return spaces.Box(low, high, dtype=np.float32)
    vector = spaces.Box(*own, dtype=np.float32)
    if observations == "graph":
        graph = spaces.Graph(
            spaces.Box(*node, dtype=np.float32),
            spaces.Box(*edge, dtype=np.float32) if shapes.edges[0] else None,
        )
        return spaces.Dict({"graph": graph, "vector": vector})
    found: dict[str, spaces.Space[Any]] = {"nodes": _rows(node, shapes.nodes)}
    if shapes.edges[0]:
        found["edges"] = _rows(edge, shapes.edges)
    found["vector"] = vector
    if shapes.nodes[0] > 1:
        found["adjacency"] = spaces.Box(-1.0, 1.0, shapes.adjacency.shape, np.float32)
    return spaces.Dict(found)


def _rows(bounds: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> spaces.Box:
    low, high = (np.tile(b, (shape[0], 1)) for b in bounds)
    return spaces.Box(low, high, dtype=np.float32)


def action_space(decoder: Decoder) -> spaces.Space[Any]:
    """Of one agent: a Box (items, act_dim) in physical units, or (items * act_dim,) in [-1, 1]; Discrete, or MultiDiscrete of several items."""
    spec = decoder.spec
    if decoder.kind == "discrete":
        count = len(decoder.choices)
        return spaces.Discrete(count) if spec.items == 1 else spaces.MultiDiscrete([count] * spec.items)
    if decoder.kind == "normalised":
        return spaces.Box(-1.0, 1.0, decoder.shape, np.float32)
    low, high = (np.tile(b, (spec.items, 1)) for b in (spec.low, spec.high))
    return spaces.Box(low, high, dtype=np.float32)
