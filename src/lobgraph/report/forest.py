"""Differences and levels with their intervals: a small panel per measure, a row per actor and regime.

In: tables of compared measures. Out: figures, every panel in its measure's own unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy import stats

from .labels import axis, foremost, ordered
from .panels import GREY, WIDTH, empty, grey_legend, heading, look, wrapped
from .style import figure, style

COLUMNS = 3  # panels side by side
PANELS = 15  # measures in a figure


def differences(names: Sequence[str], table: pd.DataFrame, role: str) -> Figure | None:
    """Each measure's difference from the baseline: paired interval (thick) above the unpaired one (thin, grey).

    table: actor, baseline, regime, role, measure, mean, low, high, unpaired_low, unpaired_high. None where it has no row
    of the role.
    """
    own = table[table["role"] == role]
    measures = foremost(own["measure"], role)
    shown = measures[:PANELS]
    rows = _rows(names, own)
    if not rows or not shown:
        return None
    with style():
        fig, panels = _panels(len(shown), len(rows))
        for ax, measure in zip(panels, shown, strict=True):
            part = own[own["measure"] == measure].set_index(["actor", "regime"])
            for y, key in enumerate(rows):
                if key in part.index:
                    _difference(ax, y, part.loc[[key]].iloc[0], look(names.index(key[0]))["color"])
            ax.axvline(0.0, color="black", lw=0.9, zorder=1)
            ax.set_xlabel(axis(measure))
            if not any(line.get_xdata().size > 1 for line in ax.lines[:-1]):  # type: ignore[union-attr]
                empty(ax, "no interval")
        _name_rows(panels, rows)
        base = str(own["baseline"].iloc[0])
        more = f" ({len(shown)} of {len(set(own['measure']))} measures)" if len(shown) < len(set(own["measure"])) else ""
        who = "the market's measures" if role == "market" else f"the {role}'s measures"
        heading(fig, f"Difference from {base} in {who}{more}")
        grey_legend(fig, [
            Line2D([], [], color=GREY, lw=3.0, marker="o", ms=5, label="paired interval: same noise"),
            Line2D([], [], color=GREY, lw=1.0, label="unpaired interval of the same episodes"),
            Line2D([], [], color="black", lw=0.9, label="no difference"),
        ])  # fmt: skip
    return fig


def _rows(names: Sequence[str], table: pd.DataFrame) -> list[tuple[str, str]]:
    """(actor, regime) that the table has, actors in the order of `names`, regimes as they come."""
    regimes = list(dict.fromkeys(table["regime"]))
    there = set(zip(table["actor"], table["regime"], strict=True))
    return [(n, r) for r in regimes for n in names if (n, r) in there]


def _panels(count: int, rows: int) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    height = 0.75 + 0.3 * max(rows, 1)
    fig, grid = figure(lines, columns, WIDTH / max(columns, 2), height, sharey=True)
    flat = [ax for row in grid for ax in row]
    for ax in flat[count:]:
        ax.remove()
    for ax in flat[:count]:
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(5))
    return fig, flat[:count]


def _name_rows(panels: Sequence[Axes], rows: Sequence[tuple[str, str]]) -> None:
    several = len({regime for _, regime in rows}) > 1
    labels = [wrapped(f"{name} ({regime})" if several else name, 34) for name, regime in rows]
    for ax in panels:
        ax.set_yticks(range(len(rows)), labels, fontsize=7.5)
        ax.set_ylim(len(rows) - 0.4, -0.6)


def _difference(ax: Axes, y: float, row: pd.Series, colour: str) -> None:
    if np.isfinite([row["unpaired_low"], row["unpaired_high"]]).all():
        ends = (row["unpaired_low"], row["unpaired_high"])
        ax.plot(ends, (y + 0.2, y + 0.2), color=GREY, lw=1.0, marker="|", ms=5)
    if np.isfinite([row["low"], row["high"]]).all():
        ax.plot((row["low"], row["high"]), (y - 0.1, y - 0.1), color=colour, lw=3.0, solid_capstyle="butt")
    if np.isfinite(row["mean"]):
        ax.plot([row["mean"]], [y - 0.1], color=colour, marker="o", ms=5, mec="white", mew=0.6, zorder=3)


def levels(table: pd.DataFrame, measures: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Mean and t interval over episodes of every measure: actor, regime, measure, episodes, mean, low, high.

    Agents or books of one episode are averaged first: they share its market, only episodes are independent.
    """
    rows = []
    for (actor, regime), part in table.groupby(["actor", "regime"], sort=False):
        means = part.groupby("episode")[list(measures)].mean()
        for measure in measures:
            x = np.asarray(means[measure], dtype=float)
            x = x[np.isfinite(x)]
            n = len(x)
            mean = float(x.mean()) if n else np.nan
            half = float(stats.t.ppf(0.5 + level / 2, n - 1) * x.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
            rows.append((actor, regime, measure, n, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["actor", "regime", "measure", "episodes", "mean", "low", "high"])


def market(names: Sequence[str], table: pd.DataFrame, level: float = 0.95) -> Figure | None:
    """The market's quality with each actor in it: mean over episodes with its t interval. None for an empty table."""
    measures = [m for m in ordered(table.select_dtypes("number").columns) if m not in ("episode", "book")]
    measures = [m for m in foremost(measures, "market") if table[m].notna().any()][:PANELS]
    rows = _rows(names, table)
    if not rows or not measures:
        return None
    known = levels(table, measures, level).set_index(["measure", "actor", "regime"])
    with style():
        fig, panels = _panels(len(measures), len(rows))
        for ax, measure in zip(panels, measures, strict=True):
            for y, key in enumerate(rows):
                row, colour = known.loc[(measure, *key)], look(names.index(key[0]))["color"]
                ax.plot([row["low"], row["high"]], [y, y], color=colour, lw=3.0, solid_capstyle="butt")
                ax.plot([row["mean"]], [y], color=colour, marker="o", ms=5, mec="white", mew=0.6, zorder=3)
            ax.set_xlabel(axis(measure))
        _name_rows(panels, rows)
        heading(fig, f"Market quality with each actor: mean over episodes and books, {100 * level:.0f} % interval")
    return fig
