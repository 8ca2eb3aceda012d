"""What an event did in an episode, in numbers, and what agents did to it, over episodes.

In: `Paths` in event time. Out: one row per episode and `who` (the market, a role, the noise), and effects with intervals.
Times of recovery count from the worst moment to the first at which half (90 %) of it is made up; where that does not come
within the time looked at, they are that time's rest, and the measure `..._late` says in which share of episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from .clusters import crossed_ratio
from .event_time import BEFORE, NOISE, Paths
from .intervals import interval, paired
from .measures import Measure
from .own import ratio

SMOOTH = 5  # steps over which spread and depth are averaged before their recovery is judged
MARKET = "market"
# fmt: off
STRESS_MEASURES: dict[str, Measure] = {
    "volatility": Measure("ticks/sqrt(s)", "root mean square of the mid's moves from the event's beginning on"),
    "fall": Measure("ticks", "the mid's largest move from where it was at the beginning, in the event's direction; where it has none, "
                    "either way"),
    "spread": Measure("ticks", "mean while the event lasts"),
    "depth": Measure("lots", "mean while the event lasts of the lots within depth_levels ticks of the best, both sides"),
    "spread_half": Measure("s", "from the widest spread until half of its widening is made up"),
    "spread_90": Measure("s", "likewise 90 %"),
    "depth_half": Measure("s", "from the thinnest book until half of what was lost is back"),
    "depth_90": Measure("s", "likewise 90 %"),
    "mid_half": Measure("s", "from the mid's furthest until half of the way back is made"),
    "mid_90": Measure("s", "likewise 90 %"),
    "halted": Measure("share", "of the time looked at in which the books are halted"),
    "resting_before": Measure("lots", "of one's own within depth_levels ticks of the best, before the event"),
    "resting_during": Measure("lots", "likewise while it lasts"),
    "resting_after": Measure("lots", "likewise afterwards"),
    "share_before": Measure("share", "of all depth there, before the event"),
    "share_during": Measure("share", "likewise while it lasts"),
    "share_after": Measure("share", "likewise afterwards"),
    "against_during": Measure("lots", "bought where prices fall, sold where they rise, less the opposite, while the event lasts; "
                              "of an event without direction: bought less sold"),
    "against_after": Measure("lots", "likewise afterwards"),
    "supplied_during": Measure("lots", "filled at rest while the event lasts"),
    "taken_during": Measure("lots", "filled by incoming orders while the event lasts"),
    "pnl_during": Measure("tick-lots", "change of equity of a role's agents together while the event lasts"),
    "pnl_after": Measure("tick-lots", "likewise afterwards, in the time looked at"),
}
# fmt: on
RATIOS = ("volatility", "fall")  # measures whose effects are factors too
KEYS = ["scenario", "actor", "event", "episode", "who"]


def measure_paths(p: Paths, direction: int, length: int, dt: float) -> pd.DataFrame:
    """One row per episode and who, columns STRESS_MEASURES and the shares of late recoveries; episodes in their order.

    direction: of prices, -1, +1 or 0; length: steps that the event lasts; dt: seconds of a step.
    """
    tables = [pd.DataFrame({"who": MARKET, **_of_market(p, direction, length, dt)})]
    tables += [pd.DataFrame({"who": who, **_of_one(p, who, direction, length)}) for who in p.resting]
    for table in tables:
        table["episode"] = np.arange(p.move.shape[1])
    columns = ["episode", "who", *STRESS_MEASURES, *LATE]
    return pd.concat(tables, ignore_index=True).reindex(columns=columns)


LATE = tuple(f"{name}_late" for name in STRESS_MEASURES if name.endswith(("_half", "_90")))


def _of_market(p: Paths, direction: int, length: int, dt: float) -> dict[str, np.ndarray]:
    after = p.offset >= 0
    steps = p.offset[after]
    during = after & (p.offset >= 1) & (p.offset <= length)  # states after its steps
    move = p.move[after]
    fall = np.abs(move) if direction == 0 else direction * move
    before = (p.offset < 0) & (p.offset >= -BEFORE)
    found = {
        "volatility": np.sqrt(_mean(p.square[after]) / dt),
        "fall": fall.max(axis=0, initial=-np.inf, where=~np.isnan(fall)),
        "spread": _mean(p.spread[during]),
        "depth": _mean(p.depth[during]),
        "halted": _mean(p.halted[after]),
    }
    found["fall"] = np.where(np.isfinite(found["fall"]), found["fall"], np.nan)
    lost = {
        "spread": smooth(p.spread[after]) - _mean(p.spread[before]),
        "depth": _mean(p.depth[before]) - smooth(p.depth[after]),
        "mid": fall,
    }
    for name, path in lost.items():
        for part, share in (("half", 0.5), ("90", 0.9)):
            time, late = recovery(path, share, steps)
            found[f"{name}_{part}"], found[f"{name}_{part}_late"] = time * dt, late
    return found


def _of_one(p: Paths, who: str, direction: int, length: int) -> dict[str, np.ndarray]:
    spans = {
        "before": p.offset <= 0,
        "during": (p.offset >= 1) & (p.offset <= length),
        "after": p.offset > length,
    }
    found = {}
    for name, rows in spans.items():
        found[f"resting_{name}"] = _mean(p.resting[who][rows])
        found[f"share_{name}"] = ratio(found[f"resting_{name}"], _mean(p.depth[rows]))
    flows = {"during": (p.offset >= 0) & (p.offset < length), "after": p.offset >= length}
    sign = -direction if direction else 1
    for name, rows in flows.items():
        found[f"against_{name}"] = sign * _sum(p.bought[who][rows])
    if who == NOISE:
        return found
    at = {name: p.equity[who][p.offset == row][0] for name, row in (("start", 0), ("stop", length))}
    found["supplied_during"] = _sum(p.supplied[who][flows["during"]])
    found["taken_during"] = _sum(p.taken[who][flows["during"]])
    found["pnl_during"] = at["stop"] - at["start"]
    found["pnl_after"] = _last(p.equity[who]) - at["stop"]
    return found


def recovery(path: np.ndarray, share: float, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps from the largest value of each column of `path` (R, B) until `share` of it is made up, and whether that is late.

    Late (1.0, else 0.0): it never is, and the steps are those that are left. NaN where nothing is lost.
    """
    known = np.where(np.isnan(path), -np.inf, path)
    worst = known.argmax(axis=0)
    most = known.max(axis=0)
    row = np.arange(len(path))[:, None]
    back = (row > worst) & (known <= (1.0 - share) * most) & ~np.isnan(path)
    last = (len(path) - 1) - (~np.isnan(path))[::-1].argmax(axis=0)
    there = back.any(axis=0)
    stop = np.where(there, back.argmax(axis=0), last)
    lost = most > 0
    time = np.where(lost, (steps[stop] - steps[worst]).astype(np.float64), np.nan)
    return time, np.where(lost, (~there).astype(np.float64), np.nan)


