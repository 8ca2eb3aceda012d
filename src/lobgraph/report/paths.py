"""What the episodes of each actor look like over time: equity, inventory, the schedule of an execution.

In: `series` of several actors (panels.Played), the role that is compared. Out: figures; time in seconds since the
episode's start, money in tick-lots, quantities in lots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import stats

from ..evaluation.record import Series
from .panels import (
    GREY,
    WIDTH,
    Played,
    actor_grid,
    empty,
    fan,
    grey_legend,
    heading,
    label_grid,
    look,
    of_agents,
    regimes_of,
    whole_ticks,
)
from .style import figure, legend_below, style


def equity_of(s: Series, role: str) -> np.ndarray:
    """(T + 1, B) float64 tick-lots: each episode's equity after fees, mean over the role's agents."""
    return s.equity[:, :, s.specs[role].agents].mean(axis=2)


def equity(names: Sequence[str], series: Played, role: str, level: float = 0.95) -> Figure:
    """An axis per regime: every actor's mean equity over episodes, with the t interval of that mean."""
    regimes = regimes_of(series)
    with style():
        fig, axes = figure(1, len(regimes), WIDTH / len(regimes), 4.2, sharey=True)
        for ax, regime in zip(axes[0], regimes, strict=True):
            for i, name in enumerate(names):
                if (name, regime) not in series:
                    continue
                s = series[name, regime]
                paths = equity_of(s, role)
                mean, half = paths.mean(axis=1), _half_width(paths, level)
                ax.plot(s.time, mean, label=name, **look(i))
                if half is not None:
                    ax.fill_between(
                        s.time, mean - half, mean + half, color=look(i)["color"], alpha=0.15, lw=0
                    )
            ax.axhline(0.0, color="#888888", lw=0.8)
            ax.set(title=regime, xlabel="time (s)")
            ax.margins(x=0.01)
        axes[0][0].set_ylabel("mean equity after fees (tick-lots)")
        heading(
            fig, f"Equity of the {role}: mean over episodes, band: {100 * level:.0f} % interval of the mean"
        )
        legend_below(fig, axes[0][0], columns=3)
    return fig


def _half_width(paths: np.ndarray, level: float) -> np.ndarray | None:
    """(T,) half width of the mean's t interval over episodes; None for a single episode."""
    n = paths.shape[1]
    if n < 2:
        return None
    return stats.t.ppf(0.5 + level / 2, n - 1) * paths.std(axis=1, ddof=1) / np.sqrt(n)


def equity_fans(names: Sequence[str], series: Played, role: str) -> Figure:
    """A panel per actor and regime: quantiles of equity over episodes, its mean, and the baseline's mean."""
    regimes = regimes_of(series)
    with style():
        fig, panels = actor_grid(names, regimes, 2.5)
        for i, name in enumerate(names):
            for regime in regimes:
                ax = panels[name, regime]
                if (name, regime) not in series:
                    empty(ax, "not played")
                    continue
                s = series[name, regime]
                paths = equity_of(s, role)
                fan(ax, s.time, paths, look(i)["color"])
                ax.plot(s.time, paths.mean(axis=1), color="black", lw=0.9)
                if i and (names[0], regime) in series:
                    base = equity_of(series[names[0], regime], role).mean(axis=1)
                    ax.plot(s.time, base, color="black", lw=0.9, ls=":")
                ax.axhline(0.0, color="#888888", lw=0.6)
                ax.margins(x=0.01)
        label_grid(panels, "time (s)", "equity (tick-lots)")
        heading(fig, f"Equity of the {role}: spread over episodes")
        lines = [Line2D([], [], color="black", lw=0.9, label="mean")]
        if len(names) > 1:
            lines.append(
                Line2D([], [], color="black", lw=0.9, ls=":", label=f"mean of the baseline, {names[0]}")
            )
        grey_legend(fig, [*_fan_handles(), *lines], columns=5)
    return fig


def _fan_handles() -> list[Line2D | Patch]:
    return [
        Patch(color=GREY, alpha=0.18, lw=0, label="5 to 95 % of episodes"),
        Patch(color=GREY, alpha=0.5, lw=0, label="25 to 75 %"),
        Line2D([], [], color=GREY, lw=1.6, label="median"),
    ]


