"""The log of a book's events: entries of LOG columns at the end of its header's array (codes and columns: state.py).

The book writes what happens to it; who looks on takes the entries out, and the log is empty again.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .state import (
    LOG,
    LOG_KIND,
    LOG_LOTS,
    LOG_PLACE,
    LOG_PX,
    LOG_ROOM,
    LOG_SIDE,
    LOG_TIME,
    LOG_WHO,
    LOGGED,
    NOW_NS,
    STEP_NS,
)


@kernel()
def write_log(h, kind, side, px, lots, place, who):
    """Append an entry to a book's log (columns LOG_* at the end of its header's array); one too many is only counted."""
    if h[LOGGED] < h[LOG_ROOM]:
        row = h.shape[0] + LOG * (h[LOGGED] - h[LOG_ROOM])
        h[row + LOG_TIME] = h[STEP_NS] + h[NOW_NS]
        h[row + LOG_KIND] = kind
        h[row + LOG_SIDE] = side
        h[row + LOG_PX] = px
        h[row + LOG_LOTS] = lots
        h[row + LOG_PLACE] = place
        h[row + LOG_WHO] = who
    h[LOGGED] += 1


def take_log(head: np.ndarray) -> np.ndarray:
    """(n, LOG) int64 entries of one book's log since it was last emptied, columns LOG_*, copied; the log is empty then.

    head: (HEAD + memory + LOG * LOG_ROOM,) of one book, modified in place. Raises OverflowError where more happened than it holds.
    """
    count, room = int(head[LOGGED]), int(head[LOG_ROOM])
    if count > room:
        raise OverflowError(
            f"log: {count} events since it was last emptied, room for {room}; empty it more often"
        )
    head[LOGGED] = 0
    first = len(head) - LOG * room
    return head[first : first + LOG * count].reshape(count, LOG).copy()
