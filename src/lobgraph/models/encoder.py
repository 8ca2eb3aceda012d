"""Graph encoder: node features (..., N, M, F) and edge weights (N, N) in, node embeddings (..., N, M, H) out.

What a node hears of the others: a mean over its edges by weight (sage), by attention (gat, see attention.py), over all
nodes alike (mean), or nothing (mlp). GraphSAGE: out_i = W_root x_i + b + W_rel sum_j w_ij x_j / sum_j |w_ij|. The dense path
is ours rather than `torch_geometric.nn.DenseSAGEConv` (equal to it, tested): with nodes before the batch the aggregation
is one matrix product over all graphs instead of one tiny product each, and torch_geometric takes two seconds to import.
`forward_sparse` runs the same parameters through torch_geometric's SAGEConv and GATv2Conv.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .attention import GATLayer

Kind = Literal["sage", "gat", "mean", "mlp"]
KINDS = ("sage", "gat", "mean", "mlp")


def normalise_rows(adjacency: Tensor) -> Tensor:
    """Divide each row (a target) by the sum of its absolute weights; a row of zeros (an isolated node) stays zero."""
    total = adjacency.abs().sum(-1, keepdim=True)
    return adjacency / torch.where(total > 0, total, torch.ones_like(total))


def message_weights(kind: Kind, adjacency: Tensor) -> Tensor:
    """What the layers of an encoder are given of (..., N, N) edge weights, rows are targets.

    sage: rows divided by their absolute sums; gat: as they are; mean: every other node alike; mlp: not looked at.
    """
    if kind == "mean":
        n = adjacency.shape[-1]
        return normalise_rows(
            (1.0 - torch.eye(n, dtype=adjacency.dtype, device=adjacency.device)).expand(adjacency.shape)
        )
    return normalise_rows(adjacency) if kind == "sage" else adjacency


class SAGELayer(nn.Module):
    """One layer; parameters are named as in torch_geometric's DenseSAGEConv. `exchange=False` leaves W_rel out."""

    def __init__(self, in_features: int, out_features: int, exchange: bool = True) -> None:
        super().__init__()
        self.lin_root = nn.Linear(in_features, out_features)
        self.lin_rel = nn.Linear(in_features, out_features, bias=False) if exchange else None
        nn.init.orthogonal_(self.lin_root.weight, math.sqrt(2.0))
        nn.init.zeros_(self.lin_root.bias)
        if self.lin_rel is not None:
            nn.init.orthogonal_(self.lin_rel.weight)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x: (B, N, M, F); weights: (N, N) or (B, N, N), rows normalised. Returns tanh of the layer, (B, N, M, H)."""
        b, n, m, f = x.shape
        out = linear(x.reshape(-1, f), self.lin_root.weight, self.lin_root.bias)
        if self.lin_rel is not None:
            mean = torch.matmul(weights, x.reshape(b, n, m * f)).view(-1, f)
            if torch.is_autocast_enabled(x.device.type):  # which knows no products in place
                out = torch.addmm(out, mean, self.lin_rel.weight.t())
            else:
                out.addmm_(mean, self.lin_rel.weight.t())  # in place: saves one pass over the largest array
        return torch.tanh_(out).view(b, n, m, -1)


class MarketGraphEncoder(nn.Module):
    """Stack of layers with tanh. No size N is built in. heads: of gat, must divide `hidden`."""

    def __init__(
        self, in_features: int, hidden: int, layers: int, kind: Kind = "sage", heads: int = 4
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"encoder kind must be one of {', '.join(KINDS)}, got {kind!r}")
        sizes = [in_features] + [hidden] * layers
        self.kind: Kind = kind
        self.convs = nn.ModuleList(
            GATLayer(i, o, heads) if kind == "gat" else SAGELayer(i, o, exchange=kind != "mlp")
            for i, o in itertools.pairwise(sizes)
        )

    def forward(self, nodes: Tensor, adjacency: Tensor, prepared: bool = False) -> Tensor:
        """Embed batches of graphs.

        nodes: (B, N, F), or node-major (B, N, M, F) where the M graphs of a row lie side by side (the fast layout).
        adjacency: (N, N), or (B, N, N); rows are targets. Set `prepared` if it went through `message_weights`.
        Returns the shape of `nodes` with H in place of F.
        """
        if (
            nodes.dim() == 3
        ):  # node-major with one row: (1, N, B, F), or one graph per row where adjacencies differ
            if adjacency.dim() == 3:
                return self(nodes.unsqueeze(2), adjacency, prepared).squeeze(2)
            return self(nodes.transpose(0, 1).unsqueeze(0), adjacency, prepared)[0].transpose(0, 1)
        n = nodes.shape[1]
        if adjacency.shape[-2:] != (n, n):
            raise ValueError(f"adjacency must end in ({n}, {n}) for {n} nodes, got {tuple(adjacency.shape)}")
        weights = adjacency if prepared else message_weights(self.kind, adjacency)
        x = nodes
        for conv in self.convs:
            x = conv(x, weights)
        return x

    def forward_sparse(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """The same function over an edge list, by torch_geometric.

        x: (N, F) nodes of one graph or of a PyG batch; edge_index: (2, M) int64 source, target; edge_weight: (M,), None: 1;
        batch: (N,) int64 graph of each node, None: all of one; `mean` joins the nodes of a graph whatever the edges.
        Returns (N, H).
        """
        from .sparse import run_layers

        return run_layers(self.kind, self.convs, x, edge_index, edge_weight, batch)
