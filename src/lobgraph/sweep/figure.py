"""What mattered in a sweep: how much each setting did, and every trial's value over each setting."""

# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ..report.labels import axis
from ..report.style import CYCLE, MID, figure, legend_below, style
from .space import Choice, Range
from .study import Sweep, best_trial

COLUMNS = 3  # panels side by side
ENOUGH = 4  # complete trials from which on importance is spoken of


def importances(study: Any, sweep: Sweep) -> dict[str, float] | None:
    """Setting -> share of what separates good trials from the rest (PED-ANOVA, Watanabe et al. 2023); None of too few trials."""
    import optuna

    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < ENOUGH or len({t.value for t in complete}) == 1:
        return None
    if len(sweep.space) == 1:
        return dict.fromkeys(sweep.space, 1.0)
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=list(sweep.space)
    )
    return {key: float(shares[key]) for key in sweep.space}


def draw(sweep: Sweep, table: pd.DataFrame, shares: dict[str, float] | None) -> Figure:
    """Importance first, then a panel for each setting; complete trials with their standard errors, the best as a star."""
    panels = 1 + len(sweep.space)
    columns = 2 if panels == 4 else min(COLUMNS, panels)
    rows = -(-panels // columns)
    complete: Any = table[table["state"] == "complete"]
    best = best_trial(sweep, table)
    with style():
        fig, axes = figure(rows, columns, 3.6, 2.9)
        flat = [ax for row in axes for ax in row]
        _bars(flat[0], shares, list(sweep.space))
        for ax, (key, values) in zip(flat[1:], sweep.space.items(), strict=False):
            _values(ax, key, values, complete, best)
            lost: Any = table[table["state"].isin(["pruned", "failed"])]
            if len(lost):
                where = ax.get_xaxis_transform()
                x = _places(values, lost[key])
                ax.plot(
                    x,
                    np.full(len(x), 0.02),
                    "x",
                    color="#999999",
                    ms=4,
                    transform=where,
                    label="pruned or failed",
                )
            ax.set_ylabel(f"{sweep.role}: {axis(sweep.measure)}")
        for ax in flat[panels:]:
            ax.set_visible(False)
        seeds = f"{sweep.seeds} trainings each, " if sweep.seeds > 1 else ""
        title = f"{sweep.base.name}: {len(complete)} complete of {len(table)} trials, {seeds}{sweep.episodes} unseen episodes"
        fig.suptitle(title, x=0.01, ha="left", fontsize=11)
        legend_below(fig, max(flat[1:panels], key=lambda ax: len(ax.get_legend_handles_labels()[1])))
    return fig


def _bars(ax: Axes, shares: dict[str, float] | None, keys: list[str]) -> None:
    ax.set(title="what mattered", xlabel="share of importance (PED-ANOVA)")
    if shares is None:
        ax.text(
            0.5,
            0.5,
            f"of fewer than {ENOUGH} different\ntrials nothing is said",
            transform=ax.transAxes,
            ha="center",
            va="center",
        )
        ax.set(xticks=[], yticks=[])
        return
    order = sorted(keys, key=lambda key: shares[key])
    bars = ax.barh(order, [shares[key] for key in order], color=CYCLE[0], height=0.6)
    ax.bar_label(bars, fmt=" {:.2f}")
    ax.set_xlim(0, 1.15)
    ax.grid(axis="y", visible=False)


def _places(values: Range | Choice, given: Any) -> np.ndarray:
    """Where values lie on the axis: numbers as they are, choices at 0, 1, ..."""
    if isinstance(values, Range):
        return given.to_numpy(dtype=float)
    return np.array([values.values.index(str(value)) for value in given], dtype=float)


def _values(
    ax: Axes, key: str, values: Range | Choice, complete: pd.DataFrame, best: pd.Series | None
) -> None:
    x, y = _places(values, complete[key]), complete["value"].to_numpy(dtype=float)
    if isinstance(values, Choice):
        ax.set_xticks(range(len(values.values)), values.values)
        ax.set_xlim(-0.5, len(values.values) - 0.5)
        for place in range(len(values.values)):
            if len(own := y[x == place]):
                label = None if ax.lines else "mean of a choice"
                ax.plot([place - 0.3, place + 0.3], [own.mean()] * 2, color=CYCLE[0], lw=2, label=label)
        count = np.array(
            [np.sum(x[:i] == x[i]) for i in range(len(x))]
        )  # beside each other, in the order of trials
        most = count.max(initial=0)
        x = x + 0.22 * (count - most / 2) / max(1, most)
    elif values.log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())  # on less than a decade their labels would overlap
        ax.set_xticks(ticks := np.geomspace(values.low, values.high, 3), [f"{x:.2g}" for x in ticks])
        margin = (values.high / values.low) ** 0.05
        ax.set_xlim(values.low / margin, values.high * margin)
    elif values.whole:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    error = complete["error"].to_numpy(dtype=float)
    ax.errorbar(x, y, np.nan_to_num(error), ls="", marker="o", ms=4, color=CYCLE[0], elinewidth=0.7, alpha=0.75,
                label="trial, \N{PLUS-MINUS SIGN}1 std error")  # fmt: skip
    if best is not None:
        at = complete.index.get_loc(best.name)
        ax.plot(x[at], y[at], "*", ms=11, mew=0.6, mec="white", color=MID, zorder=5, label="the best")
    ax.set_xlabel(key)
