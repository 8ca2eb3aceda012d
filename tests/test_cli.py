"""The command line: help, quick answers, clear errors and exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def lobgraph(*args, cwd=None, check=None):
    done = subprocess.run(
        [sys.executable, "-m", "lobgraph", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\nenv: {num_envs: 8, episode_steps: 20}\n"
        "ppo: {rollout_steps: 20, minibatches: 2, total_steps: 480}\ngraph: {hidden: 8}\n"
    )
    return path


def test_help_names_the_commands():
    out = lobgraph("--help", check=0).stdout
    for command in ("train", "evaluate", "bench", "data", "plot", "config", "--install-completion"):
        assert command in out


@pytest.mark.parametrize(
    "command", [["train"], ["evaluate"], ["bench"], ["data", "info"], ["data", "calibrate"], ["plot"]]
)
def test_every_command_has_help(command):
    assert "Usage:" in lobgraph(*command, "--help", check=0).stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys, lobgraph.cli; "
        "sys.exit(str({'torch', 'numba', 'numpy', 'pandas', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_version():
    assert lobgraph("--version", check=0).stdout.startswith("lobgraph ")


def test_config_prints_the_resolved_tree(scenario):
    out = lobgraph("config", scenario, "--set", "ppo.lr=0.001", "--set", "market.books=3", check=0).stdout
    tree = yaml.safe_load(out)
    assert tree["ppo"]["lr"] == 0.001
    assert tree["market"]["books"] == ["A0", "A1", "A2"]
    assert tree["env"]["num_envs"] == 8


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["config", "no_such.yaml"], "no_such.yaml"),
        (["train", "no_such.yaml"], "no_such.yaml"),
        (["train", "{scenario}", "--set", "ppo.learning_rate=1"], "ppo.learning_rate"),
        (["train", "{scenario}", "--set", "ppo.lr=nan"], "ppo.lr"),
        (["train", "{scenario}", "--set", "ppo.lr"], "section.key=value"),
        (["train", "{scenario}", "--seed", "-1"], "run.seed"),
        (["evaluate", "no_such_run"], "no_such_run"),
        (["evaluate", "{tmp}"], "no run in it"),
        (["plot", "no_such_run"], "no_such_run"),
        (["data", "info", "no_such_message_1.csv"], "no_such_message_1.csv"),
        (["data", "calibrate", "no_such_message_1.csv", "--out", "x.yaml"], "no_such_message_1.csv"),
    ],
)
def test_user_errors_are_red_lines_with_exit_code_2(args, says, scenario, tmp_path):
    args = [a.format(scenario=scenario, tmp=tmp_path) for a in args]
    done = lobgraph(*args, cwd=tmp_path, check=2)
    assert says in done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines() if line)
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    "args", [["nonsense"], ["train"], ["train", "a.yaml", "--nonsense"], ["train", "a.yaml", "--seeds", "0"]]
)
def test_wrong_usage_exits_with_2(args):
    assert "Usage:" in lobgraph(*args, check=2).stderr


def test_unexpected_errors_keep_their_traceback():
    code = "from lobgraph import cli\nfrom lobgraph.report.console import clear_errors\nwith clear_errors():\n    raise KeyError('x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupt_exits_with_130(scenario, tmp_path):
    args = [sys.executable, "-m", "lobgraph", "train", str(scenario), "--dir", str(tmp_path),
            "--set", "ppo.total_steps=100000000"]  # fmt: skip
    with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("tiny/*/rewards.csv")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_train_evaluate_plot(scenario, tmp_path):
    out = lobgraph("train", scenario, "--dir", tmp_path / "runs", "--seeds", 2, check=0).stdout
    home = tmp_path / "runs" / "tiny"
    assert "maker" in out
    assert str(home) in out
    assert (home / "latest" / "seed_1" / "checkpoints" / "policy.safetensors").is_file()
    table = tmp_path / "table.csv"
    lobgraph("evaluate", home, "--episodes", 4, "--csv", table, check=0)
    assert table.stat().st_size > 0
    runs = sorted((home / "latest").resolve().glob("seed_*"))
    out = lobgraph("plot", *runs, "--out", tmp_path / "both", check=0).stdout
    assert "comparison.png" in out
    assert (tmp_path / "both" / "comparison.png").stat().st_size > 10_000
