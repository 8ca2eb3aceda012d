"""Distances between the distributions of scores of two markets, as LOB-Bench defines them, with intervals.

L1 is the total variation of two histograms, half the sum of |p - q|, between 0 and 1; its bins are those of Freedman and
Diaconis over both samples together (every value its own where the score is discrete). Wasserstein-1 is of the values in
standard deviations of both samples together. Intervals resample blocks of time: the values are far from independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from ..data.facts import Day
from .sampling import alike
from .scores import CORE, DISCRETE, Score, scores

BLOCKS = 40  # of each market's time, that are resampled whole
GRID = 2000  # values between which the resampled distribution functions are compared
Z = 1.96  # standard errors to each side: 95 %
COLUMNS = ("score", "core", "l1", "l1_low", "l1_high", "wasserstein", "wasserstein_low", "wasserstein_high",
           "n_simulated", "n_real")  # fmt: skip
MEANS = ("mean", "mean of all")  # rows of the table, over CORE and over all scores


def bins(x: np.ndarray, y: np.ndarray, discrete: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The function from values to the numbers of their bins: of all values, or Freedman and Diaconis's 2 IQR n^(-1/3).

    Where half of all values are equal their interquartile range can be 0 and says nothing: then every value is a bin too.
    """
    both = np.concatenate([x, y])
    low, high = both.min(), both.max()
    width = 2.0 * float(np.subtract(*np.percentile(both, [75, 25]))) / len(both) ** (1 / 3)
    if discrete or width == 0.0:
        values = np.unique(both)
        return lambda v: np.searchsorted(values, v)
    count = int(np.ceil((high - low) / width))
    return lambda v: np.floor((v - low) / (high - low) * count).astype(np.int64)


