"""Noise order flow: a Markov jump process simulated exactly, from tables of rates by distance.

In: `Flow` tables, a stream of draws, a Book. The next event is exponential in the total rate; its kind, side, distance
and size come from integer draws. Cancel rates that differ by distance are met by thinning: candidates at the largest
rate, each kept with probability rate(distance) / largest. Rates follow Cont, Stoikov, Talreja (2010) and, flat, Smith,
Farmer, Gillemot, Krishnamurthy (2003). Limit and market sides tilt towards the fundamental; their total does not.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ..config import Config, SizeConfig
from .book import NOBODY, cancel_noise, market, noise_at, rest_lots
from .jit import inlined, kernel
from .rng import FUNDAMENTAL, LOW32, REGIME_DRAW, U64, VENUE, below, draw, mix, stream
from .state import (
    ACCEPT_LEN,
    ALIAS_LEN,
    ASK,
    BID,
    EVENTS,
    LOG_ROOM,
    NOISE_ASK,
    NOISE_BID,
    NOW_NS,
    Q16,
    RATE_CANCEL,
    RATE_LIMIT,
    RATE_MARKET,
    REGIME,
    SIZE_CANCEL,
    SIZE_LIMIT,
    SIZE_MARKET,
    TILT,
    TILT_MAX,
    VENUE_MOVE,
    Flow,
)

SIZE_BINS = 1024
WAIT_BINS = 2048
NEVER = 1e300


# --- the event loop ---


@inlined()
def total_rate(b, f, regime, a):
    """Events per second: limit and market orders, and candidates for a cancel."""
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
    most = f.tilt[a, TILT_MAX]
    return 32768 + min(max((off * f.tilt[a, TILT]) >> Q16, -most), most)


@inlined()
def event(b, f, regime, a, fundamental, rate, r1, r2):
    """One event of the noise flow on book a in `regime`, decided by 128 random bits."""
    h = b.head
    pick = r1 & LOW32
    x = np.float64(r1 >> U64(32)) * 2.3283064365386963e-10 * rate
    quantile = np.int64((r2 >> U64(12)) & U64(1023))
    if x < f.rate[regime, a, RATE_LIMIT]:
        y = pick * U64(f.tilt[a, ALIAS_LEN])
        j = np.int64(y >> U64(32))
        if np.int64((y & LOW32) >> U64(16)) >= f.alias[a, j, 0]:
            j = f.alias[a, j, 1]
        distance = j + 1 + f.widen[regime]
        lots = np.int64(f.size[a, SIZE_LIMIT, quantile])
        h[EVENTS] += 1
        side = 1 if np.int64(r2 >> U64(48)) < buy_chance(b, f, a, fundamental) else -1
        rest_lots(b, side, h[BID + ((1 + side) >> 1)] - side * distance, lots, NOBODY)
    elif x < f.rate[regime, a, RATE_LIMIT] + f.rate[regime, a, RATE_MARKET]:
        h[EVENTS] += 1
        lots = np.int64(f.size[a, SIZE_MARKET, quantile])
        side = 1 if np.int64(r2 >> U64(48)) < buy_chance(b, f, a, fundamental) else -1
        market(b, NOBODY, side * lots, 0)
    else:
        position = below(pick, h[NOISE_BID] + h[NOISE_ASK])
        keep = np.int64((r2 >> U64(32)) & U64(0xFFFF))
        _cancel_one(b, f, a, position, keep, np.int64(f.size[a, SIZE_CANCEL, quantile]))


@inlined()
def _cancel_one(b, f, a, position, keep, lots):
    """A candidate for a cancel: noise lot number `position`, counted from the best bid down, then the best ask up."""
    h = b.head
    k = 1 if position >= h[NOISE_BID] else 0
    position -= k * h[NOISE_BID]
    side = 1 - 2 * k
    px = h[BID + k]
    here = noise_at(b, px)
    while position >= here:
        position -= here
        px -= side
        here = noise_at(b, px)
    distance = (h[ASK - k] - px) * side
    if keep < f.accept[a, min(distance, f.tilt[a, ACCEPT_LEN]) - 1]:
        h[EVENTS] += 1
        cancel_noise(b, px, lots, position)


@inlined()
def run_flow(b, f, regime, a, fundamental, key, index, now, due, rate, until):
    """Run events up to time `until` (seconds in the step). Returns (index, due, rate) of the event still to come.

    An event that was waiting when an agent's message arrived keeps its draw: what is left of its unit exponential is
    stretched by the change of rate, so that a message that changes nothing leaves the noise as it was.
    """
    new_rate = total_rate(b, f, regime, a)
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
        event(b, f, regime, a, fundamental, rate, r1, r2)
        rate = total_rate(b, f, regime, a)
        due += wait(f, next2, rate)
        r1 = next1
        r2 = next2
    return index, due, rate


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
    key = stream(p.seed, p.first_env + env, 0, clock[0], clock[1], REGIME_DRAW)
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
    key = stream(p.seed, p.first_env + env, 0, clock[0], clock[1], FUNDAMENTAL)
    for u in range(count):
        z = 0
        for v in range(u + 1):
            z += p.mix[u, v] * unit_normal(f, draw(key, v))
        move = ((z >> Q16) * p.sigma[clock[REGIME], u]) >> Q16
        pull = ((p.origin[u] - state.fundamental[env, u]) * p.revert) >> Q16
        jump = draw(key, count + u)
        if np.int64(jump >> U64(32)) < p.jump_chance:
            move += (unit_normal(f, jump) * p.jump_size) >> Q16
        state.fundamental[env, u] += move + pull
    key = stream(p.seed, p.first_env + env, 0, clock[0], clock[1], VENUE)
    for a in range(state.deviation.shape[1]):
        move = (unit_normal(f, draw(key, a)) * p.book[a, VENUE_MOVE]) >> Q16
        state.deviation[env, a] = ((state.deviation[env, a] * p.venue_keep) >> Q16) + move


# --- tables ---


def size_table(size: SizeConfig) -> np.ndarray:
    """(1024,) int64 lots by quantile; the sum is that of the exact mean (rounded), spread over the last bins."""
    if size.mean is not None:
        p = 1.0 / size.mean
        u = (np.arange(SIZE_BINS) + 0.5) / SIZE_BINS
        table = np.ceil(np.log1p(-u) / np.log1p(-p)) if p < 1.0 else np.ones(SIZE_BINS)
        mean = size.mean
    else:
        values, weights = np.asarray(size.values), np.asarray(size.weights, dtype=np.float64)
        order = np.argsort(values)
        values, weights = values[order], weights[order] / weights.sum()
        u = (np.arange(SIZE_BINS) + 0.5) / SIZE_BINS
        table = values[np.minimum(np.searchsorted(np.cumsum(weights), u), len(values) - 1)].astype(np.float64)
        mean = float(values @ weights)
    table = np.maximum(table, 1).astype(np.int64)
    table[-1] = max(table[-1] + round(mean * SIZE_BINS - table.sum()), 1)
    return table


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias table: (D,) int64 cuts of 65536 and (D,) int64 alternatives. Uniform where all weights are 0."""
    n = len(weights)
    total = weights.sum()
    share = weights * n / total if total > 0 else np.ones(n)
    cut, to = np.ones(n), np.arange(n)
    small = [i for i in range(n) if share[i] < 1.0]
    large = [i for i in range(n) if share[i] >= 1.0]
    share = share.copy()
    while small and large:
        s, g = small.pop(), large.pop()
        cut[s], to[s] = share[s], g
        share[g] -= 1.0 - share[s]
        (small if share[g] < 1.0 else large).append(g)
    return np.round(cut * 65536).astype(np.int64), to.astype(np.int64)


