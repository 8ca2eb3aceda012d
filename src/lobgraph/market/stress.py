"""What befalls a market on purpose: crashes, droughts, shocks, fat fingers, volatile times, halts; and the circuit breaker.

Once per step, before anything else happens in it: events begin and end, every book gets multipliers of its rates by type,
the circuit breaker looks at the mids of past decisions. Times are whole steps. Draws are functions of (seed, environment,
event, episode, step): neither agents nor other events shift them, and none of the noise's draws depends on an event.
All decisions are made in integers.
"""

from __future__ import annotations

import numpy as np

from .book import NOBODY, cancel_noise, market, noise_at
from .jit import inlined, kernel
from .rng import LOW32, STRESS, U64, below, draw, stream
from .state import (
    ASK,
    AT_RANDOM,
    BEGINS,
    BID,
    BOTH,
    BREAK_ALL,
    BREAK_MOVE,
    BREAK_PART,
    BREAK_STEPS,
    BREAK_WINDOW,
    BUY,
    BY_RATE,
    CRASH,
    DROUGHT,
    EPISODE,
    EVENT_BOOKS,
    EVENT_CHANCE,
    EVENT_KIND,
    EVENT_LENGTH,
    EVENT_SHARE,
    EVENT_SHOWN,
    EVENT_SIDE,
    EVENT_SIZE,
    EVENT_STARTS,
    EVENT_STEP,
    FAT_FINGER,
    HALT,
    HALTED_UNTIL,
    HALTS,
    KIND_LIMIT,
    KIND_MARKET,
    LOW,
    PATH,
    PATH_START,
    RICH,
    SCALE,
    SELL,
    SHOCK,
    SINCE_STEP,
    STEP,
    TYPES,
    UNDERLYING,
    UNTIL_STEP,
    VOLATILITY,
    WAY,
)

ONE = 4096  # of a multiplier
LARGEST = 1000 * ONE


@kernel()
def reset_stress(p, state, env):
    """A new episode: no event has been, no book is halted; events at random times get their time."""
    clock = state.clock[env]
    for k in range(p.stress.shape[0]):
        event = state.event[env, k]
        event[BEGINS] = p.stress[k, EVENT_STEP]
        if event[BEGINS] == AT_RANDOM:
            key = stream(p.seed[0], p.first_env + env, k, clock[EPISODE], np.int64(-1), STRESS)
            event[BEGINS] = below(draw(key, 0) & LOW32, p.stress[k, EVENT_STARTS])
        event[SINCE_STEP] = -1
        event[UNTIL_STEP] = -1
        event[WAY] = BOTH
    for a in range(state.stress.shape[1]):
        own = state.stress[env, a]
        own[HALTED_UNTIL] = 0
        own[HALTS] = 0
        own[PATH_START] = clock[STEP]


@kernel()
def begin_stress(p, f, state, env):
    """Begin the events of this step; set every book's multipliers (State.head, SCALE) and halt (State.stress)."""
    step = state.clock[env, STEP]
    for a in range(state.stress.shape[1]):
        for j in range(TYPES if f.book[a, RICH] else 0):
            state.head[env, a, SCALE + j] = ONE
    for k in range(p.stress.shape[0]):
        event = state.event[env, k]
        _begin(p, state, env, k, step)
        if event[SINCE_STEP] <= step < event[UNTIL_STEP]:
            for a in range(state.stress.shape[1]):
                if p.stress[k, EVENT_BOOKS + a]:
                    _press(p, f, state, env, a, k, event)
    if p.breaker[BREAK_WINDOW] > 0:
        _break_circuits(p, state, env, step)


@inlined()
def _begin(p, state, env, k, step):
    """Whether event k begins in this step, and which way it goes."""
    event = state.event[env, k]
    clock = state.clock[env]
    key = stream(p.seed[0], p.first_env + env, k, clock[EPISODE], step, STRESS)
    now = event[BEGINS] == step
    if p.stress[k, EVENT_STEP] == BY_RATE:
        chance = np.int64(draw(key, 0) >> U64(32))
        now = event[UNTIL_STEP] <= step and chance < p.stress[k, EVENT_CHANCE]
    if now:
        event[SINCE_STEP] = step
        event[UNTIL_STEP] = step + p.stress[k, EVENT_LENGTH]
        way = p.stress[k, EVENT_SIDE]
        if way == 0:
            way = BUY if draw(key, 1) >> U64(63) else SELL
        event[WAY] = way


@inlined()
def _press(p, f, state, env, a, k, event):
    """What event k does to the flow of book a while it goes on."""
    kind = p.stress[k, EVENT_KIND]
    if kind == HALT:
        own = state.stress[env, a]
        own[HALTED_UNTIL] = max(own[HALTED_UNTIL], event[UNTIL_STEP])
        own[PATH_START] = max(own[PATH_START], own[HALTED_UNTIL])
    elif kind in (CRASH, DROUGHT) and f.book[a, RICH]:
        first = SCALE + 2 * (KIND_MARKET if kind == CRASH else KIND_LIMIT)
        for side in range(2):
            if event[WAY] in (BOTH, 1 - 2 * side):
                scale = (state.head[env, a, first + side] * p.stress[k, EVENT_SIZE]) >> 12
                state.head[env, a, first + side] = min(scale, LARGEST)


