"""The figures of one traced episode: quotes and fills, inventories, order execution, regimes, the book over time.

In: `Trace`s. Out: matplotlib figures, times in seconds since the episode's start, prices in ticks, quantities in lots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from .style import ASK, BID, CYCLE, MID, REGIME, figure, legend_below, style
from .trace import Trace

# Asks red, bids blue, nothing white; short of the darkest tones, so that lines stay visible on it.
_DEPTH = LinearSegmentedColormap.from_list("depth", ("#b2182b", "#ef8a62", "#fddbc7", "#ffffff", "#d1e5f0", "#67a9cf",
                                                     "#2166ac"))  # fmt: skip

MAX_BOOKS = 4  # panels; further books are left out of a figure and the title says so


def _title(fig: Figure, text: str, trace: Trace) -> None:
    more = f" (first {MAX_BOOKS} of {len(trace.books)} books)" if len(trace.books) > MAX_BOOKS else ""
    fig.suptitle(text + more, x=0.01, ha="left", fontsize=11)


def _price_limits(trace: Trace, a: int) -> tuple[float, float]:
    """Prices worth showing: where the best prices went, and the first maker's quotes up to as far again."""
    low, high = float(trace.best_bid[:, a].min()), float(trace.best_ask[:, a].max())
    room = max(4.0, high - low)
    bottom, top = low - 2.0, high + 2.0
    for g in trace.agents("maker")[:1]:
        px, live = trace.quotes[:, g, a, :, 0], trace.quotes[:, g, a, :, 1] > 0
        if live.any():
            bottom = max(min(bottom, px[live].min() - 1.0), low - room)
            top = min(max(top, px[live].max() + 1.0), high + room)
    return bottom, top


def _first_maker(trace: Trace) -> str:
    return "maker" if len(trace.agents("maker")) == 1 else "first maker"


def _shade_regimes(ax: Axes, trace: Trace) -> None:
    """Shade the stretches in every regime but the first."""
    edges = np.flatnonzero(np.diff(trace.regime)) + 1
    for start, end in zip([0, *edges], [*edges, len(trace.regime)], strict=True):
        name = trace.regimes[int(trace.regime[start])]
        if name != trace.regimes[0]:
            left = trace.time[start - 1] if start else 0.0
            colour = REGIME.get(name, "#999999")
            ax.axvspan(left, trace.time[end - 1], color=colour, alpha=0.08, lw=0, label=f"{name} regime")


def quotes(trace: Trace) -> Figure:
    """A panel per book: mid and spread, the first maker's two quotes, its fills (area by lots)."""
    books = range(min(len(trace.books), MAX_BOOKS))
    makers = trace.agents("maker")
    with style():
        fig, axes = figure(len(books), 1, 9.0, 2.6 if len(books) > 1 else 3.6, sharex=True)
        for a in books:
            ax = axes[a][0]
            _shade_regimes(ax, trace)
            ax.fill_between(trace.time, trace.best_bid[:, a], trace.best_ask[:, a], step="post", color="#bbbbbb",
                            alpha=0.5, lw=0, label="best bid to best ask")  # fmt: skip
            ax.step(trace.time, trace.mid[:, a], where="post", color=MID, lw=0.9, label="mid")
            for g in makers[:1]:
                _quote_lines(ax, trace, g, a)
            for g in makers[:1]:
                _fill_marks(ax, trace, g, a)
            ax.set(ylim=_price_limits(trace, a), ylabel="price (ticks)", title=trace.books[a])
            ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
            ax.margins(x=0.01)
        axes[-1][0].set_xlabel("time (s)")
        _title(fig, "Quotes around the mid, with fills", trace)
        legend_below(fig, _richest([row[0] for row in axes]), columns=7)
    return fig


def _richest(axes: Sequence[Axes]) -> Axes:
    """The axes with most entries for a legend; labels given twice are kept once."""
    best = max(axes, key=lambda ax: len(set(ax.get_legend_handles_labels()[1])))
    seen: set[str] = set()
    for handle, label in zip(*best.get_legend_handles_labels(), strict=True):
        if label in seen:
            handle.set_label("_repeated")
        seen.add(label)
    return best


def _quote_lines(ax: Axes, trace: Trace, g: int, a: int) -> None:
    """The agent's bid and ask as steps, with a gap while there is no order."""
    passive = trace.fills_passive[:, g, a]
    for side, colour, name in ((0, BID, "bid"), (1, ASK, "ask")):
        px, qty = trace.quotes[:, g, a, side, 0], trace.quotes[:, g, a, side, 1]
        standing = (qty > 0) | (passive > 0 if side == 0 else passive < 0)
        ax.step(trace.time, np.where(standing, px, np.nan), where="post", color=colour, lw=1.1,
                label=f"{_first_maker(trace)}'s {name}")  # fmt: skip


