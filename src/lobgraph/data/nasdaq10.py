"""Ten-level book snapshots every 100 ms with all market orders (npz, one asset and day each) -> Snapshots.

Arrays: t_ms (ms after midnight, evenly spaced), bid_px, ask_px (n, L) in 1/10000 dollar, bid_sz, ask_sz (n, L) shares,
mo_t_ms, mo_vol, mo_sign (m,), +1 a buy. Between two snapshots only the net change of a level is known.
"""

from __future__ import annotations

import lzma
import math
import re
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from .recording import MAX_LOTS, MAX_PRICE, NS, DataError

NAME = re.compile(r"^(?P<ticker>.+)_(?P<date>\d{8})_(?P<start>\d{6})_(?P<end>\d{6})\.npz$")
ROWS = ("bid_px", "ask_px", "bid_sz", "ask_sz")  # (n, L)
ORDERS = ("mo_t_ms", "mo_vol", "mo_sign")  # (m,)
MAX_BYTES = 1 << 30  # of all arrays, decompressed
DAY_MS = 86_400_000
# What zipfile and numpy raise for bytes that are no npz (a header is parsed as Python's literals).
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, KeyError, TypeError,
    RuntimeError, SyntaxError, tokenize.TokenError, OverflowError, MemoryError,
)  # fmt: skip
NEEDED = f"t_ms, {', '.join(ROWS)} and {', '.join(ORDERS)}"


@dataclass(frozen=True)
class Snapshots:
    """One asset's day as evenly spaced book snapshots: n rows, L levels, sides [bid, ask], m market orders."""

    name: str
    date: str  # YYYY-MM-DD, "" where the file name does not say
    levels: int  # L
    tick: int  # file price units per tick
    lot: int  # shares per lot
    start: int  # ns after midnight
    end: int  # ns after midnight
    time: np.ndarray  # (n,) int64 ns after midnight
    row_px: np.ndarray  # (n, 2, L) int32 ticks, best first, 0: no such level
    row_qty: np.ndarray  # (n, 2, L) int32 lots, 0: no such level
    order_time: np.ndarray  # (m,) int64 ns after midnight of each market order
    order_side: np.ndarray  # (m,) int8 +1 buy, -1 sell
    order_qty: np.ndarray  # (m,) int32 lots
    unsorted: int  # rows whose levels were not in order, and have been put in order
    crossed: int  # rows whose best bid was not below the best ask: facts and calibration leave them out

    @property
    def rows(self) -> int:
        """Number of snapshots."""
        return len(self.time)

    @property
    def seconds(self) -> float:
        """Length of the recorded window."""
        return (self.end - self.start) / NS


