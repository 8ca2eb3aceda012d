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
    start: Annotated[str, typer.Option(help="Time of day from which to fit, like 09:30.")] = "",
    end: Annotated[str, typer.Option(help="Time of day up to which to fit, like 13:00.")] = "",
    features: Annotated[
        str,
        typer.Option(
            help="Of hawkes,metaorders,reactive,intraday,lag,regimes; all that the data allow; none."
        ),
    ] = "all",
    reference: Annotated[
        str,
        typer.Option(
            help="Best price from which the tables count: own or opposite; by itself: own with reactive and spreads of 2 ticks and more."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Measure a market from recorded files; write a scenario."""
    if out.exists() and not force:  # before the minutes of work, not after
        raise FileExistsError(17, "exists already; choose another name or give --force", str(out))
    from ..data.calibrate import calibrate, write_config
    from ..data.span import time_of_day
    from ..data.tables import reference_of

    result = calibrate(
        files, tick=tick, lot=lot, name=name, rounds=rounds, seed=seed, features=features, report=note,
        start=time_of_day(start) if start else None, end=time_of_day(end) if end else None,
        reference=reference_of(reference) if reference else None,
    )  # fmt: skip
    show(result.table(), "Data, and simulated markets")
    if len(fits := result.fits()):
        show(fits, "Features")
    for line in result.notes:
        say(line)
    say(f"written: {write_config(result, out, force=force)}")
