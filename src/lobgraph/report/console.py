"""What the user sees in the terminal: tables, and errors of theirs as one red line in place of a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "a check failed, or an error of ours (with its traceback)",
    EXIT_USER_ERROR: "wrong usage or input, one line each",
    EXIT_INTERRUPTED: "interrupted",
}

# Exceptions that say what the user can put right, by module; looked up only once one has been raised.
USER_ERRORS = (
    ("lobgraph.config", "ConfigError"),
    ("lobgraph.data.recording", "DataError"),
    ("lobgraph.agents.strategy", "StrategyError"),
    ("lobgraph.models.policy", "PolicyError"),
    ("lobgraph.rl.rollout", "TrainingError"),
    ("lobgraph.rl.resume", "ResumeError"),
    ("lobgraph.files", "DamagedFileError"),
    ("lobgraph.report.metrics", "RewardsError"),
)
FILE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
# What the disk or its system says no to, besides.
NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.EMFILE,
    errno.ELOOP,
)


def is_user_error(error: BaseException) -> bool:
    """Whether the exception's message, without its traceback, tells the user all there is to know."""
    known = (getattr(sys.modules.get(module), name, None) for module, name in USER_ERRORS)
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return True
    return isinstance(error, (*FILE_ERRORS, *(k for k in known if k is not None)))


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn the user's errors into red lines on stderr and exit code 2, Ctrl-C into 130; pass on all others."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if not is_user_error(error):
            raise
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, soft_wrap=True)
        for line in _message(error).splitlines():
            console.print(Text(f"error: {line}", style="bold red"))
        sys.exit(EXIT_USER_ERROR)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {(error.strerror or type(error).__name__).lower()}"
    return str(error) or type(error).__name__


def yield_idle_threads() -> None:
    """Let OpenMP threads sleep, not spin, while they wait; call before torch is imported. A setting of the user's stays.

    On a free machine it costs nothing; with one other process on two cores, spinning made training ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def written(files: Iterable[Path]) -> None:
    """Say what was written, a file a line."""
    say("written: " + "\n         ".join(map(str, files)))


def say(text: str) -> None:
    """Print a line as it is (no markup, no wrapping)."""
    from rich.console import Console
    from rich.text import Text

    Console(soft_wrap=True).print(Text(text))


def show(table: pd.DataFrame, title: str = "") -> None:
    """Print a table, numbers to the right and to four digits, text as it is (no markup).

    Where a terminal is too narrow for all columns, the leading columns of text are repeated before each part of the rest.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe or a log has no width to fit into
        console = Console(width=max(120, 4 + sum(_widths(table).values()) + len(table.columns)))
    for i, columns in enumerate(
        _parts(table, console.width) if console.is_terminal else [list(table.columns)]
    ):
        console.print(_view(table.reindex(columns=columns), "" if i else title))


def _view(table: pd.DataFrame, title: str) -> Table:
    import pandas as pd
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(
        title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold"
    )
    for column in table.columns:
        text = pd.api.types.is_string_dtype(table[column])
        name = Text(_words(column))
        view.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in table.itertuples(index=False):
        view.add_row(*(Text(_cell(value)) for value in row))
    return view


def _widths(table: pd.DataFrame) -> dict[str, int]:
    """Characters that each column takes."""
    return {c: 2 + max([len(_words(c)), *(len(_cell(v)) for v in table[c])]) for c in table.columns}


def _parts(table: pd.DataFrame, width: int) -> list[list[str]]:
    """Columns that fit into `width` characters together: all of them, or the leading text with some of the rest."""
    import pandas as pd

    wide = _widths(table)
    if sum(wide.values()) <= width:
        return [list(table.columns)]
    columns = list(table.columns)
    lead = next(
        (i for i, c in enumerate(columns) if not pd.api.types.is_string_dtype(table[c])), len(columns)
    )
    keys, rest = columns[:lead], columns[lead:]
    room = max(width - min(sum(wide[c] for c in keys), width // 2), 12)
    parts: list[list[str]] = []
    used = room + 1
    for column in rest:
        if used + wide[column] > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += wide[column]
    return [keys + part for part in parts] or [keys]


def _words(column: Any) -> str:
    return str(column).replace("_", " ")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
