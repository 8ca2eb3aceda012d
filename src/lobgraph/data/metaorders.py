"""Long memory of the sides of market orders -> hidden orders split into parts: exponent, number and share.

The model (Lillo, Mike, Farmer 2005): each market order is, with probability `share`, a part of one of `active` hidden
orders drawn evenly; their lengths have P(L >= n) = n^-exponent. Signs then correlate as lag^-(exponent - 1), with Hurst
exponent H = (3 - exponent) / 2. Asymptotics are far away in a day's signs, so that all three settings are fitted by
simulated moments: autocorrelation in bands of lags. Candidates that fit about as well are averaged for the exponent;
the slopes of theory are only reported. Where the flow also excites itself, the simulation is of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from ..market.jit import inlined, kernel
from ..market.rng import U64, draw
from .recording import DataError

LEAST = 500  # signs that a fit needs
EXPONENTS = tuple(round(1.1 + 0.1 * i, 1) for i in range(12))  # 1.1 to 2.2
ACTIVE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
LONGEST = 10_000  # parts, as in MetaorderConfig
SIMULATED = 400_000  # signs of each candidate
LAGS = 200
COARSE = (
    (1.2, 1.5, 1.8, 2.1),
    (1, 3, 8, 20),
    (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0),
)  # exponents, active, shares
SHARES = np.linspace(0.0, 1.0, 41)
MODEL_ERROR = 0.1  # relative, of an autocorrelation: what the model need not explain


@dataclass(frozen=True)
class MetaorderFit:
    """Settings of MetaorderConfig, and what signs say of their memory."""

    active: int
    exponent: float
    share: float
    signs: int
    bands: np.ndarray  # (K + 1,) int64 lags at which bands of lags begin and end
    measured: np.ndarray  # (K,) float64 mean autocorrelation in each band
    fitted: np.ndarray  # (K,) float64 that of the fit
    hurst: dict[str, float]  # by estimator: DFA, aggregated variance, slope of the autocorrelation
    chance: float  # standard deviation of one autocorrelation of independent signs

    def section(self) -> dict[str, Any]:
        """MetaorderConfig's fields."""
        return {
            "active": self.active,
            "exponent": self.exponent,
            "longest": LONGEST,
            "share": round(self.share, 4),
        }

    def figures(self) -> dict[str, float]:
        """Named numbers of the fit, for tables."""
        found = {"exponent": self.exponent, "hidden orders": float(self.active), "share": self.share}
        found |= {"Hurst of the exponent": (3.0 - self.exponent) / 2.0}
        found |= {f"Hurst, {how}": value for how, value in self.hurst.items()}
        for low, high, data, fit in zip(
            self.bands[:-1], self.bands[1:], self.measured, self.fitted, strict=True
        ):
            lags = f"{low}" if high == low + 1 else f"{low}-{high - 1}"
            found[f"sign autocorrelation, lag {lags}, data"] = float(data)
            found[f"sign autocorrelation, lag {lags}"] = float(fit)
        return found


def fit_metaorders(
    signs: np.ndarray, simulate: Callable[[dict[str, Any] | None], np.ndarray] | None = None
) -> MetaorderFit:
    """Fit to the (n,) signs of successive market orders, +1 buy, -1 sell.

    `simulate(settings)`: signs of a flow with these fields of MetaorderConfig and all else that gives signs a memory (None:
    without metaorders); candidates are then fewer. Without it orders that are no parts are independent. Raises DataError for fewer than LEAST signs.
    """
    n = len(signs)
    if n < LEAST:
        raise DataError(f"metaorders: needs at least {LEAST} market orders, got {n}")
    x = np.asarray(signs, np.float64)
    bands = lag_bands(n)
    measured = in_bands(autocorrelation(x, LAGS), bands)
    error = (
        1.0 / (n * np.diff(bands)) + (MODEL_ERROR * measured) ** 2
    )  # of chance, and what the model need not explain
    if simulate is None:
        shapes = [[in_bands(shape(a, e), bands) for a in ACTIVE] for e in EXPONENTS]
        tried = [
            (e, a, share, share**2 * made)
            for e, row in zip(EXPONENTS, shapes, strict=True)
            for a, made in zip(ACTIVE, row, strict=True)
            for share in SHARES
        ]
    else:
        tried = []
        for e, a, share in product(*COARSE):
            settings = {"active": a, "exponent": e, "share": share, "longest": LONGEST}
            came = simulate(settings if share > 0 else None).astype(np.float64)
            tried.append((e, a, share, in_bands(autocorrelation(came, LAGS), bands)))
    exponent, (_, active, share, fitted) = _best(tried, measured, error)
    return MetaorderFit(
        active=active, exponent=exponent, share=float(share), signs=n, bands=bands, measured=measured, fitted=fitted,
        hurst=hurst(x), chance=1.0 / np.sqrt(n),
    )  # fmt: skip


def _best(
    tried: Sequence[tuple[float, int, float, np.ndarray]], measured: np.ndarray, error: np.ndarray
) -> tuple[float, tuple[float, int, float, np.ndarray]]:
    """The mean exponent of what fits about as well, and the best candidate (exponent, active, share, (K,) autocorrelation)
    among those of the exponent nearest to it."""
    misfit = np.array([((made - measured) ** 2 / error).sum() for *_, made in tried])
    exponents = np.array([t[0] for t in tried])
    likely = np.exp(-0.5 * (misfit - misfit.min()))
    exponent = float(exponents @ likely / likely.sum())
    near = np.abs(exponents - exponent)
    return round(exponent, 3), tried[int(np.where(near == near.min(), misfit, np.inf).argmin())]


