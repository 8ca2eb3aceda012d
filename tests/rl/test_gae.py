"""compute_gae against a recursion written by hand, over trajectories with every kind of end."""

import numpy as np
import pytest
import torch

from lobgraph.rl.gae import compute_gae


def by_hand(r, v, nv, term, trunc, gamma, lam):
    """One agent's advantages from the definition: sum of (gamma lambda)^l delta_{t+l} up to the episode's end."""
    T = len(r)
    out = np.zeros(T)
    for t in range(T):
        weight = 1.0
        for i in range(t, T):
            future = 0.0 if term[i] else gamma * nv[i]
            out[t] += weight * (r[i] + future - v[i])
            if term[i] or trunc[i]:
                break
            weight *= gamma * lam
    return out


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (0.9, 1.0), (1.0, 1.0)])
def test_against_the_definition(gamma: float, lam: float) -> None:
    T, E, K = 23, 3, 2
    rng = np.random.default_rng(0)
    r, v, nv = rng.normal(size=(3, T, E, K))
    term, trunc = rng.random((2, T, E, K)) < 0.12
    term[5, 0, 0], trunc[5, 0, 0] = True, True  # both at once: the future is worth nothing
    term[7, 0, 0], trunc[9, 0, 0], term[-1, 0, 0], trunc[-1, 1, 0] = True, True, True, True
    tensors = [torch.from_numpy(x) for x in (r, v, nv, term, trunc)]
    advantages, returns = compute_gae(*tensors, gamma, lam)
    for e in range(E):
        for k in range(K):
            want = by_hand(*(x[:, e, k] for x in (r, v, nv, term, trunc)), gamma, lam)
            np.testing.assert_allclose(advantages[:, e, k].numpy(), want, atol=1e-12)
    np.testing.assert_allclose(returns.numpy(), advantages.numpy() + v, atol=1e-12)


def test_truncated_bootstraps_and_terminated_does_not() -> None:
    one, zero = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    no, yes = torch.zeros(1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1, dtype=torch.bool)
    for term, trunc, want in ((no, yes, 1 + 0.9 * 5), (yes, no, 1.0), (yes, yes, 1.0), (no, no, 1 + 0.9 * 5)):
        advantages, _ = compute_gae(one, zero, 5 * one, term, trunc, 0.9, 0.95)
        assert float(advantages) == pytest.approx(want)


def test_lambda_one_returns_are_discounted_sums() -> None:
    T = 30
    r = torch.randn(T, 1, 1, dtype=torch.float64)
    v = torch.randn(T, 1, 1, dtype=torch.float64)
    nv = torch.cat([v[1:], torch.full((1, 1, 1), 3.0, dtype=torch.float64)])
    never = torch.zeros(T, 1, 1, dtype=torch.bool)
    _, returns = compute_gae(r, v, nv, never, never, 0.97, 1.0)
    want = sum(0.97**t * float(r[t]) for t in range(T)) + 0.97**T * 3.0
    assert float(returns[0]) == pytest.approx(want)
