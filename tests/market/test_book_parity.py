"""The price-level book against the per-order exchange of tests/oracle: equal after every message, to the lot.

Streams are arrays of commands with prices relative to the mid, run through both. Compared after each: lots at every
price, best prices, window, counters, every agent's order with its place in the queue, every account (from the fills).
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from lobgraph.market import book as bk
from lobgraph.market import state as ms
from oracle.fifo import AGGRESSIVE, NOISE, PASSIVE, Exchange

WINDOW, AGENTS = 64, 4
SLOTS, ACCOUNTS = 2 * AGENTS, AGENTS + 1
START = (999, 1001)
LIMIT, MARKET, CANCEL, PLACE, REDUCE, QUOTE, AGENT_MARKET, RECENTRE, SET = range(9)
# columns of a command; offsets are from the mid, the share is of 65536
KIND, AGENT, SIDE, OFFSET, LOTS, OFFSET2, LOTS2, SHARE, POST_ONLY = range(9)

HEAD = [ms.BID, ms.ASK, ms.LOW, ms.ADDED, ms.CANCELLED, ms.TRADED, ms.DROPPED, ms.CLIPPED, ms.SIGNED]
COLUMNS = (
    ["bid", "ask", "low", "added", "cancelled", "traded", "dropped", "clipped", "signed"]
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


def make_book() -> ms.Book:
    """An empty book as `step.book_of` would give it."""
    i32 = np.int32
    b = ms.Book(
        np.zeros(WINDOW, i32), np.zeros(ms.HEAD, np.int64), np.zeros(SLOTS, i32), np.zeros(SLOTS, i32),
        np.zeros(SLOTS, i32), np.zeros(SLOTS, i32), np.zeros((ACCOUNTS, ms.ACCOUNT), np.int64),
    )  # fmt: skip
    bk.clear.py_func(b, *START)
    return b


@njit(cache=True)
def replay(b, commands, prevent, rows):
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
            far = h[ms.LOW] + (w if side > 0 else -1)
            bk.sweep(b, side, far, lots, bk.NOBODY, 0)
        elif kind == CANCEL:
            inside = h[ms.LOW] <= px < h[ms.LOW] + w
            noise = bk.noise_at(b, px) if inside else 0
            bk.cancel_noise(b, px, lots if inside else 0, (c[SHARE] * noise) >> 16)
        elif kind == PLACE:
            if b.rest[slot] == 0:
                bk.place(b, slot, px, lots, prevent, c[POST_ONLY])
        elif kind == REDUCE:
            bk.reduce_order(b, slot, (b.rest[slot] * c[SHARE]) >> 16)
        elif kind == QUOTE:
            bk.quote(b, agent, px, lots, mid + c[OFFSET2], c[LOTS2], prevent, c[POST_ONLY])
        elif kind == AGENT_MARKET:
            bk.market(b, agent, side * lots, prevent)
        elif kind == RECENTRE:
            bk.recentre(b)
        elif kind == SET:
            bk.set_noise(b, side, px, lots)
        row = rows[i]
        at = 0
        for column in (
            ms.BID, ms.ASK, ms.LOW, ms.ADDED, ms.CANCELLED, ms.TRADED, ms.DROPPED, ms.CLIPPED, ms.SIGNED,
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


class Reference:
    """The oracle behind the same commands and the same rows."""

    def __init__(self, prevent: bool) -> None:
        self.x = Exchange(WINDOW, *START, AGENTS)
        self.prevent = prevent
        self.clipped = 0

    def apply(self, command: list[int]) -> None:
        x = self.x
        kind, agent, side, offset, lots, offset2, lots2, share, post_only = command
        mid = (x.best[1] + x.best[-1]) // 2
        px = mid + offset
        if kind == LIMIT:
            x.limit(side, px, lots)
        elif kind == MARKET:
            x.market(NOISE, side, lots)
        elif kind == CANCEL:
            x.cancel_noise(px, lots, share * x.noise(px) >> 16)
        elif kind == PLACE and (agent, side) not in x.own:
            x.place(agent, side, px, lots, self.prevent, bool(post_only))
        elif kind == REDUCE and (agent, side) in x.own:
            x.reduce(agent, side, x.own[agent, side].qty * share >> 16)
        elif kind == QUOTE:
            x.quote(agent, (px, lots), (mid + offset2, lots2), self.prevent, bool(post_only))
        elif kind == AGENT_MARKET:
            x.market(agent, side, lots, self.prevent)
        elif kind == RECENTRE:
            x.recentre()
        elif kind == SET and not x.set_noise(side, px, lots):
            self.clipped += lots

    def row(self) -> list[int]:
        x = self.x
        row = [x.best[1], x.best[-1], x.low, x.added, x.cancelled]
        row += [x.traded, x.dropped, self.clipped, x.signed]
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


def run(b: ms.Book, reference: Reference, commands: np.ndarray) -> None:
    """Run commands through both and compare every row; names the first command and column that differ."""
    commands = np.ascontiguousarray(commands, np.int64)
    got = np.zeros((len(commands), len(COLUMNS)), np.int64)
    replay(b, commands, int(reference.prevent), got)
    rows = []
    for command in commands.tolist():
        reference.apply(command)
        rows.append(reference.row())
    want = np.array(rows, np.int64).reshape(got.shape)
    for i in np.flatnonzero((got != want).any(axis=1))[:1]:
        wrong = {COLUMNS[j]: (int(got[i, j]), int(want[i, j])) for j in np.flatnonzero(got[i] != want[i])}
        pytest.fail(f"command {i} {commands[i].tolist()}: (book, oracle) {wrong}")
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


def random_commands(rng: np.random.Generator, n: int) -> np.ndarray:
    """Commands of one mood: building, draining, trending, sweeping, or all agents."""
    weights = {
        "build": [8, 1, 3, 3, 2, 2, 1, 0.2, 0.5],
        "drain": [2, 4, 6, 1, 3, 1, 3, 0.2, 0.2],
        "trend": [6, 3, 3, 2, 1, 2, 1, 1, 0.2],
        "sweep": [6, 2, 2, 2, 1, 1, 2, 0.2, 0.2],
        "agents": [2, 1, 3, 6, 4, 5, 3, 0.1, 0.2],
    }
    mood = rng.choice(list(weights))
    c = np.zeros((n, 9), np.int64)
    p = np.array(weights[mood]) / sum(weights[mood])
    c[:, KIND] = rng.choice(9, n, p=p)
    c[:, AGENT] = rng.integers(0, AGENTS, n)
    buy = 0.5 + (rng.choice([-0.25, 0.25]) if mood == "trend" else 0.0)
    c[:, SIDE] = np.where(rng.random(n) < buy, 1, -1)
    width = rng.choice([1.5, 4.0, 12.0])
    around = np.round(rng.normal(0, width, n)).astype(np.int64)
    behind = -c[:, SIDE] * np.abs(np.round(rng.normal(0, width, n)).astype(np.int64))  # on its own side
    far = rng.integers(-WINDOW, WINDOW, n)
    which = rng.random(n)
    c[:, OFFSET] = np.where(which < 0.7, behind, np.where(which < 0.97, around, far))
    quote = c[:, KIND] == QUOTE
    c[quote, OFFSET] = -np.abs(c[quote, OFFSET])
    c[:, OFFSET2] = np.abs(np.round(rng.normal(0, width, n))) + (rng.random(n) < 0.95)
    c[:, LOTS] = rng.geometric(0.3, n)
    c[:, LOTS2] = rng.geometric(0.3, n) - 1
    big = rng.random(n) < (0.1 if mood == "sweep" else 0.005)
    c[big, LOTS] *= rng.integers(10, 60, big.sum())
    c[:, SHARE] = rng.integers(0, 1 << 16, n)
    c[(c[:, KIND] == REDUCE) & (rng.random(n) < 0.3), SHARE] = 0
    c[:, POST_ONLY] = rng.random(n) < 0.4
    return c


def stream(seed: int, commands: int, chunk: int = 500) -> None:
    rng = np.random.default_rng(seed)
    reference, b = Reference(prevent=bool(seed % 2)), make_book()
    for _ in range(commands // chunk):
        run(b, reference, random_commands(rng, chunk))
    fills = reference.x.fills
    owners = {(f.maker != NOISE, f.taker != NOISE) for f in fills}
    assert owners == {(m, t) for m in (False, True) for t in (False, True)}, "a kind of trade is missing"
    assert reference.x.dropped > 0
    assert reference.prevent or any(f.maker == f.taker != NOISE for f in fills)


@pytest.mark.parametrize("seed", range(10))
def test_random_streams(seed):
    stream(seed, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_long_random_streams(seed):
    stream(seed, 60_000)


side = st.sampled_from([1, -1])
command = st.tuples(
    st.sampled_from([LIMIT] * 4 + [MARKET, CANCEL, CANCEL, PLACE, PLACE, REDUCE, QUOTE, AGENT_MARKET, RECENTRE, SET]),
    st.integers(0, AGENTS - 1),
    side,
    st.one_of(st.integers(-4, 4), st.integers(-WINDOW, WINDOW)),
    st.one_of(st.integers(1, 6), st.integers(1, 200)),
    st.integers(-4, 4),
    st.integers(0, 6),
    st.integers(0, 65535),
    st.integers(0, 1),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(command, min_size=1, max_size=40), st.booleans())
@example([], True)
def test_any_stream(commands, prevent):
    run(make_book(), Reference(prevent), np.array(commands, np.int64).reshape(-1, 9))


@pytest.mark.slow
@settings(max_examples=5_000, deadline=None)
@given(st.lists(command, min_size=1, max_size=80), st.booleans())
def test_any_stream_at_length(commands, prevent):
    run(make_book(), Reference(prevent), np.array(commands, np.int64).reshape(-1, 9))


# --- cases worked by hand: the oracle itself must be right, too ---


def limit(side, offset, lots):
    return [LIMIT, 0, side, offset, lots, 0, 0, 0, 0]


def place(agent, side, offset, lots, post_only=0):
    return [PLACE, agent, side, offset, lots, 0, 0, 0, post_only]


def play(*commands, prevent=True) -> Exchange:
    """The oracle after commands on both engines, which must agree."""
    reference = Reference(prevent)
    run(make_book(), reference, np.array(commands, np.int64))
    return reference.x


def fills_of(x: Exchange) -> list[tuple]:
    return [(f.maker, f.taker, f.side, f.px, f.qty) for f in x.fills]


def test_first_come_first_served():
    """Noise 5, agent 0's 3, agent 1's 2, noise 4 at one bid: a sale of 9 fills them in that order."""
    x = play(
        limit(1, -1, 5),
        place(0, 1, -1, 3),
        place(1, 1, -1, 2),
        limit(1, -1, 4),
        [MARKET, 0, -1, 0, 9, 0, 0, 0, 0],
    )
    assert fills_of(x) == [(NOISE, NOISE, -1, 999, 5), (0, NOISE, -1, 999, 3), (1, NOISE, -1, 999, 1)]
    assert x.ahead(x.own[1, 1]) == 0
    assert x.own[1, 1].qty == 1
    assert x.accounts[0].inventory == 3
    assert x.accounts[0].cash == -3 * 999
    assert x.accounts[NOISE].inventory == -4  # 5 of the 9 lots were noise among itself


def test_marketable_limit_trades_then_rests():
    x = play(limit(-1, 1, 4), limit(-1, 2, 4), limit(-1, 3, 4), place(2, 1, 2, 10))
    assert fills_of(x) == [(NOISE, 2, 1, 1001, 4), (NOISE, 2, 1, 1002, 4)]
    assert (x.own[2, 1].px, x.own[2, 1].qty) == (1002, 2)
    assert x.best == {1: 1002, -1: 1003}


def test_post_only_slides_and_never_takes():
    x = play(
        limit(-1, 1, 4), limit(1, -1, 4), place(0, 1, 3, 2, post_only=1), place(1, -1, -5, 2, post_only=1)
    )
    assert fills_of(x) == []
    assert (x.own[0, 1].px, x.own[1, -1].px) == (1000, 1001)


def test_noise_cancel_takes_its_run_of_noise_lots_only():
    """Queue: 3 noise, agent 0's 2, 3 noise. Lots 4, 5, 0 (a run from number 4, wrapping) go: one of them ahead."""
    share = (4 << 16) // 6 + 1
    x = play(limit(1, -1, 3), place(0, 1, -1, 2), limit(1, -1, 3), [CANCEL, 0, 1, -1, 3, 0, 0, share, 0])
    assert x.ahead(x.own[0, 1]) == 2
    assert x.lots(999) == 5


