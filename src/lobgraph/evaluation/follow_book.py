"""A book followed event by event by its log: levels, best prices, the agents' orders and what stands before them.

In: the book as it began and the entries of its log. Out: a row for each entry; every order of an agent with its way through
the queue; every fill with who was on the other side. Written apart from the kernels and slowly, it must come to what they
came to: fills and places in the queue are compared with the log, best prices and places with the state after every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..market.state import (
    ASK,
    BID,
    LOG_CANCEL,
    LOG_CLEAR,
    LOG_DROP,
    LOG_FILL,
    LOG_REST,
    LOG_TRADE,
    LOW,
)

NOBODY = -1
ORDER, CANCEL, FILL, TRADE, DROP = "order", "cancel", "fill", "trade", "drop"
KIND = {LOG_REST: ORDER, LOG_CANCEL: CANCEL, LOG_FILL: FILL, LOG_TRADE: TRADE, LOG_DROP: DROP}


@dataclass
class Move:
    """What changed the lots before an order."""

    ns: int
    why: str  # "trade", "cancel", or "view": recorded lots that came into view count as before it
    lots: int  # by which `ahead` fell
    who: str  # whose order traded or was cancelled
    total: int  # lots of that trade or cancel


@dataclass
class Order:
    """An agent's order that came to rest."""

    number: int
    book: int
    agent: int
    side: int  # +1 bid, -1 ask
    px: int  # ticks
    lots: int  # when it came to rest
    ns: int
    step: int
    before: int  # lots before it when it came to rest
    mid: float  # ticks, then
    ahead: int = 0  # lots before it now
    rest: int = 0
    filled: int = 0
    moves: list[Move] = field(default_factory=list)
    path: list[tuple[int, int, int]] = field(default_factory=list)  # (ns, ahead, rest) whenever one changed
    end_ns: int = -1  # -1: it rests still
    end: str = "resting"  # "filled", "cancelled", "limit", "liquidated", "dropped"

    def mark(self, ns: int) -> None:
        self.path.append((ns, self.ahead, self.rest))


@dataclass
class Fill:
    """Lots that an agent traded with one other party at one price in one event."""

    book: int
    ns: int
    step: int
    agent: int
    side: int  # +1 bought, -1 sold
    px: int
    lots: int
    passive: bool
    other: str  # counterparty: an agent's name, noise, recorded, fat_finger
    order: Order | None  # the resting order that was filled
    ahead: int  # lots before it when the trade came; 0 for an incoming order
    traded: int  # lots of the trade at this level
    mid: float  # when the incoming order arrived
    mid_after: float  # after the trade at this level
    note: str  # "liquidated"
    row: int  # of the book's events
    number: int = -1


@dataclass
class Event:
    """An entry of the log, told: what rests, goes or trades, and the best prices after it."""

    ns: int
    step: int
    kind: str
    who: str
    side: int
    px: int
    lots: int
    place: int  # lots before it in the queue; of a cancel of the noise noise lots alone; -1: none
    order: int  # number of the agent's order it is about; -1: none
    other: str  # of a fill: whose incoming order
    note: str  # "limit", "liquidated", "crosses": the rest of an incoming order
    bid: int
    ask: int


class MismatchError(RuntimeError):
    """The log and the book do not agree: a fault of this package."""


