"""What is printed: tables to the letter, the user's errors in one line, all others untouched."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lobgraph.config import ConfigError
from lobgraph.report.console import clear_errors, say, show


def test_tables_print_every_cell(capsys):
    table = pd.DataFrame(
        {"what": ["spread [ticks]", "[red]"], "a_b": [1.23456, 58560.0], "n": [3, 4], "x": [np.nan, -1e9]}
    )
    show(table, "Title [1]")
    out = capsys.readouterr().out
    for text in ("Title [1]", "spread [ticks]", "[red]", "a b", "1.235", "58,560", "-1,000,000,000"):
        assert text in out


def test_a_pipe_breaks_no_cell(capsys):
    table = pd.DataFrame({f"column {i}": ["a name that is long and is to be copied"] for i in range(9)})
    show(table)
    assert capsys.readouterr().out.count("a name that is long and is to be copied") == 9


def test_say_leaves_markup_and_width_alone(capsys):
    say("[bold] " + "x" * 300)
    assert capsys.readouterr().out == "[bold] " + "x" * 300 + "\n"


def test_errors_of_the_user_exit_with_2(capsys):
    with pytest.raises(SystemExit) as exit_, clear_errors():
        raise ConfigError("a.yaml: ppo.lr: wrong\na.yaml: env.x: [unknown]")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: a.yaml: ppo.lr: wrong\nerror: a.yaml: env.x: [unknown]\n"


def test_missing_files_are_named(capsys):
    with pytest.raises(SystemExit) as exit_, clear_errors():
        Path("/no/such/file").read_text()
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: /no/such/file: no such file or directory\n"


def test_interrupt_exits_with_130(capsys):
    with pytest.raises(SystemExit) as exit_, clear_errors():
        raise KeyboardInterrupt
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_bugs_pass_through():
    with pytest.raises(ZeroDivisionError), clear_errors():
        _ = 1 / 0
