"""The training loop: rollout, advantages, update, log; evaluations and checkpoints on the way and a summary at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..config import Config, ConfigError
from ..files import clear_temporaries
from .actors import Actor, held_actors, idle
from .checkpoint import load_policies, load_tensors
from .evaluator import SEED, Evaluator, check_evaluation
from .group import ALONE, Group
from .held import check_learners, hold
from .inputs import pinned
from .loggers import check_loggers
from .processes import place_of, train_together
from .progress import Progress, print_summary
from .resume import (
    REST,
    Keeper,
    ResumeError,
    check_market,
    config_of,
    differences,
    find_state,
    part_of,
    put_back,
)
from .rollout import TrainingError, VectorEnv
from .run import Run, RunWriter, Stopped, locked, new_directory
from .signals import STOPS, first_stop
from .trainer import Trainer

STOPPED = {
    "interrupted": "interrupted",
    "callback": "stopped by the callback",
    "patience": "no rise beyond its standard error for run.patience evaluations: stopped",
}
Callback = Callable[["Trainer", dict[str, float]], Any]


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
    cfg = pinned(cfg)
    if cfg.run.processes > 1:
        if env is not None or callback is not None:
            raise ConfigError(
                "run.processes: several make their markets from the configuration; give no env and no callback"
            )
        return train_together(cfg, directory)
    run = train_part(cfg, ALONE, directory, callback, env)
    assert run is not None
    return run


def resume(
    directory: str | Path,
    overrides: list[str] | None = None,
    *,
    callback: Callback | None = None,
    env: VectorEnv | None = None,
) -> Run:
    """Go on with the training of a run that was stopped or killed, to its end: weights, metrics and rewards.csv (but for times)
    are those of one that was never stopped, to the bit, with as many threads on the same versions; a difference is said.

    overrides: only of resume.FREE; with another ppo.total_steps schedules follow the new one from here on. callback, env: as in
    `train`; env must be of the kind that the run was trained in. Raises ResumeError if there is no state to go on from,
    FileExistsError while another process trains in the directory, and what `train` does.
    """
    path = Path(directory)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run directory")
    cfg = config_of(find_state(path), overrides)
    if cfg.run.processes > 1:
        return train_together(cfg, path, resuming=True)
    run = train_part(cfg, ALONE, path, callback, env, resuming=True)
    assert run is not None
    return run


def train_part(
    cfg: Config,
    group: Group,
    directory: str | Path | None = None,
    callback: Callback | None = None,
    env: VectorEnv | None = None,
    resuming: bool = False,
) -> Run | None:
    """`train` or `resume` as one process of a group; those beyond process 0 write but their states, and return None."""
    roles = list(cfg.counts if env is None else env.specs)
    held = held_actors(cfg, roles)
    check_learners([role for role in roles if role not in held], roles)
    check_loggers(cfg)
    with settings_of(cfg):
        env = make_market(cfg, group) if env is None else env
        trainer = Trainer(cfg, env, held, group)
        check_evaluation(cfg, env, list(trainer.env.specs))
        if group.rank:
            path = Path(group.told(""))
            since, _, _ = _restore(trainer, None, path, resuming)
            _loop(trainer, Keeper(path, cfg, group), since=since)
            return None
        evaluator = _evaluator(cfg, env, held)
        compile_market(env)
        interrupted = threading.Event()
        stops = STOPS if group.alone else STOPS[:1]  # a SIGTERM to one of several is to end it
        with first_stop(interrupted.set, stops):  # from before there are files on
            path = Path(directory) if resuming and directory is not None else new_directory(cfg, directory)
            with locked(path):
                group.told(str(path))
                clear_temporaries(path)
                clear_temporaries(path / "checkpoints")
                keeper = Keeper(path, cfg, group)
                since, rest, odd = _restore(trainer, evaluator, path, resuming)
                writer = RunWriter(path, cfg, since, rest)
                try:
                    with (
                        keeper.repro_of(trainer),
                        Progress(cfg, trainer.updates, trainer.samples, trainer.update) as progress,
                    ):
                        if evaluator is None and cfg.run.evaluate_every:
                            progress.say(f"no evaluation: {type(env).__name__} has no copy(num_envs, seed)")
                        if since is not None:
                            progress.say(f"resumed after update {trainer.update} of {trainer.updates}")
                        for line in odd:
                            progress.say(
                                f"not as it was: {line}; equal to rounding from here on, not to the bit"
                            )
                        for line in writer.changed:
                            progress.say(f"not as it was: {line}; from here on it is another training")
                        stopped = _loop(
                            trainer, keeper, writer, progress, evaluator, callback, interrupted, since
                        )
                    history, rewards = writer.frame(), writer.rewards()
                    writer.tell("stopped" if stopped else "finished", stopped)
                except BaseException as error:
                    by_hand = isinstance(error, KeyboardInterrupt)
                    with suppress(OSError):  # a full disk must not hide what went wrong
                        writer.tell(
                            "stopped" if by_hand else "failed",
                            "interrupted" if by_hand else _why(error),
                        )
                    with suppress(OSError):
                        writer.close()
                    raise
                writer.close()
        if cfg.run.progress:
            print_summary(path, trainer, history, evaluator)
    return Run(path, load_policies(path, trainer.env), history, rewards, stopped)


def _why(error: BaseException) -> str:
    """What ended a training, for state.json."""
    if isinstance(error, SystemExit):
        return f"the program ended itself (exit code {error.code}), as it does where nobody reads its output"
    return str(error) or type(error).__name__


def _restore(
    trainer: Trainer, evaluator: Evaluator | None, path: Path, resuming: bool
) -> tuple[dict[str, Any] | None, Tensor | None, list[str]]:
    """Make the trainer what the directory's last state says. Returns the state's values (None: a new run), its rows of metrics,
    and what differs now.
    """
    if not resuming:
        return None, None, []
    state = part_of(find_state(path), trainer.group)
    tensors, about = load_tensors(state)
    check_market(about, trainer.market, state)
    try:
        put_back(trainer, evaluator, tensors, about)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ResumeError(f"{state}: does not fit this training: {error}") from None
    if trainer.updates < trainer.update:
        raise ResumeError(
            f"ppo.total_steps: {trainer.cfg.ppo.total_steps} are {trainer.updates} updates, and {trainer.update} were made "
            f"already; at least {trainer.update * trainer.samples} is right"
        )
    return about, tensors.get(REST), differences(about, trainer)


def compile_market(env: VectorEnv) -> None:
    """Compile the market's kernels, where they have not been, in one environment of the same market: what is timed does not hold it."""
    from ..env.market_env import MarketEnv
    from ..market import is_compiled

    if isinstance(env, MarketEnv) and not is_compiled():
        one = env.copy(1, env.seed)
        one.reset()
        one.step({role: idle(one, role) for role in one.specs})


