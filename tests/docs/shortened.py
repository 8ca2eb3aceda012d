"""How a test makes the documentation's commands short: what is appended to each, and which are run where.

An entry holds for all commands that begin with its text; the longest one that does is taken. A command without an entry
fails the test: whoever documents a new one says here how it is run.
"""

from __future__ import annotations

from typing import NamedTuple

TINY = (
    "--set", "env.num_envs=8", "--set", "env.episode_steps=20", "--set", "ppo.rollout_steps=20",
    "--set", "ppo.minibatches=2", "--set", "ppo.total_steps=320", "--set", "graph.hidden=8",
    "--set", "run.tensorboard=false", "--set", "run.evaluate_every=0",
)  # fmt: skip
FEW = ("--episodes", "3", "--set", "env.episode_steps=20")
ONE_REGIME = (*FEW, "--regime", "normal")


class How(NamedTuple):
    """What is appended, and whether the command is run with every test, with the slow ones, or never, and why not."""

    short: tuple[str, ...] = ()
    slow: bool = False
    needs: tuple[str, ...] = ()  # runs that must be there, though the command does not name them
    not_run: str = ""  # the reason; such a command is parsed, no more


COMMANDS = {
    "lobgraph --install-completion": How(not_run="writes into the shell's own files"),
    "lobgraph train": How((*TINY, "--seeds", "1")),
    "lobgraph train configs/multi_": How((*TINY, "--seeds", "1"), slow=True),
    "lobgraph train --resume": How(not_run="needs a training that was stopped; the tests of trainings stop some"),
    "lobgraph train configs/single_maker.yaml --set 'run.loggers": How(not_run="loggers are extras; tests/rl/ tests each"),
    "lobgraph verify": How(slow=True),
    "lobgraph repro": How(not_run="needs the file of a failure; tests/rl/ makes one"),
    "lobgraph runs": How(needs=("artifacts/single_maker",)),
    "lobgraph trace": How(not_run="tests/test_cli_trace.py runs it"),
    "lobgraph sweep": How(not_run="needs the extra `sweep`; tests/sweep/ runs it"),
    "lobgraph export": How(slow=True),
    "lobgraph export artifacts/single_maker/latest --role maker --format onnx": How(not_run="needs the extra `export`"),
    "lobgraph export artifacts/single_maker --role maker --format onnx": How(not_run="needs the extra `export`"),
    "lobgraph fuzz": How(("--minutes", "0.01"), slow=True),
    "lobgraph fuzz --replay": How(not_run="needs a failure; tests/validate/ makes some"),
    "lobgraph evaluate": How(FEW),
    "lobgraph compare": How(ONE_REGIME, slow=True),
    "lobgraph compare scripts/examples/sb3_strategy.py": How(
        not_run="tests/adapters/test_examples.py trains that model and runs this"
    ),
    "lobgraph counterfactual": How(ONE_REGIME, slow=True),
    "lobgraph ablate": How((*TINY, "--seeds", "1", "--episodes", "2")),
    "lobgraph transfer": How((*TINY, "--books", "2,3", "--train-on", "2", "--seeds", "1", "--episodes", "2")),
    "lobgraph importance": How(slow=True),
    "lobgraph stress": How(("--episodes", "2", "--set", "env.episode_steps=120", "--after", "5"), slow=True),
    "lobgraph stress artifacts/stress_lab": How(
        ("--episodes", "30", "--set", "env.episode_steps=400", "--after", "5"), slow=True  # its events are rare
    ),
    "lobgraph strategies": How(),
    "lobgraph config": How(),
    "lobgraph data info": How(),
    "lobgraph data calibrate": How(("--rounds", "0", "--features", "none", "--end", "")),
    "lobgraph data simulate": How(("--seconds", "5")),
    "lobgraph realism": How(("--seconds", "40", "--start", "09:30", "--end", "09:30:50"), slow=True),
    "lobgraph validate": How(("--quick",), not_run="a minute; tests/validate/ runs every model of it"),
    "lobgraph validate --learning": How(not_run="trainings of minutes; tests/validate/test_learning.py runs them short"),
    "lobgraph bench": How(not_run="measures this machine; tests/test_bench.py runs every case of it"),
    "python scripts/run_": How(("--quick", "--set", "run.tensorboard=false", "--set", "graph.hidden=8"), slow=True),
    "python scripts/examples/": How(not_run="tests/adapters/test_examples.py runs each"),
    "make": How(not_run="sets up an environment or runs these tests; that the target is there is tested"),
}  # fmt: skip

# What stands for a reader's own files and runs: made files, or runs that the tests train.
PLACEHOLDERS = {
    "RUN": "artifacts/single_maker/latest",
    "RUN...": "artifacts/careful/latest",
    "MESSAGE_FILES...": "made/AAA_2020-01-02_34200000_34800000_message_3.csv",
    "GOOG_..._message_10.csv": "made/AAA_2020-01-02_34200000_34800000_message_3.csv",
}

# (page, text of a Python block, what stands in its place): a training or a wait is made short.
PYTHON = [
    ("README.md", '"env.num_envs=256", "ppo.lr=3e-4"]', '"env.num_envs=8", "env.episode_steps=10", "ppo.rollout_steps=10", "ppo.total_steps=160", "graph.hidden=8", "run.dir=runs"]'),
    ("README.md", "episodes=100", "episodes=2"),
    ("docs/adapters.md", "num_envs=256), gamma", "num_envs=8), gamma"),
    ("docs/adapters.md", "learn(400_000)", "learn(256)"),
    ("docs/adapters.md", "batch_size=1024", "batch_size=64"),
    ("docs/adapters.md", "episodes=100", "episodes=2"),
    ("docs/adapters.md", "num_envs=64)", "num_envs=4)"),
    ("docs/statistics.md", "episodes=500", "episodes=8"),
]  # fmt: skip
NOT_RUN = {
    "ray": "RLlib pins another gymnasium: it has a virtual environment of its own",
    "onnxruntime": "reads the file that `lobgraph export` wrote before; tests/rl/test_export.py plays one",
}

# Names set as code that are no word of our sources: made of others, or an example's.
FOREIGN = (
    "X_1",
    "stress_halt",
    "earned_1s",
    "earned_5s",
    "earned_30s",
    "gymnasium.vector.VectorRewardWrapper",
)
