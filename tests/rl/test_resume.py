"""A training that was stopped, killed or damaged goes on as if it had not been: to the bit."""

import ast
import enum
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from toy import ToyEnv, toy_config

from lobgraph.agents.remember import freeze, objects_of, thaw
from lobgraph.agents.strategy import Strategy, StrategyError, make_strategy, strategies
from lobgraph.config import Config, ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.files import DamagedFileError
from lobgraph.market.state import CASH
from lobgraph.models.policy import PolicyError
from lobgraph.report import scenario
from lobgraph.rl import checkpoint, history
from lobgraph.rl.actors import actor, idle
from lobgraph.rl.again import repro, verify
from lobgraph.rl.checkpoint import load_policies, load_tensors
from lobgraph.rl.resume import Keeper, ResumeError, check_market, find_state, forget_beginning
from lobgraph.rl.rollout import TrainingError
from lobgraph.rl.run import PLAN, Run, locked
from lobgraph.rl.train import resume, train

TINY = (
    "env.num_envs=8", "env.episode_steps=12", "env.threads=1", "ppo.rollout_steps=8", "ppo.minibatches=2", "ppo.epochs=2",
    "ppo.total_steps=448", "graph.hidden=16", "run.evaluate_every=3", "run.evaluate_episodes=4", "run.checkpoint_every=2",
    "run.progress=false", "run.tensorboard=false",
)  # fmt: skip
MARKETS = {
    "maker, taker that learn": ("agents.maker.count=1", "agents.taker.count=1"),
    "memory": ("agents.maker.count=1", "graph.memory=gru"),
    "held strategies that remember": (
        "market.books=2", "agents.maker.count=1", "agents.taker.count=1", "agents.taker.actor=ma_crossover:fast=2,slow=4",
        "agents.taker.target=0", "agents.arbitrageur.count=1", "agents.arbitrageur.actor=zscore",
    ),
    "a curriculum and schedules": (
        "agents.maker.count=1", "ppo.lr_schedule=linear", "ppo.std_end=0.2",
        "curriculum=[{until: 0.5, initial: {normal: 1.0}, switch: 0.0}]",
    ),
    "features of the flow": (
        "agents.maker.count=1", "flow.hawkes={branching: 0.6, decays: [20.0, 0.5]}", "flow.metaorders={active: 10}",
    ),
}  # fmt: skip


def config(*overrides: str) -> Config:
    return load_config(None, [*TINY, *overrides])


def assert_same(a: Run, b: Run) -> None:
    """Weights, metrics and rows, all but times; and the whole state at the end, markets included."""
    for name in ("checkpoints/last", "checkpoints/policy"):
        one, two = (load_tensors(run.directory / f"{name}.safetensors")[0] for run in (a, b))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    timed = [c for c in a.history if c.startswith("time/")]
    pd.testing.assert_frame_equal(a.history.drop(columns=timed), b.history.drop(columns=timed), check_exact=True)  # fmt: skip
    pd.testing.assert_frame_equal(
        *(x.rewards.drop(columns="seconds") for x in (a, b)), check_exact=True  # type: ignore[arg-type]
    )  # fmt: skip
    one, two = (load_tensors(find_state(run.directory))[0] for run in (a, b))
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].dtype == two[key].dtype
        assert torch.equal(_bits(one[key]), _bits(two[key])), key


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().reshape(-1).view(torch.uint8)


def stop_at(update: int) -> Any:
    return lambda trainer, metrics: trainer.update == update


class Killed(BaseException):
    """Ends a training as nothing that it catches does."""


def kill_at(update: int) -> Any:
    def kill(trainer: Any, metrics: Any) -> None:
        if trainer.update == update:
            raise Killed

    return kill


@pytest.mark.parametrize("market", MARKETS)
def test_stopped_and_resumed_is_never_stopped(tmp_path: Path, market: str) -> None:
    cfg = config(*MARKETS[market])
    whole = train(cfg, directory=tmp_path / "whole")
    train(cfg, directory=tmp_path / "parts", callback=stop_at(3))
    resume(tmp_path / "parts", callback=stop_at(4))
    assert_same(whole, resume(tmp_path / "parts"))


