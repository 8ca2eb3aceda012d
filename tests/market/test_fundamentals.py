"""Fundamentals, venues and regimes have the laws of the configuration, at any step length."""

from __future__ import annotations

import numpy as np
import pytest
from markets import config, steps
from scipy import stats

from lobgraph.config import Config, ConfigError
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def still(**sections) -> dict:
    """A market with no orders, for its fundamentals alone."""
    flow = {"intensity": 0.0, "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0, "initial_depth": 0}
    return {"flow": flow, **sections}


def fundamentals(cfg: Config, envs: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(T, E, U) fundamentals and (T, E, A) deviations in ticks."""
    env = MarketEnv(cfg, num_envs=envs, seed=seed)
    env.reset()
    read = steps(
        env, count, lambda: np.concatenate([env.state.fundamental, env.state.deviation], axis=1) / 65536
    )
    return read[..., : env.state.fundamental.shape[1]], read[..., env.state.fundamental.shape[1] :]


def test_fundamentals_have_their_volatilities_and_correlations():
    c = [[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]]
    fd = {"volatility": [0.5, 2.0, 1.0], "correlation": c}
    path, _ = fundamentals(config(**still(market={"books": 3, "dt": 0.25}, fundamentals=fd)), 100, 300)
    moves = np.diff(path, axis=0).reshape(-1, 3)
    n = len(moves)
    np.testing.assert_allclose(moves.std(axis=0), np.array([0.5, 2.0, 1.0]) * 0.5, rtol=4.5 / np.sqrt(2 * n))
    np.testing.assert_allclose(np.corrcoef(moves.T), c, atol=4.5 / np.sqrt(n))
    assert (np.abs(moves.mean(axis=0)) < 4.5 * moves.std(axis=0) / np.sqrt(n)).all()
    assert stats.kstest(moves[:, 2] / moves[:, 2].std(), "norm").statistic < 1.95 / np.sqrt(n)
    lag = [
        np.corrcoef(np.diff(path, axis=0)[1:, :, i].ravel(), np.diff(path, axis=0)[:-1, :, i].ravel())[0, 1]
        for i in range(3)
    ]
    assert np.abs(lag).max() < 4.5 / np.sqrt(n)


@pytest.mark.parametrize("dt", [0.5, 2.0])
def test_news_moves_all_fundamentals_together_and_leaves_their_variances(dt):
    rate, c = 0.2, [[1.0, 0.6], [0.6, 1.0]]
    fd = {"volatility": [0.5, 2.0], "correlation": c, "news_rate": rate}
    path, _ = fundamentals(config(**still(market={"books": 2, "dt": dt}, fundamentals=fd)), 200, 400)
    moves = np.diff(path, axis=0).reshape(-1, 2)
    came = (moves != 0.0).any(axis=1)
    n, chance = len(moves), -np.expm1(-rate * dt)
    assert abs(came.mean() - chance) < 4.5 * np.sqrt(chance * (1 - chance) / n)
    assert (moves[came] != 0.0).all(axis=1).mean() > 0.999  # one in 65536 rounds to no move
    np.testing.assert_allclose(
        moves.var(axis=0), np.array([0.25, 4.0]) * dt, rtol=4.5 * np.sqrt(3.0 / chance / n)
    )
    np.testing.assert_allclose(np.corrcoef(moves[came].T), c, atol=4.5 / np.sqrt(came.sum()))
    size = moves[came, 1] / np.sqrt(4.0 * dt / chance)
    assert stats.kstest(size, "norm").statistic < 1.95 / np.sqrt(came.sum()) + 1e-3


def test_news_too_rare_for_a_step_is_refused():
    with pytest.raises(ConfigError, match=r"fundamentals\.news_rate: must be 0 or at least 1e-06 a step"):
        config(**still(fundamentals={"news_rate": 1e-9}))


def test_perfect_correlation_is_perfect():
    fd = {"volatility": 1.0, "correlation": 1.0}
    path, _ = fundamentals(config(**still(market={"books": 3}, fundamentals=fd)), 4, 50)
    np.testing.assert_allclose(np.ptp(path, axis=2), 0.0, atol=50 * 3 / 65536)


def test_jumps_come_at_their_rate_and_size():
    fd = {"volatility": 0.0, "jump_rate": 0.2, "jump_size": 3.0}
    path, _ = fundamentals(config(**still(market={"dt": 0.5}, fundamentals=fd)), 100, 400)
    moves = np.diff(path, axis=0).ravel()
    p, jumps = -np.expm1(-0.1), moves[moves != 0.0]
    assert abs(len(jumps) / len(moves) - p) < 4.5 * np.sqrt(p / len(moves))
    assert abs(jumps.std() / 3.0 - 1.0) < 4.5 / np.sqrt(2 * len(jumps))


@pytest.mark.parametrize("dt", [0.1, 1.0])
def test_mean_reversion_has_its_stationary_law_at_any_step(dt):
    """Ornstein-Uhlenbeck: variance sigma^2 / (2 k), correlation exp(-k t)."""
    k = 0.8
    fd = {"volatility": 2.0, "mean_reversion": k}
    path, _ = fundamentals(config(**still(market={"dt": dt}, fundamentals=fd)), 400, round(60 / dt))
    late = path[round(10 / dt) :, :, 0] - 10_000
    assert abs(late.std() / (2.0 / np.sqrt(2 * k)) - 1.0) < 0.03
    lag = round(1 / dt)
    assert abs(np.corrcoef(late[lag:].ravel(), late[:-lag].ravel())[0, 1] - np.exp(-k)) < 0.03


@pytest.mark.parametrize("dt", [0.2, 1.0])
def test_venues_share_their_underlying_and_deviate_by_their_own_noise(dt):
    market = {"books": ["X1", "X2", "Y"], "underlying": ["X", "X", "Y"], "dt": dt}
    fd = {"venue_deviation": 1.5, "venue_reversion": 0.4}
    cfg = config(**still(market=market, fundamentals=fd))
    path, off = fundamentals(cfg, 300, round(40 / dt))
    assert path.shape[2] == 2
    assert not off[..., 2].any()  # a book alone is its underlying
    for a in (0, 1):
        assert abs(off[0, :, a].std() / 1.5 - 1.0) < 4.5 / np.sqrt(2 * 300), "not stationary from the start"
        assert abs(off[..., a].std() / 1.5 - 1.0) < 0.04
        lag = round(1 / dt)
        assert abs(np.corrcoef(off[lag:, :, a].ravel(), off[:-lag, :, a].ravel())[0, 1] - np.exp(-0.4)) < 0.03
    assert abs(np.corrcoef(off[..., 0].ravel(), off[..., 1].ravel())[0, 1]) < 0.05
    moves, shared = np.diff(off[..., :2], axis=0).reshape(-1, 2), np.diff(path, axis=0).reshape(-1, 2)
    across = np.corrcoef(np.hstack([moves, shared]).T)[:2, 2:]
    assert np.abs(across).max() < 4.5 / np.sqrt(len(moves)), "a venue's noise is its own"


def test_a_book_follows_its_fundamental():
    fd = {"volatility": 1.0}
    cfg = config({"warmup": 10.0}, fundamentals=fd)
    env = MarketEnv(cfg, num_envs=64, seed=2)
    env.reset()
    steps(env, 200, lambda: 0)
    mid = 0.5 * (env.state.head[:, 0, ms.BID] + env.state.head[:, 0, ms.ASK])
    true = env.state.fundamental[:, 0] / 65536
    assert np.corrcoef(mid, true)[0, 1] > 0.9


CALM_WILD = {"calm": {}, "wild": {"volatility": 5.0}}


def regime_paths(initial: dict, rates: dict, envs: int, count: int, dt: float = 1.0, **fd) -> np.ndarray:
    """(T + 1, E) regimes from the reset on."""
    regimes = {"kinds": CALM_WILD, "initial": initial, "switch_rates": rates}
    cfg = config(**still(regimes=regimes, market={"dt": dt}, fundamentals=fd))
    env = MarketEnv(cfg, num_envs=envs, seed=4)
    env.reset()
    first = env.state.clock[:, ms.REGIME].copy()
    return np.concatenate([first[None], steps(env, count, lambda: env.state.clock[:, ms.REGIME].copy())])


def test_regimes_start_as_configured_and_switch_as_a_markov_chain():
    up, down, dt = 0.3, 0.6, 0.5
    r = regime_paths(
        {"calm": 0.25, "wild": 0.75}, {"calm": {"wild": up}, "wild": {"calm": down}}, 2000, 60, dt
    )
    assert abs(r[0].mean() - 0.75) < 4.5 * np.sqrt(0.75 * 0.25 / 2000)
    stationary = up / (up + down)
    decay = np.exp(-(up + down) * dt)
    for start, want in ((0, stationary * (1 - decay)), (1, stationary + (1 - stationary) * decay)):
        then = r[2:][r[1:-1] == start]
        assert abs(then.mean() - want) < 4.5 * np.sqrt(want * (1 - want) / len(then))
    assert abs(r[30:].mean() - stationary) < 0.02


def test_the_first_switch_does_not_depend_on_the_draw_at_reset():
    r = regime_paths({"calm": 0.5, "wild": 0.5}, {"calm": {"wild": 0.7}, "wild": {"calm": 0.7}}, 4000, 1)
    want = 0.5 * (1 - np.exp(-1.4))
    assert abs((r[0] != r[1]).mean() - want) < 4.5 * np.sqrt(want * (1 - want) / 4000)


def test_regimes_scale_the_volatility_of_fundamentals():
    for start, want in ((0, 0.3), (1, 1.5)):
        name = list(CALM_WILD)[start]
        regimes = {"kinds": CALM_WILD, "initial": {name: 1.0}, "switch_rates": {}}
        path, _ = fundamentals(config(**still(regimes=regimes, fundamentals={"volatility": 0.3})), 100, 100)
        moves = np.diff(path, axis=0)
        assert abs(moves.std() / want - 1.0) < 4.5 / np.sqrt(2 * moves.size)
