"""Evaluation while training goes on: nothing of the training changes, the best policy is kept, patience ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import CopiedToy, ToyEnv, toy_config

from lobgraph.config import Config, ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate
from lobgraph.known import make_known
from lobgraph.rl.checkpoint import load_policies
from lobgraph.rl.evaluator import SEED, Evaluator
from lobgraph.rl.rollout import TrainingError
from lobgraph.rl.train import train
from lobgraph.rl.trainer import Trainer

SMALL = ("ppo.total_steps=2048", "run.evaluate_episodes=16")  # 4 updates
ROLES = {"maker": 2, "taker": 1}
States = list[dict[str, torch.Tensor]]


def market(*overrides: str) -> Config:
    base = (
        "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=8",
        "env.episode_steps=12", "env.stagger=true", "flow.warmup=2", "ppo.rollout_steps=8", "ppo.total_steps=256",
        "graph.hidden=16", "run.progress=false", "run.tensorboard=false", "run.torch_threads=1", "env.threads=1",
        "run.evaluate_episodes=12",
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


def keep(states: States) -> Any:
    """A callback that keeps the weights, statistics included, after each update."""
    return lambda trainer, _: (
        states.append({k: v.clone() for k, v in trainer.policies.state_dict().items()}) or False
    )


@pytest.mark.parametrize(
    "overrides", [(), ("graph.memory=gru",), ("agents.taker.actor=twap", "regimes.initial={normal: 1}")]
)
def test_evaluation_does_not_change_training(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    kept: dict[int, States] = {0: [], 1: []}
    for every, states in kept.items():
        cfg = market(f"run.evaluate_every={every}", *overrides)
        run = train(cfg, directory=tmp_path / str(every), callback=keep(states))
        assert ("eval/maker/reward" in run.history) == bool(every)
    assert len(kept[0]) == len(kept[1]) == 4
    for a, b in zip(kept[0], kept[1], strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_it_plays_whole_episodes_of_another_seed_by_the_mean(tmp_path: Path) -> None:
    cfg = market("run.evaluate_every=2", "agents.maker.risk.max_drawdown=20", "graph.memory=gru")
    run = train(cfg, directory=tmp_path / "run")
    assert run.history["eval/maker/reward"].notna().tolist() == [False, True, False, True]
    last = run.directory / "checkpoints" / "last.safetensors"
    table = evaluate(cfg, {"maker": last, "taker": last}, episodes=12, seed=cfg.run.seed + SEED)
    table["reward"] = table.filter(like="terms/").sum(axis=1)
    for role in ("maker", "taker"):
        each = table[table["role"] == role].groupby("episode")["reward"].mean()
        row = run.history.iloc[-1]
        assert row[f"eval/{role}/reward"] == pytest.approx(each.mean(), rel=1e-4, abs=1e-4)
        assert row[f"eval/{role}/error"] == pytest.approx(each.std() / 12**0.5, rel=1e-3)


@pytest.mark.parametrize("role", [None, "taker"])
def test_the_best_is_kept_and_loaded(tmp_path: Path, role: str | None) -> None:
    """What was learned is ruined on the way: the best is not the last."""
    states: States = []

    def ruin(trainer: Trainer, metrics: dict[str, float]) -> None:
        if trainer.update == 11:
            for actor in trainer.policies.actors.values():
                actor.out.bias.data.fill_(3.0)  # type: ignore[union-attr]  # beyond the bounds of the actions
        keep(states)(trainer, metrics)

    cfg = toy_config(
        "ppo.total_steps=8192",
        "run.evaluate_every=3",
        "run.checkpoint_every=5",
        f"run.best_role={role or 'null'}",
    )
    run = train(cfg, directory=tmp_path / "run", env=CopiedToy(ROLES), callback=ruin)
    done = run.history[run.history["eval/maker/reward"].notna()]
    assert done["update"].tolist() == [3, 6, 9, 12, 15, 16]
    score = done[[f"eval/{r}/reward" for r in ([role] if role else ROLES)]].sum(axis=1)
    best = int(done["update"].iloc[int(score.argmax())])
    assert best == done["eval/best"].iloc[-1] <= 9
    places = run.directory / "checkpoints"
    assert json.loads((places / "best.json").read_text())["update"] == best
    assert json.loads((places / "last.json").read_text())["update"] == 16
    about = json.loads((places / "policy.json").read_text())
    assert (
        about["evaluation"]["eval/maker/reward"]
        == done.loc[done["update"] == best, "eval/maker/reward"].item()
    )
    for path, update in (
        (run.directory, best),
        (places / "best.safetensors", best),
        (places / "last.safetensors", 16),
    ):
        assert all(torch.equal(v, states[update - 1][k]) for k, v in load_policies(path).state_dict().items())
    alone = load_policies(run.directory / "maker_policy.safetensors").state_dict()
    assert all(torch.equal(v, states[best - 1][k]) for k, v in alone.items())
    assert all(torch.equal(v, states[best - 1][k]) for k, v in run.policies.state_dict().items())


def test_patience_ends_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = toy_config("run.evaluate_every=2", "run.patience=3", "run.evaluate_episodes=8", "run.progress=true")
    run = train(cfg, directory=tmp_path / "run", env=CopiedToy(ROLES, constant=1.0))
    assert run.stopped == "patience"
    assert (
        run.history["update"].iloc[-1] == 8
    )  # the first evaluation sets the mark, three more do not pass it
    said = capsys.readouterr().out
    assert (
        "no rise beyond its standard error for run.patience evaluations: stopped after update 8 of 16" in said
    )
    assert "evaluated: maker 8.0 ± 0.0" in said
    assert "policies: of update 2 of 16, the best of 4 evaluations: maker 8.0" in said
    assert "last.safetensors" in said


class Told(Evaluator):
    """Plays nothing: its episodes' rewards are given."""

    def __init__(self, rewards: list[np.ndarray], *overrides: str) -> None:
        super().__init__(toy_config(*overrides), ToyEnv())
        self.rewards = iter(rewards)

    def play(self, policies: Any) -> dict[str, np.ndarray]:
        return {"maker": next(self.rewards)}


