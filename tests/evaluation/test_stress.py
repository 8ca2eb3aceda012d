"""The stress laboratory: recovery by hand, paths in event time, pairing, effects that are known, the command."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lobgraph.cli import app
from lobgraph.config import ConfigError, load_config
from lobgraph.evaluation.event_time import NOISE, beginnings, paths
from lobgraph.evaluation.record import play
from lobgraph.evaluation.stress import ALONE, laboratory, only, stress
from lobgraph.evaluation.stress_measures import MARKET, STRESS_MEASURES, recovery
from lobgraph.report.stress_figures import stress_figures
from lobgraph.report.stress_report import verdict

SMALL = ("env.episode_steps=40", "market.books=[X,Y]", "flow.warmup=5", "agents.maker.count=2")


def market(*overrides: str):
    return load_config(None, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def lab():
    actors = {"quotes": "fixed_spread:half_spread=1", "nobody": None}
    events = "stress=[{kind: crash, at: 10, duration: 5, books: [X]}]"
    return stress(market(events), "maker", actors, scenarios=["crash", "halt"], episodes=24, after=20.0)


def test_recovery_by_hand():
    """Worst 8 at row 2: half is back at 4 (row 4), nine tenths at .7 (row 6); a path that stays down is late; none lost: NaN."""
    path = np.array([[0, 4, 8, 6, 4, 3, 0.7, 5], [0, 1, 8, 8, 8, 8, 8, 8], [0, -1, -1, 0, 0, 0, 0, 0]]).T
    steps = np.arange(8)
    time, late = recovery(path, 0.5, steps)
    np.testing.assert_array_equal(time, [2, 5, np.nan])
    np.testing.assert_array_equal(late, [0, 1, np.nan])
    assert recovery(path, 0.9, steps)[0][0] == 4


def test_paths_are_the_series_in_event_time():
    cfg = market("stress=[{kind: fat_finger, at: 12, books: [Y]}]")
    (s,) = play(cfg, {"maker": "at_best"}, 5, seed=3)
    step, hit = beginnings(s, {"fat_finger"})
    assert step.tolist() == [12] * 5
    assert hit.tolist() == [[False, True]] * 5
    p = paths(s, step, hit, 15)
    start = int(np.flatnonzero(p.offset == 0)[0])
    np.testing.assert_array_equal(p.move[start + 3], (s.mid[15] - s.mid[12])[:, 1])
    np.testing.assert_array_equal(p.spread[start], (s.best_ask - s.best_bid)[12, :, 1])
    depth = (s.bid_qty + s.ask_qty).sum(axis=-1)[12, :, 1]
    np.testing.assert_array_equal(p.resting["maker"][start] + p.resting[NOISE][start], depth)
    assert (p.resting["maker"][start] > 0).any()
    np.testing.assert_array_equal(p.bought["maker"] + p.bought[NOISE], 0)
    inventory = s.inventory[..., 1].sum(axis=2)
    np.testing.assert_array_equal(p.bought["maker"][start], inventory[13] - inventory[12])
    np.testing.assert_array_equal(p.equity["maker"][start], s.equity[12].sum(axis=1))


def test_an_event_late_in_the_episode_ends_with_it():
    cfg = market("stress=[{kind: shock, at: 35}]")
    (s,) = play(cfg, {"maker": None}, 2, seed=3)
    p = paths(s, *beginnings(s, {"shock"}), 20)
    assert np.isnan(p.move[p.offset > 5]).all()
    assert not np.isnan(p.move[(p.offset >= -30) & (p.offset <= 5)]).any()


def test_before_the_event_the_worlds_are_equal(lab):
    for scenario in ("crash", "halt"):
        for name in lab.names:
            with_it, calm = (lab.paths[scenario, name, event] for event in (True, False))
            before = with_it.offset <= 0
            for field in ("spread", "depth"):
                one, two = (getattr(p, field) for p in (with_it, calm))
                np.testing.assert_array_equal(one[before], two[before])
                assert not np.array_equal(one, two, equal_nan=True)


def test_an_actor_that_does_nothing_does_nothing_to_the_event(lab):
    """Differences from the market without agents are exactly 0, factors exactly 1."""
    own = lab.effects[(lab.effects["actor"] == "nobody") & (lab.effects["who"] == MARKET)]
    np.testing.assert_array_equal(own[["against", "against_low", "against_high", "beside"]].dropna(), 0.0)
    factors = own[own["measure"].isin(["volatility", "fall"])].set_index(["scenario", "measure"])
    np.testing.assert_allclose(
        factors.loc["crash", ["factor_against", "factor_against_low"]].astype(float), 1.0
    )


def test_effects_are_means_of_paired_differences(lab):
    table = lab.measures[(lab.measures["scenario"] == "crash") & (lab.measures["who"] == MARKET)]
    wide = table.pivot_table(index="episode", columns=["actor", "event"], values="fall")
    row = lab.effects.set_index(["scenario", "actor", "who", "measure"]).loc[
        ("crash", "quotes", MARKET, "fall")
    ]
    change = wide["quotes", True] - wide["quotes", False]
    assert row["effect"] == pytest.approx(change.mean())
    assert row["against"] == pytest.approx((change - (wide[ALONE, True] - wide[ALONE, False])).mean())
    assert row["factor_against"] == pytest.approx(wide["quotes", True].mean() / wide[ALONE, True].mean())
    assert row["effect"] > 0
    assert row["p"] < 1e-3


def test_a_halted_market_neither_moves_nor_trades(lab):
    p = lab.paths["halt", "quotes", True]
    during = (p.offset >= 0) & (p.offset < 10)
    assert (p.halted[during] == 1).all()
    assert not p.square[during].any()
    assert not p.bought["maker"][during].any()
    assert not np.nan_to_num(p.halted[p.offset >= 10]).any()


def test_a_crash_is_absorbed_by_those_who_quote(lab):
    own = lab.effects.set_index(["scenario", "actor", "who", "measure"])
    row = own.loc[("crash", "quotes", "maker", "against_during")]
    assert row["effect"] > 0
    assert row["event"] == pytest.approx(-own.loc[("crash", "quotes", NOISE, "against_during"), "event"])
    share = own.loc[("crash", "quotes", slice(None), "share_before"), "event"]
    assert share.sum() == pytest.approx(1.0)


def test_scenarios_are_the_configurations_own_events_or_defaults():
    cfg = market("stress=[{kind: crash, at: 10, side: buy, magnitude: 3}, {kind: drought, rate: 0.1}]")
    full, listed = laboratory(cfg, ["crash", "shock", "configured"], 10.0)
    assert [s.events for s in listed] == [(0,), (2,), (0, 1)]
    assert [s.direction for s in listed] == [1, -1, 0]
    assert full.stress[2].at == 12.0  # three tenths of 40 s
    times = [(e.at, e.rate) for e in only(full, (1,)).stress]
    assert times == [("never", None), (None, 0.1), ("never", None)]
    assert [s.name for s in laboratory(cfg, None, 10.0)[1]] == ["configured"]
    assert [s.name for s in laboratory(market(), None, 10.0)[1]] == ["crash", "drought", "fat_finger"]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["tsunami"], "scenario 'tsunami': no such event"), (["configured"], "the configuration has no events")],
)
def test_unknown_scenarios_are_named(names, said):
    with pytest.raises(ConfigError, match=said):
        laboratory(market(), names, 10.0)


def test_moves_that_go_both_ways_are_drawn_by_their_size(lab):
    """A crash falls, in a halt the mid goes neither way: the mean of its moves would be about nothing."""
    made = stress_figures(lab)
    for scenario in lab.scenarios:
        path = lab.paths[scenario.name, ALONE, True]
        within = ~np.isnan(path.move).all(axis=1)
        move = path.move[within]
        drawn = made[f"paths-{scenario.name}"].axes[0]
        want = np.nanmean(move if scenario.direction else np.abs(move), axis=1)
        np.testing.assert_allclose(drawn.lines[0].get_ydata()[within], want)
        assert ("how far" in drawn.get_ylabel()) == (scenario.direction == 0)
    assert [s.direction for s in lab.scenarios] == [-1, 0]
    assert min(ax.get_xlim()[1] for ax in made["amplification"].axes) > 1.0


def test_intervals_are_read_as_they_are():
    assert [verdict(*x) for x in ((0.7, 0.9), (1.1, 1.2), (0.9, 1.1), (np.nan, 1.0))] == [
        "damped", "amplified", "no effect that can be told", "not known",
    ]  # fmt: skip


def test_the_command_writes_a_report_and_overwrites_nothing(tmp_path, monkeypatch, capsys):
    from typer.testing import CliRunner

    config = tmp_path / "market.yaml"
    config.write_text("market: {books: 1}\nenv: {episode_steps: 30}\n")
    arguments = ["stress", "at_best", "fixed_spread:half_spread=1", "--config", str(config), "--scenarios", "crash,halt",
                 "--episodes", "8", "--after", "10", "--out", str(tmp_path / "out")]  # fmt: skip
    for _ in range(2):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    assert "crash, at_best: the mid moves" in done.output
    first, second = sorted((tmp_path / "out").iterdir())
    for path in (first, second):
        assert {p.name for p in path.iterdir()} == {
            "report.html", "figures", "measures.csv", "effects.csv", "stress.json", "config.yaml",
        }  # fmt: skip
        assert {p.stem for p in (path / "figures").iterdir()} == {
            "amplification", "paths-crash", "paths-halt", "liquidity-crash", "liquidity-halt",
        }  # fmt: skip
    effects = pd.read_csv(first / "effects.csv")
    assert set(effects["measure"]) <= {*STRESS_MEASURES, *(f"{m}_late" for m in STRESS_MEASURES)}
    pd.testing.assert_frame_equal(effects, pd.read_csv(second / "effects.csv"))
    assert len(json.loads((first / "stress.json").read_text())["answers"]) == 4
    assert "damp" in (first / "report.html").read_text()
