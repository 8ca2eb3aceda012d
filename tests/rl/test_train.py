"""A run from outside: its files, its reproducibility, its stops, its errors."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from toy import ToyEnv, toy_config

import lobgraph
from lobgraph import market
from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.files import write_atomic
from lobgraph.models.policy import PolicyError, PolicySet
from lobgraph.rl.actors import resolve
from lobgraph.rl.checkpoint import load_policies, save_policies
from lobgraph.rl.places import POLICY, read_state
from lobgraph.rl.progress import Progress
from lobgraph.rl.rollout import TrainingError
from lobgraph.rl.run import REWARD_COLUMNS, Run, new_directory
from lobgraph.rl.train import train

ROLES = {"maker": 2, "arbitrageur": 1}
SMALL = ("ppo.total_steps=2048",)  # 4 updates


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return train(toy_config(*SMALL), directory=tmp_path / "run", env=ToyEnv(ROLES))


def test_run_directory(run: Run) -> None:
    names = {str(p.relative_to(run.directory)) for p in run.directory.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml", "machine.json", "state.json", "metrics.parquet", "rewards.csv", "checkpoints/policy.safetensors",
        "checkpoints/policy.json", "checkpoints/last.safetensors", "checkpoints/last.json", "maker_policy.safetensors", "maker_policy.json", "arbitrageur_policy.safetensors",
        "arbitrageur_policy.json",
    }  # fmt: skip
    assert load_config(run.directory / "config.yaml") == toy_config(*SMALL)
    machine = json.loads((run.directory / "machine.json").read_text())
    assert machine["seed"] == 0
    assert machine["torch_threads"] == 1
    assert machine["versions"]["torch"]


def test_tables(run: Run) -> None:
    assert tuple(run.rewards.columns) == REWARD_COLUMNS
    assert list(run.history["update"]) == [1, 2, 3, 4]
    assert list(run.history["env_steps"]) == [512, 1024, 1536, 2048]
    last = run.rewards[run.rewards["update"] == 4]
    assert list(zip(last["role"], last["agent"], strict=True)) == [
        ("maker", 0),
        ("maker", 1),
        ("arbitrageur", 0),
    ]
    assert (last["episodes"] == 2 * 32).all()  # 16 steps of 32 environments, episodes of 8
    assert (last["length_mean"] == 8).all()
    maker = last[last["role"] == "maker"]
    assert maker["reward_mean"].mean() == pytest.approx(run.history["rewards/maker/mean"].iloc[-1])
    assert run.history["terms/maker/error"].iloc[-1] == pytest.approx(
        run.history["rewards/maker/mean"].iloc[-1]
    )
    wanted = [
        "time/sps",
        "time/env",
        "time/inference",
        "time/gae",
        "time/update",
        "charts/lr",
        "charts/ent_coef",
    ]
    for name in (
        "policy",
        "value",
        "entropy",
        "approx_kl",
        "clipfrac",
        "explained_variance",
        "first_ratio_error",
    ):
        wanted += [f"losses/{role}/{name}" for role in ROLES]
    assert set(wanted) <= set(run.history.columns)
    phases = run.history[["time/env", "time/inference", "time/gae", "time/update"]].sum(axis=1)
    np.testing.assert_allclose(512 / phases, run.history["time/sps"], rtol=0.05)


@pytest.mark.parametrize("compiled", [True, False])
def test_nothing_is_timed_before_kernels_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """One environment of the same market takes a step first, where kernels are to be compiled."""
    stepped: list[int] = []
    before: list[int] = []

    def step(env: MarketEnv, actions: dict) -> tuple:
        stepped.append(env.num_envs)
        return own(env, actions)

    def begin(progress: Progress, *args: object) -> None:
        before.extend(stepped)
        start(progress, *args)

    own, start = MarketEnv.step, Progress.__init__
    monkeypatch.setattr(MarketEnv, "step", step)
    monkeypatch.setattr(Progress, "__init__", begin)
    monkeypatch.setattr(market, "is_compiled", lambda *_: compiled)
    few = ("env.num_envs=4", "env.episode_steps=8", "ppo.rollout_steps=8", "ppo.total_steps=32", "ppo.minibatches=2",
           "run.evaluate_every=0", "run.progress=false", "run.tensorboard=false")  # fmt: skip
    train(load_config(None, few), directory=tmp_path / "run")
    assert before == ([] if compiled else [1])
    assert stepped[len(before) :] == [4] * 8


def test_no_episode_no_row(tmp_path: Path) -> None:
    run = train(toy_config(*SMALL), directory=tmp_path / "run", env=ToyEnv(ROLES, episode=40))
    assert list(run.rewards["update"].unique()) == [3]
    assert run.history["rewards/maker/mean"].isna().tolist() == [True, True, False, True]
    assert run.history["rewards/maker/step"].notna().all()


@pytest.mark.parametrize("sharing", ["role", "all"])
def test_same_seed_same_run(tmp_path: Path, sharing: str) -> None:
    def rewards(name: str, seed: int) -> pd.DataFrame:
        cfg = toy_config(*SMALL, f"run.seed={seed}", f"ppo.sharing={sharing}")
        run = train(cfg, directory=tmp_path / name, env=ToyEnv(ROLES, end_at=5))
        states.append(run.policies.state_dict())
        return run.rewards.drop(columns="seconds")

    states: list[dict[str, torch.Tensor]] = []
    a, b, c = rewards("a", 1), rewards("b", 1), rewards("c", 2)
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not a.equals(c)


def test_checkpoint_round_trip_acts_the_same_to_the_bit(run: Run) -> None:
    env = ToyEnv(ROLES)
    obs = env.reset(5)
    want = run.policies.act(obs, generator=torch.Generator().manual_seed(0))
    values = run.policies.values(obs)
    for loaded in (load_policies(run.directory, env), Run.load(run.directory).policies.attach(env)):
        got = loaded.act(obs, generator=torch.Generator().manual_seed(0))
        assert all(torch.equal(got[role], want[role]) for role in ROLES)
        assert torch.equal(loaded.values(obs)["maker"], values["maker"])
    alone = load_policies(run.directory / "maker_policy.safetensors", env)
    assert torch.equal(alone.act(obs, True)["maker"], run.policies.act(obs, True)["maker"])
    assert set(alone.specs) == {"maker"}
    about = json.loads((run.directory / "checkpoints" / "policy.json").read_text())
    assert about["update"] == 4
    assert about["specs"]["maker"]["node_features"] == ["x0", "x1", "x2"]
    assert about["normaliser"]["nodes"]["x0"]["std"] == pytest.approx(3**-0.5, rel=0.05)


def test_a_policy_loads_by_whatever_path_means_its_run(run: Run, tmp_path: Path) -> None:
    """A group of seeds is its first, a scenario's directory its newest run; evaluate and compare go through the same function."""
    home = tmp_path / "home"
    for name, seed in (("old", 0), ("new", 1)):
        train(toy_config(*SMALL, f"run.seed={seed}"), directory=home / name / "seed_0", env=ToyEnv(ROLES))
    (home / "latest").symlink_to("new")
    newest = load_policies(home / "new" / "seed_0" / POLICY).state_dict()
    for path in (home, home / "new", home / "latest", str(home / "new" / "seed_0")):
        loaded = lobgraph.load_policies(path).state_dict()
        assert all(torch.equal(loaded[name], x) for name, x in newest.items())
        resolved = resolve(path)
        assert isinstance(resolved, PolicySet)
        assert all(torch.equal(x, newest[name]) for name, x in resolved.state_dict().items())
    assert Run.load(home).directory == home / "latest" / "seed_0"


