"""The training loop: rollout, advantages, update, log; evaluations and checkpoints on the way and a summary at the end."""

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

from ..config import Config, ConfigError, check_minibatches
from ..models.normalise import RunningMoments
from ..models.policy import PolicySet, make_policies
from .actors import Actor, held_actors
from .checkpoint import load_policies
from .evaluator import SEED, Evaluator, check_evaluation
from .graphs import use_graphs
from .group import ALONE, Group, read
from .held import check_learners, hold
from .ppo import PPO
from .progress import Progress, print_summary
from .rollout import Rollout, TrainingError, VectorEnv, aims_of
from .run import Run, RunWriter, Stopped, new_directory
from .schedules import between, share

STOPPED = {
    "interrupted": "interrupted",
    "callback": "stopped by the callback",
    "patience": "no rise beyond its standard error for run.patience evaluations: stopped",
}
Callback = Callable[["Trainer", dict[str, float]], Any]


class Trainer:
    """Everything that changes during training. One `step` is one update; `train` wraps it with files and a display.

    env: of all roles. held: who acts for the roles that do not learn, by role; None: as `cfg` says. group: who trains the same
    policies with other environments; `step` then is one update of all together.
    """

    def __init__(
        self, cfg: Config, env: VectorEnv, held: Mapping[str, Actor] | None = None, group: Group = ALONE
    ) -> None:
        self.cfg = cfg
        self.market = env
        self.env = env = hold(
            env, held_actors(cfg, env.specs) if held is None else held
        )  # of those that learn
        try:
            check_minibatches(cfg, env.num_envs)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if cfg.curriculum and not hasattr(self.market, "set_regimes"):
            raise ConfigError(
                f"curriculum: {type(self.market).__name__} has no regimes to choose (no method set_regimes)"
            )
        self.group = group
        self.policies: PolicySet = make_policies(env, cfg)
        self.policies.autocast = cfg.ppo.precision == "bf16"
        self.moments = [m for m in self.policies.modules() if isinstance(m, RunningMoments)]
        for moments in self.moments:
            moments.reduce = None if group.alone else group.sum
        device = self.policies.device
        self.sampling = torch.Generator(device).manual_seed(2 * cfg.run.seed)  # actions
        self.shuffling = torch.Generator(device).manual_seed(2 * cfg.run.seed + 1)  # minibatches
        recur = torch.compile(self.policies.recur, dynamic=False) if cfg.ppo.compile else self.policies.recur
        graphs = use_graphs(cfg.run.cuda_graphs, device)
        self.ppo = PPO(self.policies, cfg.ppo, self.shuffling, group, recur, graphs)
        self.rollout = Rollout(
            env, self.policies, cfg.ppo, aims_of(cfg, env.specs), self.sampling, group, recur,
            graphs and getattr(env, "capturable", False),
        )  # fmt: skip
        self.samples = cfg.ppo.rollout_steps * env.num_envs * group.size  # env steps per update
        self.updates = math.ceil(cfg.ppo.total_steps / self.samples)
        self.update = 0  # done so far
        self.env_steps = 0

    def start(self) -> None:
        """Reset the environment; call once before the first step."""
        self._enter_stage(0)
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
        self._enter_stage(self.stage)
        self.rollout.collect()
        phases = self.rollout.phases
        self.rollout.advantages()
        phases.end("gae")
        losses = self.ppo.update(self.rollout, self.lr, self.ent_coef, self.std_bound)
        if any(read({"bad": torch.stack([m.bad.any() for m in self.moments])})["bad"]):
            for moments in self.moments:
                moments.check()
        if self.cfg.ppo.norm_obs:
            self.policies.commit()  # only now, so that the update saw what the rollout saw
        phases.end("update")
        seconds = phases.read()
        end = perf_counter()
        self.env_steps += self.samples
        metrics: dict[str, float] = {"update": self.update, "env_steps": self.env_steps}
        metrics["time/sps"] = self.samples / (end - start)
        metrics |= {f"time/{name}": x for name, x in seconds.items()}
        if self.cfg.curriculum:
            metrics["charts/stage"] = self.stage
        return metrics | losses | self._reward_metrics()

    @property
    def progress(self) -> float:
        """Share of the updates done before the current one."""
        return (self.update - 1) / self.updates

    @property
    def lr(self) -> float:
        ppo = self.cfg.ppo
        return ppo.lr * share(ppo.lr_schedule, self.update, self.updates, ppo.lr_end, ppo.lr_warmup)

    @property
    def ent_coef(self) -> float:
        ppo = self.cfg.ppo
        return ppo.ent_coef * share(ppo.ent_schedule, self.update, self.updates, ppo.ent_decay)

    @property
    def std_bound(self) -> float | None:
        """Of the policies that the current update makes: `ppo.std_end` after the last one."""
        ppo = self.cfg.ppo
        return ppo.std_end and between(ppo.initial_std, ppo.std_end, self.update / self.updates)

    @property
    def stage(self) -> int:
        """Of the curriculum: the first that has not ended; len(cfg.curriculum) after all, regimes as configured."""
        stages = self.cfg.curriculum
        return next((i for i, s in enumerate(stages) if self.progress < s.until), len(stages))

    def _enter_stage(self, stage: int) -> None:
        """Draw regimes as the stage says, of episodes that start from now on; they switch as it says at once."""
        stages = self.cfg.curriculum
        if not stages:
            return
        law = (stages[stage].initial, stages[stage].switch) if stage < len(stages) else ()
        self.market.set_regimes(*law)  # type: ignore[attr-defined]  # checked when made

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
            if role in self.rollout.roles:
                counted = self.rollout.taking_part[role]
                metrics[f"rewards/{role}/step"] = self.rollout.paid[role] / counted if counted else math.nan
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
    env: the environment to train in; None: a MarketEnv of `cfg`. Policies are evaluated on the way if it has a method
        copy(num_envs, seed) that returns another batch of the same environment (run.evaluate_every).
    The first Ctrl-C finishes the update, saves and returns; a second one stops at once.
    Raises ConfigError if no role learns or a setting does not fit, StrategyError or PolicyError for an actor that cannot be made, before anything
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
        check_evaluation(cfg, env, list(trainer.env.specs))
        evaluator = _evaluator(cfg, env, held)
        path = new_directory(cfg, directory)
        writer = RunWriter(path, cfg)
        try:
            with _interruptible() as interrupted, Progress(cfg, trainer.updates, trainer.samples) as progress:
                if evaluator is None and cfg.run.evaluate_every:
                    progress.say(f"no evaluation: {type(env).__name__} has no copy(num_envs, seed)")
                stopped = _loop(trainer, writer, progress, evaluator, callback, interrupted)
            history, rewards = writer.frame(), writer.rewards()
        finally:
            writer.close()
        if cfg.run.progress:
            print_summary(path, trainer, history, evaluator)
    return Run(path, load_policies(path, trainer.env), history, rewards, stopped)