def make_market(cfg: Config, group: Group) -> VectorEnv:
    """The group's environments that are this process's."""
    from ..env.market_env import MarketEnv

    device, envs = place_of(cfg, group), cfg.env.num_envs // group.size
    if not group.alone and not cfg.env.threads:  # the processes share the cores
        threads = max(1, len(os.sched_getaffinity(0)) // group.size)
        cfg = cfg.model_copy(update={"env": cfg.env.model_copy(update={"threads": threads})})
    return MarketEnv(cfg, envs, cfg.run.seed, str(device), first_env=group.rank * envs)


def _evaluator(cfg: Config, env: VectorEnv, held: Mapping[str, Actor]) -> Evaluator | None:
    """With environments of its own; None where there are to be no evaluations, or `env` cannot be copied."""
    copy = getattr(env, "copy", None)
    if copy is None or not cfg.run.evaluate_every:
        return None
    return Evaluator(cfg, hold(copy(cfg.run.evaluate_episodes, cfg.run.seed + SEED), held))


def _loop(
    trainer: Trainer,
    keeper: Keeper,
    writer: RunWriter | None = None,
    progress: Progress | None = None,
    evaluator: Evaluator | None = None,
    callback: Callback | None = None,
    interrupted: threading.Event | None = None,
    since: Mapping[str, Any] | None = None,
) -> Stopped:
    """Train to the end, or until somebody stops it. Returns who did. Without a writer process 0 decides and tells."""
    start = perf_counter() - (since["seconds"] if since else 0.0)
    if since is None:
        trainer.start()
    stopped: Stopped = ""
    if evaluator is not None and evaluator.out_of_patience:
        stopped = "patience"
    stopped = trainer.group.told(stopped)
    saved = trainer.update if since else -1
    if since is None or since.get("config") != trainer.cfg.model_dump(
        mode="json"
    ):  # as it is to go on from now
        saved = _checkpoint(trainer, keeper, writer, evaluator, saved, perf_counter() - start)
    while trainer.update < trainer.updates and not stopped:
        metrics = trainer.step()
        if writer is None or progress is None or interrupted is None:
            stopped = trainer.group.told(stopped)
        else:
            seconds = perf_counter() - start
            if evaluator is not None and evaluator.due(trainer.update, trainer.updates):
                counts = trainer.stage == len(trainer.cfg.curriculum)  # the curriculum goes on in any case
                metrics |= evaluator.evaluate(trainer.policies, trainer.update, counts)
                if evaluator.best == trainer.update:
                    with _told_where(trainer, saved, writer.directory):
                        writer.checkpoint(
                            trainer.policies, trainer.update, trainer.env_steps, evaluator.latest
                        )
            with _told_where(trainer, saved, writer.directory):
                writer.add(metrics, trainer.reward_rows(seconds))
            progress.show(metrics)
            if callback is not None and callback(trainer, metrics):
                stopped = "callback"
            elif interrupted.is_set():
                stopped = "interrupted"
            elif evaluator is not None and evaluator.out_of_patience and trainer.update < trainer.updates:
                stopped = "patience"
            stopped = trainer.group.told(stopped)
        if stopped or trainer.update % trainer.cfg.run.checkpoint_every == 0:
            saved = _checkpoint(trainer, keeper, writer, evaluator, saved, perf_counter() - start)
    if saved < trainer.update:
        _checkpoint(trainer, keeper, writer, evaluator, saved, perf_counter() - start)
    if writer is None or progress is None:
        return stopped
    if stopped:
        where = f"after update {trainer.update} of {trainer.updates}; saved to {writer.directory}"
        progress.say(f"{STOPPED[stopped]} {where}")
        if stopped in ("interrupted", "callback") and not keeper.why:
            progress.say(f"to go on: lobgraph train --resume {writer.directory}")
    if keeper.why:
        progress.say(f"cannot be resumed: {keeper.why}")
    return stopped


def _checkpoint(
    trainer: Trainer,
    keeper: Keeper,
    writer: RunWriter | None,
    evaluator: Evaluator | None,
    before: int,
    seconds: float,
) -> int:
    """Write the policies, the tables and then the state. Returns the update; before: that of the last one."""
    with _told_where(trainer, before, keeper.places.parent):
        values: dict[str, Any] = {"seconds": seconds}
        rest = None
        if writer is not None:
            if trainer.update:
                writer.checkpoint(trainer.policies, trainer.update, trainer.env_steps)
            reached, rest = writer.reached()
            values |= reached
        keeper.save(trainer, evaluator, rest, **values)
    return trainer.update


@contextmanager
def _told_where(trainer: Trainer, saved: int, directory: Path) -> Iterator[None]:
    """Say of a file that could not be written what is left."""
    try:
        yield
    except OSError as error:
        left = f"that of update {saved} is whole" if saved >= 0 else "there is none yet"
        what = f"{os.fsdecode(error.filename or directory)}: {error.strerror or error}"
        raise TrainingError(
            f"update {trainer.update}: could not write {what}; training stops. The last checkpoint: {left}; "
            f"to go on: lobgraph train --resume {directory}"
        ) from error


@contextmanager
def settings_of(cfg: Config) -> Iterator[None]:
    """torch's threads and precision as the run has them, then as they were."""
    with _threads(cfg.run.torch_threads), _products(cfg.ppo.precision):
        yield


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
def _products(precision: str) -> Iterator[None]:
    """Let a GPU round the factors of float32 products to TF32, then restore."""
    before = torch.get_float32_matmul_precision()
    if precision == "tf32" and torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if torch.get_float32_matmul_precision() != before:
            torch.set_float32_matmul_precision(before)
