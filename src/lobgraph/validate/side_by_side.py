"""The price-level book and the per-order exchange behind the same commands: equal after every one of them, or a DifferenceError.

A stream is an array of commands with prices relative to the mid. Compared after each: lots at every price, best prices,
window, counters, every agent's order with its place in the queue, every account; and every fill, by who traded with whom,
at what price, how many lots. The book's come from its rows and its log, the exchange's from its queues.
"""

from __future__ import annotations

from struct import Struct

import numpy as np
from numba import njit

from ..market import book as bk
from ..market import state as ms
from ..market.params import MATCHINGS, SELF_TRADES
from .exchange import AGGRESSIVE, NOISE, PASSIVE, Exchange
from .exchange_pro_rata import ProRataExchange

WINDOW, AGENTS = 64, 4
SLOTS, ACCOUNTS = 2 * AGENTS, AGENTS + 1
START = (999, 1001)
EXCHANGES = {"fifo": Exchange, "pro_rata": ProRataExchange}
POLICIES = tuple(SELF_TRADES)
LIMIT, MARKET, CANCEL, PLACE, REDUCE, QUOTE, AGENT_MARKET, RECENTRE, SET = range(9)
# columns of a command; offsets are from the mid, the share is of 65536
KIND, AGENT, SIDE, OFFSET, LOTS, OFFSET2, LOTS2, SHARE, POST_ONLY = range(9)
COMMAND = 9
NAMES = ("limit", "market", "cancel", "place", "reduce", "quote", "take", "recentre", "level")
LOG_ROOM = (
    4 * WINDOW * (SLOTS + 2)
)  # entries that one command can make: it empties every level several times over

HEADER = (
    "bid", "ask", "low", "added", "cancelled", "traded", "dropped", "clipped", "signed", "unfilled", "volume",
    "order-flow imbalance",
)  # fmt: skip
ORDER = ("px", "rest", "ahead")
ACCOUNT = (
    "inventory", "cash", "passive notional", "aggressive notional",
    "passive bought", "passive sold", "aggressive bought", "aggressive sold",
)  # fmt: skip
FIRST_ORDER = len(HEADER)
FIRST_ACCOUNT = FIRST_ORDER + len(ORDER) * SLOTS
FIRST_SPLIT = FIRST_ACCOUNT + len(ACCOUNT) * ACCOUNTS
FIRST_LEVEL = FIRST_SPLIT + 4
COLUMNS = (
    *HEADER,
    *(f"order {s} {what}" for s in range(SLOTS) for what in ORDER),
    *(f"account {g} {what}" for g in range(ACCOUNTS) for what in ACCOUNT),
    "noise bid", "noise ask", "own bid", "own ask",
    *(f"lots at low + {i}" for i in range(WINDOW)),
)  # fmt: skip
ROW = Struct(f"{len(COLUMNS)}q")  # a list of numbers into bytes, twice as fast as numpy takes it
FILL = ("command", "side", "px", "taker", "maker", "lots")  # columns of a fill; side +1: the taker buys


class DifferenceError(AssertionError):
    """The book and the exchange do not agree; `command` is the first of the stream after which they do not."""

    def __init__(self, command: int, text: str) -> None:
        super().__init__(text)
        self.command = command


def make_book(matching: str) -> ms.Book:
    """An empty book as `step.book_of` would give it, with a log."""
    i32 = np.int32
    b = ms.Book(
        np.zeros(WINDOW, i32), np.zeros(ms.HEAD + ms.LOG * LOG_ROOM, np.int64), np.zeros(SLOTS, i32),
        np.zeros(SLOTS, i32), np.zeros(SLOTS, i32), np.zeros(SLOTS, i32), np.zeros((ACCOUNTS, ms.ACCOUNT), np.int64),
    )  # fmt: skip
    b.head[ms.MATCHING] = MATCHINGS[matching]
    b.head[ms.LOG_ROOM] = LOG_ROOM
    bk.clear.py_func(b, *START)
    b.head[ms.LOGGED] = 0
    return b


