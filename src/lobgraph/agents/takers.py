"""Takers with a target: how much of it should be traded by when.

Each names the share of its target that should be traded after the coming decision; `follow` sends the market order that
gets there. Nothing trades past the target or turns back. Near the end every one catches up: as soon as only orders of
max_size at every decision left can still finish the target, that is what it sends. (A thin book or the inventory limit
may fill less than was sent.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .estimate import estimate
from .memory import Exponential
from .strategy import Strategy, StrategyError
from .view import View


def follow(view: View, share: Any) -> np.ndarray:
    """Actions that bring what is traded to `share` (0..1) of the target in whole lots, and keep the target in reach.

    `share` broadcasts to (E, K, A). Returns (E, K, A, 2) float32.
    """
    target, left = np.abs(view.target), np.abs(view.remaining)
    after = np.maximum(view.steps - view.step - 1, 0)[:, None, None]  # decisions after this one
    due = np.rint(share * target) - (target - left)
    must = left - view.section.max_size * after
    lots = np.clip(np.maximum(due, must), 0, np.minimum(left, view.section.max_size))
    return view.trade(np.sign(view.target) * lots)


class Execution(Strategy):
    """Base of the strategies that trade a target."""

    role: ClassVar[str] = "taker"

    def start(self, view: View) -> None:
        """Raises StrategyError in a market whose takers have no target."""
        if view.section.target == 0:
            raise StrategyError(f"{self.name}: trades a target, and agents.taker.target is 0")

    def act(self, view: View) -> np.ndarray:
        return follow(view, self.share(view))

    def share(self, view: View) -> np.ndarray:
        """Share of the target that should be traded after this decision, 0..1; broadcasts to (E, K, A)."""
        raise NotImplementedError(f"{type(self).__name__}.share")


@dataclass
class Immediate(Execution):
    """Trades all of it at once, in orders of max_size."""

    name: ClassVar[str] = "immediate"

    def share(self, view: View) -> np.ndarray:
        return np.ones(1)


@dataclass
class Twap(Execution):
    """Equal parts in time: after decision j of N, j / N of the target."""

    name: ClassVar[str] = "twap"

    def share(self, view: View) -> np.ndarray:
        return elapsed(view)


@dataclass
class Vwap(Execution):
    """In step with the market's volume: the share traded is that of the episode's volume that has been seen.

    After the next step of dt seconds that is (V + r dt) / (V + r (T - t)): V the others' lots since the start, r their
    exponentially weighted rate, taken to stay as it is until the end (no profile of the day is known). Where nothing
    has traded yet it is the TWAP. Follows Bialkowski, Darolles and Le Fol (2008) in updating the forecast as volume
    comes in.
    """

    name: ClassVar[str] = "vwap"

    half_life: float = 30.0  # seconds over which the weight of past volume halves

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "half_life", strict=True)

    def start(self, view: View) -> None:
        super().start(view)
        self._volume = Volume()
        self._rate = Exponential.half_life(self.half_life, view.dt)
        self._seen = np.zeros(view.envs, bool)  # the rate has been fed in this episode

    def share(self, view: View) -> np.ndarray:
        new, total = self._volume.push(view)
        self._seen &= ~view.fresh
        # The first decision has seen no step: the second starts anew.
        self._rate.push(new / view.dt, ~self._seen)
        self._seen |= ~view.fresh
        rate = self._rate.mean
        end = total + rate * view.time_left[:, None, None]
        flat = np.broadcast_to(elapsed(view), end.shape)
        return np.where(end > 0, (total + rate * view.dt) / np.where(end > 0, end, 1.0), flat)


@dataclass
class Pov(Execution):
    """A part of the volume: trades so that its lots are `rate` of all lots traded, own included.

    After a step in which the others have traded V lots since the start, that is rate / (1 - rate) V: it follows what it
    has seen, one step late. Too low a rate leaves the target unfinished until the catch-up at the end.
    """

    name: ClassVar[str] = "pov"

    rate: float = 0.1  # own lots / all lots

    def __post_init__(self) -> None:
        self._within(0.0, 0.99, "rate", strict=True)

    def start(self, view: View) -> None:
        super().start(view)
        self._volume = Volume()

    def share(self, view: View) -> np.ndarray:
        _, total = self._volume.push(view)
        lots = self.rate / (1.0 - self.rate) * total
        return np.minimum(lots / np.maximum(np.abs(view.target), 1), 1.0)


@dataclass
class AlmgrenChriss(Execution):
    """Almgren and Chriss (2001), section 2.2: holdings sinh(kappa (T - t)) / sinh(kappa T) of the target.

    Least expected cost + risk_aversion * variance under linear temporary impact eta and permanent impact gamma, with
    2 (cosh(kappa dt) - 1) / dt^2 = risk_aversion sigma^2 / (eta - gamma dt / 2). Given kappa, the rest is not used.
    sigma and eta, where not given, are measured in a simulation of the market (agents/estimate.py), eta as what a
    market order of max_size pays beyond the best price; how the book refills is not in it.
    """

    name: ClassVar[str] = "almgren_chriss"

    kappa: float | None = None  # 1/second, urgency; None: from what follows
    risk_aversion: float = 1e-5  # 1 / tick-lot
    sigma: float | None = None  # ticks per sqrt(second)
    eta: float | None = None  # ticks per lot/s, temporary impact
    permanent: float = 0.0  # gamma, ticks per lot

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "kappa", "risk_aversion", "sigma", "permanent")
        self._within(0.0, np.inf, "eta", strict=True)

    def start(self, view: View) -> None:
        super().start(view)
        left = holdings(np.broadcast_to(self._urgency(view), view.books), view.dt, view.steps)
        self._done = 1.0 - left.T  # (steps + 1, A) share of the target traded after each decision

    def share(self, view: View) -> np.ndarray:
        return self._done[np.minimum(view.step + 1, view.steps)][:, None]

    def _urgency(self, view: View) -> Any:
        if self.kappa is not None:
            return self.kappa
        sigma, eta = self.sigma, self.eta
        if sigma is None or eta is None:
            found = estimate(view.cfg)
            sigma, eta = found.sigma if sigma is None else sigma, found.eta if eta is None else eta
        try:
            return urgency(self.risk_aversion, sigma, eta, self.permanent, view.dt)
        except ValueError as error:
            raise StrategyError(f"{self}: {error}") from None


@dataclass
class WaitThenCross(Execution):
    """Waits for a price better than on arrival, then crosses: what "passive, then cross" can be for market orders only.

    A taker rests no orders, so that its patience is to hold back. Until `deadline` of the episode has passed it trades
    `size` lots only where the mid is at least `edge` ticks better than at the start and the spread is no wider than its
    mean so far. Then it crosses the spread whatever the price, in equal parts until the end.
    """

    name: ClassVar[str] = "wait_then_cross"

    edge: float = 1.0  # ticks by which the mid must be better than at arrival
    deadline: float = 0.5  # share of the episode
    size: float = 2.0  # lots a decision while it waits

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "size")
        self._within(-np.inf, np.inf, "edge")
        self._within(0.0, 1.0, "deadline")

    def start(self, view: View) -> None:
        super().start(view)
        self._arrival = np.zeros((view.envs, view.books))  # ticks, mid
        self._spread = np.zeros((view.envs, view.books))  # ticks, sum over the decisions of the episode
        self._late = np.zeros((view.envs, view.agents, view.books))  # share traded when patience ended
        self._end = int(np.ceil(self.deadline * view.steps))  # first decision that crosses whatever the price

    def share(self, view: View) -> np.ndarray:
        fresh = view.fresh[:, None]
        self._arrival = np.where(fresh, view.mid, self._arrival)
        self._spread = np.where(fresh, 0.0, self._spread) + view.spread
        better = (self._arrival - view.mid)[:, None] * np.sign(view.target) >= self.edge
        usual = view.spread * (view.step[:, None] + 1) <= self._spread
        target = np.maximum(np.abs(view.target), 1)
        done = 1.0 - np.abs(view.remaining) / target
        patient = np.minimum(done + better * usual[:, None] * self.size / target, 1.0)
        step = view.step[:, None, None]
        self._late = np.where(step <= self._end, done, self._late)
        part = (step + 1 - self._end) / max(view.steps - self._end, 1)
        return np.where(step < self._end, patient, self._late + (1.0 - self._late) * np.clip(part, 0.0, 1.0))


class Volume:
    """The others' traded lots since the episode's start, as each agent sees them."""

    def __init__(self) -> None:
        self._total = np.zeros(1)

    def push(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """(E, K, A) lots of the last step and since the start: the book's volume less the agent's own fills."""
        new = view.volume[:, None] - view.fills.sum(axis=(-2, -1))
        self._total = np.where(view.fresh[:, None, None], 0, self._total + new)
        return new, self._total


def elapsed(view: View) -> np.ndarray:
    """(E, 1, 1) share of the episode that has passed after the coming decision."""
    return np.minimum((view.step + 1) / view.steps, 1.0)[:, None, None]


def urgency(risk_aversion: float, sigma: Any, eta: Any, permanent: float, dt: float) -> np.ndarray:
    """kappa (1/time) of Almgren and Chriss (2001), trading every `dt`. Raises ValueError if eta <= permanent dt / 2."""
    adjusted = np.asarray(eta) - 0.5 * permanent * dt
    if not (adjusted > 0).all():
        raise ValueError(
            f"eta must exceed permanent * dt / 2 = {0.5 * permanent * dt:.3g}, got {np.min(eta):.3g}"
        )
    tilde = risk_aversion * np.asarray(sigma) ** 2 / adjusted
    return 2.0 * np.arcsinh(0.5 * dt * np.sqrt(tilde)) / dt  # 2 (cosh x - 1) = (2 sinh(x / 2))^2


def holdings(kappa: Any, dt: float, steps: int) -> np.ndarray:
    """(..., steps + 1) share of the target still held before and after each of `steps` trades, for kappa (...) 1/time.

    sinh(kappa (T - t)) / sinh(kappa T), written so that it neither overflows nor divides by zero; kappa 0 is the TWAP.
    """
    x = np.asarray(kappa, dtype=np.float64)[..., None] * dt
    t = np.arange(steps + 1)
    safe = np.where(x * steps > 1e-6, x, 1.0)
    curve = np.exp(-safe * t) * np.expm1(-2.0 * safe * (steps - t)) / np.expm1(-2.0 * safe * steps)
    return np.where(x * steps > 1e-6, curve, 1.0 - t / steps)
