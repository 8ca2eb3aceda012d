"""Where the mid moves next and whether an order trades first, by queue sizes: Cont, Stoikov, Talreja (2010)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..config import ConfigError
from ..market.rng import stream
from ..market.tables import make_flow
from .markets import PRICE, noise_market
from .queues import enough, executed_first, move_up, race_time
from .races import make_book, races
from .settings import Cst
from .table import Row

NAME = "cst"
UP = (0.500, 0.335, 0.259, 0.216, 0.188)  # one bid order, 1..5 asks, spread 1
EXECUTED = (0.503, 0.698, 0.794, 0.848, 0.882)
PAPER = "Cont, Stoikov, Talreja 2010"
EXACT = "linear solve"
TOLERANCE = 0.005
MOST_EVENTS = 2e10  # of all races together, half an hour on one core
QUANTITIES = ("P(mid moves up)", "P(last bid trades before the mid moves)")


class Outcome(NamedTuple):
    rows: list[Row]
    bids: tuple[int, ...]
    asks: tuple[int, ...]
    spreads: tuple[int, ...]
    measured: np.ndarray  # (2, spreads, bids, asks): P(up), P(executed)
    exact: np.ndarray  # likewise
    races: int


def solve(s: Cst) -> np.ndarray:
    """(2, spreads, bids, asks) exact P(up) and P(executed). Raises ConfigError for races that would hardly end."""
    longest = max(*s.bids, *s.asks)
    corner = np.ix_(np.array(s.bids) - 1, np.array(s.asks) - 1)
    exact, events = [], 0.0
    for spread in s.spreads:
        queue = s.queue(spread)
        most = enough(*queue[:3], longest)
        seconds = race_time(*queue, most=most)[corner]
        busy = 2.0 * (sum(s.limit_rates) + s.market_rate) + 2.0 * sum(s.limit_rates)
        events += 2.0 * s.races * float(seconds.sum()) * busy
        if (
            seconds.min() <= 0.0 or not events < MOST_EVENTS
        ):  # a race that never ends: no solution worth the name
            raise ConfigError(
                f"cst.spreads: at spread {spread} the mid would hardly move: the races would take more than {MOST_EVENTS:.0g} "
                "events; raise market_rate or cancel_rates, or use fewer races"
            )
        up, done = move_up(*queue, most=most), executed_first(max(s.bids), *queue, most=most)
        exact.append((up[corner], done[corner]))
    return np.array(exact).swapaxes(0, 1)


def run(s: Cst, seed: int, note: Callable[[str], None]) -> Outcome:
    """Races from every pair of queues at every spread. Tolerance .005 (or four standard errors)."""
    exact = solve(s)
    reach = len(s.limit_rates) + max(s.spreads)
    window = max(64, 1 << (4 * reach).bit_length())
    flow = s.model_dump(include={"limit_rates", "market_rate", "cancel_rates"}, mode="json")
    tables = make_flow(noise_market(flow, window=window))
    measured = np.empty_like(exact)
    rows = []
    for k, spread in enumerate(s.spreads):
        note(f"{NAME}: spread {spread}, {2 * len(s.bids) * len(s.asks) * s.races:,} races")
        book = make_book(window, PRICE, PRICE + spread, 1, 1)
        for i, bids in enumerate(s.bids):
            for j, asks in enumerate(s.asks):
                for own in (0, 1):
                    key = int(stream(seed, bids, asks, spread, own, 0)) >> 1
                    share = races(book, tables, bids, asks, own, key, s.races) / s.races
                    measured[own, k, i, j] = share
                    rows += compare(s, own, (spread, bids, asks), share, float(exact[own, k, i, j]))
    return Outcome(rows, s.bids, s.asks, s.spreads, measured, exact, s.races)


def compare(s: Cst, own: int, start: tuple[int, int, int], share: float, exact: float) -> list[Row]:
    """Rows of one race: against the exact solution, and against the paper where it has the number."""
    spread, bids, asks = start
    error = float(np.sqrt(exact * (1.0 - exact) / s.races))
    what = NAME, QUANTITIES[own], f"spread {spread}, {bids} bids, {asks} asks", share, error
    rows = [Row(*what, exact, EXACT, TOLERANCE)]
    if s.published and spread == bids == 1 and asks <= len(UP):
        rows.append(Row(*what, (UP, EXECUTED)[own][asks - 1], PAPER, TOLERANCE))
    return rows
