"""Several processes learn what one would; one that fails takes the others along."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from together import learn_alone, learn_together
from toy import ToyEnv, toy_config

from lobgraph.agents.strategy import StrategyError
from lobgraph.config import ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.rl.train import train

CASES = {
    "some agents end early": (["ppo.norm_adv=true"], {"end_at": 5}),
    "memory, bounded deviation": (
        ["graph.memory=gru", "ppo.std_end=0.1", "ppo.ent_coef=0.01"],
        {"episode": 5},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(tmp_path: Path, case: str) -> None:
    """The same environments, draws and minibatches: the weights differ by the rounding of sums taken in another order."""
    given, env = CASES[case]
    overrides = ["ppo.total_steps=2048", "ppo.minibatches=4", "ppo.epochs=2", "ppo.lr=1e-3", *given]
    one, told = learn_alone(2, overrides, env, 3)
    (a, history), (b, _) = learn_together(2, tmp_path, overrides, env, 3)
    for name in one:
        assert np.array_equal(a[name], b[name]), name  # between processes: to the bit
        np.testing.assert_allclose(a[name], one[name], rtol=2e-5, atol=2e-5, err_msg=name)
    for want, got in zip(told, history, strict=True):
        assert want.keys() == got.keys()
        for name in (n for n in want if not n.startswith("time/") and not n.endswith("first_ratio_error")):
            assert got[name] == pytest.approx(want[name], rel=2e-3, abs=2e-4, nan_ok=True), name


# --- a run from outside ---

SETTINGS = (
    "market.books=2", "agents.maker.count=1", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=16",
    "env.episode_steps=12", "flow.warmup=2", "ppo.rollout_steps=12", "ppo.total_steps=768", "ppo.minibatches=4",
    "graph.hidden=16", "run.tensorboard=false", "run.evaluate_episodes=8", "run.evaluate_every=2", "run.device=cpu",
    "run.progress=false",
)  # fmt: skip
FAILS = """
from dataclasses import dataclass
import torch.distributed as dist
from lobgraph.agents.strategy import Strategy, StrategyError

@dataclass
class Fails(Strategy):
    role = "taker"

    def act(self, view):
        if dist.is_initialized() and dist.get_rank() == 1 and (view.step == 5).any():
            raise StrategyError("this one had enough")
        return view.trade(0)
"""


@pytest.mark.slow
def test_a_run_of_two_processes_has_the_episodes_of_both(tmp_path: Path) -> None:
    run = train(load_config(None, [*SETTINGS, "run.processes=2"]), directory=tmp_path / "two")
    alone = train(load_config(None, SETTINGS), directory=tmp_path / "one")
    assert run.history["env_steps"].tolist() == alone.history["env_steps"].tolist()
    assert run.rewards["episodes"].tolist() == alone.rewards["episodes"].tolist() == [16] * len(run.rewards)
    first, same = (x.rewards[x.rewards["update"] == 1] for x in (run, alone))
    np.testing.assert_allclose(
        first["reward_mean"], same["reward_mean"], rtol=1e-6
    )  # the same draws, policies, markets
    assert run.history["losses/maker/first_ratio_error"].max() < 1e-4
    assert run.history["eval/maker/reward"].notna().sum() == 2
    assert (run.directory / "maker_policy.safetensors").is_file()
    assert run.policies.attach(MarketEnv(load_config(None, SETTINGS))).act


@pytest.mark.slow
def test_one_that_fails_ends_all_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FAILS)
    cfg = load_config(
        None, [*SETTINGS, "run.processes=2", f"agents.taker.actor={tmp_path / 'mine.py'}:Fails"]
    )
    with pytest.raises(StrategyError, match="this one had enough"):
        train(cfg, directory=tmp_path / "run")
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_ctrl_c_ends_all_after_the_update(tmp_path: Path) -> None:
    given = [x for s in (*SETTINGS, "ppo.total_steps=10_000_000", "run.processes=2") for x in ("--set", s)]
    (tmp_path / "c.yaml").write_text("name: c\n")
    command = [
        sys.executable,
        "-m",
        "lobgraph",
        "train",
        str(tmp_path / "c.yaml"),
        "--dir",
        str(tmp_path),
        *given,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until, started = time.monotonic() + 900.0, False
    while not started and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
        started = any(table.read_text().count("\n") > 3 for table in tmp_path.rglob("rewards.csv"))
    assert started, "no update was made"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert list(tmp_path.rglob("policy.safetensors")), said


def test_what_cannot_be_dealt_out_is_refused(tmp_path: Path) -> None:
    for overrides, match in (
        (["env.num_envs=16", "run.processes=3"], r"run\.processes: 3 must divide env\.num_envs = 16"),
        (["env.num_envs=16", "run.processes=2", "run.device=cuda:1"], r"run\.device: cuda:1 is one GPU"),
    ):
        with pytest.raises(ConfigError, match=match):
            train(load_config(None, overrides), directory=tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"run\.processes: several make their markets from the configuration"
    ):
        train(toy_config("run.processes=2"), env=ToyEnv())
    assert not (tmp_path / "run").exists()