def total_variation(x: np.ndarray, y: np.ndarray, discrete: bool = False) -> float:
    """L1 of two samples (n,), (m,): 0 for equal histograms, 1 for disjoint ones and where one is empty; NaN if both are."""
    if len(x) == 0 or len(y) == 0:
        return 1.0 if len(x) + len(y) > 0 else float("nan")
    number = bins(x, y, discrete)
    _, where = np.unique(np.concatenate([number(x), number(y)]), return_inverse=True)
    p = np.bincount(where[: len(x)], minlength=where.max() + 1) / len(x)
    q = np.bincount(where[len(x) :], minlength=where.max() + 1) / len(y)
    return float(0.5 * np.abs(p - q).sum())


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Wasserstein-1 of two samples in standard deviations (ddof 1) of both together; NaN where one is empty."""
    if len(x) == 0 or len(y) == 0:
        return float("nan")
    spread = np.concatenate([x, y]).std(ddof=1)
    return float(wasserstein_distance(x, y) / spread) if spread > 0 else 0.0


def distances(simulated: Day, real: Day, resamples: int = 200, seed: int = 0) -> pd.DataFrame:
    """How far the scores of a simulated market lie from a real one's.

    Both in the same tick; either may be a Recording or Snapshots, and where one is Snapshots the other is looked at
    as often. Returns one row per score and the rows `MEANS`, columns COLUMNS: distances with 95 % intervals (estimate
    -+ 1.96 standard errors of a bootstrap of blocks of time, NaN for `resamples` 0) and the numbers of values.
    Raises DataError for different ticks or numbers of levels.
    """
    one, two = alike(simulated, real)
    return compare_scores(scores(one), scores(two), resamples, seed)


def compare_scores(
    simulated: dict[str, Score], real: dict[str, Score], resamples: int = 200, seed: int = 0
) -> pd.DataFrame:
    """The table of `distances` from the scores of both markets."""
    names = [name for name in simulated if name in real]
    whole = [np.concatenate([s[n].time for n in names]) for s in (simulated, real)]
    edges = [_edges(t) for t in whole]
    rng = np.random.default_rng(seed)
    draws = [_draws(rng, resamples) for _ in range(2)]
    rows, again = [], []
    for name in names:
        s, r = simulated[name], real[name]
        found = total_variation(s.value, r.value, name in DISCRETE), wasserstein(s.value, r.value)
        rows.append((name, name in CORE, *found, len(s.value), len(r.value)))
        again.append(_resampled(s, r, name in DISCRETE, edges, draws))
    table = pd.DataFrame(rows, columns=["score", "core", "l1", "wasserstein", "n_simulated", "n_real"])
    sets = (table["core"].to_numpy(bool), np.ones(len(table), bool))
    drawn = np.array(again).reshape(len(names), 2, resamples)
    drawn = np.concatenate([drawn, [np.nanmean(drawn[use], axis=0) for use in sets]])
    means = pd.concat([table[use][["l1", "wasserstein"]].mean().to_frame().T for use in sets])
    means = means.assign(score=MEANS, core=(True, False), n_simulated=0, n_real=0)
    table = pd.concat([table, means], ignore_index=True)
    error = drawn.std(axis=2, ddof=1) if resamples > 1 else np.full(drawn.shape[:2], np.nan)
    for k, key in enumerate(("l1", "wasserstein")):
        table[f"{key}_low"] = np.maximum(table[key] - Z * error[:, k], 0.0)
        table[f"{key}_high"] = table[key] + Z * error[:, k]
    table["l1_high"] = table["l1_high"].clip(upper=1.0)
    return table.reindex(columns=list(COLUMNS))


# --- the bootstrap ---


def _edges(time: np.ndarray) -> np.ndarray:
    """(BLOCKS - 1,) int64 ns: where one block of time ends and the next begins."""
    return np.linspace(time.min(), time.max() + 1, BLOCKS + 1)[1:-1].astype(np.int64)


def _draws(rng: np.random.Generator, resamples: int) -> np.ndarray:
    """(R, BLOCKS) float64: how often each block is in each resample, the same blocks for every score."""
    return rng.multinomial(BLOCKS, np.full(BLOCKS, 1.0 / BLOCKS), resamples).astype(np.float64)


def _resampled(
    s: Score, r: Score, discrete: bool, edges: list[np.ndarray], draws: list[np.ndarray]
) -> np.ndarray:
    """(2, R) both distances over the resamples: histograms of blocks are made once and added."""
    count = len(draws[0])
    if len(s.value) == 0 or len(r.value) == 0:
        l1 = 1.0 if len(s.value) + len(r.value) > 0 else np.nan
        return np.stack([np.full(count, l1), np.full(count, np.nan)])
    both = np.concatenate([s.value, r.value])
    number = bins(s.value, r.value, discrete)
    _, where = np.unique(number(both), return_inverse=True)
    grid = np.unique(both)
    if len(grid) > GRID:
        grid = np.unique(np.quantile(both, np.linspace(0.0, 1.0, GRID)))
    cell = np.searchsorted(grid, both)
    parts = (slice(len(s.value)), slice(len(s.value), None))
    shares, steps = [], []
    for score, part, edge, drawn in zip((s, r), parts, edges, draws, strict=True):
        block = np.searchsorted(edge, score.time, side="right")
        shares.append(_shares(block, where[part], where.max() + 1, drawn))
        steps.append(_shares(block, cell[part], len(grid), drawn))
    l1 = 0.5 * np.abs(shares[0] - shares[1]).sum(axis=1)
    gap = np.abs(np.cumsum(steps[0] - steps[1], axis=1))[:, :-1] @ np.diff(grid)
    spread = both.std(ddof=1)
    return np.stack([l1, gap / spread if spread > 0 else np.zeros(count)])


def _shares(block: np.ndarray, bin_: np.ndarray, count: int, drawn: np.ndarray) -> np.ndarray:
    """(R, bins) histograms of the resamples."""
    table = np.bincount(block * count + bin_, minlength=BLOCKS * count).reshape(BLOCKS, count)
    mixed = drawn @ table
    return mixed / np.maximum(mixed.sum(axis=1, keepdims=True), 1.0)
