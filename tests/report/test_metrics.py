"""Statistics of rewards tables: known numbers, spreads over seeds, clear errors."""

import numpy as np
import pandas as pd
import pytest

from lobgraph.report import metrics


def table(means, episodes=None, role="maker", agent=0):
    n = len(means)
    return pd.DataFrame({
        "update": range(n), "env_steps": np.arange(1, n + 1) * 10, "role": role, "agent": agent,
        "episodes": 1 if episodes is None else episodes, "reward_mean": means, "inventory_max": 7.0,
    })  # fmt: skip


def test_curve_weights_agents_by_episodes_and_leaves_out_empty_updates():
    a = table([1.0, 2.0, np.nan], [1, 3, 0], agent=0)
    b = table([5.0, 6.0, np.nan], [1, 1, 0], agent=1)
    steps, values = metrics.curve(pd.concat([a, b]), "maker")
    assert steps.tolist() == [10, 20]
    assert values.tolist() == [3.0, 3.0]
    assert metrics.curve(pd.concat([a, b]), "maker", agent=1).values.tolist() == [5.0, 6.0]


def test_change_is_the_mean_of_the_ends():
    first, last = metrics.change(table(np.arange(20.0)), "maker")
    assert (first, last) == (0.5, 18.5)
    assert np.isnan(metrics.change(table([np.nan, np.nan], [0, 0]), "maker")).all()


def test_summary_compares_the_gain_with_the_spread(make_rewards):
    groups = {
        "good": [make_rewards(s, gain=20) for s in range(3)],
        "flat": [make_rewards(s, gain=0) for s in range(3)],
    }
    summary = metrics.summarize(groups).set_index("group")
    assert summary["learned"].to_dict() == {"good": "yes", "flat": "no"}
    good = summary.loc["good"]
    assert good["gain"] == pytest.approx(good["last"] - good["first"])
    assert good["gain_low"] < good["gain"] < good["gain_high"]
    assert 5 < good["inventory_max"] < 15


def test_one_run_has_no_spread(make_rewards):
    row = metrics.summarize({"one": [make_rewards()]}).iloc[0]
    assert row["learned"] == "?"
    assert np.isnan(row["spread"])


def test_grid_does_not_extend_curves():
    steps, values = metrics.on_grid([metrics.Curve(np.array([0.0, 10]), np.array([0.0, 1])),
                                     metrics.Curve(np.array([5.0]), np.array([2.0]))])  # fmt: skip
    assert steps.tolist() == [0, 5, 10]
    np.testing.assert_array_equal(values, [[0, 0.5, 1], [np.nan, 2, np.nan]])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a CSV table"),
        ("episode,reward\n1,2\n", "column 'update' is missing"),
        (
            "update,env_steps,role,agent,episodes,reward_mean\n0,1,maker,0,1,high\n",
            "'reward_mean' must hold numbers",
        ),
        (
            "update,env_steps,role,agent,episodes,reward_mean\n0,1,maker,0,1,2.0\n1,2,maker,0",
            "line 3 has no episodes; a file that was cut off looks so",
        ),
        ("\x00\xff\xfe", None),
    ],
)
def test_bad_files_are_named(tmp_path, content, says):
    path = tmp_path / "rewards.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(metrics.RewardsError, match=says) as error:
        metrics.read_rewards(path)
    assert str(path) in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        metrics.read_rewards(tmp_path / "no_such.csv")
