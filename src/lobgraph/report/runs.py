"""The runs under a directory as a table, and several of them side by side: how they differ, and what came of it.

In: run directories, whatever wrote them. Out: pandas tables and, of a comparison, the files of `groups.compare` with
settings.csv and runs.csv beside them. A group of seeds (seed_<n>/ each) is one row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..config import ROLES, ConfigError, flatten, read_yaml
from ..files import read_parquet, write_table
from ..rl.places import CONFIG, MACHINE, find_run, read_machine, read_state, run_or_group, seeds_of
from .groups import Comparison, compare
from .metrics import RewardsError, change, read_rewards, roles_of
from .panels import short_names

STATES = (
    "running",
    "killed",
    "failed",
    "stopped",
    "",
    "finished",
)  # a group is in the first that a seed is in
SHOWN = ("git", "python", "cpu", "gpu", "processes", "versions")  # of machine.json, what may change results
ABSENT = "-"


def list_runs(root: str | Path = "artifacts", scenario: str | None = None) -> pd.DataFrame:
    """The runs under `root`, oldest first: a row per run or group of seeds.

    Columns: scenario, run (its path from `root`), when (start, local time), steps (of environments, of the seed that is furthest), seeds, state
    (running, finished, stopped, failed, killed; of a run that does not say: finished if it made all its steps, else "?"), note (why),
    and by role `<role> last` (mean episode reward of the last tenth of updates, over seeds) and `<role> best` (of its
    evaluations), tick-lots. A run that cannot be read has state "unreadable" and a note that says why.
    Raises FileNotFoundError if there is no `root`.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(2, "no such directory", str(root))
    rows = [describe(path) | {"run": str(path.relative_to(root))} for path in _found(root)]
    table = pd.DataFrame(rows, columns=_columns(rows)).sort_values(["when", "run"], ignore_index=True)
    if scenario is not None:
        table = table[table["scenario"] == scenario].reset_index(drop=True)
    return _filled(table)


def _filled(table: Any) -> pd.DataFrame:
    """Without the columns in which no row has anything."""
    return table.loc[:, [c for c in table if not table[c].isin(["", np.nan]).all()]]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["scenario", "run", "when", "steps", "seeds", "state"]
    numbers = [f"{role} {what}" for role in ROLES for what in ("last", "best")]
    return [*head, *(c for c in numbers if any(c in row for row in rows)), "note"]


def _found(root: Path) -> Iterator[Path]:
    """Runs and groups of seeds, without following links; nothing within a run is another."""
    for folder, inside, files in os.walk(root):
        path = Path(folder)
        if (str(CONFIG) in files and "rewards.csv" in files) or any(
            (seed / CONFIG).is_file() for seed in seeds_of(path)
        ):
            inside.clear()
            yield path


def describe(path: Path) -> dict[str, Any]:
    """One row of `list_runs`, for a run or a group of seeds."""
    runs = [path] if (path / CONFIG).is_file() else [s for s in seeds_of(path) if (s / CONFIG).is_file()]
    row: dict[str, Any] = {"run": str(path), "seeds": len(runs), "note": ""}
    try:
        parts = [_describe(run) for run in runs]
    except (ConfigError, RewardsError, OSError, ValueError, KeyError, TypeError) as error:
        return row | {"scenario": "", "when": _changed(path), "state": "unreadable", "note": str(error)}
    states = [part.state for part in parts]
    worst = min(states, key=STATES.index)
    row |= {
        "scenario": parts[0].scenario,
        "when": min(p.when for p in parts),
        "steps": max(p.steps for p in parts),
    }
    row |= {"state": worst or "?", "note": next((p.why for p in parts if p.state == worst), "")}
    for name in dict.fromkeys(name for part in parts for name in part.rewards):
        row[name] = float(np.mean([part.rewards.get(name, np.nan) for part in parts]))
    return row


class _Part(NamedTuple):
    scenario: str
    when: str
    steps: int
    state: str
    why: str
    rewards: dict[str, float]


