"""Roles that do not learn: what the learner sees of the market, who acts in their place, and wrong names answered early."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toy import ToyEnv, toy_config

from lobgraph.agents.makers import FixedSpread
from lobgraph.agents.strategy import Strategy, StrategyError
from lobgraph.config import Config, ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate
from lobgraph.models.policy import PolicyError, make_policies
from lobgraph.rl.checkpoint import load_policies, save_policies
from lobgraph.rl.held import HeldEnv, hold
from lobgraph.rl.run import Run
from lobgraph.rl.train import train
from lobgraph.rl.trainer import Trainer

# A user's file: a taker that buys on odd decisions and remembers how often it has acted.
USER = """
from dataclasses import dataclass
import numpy as np
from lobgraph.agents.strategy import Strategy

@dataclass
class Steady(Strategy):
    role = "taker"
    lots: int = 1

    def start(self, view):
        self.acted = 0

    def act(self, view):
        self.acted += 1
        return view.trade(np.sign(view.remaining) * self.lots * (self.acted % 2))
"""


def market(*overrides: str) -> Config:
    base = (
        "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=8",
        "env.episode_steps=12", "flow.warmup=2", "ppo.rollout_steps=8", "ppo.total_steps=192", "graph.hidden=16",
        "run.progress=false", "run.tensorboard=false", "run.torch_threads=1", "env.threads=1",
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER)
    return path


def random_actions(env: HeldEnv, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        role: torch.as_tensor(s.low)
        + torch.as_tensor(s.high - s.low)
        * torch.rand(env.num_envs, s.count, s.items, len(s.action_names), generator=generator)
        for role, s in env.specs.items()
    }


# --- what the learner sees ---


@pytest.mark.parametrize("held", [["taker"], ["maker"], ["arbitrageur"], ["maker", "arbitrageur"]])
def test_the_learner_sees_its_own_roles(held: list[str]) -> None:
    """Side by side in the market's buffers or not, the rows are those of the learning roles."""
    toy = ToyEnv({"maker": 2, "taker": 1, "arbitrageur": 1}, episode=3)
    env = HeldEnv(toy, dict.fromkeys(held))
    learners = [r for r in toy.specs if r not in held]
    obs = env.reset(4)
    for step in range(7):
        assert list(obs) == list(env.specs) == learners
        for role, spec in env.specs.items():
            assert spec.agents.stop - spec.agents.start == spec.count
            assert torch.equal(env.nodes[:, spec.agents], toy.nodes[:, toy.specs[role].agents])
            assert torch.equal(env.vector[:, spec.agents], toy.vector[:, toy.specs[role].agents])
            assert torch.equal(obs[role].nodes, toy.nodes[:, toy.specs[role].agents])
        assert env.nodes.shape[1] == env.vector.shape[1] == sum(s.count for s in env.specs.values())
        obs, *by_role, info = env.step(random_actions(env, step))
        assert all(list(part) == learners for part in (*by_role, info["active"], info["terms"]))
        assert (info["final_obs"] is not None) == (step % 3 == 2)
        if info["final_obs"] is not None:
            assert list(info["final_obs"]) == learners
            assert list(info["episodes"]["return"]) == list(toy.specs)  # for the log: everybody's


def test_nobody_held_is_the_market_itself() -> None:
    toy = ToyEnv({"maker": 1, "taker": 1})
    assert hold(toy, {}) is toy
    assert Trainer(toy_config(), toy).env is toy


def test_only_learners_are_told_what_to_do() -> None:
    env = HeldEnv(ToyEnv({"maker": 1, "taker": 1}), {"taker": None})
    env.reset()
    with pytest.raises(ValueError, match="'taker' does not learn here; roles are \\['maker'\\]"):
        env.step({"maker": torch.zeros(32, 1, 3, 1), "taker": torch.zeros(32, 1, 3, 1)})


def test_same_seed_same_market_with_a_strategy_that_remembers(user_file: Path) -> None:
    def nodes() -> torch.Tensor:
        seen = [env.reset(7)["maker"].nodes.clone()]
        steps = range(15)  # past the end of the episode
        seen.extend(env.step(random_actions(env, t))[0]["maker"].nodes.clone() for t in steps)
        return torch.stack(seen)

    trainer = Trainer(cfg := market(f"agents.taker.actor={user_file}:Steady:lots=2"), MarketEnv(cfg))
    env = trainer.env
    assert isinstance(env, HeldEnv)
    first = nodes()
    env.step(random_actions(env, 99))  # leaves the strategy at another count
    assert torch.equal(first, nodes())


