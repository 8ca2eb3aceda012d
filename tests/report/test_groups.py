"""Several rewards files: seeds are grouped by their configuration, comparisons are paired by seed."""

import pytest
import yaml

from lobgraph.report.groups import compare, read_groups
from lobgraph.report.metrics import RewardsError


@pytest.fixture
def write_run(tmp_path, make_rewards):
    def write(name, scenario="s", seed=0, lr=0.1, gain=10.0):
        run = tmp_path / name
        run.mkdir()
        make_rewards(seed, gain=gain).to_csv(run / "rewards.csv", index=False)
        (run / "config.yaml").write_text(
            yaml.safe_dump({"name": scenario, "ppo": {"lr": lr}, "run": {"seed": seed}})
        )
        return run / "rewards.csv"

    return write


def test_seeds_are_grouped_and_settings_are_not(write_run):
    csvs = [
        write_run("a", seed=0),
        write_run("b", seed=1),
        write_run("c", seed=0, lr=0.2),
        write_run("d", "other"),
    ]
    groups = read_groups(csvs)
    assert {label: sorted(seeds) for label, seeds in groups.items()} == {
        "s": [0, 1],
        "s (2)": [0],
        "other": [0],
    }


def test_a_column_of_seeds_is_split(tmp_path, make_rewards):
    import pandas as pd

    path = tmp_path / "rewards.csv"
    pd.concat([make_rewards(s).assign(seed=s) for s in (3, 4)]).to_csv(path, index=False)
    (groups,) = read_groups([path]).values()
    assert sorted(groups) == [3, 4]


def test_paired_differences_and_files(write_run, tmp_path):
    slow = [write_run(f"a{s}", seed=s, gain=5.0) for s in range(3)]
    fast = [write_run(f"b{s}", seed=s, gain=15.0) for s in range(3)]
    result = compare([*slow, *fast], tmp_path / "out", ["slow"] * 3 + ["fast"] * 3)
    row = result.differences.iloc[0]
    assert (row["group"], row["against"], row["pairs"]) == ("fast", "slow", 3)
    assert row["difference"] == pytest.approx(10 * 0.97, abs=0.1)  # the same noise in both: it cancels
    assert {f.name for f in result.files} == {"comparison.png", "summary.csv", "differences.csv"}
    assert all(f.stat().st_size for f in result.files)


def test_the_same_seed_twice_is_not_lost(write_run):
    (seeds,) = read_groups([write_run("a"), write_run("b")]).values()
    assert len(seeds) == 2


def test_labels_must_match(write_run, tmp_path):
    with pytest.raises(RewardsError, match="give one each"):
        compare([write_run("a")], tmp_path, ["x", "y"])
    with pytest.raises(RewardsError, match="share"):
        compare([write_run("b")], tmp_path, share=0.9)
