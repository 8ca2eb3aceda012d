"""The command `lobgraph`: train, evaluate, bench, validate, data, plot, config.

Each command imports what it needs when it runs, so that --help answers at once. Exit codes: 0 done, 2 the user's
error (one red line on stderr), 130 interrupted, 1 `validate` found something out of tolerance, or anything else, with
its traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .report.console import clear_errors, say, show, yield_idle_threads

# rich_markup_mode: typer's rich help pages cost 0.3 s of imports; tables and errors still use rich
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Many limit order books at once, as a graph, with learning makers, takers and arbitrageurs.",
)
data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Read recorded order books; measure markets from them."
)
app.add_typer(data, name="data")

Scenario = Annotated[Path, typer.Argument(metavar="CONFIG", help="Scenario file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. ppo.lr=1e-3; repeatable."),
]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILES...", help="LOBSTER message files (csv, gz, zip) or npz sets.")
]


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


@app.command()
def train(
    config: Scenario,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="First seed; default run.seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Runs go to DIR/<scenario>/; default run.dir.")
    ] = None,
) -> None:
    """Train a scenario; draw its figures and print its summary."""
    from .config import load_config
    from .report.scenario import run

    extra = [] if seed is None else [f"run.seed={seed}"]
    cfg = load_config(config, [*(overrides or ()), *extra])
    run(cfg, seeds, None if directory is None else directory / cfg.name)


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run directory, or a scenario's directory (its newest run).")
    ],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the markets; another than training's.")
    ] = 1_000_003,
    overrides: Overrides = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a row per episode, role and agent to this file.")
    ] = None,
) -> None:
    """Play episodes with a run's policies, without learning."""
    from .config import ConfigError, load_config
    from .report.directory import find_run

    found = find_run(run)
    cfg = load_config(found / "config.yaml", overrides or ())
    if not cfg.counts:
        raise ConfigError("agents: no role has an agent to evaluate; set agents.<role>.count")
    if csv is not None and not csv.parent.is_dir():
        raise FileNotFoundError(f"{csv}: no such directory {csv.parent}")
    for role in cfg.counts:
        who = getattr(cfg.agents, role).actor
        say(f"{role}: {f'policy of {found}, by its mean action' if role in cfg.learners else who}")

    from .evaluation.evaluate import evaluate as play
    from .evaluation.evaluate import summary

    table = play(cfg, agents=dict.fromkeys(cfg.learners, found), episodes=episodes, seed=seed)
    show(summary(table), f"{episodes} episodes of {cfg.name}, seed {seed}: means with 95 % intervals")
    if csv is not None:
        table.to_csv(csv, index=False)
        say(f"written: {csv}")


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
    from .bench import run_bench

    run_bench(quick=quick, json_path=json, only=only or ())


Tick = Annotated[int, typer.Option(min=1, help="Price units of the files (1/10000 of money) per tick.")]
Lot = Annotated[int, typer.Option(min=1, help="Shares per lot.")]


@data.command("info")
def data_info(files: Files, tick: Tick = 100, lot: Lot = 1) -> None:
    """Print what recorded order-book files hold."""
    from .data.load import info

    show(info(files, tick=tick, lot=lot).reset_index(names=""))


@data.command("calibrate")
def data_calibrate(
    files: Files,
    out: Annotated[Path, typer.Option("--out", help="YAML file to write; `lobgraph train` takes it.")],
    tick: Tick = 100,
    lot: Lot = 1,
    name: Annotated[str, typer.Option(help="Name of the scenario.")] = "calibrated",
    rounds: Annotated[
        int, typer.Option(min=0, help="Rounds of refinement by simulation; 0: as measured.")
    ] = 6,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Measure a market from recorded files; write a scenario."""
    if out.exists() and not force:  # before the minutes of work, not after
        raise FileExistsError(17, "exists already; choose another name or give --force", str(out))
    from .data.calibrate import calibrate, write_config

    def note(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    result = calibrate(files, tick=tick, lot=lot, name=name, rounds=rounds, seed=seed, report=note)
    show(result.table(), "Data, and simulated markets")
    for line in result.notes:
        say(line)
    say(f"written: {write_config(result, out, force=force)}")


@app.command()
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...", help="Run directories, or scenarios' directories (their newest runs)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where a comparison of several runs goes.")] = Path(
        "artifacts/analysis"
    ),
) -> None:
    """Draw a run's figures again; compare several runs."""
    from .report.directory import find_run

    found = [find_run(run) for run in runs]

    from .report.compare import compare
    from .report.figures import make_figures

    files = [figure for run in found for figure in make_figures(run)]
    if len(found) > 1:
        result = compare([run / "rewards.csv" for run in found], out)
        show(result.summary, "Episode reward (tick-lots): mean of the first and the last tenth of updates")
        files += result.files
    say(f"written: {', '.join(map(str, files))}")


@app.command()
def validate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="zero_intelligence, cst, large_tick, kyle, glosten_milgrom; default all.",
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
        bool, typer.Option("--quick", help="A sixth of the events, 20 s in place of 2 min; wider tolerances.")
    ] = False,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Print the models' parameters with their meaning, and stop.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    directory: Annotated[Path, typer.Option(help="Results go to DIRECTORY/<time>-s<seed>/.")] = Path(
        "artifacts/validate"
    ),
) -> None:
    """Compare the engine with published theory, for any parameters."""
    if parameters:
        from .validate.settings import describe

        say(describe(models))
        return
    from .validate.settings import make_settings

    make_settings({}, overrides or (), quick, models)  # a typo is answered before torch and numba are loaded
    from .validate.run import validate as compare
    from .validate.table import condense, misses, summary

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


@app.command("config")
def show_config(config: Scenario, overrides: Overrides = None) -> None:
    """Print a scenario with every setting resolved."""
    from .config import dump_config, load_config

    print(dump_config(load_config(config, overrides or ())), end="")


def main() -> None:
    """Entry point of the console script."""
    yield_idle_threads()
    with clear_errors():
        app()


if __name__ == "__main__":
    main()
