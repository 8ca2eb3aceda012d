"""One price-level book: add, cancel, match, with queue priority for the agents' orders.

Levels hold total lots in a ring of W ticks, one array for both sides. Each agent's resting order also holds `ahead`,
the lots before it at its level: a trade of v lots fills it with v - ahead (at most what it rests), which is FIFO to the
order, whoever else is at the level; pro rata first gives each its part of v (`allot`) and then takes the rest so.
Everything here changes the Book it is given in place and allocates nothing.
Invariants: a side with lots has its best price in the window with lots on it; an empty side keeps the last one seen;
BID < ASK always.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .ledger import aggressive_fill, passive_fill
from .log import write_log
from .state import (
    ADDED,
    ARRIVED,
    ASK,
    BID,
    CANCEL_INCOMING,
    CANCEL_RESTING,
    CANCELLED,
    CLIPPED,
    DECREMENT,
    DROPPED,
    LOG,
    LOG_CANCEL,
    LOG_CLEAR,
    LOG_DROP,
    LOG_FILL,
    LOG_REST,
    LOG_ROOM,
    LOG_TRADE,
    LOGGED,
    LOW,
    MASK,
    MATCHING,
    NOISE_BID,
    OFI,
    OWN_BID,
    PRO_RATA,
    SIGNED,
    STEP_NS,
    TRADED,
    UNFILLED,
    VOLUME,
)

LEVEL_MAX = 1 << 30  # lots at one price; levels are int32
NOBODY = -1  # the noise traders, where an agent's number is asked for


@inlined()
def marked(b, px):
    """Whether an agent's order may rest at px (a false yes costs a scan, a no is certain)."""
    return (b.head[MASK] >> (px & 63)) & 1


@kernel()
def remark(b):
    """Set the bit mask from the orders."""
    mask = 0
    for s in range(b.px.shape[0]):
        if b.rest[s] > 0:
            mask |= np.int64(1) << (np.int64(b.px[s]) & 63)
    b.head[MASK] = mask


@kernel()
def own_at(b, px):
    """Lots of all agents at px."""
    lots = 0
    for s in range(b.px.shape[0]):
        if b.px[s] == px:
            lots += b.rest[s]
    return lots


@inlined()
def noise_at(b, px):
    """Lots at px that no agent owns."""
    lots = np.int64(b.qty[px & (b.qty.shape[0] - 1)])
    if marked(b, px):
        lots -= own_at(b, px)
    return lots


@inlined()
def side_lots(b, side):
    """All lots resting on a side (+1 bids, -1 asks)."""
    k = (1 - side) >> 1
    return b.head[NOISE_BID + k] + b.head[OWN_BID + k]


@inlined()
def holds(b, side, px):
    """Whether px lies in the window and on that side of the book (or between the best prices)."""
    h = b.head
    inside = h[LOW] <= px < h[LOW] + b.qty.shape[0]
    return inside and (px < h[ASK] if side > 0 else px > h[BID])


@kernel()
def recentre(b):
    """Move the window so that the mid is at its centre; what leaves it is dropped and counted."""
    h = b.head
    w = b.qty.shape[0]
    low = ((h[BID] + h[ASK]) >> 1) - w // 2
    shift = low - h[LOW]
    if shift == 0:
        return
    first = h[LOW] if shift > 0 else max(h[LOW] + w + shift, h[LOW])
    for px in range(first, first + min(abs(shift), w)):
        if b.qty[px & (w - 1)] > 0:
            _drop_level(b, px)
    h[LOW] = low
    remark(b)


@kernel()
def _drop_level(b, px):
    h = b.head
    side = 1 if px <= h[BID] else -1
    k = (1 - side) >> 1
    lots = np.int64(b.qty[px & (b.qty.shape[0] - 1)])
    for s in range(b.px.shape[0]):
        if b.rest[s] > 0 and b.px[s] == px:
            h[OWN_BID + k] -= b.rest[s]
            h[NOISE_BID + k] += b.rest[s]
            b.rest[s] = 0
    h[NOISE_BID + k] -= lots
    h[DROPPED] += lots
    b.qty[px & (b.qty.shape[0] - 1)] = 0
    if h[LOG_ROOM]:
        write_log(h, LOG_DROP, side, px, lots, 0, NOBODY)


