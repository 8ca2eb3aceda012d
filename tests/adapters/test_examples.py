"""The examples, run as a user runs them but short; and the model of one of them held by the command line."""

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

from lobgraph import cli

HOME = Path(__file__).parents[2] / "scripts" / "examples"
SHORT = ["--steps", 600, "--envs", 8, "--episodes", 2]


@pytest.fixture
def example(monkeypatch, capsys, tmp_path):
    """Run one in tmp_path and return what it printed."""

    def run(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        capsys.readouterr()
        runpy.run_path(str(HOME / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_random_play(example):
    pytest.importorskip("pettingzoo")
    out = example("pettingzoo_random.py", "--episodes", 1)
    assert "maker_0" in out
    assert "arbitrageur_0: holds" in out


def test_own_loop(example):
    pytest.importorskip("gymnasium")
    lines = example("gymnasium_loop.py", "--rounds", 6, "--envs", 64).splitlines()
    means = [float(line.split("mean ")[1].split(",")[0]) for line in lines]
    assert sum(means[-2:]) > sum(means[:2])  # it learns


@pytest.mark.parametrize("name", ["ppo", "sac", "dqn"])
def test_sb3(example, tmp_path, name):
    pytest.importorskip("stable_baselines3")
    out = example(f"sb3_{name}.py", *SHORT, "--out", tmp_path / "run")
    assert f"{name.upper()}: objective" in out
    assert (tmp_path / "run" / "model.zip").stat().st_size > 0
    if name == "ppo":
        out = example("curves.py", tmp_path / "run", "--out", tmp_path / "curves.png")
        assert (tmp_path / "curves.png").stat().st_size > 5000


def test_a_model_stands_beside_strategies_on_the_command_line(example, tmp_path, monkeypatch, capsys):
    pytest.importorskip("stable_baselines3")
    example("sb3_ppo.py", *SHORT, "--out", tmp_path / "run")
    config = HOME.parents[1] / "configs" / "single_maker.yaml"
    model = f"{HOME / 'sb3_strategy.py'}:Sb3Maker:path={tmp_path / 'run'}"
    args = [
        "compare",
        model,
        "fixed_spread",
        "--config",
        config,
        "--episodes",
        4,
        "--set",
        "env.episode_steps=10",
    ]
    monkeypatch.setattr(sys, "argv", ["lobgraph", *map(str, args)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    out, err = capsys.readouterr()
    assert not exit_.value.code, err
    assert "Sb3Maker" in out


def test_torchrl(example, tmp_path):
    pytest.importorskip("torchrl")
    out = example("torchrl_mappo.py", "--steps", 512, "--envs", 8, "--episodes", 2, "--out", tmp_path)
    assert "maker:" in out
    assert "makers MAPPO: objective" in out
    assert list(pd.read_csv(tmp_path / "progress.csv").columns) == ["steps", "maker", "arbitrageur"]


def test_rllib(example):
    pytest.importorskip("ray", reason="the extra `ray` has a virtual environment of its own")
    assert "iteration 0" in example("rllib_ppo.py", "--iterations", 1, "--batch", 200)


@pytest.mark.parametrize("path", sorted(HOME.glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_say_how_they_are_run(path):
    text = path.read_text()
    assert len(text.splitlines()) <= (100 if "mappo" in path.name else 50)
    assert f"scripts/examples/{path.name}" in text.split('"""')[1]
