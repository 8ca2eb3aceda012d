"""Correlation between assets that rises with the horizon -> correlations and lags of their fundamentals.

The model: fundamentals are correlated Brownian motions, asset i sees its own through an exponential lag of mean lag_i
(what it does not yet know at age u falls as exp(-u / lag_i)), and its mid moves about what it sees with noise of its own.
Then Cov(dM_i, dM_j)(h) = rho s_i s_j [h - ...] in closed form (`common`), while the variances are the data's. The Epps
effect (Epps 1979) is this rise; who leads is read from Hayashi and Yoshida's covariance over shifts (Hoffmann, Rosenbaum,
Yoshida 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ..market.jit import kernel
from .facts import Day, correlation, mid
from .nasdaq10 import Snapshots
from .recording import NS, DataError

HORIZONS = (1, 10, 60)  # seconds
LONGEST_LAG = 60.0  # seconds
NEWTON = 12  # steps
STIFFNESS = 0.00003  # pull of log(1 + lag) to the assets' mean: what the correlations cannot tell is shared


@dataclass(frozen=True)
class LagFit:
    """Fundamentals' correlation and lags of A assets."""

    names: tuple[str, ...]
    lag: np.ndarray  # (A,) float64 seconds
    correlation: np.ndarray  # (A, A) float64 of the fundamentals, not yet made positive semidefinite
    measured: np.ndarray  # (H, A, A) float64 of mid returns at HORIZONS
    growth: np.ndarray  # (H, A) float64 variance of mid returns per second over that at the longest horizon
    fitted: np.ndarray  # (H, A, A) float64 by the closed form
    lead: (
        np.ndarray
    )  # (A, A) float64 seconds by which the row's asset leads the column's; NaN where nothing shows it

    def figures(self, book: int) -> dict[str, float]:
        """Named numbers of one book, for tables: its own lag and its mean correlation with the others."""
        others = np.arange(len(self.lag)) != book
        found = {"lag [s]": float(self.lag[book])}
        for h, data, fit in zip(HORIZONS, self.measured, self.fitted, strict=True):
            found[f"mean correlation at {h} s, data"] = float(data[book, others].mean())
            found[f"mean correlation at {h} s"] = float(fit[book, others].mean())
            found[f"largest error at {h} s"] = float(np.abs(data - fit)[book, others].max())
        leads = self.lead[book, others]
        found["leads the others by [s], median"] = (
            float(np.nanmedian(leads)) if np.isfinite(leads).any() else np.nan
        )
        return found


def common(a: np.ndarray, b: np.ndarray, h: float) -> np.ndarray:
    """Covariance over `h` seconds of what two assets with lags a and b see of one Brownian motion of unit variance per
    second: the integral over the window of (1 - exp(-u/a)) (1 - exp(-u/b)), and the rest of what came before it."""
    a, b = np.maximum(a, 1e-6), np.maximum(b, 1e-6)
    both = a * b / (a + b)
    fa, fb = -np.expm1(-h / a), -np.expm1(-h / b)
    return h - a * fa - b * fb + both * (-np.expm1(-h / both)) + fa * fb * both


def fit_lag(days: Sequence[Day]) -> LagFit:
    """Fit to the window that all assets share. Raises DataError for one asset, or where 60 s returns are too few."""
    names = tuple(d.name for d in days)
    if len(days) < 2:
        raise DataError("lag: needs two assets or more")
    if len({d.date for d in days if d.date}) > 1:
        raise DataError("lag: the files are of different days")
    if (shared := min(d.end for d in days) - max(d.start for d in days)) < 100 * HORIZONS[-1] * NS:
        raise DataError(
            f"lag: needs {100 * HORIZONS[-1] / 3600:.3g} hours in common, got {max(shared, 0) / NS / 3600:.2g}"
        )
    measured = np.stack([correlation(days, h) for h in HORIZONS])
    growth = variance_growth(days)
    lag, rho = solve(measured, growth)
    lead = np.full((len(days), len(days)), np.nan)
    for i in range(len(days)):
        for j in range(i):
            lead[i, j] = lead_of(days[i], days[j])
            lead[j, i] = -lead[i, j]
    return LagFit(names, lag, rho, measured, growth, model(lag, rho, growth), lead)


def variance_growth(days: Sequence[Day]) -> np.ndarray:
    """(H, A) variance of mid returns at HORIZONS per second, over that at the longest."""
    return np.stack([growth_of(d) for d in days], axis=1)


