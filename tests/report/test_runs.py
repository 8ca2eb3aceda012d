"""Runs listed and set side by side: made-up directories, a row for each run or group of seeds."""

import json
import os
import socket
import subprocess
import sys

import pandas as pd
import pytest

from lobgraph.config import ConfigError, dump_config, flatten, load_config
from lobgraph.report.directory import publish
from lobgraph.report.metrics import change
from lobgraph.report.runs import compare_runs, differing, list_runs
from lobgraph.rl.places import find_run, read_state


@pytest.fixture
def make_run(make_rewards):
    """make(path, overrides, state): a run directory of 30,000 steps of two makers; its rewards."""

    def make(path, *overrides, state="finished", why="", seed=0, pid=None, evaluated=True):
        path.mkdir(parents=True)
        cfg = load_config(None, ["name=tiny", "ppo.total_steps=30000", f"run.seed={seed}", *overrides])
        (path / "config.yaml").write_text(dump_config(cfg))
        rewards = make_rewards(seed)
        rewards.to_csv(path / "rewards.csv", index=False)
        history = pd.DataFrame({"update": range(1, 31), "env_steps": range(1000, 31000, 1000)})
        if evaluated:
            history["eval/maker/reward"] = [i * 1.5 if i % 10 == 9 else None for i in range(30)]
            history["eval/best"] = [20.0 if i % 10 == 9 else None for i in range(30)]
        history.to_parquet(path / "metrics.parquet")
        if state:
            about = {"state": state, "why": why, "started": f"2026-01-0{seed + 1}T10:00:00+0000",
                     "host": socket.gethostname(), "pid": pid or os.getpid()}  # fmt: skip
            (path / "state.json").write_text(json.dumps(about))
        return rewards

    return make


def test_a_row_for_each_run_and_each_group_of_seeds(make_run, tmp_path):
    rewards = make_run(tmp_path / "tiny" / "one", seed=2)
    both = [make_run(tmp_path / "tiny" / "two" / f"seed_{s}", seed=s) for s in (0, 1)]
    publish(tmp_path / "tiny", tmp_path / "tiny" / "two")  # links are not runs
    table = list_runs(tmp_path)
    assert table["run"].tolist() == ["tiny/two", "tiny/one"]  # oldest first
    assert table["scenario"].tolist() == ["tiny", "tiny"]
    assert table["seeds"].tolist() == [2, 1]
    assert table["steps"].tolist() == [30_000, 30_000]
    assert table["state"].tolist() == ["finished", "finished"]
    assert "note" not in table
    assert table["maker last"].iloc[1] == pytest.approx(change(rewards, "maker").last)
    assert table["maker last"].iloc[0] == pytest.approx(sum(change(r, "maker").last for r in both) / 2)
    assert table["maker best"].tolist() == [28.5, 28.5]  # of update 20
    assert list_runs(tmp_path, "another").empty
    with pytest.raises(FileNotFoundError, match="no such directory"):
        list_runs(tmp_path / "nowhere")


def test_states(make_run, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    make_run(tmp_path / "a", state="running")
    make_run(tmp_path / "b", state="running", pid=ended.pid)
    make_run(tmp_path / "c", state="stopped", why="patience")
    make_run(tmp_path / "d", state="")
    make_run(tmp_path / "e", "ppo.total_steps=40000", state="", evaluated=False)
    make_run(tmp_path / "f" / "seed_0")
    make_run(tmp_path / "f" / "seed_1", state="failed", why="a loss is not finite")
    table = list_runs(tmp_path).set_index("run")
    assert table["state"].to_dict() == {
        "a": "running", "b": "killed", "c": "stopped", "d": "finished", "e": "?", "f": "failed",
    }  # fmt: skip
    assert table.loc["c", "note"] == "patience"
    assert table.loc["f", "note"] == "a loss is not finite"
    (tmp_path / "c" / "state.json").write_text("{")
    assert read_state(tmp_path / "c").state == ""


def test_what_cannot_be_read_is_a_row_that_says_why(make_run, tmp_path):
    make_run(tmp_path / "good")
    make_run(tmp_path / "bad")
    (tmp_path / "bad" / "rewards.csv").write_text("update,role\n1,maker\n")
    table = list_runs(tmp_path).set_index("run")
    assert table.loc["bad", "state"] == "unreadable"
    assert "column 'env_steps' is missing" in table.loc["bad", "note"]
    assert table.loc["good", "state"] == "finished"


def test_runs_side_by_side(make_run, tmp_path):
    make_run(tmp_path / "home" / "one")
    for seed in (0, 1):
        make_run(tmp_path / "home" / "two" / f"seed_{seed}", "ppo.lr=0.003", "market.books=2", seed=seed)
    group = tmp_path / "home" / "two"
    pd.concat(
        [pd.read_csv(s / "rewards.csv").assign(seed=i) for i, s in enumerate(sorted(group.iterdir()))]
    ).to_csv(group / "rewards.csv", index=False)
    publish(tmp_path / "home", group)
    found = compare_runs([tmp_path / "home" / "one", tmp_path / "home"], tmp_path / "out")
    settings = found.settings.set_index("setting")
    assert list(settings.columns) == ["one", "two"]
    assert settings.loc["ppo.lr"].tolist() == [str(load_config(None).ppo.lr), "0.003"]
    assert settings.loc["run.seed"].tolist() == ["0", "0, 1"]
    assert set(settings.index) == {"ppo.lr", "market.books", "run.seed"}
    assert found.runs["seeds"].tolist() == [1, 2]
    assert found.results.summary.set_index("group")["runs"].to_dict() == {"one": 1, "two": 2}
    names = {f.name for f in found.results.files}
    assert names == {"comparison.png", "summary.csv", "runs.csv", "settings.csv"}
    assert all((tmp_path / "out" / name).stat().st_size > 0 for name in names)
    with pytest.raises(ConfigError, match="two different runs"):
        compare_runs([tmp_path / "home", group], tmp_path / "out")


def test_settings_that_differ():
    tree = {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    assert dict(flatten(tree)) == {"a.b": 1, "a.c": [1, 2], "d": {}}
    table = differing({"x": dict(flatten(tree)), "y": {"a.b": 1, "a.c": [2], "e": None}})
    assert table.set_index("setting").to_dict("index") == {
        "a.c": {"x": "[1, 2]", "y": "[2]"}, "d": {"x": "{}", "y": "-"}, "e": {"x": "-", "y": "None"},
    }  # fmt: skip


def test_a_path_means_a_run_by_the_file_it_is_known_by(make_run, tmp_path):
    make_run(tmp_path / "home" / "ten" / "seed_10")
    make_run(tmp_path / "home" / "ten" / "seed_9")
    assert find_run(tmp_path / "home" / "ten").name == "seed_9"  # by number
    with pytest.raises(FileNotFoundError, match="no run in it"):
        find_run(tmp_path / "home" / "ten", "missing")
