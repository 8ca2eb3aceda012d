"""What stands in a State, for those who look at it from outside the kernels: new arrays of whatever leading shape."""

from __future__ import annotations

import numpy as np

from .state import ASK, BID


def depth(qty: np.ndarray, head: np.ndarray, levels: int) -> np.ndarray:
    """(..., A, 2, L) int32 lots at the L ticks from the best bid downwards, and from the best ask upwards.

    qty: (..., A, W) and head: (..., A, HEAD) of a State, of all environments or of some.
    """
    level = np.arange(levels)
    px = np.stack([head[..., BID, None] - level, head[..., ASK, None] + level], axis=-2)  # (..., A, 2, L)
    return np.take_along_axis(qty[..., None, :], px & (qty.shape[-1] - 1), axis=-1)


def remaining(target: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Signed lots of a target that are still to be traded; 0 where more than that is held."""
    left = target - held
    return np.where(target > 0, np.maximum(left, 0), np.where(target < 0, np.minimum(left, 0), 0))
