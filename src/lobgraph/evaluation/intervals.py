"""Differences with intervals: of independent episodes, paired by their noise, over several actors.

In: one number per episode. Out: means, intervals, tests, effect sizes. scipy and statsmodels compute; here is only what
belongs together, and what to do where a method does not apply. Series that depend on their past: `blocks`.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

Method = Literal["bca", "t", "percentile"]
METHODS: tuple[Method, ...] = ("bca", "t", "percentile")
FEW = 30  # below so many values resampling is too narrow: intervals are Student's, tests Wilcoxon's
RESAMPLES = 2_000
BATCH = 4_000_000  # rows' numbers drawn at once: 32 MB
SEED = 0  # of the resamples: equal data give equal intervals
SAME = 1e-12  # of the largest value: a spread below it is rounding


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float
    std: float  # of the values, ddof 1
    n: int  # values that are not NaN
    method: str  # used: constant data have no interval but their value ("exact"), few values Student's ("t")


class Paired(NamedTuple):
    """Mean of x - y over pairs, and what the same values say when nobody knows which belong together."""

    n: int  # pairs in which neither is NaN
    mean: float
    low: float
    high: float
    unpaired_low: float  # Welch's interval on the same values
    unpaired_high: float
    gain: (
        float  # width of that over width of the paired interval; 1 / sqrt(1 - correlation) at equal variances
    )
    correlation: float  # Pearson's, of x and y
    test: str  # which p is: "t" from FEW pairs on, "wilcoxon" below
    p: float  # two-sided
    p_t: float
    p_wilcoxon: float
    effect: float  # Cohen's d_z: mean over standard deviation of the differences
    effect_unpaired: float  # Cohen's d: mean over the root mean of both variances


class Unpaired(NamedTuple):
    """Difference of the means of two independent samples, by Welch."""

    n_x: int
    n_y: int
    mean: float  # of x less mean of y
    low: float
    high: float
    p: float
    effect: float  # Cohen's d


def interval(x: np.ndarray, level: float = 0.95, method: Method = "bca") -> Interval:
    """Confidence interval of the mean of independent values x (n,); NaN are left out.

    bca: bias-corrected and accelerated bootstrap (Efron 1987), `scipy.stats.bootstrap`; percentile: the same without
    corrections; t: Student's. Fewer than FEW values get Student's, equal ones their value, a single one NaN.
    Raises ValueError for another method, a level outside (0, 1), or x that is not a vector.
    """
    x = _vector("x", x)
    x = x[~np.isnan(x)]
    found = intervals(x[:, None], level, method)
    mean, low, high, std = (float(found[k][0]) for k in ("mean", "low", "high", "std"))
    return Interval(mean, low, high, std, found["n"], found["method"][0])


def intervals(
    x: np.ndarray, level: float = 0.95, method: Method = "bca", freedom: float | None = None
) -> dict:
    """Intervals of the means of the columns of x (n, M) without NaN, by the same resamples; fields as `Interval`, (M,).

    freedom: Student's degrees of freedom; None: n - 1.
    """
    _check(level, method)
    n = len(x)
    mean = x.mean(axis=0) if n else np.full(x.shape[1], np.nan)
    std = x.std(axis=0, ddof=1) if n > 1 else np.full(x.shape[1], np.nan)
    alike = constant(x)
    used = "t" if n < FEW else method
    low, high = _student(mean, std, n, level, freedom)
    if used != "t" and not alike.all():
        low[~alike], high[~alike] = _resampled(x[:, ~alike], level, used, (low[~alike], high[~alike]))
    low, high, std = (np.where(alike, v, w) for v, w in ((mean, low), (mean, high), (0.0, std)))
    named = np.where(alike, "exact", used)
    return {"mean": mean, "low": low, "high": high, "std": std, "n": n, "method": named.astype(object)}


def constant(x: np.ndarray) -> np.ndarray:
    """(M,) bool: columns of x (n, M) with two or more values, all equal up to rounding."""
    if len(x) < 2:
        return np.zeros(x.shape[1], bool)
    return np.ptp(x, axis=0) <= SAME * np.abs(x).max(axis=0)


def _student(
    mean: np.ndarray, std: np.ndarray, n: int, level: float, freedom: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    half = stats.t.ppf(0.5 + level / 2, freedom or n - 1) * std / n**0.5 if n > 1 else std
    return mean - half, mean + half


def _resampled(x: np.ndarray, level: float, method: str, student: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap of all columns at once: what is resampled are the rows' numbers, the statistic is every column's mean."""
    n = len(x)

    def means(rows: np.ndarray, axis: int = -1) -> np.ndarray:
        flat = rows.reshape(-1, rows.shape[-1])
        place = flat + n * np.arange(len(flat))[:, None]
        count = np.bincount(place.ravel(), minlength=n * len(flat)).reshape(len(flat), n)
        return (count @ x / flat.shape[1]).T.reshape(-1, *rows.shape[:-1])

    with (
        warnings.catch_warnings()
    ):  # where too few values differ, the bias is infinite: Student's interval then
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (np.arange(n),), means, n_resamples=RESAMPLES, confidence_level=level, vectorized=True,
            method="BCa" if method == "bca" else "percentile", rng=np.random.default_rng(SEED),
            batch=max(1, BATCH // n),
        ).confidence_interval  # fmt: skip
    known = np.isfinite(found.low) & np.isfinite(found.high)
    return np.where(known, found.low, student[0]), np.where(known, found.high, student[1])


