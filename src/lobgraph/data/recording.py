"""A recorded order book: raw messages and book rows in, a compact `Tape` out.

Files show L levels only, so messages alone do not suffice: a level coming into view at rank L was never announced.
The tape therefore carries, after a message, TAPE_SET for the level that the message moved into view (its lots taken from
the row) or out of it (0: forgotten). Levels 1..L-1 come from the messages alone; a row where that fails is repaired by
further TAPE_SETs and counted in `mismatches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..market.state import (
    TAPE_CANCEL,
    TAPE_HALT,
    TAPE_HIDDEN,
    TAPE_LIMIT,
    TAPE_TRADE,
    Tape,
)
from .walk import Out, Rows, make_scratch, walk

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
    rows = Rows(
        _KIND[raw["type"]].astype(np.int64),
        *(raw[key].astype(np.int64) for key in ("side", "px", "qty", "row_px", "row_qty")),
    )
    row_end = np.zeros(n, np.int64)
    none = np.zeros((0, 2, levels), np.int32)
    size, *_ = walk(rows, row_end, make_scratch(levels), Out(np.zeros((0, 5), np.int64), none, none, every))
    snap_px = np.zeros((size // every + 1, 2, levels), np.int32)
    out = Out(np.zeros((size, 5), np.int64), snap_px, np.zeros_like(snap_px), every)
    _, reveals, forgets, mismatches = walk(rows, row_end, make_scratch(levels), out)
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
