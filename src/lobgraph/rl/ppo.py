"""The PPO update (Schulman et al. 2017): one rollout in, changed policies and the numbers of the update out.

All roles are updated together, by one optimiser on the sum of their losses, with one encoder pass per minibatch.
The value loss is a share of the variance of the rollout's returns, so that a critic weighs the same beside its policy
whatever the role, its rewards and the stage of training: the running scale of rewards never forgets the losses of the
first policies. It is not clipped: clipping far below the targets' scale leaves the critic without gradient. Minibatches are
of samples; with memory of whole environments, whose states are computed again from the one before the rollout.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import PPOConfig
from ..models.policy import Output, PolicySet
from .rollout import RoleStore, Rollout, TrainingError

ROUNDING = 1e-12  # a variance below this share of the mean's square is rounding
LARGEST_LOSS = (
    5.0  # a critic's at the start of an update: where returns hardly vary its errors are the measure
)
KL_MARGIN = 1.5  # epochs end when approx_kl of a role passes target_kl times this


class RoleLoss(NamedTuple):
    """Losses of one role on one minibatch; all are scalars."""

    policy: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clipfrac: Tensor
    ratio_error: Tensor  # largest |ratio - 1|


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of x over the entries where mask is 1; 0 where there are none."""
    return x.mean() if mask is None else (x * mask).sum() / mask.sum().clamp(min=1.0)


def standardise(x: Tensor, mask: Tensor | None) -> Tensor:
    """x less its mean, over its standard deviation, both over the entries where mask is 1."""
    centred = x - masked_mean(x, mask)
    return centred / (masked_mean(centred.square(), mask).sqrt() + 1e-8)


def spread_of(values: Tensor, returns: Tensor, mask: Tensor | None) -> float:
    """What a critic's squared errors are measured by: the variance of the returns.

    At least what makes half the mean squared error LARGEST_LOSS, for a rollout of few samples; of returns that do not vary that
    error itself, 1 if there is none.
    """
    x = returns.double()
    mean = masked_mean(x, mask)
    variance = float(masked_mean((x - mean).square(), mask))
    if variance <= ROUNDING * float(mean) ** 2:
        variance = 0.0
    error = float(masked_mean((x - values).square(), mask))
    return max(variance, error / (2.0 * LARGEST_LOSS)) or 1.0


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor | None) -> float:
    """1 - Var(returns - values) / Var(returns); NaN where the returns do not vary."""
    chosen = slice(None) if mask is None else mask.bool()
    target, error = returns[chosen].double(), (returns - values)[chosen].double()
    if target.numel() < 2 or float(target.var()) < 1e-12:
        return math.nan
    return float(1.0 - error.var() / target.var())


def ppo_losses(
    out: Output,
    actions: Tensor,
    logprobs: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor | None,
    clip: float,
    spread: float,
) -> RoleLoss:
    """Clipped surrogate of one role, and half its squared value error over `spread`.

    actions: (K, I, M, D) as sampled; logprobs, advantages, returns: (K, M); mask: (K, M) float32 or None for all ones.
    """
    log_ratio = out.policy.log_prob(actions) - logprobs
    ratio = log_ratio.exp()
    surrogate = torch.minimum(advantages * ratio, advantages * ratio.clamp(1.0 - clip, 1.0 + clip))
    with torch.no_grad():
        off = (ratio - 1.0).abs()
        ratio_error = off.max() if mask is None else (off * mask).max()
        approx_kl = masked_mean(ratio - 1.0 - log_ratio, mask)  # Schulman's k3: unbiased, never negative
        clipfrac = masked_mean((off > clip).float(), mask)
    value = 0.5 * masked_mean((out.value - returns).square(), mask) / spread
    return RoleLoss(
        -masked_mean(surrogate, mask), value, out.policy.entropy(), approx_kl, clipfrac, ratio_error
    )


