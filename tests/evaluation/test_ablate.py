"""Ablation and transfer: what is trained, what is hidden, how a market grows, and small studies from end to end."""

import numpy as np
import pandas as pd
import pytest

from lobgraph.config import Config, ConfigError, make_config
from lobgraph.evaluation.ablate import (
    OF_OTHERS,
    ablate,
    by_seed,
    difference_table,
    level_table,
    variant_config,
)
from lobgraph.evaluation.clusters import crossed
from lobgraph.evaluation.transfer import HERE, ZERO, at_equal, resized, share_table, transfer
from lobgraph.market.params import edge_weights


def small(**sections) -> Config:
    """Two leaders and two laggards, a few steps of training."""
    tree = {
        "name": "small",
        "market": {"books": ["L", "G", "L2", "G2"]},
        "flow_per_book": {"L": {"tilt": 0.2}, "L2": {"tilt": 0.2}},
        "fundamentals": {"correlation": 0.9},
        "agents": {"maker": {"count": 1, "liquidity_reward": 0.1, "risk": {"max_drawdown": 400.0}}},
        "env": {"num_envs": 8, "episode_steps": 10, "threads": 1},
        "graph": {"hidden": 8, "heads": 2},
        "ppo": {"total_steps": 320, "rollout_steps": 10, "minibatches": 2},
        "run": {"progress": False, "tensorboard": False},
        "flow": {"warmup": 2.0},
    }
    return make_config(
        {k: {**tree.get(k, {}), **v} if isinstance(v, dict) else v for k, v in (tree | sections).items()}
    )


def test_a_variant_differs_in_its_encoder_alone() -> None:
    cfg = small()
    found = variant_config(cfg, "gat", 7)
    assert found.graph.encoder == "gat"
    assert set(found.graph.hide) == set(OF_OTHERS)
    assert found.run.seed == 7
    a, b = found.model_dump(), cfg.model_dump()
    for key in a:
        if key not in ("graph", "run"):
            assert a[key] == b[key], key
    with pytest.raises(ConfigError, match="no encoder 'gcn'; there are sage, gat, mean, mlp"):
        variant_config(cfg, "gcn", 0)


def test_without_exchange_a_book_is_deaf_to_the_others(tmp_path) -> None:
    """Whatever the other books show, the action in a book stays: also what an agent holds and has earned there."""
    import torch

    from lobgraph.env.market_env import MarketEnv
    from lobgraph.models.policy import make_policies

    cfg = variant_config(small(market={"underlying": ["X", "X", "Y", "Z"]}), "mlp", 0)
    env = MarketEnv(cfg)
    policies = make_policies(env, cfg)
    with torch.no_grad():
        policies.actors["maker"].out.weight.normal_()
    obs = env.reset()
    before = policies.act(obs, deterministic=True)["maker"].clone()
    env.nodes[:, :, 1:] += torch.randn_like(env.nodes[:, :, 1:])
    env.nodes[..., env.specs["maker"].node_features.index("gap_venues")] += 1.0  # book 0's tells of book 1
    env.vector[..., env.specs["maker"].vector_features.index("equity")] += 1.0
    after = policies.act(obs, deterministic=True)["maker"]
    assert torch.equal(after[:, :, 0], before[:, :, 0])
    assert not torch.equal(after[:, :, 1], before[:, :, 1])


