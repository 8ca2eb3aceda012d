"""Run directories and links: nothing of the user's is overwritten, links always speak of one run."""

import os

import pytest

from lobgraph.report.directory import find_run, publish
from lobgraph.rl.places import run_or_group
from lobgraph.rl.run import numbered_directory


def make_run(parent, name, files=("config.yaml", "rewards.csv", "maker_policy.safetensors")):
    run = parent / name
    run.mkdir(parents=True)
    for file in files:
        (run / file).write_text(f"{name}")
    return run


def test_new_directories_never_collide(tmp_path):
    made = {numbered_directory(tmp_path, "s0") for _ in range(5)}
    assert len(made) == 5
    assert all(d.is_dir() for d in made)


def test_links_follow_the_newest_run(tmp_path):
    publish(tmp_path, make_run(tmp_path, "one"))
    publish(tmp_path, make_run(tmp_path, "two", ("config.yaml", "rewards.csv", "rewards.png")))
    assert (tmp_path / "rewards.csv").read_text() == "two"
    assert (tmp_path / "rewards.png").read_text() == "two"
    assert not os.path.lexists(tmp_path / "maker_policy.safetensors")  # the newest run has none
    assert (tmp_path / "one" / "rewards.csv").read_text() == "one"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_links_are_relative_so_the_directory_can_move(tmp_path):
    home = tmp_path / "a"
    publish(home, make_run(home, "one"))
    home.rename(tmp_path / "b")
    assert (tmp_path / "b" / "rewards.csv").read_text() == "one"


def test_a_file_of_the_users_stays(tmp_path):
    (tmp_path / "rewards.csv").write_text("mine")
    made = publish(tmp_path, make_run(tmp_path, "one"))
    assert (tmp_path / "rewards.csv").read_text() == "mine"
    assert tmp_path / "rewards.csv" not in made
    assert (tmp_path / "maker_policy.safetensors").read_text() == "one"


def test_the_newest_run_is_found_without_a_link(tmp_path):
    """A training that was killed has not been linked yet."""
    for name in ("20260101-000000-s0", "20260102-000000-s0-1"):
        place = tmp_path / "x" / name / ("seed_0" if name.endswith("-1") else "")
        place.mkdir(parents=True)
        (place / "config.yaml").touch()
    newest = tmp_path / "x" / "20260102-000000-s0-1"
    assert find_run(tmp_path / "x") == newest / "seed_0"
    assert run_or_group(tmp_path / "x") == newest
    (tmp_path / "x" / "latest").symlink_to("20260101-000000-s0")
    assert find_run(tmp_path / "x") == tmp_path / "x" / "latest"
    (newest / "seed_0" / "config.yaml").unlink()
    (newest / "plan.json").touch()  # a group of which nothing is there is none of another's
    (newest / "20260103-000000-s0").mkdir()
    (newest / "20260103-000000-s0" / "config.yaml").touch()
    with pytest.raises(FileNotFoundError, match="no run in it"):
        find_run(newest)


def test_find_run(tmp_path):
    run = make_run(tmp_path / "home", "one")
    group = tmp_path / "home" / "group"
    seed = make_run(group, "seed_0")
    assert find_run(run) == run
    assert find_run(group) == seed
    publish(tmp_path / "home", run)
    assert find_run(tmp_path / "home").resolve() == run
    with pytest.raises(FileNotFoundError, match="no run in it"):
        find_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such run directory"):
        find_run(tmp_path / "nowhere")
