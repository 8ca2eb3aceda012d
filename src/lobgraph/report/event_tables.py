"""A traced episode on disk: its tables, its figure; and its fills counted, to see at once what there is to ask about.

In: an `EventTrace`. Out: <directory>/<time>-<scenario>-e<episode>-s<seed>/ with six tables and episode.png.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..evaluation.event_trace import EventTrace
from ..files import write_table
from ..rl.run import kept_if_used, numbered_directory
from .event_figure import episode
from .style import save

AROUND = 5  # steps shown on either side of a fill's story


def write_trace(
    trace: EventTrace, directory: Path, form: str, agent: int = 0, book: int = 0, fill: int | None = None
) -> list[Path]:
    """Write the tables as `form` (csv, parquet) and draw one agent in one book; with `fill` also the stretch around it."""
    log = trace.log
    with kept_if_used(numbered_directory(directory, f"{log.cfg.name}-e{log.number}-s{log.seed}")) as path:
        files = []
        for name, table in trace.tables().items():
            files.append(write_table(path / f"{name}.{form}", table))
        files.append(save(episode(trace, agent, book), path / "episode.png"))
        if fill is not None:
            span = around(trace, fill)
            files.append(save(episode(trace, agent, book, span, fill), path / f"fill_{fill}.png"))
    return files


def around(trace: EventTrace, fill: int) -> tuple[float, float]:
    """Seconds from some steps before the order of a fill was placed to as many after the fill."""
    found = trace.fills[fill]
    placed = found.order.ns if found.order is not None else found.ns
    room = AROUND * trace.log.cfg.market.dt
    end = trace.seconds(trace.end_ns)
    return max(trace.seconds(placed) - room, 0.0), min(trace.seconds(found.ns) + room, end)


def summary(trace: EventTrace) -> pd.DataFrame:
    """A row per agent, book, way and counterparty of its fills: their number, lots, first and last number, what they earned."""
    columns = [
        "agent",
        "book",
        "how",
        "counterparty",
        "fills",
        "lots",
        "first",
        "last",
        "earned",
        "earned_end",
    ]
    table = trace.fill_table()
    if table.empty:
        return pd.DataFrame(columns=columns)
    groups = table.groupby(columns[:4], sort=False)
    found = groups.agg(
        fills=("fill", "size"), lots=("lots", "sum"), first=("fill", "min"), last=("fill", "max"), earned=("earned", "sum"),
        earned_end=("earned_end", "sum"),
    )  # fmt: skip
    return found.reset_index()