@kernel()
def settle(b, side):
    """Find the best price of a side after its best level lost its last lot; re-centre when it nears the edge."""
    h = b.head
    w = b.qty.shape[0]
    if side_lots(b, side) > 0:
        k = BID if side > 0 else ASK
        px = h[k]
        while b.qty[px & (w - 1)] == 0:
            px -= side
        h[k] = px
    mid = (h[BID] + h[ASK]) >> 1
    if mid - h[LOW] < w // 4 or mid - h[LOW] > w - w // 4:
        recentre(b)


@inlined()
def rest_lots(b, side, px, lots, agent):
    """Add lots at a price that does not cross; returns those that rest.

    Lots outside the window, or beyond LEVEL_MAX at one price, are dropped and counted.
    """
    h = b.head
    w = b.qty.shape[0]
    h[ADDED] += lots
    if px < h[LOW] or px >= h[LOW] + w:
        h[DROPPED] += lots
        return 0
    room = LEVEL_MAX - np.int64(b.qty[px & (w - 1)])
    if lots > room:
        h[DROPPED] += lots - room
        lots = room
    if h[LOG_ROOM]:
        write_log(h, LOG_REST, side, px, lots, LEVEL_MAX - room, agent)
    empty = side_lots(b, side) == 0
    b.qty[px & (w - 1)] += np.int32(lots)
    k = (1 - side) >> 1
    if agent >= 0:
        h[OWN_BID + k] += lots
    else:
        h[NOISE_BID + k] += lots
    if (px - h[BID + k]) * side >= 0:
        h[OFI] += side * lots
        h[BID + k] = px
    elif empty:
        h[BID + k] = px
    # A price at or beyond the other side's best is possible only when that side is empty: its last price gives way.
    if (h[ASK - k] - px) * side <= 0:
        h[ASK - k] = px + side
    return lots


@kernel()
def allot(b, px, lots):
    """Pro-rata part of a trade of `lots` at level px: writes what leaves before each order; returns the remainder.

    Pro rata, then FIFO (CME Globex matching algorithm C, "pro rata without top"): of v lots traded at a level of Q lots,
    v <= Q, an agent's order of r lots gets floor(v r / Q) and the noise traders' n lots, one participant, floor(v n / Q)
    from their oldest on; the remainder, v less all those floors, is for the caller to take in time order from what is
    left of the queue. `b.shift[s]` becomes the lots before order s that this part takes, for every order s at px.
    """
    total = np.int64(b.qty[px & (b.qty.shape[0] - 1)])
    noise = lots * noise_at(b, px) // total
    left = lots - noise
    for s in range(b.px.shape[0]):
        if b.rest[s] > 0 and b.px[s] == px:
            noise_ahead = np.int64(b.ahead[s])
            gone = 0
            for other in range(b.px.shape[0]):
                if b.rest[other] > 0 and b.px[other] == px and b.ahead[other] < b.ahead[s]:
                    noise_ahead -= b.rest[other]
                    gone += lots * b.rest[other] // total
            b.shift[s] = np.int32(gone + min(noise_ahead, noise))
            left -= lots * b.rest[s] // total
    return left


