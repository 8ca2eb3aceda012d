"""Each script, run as a user runs it but small: files where the README says, tables that parse, figures that show."""

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
SMALL = ["--quick", "--set", "run.tensorboard=false", "--set", "graph.hidden=8"]
DATA = Path(os.environ.get("LOBGRAPH_DATA", ROOT.parent / "shared" / "data"))
MINI = sorted((DATA / "lobster" / "mini").glob("*_message_*.csv"))


@pytest.fixture
def script(monkeypatch, capsys, tmp_path):
    """Run a script as __main__ in tmp_path and return what it printed; in this process, to load torch only once."""

    def run(name, *args, code=0):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        capsys.readouterr()
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
            done = 0
        except SystemExit as exit_:
            done = exit_.code or 0
        out, err = capsys.readouterr()
        assert done == code, err
        return err if code else out

    return run


def shows_something(path):
    """An image with more than a few colours."""
    import matplotlib.image

    image = matplotlib.image.imread(path)
    return len(np.unique((image[::4, ::4, :3] * 255).astype(int) @ (1, 256, 65536))) > 20


def complete_run(home, roles, figures):
    rewards = pd.read_csv(home / "rewards.csv")
    assert set(rewards["role"]) == set(roles)
    assert np.isfinite(rewards["reward_mean"]).all()
    assert shows_something(home / "rewards.png")
    for role in roles:
        assert (home / f"{role}_policy.safetensors").stat().st_size > 0
    run = (home / "latest").resolve()
    first = next((p for p in sorted(run.glob("seed_*"))), run)
    assert yaml.safe_load((first / "config.yaml").read_text())["ppo"]["total_steps"] < 10_000
    for name in figures:
        assert shows_something(first / "figures" / f"{name}.png"), name
    return run


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_thin_and_explain_themselves(script, path):
    assert len(path.read_text().splitlines()) <= 60
    assert "usage:" in script(path.name, "--help")


def test_single_agent_maker(script, tmp_path):
    out = script("run_single_agent_maker.py", *SMALL, "--seed", 7)
    run = complete_run(
        tmp_path / "artifacts" / "single_maker", ["maker"], ["quotes", "inventory", "book", "regimes"]
    )
    assert yaml.safe_load((run / "config.yaml").read_text())["run"]["seed"] == 7
    assert "quotes.png" in out


def test_a_run_out_of_patience_is_complete(script, tmp_path):
    overrides = (
        "run.evaluate_every=1",
        "run.evaluate_episodes=4",
        "run.patience=3",
        "ppo.lr=1e-9",
        "ppo.norm_obs=false",
    )
    out = script("run_single_agent_maker.py", *SMALL, *(x for o in overrides for x in ("--set", o)))
    assert (
        "no rise beyond its standard error for run.patience evaluations: stopped after update 4 of 6" in out
    )
    home = tmp_path / "artifacts" / "single_maker"
    run = complete_run(home, ["maker"], ["quotes", "settings"])
    assert (run / "checkpoints" / "best.safetensors").is_file()
    assert "eval/maker/reward" in pd.read_parquet(run / "metrics.parquet")


def test_multi_agent_basic(script, tmp_path):
    script("run_multi_agent_basic.py", *SMALL, "--out", tmp_path / "here")
    complete_run(tmp_path / "here", ["maker", "taker"], ["quotes", "execution"])
    assert not (tmp_path / "artifacts").exists()


def test_multi_asset_gnn_with_seeds_then_analysis(script, tmp_path):
    out = script("run_multi_asset_gnn.py", *SMALL, "--seeds", 2)
    home = tmp_path / "artifacts" / "multi_asset_gnn"
    run = complete_run(home, ["maker", "arbitrageur"], ["quotes", "terms"])
    assert sorted(pd.read_csv(home / "rewards.csv")["seed"].unique()) == [0, 1]
    assert list(pd.read_csv(home / "summary.csv")["runs"]) == [2, 2]
    assert "spread" in out
    a, b = run / "seed_0" / "rewards.csv", run / "seed_1" / "rewards.csv"
    out = script("analyze_results.py", "--csv", a, b, "--labels", "one", "two", "--out", tmp_path / "x")
    assert "one" in out
    assert "two" in out
    assert shows_something(tmp_path / "x" / "comparison.png")
    assert list(pd.read_csv(tmp_path / "x" / "summary.csv")["group"].unique()) == ["one", "two"]


def test_running_again_keeps_the_first_run(script, tmp_path):
    for _ in range(2):
        script("run_single_agent_maker.py", *SMALL)
    home = tmp_path / "artifacts" / "single_maker"
    runs = [p for p in home.iterdir() if p.is_dir() and not p.is_symlink()]
    assert len(runs) == 2
    assert (home / "latest").resolve() == max(runs)


def test_replay_of_made_files(script, tmp_path):
    """Two assets written by the exchange-like file maker of the data tests, one of them gzipped."""
    made = runpy.run_path(str(ROOT / "tests" / "data" / "make.py"))
    messages = [
        made["write_pair"](
            tmp_path,
            *made["make_day"](rows=6000, seed=seed),
            3,
            packing,
            f"{ticker}_2020-01-02_34200000_34800000",
        )
        for ticker, seed, packing in (("AAA", 1, ""), ("BBB", 2, ".gz"))
    ]
    script("run_replay.py", *messages, *SMALL, "--set", "market.dt=0.5")
    run = complete_run(tmp_path / "artifacts" / "replay", ["maker"], ["quotes", "book"])
    assert yaml.safe_load((run / "config.yaml").read_text())["market"]["books"] == ["AAA", "BBB"]


@pytest.mark.skipif(not MINI, reason=f"no LOBSTER mini files in {DATA} (set LOBGRAPH_DATA)")
def test_replay_of_recorded_files(script, tmp_path):
    script("run_replay.py", *MINI, *SMALL)
    run = complete_run(tmp_path / "artifacts" / "replay", ["maker"], ["quotes", "book"])
    assert yaml.safe_load((run / "config.yaml").read_text())["market"]["books"] == [
        f.name.split("_")[0] for f in MINI
    ]


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("run_single_agent_maker.py", ["--set", "ppo.no_such=1"], "ppo.no_such"),
        ("run_single_agent_maker.py", ["--config", "no_such.yaml"], "no_such.yaml"),
        ("run_replay.py", ["no_such_message_1.csv"], "no_such_message_1.csv"),
        ("analyze_results.py", ["--csv", "no_such.csv"], "no_such.csv"),
    ],
)
def test_errors_are_one_red_line(script, name, args, says):
    errors = script(name, *args, code=2)
    assert errors.startswith("error: ")
    assert says in errors
    assert "Traceback" not in errors


def test_lead_lag(script, tmp_path):
    script("run_lead_lag.py", *SMALL)
    run = complete_run(tmp_path / "artifacts" / "lead_lag", ["maker"], ["quotes", "importance_maker"])
    assert pd.read_csv(run / "importance_maker.csv")["of_others"].max() > 0
