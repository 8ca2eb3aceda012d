"""The tally of episodes against the rows that the same steps report, and devices that are not there."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from lobgraph.config import ConfigError, make_config
from lobgraph.env.episodes import Episodes
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.placement import GpuOptions, check_options, device_of, env_last, kernel_view, place
from lobgraph.market.state import State, make_state

TREE = {
    "flow": {"intensity": 4.0, "warmup": 1.0},
    "agents": {
        "maker": {"count": 2, "max_size": 5, "risk": {"max_inventory": 20}},
        "taker": {"count": 1, "target": 10, "risk": {"max_drawdown": 15.0}},
    },
    "env": {"episode_steps": 6, "threads": 1},
}


def play(stagger: bool = False, steps: int = 20, envs: int = 5, **how) -> tuple[MarketEnv, list[dict]]:
    """Random actions; the rows that ended on the way."""
    tree = TREE | {"env": TREE["env"] | {"stagger": stagger}}
    env = MarketEnv(make_config(tree), num_envs=envs, seed=2, **how)
    generator, rows = torch.Generator().manual_seed(1), []
    env.reset()
    for _ in range(steps):
        actions = {}
        for role, spec in env.specs.items():
            shape = (envs, spec.count, spec.items, len(spec.low))
            u = torch.rand(shape, generator=generator)
            actions[role] = torch.from_numpy(spec.low) + u * torch.from_numpy(spec.high - spec.low)
        if (ended := env.step(actions)[-1]["episodes"]) is not None:
            rows.append(ended)
    return env, rows


def check_same(one: Episodes | None, other: Episodes | None) -> None:
    assert one is not None
    assert other is not None
    assert one.count == other.count
    for name in (field.name for field in fields(Episodes) if field.name != "count"):
        # the rows' returns are float32
        for a, b in zip(*map(_leaves, (getattr(one, name), getattr(other, name))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4, err_msg=name)


def _leaves(value: object) -> list:
    return list(value.values()) if isinstance(value, dict) else [value]


@pytest.mark.parametrize("stagger", [False, True])
def test_the_tally_is_what_the_rows_say(stagger):
    env, rows = play(stagger)
    tallied = env.episodes()
    check_same(tallied, Episodes.of(rows))
    assert tallied.count >= 10
    assert tallied.std["maker"].min() > 0.0
    assert env.episodes() is None, "read twice"


def test_parts_merge_to_the_whole():
    _, rows = play()
    one, other = Episodes.of(rows[:1]), Episodes.of(rows[1:])
    assert one.count != other.count
    check_same(Episodes.merge([one, other]), Episodes.of(rows))
    assert Episodes.of([]) is None


def test_a_start_forgets_the_tally():
    env, _ = play()
    env.reset()
    assert env.episodes() is None


def test_an_episode_left_as_it_ended_counts_once():
    env, rows = play(steps=9, autoreset=False)
    assert sum(len(row["env"]) for row in rows) > 5
    assert env.episodes().count == 5


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "", "cuda0"])
def test_a_device_that_is_none_is_named(name):
    with pytest.raises(ConfigError, match=r"device: must be auto, cpu, cuda or cuda:N, got"):
        device_of(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_says_what_is_missing():
    assert device_of("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"^device cuda: torch .*(without CUDA|no NVIDIA GPU)"):
        device_of("cuda")


def test_what_is_missing_is_said_in_turn(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    with pytest.raises(ConfigError, match=r"no driver"):
        device_of("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("lobgraph.env.placement.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"numba-cuda is not installed: pip install 'lobgraph\[cuda\]'"):
        device_of("cuda")
    assert device_of("auto") == torch.device("cpu")  # and says so on stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (GpuOptions(layout="rows"), "layout"),
        (GpuOptions(block=0), "block"),
        (GpuOptions(max_registers=8), "max_regi"),
    ],
)
def test_options_no_gpu_has_are_named(options, named):
    with pytest.raises(ConfigError, match=named):
        check_options(options)


@pytest.mark.parametrize("layout", ["env_major", "env_last", "mixed"])
def test_every_layout_shows_the_same_arrays_of_one_memory(layout):
    state = make_state(5, 2, 64, 3, 2)
    for x in state:
        x[...] = np.arange(x.size).reshape(x.shape) % 100
    last = env_last(State._fields, layout)
    placed = place(state, torch.device("cpu"), last)
    for name, want, tensor, seen in zip(State._fields, state, placed, kernel_view(placed), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), want, err_msg=name)
        neighbours = tensor.stride(0) == 1 if tensor.ndim > 1 and tensor.numel() else True
        assert neighbours == (name in last or tensor.ndim == 1 or tensor.numel() == 0), name
        tensor[...] = 0
        assert not seen.any(), "a copy"
    assert state.head.any(), "the host's own memory"
