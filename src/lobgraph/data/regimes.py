"""Calm and stressed spells of recorded days -> multipliers and switch rates for `regimes` of the configuration.

Every window of `seconds` has two measures: volatility (the mid's path) and spread, each in logs and standardised per
asset, averaged over the assets; where a pattern of the day is known, each half hour's own level is taken off first. A
two-state Gaussian hidden Markov chain (Baum-Welch, Rabiner 1989) splits the windows; multipliers are a state's rates over
the day's. Their average over time is 1, for volatility that of their squares: tables keep their totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .distance import net_changes
from .facts import Day, first_second, market_orders, mid, weights
from .intraday import IntradayFit
from .recording import DELETE, NS, REDUCE, SUBMIT, Recording

CALM, STRESS = "normal", "stress"
MIN_WINDOWS = 60
STILL = (
    0.02  # standard deviation of a log below which it tells no windows apart (a spread of one tick all day)
)
SINGLE: dict[str, Any] = {"kinds": {CALM: {}}, "initial": {CALM: 1.0}, "switch_rates": {}}


@dataclass(frozen=True)
class RegimeFit:
    """The `regimes` section and how it was found."""

    section: dict[str, Any]
    said: str  # a sentence
    edges: np.ndarray  # (count + 1,) int64 ns, of the windows
    stress: np.ndarray  # (count,) bool
    spread: tuple[float, float]  # mean ticks while calm and in stress; NaN with one regime
    gain: float  # log likelihood of two regimes above one, per window

    def activity(self, time: np.ndarray) -> np.ndarray:
        """(k, 3) multipliers of limit orders, market orders and cancels at times of day (ns)."""
        kinds = self.section["kinds"]
        rows = np.array([[kinds.get(name, {}).get(key, 1.0) for key in ("limit", "market", "cancel")]
                         for name in (CALM, STRESS)])  # fmt: skip
        at = np.clip(np.searchsorted(self.edges, time, side="right") - 1, 0, max(len(self.stress) - 1, 0))
        return rows[self.stress[at].astype(int)] if len(self.stress) else np.ones((len(time), 3))

    def figures(self) -> dict[str, float]:
        """Named numbers of the fit, for tables."""
        share = float(self.stress.mean()) if len(self.stress) else 0.0
        found = {"regimes": float(len(self.section["kinds"])), "share of stress": share}
        for name, multipliers in self.section["kinds"].items():
            found |= {f"{name}: {key}": float(value) for key, value in multipliers.items()}
        return found | {
            "spread while calm [ticks]": self.spread[0], "spread in stress [ticks]": self.spread[1],
            "log likelihood gain per window": self.gain,
        }  # fmt: skip


def measure_regimes(days: Sequence[Day], seconds: float = 10.0) -> tuple[dict[str, Any], str]:
    """The `regimes` section and a sentence on what was found. Too short or too even a day has one regime."""
    fit = fit_regimes(days, seconds)
    return fit.section, fit.said


def fit_regimes(days: Sequence[Day], seconds: float = 10.0, pattern: IntradayFit | None = None) -> RegimeFit:
    """Tell calm from stress in windows of `seconds`. `pattern`: what the time of day explains already."""
    start, end = max(first_second(d) for d in days), min(d.end for d in days)
    count = int((end - start) / (seconds * NS))
    edges = start + np.arange(max(count, 0) + 1) * round(seconds * NS)
    none, nan = np.zeros(0, bool), float("nan")
    if count < MIN_WINDOWS:
        said = f"one regime: {max(count, 0)} windows of {seconds:g} s are too few to tell two apart"
        return RegimeFit(SINGLE, said, edges, none, (nan, nan), 0.0)
    tables = [_windows(d, edges) for d in days]
    usual = np.ones(count) if pattern is None else pattern.at(edges[:-1] / NS)
    x = np.mean([_measures(t, usual) for t in tables], axis=0)
    stress, gain = _baum_welch(x)
    share = float(stress.mean())
    spells = int((np.diff(stress.astype(int)) != 0).sum() / 2) + 1
    if not 0.02 <= share <= 0.98:
        return RegimeFit(
            SINGLE, "one regime: the windows do not fall into two groups", edges, none, (nan, nan), 0.0
        )
    kinds: dict[str, dict[str, float]] = {}
    for name, where in ((CALM, ~stress), (STRESS, stress)):
        kinds[name] = {k: round(float(v), 4) for k, v in _multipliers(tables, where, stress, usual).items()}
    time = count * seconds
    section = {
        "kinds": kinds,
        "initial": {CALM: round(1.0 - share, 6), STRESS: round(share, 6)},
        "switch_rates": {
            CALM: {STRESS: round(spells / (time * (1.0 - share)), 8)},
            STRESS: {CALM: round(spells / (time * share), 8)},
        },
    }
    spread = tuple(float(np.mean([t["spread"][where].mean() for t in tables])) for where in (~stress, stress))
    said = (
        f"stress in {share:.0%} of the time, in {spells} spells of {time * share / spells:.0f} s on average"
    )
    return RegimeFit(section, said, edges, stress, (spread[0], spread[1]), gain)


def _windows(day: Day, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Per window (count,): limit orders, market orders, cancelled and resting lots, path and square of the mid, spread."""

    def total(time: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
        return np.histogram(time, edges, weights=by)[0].astype(np.float64)

    if isinstance(day, Recording):
        limit, cancel = day.type == SUBMIT, (day.type == REDUCE) | (day.type == DELETE)
        limits, cancels = total(day.time[limit]), total(day.time[cancel], day.qty[cancel])
    else:
        row, _, _, change = net_changes(day)
        time = day.time[row]
        limits, cancels = total(time[change > 0]), total(time[change < 0], -change[change < 0])
    w, m = weights(day), mid(day)
    gap = np.maximum(day.row_px[:, 1, 0] - day.row_px[:, 0, 0], 1).astype(np.float64)
    held = total(day.time, w)
    at = np.maximum(np.searchsorted(day.time, edges, side="right") - 1, 0)
    return {
        "limit": limits,
        "market": total(market_orders(day).time),
        "cancel": cancels,
        "resting": total(day.time, w * day.row_qty.sum(axis=(1, 2))),
        "path": total(day.time[1:], np.abs(np.diff(m))),
        "square": np.diff(m[at]) ** 2,
        "spread": np.where(held > 0, total(day.time, w * gap) / np.maximum(held, 1e-12), gap[at[1:]]),
    }


def _measures(table: dict[str, np.ndarray], usual: np.ndarray) -> np.ndarray:
    """(count, 2) standardised logs of volatility and spread, less their means where `usual` activity is the same."""
    parts = []
    for x in (table["path"], table["spread"]):
        x = np.log(x + max(0.1 * x.mean(), 1e-9))
        _, group = np.unique(usual, return_inverse=True)
        x = x - (np.bincount(group, x) / np.bincount(group))[group]
        parts.append(x / x.std() if x.std() > STILL else np.zeros_like(x))
    return np.stack(parts, axis=1)


def _multipliers(
    tables: list[dict[str, np.ndarray]], where: np.ndarray, stress: np.ndarray, usual: np.ndarray
) -> dict[str, float]:
    """A regime's rates over the day's, averaged over the assets. `where`: the regime's windows; `usual` (count,): activity
    that the time of day explains, which both regimes have."""

    def over(table: dict[str, np.ndarray], key: str, use: np.ndarray) -> float:
        x = table[key] / usual
        return x[use].mean() / max(x.mean(), 1e-12) if x.mean() > 0 else 1.0

    def cancel(table: dict[str, np.ndarray], use: np.ndarray) -> float:
        return table["cancel"][use].sum() / max(table["resting"][use].sum(), 1e-12)

    share = stress.mean()
    found = {k: float(np.mean([over(t, k, where) for t in tables])) for k in ("limit", "market")}
    mean = [share * cancel(t, stress) + (1.0 - share) * cancel(t, ~stress) for t in tables]
    found["cancel"] = float(
        np.mean([cancel(t, where) / u if u > 0 else 1.0 for t, u in zip(tables, mean, strict=True)])
    )
    found["volatility"] = float(np.sqrt(np.mean([over(t, "square", where) for t in tables])))
    return found


def split(x: np.ndarray, rounds: int = 60) -> np.ndarray:
    """(count,) bool: windows more likely in the state of the higher mean, by Baum-Welch on values (count,) or (count, K),
    whose K measures are independent Gaussians given the state."""
    return _baum_welch(x.reshape(len(x), -1), rounds)[0]


def _baum_welch(x: np.ndarray, rounds: int = 60) -> tuple[np.ndarray, float]:
    """As `split`, for (count, K) values; and the log likelihood per window above that of one state."""
    level = x.mean(axis=1)
    high = level > np.quantile(level, 0.8)
    high = high if high.any() else level >= level.max()
    mean = np.stack([x[~high].mean(axis=0), x[high].mean(axis=0)])  # (2, K)
    least = 1e-3 * np.maximum(x.std(axis=0), 1e-6)
    std = np.tile(np.maximum(x.std(axis=0), 1e-6), (2, 1))
    step = np.array([[0.95, 0.05], [0.2, 0.8]])
    first = np.array([0.8, 0.2])
    posterior, scale = np.zeros((len(x), 2)), np.ones(len(x))
    for _ in range(rounds):
        z = (x[:, None, :] - mean) / std
        near = np.exp(-0.5 * (z * z).sum(axis=2)) / std.prod(axis=1) + 1e-300
        forward, backward = np.zeros((len(x), 2)), np.ones((len(x), 2))
        state = first
        for t in range(len(x)):
            state = (state if t == 0 else state @ step) * near[t]
            scale[t] = state.sum()
            forward[t] = state = state / scale[t]
        for t in range(len(x) - 2, -1, -1):
            backward[t] = step @ (near[t + 1] * backward[t + 1]) / scale[t + 1]
        posterior = forward * backward
        posterior /= posterior.sum(axis=1, keepdims=True)
        pairs = forward[:-1, :, None] * step * (near[1:] * backward[1:] / scale[1:, None])[:, None, :]
        step = pairs.sum(axis=0) / np.maximum(pairs.sum(axis=(0, 2))[:, None], 1e-12)
        total = np.maximum(posterior.sum(axis=0), 1e-9)[:, None]
        first, mean = posterior[0], posterior.T @ x / total
        square = np.stack([posterior[:, k] @ (x - mean[k]) ** 2 for k in range(2)]) / total
        std = np.maximum(np.sqrt(square), least)
    one = -np.log(np.maximum(x.std(axis=0), 1e-6)).sum() - 0.5 * (x.std(axis=0) > 0).sum()
    return posterior[:, int(np.argmax(mean.sum(axis=1)))] > 0.5, float(np.log(scale).mean() - one)