def test_small_steps_count_as_improvement_once_they_add_up() -> None:
    """Each rise is half the standard error of the paired differences: every third clearly passes the mark."""
    noise = np.array([-1.0, 1.0] * 32)
    rewards = [100.0 * np.sin(np.arange(64)) + 0.0625 * i + noise * (i % 2) for i in range(6)]
    told = Told(rewards, "run.patience=3")
    waited = []
    for update in range(1, 7):
        told.evaluate(None, update)  # type: ignore[arg-type]
        waited.append(told.waited)
        assert told.best == update  # the best needs no clear improvement
    assert waited == [
        0,
        1,
        0,
        1,
        0,
        1,
    ]  # even ones differ by .125 without noise, odd ones are hidden in theirs
    assert not told.out_of_patience
    flat = Told([np.ones(4)] * 3, "run.patience=1")
    assert [flat.evaluate(None, u, counts=u > 2) and flat.waited for u in (1, 2, 3)] == [0, 0, 1]  # type: ignore[arg-type]
    assert flat.out_of_patience
    with pytest.raises(TrainingError, match="evaluation after update 7: maker reward is not finite"):
        Told([np.array([1.0, np.nan])]).evaluate(None, 7)  # type: ignore[arg-type]


def test_the_same_episodes_each_time() -> None:
    cfg = market()
    trainer = Trainer(cfg, MarketEnv(cfg))
    evaluator = Evaluator(cfg, trainer.market.copy(12, 7))  # type: ignore[attr-defined]
    one, two = (evaluator.play(trainer.policies) for _ in range(2))
    trainer.start()
    trainer.step()
    changed = evaluator.play(trainer.policies)
    for role in ROLES:
        assert np.array_equal(one[role], two[role])
    assert not np.array_equal(one["maker"], changed["maker"])


def test_markets_with_known_answers_are_evaluated(tmp_path: Path) -> None:
    env = make_known("almgren_chriss", num_envs=32)
    run = train(toy_config(*SMALL, "ppo.gamma=1"), directory=tmp_path / "run", env=env)
    role = next(iter(env.specs))
    assert np.isfinite(run.history[f"eval/{role}/reward"].iloc[-1])
    assert (run.directory / "checkpoints" / "best.safetensors").is_file()


def test_without_a_copy_there_is_no_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(toy_config(*SMALL, "run.progress=true"), directory=tmp_path / "run", env=ToyEnv())
    said = capsys.readouterr().out
    assert "no evaluation: ToyEnv has no copy(num_envs, seed)" in said
    assert "policies: of the last update (4), not evaluated" in said
    assert not any(c.startswith("eval/") for c in run.history)
    names = {p.stem for p in (run.directory / "checkpoints").iterdir()}
    assert names == {"policy", "last"}


def test_wrong_settings_are_named_before_a_directory_is_made(tmp_path: Path) -> None:
    for env, overrides, match in (
        (ToyEnv(), ["run.patience=2"], r"run\.patience: .* ToyEnv has no copy"),
        (
            CopiedToy(),
            ["run.patience=2", "run.evaluate_every=0"],
            r"run\.patience: .* run\.evaluate_every is 0",
        ),
        (CopiedToy(), ["run.best_role=taker"], r"run\.best_role: 'taker' does not learn; .* \['maker'\]"),
    ):
        with pytest.raises(ConfigError, match=match):
            train(toy_config(*overrides), directory=tmp_path / "run", env=env)
    assert not (tmp_path / "run").exists()


def test_stopped_before_the_first_evaluation_the_last_is_kept(tmp_path: Path) -> None:
    run = train(
        toy_config(*SMALL), directory=tmp_path / "run", env=CopiedToy(), callback=lambda t, _: t.update == 2
    )
    assert run.stopped == "callback"
    about = json.loads((run.directory / "checkpoints" / "policy.json").read_text())
    assert (about["update"], about["evaluation"]) == (2, None)


def test_evaluated_every_so_often_and_at_the_end() -> None:
    evaluator = Told([], "run.evaluate_every=3")
    assert [u for u in range(1, 9) if evaluator.due(u, 8)] == [3, 6, 8]
