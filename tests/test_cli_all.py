"""What holds for every command, whoever adds it: help at once, completion, exit codes; the typer app is walked."""

import os
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lobgraph.agents import strategies
from lobgraph.cli import completing
from lobgraph.cli.app import app
from lobgraph.config import ROLES, Config
from lobgraph.report.console import EXIT_CODES

HEAVY = ("torch", "numba", "matplotlib", "pandas", "numpy", "scipy", "gymnasium")  # typer brings pydantic


def walk(command, words=()):
    """(words, command) of every command and group below, the root first."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*words, name))


COMMANDS = dict(walk(get_command(app)))


def test_help_of_every_command_imports_nothing_heavy():
    """In a process of its own: what `lobgraph X --help` imports is what the app imports and what rendering help does."""
    code = f"""
import sys
from typer.testing import CliRunner
import lobgraph.cli
for words in {[list(words) for words in COMMANDS]}:
    result = CliRunner().invoke(lobgraph.cli.app, [*words, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output, (words, result.output)
print(sorted(set({HEAVY}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_explained(words):
    command = COMMANDS[words]
    assert command.help
    if not hasattr(command, "commands"):
        said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        for parameter in command.params:
            assert parameter.name == "seed" or getattr(parameter, "help", None), f"{words}: {parameter.name}"
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert max(parameter.opts, key=len) in said


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_wrong_usage(words):
    result = CliRunner().invoke(app, [*words, "--no-such-option"])
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_ends_with_the_exit_codes():
    said = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert all(f"{code} {meaning}" in said for code, meaning in EXIT_CODES.items())


def complete(words, cwd, count=None):
    """What bash is offered for the last of the words."""
    env = os.environ | {
        "_LOBGRAPH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1 if count is None else count),
    }
    code = "import sys; sys.argv = ['lobgraph']; from lobgraph.cli import app; app(prog_name='lobgraph')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=cwd)
    return done.stdout.split()


def test_the_shell_is_offered_commands_files_and_names(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").touch()
    (tmp_path / "notes.txt").touch()
    assert "train" in complete(["lobgraph", "tr"], tmp_path)
    assert complete(["lobgraph", "train", "configs/m"], tmp_path) == ["configs/mine.yaml"]
    assert set(complete(["lobgraph", "compare", "gl"], tmp_path)) >= {"glft"}
    assert complete(["lobgraph", "train", "configs/mine.yaml", "--set", "ppo.l"], tmp_path) == [
        "ppo.lr=",
        "ppo.lr_schedule=",
        "ppo.lr_warmup=",
        "ppo.lr_end=",
    ]


def test_what_is_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("a/1", "a/2/seed_0", "b/3"):
        home = tmp_path / "artifacts" / run
        home.mkdir(parents=True)
        (home / "config.yaml").touch()
    (tmp_path / "artifacts/a/latest").symlink_to("1")
    (tmp_path / "x.yaml").touch()
    (tmp_path / "x.txt").touch()
    assert completing.runs("artifacts/a/") == ["artifacts/a/1", "artifacts/a/latest", "artifacts/a/2/seed_0"]
    assert completing.runs("art") == completing.runs("")
    assert completing.scenarios("x") == ["x.yaml"]
    assert completing.scenarios("") == ["artifacts/", "x.yaml"]
    assert completing.scenarios("./x") == ["./x.yaml"]
    assert completing.casts("ma") == ["maker="]
    assert "taker=twap" in completing.casts("taker=t")
    assert completing.settings("run.dev") == ["run.device="]
    assert completing.settings("no.such") == []
    assert {key.rstrip(".=") for key in completing.settings("")} == set(Config.model_fields)


def test_names_are_those_of_the_package():
    assert set(completing.strategies()) == {*strategies(), "nothing"}
    assert completing.roles("") == list(ROLES)


@pytest.mark.skipif(os.name != "posix", reason="bash")
def test_the_completion_script_is_shown():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lobgraph --show-completion; :"], capture_output=True, text=True
    )
    assert "_COMPLETE=complete_bash" in done.stdout, done.stderr
