"""What follows from the flow: move and execution probabilities, and that the step length changes nothing.

Spread and depth of books whose law is known: tests/validate.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from markets import CST, config, steps

from lobgraph.config import Config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms
from lobgraph.market import tables
from lobgraph.validate.cst import EXECUTED, UP
from lobgraph.validate.queues import executed_first, move_up
from lobgraph.validate.races import make_book, races


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


def race(bids: int, asks: int, own: int, count: int, flow: dict = CST, seed: int = 1) -> float:
    b = make_book(64, 999, 1000, 6, 5)
    return races(b, tables.make_flow(config(flow)), bids, asks, own, seed + 10 * bids + asks, count) / count


@pytest.mark.parametrize("asks", range(1, 6))
def test_move_and_execution_probabilities(asks):
    count = 20_000
    sigma = 3 * 0.5 / np.sqrt(count)
    assert abs(race(1, asks, 0, count) - UP[asks - 1]) < sigma + 0.0005
    assert abs(race(1, asks, 1, count) - EXECUTED[asks - 1]) < sigma + 0.0025


@pytest.mark.slow
@pytest.mark.parametrize("asks", range(1, 6))
def test_move_and_execution_probabilities_closely(asks):
    assert abs(race(1, asks, 0, 100_000) - UP[asks - 1]) < 0.005
    assert abs(race(1, asks, 1, 100_000) - EXECUTED[asks - 1]) < 0.005


@pytest.mark.parametrize(
    ("bids", "asks", "birth", "market", "cancel"),
    [(3, 2, 1.85, 0.94, 0.71), (5, 4, 0.6, 1.2, 0.3), (2, 6, 3.0, 2.0, 1.0)],
)
def test_any_queue_race_meets_the_exact_solution(bids, asks, birth, market, cancel):
    """Parameters that nobody printed: priority falls with cancels ahead in proportion to the lots ahead."""
    flow = {**CST, "limit_rates": [birth, 1.5], "market_rate": market, "cancel_rates": [cancel]}
    count = 40_000
    up = move_up(birth, market, cancel)[bids - 1, asks - 1]
    assert abs(race(bids, asks, 0, count, flow) - up) < 3.5 * 0.5 / np.sqrt(count)
    done = executed_first(bids, birth, market, cancel)[bids - 1, asks - 1]
    assert abs(race(bids, asks, 1, count, flow) - done) < 3.5 * 0.5 / np.sqrt(count)
