"""The scorecard printed, drawn and written: tables as CSV and JSON, figures of facts, distributions, autocorrelations."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..files import write_atomic, write_table
from ..realism.distances import MEANS, bins
from ..realism.facts import RANGES
from ..realism.scorecard import Scorecard, Shown, correlation_curve
from ..realism.scores import DISCRETE, Score
from .console import say, show
from .panels import GREY, WIDTH, empty, grey_legend, heading, wrapped
from .style import figure, save, style

REAL, SIMULATED = "#222222", "#D55E00"
UNITS = {
    "spread": "ticks", "imbalance": "(bid - ask) / (bid + ask)", "log inter-arrival": "log ms", "log time to cancel": "log s",
    "volume a minute": "shares",
}  # fmt: skip
WORDS = {"level": "level", "depth": "ticks from the mid", "volume": "shares", "imbalance": "shares a message"}
COLUMNS = 4
DRAWN = 60  # bars of a drawn histogram at most


def present(card: Scorecard) -> None:
    """Print the facts and the distances of every book."""
    for book, own in card.facts.groupby("book", sort=False):
        view = pd.DataFrame(
            {
                "fact": own["fact"],
                "real markets": own["range"],
                "data": own["data"],
                "-+": 0.5 * (own["data_high"] - own["data_low"]),
                "simulated": own["simulated"],
                "-+ ": 0.5 * (own["simulated_high"] - own["simulated_low"]),
                "real?": own["verdict"],
            }
        )
        show(view, f"{book}: stylised facts, with their 95 % intervals")
        for note in dict.fromkeys(own["fact"] + ": " + own["note"]):
            if not note.endswith(": "):
                say(f"  {note}")
    for book, own in card.distances.groupby("book", sort=False):
        view = pd.DataFrame(
            {
                "score": own["score"],
                "L1": own["l1"],
                "from": own["l1_low"],
                "to": own["l1_high"],
                "of data's halves": own["floor_l1"],
                "of data before": own["earlier_l1"],
                "Wasserstein": own["wasserstein"],
                "of halves": own["floor_wasserstein"],
            }
        )
        if np.isnan(own["earlier_l1"].to_numpy(float)).all():
            view = view.drop(columns="of data before")
        show(view, f"{book}: distances of distributions (LOB-Bench)")


def write(card: Scorecard, directory: Path) -> list[Path]:
    """Write tables and figures into an existing directory; returns the paths."""
    made = []
    for name, table in (("facts", card.facts), ("distances", card.distances)):
        made.append(write_table(directory / f"{name}.csv", table))
    path = directory / "scorecard.json"
    whole = {
        "name": card.name,
        "facts": _records(card.facts),
        "distances": _records(card.distances),
        "notes": card.notes,
    }
    write_atomic(path, json.dumps(whole, indent=1, allow_nan=False).encode())
    made.append(path)
    for name, fig in figures(card).items():
        made.append(save(fig, directory / f"{name}.png"))
    return made


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; what is not known is null."""
    rows = table.to_dict(orient="records")
    return [{str(k): None if isinstance(v, float) and v != v else v for k, v in row.items()} for row in rows]


def figures(card: Scorecard) -> dict[str, Figure]:
    """Figures by file name."""
    drawn = {"facts": facts_figure(card), "autocorrelation": autocorrelation_figure(card)}
    for book, shown in card.shown.items():
        drawn[f"distributions_{book}"] = distributions_figure(card, book, shown)
    if len(card.shown) > 1:
        drawn["correlation"] = correlation_figure(card)
    return drawn


def _legend(fig: Figure, card: Scorecard, *more: Any) -> None:
    grey_legend(fig, [
        Line2D([], [], color=REAL, lw=2.0, label="data"),
        Line2D([], [], color=SIMULATED, lw=2.0, label=f"simulated: {card.name}"), *more,
    ])  # fmt: skip


