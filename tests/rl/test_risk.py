"""Risk aversion and aims by role: advantages against their definition, and a gamble whose best stake is known."""

import math

import numpy as np
import pytest
import torch

from lobgraph.config import load_config
from lobgraph.known.market import KnownMarket, Policy
from lobgraph.known.params import KnownParams
from lobgraph.rl.gae import STEEPEST, compute_gae, utility
from lobgraph.rl.rollout import Aim, aims_of
from lobgraph.rl.trainer import Trainer

from .toy import ToyEnv


def test_advantages_are_sums_of_utilities_of_temporal_differences() -> None:
    T, a, gamma, lam = 12, 0.7, 0.9, 0.8
    rng = np.random.default_rng(1)
    r, v, nv = rng.normal(size=(3, T)) * 0.5
    term, trunc = np.zeros((2, T), bool)
    term[4], trunc[8] = True, True
    delta = r + gamma * nv * ~term - v
    assert (a * delta > -STEEPEST).all()
    u = (1.0 - np.exp(-a * delta)) / a
    want = np.zeros(T)
    for t in range(T):
        weight = 1.0
        for i in range(t, T):
            want[t] += weight * u[i]
            if term[i] or trunc[i]:
                break
            weight *= gamma * lam
    tensors = [torch.from_numpy(x)[:, None, None] for x in (r, v, nv, term, trunc)]
    advantages, returns = compute_gae(*tensors, gamma, lam, a)
    np.testing.assert_allclose(advantages[:, 0, 0].numpy(), want, atol=1e-12)
    np.testing.assert_allclose(returns[:, 0, 0].numpy(), want + v, atol=1e-12)


def test_the_critics_fixed_point_is_the_certainty_equivalent() -> None:
    a = 1.3
    gains, chance = torch.tensor([0.4, -0.2, 0.1], dtype=torch.float64), torch.tensor([0.3, 0.5, 0.2])
    certain = -torch.log((chance * torch.exp(-a * gains)).sum()) / a
    assert float((chance * utility(gains - certain, a)).sum()) == pytest.approx(0.0, abs=1e-7)
    # over two steps that follow each other: certainty equivalents of independent gambles add up
    two = (chance[:, None] * chance * utility(gains[:, None] + gains - 2 * certain, a)).sum()
    assert float(two) == pytest.approx(0.0, abs=1e-7)


def test_utility_goes_on_as_its_tangent() -> None:
    a, at = 2.0, -STEEPEST / 2.0
    x = torch.tensor([at - 1e-4, at, at + 1e-4, at - 3.0, 1.0, 0.0], dtype=torch.float64)
    u = utility(x, a).numpy()
    assert u[1] == pytest.approx((1.0 - math.exp(STEEPEST)) / a)
    assert (u[1] - u[0]) / 1e-4 == pytest.approx((u[2] - u[1]) / 1e-4, rel=1e-3)
    assert u[3] == pytest.approx(u[1] - 3.0 * math.exp(STEEPEST))
    assert u[4] == pytest.approx((1.0 - math.exp(-2.0)) / a)
    assert u[5] == 0.0


class Gamble(KnownMarket[KnownParams]):
    """Stake in 0..4 on a normal gain of mean MU and deviation SD: with risk aversion a the best is MU / (a SD^2)."""

    MU, SD = 0.054, 0.15
    role, action_names, terms, node_features = "maker", ("stake",), ("gain",), ("nothing",)

    def _bounds(self):
        return [0.0], [4.0]

    def _start(self):
        pass

    def _look(self):
        pass

    def _advance(self, action):
        gain = action[:, 0] * (self.MU + self.SD * self.normal(1))
        self.equity += gain
        return gain[:, None]

    def optimal(self) -> Policy:
        raise NotImplementedError

    def value(self) -> float:
        raise NotImplementedError

    def policies(self):
        return {}


@pytest.mark.parametrize(("aversion", "best"), [(1.6, 1.5), (4.8, 0.5), (0.0, 4.0)])
def test_the_best_stake_is_learned(aversion: float, best: float) -> None:
    env = Gamble(KnownParams(steps=4), num_envs=1024)
    cfg = load_config(None, ["env.num_envs=1024", "market.books=1", "graph.encoder=mlp", "graph.hidden=8",
                             "graph.layers=1", "ppo.total_steps=240_000", "ppo.rollout_steps=4", "ppo.gamma=1.0",
                             "ppo.lr=2e-2", "ppo.minibatches=4", "ppo.gae_lambda=0", "ppo.target_kl=0.1", "ppo.std_end=0.1", f"agents.maker.risk_aversion={aversion}"])  # fmt: skip
    trainer = Trainer(cfg, env, {})
    trainer.start()
    while trainer.update < trainer.updates:
        trainer.step()
    stakes = trainer.policies.act(env.reset(seed=5), deterministic=True)["maker"]
    assert float(stakes.mean()) == pytest.approx(best, abs=0.25)


def test_each_role_has_its_own_aim() -> None:
    cfg = load_config(None, ["ppo.gamma=0.9", "ppo.gae_lambda=0.7", "agents.maker.gamma=0.5",
                             "agents.taker.gae_lambda=0.0", "agents.taker.risk_aversion=2"])  # fmt: skip
    assert aims_of(cfg, ["maker", "taker"]) == {"maker": Aim(0.5, 0.7, 0.0), "taker": Aim(0.9, 0.0, 2.0)}


def test_a_rollout_goes_by_each_roles_aim() -> None:
    env = ToyEnv({"maker": 1, "taker": 2}, num_envs=8)
    cfg = load_config(None, ["env.num_envs=8", "ppo.rollout_steps=16", "ppo.total_steps=128", "ppo.minibatches=2",
                             "ppo.norm_reward=false", "agents.maker.gamma=1e-9"])  # fmt: skip
    trainer = Trainer(cfg, env, {})
    trainer.start()
    trainer.step()
    maker, taker = trainer.rollout.roles["maker"], trainer.rollout.roles["taker"]
    rewards = maker.rewards.permute(2, 0, 1).reshape(maker.returns.shape)
    torch.testing.assert_close(maker.returns, rewards, atol=1e-5, rtol=0.0)  # nothing beyond the next reward
    paid = taker.rewards.permute(2, 0, 1).reshape(taker.returns.shape)
    assert float((taker.returns - paid).abs().mean()) > 0.05