class BookFollower:
    """One book, moved on by the entries of its log."""

    def __init__(
        self,
        book: int,
        qty: np.ndarray,
        head: np.ndarray,
        names: list[str],
        orders: list[Order],
        fills: list[Fill],
        pro_rata: bool = False,
        recorded: bool = False,
        limited: Iterable[int] = (),
    ) -> None:
        self.book, self.names, self.pro_rata, self.recorded = book, names, pro_rata, recorded
        self.orders, self.fills = orders, fills  # of all books, appended to
        self.limited = frozenset(
            limited
        )  # agents of whose cuts as a step begins the log tells that a limit made them
        self.noise = "recorded" if recorded else "noise"
        low, w = int(head[LOW]), len(qty)
        self.best = [int(head[BID]), int(head[ASK])]
        self.level = {px: int(qty[px & (w - 1)]) for px in range(low, low + w) if qty[px & (w - 1)]}
        self.lots = [
            sum(v for px, v in self.level.items() if px <= self.best[0]),
            sum(v for px, v in self.level.items() if px >= self.best[1]),
        ]
        self.live: dict[tuple[int, int], Order] = {}  # (agent, side) -> the one that rests
        self.events: list[Event] = []
        self.mids: list[tuple[int, float]] = []  # (ns, mid) whenever it changed
        self._arrived: tuple[int, int, int, float] = (
            -1,
            NOBODY,
            0,
            0.0,
        )  # last incoming order: ns, who, side, mid

    @property
    def mid(self) -> float:
        return 0.5 * (self.best[0] + self.best[1])

    def step(
        self,
        step: int,
        start_ns: int,
        end_ns: int,
        entries: np.ndarray,
        struck: tuple[str, ...] = (),
        ended: Iterable[int] = (),
    ) -> None:
        """Follow the entries of one step. `struck`: kinds of events that began in it; `ended`: agents whose episode did."""
        pending: dict[tuple[int, int], tuple[int, int, int]] = {}  # (agent, side) -> lots, place, row
        ended = frozenset(ended)
        if not self.mids:
            self.mids.append((start_ns, self.mid))
        for at, kind, side, px, lots, place, who in entries.tolist():
            opening = at <= start_ns  # before any message or event of the flow
            ns = max(at, start_ns)
            name = self._name(who, kind, opening, struck)
            note = ""
            if who in ended and at >= end_ns - 1:
                note = "liquidated"
            elif who in self.limited and kind == LOG_CANCEL and opening:
                note = "limit"
            order = -1
            if kind == LOG_FILL:
                pending[who, side] = (lots, place, len(self.events))
                order = self._resting(who, side, px).number
            elif kind == LOG_TRADE:
                self._trade(ns, step, side, px, lots, who, name, note, pending)
                pending = {}
                place = -1
            elif kind == LOG_REST:
                order = self._rest(ns, step, side, px, lots, place, who)
                a = self._arrived
                if (
                    a[0] == ns
                    and a[1] == who
                    and a[2] == side
                    and self.events
                    and self.events[-1].kind == TRADE
                ):
                    note = "crosses"
            elif kind == LOG_CANCEL:
                order = self._cancel(ns, side, px, lots, place, who, name, note)
            elif kind == LOG_DROP:
                self._drop(ns, side, px)
                place = -1
            elif kind == LOG_CLEAR:
                raise MismatchError(f"book {self.book}: made anew within an episode, step {step}")
            self.events.append(
                Event(ns, step, KIND[kind], name, side, px, lots, place, order, "", note, *self.best)
            )
            if self.mid != self.mids[-1][1]:
                self.mids.append((ns, self.mid))

    def check(self, bid: int, ask: int, ahead: np.ndarray, ns: int) -> None:
        """Compare with the state after a step: best prices, and the lots before each order (S,)."""
        if self.best != [bid, ask]:
            raise MismatchError(f"book {self.book}: best prices {self.best}, by the kernels {[bid, ask]}")
        for (agent, side), order in self.live.items():
            true = int(ahead[2 * agent + ((1 - side) >> 1)])
            if true != order.ahead:
                self._came_into_view(order, true, ns)

    def _name(self, who: int, kind: int, opening: bool, struck: tuple[str, ...]) -> str:
        """Who did it: an agent, the flow or the tape, or an event that began with the step."""
        if who >= 0:
            return self.names[who]
        if opening and kind == LOG_TRADE and "fat_finger" in struck:
            return "fat_finger"
        if opening and kind == LOG_CANCEL and "drought" in struck:
            return "drought"
        return self.noise

    def _resting(self, agent: int, side: int, px: int) -> Order:
        order = self.live.get((agent, side))
        if order is None or order.px != px:
            raise MismatchError(f"book {self.book}: {self.names[agent]} has no order at {px}")
        return order

    def _at(self, px: int) -> list[Order]:
        return [o for o in self.live.values() if o.px == px]

    def _rest(self, ns: int, step: int, side: int, px: int, lots: int, place: int, who: int) -> int:
        k = (1 - side) >> 1
        mid = self.mid
        empty = self.lots[k] == 0
        self.level[px] = self.level.get(px, 0) + lots
        self.lots[k] += lots
        if empty or (px - self.best[k]) * side >= 0:
            self.best[k] = px
        if (self.best[1 - k] - px) * side <= 0:  # the other side is empty: its last price gives way
            self.best[1 - k] = px + side
        if who < 0 or lots == 0:
            return -1
        order = Order(len(self.orders), self.book, who, side, px, lots, ns, step, place, mid, place, lots)
        order.mark(ns)
        self.orders.append(order)
        self.live[who, side] = order
        return order.number

    def _trade(
        self, ns: int, step: int, side: int, px: int, lots: int, who: int, name: str, note: str,
        pending: dict[tuple[int, int], tuple[int, int, int]],
    ) -> None:  # fmt: skip
        """An incoming order takes `lots` of a level; `pending`: what the log says of it for each agent's order."""
        mid = self.mid
        if self._arrived[:3] == (ns, who, -side):
            mid = self._arrived[3]  # one order that goes through several levels
        self._arrived = (ns, who, -side, mid)
        mine = self._at(px)
        for order in mine:
            if (order.agent, order.side) in pending:
                true = pending[order.agent, order.side][1]
                if order.ahead != true:
                    self._came_into_view(order, true, ns)
        shares, shift, front = self._allot(px, lots, mine)
        first = len(self.fills)
        taken = 0
        for order, share, gone in zip(mine, shares, shift, strict=True):
            place = order.ahead
            left = place - gone
            take = share + min(max(front - left, 0), order.rest - share)
            told, _, row = pending.get((order.agent, order.side), (0, 0, -1))
            if take != told and not (self.recorded and told == 0):
                raise MismatchError(
                    f"book {self.book}, step {step}: {take} lots of order {order.number} trade, {told} by the log"
                )
            order.ahead = max(left - front, 0)
            if place != order.ahead:
                order.moves.append(Move(ns, "trade", place - order.ahead, name, lots))
            if told:
                order.rest -= told
                order.filled += told
                taken += told
                self.events[row].other = name
                self.fills.append(
                    Fill(
                        self.book,
                        ns,
                        step,
                        order.agent,
                        side,
                        px,
                        told,
                        True,
                        name,
                        order,
                        place,
                        lots,
                        mid,
                        0.0,
                        "",
                        row,
                    )
                )
            if order.rest == 0:
                self._end(order, ns, "filled")
            elif place != order.ahead or told:
                order.mark(ns)
        if who >= 0:
            parties = [(self.names[f.agent], f.lots) for f in self.fills[first:]]
            if lots > taken:
                parties.append((self.noise, lots - taken))
            row = len(self.events)
            self.fills += [
                Fill(self.book, ns, step, who, -side, px, n, False, party, None, 0, lots, mid, 0.0, note, row)
                for party, n in parties
            ]
        self._remove(side, px, lots)
        for fill in self.fills[first:]:
            fill.mid_after = self.mid

    def _allot(self, px: int, lots: int, mine: list[Order]) -> tuple[list[int], list[int], int]:
        """Pro rata: each order's part, the lots before it that other parts take, and what is left for time order.
        FIFO: no parts, all in time order."""
        if not self.pro_rata:
            return [0] * len(mine), [0] * len(mine), lots
        total = self.level[px]
        noise = lots * (total - sum(o.rest for o in mine)) // total
        shares = [lots * o.rest // total for o in mine]
        shift = []
        for order in mine:
            earlier = [(o, s) for o, s in zip(mine, shares, strict=True) if o.ahead < order.ahead]
            noise_ahead = order.ahead - sum(o.rest for o, _ in earlier)
            shift.append(sum(s for _, s in earlier) + min(noise_ahead, noise))
        return shares, shift, lots - noise - sum(shares)

    def _cancel(
        self, ns: int, side: int, px: int, lots: int, place: int, who: int, name: str, note: str
    ) -> int:
        mine = self._at(px)
        number = -1
        if who >= 0:
            own = self._resting(who, side, px)
            number = own.number
            for order in mine:
                if order.ahead > own.ahead:
                    order.ahead -= lots
                    order.moves.append(Move(ns, CANCEL, lots, name, lots))
                    order.mark(ns)
            own.rest -= lots
            if own.rest == 0:
                self._end(own, ns, note or "cancelled")
            else:
                own.mark(ns)
        elif mine:
            noise = self.level[px] - sum(o.rest for o in mine)
            falls = []
            for order in mine:
                before = order.ahead - sum(o.rest for o in mine if o.ahead < order.ahead)
                gone = max(min(place + lots, before) - place, 0) + max(min(place + lots - noise, before), 0)
                falls.append(gone)
            for order, gone in zip(mine, falls, strict=True):
                if gone:
                    order.ahead -= gone
                    order.moves.append(Move(ns, CANCEL, gone, name, lots))
                    order.mark(ns)
        self._remove(side, px, lots)
        return number

    def _drop(self, ns: int, side: int, px: int) -> None:
        for order in self._at(px):
            order.rest = 0
            self._end(order, ns, "dropped")
        self.lots[(1 - side) >> 1] -= self.level.pop(px, 0)

    def _end(self, order: Order, ns: int, how: str) -> None:
        order.end_ns, order.end = ns, how
        order.mark(ns)
        del self.live[order.agent, order.side]

    def _came_into_view(self, order: Order, true: int, ns: int) -> None:
        """A recorded level whose lots came into view counts as before the agents' orders there; the log does not say so."""
        if not self.recorded:
            raise MismatchError(
                f"book {self.book}: {order.ahead} lots before order {order.number}, {true} by the kernels"
            )
        order.moves.append(Move(ns, "view", order.ahead - true, self.noise, 0))
        order.ahead = true
        order.mark(ns)

    def _remove(self, side: int, px: int, lots: int) -> None:
        """Lots leave a level; the best price follows where it was its last."""
        k = (1 - side) >> 1
        left = self.level[px] - lots
        self.lots[k] -= lots
        if left:
            self.level[px] = left
            return
        del self.level[px]
        if px == self.best[k] and self.lots[k] > 0:
            while self.best[k] not in self.level:
                self.best[k] -= side
