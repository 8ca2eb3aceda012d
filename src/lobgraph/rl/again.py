"""The same once more: the first updates of a run, to see that it can be had again; an update that failed, to look at it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..config import Config, load_config
from .actors import held_actors
from .checkpoint import load_tensors
from .group import ALONE
from .resume import ResumeError, config_of, differences, put_back
from .rollout import TrainingError
from .train import Trainer, make_market, settings_of

TIMES = "time/"  # what names of metrics begin with that no two runs share
EVALUATED = "eval/"  # not done again: the training does not depend on it


@dataclass(frozen=True)
class Verified:
    """What came of doing a run's first updates again."""

    updates: int
    compared: int  # numbers
    differing: list[str]  # "update 2: losses/maker/policy is 0.1, was 0.2", the first of each metric


def verify(directory: str | Path, updates: int = 3, said: Callable[[str], None] = print) -> Verified:
    """Train the first `updates` updates of a run again, writing nothing, and compare every metric but times with its
    metrics.parquet, to the bit. Raises ResumeError for a run that trained in several processes, FileNotFoundError.
    """
    path = Path(directory)
    cfg, most = _begun(path)
    if cfg.run.processes > 1:
        raise ResumeError(f"{path}: trained by {cfg.run.processes} processes; verify does it in one")
    table = pd.read_parquet(path / "metrics.parquet")
    updates = min(updates, len(table), most)
    names = [c for c in table if not c.startswith((TIMES, EVALUATED))]
    found: dict[str, str] = {}
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
    return Verified(updates, updates * len(names), list(found.values()))


def _begun(path: Path) -> tuple[Config, int]:
    """The configuration with which the run was begun, and for how many updates it went by that: a resumed one may be longer."""
    cfg = load_config(path / "config.yaml", ["run.progress=false"])
    try:
        machine = json.loads((path / "machine.json").read_text())
        first = int(machine.get("total_steps", cfg.ppo.total_steps))
        ends = [
            int(s["update"]) for s in machine.get("resumed", ()) if int(s.get("total_steps", first)) != first
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResumeError(f"{path / 'machine.json'}: damaged: {error}") from None
    return load_config(path / "config.yaml", ["run.progress=false", f"ppo.total_steps={first}"]), min(
        [1 << 62, *ends]
    )


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
