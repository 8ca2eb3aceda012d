"""Trainings whose weights are written down in reference.json: what a change of the code may not change.

`python tests/rl/reference.py` writes them anew; do so only for a change that is meant to change what is learned.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy import ToyEnv, toy_config

from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.rl.trainer import Trainer

FILE = Path(__file__).parent / "reference.json"
ALL = {"maker": 2, "taker": 1, "arbitrageur": 1}
SHORT = "ppo.total_steps=2048"  # 4 updates


def toy(*overrides: str, updates: int = 4, **env: Any) -> Callable[[], Trainer]:
    def make() -> Trainer:
        return Trainer(toy_config(f"ppo.total_steps={512 * updates}", *overrides), ToyEnv(**env))

    return make


def market(*overrides: str) -> Callable[[], Trainer]:
    def make() -> Trainer:
        base = (
            "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=16",
            "env.episode_steps=12", "env.stagger=true", "flow.warmup=2", "ppo.rollout_steps=16", "ppo.total_steps=1024",
            "agents.maker.risk.max_drawdown=20", "graph.hidden=16", "run.torch_threads=1", "env.threads=1",
        )  # fmt: skip
        cfg = load_config(None, [*base, *overrides])
        return Trainer(cfg, MarketEnv(cfg))

    return make


CASES: dict[str, Callable[[], Trainer]] = {
    "three roles, some end early": toy(roles=ALL, end_at=5),
    "one policy per agent": toy("ppo.sharing=agent", "graph.encoder=gat", roles=ALL),
    "one trunk": toy("ppo.sharing=all", "ppo.norm_adv=false", roles=ALL, end_at=3),
    "encoders apart": toy("graph.shared=false", "graph.encoder=mean", "ppo.norm_obs=false", roles=ALL),
    "memory": toy("graph.memory=gru", "ppo.minibatches=4", roles=ALL, episode=5, end_at=3),
    "stopped by its divergence": toy("ppo.lr=0.05", "ppo.target_kl=0.002", updates=6),
    "bounded deviation, entropy": toy("ppo.std_end=0.05", "ppo.ent_coef=0.01", roles={"maker": 1}),
    "rewards as they are": toy("ppo.norm_reward=false", "ppo.max_grad_norm=0.05", roles=ALL, delay=1),
    "constant reward": toy(constant=1.0, episode=10),
    "market": market(),
    "market, risk-averse": market("agents.maker.risk_aversion=0.01", "agents.taker.gamma=0.9"),
    "market, held taker, memory": market("agents.taker.actor=twap", "graph.memory=gru"),
    "market, pairs": market("agents.arbitrageur.count=1", "agents.taker.count=0", "graph.hide=[spread]"),
}


def weights(trainer: Trainer) -> np.ndarray:
    """All parameters and statistics after all updates, float64 in the order of their names."""
    trainer.start()
    for _ in range(trainer.updates):
        trainer.step()
    state = trainer.policies.state_dict()
    return np.concatenate([state[name].double().numpy().ravel() for name in sorted(state)])


def describe(x: np.ndarray) -> dict[str, Any]:
    return {"hash": hashlib.sha256(x.tobytes()).hexdigest(), "size": x.size, "norm": float(np.linalg.norm(x)),
            "sample": x[:: max(1, x.size // 40)].tolist()}  # fmt: skip


def machine() -> dict[str, str]:
    """Where the same operations give the same bits."""
    cpu = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), "")  # noqa: SIM115
    return {"torch": torch.__version__, "level": torch.backends.cpu.get_cpu_capability(), "cpu": cpu, "system": platform.machine()}  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {name: describe(weights(make())) for name, make in CASES.items()}
    FILE.write_text(json.dumps({"machine": machine(), "cases": found}, indent=1) + "\n")
