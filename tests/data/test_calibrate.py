"""Calibration: tables and regimes on made data with known answers, the fit on toy moments and on the real files."""

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.config import load_config, make_config
from lobgraph.data.calibrate import calibrate, write_config
from lobgraph.data.facts import measure
from lobgraph.data.follow import nearest_correlation, together
from lobgraph.data.lag import HORIZONS
from lobgraph.data.lobster import read_lobster
from lobgraph.data.recording import DataError
from lobgraph.data.refine import KNOBS, refine
from lobgraph.data.regimes import measure_regimes, split
from lobgraph.data.simulate import Simulated, simulate
from lobgraph.data.tables import (
    MAX_SIZES,
    measure_tables,
    pooled,
    round_lot_of,
    scaled,
    size_distribution,
    stretched,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("day"), *make_day(3000, 5), 5)


# --- tables ---


def test_tables_keep_the_measured_rates(path):
    day = read_lobster(path)
    t, f = measure_tables(day), measure(day)
    assert 2 * t.limit_rates.sum() == pytest.approx(f.limit_rate)
    assert 2 * t.market_rate == pytest.approx(f.market_rate)
    assert t.cancel_events == pytest.approx(f.cancel_rate)
    assert t.limit_size[0] @ t.limit_size[1] == pytest.approx(f.limit_size)
    assert (t.cancel_rates > 0).all()
    assert len(t.limit_rates) == len(t.cancel_rates)


def test_a_day_without_trades_cannot_calibrate(tmp_path):
    line = "34200.{},1,1,300,1000000,1"
    p = write_pair(tmp_path, [line.format(i) for i in range(5)], ["1000400,5,1000000,3"] * 5, 1)
    with pytest.raises(DataError, match="no cancel in the file"):
        measure_tables(read_lobster(p))


def test_sizes_keep_round_lots_and_the_mean():
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.full(5000, 100), rng.integers(1, 3000, 5000)])
    values, weights = size_distribution(sizes)
    assert len(values) <= MAX_SIZES
    assert weights.sum() == pytest.approx(1.0)
    assert weights[values == 100] == pytest.approx(0.5, abs=0.001)
    assert values @ weights == pytest.approx(sizes.mean(), rel=0.002)
    twice = scaled((values, weights), 2.0)
    assert twice[0] @ twice[1] == pytest.approx(2 * sizes.mean(), rel=0.002)
    least = scaled((np.array([1, 2]), np.array([0.5, 0.5])), 0.1)
    assert least[0] @ least[1] == pytest.approx(1.0, abs=0.01)


def test_stretching_keeps_the_total_and_moves_the_mean():
    d = np.arange(1, 61)
    rates = np.exp(-0.5 * ((d - 20) / 4.0) ** 2)
    assert stretched(rates, 1.0, 1.0)[:60] == pytest.approx(rates)
    for stretch, width in ((1.7, 1.0), (0.5, 1.0), (1.0, 0.5), (2.0, 1.5)):
        s = stretched(rates, stretch, width)
        e = np.arange(1, len(s) + 1)
        assert s.sum() == pytest.approx(rates.sum())
        assert e @ s / s.sum() == pytest.approx(20 * stretch, rel=0.02)
        assert np.sqrt((e - 20 * stretch) ** 2 @ s / s.sum()) == pytest.approx(4 * stretch * width, rel=0.03)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.5])
def test_scaled_sizes_have_the_mean_asked_for_and_keep_their_values(factor):
    values, weights = np.array([1, 7, 100, 200, 1000]), np.array([0.1, 0.1, 0.6, 0.15, 0.05])
    found, tilted = scaled((values, weights), factor)
    np.testing.assert_array_equal(found, values)
    assert found @ tilted == pytest.approx(factor * (values @ weights), rel=1e-6)
    assert tilted.sum() == pytest.approx(1.0)
    assert tilted[2] > 0.3


def test_scaled_sizes_go_as_far_as_their_values():
    found, tilted = scaled((np.array([5]), np.array([1.0])), 2.0)
    assert found @ tilted == pytest.approx(5.0)
    assert np.isfinite(tilted).all()


def test_round_lots_are_those_of_half_the_orders():
    assert round_lot_of((np.array([100, 50]), np.array([0.6, 0.4])), 1) == 100
    assert round_lot_of((np.array([100, 50]), np.array([0.4, 0.6])), 1) == 1
    assert round_lot_of((np.array([1, 2]), np.array([0.6, 0.4])), 100) == 1
    assert round_lot_of((np.array([10, 3]), np.array([0.6, 0.4])), 10) == 10
    assert round_lot_of((np.array([10, 3]), np.array([0.6, 0.4])), 30) == 1


