"""The stylised facts of a market, each with an interval: tails, volatility clustering, order signs, counts, price and flow.

In: a Recording or Snapshots. Out: `Fact`s. A fact is a function of sums of moments, the sums are kept block by block of
time, and its interval is the estimate -+ 1.96 standard errors over resamples of whole blocks (Kuensch 1989; products over
a lag belong to the block in which they begin, so that blocks have no seams). Ranges: Cont 2001 and the recorded days.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..data.facts import Day, first_second, market_orders, mid, returns, sample
from ..data.nasdaq10 import Snapshots
from ..data.recording import HIDDEN, NS
from .scores import best_flow

BLOCKS = 40
Z = 1.96
HORIZONS = (1, 10, 60)  # seconds of returns
COUNTS = (1, 10, 60)  # seconds in which messages are counted
LAGS = 300  # seconds of the autocorrelation of |returns|
FEW = 20  # values below which a fact says nothing
NAN = float("nan")
INF = float("inf")


class Fact(NamedTuple):
    """One figure. `value` NaN: it cannot be measured here, and `note` says why."""

    name: str
    value: float
    low: float = NAN
    high: float = NAN
    note: str = ""


@dataclass(frozen=True)
class Range:
    """What real markets show: between `low` and `high`; `text` as it is printed."""

    low: float
    high: float
    text: str


RANGES = {
    "excess kurtosis, 1 s": Range(25.0, 130.0, "25 to 130"),
    "kurtosis, 10 s over 1 s": Range(-INF, 1.0, "falls"),
    "kurtosis, 60 s over 10 s": Range(-INF, 1.0, "falls"),
    "|return| autocorrelation, 200-300 s": Range(0.0, INF, "above 0"),
    "|return| autocorrelation decay": Range(0.1, 0.5, ".1 to .5"),
    "order-sign Hurst exponent": Range(0.58, 0.80, ".58 to .80"),
    "variance ratio, 60 s over 1 s": Range(0.7, 1.4, ".7 to 1.4"),
    "Fano factor of counts, 1 s": Range(5.0, INF, "above 5"),
    "order-flow imbalance R2, 10 s": Range(0.3, INF, "above .3"),
    "queue imbalance, top less bottom fifth": Range(0.10, INF, "above .10"),
    "impact exponent of same-sided runs": Range(0.4, 0.6, ".4 to .6"),
    "correlation, 60 s over 1 s": Range(2.0, INF, "above 2"),
}


# --- moments by block ---

Function = Callable[[np.ndarray], np.ndarray]  # sums of moments (..., M) -> values (...)


def block_sums(time: np.ndarray, columns: np.ndarray, start: int, end: int) -> np.ndarray:
    """(BLOCKS, M) sums of columns (n, M) over blocks of time between `start` and `end` (ns)."""
    block = np.clip((time - start) * BLOCKS // max(end - start, 1), 0, BLOCKS - 1).astype(np.int64)
    sums = np.zeros((BLOCKS, columns.shape[1]))
    np.add.at(sums, block, columns)
    return sums


def interval(name: str, sums: np.ndarray, function: Function, resamples: int = 400, seed: int = 0) -> Fact:
    """The function of all blocks' sums, with the interval of resampled blocks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(sums.sum(axis=0)))
        drawn = np.random.default_rng(seed).multinomial(BLOCKS, np.full(BLOCKS, 1.0 / BLOCKS), resamples)
        again = function(drawn @ sums)
        again = again[np.isfinite(again)]
        # half the distance of the quantiles at -+ 1 standard error: ratios of small numbers have no variance
        error = 0.5 * float(np.subtract(*np.quantile(again, [0.8413, 0.1587]))) if len(again) > 1 else NAN
    return Fact(name, value, value - Z * error, value + Z * error)


def powers(x: np.ndarray, most: int) -> np.ndarray:
    """(n, most + 1) x^0 ... x^most."""
    return x[:, None] ** np.arange(most + 1)


