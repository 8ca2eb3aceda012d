"""Differences and levels with their intervals: a small panel per measure, a row per actor; a figure for each regime.

In: tables of compared measures. Out: figures, every panel in its measure's own unit.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .labels import axis, foremost, label
from .panels import GREY, WIDTH, grey_legend, heading, look, wrapped
from .style import figure, style

COLUMNS = 3  # panels side by side
PANELS = 15  # measures in a figure


def differences(names: Sequence[str], table: pd.DataFrame, role: str, regime: str) -> Figure | None:
    """Each measure's difference from the baseline: paired interval (thick) above the unpaired one (thin, grey).

    table: actor, baseline, regime, role, measure, mean, low, high, unpaired_low, unpaired_high. None where it has no row
    of the role in the regime. Measures in which nobody differs at all are named in the title, not drawn, unless all are such.
    """
    own: Any = table[(table["role"] == role) & (table["regime"] == regime)]
    found = foremost(own.loc[own["mean"].notna(), "measure"], role)
    same = [m for m in found if _never(own[own["measure"] == m])]
    shown = [m for m in found if m not in same][:PANELS] or found[:PANELS]
    rows = [name for name in names if (own["actor"] == name).any()]
    if not rows or not shown:
        return None
    with style():
        fig, panels = _panels(shown, rows)
        for ax, measure in zip(panels, shown, strict=True):
            part = own[own["measure"] == measure].set_index("actor")
            for y, name in enumerate(rows):
                if name in part.index:
                    _difference(ax, y, part.loc[[name]].iloc[0], look(names.index(name))["color"])
            ax.axvline(0.0, color="black", lw=0.9, zorder=1)
        who = "Effect on the market" if role == "market" else f"The {role}'s measures"
        exact = ", ".join(label(m).words for m in same)
        title = f"{who}: difference from {own['baseline'].iloc[0]}, {regime}"
        heading(fig, title + (f"\nexactly 0 in every episode: {textwrap.fill(exact, 130)}" if exact else ""))
        grey_legend(fig, [
            Line2D([], [], color=GREY, lw=4.0, label="paired interval: same noise"),
            Line2D([], [], color=GREY, lw=1.0, marker="|", ms=5, label="unpaired interval of the same episodes"),
            Line2D([], [], color="black", ls="", marker="|", ms=9, mew=1.4, label="mean"),
            Line2D([], [], color="black", lw=0.9, label="no difference"),
        ])  # fmt: skip
    return fig


def _never(part: pd.DataFrame) -> bool:
    """Whether no actor differs from the baseline in any episode: a mean of 0 in an interval without width."""
    return not np.nan_to_num(part[["mean", "low", "high"]].to_numpy(dtype=float)).any()


def _panels(measures: Sequence[str], rows: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A panel for each measure, with the rows' names at the left."""
    columns = min(COLUMNS, len(measures))
    lines = -(-len(measures) // columns)
    height = (
        0.7 + 0.33 * len(rows) + 0.8 / lines
    )  # a panel's labels and rows, and its part of title and legend
    width = WIDTH / columns if columns > 1 else 8.0
    fig, grid = figure(lines, columns, width, height, sharey=True)
    flat = [ax for row in grid for ax in row]
    for ax in flat[len(measures) :]:
        ax.remove()
    for ax, measure in zip(flat, measures, strict=False):
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.margins(x=0.08)
        ax.set_xlabel(axis(measure))
        ax.set_yticks(range(len(rows)), [wrapped(name, 34) for name in rows], fontsize=7.5)
        ax.set_ylim(len(rows) - 0.4, -0.6)
    return fig, flat[: len(measures)]


def _difference(ax: Axes, y: float, row: pd.Series, colour: str) -> None:
    unpaired = (row["unpaired_low"], row["unpaired_high"])
    if np.isfinite(unpaired).all():
        ax.plot(unpaired, (y + 0.22, y + 0.22), color=GREY, lw=1.0, marker="|", ms=5)
    _interval(ax, y - 0.08, row, colour)


def _interval(ax: Axes, y: float, row: pd.Series, colour: str) -> None:
    """A bar from `low` to `high` where they are known, a black tick at `mean`."""
    if np.isfinite((row["low"], row["high"])).all():
        ax.plot((row["low"], row["high"]), (y, y), color=colour, lw=4.0, solid_capstyle="butt")
    if np.isfinite(row["mean"]):
        ax.plot([row["mean"]], [y], color="black", marker="|", ms=9, mew=1.4, zorder=3)


def market(names: Sequence[str], intervals: pd.DataFrame, regime: str) -> Figure | None:
    """The market's quality with each actor in it: means over episodes with their intervals; None without any.

    intervals: actor, regime, role, measure, mean, low, high, of which the rows of the role "market" are shown.
    """
    own: Any = intervals[(intervals["role"] == "market") & (intervals["regime"] == regime)]
    measures = foremost(own["measure"], "market")[:PANELS]
    rows = [name for name in names if (own["actor"] == name).any()]
    if not rows or not measures:
        return None
    with style():
        fig, panels = _panels(measures, rows)
        for ax, measure in zip(panels, measures, strict=True):
            part = own[own["measure"] == measure].set_index("actor")
            for y, name in enumerate(rows):
                if name in part.index:
                    _interval(ax, y, part.loc[[name]].iloc[0], look(names.index(name))["color"])
        heading(fig, f"Market quality, {regime}: mean over episodes and books, 95 % interval")
    return fig
