"""Measured facts: small days computed by hand, and the published figures of the real files."""

import json

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.data.distance import rates_by_distance
from lobgraph.data.facts import correlation, market_orders, measure, returns
from lobgraph.data.load import info, read, read_all
from lobgraph.data.lobster import read_lobster
from lobgraph.data.nasdaq10 import read_nasdaq10
from lobgraph.data.recording import DataError

STEM = "HAND_2020-01-02_36000000_36010000"  # ten seconds from 10:00
HAND = [  # message, row: one level a side; bids at 99, asks at 102
    ("36000.0,1,1,100,9900,1", "10200,100,9900,100"),
    ("36002.0,1,2,50,10000,1", "10200,100,10000,50"),  # two ticks below the ask
    ("36004.0,4,2,20,10000,1", "10200,100,10000,30"),
    (
        "36004.0,5,0,10,10050,1",
        "10200,100,10000,30",
    ),  # the same sell order, hidden and between ticks
    ("36006.0,3,3,100,10200,-1", "10300,400,10000,30"),  # two ticks above the bid
    ("36008.0,4,4,400,10300,-1", "10500,80,10000,30"),
]


@pytest.fixture
def day(tmp_path):
    return read_lobster(write_pair(tmp_path, [m for m, _ in HAND], [b for _, b in HAND], 1, stem=STEM))


def test_hand_made_day(day):
    f = measure(day)
    assert (f.seconds, f.messages, f.price) == (10.0, 6, 100.5)
    assert (f.limit_rate, f.cancel_rate, f.execution_rate, f.market_rate) == pytest.approx(
        (0.2, 0.1, 0.2, 0.2)
    )
    assert f.spread == pytest.approx((3 + 2 + 2 + 3 + 5) / 5)  # two seconds each
    assert f.depth_bid == pytest.approx((100 + 50 + 30 + 30 + 30) / 5)
    assert f.depth_ask == pytest.approx((100 + 100 + 100 + 400 + 80) / 5)
    assert f.depth_best == pytest.approx((f.depth_bid + f.depth_ask) / 2)
    assert f.market_size == pytest.approx(215.0)
    assert f.hidden_share == pytest.approx(10 / 430)
    assert (f.limit_size, f.cancel_size) == (75.0, 100.0)
    orders = market_orders(day)
    assert orders.side.tolist() == [-1, 1]
    assert orders.qty.tolist() == [30, 400]
    assert orders.hidden.tolist() == [10, 0]


def test_hand_made_rates_by_distance(day):
    r = rates_by_distance(day, 4)
    assert r.limit_orders == pytest.approx([0, 1 / 20, 0, 0])  # the first message has no row before it
    assert r.cancelled_shares == pytest.approx([0, 100 / 20, 0, 0])
    both = (
        np.array([0, 50 + 100 + 30 + 100, 100 + 100 + 30 + 400, 0]) / 5 / 2
    )  # by distance 2 and 3; 5 is beyond
    assert r.mean_shares == pytest.approx(both)


def test_returns_sample_the_row_in_force(day):
    mids = np.log([100.5, 100.5, 101.0, 101.0, 101.0, 101.0, 101.5, 101.5, 102.5, 102.5, 102.5])
    assert returns(day, 1) == pytest.approx(np.diff(mids))


def test_correlation_of_a_day_with_itself(tmp_path):
    a = read_lobster(write_pair(tmp_path, *make_day(600, 2, 1), 2, stem="A_2020-01-02_34200000_34215000"))
    b = read_lobster(write_pair(tmp_path, *make_day(600, 2, 2), 2, stem="B_2020-01-02_34200000_34215000"))
    c = correlation([a, b, a], 1)
    assert c[0, 2] == pytest.approx(1.0)
    assert abs(c[0, 1]) < 0.9
    with pytest.raises(DataError, match="share less than three horizons"):
        correlation([a, b], 10)


def test_info_table(tmp_path, day):
    path = tmp_path / f"{STEM}_message_1.csv"
    table = info([path])
    assert list(table.columns) == ["HAND"]
    assert table.loc["rows", "HAND"] == 6
    assert table.loc["messages: limit", "HAND"] == 2
    assert table.loc["from", "HAND"] == "10:00:00"
    with pytest.raises(DataError, match="given twice"):
        read_all([path, path])
    with pytest.raises(DataError, match="no data files"):
        read_all([])


