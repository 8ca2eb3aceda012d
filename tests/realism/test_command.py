"""The commands from end to end: a market written as files, and judged against such files and the real ones."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from lobgraph.cli.app import app
from lobgraph.cli.likeness import seconds_of
from lobgraph.data.lobster import read_lobster
from lobgraph.data.recording import DataError

CONFIG = """
name: tiny
market: {books: [X, Y], window: 512, dt: 0.5}
flow: {warmup: 5.0}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_simulate_then_judge(config, tmp_path):
    files = tmp_path / "files"
    run("data", "simulate", config, "--seconds", 300, "--levels", 3, "--out", files, "--seed", 1)
    found = sorted(files.glob("*message*"))
    assert [read_lobster(p).name for p in found] == ["X", "Y"]
    with pytest.raises(FileExistsError):
        run("data", "simulate", config, "--seconds", 300, "--levels", 3, "--out", files, "--seed", 1)
    out = tmp_path / "card"
    result = run("realism", config, "--data", *found, "--start", "09:32", "--out", out, "--seed", 2)
    assert "X: distances of distributions" in result.output
    table = pd.read_csv(out / "distances.csv").set_index(["book", "score"])
    assert len(table) == 2 * 23
    # one market, other random numbers, and their own halves: alike
    assert table.loc[("X", "mean"), "l1"] < 0.25
    assert table.loc[("X", "mean"), "floor_l1"] < 0.4
    facts = pd.read_csv(out / "facts.csv")
    assert set(facts["book"]) == {"X", "Y", "all"}
    whole = json.loads((out / "scorecard.json").read_text())
    assert len(whole["facts"]) == len(facts)
    assert {p.name for p in out.glob("*.png")} == {
        "facts.png", "autocorrelation.png", "distributions_X.png", "distributions_Y.png", "correlation.png",
    }  # fmt: skip
    with pytest.raises(FileExistsError):
        run("realism", config, "--data", *found, "--out", out)
    # files of any simulator, the same ones: no distance
    again = tmp_path / "again"
    run("realism", found[0], "--data", found[0], "--out", again)
    assert pd.read_csv(again / "distances.csv")["l1"].max() == 0.0


def test_times_of_day():
    assert seconds_of("09:30") == 34_200.0
    assert seconds_of("13:00:30") == 46_830.0
    assert seconds_of("46800") == 46_800.0
    assert seconds_of(None) is None
    for wrong in ("noon", "25:00", "09:61", "1:2:3:4", "-5"):
        with pytest.raises(DataError, match="not a time of day"):
            seconds_of(wrong)


def test_what_is_refused(config, tmp_path):
    with pytest.raises(DataError, match="--data"):
        run("realism", config)
    files = tmp_path / "files"
    run("data", "simulate", config, "--seconds", 20, "--out", files)
    found = sorted(files.glob("*message*"))
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("[X, Y]", "[X, Z]"))
    with pytest.raises(DataError, match="no book of that name"):
        run("realism", other, "--data", *found, "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    with pytest.raises(DataError, match="nothing lies between"):
        run("realism", config, "--data", *found, "--start", "15:00", "--out", tmp_path / "no")


def test_judged_by_real_snapshots(config, real, tmp_path):
    one = tmp_path / "one.yaml"
    one.write_text(CONFIG.replace("[X, Y]", "[INTC]"))
    out = tmp_path / "card"
    result = run("realism", one, "--data", real("nasdaq10/INTC_*.npz")[0], "--start", "13:50", "--out", out)
    assert "what needs single messages is not measured" in result.output
    table = pd.read_csv(out / "distances.csv").set_index("score")
    assert "log inter-arrival" not in table.index
    assert table.loc["mean", "l1"] > table.loc["mean", "floor_l1"]
