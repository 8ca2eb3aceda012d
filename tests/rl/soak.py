"""A long training: does memory stay flat, does speed, do the accounts balance?

    python tests/rl/soak.py --minutes 60

Prints a line a minute: updates, memory, processor seconds an update, size of the run's directory. Memory is what the process
has allocated and resides (RssAnon): pages of libraries come and go as the system likes. Metrics stay in memory, eight bytes
each. Exits with 1 if memory besides them grew by more than 5 % between a quarter of the time and the end, or an update by more
than a quarter in processor time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lobgraph.config import load_config
from lobgraph.rl.train import train

SETTINGS = (
    "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.arbitrageur.count=1", "env.num_envs=32",
    "env.episode_steps=50", "env.threads=1", "ppo.rollout_steps=16", "ppo.minibatches=4", "ppo.epochs=2", "graph.hidden=32",
    "run.checkpoint_every=20", "run.evaluate_every=200", "run.progress=false", "run.tensorboard_mb=4",
)  # fmt: skip


def memory() -> float:
    """Allocated and resident now, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024 / 1e6


def soak(minutes: float, place: Path) -> list[dict[str, float]]:
    """A row a minute (or a tenth of the time, if that is less)."""
    rows: list[dict[str, float]] = []
    every, start = min(60.0, minutes * 6.0), time.monotonic()
    last = {"time": start, "update": 0, "cpu": time.process_time()}

    def look(trainer: Any, metrics: Any) -> bool:
        now = time.monotonic()
        if now - last["time"] >= every:
            cpu, done = time.process_time(), trainer.update - last["update"]
            size = sum(p.stat().st_size for p in place.rglob("*") if p.is_file()) / 1e6
            rows.append({
                "minutes": (now - start) / 60.0, "updates": trainer.update, "memory_mb": memory(),
                "cpu_s_per_update": (cpu - last["cpu"]) / done, "directory_mb": size, "metrics_mb": trainer.update * len(metrics) * 8e-6,
            })  # fmt: skip
            last.update(time=now, update=trainer.update, cpu=cpu)
            print("  ".join(f"{k} {v:.4g}" for k, v in rows[-1].items()), flush=True)
        return now - start >= minutes * 60.0

    torch.set_num_threads(1)
    train(load_config(None, [*SETTINGS, "ppo.total_steps=10_000_000_000"]), directory=place / "run", callback=look)  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--minutes", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = soak(args.minutes, Path(place))
    later = rows[len(rows) // 4 :]
    held = later[-1]["metrics_mb"] - later[0]["metrics_mb"]
    growth = (later[-1]["memory_mb"] - held) / later[0]["memory_mb"] - 1.0
    early, late = np.array_split([row["cpu_s_per_update"] for row in later], 2)
    slower = float(np.median(late) / np.median(early) - 1.0)
    print(f"memory {later[0]['memory_mb']:.0f} -> {later[-1]['memory_mb']:.0f} MB, of which {held:.0f} metrics ({growth:+.1%} without), an update {slower:+.1%} of processor time")  # fmt: skip
    sys.exit(growth > 0.05 or slower > 0.25)
