"""Intervals of series that depend on their past, and how often 95 % intervals contain the truth."""

from __future__ import annotations

import numpy as np
import pytest
from covering import SERIES, covered, covered_sample
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import cov_hac_simple

from lobgraph.evaluation.blocks import BLOCK_METHODS, block_length, cosine_error, kernel_error, sharpe
from lobgraph.evaluation.statistics import block_interval


@pytest.mark.parametrize("method", BLOCK_METHODS)
@pytest.mark.parametrize("statistic", ["mean", "sharpe"])
def test_block_interval(method, statistic: str) -> None:
    x = SERIES["AR(1) .5"](np.random.default_rng(1), 1, 800)[0]
    a, b = block_interval(x, statistic, method=method), block_interval(x, statistic, 0.5, method)
    value = x.mean() if statistic == "mean" else x.mean() / x.std()
    assert a.mean == pytest.approx(value)
    assert a.low < b.low < value < b.high < a.high
    assert block_interval(x, statistic, method=method) == a
    moved = block_interval(3 * x, statistic, method=method)
    factor = 3 if statistic == "mean" else 1
    assert moved[:4] == pytest.approx([factor * v for v in a[:4]], rel=1e-6)


def test_blocks_see_the_past() -> None:
    """An AR(1) of .8 has a standard error 3 times that of as many independent values; its blocks are longer."""
    rng = np.random.default_rng(2)
    free, bound = SERIES["AR(1) .0"](rng, 1, 4000)[0], SERIES["AR(1) .8"](rng, 1, 4000)[0]
    for error in (kernel_error, lambda x: cosine_error(x)[0]):
        assert error(free) == pytest.approx(free.std() / 4000**0.5, rel=0.2)
        assert error(bound) == pytest.approx(3 * bound.std() / 4000**0.5, rel=0.25)
    assert block_length(free) < 5 < block_length(bound)


def test_kernel_error_without_memory_is_statsmodels() -> None:
    """Close to the Bartlett kernel of statsmodels where both should be the plain standard error."""
    x = np.random.default_rng(3).normal(size=5000)
    fit = OLS(x, np.ones(5000)).fit()
    assert kernel_error(x) == pytest.approx(float(cov_hac_simple(fit, nlags=5)[0, 0]) ** 0.5, rel=0.1)


def test_sharpe_influence_is_its_derivative() -> None:
    """Adding weight to one observation moves the ratio by the observation's influence."""
    x = np.random.default_rng(4).gamma(2.0, size=60)
    value, influence = sharpe(x)
    for i in (0, 17, 59):
        more = 1e-6
        w = np.full(60, (1 - more) / 60)
        w[i] += more
        m = w @ x
        assert (m / np.sqrt(w @ (x - m) ** 2) - value) / more == pytest.approx(
            influence[i], rel=1e-4, abs=1e-6
        )
    assert influence.mean() == pytest.approx(0.0, abs=1e-12)


def test_block_interval_of_equal_values_and_errors() -> None:
    assert block_interval(np.full(100, 2.5)) == (2.5, 2.5, 2.5, 0.0, 100, "exact")
    for given_, message in [
        ((np.zeros(20),), r"returns: needs a vector of at least 50 finite values, got shape \(20,\)"),
        ((np.r_[np.nan, np.zeros(99)],), "finite values"),
        ((np.zeros(99), "median"), "statistic: must be one of mean, sharpe or a function, got 'median'"),
        (
            (np.zeros(99), "mean", 0.95, "hac"),
            "method: must be one of studentised, percentile, cosine, got 'hac'",
        ),
        ((np.zeros(99), "mean", 95), "level: must lie between 0 and 1, got 95"),
    ]:
        with pytest.raises(ValueError, match=message):
            block_interval(*given_)


# --- coverage: docs/statistics.md has the figures of many repetitions ---


def within(hits: np.ndarray, low: float = 0.92, high: float = 0.97) -> bool:
    """Whether a true coverage in low..high could show so many hits: p above 1e-4 at the nearer bound."""
    n, k = len(hits), int(hits.sum())
    return stats.binom.cdf(k, n, low) > 1e-4 and stats.binom.sf(k - 1, n, high) > 1e-4


def test_within_refuses_what_does_not_cover() -> None:
    hits = lambda share: np.arange(400) < 400 * share  # noqa: E731
    assert within(hits(0.95))
    assert within(hits(0.91))
    assert not within(hits(0.84))
    assert not within(hits(1.0))
    assert not within(covered_sample("lognormal", "t", 300, 5))


@pytest.mark.parametrize("name", ["AR(1) .0", "AR(1) .5", "AR(1) .8", "GARCH(.1, .85)"])
def test_coverage_of_the_mean(name: str) -> None:
    assert within(covered(name, "studentised", "mean", 150))
    assert within(covered(name, "cosine", "mean", 300))


def test_plain_intervals_do_not_cover_series() -> None:
    """What the blocks are for: Student's interval of an autocorrelated series as if its values were independent."""
    assert covered("AR(1) .5", "independent", "mean", 200).mean() < 0.85


@pytest.mark.parametrize("name", ["normal", "exponential"])
def test_coverage_of_independent_values(name: str) -> None:
    assert within(covered_sample(name, "bca", 300, 100), high=0.975)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SERIES))
@pytest.mark.parametrize("statistic", ["mean", "sharpe"])
@pytest.mark.parametrize("method", ["studentised", "cosine"])
def test_coverage_slow(name: str, statistic: str, method: str) -> None:
    share = covered(name, method, statistic, 2000, seed=1).mean()
    assert 0.92 <= share <= 0.97
