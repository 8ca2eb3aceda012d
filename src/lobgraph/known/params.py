"""Parameters of the markets with known answers, with the published values as defaults. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from ..config import Float, Int, NonNegative, Positive, Section

Price = Annotated[Float, Field(ge=-1e6, le=1e6)]
Scale = Annotated[Float, Field(ge=1e-6, le=1e6)]
Steps = Annotated[Int, Field(ge=1, le=100_000)]


class KnownParams(Section):
    """What all of them have; time in a unit of the user's choice."""

    T: Scale = 1.0
    """Length of an episode."""
    steps: Steps = 200
    """Decisions in an episode."""

    @property
    def dt(self) -> float:
        """Time between decisions."""
        return self.T / self.steps


class QuotingParams(KnownParams):
    """A maker's market; lots, money, time in a unit of the user's choice."""

    S0: Price = 100.0
    """Mid at the start, money."""
    sigma: NonNegative = 2.0
    """Volatility of the mid, money per sqrt(time)."""
    k: Scale = 1.5
    """Decay of the fill rate with the offset, per money."""
    A: Scale = 140.0
    """Fill rate of a quote at the mid, per time and side."""
    max_inventory: Annotated[Int, Field(ge=1, le=200)] = 50
    """Lots at which the side that would add to them is not quoted."""
    max_offset: Positive | None = None
    """Largest offset from the mid on either side of it, money; none: 8 / k, wider where risk asks for it."""
    start_inventory: Annotated[Int, Field(ge=0, le=200)] = 0
    """An episode starts with any inventory from minus this to this, all alike: exploring starts for a learner."""
    fills: Literal["poisson", "exact", "linear"] = "poisson"
    """Fills of a side in a step: as many as the rate brings, or one with probability 1 - exp(-rate * dt), or rate * dt."""

    @property
    def risk(self) -> float:
        """What a lot of inventory may move the best offsets by, money."""
        return 0.0

    @property
    def offset_bound(self) -> float:
        """`max_offset`, or its default."""
        return self.max_offset if self.max_offset is not None else 8.0 / self.k + self.risk


class AvellanedaStoikovParams(QuotingParams):
    """Avellaneda, Stoikov 2008: lots, money, time in a unit of the user's choice."""

    gamma: Annotated[Float, Field(ge=1e-4, le=1e3)] = 0.1
    """Absolute risk aversion, per money."""
    fills: Literal["linear", "exact"] = "linear"  # type: ignore[assignment]
    """One fill a side and step, with probability rate * dt (the paper's) or 1 - exp(-rate * dt)."""
    reward: Literal["utility", "wealth"] = "utility"
    """Adds up to a positive affine function of the utility, or to the wealth, for a learner with risk aversion gamma."""

    @property
    def risk(self) -> float:
        return self.gamma * self.sigma**2 * self.T


class MakingParams(QuotingParams):
    """Cartea, Jaimungal, Penalva 2015, chapter 10.2: lots, money, time in a unit of the user's choice."""

    sigma: NonNegative = 0.5
    """Volatility of the mid, money per sqrt(time)."""
    phi: NonNegative = 0.1
    """Running penalty, money per lot^2 and time."""
    alpha: NonNegative = 0.001
    """Penalty on the final inventory, money per lot^2."""
    max_inventory: Annotated[Int, Field(ge=1, le=200)] = 30
    """Lots at which the side that would add to them is not quoted."""