def paired(x: np.ndarray, y: np.ndarray, level: float = 0.95, method: Method = "bca") -> Paired:
    """Compare x with y (n,), pair by pair: the mean of x - y with interval, tests and effect sizes.

    The t test is of the mean; Wilcoxon's signed-rank test (zeros ranked, Pratt 1959) of a distribution around 0. Equal
    values give exactly 0 with interval [0, 0] and p = 1. Raises ValueError as `interval`, and for unequal lengths.
    """
    x, y = _vector("x", x), _vector("y", y)
    if len(x) != len(y):
        raise ValueError(f"paired: x and y must have one value per pair, got {len(x)} and {len(y)}")
    known = ~(np.isnan(x) | np.isnan(y))
    found = pairs(x[known, None], y[known, None], level, method)
    numbers = {k: float(found[k][0]) for k in Paired._fields if k not in ("n", "test")}
    return Paired(n=found["n"], test=found["test"], **numbers)


def pairs(
    x: np.ndarray,
    y: np.ndarray,
    level: float = 0.95,
    method: Method = "bca",
    freedom: float | None = None,
) -> dict:
    """`paired` for the columns of x, y (n, M) without NaN; fields as `Paired`, (M,).

    freedom: of Student's interval and t test, which is then the one taken: x and y are values of clusters; None: n - 1.
    """
    n = len(x)
    scale = SAME * np.maximum(np.abs(x), np.abs(y)).max(axis=0, initial=0.0)
    d = x - y
    if n > 1:  # differences that are equal but for the rounding of x and y
        d = np.where(np.ptp(d, axis=0) <= scale, d[0], d)
    own = intervals(d, level, method, freedom)
    apart = _welch(x, y, level)
    p_t, p_wilcoxon = _tests(d, own["mean"], own["std"], freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        wide, narrow = apart["high"] - apart["low"], own["high"] - own["low"]
        gain, effect = wide / narrow, own["mean"] / own["std"]
    effect = np.where(own["mean"] == 0, 0.0, effect) if n > 1 else effect
    test = "t" if n >= FEW or freedom is not None else "wilcoxon"
    return {
        "n": n, "mean": own["mean"], "low": own["low"], "high": own["high"], "unpaired_low": apart["low"],
        "unpaired_high": apart["high"], "gain": gain, "correlation": _correlation(x, y), "test": test,
        "p": p_t if test == "t" else p_wilcoxon, "p_t": p_t, "p_wilcoxon": p_wilcoxon, "effect": effect,
        "effect_unpaired": apart["effect"],
    }  # fmt: skip


def _tests(
    d: np.ndarray, mean: np.ndarray, std: np.ndarray, freedom: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p of the t and the Wilcoxon test that differences d (n, M) lie around 0."""
    n, m = d.shape
    p_t, p_wilcoxon = np.full((2, m), np.nan)
    if n < 2:
        return p_t, p_wilcoxon
    with np.errstate(divide="ignore", invalid="ignore"):
        p_t = 2.0 * stats.t.sf(np.abs(mean) / (std / n**0.5), freedom or n - 1)
    moved = (d != 0).any(axis=0)
    if moved.any() and freedom is None:  # ranks of clusters of unequal sizes mean nothing
        found: Any = stats.wilcoxon(d[:, moved], zero_method="pratt", axis=0)
        p_wilcoxon[moved] = found.pvalue
    return np.where(moved, p_t, 1.0), np.where(moved, p_wilcoxon, 1.0)


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.full(x.shape[1], np.nan)
    varies = ~(constant(x) | constant(y))
    if len(x) > 1 and varies.any():
        found: Any = stats.pearsonr(x[:, varies], y[:, varies], axis=0)
        out[varies] = found.statistic
    return out


def unpaired(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> Unpaired:
    """Compare the means of independent samples x (n,) and y (m,) by Welch's t; NaN are left out. Errors as `interval`."""
    x, y = (v[~np.isnan(v)] for v in (_vector("x", x), _vector("y", y)))
    _check(level, "t")
    found = _welch(x[:, None], y[:, None], level)
    return Unpaired(len(x), len(y), *(float(found[k][0]) for k in ("mean", "low", "high", "p", "effect")))


def _welch(x: np.ndarray, y: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """Welch's interval and test of columns x (n, M), y (m, M); without spread in both: the difference itself."""
    if min(len(x), len(y)) < 2:
        empty = np.full(x.shape[1], np.nan)
        mean = x.mean(axis=0) - y.mean(axis=0) if len(x) and len(y) else empty
        return {"mean": mean, "low": empty, "high": empty, "p": empty, "effect": empty}
    mean = x.mean(axis=0) - y.mean(axis=0)
    fixed = constant(x) & constant(y)
    pooled = np.sqrt(0.5 * (x.var(axis=0, ddof=1) + y.var(axis=0, ddof=1)))
    pooled = np.where(fixed, 0.0, pooled)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without spread, replaced below
        test: Any = stats.ttest_ind(x, y, equal_var=False)
        low, high = test.confidence_interval(level)
        effect = np.where(mean == 0, 0.0, mean / pooled)
    low, high = np.where(fixed, mean, low), np.where(fixed, mean, high)
    p = np.where(fixed, (mean == 0).astype(float), test.pvalue)
    return {"mean": mean, "low": low, "high": high, "p": p, "effect": effect}


def adjust(p: np.ndarray, method: str = "holm") -> np.ndarray:
    """p values (m,) of one family corrected for their number, as `statsmodels.stats.multitest.multipletests`; NaN stay."""
    p = _vector("p", p)
    out, known = np.full(len(p), np.nan), ~np.isnan(p)
    if not known.any():
        return out
    frozen = gc.get_freeze_count()
    gc.freeze()  # multipletests collects garbage at every call: a tenth of a second where torch is loaded
    try:
        out[known] = multipletests(p[known], method=method)[1]
    finally:
        if not frozen:
            gc.unfreeze()
    return out


def by_pattern(known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns of known (n, M) bool with equal rows that are known: pairs of row mask (n,) and column numbers."""
    groups: dict[bytes, list[int]] = {}
    for column in range(known.shape[1]):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    for columns in groups.values():
        yield known[:, columns[0]], np.array(columns)


def _vector(name: str, x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"{name}: expected a vector, got an array of shape {x.shape}")
    return x


def _check(level: float, method: str) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: must lie between 0 and 1, got {level}")
    if method not in METHODS:
        raise ValueError(f"method: must be one of {', '.join(METHODS)}, got {method!r}")
