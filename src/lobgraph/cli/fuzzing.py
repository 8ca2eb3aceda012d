"""fuzz: the engine against the per-order exchange, the readers against damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say
from .app import app, note


@app.command()
def fuzz(
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1e5, help="How long to try; default 1, or with --commands as long as they take."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    only: Annotated[str, typer.Option(help="engine or readers; default both.")] = "",
    commands: Annotated[
        int | None, typer.Option(min=1, help="Stop once so many commands have been compared.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run a failing case again, and nothing else.")
    ] = None,
    directory: Annotated[
        Path, typer.Option("--dir", help="A failing case goes to DIR/<seed>-<round>.json.")
    ] = Path("artifacts/fuzz"),
) -> None:
    """Compare the engine with a slow exchange on random orders; feed damaged files to the readers.

    The first failure is made small and written to a file; the exit code is then 1.
    """
    if only not in ("", "engine", "readers"):
        raise typer.BadParameter(f"must be engine or readers, got {only!r}", param_hint="--only")
    if replay is not None:
        from ..validate import cases

        case = cases.read(replay)
        if text := cases.replay(case):
            note(f"{replay}: {case.size}: {text}")
            raise typer.Exit(1)
        say(f"{replay}: {case.size}: nothing is wrong with it any more")
        return
    from .comparing import check_directory

    check_directory(directory)
    from ..validate.fuzz import fuzz as search

    if minutes is None:
        minutes = 1.0 if commands is None else 1e5
    tally = search(minutes, seed, directory, note, only, commands)
    say(str(tally))
    if tally.found is not None:
        say(f"written: {tally.found} (lobgraph fuzz --replay {tally.found} runs it again)")
        raise typer.Exit(1)
    say("no difference")
