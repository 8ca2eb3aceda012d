"""Gymnasium's Env and VectorEnv: the official check, and what it misses."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs the extra `gym`")
import gymnasium
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

import lobgraph
from lobgraph import MarketEnv
from lobgraph.adapters.bounds import node_bounds, vector_bounds
from lobgraph.adapters.decode import Decoder, choices_of
from lobgraph.adapters.encode import Encoder, flat_names
from lobgraph.adapters.gym import RoleEnv, RoleVectorEnv
from lobgraph.adapters.registry import IDS, as_config, scenarios
from lobgraph.config import ConfigError

KINDS = [(o, a) for o in ("flat", "dict", "graph") for a in ("normalised", "physical", "discrete")]


# --- the official check ---


@pytest.mark.parametrize(("observations", "actions"), KINDS)
def test_check_env_passes_without_a_warning(many, observations, actions):
    env = RoleEnv(many, role="maker", observations=observations, actions=actions, render_mode="ansi")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        env.render()


@pytest.mark.parametrize("name", [n for n in IDS if "Replay" not in n])
def test_ids_make_environments(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(name)
        obs, _ = env.reset(seed=1)
        assert obs in env.observation_space
        env.step(env.action_space.sample())
        batch = gymnasium.make_vec(name, num_envs=3)
        obs, _ = batch.reset(seed=1)
        assert obs in batch.observation_space
    assert batch.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_ids_cover_the_shipped_scenarios():
    assert {kwargs["cfg"] for kwargs in IDS.values()} == set(scenarios())
    with pytest.raises(ConfigError, match=r"replay\.files"):
        gymnasium.make("lobgraph/Replay-v0")
    with pytest.raises(ConfigError, match=r"no scenario; there are .*single_maker"):
        as_config("single_makr")


@pytest.mark.parametrize("first", ["gymnasium", "lobgraph"])
def test_importing_lobgraph_registers_in_either_order_and_imports_nothing(first):
    second = "lobgraph" if first == "gymnasium" else "gymnasium"
    code = (
        f"import sys, {first}; early = 'gymnasium' in sys.modules; import {second}\n"
        "assert early == (sys.argv[1] == 'gymnasium') and 'torch' not in sys.modules\n"
        "assert gymnasium.spec('lobgraph/SingleMaker-v0')"
    )
    done = subprocess.run([sys.executable, "-c", code, first], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- one environment ---


def test_observations_stay_within_their_space_over_long_random_play(many):
    """As many steps as 80 episodes have, the last observations of those that break a limit too."""
    env = RoleEnv(
        many, role="maker", others={"maker": "fixed_spread", "taker": "twap", "arbitrageur": "zscore"}
    )
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    ends = 0
    for _ in range(2000):
        assert env.observation_space.contains(obs), _outside(env, obs)
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs), _outside(env, obs)
        if terminated or truncated:
            ends += 1
            obs, _ = env.reset()
    assert ends > 50


def _outside(env, obs):
    space = env.observation_space
    bad = np.flatnonzero((obs < space.low) | (obs > space.high) | np.isnan(obs))
    return [(env.encoder.names[i], obs[i], space.low[i], space.high[i]) for i in bad]


def test_bounds_are_finite_and_have_room(many):
    for low, high in (node_bounds(many), vector_bounds(many)):
        assert np.isfinite(low).all()
        assert np.isfinite(high).all()
        assert (low < high).all()


def test_it_is_the_market_that_marketenv_shows(one):
    """The same seed and actions: rewards and observations are MarketEnv's."""
    env, market = RoleEnv(one, actions="physical"), MarketEnv(one, num_envs=1, seed=7)
    obs, _ = env.reset(seed=7)
    seen = market.reset()["maker"]
    rng = np.random.default_rng(0)
    for _ in range(2 * one.env.episode_steps):
        assert np.array_equal(obs, np.concatenate([seen.nodes[0, 0].ravel(), seen.vector[0, 0]]))
        action = rng.uniform([0, 0, 0], [3, 3, 10], (1, 3)).astype(np.float32)
        obs, reward, terminated, truncated, _ = env.step(action)
        seen, gain, _, cut, _ = market.step({"maker": action[None, None]})
        seen = seen["maker"]
        assert reward == float(gain["maker"][0, 0])
        assert truncated == bool(cut["maker"][0, 0])
        if terminated or truncated:
            obs, _ = env.reset()


