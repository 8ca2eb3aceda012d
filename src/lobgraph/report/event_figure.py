"""The figure of an episode traced event by event: prices with one agent's orders and fills, its inventory, its place in the
queues, its reward.

In: an `EventTrace`, an agent, a book, perhaps a stretch of time. Out: a matplotlib figure; a long stretch shows the market
step by step, a short one event by event. Orders and fills always stand at their own times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..evaluation.event_trace import EventTrace, step_ns
from ..evaluation.follow_book import Fill, Order
from .style import ASK, BID, CYCLE, MID, REGIME, figure, style

MOST_EVENTS = 3000  # drawn one by one; more are shown step by step
WIDTH = 11.0  # inches
HEIGHTS = (3.2, 1.1, 1.4, 1.5)
# (how the fill came, side) -> marker, colour, words
MARKS = {
    (True, 1): ("^", BID, "bought, resting"),
    (True, -1): ("v", ASK, "sold, resting"),
    (False, 1): ("P", BID, "bought, incoming"),
    (False, -1): ("X", ASK, "sold, incoming"),
}


def episode(
    trace: EventTrace,
    agent: int = 0,
    book: int = 0,
    span: tuple[float, float] | None = None,
    mark: int | None = None,
) -> Figure:
    """Four panels over time for one agent in one book. `span`: seconds to show; None: all. `mark`: a fill to point at."""
    log = trace.log
    cfg, s = log.cfg, log.series
    first, last = span or (0.0, float(s.time[-1]))
    orders = [
        o for o in trace.orders if o.agent == agent and o.book == book and _meets(trace, o, first, last)
    ]
    fills = [
        f for f in trace.fills if f.agent == agent and f.book == book and first <= trace.seconds(f.ns) <= last
    ]
    with style():
        fig, axes = figure(4, 1, WIDTH, sum(HEIGHTS) / 4, sharex=True, gridspec_kw={"height_ratios": HEIGHTS})
        price, held, queue, reward = (row[0] for row in axes)
        handles = _prices(price, trace, book, first, last)
        handles += _orders(price, trace, orders)
        handles += _fills(price, trace, fills)
        _fit(price, trace, book, orders, fills, first, last)
        _regimes(price, trace)
        _inventory(held, trace, agent, book, first, last)
        _queue(queue, trace, orders)
        _rewards(reward, trace, agent, first, last)
        if mark is not None:
            for ax in (price, held, queue, reward):
                ax.axvline(trace.seconds(trace.fills[mark].ns), color="#000000", lw=0.8, ls=":")
            handles.append(Line2D([], [], color="#000000", lw=0.8, ls=":", label=f"fill {mark}"))
        reward.set(xlabel="time (s)", xlim=(first, last))
        fig.align_ylabels([price, held, queue, reward])
        fig.suptitle(
            f"{cfg.name}, episode {log.number}, seed {log.seed}: {trace.names[agent]} in {cfg.market.books[book]}, "
            f"{len(orders)} orders, {len(fills)} fills",
            x=0.01, ha="left", fontsize=11,
        )  # fmt: skip
        fig.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)))
    return fig


def _meets(trace: EventTrace, o: Order, first: float, last: float) -> bool:
    end = o.end_ns if o.end_ns >= 0 else trace.end_ns
    return trace.seconds(o.ns) <= last and trace.seconds(end) >= first


def _prices(ax: Axes, trace: EventTrace, book: int, first: float, last: float) -> list[Line2D]:
    """Best bid, best ask and mid, by event where there are few enough, else as they stood after each step."""
    s = trace.log.series
    inside = [e for e in trace.books[book].events if first <= trace.seconds(e.ns) <= last]
    if len(inside) <= MOST_EVENTS and inside:
        time = np.array([first, *(trace.seconds(e.ns) for e in inside), last])
        step = min(int(first * 1e9) // step_ns(s.cfg), len(s.best_bid) - 1)
        bid = np.array([s.best_bid[step, 0, book], *(e.bid for e in inside), inside[-1].bid], float)
        ask = np.array([s.best_ask[step, 0, book], *(e.ask for e in inside), inside[-1].ask], float)
    else:
        time, bid, ask = s.time, s.best_bid[:, 0, book].astype(float), s.best_ask[:, 0, book].astype(float)
    ax.fill_between(time, bid, ask, step="post", color="#bbbbbb", alpha=0.55, lw=0)
    ax.step(time, 0.5 * (bid + ask), where="post", color=MID, lw=0.7)
    ax.set(ylabel="price (ticks)")
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    return [
        Line2D([], [], color="#bbbbbb", lw=6, alpha=0.55, label="best bid to best ask"),
        Line2D([], [], color=MID, lw=0.9, label="mid"),
    ]


def _orders(ax: Axes, trace: EventTrace, orders: Sequence[Order]) -> list[Line2D]:
    """Each order as a line from the time it came to rest to the time it was gone."""
    handles = []
    for side, colour, name in ((1, BID, "its bids"), (-1, ASK, "its asks")):
        lines = []
        for o in orders:
            if o.side == side:
                end = o.end_ns if o.end_ns >= 0 else trace.end_ns
                lines.append([(trace.seconds(o.ns), o.px), (trace.seconds(end), o.px)])
        if lines:
            ax.add_collection(LineCollection(lines, colors=colour, linewidths=1.4))
            handles.append(Line2D([], [], color=colour, lw=1.4, label=name))
    return handles


def _fills(ax: Axes, trace: EventTrace, fills: Sequence[Fill]) -> list[Line2D]:
    """A mark for each fill, its area by lots; filled where noise was on the other side, ringed where an agent was."""
    handles = []
    most = max((f.lots for f in fills), default=1)
    for (passive, side), (marker, colour, words) in MARKS.items():
        own = [f for f in fills if f.passive == passive and f.side == side]
        if not own:
            continue
        ringed = [f.other in trace.names for f in own]
        ax.scatter([trace.seconds(f.ns) for f in own], [f.px for f in own], s=[12.0 + 50.0 * f.lots / most for f in own],
                   marker=marker, facecolor=colour, edgecolor=["black" if r else "white" for r in ringed],
                   linewidth=[0.9 if r else 0.4 for r in ringed], zorder=3)  # fmt: skip
        handles.append(Line2D([], [], color=colour, marker=marker, lw=0, ms=6, label=words))
    if any(f.other in trace.names for f in fills):
        handles.append(
            Line2D([], [], marker="o", lw=0, ms=6, mfc="white", mec="black", label="ringed: with an agent")
        )
    return handles


def _fit(
    ax: Axes,
    trace: EventTrace,
    book: int,
    orders: Sequence[Order],
    fills: Sequence[Fill],
    first: float,
    last: float,
) -> None:
    """Prices worth showing: where the best prices and the fills were, and orders up to as far again."""
    s = trace.log.series
    seen = (s.time >= first - s.cfg.market.dt) & (s.time <= last + s.cfg.market.dt)
    px = [f.px for f in fills]
    low = min([int(s.best_bid[seen, 0, book].min()), *px])
    high = max([int(s.best_ask[seen, 0, book].max()), *px])
    room = max(4, high - low)
    bottom = max(min([low, *(o.px for o in orders)]), low - room)
    top = min(max([high, *(o.px for o in orders)]), high + room)
    ax.set_ylim(bottom - 1, top + 1)


def _regimes(ax: Axes, trace: EventTrace) -> None:
    """Name the regimes in the margin, and shade those that are not the first."""
    s = trace.log.series
    names = s.cfg.regimes.names
    regime = s.regime[1:, 0]
    edges = np.flatnonzero(np.diff(regime)) + 1
    for start, end in zip([0, *edges], [*edges, len(regime)], strict=True):
        name = names[int(regime[start])]
        if name != names[0]:
            ax.axvspan(s.time[start], s.time[end], color=REGIME.get(name, "#999999"), alpha=0.08, lw=0)
    ax.set_title("regime: " + ", then ".join(names[int(regime[i])] for i in [0, *edges][:6]), fontsize=9)


def _inventory(ax: Axes, trace: EventTrace, agent: int, book: int, first: float, last: float) -> None:
    """What it held at every time between two fills."""
    fills = [f for f in trace.fills if f.agent == agent and f.book == book]
    time = np.array([0.0, *(trace.seconds(f.ns) for f in fills), trace.seconds(trace.end_ns)])
    held = np.concatenate([[0], np.cumsum([f.side * f.lots for f in fills], dtype=np.int64)])
    held = np.append(held, held[-1])
    ax.step(time, held, where="post", color=MID, lw=1.2)
    ax.axhline(0.0, color="#888888", lw=0.8)
    ax.set(ylabel="inventory\n(lots)", ylim=_limits(time, held, first, last))
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _limits(time: np.ndarray, values: np.ndarray, first: float, last: float) -> tuple[float, float]:
    """Room for 0 and for the values of a stretch of time, that which it begins with included."""
    start = max(int(np.searchsorted(time, first, side="right")) - 1, 0)
    seen = values[start : max(int(np.searchsorted(time, last, side="right")), start + 1)]
    low, high = min(0.0, float(seen.min())), max(0.0, float(seen.max()))
    room = 0.08 * max(high - low, 1.0)
    return low - room, high + room


def _queue(ax: Axes, trace: EventTrace, orders: Sequence[Order]) -> None:
    """The lots before each order, from the time it came to rest."""
    for side, colour in ((1, BID), (-1, ASK)):
        time: list[float] = []
        ahead: list[float] = []
        for o in orders:
            if o.side != side:
                continue
            time += [trace.seconds(ns) for ns, _, _ in o.path]
            ahead += [float(lots) for _, lots, _ in o.path]
            time.append(trace.seconds(o.end_ns if o.end_ns >= 0 else trace.end_ns))
            ahead.append(float("nan"))
        ax.step(time, ahead, where="post", color=colour, lw=1.0)
    ax.axhline(0.0, color="#888888", lw=0.8)
    ax.set(ylabel="lots before\nits order")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not orders:
        ax.set_yticks([])
        ax.text(
            0.5,
            0.5,
            "no order came to rest",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color="#777777",
        )


def _rewards(ax: Axes, trace: EventTrace, agent: int, first: float, last: float) -> None:
    """The reward's terms and their sum, added up from the episode's start; terms that are always 0 are left out."""
    s = trace.log.series
    spec = next(p for p in s.specs.values() if p.agents.start <= agent < p.agents.stop)
    terms = s.terms[:, 0, agent].astype(float)
    start = np.zeros((1, terms.shape[1]))
    total = np.concatenate([start, terms.cumsum(axis=0)])
    shown = [i for i in range(terms.shape[1]) if terms[:, i].any()]
    for i, name in enumerate(spec.reward_terms):
        if i in shown:
            ax.step(s.time, total[:, i], where="post", color=CYCLE[(i + 2) % len(CYCLE)], lw=1.1, label=name)
    ax.step(s.time, total.sum(axis=1), where="post", color="#000000", lw=1.4, label="reward")
    ax.axhline(0.0, color="#888888", lw=0.8)
    lines = np.concatenate([total[:, shown], total.sum(axis=1, keepdims=True)], axis=1)
    limits = [_limits(s.time, line, first, last) for line in lines.T]
    ax.set(
        ylabel="reward so far\n(tick-lots)"
        if trace.log.cfg.market.num_books == 1
        else "reward so far\nof all books (tick-lots)",
        ylim=(min(low for low, _ in limits), max(high for _, high in limits)),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
