"""Parameters of every model, with the published values as defaults, and how much to simulate.

In: a tree of plain values and `model.key=value` overrides. Out: one frozen `Settings`; a fault raises ConfigError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from ..config import ConfigError, Float, Int, NonNegative, Section, make_section
from .known_settings import AlmgrenChriss, AvellanedaStoikov, CjExecution, CjMaking, Pair
from .queues import stationary

Rate = Annotated[Float, Field(ge=1e-4, le=1e4)]
Lots = Annotated[Int, Field(ge=1, le=40)]
Ticks = Annotated[Int, Field(ge=1, le=100)]
Many = Annotated[Int, Field(ge=100, le=100_000_000)]
Scale = Annotated[Float, Field(ge=1e-6, le=1e6)]

CST_LIMIT = (1.85, 1.51, 1.09, 0.88, 0.77)
CST_CANCEL = (0.71, 0.81, 0.68, 0.56, 0.47)
MOST_ORDERS = 500_000


class ZeroIntelligence(Section):
    """Smith, Farmer, Gillemot, Krishnamurthy 2003: unit orders; rates per second and side."""

    limit_rate: Rate = 0.02
    """a: per tick, on every price up to the opposite best."""
    market_rate: Rate = 1.0
    """m: market orders a side."""
    cancel_rate: Rate | tuple[Rate, ...] = (0.002, 0.01, 0.03, 0.1, 0.3)
    """d: per order; a list: one book for each."""
    reach: Annotated[Int, Field(ge=1, le=8000)] = 800
    """Furthest placement, ticks from the opposite best."""
    precision: Annotated[Float, Field(ge=1e-4, le=0.1)] = 0.002
    """Relative standard error wanted."""
    max_time: Annotated[Float, Field(ge=1000, le=1e6)] = 30_000.0
    """Measured at most: mean times between market orders (1 / m) per book."""
    envs: Annotated[Int, Field(ge=8, le=4096)] = 64
    """Books run side by side."""
    QUICK: ClassVar[dict[str, Any]] = {"cancel_rate": [0.03, 0.3], "precision": 0.008}

    @property
    def cancel_rates(self) -> tuple[float, ...]:
        return self.cancel_rate if isinstance(self.cancel_rate, tuple) else (self.cancel_rate,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.cancel_rates:
            raise ValueError("cancel_rate: needs a rate, or a list of at least one")
        orders = 2.0 * self.reach * self.limit_rate / min(self.cancel_rates)
        if orders > MOST_ORDERS:
            raise ValueError(
                f"cancel_rate: {orders:,.0f} orders would rest in a book (2 * reach * limit_rate / cancel_rate), at most "
                f"{MOST_ORDERS:,}; use a cancel rate of at least {orders / MOST_ORDERS * min(self.cancel_rates):.2g}"
            )
        return self


class Cst(Section):
    """Cont, Stoikov, Talreja 2010: unit orders; rates per second and side, by distance 1, 2, ... ticks."""

    limit_rates: Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=500)] = CST_LIMIT
    """Limit orders at distance 1, 2, ..."""
    market_rate: Rate = 0.94
    """Market orders."""
    cancel_rates: Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=500)] = CST_CANCEL
    """Cancels per order, at distance 1, 2, ...; the last holds beyond."""
    bids: Annotated[tuple[Lots, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    """Orders at the best bid at the start."""
    asks: Annotated[tuple[Lots, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    """Orders at the best ask at the start."""
    spreads: Annotated[tuple[Ticks, ...], Field(min_length=1)] = (1, 2, 3)
    """Spreads at the start, ticks."""
    races: Many = 400_000
    """Races per pair of queues."""
    QUICK: ClassVar[dict[str, Any]] = {"races": 20_000, "bids": [1, 3], "spreads": [1, 2]}

    @property
    def published(self) -> bool:
        """Whether the rates are the paper's."""
        return (self.limit_rates, self.market_rate, self.cancel_rates) == (CST_LIMIT, 0.94, CST_CANCEL)

    def queue(self, spread: int) -> tuple[float, float, float, float]:
        """Rates of a best queue at a spread: birth, market, cancel per order, and limit orders inside the spread."""
        birth = self.limit_rates[spread - 1] if spread <= len(self.limit_rates) else 0.0
        cancel = self.cancel_rates[min(spread, len(self.cancel_rates)) - 1]
        return birth, self.market_rate, cancel, float(sum(self.limit_rates[: spread - 1]))


class LargeTick(Section):
    """Zero intelligence with market_rate far below limit_rate: queues at fixed prices. Rates per second and side."""

    limit_rate: Rate = 20.0
    """a: per tick."""
    market_rate: Rate = 1.0
    """m: market orders a side."""
    cancel_rate: Rate = 0.1
    """d: per order."""
    reach: Annotated[Int, Field(ge=2, le=32)] = 4
    """Furthest placement, ticks from the opposite best."""
    lifetimes: Annotated[Int, Field(ge=10, le=100_000)] = 400
    """Mean lifetimes of an order (1 / d) simulated."""
    envs: Annotated[Int, Field(ge=8, le=4096)] = 64
    """Books run side by side."""
    QUICK: ClassVar[dict[str, Any]] = {"lifetimes": 60}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.limit_rate / self.cancel_rate > 100_000:
            raise ValueError(
                "cancel_rate: limit_rate / cancel_rate orders rest at each price; at most 100,000"
            )
        empty = float(stationary(self.limit_rate, self.market_rate, self.cancel_rate)[0])
        if empty > 1e-7:
            raise ValueError(
                f"market_rate: the best queue would be empty {empty:.1e} of the time and the spread above one tick; "
                "use a market_rate further below limit_rate, or a lower cancel_rate (at most 1e-7)"
            )
        return self


