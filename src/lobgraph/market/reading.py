"""What stands in a State, for those who look at it from outside the kernels: new arrays of whatever leading shape."""

from __future__ import annotations

import numpy as np

from .state import (
    ASK,
    BID,
    EVENT_BOOKS,
    EVENT_KIND,
    HALT,
    HALTED_UNTIL,
    SINCE_STEP,
    STEP,
    UNTIL_STEP,
    Params,
    State,
)


def depth(qty: np.ndarray, head: np.ndarray, levels: int) -> np.ndarray:
    """(..., A, 2, L) int32 lots at the L ticks from the best bid downwards, and from the best ask upwards.

    qty: (..., A, W) and head: (..., A, HEAD) of a State, of all environments or of some.
    """
    level = np.arange(levels)
    px = np.stack([head[..., BID, None] - level, head[..., ASK, None] + level], axis=-2)  # (..., A, 2, L)
    return np.take_along_axis(qty[..., None, :], px & (qty.shape[-1] - 1), axis=-1)


def happening(state: State, params: Params) -> np.ndarray:
    """(E, A) uint8 events of the last step in each book: bit k for kind k of config.stress.SHAPES, halts of both causes."""
    step = state.clock[:, None, STEP] - 1
    bits = np.zeros(state.stress.shape[:2], np.uint8)
    for k, row in enumerate(params.stress):
        event = state.event[:, k, :, None]
        on = (event[:, SINCE_STEP] <= step) & (step < event[:, UNTIL_STEP]) & (row[EVENT_BOOKS:] != 0)
        bits |= np.where(on & (row[EVENT_KIND] != HALT), 1 << row[EVENT_KIND], 0).astype(np.uint8)
    return bits | np.where(step < state.stress[:, :, HALTED_UNTIL], 1 << HALT, 0).astype(np.uint8)


def remaining(target: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Signed lots of a target that are still to be traded; 0 where more than that is held."""
    left = target - held
    return np.where(target > 0, np.maximum(left, 0), np.where(target < 0, np.minimum(left, 0), 0))
