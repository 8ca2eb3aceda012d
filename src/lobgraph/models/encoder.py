"""Graph encoder: node features (..., N, M, F) and edge weights (N, N) in, node embeddings (..., N, M, H) out.

A layer is GraphSAGE with a weighted mean: out_i = W_root x_i + b + W_rel sum_j w_ij x_j / sum_j |w_ij|. The dense path is
ours rather than `torch_geometric.nn.DenseSAGEConv` (equal to it, tested): with nodes before the batch the aggregation
is one matrix product over all graphs instead of one tiny product each, and torch_geometric takes two seconds to import.
`forward_sparse` runs the same parameters through a torch_geometric SAGEConv.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from torch_geometric.nn import SAGEConv


def normalise_rows(adjacency: Tensor) -> Tensor:
    """Divide each row (a target) by the sum of its absolute weights; a row of zeros (an isolated node) stays zero."""
    total = adjacency.abs().sum(-1, keepdim=True)
    return adjacency / torch.where(total > 0, total, torch.ones_like(total))


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
            out.addmm_(mean, self.lin_rel.weight.t())  # in place: saves one pass over the largest array
        return torch.tanh_(out).view(b, n, m, -1)


class MarketGraphEncoder(nn.Module):
    """Stack of layers with tanh. `kind="mlp"` has no exchange between nodes. No size N is built in."""

    def __init__(
        self, in_features: int, hidden: int, layers: int, kind: Literal["sage", "mlp"] = "sage"
    ) -> None:
        super().__init__()
        if kind not in ("sage", "mlp"):
            raise ValueError(f"encoder kind must be 'sage' or 'mlp', got {kind!r}")
        sizes = [in_features] + [hidden] * layers
        self.kind = kind
        self.convs = nn.ModuleList(
            SAGELayer(i, o, exchange=kind == "sage") for i, o in itertools.pairwise(sizes)
        )

    def forward(self, nodes: Tensor, adjacency: Tensor, normalised: bool = False) -> Tensor:
        """Embed batches of graphs.

        nodes: (B, N, F), or node-major (B, N, M, F) where the M graphs of a row lie side by side (the fast layout).
        adjacency: (N, N), or (B, N, N); rows are targets. Set `normalised` if it went through `normalise_rows`.
        Returns the shape of `nodes` with H in place of F.
        """
        if (
            nodes.dim() == 3
        ):  # node-major with one row: (1, N, B, F), or one graph per row where adjacencies differ
            if adjacency.dim() == 3:
                return self(nodes.unsqueeze(2), adjacency, normalised).squeeze(2)
            return self(nodes.transpose(0, 1).unsqueeze(0), adjacency, normalised)[0].transpose(0, 1)
        n = nodes.shape[1]
        if adjacency.shape[-2:] != (n, n):
            raise ValueError(f"adjacency must end in ({n}, {n}) for {n} nodes, got {tuple(adjacency.shape)}")
        weights = adjacency if normalised else normalise_rows(adjacency)
        x = nodes
        for conv in self.convs:
            x = conv(x, weights)
        return x

    def forward_sparse(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """The same function over an edge list, by torch_geometric.

        x: (N, F) nodes of one graph or of a PyG batch; edge_index: (2, M) int64 source, target; edge_weight: (M,).
        Returns (N, H).
        """
        from .sparse import sage_conv

        weight = torch.ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        total = x.new_zeros(x.shape[0]).index_add_(0, edge_index[1], weight.abs())
        weight = weight / torch.where(total > 0, total, torch.ones_like(total))[edge_index[1]]
        for conv in self.convs:
            assert isinstance(conv, SAGELayer)
            if conv.lin_rel is None:
                x = torch.tanh(conv.lin_root(x))
            else:
                sparse: SAGEConv = sage_conv(conv)
                x = torch.tanh(sparse(x, edge_index, edge_weight=weight))
        return x
