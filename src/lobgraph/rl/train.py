"""The training loop: rollout, advantages, update, log; checkpoints on the way and a summary at the end."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..config import Config
from ..models.policy import PolicySet, make_policies
from .actors import Actor, held_actors
from .held import check_learners, hold
from .ppo import PPO
from .progress import Progress, print_summary
from .rollout import Rollout, TrainingError, VectorEnv
from .run import Run, RunWriter, new_directory

Callback = Callable[["Trainer", dict[str, float]], Any]


class Trainer:
    """Everything that changes during training. One `step` is one update; `train` wraps it with files and a display.

    env: of all roles. held: who acts for the roles that do not learn, by role; None: as `cfg` says.
    """

    def __init__(self, cfg: Config, env: VectorEnv, held: Mapping[str, Actor] | None = None) -> None:
        self.cfg = cfg
        self.market = env
        self.env = env = hold(
            env, held_actors(cfg, env.specs) if held is None else held
        )  # of those that learn
        self.policies: PolicySet = make_policies(env, cfg)
        self.sampling = torch.Generator().manual_seed(2 * cfg.run.seed)  # actions
        self.shuffling = torch.Generator().manual_seed(2 * cfg.run.seed + 1)  # minibatches
        aversion = {role: getattr(cfg.agents, role).risk_aversion for role in env.specs}
        self.rollout = Rollout(env, self.policies, cfg.ppo, aversion)
        self.ppo = PPO(self.policies, cfg.ppo, self.shuffling)
        self.samples = cfg.ppo.rollout_steps * env.num_envs  # env steps per update
        self.updates = math.ceil(cfg.ppo.total_steps / self.samples)
        self.update = 0  # done so far
        self.env_steps = 0

    def start(self) -> None:
        """Reset the environment; call once before the first step."""
        self.rollout.warm_up()

    def step(self) -> dict[str, float]:
        """One rollout and one update. Returns the update's metrics; raises TrainingError naming it."""
        self.update += 1
        try:
            return self._step()
        except (TrainingError, FloatingPointError) as error:
            raise TrainingError(f"update {self.update}: {error}") from error

    def _step(self) -> dict[str, float]:
        start = perf_counter()
        self.rollout.collect(self.sampling)
        collected = perf_counter()
        self.rollout.advantages()
        ready = perf_counter()
        losses = self.ppo.update(self.rollout, self.lr, self.ent_coef)
        if self.cfg.ppo.norm_obs:
            self.policies.commit()  # only now, so that the update saw what the rollout saw
        end = perf_counter()
        self.env_steps += self.samples
        metrics: dict[str, float] = {"update": self.update, "env_steps": self.env_steps}
        metrics["time/sps"] = self.samples / (end - start)
        metrics |= {f"time/{name}": seconds for name, seconds in self.rollout.seconds.items()}
        metrics |= {"time/gae": ready - collected, "time/update": end - ready}
        return metrics | losses | self._reward_metrics()

    @property
    def progress(self) -> float:
        """Share of the updates done before the current one."""
        return (self.update - 1) / self.updates

    @property
    def lr(self) -> float:
        falls = self.cfg.ppo.lr_schedule == "linear"
        return self.cfg.ppo.lr * (1.0 - self.progress if falls else 1.0)

    @property
    def ent_coef(self) -> float:
        ppo = self.cfg.ppo
        return ppo.ent_coef * (1.0 - (1.0 - ppo.ent_decay) * self.progress)

    # --- what the episodes that ended in this update brought ---

    def _ended(self, key: str, role: str) -> np.ndarray:
        """(D, K, ...) float64 of `key` over the episodes that ended in the rollout; D may be 0."""
        rows = [np.asarray(episodes[key][role], dtype=np.float64) for episodes in self.rollout.episodes]
        return np.concatenate(rows) if rows else np.zeros((0, self.market.specs[role].count))

    def _reward_metrics(self) -> dict[str, float]:
        """rewards/<role>/mean, terms/<role>/<term> and inventory/<role>/max over episodes, NaN where none ended.

        Of roles that learn also rewards/<role>/step, over all steps of the rollout.
        """
        metrics: dict[str, float] = {}
        for role, spec in self.market.specs.items():
            returns = self._ended("return", role)
            metrics[f"rewards/{role}/mean"] = float(returns.mean()) if len(returns) else math.nan
            if store := self.rollout.roles.get(role):
                counted = int(store.active.sum())
                metrics[f"rewards/{role}/step"] = (
                    float(store.rewards.sum()) / counted if counted else math.nan
                )
            terms = self._ended("terms", role)
            for i, name in enumerate(spec.reward_terms):
                metrics[f"terms/{role}/{name}"] = float(terms[..., i].mean()) if len(returns) else math.nan
            largest = self._ended("max_inventory", role)
            metrics[f"inventory/{role}/max"] = float(largest.max()) if len(returns) else math.nan
        return metrics

    def reward_rows(self, seconds: float) -> list[dict[str, Any]]:
        """Rows of rewards.csv for the episodes that ended in the last update: one per role and agent, or none."""
        if not self.rollout.episodes:
            return []
        lengths = np.concatenate([np.asarray(e["length"], dtype=np.float64) for e in self.rollout.episodes])
        rows = []
        for role, spec in self.market.specs.items():
            returns, largest = self._ended("return", role), self._ended("max_inventory", role)
            who = getattr(self.cfg.agents, role).actor
            for k in range(spec.count):
                own = returns[:, k]
                rows.append({
                    "update": self.update, "env_steps": self.env_steps, "seconds": round(seconds, 3),
                    "role": role, "agent": k, "episodes": len(own), "reward_mean": own.mean(),
                    "reward_std": own.std(), "reward_min": own.min(), "reward_max": own.max(),
                    "inventory_max": largest[:, k].max(), "length_mean": lengths.mean(), "actor": who,
                })  # fmt: skip
        return rows


