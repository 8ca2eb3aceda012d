"""Kyle's single auction (1985), played by agents in the books: its equilibrium is searched for, then measured.

Each environment is one auction. A value v ~ N(p0, S0); an informed agent, who knows v, sends a market order of
beta * (v - p0) shares, a noise-trading agent one of u ~ N(0, sigma_u^2); a maker, who sees only their sum y, quotes
p0 + lambda * y. The price is one for all: in a first interval the maker's ask meets the buyers, in a second its bid, at
the same tick, the sellers. Prices, profits and losses are read from the engine's accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..config import ConfigError
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
from .settings import Kyle
from .table import Row

NAME = "kyle"
PAPER = "Kyle 1985"
TOLERANCE = 0.02  # of the value, or of its natural scale where theory says 0
MAKER, INFORMED, NOISE = 0, 1, 2
ENVS = 512
WINDOW = 8192  # ticks
TICKS = 400  # per sqrt(S0) + lambda * (beta * sqrt(S0) + sigma_u), a bound on the prices' deviation: 10 fit in the window
LOTS = 20_000  # per beta * sqrt(S0) + sigma_u
LARGE = 1 << 24  # lots the maker offers
MULTIPLES = (0.5, 1.0, 1.5)  # of beta, tried side by side for the best response
CALM = 3.0  # the search has converged when two rounds in a row move lambda by fewer standard errors


class Auctions(NamedTuple):
    """What happened in n auctions, in money and shares, from the accounts."""

    value: np.ndarray  # (n,) v - p0
    flow: np.ndarray  # (n,) y
    price: np.ndarray  # (n,) p - p0 at which all traded
    profit: np.ndarray  # (n, 3) of maker, informed and noise trader


class Outcome(NamedTuple):
    rows: list[Row]
    path: np.ndarray  # (rounds + 1, 2) beta and lambda by round, the first as given
    auctions: Auctions
    impact: float  # the equilibrium's lambda, money per share
    gain: float  # the informed trader's expected profit in it, money


class Market:
    """The books of the auctions in the user's units; a tick and a lot are small beside the prices and orders of the day."""

    def __init__(self, s: Kyle, seed: int) -> None:
        self.s = s
        self.books = Exchange(ENVS, takers=2, window=WINDOW, seed=seed)
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) values v - p0 and (n,) noise orders u, for at least `count` auctions (whole batches)."""
        n = -(-count // ENVS) * ENVS
        return self.rng.normal(0.0, np.sqrt(self.s.S0), n), self.rng.normal(0.0, self.s.sigma_u, n)

    def hold(self, beta: float, impact: float, value: np.ndarray, noise: np.ndarray) -> Auctions:
        """Hold the auctions of these values and noise orders; beta shares per money, impact money per share."""
        flow = beta * np.sqrt(self.s.S0) + self.s.sigma_u  # shares
        lot, tick = flow / LOTS, (np.sqrt(self.s.S0) + impact * flow) / TICKS
        parts = [
            self._batch(beta, impact, tick, lot, v, u)
            for v, u in zip(value.reshape(-1, ENVS), noise.reshape(-1, ENVS), strict=True)
        ]
        return Auctions(*(np.concatenate(x) for x in zip(*parts, strict=True)))

    def _batch(
        self, beta: float, impact: float, tick: float, lot: float, value: np.ndarray, noise: np.ndarray
    ) -> Auctions:
        books = self.books
        orders = np.rint(np.stack([beta * value, noise], axis=1) / lot).astype(np.int64)  # (E, 2) lots
        flow = orders.sum(axis=1)
        px = PRICE + np.rint(impact * flow * lot / tick).astype(np.int64)  # of y alone
        books.open()
        for side, quote_px, quote_lots in ((1, ASK_PX, ASK_QTY), (-1, BID_PX, BID_QTY)):
            message = books.messages()
            message[:, MAKER, BID_QTY] = message[:, MAKER, ASK_QTY] = 0
            message[:, MAKER, ACTION] = ACT_QUOTE
            message[:, MAKER, quote_px] = px
            message[:, MAKER, quote_lots] = LARGE
            message[:, INFORMED:, MARKET_QTY] = orders
            message[:, INFORMED:, ACTION] = np.where(orders * side > 0, ACT_MARKET, 0)
            books.step()
        if books.state.head[:, 0, UNFILLED].any():
            raise RuntimeError("kyle: an order found no quote")
        lots, cash = books.account(INVENTORY), books.account(CASH)
        profit = (tick * (cash + lots * PRICE) + lots * value[:, None]) * lot
        held = np.abs(lots[:, INFORMED:3]).sum(axis=1)
        paid = np.abs(cash[:, INFORMED:3]).sum(axis=1)
        price = tick * (np.where(held > 0, paid / np.maximum(held, 1), px) - PRICE)
        return Auctions(value, lots[:, INFORMED:3].sum(axis=1) * lot, price, profit[:, :3])


def slope(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Least-squares slope of y on x (with intercept) and its standard error."""
    x, y = x - x.mean(), y - y.mean()
    b = float(x @ y / (x @ x))
    rest = y - b * x
    return b, float(np.sqrt((rest @ rest) / (len(x) - 2) / (x @ x)))


