"""The update: losses by hand, ratio 1 on the first minibatch, masks, the critic's gradient, the KL stop."""

import itertools
import math

import pytest
import torch
from toy import ToyEnv, toy_config

from lobgraph.config import ConfigError, Schedule
from lobgraph.models.distributions import Gaussian
from lobgraph.models.policy import Output
from lobgraph.rl.ppo import LARGEST_LOSS, explained_variance, ppo_losses, spread_of, standardise, take
from lobgraph.rl.rollout import Rollout
from lobgraph.rl.schedules import share
from lobgraph.rl.trainer import Trainer

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}


def trainer_for(env: ToyEnv, *overrides: str) -> Trainer:
    trainer = Trainer(toy_config(*overrides), env)
    trainer.start()
    return trainer


def test_losses_by_hand() -> None:
    mean = torch.zeros(1, 1, 3, 1).requires_grad_()
    out = Output(Gaussian(mean, torch.zeros(1, 1, 1, 1)), torch.tensor([[1.0, 2.0, 3.0]]))
    actions = torch.tensor([0.0, 1.0, -2.0]).view(1, 1, 3, 1)
    new = [-0.5 * a * a - 0.5 * math.log(2 * math.pi) for a in (0.0, 1.0, -2.0)]
    ratios, advantages = [1.0, 1.5, 0.5], [2.0, 1.0, -1.0]
    old = torch.tensor([[n - math.log(r) for n, r in zip(new, ratios, strict=True)]])
    returns = torch.tensor([[0.0, 2.0, 5.0]])
    loss = ppo_losses(out, actions, old, torch.tensor([advantages]), returns, None, 0.2, 4.0)
    assert loss.policy.item() == pytest.approx(-(2.0 + 1.2 - 0.8) / 3, rel=1e-5)  # min(a r, a clip(r))
    assert float(loss.value) == pytest.approx(0.5 * (1 + 0 + 4) / 3 / 4.0, rel=1e-5)
    assert float(loss.approx_kl) == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 3, rel=1e-4)
    assert float(loss.clipfrac) == pytest.approx(2 / 3, rel=1e-5)
    assert float(loss.ratio_error) == pytest.approx(0.5, rel=1e-5)
    loss.policy.backward()
    assert mean.grad is not None
    assert mean.grad.flatten().tolist() == pytest.approx(
        [0.0, 0.0, 0.0]
    )  # 0 at its mean; the others are clipped
    mask = torch.tensor([[1.0, 0.0, 0.0]])
    masked = ppo_losses(out, actions, old, torch.tensor([advantages]), returns, mask, 0.2, 4.0)
    assert masked.policy.item() == pytest.approx(-2.0, rel=1e-5)
    assert float(masked.value) == pytest.approx(0.5 / 4.0, rel=1e-5)
    assert float(masked.clipfrac) == 0.0
    assert float(masked.ratio_error) == pytest.approx(0.0, abs=1e-6)


def test_standardise_and_explained_variance() -> None:
    x, mask = torch.randn(3, 50) * 4 + 1, (torch.rand(3, 50) < 0.5).float()
    y = standardise(x, mask)[mask.bool()]
    assert abs(float(y.mean())) < 1e-5
    assert abs(float(y.std(correction=0)) - 1) < 1e-5
    assert explained_variance(x, x, mask) == 1.0
    assert explained_variance(torch.zeros_like(x), x, None) == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(explained_variance(x, torch.ones_like(x), None))


def test_a_value_loss_is_a_share_of_the_returns_variance() -> None:
    """A critic that knows the mean alone has half, whatever the unit of the rewards."""
    returns, mask = torch.randn(1, 60) * 300 + 7, (torch.rand(1, 60) < 0.7).float()
    mean = (returns * mask).sum() / mask.sum()
    policy = Gaussian(torch.zeros(1, 1, 60, 1), torch.zeros(1, 1, 1, 1))
    for unit in (1.0, 1e-3, 1e-7):
        x = unit * returns
        out = Output(policy, (unit * mean).expand(1, 60))
        spread = spread_of(out.value, x, mask)
        loss = ppo_losses(out, torch.zeros(1, 1, 60, 1), torch.zeros(1, 60), x, x, mask, 0.2, spread)
        assert float(loss.value) == pytest.approx(0.5, rel=1e-4)


