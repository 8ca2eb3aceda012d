"""The replay rule on real LOBSTER files, through the engine: after every recorded message the book equals the
orderbook file on levels 1..L-1. Levels are read off the ring by scanning it, not from the tape's own snapshots.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from lobgraph.data.lobster import read_lobster
from lobgraph.market.state import BID, CLIPPED, LOW, TAPE_SET, Tape, make_state
from lobgraph.market.step import book_of
from lobgraph.market.tape import apply_message, load_tape

DATA = Path(os.environ.get("LOBGRAPH_DATA") or Path(__file__).parents[3] / "shared" / "data") / "lobster"
STEMS = {1: "AAPL", 5: "AMZN", 10: "GOOG"}


@njit
def levels_right(state, tape, row_end, row_px, row_qty, compare):
    """Per row: how many of the first `compare` levels of both sides are right, scanning the ring from the window's edge."""
    b = book_of(state, 0, 0)
    right = np.zeros((row_end.shape[0], 2), np.int64)
    w = b.qty.shape[0]
    pos = 0
    for i in range(row_end.shape[0]):
        while pos < row_end[i]:
            apply_message(
                b,
                tape.kind[pos],
                np.int64(tape.side[pos]),
                np.int64(tape.px[pos]),
                np.int64(tape.qty[pos]),
                np.uint64(0),
            )
            pos += 1
        for k in range(2):
            px = b.head[BID] if k == 0 else b.head[BID] + 1
            rank = 0
            while rank < compare and b.head[LOW] <= px < b.head[LOW] + w:
                lots = b.qty[px & (w - 1)]
                if lots > 0:
                    if px != row_px[i, k, rank] or lots != row_qty[i, k, rank]:
                        break
                    rank += 1
                px += -1 if k == 0 else 1
            right[i, k] = rank
    return right


def _path(name: str, mini: bool) -> Path:
    folder = DATA / "mini" if mini else DATA
    found = sorted(folder.glob(f"{name}_*_message_*"))
    if not found:
        pytest.skip(f"no LOBSTER file of {name} in {folder}: set LOBGRAPH_DATA to the data folder")
    return found[0]


def check(name: str, levels: int, mini: bool) -> None:
    recording = read_lobster(_path(name, mini))
    assert recording.levels == levels
    assert recording.mismatches == 0
    window = 1 << max(9, int(2 * recording.reach + 2).bit_length())
    state = make_state(1, 1, window, 0, 1)
    tape: Tape = recording.tape
    load_tape(book_of(state, 0, 0), tape, 0, np.uint64(0), int(tape.time[0]) - 1)
    compare = max(levels - 1, 1)
    right = levels_right(state, tape, recording.row_end, recording.row_px, recording.row_qty, compare)
    present = (recording.row_qty[:, :, :compare] > 0).sum(axis=2)
    exact = (right >= present).all(axis=1)
    assert exact.all(), (
        f"{(~exact).sum()} of {len(exact)} rows differ, first at row {np.flatnonzero(~exact)[0]}"
    )
    assert state.head[0, 0, CLIPPED] == 0
    # The rule itself: nothing but the L-th level is ever set from the file, at most one level a message.
    sets = np.flatnonzero(tape.kind == TAPE_SET)
    assert len(sets) == recording.reveals + recording.forgets
    assert np.diff(np.concatenate([[0], recording.row_end])).max() <= 2


@pytest.mark.parametrize("levels", STEMS)
def test_replay_equals_the_file_on_the_first_minute(levels):
    check(STEMS[levels], levels, mini=True)


@pytest.mark.slow
@pytest.mark.parametrize("levels", STEMS)
def test_replay_equals_the_file_all_day(levels):
    check(STEMS[levels], levels, mini=False)
