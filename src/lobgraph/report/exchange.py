"""Figures of what exchange between nodes buys: encoders side by side, and one policy on markets of many sizes.

In: an Ablation or a Transfer. Out: matplotlib figures, rewards in tick-lots per episode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from ..evaluation.ablate import Ablation
from ..evaluation.transfer import Transfer
from .style import CYCLE, figure, style

WHAT = {
    "sage": "sage: mean by weight",
    "gat": "gat: attention",
    "mean": "mean: all alike",
    "mlp": "mlp: no exchange",
}
GREY = "#777777"
MOST = 2.0  # largest share drawn to scale


def ablation_figure(found: Ablation, role: str) -> Figure:
    """Each encoder's objective (left) and its difference from the baseline (right), with intervals and single seeds."""
    levels, gaps = (_rows(table, role) for table in (found.levels, found.differences))
    with style():
        fig, [[left, right]] = figure(1, 2, 5.0, 1.3 + 0.42 * len(found.variants), sharey=True)
        for y, variant in enumerate(found.variants):
            colour = CYCLE[y % len(CYCLE)]
            _interval(left, y, levels.loc[variant], colour)
            if variant in gaps.index:
                _interval(right, y, gaps.loc[variant], colour)
                inner: Any = gaps.loc[variant, ["episodes_low", "episodes_high"]]
                right.plot(inner, (y - 0.22, y - 0.22), color=GREY, lw=1.0, marker="|", ms=5)
        names = [f"{WHAT.get(v, v)}\n{found.parameters[v]:,} parameters" for v in found.variants]
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.5, -0.5)
        left.set(title="Return", xlabel="return per episode (tick-lots)")
        base = gaps["baseline"].iloc[0]
        right.set(title=f"Difference from {base}", xlabel="return per episode (tick-lots)")
        right.axvline(0.0, color="black", lw=0.9)
        for ax in (left, right):
            ax.grid(visible=False, axis="y")
            ax.xaxis.set_major_locator(MaxNLocator(6))
            ax.margins(x=0.08)
        _below(fig, f"95 % interval, {levels['over'].iloc[0]}", "these trainings, other episodes")
        fig.suptitle(
            f"{found.cfg.name}, {role}: what exchange between books buys, "
            f"{len(found.seeds)} trainings, {found.episodes:,} episodes",
            x=0.01, ha="left", fontsize=11,
        )  # fmt: skip
    return fig


def _rows(table: pd.DataFrame, role: str) -> pd.DataFrame:
    own: Any = table[(table["role"] == role) & (table["measure"] == "return")]
    return own.set_index("variant")


def _interval(ax: Axes, y: float, row: Any, colour: str) -> None:
    """The interval as a bar, the mean as a black tick, single seeds as dots below."""
    ax.plot((row["low"], row["high"]), (y, y), color=colour, lw=4.0, solid_capstyle="butt")
    ax.plot([row["mean"]], [y], color="black", marker="|", ms=10, mew=1.4, zorder=3)
    seeds = [float(x) for x in row["seeds"].split()]
    if len(seeds) > 1:
        ax.plot(seeds, [y + 0.22] * len(seeds), ls="", marker="o", ms=3.5, color=colour, alpha=0.8)


def _below(fig: Figure, outer: str, inner: str) -> None:
    handles = [
        Line2D([], [], color=GREY, lw=4.0, label=outer),
        Line2D([], [], color=GREY, lw=1.0, marker="|", ms=5, label=f"95 % interval, {inner}"),
        Line2D([], [], color="black", ls="", marker="|", ms=9, mew=1.4, label="mean"),
        Line2D([], [], color=GREY, ls="", marker="o", ms=3.5, label="single trainings"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4)


def transfer_figure(found: Transfer, role: str) -> Figure:
    """Reward per book by size of both policies (left), and the share that the policy from elsewhere keeps (right)."""
    table: Any = found.shares[found.shares["role"] == role]
    books = table["books"].to_numpy()
    with style():
        fig, [[left, right]] = figure(1, 2, 5.0, 3.2)
        for name, label, colour, shift in (
            ("here", f"trained at that size, equal {found.equal}", CYCLE[1], 1.03),
            ("zero", f"trained on {found.train_on} books, as it is", CYCLE[0], 1 / 1.03),
        ):
            _line(left, books * shift, table, name, colour, label)
        _shares(right, table, found.train_on)
        left.set(title="Reward per book", ylabel="return per book (tick-lots)")
        for ax in (left, right):
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_locator(FixedLocator(books.tolist()))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticklabels([str(n) for n in books])
            ax.set_xlabel("books in the market")
            ax.set_xlim(books[0] / 1.25, books[-1] * 1.25)
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3 if ax is right else 1)
        trainings = f"{len(found.seeds)} training{'s' if len(found.seeds) > 1 else ''}"
        fig.suptitle(
            f"{found.cfg.name}, {role}: one policy on markets of other sizes, {trainings}, {found.episodes:,} episodes",
            x=0.01, ha="left", fontsize=11,
        )  # fmt: skip
    return fig


def _line(
    ax: Axes, x: np.ndarray, table: pd.DataFrame, name: str, colour: str, label: str, ls: str = "-"
) -> None:
    mean, low, high = (table[c].to_numpy(np.float64) for c in (name, f"{name}_low", f"{name}_high"))
    ax.errorbar(
        x, mean, (mean - low, high - mean), color=colour, marker="o", ms=4, capsize=3, ls=ls, label=label
    )


def _shares(ax: Axes, table: pd.DataFrame, train_on: int) -> None:
    """Shares with intervals up to MOST; beyond it, or where the other policy loses, in words at the top."""
    away: Any = table[table["books"] != train_on]
    inside = away[away["share"] <= MOST]
    _line(ax, inside["books"].to_numpy(), inside, "share", CYCLE[0], "share kept, 95 % interval", ls="")
    for row in away[~(away["share"] <= MOST)].itertuples():
        text = f"{row.share:.0%}" if np.isfinite(row.share) else "other\nloses"
        ax.text(row.books, 0.97 * MOST, text, ha="center", va="top", color=CYCLE[0], fontsize=8)
    ax.plot([train_on], [1.0], color="black", marker="D", ms=5, ls="", label="trained on")
    ax.axhline(0.9, color=GREY, lw=0.9, ls="--", label="nine tenths")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(
        title="Zero-shot, share of trained at that size",
        ylabel="share of the reward per book",
        ylim=(0.0, MOST),
    )
