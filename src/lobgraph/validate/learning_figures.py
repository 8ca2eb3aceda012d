"""What was learned over what is best, and how fast. In: the trainings of one market. Out: a matplotlib figure."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ..known.almgren_chriss import AlmgrenChrissMarket
from ..known.cartea_jaimungal import ExecutionMarket
from ..known.market import KnownMarket
from ..known.markets import MARKETS
from ..known.pair import PairMarket
from ..known.quoting import QuotingMarket
from ..report.style import ASK, BID, CYCLE, MID, figure, legend_below, style
from .figures import titled
from .learners import LEARNERS, Learned, training_params

SHOWN = 10  # largest inventory drawn, lots
TIMES = (0.0, 0.5, 0.95)  # shares of the episode at which quotes are drawn
LINES = ("-", "--", ":", "-.")  # by seed


def draw(learned: list[Learned], section: Any) -> Figure:
    """The learned rule of each seed beside the best one, and the learning curves."""
    name = learned[0].market
    params = training_params(name, section)
    market = MARKETS[name][0](params, 1, 0)
    with style():
        if isinstance(market, QuotingMarket):
            fig, axes = figure(1, 1 + len(TIMES), 3.2, 3.6)
            for share, ax in zip(TIMES, axes[0], strict=False):
                _quotes(ax, market, learned, share)
        else:
            fig, axes = figure(1, 2, 4.8, 3.6)
            if isinstance(market, PairMarket):
                _turns(axes[0][0], market, learned)
            else:
                _schedule(axes[0][0], market, learned)
        _curves(axes[0][-1], learned)
        legend_below(fig, axes[0][0])
        return titled(fig, f"PPO in the market of {name}: learned over best")


def _quotes(ax: Axes, market: QuotingMarket, learned: list[Learned], share: float) -> None:
    most = market.params.max_inventory
    held = np.arange(-most, most + 1)
    inner = (np.abs(held) <= SHOWN) & (np.abs(held) < most)
    step = min(int(share * market.steps), market.steps - 1)
    best = market.table(market.optimal())[step]
    for side, colour, name in ((0, BID, "bid"), (1, ASK, "ask")):
        ax.plot(held[inner], best[inner, side], color=colour, lw=4, alpha=0.25, label=f"{name}, best")
        for one, line in zip(learned, cycle(LINES), strict=False):
            ax.plot(held[inner], one.rule[step, inner, side], line, color=colour, lw=1.0,
                    label=f"{name}, seed {one.seed}")  # fmt: skip
    left = market.params.T * (1.0 - step / market.steps)
    ax.set(
        xlabel="inventory (lots)", ylabel="offset from the mid (money)", title=f"quotes, time left {left:.3g}"
    )


def _schedule(ax: Axes, market: KnownMarket, learned: list[Learned]) -> None:
    times = np.linspace(0.0, market.params.T, market.steps + 1)
    if isinstance(market, AlmgrenChrissMarket):
        best, even, unit = market.holdings(), market.holdings(0.0), "shares"
    else:
        assert isinstance(market, ExecutionMarket)
        best, even, unit = (
            market.path(times) * market.params.q0,
            market.params.q0 * (1.0 - times / times[-1]),
            "lots",
        )
    ax.plot(times, best, color=MID, lw=4, alpha=0.25, label="best")
    ax.plot(times, even, color=CYCLE[7], lw=1.0, ls="--", label="even")
    for one, colour in zip(learned, cycle(CYCLE), strict=False):
        ax.plot(times, one.rule, color=colour, lw=1.0, label=f"seed {one.seed}")
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    ax.set(xlabel="time", ylabel=f"held ({unit})", title="schedules")


def _turns(ax: Axes, market: PairMarket, learned: list[Learned]) -> None:
    times = np.arange(market.steps) * market.params.dt
    best = market.schedule()
    top = 4.0 * market.params.gap_std
    shown = np.where(best < top, best, np.nan)
    for sign in (-1, 1):
        ax.plot(times, sign * shown, color=MID, lw=4, alpha=0.25, label="best" if sign > 0 else None)
    for one, colour in zip(learned, cycle(CYCLE), strict=False):
        ax.plot(times, one.rule[:, 0], color=colour, lw=1.0, label=f"seed {one.seed}")
        ax.plot(times, one.rule[:, 1], color=colour, lw=1.0)
    ax.set(
        xlabel="time", ylabel="gap (money)", title="below: turns long; above: turns short", ylim=(-top, top)
    )


def _curves(ax: Axes, learned: list[Learned]) -> None:
    """Share of the best against steps; what is far below is cut off."""
    least = LEARNERS[learned[0].market].least
    for one, colour in zip(learned, cycle(CYCLE), strict=False):
        steps, share, error = np.array(one.curve).T
        ax.errorbar(steps / 1e6, share, 2 * error, color=colour, lw=1.0, capsize=2, label=f"seed {one.seed}")
    ax.axhline(1.0, color=MID, lw=0.8)
    ax.axhline(least, color=MID, lw=0.8, ls=":")
    ax.annotate(
        f"asked: {least:g}",
        (0.98, least),
        xycoords=("axes fraction", "data"),
        va="top",
        ha="right",
        fontsize=8,
    )
    ax.set(xlabel="steps (million)", ylabel="share of the best policy's objective", ylim=(0.75, 1.03),
           title="learning (unseen episodes)")  # fmt: skip
