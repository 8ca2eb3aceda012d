"""Fundamentals whose mids correlate as wanted, found on a stand-in for the simulated market whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lobgraph.data.follow import ROUNDS, follow_together
from lobgraph.data.lag import HORIZONS, LagFit, common, model, solve

RHO = np.array([[1.0, 0.7, 0.3, 0.5], [0.7, 1.0, 0.4, 0.2], [0.3, 0.4, 1.0, 0.6], [0.5, 0.2, 0.6, 1.0]])
LAGS = np.array([0.1, 0.5, 2.0, 6.0])
OTHERS = ~np.eye(4, dtype=bool)


def market(rho: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """(H, A, A) correlations of mids that lag by a second more than their flow, with noise of their own: unlike the closed form."""
    noise, more = np.array([1.5, 0.5, 1.0, 2.0]), lag + 1.0
    found = []
    for h in HORIZONS:
        cov = common(more[:, None], more[None, :], h) * rho
        size = np.sqrt(np.diag(cov) + noise)
        found.append(np.where(OTHERS, cov / np.outer(size, size), 1.0))
    return np.stack(found)


def played(section: dict[str, Any], turn: int = 0) -> np.ndarray:
    return market(np.array(section["correlation"]), np.array(section["lag"]))


def guessed(measured: np.ndarray) -> LagFit:
    """The closed form's fit, for mids without noise."""
    growth = np.ones((len(HORIZONS), 4))
    lag, rho = solve(measured, growth)
    return LagFit(tuple("ABCD"), lag, rho, measured, growth, model(lag, rho, growth), np.full((4, 4), np.nan))


def test_correlations_and_lags_of_a_known_market_are_found():
    lines: list[str] = []
    fit = guessed(market(RHO, LAGS))
    before = np.abs(market(fit.correlation, fit.lag) - fit.measured)[:, OTHERS].max()
    found = follow_together(fit, played, lines.append)
    after = np.abs(played(found) - fit.measured)[:, OTHERS].max()
    assert after < 0.03 < 0.06 < before
    assert np.array(found["correlation"]) == pytest.approx(RHO, abs=0.01)
    assert found["news_rate"] > 0
    assert len(lines) == ROUNDS
    assert f"round {ROUNDS} of {ROUNDS}" in lines[-1]


def test_errors_of_simulation_average_out():
    """Each round on other random numbers: what is found is nearer than one simulation can tell."""
    rng = np.random.default_rng(0)
    fit = guessed(market(RHO, LAGS))

    def shaken(section: dict[str, Any], turn: int) -> np.ndarray:
        error = rng.normal(0.0, 0.05, fit.measured.shape)
        return played(section) + np.where(OTHERS, error + error.swapaxes(1, 2), 0.0) / np.sqrt(2.0)

    off = [
        np.abs(played(follow_together(fit, shaken, lambda line: None)) - fit.measured)[:, OTHERS]
        for _ in range(5)
    ]
    assert np.sqrt(np.mean(np.square(off))) < 0.035
