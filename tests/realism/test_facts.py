"""Stylised facts of made data whose answers are known, and those published of the real files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lobgraph.data.load import read
from lobgraph.data.nasdaq10 import Snapshots
from lobgraph.data.recording import NS, SUBMIT, make_recording
from lobgraph.realism.facts import (
    BLOCKS,
    RANGES,
    Fact,
    block_sums,
    correlation_facts,
    decay,
    fluctuations,
    interval,
    kurtosis,
    powers,
    slope_of_logs,
    stylised_facts,
    variance,
)
from lobgraph.realism.sampling import part
from lobgraph.realism.scorecard import ALL, judge, verdict

START = 36_000 * NS


def snapshots(mids: np.ndarray, name: str = "X", seed: int = 0, step: int = NS) -> Snapshots:
    """A set of snapshots with the given mids (in ticks, two ticks apart), one every `step`, and no market orders."""
    n, rng = len(mids), np.random.default_rng(seed)
    mids = np.round(mids).astype(np.int64)
    px = np.stack([mids - 1, mids + 1], axis=1)[:, :, None].astype(np.int32)
    none = np.zeros(0)
    return Snapshots(
        name=name, date="", levels=1, tick=100, lot=1, start=START, end=START + n * step,
        time=START + step * np.arange(1, n + 1), row_px=px, row_qty=rng.integers(1, 500, (n, 2, 1)).astype(np.int32),
        order_time=none.astype(np.int64), order_side=none.astype(np.int8), order_qty=none.astype(np.int32),
        unsorted=0, crossed=0,
    )  # fmt: skip


def by_name(facts: list[Fact]) -> dict[str, Fact]:
    return {f.name: f for f in facts}


def fractional_noise(n: int, hurst: float, seed: int) -> np.ndarray:
    """Gaussian noise of that Hurst exponent, by its spectrum (Timmer and Koenig 1995)."""
    rng = np.random.default_rng(seed)
    f = np.fft.rfftfreq(n)[1:]
    amplitude = f ** (0.5 - hurst) * (rng.normal(size=len(f)) + 1j * rng.normal(size=len(f)))
    return np.fft.irfft(np.concatenate([[0.0], amplitude]), n)


def test_a_brownian_mid():
    """Gaussian returns: no excess kurtosis, variance ratio 1, no memory of |returns|; each inside its interval."""
    steps = np.random.default_rng(1).normal(scale=200.0, size=14_400)
    facts = by_name(stylised_facts(snapshots(1_000_000 + np.cumsum(steps)), resamples=200))
    for name, truth in (
        ("excess kurtosis, 1 s", 0.0), ("excess kurtosis, 10 s", 0.0), ("variance ratio, 60 s over 1 s", 1.0),
        ("|return| autocorrelation, 200-300 s", 0.0), ("queue imbalance, top less bottom fifth", 0.0),
    ):  # fmt: skip
        assert facts[name].low < truth < facts[name].high, facts[name]
    assert facts["excess kurtosis, 1 s"].high - facts["excess kurtosis, 1 s"].low < 0.4
    assert np.isnan(facts["Fano factor of counts, 1 s"].value)
    assert facts["Fano factor of counts, 1 s"].note == "snapshots do not count messages"
    assert "0 market orders" in facts["order-sign Hurst exponent"].note


def test_returns_that_revert_or_trend():
    """AR(1) returns with coefficient a: the variance ratio over 60 is 1 + 2 sum (1 - k / 60) a^k."""
    for a in (-0.4, 0.3):
        noise = np.random.default_rng(2).normal(scale=200.0, size=21_600)
        r = noise.copy()
        for i in range(1, len(r)):
            r[i] += a * r[i - 1]
        k = np.arange(1, 60)
        truth = 1.0 + 2.0 * ((1.0 - k / 60.0) * a**k).sum()
        found = by_name(stylised_facts(snapshots(1_000_000 + np.cumsum(r)), resamples=200))
        fact = found["variance ratio, 60 s over 1 s"]
        assert fact.low < truth < fact.high
        assert not fact.low < 1.0 < fact.high


def test_heavy_tails():
    """Student's t with 9 degrees: excess kurtosis 6 / 5; sums over blocks give scipy's kurtosis."""
    from scipy.stats import kurtosis as reference

    x = np.random.default_rng(3).standard_t(9, size=40_000)
    sums = block_sums(np.arange(len(x)), powers(x, 4), 0, len(x))
    assert sums.shape == (BLOCKS, 5)
    fact = interval("k", sums, kurtosis)
    assert fact.value == pytest.approx(float(reference(x)))
    assert fact.low < 1.2 < fact.high


@pytest.mark.parametrize("hurst", [0.5, 0.6, 0.75])
def test_hurst_exponent_of_fractional_noise(hurst):
    x = fractional_noise(1 << 14, hurst, 4)
    time = np.arange(len(x))
    scales, sums = fluctuations(x, time, 0, len(x))
    fact = interval("h", sums, lambda s: 0.5 * slope_of_logs(s, scales))
    assert fact.value == pytest.approx(hurst, abs=0.04)
    signs = fluctuations(np.sign(x), time, 0, len(x))[1]
    of_signs = 0.5 * float(slope_of_logs(signs.sum(axis=0), scales))
    assert of_signs == pytest.approx(hurst, abs=0.07)


def test_decay_of_a_power_law():
    lags = np.arange(1, 301)
    assert decay(0.3 * lags**-0.35) == pytest.approx(0.35, abs=0.003)
    negative = np.where(lags >= 206, -0.1, 0.3 * lags**-0.35)  # lags without a logarithm are left out
    assert decay(negative) == pytest.approx(0.35, abs=0.02)


def messages(times: np.ndarray):
    """A recording of limit orders at the given times that change nothing but the depth."""
    n = len(times)
    qty = 10 + np.arange(n)
    rows = np.stack([np.full((n, 2), [100, 50]), np.full((n, 2), [102, 50])], axis=1)[:, :, :1]
    lots = np.stack([qty, np.full(n, 7)], axis=1)[:, :, None]
    return make_recording(
        name="X", date="", tick=100, lot=1, start=START, end=START + 3600 * NS, time=times, type=np.full(n, SUBMIT),
        order=np.arange(1, n + 1), side=np.ones(n), px=np.full(n, 100), qty=np.ones(n), row_px=rows, row_qty=lots,
    )  # fmt: skip


def test_counts_of_a_poisson_process_and_of_bursts():
    rng = np.random.default_rng(5)
    poisson = np.sort(rng.integers(0, 3600 * NS, 20_000))
    bursts = np.sort(
        np.repeat(rng.integers(0, 3600 * NS, 2_000), 10)
    )  # ten at once: variance 100, mean 10 a burst
    for times, truth in ((poisson, 1.0), (bursts, 10.0)):
        facts = by_name(stylised_facts(messages(START + times)))
        fact = facts["Fano factor of counts, 1 s"]
        assert fact.low < truth < fact.high
        assert facts["Fano factor of counts, 10 s"].value == pytest.approx(truth, rel=0.15)
        assert facts["excess kurtosis, 1 s"].note  # the mid never moves


def test_variance_from_sums():
    x = np.random.default_rng(0).normal(3.0, 2.0, 1000)
    assert variance(powers(x, 2).sum(axis=0)) == pytest.approx(x.var())


def test_correlation_rises_with_the_horizon():
    """Two assets that share a walk which each shows with noise of its own: correlation v h / (v h + 2 s^2), v = 1, s^2 = 20."""
    rng = np.random.default_rng(6)
    shared = np.cumsum(rng.normal(size=21_600))
    days = [snapshots(1_000_000 + 1000 * (shared + 20**0.5 * rng.normal(size=21_600)), name) for name in "AB"]
    facts = by_name(correlation_facts(days))
    for h in (1, 10, 60):
        truth = h / (h + 40.0)
        assert facts[f"correlation, {h} s"].low < truth < facts[f"correlation, {h} s"].high
    assert facts["correlation, 60 s over 1 s"].value > 2.0


def test_verdicts():
    name = "Fano factor of counts, 1 s"
    assert verdict(Fact(name, 8.0, 7, 9), Fact(name, 20.0, 18, 22)) == "yes"
    assert verdict(Fact(name, 2.0, 1, 3), Fact(name, 20.0, 18, 22)) == "no"
    assert verdict(Fact(name, 2.0, 1, 3), Fact(name, 4.0, 2.5, 6)) == "as the data"
    assert verdict(Fact(name, 2.0, 1, 2.2), Fact(name, 4.0, 2.5, 6)) == "no"
    assert verdict(Fact(name, float("nan")), Fact(name, 4.0)) == "-"
    assert verdict(Fact("no range", 1.0, 0, 2), Fact("no range", 3.0, 1, 5)) == "as the data"


def test_what_a_shorter_market_cannot_tell_is_not_measured():
    rng = np.random.default_rng(0)
    short, long = (snapshots(1_000_000 + np.cumsum(rng.integers(-3, 4, n))) for n in (600, 3600))
    for simulated, real, note in ((short, long, "simulated"), (long, short, "data")):
        facts = judge([simulated], [real], seed=0).facts.set_index("fact")
        ratio = facts.loc["kurtosis, 60 s over 10 s"]
        assert ratio.verdict == "-"
        assert note in ratio.note
        assert facts.loc["kurtosis, 10 s over 1 s"].verdict != "-"


def test_a_scorecard_of_two_assets():
    rng = np.random.default_rng(7)
    shared = np.cumsum(rng.normal(scale=50.0, size=4000))
    real = [snapshots(1_000_000 + shared + np.cumsum(rng.normal(scale=30.0, size=4000)), n, 1) for n in "AB"]
    simulated = [replace(d) for d in real]
    card = judge(simulated, real, [part(d, None, 38_000) for d in real], resamples=20)
    assert set(card.facts["book"]) == {"A", "B", ALL}
    assert card.distances["l1"].max() == 0.0
    assert (card.distances["earlier_l1"] > 0).any()
    assert (card.means()["floor_l1"] > 0).all()
    assert any("not measured" in line for line in card.notes)
    ranged = card.facts[card.facts["fact"].isin(RANGES) & card.facts["data"].notna()]
    assert set(ranged["verdict"]) <= {"yes", "as the data"}


@pytest.mark.parametrize("name", ["AAPL", "AMZN", "GOOG"])
def test_published_facts(real, name):
    want = json.loads(real("lobster/facts.json")[0].read_text())[name]
    day = read(real(f"lobster/{name}_*_message_*")[0])
    facts = by_name(stylised_facts(day, resamples=50))
    returns = want["returns"]
    for h in (1, 10, 60):
        assert facts[f"excess kurtosis, {h} s"].value == pytest.approx(returns[f"{h}s"]["exkurt"], abs=0.006)
    ratio = returns["signature_var_ratio (var_k / k var_1)"]["60"]
    assert facts["variance ratio, 60 s over 1 s"].value == pytest.approx(ratio, abs=6e-4)
    assert facts["Fano factor of counts, 1 s"].value == pytest.approx(want["msg_count_1s"]["fano"], rel=1e-6)
    assert facts["order-flow imbalance R2, 10 s"].value == pytest.approx(want["OFI_10s"]["R2"], abs=6e-5)
    up = want["P(next mid move up | bid/(bid+ask) decile)"]
    assert facts["queue imbalance, top less bottom fifth"].value == pytest.approx(up[4] - up[0], abs=0.002)
    # estimated on other scales and lags than those published: near, and within the interval
    assert facts["order-sign Hurst exponent"].value == pytest.approx(want["MO_sign_hurst_DFA"], abs=0.06)
    slope = facts["|return| autocorrelation decay"]
    assert slope.low < -returns["abs_acf_decay_exponent_1s(1..300)"] < slope.high