def test_what_a_killed_run_did_after_its_state_is_forgotten(tmp_path: Path) -> None:
    """Killed: nothing after the state is orderly. The tables are cut back, the policies written anew."""
    cfg = config("agents.maker.count=1")
    whole = train(cfg, directory=tmp_path / "whole")

    with pytest.raises(Killed):
        train(cfg, directory=tmp_path / "parts", callback=kill_at(5))
    (tmp_path / "parts" / "checkpoints" / ".last.safetensors.abc.tmp").write_bytes(b"half")
    with open(tmp_path / "parts" / "rewards.csv", "a") as file:
        file.write("6,3")
    assert find_state(tmp_path / "parts").name == "state-0000004.safetensors"
    assert_same(whole, resume(tmp_path / "parts"))
    assert not list((tmp_path / "parts").rglob("*.tmp"))


def test_a_run_that_never_saved_a_policy_starts_anew(tmp_path: Path) -> None:
    cfg = config("agents.maker.count=1")
    whole = train(cfg, directory=tmp_path / "whole")

    with pytest.raises(Killed):
        train(cfg, directory=tmp_path / "parts", callback=kill_at(1))
    assert find_state(tmp_path / "parts").name == "state-0000000.safetensors"
    assert_same(whole, resume(tmp_path / "parts"))


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    train(config("agents.maker.count=1"), directory=tmp_path / "run", callback=stop_at(4))
    return tmp_path / "run"


def test_a_damaged_state_is_passed_over_for_the_one_before(stopped: Path, tmp_path: Path) -> None:
    whole = train(config("agents.maker.count=1"), directory=tmp_path / "whole")
    last = find_state(stopped)
    data = bytearray(last.read_bytes())
    data[-100] ^= 1  # one bit, in the tensors: nothing but the checksum tells
    last.write_bytes(data)
    with pytest.raises(PolicyError, match="checksum"):
        load_tensors(last)
    assert find_state(stopped).name == "state-0000002.safetensors"
    assert_same(whole, resume(stopped))


def test_no_state_left(stopped: Path) -> None:
    for path in stopped.glob("checkpoints/state-*"):
        path.write_bytes(b"not a state")
    with pytest.raises(ResumeError, match=r"holds no state.*state-0000004"):
        resume(stopped)
    with pytest.raises(FileNotFoundError, match="no such run"):
        resume(stopped / "nowhere")


def test_only_the_last_states_are_kept(tmp_path: Path) -> None:
    train(config("agents.maker.count=1", "run.checkpoint_every=1", "run.keep=3"), directory=tmp_path / "run")
    names = sorted(p.name for p in (tmp_path / "run" / "checkpoints").glob("state-*"))
    assert names == [f"state-000000{k}.safetensors" for k in (5, 6, 7)]


def test_finished_runs_stay_as_they_are(tmp_path: Path) -> None:
    run = train(config("agents.maker.count=1"), directory=tmp_path / "run")
    before = (tmp_path / "run" / "rewards.csv").read_bytes()
    again = resume(tmp_path / "run")
    assert_same(run, again)
    assert (tmp_path / "run" / "rewards.csv").read_bytes() == before
    machine = json.loads((tmp_path / "run" / "machine.json").read_text())
    assert [start["update"] for start in machine["resumed"]] == [7]


def test_a_longer_training_goes_on(stopped: Path) -> None:
    run = resume(stopped, ["ppo.total_steps=640"])
    assert list(run.history["update"]) == list(range(1, 11))
    assert load_config(stopped / "config.yaml").ppo.total_steps == 640


def test_a_longer_training_is_verified_by_the_length_it_was_begun_with(tmp_path: Path) -> None:
    cfg = config("agents.maker.count=1", "ppo.lr_schedule=linear")
    train(cfg, directory=tmp_path / "run", callback=stop_at(4))
    resume(tmp_path / "run", ["ppo.total_steps=640"])
    done = verify(tmp_path / "run", 6, lambda line: None)
    assert (done.updates, done.differing) == (4, [])


def test_a_training_is_not_made_shorter_than_it_is(stopped: Path) -> None:
    with pytest.raises(
        ResumeError, match=r"total_steps: 64 are 1 updates, and 4 were made already; at least 256"
    ):
        resume(stopped, ["ppo.total_steps=64"])
    assert load_config(stopped / "config.yaml").ppo.total_steps == 448


