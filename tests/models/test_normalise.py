"""Running statistics against numpy, frozen between commits; reward scale against a recursion by hand."""

import numpy as np
import pytest
import torch

from lobgraph.models.normalise import CLIP, Normaliser, RewardScaler, RunningMoments


def test_moments_equal_numpy_over_uneven_batches() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal([1e6, -3.0, 0.0], [1.0, 20.0, 1e-3], size=(1000, 3))
    moments, start = RunningMoments(3), 0
    for size in (1, 2, 97, 400, 500):
        moments.update(torch.from_numpy(data[start : start + size]).view(size, 1, 3))
        start += size
    assert start == 1000
    np.testing.assert_allclose(moments.mean.numpy(), data.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.var.numpy(), data.var(0), rtol=1e-9)
    assert float(moments.count) == 1000


def test_mask_leaves_rows_out() -> None:
    x = torch.randn(4, 3, 2)
    mask = torch.tensor([[True, False, True]] * 4)
    masked, chosen = RunningMoments(2), RunningMoments(2)
    masked.update(x, mask)
    chosen.update(x[:, [0, 2]])
    assert torch.equal(masked.mean, chosen.mean)
    masked.update(x, torch.zeros(4, 3, dtype=torch.bool))
    assert torch.equal(masked.var, chosen.var)


def test_statistics_come_into_use_at_commit_only() -> None:
    norm, x = Normaliser(3), torch.rand(50, 3) * 4 + 2
    norm.update(x)
    assert torch.equal(norm(x), x)
    norm.commit()
    got, want = norm(x), (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    norm(x * 100)
    assert torch.equal(norm(x), got)
    assert float(norm(torch.full((1, 3), 1e9)).max()) == CLIP


def test_constant_feature_is_centred_not_magnified() -> None:
    norm = Normaliser(1)
    norm.update(torch.full((10, 1), 0.3))
    norm.commit()
    torch.testing.assert_close(norm(torch.tensor([[0.31]])), torch.tensor([[0.01]]), atol=1e-6, rtol=0)


def test_non_finite_is_refused() -> None:
    x = torch.zeros(5, 3)
    x[2, 1] = float("nan")
    with pytest.raises(FloatingPointError, match=r"features \[1\]"):
        RunningMoments(3).update(x)


def test_reward_scale_is_the_std_of_discounted_returns() -> None:
    g = torch.Generator().manual_seed(0)
    rewards = torch.randn(40, 3, 2, generator=g) * 5 + 1
    done = torch.rand(40, 3, 2, generator=g) < 0.1
    active = torch.rand(40, 3, 2, generator=g) < 0.9
    scaler, running = RewardScaler(), torch.zeros(3, 2)
    for half in (slice(0, 17), slice(17, 40)):  # the returns go on from one rollout to the next
        scaler.update_returns(rewards[half], done[half], active[half], running, 0.9)
    seen = []
    for e in range(3):
        for k in range(2):
            total = 0.0
            for t in range(40):
                total = 0.9 * total + float(rewards[t, e, k])
                if active[t, e, k]:
                    seen.append(total)
                if done[t, e, k]:
                    total = 0.0
    assert abs(float(scaler.scale) * np.std(seen) - 1.0) < 1e-5
