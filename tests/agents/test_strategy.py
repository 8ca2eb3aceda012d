"""Strategies by name: parsing, errors, a user's own file; and what every one of them keeps to in a real market."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stand_ins import market

from lobgraph.agents.makers import AvellanedaStoikov, FixedSpread
from lobgraph.agents.strategy import Strategy, StrategyError, describe, make_strategy, strategies
from lobgraph.agents.view import View
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate
from lobgraph.market import state as ms

# Every strategy, with parameters by which it acts within 40 decisions of 5 seconds.
EVERY = (
    "fixed_spread", "at_best:improve=1", "inventory_skew", "imbalance", "avellaneda_stoikov:sigma=0.7,kappa=0.7",
    "glft:sigma=0.7,kappa=0.7,A=1", "immediate", "twap", "vwap", "pov:rate=0.02", "almgren_chriss:kappa=0.02",
    "wait_then_cross:edge=0", "zscore:half_life=20,entry=0.5,least=0,warmup=5", "gap_threshold:open=1",
    "lead_lag:window=5,threshold=0.1,warmup=5", "momentum:window=10,threshold=0.5", "mean_reversion:window=15,entry=1",
    "rsi:period=3,low=40,high=60", "ma_crossover:fast=5,slow=20,band=0.2", "fundamental:entry=0",
)  # fmt: skip
FREE = ("momentum", "mean_reversion", "rsi", "ma_crossover", "fundamental")


def scene(text: str):
    """A market of two books with agents of the strategy's role."""
    name = text.partition(":")[0]
    role = strategies()[name].role
    settings = {"maker": {"count": 2}, "taker": {"target": 0 if name in FREE else 30}, "arbitrageur": {}}[
        role
    ]
    return role, market(books=2, dt=5.0, **{role: settings})


def test_every_strategy_is_tested_here() -> None:
    assert {text.partition(":")[0] for text in EVERY} == set(strategies())


@pytest.mark.parametrize("text", EVERY)
def test_the_evaluation_is_the_same_whatever_the_batch(text: str) -> None:
    role, cfg = scene(text)
    whole = evaluate(cfg, {role: text}, episodes=5, seed=3)
    pd.testing.assert_frame_equal(whole, evaluate(cfg, {role: text}, episodes=5, seed=3, batch=2))
    assert whole["max_inventory"].max() > 0  # it traded
    if role == "taker" and cfg.agents.taker.target:
        assert (whole["remaining"] == 0).all()


@pytest.mark.parametrize("text", EVERY)
def test_a_new_episode_is_met_as_the_first_one(text: str) -> None:
    """What it does in its second episode is what a strategy does that has not seen the first."""
    role, cfg = scene(text)
    cfg = cfg.model_copy(update={"env": cfg.env.model_copy(update={"episode_steps": 17})})
    env = MarketEnv(cfg, num_envs=3, seed=4)
    env.reset()
    old, new = make_strategy(text), make_strategy(text)
    old.start(View(env, role))
    for t in range(2 * 17):
        view = View(env, role)
        actions = old.act(view)
        assert actions.shape == (
            3,
            env.specs[role].count,
            env.specs[role].items,
            len(env.specs[role].action_names),
        )
        assert np.isfinite(actions).all()
        if t == 17:
            assert view.fresh.all()
            new.start(view)
        if t >= 17:
            np.testing.assert_array_equal(new.act(View(env, role)), actions)
        env.step({role: actions})


@pytest.mark.parametrize("text", [t for t in EVERY if strategies()[t.partition(":")[0]].role == "maker"])
def test_makers_quote_both_sides_of_the_mid(text: str) -> None:
    role, cfg = scene(text)
    env = MarketEnv(cfg, num_envs=4, seed=1)
    env.reset()
    strategy = make_strategy(text, "maker")
    strategy.start(View(env, role))
    for _ in range(30):
        view = View(env, role)
        env.step({role: strategy.act(view)})
        message = env.state.message.swapaxes(1, 2)
        assert (message[..., ms.BID_PX] <= view.mid[:, None]).all()
        assert (message[..., ms.ASK_PX] >= view.mid[:, None]).all()
        assert (message[..., ms.BID_PX] < message[..., ms.ASK_PX]).all()
        assert (message[..., [ms.BID_QTY, ms.ASK_QTY]] == 5).all()


