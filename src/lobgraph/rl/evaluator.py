"""Evaluation while training goes on: the same episodes each time, by the policies' mean actions; which policy is the best.

The episodes are those of another seed than training's, whole, with the regimes as configured whatever the curriculum,
and held roles held. Nothing of the training is touched: it goes on as if there were no evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..config import Config, ConfigError
from ..models.policy import PolicySet
from .rollout import TrainingError, VectorEnv

SEED = (
    500_000_003  # added to the run's seed; another than those of `lobgraph evaluate` and of a run's figures
)
LOOK = 16  # steps on a GPU after which it is asked whether an episode still runs


class Evaluator:
    """Judges policies by the episodes of `env`, and remembers the best and how long ago it was found.

    Args:
        cfg: the configuration; its run.evaluate_every, best_role and patience count here.
        env: a batch of environments of the learning roles, of its own; the first episode of each is played.
    """

    def __init__(self, cfg: Config, env: VectorEnv) -> None:
        self.cfg, self.env = cfg, env
        self.best = 0  # update of the best policy so far; 0: none
        self.count = 0  # evaluations so far
        self.waited = 0  # evaluations since the last clear improvement
        self.latest: dict[str, float] = {}  # metrics of the best policy
        self._most = -math.inf  # the best score
        self._mark: np.ndarray | None = None  # (n,) scores of the last policy that was a clear improvement

    def due(self, update: int, updates: int) -> bool:
        """Every run.evaluate_every updates, and after the last one."""
        return update % self.cfg.run.evaluate_every == 0 or update == updates

    def evaluate(self, policies: PolicySet, update: int, counts: bool = True) -> dict[str, float]:
        """Metrics eval/<role>/reward, eval/<role>/error (its standard error), eval/best (update), time/evaluation.

        `counts`: towards run.patience. Raises TrainingError for a reward that is not finite.
        """
        start = perf_counter()
        rewards = self.play(policies)
        metrics: dict[str, float] = {}
        for role, each in rewards.items():
            if not np.isfinite(each).all():
                raise TrainingError(f"evaluation after update {update}: {role} reward is not finite")
            metrics[f"eval/{role}/reward"], metrics[f"eval/{role}/error"] = mean_error(each)
        chosen = self.cfg.run.best_role
        scores = np.sum([each for role, each in rewards.items() if chosen in (None, role)], axis=0)
        self.count += 1
        if scores.mean() > self._most:
            self._most, self.best, self.latest = float(scores.mean()), update, dict(metrics)
        if self._mark is None or clearly_above(scores, self._mark):
            self._mark, self.waited = scores, 0
        elif counts:
            self.waited += 1
        metrics["eval/best"] = self.best
        metrics["time/evaluation"] = perf_counter() - start
        return metrics

    @property
    def out_of_patience(self) -> bool:
        patience = self.cfg.run.patience
        return patience is not None and self.waited >= patience

    def save(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What it remembers, as plain values and arrays."""
        values = {"best": self.best, "count": self.count, "waited": self.waited, "latest": self.latest, "most": self._most}  # fmt: skip
        return values, {} if self._mark is None else {"mark": self._mark}

    def load(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Remember that instead."""
        self.best, self.count, self.waited = values["best"], values["count"], values["waited"]
        self.latest, self._most, self._mark = dict(values["latest"]), values["most"], arrays.get("mark")

    def play(self, policies: PolicySet) -> dict[str, np.ndarray]:
        """Role -> (E,) float64 reward of each environment's first episode, the mean over the role's agents."""
        env = self.env
        policies.forget()
        obs = env.reset()
        device = env.nodes.device
        totals = {role: torch.zeros(env.num_envs, dtype=torch.float64, device=device) for role in env.specs}
        running = torch.ones(env.num_envs, dtype=torch.bool, device=device)
        starts, steps = running.clone(), 0
        every = 1 if device.type == "cpu" else LOOK  # to look is to wait for the device
        while steps % every or running.any():
            steps += 1
            obs, reward, _, _, info = env.step(policies.act(obs, deterministic=True, fresh=starts))
            for role, total in totals.items():
                total += torch.where(running, reward[role].double().mean(1), 0.0)
            running &= ~info["done"]
            starts = torch.zeros_like(running)
        policies.forget()
        return {role: total.cpu().numpy() for role, total in totals.items()}


def mean_error(x: np.ndarray) -> tuple[float, float]:
    """Mean of (n,) and its standard error."""
    return float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x)))


def clearly_above(scores: np.ndarray, mark: np.ndarray) -> bool:
    """Whether the mean over the same episodes has risen by more than the standard error of its rise."""
    rise, error = mean_error(scores - mark)
    return rise > error


def check_evaluation(cfg: Config, env: VectorEnv, learners: list[str]) -> None:
    """Raise ConfigError for settings of evaluations that cannot be met in `env`."""
    run = cfg.run
    if run.best_role is not None and run.best_role not in learners:
        raise ConfigError(f"run.best_role: {run.best_role!r} does not learn; those that do are {learners}")
    if run.patience is not None and (run.evaluate_every == 0 or not hasattr(env, "copy")):
        why = (
            "run.evaluate_every is 0"
            if run.evaluate_every == 0
            else f"{type(env).__name__} has no copy(num_envs, seed)"
        )
        raise ConfigError(f"run.patience: counts evaluations, and there are none: {why}")
