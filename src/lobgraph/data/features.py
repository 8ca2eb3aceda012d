"""Recorded days -> the features of their order flow, each by its own estimator, each given the others where they meet.

Order: the day's pattern, regimes beside it, then state and excitation in turns (each is fitted with what the other explains
taken as known), the memory of signs beside excitation, lags at last. What the data do not allow is left out and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..config import FlowConfig
from .events import MARKET, Events, events
from .facts import Day
from .hawkes import GRID, HawkesFit, excitation, fit_hawkes
from .intraday import IntradayFit, fit_intraday
from .lag import LagFit, fit_lag
from .metaorders import MetaorderFit, fit_metaorders
from .reactive import ReactiveFit, States, fit_reactive, scale_of, states_of
from .recording import NS, DataError
from .regimes import RegimeFit, fit_regimes
from .signs import market_signs
from .tables import Tables

FEATURES = ("hawkes", "metaorders", "reactive", "intraday", "lag", "regimes")
FASTEST_NET = 5.0  # decay that snapshots every 100 ms can tell, per second
LEAST_EVENTS = 200  # of each kind, for excitation and reaction
LEAST_SHARE = 0.01  # of metaorders
TURNS = 3  # of excitation and reaction

Fit = TypeVar("Fit")


@dataclass
class Features:
    """What was found; None, or an empty list, where a feature is off."""

    hawkes: list[HawkesFit | None]
    metaorders: list[MetaorderFit | None]
    reactive: list[ReactiveFit | None]
    intraday: IntradayFit | None = None
    lag: LagFit | None = None
    regimes: RegimeFit | None = None
    notes: list[str] = field(default_factory=list)
    strength: list[float] = field(
        default_factory=list
    )  # of excitation in the scenario, by book; empty: as fitted

    def of_flow(
        self, book: int, flow: dict[str, Any], placement: np.ndarray | None, happen: np.ndarray
    ) -> dict[str, Any]:
        """The keys of `flow` of one book with its features. `placement` (S, D): by spread, in the place of the fit's own;
        `happen` (3,): measured events per second and side, by kind."""
        hawkes, metaorders, reactive = self.hawkes[book], self.metaorders[book], self.reactive[book]
        if reactive:
            section = reactive.section()
            if placement is not None:
                section["placement"] = [[float(f"{v:.4g}") for v in row] for row in placement]
            flow = flow | {"reactive": section}
        if metaorders:
            flow = flow | {"metaorders": metaorders.section()}
        strength = self.strength[book] if self.strength else 1.0
        if hawkes and strength > 0:
            rates = FlowConfig(**flow).mean_rates()
            rates[2] = float(f"{happen[2]:.5g}")
            flow = flow | {"hawkes": hawkes.section(rates, strength, happen) | {"cancels": float(rates[2])}}
        return flow

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Settings found and how well they fit: one row per book (or `all`), feature and figure."""
        rows = []
        for a, name in enumerate(names):
            for feature in ("hawkes", "metaorders", "reactive"):
                if fit := getattr(self, feature)[a]:
                    rows += [(name, feature, key, value) for key, value in fit.figures().items()]
            if self.hawkes[a] and self.strength:
                rows.append((name, "hawkes", "strength in the scenario", self.strength[a]))
            if self.lag:
                rows += [(name, "lag", key, value) for key, value in self.lag.figures(a).items()]
        for feature in ("intraday", "regimes"):
            if fit := getattr(self, feature):
                rows += [("all", feature, key, value) for key, value in fit.figures().items()]
        return pd.DataFrame(rows, columns=["book", "feature", "figure", "value"])


def wanted(features: Sequence[str] | str) -> tuple[str, ...]:
    """Names of features from a list, 'all', 'none' or names with commas. Raises DataError for an unknown one."""
    names = [n.strip() for n in features.split(",")] if isinstance(features, str) else list(features)
    if names in (["all"], ["none"], []):
        return FEATURES if names == ["all"] else ()
    if unknown := [n for n in names if n not in FEATURES]:
        raise DataError(f"features: {unknown[0]!r} is none of {', '.join(FEATURES)}, all, none")
    return tuple(f for f in FEATURES if f in names)