def test_metrics_that_the_table_does_not_have_yet_are_in_the_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A long table is not written at every checkpoint; a killed training that goes on has all of it nevertheless."""
    cfg = config("agents.maker.count=1", "run.checkpoint_every=1")
    whole = train(cfg, directory=tmp_path / "whole")
    monkeypatch.setattr(history, "SHORT", 2)
    monkeypatch.setattr(history, "SHARE", 0.5)
    table, aside = tmp_path / "parts" / "metrics.parquet", tmp_path / "aside"

    def kill(trainer: Any, metrics: Any) -> None:
        if trainer.update == 6:
            shutil.copy(table, aside)  # what the disk has now; a kill would not write another
            raise Killed

    with pytest.raises(Killed):
        train(cfg, directory=tmp_path / "parts", callback=kill)
    shutil.move(aside, table)
    assert len(pd.read_parquet(table)) == 4
    state, about = load_tensors(find_state(tmp_path / "parts"))
    assert (about["update"], tuple(state["metrics.rest"].shape)) == (5, (1, len(about["history"])))
    done = resume(tmp_path / "parts")
    timed = [c for c in whole.history if c.startswith("time/")]
    pd.testing.assert_frame_equal(
        whole.history.drop(columns=timed), done.history.drop(columns=timed), check_exact=True
    )
    pd.testing.assert_frame_equal(pd.read_parquet(table), done.history, check_exact=True)


def test_a_table_without_its_first_updates_is_refused(stopped: Path) -> None:
    table = pd.read_parquet(stopped / "metrics.parquet")
    table.iloc[1:].to_parquet(stopped / "metrics.parquet")
    with pytest.raises(DamagedFileError, match=r"metrics.parquet: does not hold updates 1 to"):
        resume(stopped)


@pytest.mark.parametrize("name", ["machine.json", "metrics.parquet"])
def test_a_damaged_table_is_named_and_nothing_is_lost(stopped: Path, name: str) -> None:
    rows = (stopped / "rewards.csv").read_bytes() + b"more"
    (stopped / "rewards.csv").write_bytes(rows)
    (stopped / name).write_bytes((stopped / name).read_bytes()[:20])
    with pytest.raises(DamagedFileError, match=rf"{name}: damaged"):
        resume(stopped)
    assert (stopped / "rewards.csv").read_bytes() == rows


def test_another_configuration_is_refused(stopped: Path) -> None:
    with pytest.raises(ConfigError, match=r"ppo\.lr: a resumed training keeps its configuration"):
        resume(stopped, ["ppo.lr=1"])


def test_one_directory_has_one_training(stopped: Path) -> None:
    with locked(stopped), pytest.raises(FileExistsError, match="another training is writing"):
        resume(stopped)
    assert len(resume(stopped).history) == 7


def test_another_number_of_threads_is_said(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = find_state(stopped)
    tensors, about = load_tensors(path)
    assert about["threads"] == 1
    checkpoint.save_tensors(path, tensors, about | {"threads": 7})
    resume(stopped, ["run.progress=true"])
    assert "torch threads: 1, was 7" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("which", ["state", "policy"])
def test_no_bit_of_a_file_can_change_unnoticed(stopped: Path, which: str) -> None:
    """Numbers in the header are as much of a policy as its weights: its limits, its settings."""
    path = find_state(stopped) if which == "state" else stopped / "checkpoints" / "policy.safetensors"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for bit in (*rng.integers(0, 8 * header, 300), *rng.integers(8 * header, 8 * len(whole), 60)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << int(bit) % 8
        path.write_bytes(flipped)
        with pytest.raises(PolicyError, match=path.name):
            load_tensors(path)
    path.write_bytes(whole)
    load_tensors(path)


def test_files_of_the_first_format_are_read(stopped: Path) -> None:
    path = stopped / "checkpoints" / "policy.safetensors"
    tensors, about = load_tensors(path)
    tensors = {name: x.clone() for name, x in tensors.items()}  # they are the file's pages
    for checksum in ({}, {"sha256": checkpoint._checksum(tensors)}):
        text = json.dumps({**about, "format": 1, **checksum})
        path.write_bytes(checkpoint.save(tensors, metadata={checkpoint.HEADER: text}))
        assert load_policies(stopped).specs
    text = json.dumps({**about, "format": 1, "sha256": "0"})
    path.write_bytes(checkpoint.save(tensors, metadata={checkpoint.HEADER: text}))
    with pytest.raises(PolicyError, match="checksum"):
        load_tensors(path)


def test_patience_stays_out(tmp_path: Path) -> None:
    """A run that its own evaluations ended is at its end."""
    cfg = config("agents.maker.count=1", "run.patience=1", "run.evaluate_every=1", "ppo.lr=1e-9", "ppo.total_steps=6400")  # fmt: skip
    run = train(cfg, directory=tmp_path / "run")
    assert run.stopped == "patience"
    again = resume(tmp_path / "run")
    assert again.stopped == "patience"
    assert len(again.history) == len(run.history)


def test_an_environment_without_state_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = toy_config("ppo.total_steps=1024", "run.progress=true")
    train(cfg, directory=tmp_path / "run", env=ToyEnv({"maker": 1}))
    assert "cannot be resumed: ToyEnv has no save_state" in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(ResumeError, match="holds no state"):
        resume(tmp_path / "run")


# --- disks ---


def test_a_full_disk_stops_with_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config("agents.maker.count=1")
    whole = train(cfg, directory=tmp_path / "whole")
    real = os.fsync

    def full(handle: int) -> None:
        real(handle)
        name = os.readlink(f"/proc/self/fd/{handle}") if sys.platform == "linux" else ""
        if "state-0000004" in name or not name:
            raise OSError(28, "No space left on device", name)

    with monkeypatch.context() as patch:
        patch.setattr("lobgraph.files.os.fsync", full)
        with pytest.raises(
            TrainingError,
            match=r"update 4: could not write .*No space left.*that of update 2 is whole.*--resume",
        ):
            train(cfg, directory=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert find_state(tmp_path / "run").name == "state-0000002.safetensors"
    load_policies(tmp_path / "run")
    assert_same(whole, resume(tmp_path / "run"))


def test_a_directory_that_vanishes_stops_the_training(tmp_path: Path) -> None:
    def remove(trainer: Any, metrics: Any) -> None:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(TrainingError, match="could not write"):
        train(config("agents.maker.count=1"), directory=tmp_path / "run", callback=remove)


# --- signals ---


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_finishes_the_update_and_saves(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def press(trainer: Any, metrics: Any) -> None:
        if trainer.update == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    run = train(config("agents.maker.count=1"), directory=tmp_path / "run", callback=press)
    assert run.stopped == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before
    assert find_state(tmp_path / "run").name == "state-0000003.safetensors"


def test_all_seeds_of_a_run_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the second of three seeds before it had a state: as never stopped, figures and links too."""
    cfg = config("agents.maker.count=1", f"run.dir={tmp_path / 'whole'}", "name=x")
    whole = scenario.run(cfg, 3)
    cfg = config("agents.maker.count=1", f"run.dir={tmp_path / 'parts'}", "name=x")

    def save(self: Any, trainer: Any, *args: Any, **values: Any) -> None:
        if self.cfg.run.seed == 1:
            raise Killed
        own(self, trainer, *args, **values)

    own = Keeper.save
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save", save)
        with pytest.raises(Killed):
            scenario.run(cfg, 3)
    assert not (tmp_path / "parts" / "x" / "latest").exists()
    directory = scenario.resume(tmp_path / "parts" / "x")
    assert (tmp_path / "parts" / "x" / "latest").resolve() == directory.resolve()
    for seed in range(3):
        assert_same(Run.load(whole / f"seed_{seed}"), Run.load(directory / f"seed_{seed}"))
    assert (directory / "rewards.png").is_file()


