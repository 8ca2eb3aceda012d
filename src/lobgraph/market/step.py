"""One decision interval of one book, and the reset: the only place that strings flow, tape, agents and ledger together.

In: State with the agents' messages, Params, Flow, Tape. Out: State, changed in place. Each (environment, book) is
independent of every other within a step; regimes and fundamentals move once per environment before.
"""

from __future__ import annotations

import numpy as np

from .book import NOBODY, clear, recentre, remark, rest_lots
from .features import (
    clear_counts,
    end_memory,
    open_memory,
    relax,
    set_bases,
    spill_over,
    start_day,
    start_memory,
    time_of_day,
)
from .flow import move_fundamentals, move_regime, revise, run_flow, total_rate, unit_normal, wait
from .jit import inlined, kernel, pasted
from .ledger import equity_of, fees_of
from .risk import act, breach, liquidate, open_limits
from .rng import ARRIVAL, FLOW, REPLAY, REVISE, STAGGER, TARGET, U64, VENUE, WARMUP, below, draw, stream
from .state import (
    ACTION,
    ACTIVITY,
    ASK,
    BEFORE,
    BID,
    CAUSE,
    EPISODE,
    EVENTS,
    GOING_ON,
    INITIAL_DEPTH,
    INITIAL_LEVELS,
    INITIAL_PX,
    INITIAL_SPREAD,
    LATENCY,
    MATCHING,
    MID_PREV,
    MID_SLOW,
    MID_START,
    NOW,
    NOW_NS,
    OFI,
    ORDER_AHEAD,
    ORDER_PX,
    ORDER_REST,
    ORDER_SHIFT,
    PASSIVE_BOUGHT,
    PEAK,
    Q16,
    REGIME,
    REVISION,
    RICH,
    SIGNED,
    START_NS,
    STEP,
    STEP_NS,
    TARGET_SIDE,
    UNDERLYING,
    VARIANCE,
    VENUE_STD,
    VOLUME,
    WARMUP_NS,
    Book,
)
from .stress import begin_stress, open_book, reset_stress
from .tape import load_tape, run_tape

NS = 1_000_000_000


@pasted()
def book_of(state, env, a):
    """Views of one book's rows."""
    return Book(
        state.qty[env, a],
        state.head[env, a],
        state.order[env, a, ORDER_PX],
        state.order[env, a, ORDER_REST],
        state.order[env, a, ORDER_AHEAD],
        state.order[env, a, ORDER_SHIFT],
        state.account[env, a],
    )


@inlined()
def fundamental_of(p, state, env, a):
    """The book's own fundamental: its underlying's plus its venue's deviation, 1/65536 tick.

    Venues may start at different prices: the difference of initial prices is kept.
    """
    u = p.book[a, UNDERLYING]
    shift = (p.book[a, INITIAL_PX] << Q16) - p.origin[u]
    return state.fundamental[env, u] + state.deviation[env, a] + shift


@inlined()
def order_arrivals(p, state, env, a):
    """Fill `state.arrival[env, a]` with the agents in order of arrival: by latency, at equal latency in random order."""
    arrival = state.arrival[env, a]
    count = arrival.shape[0]
    clock = state.clock[env]
    key = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], clock[STEP], ARRIVAL)
    for g in range(count):
        arrival[g] = g
    for g in range(count - 1, 0, -1):  # Fisher-Yates, then a stable insertion sort by latency
        other = below(draw(key, g) >> U64(32), g + 1)
        arrival[g], arrival[other] = arrival[other], arrival[g]
    for i in range(1, count):
        g = arrival[i]
        j = i
        while j > 0 and p.agent_float[arrival[j - 1], LATENCY] > p.agent_float[g, LATENCY]:
            arrival[j] = arrival[j - 1]
            j -= 1
        arrival[j] = g


