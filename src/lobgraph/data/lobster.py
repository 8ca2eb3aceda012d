"""LOBSTER message and orderbook files (csv, gz or zip) -> Recording.

Format: lobsterdata.com, also in the sample files' ReadMe. message: time, type, order id, size, price, direction;
orderbook row i: ask price, ask size, bid price, bid size per level after message i, +-9999999999 and 0 where a level is
empty. Times are read as decimals, never as floats, and are exact to the nanosecond (published files hold a few times with
12 decimals, which are rounded). What does not fit is a DataError with its line.
"""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from .files import NAME, Source, find_pair, read_bytes
from .recording import (
    CROSS,
    DELETE,
    EXECUTE,
    HALT,
    HIDDEN,
    MAX_LOTS,
    MAX_PRICE,
    NS,
    REDUCE,
    SUBMIT,
    DataError,
    Recording,
    make_recording,
)

EMPTY_PRICE = 9_999_999_999
MAX_LEVELS = 200
DECIMALS = 14  # of a time; more would not fit 64 bits
COLUMNS = ("time", "type", "order id", "size", "price", "direction")


def read_lobster(
    message_path: str | Path,
    orderbook_path: str | Path | None = None,
    *,
    tick: int = 100,
    lot: int = 1,
    every: int = 256,
) -> Recording:
    """Read one asset's file pair.

    `message_path`: the message file (or the orderbook file, or a zip that holds both); the other is found beside it by
    the published naming unless given. `tick`: price units (1/10000 dollar) per tick; `lot`: shares per lot;
    `every`: messages between the tape's snapshots. Raises DataError naming file and line.
    """
    for key, value in (("tick", tick), ("lot", lot)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= 1_000_000:
            raise DataError(f"{key}: must be a whole number from 1 to 1000000, got {value!r}")
    message, orderbook = find_pair(message_path, orderbook_path)
    name = NAME.match(message.name)
    book = _orderbook(orderbook, tick, lot)
    time, kind, order, size, price, side = _messages(message, tick, lot)
    if len(time) != len(book[0]):
        raise DataError(
            f"{orderbook}: has {len(book[0])} rows but {message} has {len(time)}; both need one row per message"
        )
    first, last = int(time[0]), int(time[-1])
    ms = NS // 1000
    return make_recording(
        name=name["ticker"] if name else message.name.split(".")[0],
        date=name["date"] if name else "",
        tick=tick,
        lot=lot,
        start=min(first, int(name["start"]) * ms) if name else first,
        end=max(last, int(name["end"]) * ms) if name else last,
        time=time,
        type=kind,
        order=order,
        side=side,
        px=np.where(kind == HALT, 0, price // tick),
        qty=size // lot,
        row_px=book[0],
        row_qty=book[1],
        every=every,
    )


# --- csv ---


def _table(source: Source, data: bytes, types: list[pa.DataType], names: tuple[str, ...]) -> list[np.ndarray]:
    """The columns of a headerless csv, int64 each; decimals in ns. Raises DataError at the first malformed line."""
    keys = [str(i) for i in range(len(types))]
    if b"0x" in data or b"0X" in data:  # which arrow reads as hexadecimal
        raise _fault(source, data, types, names, ValueError("a hexadecimal number"))
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            csv.ReadOptions(column_names=keys, use_threads=False),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict(zip(keys, types, strict=True)), null_values=[], check_utf8=False
            ),
        )
    except pa.ArrowException as error:
        raise _fault(source, data, types, names, error) from None
    columns = []
    for column, kind in zip(table.columns, types, strict=True):
        if pa.types.is_decimal(kind):  # 128-bit words of 10^-DECIMALS: values below 2^63 are their low half
            words = [
                np.frombuffer(c.buffers()[1], np.int64)[2 * c.offset : 2 * (c.offset + len(c))]
                for c in column.chunks
            ]
            low, high = np.concatenate(words).reshape(-1, 2).T
            unit = 10 ** (DECIMALS - 9)
            columns.append(np.where(high == (low >> 63), (low + unit // 2) // unit, -1))
        else:
            columns.append(column.to_numpy())
    return columns


def _fault(
    source: Source, data: bytes, types: list[pa.DataType], names: tuple[str, ...], error: Exception
) -> DataError:
    """Find the first line that is not what it should be, by the slow way."""
    for number, line in enumerate(io.BytesIO(data), 1):
        line = line.rstrip(b"\r\n")
        fields = line.split(b",")
        shown = f"{source}: line {number}"
        if len(fields) != len(types):
            return DataError(f"{shown}: has {len(fields)} fields, expected {len(types)}: {_show(line)}")
        for field, kind, name in zip(fields, types, names, strict=True):
            what = (
                f"seconds with at most {DECIMALS} decimals" if pa.types.is_decimal(kind) else "a whole number"
            )
            if not _is_number(field, pa.types.is_decimal(kind)):
                return DataError(f"{shown}: {name} {_show(field)} is not {what}")
    return DataError(f"{source}: not readable as comma-separated numbers: {error}")


def _is_number(field: bytes, decimal: bool) -> bool:
    try:
        value = Decimal(field.strip().decode("ascii"))
        exact = value.scaleb(DECIMALS) if decimal else value
        # the size first: the whole number of 1e999999999 would fill the memory
        return abs(exact) < 1 << 63 and exact == int(exact) and (decimal or b"." not in field)
    except (ArithmeticError, ValueError):
        return False


def _show(raw: bytes) -> str:
    text = repr(raw[:60].decode("ascii", "backslashreplace"))
    return text + ("..." if len(raw) > 60 else "")


def _check(source: Source, bad: np.ndarray, says: str, values: np.ndarray | None = None) -> None:
    """Raise DataError at the first row where `bad` holds."""
    if bad.any():
        i = int(np.argmax(bad))
        got = "" if values is None else f", got {values[i]}"
        raise DataError(f"{source}: line {i + 1}: {says}{got}")


def _messages(source: Source, tick: int, lot: int) -> list[np.ndarray]:
    """Checked columns of a message file: time [ns], type, order id, size, price, direction, (n,) int64 each."""
    kinds = [pa.decimal128(30, DECIMALS)] + [pa.int64()] * 5
    columns = _table(source, read_bytes(source), kinds, COLUMNS)
    time, kind, _, size, price, side = columns
    _check(
        source,
        (time < 0) | (time > 86_400 * NS),
        "time: must be seconds after midnight, 0 to 86400",
        time / NS,
    )
    _check(
        source,
        np.diff(time, prepend=time[0]) < 0,
        "time: must not go backwards; this line is before the last",
    )
    _check(source, (kind < SUBMIT) | (kind > HALT), f"type: must be {SUBMIT} to {HALT}", kind)
    _check(source, np.abs(side) != 1, "direction: must be 1 (buy) or -1 (sell)", side)
    book = np.isin(kind, (SUBMIT, REDUCE, DELETE, EXECUTE))
    moves = book | (kind == HIDDEN)
    _check(source, moves & ((size <= 0) | (size > MAX_LOTS)), f"size: must be 1 to {MAX_LOTS}", size)
    _check(source, (size < 0) | (size > MAX_LOTS), f"size: must be 0 to {MAX_LOTS}", size)
    _check(source, moves & (size % lot != 0), f"size: must be a multiple of lot {lot}", size)
    _check(
        source,
        moves & ((price <= 0) | (price > MAX_PRICE * tick)),
        f"price: must be 1 to {MAX_PRICE * tick}",
        price,
    )
    cross = kind == CROSS
    _check(
        source,
        cross & ((price < 0) | (price > MAX_PRICE * tick)),
        f"price: must be 0 to {MAX_PRICE * tick}",
        price,
    )
    _check(source, book & (price % tick != 0), f"price: must be a multiple of the tick {tick}", price)
    return columns


def _orderbook(source: Source, tick: int, lot: int) -> tuple[np.ndarray, np.ndarray]:
    """Checked rows of an orderbook file: prices in ticks and lots, (n, 2, L) int64, sides [bid, ask]; 0: no level."""
    data = read_bytes(source)
    fields = data[: data.find(b"\n") if b"\n" in data else None].count(b",") + 1
    levels, rest = divmod(fields, 4)
    if rest or not 1 <= levels <= MAX_LEVELS:
        raise DataError(f"{source}: line 1: has {fields} fields, expected 4 per level (ask, size, bid, size)")
    name = NAME.match(source.name)
    if name and int(name["levels"]) != levels:
        raise DataError(f"{source}: line 1: has {levels} levels, but its name says {name['levels']}")
    names = tuple(
        f"{side} {what} {j}"
        for j in range(1, levels + 1)
        for side in ("ask", "bid")
        for what in ("price", "size")
    )
    raw = np.stack(_table(source, data, [pa.int64()] * fields, names), axis=1).reshape(-1, levels, 2, 2)
    raw = raw[:, :, ::-1].transpose(0, 2, 3, 1)  # (n, side, price | size, L), bids first
    price, size = raw[:, :, 0], raw[:, :, 1]
    dummy = np.array([-EMPTY_PRICE, EMPTY_PRICE])[:, None]
    there = size > 0

    def check(bad: np.ndarray, says: str) -> None:
        _check(source, np.asarray(bad.reshape(len(raw), -1).any(axis=1)), says)

    check((size < 0) | (size > MAX_LOTS), f"sizes must be 0 to {MAX_LOTS}")
    check(
        ~there & (price != dummy),
        f"a level of size 0 must have price {-EMPTY_PRICE} (bid) or {EMPTY_PRICE} (ask)",
    )
    check(
        there & ((price <= 0) | (price > MAX_PRICE * tick)),
        f"prices must be 1 to {MAX_PRICE * tick}",
    )
    check(there & (price % tick != 0), f"prices must be multiples of the tick {tick}")
    check(there & (size % lot != 0), f"sizes must be multiples of lot {lot}")
    check(there[:, :, 1:] & ~there[:, :, :-1], "an empty level stands before an occupied one")
    steps = np.diff(price, axis=2) * np.array([-1, 1])[:, None]
    check(there[:, :, 1:] & (steps <= 0), "levels must be sorted, best first, each price once")
    check(
        there[:, :, 0].all(axis=1) & (price[:, 0, 0] >= price[:, 1, 0]),
        "the best bid must be below the best ask",
    )
    return np.where(there, price // tick, 0), np.where(there, size // lot, 0)
