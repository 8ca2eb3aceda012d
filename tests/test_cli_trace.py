"""`lobgraph trace`: a fill's story, files, and mistakes that are told before anything is played."""

from pathlib import Path

import pandas as pd
import pytest

from lobgraph import evaluate, load_config, train

SCENARIO = "name: tiny\nenv: {num_envs: 8, episode_steps: 20}\nppo: {rollout_steps: 20, minibatches: 2, total_steps: 160}\ngraph: {hidden: 8}\n"


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_run_is_traced_as_it_is_evaluated(lobgraph, scenario, tmp_path):
    cfg = load_config(scenario, [f"run.dir={tmp_path / 'runs'}", "run.seed=3"])
    run = train(cfg).directory
    out = lobgraph("trace", run, "--episode", 4, "--dir", tmp_path / "traces").out
    (made,) = (tmp_path / "traces").iterdir()
    assert made.name.endswith("-tiny-e4-s1000003")
    assert "written:" in out
    rewards = pd.read_csv(made / "rewards.csv")
    table = evaluate(cfg, agents={"maker": str(run)}, episodes=100, seed=1_000_003)
    row = table[table["episode"] == 4]
    assert rewards["equity"].iloc[-1] == row["equity"].item()
    assert rewards["reward"].sum() == pytest.approx(row["return"].item(), rel=1e-6)
    assert (made / "episode.png").stat().st_size > 10_000


def test_the_story_of_a_fill(lobgraph, scenario, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = (
        "trace",
        scenario,
        "--agent",
        "maker=fixed_spread:half_spread=1",
        "--regime",
        "stress",
        "--episodes",
        3,
    )
    out = lobgraph(*args, "--fill", 2).out
    assert out.startswith("Fill 2 of episode 0: maker_0 ")
    assert "to rest at" in out
    assert not (tmp_path / "artifacts").exists()
    out = lobgraph(
        *args, "--fill", 2, "--dir", "told", "--format", "parquet", "--of", "maker_0", "--book", "A0"
    ).out
    (made,) = Path("told").iterdir()
    fills = pd.read_parquet(made / "fills.parquet")
    assert (made / "fill_2.png").is_file()
    assert out.startswith(f"Fill 2 of episode 0: maker_0 {fills['side'][2]} {fills['lots'][2]} lot")
    assert set(pd.read_parquet(made / "market.parquet")["regime"]) == {"stress"}


@pytest.mark.parametrize(("args", "says"), [
    (["--episode", 100], "--episode 100: must be below --episodes, which is 100"),
    (["--of", "maker_1"], "agent 'maker_1': no such agent; there are maker_0"),
    (["--book", "Z"], "book 'Z': no such book; there are A0"),
    (["--format", "xml"], "--format 'xml': must be one of csv, parquet"),
    (["--regime", "calm"], "regime 'calm': no such regime"),
    (["--agent", "maker=nobody"], "nobody"),
    (["--agent", "maker=fixed_spread", "--fill", 100_000], "fill 100000: episode 0 has no such fill"),
])  # fmt: skip
def test_mistakes_are_told(lobgraph, scenario, tmp_path, monkeypatch, args, says):
    monkeypatch.chdir(tmp_path)
    assert says in lobgraph("trace", scenario, *args, code=2).err
    assert not (tmp_path / "artifacts").exists()
