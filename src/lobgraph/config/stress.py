"""What befalls a market: events at set or random times, and the rule that halts trading.

Times of events are whole decisions: an event begins with the decision interval that holds its time and lasts for whole ones.
What each kind does: docs/stress.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from .types import Float, Fraction, NonNegative, Positive, Section

Kind = Literal["crash", "volatility", "drought", "shock", "fat_finger", "halt"]
Side = Literal["buy", "sell", "both", "random"]


class Shape(NamedTuple):
    """What an event of a kind is made of: its defaults, and what may be said of it. None: has no such thing."""

    magnitude: float | None
    least: float
    most: float
    unit: str
    duration: float | None  # seconds
    sides: tuple[Side, ...]  # the first is the default


_WAYS: tuple[Side, ...] = ("sell", "buy", "random")
SHAPES: dict[Kind, Shape] = {
    "crash": Shape(8.0, 1.0, 1000.0, "times the rate of market orders", 10.0, (*_WAYS, "both")),
    "volatility": Shape(4.0, 0.0, 1000.0, "times the fundamentals' volatility", 30.0, ()),
    "drought": Shape(0.8, 0.0, 1.0, "share by which limit orders fall", 30.0, ("both", *_WAYS)),
    "shock": Shape(20.0, 0.0, 1e5, "ticks, or standard deviations of one second", None, _WAYS),
    "fat_finger": Shape(200.0, 1.0, 1e9, "lots", None, _WAYS),
    "halt": Shape(None, 0.0, 0.0, "", 10.0, ()),
}


class EventConfig(Section):
    """An event; what is None has the default of its kind, see SHAPES."""

    kind: Kind
    at: NonNegative | Literal["random", "never"] | None = (
        None  # seconds of the episode; random: once, uniformly within it; never: all as with it, to compare with
    )
    rate: Positive | None = (
        None  # per second, in place of `at`: at random times, the next not before the last has ended
    )
    magnitude: NonNegative | None = None  # in the kind's unit
    unit: Literal["ticks", "deviations"] = (
        "ticks"  # of a shock; deviations: of its fundamental's moves in one second
    )
    withdraw: Fraction | None = None  # a drought's: share of the resting noise lots that leave at its start
    duration: Positive | None = None  # seconds, rounded to whole decisions, at least one
    books: Annotated[list[str], Field(min_length=1)] | None = None  # None: all
    side: Side | None = (
        None  # of the orders, of the book that dries up (buy: bids), of the fundamentals' move
    )
    show: bool = False  # whether agents see that it goes on

    @model_validator(mode="after")
    def _check(self) -> Self:
        shape, kind = SHAPES[self.kind], self.kind
        if (self.at is None) == (self.rate is None):
            raise ValueError(
                "at: an event needs a time (at: seconds, random or never) or a rate, and not both"
            )
        for key in ("magnitude", "duration"):
            if getattr(shape, key) is None and getattr(self, key) is not None:
                raise ValueError(f"{key}: a {kind} has none")
        if self.magnitude is not None and not shape.least <= self.magnitude <= shape.most:
            raise ValueError(
                f"magnitude: of a {kind} must be {shape.least:g} to {shape.most:g} ({shape.unit}), "
                f"got {self.magnitude:g}"
            )
        if kind == "fat_finger" and self.magnitude is not None and self.magnitude % 1:
            raise ValueError(f"magnitude: of a {kind} must be whole lots, got {self.magnitude:g}")
        if self.unit != "ticks" and kind != "shock":
            raise ValueError(f"unit: belongs to a shock; a {kind} has its own")
        if self.withdraw is not None and kind != "drought":
            raise ValueError(f"withdraw: belongs to a drought, not to a {kind}")
        if self.side is not None and self.side not in shape.sides:
            raise ValueError(
                f"side: of a {kind} must be {', '.join(shape.sides)}, got {self.side!r}"
                if shape.sides
                else f"side: a {kind} has none"
            )
        return self

    @property
    def size(self) -> float:
        """Its magnitude, 0 where there is none."""
        given = SHAPES[self.kind].magnitude if self.magnitude is None else self.magnitude
        return given or 0.0

    @property
    def seconds(self) -> float:
        """How long it lasts; 0: for the one decision interval in which it comes."""
        given = SHAPES[self.kind].duration if self.duration is None else self.duration
        return given or 0.0

    @property
    def way(self) -> Side | None:
        """Its side."""
        sides = SHAPES[self.kind].sides
        return self.side or (sides[0] if sides else None)

    @property
    def share(self) -> float:
        """Of the resting noise lots that leave when it begins."""
        return 0.0 if self.kind != "drought" else 0.5 if self.withdraw is None else self.withdraw


class BreakerConfig(Section):
    """A circuit breaker: a mid that has moved too far within a rolling window halts its book."""

    move: Positive | None = None  # ticks; a larger move from any mid of the window halts
    percent: Annotated[Float, Field(gt=0, le=100)] | None = None  # likewise, of that mid
    window: Positive = 60.0  # seconds, whole decisions; it starts anew when trading resumes
    halt: Positive = 30.0  # seconds
    books: Literal["own", "all"] = "own"  # which are halted
    show: bool = False  # whether agents see that books are halted

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.move is None) == (self.percent is None):
            raise ValueError("move: say how far the mid may move, in ticks (move) or in percent (percent)")
        return self
