"""Multipliers by state and own-price tables on flows of known rates."""

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.config import FlowConfig, ReactiveConfig, SizeConfig
from lobgraph.data.events import CANCEL, LIMIT, MARKET, Events, events
from lobgraph.data.facts import market_orders
from lobgraph.data.lobster import read_lobster
from lobgraph.data.reactive import States, fit_reactive, scale_of, states_of
from lobgraph.data.recording import DELETE, REDUCE, SUBMIT
from lobgraph.data.refine import OWN_KNOBS, apply
from lobgraph.data.tables import Tables, measure_tables, reshaped, size_distribution
from lobgraph.market.tables import size_table

ONE = (np.array([1]), np.array([1.0]))


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return read_lobster(write_pair(tmp_path_factory.mktemp("day"), *make_day(3000, 5), 5))


def test_events_are_the_file_s(day):
    flow = events(day)
    counts = np.bincount(flow.kind, minlength=3)
    assert counts[LIMIT] == (day.type == SUBMIT).sum()
    assert counts[CANCEL] == ((day.type == REDUCE) | (day.type == DELETE)).sum()
    orders = market_orders(day)
    at = flow.kind == MARKET
    assert counts[MARKET] == len(orders.time)
    assert flow.qty[at].tolist() == orders.qty.tolist()
    assert (1 - 2 * flow.side[at]).tolist() == orders.side.tolist()
    assert (np.diff(flow.time) >= 0).all()
    assert flow.away[flow.kind == CANCEL].min() >= 0  # nothing rests before the best price


def test_own_tables_keep_rates_and_lots(day):
    own, opposite = measure_tables(day, "own"), measure_tables(day)
    assert own.limit_rates.sum() == pytest.approx(opposite.limit_rates.sum())
    assert len(own.limit_rates) > own.inside >= 1
    flow = events(day)
    placed = own.limit_rates / own.limit_rates.sum()
    better = (flow.away[flow.kind == LIMIT] < 0).mean()
    assert placed[: own.inside].sum() == pytest.approx(better, abs=0.01)
    (keys, _) = apply(own, dict.fromkeys(OWN_KNOBS, 1.0))
    cfg = FlowConfig(**keys)
    assert cfg.limit_table() == pytest.approx(own.limit_rates, rel=1e-3, abs=1e-5)
    assert cfg.inside == own.inside


TRUTH = np.array(
    [[[0.5, 2.0], [1.0, 1.5]], [[2.0, 0.5], [0.5, 1.0]], [[1.0, 1.0], [1.0, 3.0]]]
)  # kind, spread, lots


def flow_of_states(n, seed=0):
    """n events of a flow in a book whose spread (1, 2) and lots (0, 50) are drawn anew after every event."""
    rng = np.random.default_rng(seed)
    spread, queue = rng.integers(1, 3, n + 1), 50 * rng.integers(0, 2, (n + 1, 2))
    leaving = rng.uniform(0.5, 1.5, (n + 1, 2))
    bins = queue // 50
    rates = np.stack(
        [TRUTH[j][(spread - 1)[:, None], bins[:, ::-1] if j == MARKET else bins] for j in range(3)], 1
    )
    rates[:, CANCEL] *= leaving
    wait = rng.exponential(1.0 / rates.sum(axis=(1, 2)))
    u = rng.random(n) * rates[:-1].sum(axis=(1, 2))
    kind, side = np.divmod((np.cumsum(rates[:-1].reshape(n, 6), axis=1) < u[:, None]).sum(axis=1), 2)
    zero = np.zeros(n, np.int64)
    away = rng.integers(-1, 3, n)
    flow = Events(np.cumsum(wait)[:-1], kind, side, zero, away, zero, float(wait.sum()))
    return flow, States(wait, spread, queue, leaving), rates


def make_tables(limits=(1.0, 2.0, 1.0, 1.0)):
    return Tables(np.array(limits), np.ones(1), 1.0, 1.0, ONE, ONE, ONE, 1.0, False, "own", 1)