def test_pooled_rates_smooth_over_empty_distances():
    held, lost = np.array([0.0, 100.0, 100.0, 0.0, 0.0]), np.array([0.0, 10.0, 30.0, 0.0, 0.0])
    rates = pooled(lost, held)
    assert np.isfinite(rates).all()
    assert rates[1:3] == pytest.approx([0.1, 0.3])
    assert rates[0] == pytest.approx(0.1)


def test_nearest_correlation():
    bad = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    fixed = nearest_correlation(bad)
    assert np.linalg.eigvalsh(fixed).min() > 0
    assert np.diag(fixed) == pytest.approx(np.ones(3))
    good = np.array([[1, 0.4], [0.4, 1]])
    assert nearest_correlation(good) == pytest.approx(good)


# --- regimes ---


def test_split_finds_the_spells():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 0, 1, 0], [200, 50, 150, 80, 120]).astype(bool)
    found = split(rng.normal(np.where(truth, 2.0, -0.5), 0.6))
    assert (found == truth).mean() > 0.98


def test_regimes_average_to_the_day(tmp_path):
    """Multipliers weighted by the time in each regime give back the tables."""
    messages, books = make_day(6000, 2, 3)
    kind = np.repeat([0, 1] * 5, 600)  # quiet and busy spells, by stretching the clock
    gaps = np.where(kind == 0, 0.4, 0.04)
    times = 34_200 + np.cumsum(gaps)
    messages = [f"{t:.6f}," + m.split(",", 1)[1] for t, m in zip(times, messages, strict=True)]
    day = read_lobster(write_pair(tmp_path, messages, books, 2, stem="T_2020-01-02_34200000_35600000"))
    section, said = measure_regimes([day])
    assert "stress in" in said
    share = section["initial"]["stress"]
    assert share == pytest.approx(1 / 11, abs=0.06)
    kinds = section["kinds"]
    for key in ("limit", "market", "cancel"):
        mean = (1 - share) * kinds["normal"][key] + share * kinds["stress"][key]
        assert mean == pytest.approx(1.0, abs=0.01)
    square = (1 - share) * kinds["normal"]["volatility"] ** 2 + share * kinds["stress"]["volatility"] ** 2
    assert square == pytest.approx(1.0, abs=0.01)
    assert kinds["stress"]["limit"] > 2 > kinds["normal"]["limit"]
    out, back = (
        section["switch_rates"]["normal"]["stress"],
        section["switch_rates"]["stress"]["normal"],
    )
    assert out / (out + back) == pytest.approx(share, rel=1e-3)  # the chain's own stationary share


def test_a_short_day_has_one_regime(path):
    section, said = measure_regimes([read_lobster(path)], seconds=60.0)
    assert list(section["kinds"]) == ["normal"]
    assert "too few" in said


# --- simulation and fit ---


def test_simulation_agrees_with_theory():
    """One tick of placement and unit orders: the spread is 1, depth (a - m) / d, cancels a - m a side (Smith et al. 2003)."""
    cfg = make_config({
        "flow": {"limit_rates": [20.0], "market_rate": 4.0, "cancel_rates": [0.5], "limit_size": {"mean": 1},
                 "market_size": {"mean": 1}, "cancel_size": {"mean": 1}, "tilt": 0.0, "initial_spread": 1},
        "regimes": {"kinds": {"one": {}}, "initial": {"one": 1.0}, "switch_rates": {}},
    })  # fmt: skip
    (s,) = simulate(cfg, seconds=1500, burn_in=30, envs=4)
    assert s.spread == pytest.approx(1.0)
    assert s.depth_best == pytest.approx(32.0, rel=0.03)
    assert (s.limit_rate, s.market_rate) == (40.0, 8.0)
    assert s.cancel_rate == pytest.approx(32.0, rel=0.03)
    assert s.one_sided < 1e-3
    assert simulate(cfg, seconds=100, envs=2) == simulate(cfg, seconds=100, envs=2)


def test_refine_finds_known_multipliers(path):
    """A smooth stand-in for the market, whose targets are met exactly by known multipliers."""
    fact = measure(read_lobster(path))
    truth = {
        "stretch": 1.6,
        "width": 1.0,
        "cancel": 1.0,
        "size": 2.5,
        "cancel_size": 1.4,
        "volatility": 1.0,
    }

    def moments(k):
        spread = fact.spread * k["stretch"] / truth["stretch"] * (k["size"] / truth["size"]) ** -0.1
        depth = fact.depth_best * (k["size"] / truth["size"]) * (k["stretch"] / truth["stretch"]) ** -0.3
        rate = 3.0 * truth["cancel_size"] / k["cancel_size"]
        return Simulated("x", 1.0, spread, depth, 1.0, 1.0, rate, 0.0, {})

    (found,) = refine(
        lambda knobs: knobs, [fact], [3.0], lambda knobs: [moments(k) for k in knobs], rounds=12
    )
    assert set(found) == set(KNOBS)
    s = moments(found)
    assert (s.spread, s.depth_best, s.cancel_rate) == pytest.approx(
        (fact.spread, fact.depth_best, 3.0), rel=0.05
    )
    assert found["stretch"] == pytest.approx(1.6, rel=0.05)
    assert found["size"] == pytest.approx(2.5, rel=0.05)


