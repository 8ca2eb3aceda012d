"""The noise flow against its tables: which event, how far, how many lots, and when."""

from __future__ import annotations

import numpy as np
import pytest
from flow_drivers import CANCEL, LIMIT, MARKET, outcomes, waits
from hypothesis import given
from hypothesis import strategies as st
from markets import UNITS, config, steps
from scipy import stats

from lobgraph.config import Config, SizeConfig
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms
from lobgraph.market import tables
from lobgraph.market.features import rest_memory
from lobgraph.validate.races import make_book

# --- tables ---


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=60))
def test_alias_table_gives_back_its_weights(weights):
    w = np.array(weights)
    cut, to = tables.alias_table(w)
    n = len(w)
    chance = cut / 65536 / n
    np.add.at(chance, to, (1.0 - cut / 65536) / n)
    want = w / w.sum() if w.sum() > 0 else np.full(n, 1 / n)
    np.testing.assert_allclose(chance, want, atol=1 / 65536)
    assert ((cut >= 0) & (cut <= 65536)).all()
    assert not chance[want == 0].any()


@given(st.floats(1.0, 60.0))
def test_geometric_sizes_have_their_mean_and_shape(mean):
    table = tables.size_table(SizeConfig(mean=mean))
    assert table.sum() == round(mean * len(table))
    assert table.min() >= 1
    k = np.arange(1, 8)
    below = (table[None, :] <= k[:, None]).mean(axis=1)
    np.testing.assert_allclose(below, 1.0 - (1.0 - 1.0 / mean) ** k, atol=2 / len(table))


@given(st.dictionaries(st.integers(1, 2000), st.floats(1e-4, 1.0), min_size=1, max_size=8))
def test_listed_sizes_have_their_mean_and_shape(law):
    values, weights = np.array(list(law)), np.array(list(law.values()))
    table = tables.size_table(SizeConfig(values=values.tolist(), weights=weights.tolist()))
    mean = values @ weights / weights.sum()
    assert abs(table.mean() - mean) <= 1 / len(table)
    share = (table[:, None] == values[None, :]).mean(axis=0)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=2 / len(table))


def test_normal_table():
    z = tables.normal_table() / 65536
    assert abs(z.mean()) < 1e-6
    assert abs(z.var() - 1.0) < 1e-4
    assert abs((z**4).mean() - 3.0) < 0.02


# --- one event ---

SPREAD, LEVELS, DEPTH = 3, 12, 40
N = 400_000


def one_event(
    cfg: Config, fundamental: float | None = None, regime: int = 0, seed: int = 5, rich: bool = False,
    depth: int = DEPTH,
) -> np.ndarray:  # fmt: skip
    """(N, 4) outcomes of the next event of a full book with a spread of 3 around 1001.5. rich: by rates of each type."""
    f = tables.make_flow(cfg, rich)
    b = make_book(128, 1000, 1000 + SPREAD, LEVELS, depth, memory=tables.memory_of(f))
    mid = 1000 + SPREAD / 2
    if f.book[0, ms.RICH]:
        rest_memory(b, f, 0)
    out = np.zeros((N, 4), np.int64)
    outcomes(b, f, regime, 0, int((mid if fundamental is None else fundamental) * 65536), seed, out)
    return out


def assert_counts(counts: np.ndarray, chances: np.ndarray) -> None:
    """Multinomial counts fit their probabilities: none further than 4.5 sigma, none where the chance is 0."""
    n, chances = counts.sum(), np.asarray(chances, np.float64)
    sigma = np.sqrt(n * chances * (1 - chances)) + 1e-9
    assert (np.abs(counts - n * chances) <= 4.5 * sigma + 1e-4 * n * chances).all(), (counts / n, chances)


@pytest.mark.parametrize("rich", [False, True])
def test_which_event_how_far_and_how_many_lots(rich):
    rates = np.array([0.0, 4.0, 1.0, 0.0, 2.5, 0.5])
    cancel = np.array([0.02, 0.05, 0.01, 0.04, 0.03])
    sizes = {"values": [1, 4, 10], "weights": [5, 3, 2]}
    flow = {
        "limit_rates": rates.tolist(), "market_rate": 1.7, "cancel_rates": cancel.tolist(), "tilt": 0.0,
        "limit_size": sizes, "market_size": {"mean": 6.0}, "cancel_size": {"values": [2], "weights": [1]},
    }  # fmt: skip
    out = one_event(config(flow), rich=rich)
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
@pytest.mark.parametrize("rich", [False, True])
def test_tilt_moves_limit_and_market_sides_and_not_their_number(off, chance, rich):
    """P(buy) = 1/2 + tilt * (fundamental - mid), bounded."""
    flow = {"intensity": 5.0, "market_rate": 5.0, "cancel_rate": 0.01, "tilt": 0.1, "tilt_max": 0.35}
    kind, side, _, _ = one_event(
        config(flow), fundamental=1000 + SPREAD / 2 + off, seed=int(off) + 50, rich=rich
    ).T
    for k in (LIMIT, MARKET):
        assert_counts(np.bincount((side[kind == k] + 1) // 2, minlength=2), [1 - chance, chance])
    assert_counts(np.bincount((side[kind == CANCEL] + 1) // 2, minlength=2), [0.5, 0.5])
    events = np.array([5.0, 5.0])
    assert_counts(np.bincount(kind[kind != CANCEL], minlength=3)[1:], events / events.sum())


@pytest.mark.parametrize("rich", [False, True])
def test_regimes_scale_the_rates_and_widen_the_placement(rich):
    kinds = {"calm": {}, "wild": {"limit": 0.5, "market": 3.0, "cancel": 2.0, "widen": 4}}
    regimes = {"kinds": kinds, "initial": {"calm": 1.0}, "switch_rates": {}}
    cfg = config(
        {"limit_rates": [3.0, 1.0], "market_rate": 1.0, "cancel_rate": 0.05, **UNITS}, regimes=regimes
    )
    f = tables.make_flow(cfg)
    np.testing.assert_allclose(f.rate[:, 0], [[8.0, 2.0, 0.05], [4.0, 6.0, 0.1]])
    kind, _, distance, _ = one_event(cfg, regime=1, rich=rich).T
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
    w = np.zeros(4_000_000)
    waits(tables.make_flow(config()), 3, w)
    assert abs(w.mean() - 1.0) < 4.5 / np.sqrt(len(w))
    assert abs(w.var() - 1.0) < 4.5 * np.sqrt(8 / len(w)) + 1e-3
    assert stats.kstest(w, "expon").statistic < 1.95 / np.sqrt(len(w)) + 1 / 4096
    assert abs((w > 7.0).mean() / np.exp(-7.0) - 1.0) < 4.5 / np.sqrt(len(w) * np.exp(-7.0))


@pytest.mark.parametrize("x", [3e-5, 1.34e-3, 0.01, 0.1])
def test_short_waits_are_as_likely_as_they_should_be(x):
    """P(an event within dt) for slow markets or short steps: no staircase of a table may show."""
    w = np.zeros(4_000_000)
    waits(tables.make_flow(config()), 4, w)
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
