"""Arbitrageurs on pairs of books: both legs at once, opened when the pair's prices part, closed when they meet.

The gap of a pair is the difference of the two mids, each less its initial price, so that venues that start at different
prices compare. A position counts the lots sent for it: legs that fill less (thin books, inventory limits) are left to
the close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .memory import Exponential, Window, steps
from .strategy import Strategy, StrategyError
from .view import View


class Pairs(Strategy):
    """Base of the strategies that hold each pair long, short or not at all, `size` lots a leg."""

    role: ClassVar[str] = "arbitrageur"
    size: int  # lots a leg

    def start(self, view: View) -> None:
        self._lots = np.zeros((view.envs, len(view.pairs)))  # signed, sent since the pair was last closed
        one, two = view.pairs.T
        self._shares = (
            (one[:, None] == one) | (one[:, None] == two) | (two[:, None] == one) | (two[:, None] == two)
        )

    def hold(self, view: View, side: np.ndarray) -> np.ndarray:
        """Actions towards `side` (E, P): +1 long the first book and short the second, -1 the reverse, 0 nothing.

        At most max_size lots a decision. A pair is closed before it is turned. With nothing open in either of its
        books, a pair sells off whatever they hold.
        """
        most = view.section.max_size
        lots = np.where(view.fresh[:, None], 0.0, self._lots)
        close = (side * lots < 0) | (side == 0)
        opens = np.where(close, 0.0, np.clip(np.abs(side * self.size) - np.abs(lots), 0.0, most)) * side
        back = np.where(close, np.minimum(np.abs(lots), most), 0.0)
        self._lots = lots + opens - np.sign(lots) * back
        quiet = ~(((self._lots != 0) | (lots != 0)).astype(int) @ self._shares.astype(int)).astype(bool)
        amount = np.where(close, np.where(quiet, most, back), opens)
        return view.legs(amount[:, None], close[:, None])


@dataclass
class ZScore(Pairs):
    """Sells a gap that is wide by its own past and buys one that is narrow: z = (gap - mean) / standard deviation.

    Opens where |z| > entry and the gap's distance from the mean, less what crossing both spreads takes of it, is
    above `least` ticks; closes where z comes within `exit` of the mean or passes it, and where |z| > stop (the pair has
    come apart: not opened again until |z| < entry). Mean and deviation are exponentially weighted over the episode's
    past; where `centred` the mean is 0, as it is for venues of one underlying. Thresholds as
    in Gatev, Goetzmann and Rouwenhorst (2006), who open at 2 standard deviations.
    """

    name: ClassVar[str] = "zscore"

    entry: float = 1.5  # standard deviations
    exit: float = 0.0  # standard deviations
    least: float = 5.0  # ticks a pair and lot, after crossing both spreads
    stop: float = 6.0  # standard deviations
    half_life: float = 60.0  # seconds over which the weight of the past halves
    warmup: float = 20.0  # seconds of an episode before the first trade
    centred: bool | None = None  # the gap's mean is 0, not estimated; None: for venues of one underlying
    size: int = 5  # lots a leg

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "entry", "exit", "least", "warmup", "size")
        self._within(0.0, self.entry, "exit")
        self._within(self.entry, np.inf, "stop", strict=True)
        self._within(0.0, np.inf, "half_life", strict=True)

    def start(self, view: View) -> None:
        super().start(view)
        self._past = Exponential.half_life(self.half_life, view.dt)
        self._side = np.zeros((view.envs, len(view.pairs)))
        self._stopped = np.zeros(self._side.shape, bool)
        under = view.cfg.market.underlying_index[view.pairs]
        self._centred = under[:, 0] == under[:, 1] if self.centred is None else np.bool_(self.centred)

    def act(self, view: View) -> np.ndarray:
        z, away = self.score(view)
        beyond = np.abs(z) > self.stop
        self._stopped = beyond | (self._stopped & ~view.fresh[:, None] & (np.abs(z) >= self.entry))
        passed = -self._side * z <= self.exit  # also at an episode's start, where z is 0
        held = np.where(passed | beyond, 0.0, self._side)
        crossing = 0.5 * view.spread[:, view.pairs].sum(axis=-1)  # half a spread in each book
        opens = (np.abs(z) > self.entry) & (np.abs(away) - crossing > self.least) & ~self._stopped
        self._side = np.where(opens, -np.sign(z), held)
        return self.hold(view, self._side)

    def score(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """(E, P) z after taking in this decision's gap, and the gap less its mean, ticks; z is 0 in the warm-up."""
        gap = gaps(view)
        self._past.push(gap, view.fresh)
        mean, variance = self._past.mean, self._past.variance
        variance = np.where(self._centred, variance + mean**2, variance)
        mean = np.where(self._centred, 0.0, mean)
        known = (view.step * view.dt >= self.warmup)[:, None] & (variance > 1e-12)
        return np.where(known, (gap - mean) / np.sqrt(np.where(known, variance, 1.0)), 0.0), gap - mean