@inlined()
def _break_circuits(p, state, env, step):
    """Halt the books whose mid is further from one of its window's than the circuit breaker allows."""
    window = p.breaker[BREAK_WINDOW]
    until = step + p.breaker[BREAK_STEPS]
    broken = 0
    for a in range(state.stress.shape[1]):
        own = state.stress[env, a]
        now = state.head[env, a, BID] + state.head[env, a, ASK]
        if step < own[PATH_START]:  # halted: the window starts anew when trading resumes
            continue
        for t in range(max(own[PATH_START], step - window), step):
            before = own[PATH + t % window]
            moved = abs(now - before)
            if p.breaker[BREAK_MOVE] > 0:
                far = moved > p.breaker[BREAK_MOVE]
            else:
                far = moved * 1_000_000 > before * p.breaker[BREAK_PART]
            if far:
                broken += 1
                own[HALTS] += 1
                own[HALTED_UNTIL] = until
                own[PATH_START] = until
                break
        own[PATH + step % window] = now
    if broken > 0 and p.breaker[BREAK_ALL]:
        for a in range(state.stress.shape[1]):
            own = state.stress[env, a]
            own[HALTED_UNTIL] = max(own[HALTED_UNTIL], until)
            own[PATH_START] = max(own[PATH_START], own[HALTED_UNTIL])


@inlined()
def open_book(p, b, state, env, a):
    """What events do to book a itself as a step begins. Returns 1 while it is halted, where they do nothing, else 0."""
    step = state.clock[env, STEP]
    if step < state.stress[env, a, HALTED_UNTIL]:
        return 1
    for k in range(p.stress.shape[0]):
        if state.event[env, k, SINCE_STEP] == step and p.stress[k, EVENT_BOOKS + a]:
            _strike(p, b, state, env, a, k)
    return 0


@kernel()
def _strike(p, b, state, env, a, k):
    """What an event does once, at its start: lots withdrawn, a market order too large."""
    clock = state.clock[env]
    way = state.event[env, k, WAY]
    kind = p.stress[k, EVENT_KIND]
    if kind == FAT_FINGER:
        market(b, NOBODY, way * p.stress[k, EVENT_SIZE], 0)
    elif kind == DROUGHT:
        key = stream(p.seed[0], p.first_env + env, (k + 1) << 32 | a, clock[EPISODE], clock[STEP], STRESS)
        if way != SELL:
            withdraw(b, 1, p.stress[k, EVENT_SHARE], key)
        if way != BUY:
            withdraw(b, -1, p.stress[k, EVENT_SHARE], key)


@kernel()
def withdraw(b, side, share, key):
    """Cancel `share` (1/65536) of the noise lots on a side (+1 bids), level by level from the best; of each level a run of
    lots at a random place of its queue. What rounding leaves of one level counts at the next.
    """
    h = b.head
    k = (1 - side) >> 1
    px = h[BID + k]
    due = 0
    while h[LOW] <= px < h[LOW] + b.qty.shape[0]:
        noise = noise_at(b, px)
        if noise > 0:
            due += noise * share
            lots = due >> 16
            due -= lots << 16
            cancel_noise(b, px, lots, below(draw(key, px) & LOW32, noise))
        px -= side


@kernel()
def shock_of(p, state, env, u):
    """What this step's shocks move underlying u by, 1/65536 tick; a shock moves it once, however many of its books are hit."""
    move = np.int64(0)
    for k in range(p.stress.shape[0]):
        event = state.event[env, k]
        if p.stress[k, EVENT_KIND] == SHOCK and event[SINCE_STEP] == state.clock[env, STEP]:
            size = np.int64(0)
            for a in range(state.stress.shape[1]):
                if p.book[a, UNDERLYING] == u:
                    size = max(size, p.stress[k, EVENT_BOOKS + a])
            move += event[WAY] * size
    return move


@kernel()
def volatility_of(p, state, env, u):
    """Multiplier of the moves of underlying u in this step, 1/4096."""
    scale = np.int64(ONE)
    step = state.clock[env, STEP]
    for k in range(p.stress.shape[0]):
        event = state.event[env, k]
        if p.stress[k, EVENT_KIND] == VOLATILITY and event[SINCE_STEP] <= step < event[UNTIL_STEP]:
            hit = False
            for a in range(state.stress.shape[1]):
                hit = hit or (p.book[a, UNDERLYING] == u and p.stress[k, EVENT_BOOKS + a] != 0)
            if hit:
                scale = (scale * p.stress[k, EVENT_SIZE]) >> 12
    return scale


@inlined()
def goes_on(p, state, env, k, a, step):
    """Whether event k was on in book a in `step`, a step that has been made."""
    event = state.event[env, k]
    return event[SINCE_STEP] <= step < event[UNTIL_STEP] and p.stress[k, EVENT_BOOKS + a] != 0


@kernel()
def share_under(p, state, env, kind):
    """Share of the books in which a shown event of a kind was on in the last step; of halts: which are halted now."""
    step = state.clock[env, STEP]
    books = state.stress.shape[1]
    count = 0
    for a in range(books):
        hit = False
        if kind == HALT:
            hit = step < state.stress[env, a, HALTED_UNTIL]
        else:
            for k in range(p.stress.shape[0]):
                shown = p.stress[k, EVENT_KIND] == kind and p.stress[k, EVENT_SHOWN]
                hit = hit or (shown and goes_on(p, state, env, k, a, step - 1))
        count += hit
    return count / books
