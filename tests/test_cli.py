"""The command line: help, quick answers, clear errors and exit codes."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lobgraph import cli


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\nenv: {num_envs: 8, episode_steps: 20}\n"
        "ppo: {rollout_steps: 20, minibatches: 2, total_steps: 480}\ngraph: {hidden: 8}\n"
    )
    return path


def test_help_names_the_commands():
    done = subprocess.run([sys.executable, "-m", "lobgraph", "--help"], capture_output=True, text=True)
    for command in (
        "train",
        "evaluate",
        "compare",
        "trace",
        "counterfactual",
        "strategies",
        "ablate",
        "transfer",
        "importance",
        "bench",
        "validate",
        "data",
        "plot",
        "config",
        "runs",
        "export",
        "sweep",
        "--install-completion",
    ):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "evaluate",
        "compare",
        "counterfactual",
        "strategies",
        "ablate",
        "transfer",
        "importance",
        "bench",
        "validate",
        "data info",
        "data calibrate",
        "plot",
        "config",
        "runs",
        "runs compare",
        "export",
        "sweep",
    ],
)
def test_every_command_has_help(lobgraph, command):
    assert "Usage:" in lobgraph(*command.split(), "--help").out


def test_help_imports_nothing_heavy():
    code = (
        "import sys, lobgraph.cli; "
        "sys.exit(str({'torch', 'numba', 'numpy', 'pandas', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_version(lobgraph):
    assert lobgraph("--version").out.startswith("lobgraph ")


def test_config_prints_the_resolved_tree(lobgraph, scenario):
    out = lobgraph("config", scenario, "--set", "ppo.lr=0.001", "--set", "market.books=3").out
    tree = yaml.safe_load(out)
    assert tree["ppo"]["lr"] == 0.001
    assert tree["market"]["books"] == ["A0", "A1", "A2"]
    assert tree["env"]["num_envs"] == 8


A_TAKER = ("--set", "agents.taker.count=1", "--agent", "taker=runs/none")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["config", "no_such.yaml"], "no_such.yaml"),
        (["train", "no_such.yaml"], "no_such.yaml"),
        (["train", "{scenario}", "--set", "ppo.learning_rate=1"], "ppo.learning_rate"),
        (["train", "{scenario}", "--set", "ppo.lr=nan"], "ppo.lr"),
        (["train", "{scenario}", "--set", "ppo.lr"], "section.key=value"),
        (["train", "{scenario}", "--seed", "-1"], "run.seed"),
        (
            ["train", "{scenario}", "--set", "agents.maker.actor=fixed_spred"],
            "agents.maker.actor: 'fixed_spred'",
        ),
        (
            ["train", "{scenario}", "--set", "agents.maker.actor=nothing"],
            "agents.maker.actor: no role learns",
        ),
        (["evaluate", "no_such_run"], "no_such_run"),
        (["compare", "twap"], "give --config"),
        (["compare", "glft", "glft", "--config", "{scenario}"], "'glft' is given twice"),
        (["compare", "glfd", "--config", "{scenario}"], "did you mean 'glft'?"),
        (["compare", "glft", "twap", "--config", "{scenario}"], "no role fits all of them"),
        (["compare", "glft:gama=1", "--config", "{scenario}"], "no parameter 'gama'"),
        (["compare", "glft", "at_best", "--config", "{scenario}", "--regime", "calm"], "'calm'"),
        (["compare", "glft", "--config", "{scenario}", "--agent", "taker=twap"], "--agent taker"),
        (["compare", "mine.py:Mine", "--config", "{scenario}"], "mine.py: no such file"),
        (["compare", "{tmp}", "glft"], "no run in it"),
        (["compare", "runs/none", "glft"], "'runs/none': no such run or policy file"),
        (
            ["compare", "glft", "runs/none", "--config", "{scenario}"],
            "'runs/none': no such run or policy file",
        ),
        (["compare", "glft", "at_best", "--config", "{scenario}", *A_TAKER], "'runs/none': no such run"),
        (["compare", "glft", "at_best", "--config", "{scenario}", "--dir", "{scenario}/x"], "tiny.yaml"),
        (["stress", "runs/none", "at_best"], "'runs/none': no such run or policy file"),
        (["stress", "at_best", "--config", "{scenario}", *A_TAKER], "'runs/none': no such run"),
        (["stress", "at_best", "--config", "{scenario}", "--scenarios", "flood"], "scenario 'flood'"),
        (
            ["counterfactual", "{scenario}", "--swap", "maker=runs/none", "--agent", "maker=glft"],
            "'runs/none': no such",
        ),
        (["counterfactual", "{scenario}"], "say either"),
        (["counterfactual", "{scenario}", "--without", "maker"], "nobody acts in this role"),
        (["counterfactual", "{scenario}", "--without", "taker"], "nobody to take out"),
        (["counterfactual", "{scenario}", "--swap", "maker"], "ROLE=WHO"),
        (["counterfactual", "no_such.yaml", "--without", "maker"], "no_such.yaml"),
        (["evaluate", "{tmp}"], "no run in it"),
        (["plot", "no_such_run"], "no_such_run"),
        (["runs", "--dir", "no_such_directory"], "no_such_directory"),
        (["runs", "compare", "{tmp}", "{tmp}"], "no run in it"),
        (["data", "info", "no_such_message_1.csv"], "no_such_message_1.csv"),
        (["data", "calibrate", "no_such_message_1.csv", "--out", "x.yaml"], "no_such_message_1.csv"),
    ],
)
def test_user_errors_are_red_lines_with_exit_code_2(lobgraph, args, says, scenario, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = lobgraph(*(a.format(scenario=scenario, tmp=tmp_path) for a in args), code=2)
    errors = [
        line for line in done.err.splitlines() if not line.startswith(("calibrate: ", "compiling "))
    ]  # progress
    assert errors
    assert all(line.startswith("error: ") for line in errors)
    assert says in done.err
    assert not done.out
    if args[0] in ("compare", "counterfactual", "stress"):
        assert not (tmp_path / "artifacts").exists()


def test_a_run_that_is_not_there_is_known_before_anything_is_played(
    lobgraph, scenario, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lobgraph.env.market_env.MarketEnv.reset", lambda *_: pytest.fail("compiles"))
    for command in ("compare", "stress"):
        for args in (["runs/none"], ["--config", scenario, *A_TAKER]):
            assert "runs/none" in lobgraph(command, "glft", "at_best", *args, code=2).err


@pytest.mark.parametrize(
    "args", [["nonsense"], ["train"], ["train", "a.yaml", "--nonsense"], ["train", "a.yaml", "--seeds", "0"]]
)
def test_wrong_usage_exits_with_2(lobgraph, args):
    assert "Usage:" in lobgraph(*args, code=2).err


def test_unexpected_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lobgraph", "config", "a.yaml"])
    monkeypatch.setattr("lobgraph.config.load_config", lambda *_: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        cli.main()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupt_exits_with_130(scenario, tmp_path):
    args = [sys.executable, "-m", "lobgraph", "train", str(scenario), "--dir", str(tmp_path),
            "--set", "ppo.total_steps=100000000"]  # fmt: skip
    with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 900  # kernels may have to be compiled first
            while not list(tmp_path.glob("tiny/*/rewards.csv")):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or the test would wait for it
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_train_evaluate_plot(lobgraph, scenario, tmp_path):
    out = lobgraph("train", scenario, "--dir", tmp_path / "runs", "--seeds", 2).out
    home = tmp_path / "runs" / "tiny"
    assert "maker" in out
    assert str(home) in out
    assert (home / "latest" / "seed_1" / "checkpoints" / "policy.safetensors").is_file()
    table = tmp_path / "table.csv"
    assert "return" in lobgraph("evaluate", home, "--episodes", 4, "--csv", table).out
    assert len(pd.read_csv(table)) == 4
    runs = sorted((home / "latest").resolve().glob("seed_*"))
    assert "rewards.png" in lobgraph("plot", runs[1]).out
    for again in (["evaluate", home], ["runs", "--dir", tmp_path / "runs"], ["bench"]):
        option = "--json" if again[0] == "bench" else "--csv"
        assert "exists already" in lobgraph(*again, option, table, code=2).err
    assert len(pd.read_csv(table)) == 4
    listed = lobgraph("runs", "--dir", tmp_path / "runs", "--csv", tmp_path / "runs.csv").out
    assert "finished" in listed
    assert pd.read_csv(tmp_path / "runs.csv")["seeds"].tolist() == [2]
    assert "run.seed" in lobgraph("runs", "compare", *runs, "--out", tmp_path / "both").out
    assert (tmp_path / "both" / "comparison.png").stat().st_size > 10_000
    both = pd.read_parquet(home / "latest" / "metrics.parquet")
    assert both.groupby("seed")["env_steps"].max().to_dict() == {0: 480, 1: 480}


def test_a_run_with_a_held_role(lobgraph, scenario, tmp_path):
    """The run's policies act for the roles that learned, what held the others for those; an override changes it."""
    held = ["--set", "agents.maker.actor=fixed_spread", "--set", "agents.taker.count=1"]
    out = lobgraph("train", scenario, "--dir", tmp_path / "runs", *held).out
    assert "maker held: fixed_spread\n" in out
    home = tmp_path / "runs" / "tiny"
    assert {p.name for p in (home / "latest" / "figures").iterdir()} >= {"quotes.png", "execution.png"}
    assert (pd.read_csv(home / "latest" / "summary.csv").set_index("role")["learned"] == ["held", "?"]).all()
    tables = []
    for i, change in enumerate(([], ["--set", "agents.maker.actor=nothing"])):
        table = tmp_path / f"{i}.csv"
        out = lobgraph("evaluate", home, "--episodes", 4, "--csv", table, *change).out
        assert f"maker: {'nothing' if change else 'fixed_spread'}\n" in out
        assert "taker: policy of" in out
        tables.append(pd.read_csv(table).query("role == 'maker'")["max_inventory"])
    assert (tables[0] > 0).any()
    assert (tables[1] == 0).all()
    done = lobgraph("evaluate", home, "--set", "agents.maker.actor=learn", code=2)
    assert "the policies given for 'maker' act only for ['taker']" in done.err


