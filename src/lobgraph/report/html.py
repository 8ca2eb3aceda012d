"""A comparison as one HTML file that needs nothing else, with its figures as PNG and its tables as CSV beside it.

In: the tables and episodes of a comparison. Out: report.html, figures/*.png, measures.csv, market.csv, intervals.csv,
differences.csv.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..config import Config
from ..files import write_atomic, write_table
from .comparison import comparison_figures
from .levels import levels
from .page import Image, Report, page
from .panels import Played
from .style import save

NEEDED = {
    "measures": ("episode", "role", "actor", "regime"),
    "market": ("episode", "actor", "regime"),
    "intervals": ("actor", "regime", "role", "measure", "mean", "low", "high"),
    "differences": ("actor", "baseline", "regime", "role", "measure", "mean", "low", "high", "unpaired_low",
                    "unpaired_high", "correlation", "p", "p_adjusted", "effect"),
}  # fmt: skip
PIXELS = 100  # an inch of a figure on the page


def write_report(
    directory: str | Path, title: str, names: Sequence[str], role: str, measures: pd.DataFrame,
    market: pd.DataFrame | None = None, differences: pd.DataFrame | None = None, series: Played | None = None,
    cfg: Config | None = None, notes: str | Sequence[str] = (), command: str = "", *,
    intervals: pd.DataFrame | None = None, seed: int | None = None, definitions: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> Path:  # fmt: skip
    """Write the report of a comparison into `directory`, which is made; returns the path of report.html.

    Args:
        names: the actors; the first is the baseline.
        role: the role that they fill.
        measures: one row per episode, role and agent: episode, role, agent, actor, regime, and the measures.
        market: one row per episode and book: episode, book, actor, regime, and the measures.
        differences: actor, baseline, regime, role ("market" for the market's measures), measure, mean, low, high,
            unpaired_low, unpaired_high, correlation, p, p_adjusted, effect.
        series: (actor, regime) -> some of their episodes, for the figures.
        notes: paragraphs for the reader. command: what repeats the comparison. seed: the evaluation's.
        intervals: of the means, at 95 %: actor, regime, role ("market" for the market's), measure, mean, low, high;
            None: Student's t intervals of `measures` and `market`.
        definitions: measure -> what it is, as text or with `meaning` and `unit`.
        figures: more of them, named as `policy_map.policy_maps` does.

    Raises ValueError for tables without these columns or with actors that `names` lacks, before anything is written.
    """
    names = list(names)
    tables = {"measures": measures, "market": market, "intervals": intervals, "differences": differences}
    tables = {name: table for name, table in tables.items() if table is not None and len(table)}
    _check(names, tables)
    if "intervals" not in tables:
        tables["intervals"] = levels(measures, tables.get("market"))
    report = Report(
        title, names, role, measures, tables["intervals"], tables.get("differences"), cfg,
        [notes] if isinstance(notes, str) and notes else list(notes), command, seed, definitions or {},
    )  # fmt: skip
    drawn = comparison_figures(names, series or {}, role, tables["intervals"], tables.get("differences"))
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    images = save_images(directory / "figures", {**drawn, **(figures or {})})
    for name, table in tables.items():
        write_table(directory / f"{name}.csv", table)
    path = directory / "report.html"
    write_atomic(path, page(report, images).encode())
    return path


def _check(names: Sequence[str], tables: Mapping[str, pd.DataFrame]) -> None:
    if not names or len(set(names)) != len(names):
        raise ValueError(f"names: must be present and different from each other, got {list(names)}")
    for name, table in tables.items():
        if missing := [c for c in NEEDED[name] if c not in table]:
            raise ValueError(f"{name}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
        if unknown := sorted(set(table["actor"]) - set(names)):
            raise ValueError(f"{name}: {unknown[0]!r} is not among the names {list(names)}")


def save_images(directory: Path, figures: Mapping[str, Figure]) -> list[Image]:
    """Write each figure to a file of its own."""
    images, taken = [], set()
    for name, fig in figures.items():
        file, n = file_name(name), 2
        while file.lower() in taken:
            file, n = f"{file_name(name)}-{n}", n + 1
        taken.add(file.lower())
        width, height = (round(PIXELS * inches) for inches in fig.get_size_inches())
        images.append(Image(name, save(fig, directory / f"{file}.png"), width, height))
    return images


def file_name(name: str) -> str:
    """A name as part of a file's: letters, digits, and `_`, `-`, `=` and `.` within it."""
    return re.sub(r"[^\w=.-]+", "-", name, flags=re.ASCII).strip("-.")[:100] or "figure"
