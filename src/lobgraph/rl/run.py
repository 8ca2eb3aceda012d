"""A run's directory: what is in it, how it is made, and the tables written to it while training goes on."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config import Config, dump_config
from ..files import read_parquet, write_atomic
from ..models.policy import PolicySet
from .checkpoint import load_policies, save_policies
from .history import History
from .inputs import changed, inputs_of
from .loggers import close_loggers, open_loggers, tell_loggers
from .places import MACHINE, POLICY, STATE, find_run, read_machine

REWARD_COLUMNS = (
    "update",
    "env_steps",
    "seconds",  # wall-clock since the start of training
    "role",
    "agent",
    "episodes",  # that ended in this update
    "reward_mean",  # of the episodes' returns, as are std, min and max
    "reward_std",
    "reward_min",
    "reward_max",
    "inventory_max",  # largest |inventory| in a book within those episodes, lots
    "length_mean",  # steps
    "actor",  # learn, or what held the role (agents.<role>.actor)
)
METRICS, REWARDS = "metrics.parquet", "rewards.csv"
PLAN = "plan.json"  # what was asked for: the configuration and the seeds, there before anything else
PACKAGES = ("lobgraph", "torch", "torch-geometric", "numba", "numpy", "pandas", "pyarrow", "safetensors")


Stopped = Literal[
    "", "interrupted", "callback", "patience"
]  # what ended a training; "": all updates were made


@dataclass
class Run:
    """A finished (or stopped) training run. Its policies are the best of the evaluations, without these the last."""

    directory: Path
    policies: PolicySet
    history: pd.DataFrame  # metrics.parquet: one row per update
    rewards: pd.DataFrame  # rewards.csv: one row per update, role and agent
    stopped: Stopped = ""  # not known of a run that was loaded

    @classmethod
    def load(cls, directory: str | Path) -> Run:
        """Read a run back, by any path that `load_policies` takes but a file's. Raises FileNotFoundError or PolicyError naming what is missing."""
        path = find_run(directory)
        policies = load_policies(path)
        return cls(path, policies, read_parquet(path / METRICS), pd.read_csv(path / REWARDS))


def numbered_directory(parent: str | Path, name: str) -> Path:
    """Make and return parent/<time>-<name>, with a number added if that exists."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    for attempt in range(1, 1000):
        path = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:  # another run started within the same second
            continue
        return path
    raise FileExistsError(f"{parent / stem}: a thousand runs started in one second")


@contextmanager
def kept_if_used(path: Path) -> Iterator[Path]:
    """Remove the directory again if what is done with it fails before a file (other than the plan) stands in it."""
    try:
        yield path
    except BaseException:
        if not any(p.is_file() and p.name != PLAN for p in path.rglob("*")):
            shutil.rmtree(path, ignore_errors=True)
        raise


def new_directory(cfg: Config, directory: str | Path | None = None) -> Path:
    """Make the run's directory: `directory` if given (it must be empty or new), else dir/name/<time>-s<seed>."""
    if directory is None:
        path = numbered_directory(Path(cfg.run.dir) / cfg.name, f"s{cfg.run.seed}")
    else:
        path = Path(directory)
        if path.exists() and (not path.is_dir() or any(p.name != PLAN for p in path.iterdir())):
            raise FileExistsError(f"{path}: exists and is not empty; a run never overwrites another")
        path.mkdir(parents=True, exist_ok=True)
    for sub in ("checkpoints", "figures"):
        (path / sub).mkdir(exist_ok=True)
    return path


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory for one training; the lock goes with the process, however that ends. Raises FileExistsError if another
    holds it. Without effect where the system has no such locks (Windows).
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{directory}: another training is writing here") from None
        yield
    finally:
        os.close(handle)