def smooth(x: np.ndarray) -> np.ndarray:
    """(R, B) means of each row and the SMOOTH - 1 after it, as far as there are."""
    parts = [np.pad(x[i:], ((0, i), (0, 0)), constant_values=np.nan) for i in range(SMOOTH)]
    known = ~np.isnan(parts)
    total = np.where(known, parts, 0.0).sum(axis=0)
    return np.where(known[0], ratio(total, known.sum(axis=0)), np.nan)


def effects(measures: pd.DataFrame, alone: str) -> pd.DataFrame:
    """What the events did, and what the actors did to that: a row per scenario, actor, who and measure.

    calm, event: means without and with the event. effect: event less calm, paired, with low, high and p. against: the
    effect less that in the market of `alone`, paired, likewise (of measures of the market). factor: event over calm,
    geometric mean over episodes for volatility; for the fall, mean with this actor over mean of `alone`, both with the
    event. factor_against: the volatility's factor over that of `alone`.
    """
    key: Any
    wide: dict[Any, Any] = {}
    for key, table in measures.groupby([*KEYS[:3], "who"], sort=False):
        wide[key] = table.set_index("episode").sort_index()
    rows = []
    for (scenario, actor, event, who), own in wide.items():
        if not event:
            continue
        calm = wide[scenario, actor, False, who]
        base = (wide.get((scenario, alone, True, who)), wide.get((scenario, alone, False, who)))
        for name in [*STRESS_MEASURES, *LATE]:
            if own[name].notna().any():
                found = {"scenario": scenario, "actor": actor, "who": who, "measure": name}
                rows.append(found | dict(_effect(own[name], calm[name], base, name, actor == alone)))
    return pd.DataFrame(rows)


def _effect(own: Any, calm: Any, base: tuple, name: str, itself: bool) -> Iterator[tuple[str, float]]:
    x, y = own.to_numpy(np.float64), calm.to_numpy(np.float64)
    level = interval(x)
    yield from (
        ("calm", _known_mean(y)),
        ("event", level.mean),
        ("event_low", level.low),
        ("event_high", level.high),
    )
    yield "n", level.n
    change = paired(x, y)
    yield from (("effect", change.mean), ("low", change.low), ("high", change.high), ("p", change.p))
    if base[0] is None or itself:
        if name == "volatility":
            yield from _factor(_log(x, y), "factor")
        return
    x0, y0 = (t[name].to_numpy(np.float64) for t in base)
    against = paired(x - y, x0 - y0)
    yield from (("against", against.mean), ("against_low", against.low), ("against_high", against.high))
    yield "against_p", against.p
    level = paired(x, x0)
    yield from (
        ("beside", level.mean),
        ("beside_low", level.low),
        ("beside_high", level.high),
        ("beside_p", level.p),
    )
    if name == "volatility":
        yield from _factor(_log(x, y), "factor")
        yield from _factor(_log(x, y) - _log(x0, y0), "factor_against")
    if name == "fall":
        known = ~(np.isnan(x) | np.isnan(x0))
        over = crossed_ratio(x[None, known], x0[None, known])
        yield from (
            ("factor_against", over.mean),
            ("factor_against_low", over.low),
            ("factor_against_high", over.high),
        )


def _factor(logs: np.ndarray, name: str) -> Iterator[tuple[str, float]]:
    found = interval(logs)
    for key, value in (("", found.mean), ("_low", found.low), ("_high", found.high)):
        yield name + key, float(np.exp(value))


def _log(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log(x / y), NaN where one of them is not above zero."""
    good = (x > 0) & (y > 0)
    return np.log(np.where(good, x, np.nan)) - np.log(np.where(good, y, np.nan))


def _mean(x: np.ndarray) -> np.ndarray:
    """(R, B) -> (B,) mean of what is known."""
    return ratio(np.nansum(x, axis=0), (~np.isnan(x)).sum(axis=0))


def _sum(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x).all(axis=0), np.nan, np.nansum(x, axis=0))


def _last(x: np.ndarray) -> np.ndarray:
    """(R, B) -> (B,) the last value that is known."""
    row = len(x) - 1 - (~np.isnan(x))[::-1].argmax(axis=0)
    return x[row, np.arange(x.shape[1])]


def _known_mean(x: np.ndarray) -> float:
    return float(np.nanmean(x)) if np.isfinite(x).any() else float("nan")
