"""The pattern of the day: how busy and how volatile the market is by time of day, over all assets together.

Activity is events per second over the span's mean, so that the tables stay its mean rates; volatility is that of ten-second
returns, its square averaging to 1. One day says how that day was: a bin's standard error is that of its minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .events import Events
from .facts import Day, returns
from .recording import NS, DataError

WIDTH = 1800.0  # seconds of a bin
LEAST_BINS = 3
STEP = 10  # seconds of the returns that volatility is measured by
EXTREME = 0.995  # quantile at which squared returns are cut: one jump is not a pattern


@dataclass(frozen=True)
class IntradayFit:
    """Multipliers by time of day, N bins; the last may be shorter than the others."""

    start: float  # seconds after midnight
    width: float  # seconds
    activity: np.ndarray  # (N,) float64, mean 1 over the time
    volatility: np.ndarray  # (N,) float64, mean square 1 over the time
    error: np.ndarray  # (N,) float64 standard error of activity

    def section(self) -> dict[str, Any]:
        """IntradayConfig's fields."""
        return {
            "start": self.start, "width": self.width, "activity": [round(float(v), 4) for v in self.activity],
            "volatility": [round(float(v), 4) for v in self.volatility],
        }  # fmt: skip

    def at(self, time: np.ndarray) -> np.ndarray:
        """Activity at times of day, seconds after midnight."""
        return self.activity[
            np.clip(((time - self.start) // self.width).astype(int), 0, len(self.activity) - 1)
        ]

    def figures(self) -> dict[str, float]:
        """Named numbers of the fit, for tables."""
        away = np.abs(self.activity - 1.0) > 2.0 * self.error
        return {
            "bins": float(len(self.activity)),
            "activity, least": float(self.activity.min()), "activity, most": float(self.activity.max()),
            "volatility, least": float(self.volatility.min()), "volatility, most": float(self.volatility.max()),
            "standard error of activity": float(self.error.mean()),
            "bins two standard errors from flat": float(away.sum()),
        }  # fmt: skip


def fit_intraday(days: Sequence[Day], flows: Sequence[Events], width: float = WIDTH) -> IntradayFit:
    """Fit to the span all assets share. Raises DataError where it holds fewer than three bins of `width` seconds."""
    start, end = max(d.start for d in days) / NS, min(d.end for d in days) / NS
    count = int(np.ceil((end - start) / width - 0.25))  # a short rest joins the bin before
    if count < LEAST_BINS:
        raise DataError(
            f"intraday: needs {LEAST_BINS * width / 3600:g} hours of data, got {(end - start) / 3600:.2f}"
        )
    edges = np.append(start + width * np.arange(count), end)
    seconds = np.diff(edges)
    share = seconds / seconds.sum()
    activity, error, square = np.zeros((3, count))
    for day, flow in zip(days, flows, strict=True):
        time = flow.time + day.start / NS
        rate = np.histogram(time, edges)[0] / seconds
        activity += rate / (share @ rate) / len(days)
        for b in range(count):
            minutes = np.histogram(time, np.arange(edges[b], edges[b + 1] + 1e-6, 60.0))[0] / 60.0
            error[b] += (minutes.std() / np.sqrt(len(minutes)) / (share @ rate)) ** 2 / len(days) ** 2
        r = returns(day, STEP, round(start * NS), round(end * NS)) ** 2
        at = start + STEP * (np.arange(len(r)) + 0.5)
        low = np.minimum(r, np.quantile(r, EXTREME))
        mean = np.histogram(at, edges, weights=low)[0] / np.maximum(np.histogram(at, edges)[0], 1)
        square += mean / max(share @ mean, 1e-300) / len(days)
    return IntradayFit(start, width, activity, np.sqrt(np.maximum(square, 1e-4)), np.sqrt(error))
