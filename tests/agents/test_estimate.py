"""Estimates against laws that are known, and against direct measurements of the same market on other draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_day, write_pair
from stand_ins import Standing, market

from lobgraph.agents import estimate as module
from lobgraph.agents.estimate import estimate, fit_intensity
from lobgraph.agents.makers import AvellanedaStoikov, FixedSpread, Glft
from lobgraph.agents.strategy import StrategyError
from lobgraph.config import Config, make_config
from lobgraph.evaluation.record import Series, play

MARKET = {"agents": {"maker": {"count": 1}}, "env": {"episode_steps": 200, "threads": 1}}


def played(cfg: Config, **agents) -> list[Series]:
    return list(play(cfg, agents, episodes=256, seed=11))


@given(rate=st.floats(0.2, 3.0), kappa=st.floats(0.2, 2.0), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_fit_recovers_an_exponential_law(rate: float, kappa: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    distance = rng.uniform(
        0.5, 6.0, 1_000_000
    )  # the fewest fills, at .2 and 2, put 15 % at four standard errors
    fills = rng.poisson(rate * np.exp(-kappa * distance) * 0.5)
    found = fit_intensity(distance, fills, dt=0.5)
    assert found == pytest.approx((rate, kappa), rel=0.15)
    # Expected counts in the place of counts: exactly.
    assert fit_intensity(distance, rate * np.exp(-kappa * distance) * 0.5, 0.5) == pytest.approx(
        (rate, kappa), rel=1e-6
    )


def test_no_law_to_fit() -> None:
    distance = np.linspace(0.5, 5.0, 100)
    assert np.isnan(fit_intensity(distance, np.zeros(100), 1.0)).all()
    assert np.isnan(fit_intensity(distance, distance, 1.0)).all()  # more fills far away than near


def test_sigma_is_that_of_the_mid() -> None:
    cfg = make_config(MARKET)
    (series,) = played(cfg)
    moves = series.mid[20:] - series.mid[:-20]
    direct = np.sqrt((moves**2).mean() / 20)
    assert estimate(cfg).sigma == pytest.approx(direct, rel=0.1)
    assert estimate(cfg).half_spread == pytest.approx(
        0.5 * (series.best_ask - series.best_bid).mean(), rel=0.05
    )


@pytest.mark.parametrize("half_spread", [1.0, 2.0, 3.0])
def test_fills_come_at_the_rate_that_the_law_says(half_spread: float) -> None:
    cfg = make_config(MARKET)
    size = 5
    (series,) = played(cfg, maker=FixedSpread(half_spread, size))
    law = estimate(cfg, size)
    px, mid = (
        series.quote_px[1:, :, 0, 0],
        series.mid[:-1, :, 0],
    )  # resting after the step: only what was not filled
    direct = series.passive.sum() / size / (2 * series.cfg.market.dt * np.prod(mid.shape))
    distance = np.where(
        mid % 1 == 0, np.ceil(half_spread), np.ceil(half_spread + 0.5) - 0.5
    )  # bids are rounded down
    resting = series.quote_qty[1:, :, 0, 0, 0] > 0
    np.testing.assert_array_equal((mid - px[..., 0])[resting], distance[resting])
    says = (law.A * np.exp(-law.kappa * distance)).mean()
    assert direct == pytest.approx(says, rel=0.15)


def test_cost_of_market_orders() -> None:
    cfg = make_config({
        "agents": {"maker": {"count": 0}, "taker": {"count": 1, "target": 0, "max_size": 10}},
        "env": {"episode_steps": 100, "threads": 1},
    })  # fmt: skip
    # A lone order of 10 lots a step: the fills' edge over the mid is half the spread and what it walks up the book.
    (series,) = list(
        play(cfg, {"taker": lambda obs: np.tile(np.float32([1, 10]), (256, 1, 1, 1))}, 256, seed=5)
    )
    first = -series.edge[1, :, 0, 0] / 10  # ticks per lot
    found = estimate(cfg)
    assert found.half_spread + found.eta * 10 / cfg.market.dt == pytest.approx(first.mean(), rel=0.1)


def test_it_is_measured_once_and_does_not_depend_on_what_does_not_matter(monkeypatch) -> None:
    cfg = make_config(MARKET | {"run": {"seed": 5}, "ppo": {"lr": 1e-5}})
    want = estimate(make_config(MARKET), 5)

    def refuse(*args, **kwargs):
        raise AssertionError("simulated again")

    monkeypatch.setattr(module, "MarketEnv", refuse)
    assert estimate(cfg, 5) is want
    with pytest.raises(AssertionError, match="simulated again"):
        estimate(make_config(MARKET | {"flow": {"market_rate": 2.1}}), 5)


def test_each_book_has_its_own() -> None:
    cfg = make_config({
        "market": {"books": 2},
        "flow_per_book": {"A1": {"market_rate": 4.0}},
        "fundamentals": {"volatility": [0.1, 1.5]},
        "env": {"episode_steps": 100, "threads": 1},
    })  # fmt: skip
    found = estimate(cfg)
    assert found.sigma[1] > 1.5 * found.sigma[0]
    assert found.A[1] != found.A[0]
    assert all(x.shape == (2,) for x in found)


def test_a_market_without_trades_says_what_to_give() -> None:
    tree = market(maker={}).model_dump() | {
        "flow": {"market_rate": 0.0, "warmup": 1.0, "tilt": 0.0, "intensity": 0.01}
    }
    view = Standing(make_config(tree), "maker", [[999]], [[1001]])
    for strategy in (AvellanedaStoikov(), Glft()):
        with pytest.raises(
            StrategyError, match=f"{strategy.name}: kappa could not be measured in book A0.*:kappa=1"
        ):
            strategy.start(view)
    with pytest.raises(StrategyError, match="glft:kappa=2: A could not be measured"):
        Glft(kappa=2.0).start(view)
    Glft(sigma=1.0, kappa=2.0, A=1.0).start(view)
    AvellanedaStoikov(kappa=2.0).start(view)


def test_replayed_markets_are_measured_too(tmp_path) -> None:
    messages = write_pair(tmp_path, *make_day(rows=3000, levels=3), levels=3)
    cfg = make_config({
        "market": {"books": ["T"], "window": 2048},
        "replay": {"files": {"T": str(messages)}},
        "agents": {"maker": {"max_offset": 20.0}},
        "env": {"episode_steps": 50, "threads": 1},
    })  # fmt: skip
    found = estimate(cfg, 10)
    (series,) = list(play(cfg, {"maker": None}, episodes=64, seed=2))
    moves = series.mid[5:] - series.mid[:-5]
    assert found.sigma == pytest.approx(np.sqrt((moves**2).mean() / 5), rel=0.2)
    assert found.half_spread == pytest.approx(0.5 * (series.best_ask - series.best_bid).mean(), rel=0.2)