@kernel()
def fill_queue(b, side, px, lots):
    """A trade of `lots` (at most those there) at level px (side +1: bids are hit): the agents' fills; returns their sum."""
    total = np.int64(b.qty[px & (b.qty.shape[0] - 1)])
    pro_rata = b.head[MATCHING] == PRO_RATA
    front = allot(b, px, lots) if pro_rata else lots  # lots taken in time order
    filled = 0
    for s in range(b.px.shape[0]):
        if b.rest[s] > 0 and b.px[s] == px:
            rest = np.int64(b.rest[s])
            ahead = np.int64(b.ahead[s])
            share = 0
            if pro_rata:
                share = lots * rest // total
                ahead -= b.shift[s]
            take = share + min(max(front - ahead, 0), rest - share)
            if take > 0 and b.head[LOG_ROOM]:
                write_log(b.head, LOG_FILL, side, px, take, np.int64(b.ahead[s]), s >> 1)
            b.ahead[s] = np.int32(max(ahead - front, 0))
            if take > 0:
                b.rest[s] -= np.int32(take)
                passive_fill(b.account, s >> 1, side, np.int64(px), take, b.head[ARRIVED])
                filled += take
    return filled


@kernel()
def prevent_self_trade(b, side, px, agent, lots, policy):
    """Keep an agent's incoming order of `lots` from its own resting one at px; returns the lots that may still trade.

    Nothing happens unless the two would trade. `policy`: CANCEL_RESTING cancels the resting order; CANCEL_INCOMING what is
    left of the incoming one where they meet; CANCEL_BOTH both; DECREMENT takes the lots of the smaller from each (the
    instructions of FIX tag 2964, and the exchanges' "decrement and cancel"). They meet behind the lots ahead of the
    resting order, which trade first; pro rata meets all orders at a level at once, so nothing trades there before.
    """
    s = 2 * agent + ((1 - side) >> 1)
    if b.rest[s] == 0 or b.px[s] != px:
        return lots
    before = np.int64(b.ahead[s])
    rest = np.int64(b.rest[s])
    if b.head[MATCHING] == PRO_RATA:
        total = np.int64(b.qty[px & (b.qty.shape[0] - 1)])
        trade = min(lots, total)
        if allot(b, px, trade) <= before - b.shift[s] and trade * rest // total == 0:
            return lots
        before = 0
    if before >= lots:
        return lots
    if policy == DECREMENT:
        cut = min(lots - before, rest)
        reduce_order(b, s, rest - cut)
        return lots - cut
    if policy != CANCEL_INCOMING:
        reduce_order(b, s, 0)
    return lots if policy == CANCEL_RESTING else before


@inlined()
def sweep(b, side, limit, lots, agent, prevent):
    """An incoming order (side +1 buys) takes the opposite side up to price `limit`; returns lots filled, lots left.

    `agent` NOBODY: a noise trader's. `prevent`: what becomes of an agent's order that meets its own (ALLOW: they trade);
    lots that self-trade prevention cancels are neither filled nor left.
    """
    h = b.head
    other = -side
    k = (1 - other) >> 1
    best = BID + k
    left = lots
    filled = 0
    h[ARRIVED] = h[BID] + h[ASK]
    while left > 0 and side_lots(b, other) > 0:
        px = h[best]
        if (px - limit) * side > 0:
            break
        if agent >= 0 and prevent and marked(b, px):
            left = prevent_self_trade(b, other, px, agent, left, prevent)
            if left == 0 or b.qty[px & (b.qty.shape[0] - 1)] == 0 or h[best] != px:
                continue
        slot = px & (b.qty.shape[0] - 1)
        take = min(np.int64(b.qty[slot]), left)
        own = fill_queue(b, other, px, take) if marked(b, px) else 0
        if h[LOG_ROOM]:
            write_log(h, LOG_TRADE, other, px, take, 0, agent)
        b.qty[slot] -= np.int32(take)
        h[OWN_BID + k] -= own
        h[NOISE_BID + k] -= take - own
        h[TRADED] += take
        h[VOLUME] += take
        h[SIGNED] += side * take
        h[OFI] += side * take
        left -= take
        filled += take
        if agent >= 0:
            aggressive_fill(b.account, agent, side, px, take, h[ARRIVED])
        elif own > 0:
            aggressive_fill(b.account, b.account.shape[0] - 1, side, px, own, h[ARRIVED])
        if agent >= 0 and take > own:
            passive_fill(b.account, b.account.shape[0] - 1, other, px, take - own, h[ARRIVED])
        if b.qty[slot] == 0:
            settle(b, other)
    return filled, left