def best_response(market: Market, beta: float, impact: float, count: int) -> float:
    """The informed trader's beta by trying: the vertex of its mean profit over three betas, same values and noise."""
    value, noise = market.draw(count)
    tried = beta * np.array(MULTIPLES)
    profit = [market.hold(b, impact, value, noise).profit[:, INFORMED].mean() for b in tried]
    curve, line, _ = np.polyfit(tried, profit, 2)
    # where the curve does not bend down, impact was too small to notice: trade three times as much
    best = -line / (2.0 * curve) if curve < 0.0 else np.inf
    return float(np.clip(best, beta / 5.0, 5.0 * beta))


def search(s: Kyle, market: Market, note: Callable[[str], None]) -> tuple[np.ndarray, float]:
    """Alternate best responses until they stand still.

    Returns (rounds + 1, 2) beta and lambda by round, and the standard error of the last lambda. Raises ConfigError if
    they do not settle within s.rounds.
    """
    count = max(s.auctions // 4, 1000)
    path = [(s.start_intensity, s.start_impact)]
    calm = 0
    for k in range(1, s.rounds + 1):
        beta, impact = path[-1]
        beta = best_response(market, beta, impact, count)
        seen = market.hold(beta, impact, *market.draw(count))
        new, error = slope(seen.value, seen.flow)
        new = max(new, impact / 5.0)
        path.append((beta, new))
        note(f"{NAME}: round {k}: beta {beta:.4g}, lambda {new:.4g}")
        calm = calm + 1 if abs(new - impact) < CALM * np.sqrt(2.0) * error else 0
        if calm == 2:
            # the last two rounds estimate one lambda: their mean is the maker's rule
            last = np.array(path[-2:])
            path[-1] = (float(last[:, 0].mean()), float(last[:, 1].mean()))
            return np.array(path), error / np.sqrt(2.0)
    raise ConfigError(
        f"kyle.rounds: lambda still moves after {s.rounds} rounds, from {s.start_impact:g}; allow more rounds, or start nearer"
    )


def run(s: Kyle, seed: int, note: Callable[[str], None]) -> Outcome:
    """Find the equilibrium, hold fresh auctions in it, compare. Tolerance 2 % (or four standard errors).

    The errors hold those of the beta and lambda found, carried on to first order around the equilibrium.
    """
    market = Market(s, seed)
    path, error = search(s, market, note)
    beta, impact = path[-1]
    held = market.hold(beta, impact, *market.draw(s.auctions))
    given = f"S0 {s.S0:g}, sigma_u {s.sigma_u:g}, p0 {s.p0:g}"
    root = float(np.sqrt(s.S0))
    rule, gain, intensity = 0.5 * root / s.sigma_u, 0.5 * root * s.sigma_u, s.sigma_u / root
    off_impact = error / rule  # relative errors of lambda and of beta = 1 / (2 lambda), found by trial
    off_beta = float(np.hypot(off_impact, np.sqrt(0.125 / max(s.auctions // 4, 1000))))

    def row(name: str, measured: float, err: float, expected: float, scale: float) -> Row:
        return Row(NAME, name, given, measured, err, expected, PAPER, TOLERANCE * scale)

    def mean(name: str, x: np.ndarray, found: float, expected: float, scale: float) -> Row:
        sampling = x.std(ddof=1) / np.sqrt(len(x))
        return row(name, float(x.mean()), float(np.hypot(sampling, found)), expected, scale)

    left = (held.value - held.price) ** 2
    rows = [
        row("impact lambda the maker found", impact, error, rule, rule),
        row("slope of traded price on flow", slope(held.price, held.flow)[0], error, rule, rule),
        row("slope of value on flow", *slope(held.value, held.flow), rule, rule),
        row("intensity beta of the informed", beta, off_beta * intensity, intensity, intensity),
        mean("remaining variance of the value", left, off_beta * s.S0 / 2.0, s.S0 / 2.0, s.S0 / 2.0),
        mean("informed trader's profit", held.profit[:, INFORMED], off_impact * gain, gain, gain),
        mean("noise trader's profit", held.profit[:, NOISE], off_impact * gain, -gain, gain),
        mean("maker's profit", held.profit[:, MAKER], 2.0 * off_impact * gain, 0.0, gain),
    ]
    return Outcome(rows, path, held, rule, gain)
