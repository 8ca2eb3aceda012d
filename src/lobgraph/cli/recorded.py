"""data info, data calibrate: recorded order books, and markets measured from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say, show
from .app import app, note

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Read recorded order books; measure markets from them."
)
app.add_typer(data, name="data")

Files = Annotated[
    list[Path], typer.Argument(metavar="FILES...", help="LOBSTER message files (csv, gz, zip) or npz sets.")
]


Tick = Annotated[int, typer.Option(min=1, help="Price units of the files (1/10000 of money) per tick.")]
Lot = Annotated[int, typer.Option(min=1, help="Shares per lot.")]


@data.command("info")
def data_info(files: Files, tick: Tick = 100, lot: Lot = 1) -> None:
    """Print what recorded order-book files hold."""
    from ..data.load import info

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
    from ..data.calibrate import calibrate, write_config

    result = calibrate(files, tick=tick, lot=lot, name=name, rounds=rounds, seed=seed, report=note)
    show(result.table(), "Data, and simulated markets")
    for line in result.notes:
        say(line)
    say(f"written: {write_config(result, out, force=force)}")
