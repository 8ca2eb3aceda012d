"""Sequential trade of Glosten and Milgrom (1985) in the books: quotes learned from experience, zero profit checked.

Each environment is one episode: a value V_H or V_L, then traders one by one, each informed (and knowing the value) with
probability mu, else buying or selling at random. A maker quotes one lot a side by the history of buys and sells alone;
an informed trader buys at V_H and sells at V_L, between which all quotes lie. The maker's ask after a history is the mean
value it has seen when a buy followed that history, its bid when a sell did. What it earns is in the engine's accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..market.state import (
    ACT_MARKET,
    ACT_QUOTE,
    ACTION,
    ASK_PX,
    ASK_QTY,
    BID_PX,
    BID_QTY,
    CASH,
    INVENTORY,
    MARKET_QTY,
    UNFILLED,
)
from .markets import PRICE, Exchange
from .settings import GlostenMilgrom
from .table import Row

NAME = "glosten_milgrom"
PAPER = "Glosten, Milgrom 1985"
TOLERANCE = 0.01  # of V_H - V_L
MAKER, TRADER = 0, 1
ENVS = 512
WINDOW = 8192
TICKS = 2000  # in V_H - V_L: half the window holds them wherever the prior stands
SEEN = 300  # visits below which a history is not compared


class Experience(NamedTuple):
    """By history of trades: node 1 is the empty one, node 2 h + 1 the one after a buy at h, 2 h after a sell.

    Each (nodes,) with nodes = 2^(trades + 1); entry 0 and the root's are not used.
    """

    visits: np.ndarray  # int64 episodes that came by
    high: np.ndarray  # int64 of them with value V_H
    paid: np.ndarray  # int64 ticks above V_L at which the trade that led here was done, summed
    profit: np.ndarray  # int64 ticks the maker earned in that trade, summed
    square: np.ndarray  # int64 the squares of those, summed

    def __add__(self, other: Experience) -> Experience:  # type: ignore[override]
        return Experience(*(a + b for a, b in zip(self, other, strict=True)))

    def chance(self) -> tuple[np.ndarray, np.ndarray]:
        """(nodes,) estimated P(V_H) and its standard error (one success and one failure added, so that it is not 0)."""
        n = np.maximum(self.visits, 1)
        p = (self.high + 1.0) / (n + 2.0)
        return self.high / n, np.sqrt(p * (1.0 - p) / n)


class Outcome(NamedTuple):
    rows: list[Row]
    histories: list[str]  # "B", "S", "BB", ..., those seen often enough
    net: np.ndarray  # (H,) buys less sells
    price: np.ndarray  # (H, 3) at which the last trade of the history was done: measured, error, Bayes; money
    profit: np.ndarray  # (H, 2) maker's mean profit in that trade and its error; money
    s: GlostenMilgrom


def belief(s: GlostenMilgrom, history: str) -> float:
    """Bayes: P(V_H) after a history of B and S; each buy multiplies the odds by (1 + mu) / (1 - mu)."""
    net = history.count("B") - history.count("S")
    log_odds = np.log(s.prior) - np.log1p(-s.prior) + net * (np.log1p(s.mu) - np.log1p(-s.mu))
    return float(1.0 / (1.0 + np.exp(-log_odds)))


def history_of(node: int) -> str:
    """Node 1 is "", 3 "B", 2 "S", 7 "BB", ..."""
    return "".join("B" if bit == "1" else "S" for bit in bin(node)[3:])


def play(
    s: GlostenMilgrom, books: Exchange, quotes: np.ndarray, count: int, rng: np.random.Generator
) -> Experience:
    """Play at least `count` episodes (whole batches).

    `quotes` (nodes,) int64 ticks above V_L: at node 2 h + 1 the ask after history h, at node 2 h the bid.
    """
    tally = np.zeros((5, 2 << s.trades), np.int64)
    low = PRICE - round(s.prior * TICKS)  # V_L in ticks; the book opens at the prior mean
    for _ in range(-(-count // ENVS)):
        high = (rng.random(ENVS) < s.prior).astype(np.int64)
        node = np.ones(ENVS, np.int64)
        cash, lots = np.zeros((2, ENVS), np.int64)
        books.open()
        for _ in range(s.trades):
            informed, coin = rng.random(ENVS) < s.mu, rng.integers(0, 2, ENVS)
            buys = np.where(informed, high, coin)
            message = books.messages()
            message[:, MAKER, ACTION] = ACT_QUOTE
            message[:, MAKER, BID_PX] = low + quotes[2 * node]
            message[:, MAKER, ASK_PX] = low + quotes[2 * node + 1]
            message[:, MAKER, BID_QTY] = message[:, MAKER, ASK_QTY] = 1
            message[:, TRADER, ACTION] = ACT_MARKET
            message[:, TRADER, MARKET_QTY] = 2 * buys - 1
            books.step()
            sold = lots - books.account(INVENTORY)[:, MAKER]
            paid = books.account(CASH)[:, MAKER] - cash
            cash, lots = cash + paid, lots - sold
            earned = paid - sold * (low + high * TICKS)
            node = 2 * node + (sold > 0)
            np.add.at(
                tally.T, node, np.stack([np.ones_like(high), high, paid * sold - low, earned, earned**2], 1)
            )
        if books.state.head[:, 0, UNFILLED].any():
            raise RuntimeError(f"{NAME}: an order found no quote")
    return Experience(*tally)


def learn(
    s: GlostenMilgrom, books: Exchange, rng: np.random.Generator, note: Callable[[str], None]
) -> tuple[np.ndarray, Experience]:
    """The maker's quotes, from a spread of two ticks around the prior mean on; and the experience they rest on."""
    mean = round(s.prior * TICKS)
    quotes = np.where(np.arange(2 << s.trades) % 2, mean + 1, mean - 1)
    total: Experience | None = None
    for k in range(1, s.rounds + 1):
        seen = play(s, books, quotes, max(s.episodes // s.rounds, 1), rng)
        total = seen if total is None else total + seen
        known = total.visits > 0
        quotes = np.where(known, np.rint(total.chance()[0] * TICKS).astype(np.int64), quotes)
        quotes[1::2] = np.maximum(quotes[1::2], quotes[0::2] + 1)  # a bid and an ask cannot be one
        earned = total.profit.sum() / total.visits[1:].sum() / TICKS
        note(
            f"{NAME}: round {k}: maker earned {earned:+.4f} (V_H - V_L) a trade; first spread {quotes[3] - quotes[2]} ticks"
        )
    assert total is not None
    return quotes, total


def run(s: GlostenMilgrom, seed: int, note: Callable[[str], None]) -> Outcome:
    """Learn the quotes, play fresh episodes at them, compare. Tolerance 1 % of V_H - V_L (or four standard errors)."""
    books, rng = Exchange(ENVS, takers=1, window=WINDOW, seed=seed), np.random.default_rng(seed)
    quotes, learned = learn(s, books, rng, note)
    fresh = play(s, books, quotes, s.episodes, rng)
    width = s.V_H - s.V_L
    given = f"mu {s.mu:g}, V {s.V_L:g} or {s.V_H:g}, prior {s.prior:g}"
    nodes = [i for i in range(2, 2 << s.trades) if min(fresh.visits[i], learned.visits[i]) >= SEEN]
    names = [history_of(i) for i in nodes]
    n = fresh.visits[nodes]
    unsure = learned.chance()[1][nodes]  # of the quotes, which the maker estimated
    price = fresh.paid[nodes] / n / TICKS
    profit = fresh.profit[nodes] / n / TICKS
    spread = np.sqrt(np.maximum(fresh.square[nodes] / n / TICKS**2 - profit**2, 0.0) / n)
    profit_error = np.hypot(np.maximum(spread, fresh.chance()[1][nodes]), unsure)
    bayes = np.array([belief(s, name) for name in names])
    value, value_error = (x[nodes] for x in fresh.chance())

    def row(
        name: str, where: str, measured: float, error: float, expected: float, level: float = 0.0,
        tolerance: float = TOLERANCE,
    ) -> Row:  # fmt: skip
        parameters = f"{given}{where and ', ' + where}"
        return Row(NAME, name, parameters, level + width * float(measured), width * float(error),
                   level + width * float(expected), PAPER, tolerance * width)  # fmt: skip

    rows = []
    if {"B", "S"} <= set(names):
        ask, bid = names.index("B"), names.index("S")
        gap = price[ask] - price[bid], np.hypot(unsure[ask], unsure[bid]), bayes[ask] - bayes[bid]
        rows.append(row("first spread", "", *gap, tolerance=min(TOLERANCE, 0.05 * gap[2])))
    for i, name in enumerate(names):
        if set(name) == {"B"}:
            rows.append(row(f"price of buy {len(name)} of as many", "", price[i], unsure[i], bayes[i], s.V_L))
    for i, name in enumerate(names):
        at = f"after {name}"
        rows.append(row("mean value by history", at, value[i], value_error[i], bayes[i], s.V_L))
        rows.append(row("traded price by history", at, price[i], unsure[i], bayes[i], s.V_L))
        rows.append(row("maker's profit a trade by history", at, profit[i], profit_error[i], 0.0))
    share = n / n.sum()
    rows.append(
        row("maker's profit a trade", "all", share @ profit, np.sqrt((share**2) @ profit_error**2), 0.0)
    )
    net = np.array([name.count("B") - name.count("S") for name in names])
    prices = np.stack([s.V_L + width * price, width * unsure, s.V_L + width * bayes], axis=1)
    return Outcome(rows, names, net, prices, width * np.stack([profit, profit_error], axis=1), s)
