"""A curriculum over regimes: training meets what each stage says, evaluation the regimes as configured."""

from pathlib import Path

import numpy as np
import pytest
from toy import ToyEnv, toy_config

from lobgraph.config import Config, ConfigError, dump_config, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market.state import REGIME
from lobgraph.rl.evaluator import Evaluator
from lobgraph.rl.train import train
from lobgraph.rl.trainer import Trainer

STAGES = "[{until: 0.25, initial: {stress: 1}, switch: 0}, {until: 0.5, initial: {normal: 1}, switch: 0}]"


def market(*overrides: str) -> Config:
    base = (
        "env.num_envs=64", "env.episode_steps=4", "flow.warmup=1", "flow.intensity=2", "market.dt=0.5",
        "regimes.switch_rates={normal: {stress: 0.4}, stress: {normal: 0.4}}", "regimes.initial={normal: 0.7, stress: 0.3}",
        "ppo.rollout_steps=8", "ppo.total_steps=4096", "ppo.epochs=1", "graph.hidden=8", "run.progress=false",
        "run.tensorboard=false", "run.torch_threads=1", "env.threads=1", "run.evaluate_episodes=32",
        "run.evaluate_every=4",
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


def stress(env: MarketEnv) -> float:
    """Share of the environments that are in stress now."""
    return float(env.state.clock[:, REGIME].mean())


def play(env: MarketEnv, steps: int) -> list[float]:
    """Shares after each step."""
    spec = env.specs["maker"]
    middle = np.broadcast_to((spec.low + spec.high) / 2, (env.num_envs, 1, 1, len(spec.action_names)))
    shares = []
    for _ in range(steps):
        env.step({"maker": middle.astype(np.float32)})  # type: ignore[dict-item]
        shares.append(stress(env))
    return shares


def test_a_market_draws_regimes_as_it_is_told() -> None:
    env = MarketEnv(market(), num_envs=2000)
    env.reset()
    assert stress(env) == pytest.approx(0.3, abs=0.04)
    env.set_regimes({"stress": 1.0}, switch=0.0)
    before = stress(env)
    assert play(env, 3) == [before] * 3  # nobody switches from now on; new episodes draw by the new law
    assert play(env, 1) == [1.0]
    env.set_regimes({"normal": 1.0}, switch=2.0)
    env.reset()  # the law outlasts a reset
    assert stress(env) == 0.0
    flip = 0.5 * (1.0 - np.exp(-4 * 0.4 * 0.5))  # of the two-state chain at twice .4 /s after .5 s
    assert play(env, 1)[0] == pytest.approx(flip, abs=0.04)
    env.set_regimes()
    env.reset()
    plain = MarketEnv(market(), num_envs=2000)
    plain.reset()
    assert play(env, 9) == play(plain, 9)
    assert np.array_equal(env.state.qty, plain.state.qty)


def test_training_goes_through_the_stages(tmp_path: Path) -> None:
    cfg = market(f"curriculum={STAGES}")
    env = MarketEnv(cfg)
    shares: list[float] = []
    run = train(
        cfg, directory=tmp_path / "run", env=env, callback=lambda *_: shares.append(stress(env)) or False
    )
    assert run.history["charts/stage"].tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert shares[:4] == [1.0, 1.0, 0.0, 0.0]  # a rollout is two episodes: all of them started in the stage
    assert all(0.1 < share < 0.9 for share in shares[4:])


def test_evaluation_meets_the_regimes_as_configured(tmp_path: Path) -> None:
    cfg = market(f"curriculum={STAGES}")
    trainer = Trainer(cfg, MarketEnv(cfg))
    trainer.start()
    trainer.step()
    plain = market()
    told, free = (Evaluator(c, e.copy(32, 5)) for c, e in ((cfg, trainer.market), (plain, MarketEnv(plain))))  # type: ignore[attr-defined]
    assert np.array_equal(told.play(trainer.policies)["maker"], free.play(trainer.policies)["maker"])


def test_patience_waits_for_the_end_of_the_curriculum(tmp_path: Path) -> None:
    cfg = market(
        "curriculum=[{until: 0.6}]",
        "run.evaluate_every=1",
        "run.patience=1",
        "ppo.lr=1e-9",
        "ppo.norm_obs=false",
    )
    run = train(cfg, directory=tmp_path / "run")
    assert run.stopped == "patience"
    assert run.history["update"].iloc[-1] == 6  # the first update after .6 of 8


def test_errors_name_the_stage() -> None:
    assert load_config(None, [f"curriculum={STAGES}"]).curriculum[1].switch == 0.0
    for text, match in (
        (
            "[{until: 0.5}, {until: 0.3}]",
            r"curriculum\.1\.until: must be above that of the stage before \(0\.5\), got 0\.3",
        ),
        ("[{until: 0.5, initial: {panic: 1}}]", r"curriculum\.0\.initial: unknown regime 'panic'; kinds are"),
        (
            "[{until: 0.5, initial: {normal: 0.5}}]",
            r"curriculum\.0\.initial: probabilities must sum to 1, got 0\.5",
        ),
        ("[{until: 1.5}]", r"curriculum\.0\.until: "),
        ("[{initial: {normal: 1}}]", r"curriculum\.0\.until: "),
        ("[{until: 1, swich: 0}]", r"curriculum\.0\.swich: unknown key"),
        ("[{until: 1, switch: -1}]", r"curriculum\.0\.switch: "),
    ):
        with pytest.raises(ConfigError, match=match):
            load_config(None, [f"curriculum={text}"])
    with pytest.raises(ConfigError, match="curriculum: a replayed market has the regimes of its record"):
        load_config(None, [f"curriculum={STAGES}", "replay.files={A0: x.csv}"])
    with pytest.raises(ConfigError, match="curriculum: ToyEnv has no regimes to choose"):
        Trainer(toy_config(f"curriculum={STAGES}"), ToyEnv())


def test_a_curriculum_is_written_and_read_again(tmp_path: Path) -> None:
    cfg = market(f"curriculum={STAGES}")
    (tmp_path / "c.yaml").write_text(dump_config(cfg))
    assert load_config(tmp_path / "c.yaml") == cfg
