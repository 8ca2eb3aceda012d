"""Figures of the stress laboratory: paths around an event, what actors did to it, and whose the liquidity was.

In: a Laboratory. Out: matplotlib figures by file name; bands and bars are 95 % intervals of means over episodes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..evaluation.event_time import NOISE, Paths
from ..evaluation.stress import ALONE, Laboratory, Scenario
from ..evaluation.stress_measures import MARKET
from .panels import GREY, WIDTH, grey_legend, heading, look, plain, short_names, wrapped
from .style import CYCLE, ROLE, figure, style

ROWS = (
    ("move", "mid from the\nbeginning (ticks)"),
    ("spread", "spread (ticks)"),
    ("depth", "depth near the\nbest (lots)"),
)
CAPTIONS = {
    "paths": "Means over episodes in event time, in the books that the event hits. Full lines: with the event; dashed: the same "
    "episodes, with the same noise, without it. Bands: 95 % intervals of the mean with the event. The grey span is the event. "
    "Black: the market without any agents.",
    "amplification": "What an actor does to the event, as a factor: above 1 it amplifies, below 1 it damps. Volatility: how many "
    "times the event raises it, over how many times it does so without agents. Fall: how far the mid goes with this actor, over how "
    "far it goes without agents. Bars: 95 % paired intervals.",
    "liquidity": "Whose lots rest near the best prices, mean over episodes with the event. What the event takes away is missing at "
    "the top; what agents withdraw is missing in their colour.",
}  # fmt: skip


def stress_figures(lab: Laboratory) -> dict[str, Figure]:
    """paths-<scenario>, amplification, liquidity-<scenario>."""
    made: dict[str, Figure] = {}
    with style():
        if len(lab.names) > 1:
            made["amplification"] = _amplification(lab)
        for scenario in lab.scenarios:
            made[f"paths-{scenario.name}"] = _paths(lab, scenario)
            if len(lab.names) > 1:
                made[f"liquidity-{scenario.name}"] = _liquidity(lab, scenario)
    return made


def caption(name: str) -> str:
    """The words under a figure, from its file name."""
    return CAPTIONS.get(name.partition("-")[0], "")


def _look(lab: Laboratory, name: str) -> dict:
    return {"color": "black", "ls": "-"} if name == ALONE else look(lab.names.index(name) - 1)


def _paths(lab: Laboratory, scenario: Scenario) -> Figure:
    """Where the event goes neither up nor down, the size of the mid's move: a mean of moves both ways would say nothing."""
    fig, axes = figure(3, 1, WIDTH * 0.75, 2.0, sharex=True)
    dt, shown = lab.cfg.market.dt, short_names(lab.names)
    for (field, words), [ax] in zip(ROWS, axes, strict=True):
        ax.axvspan(0.0, dt * scenario.length, color="#eeeeee", lw=0)
        unsigned = field == "move" and scenario.direction == 0
        for name in lab.names:
            colour = _look(lab, name)["color"]
            with_it, calm = (lab.paths[scenario.name, name, event] for event in (True, False))
            of = [np.abs(x) if unsigned else x for x in (getattr(with_it, field), getattr(calm, field))]
            time, (mean, half) = dt * with_it.offset, _band(of[0])
            ax.fill_between(time, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
            ax.plot(time, mean, color=colour, label=plain(wrapped(shown[name], 40)))
            ax.plot(time, _band(of[1])[0], color=colour, ls="--", lw=0.9)
        ax.set_ylabel("how far the mid is from\nits beginning (ticks)" if unsigned else words)
    axes[-1][0].set_xlabel("time from the event's beginning (s)")
    heading(fig, f"{scenario.name}: mean over {lab.episodes} episodes")
    handles = axes[0][0].get_legend_handles_labels()[0]
    handles.append(Line2D([], [], color=GREY, ls="--", lw=0.9, label="without the event"))
    grey_legend(fig, handles, columns=2)
    return fig


def _band(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) mean over episodes and half its 95 % interval; NaN where there is none."""
    with warnings.catch_warnings():  # rows outside of every episode
        warnings.simplefilter("ignore", RuntimeWarning)
        count = (~np.isnan(x)).sum(axis=1)
        return np.nanmean(x, axis=1), 1.96 * np.nanstd(x, axis=1) / np.sqrt(np.maximum(count, 1))


def _amplification(lab: Laboratory) -> Figure:
    """Factors of volatility and fall by scenario and actor."""
    shown = (("volatility", "amplification of volatility"), ("fall", "how far the mid goes"))
    table: Any = lab.effects[lab.effects["who"] == MARKET]
    actors, names = lab.names[1:], short_names(lab.names)
    rows = len(lab.scenarios) * (len(actors) + 0.6)
    fig, [axes] = figure(1, 2, WIDTH / 2, 1.3 + 0.3 * rows, sharey=True)
    ticks, labels = [], []
    for ax, (measure, words) in zip(axes, shown, strict=True):
        ax.use_sticky_edges = False  # room beyond the line at 1 too, where all bars are on one side of it
        own = table[table["measure"] == measure].set_index(["scenario", "actor"])
        y, ticks, labels = 0.0, [], []
        for scenario in lab.scenarios:
            ticks.append(y + (len(actors) - 1) / 2)
            labels.append(scenario.name)
            for name in actors:
                _bar(ax, y, own.loc[[(scenario.name, name)]].iloc[0], _look(lab, name)["color"])
                y += 1.0
            y += 0.6
        ax.axvline(1.0, color="black", lw=0.9)
        ax.set_xlabel(f"{words} (factor against no agents)")
        ax.grid(visible=False, axis="y")
    axes[0].set_yticks(ticks, labels)
    axes[0].invert_yaxis()
    heading(fig, "Left of 1 the actor damps the event, right of it the actor amplifies it")
    colours = [
        Patch(color=_look(lab, name)["color"], label=plain(wrapped(names[name], 40))) for name in actors
    ]
    grey_legend(fig, colours, columns=3)
    return fig


def _bar(ax: Axes, y: float, row: pd.Series, colour: str) -> None:
    mean, low, high = (row[f"factor_against{end}"] for end in ("", "_low", "_high"))
    if np.isfinite(mean):
        ax.barh(y, mean - 1.0, left=1.0, height=0.75, color=colour, alpha=0.45)
    if np.isfinite([low, high]).all():
        ax.plot([low, high], [y, y], color=colour, lw=2.2)


def _liquidity(lab: Laboratory, scenario: Scenario) -> Figure:
    """Lots near the best by whose they are, stacked, a panel for each actor."""
    fig, [axes] = figure(1, len(lab.names), WIDTH / max(len(lab.names), 2), 2.9, sharey=True)
    dt, seen, shown = lab.cfg.market.dt, [], short_names(lab.names)
    for ax, name in zip(axes, lab.names, strict=True):
        p: Paths = lab.paths[scenario.name, name, True]
        roles = [role for role in p.resting if role != NOISE and np.nansum(p.resting[role]) > 0]
        parts = [_band(p.resting[who])[0] for who in (NOISE, *roles)]
        colours = ["#cccccc", *(ROLE.get(role, CYCLE[3]) for role in roles)]
        ax.stackplot(dt * p.offset, parts, colors=colours, lw=0)
        for edge in (0.0, dt * scenario.length):
            ax.axvline(edge, color="black", lw=0.7, ls=":")
        ax.set_title(plain(wrapped(shown[name], 34)), fontsize=9)
        ax.set_xlabel("time from the event's beginning (s)")
        ax.margins(x=0)
        seen += [role for role in roles if role not in seen]
    axes[0].set_ylabel("lots near the best, both sides")
    handles = [Patch(color="#cccccc", label="noise traders")]
    handles += [Patch(color=ROLE.get(role, CYCLE[3]), label=f"{role}s") for role in seen]
    heading(fig, f"{scenario.name}: whose liquidity it is (dotted: the event begins and ends)")
    grey_legend(fig, handles)
    return fig