def _fill_marks(ax: Axes, trace: Trace, g: int, a: int) -> None:
    passive = trace.fills_passive[:, g, a]
    marks = (
        (passive > 0, trace.quotes[:, g, a, 0, 0], "^", BID, "bought at its bid"),
        (passive < 0, trace.quotes[:, g, a, 1, 0], "v", ASK, "sold at its ask"),
    )
    for where, px, marker, colour, label in marks:
        if where.any():
            area = 8.0 + 42.0 * np.abs(passive[where]) / max(1, np.abs(passive).max())
            ax.scatter(trace.time[where], px[where], s=area, marker=marker, facecolor=colour, edgecolor="white",
                       linewidth=0.5, zorder=3, label=label)  # fmt: skip


def inventories(trace: Trace) -> Figure:
    """A panel per role: every agent's inventory in each book; colour by book, dashes by agent."""
    roles = list(dict.fromkeys(trace.roles))
    dashes = ("-", "--", ":", "-.")
    with style():
        fig, axes = figure(len(roles), 1, 9.0, 2.4 if len(roles) > 1 else 3.4, sharex=True)
        for ax, role in zip((row[0] for row in axes), roles, strict=True):
            agents = trace.agents(role)
            for k, g in enumerate(agents):
                for a, book in enumerate(trace.books):
                    name = f"{book}, agent {k}" if len(agents) > 1 else book
                    ax.step(trace.time, trace.inventory[:, g, a], where="post", color=CYCLE[a % len(CYCLE)],
                            ls=dashes[k % len(dashes)], lw=1.2, label=name)  # fmt: skip
            if len(trace.books) > 1:
                net = trace.inventory[:, agents].sum(axis=(1, 2))
                ax.step(
                    trace.time, net, where="post", color="#555555", lw=2.2, alpha=0.45, label="sum of all"
                )
            ax.axhline(0.0, color="#888888", lw=0.8)
            ax.set(title=role, ylabel="inventory (lots)")
            ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
            if not trace.inventory[:, agents].any():
                ax.set_ylim(-1, 1)
            ax.margins(x=0.01)
            if len(ax.get_legend_handles_labels()[0]) > 1:
                ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[-1][0].set_xlabel("time (s)")
        fig.suptitle("Inventory paths", x=0.01, ha="left", fontsize=11)
    return fig


def execution(trace: Trace) -> Figure | None:
    """Each taker's quantity still to trade against the straight line that would just finish; None without a target."""
    takers = [g for g in trace.agents("taker") if trace.remaining[:, g].any()]
    if not takers:
        return None
    time = np.concatenate([[0.0], trace.time])
    with style():
        fig, axes = figure(len(takers), 1, 9.0, 3.2, sharex=True)
        for k, (ax, g) in enumerate(zip((row[0] for row in axes), takers, strict=True)):
            starts = set()
            for a, book in enumerate(trace.books):
                signed = trace.remaining[:, g, a]
                done = trace.fills_passive[0, g, a] + trace.fills_aggressive[0, g, a]
                target = int(signed[0] + done)  # before the first step's trades
                if target == 0:
                    continue
                path = np.abs(np.concatenate([[target], signed]))
                verb = "buys" if target > 0 else "sells"
                ax.step(time, path, where="post", color=CYCLE[a % len(CYCLE)],
                        label=f"{book}: {verb} {abs(target)}")  # fmt: skip
                starts.add(abs(target))
            for i, start in enumerate(sorted(starts)):
                ax.plot([0.0, trace.horizon], [start, 0.0], color="#555555", ls="--", lw=1.0,
                        label="straight line" if i == 0 else None)  # fmt: skip
            name = f"taker {k}" if len(takers) > 1 else "taker"
            ax.set(title=name, ylabel="still to trade (lots)", ylim=(0, None))
            ax.margins(x=0.01)
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[-1][0].set_xlabel("time (s)")
        fig.suptitle("Remaining target against a straight line", x=0.01, ha="left", fontsize=11)
    return fig


