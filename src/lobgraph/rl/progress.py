"""What training shows: a progress bar on a terminal, plain lines elsewhere, and the closing summary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..config import LEARN, Config

if TYPE_CHECKING:
    from .evaluator import Evaluator
    from .trainer import Trainer

LINES = 20  # plain lines printed in a whole run, at most
EVERY = 5.0  # seconds between the lines of a training that is one of many
SHARE = 0.1  # of the updates that count as the start, and as the end, in the summary


class Progress:
    """Shows updates as they come; silent with `run.progress: false`."""

    def __init__(self, cfg: Config, updates: int, samples: int, done: int = 0) -> None:
        """done: updates of before, whose time is not this process's."""
        self.console = Console(highlight=False)
        self.updates, self.samples = updates, samples
        self.quiet = not cfg.run.progress
        self.live = not self.quiet and self.console.is_terminal
        self.latest: dict[str, float] = {}  # role -> mean episode reward where one ended last
        self.evaluated = ""  # the last evaluation
        self.start = time.perf_counter()
        self.bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} updates"),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.done = done
        self.task = self.bar.add_task(cfg.name, total=updates, text="", completed=done)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def show(self, metrics: dict[str, float]) -> None:
        """One update."""
        for name, value in metrics.items():
            if name.startswith("rewards/") and name.endswith("/mean") and math.isfinite(value):
                self.latest[name.split("/")[1]] = value
        self.evaluated = evaluation(metrics) or self.evaluated
        if self.quiet:
            return
        rewards = "  ".join(f"{role} {value:.1f}" for role, value in self.latest.items())
        text = f"{metrics['time/sps']:,.0f} steps/s  {rewards}"
        update = int(metrics["update"])
        evaluated = f"evaluated: {self.evaluated}" if self.evaluated else ""
        if self.live:  # a terminal's line is short
            self.bar.update(self.task, completed=update, text=evaluated or text)
        elif update == self.updates or update % max(1, self.updates // LINES) == 0 or update == 1:
            told = "  ".join(filter(None, (text, evaluated)))
            line = state(
                update, self.updates, self.samples, told, time.perf_counter() - self.start, self.done
            )
            self.console.print(line, soft_wrap=True)

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, soft_wrap=True)


def state(update: int, updates: int, samples: int, told: str, elapsed: float, done: int = 0) -> str:
    """A plain line: how far a training is, and how long the rest will take if it goes on as in `elapsed` seconds, since update `done`."""
    left = elapsed / (update - done) * (updates - update)
    return (
        f"update {update}/{updates}  {update * samples:,} steps  {told}  {elapsed:.0f} s, {left:.0f} s left"
    )


class Teller:
    """Lines of a training that shows nothing itself, one every few seconds; a callback of `train`."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.note = note
        self.start = self.last = time.perf_counter()

    def __call__(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        now = time.perf_counter()
        if now - self.last >= EVERY and trainer.update < trainer.updates:
            self.last = now
            told = f"{metrics['time/sps']:,.0f} steps/s"
            self.note("  " + state(trainer.update, trainer.updates, trainer.samples, told, now - self.start))


def evaluation(metrics: Mapping[str, float]) -> str:
    """The rewards of an evaluation and their standard errors by role; "" where there was none."""
    roles = [name.split("/")[1] for name in metrics if name.startswith("eval/") and name.endswith("/reward")]
    return "  ".join(
        f"{r} {metrics[f'eval/{r}/reward']:.1f} \N{PLUS-MINUS SIGN} {metrics[f'eval/{r}/error']:.1f}"
        for r in roles
    )


def _ends(history: pd.DataFrame, column: str) -> tuple[float, float]:
    """Means over the first and the last tenth of the updates that have a value; NaN where none has."""
    values = history[column].to_numpy(dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    n = max(1, round(len(values) * SHARE))
    return float(values[:n].mean()), float(values[-n:].mean())


def summary(trainer: Trainer, history: pd.DataFrame) -> dict[str, Any]:
    """The closing figures: by role its actor, first and last reward, last terms, largest inventory; steps/s; phase shares."""
    roles = {}
    for role, spec in trainer.market.specs.items():
        first, last = _ends(history, f"rewards/{role}/mean")
        roles[role] = {
            "actor": getattr(trainer.cfg.agents, role).actor,
            "first": first,
            "last": last,
            "terms": {name: _ends(history, f"terms/{role}/{name}")[1] for name in spec.reward_terms},
            "inventory_max": float(np.nanmax(np.asarray(history[f"inventory/{role}/max"]), initial=0.0)),
        }
    names = [c.removeprefix("time/") for c in history if c.startswith("time/") and c != "time/sps"]
    phases = {name: float(np.nansum(history[f"time/{name}"])) for name in names}
    total = sum(phases.values())
    return {
        "roles": roles,
        "steps_per_second": float(trainer.env_steps / total),
        "phases": {name: seconds / total for name, seconds in phases.items()},
        "env_steps": trainer.env_steps,
        "seconds": total,
    }


def print_summary(
    directory: Path, trainer: Trainer, history: pd.DataFrame, evaluator: Evaluator | None = None
) -> None:
    """Print `summary` as a table, and which policies are kept. Rewards are means of episode returns."""
    figures = summary(trainer, history)
    table = Table(title=f"{trainer.cfg.name}: {figures['env_steps']:,} steps in {figures['seconds']:.0f} s")
    for name in ("role", "reward, first 10 %", "reward, last 10 %", "of which", "largest inventory"):
        table.add_column(name, justify="left" if name in ("role", "of which") else "right")
    for role, row in figures["roles"].items():
        terms = "\n".join(f"{name} {value:+.1f}" for name, value in row["terms"].items())
        cells = (f"{row['first']:.1f}", f"{row['last']:.1f}", terms, f"{row['inventory_max']:.0f}")
        table.add_row(role if row["actor"] == LEARN else f"{role} (held)", *cells)
    console = Console(highlight=False)
    console.print(table)
    for role, row in figures["roles"].items():
        if row["actor"] != LEARN:
            console.print(
                Text(f"{role} held: {row['actor']}"), soft_wrap=True
            )  # Text: a path may hold brackets
    shares = ", ".join(f"{name} {share:.0%}" for name, share in figures["phases"].items())
    console.print(f"{figures['steps_per_second']:,.0f} steps/s ({shares})", soft_wrap=True)
    if trainer.audits:
        console.print(
            "accounts: cash and lots of every book summed to 0 after each of the updates", soft_wrap=True
        )
    if any(np.isnan(row["last"]) for row in figures["roles"].values()):
        needed = 2 * trainer.cfg.env.episode_steps * trainer.cfg.env.num_envs
        console.print(f"nan: no whole episode ended; train for at least {needed:,} steps", soft_wrap=True)
    if evaluator is not None and evaluator.best:
        kept = f"of update {evaluator.best} of {trainer.updates}, the best of {evaluator.count} evaluations"
        console.print(f"policies: {kept}: {evaluation(evaluator.latest)}", soft_wrap=True)
        console.print(f"the last ones: {directory / 'checkpoints' / 'last.safetensors'}", soft_wrap=True)
    else:
        console.print(f"policies: of the last update ({trainer.update}), not evaluated", soft_wrap=True)
    console.print(f"run: {directory}", soft_wrap=True)
