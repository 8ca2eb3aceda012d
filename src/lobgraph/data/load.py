"""Any supported file -> a recorded day, and a table of what files hold (`lobgraph data info`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .facts import Day, measure
from .lobster import read_lobster
from .nasdaq10 import Snapshots, read_nasdaq10
from .recording import NS, DataError


def read(path: str | Path, *, tick: int = 100, lot: int = 1) -> Day:
    """Read a LOBSTER pair (by its message file, orderbook file or zip) or a 100 ms npz set. Raises DataError."""
    if Path(path).suffix == ".npz":
        return read_nasdaq10(path, tick=tick, lot=lot)
    return read_lobster(path, tick=tick, lot=lot)


def read_all(paths: Sequence[str | Path] | str | Path, *, tick: int = 100, lot: int = 1) -> list[Day]:
    """Read several assets; each may come once."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise DataError("no data files given; expected LOBSTER message files or npz sets")
    days = [read(p, tick=tick, lot=lot) for p in paths]
    names = [d.name for d in days]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise DataError(f"{twice}: given twice; each asset may come once")
    return days


def info(paths: Sequence[str | Path] | str | Path, *, tick: int = 100, lot: int = 1) -> pd.DataFrame:
    """One column per asset: what its files hold and the facts measured from them."""
    return pd.DataFrame({d.name: describe(d) for d in read_all(paths, tick=tick, lot=lot)})


def describe(day: Day) -> dict[str, object]:
    """Named values of one asset, ready to print."""
    f = measure(day)
    rows: dict[str, object] = {
        "date": day.date or "?",
        "from": clock(day.start),
        "to": clock(day.end),
        "levels": day.levels,
        "rows": day.rows,
        "price [ticks]": f.price,
        "spread, mean [ticks]": round(f.spread, 2),
        "spread, median": f.spread_median,
        "depth at best [lots]": round(f.depth_best, 1),
        "limit orders /s": round(f.limit_rate, 3),
        "cancels /s": round(f.cancel_rate, 3),
        "market orders /s": round(f.market_rate, 3),
        "limit size, mean": round(f.limit_size, 1),
        "market size, mean": round(f.market_size, 1),
        "hidden share of volume": round(f.hidden_share, 3),
    }
    rows |= {f"volatility over {h} s [ticks]": round(v, 3) for h, v in f.volatility.items()}
    if isinstance(day, Snapshots):
        return rows | {"unsorted rows": day.unsorted, "crossed rows": day.crossed}
    rows |= {f"messages: {name}": count for name, count in day.counts.items()}
    return rows | {
        "levels coming into view": day.reveals,
        "levels leaving view": day.forgets,
        "rows not explained": day.mismatches,
        "reach of the levels [ticks]": day.reach,
    }


def clock(ns: int) -> str:
    """Time of day."""
    s = ns // NS
    return f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}"
