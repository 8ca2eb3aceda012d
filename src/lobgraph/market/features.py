"""Features of the noise flow: rates by type that excite each other, depend on the book, and hidden orders that last.

In: the book's memory (columns of its header behind HEAD), `Flow` tables. Types are 2 * kind + (0 bid or buy, 1 ask or sell).
A rate is a table's mean rate times multipliers: of the state of the book (Huang, Lehalle, Rosenbaum 2015), of the time of day
and of stress, and the excitation, which has mean 1 (Hawkes 1971). Between events rates only fall, so that the rate after
the last event bounds them: the next event is met by thinning (Ogata 1981). All in integers.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .rng import DAY, METAORDER, U64, below, draw, stream
from .state import (
    ACTIVE_META,
    ACTIVITY,
    ASK,
    BASE,
    BESIDE,
    BID,
    COUNT,
    EPISODE,
    EXACT_LOTS,
    EXCITE,
    EXCITED,
    EXCITED_AT,
    FROM_OTHERS,
    KIND_CANCEL,
    KIND_MARKET,
    META_SHARE,
    NOISE_BID,
    OTHERS_FIRST,
    QUEUE_SHIFT,
    RATE,
    REGIME,
    RICH,
    SCALE,
    START_NS,
    STEP,
    TYPES,
)

ONE = 4096  # of multipliers
RARE = ONE >> 4  # an order of a type that stress has less of brings at most so much more
MOST = np.int64(1) << 38  # of an excitation: 16384 times the mean rate
LARGEST = np.int64(1) << 41  # of a base rate
LONG = np.int64(1) << 27  # 2^-20 s: 128 s of flow time at once


@inlined()
def queue_bin_of(b, f, a, k):
    """Bin of the lots at the best price of side k."""
    lots = np.int64(b.qty[b.head[BID + k] & (b.qty.shape[0] - 1)])
    if lots >= EXACT_LOTS:
        lots = EXACT_LOTS + min(lots >> f.book[a, QUEUE_SHIFT], f.queue_bin.shape[1] - EXACT_LOTS - 1)
    return f.queue_bin[a, lots]


@inlined()
def spread_bin_of(b, f, a):
    return f.spread_bin[a, min(b.head[ASK] - b.head[BID], f.spread_bin.shape[1] - 1)]


@inlined()
def side_met(j):
    """Side of the book (0 bid, 1 ask) whose queue type j concerns: its own; of a market order the one that it meets."""
    return (j & 1) ^ (1 if j >> 1 == KIND_MARKET else 0)


@inlined()
def type_rate(b, f, regime, a, j, buys, s, q):
    """Present rate of type j, 2^-20 per second.

    buys: probability that noise buys, of 65536. s, q: bins of the spread and of the queue on the side concerned.
    """
    h = b.head
    kind = j >> 1
    rate = ((h[BASE + j] * f.react[a, s, q, kind]) >> 12) * (h[EXCITED + j] >> 12)
    if kind == KIND_CANCEL:
        return ((rate >> 12) * h[NOISE_BID + (j & 1)]) >> 12
    return ((rate >> 12) * (65536 - buys if j & 1 else buys)) >> 15


@kernel()
def set_bases(b, f, regime, a):
    """Write this step's rates of the types: the tables' in the regime, times the multipliers of stress and of the day."""
    h = b.head
    for j in range(TYPES):
        scale = (h[SCALE + j] * h[ACTIVITY]) >> 12
        h[BASE + j] = min((f.type_rate[regime, a, j >> 1] * scale) >> 12, LARGEST)


@inlined()
def set_rates(b, f, regime, a, buys):
    """Write the rates of the six types; returns their sum, per second."""
    h = b.head
    s = spread_bin_of(b, f, a)
    bid, ask = queue_bin_of(b, f, a, 0), queue_bin_of(b, f, a, 1)
    total = np.int64(0)
    for j in range(TYPES):
        rate = type_rate(b, f, regime, a, j, buys, s, ask if side_met(j) else bid)
        h[RATE + j] = rate
        total += rate
    return np.float64(total) * 9.5367431640625e-07


@inlined()
def relax(b, f, a, now):
    """Let the excitations fall off up to time `now`, seconds in the step."""
    h = b.head
    at = np.int64(now * 1048576.0)
    passed = min(((at - h[EXCITED_AT]) * h[ACTIVITY]) >> 12, LONG)
    h[EXCITED_AT] = at
    for j in range(TYPES):
        h[EXCITED + j] = f.ground[a, j >> 1] + h[BESIDE]
    for m in range(f.decay.shape[1]):
        x = (passed * f.decay[a, m]) >> 20  # halvings, 1/2^24
        i = (x >> 12) & 4095
        factor = f.half[i] - (((f.half[i] - f.half[i + 1]) * (x & 4095)) >> 12)
        halvings = min(x >> 24, 38) + 24
        for j in range(TYPES):
            left = (h[EXCITE + TYPES * m + j] * factor) >> halvings
            h[EXCITE + TYPES * m + j] = left
            h[EXCITED + j] += left


@inlined()
def under_stress(jump, scale):
    """What one event brings where stress multiplies its type's rate by `scale`: where there are more each brings less, as in
    regimes, or a crash would make the flow explode."""
    return jump if scale == ONE else (jump << 12) // max(scale, RARE)


@inlined()
def excite(b, f, regime, a, j):
    """An event of type j: count it and raise what it brings."""
    h = b.head
    h[COUNT + j] += 1
    kind, side = j >> 1, j & 1
    scale = h[SCALE + j]
    for m in range(f.decay.shape[1]):
        for effect in range(3):
            for opposite in range(2):
                i = 2 * effect + (side ^ opposite)
                if h[EXCITED + i] < MOST:
                    jump = under_stress(f.jump[regime, a, m, kind, opposite, effect], scale)
                    h[EXCITE + TYPES * m + i] += jump
                    h[EXCITED + i] += jump


@inlined()
def side_of_part(b, f, a, j, buys, bits):
    """The type of a market order, picked as j, that may be a part of a hidden order: which takes its side.

    Orders that others brought, and those of stress, keep the side they came on.
    """
    h = b.head
    active = f.book[a, ACTIVE_META]
    if active == 0 or below(bits >> U64(32), max(h[SCALE + j], ONE)) >= ONE:
        return j
    bits = draw(bits, 1)
    if below(bits >> U64(32), h[EXCITED + j]) >= f.ground[a, KIND_MARKET] + h[BESIDE]:
        return j
    bits = draw(bits, 1)
    if np.int64(bits & U64(0xFFFF)) >= f.book[a, META_SHARE]:
        return j
    at = (
        EXCITE
        + TYPES * f.decay.shape[1]
        + np.int64(((bits >> U64(16)) & U64(0xFFFF)) * U64(active) >> U64(16))
    )
    if h[at] == 0:
        h[at] = new_length(f, a, bits >> U64(32)) * (
            1 if np.int64(draw(bits, 2) & U64(0xFFFF)) < buys else -1
        )
    side = 1 if h[at] > 0 else -1
    h[at] -= side
    return 2 * KIND_MARKET + ((1 - side) >> 1)


@inlined()
def new_length(f, a, bits):
    """Parts of a new hidden order, from 20 random bits."""
    i = np.int64(bits & U64(1023))
    if i > 0:
        return f.length[a, 0, i]
    return f.length[a, 1, np.int64((bits >> U64(10)) & U64(1023))]


@kernel()
def rest_memory(b, f, a):
    """A book's memory at rest: multipliers of one, excitations at their mean."""
    h = b.head
    h[ACTIVITY] = ONE
    h[BESIDE] = f.book[a, FROM_OTHERS]
    for j in range(TYPES):
        h[SCALE + j] = ONE
        h[EXCITED + j] = f.ground[a, j >> 1] + h[BESIDE]
        for m in range(f.decay.shape[1]):
            h[EXCITE + TYPES * m + j] = f.excited[a, m, j >> 1]
            h[EXCITED + j] += f.excited[a, m, j >> 1]


