"""Messages and rows -> the messages of a tape: one pass over the rows, on a scratch book of a few levels.

After each message: a level beyond rank L is forgotten, an emptied level lets the row's L-th come into view. If the book
is then not the row, the row is repaired and counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..market.jit import kernel
from ..market.state import TAPE_CANCEL, TAPE_HALT, TAPE_LIMIT, TAPE_SET, TAPE_TRADE


class Rows(NamedTuple):
    """Messages and the book after each, all int64."""

    kind: np.ndarray  # (n,) TAPE_*
    side: np.ndarray  # (n,) +1 bid, -1 ask
    px: np.ndarray  # (n,) ticks
    qty: np.ndarray  # (n,) lots
    row_px: np.ndarray  # (n, 2, L) ticks
    row_qty: np.ndarray  # (n, 2, L) lots, 0: no such level


class Scratch(NamedTuple):
    """A book as sorted levels, row 0 bids."""

    px: np.ndarray  # (2, 3 L + 2) int64 ticks, best first; row 0 bids
    qty: np.ndarray  # (2, 3 L + 2) int64 lots, all > 0
    held: np.ndarray  # (2,) int64 occupied levels


def make_scratch(levels: int) -> Scratch:
    room = 3 * levels + 2
    return Scratch(np.zeros((2, room), np.int64), np.zeros((2, room), np.int64), np.zeros(2, np.int64))


class Out(NamedTuple):
    """What `walk` writes."""

    stream: np.ndarray  # (size, 5) int64: kind, side, px, qty, row; size 0: only count
    snap_px: np.ndarray  # (S, 2, L) int32
    snap_qty: np.ndarray
    every: int


@kernel()
def walk(rows, row_end, book, out):
    """Write the tape and its snapshots to `out`, `row_end` (n,). Returns (size, reveals, forgets, mismatches)."""
    kind, side, px, qty, row_px, row_qty = rows
    n, _, levels = row_px.shape
    for k in range(2):
        for j in range(levels):
            if row_qty[0, k, j] > 0:
                _put(book, k, row_px[0, k, j], row_qty[0, k, j])
    size, reveals, forgets, mismatches = 0, 0, 0, 0
    row_end[0] = 0
    for i in range(1, n):
        k = (1 - side[i]) >> 1
        before = book.held[k]
        fits = _fits(book, kind[i], k, px[i], qty[i])
        size = _emit(out, size, book, kind[i] if fits else TAPE_HALT, k, px[i], qty[i], i)
        last_px, last_qty = row_px[i, k, levels - 1], row_qty[i, k, levels - 1]
        deeper = book.held[k] == 0 or (book.px[k, book.held[k] - 1] - last_px) * (1 - 2 * k) > 0
        if book.held[k] > levels:
            size = _emit(out, size, book, TAPE_SET, k, book.px[k, levels], 0, i)
            forgets += 1
        elif before == levels and book.held[k] == levels - 1 and last_qty > 0 and deeper:
            size = _emit(out, size, book, TAPE_SET, k, last_px, last_qty, i)
            reveals += 1
        if not fits or not _equal(book, row_px[i], row_qty[i]):
            mismatches += 1
            size = _repair(out, size, book, row_px[i], row_qty[i], i)
        row_end[i] = size
    if size % out.every == 0:
        _snap(out, size, book)
    return size, reveals, forgets, mismatches


@kernel()
def _find(book, k, px):
    """Rank of the level at px, or of the first one beyond it."""
    j = 0
    while j < book.held[k] and (book.px[k, j] - px) * (1 - 2 * k) > 0:
        j += 1
    return j


@kernel()
def _put(book, k, px, qty):
    """Make the lots at px equal qty (0: no level)."""
    j, held = _find(book, k, px), book.held[k]
    here = j < held and book.px[k, j] == px
    if qty > 0 and not here:
        for m in range(held, j, -1):
            book.px[k, m], book.qty[k, m] = book.px[k, m - 1], book.qty[k, m - 1]
        book.held[k] += 1
    elif qty == 0 and here:
        for m in range(j, held - 1):
            book.px[k, m], book.qty[k, m] = book.px[k, m + 1], book.qty[k, m + 1]
        book.held[k] -= 1
    if qty > 0:
        book.px[k, j], book.qty[k, j] = px, qty


@kernel()
def _fits(book, kind, k, px, qty):
    """Whether the message can happen to the book: no crossing order, no cancel or trade of lots that are not there."""
    if kind == TAPE_LIMIT:
        return book.held[1 - k] == 0 or (book.px[1 - k, 0] - px) * (1 - 2 * k) > 0
    if kind in (TAPE_CANCEL, TAPE_TRADE):
        j = _find(book, k, px)
        there = j < book.held[k] and book.px[k, j] == px and book.qty[k, j] >= qty
        return there and (kind == TAPE_CANCEL or j == 0)
    return True


@kernel()
def _emit(out, size, book, kind, k, px, qty, row):
    """Append one message to the tape and carry it out on the scratch book. Returns the tape's new size."""
    if size % out.every == 0:
        _snap(out, size, book)
    if out.stream.shape[0] > 0:
        out.stream[size, 0], out.stream[size, 1], out.stream[size, 2] = kind, 1 - 2 * k, px
        out.stream[size, 3], out.stream[size, 4] = qty, row
    j = _find(book, k, px)
    there = book.qty[k, j] if j < book.held[k] and book.px[k, j] == px else 0
    if kind == TAPE_LIMIT:
        _put(book, k, px, there + qty)
    elif kind in (TAPE_CANCEL, TAPE_TRADE):
        _put(book, k, px, there - qty)
    elif kind == TAPE_SET:
        _put(book, k, px, qty)
    return size + 1


@kernel()
def _snap(out, size, book):
    if out.snap_px.shape[0] > 0:
        for k in range(2):
            for j in range(min(book.held[k], out.snap_px.shape[2])):
                out.snap_px[size // out.every, k, j] = book.px[k, j]
                out.snap_qty[size // out.every, k, j] = book.qty[k, j]


@kernel()
def _equal(book, px, qty):
    """Whether the scratch book is the row px, qty (2, L)."""
    levels = px.shape[1]
    for k in range(2):
        if book.held[k] > levels:
            return False
        for j in range(levels):
            if j >= book.held[k]:
                if qty[k, j] > 0:
                    return False
            elif book.px[k, j] != px[k, j] or book.qty[k, j] != qty[k, j]:
                return False
    return True


@kernel()
def _repair(out, size, book, px, qty, i):
    """Turn the scratch book into the row by TAPE_SETs: what is not in the row goes first, then the row's levels come,
    the asks first where the market moved up, so that no level ever crosses the other side."""
    up = 1 if book.held[1] > 0 and qty[1, 0] > 0 and px[1, 0] > book.px[1, 0] else 0
    for k in range(2):
        for j in range(book.held[k] - 1, -1, -1):
            kept = False
            for m in range(px.shape[1]):
                kept = kept or (qty[k, m] > 0 and px[k, m] == book.px[k, j])
            if not kept:
                size = _emit(out, size, book, TAPE_SET, k, book.px[k, j], 0, i)
    for turn in range(2):
        k = 1 - turn if up else turn
        for m in range(px.shape[1]):
            j = _find(book, k, px[k, m])
            same = j < book.held[k] and book.px[k, j] == px[k, m] and book.qty[k, j] == qty[k, m]
            if qty[k, m] > 0 and not same:
                size = _emit(out, size, book, TAPE_SET, k, px[k, m], qty[k, m], i)
    return size
