"""The command `lobgraph`: train, evaluate, compare, ablate, bench, validate, data, plot, config and more.

Each command imports what it needs when it runs, so that --help answers at once. Exit codes: EXIT_CODES of
report/console.py; docs/cli.md says what they mean.
"""

from ..report.console import clear_errors, yield_idle_threads

# Each adds its commands, in the order of --help.
from . import running, again, runs, exporting, sweeping  # isort: skip  # noqa: F401
from . import comparing, tracing, stressing, graphs  # isort: skip  # noqa: F401
from . import measuring, fuzzing, recorded, likeness  # isort: skip  # noqa: F401
from .app import app


def main() -> None:
    """Entry point of the console script."""
    yield_idle_threads()
    with clear_errors():
        app()
