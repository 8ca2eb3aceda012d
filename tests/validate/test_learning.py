"""`lobgraph validate --learning`: what is drawn of a policy, the table, the files, and that a small problem is learned."""

import multiprocessing
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.image import imread

from lobgraph import cli
from lobgraph.config import ConfigError
from lobgraph.known import make_known
from lobgraph.known.almgren_chriss import AlmgrenChrissMarket
from lobgraph.models.policy import PolicyError
from lobgraph.validate import known_settings, learning
from lobgraph.validate.learners import (
    LEARNERS,
    LIMIT_COST,
    Learned,
    Point,
    judging_market,
    rule_of,
    settings,
    share_of,
    train_one,
    training_params,
)
from lobgraph.validate.learning import choose, frontier_cost, learn, rows_of, split
from lobgraph.validate.settings import make_settings
from lobgraph.validate.table import make_table

SECTIONS = {
    "avellaneda_stoikov": known_settings.AvellanedaStoikov,
    "cj_making": known_settings.CjMaking,
    "cj_execution": known_settings.CjExecution,
    "almgren_chriss": known_settings.AlmgrenChriss,
    "pair": known_settings.Pair,
}


class Best:
    """The best policy in a trained one's place."""

    def __init__(self, market):
        self.rule = market.optimal()

    def act(self, obs, deterministic):
        return {role: torch.from_numpy(a) for role, a in self.rule(obs).items()}


@pytest.mark.parametrize("name", ["cj_making", "avellaneda_stoikov"])
def test_offsets_drawn_are_the_policys(name):
    market = make_known(name, num_envs=2, max_inventory=8, steps=20)
    np.testing.assert_allclose(rule_of(market, Best(market)), market.table(market.optimal()), rtol=1e-6)


def test_schedules_drawn_are_the_policys():
    block, seller = make_known("almgren_chriss", num_envs=2), make_known("cj_execution", num_envs=2)
    np.testing.assert_allclose(rule_of(block, Best(block)), block.holdings(), rtol=1e-5, atol=1.0)
    path = 10.0 * seller.path(np.linspace(0.0, 1.0, seller.steps + 1))
    np.testing.assert_allclose(rule_of(seller, Best(seller)), path, rtol=1e-4, atol=1e-4)


def test_turns_drawn_are_the_policys():
    market = make_known("pair", num_envs=2, steps=50)
    turns, best = rule_of(market, Best(market)), market.schedule()
    seen = best < 3.9 * market.params.gap_std
    assert seen.sum() > 30
    width = 8.0 * market.params.gap_std / 400
    np.testing.assert_allclose(turns[seen, 0], -best[seen], atol=1.01 * width)
    np.testing.assert_allclose(turns[seen, 1], best[seen], atol=1.01 * width)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_what_the_learner_gets_contains_the_best_policy(name):
    """Narrowed ranges of actions must not cost what is measured, a position limit next to nothing; judged is the market as
    published."""
    section = SECTIONS[name]()
    market = make_known(
        name, num_envs=1, **{k: v for k, v in section if k in type(section).__mro__[1].model_fields}
    )
    narrow = type(market)(training_params(name, section), 1, 0)
    judged = judging_market(narrow)
    limited = getattr(narrow.params, "max_inventory", 0) < getattr(market.params, "max_inventory", 0)
    assert judged.value() == pytest.approx(market.value(), rel=LIMIT_COST if limited else 1e-6)
    assert getattr(judged.params, "start_inventory", 0) == 0
    if hasattr(judged, "exact_value"):
        wide = type(judged)(judged.params.model_copy(update={"max_offset": None}), 1, 0)
        cost = wide.exact_value(wide.optimal()) - judged.exact_value(judged.optimal())
        assert abs(cost) < 0.003 * market.value()
    if name == "almgren_chriss":
        assert narrow.spec.high[0] > -np.diff(market.holdings()).min()
    assert settings(name, narrow, 3).ppo.gamma == 1.0


def test_a_share_of_gains_and_of_costs():
    assert share_of(97.0, 100.0) == pytest.approx(0.97)
    assert share_of(-103.0, -100.0) == pytest.approx(0.97)


def test_the_frontiers_cost():
    market = AlmgrenChrissMarket()
    for risk in (0.0, 1e-7, 1e-6, 1e-5):
        mean, variance = market.cost(market.holdings(risk))
        assert frontier_cost(market, variance) == pytest.approx(mean, rel=1e-6)
    assert frontier_cost(market, 1e30) == pytest.approx(market.cost(market.holdings(0.0))[0])


def test_the_table_asks_for_enough_and_not_too_much():
    def row(share, error=0.001, best=100.0):
        one = Learned(
            "pair", 0, 1.0, 10, share * best, error * best, best, best, np.zeros((2, 2)), (0, 0, 0), []
        )
        return make_table(rows_of([one], known_settings.Pair()))["ok"].tolist()

    assert row(0.96) == [True, True]
    assert row(0.94) == [False, True]
    assert row(1.003) == [True, True]
    assert row(1.02) == [True, False]  # better than the best: something is wrong
    assert row(float("nan"))[0] is False


