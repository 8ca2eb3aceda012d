"""The sparse twins of the dense layers: torch_geometric convolutions over edge lists that share the layers' parameters.

Apart from encoder.py because importing torch_geometric takes two seconds, which training does not need.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, SAGEConv

from .attention import SLOPE, GATLayer
from .encoder import Kind, SAGELayer


class WeightedSAGEConv(SAGEConv):
    """SAGEConv with `aggr="sum"` over messages w_ij x_j; plain SAGEConv ignores edge weights."""

    def __init__(self, layer: SAGELayer) -> None:
        assert layer.lin_rel is not None
        super().__init__(layer.lin_root.in_features, layer.lin_root.out_features, aggr="sum", bias=False)
        self.lin_l, self.lin_r = layer.lin_rel, layer.lin_root  # the layer's own parameters, not copies

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:  # type: ignore[override]
        """x: (N, F); edge_index: (2, M) source, target; edge_weight: (M,) already divided by the target's total."""
        # propagate_type: (x: Tensor, edge_weight: Tensor) -- read by torch_geometric, which generates code from it
        out = self.propagate(edge_index, x=x, edge_weight=edge_weight)
        return self.lin_l(out) + self.lin_r(x)

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:  # type: ignore[override]
        return edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(self, *args: object) -> Tensor:  # type: ignore[override]
        raise NotImplementedError("sparse adjacency tensors are not used here: pass edge_index (2, M)")


def sage_conv(layer: SAGELayer) -> WeightedSAGEConv:
    """A PyG layer that shares the parameters of `layer`."""
    return WeightedSAGEConv(layer)


def gat_conv(layer: GATLayer) -> GATv2Conv:
    """PyG's GATv2Conv with the parameters of `layer`; it lacks the layer's W_root."""
    _, heads, width = layer.att.shape
    conv = GATv2Conv(
        layer.lin_l.in_features,
        width,
        heads,
        edge_dim=1,
        bias=False,
        add_self_loops=False,
        negative_slope=SLOPE,
    )
    for name in ("lin_l", "lin_r", "lin_edge", "att"):
        setattr(conv, name, getattr(layer, name))  # the layer's own parameters, not copies
    return conv


def run_layers(
    kind: Kind,
    layers: Iterable[nn.Module],
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None,
    batch: Tensor | None,
) -> Tensor:
    """See MarketGraphEncoder.forward_sparse."""
    if kind == "mean":
        edge_index, edge_weight = _everybody(x, batch), None
    weight = x.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight
    if kind != "gat":
        total = x.new_zeros(x.shape[0]).index_add_(0, edge_index[1], weight.abs())
        weight = weight / torch.where(total > 0, total, torch.ones_like(total))[edge_index[1]]
    else:  # an edge of weight zero is none
        edge_index, weight = edge_index[:, weight != 0], weight[weight != 0]
    for layer in layers:
        if isinstance(layer, GATLayer):
            x = torch.tanh(gat_conv(layer)(x, edge_index, weight[:, None]) + layer.lin_root(x))
            continue
        assert isinstance(layer, SAGELayer)
        if layer.lin_rel is None:
            x = torch.tanh(layer.lin_root(x))
        else:
            x = torch.tanh(sage_conv(layer)(x, edge_index, edge_weight=weight))
    return x


def _everybody(x: Tensor, batch: Tensor | None) -> Tensor:
    """(2, M) int64: an edge between any two nodes of one graph."""
    of = x.new_zeros(len(x), dtype=torch.int64) if batch is None else batch
    apart = ~torch.eye(len(x), dtype=torch.bool)
    return ((of[:, None] == of) & apart).nonzero().t()
