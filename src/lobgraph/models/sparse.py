"""The sparse twin of a dense layer: a torch_geometric SAGEConv whose messages carry edge weights.

Apart from encoder.py because importing torch_geometric takes two seconds, which training does not need.
"""

from __future__ import annotations

from torch import Tensor
from torch_geometric.nn import SAGEConv

from .encoder import SAGELayer


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
