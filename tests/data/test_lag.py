"""Lags and correlations of fundamentals on simulated mids that follow them as the model says."""

import numpy as np
import pytest
from scipy.signal import lfilter

from lobgraph.data.lag import HORIZONS, common, fit_lag, lead_of, solve
from lobgraph.data.nasdaq10 import Snapshots
from lobgraph.data.recording import DataError

NS = 1_000_000_000
RHO = np.array([[1.0, 0.6, 0.3], [0.6, 1.0, 0.45], [0.3, 0.45, 1.0]])
LAGS = np.array([0.2, 2.0, 8.0])


def seen(seconds, step=0.1, seed=0):
    """(n, 3) what assets of lags LAGS see of correlated Brownian motions, every `step` seconds."""
    rng = np.random.default_rng(seed)
    n = round(seconds / step)
    news = np.cumsum(rng.normal(size=(n, 3)) @ np.linalg.cholesky(RHO).T, axis=0) * np.sqrt(step)
    keep = np.exp(-step / LAGS)  # what is seen = news + keep (seen before - news)
    return np.stack([lfilter([1.0 - k], [1.0, -k], x) for k, x in zip(keep, news.T, strict=True)], axis=1)


def day_of(name, path, tick=0.02):
    """Snapshots whose mid follows the path."""
    n = len(path)
    mid = 20_000 + np.round(path / tick).astype(np.int32)
    px = np.stack([mid - 1, mid + 1], axis=1)[:, :, None]
    time = 34_200 * NS + (np.arange(n) + 1) * (NS // 10)
    none = np.zeros(0, np.int64)
    return Snapshots(
        name=name, date="2020-01-02", levels=1, tick=100, lot=1, start=34_200 * NS, end=int(time[-1]), time=time,
        row_px=px, row_qty=np.full_like(px, 100), order_time=none, order_side=none.astype(np.int8),
        order_qty=none.astype(np.int32), unsorted=0, crossed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def days():
    path = seen(12_000.0)
    return [day_of(name, path[:, a]) for a, name in enumerate("ABC")]


def test_common_agrees_with_simulation():
    path = seen(200_000.0, seed=1)
    for h in (1, 10, 60):
        moves = path[10 * h :: 10 * h] - path[: -10 * h : 10 * h]
        for a, b in ((0, 1), (1, 1), (1, 2)):
            measured = (moves[:, a] * moves[:, b]).mean() / h
            assert common(LAGS[a], LAGS[b], h) * RHO[a, b] / h == pytest.approx(measured, abs=0.05)


def test_solve_inverts_the_closed_form():
    growth = np.stack([common(LAGS, LAGS, h) / h for h in HORIZONS])
    cov = np.stack([common(LAGS[:, None], LAGS[None, :], h) * RHO / h for h in HORIZONS])
    measured = cov / np.sqrt(growth[:, :, None] * growth[:, None, :])
    lag, rho = solve(measured, growth)
    assert rho == pytest.approx(RHO, abs=0.03)
    assert lag == pytest.approx(LAGS, rel=0.3, abs=0.4)
    assert (np.diff(lag) > 0).all()


def test_fit_on_mids(days):
    fit = fit_lag(days)
    assert (np.diff(fit.lag) > 0).all()
    assert np.abs(fit.fitted - fit.measured).max() < 0.1
    assert fit.correlation == pytest.approx(RHO, abs=0.2)
    assert fit.lead[0, 1] > 0 > fit.lead[1, 0]  # whoever lags less leads


def test_lead_of_a_shifted_copy(days):
    path = seen(3000.0, seed=2)[:, 0]
    late = np.concatenate([np.full(20, path[0]), path[:-20]])  # 2 s
    assert lead_of(day_of("A", path), day_of("B", late)) == pytest.approx(2.0, abs=0.35)
    assert np.isnan(lead_of(day_of("A", path), day_of("B", seen(3000.0, seed=3)[:, 1])))


def test_one_asset_or_too_short_a_window_is_refused(days):
    with pytest.raises(DataError, match="two assets"):
        fit_lag(days[:1])
    short = seen(600.0)
    with pytest.raises(DataError, match="hours in common"):
        fit_lag([day_of("A", short[:, 0]), day_of("B", short[:, 1])])
