"""Running normalisation of observations and rewards: per-feature mean and variance, kept in float64.

Statistics grow during a rollout, but the shift and scale in use change only at `commit`, which training calls after
the update: so the log-probabilities of a rollout can be recomputed exactly. Source of the merge: Chan, Golub and
LeVeque (1979). Nothing outside training calls `update` or `commit`, so evaluation is frozen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLIP = 10.0  # normalised features are cut to +-CLIP
MIN_VARIANCE = 1e-8  # a feature that varies less is centred but not magnified


def where_true(mask: Tensor, count: int) -> Tensor:
    """(count,) int64: the places where `mask`, flattened, is true, in order. The device is not asked how many there are."""
    flat = mask.reshape(-1)
    place = torch.where(flat, flat.cumsum(0).sub_(1), count)  # the others all fall on one place more
    found = torch.empty(count + 1, dtype=torch.int64, device=mask.device)
    return found.scatter_(0, place, torch.arange(flat.numel(), device=mask.device))[:count]


class RunningMoments(nn.Module):
    """Mean and population variance of F features by parallel merging, in float64 buffers.

    `reduce` sums a tensor over all processes that train together, in place and on all of them; None: there is one.
    """

    mean: Tensor
    var: Tensor
    count: Tensor
    bad: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reduce: Callable[[Tensor], Tensor] | None = None
        self.register_buffer("bad", torch.zeros(features, dtype=torch.bool), persistent=False)  # (F,)
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))  # (F,)
        self.register_buffer("var", torch.ones(features, dtype=torch.float64))  # (F,)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def update(self, x: Tensor, mask: Tensor | None = None, count: int | None = None) -> None:
        """`merge`, then `check`."""
        self.merge(x, mask, count)
        self.check()

    @torch.no_grad()
    def merge(self, x: Tensor, mask: Tensor | None = None, count: int | None = None) -> None:
        """Add x (..., F); mask (...,) bool chooses `count` rows (None: ask the device how many).

        Rows that make a feature's variance non-finite are left out, all together, and the feature is marked in `bad`.
        """
        rows = x.reshape(-1, x.shape[-1])
        if mask is not None:
            rows = rows[where_true(mask, int(mask.sum()) if count is None else count)]
        n = rows.shape[0]
        if n == 0 and self.reduce is None:
            return
        start = rows[0] if n else rows.new_zeros(rows.shape[1])
        if self.reduce is not None:  # any origin will do if it is everybody's
            packed = self.reduce(torch.cat([start, start.new_ones(1)]))
            start = packed[:-1] / packed[-1]
        # near the mean, so that nothing cancels
        origin = torch.where(self.count > 0, self.mean.to(rows.dtype), start)
        centred = rows - origin
        first, second = centred.sum(0).double(), centred.square_().sum(0).double()  # var_mean: 8 times slower
        if self.reduce is None:
            self._add(origin.double(), first, second, n)
        else:
            packed = self.reduce(torch.cat([first, second, first.new_full((1,), n)]))
            first, second = packed[:-1].chunk(2)
            self._add(origin.double(), first, second, packed[-1])

    def _add(self, origin: Tensor, first: Tensor, second: Tensor, n: int | Tensor) -> None:
        """Merge n rows whose sums, less `origin`, and sums of squares are given."""
        some: Tensor | bool = True
        if isinstance(n, Tensor):  # of all processes together there may be none
            n, some = n.clamp(min=1.0), n > 0
        first, second = first / n, second / n
        mean, var = origin + first, (second - first.square()).clamp_(min=0.0)
        finite = torch.isfinite(var)
        self.bad.logical_or_(~finite)
        good = finite.all() & some
        total = self.count + n
        delta = mean - self.mean
        merged = (self.var * self.count + var * n + delta**2 * (self.count * n / total)) / total
        self.var.copy_(torch.where(good, merged, self.var))
        self.mean.copy_(torch.where(good, self.mean + delta * (n / total), self.mean))
        self.count.copy_(torch.where(good, total, self.count))

    def check(self) -> None:
        """Raise FloatingPointError for features that were not finite so far. Asks the device."""
        if bad := self.bad.nonzero()[:, 0].tolist():
            raise FloatingPointError(f"non-finite values in features {bad}")


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
        self,
        rewards: Tensor,
        done: Tensor,
        active: Tensor,
        running: Tensor,
        gamma: float,
        count: int | None = None,
    ) -> None:
        """Follow the discounted returns through one rollout, then take the new scale into use.

        rewards: (T, E, K); done: (T, E, K) bool, ends the return after this step; active: (T, E, K) bool, counted;
        running: (E, K) returns so far, changed in place and carried to the next rollout by the caller.
        count: of the entries of `active` that are true; None: ask the device.
        """
        returns = torch.empty_like(rewards)
        for t in range(rewards.shape[0]):
            running.mul_(gamma).add_(rewards[t])
            returns[t] = running
            running.masked_fill_(done[t], 0.0)
        self.merge(returns.unsqueeze(-1), active, count)
        var = self.var[0]
        self.scale.copy_(torch.where(var > MIN_VARIANCE, var.rsqrt(), self.scale))