def regimes(traces: Sequence[Trace]) -> Figure:
    """Spread (share of time at each width) and mean depth by distance from the best, by regime, over all traces."""
    names = traces[0].regimes
    regime = np.concatenate([t.regime for t in traces])
    spread = np.concatenate([t.best_ask - t.best_bid for t in traces])
    bids, asks = (np.concatenate([getattr(t, side) for t in traces]) for side in ("bid_qty", "ask_qty"))
    present = [r for r in range(len(names)) if (regime == r).any()]
    widest = max(2, int(np.quantile(spread, 0.99)))
    several = len(present) > 1
    with style():
        fig, axes = figure(1, 2, 4.6, 3.3)
        left, right = axes[0]
        for k, r in enumerate(present):
            colour = REGIME.get(names[r], CYCLE[(k + 2) % len(CYCLE)])
            values = spread[regime == r].ravel()
            width = 0.8 / len(present)
            x = np.arange(1, widest + 1)
            share = [100 * np.mean(values == s) for s in x[:-1]] + [100 * np.mean(values >= widest)]
            left.bar(x + (k - (len(present) - 1) / 2) * width, share, width, color=colour,
                     label=f"{names[r]}: mean {values.mean():.2f}" if several else f"mean {values.mean():.2f}")  # fmt: skip
            level = np.arange(bids.shape[-1])
            for qty, sign in ((bids, -1), (asks, 1)):
                depth = qty[regime == r].mean(axis=(0, 1))
                right.plot(sign * (level + 0.5), depth, color=colour, marker="o", ms=3,
                           label=f"{names[r]} ({100 * np.mean(regime == r):.0f} % of time)" if sign > 0 else None)  # fmt: skip
        ticks = np.unique(np.linspace(1, widest, min(widest, 10)).astype(int))
        left.set_xticks(ticks, [f"{s}" if s < widest else f"\N{GREATER-THAN OR EQUAL TO}{s}" for s in ticks])
        left.set(xlabel="spread (ticks)", ylabel="share of time (%)", title="Spread")
        left.set_ylim(0, 1.25 * left.get_ylim()[1])  # room for the legend
        left.legend(loc="upper right")
        left.margins(y=0.25)
        right.axvline(0.0, color="#888888", lw=0.8)
        levels = np.arange(bids.shape[-1])
        shown = levels[:: max(1, len(levels) // 5)]
        right.set_xticks([*(-shown[::-1] - 0.5), *(shown + 0.5)], [f"{s}" for s in [*shown[::-1], *shown]])
        right.set(xlabel="ticks from best bid (left) and best ask (right)", ylabel="mean quantity (lots)", title="Depth",
                  ylim=(0, None))  # fmt: skip
        right.margins(y=0.25)
        if several:
            legend_below(fig, right)
        what = "Spread and depth by regime" if several else "Spread and depth"
        fig.suptitle(f"{what} ({len(traces)} episodes, all books)", x=0.01, ha="left", fontsize=11)
    return fig


def heat_map(trace: Trace) -> Figure:
    """A panel per book: resting quantity at each price over time (log scale), the mid and the first maker's quotes."""
    books = range(min(len(trace.books), MAX_BOOKS))
    with style():
        fig, axes = figure(len(books), 1, 9.0, 3.0 if len(books) > 1 else 4.4, sharex=True)
        for a in books:
            _heat(axes[a][0], trace, a)
        axes[-1][0].set_xlabel("time (s)")
        _title(fig, "Resting lots at each price: asks red, bids blue", trace)
        legend_below(fig, axes[0][0])
    return fig


def _heat(ax: Axes, trace: Trace, a: int) -> None:
    low, high = (round(v) for v in _price_limits(trace, a))
    image = signed_depth(trace, a, np.arange(low, high + 1))
    top = float(np.quantile(np.abs(image[image != 0]), 0.995)) if image.any() else 1.0
    edges = np.concatenate([trace.time, [trace.time[-1] + np.diff(trace.time, prepend=0.0)[-1]]])
    norm = FuncNorm((_signed_log, _signed_exp), vmin=-top, vmax=top)
    mesh = ax.pcolormesh(
        edges, np.arange(low, high + 2) - 0.5, image.T, cmap=_DEPTH, norm=norm, rasterized=True
    )
    ax.step(
        edges, np.append(trace.mid[:, a], trace.mid[-1, a]), where="post", color="black", lw=1.2, label="mid"
    )
    outline = [Stroke(linewidth=2.4, foreground="black"), Normal()]
    for g in trace.agents("maker")[:1]:
        for side in (0, 1):
            px, qty = trace.quotes[:, g, a, side, 0], trace.quotes[:, g, a, side, 1]
            line = np.where(qty > 0, px, np.nan)
            label = f"{_first_maker(trace)}'s bid and ask" if side == 0 else None
            ax.step(edges, np.append(line, line[-1]), where="post", lw=1.2, color="#f0e442", path_effects=outline,
                    label=label)  # fmt: skip
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.01, ticks=_log_ticks(top))
    bar.ax.set_yticklabels([f"{abs(t):g}" for t in _log_ticks(top)])
    bar.set_label("lots")
    ax.grid(visible=False)
    ax.set(
        ylabel="price (ticks)", title=trace.books[a], ylim=(low - 0.5, high + 0.5), xlim=(edges[0], edges[-1])
    )
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))


def _signed_log(lots: np.ndarray) -> np.ndarray:
    return np.sign(lots) * np.log1p(np.abs(lots))


def _signed_exp(value: np.ndarray) -> np.ndarray:
    return np.sign(value) * np.expm1(np.abs(value))


def _log_ticks(top: float) -> list[float]:
    decades = [10.0**k for k in range(int(np.log10(max(top, 1.0))) + 1)]
    return [-d for d in reversed(decades)] + [0.0] + decades


def signed_depth(trace: Trace, a: int, prices: np.ndarray) -> np.ndarray:
    """(T, len(prices)) lots resting at each price, asks negative; 0 outside the book's window."""
    image = np.zeros((len(trace.time), len(prices)))
    for t in range(len(trace.time)):
        index = prices - trace.book_px0[t, a]
        inside = (index >= 0) & (index < trace.book_qty.shape[-1])
        lots = np.where(inside, trace.book_qty[t, a, np.clip(index, 0, trace.book_qty.shape[-1] - 1)], 0)
        image[t] = np.where(prices <= trace.best_bid[t, a], lots, -lots)
    return image
