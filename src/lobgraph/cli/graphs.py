"""ablate, transfer, importance: what the market graph buys, how far a policy carries, what it looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import show, written
from . import completing
from .app import Overrides, Scenario, Seed, app, note

Episodes = Annotated[int, typer.Option(min=2, help="Unseen episodes to play.")]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _sizes(text: str) -> list[int]:
    from ..config import ConfigError

    if not all(word.isdigit() and int(word) > 0 for word in _words(text)):
        raise ConfigError(f"--books {text!r}: must be numbers of books with commas, such as 2,4,8")
    return [int(word) for word in _words(text)]


@app.command()
def ablate(
    config: Scenario,
    variants: Annotated[
        str, typer.Option(help="Encoders to train, with commas; mlp is no exchange, the baseline.")
    ] = "sage,gat,mean,mlp",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 3,
    episodes: Episodes = 1000,
    seed: Seed = 1_000_003,
    overrides: Overrides = None,
    directory: Annotated[Path, typer.Option("--dir", help="Results go to DIR/<time>-<scenario>/.")] = Path(
        "artifacts/ablate"
    ),
) -> None:
    """Train a scenario with several graph encoders; what exchange between books buys."""
    from ..config import load_config

    cfg = load_config(config, overrides or ())
    from ..evaluation.ablate import ablate as study
    from ..report.present_graph import present_ablation
    from ..rl.run import kept_if_used, numbered_directory

    with kept_if_used(numbered_directory(directory, cfg.name)) as path:
        present_ablation(study(cfg, path, _words(variants), seeds, episodes, seed, note), path)


@app.command()
def transfer(
    config: Scenario,
    books: Annotated[str, typer.Option(help="Numbers of books to play on, with commas.")] = "2,4,8,16,32",
    train_on: Annotated[int, typer.Option(min=1, help="Number of books to train on.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings at each size.")] = 1,
    equal: Annotated[
        str,
        typer.Option(help="Trained at each size with equal episodes, or equal steps (books times steps)."),
    ] = "episodes",
    episodes: Episodes = 1000,
    seed: Seed = 1_000_003,
    overrides: Overrides = None,
    directory: Annotated[Path, typer.Option("--dir", help="Results go to DIR/<time>-<scenario>/.")] = Path(
        "artifacts/transfer"
    ),
) -> None:
    """Train on a few books, play on many without retraining; compare with training there."""
    from ..config import load_config

    cfg = load_config(config, overrides or ())
    sizes = _sizes(books)
    from ..evaluation.transfer import transfer as study
    from ..report.present_graph import present_transfer
    from ..rl.run import kept_if_used, numbered_directory

    with kept_if_used(numbered_directory(directory, cfg.name)) as path:
        present_transfer(study(cfg, path, sizes, train_on, seeds, episodes, seed, note, equal), path)


@app.command()
def importance(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run directory, or a scenario's directory (its newest run).",
            autocompletion=completing.runs,
        ),
    ],
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the episodes; another than training's.")
    ] = None,
) -> None:
    """What a run's policies look at: nodes, edges and features, drawn on the market graph."""
    from ..report.directory import find_run

    found = find_run(run)
    from ..report.present_graph import present_importance

    for table, title in present_importance(found, seed):
        show(table, title)
    files = sorted([*found.glob("figures/importance_*.png"), *found.glob("importance_*.csv")])
    written(files)
