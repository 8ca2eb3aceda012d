"""evaluate on the real market: the table's layout, pairing over noise, who may act; and training in that market."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lobgraph.agents.strategy import StrategyError
from lobgraph.config import Config, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate, summary
from lobgraph.models.policy import PolicyError, make_policies
from lobgraph.rl.checkpoint import save_policies
from lobgraph.rl.train import train


def market(*overrides: str) -> Config:
    base = (
        "market.books=2", "agents.maker.count=2", "agents.arbitrageur.count=1", "env.num_envs=8",
        "env.episode_steps=12", "flow.warmup=2", "ppo.rollout_steps=8", "ppo.total_steps=192", "graph.hidden=16",
        "run.progress=false", "run.tensorboard=false", "run.torch_threads=1", "env.threads=1",
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


def test_layout() -> None:
    table = evaluate(market("agents.taker.count=1"), episodes=5)
    assert len(table) == 5 * 4
    assert list(table["episode"].unique()) == [0, 1, 2, 3, 4]
    assert (table["length"] == 12).all()
    for role, part in table.groupby("role"):
        terms = part.filter(like="terms/").dropna(axis=1)
        assert set(terms) == {
            f"terms/{t}" for t in MarketEnv(market("agents.taker.count=1")).specs[str(role)].reward_terms
        }
        np.testing.assert_allclose(terms.sum(axis=1), part["return"], rtol=1e-4, atol=1e-3)
    makers = table[table["role"] == "maker"]
    assert (makers["max_inventory"] == 0).all()  # nobody was told to do anything
    assert (makers["equity"] == 0).all()


def test_same_seed_same_table_whatever_the_batch() -> None:
    cfg = market()
    policies = make_policies(MarketEnv(cfg), cfg)
    a = evaluate(cfg, {"maker": policies}, episodes=7, seed=3)
    pd.testing.assert_frame_equal(
        a, evaluate(cfg, {"maker": policies}, episodes=7, seed=3, batch=3), rtol=1e-5
    )
    b = evaluate(cfg, {"maker": policies}, episodes=7, seed=4)
    assert not np.allclose(a["return"], b["return"])
    pd.testing.assert_frame_equal(
        a, evaluate(market("env.stagger=true"), {"maker": policies}, episodes=7, seed=3)
    )


def test_every_kind_of_actor(tmp_path: Path) -> None:
    cfg = market()
    env = MarketEnv(cfg)
    policies = make_policies(env, cfg)
    path = save_policies(tmp_path / "p.safetensors", policies)
    want = evaluate(cfg, {"maker": policies, "arbitrageur": policies}, episodes=3)
    pd.testing.assert_frame_equal(want, evaluate(cfg, {"maker": str(path), "arbitrageur": path}, episodes=3))
    whole = torch.tensor([4.0, 4.0, 5.0]).expand(3, 2, 2, 3)
    quoting = evaluate(cfg, {"maker": lambda obs: whole, "arbitrageur": None}, episodes=3)
    by_role = evaluate(cfg, {"maker": lambda obs: {"maker": whole}}, episodes=3)
    pd.testing.assert_frame_equal(quoting, by_role)
    assert quoting.loc[quoting["role"] == "maker", "max_inventory"].max() > 0


def test_errors(tmp_path: Path) -> None:
    cfg = market()
    with pytest.raises(ValueError, match="the market has no 'taker'"):
        evaluate(cfg, {"taker": None})
    with pytest.raises(ValueError, match="episodes: must be at least 1"):
        evaluate(cfg, episodes=0)
    with pytest.raises(
        ValueError, match="expected a path, a strategy, policies, a function or None, got int"
    ):
        evaluate(cfg, {"maker": 3}, episodes=1)  # type: ignore[dict-item]
    with pytest.raises(PolicyError, match="no such policy file"):
        evaluate(cfg, {"maker": tmp_path / "x"}, episodes=1)
    with pytest.raises(
        StrategyError, match=r"no such run or policy file from .*, and no strategy 'artifacts/x'"
    ):
        evaluate(cfg, {"maker": "artifacts/x"}, episodes=1)
    other = market("env.show_regime=false")
    policies = make_policies(MarketEnv(other), other)
    with pytest.raises(
        PolicyError, match=r"vector_features differ.*new \['regime_normal', 'regime_stress'\]"
    ):
        evaluate(cfg, {"maker": policies}, episodes=1)


def test_summary_averages_agents_before_episodes() -> None:
    table = pd.DataFrame({
        "episode": [0, 0, 1, 1, 2, 2], "role": "maker", "agent": [0, 1] * 3,
        "return": [1.0, 3.0, 5.0, 7.0, 3.0, 5.0], "terms/mtm": np.nan,
    })  # fmt: skip
    row = summary(table, method="t")
    assert list(row["measure"]) == ["return"]
    assert row.loc[0, ["n", "mean", "std"]].tolist() == [3, 4.0, 2.0]
    assert row.loc[0, "high"] - 4.0 == pytest.approx(4.302653 * 2 / 3**0.5, rel=1e-6)


@pytest.mark.parametrize("books", [1, 3])
def test_training_in_the_market(tmp_path: Path, books: int) -> None:
    cfg = market(f"market.books={books}", "agents.taker.count=1", f"agents.arbitrageur.count={int(books > 1)}",
                 "agents.maker.risk.max_drawdown=20", "agents.maker.max_offset=3")  # fmt: skip
    run = train(cfg, directory=tmp_path / "run")
    assert run.history.filter(like="first_ratio_error").max().max() < 1e-4
    assert run.history["losses/maker/value"].notna().all()
    table = evaluate(cfg, dict.fromkeys(cfg.counts, run.directory), episodes=2)
    assert set(table["role"]) == set(cfg.counts)
    rerun = train(cfg, directory=tmp_path / "again")
    columns = run.rewards.columns.drop("seconds")
    pd.testing.assert_frame_equal(run.rewards[columns], rerun.rewards[columns], check_exact=True)
