"""Episodes as written down in the real market: identities that hold to rounding, and equal to an env that resets itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from make import make_day, write_pair

from lobgraph.config import Config, load_config, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.evaluate import evaluate, summary
from lobgraph.evaluation.measures import measure
from lobgraph.evaluation.record import Series, play, record
from lobgraph.market.state import EDGE, START_NS
from lobgraph.rl.actors import Actor, actor

BASE = (
    "market.books=[X,Y]", "market.underlying=[U,U]", "agents.maker.count=2", "agents.taker.count=1",
    "agents.arbitrageur.count=1", "env.episode_steps=40", "env.threads=1", "flow.warmup=2", "agents.taker.target=60",
)  # fmt: skip


def market(*overrides: str) -> Config:
    return load_config(None, [*BASE, *overrides])


def busy(seed: int = 0) -> dict[str, Actor]:
    """Actors that quote, take and trade pairs at random, by the step they are asked in."""

    def role(name: str, low: list[float], high: list[float], agents: int, items: int) -> Actor:
        generator = torch.Generator().manual_seed(seed)
        low_, high_ = torch.tensor(low), torch.tensor(high)

        def act(obs: Mapping) -> torch.Tensor:
            u = torch.rand(agents, items, len(low), generator=generator)  # the same in every environment
            return (low_ + (high_ - low_) * u).expand(len(obs[name].vector), -1, -1, -1)

        return act

    return {
        "maker": role("maker", [0, 0, 1], [3, 3, 8], 2, 2),
        "taker": role("taker", [-1, 0], [1, 6], 1, 2),
        "arbitrageur": role("arbitrageur", [-1, -1, 0], [1, 1, 4], 1, 1),
    }


@pytest.mark.parametrize("overrides", [
    ("market.maker_rebate=0.0002", "market.taker_fee=0.0005"),
    ("market.matching=pro_rata", "market.self_trade=allow", "agents.maker.post_only=false"),
    ("market.mark=mid", "agents.maker.risk.max_drawdown=30", "agents.taker.latency=0.3"),
])  # fmt: skip
def test_pnl_is_the_sum_of_its_parts(overrides: tuple[str, ...]) -> None:
    (s,) = play(market(*overrides, "agents.taker.benchmark=mtm"), busy(), 12)
    table = measure(s)
    assert (table["turnover"] > 0).mean() > 0.9
    parts = table["spread_capture"] + table["holding"] - table["fees"]
    np.testing.assert_allclose(table["pnl"], parts, atol=1e-6)
    for role, spec in s.specs.items():  # what the learner was paid for it is the same money
        terms = s.terms[:, :, spec.agents, :2].sum(axis=(0, 3), dtype=np.float64).ravel()
        np.testing.assert_allclose(table.loc[table["role"] == role, "pnl"], terms, rtol=1e-5, atol=1e-2)


def test_holding_is_inventory_times_moves() -> None:
    """A taker's orders arrive at once, so its fills are measured from the mid of its decision: holding by hand."""
    cfg = market("agents.maker.count=0", "agents.arbitrageur.count=0")
    (s,) = play(cfg, {"taker": busy()["taker"]}, 10)
    table = measure(s)
    moves = np.diff(s.mid, axis=0)[:, :, None]  # (T, B, 1, A)
    holding = (s.inventory[1:] * moves).sum(axis=(0, 3)).ravel()
    assert np.abs(holding).max() > 10
    np.testing.assert_allclose(table["holding"], holding, atol=1e-6)
    assert (table["spread_capture"] < 0).all()  # it crosses


@pytest.mark.parametrize("overrides", [
    (), ("market.matching=pro_rata",), ("market.self_trade=allow", "agents.maker.post_only=false"),
    ("market.matching=pro_rata", "market.self_trade=allow", "agents.maker.post_only=false"),
])  # fmt: skip
def test_edge_sums_to_zero(overrides: tuple[str, ...]) -> None:
    """What one side of a fill wins on the mid the other loses, the noise traders included."""
    cfg = market(*overrides, "agents.maker.latency=0.2")
    env = MarketEnv(cfg, num_envs=8, seed=2, autoreset=False)
    generator = torch.Generator().manual_seed(0)
    acts = {role: actor(a, role, env, True, generator) for role, a in busy().items()}
    s = record(env, acts)
    edge = env.state.account[..., EDGE]  # (E, A, G + 1)
    np.testing.assert_array_equal(edge.sum(axis=-1), 0)
    assert (np.abs(edge) > 0).mean() > 0.8
    np.testing.assert_array_equal(s.edge[-1], 0.5 * edge[:, :, :-1].transpose(0, 2, 1))


