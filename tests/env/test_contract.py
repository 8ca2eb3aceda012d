"""What users of MarketEnv rely on: shapes, seeding, independence, episodes and their ends, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import AGENTS, STILL, copied, equal_obs, one_book, random_actions, scene, still_actions

from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def play(env: MarketEnv, steps: int, seed: int = 0, change=None) -> list[dict]:
    """Random actions for some steps; everything that comes back, copied."""
    rng = np.random.default_rng(seed)
    seen = []
    for t in range(steps):
        actions = random_actions(env, rng)
        if change is not None:
            change(t, actions)
        obs, reward, terminated, truncated, info = env.step(actions)
        row = {"done": info["done"].clone()}
        for role in env.specs:
            row[role] = [x.clone() for x in (*obs[role], reward[role], terminated[role], truncated[role])]
            row[role].append(info["terms"][role].clone())
            if info["final_obs"] is not None:
                row[role] += [x[info["done"]].clone() for x in info["final_obs"][role]]
        seen.append(row)
    return seen


def assert_same(one: list[dict], two: list[dict], rows_one=slice(None), rows_two=slice(None)) -> None:
    for t, (a, b) in enumerate(zip(one, two, strict=True)):
        assert torch.equal(a["done"][rows_one], b["done"][rows_two]), t
        for role in a.keys() - {"done"}:
            for x, y in zip(a[role][:7], b[role][:7], strict=True):
                assert torch.equal(x[rows_one], y[rows_two]), (t, role)


# --- shapes ---


def test_shapes_types_and_specs():
    env = MarketEnv(scene(), num_envs=4, seed=0)
    assert list(env.specs) == ["maker", "taker", "arbitrageur"]
    assert (env.adjacency.shape, env.adjacency.dtype) == ((3, 3), torch.float32)
    assert env.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    obs = env.reset()
    for step in range(14):
        _, reward, terminated, truncated, info = env.step(random_actions(env, np.random.default_rng(step)))
        for role, s in env.specs.items():
            k, n = s.count, 3
            assert obs[role].nodes.shape == (4, k, n, len(s.node_features))
            assert obs[role].edges.shape == (4, k, 3, len(s.edge_features))
            assert obs[role].vector.shape == (4, k, len(s.vector_features))
            assert all(x.dtype == torch.float32 and x.isfinite().all() for x in obs[role])
            assert (reward[role].shape, reward[role].dtype) == ((4, k), torch.float32)
            assert (terminated[role].shape, terminated[role].dtype) == ((4, k), torch.bool)
            assert (truncated[role].shape, truncated[role].dtype) == ((4, k), torch.bool)
            assert info["terms"][role].shape == (4, k, len(s.reward_terms))
            assert info["active"][role].shape == (4, k)
            assert s.low.shape == s.high.shape == (len(s.action_names),)
            assert s.items == (3 if s.acts_on == "node" else len(env.pairs))
        assert (info["final_obs"] is None) == (info["episodes"] is None) == (step != 11)
    rows = np.concatenate([np.arange(5)[s.agents] for s in env.specs.values()])
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_buffers_are_seen_without_a_copy():
    env = MarketEnv(scene(), num_envs=3, seed=0)
    obs = env.reset()
    for role, s in env.specs.items():
        assert np.shares_memory(obs[role].nodes.numpy(), env.buffers.nodes)
        assert obs[role].nodes.data_ptr() == env.nodes[:, s.agents].data_ptr()
        assert obs[role].vector.data_ptr() == env.vector[:, s.agents].data_ptr()
        assert obs[role].edges.data_ptr() == env.edges.data_ptr()
    first = obs["maker"].nodes.clone()
    later, reward, *_ = env.step(still_actions(env))
    assert not torch.equal(first, obs["maker"].nodes)  # the same buffer, written anew
    assert later["maker"].nodes.data_ptr() == obs["maker"].nodes.data_ptr()
    assert np.shares_memory(reward["taker"].numpy(), env.buffers.reward)


def test_only_roles_present_are_there():
    env = MarketEnv(scene(agents={"taker": {"count": 1}}), num_envs=2)
    assert list(env.reset()) == ["taker"]


def test_no_agents_at_all():
    env = MarketEnv(scene(agents={}, env={"episode_steps": 5}), num_envs=3, seed=1)
    assert env.reset() == {}
    ends = []
    for _ in range(12):
        obs, reward, terminated, truncated, info = env.step({})
        assert obs == reward == terminated == truncated == {}
        ends.append(bool(info["done"].all()))
    assert [t for t, e in enumerate(ends) if e] == [4, 9]
    assert (env.state.head[..., ms.EVENTS] > 0).all()


def test_agents_counts_are_those_of_the_configuration():
    assert {r: s.count for r, s in MarketEnv(scene(), num_envs=1).specs.items()} == {
        r: a["count"] for r, a in AGENTS.items()
    }


# --- seeds and independence ---


def test_reset_with_a_seed_repeats_everything_from_any_point():
    env = MarketEnv(scene(), num_envs=4, seed=3)
    first = copied(env.reset())
    run = play(env, 30)
    play(env, 7, seed=9)
    assert equal_obs(copied(env.reset(seed=3)), first)
    assert_same(play(env, 30), run)
    other = MarketEnv(scene(), num_envs=4, seed=77)
    other.reset(seed=3)
    assert_same(play(other, 30), run)
    assert equal_obs(copied(env.reset()), first)  # without a seed: the last one given
    assert not equal_obs(copied(env.reset(seed=4)), first)
    default = MarketEnv(scene(run={"seed": 3}), num_envs=4)
    assert equal_obs(copied(default.reset()), first)


def test_environments_do_not_feel_each_other():
    env = MarketEnv(scene(), num_envs=4, seed=3)
    env.reset()
    run = play(env, 20)

    def first_env_only(t, actions):
        for x in actions.values():
            x[0] = 0.0

    env.reset()
    other = play(env, 20, change=first_env_only)
    assert_same(run, other, slice(1, None), slice(1, None))
    assert not torch.equal(run[3]["maker"][0][0], other[3]["maker"][0][0])


def test_threads_change_nothing():
    runs = []
    for threads in (1, 2, 3):
        env = MarketEnv(scene(env={"episode_steps": 12, "threads": threads}), num_envs=25, seed=3)
        env.reset()
        runs.append(play(env, 20))
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


# --- episodes ---


def test_the_next_episode_knows_nothing_of_the_last():
    """The first observation of an episode is the same whatever was done before; episodes differ from each other."""
    env = MarketEnv(scene(), num_envs=3, seed=3)
    starts = []
    for seed in (1, 2):
        starts.append([copied(env.reset())])
        rng = np.random.default_rng(seed)
        for _ in range(25):
            obs, *_, info = env.step(random_actions(env, rng))
            if info["done"].all():
                starts[-1].append(copied(obs))
    for one, two in zip(*starts, strict=True):
        assert equal_obs(one, two)
    assert len(starts[0]) == 3
    assert not equal_obs(starts[0][0], starts[0][1])
    assert not equal_obs(starts[0][1], starts[0][2])
    for role in env.specs:
        names = env.specs[role].node_features
        nodes = starts[0][1][role][0]
        for private in ("inventory", "bid_distance", "ask_share", "move", "drift"):
            assert not nodes[..., names.index(private)].any(), private
        assert (starts[0][1][role][2][..., 0] == 1.0).all()  # time left
        assert not starts[0][1][role][2][..., 1:3].any()  # equity, drawdown


def test_the_last_observation_is_the_one_a_longer_episode_would_go_on_from():
    env = MarketEnv(scene(), num_envs=3, seed=3)
    longer = MarketEnv(scene(env={"episode_steps": 24}), num_envs=3, seed=3)
    env.reset(), longer.reset()
    rng = np.random.default_rng(0)
    for step in range(12):
        actions = random_actions(env, rng)
        _, reward, terminated, truncated, info = env.step(actions)
        obs, long_reward, _, long_truncated, _ = longer.step(actions)
        for role in env.specs:
            assert torch.equal(reward[role], long_reward[role])
            ends, other = (terminated, truncated) if role == "taker" else (truncated, terminated)
            assert ends[role].all() == (
                step == 11
            )  # the deadline of a target is an end, the others' is a time limit
            assert not other[role].any()
            assert not long_truncated[role].any()
    for role in env.specs:
        final = info["final_obs"][role]
        assert torch.equal(final.nodes, obs[role].nodes)
        assert torch.equal(final.edges, obs[role].edges)
        assert torch.equal(final.vector[..., 1:], obs[role].vector[..., 1:])
        assert not final.vector[..., 0].any()


def test_staggered_first_episodes_end_apart_and_later_ones_are_whole():
    env = MarketEnv(scene(env={"episode_steps": 12, "stagger": True}), num_envs=40, seed=3)
    env.reset()
    lengths = {e: [] for e in range(40)}
    clock = np.zeros(40, int)
    for _ in range(30):
        *_, info = env.step(still_actions(env))
        clock += 1
        counted = [] if info["episodes"] is None else info["episodes"]["env"].tolist()
        assert (info["final_obs"] is None) == (not info["done"].any())
        for e in np.flatnonzero(info["done"].numpy()):
            assert (e in counted) == (len(lengths[int(e)]) > 0)  # statistics are of whole episodes only
            lengths[int(e)].append(int(clock[e]))
            clock[e] = 0
    firsts = [v[0] for v in lengths.values()]
    assert len(set(firsts)) > 6
    assert all(x == 12 for v in lengths.values() for x in v[1:])


def drawdown_env(counts: dict, **sections) -> MarketEnv:
    """Takers that lose the spread at once and may lose nothing."""
    risk = {"max_inventory": 200, "max_drawdown": 0.25}
    taker = {"count": 1, "target": 40, "max_size": 5, "target_side": "buy", "risk": risk}
    cfg = one_book({"taker": taker | counts.get("taker", {}), **{k: v for k, v in counts.items() if k != "taker"}},
                   flow={**STILL, "initial_depth": 50}, market={"maker_rebate": 0.0, "taker_fee": 0.0}, **sections)  # fmt: skip
    env = MarketEnv(cfg, num_envs=2, seed=0)
    env.reset()
    return env


def test_a_drawdown_terminates_and_liquidates_and_costs():
    """Buying 5 at the ask of a still book and selling them at the bid: minus 5 spreads, then nothing more."""
    maker = {"count": 1, "max_size": 5, "inventory_penalty": 0.5, "liquidity_reward": 0.0}
    env = drawdown_env({"maker": maker, "taker": {"inventory_penalty": 1.0, "delay_penalty": 0.0}})
    spread = env.snapshot()["best_ask"][0] - env.snapshot()["best_bid"][0]
    actions = still_actions(env)
    actions["taker"][0] = torch.tensor([1.0, 5.0])
    _, reward, terminated, truncated, info = env.step(actions)
    assert terminated["taker"].flatten().tolist() == [True, False]
    assert not truncated["taker"].any()
    assert not terminated["maker"].any()
    assert reward["taker"][0, 0] == -5.0 * spread
    assert env.snapshot(0)["inventory"].flatten().tolist() == [0, 0]
    assert info["active"]["taker"].all()
    assert not info["done"].any()
    actions["taker"][:] = torch.tensor([-1.0, 5.0])
    for step in range(1, 12):
        _, reward, terminated, truncated, info = env.step(actions)
        assert not terminated["taker"][0]
        assert not reward["taker"][0]
        assert not info["terms"]["taker"][0].any()
        assert not info["active"]["taker"][0]
        assert not truncated["taker"][0]  # its episode had ended before the time limit
        if step < 11:
            assert env.snapshot(0)["inventory"].flatten().tolist() == [0, 0]
    assert info["done"].all()
    assert truncated["maker"].all()
    _, reward, _, _, info = env.step(still_actions(env))
    assert info["active"]["taker"].all()


def test_the_drawdown_is_from_the_peak_of_this_episode():
    """A gain of 30 and a loss of 20 from there end the episode of an agent that may lose 15; the next starts at 0."""
    maker = {"count": 1, "risk": {"max_drawdown": 15.0}}
    env = MarketEnv(one_book({"maker": maker}, flow=STILL), num_envs=1, seed=0)
    env.reset()
    for change, done, drawdown in (
        (30, False, 0.0),
        (-10, False, 10 / 15),
        (-10, True, 0.0),
        (-10, False, 10 / 15),
    ):
        env.state.account[0, 0, 0, ms.CASH] += change
        obs, _, terminated, _, info = env.step(still_actions(env))
        assert terminated["maker"].item() == info["done"].item() == done
        assert obs["maker"].vector[0, 0, 2].item() == pytest.approx(drawdown)
    assert env.snapshot()["step"] == 1


def test_an_episode_ends_when_every_agent_has_terminated():
    env = drawdown_env({})
    actions = still_actions(env)
    actions["taker"][0] = torch.tensor([1.0, 5.0])
    obs, _, terminated, truncated, info = env.step(actions)
    assert info["done"].tolist() == [True, False]
    assert terminated["taker"].flatten().tolist() == [True, False]
    assert not truncated["taker"].any()
    assert info["episodes"]["env"].tolist() == [0]
    assert info["episodes"]["length"].tolist() == [1]
    assert info["episodes"]["inventory"]["taker"].tolist() == [[[0]]]
    assert obs["taker"].vector[0, 0, 0] == 1.0
    assert env.snapshot(0)["episode"] == 1


def test_liquidation_cancels_quotes():
    maker = {"count": 1, "post_only": False, "max_offset": 8.0, "risk": {"max_drawdown": 0.5}}
    env = drawdown_env({"maker": maker, "taker": {"risk": {"max_inventory": 200}}})
    actions = still_actions(env)
    actions["maker"][:] = torch.tensor([2.0, 2.0, 5.0])  # behind 50 lots at a still price
    env.step(actions)
    assert env.snapshot()["quotes"][0, 0, :, 1].tolist() == [5, 5]
    env.state.account[:, 0, 0, ms.CASH] -= 10  # a loss from elsewhere
    _, _, terminated, _, _ = env.step(actions)
    assert terminated["maker"].all()
    assert env.snapshot()["quotes"][0, 0, :, 1].tolist() == [0, 0]


@pytest.mark.parametrize("episodes_before", [0, 1])
def test_statistics_of_ended_episodes(episodes_before):
    env = MarketEnv(scene(), num_envs=3, seed=5)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(12 * episodes_before):
        env.step(random_actions(env, rng))
    total = {
        role: torch.zeros(3, s.count, len(s.reward_terms), dtype=torch.float64)
        for role, s in env.specs.items()
    }
    largest = np.zeros((3, 5))
    for step in range(12):
        *_, info = env.step(random_actions(env, rng))
        for role in env.specs:
            total[role] += info["terms"][role].double()
        if step < 11:
            largest = np.maximum(largest, np.abs(env.state.account[:, :, :-1, ms.INVENTORY]).max(axis=1))
    e = info["episodes"]
    assert (e["env"].tolist(), e["length"].tolist()) == ([0, 1, 2], [12, 12, 12])
    names = env.specs["maker"].node_features
    for role, s in env.specs.items():
        torch.testing.assert_close(e["terms"][role], total[role])
        torch.testing.assert_close(e["return"][role], total[role].sum(-1).float())
        limit = getattr(env.cfg.agents, role).risk.max_inventory
        shown = info["final_obs"][role].nodes[..., names.index("inventory")] * limit
        np.testing.assert_allclose(e["inventory"][role], shown, atol=1e-3)
        most = np.maximum(largest[:, s.agents], np.abs(e["inventory"][role].numpy()).max(axis=2))
        np.testing.assert_array_equal(e["max_inventory"][role], most)
    left = info["final_obs"]["taker"].nodes[..., names.index("remaining")] * 60
    np.testing.assert_allclose(e["remaining"]["taker"], left, atol=1e-3)
