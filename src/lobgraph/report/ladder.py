"""One episode of each actor: its quotes around the mid, with its fills.

In: `series` of several actors (panels.Played). Out: figures; time in seconds, prices in ticks from the mid, lots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..evaluation.record import Series
from .panels import WIDTH, Played, grey_legend, heading, whole_ticks
from .style import ASK, BID, MID, figure, style

STEPS = 200  # of an episode that are drawn
ACTORS = 6  # rows at most


def ladder(names: Sequence[str], series: Played, role: str, regime: str, book: int = 0) -> Figure:
    """A panel per actor: best prices, its first agent's quotes and fills in one book of the first episode.

    Prices are ticks from the mid at each decision. A mark's area is the lots filled: at the quote's price where the
    agent's order rested, at the best opposite price of the decision where it took.
    """
    shown = [n for n in names if (n, regime) in series][:ACTORS]
    with style():
        fig, axes = figure(len(shown), 1, WIDTH, 2.0 if len(shown) > 1 else 3.4, sharex=True, sharey=True)
        widest = 0.0
        for (ax,), name in zip(axes, shown, strict=True):
            s = series[name, regime]
            widest = max(widest, _ladder(ax, s, s.specs[role].agents.start, book))
            ax.set_title(name, fontsize=9)
            ax.set_ylabel("ticks from mid")
            ax.axhline(0.0, color=MID, lw=0.8)
            ax.margins(x=0.01)
            whole_ticks(ax)
        axes[0][0].set_ylim(-widest - 1.0, widest + 1.0)
        axes[-1][0].set_xlabel("time (s)")
        some = series[shown[0], regime]
        count = f" (first {ACTORS} of {len(names)})" if len(names) > len(shown) == ACTORS else ""
        what = (
            "Quotes around the mid, with fills" if role == "maker" else f"Trades of the {role} around the mid"
        )
        where = f"episode {some.episode[0]}, book {some.cfg.market.books[book]}"
        first = f", agent 0 of {some.specs[role].count}" if some.specs[role].count > 1 else ""
        heading(fig, f"{what}: {where}{first}, {regime}{count}")
        grey_legend(fig, _ladder_handles(role), columns=7)
    return fig


def _ladder(ax: Axes, s: Series, g: int, a: int) -> float:
    """Draw one agent in one book; returns the largest distance from the mid worth showing."""
    steps = min(len(s.volume), STEPS)
    time, mid = s.time[:steps], s.mid[:steps, 0, a]
    best = (s.best_bid[:steps, 0, a] - mid, s.best_ask[:steps, 0, a] - mid)
    ax.fill_between(time, *best, step="post", color="#bbbbbb", alpha=0.5, lw=0)
    distance = [float(np.quantile(best[1], 0.98))]
    for side, colour in ((0, BID), (1, ASK)):
        placed = s.quote_px[1 : steps + 1, 0, g, a, side] - mid
        passive, taken = s.passive[:steps, 0, g, a, side], s.aggressive[:steps, 0, g, a, side]
        standing = (s.quote_qty[1 : steps + 1, 0, g, a, side] > 0) | (passive > 0)
        ax.step(time, np.where(standing, placed, np.nan), where="post", color=colour, lw=1.1)
        if standing.any():
            distance.append(float(np.quantile(np.abs(placed[standing]), 0.98)))
        _marks(ax, time, placed, passive, "^" if side == 0 else "v", colour, filled=True)
        _marks(ax, time, best[1 - side], taken, "^" if side == 0 else "v", colour, filled=False)
        if (taken > 0).any():
            distance.append(float(np.abs(best[1 - side][taken > 0]).max()))
    return max(distance)


def _marks(
    ax: Axes, time: np.ndarray, px: np.ndarray, lots: np.ndarray, marker: str, colour: str, filled: bool
) -> None:
    """A mark at each fill, its area by lots: full where the order rested, hollow where it took."""
    where = lots > 0
    if where.any():
        area = 10.0 + 7.0 * np.minimum(lots[where], 10)
        face, edge = (colour, "white") if filled else ("white", colour)
        ax.scatter(time[where], px[where], s=area, marker=marker, facecolor=face, edgecolor=edge, linewidth=0.8 if
                   not filled else 0.5, zorder=3)  # fmt: skip


def _ladder_handles(role: str) -> list[Line2D | Patch]:
    def mark(marker: str, colour: str, filled: bool, label: str) -> Line2D:
        face = colour if filled else "white"
        return Line2D([], [], ls="", marker=marker, ms=6, mfc=face, mec=colour, label=label)

    handles: list[Line2D | Patch] = [Patch(color="#bbbbbb", alpha=0.5, lw=0, label="best bid to best ask")]
    if role == "maker":
        handles += [Line2D([], [], color=BID, label="own bid"), Line2D([], [], color=ASK, label="own ask")]
        handles += [mark("^", BID, True, "bought at its bid"), mark("v", ASK, True, "sold at its ask")]
    else:
        handles += [mark("^", BID, False, "bought"), mark("v", ASK, False, "sold")]
    return handles