def train(
    cfg: Config,
    *,
    directory: str | Path | None = None,
    callback: Callback | None = None,
    env: VectorEnv | None = None,
) -> Run:
    """Train the policies of the roles in `cfg` whose actor is `learn`, and write a run directory.

    The other roles act in the same market as their `actor` says. directory: where to write, new or empty; None: <run.dir>/<name>/<time>-s<seed>.
    callback: called after each update with the Trainer and the update's metrics; a true result stops training.
    env: the environment to train in; None: a MarketEnv of `cfg`.
    The first Ctrl-C finishes the update, saves and returns; a second one stops at once.
    Raises ConfigError if no role learns, StrategyError or PolicyError for an actor that cannot be made, before anything
    is written; TrainingError if a loss, reward or observation is not finite; the last checkpoint is then intact.
    """
    roles = list(cfg.counts if env is None else env.specs)
    held = held_actors(cfg, roles)
    check_learners([role for role in roles if role not in held], roles)
    with _threads(cfg.run.torch_threads):
        if env is None:
            from ..env.market_env import MarketEnv
            from ..market import is_compiled

            env = MarketEnv(cfg, seed=cfg.run.seed)
            if not is_compiled():
                print(
                    "compiling the market's kernels: about half a minute, once for each version", flush=True
                )
        trainer = Trainer(cfg, env, held)
        path = new_directory(cfg, directory)
        writer = RunWriter(path, cfg)
        try:
            with _interruptible() as interrupted, Progress(cfg, trainer.updates, trainer.samples) as progress:
                _loop(trainer, writer, progress, callback, interrupted)
            history, rewards = writer.frame(), writer.rewards()
        finally:
            writer.close()
        if cfg.run.progress:
            print_summary(path, trainer, history)
    trainer.policies.eval()
    return Run(path, trainer.policies, history, rewards)


def _loop(
    trainer: Trainer,
    writer: RunWriter,
    progress: Progress,
    callback: Callback | None,
    interrupted: threading.Event,
) -> None:
    start = perf_counter()
    trainer.start()
    saved = -1
    while trainer.update < trainer.updates:
        metrics = trainer.step()
        writer.add(metrics, trainer.reward_rows(perf_counter() - start))
        progress.show(metrics)
        stop = bool(callback is not None and callback(trainer, metrics)) or interrupted.is_set()
        if stop or trainer.update % trainer.cfg.run.checkpoint_every == 0:
            writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps)
            saved = trainer.update
        if stop:
            why = "interrupted" if interrupted.is_set() else "stopped by the callback"
            progress.say(
                f"{why} after update {trainer.update} of {trainer.updates}; saved to {writer.directory}"
            )
            return
    if saved != trainer.update:
        writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run with `count` torch threads (0: leave them), then restore."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first SIGINT sets the event and restores the old handler, so that the second one stops the program."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(*_: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
