"""One role's part of a Series: its arrays, and sums, means and last values over its agents' own steps.

An agent's episode ends where it is terminated, or with the last step. T steps, B episodes, G agents of all roles, K of
this one, A books.
"""

from __future__ import annotations

import numpy as np

from .record import Series


class Own:
    """The K agents of `role` in a Series."""

    def __init__(self, series: Series, role: str) -> None:
        self.series, self.role = series, role
        self.agents = series.specs[role].agents
        self.active = self.of(series.active)  # (T, B, K) bool
        self.end = self.active.sum(axis=0)  # (B, K) int64 steps acted in, so the row of its last state
        self.inventory = self.of(series.inventory)  # (T + 1, B, K, A)
        self.equity = self.of(series.equity)  # (T + 1, B, K)

    def of(self, x: np.ndarray) -> np.ndarray:
        """x (T or T + 1, B, G, ...) -> (..., K, ...) of this role."""
        return x[:, :, self.agents]

    def at_end(self, x: np.ndarray) -> np.ndarray:
        """x (T + 1, B, K, ...) -> (B, K, ...) after each agent's last step."""
        row = self.end.reshape(1, *self.end.shape, *[1] * (x.ndim - 3))
        return np.take_along_axis(x, row, axis=0)[0]

    def total(self, x: np.ndarray) -> np.ndarray:
        """x (T, B, K, ...) -> (B, K) float64 sum over its own steps, and over all further axes."""
        x = x.sum(axis=tuple(range(3, x.ndim)), dtype=np.float64)
        return np.where(self.active, x, 0.0).sum(axis=0)

    def mean(self, x: np.ndarray) -> np.ndarray:
        """x (T, B, K) -> (B, K) float64 mean over its own steps."""
        return ratio(self.total(x), self.end)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b in float64, NaN where b is zero."""
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return np.divide(a, b, out=np.full(shape, np.nan), where=np.asarray(b) != 0)