def measure_features(
    days: Sequence[Day], tables: Sequence[Tables], features: Sequence[str], window: float = 10.0, must: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Features:  # fmt: skip
    """Fit `features` (names of FEATURES). `window`: seconds over which regimes are told apart. `must`: raise DataError for
    one that the data do not allow, instead of a note."""
    flows = [events(d) for d in days]
    found = Features([None] * len(days), [None] * len(days), [None] * len(days))

    def attempt(name: str, fit: Callable[[], Fit]) -> Fit | None:
        if name not in features:
            return None
        try:
            return fit()
        except DataError as error:
            if must:
                raise
            found.notes.append(f"left out: {error}")
            return None

    found.intraday = attempt("intraday", lambda: fit_intraday(days, flows))
    found.regimes = attempt("regimes", lambda: fit_regimes(days, window, found.intraday))
    found.lag = attempt("lag", lambda: fit_lag(days))
    for a, (day, flow, table) in enumerate(zip(days, flows, tables, strict=True)):
        report(f"calibrate: features of {day.name}")
        activity = _activity(day, flow, found)
        states = states_of(day, flow, table)
        pair = attempt("reactive", lambda: _both(day, flow, states, table, activity, features))  # noqa: B023
        if pair is None:
            pair = None, attempt("hawkes", lambda: _hawkes(day, flow, states, activity, None))  # noqa: B023
        found.reactive[a], hawkes = pair
        found.hawkes[a] = hawkes
        signs = np.where(flow.side[flow.kind == MARKET] == 0, 1, -1)
        found.metaorders[a] = attempt("metaorders", lambda: _metaorders(signs, flow, hawkes))  # noqa: B023
        if (fit := found.metaorders[a]) and fit.share < LEAST_SHARE:
            found.metaorders[a] = None
            found.notes.append(f"{day.name}: metaorders left out: excitation explains the memory of signs")
        if hawkes and hawkes.bound:
            kinds = " and ".join(hawkes.bound)
            found.notes.append(
                f"{day.name}: hawkes: hardly any {kinds} orders come by themselves; held at the bound"
            )
    return found


def _activity(day: Day, flow: Events, found: Features) -> np.ndarray:
    """(n + 1, 3, 2) what time of day and regime say of the rates in each stretch between events."""
    time = day.start / NS + np.concatenate([[0.0], flow.time])
    rate = np.ones((len(time), 3))
    if found.intraday:
        rate *= found.intraday.at(time)[:, None]
    if found.regimes:
        rate *= found.regimes.activity((time * NS).astype(np.int64))
    return np.repeat(rate[:, :, None], 2, axis=2)


def _both(
    day: Day, flow: Events, states: States, table: Tables, activity: np.ndarray, features: Sequence[str]
) -> tuple[ReactiveFit, HawkesFit | None]:
    """Reaction, and excitation beside it: in turns, until neither explains what is the other's."""
    _enough(day, flow, "reactive")
    drive, hawkes = activity, None
    reactive = fit_reactive(flow, states, table, drive)
    for _ in range(TURNS if "hawkes" in features else 0):
        hawkes = _hawkes(day, flow, states, activity, reactive)
        reactive = fit_reactive(flow, states, table, activity * excitation(flow, hawkes))
    return reactive, hawkes


def _hawkes(
    day: Day, flow: Events, states: States, activity: np.ndarray, reactive: ReactiveFit | None
) -> HawkesFit:
    _enough(day, flow, "hawkes")
    scale = scale_of(reactive, states, activity)
    grid = [d for d in GRID if d <= FASTEST_NET] if not hasattr(day, "type") else GRID
    return fit_hawkes(flow, scale, grid)


def _enough(day: Day, flow: Events, what: str) -> None:
    if (least := int(np.bincount(flow.kind, minlength=3).min())) < LEAST_EVENTS:
        raise DataError(f"{what}: {day.name}: needs {LEAST_EVENTS} orders of each kind, got {least}")


def _metaorders(signs: np.ndarray, flow: Events, hawkes: HawkesFit | None) -> MetaorderFit:
    """Memory of signs beside that which excitation brings. The two act on each other (parts excite orders of their side, and
    take orders from those excited), so that candidates are simulated with both."""
    if hawkes is None:
        return fit_metaorders(signs)
    rates = np.bincount(flow.kind, minlength=3) / (2.0 * flow.seconds)
    alone = market_signs(hawkes, rates, None)
    return fit_metaorders(signs, lambda m: market_signs(hawkes, rates, m) if m else alone)
