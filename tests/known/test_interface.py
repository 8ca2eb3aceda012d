"""The contract: what training needs of MarketEnv holds for every known market, and PPO runs on them unchanged."""

import numpy as np
import pytest
import torch

from lobgraph.config import ConfigError, load_config
from lobgraph.known.markets import MARKETS, make_known
from lobgraph.rl.trainer import Trainer

SHORT = {name: {"steps": 5} for name in MARKETS}
E = 6


@pytest.fixture(params=list(MARKETS))
def market(request):
    return make_known(request.param, E, seed=3, **SHORT[request.param])


def random_actions(market, rng):
    spec = market.spec
    shape = (market.num_envs, spec.count, spec.items, len(spec.action_names))
    return {market.role: rng.uniform(spec.low, spec.high, shape).astype(np.float32)}


def play(market, steps, seed, choose):
    """Rewards (steps, E) and the observations before each step."""
    obs, rewards, seen = market.reset(seed), [], []
    for _ in range(steps):
        seen.append([x.clone() for x in obs[market.role]])
        obs, reward, *_ = market.step(choose(obs))
        rewards.append(reward[market.role][:, 0].clone())
    return torch.stack(rewards), seen


def test_shapes_and_types(market):
    spec, n, p = market.spec, market.books, len(market.pairs)
    assert market.specs == {market.role: spec}
    assert spec.items == (p if spec.acts_on == "pair" else n) == 1
    obs = market.reset()
    _, reward, terminated, truncated, info = market.step(random_actions(market, np.random.default_rng(0)))
    assert obs[market.role].nodes.shape == (E, 1, n, len(spec.node_features)) == market.nodes.shape
    assert obs[market.role].edges.shape == (E, 1, p, len(spec.edge_features))
    assert obs[market.role].vector.shape == (E, 1, 1) == market.vector.shape
    assert market.adjacency.shape == (n, n)
    assert all(x.dtype == torch.float32 for x in (*obs[market.role], reward[market.role]))
    for x in (reward, terminated, truncated, info["active"]):
        assert x[market.role].shape == (E, 1)
    assert info["terms"][market.role].shape == (E, 1, len(spec.reward_terms))
    assert terminated[market.role].dtype == truncated[market.role].dtype == info["done"].dtype == torch.bool
    assert info["final_obs"] is None
    assert info["episodes"] is None


