"""Generalised advantage estimation (Schulman et al. 2016, eq. 16), with terminated and truncated kept apart."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets of one rollout; all arguments are (T, E, K).

    rewards: float32, of step t. values: V of the observation that step t acted on.
    next_values: V of the observation that step t led to: the next one's, or the final one's of an episode that ended.
    terminated: bool, the future is worth nothing. truncated: bool, it goes on beyond the time limit, worth next_values.
    Returns advantages and returns = advantages + values. Neither kind of end lets advantages of the next episode in.
    """
    delta = rewards + gamma * next_values * ~terminated - values
    carry = (gamma * gae_lambda) * (~(terminated | truncated)).to(rewards.dtype)
    advantages = torch.empty_like(rewards)
    last = torch.zeros_like(rewards[0])
    for t in range(rewards.shape[0] - 1, -1, -1):
        last = torch.addcmul(delta[t], carry[t], last, out=advantages[t])
    return advantages, advantages + values