@inlined()
def step_book(p, f, tape, state, env, a):
    """One decision interval of book a: noise (or tape) and the agents' messages in order of arrival."""
    b = book_of(state, env, a)
    h = b.head
    clock = state.clock[env]
    regime = clock[REGIME]
    h[OFI] = 0
    h[VOLUME] = 0
    h[SIGNED] = 0
    for g in range(b.account.shape[0]):
        for column in range(PASSIVE_BOUGHT, PASSIVE_BOUGHT + 4):
            b.account[g, column] = 0
    remark(b)
    agents = state.arrival.shape[2]
    for g in range(agents):
        open_limits(p, b, g)
    halted = 0
    if p.stressed:
        halted = open_book(p, b, state, env, a)
    key = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], clock[STEP], FLOW)
    fundamental = fundamental_of(p, state, env, a)
    if f.book[a, REVISION] > 0 and halted == 0 and p.replay == 0:
        step = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], clock[STEP], REVISE)
        revise(b, f, a, fundamental, step)
    index, now = 0, 0.0
    due, rate = _first_event(b, f, regime, a, fundamental, key)
    start_ns = clock[START_NS] + clock[STEP] * p.dt_ns
    h[STEP_NS] = start_ns if p.replay else clock[STEP] * p.dt_ns
    order_arrivals(p, state, env, a)
    for i in range(agents + 1):
        until = p.dt
        g = -1
        if i < agents:
            g = state.arrival[env, a, i]
            if state.message[env, a, g, ACTION] == 0:
                continue
            until = p.agent_float[g, LATENCY]
        if p.replay:
            if i == agents:
                run_tape(b, tape, a, key, start_ns + p.dt_ns)
            elif until > 0.0:
                run_tape(b, tape, a, key, start_ns + np.int64(until * NS))
        elif halted == 0:
            index, due, rate = run_flow(b, f, regime, a, fundamental, key, index, now, due, rate, until)
            now = until
        h[NOW_NS] = np.int64(until * NS)  # the time of an agent's message; after the last, of the step's end
        if i < agents:
            act(p, b, state.message[env, a, g], g, halted)
    end_memory(b, f, a, p.dt)
    recentre(b)


@inlined()
def _first_event(b, f, regime, a, fundamental, key):
    """Time (seconds) of event 0 of the stream, and the rate it was drawn at."""
    if f.book[a, RICH]:
        set_bases(b, f, regime, a)
        relax(b, f, a, 0.0)  # with what other books have added
    rate = total_rate(b, f, regime, a, fundamental)
    return wait(f, draw(key, 1), rate), rate


@inlined()
def begin_step(p, f, state, env):
    """What befalls the environment, and its regime and fundamentals, for the step about to run."""
    if p.replay == 0:
        spill_over(p, f, state, env)
    if p.stressed:
        begin_stress(p, f, state, env)
    if p.replay == 0:
        move_regime(p, state, env, 0)
        move_fundamentals(p, f, state, env)
        begin_flow(p, f, state, env)


@inlined()
def begin_flow(p, f, state, env):
    """A new step for flows with features: counts from 0, and the time of day."""
    for a in range(state.head.shape[1]):
        if f.book[a, RICH]:
            clear_counts(state.head[env, a])
            if p.day.shape[0] > 0:
                state.head[env, a, ACTIVITY] = p.day[time_of_day(p, state, env), 0]


@inlined()
def end_step(p, state, env):
    """Advance the clock; end the episodes of agents that broke a limit which does so, liquidating what they hold.

    Moves state.equity, money and active from NOW to BEFORE and sets their values after the step. Returns the number of agents still active.
    """
    state.clock[env, STEP] += 1
    for g in range(p.agent.shape[0]):
        money = state.money[env, g]
        state.active[env, g, BEFORE] = state.active[env, g, NOW]
        net = 0.5 * equity_of(state, env, g, p.mark_others)
        net -= fees_of(state.account, env, g, p.taker_fee, p.maker_rebate)
        money[PEAK] = max(money[PEAK], net)
        if state.active[env, g, NOW]:
            cause = breach(p, state, env, g, net, money[PEAK])
            if cause != GOING_ON:
                for a in range(state.head.shape[1]):
                    liquidate(p, book_of(state, env, a), g)
                state.active[env, g, NOW] = 0
                state.active[env, g, CAUSE] = cause
    active = 0
    for g in range(p.agent.shape[0]):  # after every liquidation, which moves the marks of the others
        state.equity[env, g, BEFORE] = state.equity[env, g, NOW]
        state.equity[env, g, NOW] = equity_of(state, env, g, p.mark_others)
        state.money[env, g, BEFORE] = state.money[env, g, NOW]
        state.money[env, g, NOW] = fees_of(state.account, env, g, p.taker_fee, p.maker_rebate)
        active += state.active[env, g, NOW]
    return active


# --- reset ---


@kernel()
def reset_env(p, f, tape, state, env):
    """Start a new episode of one environment. The caller has set state.clock[env, EPISODE]; STEP becomes 0."""
    open_episode(p, f, state, env)
    for a in range(state.head.shape[1]):
        reset_book(p, f, tape, state, env, a)
    enter_episode(p, state, env)