def test_seeds_after_the_first_terminal(fragile):
    """reset() goes on to other episodes, the same after the same seed; reset(seed) starts over at any time."""

    def play(env, episodes, seed):
        seen = [env.reset(seed=seed)[0]]
        for _ in range(episodes):
            over = False
            while not over:
                obs, _, terminated, truncated, _ = env.step(np.zeros(3, np.float32))
                over = terminated or truncated
                seen.append(obs)
            seen.append(env.reset()[0])
        return seen

    env = RoleEnv(fragile)
    first = play(env, 4, seed=5)
    env.step(env.action_space.sample())
    again = play(env, 4, seed=5)
    assert data_equivalence(first, again, exact=True)
    other = RoleEnv(fragile)
    assert data_equivalence(play(other, 4, seed=5), first, exact=True)
    assert not np.array_equal(first[0], first[-1])
    assert not np.array_equal(play(env, 1, seed=6)[0], first[0])


def test_without_a_seed_environments_differ(one):
    a, b = (RoleEnv(one).reset()[0] for _ in range(2))
    assert not np.array_equal(a, b)
    a, b = (RoleEnv(one, seed=3).reset()[0] for _ in range(2))
    assert np.array_equal(a, b)


def test_terminated_is_a_breach_truncated_the_time_limit(one, fragile):
    def ends(cfg, role=None):
        env, found = RoleEnv(cfg, role=role), []
        env.action_space.seed(1)
        env.reset(seed=1)
        for _ in range(30):
            steps, over = 0, False
            while not over:
                *_, terminated, truncated, info = env.step(env.action_space.sample())
                steps, over = steps + 1, terminated or truncated
                assert bool(info) == over
            found.append((terminated, truncated, steps))
            env.reset()
        return found

    assert set(ends(one)) == {(False, True, 20)}
    broken = ends(fragile)
    assert any(t and not c and s < 20 for t, c, s in broken)
    assert all(t != c for t, c, _ in broken)
    assert {t for t, _, _ in ends(as_config("multi_agent_basic"), "taker")[:2]} == {True}  # a deadline


def test_terms_sum_to_the_return(fragile_among_others):
    env = RoleEnv(fragile_among_others)
    env.action_space.seed(3)
    env.reset(seed=3)
    early = 0
    for _ in range(20):
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            total, over = total + reward, terminated or truncated
        early += terminated
        assert sum(info["terms"].values()) == pytest.approx(total, abs=1e-2)
        env.reset()
    assert early > 0


@pytest.mark.parametrize("action", [np.zeros(99, np.float32), 1, None, "x"])
def test_an_action_of_the_wrong_shape_is_named(one, action):
    env = RoleEnv(one)
    env.reset()
    with pytest.raises(ValueError, match=r"action of the maker: shape must be \(3,\), got"):
        env.step(action)


def test_an_ended_episode_must_be_reset(one):
    env = RoleEnv(one)
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        env.step(np.zeros(3, np.float32))


def test_mates_are_held(many):
    """The second maker quotes as its strategy says; without one it does nothing."""
    for mate, quotes in (("fixed_spread", True), (None, False)):
        env = RoleEnv(many, role="maker", others={} if mate is None else {"maker": mate})
        env.reset(seed=0)
        env.step(-np.ones(env.action_space.shape, np.float32))
        assert bool(env.market.snapshot()["quotes"][1, :, :, 1].any()) is quotes


# --- forms ---


