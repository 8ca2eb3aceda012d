"""Several rewards.csv files side by side: one figure, one table, and paired differences over common seeds.

Files whose runs differ in the seed alone (their config.yaml says so) are one group and give it its spread. A file
without a config.yaml beside it is a group of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from ..evaluation.intervals import paired
from ..files import write_table
from . import plots
from .metrics import SHARE, RewardsError, change, read_rewards, roles_of, summarize
from .style import save

Groups = dict[str, dict[int, pd.DataFrame]]  # label -> seed -> rewards table


class Comparison(NamedTuple):
    """What `compare` made: tables and the files they and the figure are in."""

    summary: pd.DataFrame  # one row per group and role, as metrics.summarize
    differences: (
        pd.DataFrame
    )  # one row per later group and role, against the first; empty without common seeds
    files: list[Path]


def compare(
    csvs: Sequence[str | Path], out: str | Path, labels: Sequence[str] = (), share: float = SHARE
) -> Comparison:
    """Read the files, write comparison.png, summary.csv and (with common seeds) differences.csv to `out`.

    labels: a name for each file; files of one name are one group. Raises RewardsError or FileNotFoundError.
    """
    if not 0.0 < share <= 0.5:
        raise RewardsError(f"share: must be above 0 and at most 0.5 of the updates, got {share:g}")
    groups = read_groups(csvs, labels)
    tables = {label: list(runs.values()) for label, runs in groups.items()}
    summary, differences = summarize(tables, share), paired_differences(groups, share)
    out = Path(out)
    files = [save(plots.learning_curves(tables, "Learning curves side by side"), out / "comparison.png")]
    for name, table in (("summary", summary), ("differences", differences)):
        if len(table):
            files.append(write_table(out / f"{name}.csv", table))
    return Comparison(summary, differences, files)


def read_groups(csvs: Sequence[str | Path], labels: Sequence[str] = ()) -> Groups:
    """Read rewards files and put runs that differ in their seed alone (or share a given label) together."""
    if labels and len(labels) != len(csvs):
        raise RewardsError(f"labels: {len(labels)} given for {len(csvs)} files; give one each, or none")
    found: dict[str, Groups] = {}  # what makes a group -> label -> runs
    for i, name in enumerate(csvs):
        path = Path(name)
        rewards = read_rewards(path)
        config = _config(path)
        key = labels[i] if labels else repr(_without_seed(config)) if config else str(path)
        label = labels[i] if labels else str(config["name"]) if config else _short(path)
        runs = found.setdefault(key, {label: {}})
        seeds = runs[next(iter(runs))]
        for seed, part in _by_seed(rewards, config):
            while seed in seeds:  # the same seed again: a repetition, kept as one more run
                seed = -1 - len(seeds)
            seeds[seed] = part
    groups: Groups = {}
    for runs in found.values():
        for label, seeds in runs.items():
            unique, n = label, 2
            while unique in groups:
                unique, n = f"{label} ({n})", n + 1
            groups[unique] = seeds
    return groups


def _by_seed(rewards: pd.DataFrame, config: Mapping[str, Any] | None) -> list[tuple[int, pd.DataFrame]]:
    if "seed" in rewards:
        return [(int(str(seed)), part) for seed, part in rewards.groupby("seed")]
    return [(int(config["run"]["seed"]) if config else 0, rewards)]


def _config(csv: Path) -> dict[str, Any] | None:
    """The config.yaml of the run the file belongs to: beside it, or one directory down for a group of seeds."""
    real = csv.resolve().parent
    for path in (real / "config.yaml", *sorted(real.glob("seed_*/config.yaml"))):
        if path.is_file():
            tree = yaml.safe_load(path.read_text(encoding="utf-8"))
            return (
                tree if isinstance(tree, dict) and "name" in tree and "seed" in tree.get("run", {}) else None
            )
    return None


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "run": {}}


def _short(path: Path) -> str:
    parent = path.resolve().parent
    return parent.name if path.stem == "rewards" else path.stem


def paired_differences(groups: Groups, share: float = SHARE) -> pd.DataFrame:
    """Final rewards of each later group minus the first one's, over the seeds both have (two at least)."""
    (base, of_base), *others = groups.items()
    rows = []
    for label, runs in others:
        common = sorted(s for s in set(of_base) & set(runs) if s >= 0)
        roles = [
            r for r in roles_of(next(iter(of_base.values()))) if r in roles_of(next(iter(runs.values())))
        ]
        for role in roles if len(common) > 1 else ():
            a, b = (np.array([change(g[s], role, share).last for s in common]) for g in (of_base, runs))
            found = paired(b, a, method="t")
            rows.append({"group": label, "against": base, "role": role, "pairs": found.n, "mean_a": a.mean(),
                         "mean_b": b.mean(), "difference": found.mean, "low": found.low, "high": found.high,
                         "p": found.p_t})  # fmt: skip
    return pd.DataFrame(rows)
