"""The pattern of the day on made days whose clock runs faster and slower."""

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.config import IntradayConfig
from lobgraph.data.events import events
from lobgraph.data.intraday import fit_intraday
from lobgraph.data.lobster import read_lobster
from lobgraph.data.recording import DataError


def day_of(tmp_path, gaps):
    messages, books = make_day(len(gaps), 2, 3)
    times = 34_200 + np.cumsum(gaps)
    messages = [f"{t:.6f}," + m.split(",", 1)[1] for t, m in zip(times, messages, strict=True)]
    stem = f"T_2020-01-02_34200000_{34_200_000 + 1000 * round(float(np.sum(gaps)))}"
    return read_lobster(write_pair(tmp_path, messages, books, 2, stem=stem))


def test_recovers_a_known_pattern(tmp_path):
    """1800 s each with gaps of .5, 1, 2 s: rates 2, 1, .5 over their mean."""
    day = day_of(tmp_path, np.repeat([0.5, 1.0, 2.0], [3600, 1800, 900]))
    fit = fit_intraday([day, day], [events(day)] * 2)
    rates = np.array([2.0, 1.0, 0.5])
    assert fit.activity == pytest.approx(rates / rates.mean(), rel=0.05)
    assert fit.volatility == pytest.approx(np.sqrt(rates / rates.mean()), rel=0.15)
    assert fit.activity.mean() == pytest.approx(1.0)
    assert (fit.volatility**2).mean() == pytest.approx(1.0)
    assert fit.at(np.array([34_200.0, 36_100.0, 50_000.0])).tolist() == fit.activity.tolist()
    assert IntradayConfig(**fit.section()).start == 34_200.0
    assert fit.figures()["bins two standard errors from flat"] == 3


def test_an_hour_has_no_pattern(tmp_path):
    day = day_of(tmp_path, np.full(3600, 1.0))
    with pytest.raises(DataError, match=r"intraday: needs 1\.5 hours"):
        fit_intraday([day], [events(day)])
