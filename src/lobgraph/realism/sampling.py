"""A part of a recorded day, and a message recording looked at every so often, as sets of snapshots are."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from ..data.facts import Day, market_orders, sample
from ..data.nasdaq10 import Snapshots
from ..data.recording import NS, DataError, Recording, make_recording

PER_MESSAGE = ("time", "type", "order", "side", "px", "qty", "row_px", "row_qty")


def part(day: Day, start: float | None = None, end: float | None = None) -> Day:
    """What of the day lies in [start, end), seconds after midnight (None: the day's own). Raises DataError where nothing does."""
    if start is None and end is None:
        return day
    first = day.start if start is None else max(round(start * NS), day.start)
    last = day.end if end is None else min(round(end * NS), day.end)
    rows = (day.time >= first) & (day.time < last)
    if last <= first or rows.sum() < 2:
        raise DataError(
            f"{day.name}: nothing lies between {start or day.start / NS:g} and {end or day.end / NS:g} s after midnight; it holds "
            f"{day.start / NS:g} to {day.end / NS:g}"
        )
    if isinstance(day, Snapshots):
        orders = (day.order_time >= first) & (day.order_time < last)
        cut = {k: getattr(day, k)[rows] for k in ("time", "row_px", "row_qty")}
        cut |= {k: getattr(day, k)[orders] for k in ("order_time", "order_side", "order_qty")}
        return replace(day, start=first, end=last, **cut)
    kept = {k: getattr(day, k)[rows] for k in PER_MESSAGE}
    named = {k: getattr(day, k) for k in ("name", "date", "tick", "lot")}
    return make_recording(**named, start=first, end=last, **kept)


def as_snapshots(day: Recording, step: int = NS // 10) -> Snapshots:
    """The rows in force every `step` ns from one step after the start, and all market orders, as a set of snapshots."""
    held = sample(day, step / NS, day.start + step)
    time = day.start + step * np.arange(1, len(held) + 1)
    px, qty = day.row_px[held], day.row_qty[held]
    orders = market_orders(day)
    both = (qty[:, :, 0] > 0).all(axis=1)
    same = {f.name: getattr(day, f.name) for f in fields(Snapshots) if f.name in
            ("name", "date", "levels", "tick", "lot", "start", "end")}  # fmt: skip
    return Snapshots(
        **same, time=time, row_px=px, row_qty=qty, order_time=orders.time, order_side=orders.side,
        order_qty=orders.qty.astype(np.int32), unsorted=0,
        crossed=int((both & (px[:, 0, 0] >= px[:, 1, 0])).sum()),
    )  # fmt: skip


def alike(one: Day, two: Day) -> tuple[Day, Day]:
    """Both as messages, or both as snapshots equally far apart where one is so. Raises DataError for another tick or depth."""
    for key in ("tick", "levels"):
        if getattr(one, key) != getattr(two, key):
            raise DataError(
                f"{one.name} and {two.name}: {key} must be the same to compare them, got "
                f"{getattr(one, key)} and {getattr(two, key)}"
            )
    step = next((int(d.time[1] - d.time[0]) for d in (one, two) if isinstance(d, Snapshots)), None)
    if step is None:
        return one, two
    first, second = (d if isinstance(d, Snapshots) else as_snapshots(d, step) for d in (one, two))
    return first, second
