"""A draw is a function of its counters: neither the batch, nor threads, nor agents that trade nothing change the noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from markets import UNITS, config

from lobgraph.config import Config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms
from lobgraph.market.rng import below

COMPARED = [ms.BID, ms.ASK, ms.LOW, ms.NOISE_BID, ms.NOISE_ASK, ms.ADDED, ms.TRADED, ms.EVENTS, ms.VOLUME]


def trajectory(
    cfg: Config, count: int, actions: dict | None = None, **kwargs
) -> tuple[np.ndarray, np.ndarray]:
    """Headers (T, E, A, ...) and noise lots at every price (T, E, A, W) of a run with constant actions."""
    env = MarketEnv(cfg, **kwargs)
    env.reset()
    heads, lots = [], []
    for _ in range(count):
        env.step(actions or {})
        heads.append(env.state.head.copy())
        noise = env.state.qty.astype(np.int64)
        px, rest = env.state.order[:, :, ms.ORDER_PX], env.state.order[:, :, ms.ORDER_REST]
        w = noise.shape[2]
        for e, a, s in zip(*np.nonzero(rest), strict=True):
            noise[e, a, px[e, a, s] & (w - 1)] -= rest[e, a, s]
        lots.append(noise)
    return np.array(heads), np.array(lots)


MARKET_OF_TWO = {
    "market": {"books": 2},
    "fundamentals": {"volatility": 0.5, "jump_rate": 0.05, "jump_size": 2.0},
}


@pytest.mark.parametrize("seed", [0, 7])
def test_environments_are_numbered_and_know_nothing_of_the_batch(seed):
    """Numbers of environments, slices and threads change nothing; every environment and book is its own."""
    cfg = config({"warmup": 2.0}, **MARKET_OF_TWO, env={"episode_steps": 15, "threads": 1})
    threads = config({"warmup": 2.0}, **MARKET_OF_TWO, env={"episode_steps": 15, "threads": 3})
    heads, lots = trajectory(cfg, 40, num_envs=24, seed=seed)
    for other in (
        trajectory(cfg, 40, num_envs=24, seed=seed),
        trajectory(threads, 40, num_envs=24, seed=seed),
        trajectory(cfg, 40, num_envs=30, seed=seed),
        trajectory(cfg, 40, num_envs=5, seed=seed, first_env=9),
    ):
        n = other[0].shape[1]
        ours = slice(9, 14) if n == 5 else slice(0, 24)
        np.testing.assert_array_equal(other[0][:, :24], heads[:, ours])
        np.testing.assert_array_equal(other[1][:, :24], lots[:, ours])
    flat = lots.reshape(40, 24 * 2, -1)
    assert len(np.unique(flat[5], axis=0)) == 48, "two environments or books share their draws"


def test_seeds_differ_and_seed_zero_is_one_of_them():
    cfg = config({"warmup": 2.0})
    runs = [trajectory(cfg, 10, num_envs=2, seed=s)[1] for s in (0, 1, 2)]
    for one, two in itertools.combinations(runs, 2):
        assert (one != two).any(axis=(1, 2, 3)).all()
        assert abs(np.corrcoef(one[-1].ravel(), two[-1].ravel())[0, 1]) < 0.9
    default = config({"warmup": 2.0}, run={"seed": 0})
    np.testing.assert_array_equal(trajectory(default, 10, num_envs=2)[1], runs[0])


def test_episodes_steps_and_books_draw_apart():
    """Increments of events over 200 (episode, step) cells: no two books, environments or episodes move together."""
    flow = {"limit_rates": [5.0], "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0, **UNITS}
    cfg = config(flow, market={"books": 2}, env={"episode_steps": 10_000})
    heads, _ = trajectory(cfg, 400, num_envs=3, seed=0)
    counts = np.diff(heads[..., ms.EVENTS], axis=0, prepend=0).reshape(400, -1)
    across = np.corrcoef(counts.T)[np.triu_indices(6, 1)]
    assert np.abs(across).max() < 4.5 / np.sqrt(400)


def maker(**changes) -> dict:
    return {"maker": {"count": 1, "max_offset": 200.0, "max_size": 50, **changes}}


def test_an_order_deep_in_the_book_leaves_the_noise_as_it_was():
    """A resting order that never trades: every noise event, price and lot is what it is without the agent."""
    flow = {"warmup": 5.0, "tilt": 0.3}
    bare = trajectory(config(flow), 150, num_envs=4, seed=3)
    for latency in (0.0, 0.37):
        cfg = config(flow, agents=maker(latency=latency))
        deep = np.full((4, 1, 1, 3), [70.0, 80.0, 7.0], np.float32)
        heads, lots = trajectory(cfg, 150, {"maker": deep}, num_envs=4, seed=3)
        assert (heads[:, :, :, ms.OWN_BID] == 7).all(), "the order should rest all the time"
        np.testing.assert_array_equal(heads[..., COMPARED[:5]], bare[0][..., COMPARED[:5]])
        np.testing.assert_array_equal(heads[..., COMPARED[6:]], bare[0][..., COMPARED[6:]])
        np.testing.assert_array_equal(lots, bare[1])


@pytest.mark.parametrize("latency", [0.0, 0.25, 0.999])
def test_messages_that_do_nothing_change_nothing(latency):
    """Stopping the flow for an agent's empty message neither loses nor redraws the event that was waiting."""
    bare = trajectory(config({"warmup": 5.0}), 100, num_envs=4, seed=8)
    cfg = config({"warmup": 5.0}, agents=maker(latency=latency))
    heads, lots = trajectory(cfg, 100, {"maker": np.zeros((4, 1, 1, 3), np.float32)}, num_envs=4, seed=8)
    np.testing.assert_array_equal(heads[..., COMPARED], bare[0][..., COMPARED])
    np.testing.assert_array_equal(lots, bare[1])


@pytest.mark.parametrize("n", [1, 7, 2**31 + 5, 2**32 - 1, 2**32, 3 * 2**32 + 1, 2**47])
def test_bits_spread_evenly_over_any_count(n):
    """Few or many: the position of 32 bits among 2^32 becomes the position among n."""
    bits = np.linspace(0, 2**32 - 1, 101).astype(np.uint64)
    got = np.array([below(b, n) for b in bits])
    assert got.min() >= 0
    assert got.max() < n
    np.testing.assert_allclose(got, bits.astype(float) * (n / 2**32), atol=1.0 + n / 2**16)