def test_a_value_loss_is_bounded_where_returns_hardly_vary() -> None:
    """Few samples, or returns that are equal but for rounding: errors are measured by themselves."""
    for level in (1e-6, 1.0, 3e6):
        same = torch.full((1, 5), level) * (1 + 1e-7 * torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0]))
        wrong = torch.full((1, 5), 2.0 * level)
        error = float((wrong - same).square().mean())
        assert 0.5 * error / spread_of(wrong, same, None) == pytest.approx(LARGEST_LOSS, rel=1e-3)
    assert spread_of(torch.zeros(1, 5), torch.zeros(1, 5), None) == 1.0
    assert spread_of(torch.full((1, 2), 100.0), torch.tensor([[0.0, 1.0]]), None) > 900.0


def test_take_equals_indexing() -> None:
    x, index = torch.randn(2, 3, 20, 4), torch.randperm(20)[:7]
    assert torch.equal(take(x, index), x[:, :, index])
    assert torch.equal(take(x[0], index), x[0][:, index])


@pytest.mark.parametrize("sharing", ["role", "agent", "all"])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_first_minibatch_has_ratio_one_in_every_update(sharing: str, shared: str) -> None:
    env = ToyEnv(ROLES, end_at=5)
    trainer = trainer_for(env, f"ppo.sharing={sharing}", f"graph.shared={shared}")
    for _ in range(3):
        metrics = trainer.step()
        for role in ROLES:
            assert metrics[f"losses/{role}/first_ratio_error"] < 1e-5
            assert metrics[f"losses/{role}/approx_kl"] > 0.0
    assert int(trainer.policies.node_norm.count) > 0  # though the statistics moved between updates


def test_every_parameter_gets_a_gradient() -> None:
    for sharing in ("role", "agent", "all"):
        trainer = trainer_for(ToyEnv(ROLES), f"ppo.sharing={sharing}", "ppo.epochs=1", "ppo.minibatches=1")
        trainer.step()
        for name, p in trainer.policies.named_parameters():
            assert p.grad is not None, name
            assert float(p.grad.abs().sum()) > 0, name


def test_rollout_keeps_what_the_environment_said() -> None:
    """Values of final observations stand where an episode was cut, the next step's elsewhere; masks follow ends."""
    env = ToyEnv(ROLES, episode=6, end_at=4, num_envs=4)
    rollout: Rollout = (trainer := trainer_for(env, "ppo.rollout_steps=16")).rollout
    rollout.collect()
    rollout.advantages()
    store = rollout.roles["maker"]
    values = rollout._by_step(store.values)
    steps = torch.arange(16)
    cut = steps % 6 == 5
    assert torch.equal(store.truncated[:, 0, 1], cut)
    assert torch.equal(store.terminated[:, 0, 0], steps % 6 == 3)
    assert torch.equal(store.active[:, 0, 0], steps % 6 < 4)
    assert store.active[:, :, 1].all()
    assert torch.equal(store.next_values[:-1][~cut[:-1]], values[1:][~cut[:-1]])
    assert not torch.isclose(store.next_values[5], values[6]).any()
    assert store.mask is not None
    assert torch.equal(rollout._by_step(store.mask), store.active.float())
    # Sample t * E + e of the agent-major storage is environment e at step t.
    out = trainer.policies(rollout.nodes, rollout.edges, rollout.vector)["maker"]
    torch.testing.assert_close(out.value, store.values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.policy.log_prob(store.actions), store.logprobs, atol=1e-4, rtol=1e-4)