class ExecutionParams(KnownParams):
    """Cartea, Jaimungal, Penalva 2015, chapters 6.4 and 6.5: a seller; time in a unit of the user's choice."""

    S0: Price = 100.0
    """Mid at the start, money."""
    q0: Scale = 10.0
    """Lots to sell."""
    sigma: NonNegative = 0.1
    """Volatility of the mid, money per sqrt(time)."""
    k: Scale = 0.01
    """Temporary impact: money per (lot per time)."""
    b: NonNegative = 0.001
    """Permanent impact: money per lot."""
    phi: NonNegative = 0.1
    """Running penalty, money per lot^2 and time."""
    alpha: NonNegative = 1.0
    """Penalty on what is left at the end, money per lot^2."""
    steps: Steps = 100
    """Decisions in an episode."""
    max_speed: Annotated[Float, Field(gt=0, le=1e9)] | None = None
    """Fastest selling, lots per time; none: twice the best first speed, or 4 q0 / T if that is more."""

    @model_validator(mode="after")
    def _check(self) -> ExecutionParams:
        if self.alpha <= 0.5 * self.b:
            raise ValueError(
                f"alpha: must exceed b / 2 ({0.5 * self.b:g}), or lots left at the end cost less than selling them"
            )
        return self


class AlmgrenChrissParams(KnownParams):
    """Almgren, Chriss 2000: shares, dollars, days."""

    S0: Price = 50.0
    """Price at the start, $."""
    X: Annotated[Float, Field(ge=1e-6, le=1e12)] = 1e6
    """Shares to sell."""
    T: Scale = 5.0
    """Days to sell them in."""
    steps: Steps = 5
    """N: trades, at even times."""
    sigma: NonNegative = 0.95
    """Volatility, $ per share and sqrt(day)."""
    eps: NonNegative = 0.0625
    """Half the spread and fees, $ per share."""
    gamma: NonNegative = 2.5e-7
    """Permanent impact, $ per share per share."""
    eta: Positive = 2.5e-6
    """Temporary impact, $ per share per (share per day)."""
    risk: NonNegative = 1e-6
    """lambda: risk aversion, per $."""
    max_size: Annotated[Float, Field(gt=0, le=1e12)] | None = None
    """Largest trade but the last, shares; none: X."""

    @property
    def tau(self) -> float:
        """Days between trades."""
        return self.T / self.steps

    @property
    def eta_left(self) -> float:
        """eta less gamma tau / 2 (equation 14), which must be positive."""
        return self.eta - 0.5 * self.gamma * self.tau

    @model_validator(mode="after")
    def _check(self) -> AlmgrenChrissParams:
        if self.eta_left <= 0.0:
            raise ValueError(
                f"eta: must exceed gamma T / (2 steps) = {0.5 * self.gamma * self.tau:g}, or trading at once is best"
            )
        return self


class PairParams(KnownParams):
    """A cointegrated pair; money, time in a unit of the user's choice."""

    theta: Scale = 1.0
    """Mean reversion of the gap, per time."""
    sigma: Scale = 1.0
    """Volatility of the gap, money per sqrt(time)."""
    cost: Positive = 0.1
    """c: money per unit of change of the position, both assets together."""
    sigma_factor: NonNegative = 1.0
    """Volatility of what the two prices share, money per sqrt(time)."""
    S0: Price = 100.0
    """What the two prices share at the start, money."""
    T: Scale = 20.0
    """Length of an episode."""
    steps: Steps = 400
    """Decisions in an episode."""

    @property
    def memory(self) -> float:
        """What is left of a gap after a step."""
        return float(np.exp(-self.theta * self.dt))

    @property
    def step_std(self) -> float:
        """Deviation of the gap's change in a step, money."""
        return float(self.gap_std * np.sqrt(-np.expm1(-2.0 * self.theta * self.dt)))

    @property
    def gap_std(self) -> float:
        """Deviation of the gap in the long run, money."""
        return self.sigma / np.sqrt(2.0 * self.theta)

    @model_validator(mode="after")
    def _check(self) -> PairParams:
        if self.cost > 2.0 * self.gap_std:
            raise ValueError(
                f"cost: must be at most two deviations of the gap, 2 sigma / sqrt(2 theta) = {2 * self.gap_std:g}; "
                "with more nothing would be traded"
            )
        if self.theta * self.dt < 1e-5:
            raise ValueError(f"steps: theta T / steps must be at least 1e-5, got {self.theta * self.dt:g}")
        return self
