"""Where a run's metrics go besides its own files: TensorBoard, Weights & Biases, MLflow, behind one small interface.

In: a configuration and the run's directory. Out: loggers, each of which is told every update's metrics. What a package needs
is looked for before anything is written. A logger of another kind: a class with `log` and `close`, and a line in LOGGERS.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..config import Config
from .extras import need


class Logger(Protocol):
    """What training asks of one."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One update's finite metrics, named group/name; `step`: environment steps so far."""
        ...

    def close(self, state: str) -> None:
        """No more comes. state: finished, stopped or failed."""
        ...


class TensorBoard:
    """<run>/tensorboard, for `tensorboard --logdir`: files of an eighth of run.tensorboard_mb; beyond that the oldest go."""

    PARTS = 8
    EVENT = 45  # bytes of a scalar besides its name, about

    def __init__(self, cfg: Config, directory: Path, after: int | None) -> None:
        self.place, self.limit = directory / "tensorboard", cfg.run.tensorboard_mb * 1e6
        self._open(None if after is None else after + 1)

    def _open(self, purged: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._make_room()
        self.board = SummaryWriter(str(self.place), flush_secs=30, purge_step=purged)
        self.written = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.written > self.limit / self.PARTS:
            self.board.close()
            self._open()
        for name, value in metrics.items():
            self.board.add_scalar(name, value, step)
            self.written += len(name) + self.EVENT

    def _make_room(self) -> None:
        """For one more file."""
        files = sorted(self.place.glob("events.out.tfevents.*"))
        sizes = [path.stat().st_size for path in files]
        while files and sum(sizes) > self.limit * (1.0 - 1.0 / self.PARTS):
            files.pop(0).unlink()
            sizes.pop(0)

    def close(self, state: str) -> None:
        self.board.close()


class WandB:
    """Weights & Biases, offline: <run>/wandb, which `wandb sync` sends. WANDB_MODE says otherwise; project: the scenario."""

    def __init__(self, cfg: Config, directory: Path, after: int | None) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.init(
            mode=mode, dir=str(directory), project=cfg.name, name=directory.name,
            config=cfg.model_dump(mode="json"), settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.run.log(dict(metrics), step=step)

    def close(self, state: str) -> None:
        self.run.summary["state"] = state
        self.run.finish(exit_code=int(state == "failed"))


class MLflow:
    """MLflow in one sqlite file for all runs, <run.dir>/mlflow.db. MLFLOW_TRACKING_URI says otherwise; experiment: the scenario."""

    def __init__(self, cfg: Config, directory: Path, after: int | None) -> None:
        from mlflow.tracking import MlflowClient

        from ..config import flatten

        store = (Path(cfg.run.dir) / "mlflow.db").absolute()
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            store.parent.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{store}"
        self.client = MlflowClient(uri)
        found = self.client.get_experiment_by_name(cfg.name)
        files = (store.parent / "mlflow").as_uri()
        experiment = self.client.create_experiment(cfg.name, files) if found is None else found.experiment_id
        self.run = self.client.create_run(experiment, run_name=directory.name).info.run_id
        self.client.set_tag(self.run, "directory", str(directory.absolute()))
        for key, value in flatten(cfg.model_dump(mode="json")):
            self.client.log_param(self.run, key.replace(" ", "_"), str(value)[:500])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        import time

        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(
            self.run, metrics=[Metric(name, value, now, step) for name, value in metrics.items()]
        )

    def close(self, state: str) -> None:
        ends = {"finished": "FINISHED", "stopped": "KILLED"}
        self.client.set_terminated(self.run, ends.get(state, "FAILED"))


Make = Callable[[Config, Path, int | None], Logger]
# name in run.loggers -> class, packages, extra
LOGGERS: dict[str, tuple[Make, tuple[str, ...], str]] = {
    "wandb": (WandB, ("wandb",), "wandb"),
    "mlflow": (MLflow, ("mlflow", "sqlalchemy"), "mlflow"),
}


def check_loggers(cfg: Config) -> None:
    """Raise ConfigError for a logger whose package is not installed."""
    for name in cfg.run.loggers:
        for package in LOGGERS[name][1]:
            need(package, LOGGERS[name][2], f"run.loggers: {name}")


def open_loggers(cfg: Config, directory: Path, after: int | None = None) -> list[Logger]:
    """Those that the configuration asks for. after: environment steps after which a resumed training goes on."""
    kinds: list[Make] = [TensorBoard] if cfg.run.tensorboard else []
    kinds += [LOGGERS[name][0] for name in dict.fromkeys(cfg.run.loggers)]
    made: list[Logger] = []
    try:
        for kind in kinds:
            made.append(kind(cfg, directory, after))  # noqa: PERF401 (those made so far are closed)
    except BaseException:
        close_loggers(made, "failed")
        raise
    return made


def tell_loggers(loggers: list[Logger], metrics: Mapping[str, Any]) -> None:
    """One update's metrics: those with a group, and a value."""
    shown = {name: float(x) for name, x in metrics.items() if "/" in name and np.isfinite(x)}
    for logger in loggers:
        logger.log(int(metrics["env_steps"]), shown)


def close_loggers(loggers: list[Logger], state: str) -> None:
    for logger in loggers:
        logger.close(state)
