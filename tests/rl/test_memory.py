"""Training a recurrent policy: sequences recomputed as they were acted, values at ends, a task that needs memory."""

from pathlib import Path

import pytest
import torch
from toy import ToyEnv, error, toy_config

from lobgraph.config import Config, ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate
from lobgraph.models.policy import PolicySet
from lobgraph.rl.checkpoint import load_policies
from lobgraph.rl.held import HeldEnv
from lobgraph.rl.train import train
from lobgraph.rl.trainer import Trainer

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}
GRU = "graph.memory=gru"


def market(*overrides: str) -> Config:
    """Two books, staggered episodes that end at different times, makers that may be stopped early."""
    base = (
        "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=8",
        "env.episode_steps=12", "env.stagger=true", "agents.maker.risk.max_drawdown=20", "flow.warmup=2",
        "ppo.rollout_steps=20", "ppo.total_steps=480", "graph.hidden=16", "run.progress=false", "run.tensorboard=false",
        "run.torch_threads=1", "env.threads=1", "run.evaluate_every=0", GRU,
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


def loud(policies: PolicySet) -> PolicySet:
    """Heads turned up, so that differences show."""
    with torch.no_grad():
        for actor in policies.actors.values():
            actor.out.weight.normal_(generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, operator]
    return policies


@pytest.mark.parametrize("sharing", ["role", "agent", "all"])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_first_minibatch_has_ratio_one(sharing: str, shared: str) -> None:
    env = ToyEnv(ROLES, episode=5, end_at=3)  # three episodes end within a rollout, none at its ends
    cfg = toy_config(GRU, f"ppo.sharing={sharing}", f"graph.shared={shared}", "ppo.minibatches=4")
    trainer = Trainer(cfg, env)
    trainer.start()
    for _ in range(3):
        metrics = trainer.step()
        for role in ROLES:
            assert metrics[f"losses/{role}/first_ratio_error"] < 1e-5
            assert metrics[f"losses/{role}/approx_kl"] > 0.0


def test_first_minibatch_has_ratio_one_where_episodes_end_at_different_times() -> None:
    cfg = market()
    trainer = Trainer(cfg, MarketEnv(cfg))
    trainer.start()
    for _ in range(3):
        metrics = trainer.step()
        starts = trainer.rollout.fresh.view(20, 8).sum(0)
        assert (starts > 0).all()
        assert len(set((trainer.rollout.final.sample // 8).tolist())) > 2  # steps after which some ended
        for role in ("maker", "taker"):
            assert metrics[f"losses/{role}/first_ratio_error"] < 1e-4


def test_every_parameter_gets_a_gradient() -> None:
    for sharing in ("role", "agent", "all"):
        cfg = toy_config(GRU, f"ppo.sharing={sharing}", "ppo.epochs=1", "ppo.minibatches=1")
        trainer = Trainer(cfg, ToyEnv(ROLES))
        trainer.start()
        trainer.step()
        for name, p in trainer.policies.named_parameters():
            assert p.grad is not None, name
            assert float(p.grad.abs().sum()) > 0, name


def test_acting_step_by_step_is_the_sequence() -> None:
    """Where the feature time_left says that an episode starts, the environment had ended the one before."""
    env = MarketEnv(cfg := market(), seed=3)
    policies = loud(Trainer(cfg, env).policies)
    obs = env.reset()
    nodes, edges, vectors, fresh, sent = [], [], [], [torch.ones(8, dtype=torch.bool)], []
    for _ in range(30):
        nodes.append(env.nodes.clone())
        edges.append(env.edges.clone())
        vectors.append(env.vector.clone())
        sent.append(policies.act(obs, deterministic=True))
        obs, _, _, _, info = env.step(sent[-1])
        fresh.append(info["done"].clone())
    assert 8 < torch.stack(fresh[:30]).sum() < 40
    whole = (torch.cat(x) for x in (nodes, edges, vectors))
    n, e, v = policies.normalise_(*whole)
    out, last = policies.recur(
        n.permute(1, 2, 0, 3), e.transpose(0, 1), v.transpose(0, 1), policies.blank(8), torch.cat(fresh[:30])
    )
    assert policies.state is not None
    torch.testing.assert_close(last, policies.state, atol=1e-5, rtol=1e-4)
    for role in out:
        got = policies.physical(role, out[role].policy.mean)
        want = torch.cat([actions[role] for actions in sent])
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
        assert float(want.std()) > 0.01


def test_values_at_ends_follow_what_led_to_them() -> None:
    env = ToyEnv(ROLES, episode=6, num_envs=4)
    trainer = Trainer(toy_config(GRU, "ppo.rollout_steps=16", "ppo.minibatches=4"), env)
    trainer.start()
    for _ in range(2):  # the second rollout starts in the middle of an episode
        rollout = trainer.rollout
        rollout.collect()
        state = rollout.state
        for t in range(16):
            cols = slice(4 * t, 4 * t + 4)
            now = (rollout.nodes[:, :, cols], rollout.edges[:, cols], rollout.vector[:, cols])
            out, state = trainer.policies.recur(*now, state, rollout.fresh[cols])
            store = rollout.roles["maker"]
            torch.testing.assert_close(out["maker"].value, store.values[:, cols], atol=1e-5, rtol=1e-4)
            rows = (rollout.final.sample // 4 == t).nonzero()[:, 0]
            if len(rows):
                f = rollout.final
                torch.testing.assert_close(state, f.state[:, :, rows])
                last = trainer.policies.normalise_(f.nodes[rows], f.edges[rows], f.vector[rows])
                major = (last[0].permute(1, 2, 0, 3), last[1].transpose(0, 1), last[2].transpose(0, 1))
                value = trainer.policies(*major, state, torch.zeros(4, dtype=torch.bool))["maker"].value
                torch.testing.assert_close(value.t(), store.next_values[t], atol=1e-5, rtol=1e-4)
        assert rollout.ended >= 2 * 4


def test_what_was_shown_once_is_remembered() -> None:
    errors = {}
    for memory in ("none", "gru"):
        env = ToyEnv({"maker": 1}, nodes=2, problem="recall", episode=4)
        cfg = toy_config(
            f"graph.memory={memory}", "ppo.total_steps=20480", "ppo.minibatches=4", "ppo.lr=5e-3"
        )
        trainer = Trainer(cfg, env)
        trainer.start()
        for _ in range(trainer.updates):
            trainer.step()
        errors[memory] = error(trainer.policies, env, "maker", steps=8)
    assert errors["gru"] < 0.03
    assert errors["none"] > 0.12  # three steps of four it cannot know .8 x0, whose variance is .21


def test_a_recurrent_policy_is_loaded_by_its_path_and_held(tmp_path: Path) -> None:
    cfg = market("env.stagger=false")
    run = train(cfg, directory=tmp_path / "run")
    env = MarketEnv(cfg, seed=5)
    loaded = load_policies(run.directory, env)
    alone = load_policies(run.directory / "taker_policy.safetensors", env)
    run.policies.attach(env)
    obs = env.reset()
    held = market("env.stagger=false", f"agents.taker.actor={run.directory}")
    shown = Trainer(held, MarketEnv(held, seed=5)).env
    assert isinstance(shown, HeldEnv)
    shown.reset()
    for _ in range(30):  # past the ends of two episodes
        want = run.policies.act(obs, deterministic=True)
        got = loaded.act(obs, deterministic=True)
        assert all(torch.equal(got[role], want[role]) for role in want)
        torch.testing.assert_close(alone.act(obs, deterministic=True)["taker"], want["taker"])
        obs, *_ = env.step(want)
        seen, *_ = shown.step({"maker": want["maker"]})
        torch.testing.assert_close(seen["maker"].nodes, obs["maker"].nodes, atol=1e-4, rtol=1e-4)
    once = evaluate(cfg, {"maker": run.directory, "taker": run.directory}, episodes=6, batch=6)
    parts = evaluate(cfg, {"maker": run.directory, "taker": run.directory}, episodes=6, batch=2)
    assert once.equals(parts)


def test_minibatches_are_whole_environments() -> None:
    with pytest.raises(
        ConfigError, match=r"ppo\.minibatches: 8 must divide env\.num_envs = 12 with graph\.memory: gru"
    ):
        load_config(None, ["env.num_envs=12", GRU])
    assert load_config(None, ["env.num_envs=12"]).ppo.minibatches == 8
    with pytest.raises(ConfigError, match=r"must divide env\.num_envs = 12"):
        Trainer(toy_config(GRU), ToyEnv(num_envs=12))