def facts_figure(card: Scorecard) -> Figure:
    """A panel per fact: data and simulator of every book, over the range of real markets."""
    measured = np.isfinite(card.facts[["data", "simulated"]].to_numpy(float)).any(axis=1)
    known = card.facts.loc[measured]
    names = list(dict.fromkeys(known["fact"]))
    books = len(set(known["book"]))
    with style():
        lines = -(-len(names) // COLUMNS)
        fig, grid = figure(lines, COLUMNS, WIDTH / COLUMNS, 1.2 + 0.25 * books)
        for ax, name in zip([a for row in grid for a in row], names, strict=False):
            _fact(ax, name, known.loc[known["fact"].to_numpy(str) == name])
        for ax in [a for row in grid for a in row][len(names) :]:
            ax.remove()
        heading(fig, "Stylised facts")
        _legend(fig, card, Patch(color="#009E73", alpha=0.15, label="range of real markets"))
    return fig


def _fact(ax: Axes, name: str, rows: pd.DataFrame) -> None:
    ends = []
    for y, row in enumerate(rows.to_dict(orient="records")):
        for key, shift, colour in (("data", 0.15, REAL), ("simulated", -0.15, SIMULATED)):
            value, low, high = (float(row[k]) for k in (key, f"{key}_low", f"{key}_high"))
            ax.plot([low, high], [-y + shift] * 2, color=colour, lw=1.6)
            ax.plot([value], [-y + shift], "o", color=colour, ms=4)
            ends += [v for v in (value, low, high) if np.isfinite(v)]
    ax.set_yticks([-y for y in range(len(rows))], list(rows["book"]))
    ax.set_ylim(-len(rows) + 0.4, 0.6)
    ax.set_title(wrapped(name, 44), fontsize=8.5)
    wanted = RANGES.get(name)
    if ends:
        finite = [v for v in (wanted.low, wanted.high) if np.isfinite(v)] if wanted else []
        low, high = min(ends + finite), max(ends + finite)
        pad = 0.08 * (high - low) or 0.1
        ax.set_xlim(low - pad, high + pad)
    if wanted:
        left, right = ax.get_xlim()
        ax.axvspan(max(wanted.low, left), min(wanted.high, right), color="#009E73", alpha=0.15, lw=0)


def distributions_figure(card: Scorecard, book: str, shown: Shown) -> Figure:
    """A panel per score: both histograms and their L1."""
    simulated, real = shown.scores
    names = [name for name in real if name in simulated]
    table = card.distances[card.distances["book"] == book].set_index("score")
    with style():
        lines = -(-len(names) // COLUMNS)
        fig, grid = figure(lines, COLUMNS, WIDTH / COLUMNS, 1.75)
        flat = [a for row in grid for a in row]
        for ax, name in zip(flat, names, strict=False):
            _distribution(ax, name, simulated[name], real[name])
            ax.set_title(f"{name}: L1 {float(table.at[name, 'l1']):.2f}", fontsize=9)
        for ax in flat[len(names) :]:
            ax.remove()
        mean = float(table.at[MEANS[0], "l1"])
        heading(fig, f"{book}: distributions; mean L1 of the thirteen core scores {mean:.3f}")
        _legend(fig, card)
    return fig


def _distribution(ax: Axes, name: str, simulated: Score, real: Score) -> None:
    ax.tick_params(labelleft=False)
    ax.set_xlabel(UNITS.get(name, next((unit for word, unit in WORDS.items() if word in name), "")))
    if len(simulated.value) == 0 or len(real.value) == 0:
        empty(ax, "no values")
        return
    both = np.concatenate([simulated.value, real.value])
    low, high = np.quantile(both, [0.002, 0.99])
    if name in DISCRETE or len(np.unique(both)) < DRAWN:
        high = min(max(high, low + 1.0), low + DRAWN)
        edges = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    else:
        count = int(np.clip(bins(simulated.value, real.value, False)(np.array([high]))[0], 10, DRAWN))
        edges = np.linspace(low, max(high, low + 1e-9), count + 1)
    for score, colour in ((real, REAL), (simulated, SIMULATED)):
        share = np.histogram(score.value, edges)[0] / len(score.value)
        ax.stairs(share, edges, color=colour, fill=True, alpha=0.18)
        ax.stairs(share, edges, color=colour, lw=1.2)
    ax.set_xlim(edges[0], edges[-1])


def autocorrelation_figure(card: Scorecard) -> Figure:
    """A row per book: |one-second returns| and sides of market orders."""
    with style():
        fig, grid = figure(len(card.shown), 2, WIDTH / 2, 2.4)
        for (book, shown), (left, right) in zip(card.shown.items(), grid, strict=True):
            for ax, pair, what, unit in (
                (left, shown.absolute, "|1 s returns|", "lag [s]"),
                (right, shown.signs, "sides of market orders", "lag [market orders]"),
            ):
                known = False
                for values, colour in zip(pair, (SIMULATED, REAL), strict=True):
                    if np.isfinite(values).any():
                        known = True
                        ax.plot(*_thinned(values), "o-", ms=3, color=colour, lw=1.2)
                ax.set_title(f"{book}: autocorrelation of {what}", fontsize=9)
                ax.set_xlabel(unit)
                ax.set_xscale("log")
                ax.axhline(0.0, color=GREY, lw=0.8)
                if not known:
                    empty(ax, "too short to measure")
        heading(fig, "Memory")
        _legend(fig, card)
    return fig


def _thinned(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Lags and autocorrelations, means over lags spaced evenly in their logarithm: single far lags are mostly noise."""
    edges = np.unique(np.round(np.geomspace(1, len(values) + 1, 24)).astype(int))
    spans = list(pairwise(edges))
    return [(a * (b - 1)) ** 0.5 for a, b in spans], [float(values[a - 1 : b - 1].mean()) for a, b in spans]


def correlation_figure(card: Scorecard) -> Figure:
    """Mean pairwise correlation against the horizon of returns."""
    rows = correlation_curve(card)
    with style():
        fig, grid = figure(1, 1, 5.5, 3.2)
        ax = grid[0][0]
        for key, colour in (("data", REAL), ("simulated", SIMULATED)):
            value, low, high = (rows[c].to_numpy(float) for c in (key, f"{key}_low", f"{key}_high"))
            ax.plot(rows["horizon"], value, "o-", color=colour)
            ax.fill_between(rows["horizon"], low, high, color=colour, alpha=0.15, lw=0)
        ax.set_xscale("log")
        ax.set_xticks(rows["horizon"], [str(h) for h in rows["horizon"]])
        ax.set_xlabel("horizon [s]")
        ax.set_ylabel("mean pairwise correlation")
        heading(fig, "Correlation between books")
        _legend(fig, card)
    return fig