def test_calibration_writes_a_scenario(path, tmp_path):
    lines = []
    c = calibrate(path, name="made", rounds=1, seconds=100, features="none", report=lines.append)
    assert lines[0] == "calibrate: reading"
    assert set(c.table()["figure"]) >= {"spread [ticks]", "depth at best [lots]", "cancels /s"}
    out = write_config(c, tmp_path / "configs" / "made.yaml")
    cfg = load_config(out)
    assert (cfg.name, cfg.market.books) == ("made", ["TEST"])
    assert cfg.market.initial_price == [round(c.facts[0].price)]
    assert 2 * cfg.flows[0].limit_table().sum() == pytest.approx(c.facts[0].limit_rate, rel=1e-4)
    assert out.read_text().startswith("# Market calibrated")
    with pytest.raises(DataError, match="exists already"):
        write_config(c, out)
    write_config(c, out, force=True)
    with pytest.raises(DataError, match="rounds must be"):
        calibrate(path, rounds=-1)


def test_calibration_with_features_writes_a_scenario(path, tmp_path):
    """What the data allow is in the YAML and in the table; what they do not is said, or refused where it was asked for."""
    c = calibrate(path, rounds=1, seconds=100)
    cfg = load_config(write_config(c, tmp_path / "rich.yaml"))
    flow = cfg.flows[0]
    assert flow.reference == "opposite"  # the spread is a tick
    own = calibrate(path, rounds=0, seconds=60, features="reactive", reference="own")
    assert make_config(own.config).flows[0].reference == "own"
    assert flow.hawkes is not None or c.features.strength == [0.0]
    assert flow.reactive is not None
    assert flow.reactive.placement is not None
    assert set(c.fits()["feature"]) >= {"hawkes", "reactive"}
    assert any("lag: needs two assets" in note for note in c.notes)
    assert any("intraday: needs" in note for note in c.notes)
    with pytest.raises(DataError, match="lag: needs two assets"):
        calibrate(path, features="lag")
    with pytest.raises(DataError, match="'hawks' is none of"):
        calibrate(path, features="hawks,lag")
    half = calibrate(path, features=["metaorders"], start=34_200.0, end=34_500.0, rounds=0, seconds=60)
    assert half.facts[0].seconds == 300.0
    assert make_config(half.config).flows[0].reference == "opposite"


def check_figures(c, books):
    table = c.table().set_index(["book", "figure"])["ratio"]
    figures = [
        "spread [ticks]",
        "depth at best [lots]",
        "limit orders /s",
        "cancels /s",
        "market orders /s",
    ]
    wrong = {(b, f): round(table[b, f], 3) for b in books for f in figures if not 0.8 <= table[b, f] <= 1.2}
    assert not wrong, wrong


@pytest.mark.slow
def test_calibrated_market_is_like_the_data(real):
    """Spread, depth at the best and message rates within a fifth of the measured ones, on other random numbers."""
    c = calibrate([real(f"lobster/{n}_*_message_*")[0] for n in ("AMZN", "GOOG")])
    check_figures(c, ["AMZN", "GOOG"])
    cfg = make_config(c.config)
    assert cfg.fundamentals.matrix(2)[0, 1] == pytest.approx(0.236, abs=0.001)


@pytest.mark.slow
def test_calibration_to_snapshots(real):
    c = calibrate([real(f"nasdaq10/{n}_*.npz")[0] for n in ("AMZN", "INTC")])
    check_figures(c, ["AMZN", "INTC"])
    assert any("net changes" in note for note in c.notes)


@pytest.mark.slow
def test_simulated_mids_correlate_as_measured(real):
    """On other random numbers than they were fitted on, at 1, 10 and 60 s, rising with the horizon."""
    paths = [real(f"nasdaq10/{n}_*.npz")[0] for n in ("AMZN", "EBAY", "GOOG", "SMH")]
    c = calibrate(paths, end=46_800.0, features="lag", rounds=4, seconds=1500)
    others = ~np.eye(4, dtype=bool)
    data, made = c.features.lag.measured, [together(c.refined, h) for h in HORIZONS]
    means = [m[others].mean() for m in made]
    assert means[0] < means[1] < means[2]
    for h in range(3):
        assert np.abs(made[h] - data[h])[others].mean() < 0.1
        assert means[h] == pytest.approx(data[h][others].mean(), abs=0.06)