def test_seeds_that_had_not_begun_are_as_long_as_those_that_were_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config("agents.maker.count=1", "name=x", f"run.dir={tmp_path}", "run.evaluate_every=0")

    def stop(self: Keeper, trainer: Any, *args: Any, **values: Any) -> None:
        own(self, trainer, *args, **values)
        if trainer.update in (4, 8):
            raise Killed

    own = Keeper.save
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save", stop)
        with pytest.raises(Killed):
            scenario.run(cfg, 2)
        with pytest.raises(Killed):
            scenario.resume(tmp_path / "x", ["ppo.total_steps=640"])
    directory = scenario.resume(tmp_path / "x")
    assert [len(Run.load(directory / f"seed_{s}").history) for s in (0, 1)] == [10, 10]
    with pytest.raises(ConfigError, match=r"ppo\.lr: a resumed training keeps"):
        scenario.resume(tmp_path / "x", ["ppo.lr=1"])


def test_an_extension_that_is_killed_at_once_is_not_forgotten(stopped: Path) -> None:
    with pytest.raises(Killed):
        resume(stopped, ["ppo.total_steps=640"], callback=kill_at(5))
    assert len(resume(stopped).history) == 10


def test_a_run_that_holds_more_than_a_beginning_is_left_alone(tmp_path: Path) -> None:
    """Also below a directory that is called as one of its own."""
    stopped = tmp_path / "tensorboard" / "run"
    train(config("agents.maker.count=1"), directory=stopped, callback=stop_at(4))
    for path in stopped.glob("checkpoints/state-*"):
        path.unlink()
    before = sorted(stopped.rglob("*"))
    with pytest.raises(ResumeError, match="holds no state"):
        scenario.resume(stopped)
    with pytest.raises(ResumeError, match="holds no state of a training to go on from, but has"):
        forget_beginning(stopped)
    (stopped / PLAN).write_text('{"seeds": [], "config": {}}')
    with pytest.raises(ResumeError, match="a damaged plan"):
        scenario.resume(stopped)
    (stopped / PLAN).unlink()
    assert sorted(stopped.rglob("*")) == before


