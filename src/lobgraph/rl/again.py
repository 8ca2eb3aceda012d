"""The same once more: the first updates of a run, to see that it can be had again; an update that failed, to look at it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..config import Config, load_config
from ..files import read_parquet
from .actors import held_actors
from .checkpoint import load_tensors
from .group import ALONE
from .inputs import changed, inputs_of
from .places import MACHINE, read_machine
from .resume import ResumeError, check_market, config_of, differences, put_back
from .rollout import TrainingError
from .run import METRICS, REWARD_COLUMNS, REWARDS
from .train import make_market, settings_of
from .trainer import Trainer

TIMES = "time/"  # what names of metrics begin with that no two runs share
LAST = Path("checkpoints") / "last.safetensors"
COMPARED = [c for c in REWARD_COLUMNS if c != "seconds"]
EVALUATED = "eval/"  # not done again: the training does not depend on it


@dataclass(frozen=True)
class Verified:
    """What came of doing a run's first updates again."""

    updates: int
    compared: int  # numbers
    differing: list[str]  # "update 2: losses/maker/policy is 0.1, was 0.2", the first of each metric


def verify(directory: str | Path, updates: int = 3, said: Callable[[str], None] = print) -> Verified:
    """Train the first `updates` updates of a run again, writing nothing, and compare, to the bit: every metric but times with its
    metrics.parquet, the rows of rewards.csv, and, if that is how far the run went, the weights of its last policies.

    Every policy and state of the run is read, and its checksum verified. Raises ResumeError for a run that trained in several
    processes or has no updates, PolicyError for a damaged file, FileNotFoundError.
    """
    path = Path(directory)
    cfg, most, inputs = _begun(path)
    if cfg.run.processes > 1:
        raise ResumeError(f"{path}: trained by {cfg.run.processes} processes; verify does it in one")
    table, rows = read_parquet(path / METRICS), _rows_by_update(path / REWARDS)
    for file in sorted(path.rglob("*.safetensors")):
        load_tensors(file)
    updates = min(updates, len(table), most)
    if updates < 1 or table["update"].tolist() != list(range(1, len(table) + 1)):
        raise ResumeError(
            f"{path / METRICS}: does not hold the run's updates from the first one on: nothing to compare"
        )
    for line in changed(inputs, inputs_of(cfg)):
        said(f"not as it was: {line}")
    names = [c for c in table if not c.startswith((TIMES, EVALUATED))]
    found: dict[str, str] = {}
    compared = updates * len(names)
    with settings_of(cfg):
        market = make_market(cfg, ALONE)
        trainer = Trainer(cfg, market, held_actors(cfg, list(market.specs)))
        trainer.start()
        for i in range(updates):
            now = trainer.step()
            said(f"update {i + 1} of {updates} done again")
            for name in names:
                was, value = float(table[name].iloc[i]), float(now.get(name, math.nan))
                if was != value and not (math.isnan(was) and math.isnan(value)):
                    found.setdefault(name, f"update {i + 1}: {name} is {value!r}, was {was!r}")
            again = [[str(row[c]) for c in COMPARED] for row in trainer.reward_rows(0.0)]
            compared += len(again) * len(COMPARED)
            if again != rows.get(i + 1, []):
                found.setdefault(
                    REWARDS, f"update {i + 1}: rows of {REWARDS} are {again}, were {rows.get(i + 1, [])}"
                )
        weights, different = _weights(path / LAST, trainer)
    for name in different:
        found[name] = f"update {updates}: weights {name} of {LAST} are others"
    return Verified(updates, compared + weights, list(found.values()))


def _rows_by_update(path: Path) -> dict[int, list[list[str]]]:
    """The rows of a rewards.csv as they are written there, columns COMPARED."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such rewards file", str(path))
    rows: dict[int, list[list[str]]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                rows.setdefault(int(row["update"]), []).append([row[c] for c in COMPARED])
            except (KeyError, TypeError, ValueError):
                raise ResumeError(f"{path}: line {number} is no row of a rewards file") from None
    return rows


def _weights(path: Path, trainer: Trainer) -> tuple[int, list[str]]:
    """Of the run's last policies, if those are what has been trained: how many numbers, and which tensors differ."""
    tensors, about = load_tensors(path) if path.is_file() else ({}, {})
    if about.get("update") != trainer.update:
        return 0, []
    own = trainer.policies.state_dict()
    return sum(x.numel() for x in own.values()), [
        name for name, x in own.items() if name not in tensors or not torch.equal(tensors[name], x.cpu())
    ]


def _begun(path: Path) -> tuple[Config, int, Any]:
    """The configuration with which the run was begun, for how many updates it went by that (a resumed one may be longer), and its
    inputs.
    """
    cfg = load_config(path / "config.yaml", ["run.progress=false"])
    machine = read_machine(path)
    try:
        first = int(machine.get("total_steps", cfg.ppo.total_steps))
        ends = [s["update"] for s in machine["resumed"] if int(s.get("total_steps", first)) != first]
    except (ValueError, TypeError, OverflowError) as error:
        raise ResumeError(f"{path / MACHINE}: damaged: {error}") from None
    cfg = load_config(path / "config.yaml", ["run.progress=false", f"ppo.total_steps={first}"])
    return cfg, min([1 << 62, *ends]), machine.get("inputs")


def repro(file: str | Path, said: Callable[[str], None] = print) -> tuple[str, str]:
    """Go on from a state that a failed training left to the update that failed. Returns the error of then and of now ("": none).

    Raises ResumeError for a file that is none, PolicyError for one that is damaged.
    """
    path = Path(file)
    tensors, about = load_tensors(path)
    if not isinstance(about.get("failed"), dict):
        raise ResumeError(f"{path}: not a repro file: it does not say what failed")
    cfg = config_of(path, ["run.progress=false"])
    last = int(about["failed"]["update"])
    with settings_of(cfg):
        market = make_market(cfg, ALONE)
        trainer = Trainer(cfg, market, held_actors(cfg, list(market.specs)))
        check_market(about, market, path)
        put_back(trainer, None, tensors, about)
        for line in differences(about, trainer):
            said(f"not as it was: {line}")
        said(f"from update {trainer.update} to {last}")
        try:
            while trainer.update < last:
                trainer.step()
        except TrainingError as error:
            return about["failed"]["error"], str(error)
    return about["failed"]["error"], ""
