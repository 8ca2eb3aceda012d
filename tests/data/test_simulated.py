"""Simulated markets as recorded data: every step's book, messages that follow from orders, files that read back the same."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_day, write_pair

from lobgraph.config import ConfigError, make_config
from lobgraph.data import simulated
from lobgraph.data.lobster import read_lobster
from lobgraph.data.orders import messages
from lobgraph.data.recording import DELETE, EXECUTE, REDUCE, SUBMIT, DataError
from lobgraph.data.simulated import DATE, OPEN, recording_of, simulate_recordings
from lobgraph.data.write import write_lobster
from lobgraph.market.log import take_log
from lobgraph.market.params import make_params
from lobgraph.market.state import (
    ASK,
    BID,
    LOG,
    LOG_CANCEL,
    LOG_FILL,
    LOG_REST,
    LOG_TRADE,
    LOGGED,
    empty_tape,
    make_state,
)
from lobgraph.market.tables import make_flow

BUSY = {
    "market": {"books": ["X", "Y"], "window": 512, "dt": 0.5},
    "flow": {"warmup": 5.0, "distances": 12, "limit_size": {"values": [1, 2, 5], "weights": [5, 3, 2]}},
}


@pytest.fixture(scope="module")
def pair():
    return simulate_recordings(make_config(BUSY), seconds=120, levels=4, seed=3)


def check_orders(r) -> None:
    """Every message is of an order that is there, takes no more than it has, and trades come first in, first out."""
    lots, px, number = {}, {}, 0
    for i in range(r.rows):
        kind, order, qty = int(r.type[i]), int(r.order[i]), int(r.qty[i])
        if kind == SUBMIT:
            assert order not in lots
            assert order > number  # numbered as they come
            number = order
            lots[order], px[order] = qty, (int(r.side[i]), int(r.px[i]))
            continue
        if order not in lots:
            continue  # it came before the recording, or out of view
        assert px[order] == (int(r.side[i]), int(r.px[i]))
        assert qty <= lots[order]
        assert (kind == DELETE) == (qty == lots[order]) or kind == EXECUTE
        if kind == EXECUTE:
            assert order == min(o for o, p in px.items() if p == px[order])
        lots[order] -= qty
        if lots[order] == 0:
            del lots[order], px[order]


def test_the_record_of_a_market_without_agents(pair):
    assert [r.name for r in pair] == ["X", "Y"]
    for r in pair:
        assert (r.date, r.levels, r.start, r.end) == (DATE, 4, int(OPEN * 1e9), int((OPEN + 120) * 1e9))
        assert r.rows > 1000
        assert r.mismatches == 0
        assert {SUBMIT, REDUCE, DELETE, EXECUTE} == set(np.unique(r.type).tolist())
        assert r.time[0] >= r.start
        assert r.time[-1] <= r.end
        sent = r.time[r.type == SUBMIT]
        assert len(np.unique(sent)) > 0.999 * len(sent)  # exact times, not those of steps
    assert not np.array_equal(pair[0].time[:50], pair[1].time[:50])


def test_messages_are_of_orders():
    """With every level in view."""
    r, _ = simulate_recordings(make_config(BUSY), seconds=60, levels=200, seed=5)
    assert r.forgets == 0
    check_orders(r)


def test_the_recorded_book_is_the_simulated_one_after_every_step(pair):
    cfg = make_config(BUSY | {"agents": {"maker": {"count": 0}}, "env": {"num_envs": 1, "stagger": False}})
    state = make_state(1, 2, 512, 0, len(cfg.market.underlyings))
    p, f, tape = make_params(cfg, 3), make_flow(cfg), empty_tape(2)
    simulated._start(p, f, tape, state)
    for step in range(1, 241):
        simulated._run(p, f, tape, state, 1)
        for a, r in enumerate(pair):
            row = np.searchsorted(r.time, r.start + step * 500_000_000, side="right") - 1
            for k, best, sign in ((0, BID, -1), (1, ASK, 1)):
                px = state.head[0, a, best] + sign * np.arange(256)
                lots = state.qty[0, a, px & 511]
                there = lots > 0
                shown = r.row_qty[row, k] > 0
                assert r.row_px[row, k][shown].tolist() == px[there][:4].tolist()
                assert r.row_qty[row, k][shown].tolist() == lots[there][:4].tolist()


def test_the_log_leaves_the_market_as_it_is(pair):
    """With a log and without, the same seed gives the same books; a small log fills and is emptied more often."""
    small = simulated.ROOM
    try:
        simulated.ROOM = 2048
        again = simulate_recordings(make_config(BUSY), seconds=120, levels=4, seed=3)
    finally:
        simulated.ROOM = small
    for one, two in zip(pair, again, strict=True):
        assert np.array_equal(one.row_px, two.row_px)
        assert np.array_equal(one.time, two.time)


def entry(
    kind: int, side: int, px: int, lots: int, place: int = 0, who: int = -1, time: int = 0
) -> list[int]:
    return [time, kind, side, px, lots, place, who]


def told(*entries: list[int], levels: int = 2, agents: int = 1) -> list[list[int]]:
    """(type, order, side, px, lots) of each message."""
    found = messages(np.array(entries, np.int64).reshape(-1, LOG), 64, agents, levels, 0)
    return found.text[:, 1:].tolist()


REST = [entry(LOG_REST, 1, 100, n) for n in (5, 3, 8)]


@pytest.mark.parametrize(
    ("lots", "place", "taken"),
    [
        (3, 0, [[DELETE, 2, 3]]),  # an order of as many goes whole, wherever
        (8, 15, [[DELETE, 3, 8]]),
        (2, 6, [[REDUCE, 2, 2]]),  # part of the one at the place
        (2, 0, [[REDUCE, 1, 2]]),
        (4, 6, [[REDUCE, 1, 4]]),  # the nearest that has so many
        (4, 10, [[REDUCE, 3, 4]]),
        (10, 0, [[DELETE, 3, 8], [REDUCE, 1, 2]]),  # the largest whole, then the rest
        (11, 0, [[DELETE, 3, 8], [DELETE, 2, 3]]),
        (16, 4, [[DELETE, 3, 8], [DELETE, 1, 5], [DELETE, 2, 3]]),
    ],
)
def test_whose_lots_a_cancel_takes(lots, place, taken):
    found = told(*REST, entry(LOG_CANCEL, 1, 100, lots, place))[3:]
    assert [[kind, order, qty] for kind, order, _, _, qty in found] == taken


def test_a_cancel_leaves_agents_their_place():
    """Noise 5, agent 4, noise 6: a run of 7 from the third noise lot takes 3 before the agent and 4 behind it; one that
    wraps takes the first again."""
    book = [entry(LOG_REST, 1, 100, 5), entry(LOG_REST, 1, 100, 4, 5, 0), entry(LOG_REST, 1, 100, 6, 9)]
    run = told(*book, entry(LOG_CANCEL, 1, 100, 7, 2))[3:]
    assert [[kind, order, qty] for kind, order, _, _, qty in run] == [[REDUCE, 1, 3], [REDUCE, 3, 4]]
    run = told(*book, entry(LOG_CANCEL, 1, 100, 4, 9))[3:]
    assert [[kind, order, qty] for kind, order, _, _, qty in run] == [[REDUCE, 1, 2], [REDUCE, 3, 2]]
    run = told(*book, entry(LOG_CANCEL, 1, 100, 1, 5, 0), entry(LOG_CANCEL, 1, 100, 3, 5, 0))[3:]
    assert [[kind, order, qty] for kind, order, _, _, qty in run] == [[REDUCE, 2, 1], [DELETE, 2, 3]]


def test_a_trade_takes_the_oldest_and_what_the_log_says_of_agents():
    book = [entry(LOG_REST, -1, 100, 5), entry(LOG_REST, -1, 100, 4, 5, 0), entry(LOG_REST, -1, 100, 6, 9)]
    fill = entry(LOG_FILL, -1, 100, 4, 5, 0)
    found = told(*book, fill, entry(LOG_TRADE, -1, 100, 11))[3:]
    assert [[order, qty] for _, order, _, _, qty in found] == [[1, 5], [2, 4], [3, 2]]
    # pro rata gives agents lots from behind others
    found = told(*book, entry(LOG_FILL, -1, 100, 2, 5, 0), entry(LOG_TRADE, -1, 100, 6))[3:]
    assert [[order, qty] for _, order, _, _, qty in found] == [[1, 4], [2, 2]]


def test_only_the_best_levels_are_told():
    book = [entry(LOG_REST, 1, px, 1) for px in (100, 99, 98)]
    assert len(told(*book)) == 2
    hidden = entry(LOG_CANCEL, 1, 98, 1)
    assert len(told(*book, hidden)) == 2
    assert len(told(*book, entry(LOG_CANCEL, 1, 100, 1), hidden)) == 4  # it has come into view


@pytest.mark.parametrize(
    "wrong",
    [entry(LOG_TRADE, 1, 100, 17), entry(LOG_TRADE, 1, 99, 1), entry(LOG_CANCEL, 1, 100, 17),
     entry(LOG_CANCEL, 1, 100, 1, 0, 0)],
)  # fmt: skip
def test_a_log_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"log: entry 3 .* does not fit"):
        told(*REST, wrong)


def test_a_log_that_is_full_says_so():
    state = make_state(1, 1, 64, 0, 1, log=2)
    state.head[0, 0, LOGGED] = 3
    with pytest.raises(OverflowError, match=r"3 events .* room for 2"):
        take_log(state.head[0, 0])


# --- files ---


def same(one, two) -> bool:
    fields = [f.name for f in dataclasses.fields(one) if f.name != "tape"]
    tapes = all(np.array_equal(a, b) for a, b in zip(one.tape, two.tape, strict=True))
    return tapes and all(np.array_equal(getattr(one, f), getattr(two, f)) for f in fields)


def test_files_read_back_the_same(pair, tmp_path):
    message, book = write_lobster(pair[0], tmp_path / "new")
    assert message.name == f"X_{DATE}_34200000_34320000_message_4.csv"
    assert book.name == f"X_{DATE}_34200000_34320000_orderbook_4.csv"
    assert same(read_lobster(message), pair[0])
    kept = message.read_bytes()
    with pytest.raises(FileExistsError):
        write_lobster(pair[0], tmp_path / "new")
    message.unlink()
    with pytest.raises(FileExistsError):
        write_lobster(pair[0], tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == [book.name]
    book.unlink()
    assert write_lobster(pair[0], tmp_path / "new")[0].read_bytes() == kept


def test_files_with_ticks_and_lots(tmp_path):
    (r,) = simulate_recordings(
        make_config({"market": {"dt": 0.5}}), seconds=5, levels=3, seed=1, tick=50, lot=10, start=1000.5
    )
    message, _ = write_lobster(r, tmp_path)
    assert same(read_lobster(message, tick=50, lot=10), r)
    assert r.start == 1_000_500_000_000


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(2, 120), levels=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_any_day_is_written_as_it_was_read(tmp_path_factory, rows, levels, seed):
    """Hidden executions, halts and empty sides too. Half ticks are not kept, so the price of those is rounded down."""
    folder = tmp_path_factory.mktemp("day")
    r = read_lobster(write_pair(folder, *make_day(rows, levels, seed), levels))
    message, _ = write_lobster(r, folder / "again")
    assert same(read_lobster(message), r)


def test_names_that_no_file_can_have(pair, tmp_path):
    for name, date in (("a/b", DATE), ("X", "")):
        with pytest.raises(DataError, match="a file name needs"):
            write_lobster(dataclasses.replace(pair[0], name=name, date=date), tmp_path)


def test_what_cannot_be_simulated():
    cfg = make_config(BUSY)
    with pytest.raises(DataError, match="levels: must be 1 to 200, got 0"):
        simulate_recordings(cfg, seconds=10, levels=0)
    with pytest.raises(DataError, match="seconds: must be from one step"):
        simulate_recordings(cfg, seconds=1e6)
    with pytest.raises(ConfigError, match="replays recorded files"):
        simulate_recordings(
            make_config({"replay": {"files": {"X": "x"}}, "market": {"books": ["X"]}}), seconds=10
        )
    with pytest.raises(DataError, match="nothing happened"):
        recording_of(np.zeros((0, LOG), np.int64), window=64, agents=0, levels=1, name="X", start=0, end=1)