@pytest.mark.slow
def test_two_processes_go_on_as_one_run(tmp_path: Path) -> None:
    two = (
        "agents.maker.count=1",
        "ppo.lr_schedule=constant",  # the shorter training has the same rates
        "ppo.ent_schedule=constant",
        "run.processes=2",
        "run.device=cpu",
        "run.evaluate_every=0",
        "run.checkpoint_every=2",
    )
    whole = train(config(*two), directory=tmp_path / "whole")
    train(config(*two, "ppo.total_steps=192"), directory=tmp_path / "parts")
    assert len(list(tmp_path.glob("parts/checkpoints/state-0000003-*of2.safetensors"))) == 2
    (tmp_path / "parts" / "checkpoints" / "state-0000003-1of2.safetensors").unlink()  # killed between the two
    assert_same(whole, resume(tmp_path / "parts", ["ppo.total_steps=448"]))


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same() -> None:
    """SIGKILL at random moments, each run read after each and resumed until done: see kills.py."""
    program = [sys.executable, str(Path(__file__).with_name("kills.py")), "--kills", "8", "--runs", "2", "--longest", "2"]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = ast.literal_eval(done.stdout.splitlines()[-1])
    assert told["kills"] >= 2
    assert told["equal"] == told["runs"] == 2


# --- the parts ---


