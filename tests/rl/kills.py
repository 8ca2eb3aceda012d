"""Trainings that are killed at random moments, again and again: is every run readable, does each go on, does it end the same?

    python tests/rl/kills.py --kills 200 --runs 10

One process imports everything and compiles; each training is a fork of it, ended by SIGKILL after a random time and resumed by
the next. It saves after every update. In the end each run is compared with one that was never killed, to the bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lobgraph.config import Config, load_config
from lobgraph.rl.checkpoint import POLICY, load_policies, load_tensors
from lobgraph.rl.resume import ResumeError, find_state, forget_beginning
from lobgraph.rl.train import resume, train

SETTINGS = (
    "agents.maker.count=1", "agents.taker.count=1", "env.num_envs=8", "env.episode_steps=12", "env.threads=1",
    "ppo.rollout_steps=8", "ppo.minibatches=2", "ppo.epochs=2", "graph.hidden=16", "run.evaluate_every=5",
    "run.evaluate_episodes=4", "run.checkpoint_every=1", "run.progress=false", "run.tensorboard=false",
)  # fmt: skip


def config(seed: int, updates: int) -> Config:
    return load_config(None, [*SETTINGS, f"run.seed={seed}", f"ppo.total_steps={64 * updates}"])


def child(cfg: Config, path: Path) -> int:
    """Go on with the run at `path`, or begin it, in a process of its own. Returns its number."""
    number = os.fork()
    if number:
        return number
    try:
        if any(path.glob("checkpoints/state-*")):
            resume(path)
        else:
            forget_beginning(path)
            train(cfg, directory=path)
        os._exit(0)
    except BaseException as error:
        print(f"{path.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def readable(path: Path) -> bool:
    """Whether all that a killed training left can be read; False: it left no state yet."""
    try:
        state = find_state(path)
    except (ResumeError, FileNotFoundError):
        return False
    update = load_tensors(state)[1]["update"]
    if (path / POLICY).exists():
        load_policies(path)
    if update:
        assert len(pd.read_parquet(path / "metrics.parquet")) >= update
    return True


def ended(number: int, seconds: float) -> int | None:
    """The child's exit code, None if it still runs after so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def play(path: Path, cfg: Config, rng: np.random.Generator, longest: float, most: int) -> tuple[int, int]:
    """Train to the end through at most `most` kills. Returns kills, and how many of them left no state yet."""
    kills = without = 0
    while True:
        number = child(cfg, path)
        code = ended(number, rng.uniform(0.0, longest) if kills < most else 600.0)
        if code is None:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            kills += 1
            without += not readable(path)
            continue
        assert code == 0, f"{path}: a resumed training failed (exit code {code})"
        return kills, without


def equal(a: Path, b: Path) -> bool:
    """Policies, states (markets, optimiser, random numbers) and tables but for times, to the bit."""
    for one, two in ((find_state(a), find_state(b)), *((a / n, b / n) for n in (POLICY, "checkpoints/last.safetensors"))):  # fmt: skip
        x, y = load_tensors(one)[0], load_tensors(two)[0]
        if x.keys() != y.keys() or not all(
            torch.equal(x[k].reshape(-1).view(torch.uint8), y[k].reshape(-1).view(torch.uint8)) for k in x
        ):
            return False
    tables = [pd.read_parquet(p / "metrics.parquet") for p in (a, b)]
    rows = [pd.read_csv(p / "rewards.csv").drop(columns="seconds") for p in (a, b)]
    x, y = (t.drop(columns=[c for c in t if c.startswith("time/")]) for t in tables)
    return x.equals(y) and rows[0].equals(rows[1])


def run(kills: int, runs: int, place: Path, longest: float = 1.0, seed: int = 0) -> dict[str, int]:
    """`kills` in all over `runs` trainings. Returns what happened, counted."""
    torch.set_num_threads(1)
    train(config(0, 1), directory=place / "warm")  # imports what is imported late, compiles
    rng, told = np.random.default_rng(seed), {"kills": 0, "before a first state": 0, "runs": 0, "equal": 0}
    each = -(-kills // runs)
    for i in range(runs):
        cfg = config(i, 40)
        done, without = play(place / f"killed-{i}", cfg, rng, longest, each)
        assert play(place / f"whole-{i}", cfg, rng, longest, 0) == (0, 0)
        told["kills"] += done
        told["before a first state"] += without
        told["runs"] += 1
        told["equal"] += equal(place / f"killed-{i}", place / f"whole-{i}")
        print(told, flush=True)
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--longest", type=float, default=1.0, help="seconds between two kills, at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        told = run(args.kills, args.runs, Path(place), args.longest, args.seed)
    sys.exit(told["equal"] < told["runs"])
