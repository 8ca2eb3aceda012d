"""A limit order book the obvious way: every order by itself in its price's queue, nothing aggregated, nothing fast.

It knows what an exchange knows: who came first. The price-level book of lobgraph.market.book must agree with it after
every message: lots at every price, best prices, each agent's place in its queue, every fill, every account. `lobgraph fuzz` and the test suite hold the two side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

NOISE = -1  # the owner of every order that is no agent's
PASSIVE, AGGRESSIVE = "passive", "aggressive"
# What becomes of an agent's order that meets its own resting one.
ALLOW, CANCEL_RESTING, CANCEL_INCOMING = "allow", "cancel_resting", "cancel_incoming"
CANCEL_BOTH, DECREMENT = "cancel_both", "decrement"


@dataclass
class Order:
    owner: int
    side: int  # +1 bid, -1 ask
    px: int
    qty: int


@dataclass(frozen=True)
class Fill:
    maker: int
    taker: int
    side: int  # +1: the taker buys
    px: int
    qty: int


class Account:
    """What an owner's fills add up to."""

    def __init__(self) -> None:
        self.inventory = self.cash = 0
        self.notional = {PASSIVE: 0, AGGRESSIVE: 0}
        self.bought = {PASSIVE: 0, AGGRESSIVE: 0}
        self.sold = {PASSIVE: 0, AGGRESSIVE: 0}

    def book(self, how: str, side: int, px: int, qty: int) -> None:
        self.inventory += side * qty
        self.cash -= side * qty * px
        self.notional[how] += qty * px
        (self.bought if side > 0 else self.sold)[how] += qty


