"""`lobgraph fuzz`: it finds what is broken on purpose, makes it small, writes it, replays it; and finds nothing else."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lobgraph.cli import app
from lobgraph.data.recording import DataError
from lobgraph.validate import cases, damage, fuzz_files
from lobgraph.validate import side_by_side as ss
from lobgraph.validate.exchange import Exchange
from lobgraph.validate.fuzz import fuzz

MANY = settings(max_examples=60, deadline=None)


class LastComeFirstServed(Exchange):
    """Wrong on purpose: a new order goes to the front of its queue."""

    def _rest(self, order, first=False):
        return super()._rest(order, first=True)


class Forgetful(Exchange):
    """Wrong on purpose: fills of one lot are told with the wrong maker, all else is right."""

    def _fill(self, fill):
        super()._fill(fill)
        if fill.maker == 0 != fill.taker:
            self.fills[-1] = type(fill)(1, fill.taker, fill.side, fill.px, fill.qty)


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(ss.EXCHANGES, "fifo", LastComeFirstServed)


def test_a_difference_is_found_made_small_written_and_replayed(tmp_path, broken, monkeypatch):
    notes: list[str] = []
    tally = fuzz(1.0, 3, tmp_path, notes.append, "engine")
    assert tally.found == tmp_path / "seed3-round0.json"
    case = cases.read(tally.found)
    assert 2 <= len(case.commands) <= 4  # two orders at a price, of which one is an agent's; perhaps a trade
    assert "oracle" in cases.replay(case)
    done = CliRunner().invoke(app, ["fuzz", "--replay", str(tally.found)])
    assert done.exit_code == 1
    monkeypatch.undo()
    assert cases.replay(case) == ""
    assert CliRunner().invoke(app, ["fuzz", "--replay", str(tally.found)]).exit_code == 0


def test_a_fill_told_of_another_maker_is_a_difference(monkeypatch):
    """Only the list of fills is wrong here, so that nothing but its comparison can tell."""
    commands = [[ss.PLACE, 0, 1, -1, 5, 0, 0, 0, 0], [ss.AGENT_MARKET, 2, -1, 0, 3, 0, 0, 0, 0]]
    assert cases.fault("fifo", "allow", commands) is None
    x = ss.Reference("fifo", "allow")
    x.x.__class__ = Forgetful
    with pytest.raises(ss.DifferenceError, match=r"fills .*book .*oracle") as error:
        ss.run(ss.make_book("fifo"), x, np.array(commands))
    assert error.value.command == 1


@pytest.mark.parametrize("at", [ss.FIRST_ORDER + 2, ss.FIRST_ACCOUNT, ss.FIRST_LEVEL + 31, 5])
def test_every_column_is_compared(at):
    class Off(ss.Reference):
        def row(self):
            row = list(super().row())
            row[at] += 1
            return row

    with pytest.raises(ss.DifferenceError, match=re.escape(ss.COLUMNS[at])):
        ss.run(ss.make_book("fifo"), Off("fifo", "allow"), np.array([[ss.LIMIT, 0, 1, -1, 5, 0, 0, 0, 0]]))


def test_nothing_is_found_where_nothing_is_wrong(tmp_path):
    tally = fuzz(5.0, 11, tmp_path, print, commands=20_000)
    assert (tally.found, tally.commands, list(tmp_path.iterdir())) == (None, 20_000, [])
    assert tally.fills > 2_000
    assert tally.files["lobster refused"] > 10 < tally.files["npz refused"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_at_length(tmp_path, seed):
    assert fuzz(60.0, 100 + seed, tmp_path, print, commands=500_000).found is None


# --- readers ---


@pytest.mark.parametrize("reader", fuzz_files.READERS)
def test_a_whole_file_is_read(reader, monkeypatch):
    for name in ("damage", "zip_of", "packed", "gz_bomb"):
        monkeypatch.setattr(damage, name, lambda rng, data, *_: data)
    monkeypatch.setattr(fuzz_files, "YAML_PARTS", (b"1",))
    files = next(
        f
        for f in (fuzz_files.draw(np.random.default_rng(s), reader) for s in range(99))
        if not any(name.endswith((".gz", ".zip")) for name in f)
        and (reader != "scenario" or b"name: 1" not in f)
    )
    if reader == "scenario":
        files = {fuzz_files.SCENARIO: b"market: {books: [A, B]}\n"}
    assert fuzz_files.check(reader, files) == ("read", "")


@pytest.mark.parametrize("reader", ["lobster", "npz"])
@MANY
@given(seed=st.integers(0, 2**32))
def test_damaged_files(reader, seed):
    files = fuzz_files.draw(np.random.default_rng(seed), reader)
    how, text = fuzz_files.check(reader, files)
    assert how != "wrong", text


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_scenarios(seed):
    how, text = fuzz_files.check("scenario", fuzz_files.draw(np.random.default_rng(seed), "scenario"))
    assert how != "wrong", text


@pytest.mark.slow
@pytest.mark.parametrize("reader", fuzz_files.READERS)
@settings(max_examples=3_000, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_at_length(reader, seed):
    how, text = fuzz_files.check(reader, fuzz_files.draw(np.random.default_rng(seed), reader))
    assert how != "wrong", text


def test_a_reader_that_tells_something_else_is_found(monkeypatch):
    read = fuzz_files.read_lobster

    def wrong(path, **keys):
        day = read(path, **keys)
        day.row_qty[-1, 0, 0] += 1
        return day

    monkeypatch.setattr(fuzz_files, "read_lobster", wrong)
    messages, books = fuzz_files.make_day(rows=20, levels=3)
    files = {
        fuzz_files.MESSAGES: "\n".join(messages).encode(),
        fuzz_files.BOOKS: "\n".join(books).encode(),
    }
    assert fuzz_files.check("lobster", files) == ("wrong", "line 20 of the book: level 1 was read wrong")


# --- what a case's file may hold ---

GOOD = {"matching": "fifo", "self_trade": "allow", "commands": [["limit", 0, 1, -1, 5, 0, 0, 0, 0]]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"commands": []}, "commands"),
        ({"commands": [["limit", 0, 1, -1]]}, "number 0"),
        ({"commands": [["limit", 7, 1, -1, 5, 0, 0, 0, 0]]}, "number 0"),
        ({"commands": [["limit", 0, 0, -1, 5, 0, 0, 0, 0]]}, "side"),
        ({"commands": [["limit", 0, 1, 1 << 40, 5, 0, 0, 0, 0]]}, "number 0"),
        ({"commands": [["exec", 0, 1, -1, 5, 0, 0, 0, 0]]}, "exec"),
        ({"matching": "lifo"}, "matching"),
        ({"self_trade": 3}, "self_trade"),
        ({"reader": "sql", "files": {"a": ""}}, "reader"),
        ({"reader": "npz", "files": {"../a": ""}}, "plain file name"),
        ({"reader": "npz", "files": {"a": "§"}}, "base64"),
    ],
)
def test_a_bad_case_is_named(tmp_path, change, says):
    path = tmp_path / "case.json"
    path.write_text(json.dumps(GOOD))
    assert cases.replay(cases.read(path)) == ""
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(DataError, match=f"{path}.*{says}"):
        cases.read(path)


@MANY
@given(data=st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=3) | st.dictionaries(st.sampled_from(["commands", "matching", "reader", "files"]), s, max_size=4)).map(lambda t: json.dumps(t).encode()))  # fmt: skip
def test_any_file_is_a_case_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("case") / "case.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"case\.json"):
        cases.read(path)