def test_state_and_metrics_of_a_run(run: Run, tmp_path: Path) -> None:
    """metrics.parquet and rewards.csv are one line of pandas; state.json says how the training stands."""
    seen = []

    def stop(trainer: Any, metrics: dict[str, float]) -> bool:
        seen.append(read_state(tmp_path / "stopped").state)
        return trainer.update == 2

    assert read_state(run.directory).state == "finished"
    pd.testing.assert_frame_equal(pd.read_parquet(run.directory / "metrics.parquet"), run.history)
    pd.testing.assert_frame_equal(pd.read_csv(run.directory / "rewards.csv"), run.rewards)
    train(toy_config(*SMALL), directory=tmp_path / "stopped", env=ToyEnv(ROLES), callback=stop)
    assert seen == ["running", "running"]
    assert read_state(tmp_path / "stopped")[:2] == ("stopped", "callback")


def test_load_errors(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such policy file"):
        load_policies(tmp_path / "nothing.safetensors")
    with pytest.raises(PolicyError, match="not a run directory"):
        load_policies(tmp_path)
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 100)
    with pytest.raises(PolicyError, match="not a readable policy file"):
        load_policies(tmp_path / "junk.safetensors")
    whole = (run.directory / "checkpoints" / "policy.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyError, match=r"cut\.safetensors"):
        load_policies(tmp_path / "cut.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(PolicyError, match="not one of lobgraph's policies"):
        load_policies(tmp_path / "other.safetensors")
    with pytest.raises(PolicyError, match="acts for 'arbitrageur'"):
        load_policies(run.directory, ToyEnv({"maker": 1}))


def test_write_atomic_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_run_never_overwrites_another(tmp_path: Path) -> None:
    cfg = toy_config(f"run.dir={tmp_path}")
    assert len({new_directory(cfg) for _ in range(3)}) == 3
    (tmp_path / "mine").mkdir()
    new_directory(cfg, tmp_path / "mine")  # empty: fine
    with pytest.raises(FileExistsError, match="not empty"):
        new_directory(cfg, tmp_path / "mine")


def test_callback_and_stop(tmp_path: Path) -> None:
    seen = []
    run = train(
        toy_config(*SMALL),
        directory=tmp_path / "run",
        env=ToyEnv(ROLES),
        callback=lambda trainer, metrics: seen.append(metrics["update"]) or trainer.update == 2,
    )
    assert seen == [1, 2]
    assert len(run.history) == 2
    assert json.loads((run.directory / "checkpoints" / "policy.json").read_text())["update"] == 2


def test_first_interrupt_finishes_the_update_and_saves(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press(trainer: object, metrics: dict[str, float]) -> None:
        if metrics["update"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    run = train(toy_config(*SMALL), directory=tmp_path / "run", env=ToyEnv(ROLES), callback=press)
    assert len(run.history) == 3
    assert (run.directory / "maker_policy.safetensors").is_file()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_stops_with_its_place_and_keeps_the_checkpoint(tmp_path: Path, value: float) -> None:
    for i, (what, match) in enumerate((
        ("nodes", r"update 3: maker observation \(nodes\).* rollout step 8 .* env 1, agent 0, book 2, feature 'x1'"),
        ("reward", r"update 3: maker reward is (nan|inf) at rollout step 7, env 2, agent 0"),
    )):  # fmt: skip
        env = ToyEnv(ROLES, episode=40)
        env.poison[what, 39 + (what == "nodes")] = value
        directory = tmp_path / str(i)
        with pytest.raises(TrainingError, match=match):
            train(toy_config(*SMALL, "run.checkpoint_every=2"), directory=directory, env=env)
        policies = load_policies(directory, ToyEnv(ROLES))
        assert all(torch.isfinite(x).all() for x in policies.state_dict().values())
        assert len(pd.read_parquet(directory / "metrics.parquet")) == 2
        state = read_state(directory)
        assert state.state == "failed"
        assert "update 3" in state.why


def test_save_policies_is_the_same_to_the_byte(run: Run, tmp_path: Path) -> None:
    a, b = (save_policies(tmp_path / f"{n}.safetensors", run.policies, update=1).read_bytes() for n in "ab")
    assert a == b


def test_tensorboard_and_display(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = toy_config(*SMALL, "run.tensorboard=true", "run.progress=true")
    train(cfg, directory=tmp_path / "run", env=ToyEnv(ROLES))
    out = capsys.readouterr().out
    assert "update 4/4" in out
    assert "steps/s" in out
    assert "largest inventory" in out.replace("\n", " ") or "largest" in out
    assert any((tmp_path / "run" / "tensorboard").iterdir())