def test_a_market_goes_on_to_the_bit() -> None:
    cfg = config(
        "market.books=3", "agents.maker.count=2", "agents.taker.count=1", "agents.arbitrageur.count=1"
    )
    rng = torch.Generator().manual_seed(0)

    def actions(env: MarketEnv) -> dict[str, torch.Tensor]:
        return {
            role: torch.rand(env.num_envs, s.count, s.items, len(s.action_names), generator=rng) * 4 - 1
            for role, s in env.specs.items()
        }

    one, two = MarketEnv(cfg, seed=3), MarketEnv(cfg, seed=8)
    one.reset()
    for _ in range(30):
        one.step(actions(one))
    two.load_state(one.save_state())
    for _ in range(30):
        now = actions(one)
        one.step(now)
        two.step(now)
        for a, b in zip((*one.state, *one.buffers), (*two.state, *two.buffers), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_market_of_another_size_is_refused() -> None:
    one, two = MarketEnv(config("agents.maker.count=1")), MarketEnv(config("agents.maker.count=2"))
    one.reset()
    with pytest.raises(ValueError, match=r"state\.order is"):
        two.load_state(one.save_state())
    saved = one.save_state()
    del saved["state.head"]
    with pytest.raises(ValueError, match=r"state\.head"):
        one.load_state(saved)


class Odd(Strategy):
    role, name = "maker", ""

    def start(self, view: Any) -> None:
        self.random = np.random.default_rng(1)
        self.seen = [np.arange(3), {"a": (1, 2.5, None)}]
        self.inf = -np.inf
        self.count = np.int64(3)


def test_what_a_strategy_remembers() -> None:
    one, two = Odd(), Odd()
    for x in (one, two):
        x.start(None)
    one.random.random(5)
    one.seen = [np.arange(4.0), {"a": (1, 2.5, "b"), "c": np.array([True])}]
    one.later = np.nan  # type: ignore[attr-defined]  # made after the start
    tree, arrays = freeze(one)
    thaw(json.loads(json.dumps(tree)), two, arrays)
    assert two.random.random() == one.random.random()
    np.testing.assert_array_equal(two.seen[0], one.seen[0])
    assert two.seen[1]["a"] == (1, 2.5, "b")
    assert two.inf == -np.inf
    assert np.isnan(two.later)  # type: ignore[attr-defined]
    assert two.count == 3


class Pair(NamedTuple):
    a: int
    b: np.ndarray


def test_kinds_are_put_back_as_they_were() -> None:
    one, two = Odd(), Odd()
    for i, x in enumerate((one, two)):
        x.start(None)
        x.dice, x.last, x.pair = random.Random(i), deque([i] * 3, 3), Pair(i, np.arange(i))  # type: ignore[attr-defined]
    one.dice.gauss(0, 1)  # type: ignore[attr-defined]
    one.last.append(7)  # type: ignore[attr-defined]
    del one.inf
    tree, arrays = freeze(one)
    thaw(json.loads(json.dumps(tree)), two, arrays)
    assert two.dice.getstate() == one.dice.getstate()  # type: ignore[attr-defined]
    assert (two.last, two.last.maxlen) == (deque([0, 0, 7]), 3)  # type: ignore[attr-defined]
    assert (type(two.pair), two.pair.a, len(two.pair.b)) == (Pair, 0, 0)  # type: ignore[attr-defined]
    assert not hasattr(two, "inf")


class Slotted:
    __slots__ = ("__dict__", "a")


class Mode(enum.Enum):
    A = 1


class Pace(enum.IntEnum):
    SLOW = 1


class Growing(io.StringIO):
    pass


@dataclass(frozen=True)
class Limits:
    lots: float


LIMITS = Limits(3.0)


@pytest.mark.parametrize(
    "thing",
    [
        Slotted(), Mode.A, Pace.SLOW, Growing(), Limits, 1 << 5000, np.str_("a"), defaultdict(int), OrderedDict(), {1}, np.ma.masked_array([1.0], [True]), np.zeros(2, ">i4"),
        np.zeros(1, "longdouble"), type("Words", (list,), {})(),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_what_would_come_back_as_something_else_is_refused(thing: Any) -> None:
    one = Odd()
    one.thing = thing  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match=r"Odd\.thing: a [\w<> ]+ cannot be saved"):
        freeze(one)


def test_what_cannot_be_changed_may_stand_in_two_places_and_is_never_written_over() -> None:
    """Keys that are no text, rows by column, scalars: as they were too."""
    one, two = Odd(), Odd()
    for x in (one, two):
        x.start(None)
        x.bid = x.ask = LIMITS  # type: ignore[attr-defined]
        x.table, x.rows, x.none = {1: [2.0], (3, "a"): None}, np.ones((2, 3), order="F"), None  # type: ignore[attr-defined]
    made = objects_of(one)
    one.bid, one.none = replace(LIMITS, lots=5.0), np.array(4.0)  # type: ignore[attr-defined]
    tree, arrays = freeze(one, made)
    thaw(json.loads(json.dumps(tree)), two, arrays)
    assert (two.bid, two.ask, LIMITS.lots) == (Limits(5.0), Limits(3.0), 3.0)  # type: ignore[attr-defined]
    assert two.table == one.table  # type: ignore[attr-defined]
    assert two.rows.flags.f_contiguous  # type: ignore[attr-defined]
    assert isinstance(two.none, np.ndarray)  # type: ignore[attr-defined]
    assert isinstance(two.count, np.int64)


@pytest.mark.parametrize("key", [np.int64(1), Pair(1, 2), (1, Mode.A), Mode.A])  # type: ignore[arg-type]
def test_a_key_that_is_none_of_ours_is_refused(key: Any) -> None:
    one = Odd()
    one.table = {key: 1}  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match=r"Odd\.table: keys that are no text"):
        freeze(one)


def test_what_is_too_deep_is_refused() -> None:
    one, deep = Odd(), []
    for _ in range(2000):
        deep = [deep]
    one.deep = deep  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match="nested too deeply"):
        freeze(one)


def test_views_that_share_no_element_are_no_sharing() -> None:
    one, x = Odd(), np.zeros((4, 2))
    one.a, one.b = x.T  # type: ignore[attr-defined]
    freeze(one)


def test_what_two_attributes_share_is_refused() -> None:
    one = Odd()
    one.start(None)
    one.all, one.now = (x := np.zeros((3, 2))), x[0]  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match="shares its memory with"):
        freeze(one)
    one.all = one.now = [1]  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match=r"now: is the same object as .*all"):
        freeze(one)


def test_an_object_that_start_does_not_make_is_refused() -> None:
    one, two = Odd(), Odd()
    for x in (one, two):
        x.start(None)
        x.part = SimpleNamespace(a=1)  # type: ignore[attr-defined]
    made = objects_of(one)
    freeze(one, made)
    one.part = Odd()  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match=r"part: a Odd that `start` does not make"):
        freeze(one, made)
    tree, arrays = freeze(one)
    with pytest.raises(StrategyError, match=r"part: a .*Odd was remembered; `start` makes none"):
        thaw(tree, two, arrays, str(two))


