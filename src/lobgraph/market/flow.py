"""Noise order flow: a Markov jump process simulated exactly, from tables of rates by distance.

In: `Flow` tables, a stream of draws, a Book. The next event is exponential in the total rate; its kind, side, distance
and size come from integer draws. Cancel rates that differ by distance are met by thinning: candidates at the largest
rate, each kept with probability rate(distance) / largest. A flow with features (market/features.py) has a rate for each
kind and side. Rates follow Cont, Stoikov, Talreja (2010) and, flat, Smith,
Farmer, Gillemot, Krishnamurthy (2003). Limit and market sides tilt towards the fundamental; their total does not. Quotes
that it leaves stale may be revised as a step begins, which is how mids follow it within a second.
"""

from __future__ import annotations

import numpy as np

from .book import NOBODY, cancel_noise, market, noise_at, rest_lots
from .features import (
    excite,
    queue_bin_of,
    relax,
    set_rates,
    side_met,
    side_of_part,
    spread_bin_of,
    time_of_day,
    type_rate,
)
from .jit import inlined, kernel
from .rng import FUNDAMENTAL, LOW32, REGIME_DRAW, U64, VENUE, below, draw, mix, stream
from .state import (
    ACCEPT_LEN,
    ALIAS_LEN,
    ASK,
    BID,
    EVENTS,
    INSIDE,
    KIND_LIMIT,
    KIND_MARKET,
    LOG_ROOM,
    LOW,
    NOISE_ASK,
    NOISE_BID,
    NOW_NS,
    OWN,
    Q16,
    RATE,
    RATE_CANCEL,
    RATE_LIMIT,
    RATE_MARKET,
    REGIME,
    REVISION,
    RICH,
    ROUND_LOT,
    SIZE_CANCEL,
    SIZE_LIMIT,
    SIZE_MARKET,
    TILT,
    TILT_MAX,
    TYPES,
    VENUE_MOVE,
)
from .stress import shock_of, volatility_of
from .tables import WAIT_BINS

NEVER = 1e300


# --- the event loop ---


@inlined()
def total_rate(b, f, regime, a, fundamental):
    """Events per second: limit and market orders, and candidates for a cancel."""
    if f.book[a, RICH]:
        return set_rates(b, f, regime, a, buy_chance(b, f, a, fundamental))
    noise = b.head[NOISE_BID] + b.head[NOISE_ASK]
    return (
        f.rate[regime, a, RATE_LIMIT]
        + f.rate[regime, a, RATE_MARKET]
        + f.rate[regime, a, RATE_CANCEL] * noise
    )


@inlined()
def unit_exponential(f, bits):
    """A unit exponential from 22 random bits, int64 in 1/2^32: -log(u), linear between the table's WAIT_BINS points.

    The tail beyond the first bin is the memoryless law's: the bin's edge plus a fresh draw from scrambled bits.
    """
    tail = 0
    while True:
        i = np.int64(bits & U64(WAIT_BINS - 1))
        part = np.int64((bits >> U64(22)) & U64(2047 >> 1)) << 1 | np.int64((bits >> U64(11)) & U64(1))
        if i > 0:
            return tail + f.wait[i + 1] + (((f.wait[i] - f.wait[i + 1]) * part) >> 11)
        tail += f.wait[1]
        bits = mix(bits)


@inlined()
def wait(f, bits, rate):
    """Time to the next event in seconds, from bits 0..11 and 22..31 of its second draw."""
    if rate <= 0.0:
        return NEVER
    return np.float64(unit_exponential(f, bits)) * 2.3283064365386963e-10 / rate


@inlined()
def buy_chance(b, f, a, fundamental):
    """Probability that noise buys, of 65536: one half tilted by the fundamental's distance from the mid."""
    off = fundamental - ((b.head[BID] + b.head[ASK]) << (Q16 - 1))
    most = f.book[a, TILT_MAX]
    return 32768 + min(max((off * f.book[a, TILT]) >> Q16, -most), most)


@inlined()
def event(b, f, regime, a, fundamental, rate, r1, r2):
    """One event of the noise flow on book a in `regime`, decided by 128 random bits."""
    h = b.head
    pick = r1 & LOW32
    x = np.float64(r1 >> U64(32)) * 2.3283064365386963e-10 * rate
    if x < f.rate[regime, a, RATE_LIMIT]:
        side = 1 if np.int64(r2 >> U64(48)) < buy_chance(b, f, a, fundamental) else -1
        _limit(b, f, regime, a, side, pick, r2)
    elif x < f.rate[regime, a, RATE_LIMIT] + f.rate[regime, a, RATE_MARKET]:
        side = 1 if np.int64(r2 >> U64(48)) < buy_chance(b, f, a, fundamental) else -1
        _market(b, f, a, side, r2)
    else:
        position = below(pick, h[NOISE_BID] + h[NOISE_ASK])
        k = 1 if position >= h[NOISE_BID] else 0
        _cancel(b, f, a, k, position - k * h[NOISE_BID], r2)


