"""Intervals, tests and tables against scipy and statsmodels by hand, known cases, and how often intervals cover."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lobgraph.evaluation.intervals import FEW, RESAMPLES, SEED
from lobgraph.evaluation.statistics import (
    DIFFERENCES,
    INTERVALS,
    adjust,
    compare_table,
    interval,
    interval_table,
    paired,
    unpaired,
)

RNG = np.random.default_rng(7)
SKEWED = RNG.gamma(1.0, 2.0, 200)
REASONABLE = st.floats(-1e3, 1e3).map(lambda v: round(v, 6))


# --- intervals of independent values ---


@pytest.mark.parametrize(("method", "scipys"), [("bca", "BCa"), ("percentile", "percentile")])
def test_interval_is_scipys(method, scipys) -> None:
    found = interval(SKEWED, 0.9, method)
    want = stats.bootstrap(
        (SKEWED,),
        np.mean,
        confidence_level=0.9,
        n_resamples=RESAMPLES,
        method=scipys,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    assert found[:3] == pytest.approx((SKEWED.mean(), want.low, want.high), rel=1e-12)
    assert found[3:] == (pytest.approx(SKEWED.std(ddof=1)), 200, method)


def test_student_interval_by_hand() -> None:
    found = interval(np.array([1.0, 2.0, 3.0, np.nan]), method="t")
    half = 4.302652729911275 * 1.0 / 3**0.5
    assert found[:3] == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert found.n == 3


def test_few_equal_or_no_values() -> None:
    assert interval(SKEWED[: FEW - 1]) == interval(SKEWED[: FEW - 1], method="t")
    assert interval(SKEWED[:FEW]).method == "bca"
    for n in (2, 500):
        assert interval(np.full(n, 0.1)) == (0.1, 0.1, 0.1, 0.0, n, "exact")
    one = interval(np.array([5.0]))
    assert (one.mean, one.n) == (5.0, 1)
    assert np.isnan([one.low, one.high, one.std]).all()
    none = interval(np.array([np.nan]))
    assert none.n == 0
    assert np.isnan(none[:4]).all()


def test_one_that_differs_has_an_interval() -> None:
    """999 zeros and a one: no spread in many resamples, still finite and around the mean."""
    x = np.zeros(1000)
    x[3] = 1.0
    found = interval(x)
    assert found.low <= 0.001 <= found.high
    assert np.isfinite(found[:4]).all()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.integers(2, 60), elements=REASONABLE),
    st.floats(-100, 100),
    st.sampled_from([-3.0, 0.5, 2.0]),
)
def test_interval_moves_and_scales_with_the_values(x: np.ndarray, shift: float, scale: float) -> None:
    a, b = interval(x, method="percentile"), interval(shift + scale * x, method="percentile")
    ends = sorted((shift + scale * a.low, shift + scale * a.high))
    size = 1e-9 * (1 + np.abs(x).max() + abs(shift))
    np.testing.assert_allclose([b.low, b.high], ends, atol=3 * size)
    assert a.low <= a.mean + size
    assert a.mean <= a.high + size
    assert interval(x, 0.5, "t").high <= interval(x, 0.99, "t").high + size


@pytest.mark.parametrize(("arguments", "message"), [
    (([[1.0]],), r"x: expected a vector, got an array of shape \(1, 1\)"),
    (([1.0], 95), "level: must lie between 0 and 1, got 95"),
    (([1.0], 0.95, "bootstrap"), "method: must be one of bca, t, percentile, got 'bootstrap'"),
])  # fmt: skip
def test_interval_errors(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval(*arguments)


# --- pairs ---


def test_paired_against_scipy() -> None:
    y = RNG.normal(size=100)
    x = y + RNG.normal(0.3, 0.2, size=100)
    r = paired(x, y)
    d = x - y
    assert r[:4] == pytest.approx((100, d.mean(), interval(d).low, interval(d).high))
    welch = stats.ttest_ind(x, y, equal_var=False)
    assert (r.unpaired_low, r.unpaired_high) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert r.p_t == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert r.p_wilcoxon == pytest.approx(stats.wilcoxon(x, y, zero_method="pratt").pvalue)
    assert (r.test, r.p) == ("t", r.p_t)
    assert r.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert r.effect == pytest.approx(d.mean() / d.std(ddof=1))
    assert r.effect_unpaired == pytest.approx(d.mean() / np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2))


def test_few_pairs_are_ranked() -> None:
    """Ten differences of one sign: the smallest possible exact p, 2 / 2^10."""
    r = paired(np.arange(1.0, 11.0), np.zeros(10))
    assert r.test == "wilcoxon"
    assert r.p == pytest.approx(2 / 1024)


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.99])
def test_what_pairing_gains(correlation: float) -> None:
    """1 / sqrt(1 - correlation) at equal variances."""
    common, x, y = RNG.normal(size=(3, 4000))
    share = correlation**0.5, (1 - correlation) ** 0.5
    r = paired(share[0] * common + share[1] * x, share[0] * common + share[1] * y)
    assert r.correlation == pytest.approx(correlation, abs=0.05)
    assert r.gain == pytest.approx((1 - r.correlation) ** -0.5, rel=0.08)


@pytest.mark.parametrize("n", [2, 12, 400])
def test_equal_pairs_differ_by_exactly_nothing(n: int) -> None:
    x = RNG.lognormal(size=n)
    r = paired(x, x)
    assert (r.mean, r.low, r.high, r.p, r.p_t, r.p_wilcoxon, r.effect) == (0, 0, 0, 1, 1, 1, 0)
    assert r.unpaired_low < 0 < r.unpaired_high
    assert r.gain == np.inf
    assert r.correlation == pytest.approx(1.0)


def test_pairs_that_all_differ_alike() -> None:
    """By .1 up to rounding: the interval is the value, and the test sure."""
    x = RNG.normal(size=50)
    r = paired(x + 0.1, x)
    assert r.low == r.high == pytest.approx(0.1)
    assert r.p == 0
    assert r.effect == np.inf


def test_pairs_with_gaps() -> None:
    x, y = np.array([1.0, np.nan, 4.0, 6.0]), np.array([0.0, 1.0, np.nan, 2.0])
    r = paired(x, y)
    assert (r.n, r.mean) == (2, 2.5)
    with pytest.raises(ValueError, match="one value per pair, got 2 and 3"):
        paired(np.zeros(2), np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (2, 40), elements=REASONABLE))
def test_turned_round(v: np.ndarray) -> None:
    a, b = paired(v[0], v[1], method="t"), paired(v[1], v[0], method="t")
    assert b.mean == -a.mean
    np.testing.assert_allclose([b.low, b.high], [-a.high, -a.low], atol=1e-9)
    np.testing.assert_allclose([b.p_t, b.p_wilcoxon], [a.p_t, a.p_wilcoxon], atol=1e-12)
    assert 0 <= a.p <= 1


def test_unpaired() -> None:
    x, y = RNG.normal(1, 1, 30), RNG.normal(0, 3, 50)
    r = unpaired(x, y)
    welch = stats.ttest_ind(x, y, equal_var=False)
    assert (r.n_x, r.n_y) == (30, 50)
    assert (r.low, r.high) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert (r.mean, r.p) == pytest.approx((x.mean() - y.mean(), welch.pvalue))
    assert unpaired(np.ones(3), np.ones(4))[2:] == (0, 0, 0, 1, 0)


# --- several comparisons ---


def test_adjust() -> None:
    p = np.array([0.01, 0.04, np.nan, 0.03])
    np.testing.assert_allclose(
        adjust(p), [0.03, 0.06, np.nan, 0.06]
    )  # Holm: 3 * .01, then 2 * .03, then .04 if larger
    for method in ("bonferroni", "fdr_bh", "hommel"):
        np.testing.assert_allclose(
            adjust(p, method)[~np.isnan(p)], multipletests(p[~np.isnan(p)], method=method)[1]
        )
    assert np.isnan(adjust(np.array([np.nan]))).all()
    assert gc.get_freeze_count() == 0


def table(episodes: int = 60, actors: tuple[str, ...] = ("base", "same", "better", "noisy")) -> pd.DataFrame:
    """Two agents an episode; `same` equals the baseline, `better` earns 1 more, `noisy` .1 more with noise of its own."""
    rng = np.random.default_rng(11)
    rows = []
    for regime, level in (("normal", 5.0), ("stress", -5.0)):
        pnl = level + rng.normal(size=(episodes, 2)) + 3 * rng.normal(size=(episodes, 1))
        for name in actors:
            own = pnl + {"base": 0, "same": 0, "better": 1, "noisy": 0.1 + rng.normal(size=pnl.shape)}[name]
            rows += [
                {"actor": name, "regime": regime, "role": "maker", "episode": e, "agent": k, "pnl": own[e, k],
                 "ratio": own[e, k] / 2 if e % 10 else np.nan, "shortfall": np.nan}
                for e in range(episodes) for k in range(2)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_compare_table() -> None:
    given_ = table()
    found = compare_table(given_, "base")
    assert list(found.columns) == list(DIFFERENCES)
    keys = found[["actor", "regime", "measure"]].to_numpy().tolist()
    assert keys == [
        [a, r, m] for a in ("same", "better", "noisy") for r in ("normal", "stress") for m in ("pnl", "ratio")
    ]
    assert (found["baseline"] == "base").all()
    assert (found["family"] == 3).all()
    rows = found.set_index(["actor", "regime", "measure"]).sort_index()
    means = given_.groupby(["actor", "regime", "episode"])[["pnl", "ratio"]].mean()
    for regime in ("normal", "stress"):
        for name in ("pnl", "ratio"):
            family = []
            for actor in ("same", "better", "noisy"):
                want = paired(*(means.loc[a, regime][name].to_numpy() for a in (actor, "base")))
                r = rows.loc[(actor, regime, name)]
                same = [f for f in want._fields if f in DIFFERENCES]
                pd.testing.assert_series_equal(r[same], pd.Series(want._asdict())[same], check_names=False)
                family.append(want.p)
            np.testing.assert_allclose(
                [rows.loc[(a, regime, name), "p_adjusted"] for a in ("same", "better", "noisy")],
                multipletests(family, method="holm")[1],
            )
    assert (rows.loc["same", ["mean", "low", "high"]] == 0).all(axis=None)
    assert (rows.loc["same", "p_adjusted"] == 1).all()
    assert (rows.loc[(slice(None), slice(None), "ratio"), "n"] == 54).all()


def test_pairs_are_matched_by_episode() -> None:
    """Whatever the order of the rows, and though the actors have not all episodes in common."""
    whole = table()
    mixed = whole.sample(frac=1.0, random_state=1)
    key = ["actor", "regime", "measure"]
    pd.testing.assert_frame_equal(
        compare_table(mixed, "base").sort_values(key, ignore_index=True),
        compare_table(whole, "base").sort_values(key, ignore_index=True),
    )
    part = whole[(whole["actor"] != "better") | (whole["episode"] >= 20)]
    found = compare_table(part, "base", ["pnl"]).set_index(["actor", "regime"])
    assert found["n"].to_dict() == {
        (a, r): 40 if a == "better" else 60 for a in ("same", "better", "noisy") for r in ("normal", "stress")
    }
    assert found.loc["better", "mean"].to_numpy() == pytest.approx(1.0)


def test_interval_table() -> None:
    given_ = table()
    found = interval_table(given_, ["ratio", "pnl"])
    assert list(found.columns) == list(INTERVALS)
    assert found["measure"].tolist() == ["ratio", "pnl"] * 8
    r = found.set_index(["actor", "regime", "measure"]).loc[("noisy", "stress", "ratio")]
    x = (
        given_[(given_["actor"] == "noisy") & (given_["regime"] == "stress")]
        .groupby("episode")["ratio"]
        .mean()
    )
    assert tuple(r[list(interval(x.to_numpy())._fields)]) == interval(x.to_numpy())
    assert "shortfall" not in set(interval_table(given_)["measure"])


def test_tables_of_the_market_and_of_one_actor() -> None:
    market = table().rename(columns={"agent": "book"}).drop(columns="role")
    assert set(compare_table(market, "base")["role"]) == {"market"}
    alone = table(actors=("base",))
    found = compare_table(alone, "base")
    assert list(found.columns) == list(DIFFERENCES)
    assert len(found) == 0
    assert len(interval_table(alone)) == 4


def test_table_errors() -> None:
    given_ = table(4)
    with pytest.raises(ValueError, match="baseline: no actor 'bse'; there are base, same, better, noisy"):
        compare_table(given_, "bse")
    with pytest.raises(ValueError, match=r"measures: no measure 'pln'; did you mean 'pnl'\?"):
        compare_table(given_, "base", ["pln"])
    with pytest.raises(ValueError, match="measures: no column 'regime'"):
        interval_table(given_.drop(columns="regime"))
    with pytest.raises(ValueError, match=r"rows stand twice: \{'actor': 'base', 'regime': 'normal'"):
        interval_table(pd.concat([given_, given_]))
    other = given_.assign(episode=given_["episode"] + 100 * (given_["actor"] == "same"))
    with pytest.raises(ValueError, match=r"same: no maker episode \(normal\) in common with base"):
        compare_table(other, "base")
