"""Loggers behind one interface: what they are told, when a package is missing, and the real ones where they are installed."""

import itertools
import math
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from toy import ToyEnv, toy_config

from lobgraph.config import Config, ConfigError
from lobgraph.rl import extras, loggers
from lobgraph.rl.places import read_state
from lobgraph.rl.rollout import TrainingError
from lobgraph.rl.train import train

SMALL = ("ppo.total_steps=2048",)  # 4 updates
ROLES = {"maker": 2}


class Fake:
    """Remembers what it is told."""

    made: list["Fake"] = []

    def __init__(self, cfg: Config, directory: Path, after: int | None) -> None:
        self.directory, self.told, self.closed = directory, [], []
        self.made.append(self)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.told.append((step, metrics))

    def close(self, state: str) -> None:
        self.closed.append(state)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(Fake, "made", [])
    monkeypatch.setitem(loggers.LOGGERS, "wandb", (Fake, ("json",), "wandb"))
    return Fake


def test_a_logger_is_told_every_update(fake: Any, tmp_path: Path) -> None:
    run = train(toy_config(*SMALL, "run.loggers=[wandb]"), directory=tmp_path / "run", env=ToyEnv(ROLES))
    (one,) = fake.made
    assert one.directory == run.directory
    assert [step for step, _ in one.told] == run.history["env_steps"].tolist()
    for (_, metrics), (_, row) in zip(one.told, run.history.iterrows(), strict=True):
        assert metrics == {k: v for k, v in row.items() if "/" in k and math.isfinite(v)}
    assert one.closed == ["finished"]


def test_a_logger_hears_how_it_ended(fake: Any, tmp_path: Path) -> None:
    cfg = toy_config(*SMALL, "run.loggers=[wandb]")
    train(cfg, directory=tmp_path / "a", env=ToyEnv(ROLES), callback=lambda *_: True)
    env = ToyEnv(ROLES, episode=40)
    env.poison["reward", 20] = float("nan")
    with pytest.raises(TrainingError):
        train(cfg, directory=tmp_path / "b", env=env)
    assert [one.closed for one in fake.made] == [["stopped"], ["failed"]]


def test_a_logger_that_cannot_start_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, fake: Any, tmp_path: Path
) -> None:
    def broken(cfg: Config, directory: Path, after: int | None) -> None:
        raise OSError("no room")

    monkeypatch.setitem(loggers.LOGGERS, "mlflow", (broken, ("json",), "mlflow"))
    with pytest.raises(OSError, match="no room"):
        train(
            toy_config(*SMALL, "run.loggers=[wandb, mlflow]"), directory=tmp_path / "run", env=ToyEnv(ROLES)
        )
    assert read_state(tmp_path / "run").state == "failed"
    assert fake.made[0].closed == ["failed"]  # the one that was open


def test_tensorboard_keeps_the_newest_within_its_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seconds = itertools.count(
        1_700_000_000
    )  # files are named by the second, and read in the order of their names
    monkeypatch.setattr("time.time", lambda: float(next(seconds)))

    board = loggers.TensorBoard(toy_config("run.tensorboard_mb=1"), tmp_path, None)
    for step in range(1500):
        board.log(step, {f"group/name_{i}": float(step) for i in range(20)})
    board.close("finished")
    files = sorted((tmp_path / "tensorboard").iterdir())
    assert 0.75e6 < sum(path.stat().st_size for path in files) <= 1.05e6
    assert 4 < len(files) <= loggers.TensorBoard.PARTS + 1
    seen = EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload().Scalars("group/name_3")
    assert [e.step for e in seen] == list(range(seen[0].step, 1500))
    assert seen[0].step > 100


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_known_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(
        ConfigError,
        match=re.escape(f"run.loggers: {name}: {name} is not installed; install the extra '{name}'"),
    ):
        train(toy_config(*SMALL, f"run.loggers=[{name}]"), directory=tmp_path / "run", env=ToyEnv(ROLES))
    assert not (tmp_path / "run").exists()


def test_off_by_default_and_unknown_names_are_refused() -> None:
    assert Config().run.loggers == []
    with pytest.raises(ConfigError, match=r"run\.loggers"):
        toy_config("run.loggers=[comet]")


def test_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A local sqlite file, which is read here without MLflow."""
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cfg = toy_config(*SMALL, "run.loggers=[mlflow]", f"run.dir={tmp_path / 'runs'}")
    run = train(cfg, directory=tmp_path / "run", env=ToyEnv(ROLES))
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as store:
        losses = store.execute(
            "select step, value from metrics where key = 'losses/maker/value' order by step"
        ).fetchall()
        params = dict(store.execute("select key, value from params").fetchall())
        (status,) = store.execute("select status from runs").fetchone()
    assert [step for step, _ in losses] == run.history["env_steps"].tolist()
    assert [value for _, value in losses] == pytest.approx(run.history["losses/maker/value"].tolist())
    assert params["ppo.total_steps"] == "2048"
    assert status == "FINISHED"


def test_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline: nothing but files in the run's directory."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = train(toy_config(*SMALL, "run.loggers=[wandb]"), directory=tmp_path / "run", env=ToyEnv(ROLES))
    (file,) = (run.directory / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"losses/maker/value" in file.read_bytes()