@inlined()
def typed_event(b, f, regime, a, fundamental, rate, now, r1, r2):
    """One candidate of a flow with features at time `now`: a type by the rates after the last event, which sum to `rate`;
    no event if its own has fallen since by more than the draw allows."""
    h = b.head
    x = np.int64(np.float64(r1 >> U64(32)) * 2.3283064365386963e-10 * (rate * 1048576.0))
    j = 0
    while j < TYPES - 1 and x >= h[RATE + j]:
        x -= h[RATE + j]
        j += 1
    buys = buy_chance(b, f, a, fundamental)
    if f.decay.shape[1] > 0:
        relax(b, f, a, now)
        q = queue_bin_of(b, f, a, side_met(j))
        if x >= type_rate(b, f, regime, a, j, buys, spread_bin_of(b, f, a), q):
            return
    kind = j >> 1
    pick = r1 & LOW32
    if kind == KIND_LIMIT:
        _limit(b, f, regime, a, 1 - 2 * (j & 1), pick, r2)
    elif kind == KIND_MARKET:
        j = side_of_part(b, f, a, j, buys, mix(r2))
        _market(b, f, a, 1 - 2 * (j & 1), r2)
    else:
        k = j & 1
        if _cancel(b, f, a, k, below(pick, h[NOISE_BID + k]), r2) == 0:
            return
    excite(b, f, regime, a, j)


@inlined()
def _lots(f, a, of, r2):
    """Size of an order from bits 12..21 of its second draw."""
    return np.int64(f.size[a, of, np.int64((r2 >> U64(12)) & U64(1023))])


@inlined()
def _limit(b, f, regime, a, side, pick, r2):
    """A limit order at a distance drawn from the alias table (of the spread's bin)."""
    h = b.head
    k = (1 - side) >> 1
    s = 0
    if f.alias.shape[1] > 1:
        s = spread_bin_of(b, f, a)
    y = pick * U64(f.book[a, ALIAS_LEN])
    i = np.int64(y >> U64(32))
    if np.int64((y & LOW32) >> U64(16)) >= f.alias[a, s, i, 0]:
        i = f.alias[a, s, i, 1]
    h[EVENTS] += 1
    if f.book[a, OWN]:
        behind = i - f.book[a, INSIDE] + f.widen[regime]
        px = h[BID + k] - side * max(behind, h[BID] - h[ASK] + 1)
    else:
        px = h[ASK - k] - side * (i + 1 + f.widen[regime])
    rest_lots(b, side, px, _lots(f, a, SIZE_LIMIT, r2), NOBODY)


@inlined()
def _market(b, f, a, side, r2):
    b.head[EVENTS] += 1
    market(b, NOBODY, side * _lots(f, a, SIZE_MARKET, r2), 0)


