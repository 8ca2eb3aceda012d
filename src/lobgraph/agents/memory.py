"""What strategies remember of a batch of environments between decisions: windows and exponential averages.

Every environment has its own; where `fresh` is true it is forgotten, so that no episode sees the one before.
"""

from __future__ import annotations

import numpy as np

from .strategy import StrategyError

MOST = 1_000_000  # decisions that a window may span


def steps(seconds: float, dt: float) -> int:
    """Decisions in a span of time, at least one. Raises StrategyError for more than MOST of them."""
    if not seconds / dt <= MOST:
        raise StrategyError(
            f"{seconds:g} seconds are more than {MOST:,} decisions of {dt:g} s: too many to remember"
        )
    return max(1, round(seconds / dt))


class Window:
    """The last `length` values of an array over environments (E, ...), the oldest first."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._values = np.zeros(0)  # (length, E, ...), a ring
        self._next = 0  # row that the next value takes
        self.count = np.zeros(0, np.int64)  # (E,) values remembered, at most length

    def push(self, values: np.ndarray, fresh: np.ndarray) -> None:
        """Remember (E, ...) values; environments where `fresh` (E,) is true remember nothing else."""
        if self._values.shape[1:] != values.shape:
            self._values = np.zeros((self.length, *values.shape))
            self.count = np.zeros(len(values), np.int64)
        self.count = np.minimum(np.where(fresh, 1, self.count + 1), self.length)
        self._values[self._next] = values
        self._next = (self._next + 1) % self.length

    @property
    def full(self) -> np.ndarray:
        """(E,) bool: `length` values are remembered."""
        return self.count == self.length

    @property
    def oldest(self) -> np.ndarray:
        """(E, ...) the value pushed longest ago."""
        row = (self._next - self.count) % self.length
        return self._values[row, np.arange(len(row))]

    def mean(self) -> np.ndarray:
        """(E, ...) of the remembered values."""
        return np.where(self._known, self._values, 0.0).sum(axis=0) / self._per_env(self.count)

    def std(self) -> np.ndarray:
        """(E, ...) of the remembered values, dividing by their number."""
        squares = np.where(self._known, (self._values - self.mean()) ** 2, 0.0)
        return np.sqrt(squares.sum(axis=0) / self._per_env(self.count))

    @property
    def _known(self) -> np.ndarray:
        age = (self._next - 1 - np.arange(self.length)) % self.length  # (length,)
        known = age[:, None] < self.count
        return known.reshape(*known.shape, *[1] * (self._values.ndim - 2))

    def _per_env(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, *[1] * (self._values.ndim - 2))


class Exponential:
    """Exponentially weighted mean and variance of an array over environments (E, ...), weights summing to one.

    The n-th value back has weight proportional to (1 - alpha)^n, also at the start of an episode (as pandas' ewm with
    adjust=True), so that the first values do not linger.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.count = np.zeros(0, np.int64)  # (E,) values seen

    @classmethod
    def half_life(cls, seconds: float, dt: float) -> Exponential:
        """Weights halve every `seconds`."""
        return cls(1.0 - 0.5 ** (dt / seconds))

    def push(self, values: np.ndarray, fresh: np.ndarray) -> None:
        """Take in (E, ...) values; environments where `fresh` (E,) is true forget what they had."""
        if self.count.shape != fresh.shape:
            self.count = np.zeros(len(fresh), np.int64)
            self.mean, self.variance = np.zeros(values.shape), np.zeros(values.shape)
        self.count = np.where(fresh, 1, self.count + 1)
        weight = self.alpha / -np.expm1(self.count * np.log1p(-self.alpha))  # 1 at the first value
        weight = weight.reshape(-1, *[1] * (values.ndim - 1))
        gap = values - np.where(weight == 1.0, 0.0, self.mean)
        self.variance = (1.0 - weight) * (self.variance + weight * gap * gap)
        self.mean = np.where(weight == 1.0, values, self.mean + weight * gap)