def test_parameters_of_every_type(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    text = f"{tmp_path / 'own.py'}:Quoter:width=3,lots=7,loud=yes,label=a b,limit=1e-3"
    own = make_strategy(text, "maker")
    assert (own.width, own.lots, own.loud, own.label, own.limit) == (3.0, 7, True, "a b", 1e-3)  # type: ignore[attr-defined]
    assert make_strategy(text.replace("1e-3", "none")).limit is None  # type: ignore[attr-defined]
    table = evaluate(market(maker={"count": 1}), {"maker": text}, episodes=2)
    pd.testing.assert_frame_equal(
        table,
        evaluate(market(maker={"count": 1}), {"maker": FixedSpread(half_spread=3.0, size=7)}, episodes=2),
    )


OWN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from lobgraph.agents.makers import FixedSpread
from lobgraph.agents.strategy import Strategy

@dataclass
class Quoter(Strategy):
    role: ClassVar[str] = "maker"
    width: float = 1.0
    lots: int = 5
    loud: bool = False
    label: str = ""
    limit: float | None = None

    def act(self, view):
        mid = view.mid[:, None]
        return view.quote(mid - self.width, mid + self.width, self.lots)

class Roleless(Strategy):
    pass

class Idle(Strategy):
    role = "taker"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glfd", "no strategy 'glfd'; did you mean 'glft'"),
        ("q", "no strategy 'q'; there are almgren_chriss, at_best, "),
        ("glft:sigm=1", "no parameter 'sigm'; it takes gamma, sigma, kappa, A, size"),
        ("glft:gamma", "no parameter 'gamma'.*as key=value"),
        ("glft:gamma=big", "gamma must be of type float, got 'big'"),
        ("glft:sigma=big", "sigma must be of type float, got 'big'"),
        ("glft:size=2.5", "size must be of type int, got '2.5'"),
        ("glft:gamma=none", "gamma must be of type float, got 'none'"),
        ("glft:gamma=-1", "glft: gamma must be above 0, got -1"),
        ("zscore", "is a strategy for an arbitrageur, not for a maker"),
        ("twap", "is a strategy for a taker, not for a maker"),
        ("nowhere.py:Quoter", "nowhere.py: no such file"),
        ("own.py:Quoted", "no strategy class 'Quoted'; it has Idle, Quoter, Roleless"),
        ("own.py:Roleless", "Roleless.role must be 'maker', 'taker' or 'arbitrageur'"),
        ("own.py:Idle", "is a strategy for a taker, not for a maker"),
        ("own.py:Quoter:wide=1", "no parameter 'wide'; it takes width, lots, loud, label, limit"),
    ],
)
def test_errors(text: str, message: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrategyError, match=message):
        make_strategy(text, "maker")


def test_a_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("width = (\n")
    with pytest.raises(
        StrategyError, match=r"broken.py: cannot be loaded: SyntaxError: '\(' was never closed"
    ):
        make_strategy(f"{tmp_path / 'broken.py'}:Quoter")


def test_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    made = []
    for folder, width in (("a", "1.0"), ("b", "2.0")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(
            OWN.replace("width: float = 1.0", f"width: float = {width}")
        )
        made.append(make_strategy(f"{tmp_path / folder / 'own.py'}:Quoter"))
    assert [m.width for m in made] == [1.0, 2.0]  # type: ignore[attr-defined]
    assert type(made[0]) is not type(made[1])


def test_errors_of_other_roles() -> None:
    with pytest.raises(StrategyError, match="no parameter 'size'; it takes none"):
        make_strategy("twap:size=1")
    with pytest.raises(StrategyError, match="centred must be of type bool, got '2'"):
        make_strategy("zscore:centred=2")
    with pytest.raises(StrategyError, match="is a strategy for a taker, not for an arbitrageur"):
        make_strategy("twap", "arbitrageur")


def test_a_strategy_must_act(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(StrategyError, match=r"Idle.act: a strategy must say what it does"):
        evaluate(market(taker={}), {"taker": f"{tmp_path / 'own.py'}:Idle"}, episodes=1)


@pytest.mark.parametrize("text", EVERY)
def test_its_text_makes_it_again(text: str) -> None:
    strategy = make_strategy(text)
    assert make_strategy(str(strategy)) == strategy
    assert str(make_strategy(text.partition(":")[0])) == text.partition(":")[0]


def test_text_keeps_every_digit() -> None:
    strategy = AvellanedaStoikov(gamma=0.123456789, kappa=2.0)
    assert str(strategy) == "avellaneda_stoikov:gamma=0.123456789,kappa=2"
    assert make_strategy(str(strategy)) == strategy


def test_describe_has_a_row_for_each() -> None:
    table = describe().set_index("strategy")
    assert set(table.index) == set(strategies())
    assert table.loc["fixed_spread"].tolist() == [
        "maker",
        "half_spread=2, size=5",
        "Quotes `half_spread` ticks from the mid on both sides, whatever it holds.",
    ]
    for name, kind in strategies().items():
        assert issubclass(kind, Strategy)
        assert dataclasses.is_dataclass(kind)
        assert table.loc[name, "role"] == kind.role
        assert 20 < len(str(table.loc[name, "description"])) < 140