@inlined()
def _cancel(b, f, a, k, position, r2):
    """A candidate for a cancel: noise lot number `position` of side k, counted from its best price. Returns 1 if it goes."""
    h = b.head
    side = 1 - 2 * k
    px = h[BID + k]
    here = noise_at(b, px)
    while position >= here:
        position -= here
        px -= side
        here = noise_at(b, px)
    if f.book[a, OWN]:
        distance = (h[BID + k] - px) * side
    else:
        distance = (h[ASK - k] - px) * side - 1
    if np.int64((r2 >> U64(32)) & U64(0xFFFF)) >= f.accept[a, min(distance, f.book[a, ACCEPT_LEN] - 1)]:
        return 0
    h[EVENTS] += 1
    lots = _lots(f, a, SIZE_CANCEL, r2)
    unit = f.book[a, ROUND_LOT]
    if unit > 1:
        odd = here % unit
        lots = odd if position < odd else min(max((lots + unit // 2) // unit, 1) * unit, here - odd)
    cancel_noise(b, px, lots, position)
    return 1


@inlined()
def run_flow(b, f, regime, a, fundamental, key, index, now, due, rate, until):
    """Run events up to time `until` (seconds in the step). Returns (index, due, rate) of the event still to come.

    An event that was waiting when an agent's message arrived keeps its draw: what is left of its unit exponential is
    stretched by the change of rate, so that a message that changes nothing leaves the noise as it was. Excitations count
    as after the last event, also when a message arrives: a bound that thinning needs, and that no message lowers.
    """
    rich = f.book[a, RICH]
    new_rate = total_rate(b, f, regime, a, fundamental)
    if new_rate != rate:
        left = (due - now) * rate
        due = now + left / new_rate if new_rate > 0.0 else NEVER
        rate = new_rate
    r1 = draw(key, 2 * index)
    r2 = draw(key, 2 * index + 1)
    while due <= until:
        if b.head[LOG_ROOM]:
            b.head[NOW_NS] = np.int64(due * 1e9)
        index += 1
        next1 = draw(key, 2 * index)  # before the event's branches, which are hard to predict
        next2 = draw(key, 2 * index + 1)
        if rich:
            typed_event(b, f, regime, a, fundamental, rate, due, r1, r2)
        else:
            event(b, f, regime, a, fundamental, rate, r1, r2)
        rate = total_rate(b, f, regime, a, fundamental)
        due += wait(f, next2, rate)
        r1 = next1
        r2 = next2
    return index, due, rate


# --- the start of a step ---


@kernel()
def revise(b, f, a, fundamental, key):
    """The noise withdraws the quotes that the fundamental leaves stale by more than half a tick, level by level, and as many
    lots come to the other side, by so much better than its best price as the withdrawn side's fell back, at most at the price
    withdrawn: the spread stays.

    Adverse selection seen from the makers' side (Budish, Cramton, Shim 2015); with a spread of one tick the queue turns
    from ask to bid, as in Cont and de Larrard (2013). Where agents' orders hold the best price, it stays.
    """
    if np.int64(draw(key, 0) >> U64(32)) >= f.book[a, REVISION]:
        return
    h = b.head
    side = 1 if 2 * fundamental > (h[BID] + h[ASK]) << Q16 else -1
    k = (1 - side) >> 1
    px = h[ASK - k]
    while (fundamental - (px << Q16)) * side > 32768 and h[LOW] <= px < h[LOW] + b.qty.shape[0]:
        before = h[ASK - k]
        lots = cancel_noise(b, px, noise_at(b, px), 0)
        if lots > 0:
            better = h[BID + k] + h[ASK - k] - before
            rest_lots(b, side, min(better * side, px * side) * side, lots, NOBODY)
        px += side


# --- regimes and fundamentals, once per step and environment ---


@kernel()
def unit_normal(f, bits):
    """A standard normal from 24 random bits: two table draws over sqrt(2); int64 in 1/65536."""
    one = f.normal[np.int64(bits & U64(4095))]
    two = f.normal[np.int64((bits >> U64(12)) & U64(4095))]
    return ((one + two) * 46341) >> Q16


@kernel()
def move_regime(p, state, env, first):
    """Draw the regime: at reset (first = 1) from the initial law, else a step of the Markov chain (another draw)."""
    clock = state.clock[env]
    key = stream(p.seed[0], p.first_env + env, 0, clock[0], clock[1], REGIME_DRAW)
    u = np.int64(draw(key, first) >> U64(32))
    count = p.chain.shape[1]
    row = count if first else clock[REGIME]
    for r in range(count):
        if u < p.chain[row, r] or r == count - 1:
            clock[REGIME] = r
            break


@inlined()
def move_fundamentals(p, f, state, env):
    """One step of the fundamentals and of the venues' deviations, exact in law for any dt (Gaussian increments)."""
    clock = state.clock[env]
    count = p.origin.shape[0]
    key = stream(p.seed[0], p.first_env + env, 0, clock[0], clock[1], FUNDAMENTAL)
    volatility = 4096
    if p.day.shape[0] > 0:
        volatility = p.day[time_of_day(p, state, env), 1]
    news = p.news_chance == 0 or np.int64(draw(key, 2 * count) >> U64(32)) < p.news_chance
    for u in range(count):
        z = 0
        if news:
            for v in range(u + 1):
                z += p.mix[u, v] * unit_normal(f, draw(key, v))
        move = ((z >> Q16) * p.sigma[clock[REGIME], u]) >> Q16
        move = (move * volatility) >> 12
        if p.stressed:
            move = ((move * volatility_of(p, state, env, u)) >> 12) + shock_of(p, state, env, u)
        pull = ((p.origin[u] - state.news[env, u]) * p.revert) >> Q16
        jump = draw(key, count + u)
        if np.int64(jump >> U64(32)) < p.jump_chance:
            move += (unit_normal(f, jump) * p.jump_size) >> Q16
        state.news[env, u] += move + pull
        behind = state.news[env, u] - state.fundamental[env, u]
        state.fundamental[env, u] += (behind * p.follow[u]) >> Q16
    key = stream(p.seed[0], p.first_env + env, 0, clock[0], clock[1], VENUE)
    for a in range(state.deviation.shape[1]):
        move = (unit_normal(f, draw(key, a)) * p.book[a, VENUE_MOVE]) >> Q16
        state.deviation[env, a] = ((state.deviation[env, a] * p.venue_keep) >> Q16) + move