class PPO:
    """The optimiser and its state. `update` changes the policies in place."""

    def __init__(self, policies: PolicySet, ppo: PPOConfig, generator: torch.Generator) -> None:
        self.policies, self.ppo, self.generator = policies, ppo, generator
        self.flat = flatten_parameters(policies)
        self.optimizer = torch.optim.Adam([self.flat], lr=ppo.lr, eps=1e-5, fused=True)

    def update(
        self, rollout: Rollout, lr: float, ent_coef: float, std_bound: float | None = None
    ) -> dict[str, float]:
        """Run the epochs over one rollout. Returns the metrics `losses/...` and `charts/...`.

        std_bound: of the standard deviations after each step, in half action ranges; None: only that of the policies.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        advantages = {role: self._advantages(store) for role, store in rollout.roles.items()}
        spreads = {
            role: spread_of(store.values, store.returns, store.mask) for role, store in rollout.roles.items()
        }
        sums: dict[str, float] = defaultdict(float)
        metrics: dict[str, float] = {}
        steps, stopped, norms = 0, False, 0.0
        for _ in range(self.ppo.epochs):
            for index in self._minibatches(rollout):
                losses = self._losses(rollout, advantages, spreads, index)
                if steps == 0:
                    for role, loss in losses.items():
                        metrics[f"losses/{role}/first_ratio_error"] = loss.ratio_error.item()
                stopped = self._too_far(losses)
                if stopped:
                    break
                norms += self._step(losses, ent_coef, std_bound)
                steps += 1
                for role, loss in losses.items():
                    for name in ("policy", "value", "entropy", "approx_kl", "clipfrac"):
                        sums[f"losses/{role}/{name}"] += getattr(loss, name).item()
            if stopped:
                break
        metrics |= {name: total / max(steps, 1) for name, total in sums.items()}
        for role, store in rollout.roles.items():
            ev = explained_variance(store.values, store.returns, store.mask)
            metrics[f"losses/{role}/explained_variance"] = ev
        metrics["charts/lr"], metrics["charts/ent_coef"] = lr, ent_coef
        metrics["charts/grad_norm"] = norms / max(steps, 1)
        metrics["charts/epochs"] = steps / self.ppo.minibatches
        for role in rollout.roles:
            stds = [self.policies.log_std[key].detach().exp() for key in self.policies.keys(role)]
            metrics[f"charts/{role}/std"] = float(torch.stack(stds).mean())
        return metrics

    def _advantages(self, store: RoleStore) -> Tensor:
        return standardise(store.advantages, store.mask) if self.ppo.norm_adv else store.advantages

    def _minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """(M,) int64 samples t * E + e, each sample once; with memory all steps of the same environments, in order."""
        count = rollout.E if self.policies.recurrent else rollout.T * rollout.E
        for part in torch.randperm(count, generator=self.generator).split(count // self.ppo.minibatches):
            if self.policies.recurrent:
                part = (torch.arange(rollout.T).mul_(rollout.E).unsqueeze(1) + part).view(-1)
            yield part

    def _losses(
        self, rollout: Rollout, advantages: dict[str, Tensor], spreads: dict[str, float], index: Tensor
    ) -> dict[str, RoleLoss]:
        inputs = [take(x, index) for x in (rollout.nodes, rollout.edges, rollout.vector)]
        if self.policies.recurrent:
            envs = index[: len(index) // rollout.T]
            inputs += [rollout.state[:, :, envs], rollout.fresh[index]]
        losses = {}
        for role, out in self.policies(*inputs).items():
            store = rollout.roles[role]
            losses[role] = ppo_losses(
                out,
                take(store.actions, index),
                store.logprobs[:, index],
                advantages[role][:, index],
                store.returns[:, index],
                None if store.mask is None else store.mask[:, index],
                self.ppo.clip,
                spreads[role],
            )
        return losses

    def _too_far(self, losses: dict[str, RoleLoss]) -> bool:
        target = self.ppo.target_kl
        return (
            target is not None and max(loss.approx_kl.item() for loss in losses.values()) > KL_MARGIN * target
        )

    def _step(self, losses: dict[str, RoleLoss], ent_coef: float, std_bound: float | None) -> float:
        """One optimiser step on the sum of the roles' losses. Returns the norm of the gradient before clipping."""
        total = torch.zeros(())
        for role, loss in losses.items():
            one = loss.policy + self.ppo.vf_coef * loss.value - ent_coef * loss.entropy
            if not math.isfinite(one.item()):
                parts = ", ".join(f"{n} {getattr(loss, n).item():g}" for n in ("policy", "value", "entropy"))
                raise TrainingError(f"{role} loss is {one.item()} ({parts})")
            total = total + one
        grad = self.flat.grad
        assert grad is not None
        grad.zero_()
        total.backward()
        norm = float(grad.norm())
        if not math.isfinite(norm):
            raise TrainingError(f"gradient norm is {norm} (roles {', '.join(losses)})")
        if norm > self.ppo.max_grad_norm:
            grad.mul_(self.ppo.max_grad_norm / norm)
        self.optimizer.step()
        self.policies.project(std_bound)
        return norm


def flatten_parameters(module: nn.Module) -> nn.Parameter:
    """Put all parameters, and their gradients, side by side in one tensor that the module's own are views of.

    One call then clears, clips or steps all of them: with dozens of small tensors those calls cost as much as a layer.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [p.numel() for p in parameters]
    for p, value, grad in zip(parameters, flat.detach().split(sizes), flat.grad.split(sizes), strict=True):
        p.data, p.grad = value.view_as(p), grad.view_as(p)
    return flat


def take(x: Tensor, index: Tensor) -> Tensor:
    """x (A, S, F) or (A, B, S, F) at samples `index` (M,), contiguous; one gather over rows, twice as fast as by axis."""
    *lead, samples, width = x.shape
    rows = torch.arange(math.prod(lead)).mul_(samples).unsqueeze(1) + index
    return x.reshape(-1, width).index_select(0, rows.view(-1)).view(*lead, len(index), width)
