"""Traders with a view of where the price goes, for the taker role without a target (agents.taker.target: 0).

Each names the position it wants in every book, from the mid's past in this episode; the order is the difference to what
it holds, at most max_size lots a decision. They pay the spread at every turn: none is promised to earn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .memory import Window, steps
from .strategy import Strategy, StrategyError
from .view import View


class Directional(Strategy):
    """Base of the strategies that want a position."""

    role: ClassVar[str] = "taker"
    size: float  # lots

    def start(self, view: View) -> None:
        """Raises StrategyError in a market whose takers have a target."""
        if view.section.target != 0:
            raise StrategyError(f"{self.name}: trades both ways, which needs agents.taker.target: 0")

    def act(self, view: View) -> np.ndarray:
        return view.trade(self.side(view)[:, None] * self.size - view.inventory)

    def side(self, view: View) -> np.ndarray:
        """(E, A) wanted position in units of `size`, -1 short .. 1 long."""
        raise NotImplementedError(f"{type(self).__name__}.side")


@dataclass
class Momentum(Directional):
    """Goes with the move of the mid over the last `window` seconds, where that is more than `threshold` ticks.

    Flat else, and until a window has passed. Time-series momentum (Moskowitz, Ooi and Pedersen 2012).
    """

    name: ClassVar[str] = "momentum"

    window: float = 60.0  # seconds
    threshold: float = 4.0  # ticks
    size: float = 5.0  # lots, the position

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "window", strict=True)
        self._within(0.0, np.inf, "threshold", "size")

    def start(self, view: View) -> None:
        super().start(view)
        self._past = Window(steps(self.window, view.dt) + 1)

    def side(self, view: View) -> np.ndarray:
        self._past.push(view.mid, view.fresh)
        move = np.where(self._past.full[:, None], view.mid - self._past.oldest, 0.0)
        return np.where(np.abs(move) > self.threshold, np.sign(move), 0.0)


@dataclass
class MeanReversion(Directional):
    """Goes against the distance of the mid from its mean: z = (mid - mean) / standard deviation over `window` seconds.

    Short where z > entry, long where z < -entry, until |z| < exit (Bollinger's bands, 2001). Flat until a window has
    passed.
    """

    name: ClassVar[str] = "mean_reversion"

    window: float = 60.0  # seconds
    entry: float = 2.5  # standard deviations
    exit: float = 0.0  # standard deviations
    size: float = 5.0  # lots, the position

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "window", strict=True)
        self._within(0.0, np.inf, "entry", "exit", "size")
        self._within(0.0, self.entry, "exit")

    def start(self, view: View) -> None:
        super().start(view)
        self._past = Window(max(2, steps(self.window, view.dt)))
        self._side = np.zeros((view.envs, view.books))

    def side(self, view: View) -> np.ndarray:
        self._past.push(view.mid, view.fresh)
        std = self._past.std()
        known = self._past.full[:, None] & (std > 0)
        z = np.where(known, view.mid - self._past.mean(), 0.0) / np.where(std > 0, std, 1.0)
        held = np.where(view.fresh[:, None] | (np.abs(z) < self.exit), 0.0, self._side)
        self._side = np.where(np.abs(z) > self.entry, -np.sign(z), held)
        return self._side


@dataclass
class Rsi(Directional):
    """Relative strength index of Wilder (1978): long below `low`, short above `high`, until it crosses 50.

    RSI = 100 U / (U + D), U and D the means of rises and falls of the mid from decision to decision: plain over the
    first `period`, then U <- U + (rise - U) / period. Flat until then. 50 where nothing has moved.
    """

    name: ClassVar[str] = "rsi"

    period: int = 14  # decisions
    low: float = 30.0  # of 100
    high: float = 70.0  # of 100
    size: float = 5.0  # lots, the position

    def __post_init__(self) -> None:
        self._within(1, np.inf, "period")
        self._within(0.0, 50.0, "low")
        self._within(50.0, 100.0, "high")
        self._within(0.0, np.inf, "size")

    def start(self, view: View) -> None:
        super().start(view)
        shape = view.envs, view.books
        self._mid, self._side = np.zeros(shape), np.zeros(shape)
        self._mean = np.zeros((2, *shape))  # of rises and falls, ticks
        self._count = np.zeros(view.envs, np.int64)  # moves seen

    def side(self, view: View) -> np.ndarray:
        index = self.index(view)
        crossed = (index - 50.0) * self._side >= 0.0  # a long one ends at 50 from below
        held = np.where(crossed, 0.0, self._side)  # as at an episode's start, where the index is 50
        self._side = np.where(index < self.low, 1.0, np.where(index > self.high, -1.0, held))
        return self._side

    def index(self, view: View) -> np.ndarray:
        """(E, A) the index after taking in the mid of this decision, 0..100; 50 before `period` moves."""
        move = view.mid - self._mid
        self._mid = view.mid
        self._count = np.where(view.fresh, 0, self._count + 1)
        weight = 1.0 / np.clip(self._count, 1, self.period)[:, None]
        moves = np.stack([np.maximum(move, 0.0), np.maximum(-move, 0.0)])
        self._mean = np.where(view.fresh[:, None], 0.0, self._mean + weight * (moves - self._mean))
        total = self._mean.sum(axis=0)
        known = (self._count >= self.period)[:, None] & (total > 0)
        return np.where(known, 100.0 * self._mean[0] / np.where(known, total, 1.0), 50.0)


@dataclass
class MaCrossover(Directional):
    """Long where the fast moving average of the mid stands above the slow one by `band` ticks, short where below.

    Simple averages over `fast` and `slow` seconds; in between flat (Brock, Lakonishok and LeBaron 1992, variable-length
    rule with a band). Flat until the slow window is full.
    """

    name: ClassVar[str] = "ma_crossover"

    fast: float = 20.0  # seconds
    slow: float = 100.0  # seconds
    band: float = 1.0  # ticks
    size: float = 5.0  # lots, the position

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "fast", "slow", strict=True)
        self._within(0.0, np.inf, "band", "size")
        if self.fast >= self.slow:
            raise StrategyError(f"{self.name}: fast must be below slow = {self.slow:g}, got {self.fast:g}")

    def start(self, view: View) -> None:
        super().start(view)
        self._fast, self._slow = (Window(steps(s, view.dt)) for s in (self.fast, self.slow))

    def side(self, view: View) -> np.ndarray:
        for window in (self._fast, self._slow):
            window.push(view.mid, view.fresh)
        gap = np.where(self._slow.full[:, None], self._fast.mean() - self._slow.mean(), 0.0)
        return np.where(np.abs(gap) > self.band, np.sign(gap), 0.0)


@dataclass
class Fundamental(Directional):
    """Buys below and sells above the fundamental value, which no other trader sees: privileged, a bound for the rest.

    Buys where the ask is more than `entry` ticks below it and sells where the bid is so far above, as the noise traders
    lean towards the value; sells again where the bid is within `exit` ticks of it (a negative exit: beyond it).
    Raises StrategyError in replayed markets, which have none.
    """

    name: ClassVar[str] = "fundamental"

    entry: float = 2.0  # ticks from the price it would trade at to the value
    exit: float = 0.0  # ticks, likewise
    size: float = 5.0  # lots, the position

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "entry", "size")
        self._within(-np.inf, self.entry, "exit")

    def start(self, view: View) -> None:
        super().start(view)
        if view.cfg.replay.files:
            raise StrategyError(f"{self.name}: a replayed market has no fundamental value")
        self._side = np.zeros((view.envs, view.books))

    def side(self, view: View) -> np.ndarray:
        buying, selling = (
            view.fundamental - view.best_ask,
            view.best_bid - view.fundamental,
        )  # gain, ticks per lot
        gone = np.where(self._side > 0, selling >= -self.exit, buying >= -self.exit)
        held = np.where(view.fresh[:, None] | gone, 0.0, self._side)
        self._side = np.where(buying > self.entry, 1.0, np.where(selling > self.entry, -1.0, held))
        return self._side
