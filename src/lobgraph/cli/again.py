"""verify, repro: a run's first updates once more, and an update that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say
from .app import app, note


@app.command()
def verify(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run, group of seeds (each of them), or a scenario's directory (its newest run).",
        ),
    ],
    updates: Annotated[int, typer.Option(min=1, help="Updates to do again, from the first one on.")] = 3,
) -> None:
    """Do a run's first updates again and compare every metric, to the bit.

    Nothing is written. Exits with 1 if a number differs.
    """
    from ..rl.places import run_or_group, seeds_of

    found = run_or_group(run)

    from ..rl.again import verify as again

    bad = False
    for one in seeds_of(found) or [found]:
        done = again(one, updates, note)
        for line in done.differing:
            say(line)
        if done.differing:
            bad = True
            why = "other versions, threads, machines or inputs give others (machine.json)"
            say(f"{one}: {len(done.differing)} of what was compared differ; {why}")
        else:
            say(f"{one}: {done.updates} updates done again, {done.compared:,} numbers the same to the bit")
    if bad:
        raise typer.Exit(1)


@app.command()
def repro(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="repro-*.safetensors of a run that failed.")],
) -> None:
    """Do again the update of a training that failed, from the state before it.

    Exits with 1 if it fails otherwise, or not at all.
    """
    from ..rl.again import repro as again

    then, now = again(file, note)
    say(f"then: {then}")
    say(f"now:  {now or 'no error'}")
    if now != then:
        raise typer.Exit(1)
