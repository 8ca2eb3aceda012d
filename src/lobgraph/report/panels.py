"""What the figures of a comparison share: a grid with a panel per actor and regime, colours by actor, fans of quantiles.

In: `series`, a mapping (actor, regime) -> Series of that actor's episodes in that regime.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.record import Series
from .style import CYCLE, figure

Played = Mapping[tuple[str, str], Series]

WIDTH = 11.0  # inches of a full figure
COLUMNS = 4  # panels side by side at most
GREY = "#777777"
DASHES = ("-", "--", ":")
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a fan


def regimes_of(series: Played) -> list[str]:
    """The regimes, in the order in which they were given."""
    return list(dict.fromkeys(regime for _, regime in series))


def look(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th actor; the baseline is the first."""
    return {"color": CYCLE[i % len(CYCLE)], "ls": DASHES[i // len(CYCLE) % len(DASHES)]}


def wrapped(text: str, width: int) -> str:
    """The text in lines of about `width` characters; names of strategies are broken after their punctuation."""
    spaced = text.replace(":", ": ").replace(",", ", ")
    return "\n".join(
        line.replace(": ", ":").replace(", ", ",")
        for line in textwrap.wrap(spaced, width, break_long_words=True)
    )


def plain(text: str) -> str:
    """The text as matplotlib shows it, dollar signs too: between two of them it would read mathematics."""
    return text.replace("$", r"\$")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Name -> what figures call it: of a path the last two parts (a file of strategies: the last one), or as
    many as tell it from the others; all else as it is."""
    longest = max((name.count("/") for name in names), default=0)
    for more in range(longest + 1):
        shown = {name: _tail(name, more) for name in names}
        if len(set(shown.values())) == len(shown):
            return shown
    return {name: name for name in names}


def _tail(name: str, more: int) -> str:
    path, colon, parameters = name.partition(":")
    parts = [part for part in path.split("/") if part]
    return "/".join(parts[-(more + 1 if path.endswith(".py") else more + 2) :]) + colon + parameters


def heading(fig: Figure, text: str) -> None:
    fig.suptitle(text, x=0.01, ha="left", fontsize=11)


def actor_grid(
    names: Sequence[str], regimes: Sequence[str], height: float
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A panel for each actor and regime, at most COLUMNS side by side; a regime starts on a new row.

    Panels share the axis of time and are titled by what they show; `label_grid` gives those of a regime one height.
    """
    columns = min(len(names), COLUMNS)
    if len(names) > COLUMNS:  # rows as equal as can be
        columns = min(range(COLUMNS - 1, COLUMNS + 1), key=lambda c: (-len(names) % c, -c))
    each = -(-len(names) // columns)
    width = WIDTH / max(columns, 2) if columns > 1 else 8.0
    fig, grid = figure(each * len(regimes), columns, width, height, sharex=True)
    panels = {}
    for r, regime in enumerate(regimes):
        for i in range(each * columns):
            ax = grid[r * each + i // columns][i % columns]
            if i >= len(names):
                ax.remove()
                continue
            label = wrapped(names[i], int(13 * width))
            ax.set_title(f"{label}\n{regime}" if len(regimes) > 1 else label, fontsize=9)
            if r == len(regimes) - 1 and i + columns >= len(names):  # nothing below it
                ax.xaxis.set_tick_params(labelbottom=True)
            panels[names[i], regime] = ax
    return fig, panels


def label_grid(panels: Mapping[tuple[str, str], Axes], x: str, y: str) -> None:
    """Give the panels of a regime one height; label the bottom of each column and the left of each row."""
    for regime in {r for _, r in panels}:
        own = [ax for (_, r), ax in panels.items() if r == regime]
        limits = np.array([ax.get_ylim() for ax in own if ax.has_data()] or [(0.0, 1.0)])
        for ax in own:
            ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    for ax in panels.values():
        if ax.xaxis.get_tick_params().get("labelbottom", True):
            ax.set_xlabel(x)
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel(y)
        else:
            ax.tick_params(labelleft=False)


def fan(ax: Axes, time: np.ndarray, samples: np.ndarray, colour: str) -> None:
    """Draw quantiles over the samples: time (T,), samples (T, n), NaN where there is none."""
    known = np.isfinite(samples).any(axis=1)
    if not known.any():
        empty(ax, "no data")
        return
    low, quarter, middle, three, high = np.nanquantile(samples[known], LEVELS, axis=1)
    t = time[known]
    ax.fill_between(t, low, high, color=colour, alpha=0.18, lw=0, label="5 to 95 % of episodes")
    ax.fill_between(t, quarter, three, color=colour, alpha=0.32, lw=0, label="25 to 75 %")
    ax.plot(t, middle, color=colour, lw=1.6, label="median")


def empty(ax: Axes, text: str) -> None:
    """Say in a panel why nothing is drawn."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def grey_legend(fig: Figure, handles: Sequence[Any], columns: int = 6) -> None:
    """One legend under all panels, made of handles that stand for every colour."""
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))


def whole_ticks(ax: Axes) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def of_agents(values: np.ndarray) -> np.ndarray:
    """(T, B, ...) to (T, n): every episode, agent and book a sample."""
    return values.reshape(len(values), -1)
