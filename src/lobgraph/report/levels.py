"""Means over episodes with their intervals, in one long table: a row per actor, regime, role and measure.

In: tables with a column per measure. Out: the table that figures and pages show where no other intervals are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .labels import KEYS, ordered

COLUMNS = ("actor", "regime", "role", "measure", "mean", "low", "high")


def measures_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table that hold a measure with at least one number, in reading order."""
    columns = [str(c) for c in table.select_dtypes("number").columns if c not in KEYS]
    return [m for m in ordered(columns) if np.isfinite(table[m].to_numpy(dtype=float)).any()]


def levels(measures: pd.DataFrame, market: pd.DataFrame | None = None, level: float = 0.95) -> pd.DataFrame:
    """Student's t intervals of the means over episodes, columns COLUMNS; the market's rows have the role "market".

    Agents or books of one episode are averaged first: they share its market, only episodes are independent.
    """
    tables = [measures] if market is None else [measures, market.assign(role="market")]
    rows = []
    for table in tables:
        groups: Any = table.groupby(["actor", "regime", "role"], sort=False) if len(table) else ()
        for key, part in groups:
            names = measures_of(part)
            means: Any = part.groupby("episode")[names].mean()
            rows += [(*key, name, *_interval(means[name].to_numpy(dtype=float), level)) for name in names]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _interval(x: np.ndarray, level: float) -> tuple[float, float, float]:
    """Mean and ends of its interval over the numbers that are finite; the ends are NaN with fewer than two."""
    x = x[np.isfinite(x)]
    mean = float(x.mean())
    if len(x) < 2:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return mean, mean - half, mean + half
