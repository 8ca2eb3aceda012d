"""A failing input of `lobgraph fuzz` as a small JSON file: made smaller, written, read, run again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.recording import DataError
from ..files import write_atomic
from . import side_by_side as ss
from .fuzz_files import READERS, Files, check

MAX_BYTES = 64 << 20  # of a case's file
MAX_TRIALS = 3000  # of a shrink
LIMITS = (
    ss.SET,
    ss.AGENTS - 1,
    1,
    1 << 30,
    1 << 30,
    1 << 30,
    1 << 30,
    (1 << 16) - 1,
    1,
)  # of a command's columns
LOWER = (0, 0, -1, -(1 << 30), 0, -(1 << 30), 0, 0, 0)


@dataclass(frozen=True)
class Case:
    """Commands for both engines, or files for a reader, and what went wrong with them ('' once nothing does)."""

    text: str
    matching: str = ""
    self_trade: str = ""
    commands: list[list[int]] = field(default_factory=list)
    reader: str = ""
    files: Files = field(default_factory=dict)

    @property
    def size(self) -> str:
        if self.reader:
            return f"{sum(map(len, self.files.values()))} bytes"
        return f"{len(self.commands)} commands"


def fault(matching: str, self_trade: str, commands: list[list[int]]) -> tuple[int, str] | None:
    """(number of the first command that goes wrong, what went wrong) of a stream on two new books, or None."""
    b, reference = ss.make_book(matching), ss.Reference(matching, self_trade)
    try:
        ss.run(b, reference, np.array(commands, np.int64))
    except ss.DifferenceError as error:
        return error.command, str(error)
    except (
        Exception
    ) as error:  # an oracle that breaks is a finding too; which command it was the shrinking tells
        return len(commands) - 1, f"{type(error).__name__}: {error}"
    return None


def shrink(case: Case, find: Callable[..., tuple[int, str] | None] = fault) -> Case:
    """A stream that still fails with fewer commands and plainer numbers: parts left out, halves first, then numbers cut."""
    trials = 0

    def fails(commands: list[list[int]]) -> str:
        nonlocal trials
        trials += 1
        found = find(case.matching, case.self_trade, commands) if commands and trials <= MAX_TRIALS else None
        return found[1] if found else ""

    found = find(case.matching, case.self_trade, case.commands)
    if found is None:
        return case
    commands, text = case.commands[: found[0] + 1], found[1]
    part = max(len(commands) // 2, 1)
    while part and trials < MAX_TRIALS:
        at, shorter = 0, False
        while at < len(commands):
            rest = commands[:at] + commands[at + part :]
            if says := fails(rest):
                commands, text, shorter = rest, says, True
            else:
                at += part
        part = part if shorter and part == 1 else part // 2
    for i in range(len(commands)):
        for column in (ss.LOTS, ss.LOTS2, ss.OFFSET, ss.OFFSET2, ss.SHARE, ss.POST_ONLY, ss.AGENT):
            for value in (0, 1, -1, commands[i][column] // 2):
                plain = [*commands[i][:column], value, *commands[i][column + 1 :]]
                allowed = value >= LOWER[column] and (column != ss.LOTS or value > 0)
                if not allowed or abs(value) >= abs(commands[i][column]):
                    continue
                if says := fails([*commands[:i], plain, *commands[i + 1 :]]):
                    commands, text = [*commands[:i], plain, *commands[i + 1 :]], says
                    break
    return Case(text, case.matching, case.self_trade, commands)


def write(case: Case, path: Path) -> Path:
    """Write a case; `read` gives it back."""
    tree: dict[str, Any] = {"what": "a failing input of lobgraph fuzz", "text": case.text}
    if case.reader:
        tree |= {
            "reader": case.reader,
            "files": {n: base64.b64encode(d).decode() for n, d in case.files.items()},
        }
    else:
        rows = [[ss.NAMES[c[0]], *c[1:]] for c in case.commands]
        tree |= {"matching": case.matching, "self_trade": case.self_trade, "commands": rows}
    text = json.dumps(tree, indent=1)
    write_atomic(path, text.encode())
    return path


def read(path: Path) -> Case:
    """A case from its file. Raises DataError naming the file and the key."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB, no case of lobgraph fuzz")
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(tree, dict) or not ({"reader", "files"} <= tree.keys() or {"commands"} <= tree.keys()):
        raise DataError(f"{path}: no case of lobgraph fuzz: needs commands, or reader and files")
    if "reader" in tree:
        return Case(
            str(tree.get("text", "")), reader=_of(path, tree, "reader", READERS), files=_files(path, tree)
        )
    return Case(
        str(tree.get("text", "")), _of(path, tree, "matching", tuple(ss.EXCHANGES)),
        _of(path, tree, "self_trade", ss.POLICIES), _commands(path, tree["commands"]),
    )  # fmt: skip


def _of(path: Path, tree: dict[str, Any], key: str, known: tuple[str, ...]) -> str:
    if tree.get(key) not in known:
        raise DataError(f"{path}: {key}: must be one of {', '.join(known)}, got {tree.get(key)!r}")
    return str(tree[key])


def _files(path: Path, tree: dict[str, Any]) -> Files:
    files = tree["files"]
    if not isinstance(files, dict) or not files:
        raise DataError(f"{path}: files: must map names to base64 text")
    found = {}
    for name, text in files.items():
        if Path(name).name != name or name in ("", ".", "..") or "\0" in name or len(name) > 100:
            raise DataError(f"{path}: files: {name!r} is no plain file name")
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: files: {name}: not base64: {error}") from None
    return found


def _commands(path: Path, rows: Any) -> list[list[int]]:
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: commands: must be a list of commands")
    commands = []
    for i, row in enumerate(rows):
        ok = isinstance(row, list) and len(row) == ss.COMMAND and row[0] in ss.NAMES
        numbers = [ss.NAMES.index(row[0]), *row[1:]] if ok else []
        if not ok or not all(
            type(n) is int and a <= n <= b for n, a, b in zip(numbers, LOWER, LIMITS, strict=True)
        ):
            raise DataError(
                f"{path}: commands: number {i} must be one of {', '.join(ss.NAMES)} and {ss.COMMAND - 1} whole numbers "
                f"within {list(zip(LOWER, LIMITS, strict=True))[1:]}, got {row!r}"
            )
        if numbers[ss.SIDE] == 0:
            raise DataError(f"{path}: commands: number {i}: side must be 1 or -1")
        commands.append(numbers)
    return commands


def replay(case: Case) -> str:
    """Run a case again: what is wrong, or ''."""
    if case.reader:
        how, text = check(case.reader, case.files)
        return text if how == "wrong" else ""
    found = fault(case.matching, case.self_trade, case.commands)
    return found[1] if found else ""
