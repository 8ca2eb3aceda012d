"""The command `lobgraph`: train, evaluate, compare, ablate, bench, validate, data, plot, config and more.

Each command imports what it needs when it runs, so that --help answers at once. Exit codes: 0 done, 2 the user's
error (one red line on stderr), 130 interrupted, 1 `validate` found something out of tolerance, or anything else, with
its traceback.
"""

from ..report.console import clear_errors, yield_idle_threads

# each adds its commands, in the order of --help
from . import running, again, runs, exporting, sweeping, comparing  # isort: skip  # noqa: F401
from . import stressing, graphs, measuring, recorded, likeness  # isort: skip  # noqa: F401
from .app import app


def main() -> None:
    """Entry point of the console script."""
    yield_idle_threads()
    with clear_errors():
        app()
