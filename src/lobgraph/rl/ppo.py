"""The PPO update (Schulman et al. 2017): one rollout in, changed policies and the numbers of the update out.

All roles are updated together, by one optimiser on the sum of their losses, with one encoder pass per minibatch.
The value loss is a share of the variance of the rollout's returns, so that a critic weighs the same beside its policy
whatever the role, its rewards and the stage of training: the running scale of rewards never forgets the losses of the
first policies. It is not clipped: clipping far below the targets' scale leaves the critic without gradient. Minibatches are
of samples; with memory of whole environments, whose states are computed again from the one before the rollout.

A minibatch is two functions, gradients and step, with the sum over processes between them. Both ask the device nothing, so
that each can be a CUDA graph: where the epochs end and what was not finite is decided on the device, by leaving the
parameters as they are from there on. Every minibatch writes a row of a log, which is read once, at the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..config import PPOConfig
from ..models.policy import Output, PolicySet
from .graphs import Captured
from .group import ALONE, Group, read
from .rollout import EXPLODED, RoleStore, Rollout, TrainingError, wild

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


LOSSES = ("policy", "value", "entropy", "approx_kl", "clipfrac", "loss")  # of a role in a row of the log


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of x over the entries where mask is 1; 0 where there are none."""
    return x.mean() if mask is None else (x * mask).sum() / mask.sum().clamp(min=1.0)


def mean_of_all(x: Tensor, mask: Tensor | None, group: Group) -> Tensor:
    """`masked_mean` over the entries of all processes."""
    if group.alone:
        return masked_mean(x, mask)
    total, count = group.sum(
        torch.stack([(x if mask is None else x * mask).sum().double(), count_of(x, mask)])
    )
    return (total / count.clamp(min=1.0)).to(x.dtype)


def count_of(x: Tensor, mask: Tensor | None) -> Tensor:
    """() float64: how many entries of x count."""
    return (
        mask.sum(dtype=torch.float64)
        if mask is not None
        else torch.full_like(x[0, 0], x.numel(), dtype=torch.float64)
    )


def standardise(x: Tensor, mask: Tensor | None, group: Group = ALONE) -> Tensor:
    """x less its mean, over its standard deviation, both over the entries (of all processes) where mask is 1."""
    centred = x - mean_of_all(x, mask, group)
    return centred / (mean_of_all(centred.square(), mask, group).sqrt() + 1e-8)


def spread_of(values: Tensor, returns: Tensor, mask: Tensor | None, group: Group = ALONE) -> Tensor:
    """What a critic's squared errors are measured by: the variance of the returns; () float64.

    At least what makes half the mean squared error LARGEST_LOSS, for a rollout of few samples; of returns that do not vary that
    error itself, 1 if there is none.
    """
    x = returns.double()
    mean = mean_of_all(x, mask, group)
    variance = mean_of_all((x - mean).square(), mask, group)
    variance = torch.where(variance <= ROUNDING * mean**2, 0.0, variance)
    error = mean_of_all((x - values).square(), mask, group)
    spread = torch.maximum(variance, error / (2.0 * LARGEST_LOSS))
    return torch.where(spread > 0.0, spread, 1.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor | None, group: Group = ALONE) -> Tensor:
    """1 - Var(returns - values) / Var(returns); NaN where the returns do not vary. () float64."""
    target, error = returns.double(), (returns - values).double()
    left, whole = (
        mean_of_all((x - mean_of_all(x, mask, group)).square(), mask, group) for x in (error, target)
    )
    return torch.where(whole < 1e-12, math.nan, 1.0 - left / whole)


