"""Measures of the market and of groups of agents: worked out by hand, and against a random walk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand import config, move_mid, still

from lobgraph.evaluation.measures import MEASURES
from lobgraph.evaluation.quality import (
    GROUP_MEASURES,
    MARKET_MEASURES,
    market_quality,
    multi_agent,
    variance_ratio,
)

X, Y = 0, 1


def book(s, name: str) -> pd.Series:
    table = market_quality(s)
    return table[table["book"] == name].iloc[0]


def test_layout() -> None:
    s = still(config("agents.maker.count=3"), episodes=2)
    table = market_quality(s)
    assert list(table.columns) == ["episode", "book", *MARKET_MEASURES]
    assert table[["episode", "book"]].to_numpy().tolist() == [[0, "X"], [0, "Y"], [1, "X"], [1, "Y"]]
    groups = multi_agent(s)
    assert list(groups.columns) == ["episode", "role", *GROUP_MEASURES]
    assert len(groups) == 2 * 3


def test_still_market() -> None:
    r = book(still(config()), "Y")
    assert r[["spread", "depth", "depth_best", "volatility", "pricing_error", "volume", "crash_depth"]].tolist() == [
        2, 20, 10, 0, 0, 0, 0
    ]  # fmt: skip
    assert r[["variance_ratio", "recovery_time"]].isna().all()


def test_averages_start_after_the_first_step() -> None:
    s = still(config())
    s.best_ask[:, 0, X] = [1999, 1001, 1003, 1001, 1003]
    s.bid_qty[:, 0, X] = [[90, 90], [1, 2], [3, 4], [5, 6], [7, 8]]
    s.ask_qty[:, 0, X] = 0
    s.volume[:, 0, X] = [8, 0, 4, 4]
    r = book(s, "X")
    assert r["spread"] == 3
    assert r["depth"] == 36 / 4
    assert r["depth_best"] == 16 / 4
    assert r["volume"] == 1  # 16 lots in 16 seconds


def test_moves() -> None:
    """Mid 1000, 1002, 998, 998, 1001 in steps of 4 seconds, fundamental 1000."""
    s = still(config())
    move_mid(s, [1000, 1002, 998, 998, 1001])
    r = book(s, "X")
    assert r["volatility"] == pytest.approx(np.sqrt((4 + 16 + 0 + 9) / 4 / 4))
    assert r["pricing_error"] == pytest.approx(np.sqrt((4 + 4 + 4 + 1) / 4))
    assert r["crash_depth"] == 4
    assert r["recovery_time"] == 8  # at 998 after two steps, above 1000 after four


@pytest.mark.parametrize(("mid", "depth", "seconds"), [
    ([1000, 990, 994, 995, 1000], 10, 8.0),  # half is regained at 995
    ([1000, 990, 991, 992, 994], 10, 12.0),  # never: the rest of the episode
    ([1000, 1004, 1008, 1010, 1002], 8, 0.0),  # the fall ends the episode
    ([1000, 1001, 1001, 1002, 1009], 0, np.nan),
    ([1010, 1000, 1006, 996, 1004], 14, 4.0),  # the fall goes on through the rebound; 1003 is half
])  # fmt: skip
def test_crash(mid: list[int], depth: float, seconds: float) -> None:
    s = still(config())
    move_mid(s, mid)
    r = book(s, "X")
    assert r["crash_depth"] == depth
    np.testing.assert_equal(r["recovery_time"], seconds)


def test_replayed_markets_have_no_pricing_error() -> None:
    s = still(config())
    s.fundamental[:] = np.nan
    assert np.isnan(book(s, "X")["pricing_error"])


def test_variance_ratio() -> None:
    """1 for random walks, 1 + 2 sum(1 - k/q) rho^k for AR(1) moves (Lo and MacKinlay 1988), by hand on a short path."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((400, 4000))
    walk = np.concatenate([np.zeros((1, 4000)), np.cumsum(steps, axis=0)])
    found = variance_ratio(walk, 10)
    assert found.mean() == pytest.approx(1.0, abs=4 * found.std() / 4000**0.5)
    moving = steps[1:] - 0.4 * steps[:-1]  # first autocorrelation -.4 / 1.16, no further
    path = np.concatenate([np.zeros((1, 4000)), np.cumsum(moving, axis=0)])
    found = variance_ratio(path, 10)
    assert found.mean() == pytest.approx(1 - 2 * 0.9 * 0.4 / 1.16, abs=0.01)
    zigzag = np.arange(21.0) % 2  # every ten-step move is 0, every step +-1
    assert variance_ratio(zigzag, 10) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(variance_ratio(np.arange(20.0) % 3, 10))


def test_concentration() -> None:
    s = still(config("agents.maker.count=3"), episodes=2)
    s.passive[0, 0, 0, X] = [3, 3]
    s.passive[1, 0, 1, Y] = [2, 0]
    s.passive[2, 1, 2, Y] = [4, 0]
    hhi = multi_agent(s).set_index(["role", "episode"])["hhi"]
    assert hhi["maker", 0] == pytest.approx(0.75**2 + 0.25**2)
    assert hhi["maker", 1] == 1
    assert np.isnan(hhi["taker", 0])


def test_coordination() -> None:
    """Two makers: changes on X correlate by .5 over common steps, on Y one never moves."""
    s = still(config("agents.maker.count=2"))
    s.inventory[1:, 0, 0, X] = np.cumsum([1, -1, 0, 9])
    s.inventory[1:, 0, 1, X] = np.cumsum([1, 0, -1, -9])
    s.inventory[1:, 0, 0, Y] = [1, 5, 2, 2]
    s.active[3, 0, 1] = False  # the last step is not common
    groups = multi_agent(s).set_index("role")["coordination"]
    assert groups["maker"] == pytest.approx(0.5)
    assert np.isnan(groups["taker"])  # alone


def test_diversity() -> None:
    """Makers one tick apart on the bid, three on the ask of X, none on Y; takers 6 and 2 lots in four steps."""
    s = still(config("agents.maker.count=2", "agents.taker.count=2"))
    s.quote_qty[1:, 0, :2, X] = 1
    s.quote_px[1:, 0, 0, X], s.quote_px[1:, 0, 1, X] = [999, 1001], [998, 1004]
    s.inventory[1:, 0, 2, X], s.inventory[1:, 0, 3, X] = 6, 2
    groups = multi_agent(s).set_index("role")["diversity"]
    assert groups["maker"] == (1 + 3) / 2
    assert groups["taker"] == (1 + 0) / 2  # a lot a step on X, nothing on Y


def test_docs_describe_every_measure() -> None:
    """docs/statistics.md has each measure's line as the code has it."""
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    for name, m in (MEASURES | MARKET_MEASURES | GROUP_MEASURES).items():
        (line,) = [row for row in text.splitlines() if row.startswith(f"| `{name}` |")]
        assert m.unit in line
        assert m.meaning.replace("|", r"\|") in line
