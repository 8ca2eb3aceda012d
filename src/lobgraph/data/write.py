"""A Recording -> the two files LOBSTER would have sold, named as those are. What `lobster.read_lobster` reads back is the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv

from .files import NAME
from .lobster import EMPTY_PRICE
from .recording import NS, DataError, Recording

MS = NS // 1000
PLAIN = csv.WriteOptions(include_header=False, quoting_style="none")


def write_lobster(recording: Recording, directory: str | Path) -> tuple[Path, Path]:
    """Write TICKER_DATE_START_END_{message,orderbook}_LEVELS.csv into `directory`, made where missing; returns both paths.

    Each file appears when it is complete, the message file last; none is overwritten. Start and end stand in the names in
    whole milliseconds. Raises FileExistsError, and DataError for a recording whose name or date no file name can hold.
    """
    r, directory = recording, Path(directory)
    stem = f"{r.name}_{r.date}_{r.start // MS}_{-(-r.end // MS)}"
    names = [f"{stem}_{kind}_{r.levels}.csv" for kind in ("orderbook", "message")]
    found = NAME.match(names[1])
    if not found or found["ticker"] != r.name or Path(names[1]).name != names[1]:
        raise DataError(
            f"{r.name!r} of {r.date!r}: a file name needs a ticker without / and a date YYYY-MM-DD"
        )
    paths = directory / names[0], directory / names[1]
    for path in paths:
        if path.exists():
            raise FileExistsError(17, "exists already; choose another directory", str(path))
    directory.mkdir(parents=True, exist_ok=True)
    _write(_book_table(r), paths[0])
    try:
        _write(_message_table(r), paths[1])
    except BaseException:
        paths[0].unlink()
        raise
    return paths[1], paths[0]


def _message_table(r: Recording) -> list[np.ndarray | pa.Array]:
    whole, rest = (
        pa.array(x).cast(pa.string()) for x in (r.time // NS, r.time % NS + NS)
    )  # rest: 1 and 9 digits
    decimals = compute.call_function("utf8_slice_codeunits", [rest], compute.SliceOptions(1))
    time = compute.call_function("binary_join_element_wise", [whole, decimals, pa.scalar(".")])
    return [time, r.type, r.order, r.qty.astype(np.int64) * r.lot, r.px.astype(np.int64) * r.tick, r.side]


def _book_table(r: Recording) -> list[np.ndarray | pa.Array]:
    there = r.row_qty > 0
    dummy = np.array([-EMPTY_PRICE, EMPTY_PRICE])[:, None]
    price = np.where(there, r.row_px.astype(np.int64) * r.tick, dummy)
    size = r.row_qty.astype(np.int64) * r.lot
    return [x[:, k, level] for level in range(r.levels) for k in (1, 0) for x in (price, size)]


def _write(columns: list[np.ndarray | pa.Array], path: Path) -> None:
    """Write a csv beside its place, and put it there unless something came to stand there meanwhile."""
    table = pa.Table.from_arrays([pa.array(c) for c in columns], [str(i) for i in range(len(columns))])
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        csv.write_csv(table, part, PLAIN)
        os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
