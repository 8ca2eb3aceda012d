"""Any supported file -> a recorded day; a table of what files hold (`lobgraph data info`); the tape of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..config import Config, ConfigError
from ..market.state import Tape
from .facts import Day, measure
from .lobster import read_lobster
from .nasdaq10 import Snapshots, read_nasdaq10
from .recording import NS, DataError, join
from .span import cut


def read(
    path: str | Path, *, tick: int = 100, lot: int = 1, start: float | None = None, end: float | None = None
) -> Day:
    """Read a LOBSTER pair (by its message file, orderbook file or zip) or a 100 ms npz set, from `start` to `end` seconds
    after midnight (None: all of it). Raises DataError."""
    if Path(path).suffix == ".npz":
        return cut(read_nasdaq10(path, tick=tick, lot=lot), start, end)
    return cut(read_lobster(path, tick=tick, lot=lot), start, end)


def read_all(
    paths: Sequence[str | Path] | str | Path, *, tick: int = 100, lot: int = 1, start: float | None = None,
    end: float | None = None,
) -> list[Day]:  # fmt: skip
    """Read several assets, each given once; `start`, `end` as for `read`."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise DataError("no data files given; expected LOBSTER message files or npz sets")
    days = [read(p, tick=tick, lot=lot, start=start, end=end) for p in without_partners(paths)]
    names = [d.name for d in days]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise DataError(f"{twice}: given twice; each asset may come once")
    return days


def without_partners(paths: Sequence[str | Path]) -> list[Path]:
    """The paths less the orderbook files whose message file is among them: `FILES*` of a folder names both."""
    given = [Path(p) for p in paths]
    return [
        p
        for p in given
        if "_orderbook_" not in p.name or p.with_name(p.name.replace("_orderbook_", "_message_")) not in given
    ]


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


def load_tape_files(cfg: Config) -> tuple[Tape, tuple[int, int]]:
    """The tape of `cfg.replay.files`, in the order of market.books, and the earliest and latest start of an episode (ns).

    Raises DataError for a file that cannot be read, ConfigError where the window loses levels or no episode fits.
    """
    days = [read_lobster(cfg.replay.files[book]) for book in cfg.market.books]
    reach = max(2 * day.reach + 2 for day in days)
    if reach > cfg.market.window:
        raise ConfigError(
            f"market.window: {cfg.market.window} ticks cannot hold the recorded levels, which lie up to {reach // 2} "
            f"ticks from the mid; use at least {1 << (reach - 1).bit_length()}"
        )
    length = round(cfg.env.episode_steps * cfg.market.dt * NS)
    first = max(int(day.time[0]) for day in days)
    last = min(int(day.time[-1]) for day in days)
    if cfg.replay.start is not None:
        first = max(first, round(cfg.replay.start * NS))
    if cfg.replay.end is not None:
        last = min(last, round(cfg.replay.end * NS))
    if last - length < first:
        raise ConfigError(
            f"replay: an episode of {length / NS:g} s does not fit between {clock(first)} and {clock(last)}, the time "
            "that all files (and replay.start, replay.end) share; lower env.episode_steps or market.dt"
        )
    return join(days, cfg.replay.snapshot_every), (first, last - length)
