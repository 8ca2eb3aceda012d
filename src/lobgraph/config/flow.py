"""The flow of one book, its regimes, and the features of real order flow that the tables can take on.

Units: prices in ticks, quantities in lots, times in seconds, rates per second.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from .types import Float, Fraction, Int, NonNegative, Positive, Section


class SizeConfig(Section):
    """A discrete distribution of order sizes in lots: give `mean` (geometric) or `values` with `weights`."""

    mean: Annotated[Float, Field(ge=1, le=1e6)] | None = None
    values: list[Annotated[Int, Field(ge=1, le=1_000_000)]] | None = None
    weights: list[NonNegative] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.values is None) == (self.mean is None):
            raise ValueError("give either mean, or values with weights")
        if self.values is not None and (self.weights is None or len(self.weights) != len(self.values)):
            raise ValueError("weights: needs one weight per value")
        if self.values is not None and (not self.values or sum(self.weights or []) <= 0):
            raise ValueError("weights: must not all be zero")
        return self

    def average(self) -> float:
        """Lots."""
        if self.mean is not None:
            return self.mean
        weights = np.asarray(self.weights, dtype=np.float64)
        return float(np.asarray(self.values) @ weights / weights.sum())


KINDS = ("limit", "market", "cancel")  # of events; the order of rows and columns in tables by kind
Numbers = list[NonNegative]
Table = list[Numbers]


class HawkesConfig(Section):
    """Orders that bring orders (Hawkes 1971, with exponentials of several speeds): each event raises the rates of others for
    a while. The tables keep their meaning: they are the mean rates, of which the excited part is what others brought."""

    decays: Annotated[list[Annotated[Float, Field(gt=0, le=1000)]], Field(min_length=1, max_length=4)] = [
        20.0,
        0.2,
    ]  # of the exponentials, per second
    # Orders that an order brings directly, in the mean: of its own kind; or [cause][effect] by KINDS; or such a table for
    # each decay. Numbers without a decay are shared out evenly over the decays.
    branching: NonNegative | Table | list[Table] = 0.5
    same_side: Fraction | Table | list[Table] = 0.5  # share of them on the cause's side, likewise
    cross: Annotated[Float, Field(ge=0, lt=1)] = (
        0.0  # share of the mean rates that events of the same kind in other books bring, by correlation, a step later
    )

    cancels: Positive | None = (
        None  # mean cancels /s a side, in units of which they are excited; None: those of full size that balance the flow
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("branching", "same_side"):
            shape = np.shape(getattr(self, key)) if self._regular(key) else None
            if shape not in ((), (3, 3), (len(self.decays), 3, 3)):
                raise ValueError(
                    f"{key}: needs one number, a 3 x 3 table by {', '.join(KINDS)}, or one for each of the "
                    f"{len(self.decays)} decays"
                )
        if np.max(self.same_side) > 1.0:
            raise ValueError(f"same_side: shares must be at most 1, got {np.max(self.same_side):g}")
        if (radius := self.radius()) >= 1.0:
            raise ValueError(
                f"branching: an order must bring fewer than one other, or the flow explodes; its branching ratio "
                f"(spectral radius, with cross) is {radius:.4g}"
            )
        return self

    def _regular(self, key: str) -> bool:
        try:
            return np.asarray(getattr(self, key), dtype=np.float64).dtype == np.float64
        except ValueError:
            return False

    def kernel(self) -> np.ndarray:
        """(M, 3, 2, 3) float64 orders brought directly: by decay, kind of the cause, same side or opposite, kind of the effect."""
        m = len(self.decays)
        given, share = (np.asarray(x, dtype=np.float64) for x in (self.branching, self.same_side))
        if given.ndim == 0:
            given = given * np.eye(3)
        if given.ndim == 2:
            given = np.broadcast_to(given / m, (m, 3, 3))
        share = np.broadcast_to(share, (m, 3, 3))
        return np.stack([given * share, given * (1.0 - share)], axis=2)

    def radius(self) -> float:
        """The branching ratio: orders that an order brings in the end are 1 / (1 - it)."""
        direct = self.kernel().sum(axis=(0, 2)) + self.cross * np.eye(3)
        return float(np.abs(np.linalg.eigvals(direct)).max())


class MetaorderConfig(Section):
    """Long memory of the sides of market orders (Lillo, Mike, Farmer 2005): each is a part of one of several hidden orders,
    whose lengths have a heavy tail. Signs then correlate as lag^-(exponent - 1); their Hurst exponent is (3 - exponent) / 2."""

    active: Annotated[Int, Field(ge=1, le=64)] = 10  # hidden orders at any time
    exponent: Annotated[Float, Field(gt=1, le=10)] = 1.5  # P(parts >= n) = n^-exponent
    longest: Annotated[Int, Field(ge=1, le=1_000_000)] = 10_000  # parts
    share: Fraction = 1.0  # of the market orders that no other brought, that are such parts; others' sides are as excitation and tilt have it


class ReactiveConfig(Section):
    """Rates that depend on the state of the book (Huang, Lehalle, Rosenbaum 2015): multipliers of the tables, by the spread
    and by the lots at the best price of the side concerned (of a market order: those that it meets)."""

    spreads: list[Annotated[Int, Field(ge=1, le=1024)]] = [1]  # smallest spread of each bin, ticks, from 1 up
    queues: list[Annotated[Int, Field(ge=0, le=1 << 30)]] = [0]  # smallest lots of each bin, from 0 up
    limit: Table = [[1.0]]  # [spread][lots]
    market: Table = [[1.0]]
    cancel: Table = [[1.0]]
    placement: Table | None = None  # by spread: weights of the entries of limit_rates, in their place

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, first in (("spreads", 1), ("queues", 0)):
            bins = getattr(self, key)
            if not bins or bins[0] != first or sorted(set(bins)) != bins or len(bins) > 32:
                raise ValueError(
                    f"{key}: must be at most 32 numbers that rise, the first {first}, got {bins[:9]}"
                )
        shape = (len(self.spreads), len(self.queues))
        for key in KINDS:
            table = getattr(self, key)
            if len(table) not in (1, shape[0]) or {len(row) for row in table} - {1, shape[1]}:
                raise ValueError(f"{key}: needs {shape[0]} rows (spreads) of {shape[1]} multipliers (queues)")
            if np.max([max(row) for row in table]) > 1000.0:
                raise ValueError(f"{key}: multipliers must be at most 1000")
        if self.placement is not None:
            if len(self.placement) != shape[0]:
                raise ValueError(
                    f"placement: needs a row for each of the {shape[0]} spreads, got {len(self.placement)}"
                )
            if any(sum(row) <= 0 for row in self.placement):
                raise ValueError("placement: the weights of a row must not all be zero")
        return self

    def multipliers(self) -> np.ndarray:
        """(3, S, Q) float64 by kind, spread and lots."""
        shape = (len(self.spreads), len(self.queues))
        return np.stack([np.broadcast_to(_square(getattr(self, key), shape), shape) for key in KINDS])


def _square(table: Table, shape: tuple[int, int]) -> np.ndarray:
    """Rows of one entry hold for all columns."""
    return np.stack([np.broadcast_to(np.asarray(row, dtype=np.float64), shape[1]) for row in table])


class FlowConfig(Section):
    """Noise flow of one book: rates per second and side, by distance in ticks from the opposite best (1, 2, ...), or with
    `reference: own` by ticks behind the side's own best."""

    intensity: NonNegative = 12.0  # limit orders /s a side, spread over distances as below
    distances: Annotated[Int, Field(ge=1, le=16384)] = 32  # furthest placement, ticks from the opposite best
    spread_preference: Positive = 3.0  # distance of the most frequent placement, ticks
    placement_decay: Positive = 6.0  # ticks over which placement falls off beyond the preferred distance
    market_rate: NonNegative = 2.0  # market orders /s a side
    cancel_rate: NonNegative = 0.12  # fraction of the resting quantity cancelled per second
    limit_rates: list[NonNegative] | None = None  # explicit table in place of intensity and placement
    cancel_rates: list[NonNegative] | None = None  # explicit table by distance; its last entry holds beyond
    reference: Literal["opposite", "own"] = (
        "opposite"  # best price from which the tables count; own needs limit_rates
    )
    inside: Annotated[Int, Field(ge=0, le=1024)] = (
        0  # own: the first entries of limit_rates, which better the best price by so many, ..., 2, 1 ticks
    )
    hawkes: HawkesConfig | None = None  # features of real flow, each off unless given
    metaorders: MetaorderConfig | None = None
    reactive: ReactiveConfig | None = None
    limit_size: SizeConfig = SizeConfig(mean=3.0)
    market_size: SizeConfig = SizeConfig(mean=4.0)
    cancel_size: SizeConfig = SizeConfig(mean=3.0)
    # A cancel takes round lots, or all that is odd at its level: a book by levels does not know where an order ends.
    round_lot: Annotated[Int, Field(ge=1, le=1_000_000)] = 1  # lots
    tilt: Annotated[Float, Field(ge=0, le=100)] = (
        0.04  # P(buy) - 1/2 per tick of fundamental above the mid, market and limit orders
    )
    tilt_max: Annotated[Float, Field(ge=0, le=0.5)] = 0.2  # bound of that tilt
    revision_rate: NonNegative = 0.0  # per second: quotes that the fundamental leaves stale are withdrawn and turn into quotes of the other side; 0: never
    warmup: Annotated[Float, Field(ge=0, le=1e5)] = (
        20.0  # seconds of flow run at reset before the first decision
    )
    initial_depth: Annotated[Int, Field(ge=0, le=1_000_000)] = 12  # lots at each level when a book is made
    initial_spread: Annotated[Int, Field(ge=1, le=1024)] = 2  # ticks when a book is made

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("limit_rates", "cancel_rates"):
            table = getattr(self, key)
            if table is not None and not 1 <= len(table) <= 16384:
                raise ValueError(f"{key}: needs 1 to 16384 entries, got {len(table)}")
        if self.limit_rates is None and not self._shape().sum() > 0.0:
            raise ValueError(
                f"spread_preference: no placement is left within {self.distances} distances at "
                f"placement_decay {self.placement_decay:g}; use larger values"
            )
        if self.reference == "own" and self.limit_rates is None:
            raise ValueError("reference: own needs limit_rates, the table by ticks behind the own best")
        if self.inside and (self.reference != "own" or self.inside >= len(self.limit_rates or [])):
            raise ValueError(
                "inside: counts entries of limit_rates before that at the own best (reference: own)"
            )
        placement = self.reactive.placement if self.reactive else None
        if placement and (bad := {len(row) for row in placement} - {len(self.limit_table())}):
            raise ValueError(
                f"reactive.placement: rows need as many weights as there are limit rates ({len(self.limit_table())}), got {bad.pop()}"
            )
        if self.hawkes is not None:
            self._check_baseline(self.hawkes)
        return self

    def _check_baseline(self, hawkes: HawkesConfig) -> None:
        rates = self.mean_rates()
        if rates.min() <= 0:
            raise ValueError(
                f"hawkes: needs limit and market orders, and more lots placed than traded; {KINDS[int(rates.argmin())]} "
                f"orders are {rates.min():.4g} /s a side"
            )
        brought = rates @ hawkes.kernel().sum(axis=(0, 2)) / rates + hawkes.cross
        if brought.max() > 1.0:
            raise ValueError(
                f"hawkes.branching: {KINDS[int(brought.argmax())]} orders: others bring {brought.max():.4g} of the mean rate "
                "that the tables say, more than all of it; lower what brings them"
            )
        if self.reactive is not None:
            least = self.reactive.multipliers().min(axis=(1, 2))
            radius = float(np.abs(np.linalg.eigvals(hawkes.kernel().sum(axis=(0, 2)) * least)).max())
            if radius >= 1.0:
                raise ValueError(
                    f"reactive: with multipliers of at least {', '.join(f'{v:g}' for v in least)} ({', '.join(KINDS)}) orders bring "
                    f"more than one other each in every state (branching ratio {radius:.4g}), and the flow explodes; they should be 1 "
                    "in the mean"
                )

    def mean_rates(self) -> np.ndarray:
        """(3,) float64 orders per second and side by KINDS; of cancels what leaves the book as large as it is."""
        limit, market = self.limit_table().sum(), self.market_rate
        cancel = (
            limit * self.limit_size.average() - market * self.market_size.average()
        ) / self.cancel_size.average()
        if self.hawkes is not None and self.hawkes.cancels is not None:
            cancel = self.hawkes.cancels
        return np.array([limit, market, cancel])

    def limit_table(self) -> np.ndarray:
        """(D,) float64: limit orders per second and side at distances 1..D."""
        if self.limit_rates is not None:
            return np.asarray(self.limit_rates, dtype=np.float64)
        shape = self._shape()
        return self.intensity * shape / shape.sum()

    def _shape(self) -> np.ndarray:
        """(D,) float64: placement by distance, rising to the preferred one, then falling off exponentially."""
        i = np.arange(1, self.distances + 1, dtype=np.float64)
        rise = np.minimum(i / self.spread_preference, 1.0)
        return rise * np.exp(-np.maximum(i - self.spread_preference, 0.0) / self.placement_decay)

    def cancel_table(self) -> np.ndarray:
        """(D',) float64: fraction of resting quantity cancelled per second at distances 1..D'."""
        return np.asarray(
            self.cancel_rates if self.cancel_rates is not None else [self.cancel_rate], dtype=np.float64
        )


