"""Comparisons and counterfactuals: the same noise for everybody, effects that are known, errors before any work."""

import numpy as np
import pandas as pd
import pytest

from lobgraph.agents import Strategy, StrategyError
from lobgraph.config import Config, ConfigError, load_config, make_config
from lobgraph.evaluation.compare import MIXED, compare, counterfactual, regime_configs
from lobgraph.evaluation.record import play

TIGHT, WIDE = "fixed_spread:half_spread=1", "fixed_spread:half_spread=4"


def market(*overrides: str) -> Config:
    return load_config(None, ["env.episode_steps=40", "flow.warmup=5", "env.threads=1", *overrides])


def differences(c, role: str, measure: str) -> pd.DataFrame:
    d = c.differences
    return d[(d["role"] == role) & (d["measure"] == measure)].set_index("regime")


@pytest.fixture(scope="module")
def with_maker():
    return counterfactual(market(), {"maker": TIGHT}, without=["maker"], episodes=64)


def test_a_maker_tightens_the_spread_and_deepens_the_book(with_maker):
    assert with_maker.names == ["without maker", "with maker"]
    assert (differences(with_maker, "market", "spread")["high"] < 0).all()
    assert (differences(with_maker, "market", "depth")["low"] > 0).all()
    assert list(differences(with_maker, "market", "spread").index) == ["normal", "stress"]


def test_pairing_narrows_the_effect_on_the_market(with_maker):
    d = with_maker.differences
    d = d[(d["role"] == "market") & d["measure"].isin(["spread", "depth"])]
    assert (d["high"] - d["low"] < d["unpaired_high"] - d["unpaired_low"]).all()


def test_adding_nothing_changes_nothing():
    c = counterfactual(market(), {"maker": None}, without=["maker"], episodes=16)
    d = c.differences[c.differences["role"] == "market"]
    assert len(d) > 10
    assert (d[["mean", "low", "high"]] == 0).all().all()
    assert (d["p"] == 1).all()


def test_a_market_without_the_role_is_the_market_in_which_it_does_nothing():
    idle = next(play(market(), {"maker": None}, 8, seed=3))
    gone = next(play(market("agents.maker.count=0"), {}, 8, seed=3))
    for name in ("best_bid", "best_ask", "bid_qty", "volume", "fundamental"):
        np.testing.assert_array_equal(getattr(idle, name), getattr(gone, name))


def test_a_swap_is_the_difference_of_two_worlds():
    cfg = market()
    c = counterfactual(cfg, {"maker": TIGHT}, swap={"maker": WIDE}, episodes=16, regimes=["normal"])
    assert c.names == [f"maker {TIGHT}", f"maker {WIDE}"]
    spread = differences(c, "market", "spread").loc["normal", "mean"]
    means = c.market.groupby("actor")["spread"].mean()
    assert spread == pytest.approx(means[c.names[1]] - means[c.names[0]])
    assert spread > 0


def test_everybody_meets_the_same_noise_in_each_regime():
    c = compare(market(), "maker", {"a": TIGHT, "b": WIDE, "again": TIGHT}, episodes=24)
    assert c.regimes == ["normal", "stress"]
    for (_, regime), s in c.series.items():
        assert (s.regime == c.cfg.regimes.names.index(regime)).all()
        np.testing.assert_array_equal(s.fundamental, c.series["a", regime].fundamental)
    d = differences(c, "maker", "pnl")
    again = d[d["actor"] == "again"]
    assert (again[["mean", "low", "high"]] == 0).all().all()
    assert (d[d["actor"] == "b"]["mean"] != 0).all()
    assert set(c.measures["actor"]) == {"a", "b", "again"}
    assert len(c.measures) == 3 * 2 * 24


def test_regimes_as_configured():
    cfg = market()
    assert list(regime_configs(cfg)) == ["normal", "stress"]
    assert regime_configs(cfg, [MIXED]) == {MIXED: cfg}
    only = regime_configs(cfg, ["stress"])["stress"].regimes
    assert only.initial == {"stress": 1.0}
    assert only.switch_rates == {}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda c: compare(c, "taker", {"a": "twap"}), ConfigError, "agents.taker.count: is 0"),
        (lambda c: compare(c, "maker", {"a": "twap", "b": None}), StrategyError, "for a taker, not for a maker"),
        (lambda c: compare(c, "maker", {"a": None, "b": None}, regimes=["calm"]), ConfigError, "no such regime; there are normal"),
        (lambda c: compare(c, "maker", {"a": None}), ConfigError, "name two or more"),
        (lambda c: counterfactual(c, {}, without=["taker"]), ConfigError, "nobody to take out"),
        (lambda c: counterfactual(c, {"maker": TIGHT}), ConfigError, "say either"),
        (lambda c: counterfactual(c, {}, ["maker"], {"maker": TIGHT}), ConfigError, "say either"),
    ],
)  # fmt: skip
def test_errors(call, error, says):
    with pytest.raises(error, match=says):
        call(market())


@pytest.mark.parametrize("name", ["on", "1.5", "null", "a: b, {c}", "#x", " calm"])
def test_any_name_of_a_regime_will_do(name):
    tree = {"regimes": {"kinds": {name: {}, "other": {}}, "initial": {"other": 1.0}, "switch_rates": {}}}
    assert regime_configs(make_config(tree), [name])[name].regimes.initial == {name: 1.0}


class Wrong(Strategy):
    role = "maker"

    def __init__(self, actions):
        self.actions = actions

    def act(self, view):
        return self.actions(view)


def leave(view):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        (lambda view: np.zeros((1, 1, 3)), r"must return real numbers of shape \(1, 1, 1, 3\)"),
        (lambda view: None, "got object of shape"),
        (lambda view: view.quote(np.nan, view.mid[:, None] + 1, 1), r"NaN at .* \(0, 0, 0, 0\)"),
        (leave, "left the program"),
    ],
)
def test_what_a_strategy_does_wrong_is_said_before_the_work(actions, says):
    lines = []
    with pytest.raises(StrategyError, match=f"Wrong: .*{says}"):
        compare(market(), "maker", {"a": TIGHT, "b": Wrong(actions)}, episodes=1000, note=lines.append)
    assert not lines
