"""The noise flow against its tables and against theory: which event, how many lots, when, and what follows from it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from flow_drivers import CANCEL, LIMIT, MARKET, make_book, outcomes, races, waits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lobgraph.config import Config, SizeConfig, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import flow as fl
from lobgraph.market import state as ms

UNIT = {"values": [1], "weights": [1]}
UNITS = {"limit_size": UNIT, "market_size": UNIT, "cancel_size": UNIT}
CST = {
    "limit_rates": [1.85, 1.51, 1.09, 0.88, 0.77], "market_rate": 0.94,
    "cancel_rates": [0.71, 0.81, 0.68, 0.56, 0.47], "tilt": 0.0, **UNITS,
}  # fmt: skip


def config(flow: dict | None = None, **sections) -> Config:
    """A market without agents, in one regime."""
    tree = {
        "market": {"window": 256},
        "flow": flow or {},
        "agents": {"maker": {"count": 0}},
        "regimes": {"kinds": {"normal": {}}, "initial": {"normal": 1.0}, "switch_rates": {}},
        "env": {"episode_steps": 1_000_000},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return make_config(tree)


# --- tables ---


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=60))
def test_alias_table_gives_back_its_weights(weights):
    w = np.array(weights)
    cut, to = fl.alias_table(w)
    n = len(w)
    chance = cut / 65536 / n
    np.add.at(chance, to, (1.0 - cut / 65536) / n)
    want = w / w.sum() if w.sum() > 0 else np.full(n, 1 / n)
    np.testing.assert_allclose(chance, want, atol=1 / 65536)
    assert ((cut >= 0) & (cut <= 65536)).all()
    assert not chance[(want == 0) & (np.bincount(to, 1.0 - cut / 65536, minlength=n) == 0)].any()


@given(st.floats(1.0, 60.0))
def test_geometric_sizes_have_their_mean_and_shape(mean):
    table = fl.size_table(SizeConfig(mean=mean))
    assert table.sum() == round(mean * len(table))
    assert table.min() >= 1
    k = np.arange(1, 8)
    below = (table[None, :] <= k[:, None]).mean(axis=1)
    np.testing.assert_allclose(below, 1.0 - (1.0 - 1.0 / mean) ** k, atol=2 / len(table))


@given(st.dictionaries(st.integers(1, 2000), st.floats(1e-4, 1.0), min_size=1, max_size=8))
def test_listed_sizes_have_their_mean_and_shape(law):
    values, weights = np.array(list(law)), np.array(list(law.values()))
    table = fl.size_table(SizeConfig(values=values.tolist(), weights=weights.tolist()))
    mean = values @ weights / weights.sum()
    assert abs(table.mean() - mean) <= 1 / len(table)
    share = (table[:, None] == values[None, :]).mean(axis=0)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=2 / len(table))


def test_exponential_and_normal_tables():
    t = fl.exponential_table()
    assert abs(t.astype(np.float64).mean() - 1.0) < 1e-6
    assert abs(t.astype(np.float64).var() - 1.0) < 2e-3
    assert stats.kstest(t, "expon").statistic < 1.01 / len(t)
    z = fl.normal_table() / 65536
    assert abs(z.mean()) < 1e-6
    assert abs(z.var() - 1.0) < 1e-4
    assert abs((z**4).mean() - 3.0) < 0.02


# --- one event ---

SPREAD, LEVELS, DEPTH = 3, 12, 40
N = 400_000


def one_event(cfg: Config, fundamental: float | None = None, regime: int = 0, seed: int = 5) -> np.ndarray:
    """(N, 4) outcomes of the next event of a full book with a spread of 3 around 1001.5."""
    b = make_book(128, 1000, 1000 + SPREAD, LEVELS, DEPTH)
    mid = 1000 + SPREAD / 2
    out = np.zeros((N, 4), np.int64)
    outcomes(b, fl.make_flow(cfg), regime, 0, int((mid if fundamental is None else fundamental) * 65536), seed, out)
    return out


def assert_counts(counts: np.ndarray, chances: np.ndarray) -> None:
    """Multinomial counts fit their probabilities: none further than 4.5 sigma, none where the chance is 0."""
    n, chances = counts.sum(), np.asarray(chances, np.float64)
    sigma = np.sqrt(n * chances * (1 - chances)) + 1e-9
    assert (np.abs(counts - n * chances) <= 4.5 * sigma + 1e-4 * n * chances).all(), (counts / n, chances)


def test_which_event_how_far_and_how_many_lots():
    rates = np.array([0.0, 4.0, 1.0, 0.0, 2.5, 0.5])
    cancel = np.array([0.02, 0.05, 0.01, 0.04, 0.03])
    sizes = {"values": [1, 4, 10], "weights": [5, 3, 2]}
    flow = {
        "limit_rates": rates.tolist(), "market_rate": 1.7, "cancel_rates": cancel.tolist(), "tilt": 0.0,
        "limit_size": sizes, "market_size": {"mean": 6.0}, "cancel_size": {"values": [2], "weights": [1]},
    }  # fmt: skip
    out = one_event(config(flow))
    kind, side, distance, lots = out.T
    # Per side: all limit orders, market orders, cancels of (fraction * resting / mean size) events.
    distances = SPREAD + np.arange(LEVELS)
    per_level = cancel[np.minimum(distances, len(cancel)) - 1] * DEPTH / 2.0
    total = 2 * (rates.sum() + 1.7 + cancel.max() * LEVELS * DEPTH / 2.0)
    want = 2 * np.array([rates.sum(), 1.7, per_level.sum()]) / total
    assert_counts(np.bincount(kind, minlength=4), [1 - want.sum(), *want])
    for s in (1, -1):
        ours = (kind == LIMIT) & (side == s)
        assert_counts(np.bincount(distance[ours], minlength=7)[1:], rates / rates.sum())
        gone = (kind == CANCEL) & (side == s)
        assert_counts(np.bincount(distance[gone] - SPREAD, minlength=LEVELS), per_level / per_level.sum())
    for k in (LIMIT, MARKET, CANCEL):
        assert_counts(np.bincount((side[kind == k] + 1) // 2, minlength=2), [0.5, 0.5])
    assert_counts(np.bincount(lots[kind == LIMIT], minlength=11)[[1, 4, 10]], [0.5, 0.3, 0.2])
    assert (lots[kind == CANCEL] == 2).all()
    market = lots[kind == MARKET]
    assert abs(market.mean() - 6.0) < 4.5 * market.std() / np.sqrt(len(market))


@pytest.mark.parametrize(("off", "chance"), [(2.0, 0.7), (-1.0, 0.4), (9.0, 0.85), (-30.0, 0.15), (0.0, 0.5)])
def test_tilt_moves_limit_and_market_sides_and_not_their_number(off, chance):
    """P(buy) = 1/2 + tilt * (fundamental - mid), bounded."""
    flow = {"intensity": 5.0, "market_rate": 5.0, "cancel_rate": 0.01, "tilt": 0.1, "tilt_max": 0.35}
    kind, side, _, _ = one_event(config(flow), fundamental=1000 + SPREAD / 2 + off, seed=int(off) + 50).T
    for k in (LIMIT, MARKET):
        assert_counts(np.bincount((side[kind == k] + 1) // 2, minlength=2), [1 - chance, chance])
    assert_counts(np.bincount((side[kind == CANCEL] + 1) // 2, minlength=2), [0.5, 0.5])
    events = np.array([5.0, 5.0])
    assert_counts(np.bincount(kind[kind != CANCEL], minlength=3)[1:], events / events.sum())


def test_regimes_scale_the_rates_and_widen_the_placement():
    kinds = {"calm": {}, "wild": {"limit": 0.5, "market": 3.0, "cancel": 2.0, "widen": 4}}
    regimes = {"kinds": kinds, "initial": {"calm": 1.0}, "switch_rates": {}}
    cfg = config({"limit_rates": [3.0, 1.0], "market_rate": 1.0, "cancel_rate": 0.05, **UNITS}, regimes=regimes)
    f = fl.make_flow(cfg)
    np.testing.assert_allclose(f.rate[:, 0], [[8.0, 2.0, 0.05], [4.0, 6.0, 0.1]])
    kind, _, distance, _ = one_event(cfg, regime=1).T
    total = 4.0 + 6.0 + 0.1 * 2 * LEVELS * DEPTH
    assert_counts(np.bincount(kind, minlength=4)[1:], np.array([4.0, 6.0, total - 10.0]) / total)
    assert_counts(np.bincount(distance[kind == LIMIT], minlength=7)[5:], [0.75, 0.25])


def test_convenience_parameters_build_the_limit_table():
    cfg = config({"intensity": 10.0, "distances": 20, "spread_preference": 4.0, "placement_decay": 5.0})
    t = cfg.flows[0].limit_table()
    assert len(t) == 20
    assert np.isclose(t.sum(), 10.0)
    assert t.argmax() == 3
    np.testing.assert_allclose(t[4:] / t[3:-1], np.exp(-1 / 5.0))


# --- time ---


def test_waiting_times_are_exponential():
    w = np.zeros(400_000)
    waits(fl.make_flow(config()), 3, w)
    assert abs(w.mean() - 1.0) < 4.5 / np.sqrt(len(w))
    assert stats.kstest(w, "expon").statistic < 1.95 / np.sqrt(len(w)) + 1 / 4096


@pytest.mark.parametrize("x", [3e-5, 1.34e-3, 0.01, 0.1])
def test_short_waits_are_as_likely_as_they_should_be(x):
    """P(an event within dt) for slow markets or short steps: no staircase of a table may show."""
    w = np.zeros(4_000_000)
    waits(fl.make_flow(config()), 4, w)
    p = -np.expm1(-x)
    assert abs((w <= x).mean() - p) < 4.5 * np.sqrt(p / len(w))


def test_counts_in_a_step_are_poisson_and_rates_are_met():
    """Without market orders and cancels: limit orders in a step have mean and variance 2 * rate * dt."""
    flow = {"limit_rates": [0.0, 2.0, 1.0], "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0, **UNITS}
    env = MarketEnv(config(flow, market={"dt": 0.7}), num_envs=200, seed=1)
    env.reset()
    counts = steps(env, 100, lambda: env.state.head[:, 0, ms.EVENTS].copy())
    counts = np.diff(counts, axis=0, prepend=0)
    mean, n = 2 * 3.0 * 0.7, counts.size
    assert abs(counts.mean() - mean) < 4.5 * np.sqrt(mean / n)
    assert abs(counts.var() - mean) < 4.5 * np.sqrt((2 * mean**2 + mean) / n)
    late = np.corrcoef(counts[1:].ravel(), counts[:-1].ravel())[0, 1]
    assert abs(late) < 4.5 / np.sqrt(n)


def steps(env: MarketEnv, count: int, read) -> np.ndarray:
    """(count, ...) what `read` returns after each of `count` steps without actions."""
    seen = []
    for _ in range(count):
        env.step({})
        seen.append(read())
    return np.array(seen)


def spread_and_depth(cfg: Config, envs: int, seed: int, burn: float, seconds: float, every: float) -> np.ndarray:
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


# --- theory ---


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


def executed_first(place: int, asks: int, birth: float, market: float, cancel: float, most: int = 80) -> float:
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
    ("bids", "asks", "birth", "market", "cancel"), [(3, 2, 1.85, 0.94, 0.71), (5, 4, 0.6, 1.2, 0.3), (2, 6, 3.0, 2.0, 1.0)]
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


# --- randomness: a draw is a function of its counters ---

COMPARED = [ms.BID, ms.ASK, ms.LOW, ms.NOISE_BID, ms.NOISE_ASK, ms.ADDED, ms.TRADED, ms.EVENTS, ms.VOLUME]


def trajectory(cfg: Config, count: int, actions: dict | None = None, **kwargs) -> tuple[np.ndarray, np.ndarray]:
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


MARKET_OF_TWO = {"market": {"books": 2}, "fundamentals": {"volatility": 0.5, "jump_rate": 0.05, "jump_size": 2.0}}


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


# --- fundamentals and regimes ---


def still(**sections) -> dict:
    """A market with no orders, for its fundamentals alone."""
    flow = {"intensity": 0.0, "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0, "initial_depth": 0}
    return {"flow": flow, **sections}


def fundamentals(cfg: Config, envs: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(T, E, U) fundamentals and (T, E, A) deviations in ticks."""
    env = MarketEnv(cfg, num_envs=envs, seed=seed)
    env.reset()
    read = steps(env, count, lambda: np.concatenate([env.state.fundamental, env.state.deviation], axis=1) / 65536)
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
    lag = [np.corrcoef(np.diff(path, axis=0)[1:, :, i].ravel(), np.diff(path, axis=0)[:-1, :, i].ravel())[0, 1] for i in range(3)]
    assert np.abs(lag).max() < 4.5 / np.sqrt(n)


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
    r = regime_paths({"calm": 0.25, "wild": 0.75}, {"calm": {"wild": up}, "wild": {"calm": down}}, 2000, 60, dt)
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


settings.register_profile("lobgraph", deadline=None)
settings.load_profile("lobgraph")