class RegimeConfig(Section):
    """Multipliers of the flow tables and of the fundamentals' volatility while the regime lasts."""

    limit: NonNegative = 1.0
    market: NonNegative = 1.0
    cancel: NonNegative = 1.0
    volatility: NonNegative = 1.0
    widen: Annotated[Int, Field(ge=0, le=1024)] = 0  # ticks added to every placement distance


class RegimesConfig(Section):
    kinds: dict[str, RegimeConfig] = {
        "normal": RegimeConfig(),
        "stress": RegimeConfig(limit=0.7, market=1.3, cancel=1.3, volatility=2.5, widen=2),
    }
    initial: dict[str, NonNegative] = {"normal": 0.8, "stress": 0.2}  # probabilities at reset
    switch_rates: dict[str, dict[str, NonNegative]] = {  # per second, from -> to
        "normal": {"stress": 0.002},
        "stress": {"normal": 0.01},
    }

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.kinds:
            raise ValueError("kinds: needs at least one regime")
        if len(self.kinds) > 64:
            raise ValueError(f"kinds: at most 64 regimes, got {len(self.kinds)}")
        named = (
            set(self.initial) | set(self.switch_rates) | {t for d in self.switch_rates.values() for t in d}
        )
        if unknown := sorted(named - set(self.kinds)):
            raise ValueError(
                f"initial/switch_rates: unknown regime {unknown[0]!r}; kinds are {sorted(self.kinds)}"
            )
        if abs(sum(self.initial.values()) - 1.0) > 1e-6:
            raise ValueError(f"initial: probabilities must sum to 1, got {sum(self.initial.values()):g}")
        for start, targets in self.switch_rates.items():
            if start in targets:
                raise ValueError(f"switch_rates.{start}: must not name itself")
        return self

    @property
    def names(self) -> list[str]:
        return list(self.kinds)


class IntradayConfig(Section):
    """The pattern of the day: multipliers by time of day, and episodes that start at any time of it."""

    start: Annotated[Float, Field(ge=0, le=86400)] = 34200.0  # seconds after midnight
    width: Positive = 1800.0  # seconds of each entry
    activity: Annotated[list[Positive], Field(min_length=1, max_length=512)] = [
        2.0, 1.4, 1.1, 0.9, 0.8, 0.75, 0.7, 0.7, 0.75, 0.85, 1.0, 1.3, 1.9,
    ]  # of all rates of the flow: time runs faster  # fmt: skip
    volatility: list[Positive] | None = None  # of the fundamentals; None: square root of activity

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.volatility is not None and len(self.volatility) != len(self.activity):
            raise ValueError(
                f"volatility: needs {len(self.activity)} entries, as activity has, got {len(self.volatility)}"
            )
        return self
