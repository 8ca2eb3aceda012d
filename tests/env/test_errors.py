"""Actions that cannot be and environments that cannot be: clear errors. Actions out of bounds: clipped."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch
from scenes import copied, equal_obs, random_actions, scene, still_actions

from lobgraph.config import ConfigError, load_config
from lobgraph.env.market_env import MarketEnv


def bad(env: MarketEnv, **changes) -> dict:
    return still_actions(env) | changes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maker": torch.zeros(2, 2, 3, 2)}, ["maker", "(2, 2, 3, 3)", "(2, 2, 3, 2)"]),
        ({"maker": torch.zeros(1, 2, 3, 3)}, ["maker", "shape"]),
        ({"taker": torch.zeros(2, 3, 2)}, ["taker", "shape"]),
        ({"taker": torch.full((2, 1, 3, 2), float("nan"))}, ["taker", "NaN", "(0, 0, 0, 0)"]),
        ({"broker": torch.zeros(1)}, ["broker", "maker"]),
        ({"arbitrageur": None}, ["arbitrageur"]),
        ({"arbitrageur": "buy"}, ["arbitrageur"]),
    ],
)
def test_bad_actions_are_named(change, words):
    env = MarketEnv(scene(), num_envs=2, seed=0)
    env.reset()
    before = env.state.head.copy()
    with pytest.raises(ValueError, match="actions") as error:
        env.step(bad(env, **change))
    for word in words:
        assert word in str(error.value)
    np.testing.assert_array_equal(env.state.head, before)


def test_missing_role_is_named():
    env = MarketEnv(scene(), num_envs=2, seed=0)
    env.reset()
    actions = still_actions(env)
    del actions["taker"]
    with pytest.raises(ValueError, match=r"taker.*missing"):
        env.step(actions)


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"num_envs": 0}, "num_envs"), ({"num_envs": -3}, "num_envs"), ({"num_envs": 2.5}, "num_envs"),
        ({"num_envs": True}, "num_envs"), ({"num_envs": "4"}, "num_envs"), ({"seed": -1}, "seed"),
        ({"seed": 1.0}, "seed"), ({"seed": 1 << 70}, "seed"), ({"device": "cuda"}, "device"), ({"first_env": -1}, "first_env"),
    ],
)  # fmt: skip
def test_impossible_environments_are_refused(kwargs, word):
    with pytest.raises(ConfigError, match=word):
        MarketEnv(scene(), **kwargs).reset()


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True, 1 << 70])
def test_reset_refuses_what_is_no_seed(seed):
    with pytest.raises(ConfigError, match="seed"):
        MarketEnv(scene(), num_envs=1).reset(seed=seed)


@pytest.mark.parametrize(
    "array", [np.asarray, torch.as_tensor, lambda x: torch.as_tensor(x).double().requires_grad_()]
)
def test_arrays_of_other_kinds_are_taken(array):
    runs = []
    for convert in (array, lambda x: torch.as_tensor(x)):
        env = MarketEnv(scene(), num_envs=2, seed=0)
        env.reset()
        actions = {r: convert(x.numpy()) for r, x in random_actions(env, np.random.default_rng(2)).items()}
        obs, *_ = env.step(actions)
        runs.append(copied(obs))
    assert equal_obs(*runs)


def test_actions_beyond_the_bounds_are_clipped_to_them():
    runs = []
    for clip in (False, True):
        env = MarketEnv(scene(), num_envs=3, seed=0)
        env.reset()
        rng = np.random.default_rng(2)
        for _ in range(10):
            actions = random_actions(env, rng, beyond=0.7)
            actions["maker"][0, 0, 0] = torch.tensor([float("inf"), -float("inf"), float("inf")])
            if clip:
                for role, s in env.specs.items():
                    actions[role] = torch.clamp(
                        actions[role], torch.as_tensor(s.low), torch.as_tensor(s.high)
                    )
            env.step(actions)
        runs.append((env.state.account.copy(), env.state.qty.copy()))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])


def test_a_replay_scenario_without_files_is_refused():
    cfg = load_config(None, ["replay.required=true"])
    with pytest.raises(ConfigError, match=r"replay\.files"):
        MarketEnv(cfg, num_envs=1)


def test_levels_cannot_overflow():
    """Sizes of a million at one distance for a minute: what exceeds 2^30 lots is dropped and counted, never wrapped."""
    names = ["flow.limit_size.mean=1000000", "flow.distances=1", "flow.market_rate=0", "flow.cancel_rate=0"]
    cfg = load_config(None, [*names, "flow.intensity=50", "flow.warmup=60"])
    env = MarketEnv(cfg, num_envs=1)
    env.reset()
    head, qty = env.state.head[0, 0], env.state.qty[0, 0]
    assert qty.min() >= 0
    assert qty.sum(dtype=np.int64) == head[3] + head[4] == head[8] - head[9] - head[10] - head[11]
    assert head[11] > 0


def test_what_step_returns_is_the_callers():
    """Taking a role out of what came back leaves the environment whole."""
    env = MarketEnv(scene(env={"episode_steps": 8}), num_envs=2, seed=0)
    env.reset().clear()
    for step in range(10):
        obs, reward, terminated, truncated, info = env.step(still_actions(env))
        parts = [obs, reward, terminated, truncated, info["terms"], info["active"]]
        for part in parts + ([info["final_obs"]] if step == 7 else []):
            assert list(part) == list(env.specs)
            part.clear()


def test_the_number_of_environments_is_fixed():
    env = MarketEnv(scene(), num_envs=2, seed=0)
    with pytest.raises(AttributeError):
        env.num_envs = 200_000  # type: ignore[misc]


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_copies(how):
    env = MarketEnv(scene(), num_envs=2, seed=0)
    env.reset()
    with pytest.raises(TypeError, match="same cfg and seed"):
        how(env)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_goes_on_with_threads_of_its_own():
    env = MarketEnv(scene(env={"threads": 2}), num_envs=16, seed=0)
    env.reset()
    env.step(still_actions(env))
    child = os.fork()
    if child == 0:
        env.step(still_actions(env))
        os._exit(7)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 7
