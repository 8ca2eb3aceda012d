"""Random and chosen streams of commands for the price-level book beside the per-order exchange, and what happened in them.

The two stand side by side in lobgraph.validate.side_by_side, where `lobgraph fuzz` drives them too; here is what the tests
add: a count of what occurs, commands by name, streams for hypothesis.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import strategies as st

from lobgraph.validate.exchange import NOISE, Exchange, Order
from lobgraph.validate.side_by_side import (
    AGENT_MARKET,
    AGENTS,
    CANCEL,
    LIMIT,
    MARKET,
    PLACE,
    POLICIES,
    QUOTE,
    RECENTRE,
    REDUCE,
    SET,
    WINDOW,
    Reference,
    make_book,
    run,
)
from lobgraph.validate.streams import random_commands

EVENTS = (
    "noise takes from noise", "noise takes from agent", "agent takes from noise", "agent takes from agent",
    "self-trade", "self-trade prevented", "trade at a level of several agents", "trade shared, level not emptied",
    "trade at the window's edge", "side emptied", "emptied level refilled", "window moved",
    "window moved, agents' orders lost", "window moved, agents' orders kept",
    "marketable limit rests what is left", "post-only order slides", "order joins agents' queue",
    "order reduced", "order cancelled", "quote kept", "quote replaced",
    "noise cancelled ahead of an agent", "noise cancelled behind agents",
)  # fmt: skip


class Counting(Reference):
    """A Reference that counts what happens, by name."""

    def __init__(self, matching: str, self_trade: str) -> None:
        super().__init__(matching, self_trade)
        self.events = Counter(dict.fromkeys(EVENTS, 0))
        self.emptied: set[int] = set()  # prices where a trade took the last lot, until lots rest there again

    def apply(self, command: list[int]) -> None:
        """Tell from before and after what happened."""
        x = self.x
        kind, agent, side, offset, *_, post_only = command
        asked = (x.best[1] + x.best[-1]) // 2 + offset
        fills, low, lost, prevented = len(x.fills), x.low, len(x.lost), x.prevented
        orders = {key: (order, order.px, order.qty, x.ahead(order)) for key, order in x.own.items()}
        occupied = Counter((k[1], order.px) for k, order in x.own.items())
        held = {s: bool(x.queues[s]) for s in (1, -1)}
        super().apply(command)
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


def stream(matching: str, seed: int, commands: int, chunk: int = 500) -> Counter[str]:
    """A random stream through both, in moods of `chunk` commands; the seed also chooses the self-trade policy.

    Returns how often each of EVENTS occurred.
    """
    rng = np.random.default_rng(seed)
    reference, b = Counting(matching, POLICIES[seed % len(POLICIES)]), make_book(matching)
    for i in range(commands // chunk):
        run(b, reference, random_commands(rng, chunk), f"{matching} seed {seed} chunk {i} ")
    assert set(reference.events) == set(EVENTS)
    return reference.events


def long_streams(matching: str) -> Counter[str]:
    """1.2 million random commands: 20 streams, four of each self-trade policy."""
    events = Counter(dict.fromkeys(EVENTS, 0))
    for seed in range(100, 120):
        events.update(stream(matching, seed, 60_000))
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
