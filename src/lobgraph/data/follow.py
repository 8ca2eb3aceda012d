"""Correlations of recorded mids -> correlations and lags of fundamentals whose simulated mids correlate as much.

The closed form of data/lag.py knows no books: simulated mids lag by themselves and have noise of their own. Correlations
and lags are moved until the mids of the whole market, simulated, correlate as recorded ones do at 1, 10 and 60 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .lag import LagFit, model, solve
from .simulate import Simulated

# Of the flow of mids that are to correlate. Tilt: P(buy) - 1/2 when the fundamental is one mean spread above the mid.
FOLLOWING = {"tilt": 0.5, "tilt_max": 0.5, "revision_rate": 2.0}
NEWS_RATE = 0.1  # per second: moves of a tick or so that books follow at once, where a tenth of it each second is lost in the tick
ROUNDS = 10
MEMORY = 6  # rounds whose mean counts: over a minute simulated correlations have errors of some hundredths


def fundamentals(rho: np.ndarray, lag: np.ndarray | None = None) -> dict[str, Any]:
    """The section `fundamentals` without volatilities: correlation, and for mids that follow also news and lags."""
    section: dict[str, Any] = {"correlation": [[float(v) for v in row] for row in nearest_correlation(rho)]}
    if lag is None:
        return section
    return section | {"news_rate": NEWS_RATE, "lag": [round(float(v), 3) for v in lag]}


def follow_together(
    fit: LagFit, played: Callable[[dict[str, Any], int], np.ndarray], say: Callable[[str], None]
) -> dict[str, Any]:
    """The section `fundamentals` with which simulated mids correlate nearest to recorded ones, from the closed form's on.

    played: section, number of the round -> (H, A, A) correlations of its mids, on random numbers of that round. What the closed
    form (`model`) says beside them is its defect; in each round correlations and lags are those with which the closed form, with
    the mean defect of the last rounds, gives the measured correlations (output space mapping: Bandler et al. 2004).
    """
    others = ~np.eye(len(fit.lag), dtype=bool)
    lag, rho = fit.lag, fit.correlation
    defects: list[np.ndarray] = []
    for turn in range(ROUNDS):
        tried = fundamentals(rho, lag)
        now = played(tried, turn)
        off = np.abs(fit.measured - now)[:, others]
        say(
            f"calibrate: correlations, round {turn + 1} of {ROUNDS}: largest difference {off.max():.3f}, mean {off.mean():.3f}"
        )
        defects.append(now - model(np.array(tried["lag"]), np.array(tried["correlation"]), fit.growth))
        lag, rho = solve(fit.measured - np.mean(defects[-MEMORY:], axis=0), fit.growth)
    return fundamentals(rho, lag)


def together(made: Sequence[Simulated], horizon: int) -> np.ndarray:
    """(A, A) correlation of simulated mids over `horizon` seconds; NaN where it was not simulated."""
    nan = [np.nan] * len(made)
    return np.array([m.correlation.get(horizon, nan) for m in made])


def nearest_correlation(c: np.ndarray, floor: float = 1e-4) -> np.ndarray:
    """(A, A) a positive semidefinite matrix near c with ones on the diagonal (eigenvalues floored, then rescaled)."""
    values, vectors = np.linalg.eigh((c + c.T) / 2.0)
    if values.min() < floor:
        c = (vectors * np.maximum(values, floor)) @ vectors.T
        scale = 1.0 / np.sqrt(np.diag(c))
        c = c * np.outer(scale, scale)
    c = np.round((c + c.T) / 2.0, 6)
    np.fill_diagonal(c, 1.0)
    return c
