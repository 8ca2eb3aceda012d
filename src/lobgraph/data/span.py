"""A recorded day cut to a span of time: what a calibration fits on, and what it is judged on."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from .facts import Day
from .nasdaq10 import Snapshots
from .recording import NS, DataError, Recording, make_recording

COLUMNS = (
    "time",
    "type",
    "order",
    "side",
    "px",
    "qty",
    "row_px",
    "row_qty",
)  # of a Recording, one row a message
CLOCK = re.compile(r"^(\d{1,2}):(\d{2})(?::(\d{2}))?$")


def time_of_day(text: str) -> float:
    """'13:00', '13:00:30' or '46800' -> seconds after midnight. Raises DataError."""
    if found := CLOCK.match(text.strip()):
        hours, minutes, seconds = (int(x or 0) for x in found.groups())
        if hours * 3600 + minutes * 60 + seconds <= 86_400 and minutes < 60 and seconds < 60:
            return float(hours * 3600 + minutes * 60 + seconds)
    else:
        try:
            if 0.0 <= (value := float(text)) <= 86_400.0:
                return value
        except ValueError:
            pass
    raise DataError(
        f"time of day: must be like 13:00, 13:00:30 or 46800 (seconds after midnight), got {text!r}"
    )


def cut(day: Day, start: float | None = None, end: float | None = None) -> Day:
    """The day from `start` to `end`, seconds after midnight (None: its own). Rows before the span are gone: the first row
    within it is row 0. Messages lie in [start, end), snapshots, which tell of the time before them, in (start, end].

    Raises DataError where the span is empty or holds fewer than two rows.
    """
    low = day.start if start is None else max(round(start * NS), day.start)
    high = day.end if end is None else min(round(end * NS), day.end)
    if (low, high) == (day.start, day.end):
        return day
    side = "right" if isinstance(day, Snapshots) else "left"
    first = 0 if low <= day.start else int(np.searchsorted(day.time, low, side))
    last = day.rows if high >= day.end else int(np.searchsorted(day.time, high, side))
    if last - first < 2:
        raise DataError(
            f"{day.name}: start and end must leave some of {day.start / NS:g} to {day.end / NS:g} s after midnight, "
            f"got {'its start' if start is None else f'{start:g}'} to {'its end' if end is None else f'{end:g}'}"
        )
    rows = slice(first, last)
    if isinstance(day, Recording):
        columns = {key: getattr(day, key)[rows] for key in COLUMNS}
        return make_recording(
            name=day.name, date=day.date, tick=day.tick, lot=day.lot, start=low, end=high, **columns,
            every=day.tape.every,
        )  # fmt: skip
    orders = slice(*np.searchsorted(day.order_time, (low, high), side))
    px, qty = day.row_px[rows], day.row_qty[rows]
    crossed = (qty[:, :, 0] > 0).all(axis=1) & (px[:, 0, 0] >= px[:, 1, 0])
    return replace(
        day, start=low, end=high, time=day.time[rows], row_px=px, row_qty=qty, crossed=int(crossed.sum()),
        order_time=day.order_time[orders], order_side=day.order_side[orders], order_qty=day.order_qty[orders],
    )  # fmt: skip