def ppo_losses(
    out: Output,
    actions: Tensor,
    logprobs: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor | None,
    clip: float,
    spread: float | Tensor,
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
    """The optimiser and its state. `update` changes the policies in place.

    generator: draws the minibatches. recur: the policies' forward pass, `policies.recur` or a compiled one.
    graphs: record gradients and step, and replay them. group: whose gradients are summed.
    """

    def __init__(
        self,
        policies: PolicySet,
        ppo: PPOConfig,
        generator: torch.Generator,
        group: Group = ALONE,
        recur: Callable[..., Any] | None = None,
        graphs: bool = False,
    ) -> None:
        self.policies, self.ppo, self.generator, self.group = policies, ppo, generator, group
        self.recur = recur or policies.recur
        self.roles = list(policies.specs)
        self.device = device = policies.device
        self.flat, self.shared = flatten_parameters(policies, len(self.roles) * len(LOSSES))
        count = self.flat.numel()
        self.grad, self.told = self.shared[:count], self.shared[count:]  # told: LOSSES of each role
        self.errors = torch.zeros(len(self.roles), device=device)  # largest |ratio - 1| of each role
        on_gpu = device.type == "cuda"
        # on a GPU the rate is a tensor, so that a graph need not be recorded anew for another one
        rate = torch.tensor(ppo.lr, device=device) if on_gpu else ppo.lr
        self.optimizer = torch.optim.Adam([self.flat], lr=rate, eps=1e-5, fused=True, capturable=on_gpu)
        self.over = torch.zeros((), device=device)  # 1.0: no more steps in this update
        self.optimizer.found_inf = self.over  # type: ignore[attr-defined]  # where it is 1 fused Adam does nothing, as a GradScaler has it
        # Whether the flag can be looked at after every minibatch, which costs nothing where nothing is queued
        self.looks_often = not on_gpu and group.alone
        self.highest = torch.zeros((), device=device)  # of the log standard deviations
        self.ent_coef = torch.zeros((), device=device)
        self.row = torch.zeros(
            1, dtype=torch.int64, device=device
        )  # of the log, and so of the minibatch at hand
        rows = ppo.epochs * ppo.minibatches
        self.log = torch.zeros(rows, len(self.roles) * (len(LOSSES) + 1) + 2, device=device)
        self.rollout: Rollout | None = None  # at hand, with what follows from it:
        self.order = torch.zeros(
            0, dtype=torch.int64, device=device
        )  # (minibatches, M) samples of this epoch
        self.advantages: dict[str, Tensor] = {}
        self.masks: dict[str, Tensor | None] = {}
        self.spreads = {role: torch.ones((), device=device) for role in self.roles}
        self.shares: dict[
            str, Tensor
        ] = {}  # (minibatches,) of the group's samples in this epoch that are ours
        self.gradients = Captured(self._gradients, graphs)
        self.step = Captured(self._step, graphs)

    def update(
        self, rollout: Rollout, lr: float, ent_coef: float, std_bound: float | None = None
    ) -> dict[str, float]:
        """Run the epochs over one rollout. Returns the metrics `losses/...`, `charts/...` and `rewards/<role>/step`.

        std_bound: of the standard deviations after each step, in half action ranges; None: only that of the policies.
        Raises TrainingError naming a loss or gradient that is not finite or has exploded; no step was made with it.
        """
        self._begin(rollout, lr, ent_coef, std_bound)
        for _ in range(self.ppo.epochs):
            self._shuffle(rollout)
            for _ in range(self.ppo.minibatches):
                self.gradients()
                if self.looks_often and self._is_over():
                    break
                self.group.sum(self.shared)
                self.step()
            if self._is_over():  # the rest of an epoch at most is made in vain
                break
        return self._report(rollout, lr, ent_coef)

    def _is_over(self) -> bool:
        """Asks the device: once an epoch on a GPU."""
        return bool(self.over)

    def _begin(self, rollout: Rollout, lr: float, ent_coef: float, std_bound: float | None) -> None:
        """Put what holds for the whole update where the recorded functions find it."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self.highest.fill_(self.policies.highest_log_std(std_bound))
        self.ent_coef.fill_(ent_coef)
        self.over.zero_()
        self.row.zero_()
        self.log.zero_()
        first = self.rollout is not rollout
        self.rollout = rollout
        for role, store in rollout.roles.items():
            advantages = store.advantages
            if self.ppo.norm_adv:
                advantages = standardise(advantages, store.mask, self.group)
            self.spreads[role].copy_(spread_of(store.values, store.returns, store.mask, self.group))
            if first:
                self.advantages[role] = torch.empty_like(store.advantages)
            self.advantages[role].copy_(advantages)
            self._keep_mask(role, store, first)

    def _keep_mask(self, role: str, store: RoleStore, first: bool) -> None:
        """A graph has a mask or none for good: where there are graphs there always is one."""
        if not self.gradients.on:
            self.masks[role] = store.mask
            return
        if first:
            self.masks[role] = torch.empty_like(store.values)
        mask = self.masks[role]
        assert mask is not None
        mask.fill_(1.0) if store.mask is None else mask.copy_(store.mask)

    # --- minibatches ---

    def _shuffle(self, rollout: Rollout) -> None:
        """The order of an epoch, and which share of each of its minibatches is ours."""
        order = torch.stack(list(self._minibatches(rollout)))
        if self.order.shape != order.shape:
            self.order = torch.empty_like(order)
            self.shares = {role: torch.ones(len(order), device=self.device) for role in self.roles}
        self.order.copy_(order)
        if self.group.alone:
            return
        counts = torch.stack(
            [count_of(self._part(x, i), self._part(m, i)) for i in order for x, m in self._counted()]
        )
        ours = counts.clone()
        shares = (ours / self.group.sum(counts).clamp(min=1.0)).view(len(order), -1).float()
        for i, role in enumerate(self.roles):
            self.shares[role].copy_(shares[:, i])

    def _counted(self) -> list[tuple[Tensor, Tensor | None]]:
        return [(self.advantages[role], self.masks[role]) for role in self.roles]

    @staticmethod
    def _part(x: Tensor | None, index: Tensor) -> Any:
        return None if x is None else x[:, index]

    def _minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """(M,) int64 samples t * E + e, each sample once; with memory all steps of the same environments, in order."""
        count = rollout.E if self.policies.recurrent else rollout.T * rollout.E
        order = torch.randperm(count, generator=self.generator, device=self.device)
        for part in order.split(count // self.ppo.minibatches):
            if self.policies.recurrent:
                steps = torch.arange(rollout.T, device=self.device)
                part = (steps.mul_(rollout.E).unsqueeze(1) + part).view(-1)
            yield part

    def _gradients(self) -> None:
        """Of the minibatch at hand: our part of the gradient and of the losses, side by side in `shared`."""
        assert self.rollout is not None
        minibatch = self.row.remainder(self.ppo.minibatches)
        losses = self._losses(self.rollout, self.order.index_select(0, minibatch)[0])
        numbers, errors, total = [], [], torch.zeros((), device=self.device)
        for role, loss in losses.items():
            one = loss.policy + self.ppo.vf_coef * loss.value - self.ent_coef * loss.entropy
            own = (*loss[:5], one)
            if not self.group.alone:
                share = self.shares[role].index_select(0, minibatch)[0]
                one = (
                    share * (loss.policy + self.ppo.vf_coef * loss.value)
                    - self.ent_coef * loss.entropy / self.group.size
                )
                own = (share * loss.policy, share * loss.value, loss.entropy / self.group.size,
                       share * loss.approx_kl, share * loss.clipfrac, one)  # fmt: skip
            total = total + one
            numbers.extend(own)
            errors.append(loss.ratio_error)
        torch.stack([x.detach() for x in numbers], out=self.told)
        torch.stack(errors, out=self.errors)
        if self.looks_often:  # so that no gradient is taken that no step would use
            self._judge()
            if self._is_over():
                self._write(torch.zeros_like(self.over))
                return
        self.grad.zero_()
        total.backward()

    def _losses(self, rollout: Rollout, index: Tensor) -> dict[str, RoleLoss]:
        inputs = [take(x, index) for x in (rollout.nodes, rollout.edges, rollout.vector)]
        if self.policies.recurrent:
            envs = index[: len(index) // rollout.T]
            inputs += [rollout.state[:, :, envs], rollout.fresh[index]]
        else:
            inputs.append(self.policies.blank(len(index)))
        losses = {}
        for role, out in self.recur(*inputs)[0].items():
            store = rollout.roles[role]
            losses[role] = ppo_losses(
                out,
                take(store.actions, index),
                store.logprobs[:, index],
                self.advantages[role][:, index],
                store.returns[:, index],
                self._part(self.masks[role], index),
                self.ppo.clip,
                self.spreads[role],
            )
        return losses

    def _judge(self) -> None:
        """End the update if a policy has gone too far from that of the rollout, or a loss is not finite."""
        by_role = self.told.view(len(self.roles), len(LOSSES))
        stop = wild(by_role[:, LOSSES.index("loss")]).any()
        if self.ppo.target_kl is not None:
            kl = by_role[:, LOSSES.index("approx_kl")].max().double()
            stop = stop | (kl > KL_MARGIN * self.ppo.target_kl)
        self.over.logical_or_(stop)

    def _step(self) -> None:
        """One optimiser step with the gradient of all processes, or none from where the update is over."""
        if not self.looks_often:
            self._judge()
        norm = self.grad.norm()
        self.over.logical_or_(wild(norm))
        # 1 where the norm is within its bound; in float64, as a bound of Python's is
        factor = (self.ppo.max_grad_norm / norm.double()).clamp_(max=1.0)
        self.grad.mul_(factor.nan_to_num_(1.0).float())
        self.optimizer.step()
        self.policies.project(self.highest)
        self._write(norm)

    def _write(self, norm: Tensor) -> None:
        """The minibatch's row of the log, and on to the next."""
        row = torch.cat([self.told, self.errors, torch.stack([norm, 1.0 - self.over])])
        self.log.index_copy_(0, self.row, row.unsqueeze(0))
        self.row.add_(1)

    # --- what is told of an update ---

    def _report(self, rollout: Rollout, lr: float, ent_coef: float) -> dict[str, float]:
        errors = len(self.roles) * len(LOSSES)
        if not self.group.alone:
            self.log[:, errors:-2] = self.group.most(self.log[:, errors:-2].contiguous())
        numbers = {"rows": self.row[0]}
        for role, store in rollout.roles.items():
            ev = explained_variance(store.values, store.returns, store.mask, self.group)
            numbers[f"losses/{role}/explained_variance"] = ev
            stds = [self.policies.log_std[key].detach().exp() for key in self.policies.keys(role)]
            numbers[f"charts/{role}/std"] = torch.stack(stds).mean()
        found = read(numbers | {"log": self.log})
        cells, width = found.pop("log"), self.log.shape[1]
        rows = [cells[i : i + width] for i in range(0, len(cells), width)][: int(found.pop("rows"))]
        self._refuse(rows)
        taken = [row for row in rows if row[-1] == 1.0]
        steps = len(taken)
        sums: dict[str, float] = defaultdict(float)
        metrics: dict[str, float] = {}
        for r, role in enumerate(self.roles):
            metrics[f"losses/{role}/first_ratio_error"] = rows[0][errors + r]
            for i, name in enumerate(LOSSES[:-1]):
                for row in taken:
                    sums[f"losses/{role}/{name}"] += row[r * len(LOSSES) + i]
        metrics |= {name: total / max(steps, 1) for name, total in sums.items()} | found
        metrics["charts/lr"], metrics["charts/ent_coef"] = lr, ent_coef
        metrics["charts/grad_norm"] = sum(row[-2] for row in taken) / max(steps, 1)
        metrics["charts/epochs"] = steps / self.ppo.minibatches
        return metrics

    def _refuse(self, rows: list[list[float]]) -> None:
        """Raise TrainingError if the update ended because something was not finite, naming the first."""
        ended = next((row for row in rows if row[-1] == 0.0), None)
        if ended is None:
            return
        for r, role in enumerate(self.roles):
            loss = dict(zip(LOSSES, ended[r * len(LOSSES) : (r + 1) * len(LOSSES)], strict=True))
            if not abs(loss["loss"]) <= EXPLODED:
                parts = ", ".join(f"{n} {loss[n]:g}" for n in ("policy", "value", "entropy"))
                raise TrainingError(f"{role} loss is {loss['loss']} ({parts})")
        if not abs(ended[-2]) <= EXPLODED:
            raise TrainingError(f"gradient norm is {ended[-2]} (roles {', '.join(self.roles)})")


def flatten_parameters(module: nn.Module, room: int = 0) -> tuple[nn.Parameter, Tensor]:
    """Put all parameters, and their gradients, side by side in one tensor that the module's own are views of.

    One call then clears, clips or steps all of them: with dozens of small tensors those calls cost as much as a layer.
    Returns also the gradients with `room` numbers after them, for what is summed together with them.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    shared = torch.zeros(flat.numel() + room, device=flat.device)
    flat.grad = shared[: flat.numel()]
    sizes = [p.numel() for p in parameters]
    for p, value, grad in zip(parameters, flat.detach().split(sizes), flat.grad.split(sizes), strict=True):
        p.data, p.grad = value.view_as(p), grad.view_as(p)
    return flat, shared


def take(x: Tensor, index: Tensor) -> Tensor:
    """x (A, S, F) or (A, B, S, F) at samples `index` (M,), contiguous; one gather over rows, twice as fast as by axis."""
    *lead, samples, width = x.shape
    rows = torch.arange(math.prod(lead), device=x.device).mul_(samples).unsqueeze(1) + index
    return x.reshape(-1, width).index_select(0, rows.view(-1)).view(*lead, len(index), width)
