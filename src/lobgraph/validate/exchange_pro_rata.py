"""The exchange of exchange.py with pro-rata matching, from the definition: in proportion to size, then first come first served.

An order that takes v of the Q lots at a price gives each participant floor(v * its lots / Q): every agent's order is
one, the noise traders' orders together another, served from its oldest on. What rounding down leaves over goes to the
queue in time order. All of a level is met at once: with self-trade prevention an incoming order that would trade with
its agent's own is dealt with before anything trades at that price.
"""

from __future__ import annotations

from .exchange import Exchange, Order


def allotments(queue: list[Order], qty: int) -> list[int]:
    """Lots that each order of a queue gets of a trade of qty."""
    total = sum(order.qty for order in queue)
    if qty >= total:
        return [order.qty for order in queue]
    got = [0] * len(queue)
    for owner in {order.owner for order in queue}:
        mine = [i for i, order in enumerate(queue) if order.owner == owner]
        share = qty * sum(queue[i].qty for i in mine) // total
        for i in mine:
            got[i] = min(share, queue[i].qty)
            share -= got[i]
    remainder = qty - sum(got)
    for i, order in enumerate(queue):
        more = min(remainder, order.qty - got[i])
        got[i] += more
        remainder -= more
    return got


class ProRataExchange(Exchange):
    """One book with pro-rata matching; all else as its parent."""

    def _shares(self, queue: list[Order], qty: int) -> list[tuple[Order, int]]:
        return [(order, lots) for order, lots in zip(queue, allotments(queue, qty), strict=True) if lots]
