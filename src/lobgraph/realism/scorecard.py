"""The scorecard: every stylised fact and every distance of a simulated market, beside the data's.

In: simulated and recorded days, paired by name. Out: two tables, and what figures draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..data.facts import Day, market_orders
from ..data.nasdaq10 import Snapshots
from ..data.recording import DataError
from .distances import MEANS, compare_scores
from .facts import (
    HORIZONS,
    LAGS,
    RANGES,
    Fact,
    absolute_moments,
    correlation_facts,
    lag_autocorrelation,
    stylised_facts,
)
from .sampling import alike, part
from .scores import Score, scores

ALL = "all"  # stands for a book where a fact is of several
SIGN_LAGS = 100  # market orders
FLOORS = (
    "floor",
    "earlier",
)  # distances of real data from real: halves of what is judged; what came before it


@dataclass(frozen=True)
class Shown:
    """What the figures of one book draw, simulated and real."""

    scores: tuple[dict[str, Score], dict[str, Score]]
    absolute: tuple[np.ndarray, np.ndarray]  # (LAGS,) autocorrelation of |1 s returns|; NaN where too short
    signs: tuple[np.ndarray, np.ndarray]  # (SIGN_LAGS,) of the sides of market orders


@dataclass(frozen=True)
class Scorecard:
    """How like the data a market is."""

    name: str
    facts: pd.DataFrame  # book, fact, range, data(_low, _high), simulated(_low, _high), verdict, note
    distances: pd.DataFrame  # book, columns of `distances`, and for each of FLOORS its l1 and wasserstein
    shown: dict[str, Shown]  # by book
    notes: list[str] = field(default_factory=list)

    def means(self) -> pd.DataFrame:
        """The mean distances alone, a row per book and mean."""
        of_means = np.isin(self.distances["score"].to_numpy(str), MEANS)
        return self.distances.loc[of_means].reset_index(drop=True)


def judge(
    simulated: Sequence[Day], real: Sequence[Day], earlier: Sequence[Day] = (), *, name: str = "simulated",
    resamples: int = 200, seed: int = 0,
) -> Scorecard:  # fmt: skip
    """Compare simulated days with recorded ones of the same names (one with one whatever the names).

    `earlier`: data of the same assets from before what is judged: its distance from it is what a market fitted to the
    past could hope for. Raises DataError where days cannot be paired or compared.
    """
    pairs = _pairs(simulated, real)
    before = {d.name: d for d in earlier}
    facts, tables, shown, notes = [], [], {}, []
    for s, r in pairs:
        s, r = alike(s, r)
        if isinstance(r, Snapshots):
            notes.append(f"{r.name}: snapshots; what needs single messages is not measured: {NEEDS_MESSAGES}")
        of_s, of_r = scores(s), scores(r)
        table = compare_scores(of_s, of_r, resamples, seed)
        floors = {"floor": _halves(r)} | (
            {"earlier": (before[r.name], r)} if r.name in before else {"earlier": None}
        )
        for key, two in floors.items():
            found = None if two is None else compare_scores(scores(two[0]), scores(two[1]), 0)
            for measure in ("l1", "wasserstein"):
                table[f"{key}_{measure}"] = np.nan if found is None else found[measure]
        tables.append(table.assign(book=r.name))
        facts.append(_side_by_side(r.name, stylised_facts(s, seed=seed), stylised_facts(r, seed=seed)))
        shown[r.name] = Shown((of_s, of_r), _twice(_absolute, s, r), _twice(_signs, s, r))
    if len(pairs) > 1:
        both = [correlation_facts([alike(*p)[k] for p in pairs], seed=seed) for k in range(2)]
        facts.append(_side_by_side(ALL, *both))
    distances = pd.concat(tables, ignore_index=True)
    order = ["book", *(c for c in distances.columns if c != "book")]
    return Scorecard(
        name, pd.concat(facts, ignore_index=True), distances.reindex(columns=order), shown, notes
    )


NEEDS_MESSAGES = (
    "inter-arrival times, times to cancel, depths and levels of orders and cancels, counts of messages"
)


def _pairs(simulated: Sequence[Day], real: Sequence[Day]) -> list[tuple[Day, Day]]:
    if len(simulated) == len(real) == 1:
        return [(simulated[0], real[0])]
    by_name = {d.name: d for d in simulated}
    if missing := [d.name for d in real if d.name not in by_name]:
        raise DataError(
            f"{missing[0]}: the market has no book of that name; it has {', '.join(by_name)}: name books as the data is"
        )
    return [(by_name[d.name], d) for d in real]


def _halves(day: Day) -> tuple[Day, Day]:
    middle = 0.5e-9 * (day.start + day.end)
    return part(day, None, middle), part(day, middle, None)


def _side_by_side(book: str, simulated: list[Fact], real: list[Fact]) -> pd.DataFrame:
    own, data = ({f.name: f for f in facts} for facts in (simulated, real))
    rows = []
    for name in dict.fromkeys([*data, *own]):  # each side lacks what its returns are too few for
        r = data.get(name) or Fact(name, np.nan, note="the data is too short")
        s = own.get(name) or Fact(name, np.nan, note="the simulated market is too short")
        wanted = RANGES.get(r.name)
        rows.append(
            (book, r.name, wanted.text if wanted else "", r.value, r.low, r.high, s.value, s.low, s.high,
             verdict(s, r), s.note or r.note)
        )  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=["book", "fact", "range", "data", "data_low", "data_high", "simulated", "simulated_low",
                 "simulated_high", "verdict", "note"],
    )  # fmt: skip


def verdict(simulated: Fact, real: Fact) -> str:
    """yes: within the range of real markets. as the data: outside it, as the data is, within the two intervals. Else no.

    "-" where it cannot be measured. Facts without a range: whether the intervals overlap.
    """
    if not (np.isfinite(simulated.value) and np.isfinite(real.value)):
        return "-"
    overlap = simulated.low <= real.high and real.low <= simulated.high
    wanted = RANGES.get(simulated.name)
    if wanted is None:
        return "as the data" if overlap else "no"
    if wanted.low <= simulated.value <= wanted.high:
        return "yes"
    outside = not wanted.low <= real.value <= wanted.high
    return "as the data" if outside and overlap else "no"


def _twice(function, one: Day, two: Day) -> tuple[np.ndarray, np.ndarray]:
    return function(one), function(two)


def _absolute(day: Day) -> np.ndarray:
    sums = absolute_moments(day, LAGS)
    return np.full(LAGS, np.nan) if sums is None else lag_autocorrelation(sums.sum(axis=0))


def _signs(day: Day) -> np.ndarray:
    x = market_orders(day).side.astype(np.float64)
    if len(x) < 4 * SIGN_LAGS:
        return np.full(SIGN_LAGS, np.nan)
    x = x - x.mean()
    return np.array([(x[lag:] @ x[:-lag]) / (x @ x) for lag in range(1, SIGN_LAGS + 1)])


def correlation_curve(card: Scorecard) -> pd.DataFrame:
    """Rows of the mean correlation by horizon; empty for one asset."""
    horizon = {f"correlation, {h} s": h for h in HORIZONS}
    found = card.facts.loc[np.isin(card.facts["fact"].to_numpy(str), list(horizon))]
    return found.assign(horizon=[horizon[name] for name in found["fact"]])
