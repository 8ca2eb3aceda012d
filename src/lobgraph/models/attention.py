"""Attention over the market graph: a multi-head GATv2 layer (Brody, Alon and Yahav 2022) in the dense, node-major layout.

score_ij = a . leaky_relu(W_r x_i + b + W_l x_j + W_e w_ij), alpha_i = softmax over the edges j -> i (w_ij not 0),
out_i = W_root x_i + b_root + sum_j alpha_ij W_l x_j, by heads. The weight of an edge enters the attention as it is, signed and
not normalised, so that it means the same in a market of any size. Nobody attends to itself: W_root stands for the node.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

SLOPE = 0.2  # of leaky_relu below zero, as in the paper


class GATLayer(nn.Module):
    """One layer; lin_l, lin_r, lin_edge and att are those of torch_geometric's GATv2Conv."""

    def __init__(self, in_features: int, out_features: int, heads: int) -> None:
        super().__init__()
        if out_features % heads:
            raise ValueError(f"heads: {heads} must divide the {out_features} features of a layer")
        self.heads = heads
        self.lin_root = nn.Linear(in_features, out_features)
        self.lin_l = nn.Linear(in_features, out_features, bias=False)  # sources
        self.lin_r = nn.Linear(in_features, out_features)  # targets
        self.lin_edge = nn.Linear(1, out_features, bias=False)
        self.att = nn.Parameter(torch.empty(1, heads, out_features // heads))
        nn.init.orthogonal_(self.lin_root.weight, math.sqrt(2.0))
        for layer in (self.lin_l, self.lin_r):
            nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(self.lin_root.bias)
        nn.init.zeros_(self.lin_r.bias)
        nn.init.xavier_uniform_(self.att)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x: (B, N, M, F); weights: (N, N) or (B, N, N), rows are targets. Returns tanh of the layer, (B, N, M, H)."""
        b, n, m, f = x.shape
        source = linear(x, self.lin_l.weight)  # (B, N, M, H)
        alpha = self._attention(x, source, weights)  # (B, target, source, M, heads)
        values = source.view(b, n, m, self.heads, -1)
        heard = torch.einsum("bijmh,bjmhc->bimhc", alpha, values).reshape(b * n * m, -1)
        out = torch.addmm(heard, x.reshape(-1, f), self.lin_root.weight.t()).add_(self.lin_root.bias)
        return torch.tanh_(out).view(b, n, m, -1)

    def attention(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, N, N, M, heads): how much each target (first N) attends to each source; rows sum to 1, or 0 without edges."""
        return self._attention(x, linear(x, self.lin_l.weight), weights)

    def _attention(self, x: Tensor, source: Tensor, weights: Tensor) -> Tensor:
        target = linear(x, self.lin_r.weight, self.lin_r.bias)
        edge = (
            weights.view(-1, *weights.shape[-2:], 1, 1) * self.lin_edge.weight[:, 0]
        )  # (1 or B, N, N, 1, H)
        both = leaky_relu(target.unsqueeze(2) + source.unsqueeze(1) + edge, SLOPE)  # (B, N, N, M, H)
        score = torch.matmul(both, torch.block_diag(*self.att[0].unsqueeze(1)).t())  # a product for each head
        there = (weights != 0).view(-1, *weights.shape[-2:], 1, 1)
        # a row without edges is uniform under this mask, then nothing
        return score.masked_fill(~there, torch.finfo(score.dtype).min).softmax(2) * there