def kurtosis(s: np.ndarray) -> np.ndarray:
    """Excess kurtosis from sums of x^0 ... x^4."""
    m1, m2, m3, m4 = (s[..., k] / s[..., 0] for k in range(1, 5))
    variance = m2 - m1**2
    return (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / variance**2 - 3.0


def variance(s: np.ndarray) -> np.ndarray:
    """From sums of x^0, x^1, x^2."""
    return s[..., 2] / s[..., 0] - (s[..., 1] / s[..., 0]) ** 2


def lag_autocorrelation(s: np.ndarray) -> np.ndarray:
    """(..., L) of lags 1..L from sums of 1, x, x^2, x x(1) ... x x(L)."""
    mean = s[..., 1:2] / s[..., :1]
    return (s[..., 3:] / s[..., :1] - mean**2) / (s[..., 2:3] / s[..., :1] - mean**2)


def decay(acf: np.ndarray) -> np.ndarray:
    """Minus the slope of log autocorrelation (..., L) on log lag, from means over lags spaced evenly in their logarithm."""
    edges = np.unique(np.round(np.geomspace(1, acf.shape[-1] + 1, 16)).astype(int))
    lags = np.array([np.mean(np.log(np.arange(a, b))) for a, b in itertools.pairwise(edges)])
    means = np.stack([acf[..., a - 1 : b - 1].mean(axis=-1) for a, b in itertools.pairwise(edges)], axis=-1)
    use = means > 0
    y = np.where(use, np.log(np.maximum(means, 1e-12)), 0.0)
    n = use.sum(axis=-1)
    mx, my = (use * lags).sum(axis=-1) / n, y.sum(axis=-1) / n
    slope = (use * lags * y).sum(axis=-1) / n - mx * my
    return np.where(n >= 5, -slope / ((use * lags**2).sum(axis=-1) / n - mx**2), NAN)


def r_squared(s: np.ndarray) -> np.ndarray:
    """From sums of 1, x, y, xx, yy, xy."""
    n, x, y = s[..., 0], s[..., 1] / s[..., 0], s[..., 2] / s[..., 0]
    cov = s[..., 5] / n - x * y
    return cov**2 / ((s[..., 3] / n - x**2) * (s[..., 4] / n - y**2))


def slope_of_logs(sums: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Slope of log(total / count) on log x over the scales x (S,); sums (..., 2 S): totals, then counts; empty ones are left out."""
    total, count = sums[..., : len(x)], sums[..., len(x) :]
    use = (count > 0) & (total > 0)
    y = np.where(use, np.log(np.where(use, total, 1.0) / np.where(use, count, 1.0)), 0.0)
    t = np.where(use, np.log(x), 0.0)
    n = use.sum(axis=-1)
    mx, my = t.sum(axis=-1) / n, y.sum(axis=-1) / n
    return np.where(n >= 3, ((t * y).sum(axis=-1) / n - mx * my) / ((t * t).sum(axis=-1) / n - mx**2), NAN)


# --- the facts ---


def stylised_facts(day: Day, resamples: int = 400, seed: int = 0) -> list[Fact]:
    """Every fact of one market; those that it is too short or too coarse for are NaN with a note."""
    made: list[Fact] = []

    def add(name: str, sums: np.ndarray, function: Function) -> None:
        made.append(interval(name, sums, function, resamples, seed))

    start, end = first_second(day), day.end
    _of_returns(day, start, end, add, made)
    _of_signs(day, start, end, add, made)
    _of_counts(day, start, end, add, made)
    _of_flow(day, start, end, add, made)
    _of_queues(day, start, end, add)
    _of_runs(day, start, end, add, made)
    return made


Add = Callable[[str, np.ndarray, Function], None]


def _of_returns(day: Day, start: int, end: int, add: Add, made: list[Fact]) -> None:
    by_horizon = {}
    for h in HORIZONS:
        r = returns(day, h)
        if len(r) < FEW or r.std() == 0:
            made.append(Fact(f"excess kurtosis, {h} s", NAN, note=f"fewer than {FEW} returns, or none moves"))
            continue
        scale = r.std()
        by_horizon[h] = (
            block_sums(start + h * NS * np.arange(len(r)), powers(r / scale, 4), start, end),
            scale,
        )
        add(f"excess kurtosis, {h} s", by_horizon[h][0], kurtosis)
    for one, two in ((10, 1), (60, 10)):
        if one in by_horizon and two in by_horizon:
            both = np.concatenate([by_horizon[one][0], by_horizon[two][0]], axis=1)
            add(
                f"kurtosis, {one} s over {two} s", both, lambda s: kurtosis(s[..., :5]) / kurtosis(s[..., 5:])
            )
    if 60 in by_horizon:
        ratio = (by_horizon[60][1] / by_horizon[1][1]) ** 2 / 60.0
        both = np.concatenate([by_horizon[60][0], by_horizon[1][0]], axis=1)
        add(
            "variance ratio, 60 s over 1 s",
            both,
            lambda s: ratio * variance(s[..., :5]) / variance(s[..., 5:]),
        )
    sums = absolute_moments(day, LAGS)
    if sums is None:
        note = f"shorter than {4 * LAGS} s"
        made += [Fact(n, NAN, note=note) for n in
                 ("|return| autocorrelation, 200-300 s", "|return| autocorrelation decay")]  # fmt: skip
        return
    add(
        "|return| autocorrelation, 200-300 s", sums, lambda s: lag_autocorrelation(s)[..., 199:].mean(axis=-1)
    )
    add("|return| autocorrelation decay", sums, lambda s: decay(lag_autocorrelation(s)))


def absolute_moments(day: Day, lags: int) -> np.ndarray | None:
    """(BLOCKS, 3 + lags) moments of absolute one-second returns for `lag_autocorrelation`; None where the day is too short."""
    a = np.abs(returns(day, 1))
    if len(a) < 4 * lags or a.std() == 0:
        return None
    a = a / a.std()
    n = len(a) - lags
    windows = np.lib.stride_tricks.sliding_window_view(a, lags + 1)[:n]
    columns = np.concatenate([np.ones((n, 1)), a[:n, None], windows * a[:n, None]], axis=1)
    start = first_second(day)
    return block_sums(start + NS * np.arange(n), columns, start, day.end)


def _of_signs(day: Day, start: int, end: int, add: Add, made: list[Fact]) -> None:
    orders = market_orders(day)
    name = "order-sign Hurst exponent"
    if len(orders.time) < 400:
        made.append(Fact(name, NAN, note=f"{len(orders.time)} market orders; needs 400"))
        return
    scales, sums = fluctuations(orders.side.astype(np.float64), orders.time, start, end)
    add(name, sums, lambda s: 0.5 * slope_of_logs(s, scales))


def fluctuations(x: np.ndarray, time: np.ndarray, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Detrended fluctuation analysis (Peng et al. 1994) of x (n,): scales (S,) in values, and (BLOCKS, 2 S) sums of the
    windows' mean squared distance from their straight lines, and their numbers. Hurst: half the slope of logs."""
    scales = np.unique(np.round(np.geomspace(10, len(x) // 8, 14)).astype(int))
    profile = np.cumsum(x - x.mean())
    sums = np.zeros((BLOCKS, 2 * len(scales)))
    for i, n in enumerate(scales):
        windows = profile[: len(x) // n * n].reshape(-1, n)
        t = np.arange(n) - 0.5 * (n - 1)
        level = windows.mean(axis=1, keepdims=True)
        trend = (windows - level) @ t / (t @ t)
        square = ((windows - level - trend[:, None] * t) ** 2).mean(axis=1)
        at = time[np.arange(len(windows)) * n]
        sums[:, [i, len(scales) + i]] = block_sums(
            at, np.stack([square, np.ones(len(square))], axis=1), start, end
        )
    return scales.astype(np.float64), sums


def _of_counts(day: Day, start: int, end: int, add: Add, made: list[Fact]) -> None:
    for h in COUNTS:
        name = f"Fano factor of counts, {h} s"
        if isinstance(day, Snapshots):
            made.append(Fact(name, NAN, note="snapshots do not count messages"))
            continue
        bins = (end - start) // (h * NS)
        if bins < FEW:
            made.append(Fact(name, NAN, note=f"fewer than {FEW} intervals"))
            continue
        at = (day.time[day.type <= HIDDEN] - start) // (h * NS)
        counts = np.bincount(at[at < bins], minlength=bins).astype(np.float64)
        sums = block_sums(start + h * NS * np.arange(bins), powers(counts, 2), start, end)
        add(name, sums, lambda s: variance(s) / (s[..., 1] / s[..., 0]))


def _of_flow(day: Day, start: int, end: int, add: Add, made: list[Fact]) -> None:
    h = 10
    rows = sample(day, h)
    name = f"order-flow imbalance R2, {h} s"
    if len(rows) <= FEW:
        made.append(Fact(name, NAN, note=f"fewer than {FEW} intervals"))
        return
    flow = np.concatenate(
        [[0.0], np.cumsum(best_flow(day.row_px.astype(np.int64), day.row_qty.astype(np.int64)))]
    )
    x, y = np.diff(flow[rows]), np.diff(mid(day)[rows])
    x, y = x / max(x.std(), 1e-300), y / max(y.std(), 1e-300)
    columns = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)
    add(name, block_sums(start + h * NS * np.arange(len(x)), columns, start, end), r_squared)


def _of_queues(day: Day, start: int, end: int, add: Add) -> None:
    """P(the next change of the mid is up) over rows where bid / (bid + ask) is at least .8, less that where it is below .2."""
    m = mid(day)
    changes = np.flatnonzero(np.diff(m) != 0) + 1
    rows = np.flatnonzero((day.row_qty[:, :, 0] > 0).all(axis=1))
    following = np.searchsorted(changes, rows, side="right")
    rows, following = rows[following < len(changes)], following[following < len(changes)]
    up = m[changes[following]] > m[rows]
    lots = day.row_qty[rows, :, 0].astype(np.float64)
    share = lots[:, 0] / lots.sum(axis=1)
    high, low = share >= 0.8, share < 0.2
    columns = np.stack([high, high & up, low, low & up], axis=1).astype(np.float64)
    sums = block_sums(day.time[rows], columns, start, end)
    add(
        "queue imbalance, top less bottom fifth",
        sums,
        lambda s: s[..., 1] / s[..., 0] - s[..., 3] / s[..., 2],
    )


def _of_runs(day: Day, start: int, end: int, add: Add, made: list[Fact]) -> None:
    """Mean move of the mid over runs of market orders of one side, by their lots: slope of logs. Metaorders themselves are
    not published; runs stand for them (at least 2 orders, as the impact of one says little)."""
    name = "impact exponent of same-sided runs"
    orders = market_orders(day)
    first = np.flatnonzero(np.diff(orders.side, prepend=0) != 0) if len(orders.time) else np.zeros(0, int)
    length = np.diff(np.append(first, len(orders.time)))
    use = length >= 2
    if use.sum() < 200:
        made.append(Fact(name, NAN, note=f"{int(use.sum())} runs of two or more market orders; needs 200"))
        return
    m = mid(day)
    before = np.maximum(np.searchsorted(day.time, orders.time[first], side="left") - 1, 0)
    after = np.searchsorted(day.time, orders.time[first + length - 1], side="right") - 1
    move = (orders.side[first] * (m[after] - m[before]))[use]
    lots = np.add.reduceat(orders.qty, first)[use].astype(np.float64)
    edges = np.unique(np.quantile(lots, np.linspace(0, 1, 11)))
    at = np.clip(np.searchsorted(edges, lots, side="right") - 1, 0, len(edges) - 2)
    bins = len(edges) - 1
    centre = np.array([lots[at == b].mean() if (at == b).any() else 1.0 for b in range(bins)])
    columns = np.zeros((len(lots), 2 * bins))
    columns[np.arange(len(lots)), at] = move
    columns[np.arange(len(lots)), bins + at] = 1.0
    sums = block_sums(orders.time[first][use], columns, start, end)
    add(name, sums, lambda s: slope_of_logs(s, centre))


# --- several assets ---


def correlation_facts(days: Sequence[Day], resamples: int = 400, seed: int = 0) -> list[Fact]:
    """Mean pairwise correlation of mid returns at each horizon, and that of the longest over that of the shortest."""
    start, end = max(first_second(d) for d in days), min(d.end for d in days)
    pairs = np.triu_indices(len(days), 1)
    made, sums = [], {}
    for h in HORIZONS:
        r = (
            np.stack([returns(d, h, start, end) for d in days], axis=1)
            if end - start > FEW * h * NS
            else None
        )
        if r is None:
            made.append(Fact(f"correlation, {h} s", NAN, note=f"fewer than {FEW} returns in common"))
            continue
        r = r / np.maximum(r.std(axis=0), 1e-300)
        columns = np.concatenate([np.ones((len(r), 1)), r, r * r, r[:, pairs[0]] * r[:, pairs[1]]], axis=1)
        sums[h] = block_sums(start + h * NS * np.arange(len(r)), columns, start, end)
        made.append(
            interval(
                f"correlation, {h} s", sums[h], lambda s: mean_correlation(s, len(days)), resamples, seed
            )
        )
    if 1 in sums and 60 in sums:
        width = sums[1].shape[1]

        def ratio(s: np.ndarray) -> np.ndarray:
            return mean_correlation(s[..., width:], len(days)) / mean_correlation(s[..., :width], len(days))

        both = np.concatenate([sums[1], sums[60]], axis=1)
        made.append(interval("correlation, 60 s over 1 s", both, ratio, resamples, seed))
    return made


def mean_correlation(s: np.ndarray, assets: int) -> np.ndarray:
    """From sums of 1, x (A), x^2 (A), products of pairs."""
    i, j = np.triu_indices(assets, 1)
    mean = s[..., 1 : 1 + assets] / s[..., :1]
    var = s[..., 1 + assets : 1 + 2 * assets] / s[..., :1] - mean**2
    cov = s[..., 1 + 2 * assets :] / s[..., :1] - mean[..., i] * mean[..., j]
    return (cov / np.sqrt(var[..., i] * var[..., j])).mean(axis=-1)