def read_nasdaq10(path: str | Path, *, tick: int = 100, lot: int = 1) -> Snapshots:
    """Read one asset's npz. `tick`: price units per tick; `lot`: shares per lot (sizes are rounded down to lots, at
    least one). Raises DataError naming file and array."""
    path = Path(path)
    arrays = _load(path)
    t = arrays["t_ms"]
    n = len(t)
    for key in ("t_ms", "mo_t_ms"):
        _check(
            path, key, (arrays[key] < 0) | (arrays[key] > DAY_MS), f"must be ms after midnight, 0 to {DAY_MS}"
        )
    steps = np.diff(t)
    if n < 2 or steps.min() <= 0 or steps.max() != steps.min():
        bad = int(np.argmax(steps != np.median(steps))) + 1 if n > 1 else 0
        raise DataError(f"{path}: t_ms: must be evenly spaced and rising; row {bad} is not")
    px = np.stack([arrays["bid_px"], arrays["ask_px"]], axis=1)
    qty = np.stack([arrays["bid_sz"], arrays["ask_sz"]], axis=1)
    there = qty > 0
    _check(path, "bid_px, ask_px", (there & (px % tick != 0)), f"must be multiples of the tick {tick}")
    _check(
        path,
        "bid_px, ask_px",
        there & ((px <= 0) | (px > MAX_PRICE * tick)),
        f"must be 1 to {MAX_PRICE * tick}",
    )
    _check(path, "bid_sz, ask_sz", (qty < 0) | (qty > MAX_LOTS), f"must be 0 to {MAX_LOTS}")
    px, qty = np.where(there, px // tick, 0), np.where(there, np.maximum(qty // lot, 1), 0)
    px, qty, unsorted = _sort(px, qty)
    crossed = (qty[:, :, 0] > 0).all(axis=1) & (px[:, 0, 0] >= px[:, 1, 0])
    sign, size = arrays["mo_sign"], arrays["mo_vol"]
    _check(path, "mo_sign", np.abs(sign) != 1, "must be +1 (buy) or -1 (sell)")
    _check(path, "mo_vol", (size <= 0) | (size > MAX_LOTS), f"must be 1 to {MAX_LOTS}")
    _check(path, "mo_t_ms", np.diff(arrays["mo_t_ms"], prepend=0) < 0, "must not go backwards")
    name = NAME.match(path.name)
    step = int(steps[0])
    start, end = (_clock(name["start"]), _clock(name["end"])) if name else (int(t[0]) - step, int(t[-1]))
    ms = NS // 1000
    return Snapshots(
        name=name["ticker"] if name else path.stem,
        date=f"{name['date'][:4]}-{name['date'][4:6]}-{name['date'][6:]}" if name else "",
        levels=px.shape[2],
        tick=tick,
        lot=lot,
        start=min(start, int(t[0])) * ms,
        end=max(end, int(t[-1])) * ms,
        time=t * ms,
        row_px=px.astype(np.int32),
        row_qty=qty.astype(np.int32),
        order_time=arrays["mo_t_ms"] * ms,
        order_side=sign.astype(np.int8),
        order_qty=np.maximum(size // lot, 1).astype(np.int32),
        unsorted=unsorted,
        crossed=int(crossed.sum()),
    )


def _clock(hhmmss: str) -> int:
    """ms after midnight."""
    return 1000 * (3600 * int(hhmmss[:2]) + 60 * int(hhmmss[2:4]) + int(hhmmss[4:]))


def _load(path: Path) -> dict[str, np.ndarray]:
    """The named arrays as int64, of matching shapes."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as z:
            held = {m.filename.removesuffix(".npy"): m for m in z.infolist()}
            if sum(m.file_size for m in held.values()) > MAX_BYTES:
                raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB decompressed, refused")
            if missing := sorted({"t_ms", *ROWS, *ORDERS} - set(held)):
                raise DataError(f"{path}: array {missing[0]!r} is missing; needs {NEEDED}")
            for key in ("t_ms", *ROWS, *ORDERS):
                arrays[key] = _array(z, held[key], f"{path}: {key}")
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable npz: {error}") from None
    n = len(arrays["t_ms"]) if arrays["t_ms"].ndim == 1 else -1
    shape = arrays["bid_px"].shape
    for key in ROWS:
        if arrays[key].ndim != 2 or arrays[key].shape != shape or arrays[key].shape[0] != n or shape[1] < 1:
            raise DataError(f"{path}: {key}: must have shape (rows of t_ms, levels), got {arrays[key].shape}")
    for key in ORDERS:
        if arrays[key].ndim != 1 or arrays[key].shape != arrays["mo_t_ms"].shape:
            raise DataError(f"{path}: {key}: must have shape (market orders,), got {arrays[key].shape}")
    return arrays


def _array(z: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> np.ndarray:
    """One array as int64. Its header is believed only where the member holds as much as it promises."""
    with z.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{where}: written in version {version} of the npy format, expected 1.0 or 2.0")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = read(file)
    if kind.kind not in "iu":
        raise DataError(f"{where}: must hold whole numbers, got {kind}")
    if min(shape, default=1) < 0 or math.prod(shape) * kind.itemsize > member.file_size:
        raise DataError(f"{where}: says that it has shape {shape}, and is {member.file_size} bytes long")
    with z.open(member) as file:
        raw = npy.read_array(file, allow_pickle=False)
    if raw.dtype.kind == "u" and raw.size and raw.max() > np.iinfo(np.int64).max:
        raise DataError(f"{where}: holds {raw.max()}, more than fits 64 bits with a sign")
    return raw.astype(np.int64)


def _check(path: Path, key: str, bad: np.ndarray, says: str) -> None:
    if bad.any():
        row = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
        raise DataError(f"{path}: {key}: {says}; row {row} is not")


def _sort(px: np.ndarray, qty: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Levels best first, empty ones last; and the number of rows that were not."""
    far = np.iinfo(np.int64).max
    key = np.where(qty > 0, px * np.array([-1, 1])[:, None], far)
    bad = (np.diff(key, axis=2) < 0).any(axis=(1, 2))
    order = np.argsort(key[bad], axis=2, kind="stable")
    px[bad], qty[bad] = (
        np.take_along_axis(px[bad], order, 2),
        np.take_along_axis(qty[bad], order, 2),
    )
    return px, qty, int(bad.sum())
