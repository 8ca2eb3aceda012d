"""What a step may cost apart from time: no memory, and a few kilobytes of state a book."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba.core.runtime import _nrt_python, rtsys
from scenes import random_actions, scene

import lobgraph
from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv


def kernel_allocations(envs: int) -> tuple[int, int]:
    """What numba allocated in 10 steps, and what of it was not freed."""
    env = MarketEnv(scene(env={"episode_steps": 10_000, "threads": 1}), num_envs=envs, seed=0)
    env.reset()
    actions = random_actions(env, np.random.default_rng(0))
    env.step(actions)
    before = rtsys.get_allocation_stats()
    for _ in range(10):
        env.step(actions)
    after = rtsys.get_allocation_stats()
    made = after.alloc - before.alloc
    return made, made - (after.free - before.free)


def test_kernels_allocate_nothing():
    """What remains is a note for each array that Python hands over in a call, however many environments there are."""
    _nrt_python.memsys_enable_stats()
    try:
        few, many = kernel_allocations(4), kernel_allocations(64)
    finally:
        _nrt_python.memsys_disable_stats()
    assert few == many
    assert few[0] <= 10 * 8
    assert few[1] == 0


def test_steps_keep_nothing_in_python():
    env = MarketEnv(scene(env={"episode_steps": 10_000}), num_envs=16, seed=0)
    env.reset()
    actions = random_actions(env, np.random.default_rng(0))
    ours = [tracemalloc.Filter(True, f"{Path(lobgraph.__file__).parent}/*")]
    tracemalloc.start(5)
    held = []
    for _ in range(4):
        for _ in range(1000):
            env.step(actions)
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces(ours)
        held.append(sum(trace.size for trace in snapshot.traces))
    tracemalloc.stop()
    # What the worker threads happen to hold comes and goes; what steps keep would grow each time.
    grown = min(b - a for a, b in pairwise(held))
    assert grown < 1000 * 8, f"{grown} bytes kept by 1000 steps"


def test_a_book_with_maker_and_taker_fits_in_4_kib():
    cfg = load_config(None, ["market.books=4", "agents.maker.count=1", "agents.taker.count=1"])
    assert cfg.market.window == 512
    env = MarketEnv(cfg, num_envs=8)
    assert sum(a.nbytes for a in env.state) / (8 * 4) <= 4096


def test_state_grows_with_environments_and_books_only():
    sizes = []
    for envs, books in ((8, 2), (16, 2), (8, 4)):
        cfg = load_config(None, [f"market.books={books}", "agents.maker.count=1"])
        sizes.append(sum(a.nbytes for a in MarketEnv(cfg, num_envs=envs).state))
    assert sizes[1] == 2 * sizes[0]
    assert sizes[2] < 2 * sizes[0]