@dataclass
class GapThreshold(Pairs):
    """Sells a gap that is wide and buys one that is narrow, in ticks, whatever its past.

    Opens where |gap| less what crossing both spreads takes of it is above `open` ticks, against the gap; closes where the
    gap comes within `close` ticks of 0 or passes it.
    """

    name: ClassVar[str] = "gap_threshold"

    open: float = 4.0  # ticks a pair and lot, after crossing both spreads
    close: float = 0.0  # ticks
    size: int = 5  # lots a leg

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "open", "close", "size")

    def start(self, view: View) -> None:
        super().start(view)
        self._side = np.zeros((view.envs, len(view.pairs)))

    def act(self, view: View) -> np.ndarray:
        gap = gaps(view)
        crossing = 0.5 * view.spread[:, view.pairs].sum(axis=-1)  # half a spread in each book
        met = view.fresh[:, None] | (-self._side * gap <= self.close)
        opens = np.abs(gap) - crossing > self.open
        self._side = np.where(opens, -np.sign(gap), np.where(met, 0.0, self._side))
        return self.hold(view, self._side)


@dataclass
class LeadLag(Pairs):
    """Trades the lagging book of a pair in the direction of the leader's last move, hedged in the leader.

    With r the moves of the mids over `window` seconds, taken every decision, the leader is the book whose last move is
    the more correlated with the other's next one: cov(r_lead(t - window), r_lag(t)), exponentially weighted (the lagged
    cross-correlations of de Jong and Nijman 1997). The expected move beta r_lead, beta = that covariance over the
    leader's variance, opens where it exceeds `threshold` ticks; each position is kept for `hold_for` seconds from the
    last such signal. An arbitrageur's order always has two legs, so that the leader is sold against the laggard that is
    bought: it earns if the laggard catches up. In the noise market of this package no book leads another, and it pays
    the spreads for nothing.
    """

    name: ClassVar[str] = "lead_lag"

    leader: str = "auto"  # first or second book of each pair; auto: by the correlations
    window: float = 2.0  # seconds
    threshold: float = 2.0  # ticks of expected move
    hold_for: float = 10.0  # seconds
    half_life: float = 60.0  # seconds over which the weight of the past halves
    warmup: float = 30.0  # seconds of an episode before the first trade
    size: int = 5  # lots a leg

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "window", "hold_for", "half_life", strict=True)
        self._within(0.0, np.inf, "threshold", "warmup", "size")
        if self.leader not in ("auto", "first", "second"):
            raise StrategyError(f"{self.name}: leader must be auto, first or second, got {self.leader!r}")

    def start(self, view: View) -> None:
        super().start(view)
        n = steps(self.window, view.dt)
        self._mids, self._moves = Window(n + 1), Window(n + 1)
        self._cross = Exponential.half_life(self.half_life, view.dt)
        self._side = np.zeros((view.envs, len(view.pairs)))
        self._age = np.zeros(self._side.shape)  # decisions since the last signal

    def act(self, view: View) -> np.ndarray:
        move = self.expected(view)  # of the first book relative to the second
        signal = np.where(np.abs(move) > self.threshold, np.sign(move), 0.0)
        expired = view.fresh[:, None] | (self._age + 1 >= steps(self.hold_for, view.dt))
        self._age = np.where(signal != 0, 0.0, self._age + 1)
        self._side = np.where(signal != 0, signal, np.where(expired, 0.0, self._side))
        return self.hold(view, self._side)

    def expected(self, view: View) -> np.ndarray:
        """(E, P) ticks by which the laggard should move next, negated if that is the second book; 0 in the warm-up."""
        self._mids.push(view.mid, view.fresh)
        move = np.where(self._mids.full[:, None], view.mid - self._mids.oldest, 0.0)  # (E, A) over the window
        self._moves.push(move, view.fresh)
        before = np.where(self._moves.full[:, None], self._moves.oldest, 0.0)
        one, two = view.pairs.T
        products = [
            before[:, one] * move[:, two],
            before[:, two] * move[:, one],
            before[:, one] ** 2,
            before[:, two] ** 2,
        ]
        self._cross.push(np.stack(products, axis=1), view.fresh)
        first, second, square_one, square_two = self._cross.mean.transpose(1, 0, 2)  # (E, P) each
        beta_one = np.where(square_one > 0, first / np.where(square_one > 0, square_one, 1.0), 0.0)
        beta_two = np.where(square_two > 0, second / np.where(square_two > 0, square_two, 1.0), 0.0)
        leads: Any = self.leader == "first" if self.leader != "auto" else np.abs(first) >= np.abs(second)
        laggard = np.where(leads, -beta_one * move[:, one], beta_two * move[:, two])
        return np.where((view.step * view.dt >= self.warmup)[:, None], laggard, 0.0)


def gaps(view: View) -> np.ndarray:
    """(E, P) float64 ticks: the first book's mid less its initial price, minus the second's."""
    moved = view.mid - view.initial_price
    return moved[:, view.pairs[:, 0]] - moved[:, view.pairs[:, 1]]
