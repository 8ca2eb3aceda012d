"""Beside JaxMARL-HFT: the day it writes is one that our books follow exactly; what the bench says of a GPU."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import torch

from lobgraph.bench import beside, run_bench
from lobgraph.bench.day import LEVELS, write_day
from lobgraph.bench.gpu import gpu_plan, ways
from lobgraph.bench.theirs import CHECKED
from lobgraph.bench.traffic import bytes_per_step
from lobgraph.bench.world import Setting, make_env
from lobgraph.config import ConfigError

CASE = {"messages": 50, "agents": 1, "envs": 4, "day": 7_000}


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> Path:
    return write_day(tmp_path_factory.mktemp("day") / "rawLOBSTER" / "SYN" / "day", CASE["day"])


@pytest.mark.parametrize("messages", [1, 10, 50])
def test_our_books_follow_the_day_to_the_lot(day, messages):
    """Volume and best prices after the compared steps, from the files themselves."""
    with day.open() as told, Path(str(day).replace("message", "orderbook")).open() as book:
        rows, levels = list(csv.reader(told)), list(csv.reader(book))
    played = rows[1 : 1 + CHECKED * messages]  # the books start after the first
    last = levels[CHECKED * messages]
    traded = sum(int(row[3]) for row in played if row[1] == "4")
    assert traded > 2 * messages or messages == 1
    expected = {"bid": int(last[2]), "ask": int(last[0]), "volume": traded}
    assert beside.our_check(day, CASE | {"messages": messages}, "cpu") == expected


def test_the_day_never_fills_a_side_of_the_other_books(day):
    alive: dict[str, list[int]] = {}  # order -> side, lots
    most = 0
    for _, kind, order, lots, _, side in list(csv.reader(day.open()))[:3_000]:
        if kind == "1":
            alive[order] = [int(side), int(lots)]
        elif order in alive:  # not one from before the file
            alive[order][1] -= int(lots)
            assert alive[order][1] >= 0
        resting = [s for s, left in alive.values() if left > 0]
        most = max(most, resting.count(1), resting.count(-1))
    assert 30 < most < 100 - 2 * LEVELS  # and those from before


def test_our_side_is_measured_with_as_many_messages_a_step_as_asked_for(day):
    from lobgraph.market.state import EVENTS

    env = beside.our_env(day, CASE, "cpu")
    env.reset()
    before = env.state.head[:, 0, EVENTS].copy()
    shapes = {role: (4, s.count, s.items, len(s.low)) for role, s in env.specs.items()}
    env.step({role: torch.zeros(shape) for role, shape in shapes.items()})
    assert (env.state.head[:, 0, EVENTS] - before == CASE["messages"]).all()


def test_what_fails_in_the_other_interpreter_is_told(tmp_path):
    (tmp_path / "gymnax_exchange").mkdir()
    (tmp_path / "jax.py").write_text("raise ImportError('no jax here')")
    with pytest.raises(RuntimeError, match="no jax here"):
        beside.run_theirs(tmp_path, sys.executable, "cpu", tmp_path, [CASE], 100)


def test_what_cannot_be_compared_is_said_before_the_day_is_written(tmp_path):
    with pytest.raises(ValueError, match="gymnax_exchange"):
        beside.side_by_side(tmp_path, sys.executable, "cpu", [CASE])
    (tmp_path / "gymnax_exchange").mkdir()
    with pytest.raises(ValueError, match="at least 6600"):
        beside.side_by_side(tmp_path, sys.executable, "cpu", [CASE], messages=6_000)


def test_bytes_of_a_step_are_those_of_the_arrays():
    env = make_env(Setting(envs=2))
    parts = bytes_per_step(env, 100.0)
    one = make_env(Setting(envs=1))
    assert bytes_per_step(one, 100.0) == parts, "by environment"
    head, account = one.state.head.nbytes, one.state.account.nbytes
    assert 2 * (head + account) < parts["state"] < 6 * (head + account)
    assert parts["levels"] - bytes_per_step(env, 0.0)["levels"] == 100 * 64
    assert parts["seen"] > one.buffers.nodes.nbytes


def test_ways_of_running_differ_and_cases_ask_for_the_device():
    for quick in (True, False):
        assert len(set(ways(quick))) == len(list(ways(quick)))
        assert {setting.device for _, setting in gpu_plan("cuda:1", quick)} == {"cuda:1"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_bench_says_what_a_gpu_lacks_before_it_measures(tmp_path):
    with pytest.raises(ConfigError, match="device cuda: "):
        run_bench(device="cuda", json_path=tmp_path / "x.json")
    with pytest.raises(ConfigError, match="--tune"):
        run_bench(tune=True)
    assert not (tmp_path / "x.json").exists()