@kernel()
def open_episode(p, f, state, env):
    """Of a new episode what must be known before its books are made: the clock, the regime, the fundamentals."""
    clock = state.clock[env]
    episode = clock[EPISODE]
    clock[STEP] = 0
    clock[REGIME] = 0
    if p.replay:
        key = stream(p.seed[0], p.first_env + env, 0, episode, 0, REPLAY)
        span = p.replay_to - p.replay_from
        clock[START_NS] = p.replay_from + np.int64((draw(key, 0) >> U64(1)) % U64(span + 1))
    else:
        move_regime(p, state, env, 1)
        if p.day.shape[0] > 0:
            start_day(p, state, env)
        for u in range(p.origin.shape[0]):
            state.fundamental[env, u] = p.origin[u]
            state.news[env, u] = p.origin[u]
        key = stream(p.seed[0], p.first_env + env, 0, episode, np.int64(-1), VENUE)
        for a in range(state.deviation.shape[1]):
            state.deviation[env, a] = (unit_normal(f, draw(key, a)) * p.book[a, VENUE_STD]) >> Q16


@kernel()
def enter_episode(p, state, env):
    """The agents and events of a new episode, whose books stand."""
    clock = state.clock[env]
    episode = clock[EPISODE]
    for g in range(p.agent.shape[0]):
        state.equity[env, g, NOW] = 0
        state.money[env, g, NOW] = 0.0
        state.money[env, g, PEAK] = 0.0
        state.active[env, g, NOW] = 1
        state.active[env, g, CAUSE] = GOING_ON
        for a in range(state.head.shape[1]):
            key = stream(p.seed[0], p.first_env + env, a, episode, g, TARGET)
            side = p.agent[g, TARGET_SIDE]
            if side == 0:
                side = 1 if draw(key, 0) >> U64(63) else -1
            state.target[env, g, a] = side * p.target[g, a]
    if p.stagger and episode == 0:
        key = stream(p.seed[0], p.first_env + env, 0, episode, 0, STAGGER)
        clock[STEP] = below(draw(key, 0) >> U64(32), p.episode_steps)
        clock[START_NS] -= clock[STEP] * p.dt_ns  # the books stand at the time of this step
    if p.stressed:
        reset_stress(p, state, env)


@kernel()
def reset_book(p, f, tape, state, env, a):
    """Make book a anew: from the tape at the episode's start, or filled evenly and warmed up with noise."""
    b = book_of(state, env, a)
    b.head[MATCHING] = p.matching
    clock = state.clock[env]
    b.head[STEP_NS] = 0 if p.replay else -p.book[a, WARMUP_NS]  # the tape's times count from midnight
    if p.replay:
        key = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], 0, REPLAY)
        load_tape(b, tape, a, key, clock[START_NS])
    else:
        fundamental = fundamental_of(p, state, env, a)
        bid = (fundamental >> Q16) - p.book[a, INITIAL_SPREAD] // 2
        ask = bid + p.book[a, INITIAL_SPREAD]
        clear(b, bid, ask)
        depth = p.book[a, INITIAL_DEPTH]
        if depth > 0:
            for level in range(p.book[a, INITIAL_LEVELS]):
                rest_lots(b, 1, bid - level, depth, NOBODY)
                rest_lots(b, -1, ask + level, depth, NOBODY)
        key = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], 0, WARMUP)
        regime = clock[REGIME]
        start_memory(p, f, state, env, b, a)
        if p.day.shape[0] > 0:
            b.head[ACTIVITY] = p.day[time_of_day(p, state, env), 0]
        due, rate = _first_event(b, f, regime, a, fundamental, key)
        until = p.book[a, WARMUP_NS] * 1e-9
        run_flow(b, f, regime, a, fundamental, key, 0, 0.0, due, rate, until)
        if f.book[a, RICH]:
            open_memory(b, f, a, until)
    recentre(b)
    b.head[OFI] = 0
    b.head[VOLUME] = 0
    b.head[SIGNED] = 0
    b.head[EVENTS] = 0
    mid = 0.5 * (b.head[BID] + b.head[ASK])
    feature = state.feature[env, a]
    feature[MID_PREV] = mid
    feature[MID_START] = mid
    feature[MID_SLOW] = mid
    feature[VARIANCE] = 0.0
