"""stress: do these agents amplify or damp a crash, by how much, with what confidence?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing
from .app import Overrides, Seed, app
from .comparing import ActedRole, Agents, Played, Progress, beside, check_directory, command_line, who_plays


@app.command()
def stress(
    who: Annotated[
        list[str],
        typer.Argument(
            metavar="WHO...",
            help="Runs and strategies, e.g. at_best or fixed_spread:half_spread=2.",
            autocompletion=completing.actors,
        ),
    ],
    scenarios: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="crash, volatility, drought, shock, fat_finger, halt, or configured: all events of the scenario's own `stress`. "
            "Default: configured, or crash,drought,fat_finger where it has none.",
        ),
    ] = None,
    config: Played = None,
    role: ActedRole = None,
    agents: Agents = None,
    overrides: Overrides = None,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each market.")] = 500,
    after: Annotated[float, typer.Option(min=0.001, help="Seconds looked at beyond an event's end.")] = 60.0,
    seed: Seed = 1_000_003,
    directory: Annotated[Path, typer.Option("--out", help="Reports go to OUT/<time>-s<seed>/.")] = Path(
        "artifacts/stress"
    ),
) -> None:
    """Play runs and strategies through crashes and droughts, with and without the event, with and without agents."""
    from ..evaluation.stress import stress as play
    from ..report.stress_report import present_stress

    cfg, own, actors, others = who_plays("stress", who, config, overrides, role, agents)
    check_directory(directory)
    notes = [beside(cfg, r, others[r]) for r in others]
    names = [name.strip() for name in scenarios.split(",") if name.strip()] if scenarios else None
    found = play(cfg, own, actors, others, names, episodes, seed, after, Progress(notes))
    present_stress(found, directory, notes, command_line())