def test_reducing_keeps_the_place_and_requeuing_loses_it():
    quotes = [QUOTE, 0, 1, -1, 4, 1, 0, 0, 0]
    fewer, more = [QUOTE, 0, 1, -1, 2, 1, 0, 0, 0], [QUOTE, 0, 1, -1, 5, 1, 0, 0, 0]
    x = play(quotes, limit(1, -1, 3), fewer)
    assert (x.own[0, 1].qty, x.ahead(x.own[0, 1])) == (2, 0)
    x = play(quotes, limit(1, -1, 3), more)
    assert (x.own[0, 1].qty, x.ahead(x.own[0, 1])) == (5, 3)


def test_self_trade():
    """An agent buys through its own ask: cancelled with `cancel_resting`, traded with `allow`."""
    commands = [limit(-1, 1, 1), place(0, -1, 1, 3), limit(-1, 1, 2), [AGENT_MARKET, 0, 1, 0, 5, 0, 0, 0, 0]]
    x = play(*commands, prevent=True)
    assert fills_of(x) == [(NOISE, 0, 1, 1001, 1), (NOISE, 0, 1, 1001, 2)]
    x = play(*commands, prevent=False)
    assert fills_of(x) == [(NOISE, 0, 1, 1001, 1), (0, 0, 1, 1001, 3), (NOISE, 0, 1, 1001, 1)]
    assert x.accounts[0].inventory == 2


def test_what_leaves_the_window_is_dropped():
    """The mid climbs 30 ticks in a window of 64: the agent's bid far below is lost, and counted."""
    climb = [c for i in range(6) for c in (limit(-1, 6, 1), [MARKET, 0, 1, 0, 1, 0, 0, 0, 0], limit(1, 4, 1))]
    x = play(limit(1, -1, 1), place(0, 1, -30, 7), *climb, [RECENTRE, 0, 1, 0, 0, 0, 0, 0, 0])
    assert (0, 1) not in x.own
    assert x.dropped >= 7