def test_actions_in_three_forms_reach_the_market(many):
    spec = MarketEnv(many, num_envs=1).specs["maker"]
    physical = np.random.default_rng(0).uniform(spec.low, spec.high, (3, 3)).astype(np.float32)
    normalised = Decoder(many, spec, "normalised")
    assert np.allclose(normalised(normalised.encode(physical)), physical, atol=1e-5)
    assert np.allclose(normalised(np.full(9, 7.0)), spec.high)
    assert np.array_equal(Decoder(many, spec, "physical")(physical), physical)
    table = choices_of(spec)
    assert np.array_equal(Decoder(many, spec, "discrete")(np.array([0, 3, 25])), table[[0, 3, 25]])


@pytest.mark.parametrize("role", ["maker", "taker", "arbitrageur"])
def test_choices_lie_within_bounds_and_the_first_does_nothing(many, role):
    market = MarketEnv(many, num_envs=1, seed=0)
    for role_, spec in market.specs.items():
        table = choices_of(spec)
        assert ((table >= spec.low) & (table <= spec.high)).all()
        assert len(np.unique(table, axis=0)) == len(table)
        if role_ == role:
            env = RoleEnv(many, role=role, actions="discrete")
            env.reset(seed=0)
            env.step(np.zeros(env.decoder.shape, np.int64))
            shot = env.market.snapshot()
            assert not shot["quotes"][spec.agents.start, ..., 1].any()
            assert not shot["fills_aggressive"][spec.agents.start].any()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"observations": "flatt"}, "observations: must be flat, dict, graph"),
        ({"actions": "box"}, "actions: must be physical, normalised, discrete"),
        ({"role": "broker"}, "'broker': has no agents"),
        ({"others": {"taker": "twap"}}, "'taker': has no agents"),
        ({"others": {"maker": "glft"}}, "role: say which is played"),
        ({"choices": np.zeros((2, 3))}, "choices: belong to"),
        ({"actions": "discrete", "choices": np.full((2, 3), 99.0)}, "choices: must lie within"),
        (
            {"actions": "discrete", "choices": np.zeros(3)},
            "at least two rows of bid_offset, ask_offset, size",
        ),
    ],
)
def test_bad_settings_are_named(one, settings, says):
    with pytest.raises(ConfigError, match=says):
        RoleEnv(one, **settings)


