"""What the documentation tells a reader to run: fenced blocks, the commands in them and in the text, and what it names.

In: README.md and docs/**/*.md. Out: `Block` and `Command`, each with its place (page and line), so that a failure says where.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PROGRAMS = ("lobgraph", "make", "python")


class Block(NamedTuple):
    """A fenced block."""

    page: str  # path below the root
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, where its first line is a comment with one."""
        found = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.text)
        return found[1] if found else None


class Command(NamedTuple):
    """A command line of a shell block."""

    page: str
    line: int
    text: str  # without its comment, on one line

    @property
    def words(self) -> list[str]:
        """Its words, without settings of the environment before it."""
        words = shlex.split(self.text)
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        return words

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All fenced blocks of these languages, in reading order."""
    return [
        Block(page.relative_to(ROOT).as_posix(), text.count("\n", 0, found.start()) + 2, found[1], found[2])
        for page in PAGES
        if (text := page.read_text(encoding="utf-8"))
        for found in FENCE.finditer(text)
        if found[1] in languages
    ]


def commands() -> list[Command]:
    """All command lines of shell blocks; a backslash at a line's end goes on in the next, `&&` begins another."""
    found = []
    for block in blocks("bash"):
        lines = block.text.split("\n")
        start, whole = 0, ""
        for i, line in enumerate(lines):
            whole += line.removesuffix("\\")
            if line.endswith("\\"):
                continue
            text = shlex.join(shlex.split(whole, comments=True))
            found += [
                Command(block.page, block.line + start, part) for part in text.split(" '&&' ") if part.strip()
            ]
            start, whole = i + 1, ""
    return found


def spans() -> list[tuple[str, str]]:
    """(place, text) of everything set as code within the text."""
    found = []
    for page in PAGES:
        text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
        name = page.relative_to(ROOT).as_posix()
        found += [(f"{name}:{text.count(chr(10), 0, s.start()) + 1}", s[1]) for s in SPAN.finditer(text)]
    return found


def mentioned() -> list[tuple[str, list[str]]]:
    """(place, words) of the commands named within the text; brackets around what may be left out are dropped."""
    found = []
    for place, text in spans():
        words = shlex.split(text.replace("[", "").replace("]", "")) if text.split()[0] in PROGRAMS else []
        if len(words) > 1:
            found.append((place, words))
    return found
