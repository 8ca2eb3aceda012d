"""Features of the flow have the laws they are named after, and leave the mean rates of the tables as they are."""

from __future__ import annotations

import numpy as np
import pytest
from markets import UNITS, config, steps
from test_flow import CANCEL, DEPTH, LEVELS, LIMIT, MARKET, SPREAD, assert_counts, one_event

from lobgraph.config import ConfigError, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms
from lobgraph.market.features import queue_bin_of
from lobgraph.market.tables import length_table, make_flow, memory_of
from lobgraph.validate.races import make_book

RATES = {"intensity": 6.0, "market_rate": 2.0, "cancel_rate": 0.2, "tilt": 0.0, "warmup": 60.0, **UNITS}


def counts(flow: dict, envs: int, count: int, seed: int = 0, **sections) -> np.ndarray:
    """(T, E, 6) events by type in each step of the first book."""
    env = MarketEnv(config(RATES | flow, **sections), num_envs=envs, seed=seed)
    env.reset()
    return steps(env, count, lambda: env.state.head[:, 0, ms.COUNT : ms.COUNT + ms.TYPES].copy())


def by_kind(n: np.ndarray) -> np.ndarray:
    """(..., 3) both sides together."""
    return n.reshape(*n.shape[:-1], 3, 2).sum(axis=-1)


def assert_means(n: np.ndarray, want: list[float]) -> None:
    """Means over environments, which are independent."""
    means = by_kind(n).mean(axis=0)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(axis=0)[:2] - want) < 4.5 * error[:2]).all(), (means.mean(axis=0), want, error)


# --- excitation ---


def hawkes_variance(rate: float, n: float, decay: float, t: float) -> float:
    """Variance of the number of events in a window t of a stationary Hawkes process with one exponential (Hawkes 1971)."""
    k, g = 1.0 / (1.0 - n), decay * (1.0 - n)
    return rate * t * (k**2 + (1.0 - k**2) * -np.expm1(-g * t) / (g * t))


@pytest.mark.parametrize(("n", "decay"), [(0.5, 2.0), (0.7, 20.0)])
def test_excited_counts_have_the_mean_and_variance_of_a_hawkes_process(n, decay):
    seen = by_kind(counts({"hawkes": {"branching": n, "decays": [decay], "same_side": 0.5}}, 200, 400))
    assert_means(counts({"hawkes": {"branching": n, "decays": [decay]}}, 100, 200), [12.0, 4.0])
    for kind, rate in ((0, 12.0), (1, 4.0)):
        for window in (1, 8):
            x = seen[..., kind].reshape(-1, window, 200).sum(axis=1)
            each = x.var(axis=0, ddof=1)
            error = each.std(ddof=1) / np.sqrt(len(each))
            want = hawkes_variance(rate, n, decay, float(window))
            # the mean over an environment takes from its variance what the mean itself varies
            short = hawkes_variance(rate, n, decay, 400.0) / (400.0 / window) ** 2
            assert abs(each.mean() + short - want) < 4.5 * error, (kind, window, each.mean(), want)


def test_sides_are_independent_when_children_stay_on_theirs_and_move_together_when_not():
    def correlation(same: float) -> float:
        n = counts({"hawkes": {"branching": 0.6, "decays": [3.0], "same_side": same}}, 100, 200)
        return float(np.corrcoef(n[..., 0].ravel(), n[..., 1].ravel())[0, 1])

    assert abs(correlation(1.0)) < 0.03
    assert correlation(0.0) > 0.25
    assert correlation(0.5) > 0.25


def test_several_speeds_and_kinds_leave_the_mean_rates():
    table = [[0.2, 0.05, 0.2], [0.4, 0.2, 0.3], [0.2, 0.02, 0.3]]
    hawkes = {"decays": [50.0, 2.0, 0.05], "branching": table, "same_side": 0.7}
    n = counts({"hawkes": hawkes}, 200, 300)
    assert_means(n, [12.0, 4.0])
    lagged = by_kind(n).sum(axis=-1)
    assert lagged.var() / lagged.mean() > 2.0  # Poisson: 1
    m = lagged.mean(axis=1)
    x = lagged - m[:, None]
    assert (x[10:] * x[:-10]).mean() / x.var() > 0.01  # the slow part is still there after 10 s


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_regimes_multiply_the_rates_of_excited_flow(scale):
    regimes = {"kinds": {"r": {"limit": scale, "market": scale, "cancel": scale}}, "initial": {"r": 1.0}}
    flow = {"hawkes": {"branching": 0.6, "decays": [5.0]}}
    assert_means(counts(flow, 100, 200, regimes=regimes), [12.0 * scale, 4.0 * scale])


