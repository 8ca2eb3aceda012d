"""The Gaussian policy against torch.distributions and by hand; actions are clipped for the environment alone."""

import math

import torch
from torch.distributions import Independent, Normal

from lobgraph.models.distributions import Gaussian, to_normalised, to_physical


def make(k: int = 2, items: int = 3, m: int = 5, d: int = 2) -> Gaussian:
    g = torch.Generator().manual_seed(0)
    return Gaussian(torch.randn(k, items, m, d, generator=g), torch.tensor([-0.5, 0.3]).view(1, 1, 1, d))


def test_log_prob_and_entropy_equal_torch_distributions() -> None:
    policy = make()
    actions = policy.sample(torch.Generator().manual_seed(1))
    reference = Normal(
        policy.mean.permute(0, 2, 1, 3), policy.log_std.exp().expand_as(policy.mean).permute(0, 2, 1, 3)
    )
    want = Independent(reference, 2)
    torch.testing.assert_close(policy.log_prob(actions), want.log_prob(actions.permute(0, 2, 1, 3)))
    torch.testing.assert_close(policy.entropy(), want.entropy().mean())


def test_log_prob_and_entropy_with_a_std_per_agent() -> None:
    policy = make()._replace(log_std=torch.tensor([[-1.0, 0.0], [0.2, -0.4]]).view(2, 1, 1, 2))
    actions = policy.mean + 0.7
    want = Normal(policy.mean, policy.log_std.exp().expand_as(policy.mean))
    torch.testing.assert_close(policy.log_prob(actions), want.log_prob(actions).sum((1, 3)))
    torch.testing.assert_close(policy.entropy(), want.entropy().sum((1, 3)).mean())


def test_log_prob_by_hand() -> None:
    policy = Gaussian(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), math.log(2.0)))
    want = -0.5 * (3.0 / 2.0) ** 2 - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    assert math.isclose(float(policy.log_prob(torch.full((1, 1, 1, 1), 3.0))), want, rel_tol=1e-6)


def test_samples_have_the_stated_moments_and_follow_the_generator() -> None:
    policy = Gaussian(torch.full((1, 1, 100_000, 1), 0.25), torch.full((1, 1, 1, 1), math.log(0.5)))
    x = policy.sample(torch.Generator().manual_seed(3))
    assert abs(float(x.mean()) - 0.25) < 0.01
    assert abs(float(x.std()) - 0.5) < 0.01
    assert torch.equal(x, policy.sample(torch.Generator().manual_seed(3)))
    assert not torch.equal(x, policy.sample(torch.Generator().manual_seed(4)))


def test_physical_units() -> None:
    low, high = torch.tensor([0.0, -1.0]), torch.tensor([8.0, 1.0])
    raw = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [7.0, -9.0]])
    want = torch.tensor([[0.0, -1.0], [4.0, 0.0], [8.0, 1.0], [8.0, -1.0]])
    torch.testing.assert_close(to_physical(raw, low, high), want)
    assert torch.equal(raw[3], torch.tensor([7.0, -9.0]))  # the sample itself is left alone
    torch.testing.assert_close(to_normalised(want, low, high), raw.clamp(-1, 1))
