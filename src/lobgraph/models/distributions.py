"""Diagonal Gaussian over actions in normalised units, where [-1, 1] is the whole range of each action.

Samples are not bounded: only what is sent to the environment is clipped, and the log-probability is that of the
sample. The standard deviation does not depend on the state, nor on how many items (nodes, pairs) are acted on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_STD_RANGE = (
    -5.0,
    0.7,
)  # the optimiser's steps are projected on it: beyond 2 half-ranges a Gaussian only hits bounds
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Gaussian(NamedTuple):
    mean: Tensor  # (K, I, M, D) agents, items, samples, action dimensions
    log_std: Tensor  # broadcastable to mean: (1 or K, 1, 1, D)

    def sample(self, generator: torch.Generator | None = None, share: tuple[int, int] = (0, 1)) -> Tensor:
        """(K, I, M, D) normalised, unbounded.

        share: (r, n): these are the r-th M of n * M samples side by side, whose draws one generator makes.
        """
        k, items, m, dims = self.mean.shape
        which, of = share
        noise = torch.randn(k, items, of * m, dims, generator=generator, device=self.mean.device)
        noise = noise.narrow(2, which * m, m)
        return noise.mul_(self.log_std.exp()).add_(self.mean)

    def log_prob(self, actions: Tensor) -> Tensor:
        """(K, M): log density of `actions` (K, I, M, D), summed over items and dimensions."""
        _, items, _, dims = self.mean.shape
        z = (actions - self.mean) * torch.exp(-self.log_std)
        constant = items * (self.log_std.sum((1, 2, 3)) + dims * _LOG_SQRT_2PI)  # (1 or K,)
        return z.square().sum((1, 3)) * -0.5 - constant.unsqueeze(-1)

    def entropy(self) -> Tensor:
        """() mean over agents of the entropy of all items and dimensions together, in nats."""
        _, items, _, dims = self.mean.shape
        return items * (self.log_std.sum((1, 2, 3)).mean() + dims * (0.5 + _LOG_SQRT_2PI))


def to_physical(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Normalised (..., D) to physical units: clipped to [-1, 1], then mapped to low..high."""
    return actions.clamp(-1.0, 1.0).add_(1.0).mul_(0.5 * (high - low)).add_(low)


def to_normalised(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Physical (..., D) in low..high to [-1, 1]; the inverse of `to_physical`."""
    return (actions - low) * (2.0 / (high - low)) - 1.0
