"""What follows from the flow: move and execution probabilities, spread and depth of books whose law is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from flow_drivers import make_book, races
from markets import CST, UNITS, config, steps

from lobgraph.config import Config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import flow as fl
from lobgraph.market import state as ms


def spread_and_depth(
    cfg: Config, envs: int, seed: int, burn: float, seconds: float, every: float
) -> np.ndarray:
    """(2, envs) time averages of the spread and of the mean lots at the two best prices, sampled every few seconds."""
    env = MarketEnv(cfg, num_envs=envs, seed=seed)
    env.reset()
    s, dt = env.state, cfg.market.dt
    stride = max(round(every / dt), 1)
    steps(env, round(burn / dt), lambda: 0)
    rows = np.arange(envs)
    sums, count = np.zeros((2, envs)), 0
    for i in range(round(seconds / dt)):
        env.step({})
        if i % stride:
            continue
        h, mask = s.head[:, 0], s.qty.shape[2] - 1
        both = s.qty[rows, 0, h[:, ms.BID] & mask] + s.qty[rows, 0, h[:, ms.ASK] & mask]
        sums += [h[:, ms.ASK] - h[:, ms.BID], both / 2]
        count += 1
    return sums / count


def agree(one: np.ndarray, two: np.ndarray, sigmas: float = 4.0) -> None:
    error = np.hypot(one.std(ddof=1) / np.sqrt(len(one)), two.std(ddof=1) / np.sqrt(len(two)))
    assert abs(one.mean() - two.mean()) < sigmas * error, (one.mean(), two.mean(), error)


def test_the_step_length_changes_nothing():
    """Exact simulation has no time-step bias: spread and depth of a slow market at dt 2, 1 and 1/8 s."""
    flow = {**CST, "limit_rates": [0.19, 0.15, 0.11, 0.09, 0.08], "market_rate": 0.1,
            "cancel_rates": [0.07, 0.08, 0.07, 0.06, 0.05], "warmup": 60.0}  # fmt: skip
    runs = [
        spread_and_depth(config(flow, market={"dt": dt}), 256, seed, 0.0, 200.0, 2.0)
        for seed, dt in enumerate((2.0, 1.0, 0.125))
    ]
    for one, two in itertools.combinations(runs, 2):
        agree(one[0], two[0])
        agree(one[1], two[1])


def first_to_empty(bids: int, asks: int, birth: float, death, most: int = 80) -> float:
    """P(an ask queue empties before a bid queue): birth-death queues, `death(n)` the rate out of n. Linear solve."""
    n = most * most
    at = np.arange(n).reshape(most, most)  # [bids - 1, asks - 1]
    a, right = np.eye(n), np.zeros(n)
    for i, j in itertools.product(range(most), range(most)):
        up = birth if i + 1 < most else 0.0, birth if j + 1 < most else 0.0
        down = death(i + 1), death(j + 1)
        total = sum(up) + sum(down)
        for rate, ii, jj in ((up[0], i + 1, j), (up[1], i, j + 1), (down[0], i - 1, j), (down[1], i, j - 1)):
            if jj < 0:
                right[at[i, j]] += rate / total
            elif ii >= 0 and rate > 0.0:
                a[at[i, j], at[ii, jj]] -= rate / total
    return float(np.linalg.solve(a, right)[at[bids - 1, asks - 1]])


def executed_first(
    place: int, asks: int, birth: float, market: float, cancel: float, most: int = 80
) -> float:
    """P(the order with place - 1 lots ahead is executed before the ask queue empties); it is never cancelled itself."""
    chance = np.ones(most + 1)  # chance[j]: with j asks, one place nearer; at place 0: executed
    for k in range(1, place + 1):
        a, right = np.zeros((most, most)), np.zeros(most)
        forward = market + cancel * (k - 1)
        for j in range(1, most + 1):
            up, down = (birth if j < most else 0.0), market + cancel * j
            total = forward + up + down
            a[j - 1, j - 1] = 1.0
            right[j - 1] = forward / total * chance[j]
            if j < most:
                a[j - 1, j] = -up / total
            if j > 1:
                a[j - 1, j - 2] = -down / total
        chance = np.concatenate([[0.0], np.linalg.solve(a, right)])
    return float(chance[asks])


UP = {1: 0.500, 2: 0.335, 3: 0.259, 4: 0.216, 5: 0.188}  # Cont, Stoikov, Talreja 2010, one bid, `a` asks
EXECUTED = {1: 0.503, 2: 0.698, 3: 0.794, 4: 0.848, 5: 0.882}


def race(bids: int, asks: int, own: int, count: int, flow: dict = CST, seed: int = 1) -> float:
    b = make_book(64, 999, 1000, 6, 5)
    return races(b, fl.make_flow(config(flow)), bids, asks, own, seed + 10 * bids + asks, count) / count


@pytest.mark.parametrize("asks", range(1, 6))
def test_move_and_execution_probabilities(asks):
    count = 20_000
    sigma = 3 * 0.5 / np.sqrt(count)
    assert abs(race(1, asks, 0, count) - UP[asks]) < sigma + 0.0005
    assert abs(race(1, asks, 1, count) - EXECUTED[asks]) < sigma + 0.0025


@pytest.mark.slow
@pytest.mark.parametrize("asks", range(1, 6))
def test_move_and_execution_probabilities_closely(asks):
    assert abs(race(1, asks, 0, 100_000) - UP[asks]) < 0.005
    assert abs(race(1, asks, 1, 100_000) - EXECUTED[asks]) < 0.005


@pytest.mark.parametrize(
    ("bids", "asks", "birth", "market", "cancel"),
    [(3, 2, 1.85, 0.94, 0.71), (5, 4, 0.6, 1.2, 0.3), (2, 6, 3.0, 2.0, 1.0)],
)
def test_any_queue_race_meets_the_exact_solution(bids, asks, birth, market, cancel):
    """Parameters that nobody printed: priority falls with cancels ahead in proportion to the lots ahead."""
    flow = {**CST, "limit_rates": [birth, 1.5], "market_rate": market, "cancel_rates": [cancel]}
    count = 40_000
    up = first_to_empty(bids, asks, birth, lambda n: market + cancel * n, most=40)
    assert abs(race(bids, asks, 0, count, flow) - up) < 3.5 * 0.5 / np.sqrt(count)
    done = executed_first(bids, asks, birth, market, cancel)
    assert abs(race(bids, asks, 1, count, flow) - done) < 3.5 * 0.5 / np.sqrt(count)


def test_the_exact_solutions_are_the_published_ones():
    for asks in range(1, 6):
        assert abs(first_to_empty(1, asks, 1.85, lambda n: 0.94 + 0.71 * n, most=30) - UP[asks]) < 0.001
        assert abs(executed_first(1, asks, 1.85, 0.94, 0.71) - EXECUTED[asks]) < 0.0025


def zero_intelligence(placed: float, market: float, cancelled: float, reach: int, window: int) -> Config:
    """Unit orders; per side: `placed` a tick on every price to the opposite best, market rate, cancel rate an order."""
    flow = {
        "limit_rates": [placed] * reach, "market_rate": market, "cancel_rates": [cancelled], "tilt": 0.0, **UNITS,
        "initial_depth": max(round(placed / cancelled), 1), "warmup": 10.0 / cancelled,
    }  # fmt: skip
    return config(flow, market={"window": window, "initial_price": 100_000, "dt": 1.0 / market})


def test_large_ticks_have_a_spread_of_one_and_a_known_depth():
    """p_c = m / a = .05: the spread is one tick, the depth at the best (a - m) / d."""
    a, m, d = 20.0, 1.0, 0.1
    spread, depth = spread_and_depth(zero_intelligence(a, m, d, 4, 128), 64, 3, 20.0, 200.0, 5.0)
    assert spread.mean() < 1.0005
    assert abs(depth.mean() - (a - m) / d) < 4 * depth.std() / 8 + 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("eps", "want"), [(0.001, 22.59), (0.005, 23.87), (0.015, 26.16), (0.05, 31.85), (0.15, 44.48)]
)
def test_zero_intelligence_spread(eps, want):
    """Smith, Farmer, Gillemot, Krishnamurthy 2003: p_c = 50 ticks, placement to 800 ticks from the opposite best."""
    m = 1.0
    cfg = zero_intelligence(m / 50, m, 2 * m * eps, 800, 4096)
    spread, _ = spread_and_depth(cfg, 64, 1, 0.0, 4_000.0 if eps > 0.01 else 12_000.0, 1.0)
    error = spread.std() / 8 / want
    assert error < 0.004, "too few samples to say"
    assert abs(spread.mean() / want - 1) < 0.01