@pytest.mark.parametrize("name", ["AAPL", "AMZN", "GOOG"])
def test_published_facts(real, name):
    want = json.loads(real("lobster/facts.json")[0].read_text())[name]
    day = read(real(f"lobster/{name}_*_message_*")[0])
    f = measure(day)
    rates, orders = want["rates_per_s"], want["market_orders"]
    assert f.messages == want["messages"]
    assert f.limit_rate == pytest.approx(rates["limit(1)"])
    assert f.cancel_rate == pytest.approx(rates["partial cancel(2)"] + rates["delete(3)"])
    assert f.execution_rate == pytest.approx(rates["exec visible(4)"])
    assert (f.market_rate, f.market_size) == pytest.approx((orders["per_s"], orders["mean_size"]))
    assert f.hidden_share == pytest.approx(orders["hidden_volume_share"])
    assert (market_orders(day).side > 0).mean() == pytest.approx(orders["buy_frac"])
    assert f.spread == pytest.approx(want["spread_ticks"]["time-weighted mean"])
    assert f.spread_median == want["spread_ticks"]["median"]
    depth = want["depth_best_shares"]
    assert (f.depth_ask, f.depth_bid) == pytest.approx((depth["mean_ask"], depth["mean_bid"]))
    assert f.depth_by_level == pytest.approx(want["mean_depth_by_level"], abs=0.05)
    assert f.gap_by_level == pytest.approx(want["mean_gap_from_best_ticks_by_level"], abs=0.005)
    assert f.limit_size == pytest.approx(want["limit_size"]["mean"])
    for h in (1, 10, 60):
        assert np.std(returns(day, h)) * 1e4 == pytest.approx(want["returns"][f"{h}s"]["std_bps"], abs=5e-5)


@pytest.mark.parametrize("name", ["AMZN", "GOOG"])
def test_published_rates_by_distance(real, name):
    want = json.loads(real("lobster/rates_by_distance.json")[0].read_text())[name]
    r = rates_by_distance(read(real(f"lobster/{name}_*_message_*")[0]), len(want["distance_ticks"]))
    assert r.limit_orders == pytest.approx(want["limit_orders_per_s_per_side"], abs=1e-6)
    assert r.limit_shares == pytest.approx(want["limit_shares_per_s_per_side"], abs=1e-4)
    assert r.cancelled_shares == pytest.approx(want["cancelled_shares_per_s_per_side"], abs=1e-4)
    assert r.mean_shares == pytest.approx(want["mean_visible_shares_per_side"], abs=1e-3)
    rate = np.array([np.nan if v is None else v for v in want["cancel_rate_per_share_per_s"]])
    assert r.cancel_rate == pytest.approx(rate, abs=1e-4, nan_ok=True)


def test_published_correlations(real):
    want = json.loads(real("lobster/facts.json")[0].read_text())["cross_corr"]
    days = [read(real(f"lobster/{n}_*_message_*")[0]) for n in want["order"]]
    for h in (1, 10, 60):
        assert correlation(days, h) == pytest.approx(np.array(want[f"{h}s"]), abs=6e-4)


@pytest.mark.slow
def test_published_facts_of_eight_assets(real):
    want = json.loads(real("nasdaq10/facts.json")[0].read_text())
    days = [read_nasdaq10(real(f"nasdaq10/{n}_*.npz")[0]) for n in want["cross_corr"]["order"]]
    for day in days:
        f, w = measure(day), want[day.name]
        assert f.spread == pytest.approx(w["spread_ticks_mean"])
        assert f.depth_by_level == pytest.approx(w["depth_by_level"], abs=0.06)
        assert (f.market_rate, f.market_size) == pytest.approx((w["MO_per_s"], w["MO_vol_mean"]))
        for h in (1, 10, 60):
            assert np.std(returns(day, h)) * 1e4 == pytest.approx(w["returns"][f"{h}s"]["std_bps"], abs=5e-5)
    for h in (1, 10, 60):
        assert correlation(days, h) == pytest.approx(np.array(want["cross_corr"][f"{h}s"]), abs=6e-4)
