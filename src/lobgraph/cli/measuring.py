"""bench and validate: how fast is the engine here, and is it right?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..report.console import EXIT_FAILED, say, show
from .app import app, note


@app.command()
def bench(
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cases and repetitions: a minute.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="flow_events, featured_events, tape_messages, agent_messages, env_steps, adapters, train_steps or process_start; repeatable.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "cpu",
    tune: Annotated[
        bool,
        typer.Option("--tune", help="On a GPU: compare layouts, blocks and bounds on registers; minutes."),
    ] = False,
) -> None:
    """Measure events and steps per second on this machine."""
    from ..bench import run_bench

    run_bench(quick=quick, json_path=json, only=only or (), device=device, tune=tune)


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
            help="Set a parameter, e.g. kyle.S0=4; repeatable. --parameters lists them. With --learning also settings of "
            "the training, e.g. ppo.lr=1e-3.",
        ),
    ] = None,
    learning: Annotated[
        bool,
        typer.Option(
            "--learning",
            help="Train PPO on the markets with known answers, and compare what it finds: some minutes each.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="With --learning: trainings of each market.")] = 3,
    workers: Annotated[
        int, typer.Option(min=0, help="With --learning: trainings side by side, one core each; 0: all cores.")
    ] = 0,
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
    if learning:
        if quick:
            raise typer.BadParameter(
                "does not go with --learning; --seeds 1 and fewer markets take less time",
                param_hint="--quick",
            )
        _learn(models, overrides or (), seeds, seed, workers or None, directory)
        return
    from ..config import ConfigError
    from ..validate.settings import TRAINING, make_settings

    for text in overrides or ():
        if text.partition(".")[0].strip() in TRAINING:
            raise ConfigError(f"--set {text}: a setting of trainings; it needs --learning")
    make_settings({}, overrides or (), quick, models)  # a typo is answered before torch and numba are loaded
    from ..validate.run import validate as compare

    _conclude(
        compare(models, overrides=overrides or (), quick=quick, seed=seed, directory=directory, note=note),
        "The engine and theory",
    )


def _learn(
    models: list[str] | None,
    overrides: Iterable[str],
    seeds: int,
    seed: int,
    workers: int | None,
    directory: Path,
) -> None:
    from ..validate.learning import learn, summary

    table = learn(
        models, overrides=overrides, seeds=seeds, seed=seed, workers=workers, directory=directory, note=note
    )
    show(summary(table.attrs["learned"]), "Learned over best, mean of the seeds with its 95 % interval")
    _conclude(table, "Each training")


def _conclude(table: Any, title: str) -> None:
    """Print the table and what is out of tolerance; exit code 1 if anything is."""
    from ..validate.table import condense, misses, summary

    show(condense(table), title)
    say(summary(table))
    say(f"written: {table.attrs['directory']} (table.csv has every row)")
    failed = misses(table)
    for line in failed:
        note(f"out of tolerance: {line}")
    if failed:
        raise typer.Exit(EXIT_FAILED)