@kernel()
def sweep_of_agent(b, side, limit, lots, agent, prevent):
    """`sweep` compiled once for all orders of agents: inlined, as on the noise's path, it costs seconds of compilation."""
    return sweep(b, side, limit, lots, agent, prevent)


@inlined()
def cancel_noise(b, px, lots, position):
    """Cancel up to `lots` noise lots at px, the first of them number `position` among the noise lots in the queue.

    The lots are a run that wraps at the queue's end, so that with a uniform position every noise lot is equally likely
    to go, and an order's `ahead` falls with probability (noise ahead of it) / (noise at the level) per lot.
    Returns the lots cancelled.
    """
    h = b.head
    slot = px & (b.qty.shape[0] - 1)
    side = 1 if px <= h[BID] else -1
    noise = noise_at(b, px)
    take = min(lots, noise)
    if take <= 0:
        return 0
    if h[LOG_ROOM]:
        write_log(h, LOG_CANCEL, side, px, take, position, NOBODY)
    if marked(b, px):
        for s in range(b.px.shape[0]):
            if b.rest[s] > 0 and b.px[s] == px:
                before = np.int64(b.ahead[s])
                for other in range(b.px.shape[0]):
                    if b.rest[other] > 0 and b.px[other] == px and b.ahead[other] < b.ahead[s]:
                        before -= b.rest[other]  # agents' lots ahead are not the noise's to cancel
                gone = max(min(position + take, before) - position, 0) + max(
                    min(position + take - noise, before), 0
                )
                b.shift[s] = np.int32(gone)
        for s in range(b.px.shape[0]):
            if b.rest[s] > 0 and b.px[s] == px:
                b.ahead[s] -= b.shift[s]
    b.qty[slot] -= np.int32(take)
    h[NOISE_BID + ((1 - side) >> 1)] -= take
    h[CANCELLED] += take
    at_best = px == h[BID] or px == h[ASK]
    if at_best:
        h[OFI] -= side * take
        if b.qty[slot] == 0:
            settle(b, side)
    return take


@kernel()
def reduce_order(b, s, rest):
    """Cut order s to `rest` lots (0 cancels it). It keeps its place; those behind it move up."""
    h = b.head
    px = np.int64(b.px[s])
    gone = np.int64(b.rest[s]) - rest
    if gone <= 0:
        return
    side = 1 - 2 * (s & 1)
    slot = px & (b.qty.shape[0] - 1)
    if h[LOG_ROOM]:
        write_log(h, LOG_CANCEL, side, px, gone, np.int64(b.ahead[s]), s >> 1)
    for other in range(b.px.shape[0]):
        if b.rest[other] > 0 and b.px[other] == px and b.ahead[other] > b.ahead[s]:
            b.ahead[other] -= np.int32(gone)
    b.rest[s] = np.int32(rest)
    b.qty[slot] -= np.int32(gone)
    h[OWN_BID + (s & 1)] -= gone
    h[CANCELLED] += gone
    if px == h[BID + (s & 1)]:
        h[OFI] -= side * gone
        if b.qty[slot] == 0:
            settle(b, side)