@pytest.mark.parametrize("name", sorted(strategies()))
def test_every_strategy_can_be_put_back(name: str) -> None:
    role = make_strategy(name).role
    both_ways = name in ("fundamental", "ma_crossover", "mean_reversion", "momentum", "rsi")
    cfg = config(
        "agents.maker.count=1", "agents.taker.count=1", "agents.arbitrageur.count=1", "market.books=2",
        f"agents.taker.target={0 if both_ways else 100}",
    )  # fmt: skip
    env = MarketEnv(cfg, 2, 0)
    act = actor(name, role, env)
    obs = env.reset()
    for _ in range(3):
        act(obs)
        obs, *_ = env.step({r: idle(env, r) for r in env.specs})
    tree, arrays = act.save()  # type: ignore[attr-defined]
    again = actor(name, role, env)
    again.load(json.loads(json.dumps(tree)), arrays)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(act(obs), again(obs))


@pytest.mark.parametrize("thing", [lambda: 0, torch.zeros(2), object, np.array(["text"])])
def test_what_cannot_be_remembered_is_named(thing: Any) -> None:
    one = Odd()
    one.thing = [thing]  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match=r"Odd\.thing\[0\]: a [\w<> ]+ cannot be saved"):
        freeze(one)
    one.thing = one  # type: ignore[attr-defined]
    with pytest.raises(StrategyError, match="refers to itself"):
        freeze(one)


# --- guards, and the same once more ---


def test_verify(tmp_path: Path) -> None:
    run = train(config("agents.maker.count=1"), directory=tmp_path / "run")
    told: list[str] = []
    done = verify(run.directory, 3, told.append)
    assert (done.updates, done.differing) == (3, [])
    assert done.compared > 50
    assert len(told) == 3
    table = pd.read_parquet(run.directory / "metrics.parquet")
    table.loc[1, "losses/maker/policy"] += 1e-9
    table.to_parquet(run.directory / "metrics.parquet")
    assert [line.split(" is ")[0] for line in verify(run.directory, 3, told.append).differing] == [
        "update 2: losses/maker/policy"
    ]


def test_verify_compares_rows_weights_and_checksums(tmp_path: Path) -> None:
    run = train(config("agents.maker.count=1"), directory=tmp_path / "run").directory
    whole = verify(run, 99, str)
    assert (whole.updates, whole.differing) == (7, [])
    last = run / "checkpoints" / "last.safetensors"
    kept, (tensors, about) = last.read_bytes(), load_tensors(last)
    assert whole.compared > sum(x.numel() for x in tensors.values())
    checkpoint.save_tensors(last, {name: 1.5 * x for name, x in tensors.items()}, about)
    assert any(line.startswith("update 7: weights ") for line in verify(run, 99, str).differing)
    assert verify(run, 3, str).differing == []
    last.write_bytes(kept[:-9] + b"\0" * 9)
    with pytest.raises(PolicyError, match=r"last\.safetensors"):
        verify(run, 1, str)
    last.write_bytes(kept)
    rows = (run / "rewards.csv").read_text()
    first = next(line for line in rows.splitlines() if line.startswith("2,"))
    (run / "rewards.csv").write_text(rows.replace(first, first.replace(first.split(",")[6], "0.5", 1)))
    assert verify(run, 3, str).differing[0].startswith("update 2: rows of rewards.csv are ")
    pd.read_parquet(run / "metrics.parquet").iloc[:0].to_parquet(run / "metrics.parquet")
    with pytest.raises(ResumeError, match="nothing to compare"):
        verify(run, 3, str)


