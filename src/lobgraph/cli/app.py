"""The command's root, and the arguments that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..report.console import EXIT_CODES
from . import completing

# rich_markup_mode: typer's rich help pages cost 0.3 s of imports; tables and errors still use rich
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Many limit order books at once, as a graph, with learning makers, takers and arbitrageurs.",
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
)
Scenario = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="Scenario file (YAML).", autocompletion=completing.scenarios)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, e.g. ppo.lr=1e-3; repeatable.",
        autocompletion=completing.settings,
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**62 - 1, help="Seed of the markets; another than training's.")
]


def note(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"lobgraph {installed('lobgraph')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)