@kernel()
def place(b, s, px, lots, prevent, post_only):
    """Put the agent's order in slot s (even: bid, odd: ask; the slot must be free): trade what crosses, rest the rest.

    `prevent`: see `sweep`. `post_only` 1: an order that would trade slides to the best price that does not.
    """
    h = b.head
    side = 1 - 2 * (s & 1)
    if lots <= 0:
        return
    if side_lots(b, -side) > 0:
        best = h[ASK - (s & 1)]
        if post_only:
            px = min(px, best - 1) if side > 0 else max(px, best + 1)
        elif (px - best) * side >= 0:
            _, lots = sweep_of_agent(b, side, px, lots, s >> 1, prevent)
            if lots <= 0:
                return
    w = b.qty.shape[0]
    if px < h[LOW] or px >= h[LOW] + w:
        h[ADDED] += lots
        h[DROPPED] += lots
        return
    b.px[s] = np.int32(px)
    b.ahead[s] = b.qty[px & (w - 1)]
    b.rest[s] = np.int32(rest_lots(b, side, px, lots, s >> 1))
    h[MASK] |= np.int64(1) << (px & 63)


@kernel()
def quote(b, agent, bid_px, bid_lots, ask_px, ask_lots, prevent, post_only):
    """Replace both quotes of an agent. The same price with no more lots keeps its place; anything else queues anew."""
    for k in range(2):
        s = 2 * agent + k
        px = bid_px if k == 0 else ask_px
        lots = bid_lots if k == 0 else ask_lots
        if b.rest[s] > 0:
            reduce_order(b, s, lots if b.px[s] == px and lots <= b.rest[s] else 0)
    for k in range(2):
        s = 2 * agent + k
        if b.rest[s] == 0:
            place(b, s, bid_px if k == 0 else ask_px, bid_lots if k == 0 else ask_lots, prevent, post_only)


@inlined()
def market(b, agent, signed, prevent):
    """A market order of an agent or of NOBODY: + buys. What finds no counterpart is not kept. Returns lots filled."""
    side = 1 if signed > 0 else -1
    far = b.head[LOW] + (b.qty.shape[0] if side > 0 else -1)
    if agent >= 0:
        filled, _ = sweep_of_agent(b, side, far, abs(signed), agent, prevent)
    else:
        filled, _ = sweep(b, side, far, abs(signed), NOBODY, 0)
    b.head[UNFILLED] += abs(signed) - filled
    return filled


@inlined()
def limit(b, side, px, lots):
    """A limit order of the noise traders or of the tape: trade what crosses, rest the rest."""
    h = b.head
    k = (1 - side) >> 1
    if side_lots(b, -side) > 0 and (px - h[ASK - k]) * side >= 0:
        _, lots = sweep(b, side, px, lots, NOBODY, 0)
    if lots > 0:
        rest_lots(b, side, px, lots, NOBODY)


@kernel()
def set_noise(b, side, px, lots):
    """Make the lots at px that no agent owns equal `lots`: a recorded level comes into view or leaves it.

    New lots count as ahead of every agent's order there (they may well have been: the cautious reading).
    """
    if not holds(b, side, px):
        # Outside the window, or an agent's order of the other side stands there.
        b.head[CLIPPED] += lots
        return
    change = lots - noise_at(b, px)
    if change < 0:
        cancel_noise(b, px, -change, 0)
    elif change > 0:
        if marked(b, px):
            for s in range(b.px.shape[0]):
                if b.rest[s] > 0 and b.px[s] == px:
                    b.ahead[s] += np.int32(change)
        rest_lots(b, side, px, change, NOBODY)


@kernel()
def clear(b, bid, ask):
    """Empty the book and its counters, centre the window between the given prices (bid < ask). The matching stays, and the log."""
    h = b.head
    matching, room, logged, step_ns = h[MATCHING], h[LOG_ROOM], h[LOGGED], h[STEP_NS]
    b.qty[:] = 0
    b.rest[:] = 0
    for column in range(h.shape[0] - LOG * room):
        h[column] = 0
    h[MATCHING] = matching
    h[LOG_ROOM] = room
    h[LOGGED] = logged
    h[STEP_NS] = step_ns
    if room:
        write_log(h, LOG_CLEAR, 0, 0, 0, 0, NOBODY)
    b.account[:] = 0
    b.head[BID] = bid
    b.head[ASK] = ask
    b.head[LOW] = ((bid + ask) >> 1) - b.qty.shape[0] // 2