def test_the_end_of_an_episode_starts_the_next(market):
    rng, total = np.random.default_rng(1), np.zeros(E)
    first = market.reset(5)[market.role].nodes.clone()
    for i in range(market.steps):
        left = float(market.vector[0, 0, 0])
        assert left == pytest.approx(1 - i / market.steps)
        obs, reward, terminated, truncated, info = market.step(random_actions(market, rng))
        total += reward[market.role][:, 0].double().numpy()
        assert bool(info["done"].all()) == (i + 1 == market.steps)
    assert terminated[market.role].all()
    assert not truncated[market.role].any()
    final, episodes = info["final_obs"][market.role], info["episodes"]
    assert (final.vector == 0).all()
    assert (obs[market.role].vector == 1).all()
    np.testing.assert_allclose(episodes["return"][market.role][:, 0], total, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(episodes["terms"][market.role].sum(-1), total[:, None], rtol=1e-4, atol=1e-4)
    assert episodes["length"].tolist() == [market.steps] * E
    if market.role != "arbitrageur":  # the gap's first value is drawn
        torch.testing.assert_close(obs[market.role].nodes, first)
    assert not torch.equal(final.nodes, obs[market.role].nodes)


def test_the_same_seed_is_the_same_market(market):
    def fresh():
        rng = np.random.default_rng(7)
        return lambda obs: random_actions(market, rng)

    one, seen = play(market, 2 * market.steps, 11, fresh())
    two, again = play(market, 2 * market.steps, 11, fresh())
    other, _ = play(market, 2 * market.steps, 12, fresh())
    assert torch.equal(one, two)
    assert all(torch.equal(a, b) for x, y in zip(seen, again, strict=True) for a, b in zip(x, y, strict=True))
    assert not torch.equal(one, other)
    assert not torch.equal(one[: market.steps], one[market.steps :])  # the next episode has its own noise


def test_an_environment_does_not_depend_on_how_many_there_are(market):
    policy = market.policies()["optimal"]
    many, _ = play(market, 2 * market.steps, 4, policy)
    few, _ = play(market.copy(2, 0), 2 * market.steps, 4, policy)
    assert torch.equal(many[:, :2], few)


@pytest.mark.parametrize("name", list(MARKETS))
def test_other_policies_meet_the_same_noise(name):
    """The mid (less what the seller's own impact moves it) is the same whoever acts."""
    quiet = {"cj_execution": {"b": 0.0}, "almgren_chriss": {"gamma": 0.0}}.get(name, {})
    market = make_known(name, E, **SHORT[name], **quiet)
    column, moves = market.node_features.index("move"), []
    for policy in market.policies().values():
        _, seen = play(market, 2 * market.steps, 9, policy)
        moves.append(torch.stack([x[0][..., column] for x in seen]))
    assert moves[0].abs().sum() > 0
    for other in moves[1:]:
        assert torch.equal(moves[0], other)


def test_equity_adds_up(market):
    """Profit is the sum of the reward's terms less those that are no money."""
    results = market.simulate(market.optimal(), 50, seed=2)
    assert results.profit.shape == results.objective.shape == (50,)
    assert results.inventory.shape == (50, market.books)
    again = market.simulate(market.optimal(), 50, seed=2)
    np.testing.assert_array_equal(results.profit, again.profit)
    penalties = {"running_penalty", "final_penalty", "risk"}
    if "utility" in market.terms:
        level = np.exp(-market.gamma * (results.profit - market.value()))
        np.testing.assert_allclose(results.objective, (1 - level) / market.gamma, rtol=1e-9, atol=1e-9)
    elif not penalties & set(market.terms):
        np.testing.assert_allclose(results.objective, results.profit, rtol=1e-9)
    else:
        assert (results.objective < results.profit).all()


def test_actions_that_cannot_be_taken(market):
    role = market.role
    with pytest.raises(RuntimeError, match="call reset"):
        market.step({})
    market.reset()
    good = random_actions(market, np.random.default_rng(0))[role]
    with pytest.raises(ValueError, match="expected the role"):
        market.step({"nobody": good})
    with pytest.raises(ValueError, match="shape must be"):
        market.step({role: good[:2]})
    bad = good.copy()
    bad[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"NaN at .*\(1, 0, 0, 0\)"):
        market.step({role: bad})
    far = {role: torch.full_like(torch.from_numpy(good), 1e9)}
    _, reward, *_ = market.step(far)  # clipped to the bounds
    assert torch.isfinite(reward[role]).all()


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("as", {}, "no such known market; markets are avellaneda_stoikov"),
        ("pair", {"cots": 1}, "did you mean 'cost'"),
        ("pair", {"cost": 9.0}, "cost: must be at most two deviations"),
        ("pair", {"theta": 1e-6}, "steps: theta T / steps"),
        ("cj_execution", {"b": 3.0}, "alpha: must exceed b / 2"),
        ("almgren_chriss", {"gamma": 1e-4}, "eta: must exceed gamma T"),
        ("avellaneda_stoikov", {"gamma": 0.0}, "gamma"),
        ("avellaneda_stoikov", {"num_envs": 0}, "num_envs"),
    ],
)
def test_parameters_that_cannot_be_run(name, given, says):
    with pytest.raises(ConfigError, match=says):
        make_known(name, **given)


@pytest.mark.parametrize("name", list(MARKETS))
def test_ppo_trains_on_it(name):
    market = make_known(name, 8, **SHORT[name])
    cfg = load_config(
        None,
        ["env.num_envs=8", "ppo.rollout_steps=10", "ppo.total_steps=240", "graph.hidden=16", "ppo.gamma=1.0",
         "run.progress=false", "run.tensorboard=false", "run.torch_threads=1"],
    )  # fmt: skip
    trainer = Trainer(cfg, market)
    trainer.start()
    history = [trainer.step() for _ in range(trainer.updates)]
    assert len(history) == 3
    assert np.isfinite(history[-1][f"rewards/{market.role}/mean"])
    assert {f"terms/{market.role}/{term}" for term in market.terms} <= set(history[-1])
    results = market.simulate(trainer.policies, 20)  # a trained policy plays where a closed form does
    assert np.isfinite(results.objective).all()