def inventory_fans(names: Sequence[str], series: Played, role: str) -> Figure:
    """A panel per actor and regime: quantiles of inventory over episodes, agents and books."""
    regimes = regimes_of(series)
    with style():
        fig, panels = actor_grid(names, regimes, 2.3)
        for (name, regime), ax in panels.items():
            if (name, regime) not in series:
                empty(ax, "not played")
                continue
            s = series[name, regime]
            fan(
                ax,
                s.time,
                of_agents(s.inventory[:, :, s.specs[role].agents]),
                look(names.index(name))["color"],
            )
            ax.axhline(0.0, color="#888888", lw=0.6)
            ax.margins(x=0.01)
            whole_ticks(ax)
        label_grid(panels, "time (s)", "inventory (lots)")
        some = next(iter(series.values()))
        several = some.inventory.shape[3] > 1 or some.specs[role].count > 1
        heading(fig, f"Inventory of the {role}" + (" in each book, all agents" if several else ""))
        grey_legend(fig, _fan_handles())
    return fig


def inventory_distribution(names: Sequence[str], series: Played, role: str) -> Figure:
    """An axis per regime: share of time that each actor holds so many lots; who never trades is named, not drawn."""
    regimes = regimes_of(series)
    held = {
        key: s.inventory[1:, :, s.specs[role].agents].ravel() for key, s in series.items() if key[0] in names
    }
    everything = np.concatenate(list(held.values()))
    low, high = int(everything.min()), int(everything.max())
    step = max(1, -(-(high - low + 1) // 60))  # lots in a bin
    edges = np.arange(low, high + step + 1, step) - 0.5
    with style():
        fig, axes = figure(1, len(regimes), WIDTH / len(regimes), 3.6, sharey=True)
        for ax, regime in zip(axes[0], regimes, strict=True):
            for i, name in enumerate(names):
                lots = held.get((name, regime))
                if lots is None:
                    continue
                if not lots.any():
                    ax.plot([], [], label=f"{name} (never holds any)", **look(i))
                    continue
                count = np.histogram(lots, edges)[0]
                ax.stairs(100.0 * count / len(lots) / step, edges, label=name, lw=1.4, **look(i))
            ax.axvline(0.0, color="#888888", lw=0.6)
            ax.set(title=regime, xlabel="inventory (lots)")
        axes[0][0].set_ylim(0, None)  # of all: only now every regime's peak is drawn
        axes[0][0].set_ylabel("share of time (% per lot)")
        heading(fig, f"Inventory of the {role}: distribution over steps and episodes")
        legend_below(fig, axes[0][0], columns=3)
    return fig


def share_left(s: Series, role: str) -> np.ndarray:
    """(T + 1, n) float64 share of the target still to trade, for each episode, agent and book that has a target."""
    own = s.specs[role].agents
    target = s.target[:, own]
    share = np.abs(s.remaining[:, :, own]) / np.maximum(np.abs(target), 1)
    return share[:, target != 0]


def execution(names: Sequence[str], series: Played, role: str) -> Figure | None:
    """A panel per actor and regime: share of the target still to trade, with TWAP's line; None without targets."""
    regimes = regimes_of(series)
    left = {key: share_left(s, role) for key, s in series.items()}
    if not any(share.shape[1] for share in left.values()):
        return None
    with style():
        fig, panels = actor_grid(names, regimes, 2.5)
        for (name, regime), ax in panels.items():
            share = left.get((name, regime))
            if share is None or not share.shape[1]:
                empty(ax, "not played" if share is None else "no target")
                continue
            time = series[name, regime].time
            fan(ax, time, 100.0 * share, look(names.index(name))["color"])
            ax.plot([0.0, time[-1]], [100.0, 0.0], color="black", ls="--", lw=0.9)
            ax.set_ylim(-3, 103)
            ax.margins(x=0.01)
        label_grid(panels, "time (s)", "still to trade (% of target)")
        heading(fig, f"Execution schedule of the {role} against TWAP")
        twap = Line2D([], [], color="black", ls="--", lw=0.9, label="TWAP: equal parts over the episode")
        grey_legend(fig, [*_fan_handles(), twap], columns=5)
    return fig