def _git_revision() -> str | None:
    """Commit of the source tree, with "-dirty" if it has changes; None outside a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def machine_info(cfg: Config) -> dict[str, Any]:
    """What a result depends on besides its configuration."""
    numba = sys.modules.get("numba")  # loaded if the market is
    return {
        "command": sys.argv,
        "started": _now(),
        "seed": cfg.run.seed,
        "total_steps": cfg.ppo.total_steps,
        "git": _git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_initialized() else None,
        "processes": cfg.run.processes,
        "torch_threads": torch.get_num_threads(),
        "numba_threads": cfg.env.threads or (numba.config.NUMBA_NUM_THREADS if numba else None),
        "inputs": inputs_of(cfg),
        "versions": {name: _version(name) for name in PACKAGES},
    }


class RunWriter:
    """Writes a run's files: rewards.csv grows by update, the rest is replaced whole at every checkpoint.

    since: values of a state (resume.py) that the tables are cut back to; None: a new run. rest: what it has of them (`reached`).
    """

    def __init__(
        self,
        directory: Path,
        cfg: Config,
        since: Mapping[str, Any] | None = None,
        rest: Tensor | None = None,
    ) -> None:
        self.directory, self.cfg = directory, cfg
        self.history = History()
        self.changed: list[str] = []  # inputs that are not what they were when the run was begun
        about = machine_info(cfg)
        if since is not None:
            about = self._cut_back(since, rest, about)
        self._state = "running"
        self._about = {"started": _now(), "pid": os.getpid(), "host": socket.gethostname()}
        self.tell("running")
        write_atomic(directory / "config.yaml", dump_config(cfg).encode())
        write_atomic(directory / MACHINE, json.dumps(about, indent=1).encode())
        mode = "w" if since is None else "a"
        self._csv = open(directory / REWARDS, mode, newline="", encoding="utf-8")  # noqa: SIM115 (kept open)
        self._rows = csv.writer(self._csv)
        if since is None:
            self._rows.writerow(REWARD_COLUMNS)
        self._csv.flush()
        self._best = bool(since and since["best"])  # whether a best policy has been saved
        try:
            self._loggers = open_loggers(cfg, directory, None if since is None else since["env_steps"])
        except BaseException as error:
            self._csv.close()
            self.tell("failed", str(error) or type(error).__name__)
            raise

    def _cut_back(
        self, since: Mapping[str, Any], rest: Tensor | None, about: dict[str, Any]
    ) -> dict[str, Any]:
        """Forget what was written after the state; returns machine.json with this start added to it."""
        table = self.directory / REWARDS
        if not table.is_file() or table.stat().st_size < since["csv_size"]:
            raise FileNotFoundError(
                f"{table}: shorter than the run's last checkpoint says; it cannot be resumed"
            )
        before = read_machine(self.directory)
        self.changed = changed(before.get("inputs"), about["inputs"])
        rows = np.empty((0, 0)) if rest is None else rest.numpy()
        self.history = History.read(self.directory / METRICS, since["update"], since.get("history", []), rows)
        os.truncate(table, since["csv_size"])
        return {**before, "resumed": [*before["resumed"], {"update": since["update"], **about}]}

    def reached(self) -> tuple[dict[str, Any], Tensor]:
        """How far the tables are, on the disk, for `since`; and the rows of metrics.parquet that are not, for `rest`."""
        self._csv.flush()
        os.fsync(self._csv.fileno())
        names, rest = self.history.rest()
        size = os.fstat(self._csv.fileno()).st_size
        return {"csv_size": size, "best": self._best, "history": names}, rest

    def add(self, metrics: dict[str, float], rewards: list[dict[str, Any]]) -> None:
        """One update's metrics and its rows of rewards.csv."""
        self.history.add(metrics)
        self._rows.writerows([[row[c] for c in REWARD_COLUMNS] for row in rewards])
        self._csv.flush()
        tell_loggers(self._loggers, metrics)

    def checkpoint(
        self, policies: PolicySet, update: int, env_steps: int, best: dict[str, float] | None = None
    ) -> None:
        """Policies as the last ones, or with `best` (their evaluation) as the best; and the metrics so far.

        What the directory loads, all together and each role's alone, are the best ones, or the last until there are any.
        """
        about = {"config": self.cfg.model_dump(mode="json"), "update": update, "env_steps": env_steps}
        about["evaluation"] = best
        places = self.directory / "checkpoints"
        save_policies(places / f"{'last' if best is None else 'best'}.safetensors", policies, **about)
        self._best = self._best or best is not None
        if best is not None or not self._best:
            save_policies(self.directory / POLICY, policies, **about)
            for role in policies.specs:
                save_policies(self.directory / f"{role}_policy.safetensors", policies.subset(role), **about)
        self.history.write(self.directory / METRICS, whole=False)

    def tell(self, state: str, why: str = "") -> None:
        """How it stands with the training, for state.json: running, finished, stopped or failed."""
        self._state = state
        about = {"state": state, "why": why, "ended": "" if state == "running" else _now(), **self._about}
        write_atomic(self.directory / STATE, json.dumps(about, indent=1).encode())
        if state != "running":
            self.history.write(self.directory / METRICS)

    def frame(self) -> pd.DataFrame:
        """Metrics so far, one row per update."""
        return self.history.frame()

    def rewards(self) -> pd.DataFrame:
        self._csv.flush()
        return pd.read_csv(self.directory / REWARDS)

    def close(self) -> None:
        self._csv.close()
        close_loggers(self._loggers, self._state)
