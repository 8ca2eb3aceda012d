"""train, evaluate, plot, config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import new_file, write_table
from ..report.console import say, show, written
from . import completing
from .app import Overrides, Scenario, app, note


@app.command()
def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="Scenario file (YAML); not with --resume.",
            autocompletion=completing.scenarios,
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run that was stopped or killed, to the bit.",
            autocompletion=completing.runs,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="First seed; default run.seed.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds; default 1.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Runs go to DIR/<scenario>/; default run.dir.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; default run.device.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes, one on each GPU, that train together; default run.processes."),
    ] = None,
) -> None:
    """Train a scenario; draw its figures and print its summary.

    The policies are evaluated on the way and the best are kept: run.evaluate_every, run.evaluate_episodes, run.best_role,
    run.patience. Recurrent policies: graph.memory=gru. With --resume RUN no CONFIG: the run has its own, and only
    ppo.total_steps and how it shows itself may be --set.
    """
    from ..config import ConfigError, load_config
    from ..report.scenario import resume as go_on
    from ..report.scenario import run

    given = {"seed": seed, "device": device, "processes": processes}
    if resume is not None:
        others = {"CONFIG": config, "--seeds": seeds, "--dir": directory} | {
            f"--{k}": v for k, v in given.items()
        }
        if odd := [name for name, value in others.items() if value is not None]:
            raise ConfigError(
                f"--resume: goes on with the run as it is configured; leave out {', '.join(odd)}"
            )
        go_on(resume, overrides or ())
        return
    if config is None:
        raise typer.BadParameter("missing; give a scenario file, or --resume RUN", param_hint="CONFIG")
    extra = [f"run.{key}={value}" for key, value in given.items() if value is not None]
    cfg = load_config(config, [*(overrides or ()), *extra])
    run(cfg, seeds or 1, None if directory is None else directory / cfg.name)


@app.command()
def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run directory, or a scenario's directory (its newest run).",
            autocompletion=completing.runs,
        ),
    ],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, max=2**62 - 1, help="Seed of the markets; another than training's.")
    ] = 1_000_003,
    overrides: Overrides = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a row per episode, role and agent to this file.")
    ] = None,
) -> None:
    """Play episodes with a run's policies, without learning."""
    from ..config import ConfigError, load_config
    from ..report.directory import find_run

    found = find_run(run)
    cfg = load_config(found / "config.yaml", overrides or ())
    if not cfg.counts:
        raise ConfigError("agents: no role has an agent to evaluate; set agents.<role>.count")
    if csv is not None:
        new_file(csv)
    for role in cfg.counts:
        who = getattr(cfg.agents, role).actor
        say(f"{role}: {f'policy of {found}, by its mean action' if role in cfg.learners else who}")

    from ..evaluation.evaluate import evaluate as play
    from ..evaluation.evaluate import summary

    table = play(cfg, agents=dict.fromkeys(cfg.learners, found), episodes=episodes, seed=seed, note=note)
    show(
        summary(table),
        f"{episodes} episodes of {cfg.name}, regimes as it draws them, seed {seed}: means with 95 % intervals",
    )
    if csv is not None:
        say(f"written: {write_table(csv, table)}")


@app.command()
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...",
            help="Run directories, or scenarios' directories (their newest runs).",
            autocompletion=completing.runs,
        ),
    ],
) -> None:
    """Draw a run's figures again. (`lobgraph runs compare` sets several side by side.)"""
    from ..report.directory import find_run

    found = [find_run(run) for run in runs]

    from ..report.figures import make_figures

    written(figure for run in found for figure in make_figures(run))


@app.command("config")
def show_config(config: Scenario, overrides: Overrides = None) -> None:
    """Print a scenario with every setting resolved."""
    from ..config import dump_config, load_config

    print(dump_config(load_config(config, overrides or ())), end="")
