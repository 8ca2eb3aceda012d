"""realism, data simulate: markets beside recorded data, and markets as recorded data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..report.console import say, written
from . import completing
from .app import Overrides, app, note
from .recorded import Lot, Tick, data

if TYPE_CHECKING:
    from ..config import Config

Market = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG_OR_RUN",
        help="Scenario (YAML), or a run directory, whose policies then act.",
        autocompletion=completing.scenarios_and_runs,
    ),
]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="HH:MM[:SS] or seconds after midnight.")]
MarketSeed = Annotated[int, typer.Option(min=0, max=2**62 - 1, help="Seed of the market.")]


@data.command("simulate")
def data_simulate(
    market: Market,
    out: Annotated[Path, typer.Option("--out", help="Directory for the files; made where missing.")],
    seconds: Annotated[float, typer.Option(min=0.0, help="How long the market runs.")] = 3600.0,
    levels: Annotated[int, typer.Option(min=1, max=200, help="Levels of the order-book rows.")] = 10,
    seed: MarketSeed = 0,
    start: Time = "09:30",
    tick: Tick = 100,
    lot: Lot = 1,
    overrides: Overrides = None,
) -> None:
    """Run a market, and write what happens as LOBSTER files, a pair for each book."""
    from ..data.write import write_lobster
    from ..realism.playing import record_market

    cfg, agents = _market(market, overrides)
    days = record_market(
        cfg,
        agents,
        seconds=seconds,
        levels=levels,
        seed=seed,
        start=seconds_of(start) or 0.0,
        tick=tick,
        lot=lot,
    )
    written([path for day in days for path in write_lobster(day, out)])


@app.command()
def realism(
    market: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG_OR_RUN",
            help="Scenario, run directory, or a LOBSTER file of another simulator's.",
            autocompletion=completing.scenarios_and_runs,
        ),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="More files of --data.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILES", help="LOBSTER message files or npz sets, one for each book."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="How long the market runs; default as long as the data judged."),
    ] = None,
    seed: MarketSeed = 0,
    start: Time = None,
    end: Time = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="New directory; default artifacts/realism/<time>-<name>.")
    ] = None,
    tick: Tick = 100,
    lot: Lot = 1,
    overrides: Overrides = None,
) -> None:
    """Compare a market with recorded data: stylised facts, and the distances of LOB-Bench.

    --start and --end say which part of the data is judged; what lies before it is compared with it too.
    """
    from ..data.load import read_all
    from ..data.recording import DataError
    from ..realism.sampling import part
    from ..realism.scorecard import judge
    from ..report.realism import present, write
    from ..rl.run import kept_if_used

    paths = [*(data or ()), *(files or ())]
    if not paths:
        raise DataError("--data: name the recorded files to compare with")
    begin, stop = seconds_of(start), seconds_of(end)
    whole = read_all(paths, tick=tick, lot=lot)
    real = [part(day, begin, stop) for day in whole]
    earlier = [part(day, None, begin) for day in whole if begin is not None and begin > day.start / 1e9 + 1.0]
    name, simulated = _simulated(market, overrides, real, seconds, seed, tick, lot)
    card = judge(simulated, real, earlier, name=name, seed=seed)
    present(card)
    for line in card.notes:
        say(line)
    with kept_if_used(_new(out, name)) as directory:
        written(write(card, directory))


def _simulated(
    market: Path,
    overrides: list[str] | None,
    real: list[Any],
    seconds: float | None,
    seed: int,
    tick: int,
    lot: int,
) -> tuple[str, list[Any]]:
    """Name and recordings of what is judged: another's files as they are, or a market run as long as the data."""
    if market.name.endswith((".csv", ".gz", ".zip", ".npz")):
        from ..data.load import read_all

        return market.name.split("_")[0], read_all([market], tick=tick, lot=lot)
    from ..realism.playing import record_market

    cfg, agents = _market(market, overrides)
    note(f"realism: running {cfg.name}")
    days = record_market(
        cfg, agents, seconds=seconds or max(d.seconds for d in real), levels=min(d.levels for d in real), seed=seed,
        start=real[0].start / 1e9, tick=tick, lot=lot,
    )  # fmt: skip
    return cfg.name, days


def _market(path: Path, overrides: list[str] | None) -> tuple[Config, dict[str, Any]]:
    """The scenario, and who acts in the roles that learn: the policies of a run, or nobody."""
    from ..config import LEARN, load_config
    from ..report.directory import find_run

    if not path.is_dir():
        return load_config(path, overrides or ()), {}
    run = find_run(path)
    cfg = load_config(run / "config.yaml", overrides or ())
    return cfg, {role: run for role in cfg.counts if getattr(cfg.agents, role).actor == LEARN}


def seconds_of(text: str | None) -> float | None:
    """Seconds after midnight of "HH:MM", "HH:MM:SS" or a number. Raises DataError for anything else."""
    from ..data.recording import DataError

    if text is None:
        return None
    try:
        parts = [float(x) for x in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1 and 0 <= parts[0] <= 86_400:
        return parts[0]
    if len(parts) in (2, 3) and 0 <= parts[0] <= 24 and all(0 <= x < 60 for x in parts[1:]):
        return sum(x * unit for x, unit in zip(parts, (3600.0, 60.0, 1.0), strict=False))
    raise DataError(f"{text!r}: not a time of day; give HH:MM, HH:MM:SS or seconds after midnight")


def _new(out: Path | None, name: str) -> Path:
    """A new directory, or an empty one."""
    from ..rl.run import numbered_directory

    if out is None:
        return numbered_directory(Path("artifacts/realism"), name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(17, "exists already and is not empty; choose another directory", str(out))
    out.mkdir(parents=True, exist_ok=True)
    return out
