"""The tape of a recording: the replay rule against a dict book, its snapshots, joining assets, and days that do not fit."""

import numpy as np
import pytest
from make import Replay, make_day, write_pair

from lobgraph.data.lobster import read_lobster
from lobgraph.data.recording import DataError, join
from lobgraph.market.state import TAPE_HALT, TAPE_HIDDEN, TAPE_LIMIT, TAPE_SET


def levels_of(px, qty):
    """An orderbook row as [(px, lots), ...] per side."""
    return [[(int(p), int(q)) for p, q in zip(px[k], qty[k], strict=True) if q > 0] for k in (0, 1)]


def check_replay(r):
    """Rows follow from messages: levels 1..L-1 before any TAPE_SET is applied, and all levels after."""
    t, book, pos = r.tape, Replay(r.row_px[0], r.row_qty[0]), 0
    kind, side, px, qty = (x.tolist() for x in (t.kind, t.side, t.px, t.qty))
    sets = 0
    for i in range(1, r.rows):
        assert r.row_end[i] > pos == r.row_end[i - 1]
        want = levels_of(r.row_px[i], r.row_qty[i])
        book.apply(kind[pos], side[pos], px[pos], qty[pos])
        assert t.time[pos] == r.time[i]
        for k in (0, 1):
            assert book.levels(k)[: r.levels - 1] == want[k][: r.levels - 1], f"row {i}"
        for j in range(pos + 1, r.row_end[i]):
            k = 0 if side[j] > 0 else 1
            assert kind[j] == TAPE_SET
            assert t.time[j] == r.time[i]
            held = [p for p, _ in book.levels(k)]
            if qty[j] > 0:  # comes into view: as the deepest of L levels, after the message emptied one
                assert len(held) == r.levels - 1
                assert not held or (px[j] < held[-1] if k == 0 else px[j] > held[-1])
            else:  # leaves view: rank L + 1
                assert held.index(px[j]) == r.levels
            book.apply(kind[j], side[j], px[j], qty[j])
            sets += 1
        assert [book.levels(k) for k in (0, 1)] == want, f"row {i}"
        pos = int(r.row_end[i])
    assert pos == len(kind)
    assert sets == r.reveals + r.forgets
    assert r.mismatches == 0


@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("seed", [1, 2])
def test_replay_rule_on_made_days(tmp_path, levels, seed):
    r = read_lobster(write_pair(tmp_path, *make_day(1500, levels, seed), levels))
    assert r.reveals > 20
    assert r.forgets > 20
    check_replay(r)


