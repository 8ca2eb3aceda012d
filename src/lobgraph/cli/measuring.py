"""bench and validate: how fast is the engine here, and is it right?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say, show
from .app import app


@app.command()
def bench(
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cases and repetitions: a minute.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="flow_events, tape_messages, agent_messages, env_steps, train_steps or process_start; repeatable.",
        ),
    ] = None,
) -> None:
    """Measure events and steps per second on this machine."""
    from ..bench import run_bench

    run_bench(quick=quick, json_path=json, only=only or ())


@app.command()
def validate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Of the engine: zero_intelligence, cst, large_tick, kyle, glosten_milgrom; of the markets with known answers: "
            "avellaneda_stoikov, cj_making, cj_execution, almgren_chriss, pair. Default all.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="MODEL.KEY=VALUE",
            help="Set a parameter, e.g. kyle.S0=4; repeatable. --parameters lists them.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A sixth of the work, a minute in place of 3; wider tolerances."),
    ] = False,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Print the models' parameters with their meaning, and stop.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    directory: Annotated[Path, typer.Option(help="Results go to DIRECTORY/<time>-s<seed>/.")] = Path(
        "artifacts/validate"
    ),
) -> None:
    """Compare the engine, and markets with known answers, with published theory."""
    if parameters:
        from ..validate.settings import describe

        say(describe(models))
        return
    from ..validate.settings import make_settings

    make_settings({}, overrides or (), quick, models)  # a typo is answered before torch and numba are loaded
    from ..validate.run import validate as compare
    from ..validate.table import condense, misses, summary

    def note(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    table = compare(models, overrides=overrides or (), quick=quick, seed=seed, directory=directory, note=note)
    show(condense(table), "The engine and theory")
    say(summary(table))
    say(f"written: {table.attrs['directory']} (table.csv has every row)")
    failed = misses(table)
    for line in failed:
        note(f"out of tolerance: {line}")
    if failed:
        raise typer.Exit(1)