def test_bad_actions_are_named(one):
    env = RoleEnv(one, actions="discrete")
    env.reset(seed=0)
    for bad in (26, -1, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to 25"):
            env.step(bad)
    env = RoleEnv(one)
    env.reset(seed=0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"actions of maker: must be finite numbers, got {bad}"):
            env.step(np.full(3, bad, np.float32))
    envs = RoleVectorEnv(one, num_envs=4, actions="physical")
    envs.reset(seed=0)
    actions = np.ones((4, 1, 3), np.float32)
    actions[2, 0, 1] = np.inf
    with pytest.raises(ValueError, match="actions of maker, environment 2: must be finite"):
        envs.step(actions)


def test_a_flat_observation_is_the_dict_in_order(many):
    flat, parts = (RoleEnv(many, role="taker", observations=o).reset(seed=2)[0] for o in ("flat", "dict"))
    assert np.array_equal(flat, np.concatenate([parts[p].ravel() for p in ("nodes", "edges", "vector")]))
    names = flat_names(many)
    assert len(names) == Encoder(many).size == len(flat)
    assert flat[names.index("Y.spread")] == parts["nodes"][2, 4]
    assert flat[names.index("X1-X2.same_underlying")] == 1.0
    assert flat[names.index("time_left")] == 1.0
    graph = RoleEnv(many, role="taker", observations="graph").reset(seed=2)[0]["graph"]
    assert np.array_equal(graph.nodes, parts["nodes"])
    assert np.array_equal(graph.edge_links, many.pairs)


def test_render_shows_the_market(many):
    for mode in ("ansi", "rgb_array"):
        env = RoleEnv(many, role="maker", render_mode=mode)
        env.reset(seed=0)
        env.step(np.zeros(9, np.float32))
        shown = env.render()
        if mode == "ansi":
            assert all(book in shown for book in many.market.books)
            assert "maker_0: holds" in shown
        else:
            assert shown.dtype == np.uint8
            assert shown.ndim == 3
            assert len(np.unique(shown)) > 10
        env.close()
    with pytest.raises(ValueError, match="render_mode"):
        RoleEnv(many, role="maker", render_mode="human")


# --- batches ---


def test_a_batch_is_resets_within_the_step_and_hands_over_the_last_observation(fragile_among_others):
    """Beside one environment of the same number: equal rewards, ends and observations, the last ones in final_obs."""
    cfg = fragile_among_others
    batch = RoleVectorEnv(cfg, 4)
    obs, _ = batch.reset(seed=9)
    alone = RoleEnv(cfg)
    assert np.array_equal(obs[0], alone.reset(seed=9)[0])  # number 0 of the family
    assert len(np.unique(obs, axis=0)) == 4
    rng = np.random.default_rng(1)
    early = 0
    for _ in range(80):
        actions = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
        obs, reward, terminated, truncated, infos = batch.step(actions)
        single, gain, ended, cut, info = alone.step(actions[0])
        assert (reward[0], terminated[0], truncated[0]) == (gain, ended, cut)
        over = terminated | truncated
        early += int(terminated.sum())
        assert ("final_obs" in infos) == bool(over.any())
        if over.any():
            assert np.array_equal(infos["_final_obs"], over)
            assert [o is not None for o in infos["final_obs"]] == over.tolist()
            assert all(o in batch.single_observation_space for o in infos["final_obs"][over])
        if over[0]:
            assert np.array_equal(infos["final_obs"][0], single)
            final = infos["final_info"]["terms"]
            assert {n: final[n][0] for n in info["terms"]} == info["terms"]
            single, _ = alone.reset()
        assert np.array_equal(obs[0], single)
        assert obs in batch.observation_space
        assert (obs[over, -5] == 1.0).all() or not over.any()
    assert early > 0


def test_a_batch_of_dicts_holds_together(many):
    env = RoleVectorEnv(many, 3, role="arbitrageur", observations="dict", actions="discrete")
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    env.action_space.seed(0)
    for _ in range(30):
        obs, *_, infos = env.step(env.action_space.sample())
        assert obs in env.observation_space
    assert infos == {}


def test_what_is_returned_is_not_reused(one):
    env = RoleVectorEnv(one, 2)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(np.zeros((2, 3), np.float32))
    assert np.array_equal(first, kept)


def test_some_of_a_batch_can_be_reset(one):
    env = RoleVectorEnv(one, 3)
    env.reset(seed=0)
    obs = env.step(np.zeros((3, 3), np.float32))[0]
    mask = np.array([False, True, False])
    after, _ = env.reset(options={"reset_mask": mask})
    assert np.array_equal(after[~mask], obs[~mask])
    assert not np.array_equal(after[1], obs[1])
    with pytest.raises(ValueError, match="reset_mask: must be bool of shape"):
        env.reset(options={"reset_mask": np.array([True])})
    with pytest.raises(ValueError, match="seed: one number"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="shape must be"):
        env.step(np.zeros((2, 3), np.float32))


def test_stagger_spreads_the_first_ends(one):
    env = RoleVectorEnv(one, 32, stagger=True)
    env.reset(seed=0)
    ends = [env.step(np.zeros((32, 3), np.float32))[3].sum() for _ in range(20)]
    assert sum(ends) == 32
    assert sum(e > 0 for e in ends) > 10


def test_the_package_offers_them_lazily():
    assert lobgraph.parallel_env.__module__ == "lobgraph.adapters.zoo"
    with pytest.raises(AttributeError, match="no attribute 'parallel'"):
        lobgraph.parallel  # noqa: B018
