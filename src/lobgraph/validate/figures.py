"""One figure per model: what the engine did, with error bars, over the exact curve.

In: a model's Outcome. Out: a matplotlib figure. Bars are two standard errors where they can be seen.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ..report.style import CYCLE, MID, figure, legend_below, save, style
from . import cst as cst_model
from . import glosten_milgrom as gm_model
from . import kyle as kyle_model
from . import large_tick as large_tick_model
from . import zero_intelligence as zi_model

__all__ = ["cst", "glosten_milgrom", "kyle", "large_tick", "save", "zero_intelligence"]

POINT: dict[str, Any] = {"fmt": "o", "ms": 4.0, "capsize": 2.0, "elinewidth": 1.0, "linestyle": "none"}
SMALL: dict[str, Any] = {**POINT, "ms": 2.5, "capsize": 0.0, "elinewidth": 0.7}
BLUE, RED, GREEN = CYCLE[0], CYCLE[1], CYCLE[2]


def titled(fig: Figure, text: str) -> Figure:
    fig.suptitle(text, x=0.01, ha="left", fontsize=11)
    return fig


def zero_intelligence(o: zi_model.Outcome) -> Figure:
    """Mean spread against eps; below, the deviation in percent."""
    order = np.argsort(o.eps)
    eps, spread, other = o.eps[order], o.spread[order], o.reference[order]
    with style():
        fig, axes = figure(2, 1, 5.6, 2.5, sharex=True, height_ratios=(2, 1))
        (top,), (bottom,) = axes
        top.plot(eps, other[:, 0], "s", color=MID, mfc="none", ms=7, label="order by order (independent)")
        top.errorbar(eps, spread[:, 0], 2 * spread[:, 1], color=BLUE, label="engine", **POINT)
        paper = zi_model.PUBLISHED
        if abs(o.p_c - zi_model.PUBLISHED_PC) < 1e-9:
            known = [e for e in paper if np.isclose(eps, e, rtol=1e-9).any()]
            if known:
                top.plot(known, [paper[e] for e in known], "x", color=RED, ms=7, label=zi_model.PAPER)
        error = 2 * np.hypot(spread[:, 1], other[:, 1]) / other[:, 0]
        bottom.axhspan(-1, 1, color="#eeeeee", lw=0)
        bottom.axhline(0.0, color=MID, lw=0.8)
        bottom.errorbar(eps, 100 * (spread[:, 0] / other[:, 0] - 1), 100 * error, color=BLUE, **POINT)
        bottom.set(
            xscale="log", xlabel="eps = cancel rate / (2 market rate)", ylabel="engine less\nreference (%)"
        )
        top.set(ylabel="mean spread (ticks)")
        legend_below(fig, top)
        return titled(fig, f"Zero intelligence, p_c = {o.p_c:g} ticks")


def cst(o: cst_model.Outcome) -> Figure:
    """A column per spread: P(mid up), P(the last bid trades first) against the asks, a line per bids; what is off."""
    with style():
        fig, axes = figure(3, len(o.spreads), 3.3, 2.2, sharex=True, sharey="row")
        asks, order = np.sort(o.asks), np.argsort(o.asks)
        off = o.measured - o.exact
        for k, spread in enumerate(o.spreads):
            top, middle, bottom = (row[k] for row in axes)
            bottom.axhspan(-cst_model.TOLERANCE, cst_model.TOLERANCE, color="#eeeeee", lw=0)
            bottom.axhline(0.0, color=MID, lw=0.8)
            for place, (i, colour) in enumerate(zip(np.argsort(o.bids), cycle(CYCLE), strict=False)):
                label = f"{o.bids[i]} bid{'s' * (o.bids[i] > 1)}"
                for own, ax in ((0, top), (1, middle)):
                    exact = o.exact[own, k, i][order]
                    bars = 2 * np.sqrt(exact * (1 - exact) / o.races)
                    ax.plot(asks, exact, color=colour, lw=1.0)
                    ax.errorbar(asks, o.measured[own, k, i][order], bars, color=colour, label=label, **POINT)
                    nudge = asks + 0.06 * (place - 0.5 * (len(o.bids) - 1)) + 0.02 * own
                    bottom.errorbar(nudge, off[own, k, i][order], bars, color=colour,
                                    mfc="white" if own else colour, **SMALL)  # fmt: skip
            top.set(title=f"spread {spread}", ylim=(0, 1))
            bottom.set(xlabel="orders at the best ask", xticks=asks)
        axes[0][0].set_ylabel("P(mid moves up)")
        axes[1][0].set_ylabel("P(last bid trades\nbefore the mid moves)")
        axes[2][0].set_ylabel("engine less exact\n(open: trades)")
        axes[2][0].text(
            0.02, 0.03, f"grey: {cst_model.TOLERANCE:g}", transform=axes[2][0].transAxes, fontsize=7
        )
        legend_below(fig, axes[0][0])
        return titled(
            fig, "Cont, Stoikov, Talreja: races in the engine (points, 2 standard errors) and exact (lines)"
        )


def large_tick(o: large_tick_model.Outcome) -> Figure:
    """Distribution of the orders at the best prices and behind them, over the exact laws."""
    with style():
        fig, axes = figure(1, 2, 4.2, 3.0, sharey=True)
        panels = (
            ("best prices", o.best, o.best_law, o.errors[0], "birth-death queue"),
            ("behind the best", o.behind, o.behind_law, o.errors[1], "Poisson"),
        )
        for ax, (title, share, law, error, name), colour in zip(axes[0], panels, (BLUE, GREEN), strict=True):
            n = np.flatnonzero(law > 1e-6)
            ax.errorbar(n, share[n], 2 * error[n], color=colour, label="engine", **SMALL)
            ax.plot(n, law[n], color=MID, lw=1.2, label=f"exact: {name}", zorder=3)
            ax.set(xlabel="orders at a price", title=title)
            ax.legend(loc="upper right")
        axes[0][0].set(ylabel="share of time", ylim=(0, 1.3 * max(o.best_law.max(), o.behind_law.max())))
        return titled(fig, "Large ticks: queues at fixed prices")


def kyle(o: kyle_model.Outcome) -> Figure:
    """The search for the equilibrium; value and traded price by flow; mean profits."""
    with style():
        fig, axes = figure(1, 3, 3.5, 3.0)
        one, two, three = axes[0]
        rounds = np.arange(len(o.path))
        one.plot(rounds, o.path[:, 1] / o.impact, "o-", ms=4, color=BLUE, label="maker's lambda")
        one.plot(rounds, o.path[:, 0] * 2 * o.impact, "s-", ms=4, color=RED, label="informed beta")
        one.axhline(1.0, color=MID, lw=1.0)
        one.set(xlabel="round", ylabel="relative to Kyle's", yscale="log", title="search")
        wide = np.ptp(np.log10(o.path / o.path[-1])) > 3
        one.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        one.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        one.yaxis.set_minor_locator(NullLocator())
        one.legend()
        held = o.auctions
        bins = np.array_split(np.argsort(held.flow), 25)  # as many auctions in each
        x, value, price = (np.array([y[b].mean() for b in bins]) for y in (held.flow, held.value, held.price))
        error = np.array([held.value[b].std(ddof=1) / np.sqrt(len(b)) for b in bins])
        two.plot(x, o.impact * x, color=MID, lw=1.0, label="Kyle's lambda * y")
        two.errorbar(x, value, 2 * error, color=BLUE, label="mean value", **SMALL)
        two.plot(x, price, "+", color=RED, ms=6, label="traded price")
        two.set(xlabel="net order flow y (shares)", ylabel="less p0 (money)", title="price is the mean value")
        two.legend()
        _profits(three, held.profit, o.gain)
        return titled(fig, "Kyle's auction through the books")


def _profits(ax: Axes, profit: np.ndarray, gain: float) -> None:
    mean, error = (x / gain for x in (profit.mean(axis=0), profit.std(axis=0, ddof=1) / np.sqrt(len(profit))))
    for i, (want, colour) in enumerate(zip((0.0, 1.0, -1.0), (BLUE, RED, GREEN), strict=True)):
        ax.hlines(want, i - 0.3, i + 0.3, color=MID, lw=1.0)
        ax.errorbar(i, mean[i], 2 * error[i], color=colour, **POINT)
        text = f"{mean[i]:.3f} ± {error[i]:.3f}"
        ax.annotate(text, (i, mean[i]), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    ax.set(xticks=range(3), xlim=(-0.6, 2.6), ylim=(-1.4, 1.4), title="profits and Kyle's (lines)")
    ax.set(xticklabels=["maker", "informed", "noise"], ylabel="in Kyle's informed profit")


def glosten_milgrom(o: gm_model.Outcome) -> Figure:
    """Traded price by buys less sells, over Bayes' rule; the maker's profit in each trade by history."""
    s = o.s
    with style():
        fig, axes = figure(1, 2, 4.4, 3.0, width_ratios=(1, 1.3))
        left, right = axes[0]
        net = np.linspace(o.net.min(), o.net.max(), 101)
        odds = s.prior / (1 - s.prior) * ((1 + s.mu) / (1 - s.mu)) ** net
        left.plot(net, s.V_L + (s.V_H - s.V_L) * odds / (1 + odds), color=MID, lw=1.0, label="Bayes' rule")
        for last, colour, name in (("B", BLUE, "a buy"), ("S", RED, "a sell")):
            of = np.array([h[-1] == last for h in o.histories], dtype=bool)
            if of.any():
                nudge = 0.08 if last == "B" else -0.08
                left.errorbar(o.net[of] + nudge, o.price[of, 0], 2 * o.price[of, 1], color=colour,
                              label=f"price of {name}", **POINT)  # fmt: skip
                right.errorbar(
                    np.flatnonzero(of), o.profit[of, 0], 2 * o.profit[of, 1], color=colour, **POINT
                )
        left.set(
            xlabel="buys less sells, this trade included", ylabel="price (money)", title="learned quotes"
        )
        left.legend()
        right.axhline(0.0, color=MID, lw=1.0)
        right.set(
            ylabel="maker's mean profit (money)", title="zero profit by history of trades (colour: the last)"
        )
        right.set_xticks(range(len(o.histories)), o.histories, rotation=90, fontsize=7)
        return titled(fig, f"Glosten, Milgrom: mu = {s.mu:g}, prior = {s.prior:g}")