def _describe(run: Path) -> _Part:
    tree = read_yaml(run / CONFIG)
    rewards = read_rewards(run / "rewards.csv")
    metrics = run / "metrics.parquet"
    history = read_parquet(metrics) if metrics.is_file() else pd.DataFrame({"env_steps": []})
    steps = max([0, *rewards["env_steps"].tail(1), *history["env_steps"].tail(1)])
    told = read_state(run)
    state = told.state if told.state in STATES else ""
    if not state and steps >= tree["ppo"]["total_steps"]:
        state = "finished"
    found = {}
    for role in roles_of(rewards):
        found[f"{role} last"] = change(rewards, role).last
        evaluated = f"eval/{role}/reward"
        if evaluated in history and bool(history[evaluated].notna().to_numpy().any()):
            best = history.loc[history["update"] == history["eval/best"].dropna().iloc[-1], evaluated]
            found[f"{role} best"] = float(best.iloc[0]) if len(best) else np.nan
    when = told.started or _started(run)
    return _Part(
        str(tree["name"]), when[:19].replace("T", " ") or _changed(run), int(steps), state, told.why, found
    )


def _machine(run: Path) -> dict[str, Any]:
    return read_machine(run) if (run / MACHINE).is_file() else {}


def _started(run: Path) -> str:
    return str(_machine(run).get("started", ""))


def _changed(path: Path) -> str:
    return pd.Timestamp(path.stat().st_mtime, unit="s").strftime("%Y-%m-%d %H:%M:%S")


class Compared(NamedTuple):
    """Runs side by side."""

    runs: pd.DataFrame  # as list_runs
    settings: pd.DataFrame  # a row per setting in which they differ, a column per run
    results: Comparison


def compare_runs(paths: Sequence[str | Path], out: str | Path) -> Compared:
    """How runs differ in configuration and machine, and in what came of it; written to `out`, figure and tables.

    paths: runs, groups of seeds, scenarios' directories (their newest). Raises FileNotFoundError, ConfigError for fewer than two.
    """
    found = [run_or_group(Path(path)).resolve() for path in paths]
    if len(found) < 2 or len(set(found)) < len(found):
        raise ConfigError(f"runs compare: needs two different runs or more, got {', '.join(map(str, paths))}")
    names = [path.name for path in found]
    if len(set(names)) < len(names):
        names = list(short_names([str(path) for path in found]).values())
    for path in found:
        if not (path / "rewards.csv").is_file():
            raise FileNotFoundError(
                2, "no such file; a run that has ended has one", str(path / "rewards.csv")
            )
    rows = [describe(path) | {"run": name} for path, name in zip(found, names, strict=True)]
    runs = _filled(pd.DataFrame(rows, columns=_columns(rows)))
    settings = differing({name: _settings(path) for path, name in zip(found, names, strict=True)})
    results = compare([path / "rewards.csv" for path in found], out, names)
    for name, table in (("runs", runs), ("settings", settings)):
        results.files.append(write_table(Path(out) / f"{name}.csv", table))
    return Compared(runs, settings, results)


def _settings(path: Path) -> dict[str, Any]:
    """Every setting of a run, or of the first seed of a group, by its key; what may matter of the machine as machine.<key>."""
    run = find_run(path)
    machine = {key: value for key, value in _machine(run).items() if key in SHOWN}
    flat = dict(flatten(read_yaml(run / CONFIG))) | {f"machine.{k}": v for k, v in flatten(machine)}
    if run != path:  # of a group the seeds are all that differs
        flat["run.seed"] = ", ".join(str(read_yaml(seed / CONFIG)["run"]["seed"]) for seed in seeds_of(path))
    return flat


def differing(settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row per key whose values differ, a column per run; "-" where a run does not have the key."""
    keys = dict.fromkeys(key for own in settings.values() for key in own)
    rows = []
    for key in keys:
        values = [own.get(key, ABSENT) for own in settings.values()]
        if any(value != values[0] for value in values):
            rows.append({"setting": key, **dict(zip(settings, map(str, values), strict=True))})
    return pd.DataFrame(rows, columns=["setting", *settings])