# --- training ---


def test_the_taker_learns_against_a_scripted_maker(tmp_path: Path) -> None:
    cfg = market("agents.maker.actor=fixed_spread:half_spread=1")
    run = train(cfg, directory=tmp_path / "run")
    assert set(run.policies.specs) == {"taker"}
    assert [p.name for p in sorted(run.directory.glob("*.safetensors"))] == ["taker_policy.safetensors"]
    assert load_config(run.directory / "config.yaml").agents.maker.actor == "fixed_spread:half_spread=1"
    assert run.history["losses/taker/policy"].notna().all()
    assert not run.history.filter(like="losses/maker").columns.any()
    last = run.rewards[run.rewards["update"] == run.rewards["update"].max()]
    assert last[["role", "agent", "actor"]].values.tolist() == [
        ["maker", 0, "fixed_spread:half_spread=1"],
        ["maker", 1, "fixed_spread:half_spread=1"],
        ["taker", 0, "learn"],
    ]
    assert run.history["rewards/maker/mean"].iloc[-1] == pytest.approx(last["reward_mean"][:-1].mean())
    assert (run.rewards.loc[run.rewards["role"] == "maker", "inventory_max"] > 0).all()  # it does trade
    again = train(cfg, directory=tmp_path / "again")
    pd.testing.assert_frame_equal(
        run.rewards.drop(columns="seconds"), again.rewards.drop(columns="seconds"), check_exact=True
    )


def test_the_maker_learns_against_a_users_taker(tmp_path: Path, user_file: Path) -> None:
    run = train(market(f"agents.taker.actor={user_file}:Steady"), directory=tmp_path / "run")
    assert set(run.policies.specs) == {"maker"}
    taker = run.rewards[run.rewards["role"] == "taker"]
    assert (taker["inventory_max"] == 6).all()  # one lot at every other of 12 decisions
    assert (taker["actor"] == f"{user_file}:Steady").all()


def test_maker_and_arbitrageur_learn_around_a_held_taker(tmp_path: Path) -> None:
    """Their rows are not side by side: the rollout still learns from what it acted on."""
    cfg = market(
        "agents.arbitrageur.count=1", "agents.taker.actor=nothing", "agents.maker.risk.max_drawdown=20"
    )
    run = train(cfg, directory=tmp_path / "run")
    assert set(run.policies.specs) == {"maker", "arbitrageur"}
    assert run.history.filter(like="first_ratio_error").max().max() < 1e-4
    assert (run.rewards.loc[run.rewards["role"] == "taker", "inventory_max"] == 0).all()


def test_an_earlier_policy_is_held_as_it_was(tmp_path: Path) -> None:
    """The held policy's actions are its means in the same market, and its run's file stays as it is."""
    first = train(market("agents.maker.actor=fixed_spread"), directory=tmp_path / "first")
    before = (tmp_path / "first" / "taker_policy.safetensors").read_bytes()
    cfg = market(f"agents.taker.actor={tmp_path / 'first'}", "agents.taker.threshold=0")
    second = train(cfg, directory=tmp_path / "second")
    assert set(second.policies.specs) == {"maker"}
    assert (tmp_path / "first" / "taker_policy.safetensors").read_bytes() == before
    env = Trainer(cfg, MarketEnv(cfg)).env
    assert isinstance(env, HeldEnv)
    plain = MarketEnv(cfg)
    policies = first.policies.attach(plain)
    env.reset(3)
    obs = plain.reset(3)
    for t in range(14):
        actions = random_actions(env, t)
        episodes = env.step(actions)[-1]["episodes"]
        obs, *_ = plain.step(actions | policies.act(obs, deterministic=True))
        assert torch.equal(env.nodes, plain.nodes[:, :2])
        assert t != 11 or (episodes["max_inventory"]["taker"] > 0).any()  # it does trade


# --- wrong names ---