@njit(cache=True)
def replay(b, commands, self_trade, rows, fills):
    """Run commands (n, 9) through the book; what it looks like after each goes into rows (n, len(COLUMNS)).

    Its fills go into fills (room, 6), columns FILL; returns their number, which may be larger than the room. Stops, with
    the command's number below zero less one, where one command overflowed the log.
    """
    h = b.head
    w = b.qty.shape[0]
    count = 0
    for i in range(commands.shape[0]):
        c = commands[i]
        mid = (h[ms.BID] + h[ms.ASK]) >> 1
        px, side, lots, agent = mid + c[OFFSET], c[SIDE], c[LOTS], c[AGENT]
        slot = 2 * agent + (1 - side) // 2
        kind = c[KIND]
        h[ms.LOGGED] = 0
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
        if h[ms.LOGGED] > h[ms.LOG_ROOM]:
            return -1 - i
        owned = 0  # lots of the agents' orders in the trade whose LOG_TRADE follows their LOG_FILLs
        since = count
        for entry in range(h[ms.LOGGED]):
            log = h[h.shape[0] - ms.LOG * (LOG_ROOM - entry) :]
            if log[ms.LOG_KIND] == ms.LOG_FILL:
                if count < fills.shape[0]:
                    fills[count, 0], fills[count, 1], fills[count, 2] = i, -log[ms.LOG_SIDE], log[ms.LOG_PX]
                    fills[count, 4], fills[count, 5] = log[ms.LOG_WHO], log[ms.LOG_LOTS]
                owned += log[ms.LOG_LOTS]
                count += 1
            elif log[ms.LOG_KIND] == ms.LOG_TRADE:
                if log[ms.LOG_LOTS] != owned:
                    if count < fills.shape[0]:
                        fills[count, 0], fills[count, 1], fills[count, 2] = (
                            i,
                            -log[ms.LOG_SIDE],
                            log[ms.LOG_PX],
                        )
                        fills[count, 4], fills[count, 5] = NOISE, log[ms.LOG_LOTS] - owned
                    count += 1
                fills[since:count, 3] = log[ms.LOG_WHO]
                since, owned = count, 0
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
    return count


