"""trace: one episode event by event, and why a fill happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say, show, written
from .app import Overrides, Seed, app, note
from .comparing import Agents, beside, check_directory, others_of, run_of

FORMATS = ("csv", "parquet")


@app.command()
def trace(
    what: Annotated[
        Path, typer.Argument(metavar="CONFIG_OR_RUN", help="Scenario file, or a run: its policies act.")
    ],
    episode: Annotated[int, typer.Option(min=0, help="Number of the episode.")] = 0,
    fill: Annotated[
        int | None, typer.Option(min=0, help="Tell why this fill happened; nothing is written without --dir.")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="AGENT", help="Whom to draw, e.g. maker_1; default: the first agent."),
    ] = None,
    book: Annotated[str | None, typer.Option(help="The book to draw; default: the first.")] = None,
    agents: Agents = None,
    overrides: Overrides = None,
    seed: Seed = 1_000_003,
    regime: Annotated[
        str | None, typer.Option(help="Play in this regime alone, as compare does; default: as configured.")
    ] = None,
    episodes: Annotated[
        int, typer.Option(min=1, help="Episodes of the evaluation that this one is of; evaluate's default.")
    ] = 100,
    form: Annotated[str, typer.Option("--format", help="Of the tables: csv or parquet.")] = "csv",
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            help="The trace goes to DIR/<time>-<scenario>-e<episode>-s<seed>/; default artifacts/trace.",
        ),
    ] = None,
) -> None:
    """Write and draw one episode event by event: orders, cancels, fills, queues, rewards; tell why a fill happened."""
    from ..config import ConfigError, load_config
    from ..evaluation.compare import regime_configs

    if form not in FORMATS:
        raise ConfigError(f"--format {form!r}: must be one of {', '.join(FORMATS)}")
    if episode >= episodes:
        raise ConfigError(f"--episode {episode}: must be below --episodes, which is {episodes}")
    run = run_of(str(what)) if what.is_dir() else None
    cfg = load_config(run / "config.yaml" if run else what, overrides or ())
    if not cfg.counts:
        raise ConfigError("agents: no role has an agent to trace; set agents.<role>.count")
    acting = others_of(cfg, None, agents, run)
    if regime is not None:
        cfg = regime_configs(cfg, [regime])[regime]
    target = directory or Path("artifacts/trace")
    writes = fill is None or directory is not None
    if writes:
        check_directory(target)

    from ..evaluation.event_trace import agent_number, book_number
    from ..evaluation.event_trace import trace as play
    from ..report.event_tables import summary, write_trace

    agent, shown = agent_number(cfg, of), book_number(cfg, book)  # before the work
    for role, who in acting.items():
        note(beside(cfg, role, who))
    found = play(cfg, acting, episode, episodes, seed)
    if fill is not None:
        from ..evaluation.story import story

        say(story(found, fill))
        told = found.fills[fill]
        agent, shown = agent if of else told.agent, shown if book else told.book
    else:
        show(
            summary(found),
            f"Episode {episode} of {cfg.name}, seed {seed}: fills by agent, book and counterparty",
        )
    if writes:
        written(write_trace(found, target, form, agent, shown, fill))
