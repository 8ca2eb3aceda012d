"""runs: what has been trained, and how runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import new_file, write_table
from ..report.console import say, show, written
from .app import app

HOW = ("name", "ppo", "graph", "run", "curriculum", "machine")  # settings of how is learned, not of what
runs = typer.Typer(
    rich_markup_mode=None, help="List what has been trained; `runs compare` sets runs side by side."
)
app.add_typer(runs, name="runs")


@runs.callback(invoke_without_command=True)
def list_them(
    context: typer.Context,
    directory: Annotated[Path, typer.Option("--dir", help="Look for runs under this directory.")] = Path(
        "artifacts"
    ),
    scenario: Annotated[str | None, typer.Option(help="Those of this scenario alone.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file too.")] = None,
) -> None:
    """List the runs under artifacts/, oldest first; `runs compare` sets some side by side."""
    if context.invoked_subcommand is not None:
        return
    from ..report.runs import list_runs

    if csv is not None:
        new_file(csv)
    table = list_runs(directory, scenario)
    if not len(table):
        say(f"no runs{f' of {scenario}' if scenario else ''} under {directory}; lobgraph train makes one")
        return
    say(f"under {directory}:")
    show(
        table,
        "last: mean episode reward of the last tenth of updates; best: of the evaluations; over seeds, tick-lots",
    )
    if csv is not None:
        say(f"written: {write_table(csv, table)}")


@runs.command("compare")
def compare_them(
    which: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...", help="Run directories, or scenarios' directories (their newest runs)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Tables and figure go here.")] = Path("artifacts/analysis"),
) -> None:
    """How runs differ: their settings, their rewards, their learning curves. (`lobgraph compare` plays them.)"""
    from ..report.runs import compare_runs

    if any((out / name).is_file() for name in ("config.yaml", "plan.json")):
        raise FileExistsError(17, "a run's own directory; choose another for --out", str(out))
    found = compare_runs(which, out)
    show(found.runs, "Rewards in training, tick-lots (last tenth of updates; best evaluation)")
    if len(found.settings):
        show(found.settings, "Settings that differ")
        tasks = [key for key in found.settings["setting"] if key.split(".")[0] not in HOW]
        if tasks:
            say(
                f"their tasks differ ({', '.join(tasks[:3])}{', ...' * (len(tasks) > 3)}): so do rewards, whoever learns better"
            )
    else:
        say("settings: the same in all of them")
    show(found.results.summary, "Episode reward (tick-lots): mean of the first and the last tenth of updates")
    if len(found.results.differences):
        show(found.results.differences, "Last reward against the first run's, paired by seed")
    written(found.results.files)