class Reference:
    """The exchange behind the same commands and the same rows.

    A row is the last one with what has changed since written anew: the queues that the exchange says it has touched, the
    accounts of the new fills. A change that it did not tell would show as a difference, never hide one.
    """

    def __init__(self, matching: str, self_trade: str) -> None:
        self.x = EXCHANGES[matching](WINDOW, *START, AGENTS)
        self.self_trade = self_trade
        self.clipped = self.unfilled = 0
        self.last = [0] * len(COLUMNS)
        self.low = self.x.low  # of `last`
        self.told = 0  # fills that `last` accounts for
        self.held: dict[tuple[int, int], tuple[int, int]] = {}  # (side, price) -> lots of noise, of agents

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

    def row(self) -> list[int]:
        """What the exchange looks like now, columns COLUMNS; changed in place by the next call."""
        x, row = self.x, self.last
        row[:FIRST_ORDER] = (
            x.best[1], x.best[-1], x.low, x.added, x.cancelled, x.traded, x.dropped, self.clipped, x.signed,
            self.unfilled, x.traded, x.imbalance,
        )  # fmt: skip
        new = x.fills[self.told :] if len(x.fills) > self.told else ()
        for owner in {who for f in new for who in (f.maker, f.taker)}:
            a = x.accounts[owner]
            at = FIRST_ACCOUNT + len(ACCOUNT) * (AGENTS if owner == NOISE else owner)
            row[at : at + len(ACCOUNT)] = (
                a.inventory, a.cash, a.notional[PASSIVE], a.notional[AGGRESSIVE],
                a.bought[PASSIVE], a.sold[PASSIVE], a.bought[AGGRESSIVE], a.sold[AGGRESSIVE],
            )  # fmt: skip
        self.told = len(x.fills)
        if x.changed or x.low != self.low:
            self._levels(row)
        return row

    def _levels(self, row: list[int]) -> None:
        """Write anew what rests at the prices that have changed, and move the levels where the window has moved."""
        x = self.x
        if x.low != self.low:
            row[FIRST_LEVEL:] = [0] * WINDOW
            for side, px in self.held.keys() - x.changed:
                row[FIRST_LEVEL + px - x.low] = sum(self.held[side, px])
            self.low = x.low
        for side, px in x.changed:
            for at in range(FIRST_ORDER + 3 * ((1 - side) // 2), FIRST_ACCOUNT, 6):
                if row[at] == px:
                    row[at : at + 3] = (0, 0, 0)
            if 0 <= px - x.low < WINDOW:
                row[FIRST_LEVEL + px - x.low] = 0
        for side, px in x.changed:
            noise = total = 0
            for order in x.queues[side].get(px, ()):
                if order.owner == NOISE:
                    noise += order.qty
                else:
                    at = FIRST_ORDER + 6 * order.owner + 3 * ((1 - side) // 2)
                    row[at : at + 3] = (px, order.qty, total)
                total += order.qty
            before = self.held.pop((side, px), (0, 0))
            k = FIRST_SPLIT + (1 - side) // 2
            row[k] += noise - before[0]
            row[k + 2] += total - noise - before[1]
            if total:
                self.held[side, px] = noise, total - noise
                row[FIRST_LEVEL + px - x.low] = total
        x.changed.clear()


def run(b: ms.Book, reference: Reference, commands: np.ndarray, where: str = "") -> int:
    """Run commands through both and compare every row and every fill; returns the number of fills.

    Raises DifferenceError at the first command after which the two are not equal, or lots or cash are not conserved.
    """
    commands = np.ascontiguousarray(commands, np.int64).reshape(-1, COMMAND)
    x = reference.x
    packed, ends = bytearray(), []
    x.fills.clear()
    reference.told = 0
    for command in commands.tolist():
        reference.apply(command)
        packed += ROW.pack(*reference.row())
        ends.append(len(x.fills))
    want = np.frombuffer(packed, np.int64).reshape(len(commands), len(COLUMNS))
    got = np.zeros_like(want)
    fills = np.zeros((2 * len(x.fills) + 16, len(FILL)), np.int64)
    count = replay(b, commands, SELF_TRADES[reference.self_trade], got, fills)
    if count < 0:
        raise DifferenceError(
            -1 - count, f"{where}command {-1 - count}: more than {LOG_ROOM} events in the book's log"
        )
    theirs = _grouped(np.array(
        [(f.side, f.px, f.taker, f.maker, f.qty) for f in x.fills], np.int64
    ).reshape(-1, 5), np.searchsorted(ends, np.arange(len(x.fills)), side="right"))  # fmt: skip
    ours = _grouped(fills[:count, 1:], fills[:count, 0])
    wrong = np.flatnonzero((got != want).any(axis=1))
    first = int(wrong[0]) if len(wrong) else len(commands)
    if count > len(fills) or not np.array_equal(ours, theirs):
        first = min(first, _first_unequal(ours, theirs))
    if first < len(commands):
        raise DifferenceError(
            first, where + _tell(first, commands[first].tolist(), got[first], want[first], ours, theirs)
        )
    check_conservation(b, want, where)
    return len(x.fills)


def _grouped(fills: np.ndarray, command: np.ndarray) -> np.ndarray:
    """Fills (n, 5), columns FILL[1:], of these commands as rows of FILL, sorted; lots of one maker at one price are added.

    An agent has one order at a price, so that its fills stay single; of the noise traders the book does not know the orders.
    """
    key, lots = np.column_stack([command, fills[:, :4]]), fills[:, 4]
    order = np.lexsort(key.T[::-1])
    key, lots = key[order], lots[order]
    new = np.ones(len(key), bool)
    new[1:] = (key[1:] != key[:-1]).any(axis=1)
    at = np.flatnonzero(new)
    return np.column_stack([key[at], np.add.reduceat(lots, at) if len(at) else lots[:0]])


def _first_unequal(ours: np.ndarray, theirs: np.ndarray) -> int:
    n = min(len(ours), len(theirs))
    different = np.flatnonzero((ours[:n] != theirs[:n]).any(axis=1))
    if len(different):
        return int(min(ours[different[0], 0], theirs[different[0], 0]))
    return int((ours if len(ours) > n else theirs)[n, 0])


def _tell(
    i: int, command: list[int], got: np.ndarray, want: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> str:
    wrong = {COLUMNS[j]: (int(got[j]), int(want[j])) for j in np.flatnonzero(got != want)}
    text = f"command {i} {NAMES[command[KIND]]} {command}: (book, oracle) {wrong}"
    mine, its = (f[f[:, 0] == i, 1:].tolist() for f in (ours, theirs))
    return text if mine == its else f"{text}; fills {FILL[1:]}: book {mine}, oracle {its}"


def check_conservation(b: ms.Book, rows: np.ndarray, where: str = "") -> None:
    """Lots and cash: nothing comes from nowhere, and no side stands through the other."""
    levels = rows[:, FIRST_LEVEL:].sum(axis=1)
    added, cancelled, traded, dropped = rows[:, 3:7].T
    faults = {
        "lots are not conserved": levels != added - cancelled - traded - dropped,
        "crossed": rows[:, 0] >= rows[:, 1],
    }
    for says, bad in faults.items():
        if bad.any():
            raise DifferenceError(int(np.argmax(bad)), f"{where}command {int(np.argmax(bad))}: {says}")
    accounts = b.account[:, [ms.INVENTORY, ms.CASH]].sum(axis=0)
    if accounts.any() or min((a.min() for a in (b.rest, b.ahead, b.qty)), default=0) < 0:
        raise DifferenceError(
            len(rows) - 1, f"{where}lots or cash of all accounts do not add up to nothing: {accounts}"
        )
