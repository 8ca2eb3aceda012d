"""Every command of README.md and docs/ is parsed by what it calls, and run: shortened (shortened.py), with files that it needs."""

import argparse
import re
import runpy
import subprocess
import sys

import pytest
from blocks import ROOT, commands, mentioned
from shortened import COMMANDS, PLACEHOLDERS, How
from typer.main import get_command

from lobgraph.cli.app import app

TARGETS = {
    line.split(":")[0]
    for line in (ROOT / "Makefile").read_text().splitlines()
    if line[:1].islower() and ":" in line
}
ROOT_COMMAND = get_command(app)


def how(text: str) -> How:
    """The entry of the table for a command."""
    text = re.sub(r"^([A-Z_]+=\S* )+", "", text)
    fitting = [key for key in COMMANDS if text.startswith(key)]
    assert fitting, f"{text}: tests/docs/shortened.py does not say how it is run"
    return COMMANDS[max(fitting, key=len)]


def parse(words: list[str], *, partly: bool = False) -> None:
    """Parse a command line by what it calls, without running it: it raises for options and commands that do not exist.

    partly: arguments that must be given may be missing, as where a text only names a command.
    """
    if words[0] == "lobgraph":
        parse_lobgraph(words[1:], partly)
    elif words[0] == "make":
        named = [word for word in words[1:] if "=" not in word]
        assert set(named) <= TARGETS, f"no such target in the Makefile: {set(named) - TARGETS}"
    elif words[1:2] == ["-m"]:
        assert words[2] == "venv"
    else:
        assert (ROOT / words[1]).is_file(), f"no such file: {words[1]}"
        parse_script(words[1:])


def parse_lobgraph(words: list[str], partly: bool = False) -> None:
    """Raises click's UsageError. Missing arguments are told apart by their class's name: typer brings its own click."""
    command, name = ROOT_COMMAND, "lobgraph"
    context = command.make_context(name, [], resilient_parsing=True)
    while (
        (table := getattr(command, "commands", None)) is not None and words and not words[0].startswith("-")
    ):
        assert words[0] in table, f"no such command: {name} {words[0]}"
        name, command, words = words[0], table[words[0]], words[1:]
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    if command is ROOT_COMMAND:  # parsing --install-completion would install it
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(words) <= known | {"--install-completion", "--show-completion"}, words
        return
    if hasattr(command, "commands") and not words:
        return  # a group that is only named
    try:
        command.make_context(name, list(words), parent=context.parent)
    except Exception as error:
        missing = type(error).__name__ == "MissingParameter" or "requires an argument" in str(error)
        if not (partly and missing):
            raise


class ParsedError(Exception):
    """The arguments were understood."""


def parse_script(words: list[str]) -> None:
    """Run a script up to the point where it has parsed its arguments."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        parse_args(self, args, namespace)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(ParsedError):
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")


FOUND = commands()
RUN = {c.text: c for c in FOUND if not how(c.text).not_run}  # each text once


@pytest.mark.parametrize("command", FOUND, ids=lambda c: c.place)
def test_options_exist(command):
    words = [PLACEHOLDERS.get(word, word) for word in command.words]
    parse(words)
    chosen = how(command.text)
    if chosen.short:
        parse([*words, *chosen.short])


@pytest.mark.parametrize(
    ("place", "words"), mentioned(), ids=lambda x: x if isinstance(x, str) else " ".join(x)
)
def test_commands_named_in_the_text_exist(place, words):
    parse([word for word in words if word != "..."], partly=True)


@pytest.mark.parametrize("key", COMMANDS)
def test_the_table_has_no_entry_too_many(key):
    assert any(command.text.startswith(key) for command in FOUND)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lobgraph trian configs/single_maker.yaml", "no such command"),
        ("lobgraph train configs/single_maker.yaml --sedes 3", "No such option"),
        ("lobgraph train configs/single_maker.yaml --seeds many", "valid integer"),
        ("make demos", "no such target"),
        ("python scripts/run_single.py", "no such file"),
    ],
)
def test_what_does_not_exist_is_found(text, says):
    with pytest.raises(Exception) as found:  # noqa: PT011 (of several classes; its text is looked at)
        parse(text.split())
    assert says in f"{found.value} {getattr(found.value, 'message', '')}"


def _marked(command):
    return pytest.param(
        command,
        id=f"{command.place} {command.text[:60]}",
        marks=pytest.mark.slow if how(command.text).slow else (),
    )


@pytest.mark.parametrize("command", [_marked(c) for c in RUN.values()])
def test_commands_run(command, clone, provide, lobgraph):
    words = [PLACEHOLDERS.get(word, word) for word in command.words]
    for i, word in enumerate(words):
        if words[i - 1] != "--out":
            provide(word)
    chosen = how(command.text)
    for word in chosen.needs:
        provide(word)
    words += chosen.short
    if words[0] == "lobgraph":
        assert lobgraph(words[1:])
    else:
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=clone)
        assert done.returncode == 0, done.stderr
