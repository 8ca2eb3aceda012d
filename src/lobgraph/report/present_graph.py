"""Studies of the market graph on the screen and on disk: tables to read, CSV files and figures to keep."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..config import load_config
from ..evaluation.ablate import Ablation
from ..evaluation.transfer import Transfer
from ..files import write_table
from . import plots
from .console import say, show, written
from .exchange import ablation_figure, transfer_figure
from .figures import EVALUATION_SEED
from .importance import draw_importance
from .metrics import read_rewards
from .style import save

INTERVALS = (
    "intervals: 95 %, Student's t, over trainings and episodes as crossed random effects (a training's seed is a cluster of "
    "episodes that all trainings share); episodes low/high: for these very trainings, on other episodes"
)


def present_ablation(found: Ablation, directory: Path) -> None:
    """Print both tables and write them, the outcomes, learning curves and a figure for each role to `directory`."""
    parameters = [found.parameters[v] for v in found.levels["variant"]]
    levels = found.levels.assign(parameters=parameters)
    title = f"{found.cfg.name}: {len(found.seeds)} trainings each, {found.episodes:,} unseen episodes, seed {found.seed}"
    show(
        levels.reindex(columns=["role", "measure", "variant", "parameters", "mean", "low", "high", "seeds"]),
        title,
    )
    columns = [
        "role",
        "measure",
        "variant",
        "baseline",
        "mean",
        "low",
        "high",
        "episodes_low",
        "episodes_high",
        "seeds",
    ]
    show(
        found.differences.reindex(columns=columns),
        "Difference from the baseline, same seed and same episode; seeds: each one's",
    )
    _say_of_what(found.seeds)
    tables = {"levels": levels, "differences": found.differences, "outcomes": found.outcomes}
    files = _write(tables, directory)
    for role in found.differences["role"].unique():
        files.append(save(ablation_figure(found, role), directory / f"ablation_{role}.png"))
    groups = {
        v: [read_rewards(found.runs[v, s] / "rewards.csv") for s in found.seeds] for v in found.variants
    }
    files.append(
        save(plots.learning_curves(groups, f"Learning curves: {found.cfg.name}"), directory / "learning.png")
    )
    written(files)


def present_transfer(found: Transfer, directory: Path) -> None:
    """Print the table and write it, the outcomes and a figure for each role to `directory`."""
    title = (
        f"{found.cfg.name}: return per book and episode of the policy trained on {found.train_on} books (zero) and of one "
        f"trained there (here); {len(found.seeds)} trainings, {found.episodes:,} unseen episodes, seed {found.seed}"
    )
    show(found.shares, title)
    _say_of_what(found.seeds)
    cost = {
        "episodes": "episodes and updates",
        "steps": "book-steps and updates, episodes fewer as books are more",
    }
    say(f"trained there: equal {cost[found.equal]}")
    files = _write({"shares": found.shares, "outcomes": found.outcomes}, directory)
    for role in found.shares["role"].unique():
        files.append(save(transfer_figure(found, role), directory / f"transfer_{role}.png"))
    written(files)


def _say_of_what(seeds: list[int]) -> None:
    say(INTERVALS if len(seeds) > 1 else "intervals: 95 %, over episodes; of one training nothing is known")


def _write(tables: dict[str, pd.DataFrame], directory: Path) -> list[Path]:
    return [write_table(directory / f"{name}.csv", table) for name, table in tables.items()]


def present_importance(run: Path, seed: int | None = None) -> list[tuple[pd.DataFrame, str]]:
    """Write a figure and a table for each learning role of a run. Returns the tables with their titles."""
    seed = load_config(run / "config.yaml").run.seed + EVALUATION_SEED if seed is None else seed
    tables = []
    for role, found in draw_importance(run, seed).items():
        tables.append(
            (found.table(), f"{role}: mean change of the action, % of its range, by feature occluded")
        )
        for x, rows, what in (
            (found.influence, "action_of", "by book occluded"),
            (found.edges, "book", "of all books, by edge taken out"),
        ):
            books = pd.DataFrame(x, columns=found.books)
            books.insert(0, rows, found.books)
            tables.append((books, f"{role}: likewise {what}"))
    return tables
