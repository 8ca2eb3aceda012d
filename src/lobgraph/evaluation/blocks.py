"""Intervals for one series whose values depend on their past: returns of one long episode, of a replayed day.

In: a series. Out: its mean or Sharpe ratio with an interval. `studentised` resamples blocks and measures each resample by
its own standard error; Ledoit and Wolf 2008 found that this is what covers. How often each covers: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import stats

from .intervals import SEED, Interval

BlockMethod = Literal["studentised", "percentile", "cosine"]
BLOCK_METHODS: tuple[BlockMethod, ...] = ("studentised", "percentile", "cosine")
LEAST = 50  # values below which none of this is to be trusted
RESAMPLES = 1_000
MOST_AR = 0.97  # bound of the prewhitening coefficient (Andrews and Monahan 1992)

# A statistic of series x (..., n): its value (...) and each moment's influence on it (..., n), of mean zero. The value is
# about the truth plus the mean of the true influences, so that its variance is the long-run variance of these over n.
Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mean(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and its influences."""
    m = x.mean(axis=-1)
    return m, x - m[..., None]


def sharpe(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over standard deviation per step, and its influences (Lo 2002; Ledoit and Wolf 2008)."""
    m = x.mean(axis=-1, keepdims=True)
    s = np.sqrt(((x - m) ** 2).mean(axis=-1, keepdims=True))
    z = (x - m) / s
    ratio = m / s
    return ratio[..., 0], z - 0.5 * ratio * (z**2 - 1.0)


STATISTICS: dict[str, Statistic] = {"mean": mean, "sharpe": sharpe}


def block_interval(
    returns: np.ndarray,
    statistic: str | Statistic = "mean",
    level: float = 0.95,
    method: BlockMethod = "studentised",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Confidence interval of a statistic of one stationary series (n,) that may be autocorrelated.

    studentised: circular block bootstrap (Politis and Romano 1992) of (value - estimate) / standard error, blocks of the
    length of Politis and White 2004 (`arch`); the series' own standard error is that of a prewhitened quadratic-spectral
    kernel with Andrews' bandwidth (Andrews and Monahan 1992), a resample's comes from its blocks (Goetze and Kuensch 1996).
    percentile: the same resamples without standard errors; too narrow where the past matters much.
    cosine: no resampling; Student's t over the first .4 n^(2/3) cosine transforms (Lazarus, Lewis, Stock and Watson 2018).
    `Interval.std` is the standard error times sqrt(n). A constant series has no interval but its value; where so few
    steps differ that resamples without any are common, studentised ends are infinite or NaN.
    Raises ValueError for fewer than LEAST values, NaN, and unknown names.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 1 or len(x) < LEAST or not np.isfinite(x).all():
        raise ValueError(f"returns: needs a vector of at least {LEAST} finite values, got shape {x.shape}")
    if method not in BLOCK_METHODS:
        raise ValueError(f"method: must be one of {', '.join(BLOCK_METHODS)}, got {method!r}")
    if isinstance(statistic, str) and statistic not in STATISTICS:
        raise ValueError(
            f"statistic: must be one of {', '.join(STATISTICS)} or a function, got {statistic!r}"
        )
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: must lie between 0 and 1, got {level}")
    function = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    n = len(x)
    if np.ptp(x) <= 1e-12 * np.abs(x).max():
        value = float(function(x)[0]) if function is mean else float("nan")
        return Interval(value, value, value, 0.0, n, "exact")
    estimate, influence = (np.asarray(v) for v in function(x))
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "cosine":
        error, freedom = cosine_error(influence)
        low, high = estimate + stats.t.ppf(tails, freedom) * error
        return Interval(float(estimate), float(low), float(high), error * n**0.5, n, method)
    error = kernel_error(influence)
    values, errors = _resamples(x, function, block_length(influence), resamples, seed)
    if method == "percentile":
        low, high = np.quantile(values, tails)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            high, low = estimate - np.quantile((values - estimate) / errors, tails) * error
    return Interval(float(estimate), float(low), float(high), error * n**0.5, n, method)


def block_length(x: np.ndarray) -> int:
    """Steps of a circular block (Politis and White 2004, corrected by Patton et al. 2009), so that 8 or more are drawn."""
    from arch.bootstrap import optimal_block_length  # takes a second: comparisons do without

    length = float(optimal_block_length(x)["circular"].iloc[0])
    return int(np.clip(np.ceil(length), 1, len(x) // 8))


def _resamples(
    x: np.ndarray, function: Statistic, length: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values (R,) of the statistic and their standard errors over R series of whole blocks."""
    blocks = -(-len(x) // length)
    start = np.random.default_rng(seed).integers(0, len(x), (count, blocks))
    around = np.concatenate([x, x[: length - 1]])
    every = np.lib.stride_tricks.sliding_window_view(around, length)  # (n, length)
    values, influence = function(every[start].reshape(count, -1))
    of_blocks = influence.reshape(count, blocks, length) @ np.full(length, 1.0 / length)
    return values, of_blocks.std(axis=-1, ddof=1) / blocks**0.5


def kernel_error(influence: np.ndarray) -> float:
    """Standard error of the mean of a series (n,): quadratic-spectral kernel after an AR(1) is taken out."""
    from arch.covariance.kernel import QuadraticSpectral

    d = influence - influence.mean()
    past = np.clip((d[1:] @ d[:-1]) / (d[:-1] @ d[:-1]), -MOST_AR, MOST_AR)
    rest = d[1:] - past * d[:-1]
    long_run = float(np.asarray(QuadraticSpectral(rest).cov.long_run).item()) / (1.0 - past) ** 2
    return (long_run / len(d)) ** 0.5


def cosine_error(influence: np.ndarray) -> tuple[float, int]:
    """Standard error of the mean of a series (n,) from its slow cosines, and their number: t's degrees of freedom."""
    n = len(influence)
    freedom = int(0.4 * n ** (2 / 3))
    angle = np.pi * np.outer(np.arange(1, freedom + 1), (np.arange(n) + 0.5) / n)
    transform = np.cos(angle) @ (influence - influence.mean()) * (2 / n) ** 0.5
    return float(((transform**2).mean() / n) ** 0.5), freedom