@pytest.mark.parametrize("every", [1, 16, 97])
def test_snapshots_are_the_book_before_their_message(tmp_path, every):
    path = write_pair(tmp_path, *make_day(400, 3), 3)
    t = read_lobster(path, every=every).tape
    assert len(t.snap_px) == len(t.time) // every + 1 == t.snap_start[1]
    book = Replay(t.snap_px[0], t.snap_qty[0])
    for pos in range(len(t.time) + 1):
        if pos % every == 0:
            shown = levels_of(t.snap_px[pos // every], t.snap_qty[pos // every])
            assert shown == [book.levels(k)[:3] for k in (0, 1)]
        if pos < len(t.time):
            book.apply(int(t.kind[pos]), int(t.side[pos]), int(t.px[pos]), int(t.qty[pos]))


def test_kinds_and_counts(tmp_path):
    messages, books = make_day(800, 3)
    r = read_lobster(write_pair(tmp_path, messages, books, 3))
    kinds = [int(line.split(",")[1]) for line in messages]
    names = {
        1: "limit",
        2: "partial cancel",
        3: "delete",
        4: "exec visible",
        5: "exec hidden",
        7: "halt",
    }
    assert r.counts == {name: kinds.count(code) for code, name in names.items() if code in kinds}
    assert (r.tape.kind == TAPE_LIMIT).sum() == kinds[1:].count(1)
    assert (r.tape.kind == TAPE_HIDDEN).sum() == kinds[1:].count(5)
    assert (r.tape.kind == TAPE_HALT).sum() == kinds[1:].count(7) > 0


def test_a_row_that_does_not_follow_is_counted_and_repaired(tmp_path):
    messages, books = make_day(300, 3)
    gone = 150  # drop rows, as a gap in the recording would
    r = read_lobster(
        write_pair(tmp_path, messages[:gone] + messages[gone + 40 :], books[:gone] + books[gone + 40 :], 3)
    )
    assert 1 <= r.mismatches <= 3
    book, pos = Replay(r.row_px[0], r.row_qty[0]), 0
    t = r.tape
    for i in range(1, r.rows):
        while pos < r.row_end[i]:
            book.apply(int(t.kind[pos]), int(t.side[pos]), int(t.px[pos]), int(t.qty[pos]))
            assert not (book.lots[0] and book.lots[1]) or max(book.lots[0]) < min(book.lots[1])
            pos += 1
        assert [book.levels(k) for k in (0, 1)] == levels_of(r.row_px[i], r.row_qty[i])


def test_one_row_has_an_empty_tape(tmp_path):
    messages, books = make_day(1, 2)
    r = read_lobster(write_pair(tmp_path, messages, books, 2))
    assert len(r.tape.time) == 0
    assert len(r.tape.snap_px) == 1
    assert r.row_end.tolist() == [0]


def test_join_pads_levels_and_keeps_time(tmp_path):
    days = []
    for name, levels in (("AA", 1), ("BB", 4)):
        stem = f"{name}_2020-01-02_34200000_34800000"
        days.append(read_lobster(write_pair(tmp_path, *make_day(300, levels, levels), levels, stem=stem)))
    t = join(days, every=64)
    assert t.start.tolist() == [
        0,
        len(days[0].tape.time),
        len(days[0].tape.time) + len(days[1].tape.time),
    ]
    assert t.snap_px.shape[1:] == (2, 4)
    assert (t.snap_qty[: t.snap_start[1], :, 1:] == 0).all()
    for a, day in enumerate(days):
        part = slice(t.start[a], t.start[a + 1])
        assert (t.time[part] == day.tape.time).all()
        assert (t.px[part] == day.tape.px).all()
        assert t.snap_start[a + 1] - t.snap_start[a] == len(day.tape.time) // 64 + 1
    assert t.every == 64
    with pytest.raises(DataError, match="once"):
        join([days[0], days[0]])
    with pytest.raises(DataError, match="at least one"):
        join([])


def test_join_needs_one_day(tmp_path):
    one, other = (
        read_lobster(write_pair(tmp_path, *make_day(50, 1), 1, stem=f"{n}_{d}_34200000_34800000"))
        for n, d in (("AA", "2020-01-02"), ("BB", "2020-01-03"))
    )
    with pytest.raises(DataError, match="one day"):
        join([one, other])


@pytest.mark.parametrize("name", ["AAPL", "AMZN", "GOOG"])
def test_replay_rule_on_the_first_minute(real, name):
    check_replay(read_lobster(real(f"lobster/mini/{name}_*_message_*")[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AAPL", "AMZN", "GOOG"])
def test_replay_rule_all_day(real, name):
    r = read_lobster(real(f"lobster/{name}_*_message_*")[0])
    assert (r.tape.kind == TAPE_SET).sum() == {"AAPL": 43536, "AMZN": 51586, "GOOG": 64012}[name]
    check_replay(r)


def test_reach_is_the_farthest_level(tmp_path):
    r = read_lobster(write_pair(tmp_path, *make_day(200, 3), 3))
    far = max(
        abs(p - (r.row_px[i, 0, 0] + r.row_px[i, 1, 0]) / 2)
        for i in range(r.rows)
        for side in levels_of(r.row_px[i], r.row_qty[i])
        for p, _ in side
    )
    assert r.reach == int(np.ceil(far))
