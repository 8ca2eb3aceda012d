"""Recorded days -> a scenario: the flow, regimes and fundamentals of a market like them, as YAML that `train` accepts.

Measured: rates by distance, sizes, market orders, correlations, volatility, prices; features of the flow (see `features`).
Refined by simulation (see `refine`): few multipliers of these, so that spread, depth at best, cancels and volatility come
out as measured; then correlations and lags, so that the correlations at 1, 10 and 60 s do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..config import Config, make_config
from ..files import write_atomic
from .facts import Day, Facts, correlation, measure
from .features import Features, measure_features, wanted
from .follow import FOLLOWING, follow_together, fundamentals, nearest_correlation, together
from .lag import HORIZONS
from .load import clock, read_all
from .recording import DataError
from .refine import KNOBS, apply, as_multipliers, refine
from .regimes import SINGLE
from .simulate import Simulated, simulate
from .tables import Reference, Tables, measure_tables

TILT = 0.3  # probability of buying rises by this when the fundamental is one mean spread above the mid
MIN_SAMPLES = 100  # returns a correlation needs
OWN_SPREAD = 2.0  # mean, ticks, from which tables count from the own best: with less, one that opens by chance stays open
LEVEL_ROUNDS = 3
STRENGTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of excitation, as shares of the fit's
RUNAWAY = 1.8  # rates over those without excitation


@dataclass(frozen=True)
class Calibration:
    """A scenario and how it compares with the data. Sequences have one entry per book."""

    config: dict[str, Any]  # for make_config, or write_config
    facts: list[Facts]  # measured
    cancels: list[float]  # measured cancels per second (net ones from snapshots)
    limits: list[float]  # measured limit orders per second, likewise
    raw: list[Simulated]  # the market of the measured tables
    refined: list[Simulated]  # the market of `config`, on other random numbers than it was fitted on
    multipliers: list[dict[str, float]]  # what refinement changed, see `refine`
    features: Features
    notes: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """Data, market of the raw tables and market of the scenario: one row per book and figure."""
        rows = []
        for f, c, n, raw, fit in zip(
            self.facts, self.cancels, self.limits, self.raw, self.refined, strict=True
        ):
            figures = {
                "spread [ticks]": (f.spread, raw.spread, fit.spread),
                "depth at best [lots]": (f.depth_best, raw.depth_best, fit.depth_best),
                "limit orders /s": (n, raw.limit_rate, fit.limit_rate),
                "cancels /s": (c, raw.cancel_rate, fit.cancel_rate),
                "market orders /s": (f.market_rate, raw.market_rate, fit.market_rate),
            }
            for h, v in f.volatility.items():
                if h in fit.volatility:
                    figures[f"volatility {h} s [ticks]"] = (v, raw.volatility[h], fit.volatility[h])
            rows += [
                (f.name, key, *values, values[2] / values[0] if values[0] else np.nan)
                for key, values in figures.items()
            ]
        if self.features.lag:
            rows += self._correlations(self.features.lag.measured)
        return pd.DataFrame(rows, columns=["book", "figure", "data", "raw tables", "calibrated", "ratio"])

    def _correlations(self, measured: np.ndarray) -> list[tuple[str, str, float, float, float, float]]:
        """Each book's mean correlation with the others."""
        rows, others = [], ~np.eye(len(self.facts), dtype=bool)
        for i, h in enumerate(HORIZONS):
            raw, fit = together(self.raw, h), together(self.refined, h)
            for a, f in enumerate(self.facts):
                values = [float(c[a, others[a]].mean()) for c in (measured[i], raw, fit)]
                rows.append(
                    (
                        f.name,
                        f"mean correlation {h} s",
                        *values,
                        values[2] / values[0] if values[0] else np.nan,
                    )
                )
        return rows

    def fits(self) -> pd.DataFrame:
        """Settings of the features, and how well they fit: one row per book (or `all`), feature and figure."""
        return self.features.table([f.name for f in self.facts])


