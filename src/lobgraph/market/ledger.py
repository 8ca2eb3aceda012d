"""Fills -> cash, inventory, notional. Integers, so that lots and cash balance exactly over agents and noise traders."""

from __future__ import annotations

from .jit import kernel
from .state import (
    AGGRESSIVE_BOUGHT,
    AGGRESSIVE_NOTIONAL,
    ASK,
    BID,
    CASH,
    INVENTORY,
    PASSIVE_BOUGHT,
    PASSIVE_NOTIONAL,
)


@kernel()
def passive_fill(account, agent, side, px, qty):
    """Book a fill of a resting order: side +1 bought, -1 sold. `account` (G + 1, ACCOUNT) is modified in place."""
    account[agent, INVENTORY] += side * qty
    account[agent, CASH] -= side * qty * px
    account[agent, PASSIVE_NOTIONAL] += qty * px
    account[agent, PASSIVE_BOUGHT + (1 - side) // 2] += qty


@kernel()
def aggressive_fill(account, agent, side, px, qty):
    """Book a fill of an incoming order: side +1 bought, -1 sold. `account` (G + 1, ACCOUNT) is modified in place."""
    account[agent, INVENTORY] += side * qty
    account[agent, CASH] -= side * qty * px
    account[agent, AGGRESSIVE_NOTIONAL] += qty * px
    account[agent, AGGRESSIVE_BOUGHT + (1 - side) // 2] += qty


@kernel()
def equity_of(head, account, env, agent):
    """Mark to market over the books of an environment: 2 * sum(cash + inventory * mid), int64 half tick-lots.

    `head` (E, A, HEAD), `account` (E, A, G + 1, ACCOUNT). Fees are kept apart, see `fees_of`.
    """
    total = 0
    for a in range(head.shape[1]):
        total += 2 * account[env, a, agent, CASH]
        total += account[env, a, agent, INVENTORY] * (head[env, a, BID] + head[env, a, ASK])
    return total


@kernel()
def fees_of(account, env, agent, taker_fee, maker_rebate):
    """Fees paid less rebates received since the episode's start, float64 tick-lots."""
    passive = 0
    aggressive = 0
    for a in range(account.shape[1]):
        passive += account[env, a, agent, PASSIVE_NOTIONAL]
        aggressive += account[env, a, agent, AGGRESSIVE_NOTIONAL]
    return aggressive * taker_fee - passive * maker_rebate
