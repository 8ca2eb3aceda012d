"""A figure for each market with a known answer. In: its Outcome. Out: a matplotlib figure. Bars: two standard errors."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ..report.style import ASK, BID, CYCLE, MID, figure, style
from .figures import POINT, SMALL, titled
from .known_execution import AlmgrenChrissOutcome, CjExecutionOutcome
from .known_making import MULTIPLES, AvellanedaStoikovOutcome, CjMakingOutcome
from .known_pair import Outcome as PairOutcome

BLUE, RED, GREEN = CYCLE[0], CYCLE[1], CYCLE[2]
BESIDE = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.22), "borderaxespad": 0.0}  # under the axes


def avellaneda_stoikov(o: AvellanedaStoikovOutcome) -> Figure:
    """Offsets by inventory; profits; certainty equivalents as steps get finer."""
    with style():
        fig, axes = figure(1, 3, 3.6, 3.6)
        one, two, three = axes[0]
        held = np.arange(-o.s.max_inventory, o.s.max_inventory + 1)
        shown = np.abs(held) <= min(10, o.s.max_inventory - 1)
        for name, line in (("optimal", "-"), ("inventory", "--")):
            for side, colour, text in ((0, BID, "bid"), (1, ASK, "ask")):
                one.plot(
                    held[shown], o.offsets[name][shown, side], line, color=colour, label=f"{text}, {name}"
                )
        one.set(xlabel="inventory (lots)", ylabel="offset from the mid (money)", title="quotes at the start")
        one.legend(ncols=2, **BESIDE)
        low, high = np.percentile(np.concatenate([r.profit for r in o.played.values()]), [0.1, 99.9])
        for (name, results), colour in zip(o.played.items(), (BLUE, RED, GREEN), strict=True):
            label = f"{name}: {results.profit.mean():.1f} ± {results.profit.std():.1f}"
            two.hist(
                results.profit,
                np.linspace(low, high, 60),
                histtype="step",
                density=True,
                color=colour,
                label=label,
            )
        two.set(
            xlabel="profit of an episode (money)", ylabel="density", title=f"simulated, {o.s.steps} steps"
        )
        two.legend(title="mean ± deviation", title_fontsize=8, **BESIDE)
        steps = o.convergence[:, 0]
        three.plot(steps, o.convergence[:, 1], "v-", ms=4, color=BLUE, label="optimal, linear fills")
        three.plot(steps, o.convergence[:, 2], "^-", ms=4, color=CYCLE[5], label="optimal, one fill a step")
        three.plot(steps, o.convergence[:, 3], "v-", ms=4, color=RED, label="inventory, linear fills")
        for limit, (n, ce, error), colour in zip(o.limits, o.measured, (BLUE, RED), strict=True):
            three.axhline(limit, color=MID, lw=0.8, ls=":" if colour == RED else "-")
            three.errorbar(n * 1.12, ce, 2 * error, color=colour, mfc="white", **POINT)
        three.plot([], [], "o", color=MID, mfc="white", ms=4, label="simulated")
        three.plot([], [], color=MID, lw=0.8, label="steps of no length: optimal, (dots) inventory")
        three.set(xlabel="steps an episode", ylabel="certainty equivalent (money)", xscale="log",
                  title="exact, and in the limit")  # fmt: skip
        three.legend(**BESIDE)
        _plain(three, steps)
        return titled(fig, f"Avellaneda, Stoikov: gamma = {o.s.gamma:g}")


def _plain(ax: Axes, ticks: np.ndarray) -> None:
    ax.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
    ax.minorticks_off()


def cj_making(o: CjMakingOutcome) -> Figure:
    """Best offsets by inventory and time left; final inventories; what other offsets bring."""
    with style():
        fig, axes = figure(1, 3, 3.6, 3.6)
        one, two, three = axes[0]
        held = np.arange(-o.s.max_inventory, o.s.max_inventory + 1)
        inner = slice(1, -1)
        for table, left, line in zip(o.offsets, o.times, ("-", "--", ":"), strict=True):
            one.plot(held[inner], table[inner, 0], line, color=BID, label=f"bid, {left:.3g} left")
            one.plot(held[inner], table[inner, 1], line, color=ASK, label=f"ask, {left:.3g} left")
        one.set(xlabel="inventory (lots)", ylabel="offset from the mid (money)", title="best quotes")
        one.legend(ncols=2, **BESIDE)
        edges = (np.arange(-o.s.max_inventory, o.s.max_inventory + 2) - 0.5).tolist()
        for (name, results), colour in zip(o.played.items(), (BLUE, RED), strict=True):
            two.hist(results.inventory[:, 0], edges, histtype="step", density=True, color=colour, label=name)
        two.set(
            xlabel="inventory at the end (lots)",
            ylabel="share of episodes",
            title=f"simulated, {o.s.steps} steps",
        )
        two.legend(**BESIDE)
        three.errorbar(MULTIPLES, o.search[:, 0], 2 * o.search[:, 1], color=BLUE, label="simulated", **POINT)
        three.plot(MULTIPLES, o.search[:, 2], color=BLUE, lw=1.0, label=f"exact, {o.s.steps} steps")
        three.axhline(o.value, color=MID, lw=1.0, label="closed form h(0, 0)")
        three.set(xlabel="multiple of the best offsets", ylabel="objective (money)", title="other offsets")
        three.legend(**BESIDE)
        return titled(fig, f"Cartea, Jaimungal: a maker, phi = {o.s.phi:g}, alpha = {o.s.alpha:g}")


def cj_execution(o: CjExecutionOutcome) -> Figure:
    """What is held over time; the objective of each policy."""
    with style():
        fig, axes = figure(1, 2, 4.2, 3.0)
        left, right = axes[0]
        some = np.unique(np.linspace(0, len(o.times) - 1, 21).round().astype(int))
        for i, ((name, (played, exact)), colour) in enumerate(zip(o.paths.items(), (BLUE, RED), strict=True)):
            left.plot(o.times, exact, color=colour, lw=1.0, label=f"{name}, closed form")
            left.plot(o.times[some], played[some], "o", ms=3, color=colour, label=f"{name}, played")
            mean, error, expected = o.values[name]
            right.hlines(expected, i - 0.3, i + 0.3, color=MID, lw=1.0, label="" if i else "closed form")
            right.errorbar(i, mean, 2 * error, color=colour, **POINT)
            right.annotate(f"{mean:.4g} ± {error:.2g}", (i, mean), (0, 9), textcoords="offset points", ha="center",
                           fontsize=8)  # fmt: skip
        left.set(xlabel="time", ylabel="inventory (lots)", title="schedules")
        left.legend()
        values = [v[0] for v in o.values.values()]
        pad = 0.3 * (max(values) - min(values)) + 1e-12
        right.set(xticks=range(len(o.values)), xticklabels=list(o.values), xlim=(-0.6, 1.6), ylabel="objective (money)",
                  ylim=(min(values) - pad, max(values) + pad), title="simulated")  # fmt: skip
        right.legend(loc="lower left")
        return titled(fig, f"Cartea, Jaimungal: a seller, phi = {o.s.phi:g}, alpha = {o.s.alpha:g}")


def almgren_chriss(o: AlmgrenChrissOutcome) -> Figure:
    """Holdings by risk aversion; the frontier with simulated schedules on it and others above."""
    with style():
        fig, axes = figure(1, 2, 4.4, 3.6)
        left, right = axes[0]
        days = np.linspace(0.0, o.s.T, o.s.steps + 1)
        for (name, held), colour in zip(o.holdings.items(), (MID, GREEN, BLUE, RED), strict=False):
            left.plot(days, held, "o-", ms=3, color=colour, label=name)
        left.set(xlabel="time (days)", ylabel="holdings (shares)", title="best schedules")
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        left.legend()
        unit = 10.0 ** (3 * (int(np.log10(max(o.frontier[:, 0].max(), 1.0))) // 3))
        right.plot(np.sqrt(o.random[:, 1]) / unit, o.random[:, 0] / unit, ".", ms=1.5, color="#bbbbbb",
                   label="random schedules")  # fmt: skip
        right.plot(
            np.sqrt(o.frontier[:, 1]) / unit, o.frontier[:, 0] / unit, color=MID, lw=1.0, label="frontier"
        )
        m = o.measured / unit
        right.errorbar(m[:, 2], m[:, 0], 2 * m[:, 1], 2 * m[:, 3], color=BLUE, label="simulated", **SMALL)
        name = {1.0: "$", 1e3: "thousand $", 1e6: "million $", 1e9: "billion $"}.get(unit, f"{unit:g} $")
        right.set(xlabel=f"standard deviation of the cost ({name})", ylabel=f"expected cost ({name})",
                  title="cost against risk")  # fmt: skip
        right.legend()
        return titled(fig, f"Almgren, Chriss: lambda = {o.s.risk:g}, {o.s.steps} trades in {o.s.T:g} days")


def pair(o: PairOutcome) -> Figure:
    """One episode with its thresholds and positions; profit by threshold."""
    with style():
        fig, axes = figure(1, 2, 4.8, 3.4, width_ratios=(1.2, 1))
        left, right = axes[0]
        time, (gap, held) = np.arange(o.s.steps) * o.s.T / o.s.steps, o.example.T
        left.plot(time, gap, color=MID, lw=0.8, label="gap")
        for sign, colour, name in ((1, BLUE, "long"), (-1, RED, "short")):
            left.fill_between(time, 0, 1, where=held == sign, color=colour, alpha=0.15, lw=0, step="post",
                              transform=left.get_xaxis_transform(), label=name)  # fmt: skip
        most = 1.15 * max(np.abs(gap).max(), o.best[0])
        for sign in (-1, 1):
            left.plot(time, np.where(o.schedule < most, sign * o.schedule, np.nan), color=GREEN, lw=1.0,
                      label="best thresholds" if sign == 1 else None)  # fmt: skip
        left.set(xlabel="time", ylabel="gap (money)", ylim=(-most, most), title="an episode")
        right.plot(o.curve[:, 0], o.curve[:, 1], color=BLUE, lw=1.0, label="exact")
        shown = o.curve[:, 2] > 0
        right.plot(
            o.curve[shown, 0],
            o.curve[shown, 2],
            color=GREEN,
            lw=1.0,
            ls="--",
            label="Bertram (continuous)",
        )
        right.errorbar(
            o.measured[:, 0], o.measured[:, 1], 2 * o.measured[:, 2], color=BLUE, label="simulated", **POINT
        )
        right.axvline(o.best[0], color=BLUE, lw=0.8, ls=":", label="long-run best")
        right.axvline(o.best[1], color=GREEN, lw=0.8, ls=":")
        right.axhline(o.best[2], color=MID, lw=0.8, label="best, wider at the end")
        right.set(
            xlabel="threshold (money)", ylabel="profit of an episode (money)", title="constant thresholds"
        )
        left.legend(ncols=4, **BESIDE)
        right.legend(ncols=2, **BESIDE)
        return titled(
            fig, f"A cointegrated pair: theta = {o.s.theta:g}, sigma = {o.s.sigma:g}, cost {o.s.cost:g}"
        )
