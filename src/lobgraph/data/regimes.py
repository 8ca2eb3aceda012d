"""Calm and stressed spells of recorded days -> multipliers and switch rates for `regimes` of the configuration.

Every window of `seconds` has an index: activity and price movement, each in logs and standardised per asset, averaged
over the assets. A two-state Gaussian hidden Markov chain (Baum-Welch, Rabiner 1989) splits the windows; multipliers are a
state's rates over the day's. Their average over time is 1, for volatility that of their squares: tables keep their totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .distance import net_changes
from .facts import Day, first_second, market_orders, mid, weights
from .recording import DELETE, NS, REDUCE, SUBMIT, Recording

CALM, STRESS = "normal", "stress"
MIN_WINDOWS = 60
SINGLE: dict[str, Any] = {"kinds": {CALM: {}}, "initial": {CALM: 1.0}, "switch_rates": {}}


def measure_regimes(days: Sequence[Day], seconds: float = 10.0) -> tuple[dict[str, Any], str]:
    """The `regimes` section and a sentence on what was found. Too short or too even a day has one regime."""
    start, end = max(first_second(d) for d in days), min(d.end for d in days)
    count = int((end - start) / (seconds * NS))
    if count < MIN_WINDOWS:
        return (
            SINGLE,
            f"one regime: {max(count, 0)} windows of {seconds:g} s are too few to tell two apart",
        )
    edges = start + np.arange(count + 1) * round(seconds * NS)
    tables = [_windows(d, edges) for d in days]
    stress = split(np.mean([_index(t) for t in tables], axis=0))
    share = float(stress.mean())
    spells = int((np.diff(stress.astype(int)) != 0).sum() / 2) + 1
    if not 0.02 <= share <= 0.98:
        return SINGLE, "one regime: the windows do not fall into two groups"
    kinds: dict[str, dict[str, float]] = {}
    for name, where in ((CALM, ~stress), (STRESS, stress)):
        kinds[name] = {k: round(float(v), 4) for k, v in _multipliers(tables, where, stress).items()}
    time = count * seconds
    section = {
        "kinds": kinds,
        "initial": {CALM: round(1.0 - share, 6), STRESS: round(share, 6)},
        "switch_rates": {
            CALM: {STRESS: round(spells / (time * (1.0 - share)), 8)},
            STRESS: {CALM: round(spells / (time * share), 8)},
        },
    }
    return (
        section,
        f"stress in {share:.0%} of the time, in {spells} spells of {time * share / spells:.0f} s on average",
    )


def _windows(day: Day, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Per window (count,): limit orders, market orders, cancelled lots, resting lots, path and square of the mid."""

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
    at = np.maximum(np.searchsorted(day.time, edges, side="right") - 1, 0)
    return {
        "limit": limits,
        "market": total(market_orders(day).time),
        "cancel": cancels,
        "resting": total(day.time, w * day.row_qty.sum(axis=(1, 2))),
        "path": total(day.time[1:], np.abs(np.diff(m))),
        "square": np.diff(m[at]) ** 2,
    }


def _index(table: dict[str, np.ndarray]) -> np.ndarray:
    """(count,) standardised log activity and log movement of the windows, averaged."""
    parts = []
    for x in (table["limit"] + table["market"], table["path"]):
        x = np.log(x + max(0.1 * x.mean(), 1e-9))
        parts.append((x - x.mean()) / max(x.std(), 1e-9))
    return np.mean(parts, axis=0)


def _multipliers(
    tables: list[dict[str, np.ndarray]], where: np.ndarray, stress: np.ndarray
) -> dict[str, float]:
    """A regime's rates over the day's, averaged over the assets. `where`: the regime's windows."""

    def over(table: dict[str, np.ndarray], key: str, use: np.ndarray) -> float:
        return table[key][use].mean() / max(table[key].mean(), 1e-12) if table[key].mean() > 0 else 1.0

    def cancel(table: dict[str, np.ndarray], use: np.ndarray) -> float:
        return table["cancel"][use].sum() / max(table["resting"][use].sum(), 1e-12)

    share = stress.mean()
    found = {k: float(np.mean([over(t, k, where) for t in tables])) for k in ("limit", "market")}
    usual = [share * cancel(t, stress) + (1.0 - share) * cancel(t, ~stress) for t in tables]
    found["cancel"] = float(
        np.mean([cancel(t, where) / u if u > 0 else 1.0 for t, u in zip(tables, usual, strict=True)])
    )
    found["volatility"] = float(np.sqrt(np.mean([over(t, "square", where) for t in tables])))
    return found


def split(x: np.ndarray, rounds: int = 60) -> np.ndarray:
    """(count,) bool: windows more likely in the state of the higher mean, by Baum-Welch on (count,) values."""
    high = x > np.quantile(x, 0.8)
    mean = np.array([x[~high].mean(), x[high].mean() if high.any() else x.max()])
    std = np.full(2, max(x.std(), 1e-6))
    step = np.array([[0.95, 0.05], [0.2, 0.8]])
    first = np.array([0.8, 0.2])
    posterior = np.zeros((len(x), 2))
    for _ in range(rounds):
        z = (x[:, None] - mean) / std
        near = np.exp(-0.5 * z * z) / std + 1e-300
        forward, backward, scale = np.zeros((len(x), 2)), np.ones((len(x), 2)), np.zeros(len(x))
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
        total = np.maximum(posterior.sum(axis=0), 1e-9)
        first, mean = posterior[0], posterior.T @ x / total
        std = np.maximum(
            np.sqrt((posterior * (x[:, None] - mean) ** 2).sum(axis=0) / total),
            1e-3 * max(x.std(), 1e-9),
        )
    return posterior[:, int(np.argmax(mean))] > 0.5
