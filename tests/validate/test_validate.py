"""`lobgraph validate` from end to end: the table, the files, the exit code."""

import json
import sys

import pandas as pd
import pytest
import yaml
from matplotlib.image import imread

from lobgraph import cli
from lobgraph.config import ConfigError
from lobgraph.validate import cst, table
from lobgraph.validate.run import validate

CHEAP = ("cst", "large_tick", "kyle", "glosten_milgrom")
COUNTS = ("cst.races=2000", "large_tick.lifetimes=20", "kyle.auctions=4000", "glosten_milgrom.episodes=4000")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command in this process; returns (exit code, stdout, stderr)."""

    def command(*args):
        monkeypatch.setattr(
            sys, "argv", ["lobgraph", "validate", *args, "--directory", str(tmp_path / "out")]
        )
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return command


def test_the_command_writes_table_parameters_and_figures(run, tmp_path):
    sets = [text for count in COUNTS for text in ("--set", count)]
    code, out, err = run(*CHEAP, "--quick", "--seed", "4", *sets)
    assert code == 0, err
    (made,) = (tmp_path / "out").iterdir()
    assert made.name.endswith("-s4")
    assert str(made) in out
    rows = pd.read_csv(made / "table.csv")
    assert list(rows.columns) == table.COLUMNS
    assert rows["ok"].all()
    assert set(rows["model"]) == set(CHEAP)
    params = yaml.safe_load((made / "params.yaml").read_text())
    assert params["seed"] == 4
    assert params["quick"] is True
    assert set(params["settings"]) == set(CHEAP)
    assert params["settings"]["kyle"]["auctions"] == 4000
    assert json.loads((made / "machine.json").read_text())["seed"] == 4
    for model in CHEAP:
        assert f"{model}: " in err  # progress
        picture = imread(made / "figures" / f"{model}.png")
        assert min(picture.shape[:2]) > 250
        assert picture.std() > 0.05  # not blank


def test_a_miss_is_named_and_exits_with_1(run, monkeypatch):
    monkeypatch.setattr(cst, "UP", (0.9, 0.335, 0.259, 0.216, 0.188))
    code, out, err = run(
        "cst", "--set", "cst.races=2000", "--set", "cst.bids=[1]", "--set", "cst.spreads=[1]"
    )
    assert code == 1
    assert "NO" in out
    (line,) = (line for line in err.splitlines() if line.startswith("out of tolerance"))
    assert "P(mid moves up), spread 1, 1 bids, 1 asks" in line
    assert "off 0.9 (Cont, Stoikov, Talreja 2010)" in line


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["kile"], "'kile': no such model"),
        (["kyle", "--set", "kyle.s0=1"], "kyle.s0: unknown key"),
        (["cst", "--set", "kyle.S0=1"], "kyle: has settings but is not run"),
    ],
)
def test_mistakes_exit_with_2_and_write_nothing(run, tmp_path, args, says):
    code, out, err = run(*args)
    assert code == 2
    assert says in err
    assert not out
    assert not (tmp_path / "out").exists()


def test_the_same_seed_gives_the_same_table():
    settings = {"kyle": {"auctions": 2000}, "glosten_milgrom": {"episodes": 2000}}
    both = validate(["glosten_milgrom", "kyle"], settings, seed=5)
    alone = validate(["kyle"], {"kyle": settings["kyle"]}, seed=5)
    pd.testing.assert_frame_equal(both[both["model"] == "kyle"].reset_index(drop=True), alone)
    other = validate(["kyle"], {"kyle": settings["kyle"]}, seed=6)
    assert (other["measured"] != alone["measured"]).all()
    with pytest.raises(ConfigError, match=r"run.seed"):
        validate(["kyle"], seed=-1)


def test_tolerances_are_never_below_four_errors():
    rows = [table.Row("m", "q", str(i), 1.0 + i, 0.5, 1.0, "s", 0.1) for i in range(8)]
    made = table.make_table([*rows, table.Row("m", "q", "none", float("nan"), 0.1, 1.0, "s", 9.0)])
    assert list(made["tolerance"]) == [2.0] * 8 + [9.0]
    assert list(made["ok"]) == [True] * 3 + [False] * 6
    assert len(table.misses(made)) == 6
    printed = table.condense(made)
    assert list(printed["ok"]).count("NO") == 6
    assert "(worst of 9)" in " ".join(printed["parameters"])


def test_rows_that_could_hardly_fail_are_called_weak():
    rows = [
        table.Row("m", "q", str(i), 1.0, error, 1.0, "s", 0.1) for i, error in enumerate((0.01, 0.09, 0.11))
    ]
    made = table.make_table([*rows, table.Row("m", "q", "off", 9.0, 0.5, 1.0, "s", 0.1)])
    assert list(made["weak"]) == [False, False, True, True]
    assert list(table.condense(made)["ok"]) == ["yes", "yes", "weak", "NO"]
    assert table.summary(made).startswith("3 of 4 numbers within tolerance; 1 of them")
    assert table.summary(made[:2]) == "2 of 2 numbers within tolerance"
