"""Windows of work -> rates; points of a sweep -> a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time

import numpy as np


@dataclass(frozen=True)
class Effort:
    """How long a case is measured."""

    seconds: float = 0.2  # of one window, about
    repeats: int = 5  # windows; their median is reported


@dataclass
class Windows:
    """What several windows of work brought: units per second, and cores kept busy by this process."""

    rates: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], float]) -> None:
        """Run one window; `work` returns the units it made."""
        start, busy = perf_counter(), process_time()
        units = work()
        seconds = perf_counter() - start
        self.rates.append(units / seconds)
        self.cores.append((process_time() - busy) / seconds)

    @property
    def core_ns(self) -> float:
        """Nanoseconds of processor time per unit in the least disturbed window."""
        return 1e9 * min(busy / rate for busy, rate in zip(self.cores, self.rates, strict=True))

    @property
    def busy(self) -> float:
        """Median of the cores kept busy: less than the threads where other processes took them."""
        return round(median(self.cores), 3)


def windows_of(work: Callable[[int], float], effort: Effort, block: int = 1) -> Windows:
    """Measure `effort.repeats` windows.

    `work(steps)` does that many steps and returns the units they made. A window is a whole number of blocks of steps.
    """
    work(block)  # compiles and warms up
    start = perf_counter()
    work(block)
    steps = block * max(1, round(effort.seconds / (perf_counter() - start)))
    windows = Windows()
    for _ in range(effort.repeats):
        windows.measure(lambda: work(steps))
    return windows


def line(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Intercept and slope of y over x by least squares of relative errors, and the largest relative error in percent."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    slope, intercept = np.polyfit(xs, ys, 1, w=1.0 / ys)
    error = (ys - intercept - slope * xs) / ys
    return float(intercept), float(slope), float(100.0 * np.abs(error).max())
