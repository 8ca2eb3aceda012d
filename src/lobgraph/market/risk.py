"""What an agent's orders must pass on their way to a book, and what becomes of an agent that broke a limit.

In: a message (state.ACT_*), the agent's limits, a Book. Out: the orders that the limits leave, carried out; what was cut
is counted by the limit's name in the agent's account. A limit that is not set costs one comparison.
"""

from __future__ import annotations

import numpy as np

from .book import market, quote, reduce_order
from .jit import inlined, kernel
from .state import (
    ACT_MARKET,
    ACT_QUOTE,
    ACTION,
    ASK,
    ASK_PX,
    ASK_QTY,
    BID,
    BID_PX,
    BID_QTY,
    BY_DRAWDOWN,
    BY_VALUE,
    CUT,
    CUT_RATE,
    CUT_VALUE,
    GOING_ON,
    HALTED_UNTIL,
    INVENTORY,
    LIQUIDATE_VALUE,
    MARKET_QTY,
    MAX_DRAWDOWN,
    MAX_INVENTORY,
    MAX_POSITION,
    MOST,
    POST_ONLY,
    RATE_MOST,
    RATE_STEPS,
    REFUSED,
    SENT,
    STEP,
)


@inlined()
def open_limits(p, b, g):
    """Before a step: what the value limit lets agent g hold at the mid of its decision, and a step less of its messages.

    Resting orders that the limit no longer allows are cut to what it does, and counted.
    """
    if p.agent[g, MAX_POSITION] > 0:
        account = b.account[g]
        most = p.agent[g, MAX_POSITION] // max(b.head[BID] + b.head[ASK], 1)
        account[MOST] = most
        for k in range(2):
            room = max(most - (1 - 2 * k) * account[INVENTORY], 0)
            if b.rest[2 * g + k] > room:
                account[CUT_VALUE] += b.rest[2 * g + k] - room
                reduce_order(b, 2 * g + k, room)
    if p.agent[g, RATE_MOST] > 0:
        kept = (np.int64(1) << p.agent[g, RATE_STEPS]) - 1
        b.account[g, SENT] = (b.account[g, SENT] << 1) & kept


@inlined()
def act(p, b, message, g, halted):
    """Carry out one agent's message on a book, cut to its limits; while the book is halted, only what cancels."""
    kind = message[ACTION]
    if halted:
        _only_cancel(b, message, g)
    elif kind == ACT_QUOTE:
        _quote(p, b, message, g)
    elif kind == ACT_MARKET:
        wanted = np.int64(message[MARKET_QTY])
        side = 1 if wanted > 0 else -1
        lots = _within(p, b, g, side, abs(wanted), np.int64(b.rest[2 * g + ((1 - side) >> 1)]))
        if lots > 0 and _may_send(p, b, g):
            market(b, g, side * lots, p.self_trade)


@inlined()
def _quote(p, b, message, g):
    bid = _within(p, b, g, 1, np.int64(message[BID_QTY]), 0)
    ask = _within(p, b, g, -1, np.int64(message[ASK_QTY]), 0)
    bid_px = np.int64(message[BID_PX])
    ask_px = np.int64(message[ASK_PX])
    if p.agent[g, RATE_MOST] > 0:
        new = _differs(b, 2 * g, bid_px, bid) or _differs(b, 2 * g + 1, ask_px, ask)
        if new and not _may_send(p, b, g):
            for s in range(2 * g, 2 * g + 2):  # a side that asks for nothing cancels, which is always sent
                if (bid if s == 2 * g else ask) == 0:
                    reduce_order(b, s, 0)
            return
    quote(b, g, bid_px, bid, ask_px, ask, p.self_trade, p.agent[g, POST_ONLY])


@kernel()
def _only_cancel(b, message, g):
    """Of a message to a halted book, what makes a resting order smaller at its price; whatever else it asks is refused."""
    refused = message[ACTION] == ACT_MARKET
    if message[ACTION] == ACT_QUOTE:
        for k in range(2):
            s = 2 * g + k
            px = message[BID_PX + 2 * k]
            lots = np.int64(message[BID_QTY + 2 * k])
            if lots == 0 or (b.px[s] == px and lots <= b.rest[s]):
                reduce_order(b, s, lots)
            else:
                refused = True
    if refused:
        b.account[g, REFUSED] += 1


@inlined()
def _differs(b, s, px, lots):
    """Whether an order of `lots` at px places or changes what rests in slot s; a cancel does neither."""
    return lots > 0 and (b.px[s] != px or b.rest[s] != lots)


@inlined()
def _within(p, b, g, side, lots, resting):
    """Lots of an order (side +1 buys) that the limits of inventory and of value leave; what they cut is counted.

    `resting`: lots of the agent that rest on that side and stay.
    """
    account = b.account[g]
    held = side * account[INVENTORY] + resting
    left = min(lots, max(p.agent[g, MAX_INVENTORY] - held, 0))
    account[CUT] += lots - left
    if p.agent[g, MAX_POSITION] > 0:
        worth = min(left, max(account[MOST] - held, 0))
        account[CUT_VALUE] += left - worth
        left = worth
    return left


@inlined()
def _may_send(p, b, g):
    """Whether the agent may send one more message to this book in this step; counted either way where there is a limit."""
    most = p.agent[g, RATE_MOST]
    if most == 0:
        return True
    account = b.account[g]
    bits = account[SENT]
    while bits > 0:  # one pass per message of the window
        bits &= bits - 1
        most -= 1
    if most <= 0:
        account[CUT_RATE] += 1
        return False
    account[SENT] |= 1
    return True


@inlined()
def breach(p, state, env, g, net, peak):
    """What ends the episode of agent g, whose equity after fees is `net` and was `peak`: BY_DRAWDOWN, BY_VALUE or GOING_ON."""
    if p.stressed:
        for a in range(state.head.shape[1]):
            halted = state.stress[env, a, HALTED_UNTIL] >= state.clock[env, STEP]
            if halted and state.account[env, a, g, INVENTORY] != 0:
                return GOING_ON  # nobody can be liquidated where nobody trades: judged when trading resumes
    if net < peak - p.agent_float[g, MAX_DRAWDOWN]:
        return BY_DRAWDOWN
    if p.agent[g, LIQUIDATE_VALUE]:
        for a in range(state.head.shape[1]):
            head = state.head[env, a]
            if abs(state.account[env, a, g, INVENTORY]) * (head[BID] + head[ASK]) > p.agent[g, MAX_POSITION]:
                return BY_VALUE
    return GOING_ON


@kernel()
def liquidate(p, b, g):
    """Cancel the agent's orders on a book and trade its inventory away at market."""
    reduce_order(b, 2 * g, 0)
    reduce_order(b, 2 * g + 1, 0)
    inventory = b.account[g, INVENTORY]
    if inventory != 0:
        market(b, g, -inventory, p.self_trade)