def exponential_table() -> np.ndarray:
    """(WAIT_BINS + 1,) int64 -log(i / WAIT_BINS) in 1/2^32; entry 0 is not used. Scaled so that linear interpolation
    between the entries has mean exactly 1 (a chord lies above the logarithm by 1 part in 25,000)."""
    edges = -np.log(np.maximum(np.arange(WAIT_BINS + 1), 1) / WAIT_BINS)
    chords = 0.5 * (edges[1:-1] + edges[2:])
    mean = (chords.sum() + edges[1]) / WAIT_BINS / (1.0 - 1.0 / WAIT_BINS)
    return np.round(edges / mean * 2.0**32).astype(np.int64)


def normal_table(bins: int = 4096) -> np.ndarray:
    """(bins,) int64 means of the unit normal between its quantiles in 1/65536, scaled to variance 1."""
    edges = norm.pdf(norm.ppf(np.arange(bins + 1) / bins))
    z = -np.diff(edges) * bins
    return np.round(z / np.sqrt((z * z).mean()) * 65536).astype(np.int64)


def _padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, rows))
    return np.stack([np.pad(r, (0, width - len(r)), mode="edge") for r in rows]), np.array(
        [len(r) for r in rows]
    )


def make_flow(cfg: Config) -> Flow:
    """Tables of every regime and book, from `cfg.flows` and `cfg.regimes`."""
    regimes = list(cfg.regimes.kinds.values())
    limits = [f.limit_table() for f in cfg.flows]
    cancels = [f.cancel_table() for f in cfg.flows]
    sizes = np.stack(
        [np.stack([size_table(s) for s in (f.limit_size, f.market_size, f.cancel_size)]) for f in cfg.flows]
    )
    cancel_mean = sizes[:, SIZE_CANCEL].mean(axis=1)
    aliases = [alias_table(t) for t in limits]
    alias_cut, alias_len = _padded([a[0] for a in aliases])
    alias_to, _ = _padded([a[1] for a in aliases])
    highest = np.array([t.max() for t in cancels])
    accept, accept_len = _padded(
        [np.round(t / max(m, 1e-300) * 65536).astype(np.int64) for t, m in zip(cancels, highest, strict=True)]
    )
    scale = np.array([[r.limit, r.market, r.cancel] for r in regimes])
    rates = [
        2.0 * scale[:, :1] * np.array([t.sum() for t in limits]),
        2.0 * scale[:, 1:2] * np.array([f.market_rate for f in cfg.flows]),
        # 24 bits, so that rate times lots is exact up to 2^29 lots: a GPU's fused multiply-add then rounds as the CPU does
        (scale[:, 2:] * highest / cancel_mean).astype(np.float32).astype(np.float64),
    ]
    tilt = np.round(np.array([[f.tilt, f.tilt_max] for f in cfg.flows]) * 65536).astype(np.int64)
    return Flow(
        rate=np.ascontiguousarray(np.stack(rates, axis=-1)),
        widen=np.array([r.widen for r in regimes], dtype=np.int64),
        alias=np.ascontiguousarray(np.stack([alias_cut, alias_to], axis=-1)),
        accept=accept,
        size=sizes.astype(np.int32),
        tilt=np.ascontiguousarray(np.concatenate([tilt, alias_len[:, None], accept_len[:, None]], axis=1)),
        wait=exponential_table(),
        normal=normal_table(),
    )
