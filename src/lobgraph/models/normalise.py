"""Running normalisation of observations and rewards: per-feature mean and variance, kept in float64.

Statistics grow during a rollout, but the shift and scale in use change only at `commit`, which training calls after
the update: so the log-probabilities of a rollout can be recomputed exactly. Source of the merge: Chan, Golub and
LeVeque (1979). Nothing outside training calls `update` or `commit`, so evaluation is frozen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLIP = 10.0  # normalised features are cut to +-CLIP
MIN_VARIANCE = 1e-8  # a feature that varies less is centred but not magnified


class RunningMoments(nn.Module):
    """Mean and population variance of F features by parallel merging, in float64 buffers."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))  # (F,)
        self.register_buffer("var", torch.ones(features, dtype=torch.float64))  # (F,)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Merge x (..., F); mask (...,) bool chooses rows. Raises FloatingPointError for a non-finite value."""
        rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
        n = rows.shape[0]
        if n == 0:
            return
        origin = (
            self.mean.to(rows.dtype) if self.count > 0 else rows[0]
        )  # near the mean, so that nothing cancels
        centred = rows - origin
        first, second = (
            centred.sum(0).double() / n,
            centred.square_().sum(0).double() / n,
        )  # var_mean: 8 times slower
        mean, var = origin.double() + first, (second - first.square()).clamp_(min=0.0)
        if not torch.isfinite(var).all():
            bad = (~torch.isfinite(rows)).any(0).nonzero()[:, 0].tolist()
            raise FloatingPointError(f"non-finite values in features {bad}")
        total = self.count + n
        delta = mean - self.mean
        old = self.var * self.count if self.count > 0 else torch.zeros_like(self.var)
        self.var.copy_((old + var * n + delta**2 * (self.count * n / total)) / total)
        self.mean.add_(delta * (n / total))
        self.count.copy_(total)


class Normaliser(RunningMoments):
    """`normaliser(x)` = clip((x - mean) / std), with the statistics of the last `commit`."""

    shift: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("shift", torch.zeros(features))  # (F,) float32, in use
        self.register_buffer("scale", torch.ones(features))  # (F,) float32, in use

    @torch.no_grad()
    def commit(self) -> None:
        """Take the statistics gathered so far into use."""
        varies = self.var > MIN_VARIANCE
        self.shift.copy_(self.mean)
        self.scale.copy_(
            torch.where(varies, self.var.clamp(min=MIN_VARIANCE).rsqrt(), torch.ones_like(self.var))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) float32 to (..., F) float32, a new tensor."""
        return self.apply_(x.clone())

    def apply_(self, x: Tensor) -> Tensor:
        """The same in place."""
        return x.sub_(self.shift).mul_(self.scale).clamp_(-CLIP, CLIP)


class RewardScaler(RunningMoments):
    """Scales one role's rewards by the running standard deviation of the discounted return (its mean is left alone)."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__(1)
        self.register_buffer("scale", torch.ones(()))  # float32, in use

    @torch.no_grad()
    def update_returns(
        self, rewards: Tensor, done: Tensor, active: Tensor, running: Tensor, gamma: float
    ) -> None:
        """Follow the discounted returns through one rollout, then take the new scale into use.

        rewards: (T, E, K); done: (T, E, K) bool, ends the return after this step; active: (T, E, K) bool, counted;
        running: (E, K) returns so far, changed in place and carried to the next rollout by the caller.
        """
        returns = torch.empty_like(rewards)
        for t in range(rewards.shape[0]):
            running.mul_(gamma).add_(rewards[t])
            returns[t] = running
            running.masked_fill_(done[t], 0.0)
        self.update(returns.unsqueeze(-1), active)
        if float(self.var) > MIN_VARIANCE:
            self.scale.copy_(self.var[0].rsqrt())
