"""Drives the price-level book and a per-order exchange of tests/oracle side by side: equal after every message.

A stream is an array of commands with prices relative to the mid, run through both. Compared after each: lots at every
price, best prices, window, counters, every agent's order with its place in the queue, every account (from the fills).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import strategies as st
from numba import njit

from lobgraph.market import book as bk
from lobgraph.market import state as ms
from lobgraph.market.params import MATCHINGS, SELF_TRADES
from oracle.fifo import AGGRESSIVE, NOISE, PASSIVE, Exchange, Order
from oracle.pro_rata import ProRataExchange

WINDOW, AGENTS = 64, 4
SLOTS, ACCOUNTS = 2 * AGENTS, AGENTS + 1
START = (999, 1001)
EXCHANGES = {"fifo": Exchange, "pro_rata": ProRataExchange}
POLICIES = tuple(SELF_TRADES)
LIMIT, MARKET, CANCEL, PLACE, REDUCE, QUOTE, AGENT_MARKET, RECENTRE, SET = range(9)
# columns of a command; offsets are from the mid, the share is of 65536
KIND, AGENT, SIDE, OFFSET, LOTS, OFFSET2, LOTS2, SHARE, POST_ONLY = range(9)
NAMES = ("limit", "market", "cancel", "place", "reduce", "quote", "take", "recentre", "level")

COLUMNS = (
    ["bid", "ask", "low", "added", "cancelled", "traded", "dropped", "clipped", "signed", "unfilled",
     "volume", "order-flow imbalance"]
    + [f"order {s} {what}" for s in range(SLOTS) for what in ("px", "rest", "ahead")]
    + [
        f"account {g} {what}"
        for g in range(ACCOUNTS)
        for what in (
            "inventory", "cash", "passive notional", "aggressive notional",
            "passive bought", "passive sold", "aggressive bought", "aggressive sold",
        )
    ]
    + ["noise bid", "noise ask", "own bid", "own ask"]
    + [f"lots at low + {i}" for i in range(WINDOW)]
)  # fmt: skip


def make_book(matching: str) -> ms.Book:
    """An empty book as `step.book_of` would give it."""
    i32 = np.int32
    b = ms.Book(
        np.zeros(WINDOW, i32), np.zeros(ms.HEAD, np.int64), np.zeros(SLOTS, i32), np.zeros(SLOTS, i32),
        np.zeros(SLOTS, i32), np.zeros(SLOTS, i32), np.zeros((ACCOUNTS, ms.ACCOUNT), np.int64),
    )  # fmt: skip
    b.head[ms.MATCHING] = MATCHINGS[matching]
    bk.clear.py_func(b, *START)
    return b


@njit(cache=True)
def replay(b, commands, self_trade, rows):
    """Run commands (n, 9) through the book and write what it looks like after each into rows (n, len(COLUMNS))."""
    h = b.head
    w = b.qty.shape[0]
    for i in range(commands.shape[0]):
        c = commands[i]
        mid = (h[ms.BID] + h[ms.ASK]) >> 1
        px, side, lots, agent = mid + c[OFFSET], c[SIDE], c[LOTS], c[AGENT]
        slot = 2 * agent + (1 - side) // 2
        kind = c[KIND]
        if kind == LIMIT:
            bk.limit(b, side, px, lots)
        elif kind == MARKET:
            bk.market(b, bk.NOBODY, side * lots, ms.ALLOW)
        elif kind == CANCEL:
            inside = h[ms.LOW] <= px < h[ms.LOW] + w
            noise = bk.noise_at(b, px) if inside else 0
            bk.cancel_noise(b, px, lots if inside else 0, (c[SHARE] * noise) >> 16)
        elif kind == PLACE:
            if b.rest[slot] == 0:
                bk.place(b, slot, px, lots, self_trade, c[POST_ONLY])
        elif kind == REDUCE:
            bk.reduce_order(b, slot, (b.rest[slot] * c[SHARE]) >> 16)
        elif kind == QUOTE:
            bk.quote(b, agent, px, lots, mid + c[OFFSET2], c[LOTS2], self_trade, c[POST_ONLY])
        elif kind == AGENT_MARKET:
            bk.market(b, agent, side * lots, self_trade)
        elif kind == RECENTRE:
            bk.recentre(b)
        elif kind == SET:
            bk.set_noise(b, side, px, lots)
        row = rows[i]
        at = 0
        for column in (
            ms.BID, ms.ASK, ms.LOW, ms.ADDED, ms.CANCELLED, ms.TRADED, ms.DROPPED, ms.CLIPPED, ms.SIGNED,
            ms.UNFILLED, ms.VOLUME, ms.OFI,
        ):  # fmt: skip
            row[at] = h[column]
            at += 1
        for s in range(SLOTS):
            if b.rest[s] > 0:
                row[at] = b.px[s]
                row[at + 1] = b.rest[s]
                row[at + 2] = b.ahead[s]
            else:
                row[at : at + 3] = 0
            at += 3
        for g in range(ACCOUNTS):
            for column in range(8):
                row[at] = b.account[g, column]
                at += 1
        for column in range(4):
            row[at] = h[ms.NOISE_BID + column]
            at += 1
        for k in range(w):
            row[at] = b.qty[(h[ms.LOW] + k) & (w - 1)]
            at += 1


EVENTS = (
    "noise takes from noise", "noise takes from agent", "agent takes from noise", "agent takes from agent",
    "self-trade", "self-trade prevented", "trade at a level of several agents", "trade shared, level not emptied",
    "trade at the window's edge", "side emptied", "emptied level refilled", "window moved",
    "window moved, agents' orders lost", "window moved, agents' orders kept",
    "marketable limit rests what is left", "post-only order slides", "order joins agents' queue",
    "order reduced", "order cancelled", "quote kept", "quote replaced",
    "noise cancelled ahead of an agent", "noise cancelled behind agents",
)  # fmt: skip


class Reference:
    """The oracle behind the same commands and the same rows; `events` counts what has happened."""

    def __init__(self, matching: str, self_trade: str) -> None:
        self.x = EXCHANGES[matching](WINDOW, *START, AGENTS)
        self.self_trade = self_trade
        self.clipped = self.unfilled = 0
        self.events = Counter(dict.fromkeys(EVENTS, 0))
        self.emptied: set[int] = set()  # prices where a trade took the last lot, until lots rest there again

    def apply(self, command: list[int]) -> None:
        x = self.x
        kind, agent, side, offset, lots, offset2, lots2, share, post_only = command
        mid = (x.best[1] + x.best[-1]) // 2
        px = mid + offset
        if kind == LIMIT:
            x.limit(side, px, lots)
        elif kind == MARKET:
            self.unfilled += lots - x.market(NOISE, side, lots)
        elif kind == CANCEL:
            x.cancel_noise(px, lots, share * x.noise(px) >> 16)
        elif kind == PLACE and (agent, side) not in x.own:
            x.place(agent, side, px, lots, self.self_trade, bool(post_only))
        elif kind == REDUCE and (agent, side) in x.own:
            x.reduce(agent, side, x.own[agent, side].qty * share >> 16)
        elif kind == QUOTE:
            x.quote(agent, (px, lots), (mid + offset2, lots2), self.self_trade, bool(post_only))
        elif kind == AGENT_MARKET:
            self.unfilled += lots - x.market(agent, side, lots, self.self_trade)
        elif kind == RECENTRE:
            x.recentre()
        elif kind == SET and not x.set_noise(side, px, lots):
            self.clipped += lots

    def apply_and_count(self, command: list[int]) -> None:
        """`apply`, then tell from before and after what happened."""
        x = self.x
        kind, agent, side, offset, *_, post_only = command
        asked = (x.best[1] + x.best[-1]) // 2 + offset
        fills, low, lost, prevented = len(x.fills), x.low, len(x.lost), x.prevented
        orders = {key: (order, order.px, order.qty, x.ahead(order)) for key, order in x.own.items()}
        occupied = Counter((k[1], order.px) for k, order in x.own.items())
        held = {s: bool(x.queues[s]) for s in (1, -1)}
        self.apply(command)
        seen = self.events
        new = x.fills[fills:]
        for f in new:
            maker, taker = (("agent", "noise")[who == NOISE] for who in (f.maker, f.taker))
            seen[f"{taker} takes from {maker}"] += 1
            seen["self-trade"] += f.maker == f.taker != NOISE
        for taken, px in {(f.side, f.px) for f in new}:
            makers = {f.maker for f in new if (f.side, f.px) == (taken, px)}
            seen["trade at a level of several agents"] += occupied[-taken, px] > 1
            seen["trade shared, level not emptied"] += len(makers) > 1 and x.lots(px) > 0
            seen["trade at the window's edge"] += not 2 <= px - low < WINDOW - 2
            if not x.lots(px):
                self.emptied.add(px)
        if kind in (LIMIT, PLACE, QUOTE, SET):
            refilled = {px for px in self.emptied if x.lots(px)}
            seen["emptied level refilled"] += len(refilled)
            self.emptied -= refilled
        seen["side emptied"] += any(held[s] and not x.queues[s] for s in (1, -1))
        seen["window moved"] += x.low != low
        seen["window moved, agents' orders lost"] += len(x.lost) > lost
        seen["window moved, agents' orders kept"] += x.low != low and bool(x.own)
        seen["self-trade prevented"] += x.prevented - prevented
        before, after = orders.get((agent, side)), x.own.get((agent, side))
        if kind == PLACE and before is None and after is not None:
            seen["marketable limit rests what is left"] += bool(new)
            seen["post-only order slides"] += bool(post_only) and after.px != asked
            seen["order joins agents' queue"] += x.ahead(after) > sum(o.qty for o in self._noise_ahead(after))
        if kind == REDUCE and before is not None:
            seen["order reduced" if after is not None else "order cancelled"] += 1
        if kind == QUOTE and before is not None:
            seen["quote kept" if after is before[0] else "quote replaced"] += 1
        if kind == CANCEL and (there := [k for k, (o, px, _, _) in orders.items() if px == asked and o.qty]):
            moved = [k for k in there if k in x.own and x.ahead(x.own[k]) < orders[k][3]]
            seen["noise cancelled ahead of an agent" if moved else "noise cancelled behind agents"] += 1

    def _noise_ahead(self, order: Order) -> list[Order]:
        queue = self.x.queues[order.side][order.px]
        return [other for other in queue[: queue.index(order)] if other.owner == NOISE]

    def row(self) -> list[int]:
        x = self.x
        row = [x.best[1], x.best[-1], x.low, x.added, x.cancelled]
        row += [x.traded, x.dropped, self.clipped, x.signed, self.unfilled, x.traded, x.imbalance]
        for agent in range(AGENTS):
            for side in (1, -1):
                order = x.own.get((agent, side))
                row += [0, 0, 0] if order is None else [order.px, order.qty, x.ahead(order)]
        for owner in (*range(AGENTS), NOISE):
            a = x.accounts[owner]
            row += [a.inventory, a.cash, a.notional[PASSIVE], a.notional[AGGRESSIVE]]
            row += [a.bought[PASSIVE], a.sold[PASSIVE], a.bought[AGGRESSIVE], a.sold[AGGRESSIVE]]
        levels = [0] * WINDOW
        split = {(who, side): 0 for who in ("noise", "own") for side in (1, -1)}
        for side in (1, -1):
            for px, queue in x.queues[side].items():
                levels[px - x.low] += sum(order.qty for order in queue)
                for order in queue:
                    split["noise" if order.owner == NOISE else "own", side] += order.qty
        return [*row, *split.values(), *levels]


def run(b: ms.Book, reference: Reference, commands: np.ndarray, count: bool = False, where: str = "") -> None:
    """Run commands through both and compare every row; names the first command and column that differ."""
    commands = np.ascontiguousarray(commands, np.int64).reshape(-1, 9)
    got = np.zeros((len(commands), len(COLUMNS)), np.int64)
    replay(b, commands, SELF_TRADES[reference.self_trade], got)
    rows = []
    apply = reference.apply_and_count if count else reference.apply
    for command in commands.tolist():
        apply(command)
        rows.append(reference.row())
    want = np.array(rows, np.int64).reshape(got.shape)
    for i in np.flatnonzero((got != want).any(axis=1))[:1]:
        wrong = {COLUMNS[j]: (int(got[i, j]), int(want[i, j])) for j in np.flatnonzero(got[i] != want[i])}
        name = NAMES[commands[i, KIND]]
        pytest.fail(f"{where}command {i} {name} {commands[i].tolist()}: (book, oracle) {wrong}")
    check_conservation(b, want)


def check_conservation(b: ms.Book, rows: np.ndarray) -> None:
    """Lots and cash: nothing comes from nowhere, and no side stands through the other."""
    levels = rows[:, -WINDOW:].sum(axis=1)
    added, cancelled, traded, dropped = rows[:, 3:7].T
    np.testing.assert_array_equal(levels, added - cancelled - traded - dropped)
    assert (rows[:, 0] < rows[:, 1]).all(), "crossed"
    assert b.account[:, ms.INVENTORY].sum() == 0
    assert b.account[:, ms.CASH].sum() == 0
    assert (b.rest >= 0).all()
    assert (b.ahead >= 0).all()
    assert (b.qty >= 0).all()


# --- random streams ---

MOODS = {  # weights of the kinds, in their order
    "build": [8, 1, 3, 3, 2, 2, 1, 0.2, 0.5],
    "drain": [2, 4, 6, 1, 3, 1, 3, 0.2, 0.2],
    "trend": [6, 3, 3, 2, 1, 2, 1, 1, 0.2],
    "sweep": [6, 2, 2, 2, 1, 1, 2, 0.2, 0.2],
    "agents": [2, 1, 3, 6, 4, 5, 3, 0.1, 0.2],
    "crowd": [4, 2, 2, 6, 1, 1, 0.5, 0.1, 0.1],  # agents and noise at few prices, small trades
    "clash": [1, 0.5, 1, 6, 1, 4, 2, 0.1, 0.1],  # agents through the mid, their own orders too
    "edge": [4, 3, 1, 4, 0.5, 1, 1, 1, 0.3],  # orders at the window's edge, sweeps to it
}


def random_commands(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 9) int64 commands of one mood."""
    mood = rng.choice(list(MOODS))
    c = np.zeros((n, 9), np.int64)
    p = np.array(MOODS[mood]) / sum(MOODS[mood])
    c[:, KIND] = rng.choice(9, n, p=p)
    c[:, AGENT] = rng.integers(0, AGENTS, n)
    buy = 0.5 + (rng.choice([-0.25, 0.25]) if mood == "trend" else 0.0)
    c[:, SIDE] = np.where(rng.random(n) < buy, 1, -1)
    width = 0.8 if mood in ("crowd", "clash") else rng.choice([1.5, 4.0, 12.0])
    around = np.round(rng.normal(0, width, n)).astype(np.int64)
    behind = -c[:, SIDE] * np.abs(np.round(rng.normal(0, width, n)).astype(np.int64))  # on its own side
    far = rng.integers(-WINDOW, WINDOW, n)
    edge = -c[:, SIDE] * (WINDOW // 2 - rng.integers(0, 6, n))
    which = rng.random(n)
    near, middle = (0.2, 0.97) if mood == "clash" else (0.7, 0.97)
    c[:, OFFSET] = np.where(which < near, behind, np.where(which < middle, around, far))
    if mood == "edge":
        c[:, OFFSET] = np.where(which < 0.4, edge, c[:, OFFSET])
    quote = c[:, KIND] == QUOTE
    c[quote, OFFSET] = -np.abs(c[quote, OFFSET])
    c[:, OFFSET2] = np.abs(np.round(rng.normal(0, width, n))) + (rng.random(n) < 0.95)
    if mood == "clash":  # quotes that cross the mid, either side first
        c[quote, OFFSET] += rng.integers(-1, 3, quote.sum())
        c[:, OFFSET2] -= rng.integers(-1, 3, n)
    size = rng.choice([0.3, 0.05])
    c[:, LOTS] = rng.geometric(size, n)
    c[:, LOTS2] = rng.geometric(size, n) - 1
    big = rng.random(n) < {"sweep": 0.1, "edge": 0.05}.get(mood, 0.005)
    c[big, LOTS] *= rng.integers(10, 60, big.sum())
    c[:, SHARE] = rng.integers(0, 1 << 16, n)
    c[(c[:, KIND] == REDUCE) & (rng.random(n) < 0.3), SHARE] = 0
    c[:, POST_ONLY] = rng.random(n) < (0.1 if mood == "clash" else 0.4)
    return c


def stream(matching: str, seed: int, commands: int, chunk: int = 500, count: bool = False) -> Counter[str]:
    """A random stream through both, in moods of `chunk` commands; the seed also chooses the self-trade policy.

    Returns how often each of EVENTS occurred, if `count`.
    """
    rng = np.random.default_rng(seed)
    reference, b = Reference(matching, POLICIES[seed % len(POLICIES)]), make_book(matching)
    for i in range(commands // chunk):
        run(b, reference, random_commands(rng, chunk), count, f"{matching} seed {seed} chunk {i} ")
    assert set(reference.events) == set(EVENTS)
    return reference.events


def long_streams(matching: str) -> Counter[str]:
    """1.2 million random commands: 20 streams, four of each self-trade policy."""
    events = Counter(dict.fromkeys(EVENTS, 0))
    for seed in range(100, 120):
        events.update(stream(matching, seed, 60_000, count=True))
    return events


# --- commands by name, for cases worked by hand and for hypothesis, which prints them as these calls ---


def limit(side, offset, lots):
    return [LIMIT, 0, side, offset, lots, 0, 0, 0, 0]


def market(side, lots):
    return [MARKET, 0, side, 0, lots, 0, 0, 0, 0]


def cancel(offset, lots, share=0):
    return [CANCEL, 0, 1, offset, lots, 0, 0, share, 0]


def place(agent, side, offset, lots, post_only=0):
    return [PLACE, agent, side, offset, lots, 0, 0, 0, post_only]


def reduce(agent, side, share=0):
    return [REDUCE, agent, side, 0, 0, 0, 0, share, 0]


def quote(agent, bid, bid_lots, ask, ask_lots, post_only=0):
    return [QUOTE, agent, 1, bid, bid_lots, ask, ask_lots, 0, post_only]


def take(agent, side, lots):
    return [AGENT_MARKET, agent, side, 0, lots, 0, 0, 0, 0]


def recentre():
    return [RECENTRE, 0, 1, 0, 0, 0, 0, 0, 0]


def level(side, offset, lots):
    return [SET, 0, side, offset, lots, 0, 0, 0, 0]


agents, sides, flags = st.integers(0, AGENTS - 1), st.sampled_from([1, -1]), st.integers(0, 1)
offsets = st.one_of(st.integers(-4, 4), st.integers(-WINDOW, WINDOW))
sizes = st.one_of(st.integers(1, 6), st.integers(1, 200))
shares = st.integers(0, 65535)
near = st.integers(-2, 2)


streams = st.lists(
    st.one_of(
        st.builds(limit, side=sides, offset=offsets, lots=sizes),
        st.builds(limit, side=sides, offset=near, lots=sizes),
        st.builds(market, side=sides, lots=sizes),
        st.builds(cancel, offset=offsets, lots=sizes, share=shares),
        st.builds(place, agent=agents, side=sides, offset=offsets, lots=sizes, post_only=flags),
        st.builds(place, agent=agents, side=sides, offset=near, lots=sizes, post_only=flags),
        st.builds(reduce, agent=agents, side=sides, share=shares),
        st.builds(
            quote, agent=agents, bid=offsets, bid_lots=st.integers(0, 200), ask=offsets,
            ask_lots=st.integers(0, 6), post_only=flags,
        ),
        st.builds(take, agent=agents, side=sides, lots=sizes),
        st.builds(recentre),
        st.builds(level, side=sides, offset=offsets, lots=sizes),
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip
policies = st.sampled_from(POLICIES)


def play(*commands, matching="fifo", self_trade="cancel_resting") -> Exchange:
    """The oracle after commands on both engines, which must agree."""
    reference = Reference(matching, self_trade)
    run(make_book(matching), reference, np.array(commands, np.int64))
    return reference.x


def fills_of(x: Exchange) -> list[tuple]:
    return [(f.maker, f.taker, f.side, f.px, f.qty) for f in x.fills]
