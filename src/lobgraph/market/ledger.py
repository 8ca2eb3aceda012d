"""Fills -> cash, inventory, notional, edge. Integers, so that lots and cash balance exactly over agents and noise traders."""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .state import (
    AGGRESSIVE_BOUGHT,
    AGGRESSIVE_NOTIONAL,
    BID,
    CASH,
    EDGE,
    INVENTORY,
    NOISE_BID,
    ORDER_PX,
    ORDER_REST,
    OWN_BID,
    PASSIVE_BOUGHT,
    PASSIVE_NOTIONAL,
)


@kernel()
def passive_fill(account, agent, side, px, qty, mid2):
    """Book a fill of a resting order: side +1 bought, -1 sold; `mid2` twice the mid when the incoming order arrived.

    `account` (G + 1, ACCOUNT) is modified in place.
    """
    account[agent, EDGE] += side * qty * (mid2 - 2 * px)
    account[agent, INVENTORY] += side * qty
    account[agent, CASH] -= side * qty * px
    account[agent, PASSIVE_NOTIONAL] += qty * px
    account[agent, PASSIVE_BOUGHT + (1 - side) // 2] += qty


@kernel()
def aggressive_fill(account, agent, side, px, qty, mid2):
    """Book a fill of an incoming order, see `passive_fill`."""
    account[agent, EDGE] += side * qty * (mid2 - 2 * px)
    account[agent, INVENTORY] += side * qty
    account[agent, CASH] -= side * qty * px
    account[agent, AGGRESSIVE_NOTIONAL] += qty * px
    account[agent, AGGRESSIVE_BOUGHT + (1 - side) // 2] += qty


@kernel()
def mark_of(state, env, a, agent, others):
    """Twice the price at which an agent's inventory in book a is valued: best bid + best ask, int64.

    With `others` 1 its own quotes do not count: a maker that is long could else raise its own mark by bidding inside the
    spread, which a discounted learner soon finds out. A side where nobody else rests keeps its best price.
    """
    head = state.head[env, a]
    order = state.order[env, a]
    total = 0
    for k in range(2):
        side = 1 - 2 * k
        px = head[BID + k]
        slot = 2 * agent + k
        rest = np.int64(order[ORDER_REST, slot])
        if others and rest > 0 and order[ORDER_PX, slot] == px:
            mask = state.qty.shape[2] - 1
            alone = state.qty[env, a, px & mask] == rest
            if alone and head[NOISE_BID + k] + head[OWN_BID + k] > rest:
                px -= side
                while state.qty[env, a, px & mask] == 0:
                    px -= side
        total += px
    return total


@kernel()
def equity_of(state, env, agent, others):
    """Mark to market over the books of an environment: sum(2 cash + inventory * mark), int64 half tick-lots.

    Fees are kept apart, see `fees_of`.
    """
    total = 0
    for a in range(state.head.shape[1]):
        account = state.account[env, a, agent]
        total += 2 * account[CASH]
        if account[INVENTORY] != 0:
            total += account[INVENTORY] * mark_of(state, env, a, agent, others)
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