def test_equity_is_cash_and_inventory() -> None:
    """At the plain mid; and the env's own arrays agree with the last row."""
    cfg = market("market.mark=mid", "market.taker_fee=0.0005")
    env = MarketEnv(cfg, num_envs=6, seed=1, autoreset=False)
    generator = torch.Generator().manual_seed(0)
    s = record(env, {role: actor(a, role, env, True, generator) for role, a in busy().items()})
    by_hand = (s.cash + s.inventory * s.mid[:, :, None]).sum(axis=-1) - s.fees
    np.testing.assert_allclose(s.equity, by_hand, atol=1e-6)
    np.testing.assert_array_equal(s.equity[-1], 0.5 * env.state.equity[..., 0] - env.state.money[..., 0])
    np.testing.assert_array_equal(s.equity[0], 0)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_series_do_not_depend_on_the_batch(batch: int) -> None:
    cfg, agents = market(), {"maker": "fixed_spread:half_spread=1"}
    (whole,) = play(cfg, agents, 7, seed=5)
    parts = list(play(cfg, agents, 7, seed=5, batch=batch))
    assert [len(p.episode) for p in parts] == [min(batch, 7 - i) for i in range(0, 7, batch)]
    assert np.abs(whole.inventory).max() > 0
    for field in dataclasses.fields(Series):
        x = getattr(whole, field.name)
        if isinstance(x, np.ndarray):
            axis = 0 if field.name in ("episode", "cluster", "target", "cut", "cause") else 1
            joined = np.concatenate([getattr(p, field.name) for p in parts], axis=axis)
            np.testing.assert_array_equal(joined, x, err_msg=field.name)


@pytest.mark.parametrize("drawdown", ["null", "15"])
def test_last_row_is_the_end(drawdown: str) -> None:
    """Against an environment that resets itself and tells of the episodes that ended."""
    cfg = market(
        "agents.taker.count=0", "agents.arbitrageur.count=0", f"agents.maker.risk.max_drawdown={drawdown}"
    )
    envs = 6
    env = MarketEnv(cfg, num_envs=envs, seed=4)
    obs, first = env.reset(), {}
    act = busy()["maker"]
    assert callable(act)
    for _ in range(cfg.env.episode_steps):
        obs, *_, info = env.step({"maker": act(obs)})
        if (ended := info["episodes"]) is not None:
            for i, e in enumerate(ended["env"].tolist()):
                first.setdefault(e, {k: ended[k]["maker"][i].tolist() for k in ("equity", "max_inventory", "return")}
                                 | {"length": int(ended["length"][i])})  # fmt: skip
    (s,) = play(cfg, {"maker": busy()["maker"]}, envs, seed=4)
    table = measure(s)
    assert sorted(first) == list(range(envs))
    for e in range(envs):
        own = table[table["episode"] == e]
        np.testing.assert_allclose(own["pnl"], first[e]["equity"], atol=1e-6)
        np.testing.assert_allclose(own["return"], first[e]["return"], rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(own["max_inventory"], first[e]["max_inventory"])
        assert own["length"].max() == first[e]["length"]
    if drawdown != "null":
        assert (table["length"] < cfg.env.episode_steps).any()


def test_terminated_maker() -> None:
    """It is sold out in the step that breaks its limit, quotes nothing after, and no later step counts."""
    cfg = market("agents.maker.risk.max_drawdown=15")
    (s,) = play(cfg, busy(), 16)
    own = s.specs["maker"].agents
    active = s.active[:, :, own]
    assert (np.diff(active.astype(int), axis=0) <= 0).all()
    gone = ~active[-1]
    assert gone.any()
    assert (s.quote_qty[1:, :, own][~active] == 0).all()
    assert (s.passive[:, :, own][~active] == 0).all()
    assert (s.terms[:, :, own][~active] == 0).all()
    table = measure(s)
    makers = table[table["role"] == "maker"]
    early = makers["length"] < cfg.env.episode_steps
    assert early.sum() >= gone.sum()
    assert (makers.loc[early, "max_drawdown"] > 15).all()
    assert (makers.loc[~early, "max_drawdown"] <= 15).all()


def test_an_env_that_resets_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="autoreset=False"):
        record(MarketEnv(market(), num_envs=1), {})


def test_episodes_on_one_stretch_of_a_tape_are_one_cluster(tmp_path) -> None:
    """They start within two lengths of an episode; without a tape every episode is its own, and no table says so."""
    messages = write_pair(tmp_path, *make_day(rows=3000, levels=3), levels=3)
    cfg = make_config({
        "market": {"books": ["T"], "window": 2048},
        "replay": {"files": {"T": str(messages)}},
        "agents": {"maker": {"count": 1, "max_offset": 20.0}},
        "env": {"episode_steps": 5, "threads": 1},
    })  # fmt: skip
    env = MarketEnv(cfg, num_envs=48, seed=2, autoreset=False)
    env.reset()
    start = env.state.clock[:, START_NS] // (2 * 5 * 1_000_000_000)
    (series,) = list(play(cfg, {"maker": None}, episodes=48, seed=2))
    np.testing.assert_array_equal(series.cluster, start)
    assert 1 < len(set(series.cluster)) < 48
    table = evaluate(cfg, {"maker": None}, episodes=48, seed=2)
    np.testing.assert_array_equal(table.sort_values("episode")["cluster"], series.cluster)
    assert (summary(table)["n"] <= len(set(series.cluster))).all()
    (own,) = list(play(market(), {"maker": None}, episodes=3))
    assert own.cluster.tolist() == [0, 1, 2]
    assert "cluster" not in evaluate(market(), {"maker": None}, episodes=3)
