"""`lobgraph fuzz`: random commands on the book and the per-order exchange, damaged files on the readers, until time is up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..market import announce_compiling
from . import cases
from . import side_by_side as ss
from .fuzz_files import READERS, check, draw, prepare
from .streams import random_commands

CHUNK, CHUNKS = 500, 20  # commands of one mood, moods of a stream
FILES = 20  # damaged files of a reader in a round
EVERY = 5.0  # seconds between lines of progress


@dataclass
class Tally:
    """What was tried. `found`: the file of the first failing case."""

    seconds: float = 0.0
    commands: int = 0
    fills: int = 0
    streams: int = 0
    files: Counter[str] = field(default_factory=Counter)  # by "reader read", "reader refused"
    found: Path | None = None

    def __str__(self) -> str:
        text = f"{self.seconds:.0f} s: {self.commands:,} commands in {self.streams} streams, {self.fills:,} fills compared"
        for reader in READERS:
            read, refused = (self.files[f"{reader} {how}"] for how in ("read", "refused"))
            text += f"; {read + refused} damaged {reader} files, {refused} refused" if read + refused else ""
        return text


def fuzz(
    minutes: float,
    seed: int,
    directory: Path,
    note: Callable[[str], None],
    only: str = "",
    commands: int | None = None,
) -> Tally:
    """Try rounds of streams and files for `minutes`, or until `commands` have been compared; stop at the first failure.

    Round r of a seed is the same whatever the machine does. `only`: "engine" or "readers". A failing case is made small
    and written into `directory`.
    """
    announce_compiling("side_by_side.replay")
    ss.run(ss.make_book("fifo"), ss.Reference("fifo", "allow"), np.zeros((0, ss.COMMAND), np.int64))
    if only != "engine":
        prepare()
    tally, began = Tally(), time.monotonic()
    told, last = began, began + 60.0 * minutes
    number = 0
    while time.monotonic() < last and (commands is None or tally.commands < commands):
        rng = np.random.default_rng([seed, number])
        case = None if only == "readers" else _stream(rng, number, tally)
        if case is None and only != "engine":
            case = _files(rng, tally, last)
        number += 1
        tally.seconds = time.monotonic() - began
        if case is not None:
            note(f"seed {seed} round {number - 1}: {case.text}")
            if case.commands:
                note(f"making {case.size} smaller")
                case = cases.shrink(case)
            directory.mkdir(parents=True, exist_ok=True)
            tally.found = cases.write(case, directory / f"seed{seed}-round{number - 1}.json")
            note(f"{case.size}: {case.text}")
            break
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            note(str(tally))
    return tally


def _stream(rng: np.random.Generator, number: int, tally: Tally) -> cases.Case | None:
    """One stream of CHUNKS moods, matching and self-trade policy by the round; the failing case, or None."""
    matching = tuple(ss.EXCHANGES)[number % 2]
    policy = ss.POLICIES[number // 2 % len(ss.POLICIES)]
    b, reference = ss.make_book(matching), ss.Reference(matching, policy)
    done: list[list[int]] = []
    tally.streams += 1
    for _ in range(CHUNKS):
        chunk = random_commands(rng, CHUNK)
        done += chunk.tolist()
        try:
            tally.fills += ss.run(b, reference, chunk)
        except Exception as error:  # a difference, or an engine that broke
            return cases.Case(str(error) or type(error).__name__, matching, policy, done)
        tally.commands += CHUNK
    return None


def _files(rng: np.random.Generator, tally: Tally, last: float) -> cases.Case | None:
    for reader in READERS:
        for _ in range(FILES if reader != "scenario" else FILES // 5):  # a scenario takes five times as long
            if time.monotonic() > last:
                return None
            files = draw(rng, reader)
            how, text = check(reader, files)
            if how == "wrong":
                return cases.Case(text, reader=reader, files=files)
            tally.files[f"{reader} {how}"] += 1
    return None