def outcomes(variants: dict[str, float], seeds: int = 3, episodes: int = 40) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    common = rng.standard_normal(episodes) * 5
    for variant, level in variants.items():
        for s in range(seeds):
            x = level + 0.1 * rng.standard_normal() + common + 0.1 * rng.standard_normal(episodes)
            rows.append(
                pd.DataFrame(
                    {
                        "variant": variant,
                        "seed": s,
                        "role": "maker",
                        "episode": range(episodes),
                        "return": x,
                        "pnl": 0.0,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_tables_are_of_seeds_and_episodes() -> None:
    table = outcomes({"sage": 3.0, "mlp": 1.0})
    levels, gaps = level_table(table, ["sage", "mlp"]), difference_table(table, ["sage", "mlp"], "mlp")
    gap = gaps[gaps["measure"] == "return"].iloc[0]
    want = crossed(by_seed(table, "maker", "sage", "return") - by_seed(table, "maker", "mlp", "return"))
    assert (gap["mean"], gap["low"], gap["high"]) == pytest.approx(want[:3])
    assert gap["low"] < 2.0 < gap["high"]
    assert gap["low"] > 1.0
    assert gap["episodes_high"] - gap["episodes_low"] < gap["high"] - gap["low"]
    own = levels[(levels["variant"] == "sage") & (levels["measure"] == "return")].iloc[0]
    assert own["high"] - own["low"] > 2.0  # unpaired, the episodes' own spread remains
    assert len(gap["seeds"].split()) == 3


def test_episodes_of_one_stretch_of_a_tape_count_as_one() -> None:
    table = outcomes({"sage": 3.0, "mlp": 1.0})
    cluster = table["episode"] // 4
    x = by_seed(table, "maker", "sage", "return")
    found = by_seed(table.assign(cluster=cluster), "maker", "sage", "return")
    assert found.shape == (len(x), cluster.nunique())
    np.testing.assert_allclose(found.mean(axis=1), x.mean(axis=1))
    np.testing.assert_allclose(by_seed(table.assign(cluster=table["episode"]), "maker", "sage", "return"), x)


def test_ablate_from_end_to_end(tmp_path) -> None:
    lines = []
    found = ablate(small(), tmp_path, ["gat", "mlp"], seeds=2, episodes=6, seed=9, note=lines.append)
    assert set(found.runs) == {("gat", 0), ("gat", 1), ("mlp", 0), ("mlp", 1)}
    assert all((path / "config.yaml").is_file() for path in found.runs.values())
    assert found.parameters["gat"] > found.parameters["mlp"]
    assert len(found.outcomes) == 2 * 2 * 6
    assert np.isfinite(found.differences[["mean", "low", "high"]].to_numpy()).all()
    assert lines[0].startswith("training 1 of 4: gat, seed 0")
    with pytest.raises(ConfigError, match="with one book"):
        ablate(make_config({}), tmp_path, note=lines.append)
    with pytest.raises(ConfigError, match="two encoders or more"):
        ablate(small(), tmp_path, ["sage", "sage"], note=lines.append)


def test_a_market_grows_by_repeating_its_books() -> None:
    cfg = small(market={"underlying": ["X", "X", "Y", "Z"], "initial_price": [1000, 1000, 2000, 3000]})
    big = resized(cfg, 6)
    assert big.market.books == ["L", "G", "L2", "G2", "L_1", "G_1"]
    assert big.market.underlying == ["X", "X", "Y", "Z", "X_1", "X_1"]
    assert big.market.initial_price == [1000, 1000, 2000, 3000, 1000, 1000]
    assert [f.tilt for f in big.flows] == [cfg.flows[i % 4].tilt for i in range(6)]
    assert big.agents.maker.liquidity_reward == pytest.approx(0.15)
    assert big.agents.maker.risk.max_drawdown == pytest.approx(600.0)
    assert resized(cfg, 4) == cfg
    assert resized(cfg, 2).market.books == ["L", "G"]
    np.testing.assert_allclose(edge_weights(big)[:4, :4], edge_weights(cfg))


def test_lists_by_underlying_pairs_and_targets_repeat_too() -> None:
    matrix = [[1.0, 0.6, 0.3], [0.6, 1.0, 0.4], [0.3, 0.4, 1.0]]
    cfg = small(
        market={"underlying": ["X", "X", "Y", "Z"]},
        fundamentals={"volatility": [1.0, 2.0, 3.0], "correlation": 0.5},
        agents={
            "arbitrageur": {"count": 1, "pairs": [["L", "G"]]},
            "taker": {"count": 1, "target_books": ["G2"]},
        },
    )
    big = resized(cfg, 8)
    assert big.fundamentals.volatility == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert [tuple(p) for p in big.agents.arbitrageur.pairs] == [("L", "G"), ("L_1", "G_1")]
    assert big.agents.taker.target_books == ["G2", "G2_1"]
    part = resized(
        small(market={"underlying": ["X", "X", "Y", "Z"]}, fundamentals={"correlation": matrix}), 3
    )
    assert part.fundamentals.correlation == [[1.0, 0.6], [0.6, 1.0]]
    with pytest.raises(ConfigError, match="does not say how 8 books"):
        resized(small(market={"underlying": ["X", "X", "Y", "Z"]}, fundamentals={"correlation": matrix}), 8)
    with pytest.raises(ConfigError, match="at least 1"):
        resized(cfg, 0)


def test_training_at_another_size_costs_the_same() -> None:
    cfg = small(env={"num_envs": 8}, ppo={"total_steps": 320, "target_kl": 0.04})
    big, one = at_equal("steps", cfg, 16, 4), at_equal("steps", cfg, 2, 4)
    assert (big.env.num_envs, one.env.num_envs) == (2, 16)
    for own, n in ((big, 16), (one, 2)):
        assert own.ppo.total_steps * n == cfg.ppo.total_steps * 4
        assert own.ppo.total_steps // (own.ppo.rollout_steps * own.env.num_envs) == 4  # updates
    assert (big.ppo.target_kl, big.ppo.clip) == pytest.approx((0.16, 0.4))
    assert at_equal("steps", cfg, 4, 4) == at_equal("episodes", cfg, 4, 4) == cfg
    wide = at_equal("episodes", cfg, 16, 4)
    assert (wide.env.num_envs, wide.ppo.total_steps, wide.ppo.target_kl) == (8, 320, pytest.approx(0.16))
    with pytest.raises(ConfigError, match="there are episodes, steps"):
        at_equal("money", cfg, 16, 4)


def test_shares() -> None:
    zero, here = outcomes({ZERO: 90.0}), outcomes({HERE: 100.0})
    table = pd.concat([zero.assign(books=2), here.assign(books=2), zero.assign(books=4)], ignore_index=True)
    found = share_table(table, train_on=4).set_index("books")
    assert found.loc[2, "share"] == pytest.approx(0.9, abs=0.01)
    assert found.loc[2, "share_low"] < found.loc[2, "share"] < found.loc[2, "share_high"] < 1
    assert found.loc[4, "share"] == 1


def test_transfer_from_end_to_end(tmp_path) -> None:
    found = transfer(small(), tmp_path, [2, 4], train_on=4, episodes=6, seed=9, note=lambda line: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2 books-s0", "4 books-s0"]
    assert found.shares["books"].tolist() == [2, 4]
    assert len(found.outcomes) == 3 * 6
    assert np.isfinite(found.shares[["zero", "here", "difference"]].to_numpy()).all()
