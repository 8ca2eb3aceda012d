"""How fast episodes are played, and how long the rest will take: what ends a line of progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import Series


class Pace:
    """Counts what has been played of `episodes` in all."""

    def __init__(self, episodes: int) -> None:
        self.episodes, self.played, self.steps = episodes, 0, 0
        self.start = time.perf_counter()

    def __call__(self, series: Series) -> str:
        """Another batch was played: rate, time taken and time left."""
        batch = len(series.episode)
        self.played += batch
        self.steps += batch * len(series.terms)
        elapsed = time.perf_counter() - self.start
        left = elapsed / self.played * (self.episodes - self.played)
        return f"  {self.steps / max(elapsed, 1e-9):,.0f} steps/s  {elapsed:.0f} s, {left:.0f} s left"
