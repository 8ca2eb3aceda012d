"""One training in several processes, one on each device: started, watched and ended together.

Each has its own slice of the environments (numbers rank * E .. (rank + 1) * E - 1 of one family) and the same policies. They
meet through a file of this machine. Process 0 evaluates, shows and writes; the one that started them only watches: if one
fails the others are ended and its error is raised here. The first Ctrl-C (or SIGTERM) is passed on to process 0, which ends the training
for all of them after the update; the second ends them at once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..config import Config, ConfigError
from ..env.placement import device_of
from .group import ALONE, Group
from .rollout import TrainingError
from .run import Run
from .signals import first_stop

PATIENCE = 2.0  # seconds in which others may give a better reason than that their partner is gone


def place_of(cfg: Config, group: Group = ALONE) -> torch.device:
    """The device of process `group.rank`, made torch's current one. Raises ConfigError if there is none for it."""
    wanted = cfg.run.device
    if group.alone:
        device = device_of(wanted)
    else:
        if ":" in wanted:
            raise ConfigError(
                f"run.device: {wanted} is one GPU, and run.processes: {group.size} needs one each; use cuda"
            )
        device = device_of(wanted)
        if device.type == "cuda":
            there = torch.cuda.device_count()
            if there < group.size:
                raise ConfigError(
                    f"run.processes: {group.size} processes need a GPU each, and there are {there}"
                )
            device = torch.device("cuda", group.rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def check_parts(cfg: Config) -> None:
    """Raise ConfigError if the environments cannot be dealt out evenly."""
    if cfg.env.num_envs % cfg.run.processes:
        raise ConfigError(f"run.processes: {cfg.run.processes} must divide env.num_envs = {cfg.env.num_envs}")


def train_together(cfg: Config, directory: str | Path | None = None, resuming: bool = False) -> Run:
    """`train` or `resume` in cfg.run.processes processes. Returns the run that process 0 wrote; its policies know no market yet."""
    check_parts(cfg)
    place_of(cfg, Group(0, cfg.run.processes))
    context = multiprocessing.get_context("spawn")  # a fork would have torch's threads, but not run them
    workers, pipes = [], {}
    with tempfile.TemporaryDirectory(prefix="lobgraph-") as meeting:
        try:
            for rank in range(cfg.run.processes):
                ours, theirs = context.Pipe(duplex=False)
                args = (
                    rank,
                    cfg.model_dump(exclude_unset=True),
                    directory,
                    resuming,
                    f"{meeting}/file",
                    os.getpid(),
                    theirs,
                )
                worker = context.Process(target=_work, args=args, name=f"train-{rank}", daemon=True)
                worker.start()
                theirs.close()
                workers.append(worker)
                pipes[ours] = rank
            with first_stop(lambda: _ask(workers[0])):
                path, stopped = _results(pipes, workers)[0]
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join(10.0)
                if worker.is_alive():  # in a call that cannot be interrupted
                    worker.kill()
                    worker.join()
    run = Run.load(path)
    run.stopped = stopped
    return run


def _results(pipes: dict[Connection, int], workers: list[Any]) -> dict[int, Any]:
    """What each process gives back, by rank. Raises the error of the first that fails."""
    results: dict[int, Any] = {}
    waiting, failed, deadline = dict(pipes), [], None
    while waiting and (deadline is None or time.monotonic() < deadline):
        for pipe in wait(list(waiting), None if deadline is None else deadline - time.monotonic()):
            assert isinstance(pipe, Connection)
            rank = waiting.pop(pipe)
            try:
                good, value = pipe.recv()
            except EOFError:
                workers[rank].join(PATIENCE)
                code = workers[rank].exitcode
                good, value = False, TrainingError(
                    f"process {rank} of {len(workers)} ended without a word (exit code {code})"
                )  # fmt: skip
            if good:
                results[rank] = value
            else:
                failed.append(value)
                deadline = deadline or time.monotonic() + (
                    0.0 if isinstance(value, ConfigError) else PATIENCE
                )
    if failed:  # one whose partner is gone says only that
        raise next((error for error in failed if type(error) is not RuntimeError), failed[0])
    return results


def _ask(worker: Any) -> None:
    if worker.is_alive():
        os.kill(worker.pid, signal.SIGINT)


# --- in a process of its own ---


def follow(parent: int) -> None:
    """End this process when its parent has ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(
    rank: int,
    settings: dict[str, Any],
    directory: str | Path | None,
    resuming: bool,
    meeting: str,
    parent: int,
    pipe: Connection,
) -> None:
    """Train as process `rank`; tell the parent (True, result) or (False, error)."""
    os.setpgid(0, 0)  # Ctrl-C in a terminal is the parent's to pass on
    if rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow(parent)
    try:
        from ..config import make_config
        from .train import train_part

        cfg = make_config(settings)
        group = Group(rank, cfg.run.processes)
        with _meeting(group, place_of(cfg, group), meeting):
            run = train_part(cfg, group, directory, resuming=resuming)
            told = (True, None if run is None else (str(run.directory), run.stopped))
            pipe.send(told)
    except BaseException as error:
        pipe.send((False, _sendable(error, rank)))
        time.sleep(30.0)  # stay until the parent ends all, lest the others report that we are gone


def _sendable(error: BaseException, rank: int) -> BaseException:
    """The error with where it came from; as text if it cannot be sent."""
    error.add_note(f"in process {rank}:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("\n".join([f"{type(error).__name__}: {error}", *error.__notes__]))
    return error


@contextmanager
def _meeting(group: Group, device: torch.device, file: str) -> Iterator[None]:
    if sys.platform == "linux":  # all are on this machine, whose name need not have an address
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{file}", rank=group.rank, world_size=group.size)
    try:
        yield
        dist.barrier()  # nobody leaves while another still needs it
    finally:
        if sys.exc_info()[0] is None:
            dist.destroy_process_group()