class Kyle(Section):
    """Kyle 1985, single auction. Money and shares in units of the user's choice."""

    S0: Annotated[Float, Field(ge=1e-12, le=1e12)] = 1.0
    """Prior variance of the value, money^2."""
    sigma_u: Scale = 1.0
    """Standard deviation of the noise traders' order, shares."""
    p0: Annotated[Float, Field(ge=-1e9, le=1e9)] = 10.0
    """Prior mean of the value, money."""
    start_impact: Scale = 3.0
    """The maker's first lambda, money per share: where the search starts."""
    start_intensity: Scale = 0.2
    """The informed trader's first beta, shares per money."""
    auctions: Many = 800_000
    """Auctions measured; each round of the search takes a quarter."""
    rounds: Annotated[Int, Field(ge=2, le=200)] = 60
    """Rounds of the search, at most."""
    QUICK: ClassVar[dict[str, Any]] = {"auctions": 100_000}


class GlostenMilgrom(Section):
    """Glosten, Milgrom 1985, two values: one lot a trader."""

    mu: Annotated[Float, Field(gt=0, lt=1)] = 0.3
    """Share of informed traders."""
    V_L: Annotated[Float, Field(ge=-1e9, le=1e9)] = 0.0
    """Low value, money."""
    V_H: Annotated[Float, Field(ge=-1e9, le=1e9)] = 1.0
    """High value, money."""
    prior: Annotated[Float, Field(gt=0, lt=1)] = 0.5
    """Probability of V_H."""
    trades: Annotated[Int, Field(ge=1, le=6)] = 4
    """Traders in a row, each sees the trades before."""
    episodes: Annotated[Int, Field(ge=1000, le=100_000_000)] = 1_600_000
    """Episodes measured; as many again are learned from."""
    rounds: Annotated[Int, Field(ge=1, le=100)] = 4
    """Rounds in which the maker learns its quotes."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 160_000}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.V_L < self.V_H:
            raise ValueError(f"V_H: must exceed V_L ({self.V_L:g}), got {self.V_H:g}")
        return self


class Settings(Section):
    """All models."""

    zero_intelligence: ZeroIntelligence = ZeroIntelligence()
    cst: Cst = Cst()
    large_tick: LargeTick = LargeTick()
    kyle: Kyle = Kyle()
    glosten_milgrom: GlostenMilgrom = GlostenMilgrom()
    avellaneda_stoikov: AvellanedaStoikov = AvellanedaStoikov()
    cj_making: CjMaking = CjMaking()
    cj_execution: CjExecution = CjExecution()
    almgren_chriss: AlmgrenChriss = AlmgrenChriss()
    pair: Pair = Pair()


MODELS = tuple(Settings.model_fields)
TRAINING = ("ppo", "graph")  # sections of a training's configuration that --learning lets be set


def describe(models: Iterable[str] | None = None) -> str:
    """The parameters of the models as text: name, default, meaning."""
    lines = []
    for name in choose(models):
        section = Settings.model_fields[name].default
        lines += ["", f"{name}: {(type(section).__doc__ or '').strip()}"]
        for key, field in type(section).model_fields.items():
            value = field.default
            shown = str(list(value) if isinstance(value, tuple) else value).replace(" ", "")
            lines.append(f"  {name}.{key}={shown}".ljust(58) + f" {field.description}")
    return "\n".join(lines[1:])


def choose(models: Iterable[str] | None) -> list[str]:
    """The models asked for, in the order of MODELS; None or none: all. Raises ConfigError for an unknown name."""
    if isinstance(models, str):
        raise ConfigError(f"models: expected a list of names, got the string {models!r}")
    asked = list(models or MODELS)
    for name in asked:
        if name not in MODELS:
            raise ConfigError(f"model {name!r}: no such model; models are {', '.join(MODELS)}")
    return [name for name in MODELS if name in asked]


def make_settings(
    tree: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    quick: bool = False,
    models: Iterable[str] | None = None,
) -> Settings:
    """Settings from a tree {model: {key: value}} and overrides; `quick` changes the defaults of the counts only.

    Raises ConfigError for a fault, and for settings of a model that is not among `models`.
    """
    tree, overrides = dict(tree or {}), list(overrides)
    chosen = choose(models)
    for named in (*tree, *(text.partition("=")[0].partition(".")[0].strip() for text in overrides)):
        if named in MODELS and named not in chosen:
            raise ConfigError(f"{named}: has settings but is not run; models asked for: {', '.join(chosen)}")
    if quick:
        for name in MODELS:
            given = tree.get(name)
            if given is None or isinstance(given, Mapping):
                tree[name] = {**Settings.model_fields[name].default.QUICK, **(given or {})}
    return make_section(Settings, tree, overrides, "settings")
