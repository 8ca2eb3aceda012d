"""A recorded order book: raw messages and book rows in, a compact `Tape` out.

Files show L levels only, so messages alone do not suffice: a level coming into view at rank L was never announced.
The tape therefore carries, after a message, TAPE_SET for the level that the message moved into view (its lots taken from
the row) or out of it (0: forgotten). Levels 1..L-1 come from the messages alone; a row where that fails is repaired by
further TAPE_SETs and counted in `mismatches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..market.jit import kernel
from ..market.state import TAPE_CANCEL, TAPE_HALT, TAPE_HIDDEN, TAPE_LIMIT, TAPE_SET, TAPE_TRADE, Tape

NS = 1_000_000_000
MAX_PRICE = 1 << 28  # ticks
MAX_LOTS = 1 << 30
SUBMIT, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS, HALT = range(1, 8)  # LOBSTER's message types
TYPE_NAMES = {
    SUBMIT: "limit", REDUCE: "partial cancel", DELETE: "delete", EXECUTE: "exec visible",
    HIDDEN: "exec hidden", CROSS: "cross trade", HALT: "halt",
}  # fmt: skip
_KIND = np.full(8, TAPE_HALT, np.uint8)  # TAPE_* by message type
_KIND[[SUBMIT, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS]] = (
    TAPE_LIMIT, TAPE_CANCEL, TAPE_CANCEL, TAPE_TRADE, TAPE_HIDDEN, TAPE_HIDDEN,
)  # fmt: skip


class DataError(ValueError):
    """A data file that cannot be used: names the file, the line where there is one, and what would be right."""


@dataclass(frozen=True)
class Recording:
    """One asset's recorded day. Row i is the book after message i; n rows, L levels, sides [bid, ask], best first."""

    name: str  # ticker
    date: str  # YYYY-MM-DD, "" where the file name does not say
    levels: int  # L
    tick: int  # file price units per tick (LOBSTER: 1/10000 dollar)
    lot: int  # shares per lot
    start: int  # ns after midnight, as the file name says (or the first message)
    end: int  # ns after midnight
    time: np.ndarray  # (n,) int64 ns after midnight
    type: np.ndarray  # (n,) uint8 LOBSTER's message type
    order: np.ndarray  # (n,) int64 order id, 0 for hidden orders
    side: np.ndarray  # (n,) int8 of the resting order: +1 bid, -1 ask
    px: np.ndarray  # (n,) int32 ticks, rounded down for hidden executions between ticks
    qty: np.ndarray  # (n,) int32 lots
    row_px: np.ndarray  # (n, 2, L) int32 ticks, 0: no such level
    row_qty: np.ndarray  # (n, 2, L) int32 lots, 0: no such level
    tape: Tape  # one book; its message 0 follows row 0
    row_end: np.ndarray  # (n,) int64: after the first row_end[i] messages of the tape the book is row i
    reveals: int  # levels that came into view, taken from the rows
    forgets: int  # levels that left view
    mismatches: int  # rows i where row i-1 and message i do not give row i

    @property
    def rows(self) -> int:
        """Number of rows (and messages) in the files."""
        return len(self.time)

    @property
    def seconds(self) -> float:
        """Length of the recorded window."""
        return (self.end - self.start) / NS

    @property
    def counts(self) -> dict[str, int]:
        """Messages by type; types that never occur are left out."""
        found = np.bincount(self.type, minlength=8)
        return {name: int(found[code]) for code, name in TYPE_NAMES.items() if found[code]}

    @property
    def reach(self) -> int:
        """Largest distance in ticks of a recorded level from the mid: a replay window below 2 * reach drops levels."""
        there = self.row_qty > 0
        both = there[:, :, 0].all(axis=1)
        mid2 = self.row_px[:, :, 0].sum(axis=1)
        far = np.where(there, np.abs(2 * self.row_px - mid2[:, None, None]), 0)[both]
        return int(far.max(initial=0) + 1) // 2