@kernel()
def start_memory(p, f, state, env, b, a):
    """A book's memory at the start of an episode: at rest, with hidden orders under way."""
    if f.book[a, RICH] == 0:
        return
    rest_memory(b, f, a)
    clock = state.clock[env]
    key = stream(p.seed[0], p.first_env + env, a, clock[EPISODE], 0, METAORDER)
    first = EXCITE + TYPES * f.decay.shape[1]
    for i in range(f.book[a, ACTIVE_META]):
        bits = draw(key, i)
        left = f.length[a, 2, np.int64(bits & U64(1023))]
        b.head[first + i] = left if bits >> U64(63) else -left


@inlined()
def end_memory(b, f, a, dt):
    """The next step counts its time from 0."""
    if f.book[a, RICH]:
        relax(b, f, a, dt)
        b.head[EXCITED_AT] -= np.int64(dt * 1048576.0)


@inlined()
def clear_counts(head):
    """Start counting events by type."""
    for j in range(TYPES):
        head[COUNT + j] = 0


@kernel()
def open_memory(b, f, a, ran):
    """The book has run alone for `ran` seconds; now an episode begins, and other books bring what they bring."""
    h = b.head
    end_memory(b, f, a, ran)
    clear_counts(h)
    if f.decay.shape[1] > 0:
        for j in range(TYPES):
            h[EXCITE + j] += f.book[a, OTHERS_FIRST]  # the slowest
    h[BESIDE] = 0


@kernel()
def spill_over(p, f, state, env):
    """Events of the last step excite the other books. Called while the regime and the stress of that step stand."""
    books = f.spill.shape[1]
    regime = state.clock[env, REGIME]
    for a in range(books):
        for other in range(books):
            for j in range(TYPES):
                jump = f.spill[regime, other, a, j >> 1]
                if jump != 0 and f.book[a, RICH] and f.book[other, RICH]:
                    at = EXCITE + (j if jump > 0 else j ^ 1)  # the slowest
                    h, cause = state.head[env, a], state.head[env, other]
                    size = under_stress(abs(jump), cause[SCALE + j])
                    h[at] = min(h[at] + size * cause[COUNT + j], MOST)


@kernel()
def start_day(p, state, env):
    """Draw the time of day at which an episode starts."""
    clock = state.clock[env]
    key = stream(p.seed[0], p.first_env + env, 0, clock[EPISODE], 0, DAY)
    span = p.day_width * p.day.shape[0] - p.episode_steps * p.dt_ns
    clock[START_NS] = p.day_start + np.int64((draw(key, 0) >> U64(1)) % U64(span + 1))


@inlined()
def time_of_day(p, state, env):
    """Row of p.day at the step about to run."""
    clock = state.clock[env]
    at = (clock[START_NS] + clock[STEP] * p.dt_ns - p.day_start) // p.day_width
    return min(max(at, 0), p.day.shape[0] - 1)
