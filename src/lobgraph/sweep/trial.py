"""One trial, in a process of its own: train with some settings, play unseen episodes, say what a role got."""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..agents.strategy import StrategyError
from ..config import Config, ConfigError, make_config
from ..evaluation.evaluate import evaluate
from ..models.policy import PolicyError
from ..rl.processes import follow
from ..rl.rollout import TrainingError
from ..rl.train import train
from ..rl.trainer import Trainer

JOURNAL, STUDY = "trials.journal", "sweep"  # Optuna's own record, within the sweep's directory


class Job(NamedTuple):
    """What a process is given."""

    sweep: str  # its directory
    number: int
    trial_id: int  # Optuna's
    tree: Mapping[str, Any]  # the scenario
    settings: list[str]  # key=value, of this trial
    role: str
    measure: str
    seeds: int
    episodes: int
    seed: int  # of the episodes
    prune: bool
    threads: int  # of the environments, where the scenario does not say


class Outcome(NamedTuple):
    """What it gives back."""

    state: str  # complete, pruned, failed
    value: float = float("nan")  # of the measure, over seeds and episodes
    error: float = float("nan")  # its standard error: over seeds, of a single one over its episodes
    seconds: float = 0.0
    note: str = ""


def directory_of(sweep: str | Path, number: int) -> Path:
    return Path(sweep) / f"trial_{number:03d}"


def begin(parent: int) -> None:
    """Of a process: Ctrl-C in a terminal is the parent's to act on, and without a parent there is nothing to do."""
    if os.name == "posix":
        os.setpgid(0, 0)
    follow(parent)


def run_trial(job: Job) -> Outcome:
    """Train and judge one configuration. What its settings are to blame for is an outcome, all else is raised."""
    start, found = time.perf_counter(), []
    try:
        for i in range(job.seeds):
            cfg = _config(job, i)
            home = directory_of(job.sweep, job.number)
            watch = _Pruner(job) if job.prune and i == 0 else None
            run = train(
                cfg, directory=home if job.seeds == 1 else home / f"seed_{cfg.run.seed}", callback=watch
            )
            if run.stopped == "interrupted":  # what is half trained is not to be judged
                raise KeyboardInterrupt
            if run.stopped == "callback":
                note = f"pruned after {int(run.history['env_steps'].iloc[-1]):,} steps"
                return Outcome("pruned", seconds=time.perf_counter() - start, note=note)
            found.append(score(cfg, run.policies, job.role, job.measure, job.episodes, job.seed))
    except (ConfigError, TrainingError, PolicyError, StrategyError) as error:
        return Outcome("failed", seconds=time.perf_counter() - start, note=" ".join(str(error).split()))
    each = found[0] if job.seeds == 1 else np.array([x.mean() for x in found])
    error = float(each.std(ddof=1) / np.sqrt(len(each)))
    value = float(np.mean([x.mean() for x in found]))
    if not np.isfinite(value):
        return Outcome("failed", seconds=time.perf_counter() - start, note=f"{job.measure} is {value}")
    return Outcome("complete", value, error, time.perf_counter() - start)


def _config(job: Job, i: int) -> Config:
    """The trial's scenario, its i-th seed."""
    cfg = make_config(job.tree, job.settings)
    more = ["run.progress=false", f"run.seed={cfg.run.seed + i}"]
    more += [] if cfg.env.threads else [f"env.threads={job.threads}"]
    return make_config(job.tree, [*job.settings, *more])


def score(cfg: Config, policies: Any, role: str, measure: str, episodes: int, seed: int) -> np.ndarray:
    """(episodes,) the measure of a role, the mean over its agents, where `policies` act by their mean."""
    table = evaluate(cfg, dict.fromkeys(cfg.learners, policies), episodes, seed)
    own: Any = table[table["role"] == role]
    return own.groupby("episode")[measure].mean().to_numpy(dtype=float)


class _Pruner:
    """A callback of `train`: tells Optuna the evaluations on the way, and stops where it says so."""

    def __init__(self, job: Job) -> None:
        import optuna

        self.role = job.role
        study = optuna.load_study(study_name=STUDY, storage=storage_of(job.sweep), pruner=pruner())
        self.trial = optuna.trial.Trial(study, job.trial_id)

    def __call__(self, trainer: Trainer, metrics: dict[str, float]) -> bool:
        reward = metrics.get(f"eval/{self.role}/reward")
        if reward is None:
            return False
        self.trial.report(reward, trainer.env_steps)
        return self.trial.should_prune()


def pruner() -> Any:
    """Stops a trial whose evaluation is below the median of the others' at the same step, after the first five trials."""
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=5)


def storage_of(sweep: str | Path) -> Any:
    """Optuna's record of a sweep: one file, to which several processes append."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(Path(sweep) / JOURNAL)))