def test_recovers_known_multipliers():
    flow, states, rates = flow_of_states(60_000)
    fit = fit_reactive(flow, states, make_tables())
    assert (fit.spreads.tolist(), fit.queues.tolist()) == ([1, 2], [0, 50])
    for j in range(3):
        ratio = fit.multipliers[j] / TRUTH[j]
        assert ratio == pytest.approx(np.full((2, 2), ratio.mean()), rel=0.06)
    assert (fit.multipliers * fit.expected).sum() == pytest.approx(fit.events.sum())
    scale = scale_of(fit, states)
    assert np.corrcoef(scale[:, LIMIT].ravel(), rates[:, LIMIT].ravel())[0, 1] > 0.999
    assert ReactiveConfig(**fit.section()).multipliers() == pytest.approx(fit.multipliers, rel=1e-3)


def test_what_else_drives_the_rates_is_taken_out():
    """Activity that goes with the wide spread is not taken for the spread's doing."""
    flow, states, _ = flow_of_states(60_000)
    drive = np.where(states.spread == 2, 2.0, 1.0)[:, None, None] * np.ones((1, 3, 2))
    plain, told = (fit_reactive(flow, states, make_tables(), d) for d in (None, drive))
    ratio = plain.multipliers / told.multipliers
    assert ratio[:, 1] / ratio[:, 0] == pytest.approx(np.full((3, 2), 2.0), rel=0.03)


def test_rare_cells_are_drawn_to_the_marginals():
    flow, states, _ = flow_of_states(60)
    fit = fit_reactive(flow, states, make_tables())
    assert (fit.multipliers > 0).all()
    assert np.abs(np.log(fit.multipliers)).max() < np.log(4.0)


def test_placement_by_spread_has_no_room_inside_one_tick():
    flow, states, _ = flow_of_states(5_000)
    flow.away[(flow.away < 0) & (states.spread[:-1] == 1)] = 0
    fit = fit_reactive(flow, states, make_tables())
    assert fit.placement.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert fit.placement[0, 0] == 0.0
    assert fit.placement[1] == pytest.approx(np.full(4, 0.25), abs=0.05)


def test_reshaped_keeps_the_total_and_the_best():
    rates = np.array([1.0, 2.0, 8.0, 4.0, 2.0, 1.0])
    assert reshaped(rates, 2, 1.0, 1.0) == pytest.approx(rates)
    wide = reshaped(rates, 2, 2.0, 1.0)
    assert wide.sum() == pytest.approx(rates.sum())
    assert wide[:3] == pytest.approx(rates[:3])
    assert wide[3:] == pytest.approx([2.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    eager = reshaped(rates, 2, 1.0, 3.0)
    assert eager[:2].sum() / eager[2:].sum() == pytest.approx(3.0 * 3.0 / 15.0)


def test_states_of_a_day(day):
    flow, tables = events(day), measure_tables(day, "own")
    states = states_of(day, flow, tables)
    assert states.seconds.sum() <= day.seconds + 1e-6
    e = int(np.flatnonzero((states.spread > 0)[:-1])[5])
    row = flow.row[e] - 1
    assert states.spread[e] == day.row_px[row, 1, 0] - day.row_px[row, 0, 0]
    assert states.queue[e].tolist() == day.row_qty[row, :, 0].tolist()
    expected = 2 * (states.seconds[:, None] * states.leaving).sum() / 2
    assert expected == pytest.approx((flow.kind == CANCEL).sum(), rel=0.15)


def test_the_flow_s_size_table_keeps_round_lots():
    """1024 quantiles keep the weight of each frequent size to a thousandth."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate(
        [np.full(5000, 100), np.full(700, 200), np.full(150, 500), rng.integers(1, 3000, 4000)]
    )
    values, weights = size_distribution(sizes)
    table = size_table(SizeConfig(values=values.tolist(), weights=weights.tolist()))
    for lots in (100, 200, 500):
        assert (table == lots).mean() == pytest.approx((sizes == lots).mean(), abs=0.0015)
    assert table.mean() == pytest.approx(sizes.mean(), rel=0.01)
