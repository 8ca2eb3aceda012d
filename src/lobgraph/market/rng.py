"""Counter-based random numbers: a draw is a function of (seed, environment, book, episode, step, purpose, index).

Nothing is carried from draw to draw, so that agents never shift the noise and neither threads nor the number of
environments change it. The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel

U64 = np.uint64
GOLDEN = U64(0x9E3779B97F4A7C15)
LOW32 = U64(0xFFFFFFFF)

FLOW = 1  # purposes
WARMUP = 2
REGIME_DRAW = 3
FUNDAMENTAL = 4
VENUE = 5
ARRIVAL = 6
TARGET = 7
REPLAY = 8
STAGGER = 9
METAORDER = 10
DAY = 11
REVISE = 12
STRESS = 20


@inlined()
def mix(z):
    """Scramble 64 bits."""
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@kernel()
def stream(seed, env, book, episode, step, purpose):
    """Key of one stream of draws, uint64; arguments are integers."""
    z = mix(U64(seed) + GOLDEN)
    z = mix(z ^ (U64(env) * U64(0xD1342543DE82EF95) + U64(purpose)))
    z = mix(z ^ (U64(book) * U64(0xAF251AF3B0F025B5) + U64(episode)))
    return mix(z ^ (U64(step) + GOLDEN))


@inlined()
def draw(key, index):
    """64 random bits: number `index` of the stream."""
    return mix(key + U64(index) * GOLDEN)


@inlined()
def below(bits32, n):
    """Map 32 random bits to 0 .. n - 1 (n < 2^48; from 2^32 on in steps of n / 2^16), int64."""
    if n < 4294967296:
        return np.int64((bits32 * U64(n)) >> U64(32))
    return np.int64(((bits32 >> U64(16)) * U64(n)) >> U64(16))