def test_inactive_steps_change_nothing() -> None:
    """Two rollouts that differ only in what inactive agents saw and got lead to the same update."""
    results = []
    for noise in (0.0, 100.0):
        trainer = trainer_for(ToyEnv({"maker": 2}, episode=8, end_at=3), "ppo.target_kl=null")
        rollout = trainer.rollout
        rollout.collect()
        rollout.advantages()
        store = rollout.roles["maker"]
        assert store.mask is not None
        off = store.mask == 0
        assert off[0].any()
        store.returns[off] += noise
        store.advantages[off] -= noise
        rollout.nodes[0][:, off[0]] += noise
        trainer.ppo.update(rollout, 1e-3, 0.0)
        results.append(trainer.policies.state_dict())
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], msg=name)


def test_kl_stop_ends_the_epochs() -> None:
    free = trainer_for(ToyEnv(), "ppo.lr=0.05", "ppo.target_kl=null").step()
    held = trainer_for(ToyEnv(), "ppo.lr=0.05", "ppo.target_kl=0.001").step()
    assert free["charts/epochs"] == 4.0
    assert 0.1 <= held["charts/epochs"] < 4.0


def test_schedules() -> None:
    trainer = Trainer(
        toy_config("ppo.total_steps=5120", "ppo.lr=1e-3", "ppo.ent_coef=0.1", "ppo.ent_decay=0.2"), ToyEnv()
    )
    assert trainer.updates == 10
    seen = []
    for trainer.update in (1, 6, 10):
        seen.append((trainer.lr, trainer.ent_coef))
    flat = [x for pair in seen for x in pair]
    assert flat == pytest.approx([1e-3, 0.1, 5e-4, 0.06, 1e-4, 0.028])
    constant = Trainer(
        toy_config("ppo.lr_schedule=constant", "ppo.lr=1e-3", "ppo.ent_schedule=constant"), ToyEnv()
    )
    for constant.update in (1, 16):
        assert (constant.lr, constant.ent_coef) == (1e-3, 0.0)
        assert constant.std_bound is None


def test_shares_of_schedules() -> None:
    def shares(kind: Schedule, *rest: float) -> list[float]:
        return [share(kind, update, 8, *rest) for update in range(1, 9)]

    assert shares("linear", 0.0) == pytest.approx([1 - i / 8 for i in range(8)])
    assert shares("linear", 0.2) == pytest.approx([1 - 0.8 * i / 8 for i in range(8)])
    assert shares("constant", 0.5) == [1.0] * 8
    warm = shares("constant", 0.0, 0.5)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    half = shares("cosine", 0.1, 0.25)
    assert half[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert half[5] == pytest.approx(0.55)  # in the middle of its fall
    assert all(a > b for a, b in itertools.pairwise(half[2:]))
    assert shares("linear", 0.0, 1.0) == pytest.approx([i / 8 for i in range(1, 9)])
    assert share("cosine", 1000, 1000, 0.3) == pytest.approx(0.3, abs=1e-4)


def test_the_bound_of_the_standard_deviation_falls_to_its_end() -> None:
    trainer = trainer_for(
        ToyEnv(ROLES), "ppo.initial_std=0.5", "ppo.std_end=0.1", "ppo.total_steps=2048", "ppo.ent_coef=1"
    )
    for update in range(1, 5):  # the entropy bonus pushes it up
        metrics = trainer.step()
        bound = 0.5 * 0.2 ** (update / 4)
        for role in ROLES:
            assert metrics[f"charts/{role}/std"] == pytest.approx(bound, rel=1e-3)
            assert metrics[f"losses/{role}/first_ratio_error"] < 1e-5
    with pytest.raises(ConfigError, match=r"ppo\.std_end: must be at most initial_std \(0\.35\), got 0\.5"):
        toy_config("ppo.std_end=0.5")
