"""What stands in a State, for those who look at it from outside the kernels: new arrays of whatever leading shape."""

from __future__ import annotations

import numpy as np

from .state import ASK, BID, HEAD, LOG, LOG_ROOM, LOGGED


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


def take_log(head: np.ndarray) -> np.ndarray:
    """(n, LOG) int64 entries of one book's log since it was last emptied, columns LOG_*, copied; the log is empty then.

    head: (HEAD + LOG * LOG_ROOM,) of one book, modified in place. Raises OverflowError where more happened than it holds.
    """
    count, room = int(head[LOGGED]), int(head[LOG_ROOM])
    if count > room:
        raise OverflowError(
            f"log: {count} events since it was last emptied, room for {room}; empty it more often"
        )
    head[LOGGED] = 0
    return head[HEAD : HEAD + LOG * count].reshape(count, LOG).copy()
