"""Means of numbers that are not independent: of episodes on the same stretch of a tape, of seeds and episodes together.

Trainings (seeds) and market episodes both vary, and cross each other: one number per seed and episode, (S, E); every seed's
policy met the same episodes. Out: the mean with an interval that holds for other seeds and other episodes.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from .intervals import Interval


def by_cluster(x: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(C, M) a value for each cluster of the rows of x (n, M), cluster (n,) any labels, to be used as independent ones.

    Their mean is that of x, and the variance of their mean the one clustered by `cluster` with its correction C / (C - 1)
    (Liang and Zeger 1986; CR1): mean + C / n * (sum of the cluster's rows less mean). Linear in x: differences of values
    are values of differences.
    """
    _, place = np.unique(cluster, return_inverse=True)
    mean = x.mean(axis=0)
    clusters = int(place.max()) + 1
    sums = np.zeros((clusters, x.shape[1]))
    np.add.at(sums, place, x - mean)
    return mean + clusters / len(x) * sums


def effective(cluster: np.ndarray) -> float:
    """How many equal clusters say as much as those of these labels (n,): n^2 / sum of squared sizes.

    A few large clusters among many small ones leave little to estimate a variance from (Carter, Schnepel and Steigerwald
    2017, with clusters whose members say the same).
    """
    _, sizes = np.unique(cluster, return_counts=True)
    return float(len(cluster)) ** 2 / float((sizes.astype(np.float64) ** 2).sum())


def crossed(x: np.ndarray, level: float = 0.95) -> Interval:
    """Interval of the mean of x (S, E), seeds by episodes, with both taken as drawn at random.

    The variance of the mean in the crossed random-effects model x_se = mu + a_s + b_e + c_se is that of the seeds' means
    plus that of the episodes' means less the rest's, which both contain (Searle, Casella and McCulloch 1992, section 4.7;
    the two-way clustered variance of Cameron, Gelbach and Miller 2011). Student's t with Satterthwaite's degrees of
    freedom: where the seeds differ, about S - 1, so that three seeds give a wide interval. One seed: over episodes alone.
    `Interval.std` is the standard error times sqrt(n). Raises ValueError for NaN, or less than two episodes.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < 2 or not np.isfinite(x).all():
        raise ValueError(f"x: needs finite values of shape (seeds, 2 episodes or more), got {x.shape}")
    s, e = x.shape
    mean = float(x.mean())
    of_episodes = x.mean(axis=0).var(ddof=1) / e
    if s == 1:
        return _interval(mean, of_episodes, e - 1, x.size, level, "episodes")
    of_seeds = x.mean(axis=1).var(ddof=1) / s
    rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + mean
    of_rest = (rest**2).sum() / ((s - 1) * (e - 1)) / x.size
    variance = max(
        of_seeds + of_episodes - of_rest, of_seeds, of_episodes
    )  # an estimate may fall below its parts
    parts = of_seeds**2 / (s - 1) + of_episodes**2 / (e - 1) + of_rest**2 / ((s - 1) * (e - 1))
    freedom = variance**2 / parts if parts > 0 else x.size - 1
    return _interval(mean, variance, freedom, x.size, level, "seeds and episodes")


def crossed_ratio(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> Interval:
    """Interval of mean(x) / mean(y) for x, y (S, E) of the same seeds and episodes, by linearisation (delta method).

    NaN where mean(y) is not above zero: a share of a loss has no meaning.
    """
    top, bottom = float(np.mean(x)), float(np.mean(y))
    if bottom <= 0:
        return Interval(np.nan, np.nan, np.nan, np.nan, np.size(x), "none")
    share = top / bottom
    around = crossed((np.asarray(x) - share * np.asarray(y)) / bottom, level)
    return around._replace(mean=share, low=share + around.low, high=share + around.high)


def _interval(mean: float, variance: float, freedom: float, n: int, level: float, method: str) -> Interval:
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * variance**0.5
    return Interval(mean, mean - half, mean + half, (variance * n) ** 0.5, n, method)
