"""Where compiled kernels are kept: a folder of the version's own, never beside the sources. Who compiles them says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config as numba_config

from lobgraph import market
from lobgraph.config import make_config
from lobgraph.data.simulate import simulate
from lobgraph.data.simulated import simulate_recordings
from lobgraph.env.market_env import MarketEnv

SHOW = "from numba.core import config; import lobgraph.market; print(config.CACHE_DIR)"


def folder(**environment: str) -> Path:
    clean = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_the_folder_carries_the_version(tmp_path, variable):
    found = folder(**{variable: str(tmp_path)})
    assert found.is_relative_to(tmp_path)
    assert found.name.startswith("numba-")
    assert found.is_dir()


def test_where_the_caches_cannot_be_written_the_temporary_folder_serves(tmp_path):
    """numba's own way out are folders beside the sources, where kernels of several versions would mix."""
    (tmp_path / "file").touch()
    found = folder(XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path))
    assert found.is_relative_to(tmp_path)
    assert found.name.startswith("numba-")


def test_versions_long_unused_are_removed(tmp_path):
    old, recent, other = (tmp_path / "lobgraph" / name for name in ("numba-1-a", "numba-1-b", "mine"))
    for path, age in ((old, 100), (recent, 1), (other, 100)):
        path.mkdir(parents=True)
        when = path.stat().st_mtime - age * 86_400
        os.utime(path, (when, when))
    folder(XDG_CACHE_HOME=str(tmp_path))
    assert (old.exists(), recent.exists(), other.exists()) == (False, True, True)


STILL = {"flow": {"warmup": 1.0}, "agents": {"maker": {"count": 0}}, "env": {"episode_steps": 2}}


def measure() -> None:
    simulate(make_config(STILL), seconds=4.0, burn_in=0.0, envs=1)


def record() -> None:
    simulate_recordings(make_config(STILL), seconds=20.0)


def play() -> None:
    MarketEnv(make_config(STILL), num_envs=1).reset()


@pytest.mark.parametrize(
    ("work", "loop"),
    [(measure, "simulate._run"), (record, "simulated._run"), (play, "drive.step_range")],
)
def test_whoever_compiles_says_so_once(work, loop, monkeypatch, tmp_path, capsys):
    """Calibration, scorecard, and all that plays; the kernels themselves are those of this process."""
    work()
    assert any(Path(numba_config.CACHE_DIR).rglob(f"{loop}-*.nbc"))  # what is looked for, is made
    monkeypatch.setattr(market, "_announced", False)
    monkeypatch.setattr(numba_config, "CACHE_DIR", str(tmp_path))
    capsys.readouterr()
    work()
    work()
    said = capsys.readouterr()
    assert said.err.count("compiling the market's kernels") == 1
    assert not said.out
    monkeypatch.setattr(market, "_announced", False)
    (tmp_path / "market").mkdir()
    (tmp_path / "market" / f"{loop}-12.py311.1.nbc").touch()
    work()
    assert not capsys.readouterr().err