def readme_blocks(heading: str, language: str) -> list[str]:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [
        code
        for kind, code in re.findall(r"^```(\w*)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
        if kind == language
    ]


def test_the_strategy_of_the_readme(lobgraph, scenario, tmp_path, monkeypatch):
    """The README's own strategy and its command, with fewer episodes; the report has everything."""
    (code,) = readme_blocks("Strategies and comparisons", "python")
    (command,) = readme_blocks("Strategies and comparisons", "bash")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_maker.py").write_text(code)
    (tmp_path / "configs").mkdir()
    scenario.rename(tmp_path / "configs" / "single_maker.yaml")
    done = lobgraph(*shlex.split(command)[1:], "--episodes", 12)
    assert "my_maker.py:Leaning:skew=0.1" in done.out
    (report,) = tmp_path.glob("artifacts/compare/*/report.html")
    assert "my_maker.py:Leaning:skew=0.1" in report.read_text()
    table = pd.read_csv(report.parent / "differences.csv")
    assert {"return", "pnl", "spread_capture"} <= set(table["measure"])
    assert (report.parent / "figures" / "equity.png").stat().st_size > 10_000


def test_compare_a_run_and_take_its_maker_out(lobgraph, scenario, tmp_path, monkeypatch):
    lobgraph("train", scenario, "--dir", tmp_path / "runs")
    home = tmp_path / "runs" / "tiny"
    few = ("--episodes", 8, "--regime", "as configured", "--dir", tmp_path / "reports")
    assert "pairing: " in lobgraph("compare", home, "fixed_spread", *few).out
    out = lobgraph("counterfactual", home, "--without", "maker", *few).out
    assert "without maker" in out
    reports = sorted((tmp_path / "reports").glob("*/report.html"))
    assert len(reports) == 2
    assert all("as configured" in r.read_text() for r in reports)


def test_strategies_are_listed(lobgraph):
    out = lobgraph("strategies").out
    assert all(name in out for name in ("avellaneda_stoikov", "twap", "zscore", "momentum", "half_spread=2"))


@pytest.fixture
def pair_of_books(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(
        "name: two\nmarket: {books: 2}\nenv: {num_envs: 4, episode_steps: 10}\nrun: {tensorboard: false}\n"
        "ppo: {rollout_steps: 10, minibatches: 2, total_steps: 80}\ngraph: {hidden: 8}\nflow: {warmup: 2.0}\n"
    )
    return path


def test_ablate(lobgraph, pair_of_books, tmp_path, monkeypatch):
    monkeypatch.setattr("lobgraph.rl.progress.EVERY", 0.0)
    few = ("--variants", "gat,mlp", "--seeds", 2, "--episodes", 4, "--dir", tmp_path / "out")
    done = lobgraph("ablate", pair_of_books, *few)
    assert "training 4 of 4: mlp, seed 1" in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("  update 1/2  40 steps")]
    assert len(lines) == 4
    assert all(line.endswith(" s left") for line in lines)
    assert "Difference from the baseline" in done.out
    (home,) = (tmp_path / "out").iterdir()
    table = pd.read_csv(home / "differences.csv")
    assert set(table["variant"]) == {"gat"}
    assert set(table["measure"]) == {"return", "pnl"}
    assert len(pd.read_csv(home / "outcomes.csv")) == 2 * 2 * 4
    for name in ("ablation_maker.png", "learning.png"):
        assert (home / name).stat().st_size > 10_000
    assert (
        "no encoder 'gcn'" in lobgraph("ablate", pair_of_books, "--variants", "gcn,mlp", *few[2:], code=2).err
    )


def test_transfer(lobgraph, pair_of_books, tmp_path):
    few = ("--train-on", 2, "--episodes", 4, "--dir", tmp_path / "out")
    done = lobgraph("transfer", pair_of_books, "--books", "2,3", *few)
    assert "trained there: equal episodes" in done.out
    assert "zero-shot s0, as configured: 4 of 4 episodes" in done.err
    (home,) = (tmp_path / "out").iterdir()
    assert pd.read_csv(home / "shares.csv")["books"].tolist() == [2, 3]
    assert (home / "transfer_maker.png").stat().st_size > 10_000
    assert "--books 'two'" in lobgraph("transfer", pair_of_books, "--books", "two", *few, code=2).err


def test_importance(lobgraph, pair_of_books, tmp_path):
    lobgraph("train", pair_of_books, "--dir", tmp_path, "--set", "graph.encoder=gat")
    home = tmp_path / "two" / "latest"
    (home / "figures" / "importance_maker.png").unlink()  # the run drew it
    out = lobgraph("importance", home).out
    assert "inventory" in out
    assert "by edge taken out" in out
    books = pd.read_csv(home / "importance_maker_books.csv")
    assert len(books) == 4
    assert (books["without_edge"].isna() == (books["action_of"] == books["features_of"])).all()
    assert (home / "figures" / "importance_maker.png").stat().st_size > 10_000
