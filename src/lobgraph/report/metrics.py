"""From rewards.csv to statistics: how episode rewards changed over training, with their spread over seeds.

In: rewards tables, one row per update, role and agent (`Run.rewards`). Out: small tables, one row per group and role.
A *group* holds runs that differ in their seed alone; its spread is the standard deviation over those runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lobgraph.config import LEARN
from lobgraph.evaluation.intervals import interval

REQUIRED = ("update", "env_steps", "role", "agent", "episodes", "reward_mean")
SUMMARY = (
    "group",
    "role",
    "runs",
    "first",
    "last",
    "gain",
    "spread",
    "gain_low",
    "gain_high",
    "learned",
    "inventory_max",
)
SHARE = 0.1  # of a run's updates that count as its start, and as its end


class RewardsError(ValueError):
    """A rewards table that cannot be read: names the file, the column and what was expected."""


def read_rewards(path: str | Path) -> pd.DataFrame:
    """Read a rewards.csv. Raises FileNotFoundError, or RewardsError naming what is missing."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(2, "no such rewards file", str(path))
    try:
        rewards = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise RewardsError(f"{path}: not a CSV table: {error}") from None
    return check_rewards(rewards, str(path))


def check_rewards(rewards: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the table if it has the columns and numbers of a rewards table; else raise RewardsError."""
    if missing := [c for c in REQUIRED if c not in rewards.columns]:
        raise RewardsError(
            f"{source}: column {missing[0]!r} is missing; a rewards table has {', '.join(REQUIRED)}"
        )
    for column in ("update", "env_steps", "episodes", "reward_mean"):
        if len(rewards) and not pd.api.types.is_numeric_dtype(rewards[column]):
            raise RewardsError(f"{source}: column {column!r} must hold numbers")
    gaps = rewards[list(REQUIRED)].isna()
    gaps["reward_mean"] &= rewards["episodes"] != 0
    for row, column in np.argwhere(gaps.to_numpy())[:1]:
        raise RewardsError(
            f"{source}: line {row + 2} has no {REQUIRED[column]}; a file that was cut off looks so"
        )
    return rewards


class Curve(NamedTuple):
    """One line of a figure: values over environment steps, without the updates that have no value."""

    steps: np.ndarray  # (n,) float64, rising
    values: np.ndarray  # (n,) float64


def curve(rewards: pd.DataFrame, role: str, column: str = "reward_mean", agent: Any = None) -> Curve:
    """One run's curve: `column` averaged over the role's agents (or of one agent), weighted by episodes."""
    weight = rewards["episodes"].to_numpy(dtype=float)
    values = rewards[column].to_numpy(dtype=float)
    chosen = (rewards["role"].to_numpy() == role) & (weight > 0) & np.isfinite(values)
    if agent is not None:
        chosen &= rewards["agent"].to_numpy() == agent
    steps, index = np.unique(rewards["env_steps"].to_numpy(dtype=float)[chosen], return_inverse=True)
    total = np.bincount(index, weight[chosen], len(steps))
    return Curve(steps, np.bincount(index, weight[chosen] * values[chosen], len(steps)) / total)


def peaks(rewards: pd.DataFrame, role: str, column: str = "inventory_max") -> Curve:
    """One run's curve of the largest `column` over the role's agents."""
    if column not in rewards:
        return Curve(np.empty(0), np.empty(0))
    values = rewards[column].to_numpy(dtype=float)
    weight = rewards["episodes"].to_numpy(dtype=float)
    chosen = (rewards["role"].to_numpy() == role) & (weight > 0) & np.isfinite(values)
    steps, index = np.unique(rewards["env_steps"].to_numpy(dtype=float)[chosen], return_inverse=True)
    largest = np.full(len(steps), -np.inf)
    np.maximum.at(largest, index, values[chosen])
    return Curve(steps, largest)


def on_grid(curves: Sequence[Curve]) -> Curve:
    """Put curves with different steps on one grid: steps (n,), values (curves, n); NaN outside a curve's range."""
    curves = [c for c in curves if len(c.steps)]
    if not curves:
        return Curve(np.empty(0), np.empty((0, 0)))
    steps = np.unique(np.concatenate([c.steps for c in curves]))
    return Curve(
        steps, np.array([np.interp(steps, c.steps, c.values, left=np.nan, right=np.nan) for c in curves])
    )


class Change(NamedTuple):
    """Mean episode reward of one role at the start and the end of one run."""

    first: float
    last: float


def change(rewards: pd.DataFrame, role: str, share: float = SHARE) -> Change:
    """Mean of the first and of the last `share` of updates with finished episodes (NaN if there are none)."""
    values = curve(rewards, role).values
    if not len(values):
        return Change(np.nan, np.nan)
    n = max(1, round(share * len(values)))
    return Change(float(values[:n].mean()), float(values[-n:].mean()))


def roles_of(rewards: pd.DataFrame) -> list[str]:
    """The roles in a rewards table, in order of appearance."""
    return list(dict.fromkeys(rewards["role"]))


def held_by(runs: Sequence[pd.DataFrame], role: str) -> str:
    """What acted in the role's place of a learner in these runs (agents.<role>.actor); "" where it learned in one of them."""
    named = [run.loc[run["role"] == role, "actor"].unique() if "actor" in run else [LEARN] for run in runs]
    actors = list(dict.fromkeys(str(actor) for names in named for actor in names))
    return "" if LEARN in actors else ", ".join(actors)


def spread(values: np.ndarray) -> float:
    """Standard deviation over seeds (ddof 1); NaN for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def summarize(groups: Mapping[str, Sequence[pd.DataFrame]], share: float = SHARE) -> pd.DataFrame:
    """One row per group and role: reward at the start and the end, their gain and the spread over seeds.

    Columns: group, role, runs, first, last, gain, spread (of `last` over runs), gain_low, gain_high (95 % interval of
    the gain), learned ("yes" when the gain exceeds the spread of both ends and its interval lies above 0, "?" with one run, "held" where the role was
    not to learn), inventory_max (lots, largest over the last `share` of updates).
    """
    rows = []
    for group, runs in groups.items():
        for role in dict.fromkeys(r for run in runs for r in roles_of(run)):
            of_role = [run for run in runs if role in roles_of(run)]
            changes = np.array([change(run, role, share) for run in of_role])
            changes = changes[np.isfinite(changes).all(axis=1)]
            if not len(changes):
                continue
            first, last = changes[:, 0], changes[:, 1]
            gain = last - first
            _, low, high, *_ = interval(gain, method="t")
            noise = max(spread(first), spread(last)) if len(changes) > 1 else float("nan")
            learned = (
                "held"
                if held_by(of_role, role)
                else "?"
                if np.isnan(noise)
                else "yes"
                if gain.mean() > noise and low > 0.0
                else "no"
            )
            rows.append({
                "group": group, "role": role, "runs": len(changes), "first": first.mean(), "last": last.mean(),
                "gain": gain.mean(), "spread": spread(last), "gain_low": low, "gain_high": high, "learned": learned,
                "inventory_max": max(_final_inventory(run, role, share) for run in of_role),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUMMARY))


def _final_inventory(rewards: pd.DataFrame, role: str, share: float) -> float:
    largest = peaks(rewards, role).values
    return float(largest[-max(1, round(share * len(largest))) :].max()) if len(largest) else float("nan")