def test_what_is_asked_for():
    assert choose(None) == list(LEARNERS)
    assert choose(["pair", "cj_making"]) == ["cj_making", "pair"]
    with pytest.raises(ConfigError, match=r"kyle.*nothing to learn; markets to learn are avellaneda_stoikov"):
        choose(["kyle"])
    with pytest.raises(ConfigError, match=r"'par'.*no such market"):
        choose(["par"])
    assert split(["pair.cost=.2", "ppo.lr=1e-3", "graph.hidden=8"]) == (
        ["pair.cost=.2"], ["ppo.lr=1e-3", "graph.hidden=8"])  # fmt: skip
    with pytest.raises(ConfigError, match=r"ppo\.lrr"):
        learn(["pair"], overrides=["ppo.lrr=1"])
    with pytest.raises(ConfigError, match="seeds and workers"):
        learn(["pair"], seeds=0)


def test_a_block_is_learned_to_be_sold():
    section = known_settings.AlmgrenChriss(episodes=40_000)
    lines = []
    found = train_one("almgren_chriss", section, 1, 40_000, ("ppo.total_steps=350_000",), note=lines.append)
    assert 0.97 < share_of(found.value, found.best) < 1.0 + 4 * found.error / abs(found.best)
    assert len(found.curve) == len(lines) == 12
    assert found.curve[-1].share > found.curve[0].share
    mean, error, variance = found.cost
    best = frontier_cost(AlmgrenChrissMarket(), variance)
    assert best - 4 * error < mean < 1.03 * best


def test_the_command_from_end_to_end(monkeypatch, capsys, tmp_path):
    args = ["almgren_chriss", "--learning", "--seeds", "2", "--workers", "2", "--directory", str(tmp_path)]
    more = ["ppo.total_steps=10_240", "almgren_chriss.episodes=1000", "almgren_chriss.steps=4"]
    monkeypatch.setattr(
        sys, "argv", ["lobgraph", "validate", *args, *(x for m in more for x in ("--set", m))]
    )
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1  # a minute's learning in a second is not enough, and the command says so
    _, err = capsys.readouterr()
    assert "out of tolerance: almgren_chriss: objective, share of the best" in err
    assert "almgren_chriss, seed 1: " in err
    (made,) = tmp_path.iterdir()
    assert made.name.endswith("-learning-s0")
    rows = pd.read_csv(made / "table.csv")
    assert len(rows) == 6
    assert set(rows["parameters"].str.contains("steps 4")) == {True}
    params = yaml.safe_load((made / "params.yaml").read_text())
    assert params["seeds"] == 2
    assert params["training"] == ["ppo.total_steps=10_240"]
    assert sorted(p.name for p in (made / "policies").glob("*.safetensors")) == [
        "almgren_chriss-s0.safetensors", "almgren_chriss-s1.safetensors"]  # fmt: skip
    assert imread(made / "figures" / "almgren_chriss.png").std() > 0.05


def test_trainings_that_are_done_are_kept_when_the_rest_fails(monkeypatch, tmp_path):
    def interrupted(jobs, resolved, common, path, workers, note, done):
        points = [Point(n, 0.9, 0.01) for n in (5, 10)]
        done["pair", 1] = Learned(
            "pair", 1, 1.0, 10, 9.8, 0.1, 10.0, 10.0, np.zeros((400, 2)), (0, 0, 0), points
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(["pair", "cj_making"], directory=tmp_path)
    (made,) = tmp_path.iterdir()
    assert set(pd.read_csv(made / "table.csv")["model"]) == {"pair"}
    assert [p.name for p in (made / "figures").iterdir()] == ["pair.png"]


def test_a_failure_in_a_worker_is_what_is_raised(tmp_path):
    """Not what happens while the others are sent home; and nobody stays behind."""
    path = tmp_path / "a file"
    path.write_text("")
    section = known_settings.AlmgrenChriss(episodes=1000)
    resolved = make_settings({}, ["almgren_chriss.episodes=1000"], False, ["almgren_chriss"])
    assert resolved.almgren_chriss == section
    with pytest.raises(NotADirectoryError):
        learning._train([("almgren_chriss", 0)], resolved, ("ppo.total_steps=10_240",), path, 1, print, {})
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("market", "override"), [("pair", "ppo.minibatches=4096"), ("pair", "graph.hide=[nothing_such]")]
)
def test_settings_that_a_training_could_not_start_with_are_refused_at_once(market, override, tmp_path):
    with pytest.raises((ConfigError, PolicyError)):
        learn([market], overrides=[override], directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_quick_does_not_go_with_learning(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lobgraph", "validate", "--learning", "--quick"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    assert "--seeds 1" in capsys.readouterr().err