def test_wrong_actors_are_named_before_a_directory_is_made(tmp_path: Path, user_file: Path) -> None:
    cfg = market()
    makers = save_policies(tmp_path / "m.safetensors", make_policies(MarketEnv(cfg), cfg).subset("maker"))
    for text, kind, match in (
        ("fixed_spred", StrategyError, "no strategy 'fixed_spred'; did you mean 'fixed_spread'"),
        ("fixed_spread", StrategyError, "is a strategy for a maker, not for a taker"),
        ("artifacts/nowhere", StrategyError, "no such run or policy file"),
        (f"{tmp_path}", PolicyError, "not a run directory"),
        (f"{makers}", PolicyError, r"'taker' act only for \['maker'\]"),
        (f"{tmp_path}/none.py:Steady", StrategyError, "none.py: no such file"),
        (f"{user_file}:Other", StrategyError, "no strategy class 'Other'; it has Steady"),
        (f"{user_file}:Steady:lot=3", StrategyError, "no parameter 'lot'"),
    ):
        with pytest.raises(kind, match=rf"^agents\.taker\.actor: .*{match}"):
            train(market(f"agents.taker.actor={text}"), directory=tmp_path / "run")
    with pytest.raises(PolicyError, match=r"^agents\.maker\.actor: .*vector_features differ"):
        train(market(f"agents.maker.actor={makers}", "env.show_regime=false"), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_somebody_must_learn(tmp_path: Path) -> None:
    cfg = market("agents.maker.actor=fixed_spread", "agents.taker.actor=nothing")
    assert cfg.learners == []
    with pytest.raises(ConfigError, match=r"agents\.maker\.actor or agents\.taker\.actor: no role learns"):
        train(cfg, directory=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"no role has an agent to train; set agents\.<role>\.count"):
        train(market("agents.maker.count=0", "agents.taker.count=0"), directory=tmp_path / "run")
    with pytest.raises(ConfigError, match="no role learns"):
        HeldEnv(MarketEnv(cfg), {"maker": None, "taker": None})
    assert not (tmp_path / "run").exists()


def test_the_actor_of_an_absent_role_does_not_matter(tmp_path: Path) -> None:
    cfg = market("agents.arbitrageur.actor=no_such_strategy")
    assert isinstance(train(cfg, directory=tmp_path / "run"), Run)


# --- evaluation ---


def test_evaluation_takes_the_actors_of_the_configuration(tmp_path: Path) -> None:
    cfg = market("agents.maker.actor=fixed_spread:half_spread=1")
    told = evaluate(market(), {"maker": FixedSpread(half_spread=1.0)}, episodes=4)
    pd.testing.assert_frame_equal(evaluate(cfg, episodes=4), told)
    assert told.loc[told["role"] == "maker", "max_inventory"].max() > 0
    assert (
        told.loc[told["role"] == "taker", "max_inventory"] == 0
    ).all()  # it is to learn: nobody acts for it
    still = evaluate(cfg, {"maker": None}, episodes=4)  # what is given goes before the configuration
    assert (still["max_inventory"] == 0).all()
    with pytest.raises(StrategyError, match=r"agents\.taker\.actor: 'twapp'"):
        evaluate(market("agents.taker.actor=twapp"), episodes=1)
    policies = make_policies(MarketEnv(cfg), cfg)
    path = save_policies(tmp_path / "p.safetensors", policies)
    held = market(f"agents.maker.actor={path}", f"agents.taker.actor={path}")
    want = evaluate(market(), {"maker": policies, "taker": policies}, episodes=4)
    pd.testing.assert_frame_equal(evaluate(held, episodes=4, deterministic=False), want)
    with pytest.raises(PolicyError, match=r"agents\.maker\.actor: .*vector_features differ"):
        evaluate(market(f"agents.maker.actor={path}", "env.show_regime=false"), episodes=1)
    assert set(load_policies(path).specs) == {"maker", "taker"}


SEEN: list = []  # (step, decisions remembered) of each decision


class Remembers(Strategy):
    """Counts the decisions since its memory was void."""

    role = "taker"

    def act(self, view):
        if not hasattr(self, "age"):
            self.age = np.full(view.envs, 1_000_000)
        self.age = np.where(view.fresh, 0, self.age + 1)
        SEEN.append((view.step, self.age.copy()))
        return view.trade(0)


def test_memory_is_void_at_the_first_decision_also_in_the_middle_of_an_episode() -> None:
    """Staggered environments start their first episode at a step of their own."""
    SEEN.clear()
    env = HeldEnv(
        MarketEnv(market("env.stagger=true", "env.episode_steps=30"), seed=0), {"taker": Remembers()}
    )
    env.reset()
    for t in range(40):
        env.step(random_actions(env, t))
    first, age = SEEN[0]
    assert (first > 0).any()
    assert (age == 0).all()
    for step, age in SEEN:
        assert (age <= step).all()  # what is remembered is of this episode
    assert (SEEN[-1][1] < 30).all()