class Exchange:
    """One book, first come first served. `self_trade`: what becomes of an agent's order that meets its own resting one.

    An exchange has a window of prices; `best` remembers the last best price of a side that is empty. The window is
    centred anew when the mid, after a best level has emptied, is within a quarter of its edge; orders outside are lost.
    """

    def __init__(self, window: int, bid: int, ask: int, agents: int) -> None:
        self.window = window
        self.queues: dict[int, dict[int, list[Order]]] = {1: {}, -1: {}}  # side -> price -> first come first
        self.best = {1: bid, -1: ask}
        self.low = (bid + ask) // 2 - window // 2
        self.own: dict[tuple[int, int], Order] = {}  # (agent, side) -> its resting order
        self.accounts = {owner: Account() for owner in (*range(agents), NOISE)}
        self.fills: list[Fill] = []
        self.added = self.cancelled = self.traded = self.dropped = 0
        self.signed = 0  # lots bought less lots sold by takers
        self.imbalance = 0  # lots that came to the best bid less those that left it, minus the ask's
        self.prevented = 0  # times that self-trade prevention stepped in
        self.lost: list[Order] = []  # agents' orders that left the window
        self.changed: set[tuple[int, int]] = (
            set()
        )  # (side, price) of queues that changed since somebody looked

    # --- what can be seen ---

    def level(self, px: int) -> list[Order]:
        """The queue at a price, whichever side it is on."""
        return self.queues[1].get(px) or self.queues[-1].get(px) or []

    def lots(self, px: int) -> int:
        return sum(order.qty for order in self.level(px))

    def noise(self, px: int) -> int:
        return sum(order.qty for order in self.level(px) if order.owner == NOISE)

    def ahead(self, order: Order) -> int:
        """Lots that trade before this order's first."""
        queue = self.queues[order.side][order.px]
        place = next(i for i, other in enumerate(queue) if other is order)
        return sum(other.qty for other in queue[:place])

    def side_of(self, px: int) -> int:
        return 1 if px <= self.best[1] else -1

    # --- orders ---

    def limit(self, side: int, px: int, qty: int) -> None:
        """A noise trader's limit order: what crosses trades, the rest rests."""
        _, qty = self._trade(NOISE, side, px, qty, ALLOW)
        if qty > 0:
            self._rest(Order(NOISE, side, px, qty))

    def market(self, owner: int, side: int, qty: int, self_trade: str = ALLOW) -> int:
        return self._trade(owner, side, None, qty, self_trade)[0]

    def place(self, agent: int, side: int, px: int, qty: int, self_trade: str, post_only: bool) -> None:
        """An agent's limit order. Post-only slides to the best price that does not trade."""
        if qty <= 0:
            return
        if post_only and self.queues[-side]:
            px = min(px, self.best[-1] - 1) if side > 0 else max(px, self.best[1] + 1)
        _, qty = self._trade(agent, side, px, qty, self_trade)
        if qty > 0:
            order = Order(agent, side, px, qty)
            if self._rest(order):
                self.own[agent, side] = order

    def reduce(self, agent: int, side: int, qty: int) -> None:
        """Cut an agent's order to qty lots, 0 cancels it; its place stays."""
        order = self.own.get((agent, side))
        if order is not None and qty < order.qty:
            self.cancelled += order.qty - qty
            if order.px == self.best[side]:
                self.imbalance -= side * (order.qty - qty)
            order.qty = qty
            self._tidy(side, order.px)

    def quote(
        self, agent: int, bid: tuple[int, int], ask: tuple[int, int], self_trade: str, post_only: bool
    ) -> None:
        """Replace both of an agent's orders by (px, qty). The same price with no more lots keeps its place."""
        wanted = {1: bid, -1: ask}
        for side, (px, qty) in wanted.items():
            order = self.own.get((agent, side))
            if order is not None:
                keeps = order.px == px and qty <= order.qty
                self.reduce(agent, side, qty if keeps else 0)
        for side, (px, qty) in wanted.items():
            if (agent, side) not in self.own:
                self.place(agent, side, px, qty, self_trade, post_only)

    def cancel_noise(self, px: int, qty: int, position: int) -> int:
        """Cancel qty noise lots at px, from number `position` among them on; at the queue's end go on at its front."""
        lots = [order for order in self.level(px) if order.owner == NOISE for _ in range(order.qty)]
        take = min(qty, len(lots))
        for i in range(take):
            lots[(position + i) % len(lots)].qty -= 1
        self.cancelled += take
        if take:
            side = self.side_of(px)
            if px == self.best[side]:
                self.imbalance -= side * take
            self._tidy(side, px)
        return take

    def set_noise(self, side: int, px: int, qty: int) -> bool:
        """A recorded level comes into view with qty noise lots: what is missing comes before everyone at the level."""
        inside = self.low <= px < self.low + self.window
        if not inside or (px - self.best[-side]) * side >= 0:
            return False
        missing = qty - self.noise(px)
        if missing < 0:
            self.cancel_noise(px, -missing, 0)
        elif missing > 0:
            self._rest(Order(NOISE, side, px, missing), first=True)
        return True

    def recentre(self) -> None:
        self.low = (self.best[1] + self.best[-1]) // 2 - self.window // 2
        for side in (1, -1):
            for px in [px for px in self.queues[side] if not self.low <= px < self.low + self.window]:
                self.changed.add((side, px))
                for order in self.queues[side].pop(px):
                    self.dropped += order.qty
                    if self.own.pop((order.owner, side), None) is not None:
                        self.lost.append(order)

    # --- the exchange's insides ---

    def _trade(self, taker: int, side: int, limit: int | None, qty: int, self_trade: str) -> tuple[int, int]:
        """Take the other side from its best price to `limit`, order by order. Returns lots traded, lots left to rest."""
        traded, left, prevents = 0, qty, taker != NOISE and self_trade != ALLOW
        while left > 0 and self.queues[-side]:
            px = self.best[-side]
            if limit is not None and (px - limit) * side > 0:
                break
            shares = self._shares(self.queues[-side][px], left)
            own = [order for order, _ in shares if order.owner == taker] if prevents else []
            if own:
                left = self._prevent(own[0], left, self_trade)
                continue
            for order, lots in shares:
                order.qty -= lots
                traded += lots
                left -= lots
                self._fill(Fill(order.owner, taker, side, px, lots))
            self._tidy(-side, px)
        return traded, left

    def _shares(self, queue: list[Order], qty: int) -> list[tuple[Order, int]]:
        """Who trades next of a level's queue, and how many lots of an incoming `qty`: the first in it. None gets 0."""
        return [(queue[0], min(queue[0].qty, qty))]

    def _prevent(self, resting: Order, incoming: int, self_trade: str) -> int:
        """An agent's order of `incoming` lots has met its own: cancel what the policy says. Returns lots that go on."""
        self.prevented += 1
        smaller = min(incoming, resting.qty)
        from_resting, from_incoming = {
            CANCEL_RESTING: (resting.qty, 0),
            CANCEL_INCOMING: (0, incoming),
            CANCEL_BOTH: (resting.qty, incoming),
            DECREMENT: (smaller, smaller),
        }[self_trade]
        self.reduce(resting.owner, resting.side, resting.qty - from_resting)
        return incoming - from_incoming

    def _fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.traded += fill.qty
        self.signed += fill.side * fill.qty
        self.imbalance += fill.side * fill.qty
        if fill.maker == fill.taker == NOISE:  # noise among itself is nobody's account
            return
        self.accounts[fill.maker].book(PASSIVE, -fill.side, fill.px, fill.qty)
        self.accounts[fill.taker].book(AGGRESSIVE, fill.side, fill.px, fill.qty)

    def _rest(self, order: Order, first: bool = False) -> bool:
        self.added += order.qty
        if not self.low <= order.px < self.low + self.window:
            self.dropped += order.qty
            return False
        queues, side = self.queues[order.side], order.side
        if (order.px - self.best[side]) * side >= 0:
            self.imbalance += side * order.qty
        if not queues or (order.px - self.best[side]) * side > 0:
            self.best[side] = order.px
        self.changed.add((side, order.px))
        queue = queues.setdefault(order.px, [])
        queue.insert(0 if first else len(queue), order)
        if (self.best[-side] - order.px) * side <= 0:  # it is empty: its old price is no longer possible
            self.best[-side] = order.px + side
        return True

    def _tidy(self, side: int, px: int) -> None:
        """Remove orders of no lots; when the best level has gone find the next and look after the window."""
        self.changed.add((side, px))
        queue = self.queues[side][px]
        for order in [order for order in queue if order.qty == 0]:
            queue[:] = [other for other in queue if other is not order]
            self.own.pop((order.owner, side), None)
        if queue:
            return
        del self.queues[side][px]
        if px != self.best[side]:
            return
        if self.queues[side]:
            self.best[side] = max(self.queues[side]) if side > 0 else min(self.queues[side])
        mid = (self.best[1] + self.best[-1]) // 2
        if not self.window // 4 <= mid - self.low <= self.window - self.window // 4:
            self.recentre()