def growth_of(day: Day) -> np.ndarray:
    """(H,) variance of mid returns at HORIZONS per second, over that at the longest."""
    x = np.log(mid(day))
    values = []
    for h in HORIZONS:
        grid = np.arange(int(day.time[0]), day.end + 1, h * NS)
        r = np.diff(x[np.searchsorted(day.time, grid, side="right") - 1])
        low, high = np.quantile(r, [0.002, 0.998])  # one flash move is not the asset's variance
        values.append(np.clip(r, low, high).var() / h)
    return np.asarray(values) / max(values[-1], 1e-300)


def model(lag: np.ndarray, rho: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """(H, A, A) correlations of mid returns. growth (H, A): variance per second over that of the fundamental."""
    found = np.stack([common(lag[:, None], lag[None, :], h) * rho / h / np.sqrt(np.outer(g, g))
                      for h, g in zip(HORIZONS, growth, strict=True)])  # fmt: skip
    found[:, np.arange(len(lag)), np.arange(len(lag))] = 1.0
    return found


def solve(measured: np.ndarray, growth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A,) lags and (A, A) correlations of the fundamentals whose closed form is nearest to `measured` (H, A, A): fourth powers,
    so that the largest error counts. Given the lags each correlation has its own, cut to -.99 ... .99."""
    books = measured.shape[1]
    low = np.tril_indices(books, -1)
    target = measured[:, low[0], low[1]]  # (H, pairs)

    def rho_of(lag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        unit = model(lag, np.ones((books, books)), growth)[:, low[0], low[1]]
        rho = (unit * target).sum(axis=0) / np.maximum((unit * unit).sum(axis=0), 1e-12)
        for _ in range(NEWTON):  # from the least squares
            error = unit * rho - target
            step = (unit * error**3).sum(axis=0) / np.maximum(3.0 * ((unit * error) ** 2).sum(axis=0), 1e-12)
            rho = rho - step
        return np.clip(rho, -0.99, 0.99), unit

    def misfit(x: np.ndarray) -> float:
        rho, unit = rho_of(np.expm1(x))
        error = ((rho * unit - target) ** 4).mean() ** 0.5 + STIFFNESS * ((x - x.mean()) ** 2).mean()
        return 1e4 * float(error)  # in units that the search's tolerances are made for

    top = np.log1p(LONGEST_LAG)
    runs = [
        minimize(misfit, np.full(books, np.log1p(s)), bounds=[(0.0, top)] * books, method="L-BFGS-B")
        for s in (0.3, 2.0, 10.0)
    ]
    lag = np.expm1(min(runs, key=lambda r: float(r.fun)).x)
    rho = np.eye(books)
    rho[low] = rho_of(lag)[0]
    return lag, rho + rho.T - np.eye(books)


SHIFTS = np.concatenate([-np.geomspace(30.0, 0.1, 26), [0.0], np.geomspace(0.1, 30.0, 26)])  # seconds


def lead_of(a: Day, b: Day) -> float:
    """Seconds by which the mid of `a` leads that of `b`: where Hayashi and Yoshida's covariance of a, shifted forward, with
    b is largest in size. NaN where it is nowhere three times the level of chance."""
    (ta, xa), (tb, xb) = _moves(a), _moves(b)
    if len(xa) < 100 or len(xb) < 100:
        return np.nan
    value = np.array([_overlap(ta + s, xa, tb, xb) for s in SHIFTS])
    chance = 1.4826 * np.median(np.abs(value - np.median(value)))
    best = int(np.abs(value).argmax())
    return float(SHIFTS[best]) if abs(value[best]) > 3.0 * chance else np.nan


def _moves(day: Day) -> tuple[np.ndarray, np.ndarray]:
    """Times (n + 1,) [s] of the mid's changes, the first mid's before them, and the changes (n,)."""
    x = np.log(mid(day))
    last = np.append(np.flatnonzero(np.diff(day.time)), day.rows - 1)  # of each time stamp
    x, time = x[last], day.time[last] / NS
    at = np.flatnonzero(np.diff(x)) + 1
    step = (
        0.05 if isinstance(day, Snapshots) else 0.0
    )  # a snapshot's change lies, in the mean, half a step back
    return np.concatenate([time[:1], time[at]]) - step, np.diff(x)[at - 1]


@kernel()
def _overlap(ta, xa, tb, xb):
    """Hayashi and Yoshida's (2005) covariance: products of returns whose intervals overlap. Times (n + 1,), returns (n,)."""
    total, j = 0.0, 0
    for i in range(xa.shape[0]):
        while j < xb.shape[0] and tb[j + 1] <= ta[i]:
            j += 1
        k = j
        while k < xb.shape[0] and tb[k] < ta[i + 1]:
            total += xa[i] * xb[k]
            k += 1
    return total
