"""PettingZoo: the official tests, and what they miss."""

import warnings

import numpy as np
import pytest

pytest.importorskip("pettingzoo", reason="needs the extra `gym`")
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import lobgraph
from lobgraph import MarketEnv
from lobgraph.config import ConfigError


@pytest.mark.parametrize("actions", ["normalised", "physical"])
def test_the_official_tests_pass_without_a_warning(many, actions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(lobgraph.parallel_env(many, actions=actions), num_cycles=100)
        parallel_seed_test(lambda: lobgraph.parallel_env(many, actions=actions), num_cycles=60)
        api_test(lobgraph.aec_env(many, actions=actions), num_cycles=100)
        seed_test(lambda: lobgraph.aec_env(many, actions=actions), num_cycles=60)


def test_discrete_actions_and_dicts_pass_too(one, many):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        api_test(lobgraph.aec_env(one, actions="discrete"), num_cycles=100)
        parallel_api_test(
            lobgraph.parallel_env(many, observations="dict", actions="discrete"), num_cycles=100
        )


def play(env, seed, steps, rng):
    """(observation, reward, terminated, truncated) of every step, and the ends by agent."""
    obs, _ = env.reset(seed=seed)
    trace, ends = [obs], {}
    for _ in range(steps):
        if not env.agents:
            obs, _ = env.reset()
            trace.append(obs)
        shape = {n: env.action_space(n).shape for n in env.agents}
        actions = {n: rng.uniform(-1, 1, s).astype(np.float32) for n, s in shape.items()}
        obs, reward, terminated, truncated, infos = env.step(actions)
        assert (
            obs.keys()
            == reward.keys()
            == terminated.keys()
            == truncated.keys()
            == infos.keys()
            == actions.keys()
        )
        for n, o in obs.items():
            assert env.observation_space(n).contains(o), n
            assert bool(infos[n]) == (terminated[n] or truncated[n])
            if infos[n]:
                ends.setdefault(n, []).append((terminated[n], truncated[n], len(env.agents)))
        trace.append((obs, reward, terminated, truncated))
    return trace, ends


def test_long_random_play_with_agents_that_end_early(many):
    """Makers that break their limit leave, the others go on; the deadline terminates the taker, time truncates the rest."""
    env = lobgraph.parallel_env(many)
    assert env.possible_agents == ["maker_0", "maker_1", "taker_0", "arbitrageur_0"]
    _, ends = play(env, 0, 1500, np.random.default_rng(0))
    assert any(terminated and left for terminated, _, left in ends["maker_0"])
    assert {t for t, _, _ in ends["taker_0"]} == {True}
    assert {(t, c) for t, c, _ in ends["arbitrageur_0"]} == {(False, True)}


def test_seeds_after_the_first_terminal(many):
    a, b = lobgraph.parallel_env(many), lobgraph.parallel_env(many)
    b.reset(seed=1)
    b.step({n: np.zeros(b.action_space(n).shape, np.float32) for n in b.agents})
    one, _ = play(a, 4, 120, np.random.default_rng(3))
    two, _ = play(b, 4, 120, np.random.default_rng(3))
    np.testing.assert_equal(one, two)
    again, _ = play(a, 5, 120, np.random.default_rng(3))
    assert not np.array_equal(again[0]["maker_0"], one[0]["maker_0"])


def test_every_agent_gets_what_marketenv_gives_it(many):
    env, market = lobgraph.parallel_env(many, actions="physical"), MarketEnv(many, 1, 3, autoreset=False)
    obs, _ = env.reset(seed=3)
    seen = market.reset()
    rng = np.random.default_rng(0)
    for _ in range(20):
        for role, spec in market.specs.items():
            for k in range(spec.count):
                parts = (x[0, k].ravel() for x in seen[role])
                if f"{role}_{k}" in obs:
                    assert np.array_equal(obs[f"{role}_{k}"], np.concatenate(list(parts)))
        drawn = {
            n: env.action_space(n).low + rng.random(env.action_space(n).shape, np.float32) for n in env.agents
        }
        rows = {
            role: np.stack(
                [
                    drawn.get(f"{role}_{k}", np.zeros((spec.items, len(spec.low)), np.float32))
                    for k in range(spec.count)
                ]
            )
            for role, spec in market.specs.items()
        }
        obs, reward, *_ = env.step(drawn)
        seen, gains, *_ = market.step({role: row[None] for role, row in rows.items()})
        assert all(reward[n] == float(gains[n.rpartition("_")[0]][0, int(n[-1])]) for n in reward)


def test_held_roles_are_no_agents(many):
    env = lobgraph.parallel_env(many, others={"taker": "twap", "arbitrageur": None})
    assert env.possible_agents == ["maker_0", "maker_1"]
    env.reset(seed=0)
    for _ in range(10):
        env.step({n: -np.ones(9, np.float32) for n in env.agents})
    assert np.abs(env.market.snapshot()["inventory"][2]).sum() > 0  # the taker trades
    assert np.abs(env.market.snapshot()["inventory"][3]).sum() == 0
    for wrong in (None, 3):
        with pytest.raises(ConfigError, match=f"cfg: must be a Config, .* got {wrong}"):
            lobgraph.parallel_env(wrong)
    with pytest.raises(ConfigError, match="every role is held"):
        lobgraph.parallel_env(many, others={"maker": None, "taker": None, "arbitrageur": None})


def test_bad_actions_are_named(many):
    env = lobgraph.parallel_env(many)
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})
    env.reset(seed=0)
    good = {n: np.zeros(env.action_space(n).shape, np.float32) for n in env.agents}
    for bad, says in (
        ({k: v for k, v in good.items() if k != "taker_0"}, "'taker_0' is missing"),
        (good | {"broker_0": 1}, "'broker_0' is no agent here"),
        (good | {"maker_1": np.zeros(3)}, r"actions\['maker_1'\]: shape must be \(9,\)"),
        (
            good | {"maker_1": np.full(9, np.nan)},
            "actions of maker, agent 1: must be finite numbers, got nan",
        ),
        (
            good | {"maker_0": np.full(9, -np.inf)},
            "actions of maker, agent 0: must be finite numbers, got -inf",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            env.step(bad)


def test_render_and_close(many):
    env = lobgraph.parallel_env(many, render_mode="ansi")
    env.reset(seed=0)
    assert "arbitrageur_0" in env.render()
    env.close()