def make_recording(
    *, name: str, date: str, tick: int, lot: int, start: int, end: int, time: np.ndarray, type: np.ndarray,
    order: np.ndarray, side: np.ndarray, px: np.ndarray, qty: np.ndarray, row_px: np.ndarray, row_qty: np.ndarray,
    every: int = 256,
) -> Recording:  # fmt: skip
    """Build the tape of checked messages and rows (fields of `Recording`), with snapshots every `every` messages."""
    if not 1 <= every <= 1 << 20:
        raise DataError(f"every: must be 1 to {1 << 20} messages between snapshots, got {every}")
    raw: dict[str, Any] = {
        "time": np.ascontiguousarray(time, np.int64), "type": np.ascontiguousarray(type, np.uint8),
        "order": np.ascontiguousarray(order, np.int64), "side": np.ascontiguousarray(side, np.int8),
        "px": np.ascontiguousarray(px, np.int32), "qty": np.ascontiguousarray(qty, np.int32),
        "row_px": np.ascontiguousarray(row_px, np.int32), "row_qty": np.ascontiguousarray(row_qty, np.int32),
    }  # fmt: skip
    n, _, levels = raw["row_px"].shape
    keys = ("side", "px", "qty", "row_px", "row_qty")
    stream = (_KIND[raw["type"]].astype(np.int64), *(raw[k].astype(np.int64) for k in keys))
    row_end = np.zeros(n, np.int64)
    none = np.zeros((0, 2, levels), np.int32)
    size, *_ = _walk(*stream, row_end, _scratch(levels), _Out(np.zeros((0, 5), np.int64), none, none, every))
    snap_px = np.zeros((size // every + 1, 2, levels), np.int32)
    out = _Out(np.zeros((size, 5), np.int64), snap_px, np.zeros_like(snap_px), every)
    _, reveals, forgets, mismatches = _walk(*stream, row_end, _scratch(levels), out)
    kind, sides, prices, lots, row = out.stream.T
    tape = Tape(
        time=raw["time"][row], kind=kind.astype(np.uint8), side=sides.astype(np.int8), px=prices.astype(np.int32),
        qty=lots.astype(np.int32), start=np.array([0, size], np.int64), snap_px=out.snap_px, snap_qty=out.snap_qty,
        snap_start=np.array([0, len(snap_px)], np.int64), every=every,
    )  # fmt: skip
    return Recording(
        name=name, date=date, levels=levels, tick=tick, lot=lot, start=start, end=end, **raw, tape=tape,
        row_end=row_end, reveals=reveals, forgets=forgets, mismatches=mismatches,
    )  # fmt: skip


def join(recordings: Sequence[Recording], every: int = 256) -> Tape:
    """One Tape of several assets, aligned in absolute time (ns after midnight), L padded to the largest.

    Raises DataError for no recording, two of one name, or files of different days.
    """
    names = [r.name for r in recordings]
    if not recordings:
        raise DataError("replay: needs at least one recording")
    if len(set(names)) != len(names):
        raise DataError(f"replay: each asset may be given once, got {names}")
    if len(dates := {r.date for r in recordings} - {""}) > 1:
        raise DataError(f"replay: recordings must be of one day to share a clock, got {sorted(dates)}")
    tapes = [r.tape if r.tape.every == every else _again(r, every).tape for r in recordings]
    widest = max(r.levels for r in recordings)

    def snaps(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.pad(s, ((0, 0), (0, 0), (0, widest - s.shape[2]))) for s in arrays])

    return Tape(
        *(np.concatenate([t[i] for t in tapes]) for i in range(5)),
        start=np.cumsum([0] + [len(t.time) for t in tapes]).astype(np.int64),
        snap_px=snaps([t.snap_px for t in tapes]),
        snap_qty=snaps([t.snap_qty for t in tapes]),
        snap_start=np.cumsum([0] + [len(t.snap_px) for t in tapes]).astype(np.int64),
        every=every,
    )


def _again(r: Recording, every: int) -> Recording:
    fields = ("name", "date", "tick", "lot", "start", "end", "time", "type", "order", "side", "px", "qty",
              "row_px", "row_qty")  # fmt: skip
    return make_recording(**{f: getattr(r, f) for f in fields}, every=every)


# --- messages and rows -> tape: one pass over the rows, on a scratch book ---


class _Scratch(NamedTuple):
    px: np.ndarray  # (2, 3 L + 2) int64 ticks, best first; row 0 bids
    qty: np.ndarray  # (2, 3 L + 2) int64 lots, all > 0
    held: np.ndarray  # (2,) int64 occupied levels


def _scratch(levels: int) -> _Scratch:
    room = 3 * levels + 2
    return _Scratch(np.zeros((2, room), np.int64), np.zeros((2, room), np.int64), np.zeros(2, np.int64))


class _Out(NamedTuple):
    stream: np.ndarray  # (size, 5) int64: kind, side, px, qty, row; size 0: only count
    snap_px: np.ndarray  # (S, 2, L) int32
    snap_qty: np.ndarray
    every: int


@kernel()
def _walk(kind, side, px, qty, row_px, row_qty, row_end, book, out):
    """Write the tape and its snapshots to `out`, `row_end` (n,). Returns (size, reveals, forgets, mismatches)."""
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
    if kind == TAPE_CANCEL or kind == TAPE_TRADE:
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
    elif kind == TAPE_CANCEL or kind == TAPE_TRADE:
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