def calibrate(
    paths: Sequence[str | Path] | str | Path, *, tick: int = 100, lot: int = 1, name: str = "calibrated",
    start: float | None = None, end: float | None = None, features: Sequence[str] | str = "all",
    reference: Reference | None = None, window: float = 10.0, rounds: int = 10, seconds: float = 3000.0, seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Calibration:  # fmt: skip
    """Calibrate a market to files of one or several assets (LOBSTER pairs or npz sets, also mixed).

    `tick`, `lot`, `start`, `end` (seconds after midnight): as for the readers. `features`: names, 'all' (that the data
    allow) or 'none'. `reference`: best price from which the tables count; None: own with the feature reactive and
    spreads of OWN_SPREAD and more, else opposite. `window`: seconds over which regimes are told apart. `rounds` of refinement (0: measured tables as they are),
    each simulating `seconds` in 8 environments per multiplier. `report` is called with one line of progress at a time.
    Raises DataError.
    """
    if rounds < 0 or not 60.0 <= seconds <= 1e6 or not window > 0:
        raise DataError(
            f"rounds must be 0 or more, seconds 60 to 1e6, window above 0; got {rounds}, {seconds:g}, {window:g}"
        )
    names = wanted(features)
    say = report or (lambda line: None)
    say("calibrate: reading")
    days = read_all(paths, tick=tick, lot=lot, start=start, end=end)
    say("calibrate: measuring")
    facts = [measure(d) for d in days]
    wide = min(f.spread for f in facts) >= OWN_SPREAD
    reference = reference or ("own" if "reactive" in names and wide else "opposite")
    tables = [measure_tables(d, reference) for d in days]
    found = measure_features(days, tables, names, window, must=features != "all", report=say)
    corr, note = _correlation(days)
    base = _base(name, facts, tables, found, corr)
    happen = [np.array([t.limit_rates.sum(), t.market_rate, t.cancel_events / 2.0]) for t in tables]
    level = list(tables)

    def build(knobs: Sequence[dict[str, float]], base: dict[str, Any] = base) -> dict[str, Any]:
        return _with_flows(base, facts, level, found, happen, knobs)

    def config_of(knobs: Sequence[dict[str, float]]) -> Config:
        return make_config(build(knobs))

    ones = [as_multipliers(np.zeros(len(KNOBS)), reference) for _ in days]
    cancels = [t.cancel_events for t in tables]
    knobs = ones

    def fit(rounds: int) -> list[dict[str, float]]:
        draws = lambda cfg: simulate(cfg, seconds=seconds, seed=seed)  # noqa: E731
        return refine(config_of, facts, cancels, draws, rounds, say, reference, knobs)

    def relevel() -> None:
        """Tables such that limit and market orders come as often as measured, in whatever states the market is."""
        for _ in range(LEVEL_ROUNDS):
            made = simulate(config_of(knobs), seconds=2 * seconds, seed=seed + 1)
            for a, (t, m, h) in enumerate(zip(level, made, happen, strict=True)):
                limit, market = 2.0 * h[0] / max(m.limit_rate, 1e-9), 2.0 * h[1] / max(m.market_rate, 1e-9)
                limit, market = (float(np.clip(x, 0.7, 1.4)) for x in (limit, market))
                level[a] = replace(t, limit_rates=t.limit_rates * limit, market_rate=t.market_rate * market)

    featured = any([*found.hawkes, *found.reactive, *found.metaorders])
    if any(found.hawkes):
        found.strength = [0.0] * len(days)  # the multipliers first, so that the tables' rates are the data's
        if rounds:
            knobs = fit(rounds)
            relevel()
        found.strength = _steady(found, lambda: config_of(knobs), seed, say)
        found.notes += [
            f"{d.name}: excitation of full strength makes the simulated market run away; {v:g} of it is used"
            for d, v, h in zip(days, found.strength, found.hawkes, strict=True) if h and v < 1.0
        ]  # fmt: skip
    if rounds:
        for _ in range(2 if featured else 1):
            if featured:
                relevel()
            knobs = fit(rounds)
        if featured:
            relevel()
    tuned = base
    if found.lag and rounds:

        def played(section: dict[str, Any], turn: int) -> np.ndarray:
            cfg = make_config(build(knobs, base | {"fundamentals": section}))
            made = simulate(cfg, seconds=4 * seconds, seed=seed + turn)
            return np.stack([together(made, h) for h in HORIZONS])

        tuned = base | {"fundamentals": follow_together(found.lag, played, say)}
    fresh = seed + 1_000_003
    config, level = build(knobs, tuned), list(tables)
    return Calibration(
        config=config,
        facts=facts,
        cancels=cancels,
        limits=[2.0 * float(t.limit_rates.sum()) for t in tables],
        raw=simulate(config_of(ones), seconds=2 * seconds, seed=fresh),
        refined=simulate(make_config(config), seconds=2 * seconds, seed=fresh),
        multipliers=knobs,
        features=found,
        notes=[
            found.regimes.said if found.regimes else "one regime",
            note,
            *_notes(days, tables),
            *found.notes,
        ],
    )


def _steady(
    found: Features, config: Callable[[], Config], seed: int, say: Callable[[str], None]
) -> list[float]:
    """By book, the largest of STRENGTHS at which excitation keeps the simulated rates within RUNAWAY of those without it:
    states of the book multiply what others bring, and beyond some strength orders bring more than one other each."""
    books = range(len(found.hawkes))
    usual = simulate(config(), seconds=300.0, seed=seed)
    strength, going = [0.0] * len(books), [h is not None for h in found.hawkes]
    for value in STRENGTHS:
        if not any(going):
            break
        say(f"calibrate: excitation at {value:g} of its strength")
        found.strength = [value if going[a] else 0.0 for a in books]
        made = simulate(config(), seconds=300.0, seed=seed)
        for a in books:
            pairs = [(made[a].limit_rate, usual[a].limit_rate), (made[a].market_rate, usual[a].market_rate),
                     (made[a].cancel_rate, usual[a].cancel_rate)]  # fmt: skip
            going[a] = going[a] and all(now <= RUNAWAY * before for now, before in pairs)
            strength[a] = value if going[a] else strength[a]
    return strength


def write_config(calibration: Calibration, path: str | Path, force: bool = False) -> Path:
    """Write the scenario with its table as a comment. Raises DataError where the file exists and `force` is not given."""
    path = Path(path)
    if path.exists() and not force:
        raise DataError(f"{path}: exists already; choose another name, or force to replace it")
    lines = [
        "Market calibrated to recorded order books by `lobgraph data calibrate`.",
        "",
        "Data, and simulated markets:",
    ]
    lines += calibration.table().round(3).to_string(index=False).split("\n")
    lines += ["", "Measured, but for these multipliers fitted by simulation:"]
    for f, knobs in zip(calibration.facts, calibration.multipliers, strict=True):
        lines.append(f"  {f.name}: " + ", ".join(f"{k} {v:.3g}" for k, v in knobs.items()))
    fits = calibration.fits()
    if len(fits):
        lines += ["", "Features:", *fits.round(4).to_string(index=False).split("\n")]
    lines += ["", *calibration.notes]
    make_config(calibration.config)  # never write what cannot be read
    text = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    body = yaml.safe_dump(calibration.config, sort_keys=False, default_flow_style=None, width=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (text + body).encode())
    return path


def _base(
    name: str, facts: list[Facts], tables: list[Tables], found: Features, corr: np.ndarray
) -> dict[str, Any]:
    """Everything of the scenario but flows and volatilities."""
    lots = max(round(float(np.mean([t.limit_size[0] @ t.limit_size[1] for t in tables]))), 1)
    spread = float(np.mean([f.spread for f in facts]))
    maker = {
        "count": 1,
        "quote_spread": round(max(spread / 3.0, 1.0), 2),
        "max_size": lots,
        "presence_distance": round(max(2.0 * spread, 5.0), 1),
        # Penalty and reward keep their weight against a profit that grows with lots and spread.
        "inventory_penalty": float(f"{0.002 * (spread / 3.0) / (lots / 10.0):.3g}"),
        "liquidity_reward": float(f"{0.05 * (spread / 3.0) * (lots / 10.0):.3g}"),
        "risk": {"max_inventory": 20 * lots},
    }
    other = {"max_size": lots, "risk": {"max_inventory": 20 * lots}}
    day = {"intraday": found.intraday.section()} if found.intraday else {}
    lag = found.lag
    return {
        "name": name,
        "market": {
            "books": [f.name for f in facts],
            "initial_price": [round(f.price) for f in facts],
        },
        "regimes": found.regimes.section if found.regimes else SINGLE,
        **day,
        "fundamentals": fundamentals(lag.correlation, lag.lag) if lag else fundamentals(corr),
        "agents": {"maker": maker, "taker": {**other, "target": 10 * lots}, "arbitrageur": other},
    }


def _with_flows(
    base: dict[str, Any], facts: list[Facts], tables: list[Tables], found: Features, happen: Sequence[np.ndarray],
    knobs: Sequence[dict[str, float]],
) -> dict[str, Any]:  # fmt: skip
    """The whole scenario for the given multipliers of each book."""
    flows, volatility = {}, []
    follow = FOLLOWING if found.lag else {"tilt": TILT, "tilt_max": TILT}
    for a, (f, t, k) in enumerate(zip(facts, tables, knobs, strict=True)):
        reactive = found.reactive[a]
        flow, placement = apply(t, k, reactive.placement if reactive else None)
        flows[f.name] = found.of_flow(a, flow, placement, happen[a]) | {
            "tilt": float(f"{follow['tilt'] / max(f.spread, 1.0):.4g}"),
            **{key: follow[key] for key in follow if key != "tilt"},
            "warmup": 60.0,
            "initial_depth": max(round(t.resting), 1),
            "initial_spread": int(min(max(round(f.spread), 1), 1024)),
        }
        longest = max(f.volatility) if f.volatility else 1
        volatility.append(float(f"{f.volatility.get(longest, 0.0) / longest**0.5 * k['volatility']:.4g}"))
    reach = max(len(flow["limit_rates"]) for flow in flows.values())
    window = 1 << max(int(np.ceil(np.log2(4 * reach))), 9)
    while window >= min(base["market"]["initial_price"]) and window > 2 * reach:
        window //= 2
    market = base["market"] | {"window": window}
    return base | {"market": market, "flow_per_book": flows,
                   "fundamentals": base["fundamentals"] | {"volatility": volatility}}  # fmt: skip


def _correlation(days: Sequence[Day]) -> tuple[np.ndarray, str]:
    """Correlation of returns at the longest horizon with enough of them, made positive semidefinite."""
    if len(days) == 1:
        return np.eye(1), "one asset: no correlation"
    shared = min(d.end for d in days) - max(d.start for d in days)
    if len({d.date for d in days if d.date}) > 1 or shared <= 0:
        return np.eye(len(days)), "files of different days or hours: assets are taken as uncorrelated"
    horizon = next((h for h in (60, 10) if shared / 1e9 / h >= MIN_SAMPLES), 1)
    if shared / 1e9 < 3 * horizon:
        return np.eye(len(days)), "too short a window in common: assets are taken as uncorrelated"
    return nearest_correlation(correlation(days, horizon)), f"correlation of {horizon} s mid returns"


def _notes(days: list[Day], tables: list[Tables]) -> list[str]:
    notes = []
    for day, t in zip(days, tables, strict=True):
        what = f"{day.name}: {day.date} {clock(day.start)}-{clock(day.end)}, {day.levels} levels"
        if t.net:
            what += "; snapshots: limit orders and cancels are net changes between two of them, fewer than were sent"
        elif day.levels == 1:
            what += "; only the best level is in the file: limit orders and cancels behind it are missing"
        notes.append(what)
    return notes