def _evaluator(cfg: Config, env: VectorEnv, held: Mapping[str, Actor]) -> Evaluator | None:
    """With environments of its own; None where there are to be no evaluations, or `env` cannot be copied."""
    copy = getattr(env, "copy", None)
    if copy is None or not cfg.run.evaluate_every:
        return None
    return Evaluator(cfg, hold(copy(cfg.run.evaluate_episodes, cfg.run.seed + SEED), held))


def _loop(
    trainer: Trainer,
    writer: RunWriter,
    progress: Progress,
    evaluator: Evaluator | None,
    callback: Callback | None,
    interrupted: threading.Event,
) -> Stopped:
    """Train to the end, or until somebody stops it. Returns who did."""
    start = perf_counter()
    trainer.start()
    stopped: Stopped = ""
    while trainer.update < trainer.updates and not stopped:
        metrics = trainer.step()
        seconds = perf_counter() - start
        if evaluator is not None and evaluator.due(trainer.update, trainer.updates):
            counts = trainer.stage == len(trainer.cfg.curriculum)  # the curriculum goes on in any case
            metrics |= evaluator.evaluate(trainer.policies, trainer.update, counts)
            if evaluator.best == trainer.update:
                writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps, evaluator.latest)
        writer.add(metrics, trainer.reward_rows(seconds))
        progress.show(metrics)
        if callback is not None and callback(trainer, metrics):
            stopped = "callback"
        elif interrupted.is_set():
            stopped = "interrupted"
        elif evaluator is not None and evaluator.out_of_patience and trainer.update < trainer.updates:
            stopped = "patience"
        if stopped or trainer.update % trainer.cfg.run.checkpoint_every == 0:
            writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps)
    if stopped:
        where = f"after update {trainer.update} of {trainer.updates}; saved to {writer.directory}"
        progress.say(f"{STOPPED[stopped]} {where}")
    elif trainer.update % trainer.cfg.run.checkpoint_every:
        writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps)
    return stopped


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
