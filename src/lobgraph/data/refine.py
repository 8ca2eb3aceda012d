"""Simulated moments: a few multipliers of the measured tables, fitted until the simulated market looks like the data.

Measured tables alone give too thin and too tight a market: real traders put their orders where orders already are and
inside the spread only when it is wide, and the files show L levels only. Multipliers per book, all 1 before fitting:
`stretch`, `width` of the placement distances around their mean (from the own best price: `stretch` of the distances behind
it and `improve`, of the orders that better it), `cancel` (all cancel rates), `size` (limit and cancel sizes together),
`cancel_size` (cancel sizes alone) and `volatility` (of the fundamental). Limit and market rates are never touched: they
are the data's by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .facts import Facts
from .simulate import Simulated
from .tables import Reference, Tables, reshaped, scaled, stretched

KNOBS = ("stretch", "width", "cancel", "size", "cancel_size", "volatility")
OWN_KNOBS = ("stretch", "improve", *KNOBS[2:])
STIFFNESS = np.array(
    [0.05, 0.3, 0.3, 0.1, 0.1, 0.1]
)  # pull of each multiplier's log towards 0, in units of misfit
OWN_STIFFNESS = np.array([0.1, 0.05, 0.3, 0.1, 0.1, 0.1])
LIMITS = np.log([[0.3, 0.2, 0.1, 0.2, 0.2, 0.05], [4.0, 3.0, 4.0, 8.0, 5.0, 10.0]])
PROBE = {"opposite": 0.1, "own": 0.25}  # log step of the difference quotients; excited flows are noisier

Build = Callable[[Sequence[dict[str, float]]], Any]  # multipliers of every book -> Config
Simulate = Callable[[Any], Sequence[Simulated]]


def refine(
    build: Build, facts: Sequence[Facts], cancels: Sequence[float], simulate: Simulate, rounds: int = 10,
    report: Callable[[str], None] | None = None, reference: Reference = "opposite",
    start: Sequence[dict[str, float]] | None = None,
) -> list[dict[str, float]]:  # fmt: skip
    """Fit the multipliers by damped Gauss-Newton steps on log ratios of simulated to measured figures.

    `cancels`: measured cancels per second of each book. Books do not influence each other, so one simulation serves a
    multiplier of all books at once. `simulate` must use the same random numbers in every call. `start`: multipliers to begin
    with (None: ones). Returns the best found.
    """
    books, k = len(facts), len(KNOBS)
    probe, stiffness = PROBE[reference], OWN_STIFFNESS if reference == "own" else STIFFNESS
    best = np.log([list(row.values()) for row in start]) if start else np.zeros((books, k))

    def misfit(at: np.ndarray) -> np.ndarray:
        made = simulate(build([as_multipliers(row, reference) for row in at]))
        fit = np.stack([residuals(s, f, c) for s, f, c in zip(made, facts, cancels, strict=True)])
        return np.concatenate([fit, at * stiffness], axis=1)

    now = misfit(best)
    slopes, stale = np.zeros((books, now.shape[1], k)), np.ones(books, bool)
    damping = np.full(books, 0.02)
    for turn in range(rounds):
        if stale.any():
            probes = np.stack([(misfit(best + probe * step) - now) / probe for step in np.eye(k)], axis=2)
            slopes[stale] = probes[stale]
        x = best.copy()
        for a in range(books):
            j = slopes[a]
            move = np.linalg.solve(j.T @ j + damping[a] * np.eye(k), -j.T @ now[a])
            x[a] = np.clip(best[a] + np.clip(move, -0.5, 0.5), LIMITS[0], LIMITS[1])
        r = misfit(x)
        stale = (r * r).sum(axis=1) < (now * now).sum(axis=1)
        best[stale], now[stale] = x[stale], r[stale]
        damping = np.where(stale, damping / 3.0, damping * 5.0)
        if report:
            report(
                f"calibrate: round {turn + 1} of {rounds}, misfit {np.sqrt((now * now).sum(axis=1).mean()):.3f}"
            )
    return [as_multipliers(row, reference) for row in best]


def as_multipliers(logs: np.ndarray, reference: Reference = "opposite") -> dict[str, float]:
    """Logs in the order of KNOBS (own: OWN_KNOBS) -> named multipliers."""
    names = OWN_KNOBS if reference == "own" else KNOBS
    return {name: float(np.exp(v)) for name, v in zip(names, logs, strict=True)}


def residuals(made: Simulated, fact: Facts, cancels: float) -> np.ndarray:
    """(5,) weighted log ratios: spread, depth at best, cancels, volatility over 10 s and 60 s."""
    pairs = [
        (1.0, made.spread, fact.spread),
        (1.0, made.depth_best, fact.depth_best),
        (1.0, made.cancel_rate, cancels),
    ]
    pairs += [(0.3, made.volatility.get(h, 0.0), fact.volatility.get(h, 0.0)) for h in (10, 60)]
    return np.array(
        [w * np.log(max(m, 1e-9) / max(t, 1e-9)) if t > 0 and m > 0 else 0.0 for w, m, t in pairs]
    )


def apply(
    tables: Tables, knobs: dict[str, float], placement: np.ndarray | None = None
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The keys of `flow` for one book, measured tables with the multipliers put in; and so the (S, D) placement by spread."""
    rows = np.atleast_2d(
        tables.limit_rates if placement is None else np.vstack([tables.limit_rates, placement])
    )
    moved = np.stack([_moved(row, tables, knobs) for row in rows])
    last = int(np.flatnonzero(moved.sum(axis=0) > 0)[-1]) + 1
    moved = moved[:, :last]
    flow = {"reference": "own", "inside": tables.inside} if tables.reference == "own" else {}
    return flow | {
        "limit_rates": [float(f"{v:.5g}") for v in moved[0]],
        "cancel_rates": [float(f"{v:.4g}") for v in _cancels(tables, knobs, last)],
        "market_rate": round(float(tables.market_rate), 6),
        "limit_size": _size(scaled(tables.limit_size, knobs["size"])),
        "market_size": _size(tables.market_size),
        "round_lot": tables.round_lot,
        "cancel_size": _size(scaled(tables.cancel_size, knobs["size"] * knobs["cancel_size"])),
    }, None if placement is None else moved[1:]


def _moved(rates: np.ndarray, tables: Tables, knobs: dict[str, float]) -> np.ndarray:
    """Limit rates at the distances that the multipliers move them to."""
    if tables.reference == "own":
        return reshaped(rates, tables.inside, knobs["stretch"], knobs["improve"])
    mean = np.arange(1, len(rates) + 1) @ tables.limit_rates / tables.limit_rates.sum()
    return stretched(rates, knobs["stretch"], knobs["width"], float(mean))


def _cancels(tables: Tables, knobs: dict[str, float], last: int) -> np.ndarray:
    """Cancel rates, moved as the limit rates are: each distance has that of the one it came from."""
    d = np.arange(1, len(tables.cancel_rates) + 1, dtype=np.float64)
    if tables.reference == "own":
        source = 1.0 + np.arange(max(last - tables.inside, 1)) / knobs["stretch"]
    else:
        m = float(d @ tables.limit_rates / tables.limit_rates.sum())
        source = (np.arange(1, last + 1) / knobs["stretch"] - m) / knobs["width"] + m
    return np.interp(source, d, tables.cancel_rates) * knobs["cancel"]


def _size(size: tuple[np.ndarray, np.ndarray]) -> dict[str, list[Any]]:
    return {"values": [int(v) for v in size[0]], "weights": [float(f"{w:.5g}") for w in size[1]]}
