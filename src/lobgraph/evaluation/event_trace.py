"""An episode event by event, as tables: every event of the books, every order and fill of an agent, rewards by step.

In: an `EpisodeLog`. Out: an `EventTrace`. Times are seconds since the episode's start, prices ticks, quantities lots, money
tick-lots. What each column means: docs/trace.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..config import Config, ConfigError
from ..env.reward import TERMS
from ..market.step import NS
from ..rl.actors import Actor
from .episode_log import EpisodeLog, log_episode
from .follow_book import BookFollower, Fill, Order

MARKS = (1.0, 5.0, 30.0)  # seconds after a fill at which the mid says what it earned


@dataclass(frozen=True)
class EventTrace:
    """An episode whose books have been followed event by event; fills and orders in the order of step, book and time."""

    log: EpisodeLog
    books: list[BookFollower]
    orders: list[Order]
    fills: list[Fill]

    @property
    def names(self) -> list[str]:
        """(G,) the agents' names."""
        return agent_names(self.log.cfg)

    def seconds(self, ns: int) -> float:
        """Since the episode's start."""
        return (ns - self.log.start_ns) / NS

    def mid_at(self, book: int, ns: int) -> float:
        """The book's mid right after everything up to that time; NaN beyond the episode's end."""
        if ns > self.end_ns:
            return float("nan")
        mids = self.books[book].mids
        return mids[bisect_right(mids, ns, key=lambda m: m[0]) - 1][1]

    @property
    def end_ns(self) -> int:
        s = self.log.series
        return self.log.start_ns + len(s.volume) * step_ns(s.cfg)

    def earned(self, fill: Fill, mid: float) -> float:
        """Tick-lots by which a fill was better than a mid, before fees."""
        return fill.side * fill.lots * (mid - fill.px)

    def fee(self, fill: Fill) -> float:
        """Tick-lots paid for a fill; a rebate is negative."""
        market = self.log.cfg.market
        rate = -market.maker_rebate if fill.passive else market.taker_fee
        return rate * fill.lots * fill.px + 0.0  # not -0.0

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name: events, orders, fills, rewards, positions, market."""
        return {
            "events": self.event_table(),
            "orders": self.order_table(),
            "fills": self.fill_table(),
            "rewards": self.reward_table(),
            "positions": self.position_table(),
            "market": self.market_table(),
        }

    def event_table(self) -> pd.DataFrame:
        """A row per entry of the books' logs."""
        names = self.log.cfg.market.books
        rows = [
            (self.seconds(e.ns), e.step, names[f.book], e.kind, e.who, _side(e.side), e.px, e.lots, e.place, e.order, e.other,
             e.note, e.bid, e.ask)
            for f in self.books
            for e in f.events
        ]  # fmt: skip
        columns = ["time", "step", "book", "event", "who", "side", "px", "lots", "ahead", "order", "counterparty", "note",
                   "best_bid", "best_ask"]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def order_table(self) -> pd.DataFrame:
        """A row per order of an agent that came to rest."""
        names, books = self.names, self.log.cfg.market.books
        rows = [
            {
                "order": o.number, "book": books[o.book], "agent": names[o.agent], "side": _side(o.side), "px": o.px,
                "lots": o.lots, "time": self.seconds(o.ns), "step": o.step, "ahead": o.before, "mid": o.mid,
                "traded_ahead": sum(m.lots for m in o.moves if m.why == "trade"),
                "cancelled_ahead": sum(m.lots for m in o.moves if m.why == "cancel"),
                "came_into_view": -sum(m.lots for m in o.moves if m.why == "view"), "ahead_last": o.ahead,
                "filled": o.filled, "end": o.end, "end_time": self.seconds(o.end_ns) if o.end_ns >= 0 else np.nan,
            }
            for o in self.orders
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def fill_table(self) -> pd.DataFrame:
        """A row per fill of an agent."""
        names, books = self.names, self.log.cfg.market.books
        rows = []
        for f in self.fills:
            o = f.order
            row: dict[str, Any] = {
                "fill": f.number, "time": self.seconds(f.ns), "step": f.step, "book": books[f.book], "agent": names[f.agent],
                "side": "bought" if f.side > 0 else "sold", "px": f.px, "lots": f.lots,
                "how": "resting" if f.passive else "incoming", "counterparty": f.other, "order": o.number if o else -1,
                "placed": self.seconds(o.ns) if o else np.nan, "ahead_placed": o.before if o else 0, "ahead": f.ahead,
                "traded": f.traded, "mid": f.mid, "mid_after": f.mid_after, "fee": self.fee(f),
                "earned": self.earned(f, f.mid),
            }  # fmt: skip
            for mark in MARKS:
                row[f"earned_{mark:g}s"] = self.earned(f, self.mid_at(f.book, f.ns + round(mark * NS)))
            row["earned_end"] = self.earned(f, self.mid_at(f.book, self.end_ns))
            rows.append({**row, "note": f.note})
        return pd.DataFrame(rows)

    def reward_table(self) -> pd.DataFrame:
        """A row per step and agent: the reward and its terms."""
        s = self.log.series
        parts = []
        for role, spec in s.specs.items():
            for k, g in enumerate(range(spec.agents.start, spec.agents.stop)):
                terms = s.terms[:, 0, g]
                columns = {f"terms/{name}": terms[:, i] for i, name in enumerate(spec.reward_terms)}
                parts.append(
                    pd.DataFrame(
                        {
                            "step": np.arange(len(terms)), "time": s.time[1:], "agent": f"{role}_{k}",
                            "reward": rewards_of(terms), **columns, "equity": s.equity[1:, 0, g],
                            "active": s.active[:, 0, g],
                        }
                    )
                )  # fmt: skip
        return _by_step(parts)

    def position_table(self) -> pd.DataFrame:
        """A row per step, agent and book, as they stand after the step."""
        s, books = self.log.series, self.log.cfg.market.books
        parts = []
        for g, name in enumerate(self.names):
            for a, book in enumerate(books):
                columns: dict[str, Any] = {
                    "step": np.arange(len(s.volume)), "time": s.time[1:], "agent": name, "book": book,
                    "inventory": s.inventory[1:, 0, g, a], "cash": s.cash[1:, 0, g, a],
                }  # fmt: skip
                for k, side in enumerate(("bid", "ask")):
                    lots = s.quote_qty[1:, 0, g, a, k]
                    columns[side] = np.where(lots > 0, s.quote_px[1:, 0, g, a, k], np.nan)
                    columns[f"{side}_lots"] = lots
                    columns[f"{side}_ahead"] = self.log.ahead[:, a, 2 * g + k]
                parts.append(pd.DataFrame(columns))
        return _by_step(parts)

    def market_table(self) -> pd.DataFrame:
        """A row per step and book, as it stands after the step."""
        s = self.log.series
        regimes = np.array(s.cfg.regimes.names)[s.regime[1:, 0]]
        parts = [
            pd.DataFrame(
                {
                    "step": np.arange(len(s.volume)), "time": s.time[1:], "book": book, "best_bid": s.best_bid[1:, 0, a],
                    "best_ask": s.best_ask[1:, 0, a], "mid": s.mid[1:, 0, a], "fundamental": s.fundamental[1:, 0, a],
                    "regime": regimes, "volume": s.volume[:, 0, a], "signed": s.signed[:, 0, a],
                }
            )
            for a, book in enumerate(s.cfg.market.books)
        ]  # fmt: skip
        return _by_step(parts)


def trace(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episode: int = 0,
    episodes: int = 100,
    seed: int = 1,
) -> EventTrace:
    """Episode `episode` of `evaluate(cfg, agents, episodes, seed)` event by event. Raises what `log_episode` raises."""
    return follow(log_episode(cfg, agents, episode, episodes, seed))


def follow(log: EpisodeLog) -> EventTrace:
    """Follow every book of an episode. Raises `follow_book.MismatchError` where the log and the kernels do not agree."""
    s, cfg = log.series, log.cfg
    orders: list[Order] = []
    fills: list[Fill] = []
    limited = [
        g
        for role, spec in s.specs.items()
        for g in range(spec.agents.start, spec.agents.stop)
        if (section := getattr(cfg.agents, role)).risk.max_position is not None and section.latency > 0
    ]
    names = agent_names(cfg)
    books = [
        BookFollower(a, log.qty[a], log.head[a], names, orders, fills, cfg.market.matching == "pro_rata",
                     bool(cfg.replay.files), limited)
        for a in range(cfg.market.num_books)
    ]  # fmt: skip
    length = step_ns(cfg)
    live = np.concatenate([s.active[:, 0], s.active[-1:, 0] & (s.cause == 0)])  # (T + 1, G)
    for step, taken in enumerate(log.entries):
        start = log.start_ns + step * length
        ended = np.flatnonzero(live[step] & ~live[step + 1]).tolist()
        for a, book in enumerate(books):
            book.step(step, start, start + length, taken[a], log.struck[step][a], ended)
            after = (int(s.best_bid[step + 1, 0, a]), int(s.best_ask[step + 1, 0, a]))
            book.check(*after, log.ahead[step, a], start + length)
    for number, fill in enumerate(fills):
        fill.number = number
    return EventTrace(log, books, orders, fills)


def agent_names(cfg: Config) -> list[str]:
    """The agents in the order of the arrays: maker_0, maker_1, taker_0, ..."""
    return [f"{role}_{k}" for role, count in cfg.counts.items() for k in range(count)]


def agent_number(cfg: Config, name: str | None) -> int:
    """The number of an agent among all; None: the first. Raises ConfigError for one that is not there."""
    names = agent_names(cfg)
    if name is not None and name not in names:
        raise ConfigError(f"agent {name!r}: no such agent; there are {', '.join(names)}")
    return names.index(name) if name is not None else 0


def book_number(cfg: Config, name: str | None) -> int:
    """The number of a book; None: the first. Raises ConfigError for one that is not there."""
    books = list(cfg.market.books)
    if name is not None and name not in books:
        raise ConfigError(f"book {name!r}: no such book; there are {', '.join(books)}")
    return books.index(name) if name is not None else 0


def step_ns(cfg: Config) -> int:
    """Length of a step in the time of the log."""
    return round(cfg.market.dt * NS)


def rewards_of(terms: np.ndarray) -> np.ndarray:
    """(T,) float32 rewards that the kernel makes of their (T, 4) float32 terms, to the bit."""
    total = np.zeros(len(terms))
    for i in range(len(TERMS["maker"])):
        total += terms[:, i]
    return total.astype(np.float32)


def _side(side: int) -> str:
    return "bid" if side > 0 else "ask"


def _by_step(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts, ignore_index=True).sort_values("step", kind="stable", ignore_index=True)