def test_other_books_excite_a_book_a_step_later():
    flow = {"hawkes": {"branching": 0.3, "decays": [0.5], "cross": 0.4}}
    env = MarketEnv(
        config(RATES | flow, market={"books": 2}, fundamentals={"correlation": 0.9}), num_envs=200, seed=0
    )
    env.reset()
    n = steps(env, 300, lambda: env.state.head[:, :, ms.COUNT : ms.COUNT + ms.TYPES].copy())
    for a in range(2):
        assert_means(n[:, :, a], [12.0, 4.0])
    limits = by_kind(n)[..., 0]
    first, second = limits[:-1, :, 0].ravel(), limits[1:, :, 1].ravel()
    assert np.corrcoef(first, second)[0, 1] > 0.1


def test_regimes_multiply_the_rates_of_books_that_excite_each_other():
    """Branching .6 and .3 from the other book: with 4 times as many causes, 1.8 if the regime did not count."""
    regimes = {"kinds": {"r": {"limit": 4.0, "market": 4.0, "cancel": 4.0}}, "initial": {"r": 1.0}}
    flow = {"hawkes": {"branching": 0.6, "decays": [5.0], "cross": 0.3}}
    sections = {"market": {"books": 2}, "fundamentals": {"correlation": 0.9}}
    assert_means(counts(flow, 100, 200, regimes=regimes, **sections), [12.0 * 4.0, 4.0 * 4.0])


def test_a_crash_multiplies_the_rate_of_excited_market_orders_and_no_others():
    """Orders bring .6 of their kind, .2 of them in the other book: 8 times as many sell orders must not run away."""
    hawkes = {"branching": [[0.4, 0.002, 0.1], [0.1, 0.4, 0.1], [0, 0, 0.4]], "decays": [5.0], "cross": 0.2}
    crash = {"kind": "crash", "at": 0, "duration": 200, "magnitude": 8, "side": "sell"}
    flow = RATES | {"hawkes": hawkes, "intensity": 20.0, "market_rate": 0.5}
    sections = {"market": {"books": 2}, "fundamentals": {"correlation": 0.9}, "stress": [crash]}
    n = counts(flow, 100, 200, **sections)
    means = n.mean(axis=0)  # (E, 6)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    want = [20.0, 20.0, 0.5, 4.0]  # limit and market orders of both sides
    assert (np.abs(means.mean(axis=0)[:4] - want) < 4.5 * error[:4]).all(), (means.mean(axis=0), want, error)


@pytest.mark.parametrize(("hawkes", "names"), [
    ({"branching": 1.0}, "branching"),
    ({"branching": 0.8, "cross": 0.3}, "branching"),
    ({"branching": [[0.1, 0, 0], [0, 0.1, 0]]}, "branching"),
    ({"branching": [[0, 0.5, 0], [0.1, 0, 0], [0, 0, 0.1]]}, "market"),
    ({"branching": 0.5, "same_side": [[2, 0, 0], [0, 0, 0], [0, 0, 0]]}, "same_side"),
    ({"decays": []}, "decays"),
    ({"branching": 0.5, "cross": 0.1}, "cross"),
])  # fmt: skip
def test_flows_that_would_explode_are_refused(hawkes, names):
    with pytest.raises(ConfigError, match=names):
        make_config({"flow": {"hawkes": hawkes}})


def test_multipliers_that_make_a_flow_explode_in_every_state_are_refused():
    hawkes = {"branching": 0.7}
    with pytest.raises(ConfigError, match=r"reactive: .*branching ratio 1\.05"):
        make_config({"flow": {"hawkes": hawkes, "reactive": {"market": [[1.5]]}}})
    make_config({"flow": {"hawkes": hawkes, "reactive": {"queues": [0, 5], "market": [[1.5, 0.5]]}}})


def test_messages_that_noise_does_not_meet_leave_excited_flow_as_it_is():
    """A quote far from the best prices, sent in mid-step, while the excitation falls."""
    agents = {"maker": {"count": 1, "latency": 0.4, "max_offset": 200.0}}
    cfg = config(RATES | {"hawkes": {"branching": 0.6, "decays": [2.0]}}, agents=agents)
    seen = []
    for offset in (100.0, 120.0):
        env = MarketEnv(cfg, num_envs=4, seed=0)
        env.reset()
        actions = {"maker": np.tile(np.float32([offset, offset, 1.0]), (4, 1, 1, 1))}
        for t in range(20):
            actions["maker"][..., 2] = 1.0 + t % 3 if offset == 120.0 else 0.0
            env.step(actions)
        seen.append(env.state.head[..., [ms.BID, ms.ASK, ms.NOISE_BID, ms.NOISE_ASK, ms.EVENTS, ms.VOLUME]])
    assert (seen[0] == seen[1]).all()


# --- hidden orders ---