def test_other_inputs_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that holds a role is named by its file, and the file is looked at: not whatever is the newest run by then."""
    train(config("agents.maker.count=1"), directory=tmp_path / "pool" / "a")
    (tmp_path / "pool" / "latest").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    cfg = config("agents.maker.count=1", "agents.taker.count=1", "agents.maker.actor=pool")
    whole = train(cfg, directory=tmp_path / "whole")
    run = train(cfg, directory=tmp_path / "run", callback=stop_at(3)).directory
    assert load_config(run / "config.yaml").agents.maker.actor == "pool/a/checkpoints/policy.safetensors"
    train(config("agents.maker.count=1", "run.seed=5"), directory=tmp_path / "pool" / "b")
    (tmp_path / "pool" / "latest").unlink()
    (tmp_path / "pool" / "latest").symlink_to("b")
    shutil.copytree(run, tmp_path / "copy")
    assert_same(whole, resume(run))
    shutil.copy("pool/b/checkpoints/policy.safetensors", "pool/a/checkpoints/policy.safetensors")
    capsys.readouterr()
    resume(tmp_path / "copy", ["run.progress=true"])
    said = "agents.maker.actor: pool/a/checkpoints/policy.safetensors is not the file that it was"
    assert f"not as it was: {said}" in capsys.readouterr().out.replace("\n", " ")
    told: list[str] = []
    assert verify(run, 2, told.append).differing
    assert f"not as it was: {said}" in told


def test_another_kind_of_environment_is_refused(tmp_path: Path) -> None:
    env = ToyEnv({"maker": 1}, episode=40)
    env.poison["reward", 39] = 1e13
    with pytest.raises(TrainingError) as error:
        train(toy_config("ppo.total_steps=2048"), directory=tmp_path / "run", env=env)
    assert "lobgraph repro" not in str(error.value)
    market = MarketEnv(config("agents.maker.count=1"), 2, 0)
    check_market({"market": "MarketEnv"}, market, tmp_path)
    with pytest.raises(ResumeError, match="was trained in a ToyEnv, and this is a MarketEnv"):
        check_market({"market": "ToyEnv"}, market, tmp_path)


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("reward", lambda x: x[:1], r"reward of 'maker' must be a tensor of numbers of shape \(\d+, 1\) .*got torch.float32 \(1, 1\)"),
        ("reward", lambda x: x.numpy(), "reward of 'maker' .*got a ndarray"),
        ("terminated", lambda x: x.float(), "terminated of 'maker' must be a tensor of bool"),
        ("truncated", lambda x: None, "truncated of 'maker' .*got a NoneType"),
    ],
)  # fmt: skip
def test_a_wrong_step_of_an_own_environment_is_named(
    tmp_path: Path, what: str, value: Any, says: str
) -> None:
    class Wrong(ToyEnv):
        def step(self, actions: Any) -> Any:
            obs, *rest = super().step(actions)
            at = ("reward", "terminated", "truncated").index(what)
            rest[at] = {role: value(x) for role, x in rest[at].items()}
            return obs, *rest

    with pytest.raises(TrainingError, match=rf"Wrong\.step: {says}"):
        train(toy_config("ppo.total_steps=2048"), directory=tmp_path / "run", env=Wrong({"maker": 1}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda given: given[:4], "must return .*, got 4 values"),
        (lambda given: None, "must return .*, got a NoneType"),
        (lambda given: (*given[:4], {**given[4], "done": None}), r'info\["done"\] must be a tensor of bool'),
    ],
)
def test_a_step_that_gives_something_else_is_named(tmp_path: Path, change: Any, says: str) -> None:
    class Wrong(ToyEnv):
        def step(self, actions: Any) -> Any:
            return change(super().step(actions))

    with pytest.raises(TrainingError, match=rf"Wrong\.step: {says}"):
        train(toy_config("ppo.total_steps=2048"), directory=tmp_path / "run", env=Wrong({"maker": 1}))


def test_a_failed_update_can_be_done_again(tmp_path: Path) -> None:
    cfg = config("agents.maker.count=1", "ppo.lr=1e6", "ppo.target_kl=null", "run.evaluate_every=0")
    with pytest.raises(TrainingError, match=r"update \d+: ") as caught:
        train(cfg, directory=tmp_path / "run")
    (file,) = (tmp_path / "run").glob("repro-*.safetensors")
    then, now = repro(file, lambda line: None)
    assert then == now
    assert str(caught.value) == f"{then}; to see it again: lobgraph repro {file}"
    with pytest.raises(ResumeError, match="not a repro file"):
        repro(find_state(tmp_path / "run"))


def test_money_out_of_nothing_ends_the_training(tmp_path: Path) -> None:
    def give(trainer: Any, metrics: Any) -> None:
        if trainer.update == 2:
            trainer.market.state.account[3, 0, 0, CASH] += 7

    with pytest.raises(TrainingError, match=r"update 3: the accounts of env 3, book 0 sum to 7 tick-lots"):
        train(config("agents.maker.count=1", "env.episode_steps=1000"), directory=tmp_path / "run", callback=give)  # fmt: skip


def test_an_exploding_reward_ends_the_training(tmp_path: Path) -> None:
    env = ToyEnv({"maker": 1}, episode=40)
    env.poison["reward", 39] = 1e13
    with pytest.raises(
        TrainingError, match=r"update 3: maker reward is 1e\+13|update 3: maker reward is 99999"
    ):
        train(toy_config("ppo.total_steps=2048"), directory=tmp_path / "run", env=env)
