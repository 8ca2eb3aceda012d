"""Generalised advantage estimation (Schulman et al. 2016, eq. 16), with terminated and truncated kept apart.

With risk aversion a the learner maximises the certainty equivalent -ln E[exp(-a R)] / a of its return R. A policy's
certainty equivalents V by state solve E[u(r + V' - V)] = 0 with u(x) = (1 - exp(-a x)) / a: so temporal differences go
through u, and the critic learns V (Mihatsch and Neuneier 2002; for the exponential u, Borkar 2002). No sum of the
exponentials of wealth is ever formed, so that a bad first policy does no harm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEEPEST = 2.0  # beyond a loss of this over a the utility is a line: a bad critic's differences are huge


def compute_gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
    risk_aversion: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets of one rollout; all arguments are (T, E, K).

    rewards: float32, of step t. values: V of the observation that step t acted on.
    next_values: V of the observation that step t led to: the next one's, or the final one's of an episode that ended.
    terminated: bool, the future is worth nothing. truncated: bool, it goes on beyond the time limit, worth next_values.
    risk_aversion: a, per unit of reward; the number 0: the mean return counts.
    Returns advantages and returns = advantages + values. Neither kind of end lets advantages of the next episode in.
    """
    delta = rewards + gamma * next_values * ~terminated - values
    if isinstance(risk_aversion, Tensor) or risk_aversion > 0.0:
        delta = utility(delta, risk_aversion)
    carry = (gamma * gae_lambda) * (~(terminated | truncated)).to(rewards.dtype)
    advantages = torch.empty_like(rewards)
    last = torch.zeros_like(rewards[0])
    for t in range(rewards.shape[0] - 1, -1, -1):
        last = torch.addcmul(delta[t], carry[t], last, out=advantages[t])
    return advantages, advantages + values


def utility(x: Tensor, risk_aversion: float | Tensor) -> Tensor:
    """u(x) = (1 - exp(-a x)) / a, with its tangent below x = -STEEPEST / a."""
    loss = -risk_aversion * x
    steep = torch.expm1(loss.clamp(max=STEEPEST)) + math.exp(STEEPEST) * (loss - STEEPEST).clamp_(min=0.0)
    return -steep / risk_aversion