@pytest.mark.parametrize(("active", "exponent"), [(1, 1.5), (4, 1.5), (1, 2.5)])
def test_signs_of_market_orders_keep_the_sides_of_hidden_orders(active, exponent):
    """One order in `active` continues the same hidden order, if parts of it are left: C(1) = (1 - 1 / E[parts]) / active."""
    meta = {"active": active, "exponent": exponent, "longest": 200}
    flow = RATES | {"metaorders": meta, "market_rate": 8.0, "market_size": {"values": [1], "weights": [1]}}
    env = MarketEnv(config(flow, market={"dt": 0.01}), num_envs=300, seed=1)
    env.reset()
    n = steps(env, 4000, lambda: env.state.head[:, 0, ms.COUNT + 2 : ms.COUNT + 4].copy())
    parts = np.arange(1, 201.0)
    tail = parts**-exponent
    for lag in (1, 2, 3):
        products = []
        for e in range(300):
            signs = (n[:, e, 0] - n[:, e, 1])[n[:, e].sum(axis=1) == 1]
            products.append((signs[lag:] * signs[:-lag]).mean())
        if active == 1:
            want = tail[lag:].sum() / tail.sum()
        elif lag == 1:
            want = (1.0 - 1.0 / tail.sum()) / active
        else:
            continue
        error = np.std(products) / np.sqrt(300)
        assert abs(np.mean(products) - want) < 4.5 * error + 0.01, (lag, np.mean(products), want)


def test_lengths_have_their_law():
    table = length_table(1.5, 10_000)
    for n in (2, 5, 20):
        assert abs((table[0] >= n).mean() - n**-1.5) < 2e-3
    assert table[1].min() >= table[0, 1]
    assert abs((table[1] >= 500).mean() / 1024 - 500**-1.5) < 2e-6
    left = np.arange(1, 10_001.0) ** -1.5
    assert abs(table[2].mean() / (np.cumsum(left[::-1])[::-1].sum() / left.sum()) - 1.0) < 0.05


# --- the state of the book ---


