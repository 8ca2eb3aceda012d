"""PPO finds known answers: linear best actions per node and pair, a neighbour's information, values of both ends."""

import pytest
import torch
from toy import ToyEnv, error, toy_config

from lobgraph.rl.trainer import Trainer


def learn(env: ToyEnv, *overrides: str) -> tuple[Trainer, list[dict[str, float]]]:
    trainer = Trainer(toy_config(*overrides), env)
    trainer.start()
    return trainer, [trainer.step() for _ in range(trainer.updates)]


@pytest.mark.parametrize("sharing", ["role", "agent", "all"])
def test_all_heads_find_the_best_action(sharing: str) -> None:
    env = ToyEnv({"maker": 2, "taker": 1, "arbitrageur": 1})
    trainer, history = learn(env, f"ppo.sharing={sharing}", "ppo.total_steps=16384")
    for role in env.specs:
        assert error(trainer.policies, env, role) < 0.012, role  # doing nothing: .12 to .13
        assert history[-1][f"rewards/{role}/mean"] > history[0][f"rewards/{role}/mean"] / 2
        assert (
            history[-1][f"losses/{role}/explained_variance"] > history[0][f"losses/{role}/explained_variance"]
        )


def test_separate_encoders_learn_too() -> None:
    env = ToyEnv({"maker": 1, "arbitrageur": 1})
    trainer, _ = learn(env, "graph.shared=false", "ppo.total_steps=16384")
    for role in env.specs:
        assert error(trainer.policies, env, role) < 0.012, role


def test_neighbours_information_needs_the_graph() -> None:
    errors = {}
    for kind in ("sage", "mlp"):
        env = ToyEnv({"maker": 1}, nodes=4, problem="neighbours")
        trainer, _ = learn(env, f"graph.encoder={kind}", "ppo.total_steps=16384")
        errors[kind] = error(trainer.policies, env, "maker")
    assert errors["sage"] < 0.01
    assert errors["mlp"] > 0.1  # the variance of what it cannot see is .17


def test_trained_on_four_nodes_acts_on_twelve() -> None:
    trainer, _ = learn(
        ToyEnv({"maker": 1, "arbitrageur": 1}, nodes=4, problem="neighbours"), "ppo.total_steps=16384"
    )
    big = ToyEnv({"maker": 1, "arbitrageur": 1}, nodes=12, problem="neighbours")
    policies = trainer.policies.attach(big)
    assert error(policies, big, "maker") < 0.015
    assert error(policies, big, "arbitrageur") < 0.015


def test_credit_for_a_delayed_reward() -> None:
    env = ToyEnv({"maker": 1}, delay=2)
    trainer, _ = learn(env, "ppo.total_steps=16384", "ppo.gamma=0.9")
    assert error(trainer.policies, env, "maker") < 0.012


@pytest.mark.parametrize("norm_reward", ["true", "false"])
def test_a_time_limit_is_not_an_end(norm_reward: str) -> None:
    """Constant reward 1, episodes cut after 10 steps: the value is 1 / (1 - gamma) everywhere."""
    env = ToyEnv(constant=1.0, episode=10)
    trainer, _ = learn(
        env, "ppo.total_steps=12288", "ppo.lr=6e-3", "ppo.gamma=0.8", f"ppo.norm_reward={norm_reward}"
    )
    scale = float(trainer.policies.scaler("maker").scale)
    values = trainer.policies.values(env.reset())["maker"] / scale
    assert abs(float(values.mean()) - 5.0) < 0.15  # with the limit taken for an end: 3.2
    torch.testing.assert_close(values, torch.full_like(values, 5.0), rtol=0.1, atol=0)


def test_a_termination_is_an_end() -> None:
    """Constant reward 1, agent 0 terminated after step 6: its value is the sum of what is left, agent 1's is not."""
    env = ToyEnv({"maker": 2}, constant=1.0, episode=10, end_at=6)
    trainer, history = learn(
        env,
        "ppo.total_steps=24576",
        "ppo.lr=6e-3",
        "ppo.gamma=0.8",
        "ppo.norm_reward=false",
        "ppo.sharing=agent",
    )
    obs, values = env.reset(), []
    for _ in range(6):
        values.append(trainer.policies.values(obs)["maker"].mean(0))
        obs, *_ = env.step(trainer.policies.act(obs))
    got = torch.stack(values)
    want = torch.tensor([(1 - 0.8 ** (6 - t)) / 0.2 for t in range(6)])
    torch.testing.assert_close(got[:, 0], want, rtol=0.08, atol=0.1)
    torch.testing.assert_close(got[:, 1], torch.full((6,), 5.0), rtol=0.08, atol=0)
    assert history[-1]["losses/maker/explained_variance"] > 0.9