@cache
def shape(active: int, exponent: float) -> np.ndarray:
    """(LAGS,) autocorrelation of the model's signs at share 1, by simulation."""
    return autocorrelation(simulate_signs(SIMULATED, active, exponent, seed=1).astype(np.float64), LAGS)


def hurst(x: np.ndarray) -> dict[str, float]:
    """Hurst exponent of (n,) signs by three estimators; .5 is no memory."""
    acf = autocorrelation(x - x.mean(), min(len(x) // 10, 300))
    return {"DFA": dfa(x), "aggregated variance": aggregated_variance(x), "autocorrelation": slope(acf)}


def dfa(x: np.ndarray) -> float:
    """Detrended fluctuation analysis (Peng et al. 1994): slope of the fluctuation about a line over the window's length."""
    path = np.cumsum(x - x.mean())
    lengths = np.unique(np.geomspace(10, max(len(x) // 8, 20), 16).astype(int))
    sizes = []
    for w in lengths:
        parts = path[: len(path) // w * w].reshape(-1, w)
        t = np.arange(w) - (w - 1) / 2.0
        line = (parts @ t / (t @ t))[:, None] * t + parts.mean(axis=1, keepdims=True)
        sizes.append(np.sqrt(((parts - line) ** 2).mean()))
    return float(np.polyfit(np.log(lengths), np.log(sizes), 1)[0])


def aggregated_variance(x: np.ndarray) -> float:
    """1 + half the slope of the variance of block means over the blocks' length (Beran 1994)."""
    lengths = np.unique(np.geomspace(5, max(len(x) // 20, 10), 16).astype(int))
    spread = [x[: len(x) // w * w].reshape(-1, w).mean(axis=1).var() for w in lengths]
    return float(1.0 + 0.5 * np.polyfit(np.log(lengths), np.log(spread), 1)[0])


def slope(acf: np.ndarray) -> float:
    """1 - gamma / 2 of autocorrelations (lags 1, 2, ...) that fall as lag^-gamma, in bands of lags; NaN where too few are
    positive."""
    bands = np.unique(np.geomspace(3, len(acf), 12).astype(int))
    y, lag = in_bands(acf, bands), np.sqrt(bands[1:] * bands[:-1])
    use = y > 0
    return float(1.0 + 0.5 * np.polyfit(np.log(lag[use]), np.log(y[use]), 1)[0]) if use.sum() >= 3 else np.nan


def lag_bands(n: int) -> np.ndarray:
    """(K + 1,) int64 lags, evenly spread in logs from 1 to a tenth of the signs, at most LAGS."""
    return np.unique(np.geomspace(1, min(n // 10, LAGS) + 1, 13).astype(np.int64))


def autocorrelation(x: np.ndarray, lags: int) -> np.ndarray:
    """(lags,) float64 autocorrelation of (n,) values about 0 at lags 1 to `lags`, by FFT."""
    n = len(x)
    size = 1 << (n + lags).bit_length()
    power = np.abs(np.fft.rfft(x, size)) ** 2
    return np.fft.irfft(power, size)[1 : lags + 1] / np.arange(n - 1, n - 1 - lags, -1) / (x @ x / n)


def in_bands(acf: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """(K,) mean of lags 1, 2, ... over [bands[k], bands[k + 1])."""
    return np.add.reduceat(acf[: bands[-1] - 1], bands[:-1] - 1) / np.diff(bands)


def simulate_signs(n: int, active: int, exponent: float, share: float = 1.0, seed: int = 0) -> np.ndarray:
    """(n,) int8 signs of the model, from hidden orders already under way."""
    out = np.zeros(n, np.int8)
    _signs(seed, active, exponent, share, LONGEST, np.zeros(active, np.int64), np.zeros(active, np.int8), out)
    return out


@inlined()
def unit(key, i):
    """Draw number i of a stream, evenly in [0, 1)."""
    return np.float64(draw(U64(key), U64(i)) >> U64(11)) * 1.1102230246251565e-16


@inlined()
def length(u, exponent, longest):
    """Parts of a new hidden order: P(parts >= n) = n^-exponent, at most `longest`."""
    return np.int64(min((1.0 - u) ** (-1.0 / exponent), longest))


@kernel()
def _signs(seed, active, exponent, share, longest, left, side, out):
    """Write (n,) signs. left, side (active,) are scratch: parts still to come and the side of each hidden order."""
    first = 50 * active  # signs that only mix short and long orders
    for t in range(first + out.shape[0]):
        u = unit(seed, 3 * t)
        if u >= share:
            sign = 1 if unit(seed, 3 * t + 1) < 0.5 else -1
        else:
            i = np.int64(u / share * active)
            if left[i] == 0:
                left[i] = length(unit(seed, 3 * t + 1), exponent, longest)
                side[i] = 1 if unit(seed, 3 * t + 2) < 0.5 else -1
            left[i] -= 1
            sign = side[i]
        if t >= first:
            out[t - first] = sign
