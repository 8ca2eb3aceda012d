"""Replay: recorded messages in the place of the noise flow; agents' orders join the recorded book with queue priority.

A recorded message that no longer fits, because an agent traded what it refers to, is clipped and counted. With no agent
the book equals the recorded one on levels 1..L-1 after every message.
"""

from __future__ import annotations

import numpy as np

from .book import NOBODY, cancel_noise, clear, holds, limit, noise_at, rest_lots, set_noise, sweep
from .jit import inlined, kernel
from .rng import U64, below, draw
from .state import (
    CLIPPED,
    EVENTS,
    NOW_NS,
    STEP_NS,
    TAPE_CANCEL,
    TAPE_LIMIT,
    TAPE_POS,
    TAPE_SET,
    TAPE_TRADE,
)


@inlined()
def apply_message(b, kind, side, px, lots, bits):
    """Apply one recorded message to the book; `bits` place a cancel in the queue (its order is not identified)."""
    h = b.head
    h[EVENTS] += 1
    if kind == TAPE_LIMIT:
        limit(b, side, px, lots)
    elif kind == TAPE_CANCEL:
        noise = noise_at(b, px) if holds(b, side, px) else 0
        h[CLIPPED] += lots
        if noise > 0:
            h[CLIPPED] -= cancel_noise(b, px, lots, below(bits >> U64(32), noise))
    elif kind == TAPE_TRADE:
        _, left = sweep(b, -side, px, lots, NOBODY, 0)
        h[CLIPPED] += left
    elif kind == TAPE_SET:
        set_noise(b, side, px, lots)


@kernel()
def run_tape(b, tape, a, key, until):
    """Apply book a's messages up to and including time `until` (ns after midnight)."""
    pos = b.head[TAPE_POS]
    end = tape.start[a + 1]
    while pos < end and tape.time[pos] <= until:
        b.head[NOW_NS] = tape.time[pos] - b.head[STEP_NS]
        apply_message(
            b,
            tape.kind[pos],
            np.int64(tape.side[pos]),
            np.int64(tape.px[pos]),
            np.int64(tape.qty[pos]),
            draw(key, pos),
        )
        pos += 1
    b.head[TAPE_POS] = pos


@kernel()
def load_tape(b, tape, a, key, at):
    """Set the book to the recorded one at time `at` (ns after midnight): nearest snapshot before, then its messages."""
    first = tape.start[a]
    low = first
    high = tape.start[a + 1]
    while low < high:  # first message later than `at`
        half = (low + high) >> 1
        if tape.time[half] <= at:
            low = half + 1
        else:
            high = half
    snap = min((low - first) // tape.every, tape.snap_start[a + 1] - tape.snap_start[a] - 1)
    row = tape.snap_start[a] + snap
    bid = np.int64(tape.snap_px[row, 0, 0])
    ask = np.int64(tape.snap_px[row, 1, 0])
    pos = first + snap * tape.every
    if tape.snap_qty[row, 0, 0] == 0 and tape.snap_qty[row, 1, 0] == 0:
        bid = (
            np.int64(tape.px[pos]) - 1 if pos < tape.start[a + 1] else 0
        )  # the window goes where the messages are
        ask = bid + 2
    elif tape.snap_qty[row, 0, 0] == 0:
        bid = ask - 1
    elif tape.snap_qty[row, 1, 0] == 0:
        ask = bid + 1
    clear(b, bid, ask)
    for k in range(2):
        for level in range(tape.snap_px.shape[2]):
            lots = np.int64(tape.snap_qty[row, k, level])
            if lots > 0:
                rest_lots(b, 1 - 2 * k, np.int64(tape.snap_px[row, k, level]), lots, NOBODY)
    b.head[TAPE_POS] = pos
    run_tape(b, tape, a, key, at)