def test_rates_react_to_spread_and_queues():
    """A market order by the queue it meets, the others by their own; bins of spread 3 and depth 40."""
    reactive = {
        "spreads": [1, 3, 4], "queues": [0, 20, 41],
        "limit": [[9, 9, 9], [9, 0.5, 9], [9, 9, 9]], "market": [[9, 9, 9], [9, 2.0, 9], [9, 9, 9]],
        "cancel": [[9, 9, 9], [9, 3.0, 9], [9, 9, 9]],
        "placement": [[1, 0], [1, 3], [0, 1]],
    }  # fmt: skip
    flow = {
        "limit_rates": [3.0, 1.0],
        "market_rate": 1.0,
        "cancel_rate": 0.05,
        "tilt": 0.0,
        "reactive": reactive,
        **UNITS,
    }
    kind, side, distance, _ = one_event(config(flow)).T
    rates = np.array([4.0 * 0.5, 1.0 * 2.0, 3.0 * 0.05 * LEVELS * DEPTH])
    assert_counts(np.bincount(kind, minlength=4)[1:], rates / rates.sum())
    assert_counts(np.bincount(distance[kind == LIMIT], minlength=3)[1:], [0.25, 0.75])
    for k in (LIMIT, MARKET, CANCEL):
        assert_counts(np.bincount((side[kind == k] + 1) // 2, minlength=2), [0.5, 0.5])


def test_bins_begin_where_they_say():
    """Exactly for few lots, to a cell of the table for many; spreads to the widest that a bin may have."""
    edges, spreads = [0, 1, 3, 500, 100_000], [1, 300, 1024]
    f = make_flow(config({"reactive": {"queues": edges, "spreads": spreads}}))
    b = make_book(256, 1000, 1003, 2, 1, memory=memory_of(f))
    for lots, want in (
        (0, 0),
        (1, 1),
        (2, 1),
        (3, 2),
        (499, 2),
        (500, 3),
        (99_000, 3),
        (101_000, 4),
        (1 << 30, 4),
    ):
        b.qty[1000 & 255] = lots
        assert queue_bin_of.py_func(b, f, 0, 0) == want, lots
    np.testing.assert_array_equal(f.spread_bin[0, [1, 299, 300, 1023, 1024]], [0, 0, 1, 1, 2])


def test_tables_by_the_own_best_price():
    rates, cancel = np.array([1.0, 2.0, 5.0, 3.0]), np.array([0.2, 0.05])
    flow = {"reference": "own", "inside": 3, "limit_rates": rates.tolist(), "cancel_rates": cancel.tolist(),
            "market_rate": 1.0, "tilt": 0.0, **UNITS}  # fmt: skip
    kind, _, distance, _ = one_event(config(flow)).T
    # 3 ticks better would cross the spread of 3: it goes to one tick from the opposite best, as does 2 ticks better.
    assert_counts(np.bincount(distance[kind == LIMIT], minlength=4)[1:], np.array([3.0, 5.0, 3.0]) / 11.0)
    per_level = cancel[np.minimum(np.arange(LEVELS), 1)] * DEPTH
    assert_counts(
        np.bincount(distance[kind == CANCEL] - SPREAD, minlength=LEVELS), per_level / per_level.sum()
    )


def test_cancels_take_round_lots_or_what_is_odd():
    """Levels of 40 lots: odd 8 for round lots of 16, of which draws of 3 and 20 lots are 16 each."""
    flow = {
        "limit_rates": [1.0], "market_rate": 0.0, "cancel_rate": 0.5, "tilt": 0.0, "round_lot": 16,
        "limit_size": {"values": [1], "weights": [1]}, "cancel_size": {"values": [3, 20, 30], "weights": [1, 1, 2]},
    }  # fmt: skip
    kind, _, _, lots = one_event(config(flow)).T
    gone = lots[kind == CANCEL]
    assert_counts(
        np.bincount(gone, minlength=33)[[8, 16, 32]], [8 / DEPTH, 0.5 * 32 / DEPTH, 0.5 * 32 / DEPTH]
    )
    assert set(gone) == {8, 16, 32}


# --- time ---


def test_the_day_multiplies_all_rates_and_episodes_start_in_it():
    day = {"start": 36000.0, "width": 50.0, "activity": [0.5, 2.0, 1.0]}
    tree = config(RATES | {"hawkes": {"branching": 0.5, "decays": [5.0]}}).model_dump(mode="json")
    env = MarketEnv(
        make_config(tree | {"intraday": day, "env": {"episode_steps": 20}}), num_envs=2000, seed=0
    )
    env.reset()
    start = (env.state.clock[:, ms.START_NS] - 36_000_000_000_000) / 1e9
    assert start.min() >= 0
    assert start.max() <= 130.0
    assert abs(start.mean() - 65.0) < 4.5 * 130.0 / np.sqrt(12 * 2000)
    n = by_kind(steps(env, 19, lambda: env.state.head[:, 0, ms.COUNT : ms.COUNT + ms.TYPES].copy()))
    at = ((start[None, :] + np.arange(19)[:, None]) // 50.0).astype(int)
    for i, scale in enumerate(day["activity"]):
        x = n[at == i][:, 0]
        assert abs(x.mean() / (12.0 * scale) - 1.0) < 0.03


def test_a_lagged_fundamental_follows_its_news():
    flow = {"intensity": 0.0, "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0, "initial_depth": 0}
    fd = {"volatility": 2.0, "correlation": 1.0, "lag": [0.0, 4.0]}
    env = MarketEnv(config(flow, market={"books": 2, "dt": 0.5}, fundamentals=fd), num_envs=20, seed=0)
    env.reset()
    origin = env.state.fundamental.copy()
    path = steps(env, 200, lambda: np.stack([env.state.fundamental, env.state.news], axis=-1)).astype(
        np.float64
    )
    np.testing.assert_array_equal(path[:, :, 0, 0], path[:, :, 0, 1])
    want, x = [], origin[:, 1].astype(np.float64)
    for news in path[:, :, 1, 1]:
        x = x + (news - x) * -np.expm1(-0.5 / 4.0)
        want.append(x)
    np.testing.assert_allclose(path[:, :, 1, 0], want, atol=65536 * 0.02)


# --- the same whoever runs it ---


def test_features_do_not_depend_on_the_batch():
    flow = RATES | {
        "hawkes": {"branching": 0.5, "cross": 0.2}, "metaorders": {"active": 3},
        "reactive": {"spreads": [1, 3], "queues": [0, 12], "cancel": [[1, 0.5], [2, 1]]},
    }  # fmt: skip
    tree = config(flow, market={"books": 2}, fundamentals={"lag": 1.0}).model_dump(mode="json") | {
        "intraday": {}
    }
    tree["env"]["episode_steps"] = 30
    whole, part = (
        MarketEnv(make_config(tree), num_envs=n, seed=4, first_env=first) for n, first in ((6, 0), (2, 3))
    )
    for env in (whole, part):
        env.reset()
    for _ in range(70):
        for env in (whole, part):
            env.step({})
        for x, y in zip(whole.state, part.state, strict=True):
            np.testing.assert_array_equal(x[3:5], y)


def test_a_flow_without_features_remembers_nothing():
    assert make_flow(config()).book[0, ms.RICH] == 0
    env = MarketEnv(config(), num_envs=1, seed=0)
    assert env.state.head.shape[-1] == ms.HEAD
