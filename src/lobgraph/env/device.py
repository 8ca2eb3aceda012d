"""The loop of drive.py on a GPU: one kernel a phase, calling the very functions that the CPU calls.

begin and close and show take a thread an environment, the books a thread each (environment, book): neighbouring threads
do the same book of neighbouring environments. Every kernel takes the arguments of drive.py's functions with all arrays
on the device (numpy arrays under numba's CUDA simulator), and `Marks`. Needs the extra `cuda`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.core import config as numba_config

from ..market.step import begin_step, enter_episode, reset_book, step_book
from .drive import begin_env, close_env, nan_place, open_env, show_env, silence, start_env, step_env
from .placement import simulated


class Marks(NamedTuple):
    """What the phases of a step tell each other, and the host."""

    order: np.ndarray  # (E,) int64 the environments in the order in which threads take them
    renew: np.ndarray  # (E,) uint8 1: a new episode begins, its books are to be made
    fault: (
        np.ndarray
    )  # (E,) int64 place of the first NaN in its actions since the last look (drive.nan_place); -1: none


def begin_all(p, f, state, marks, maker, taker, arb):
    """Actions to messages, and what befalls the environments. One with a NaN in its actions is marked and sends nothing."""
    i = cuda.grid(1)  # type: ignore[call-arg]
    if i < marks.order.shape[0]:
        env = marks.order[i]
        place = nan_place(maker, taker, arb, env)
        if place < 0:
            begin_env(p, f, state, maker, taker, arb, env)
        else:
            if marks.fault[env] < 0:
                marks.fault[env] = place
            silence(state, env)
            begin_step(p, f, state, env)


def step_books(p, f, tape, state, marks):
    """Every book's step, a thread each."""
    i = cuda.grid(1)  # type: ignore[call-arg]
    envs = marks.order.shape[0]
    if i < envs * state.head.shape[1]:
        a = i // envs
        step_book(p, f, tape, state, marks.order[i - a * envs], a)


def close_all(p, f, state, out, marks):
    """Rewards and ends; marks the environments whose books are to be made anew."""
    i = cuda.grid(1)  # type: ignore[call-arg]
    if i < marks.order.shape[0]:
        env = marks.order[i]
        marks.renew[env] = close_env(p, f, state, out, env)


def open_all(p, f, state, out, marks):
    """Open episode 0 of every environment; all are to be made anew."""
    env = cuda.grid(1)  # type: ignore[call-arg]
    if env < marks.order.shape[0]:
        open_env(p, f, state, out, env)
        marks.renew[env] = 1


def renew_books(p, f, tape, state, marks):
    """Make the books anew where a new episode begins, a thread each."""
    i = cuda.grid(1)  # type: ignore[call-arg]
    envs = marks.order.shape[0]
    if i < envs * state.head.shape[1]:
        a = i // envs
        env = i - a * envs
        if marks.renew[env]:
            reset_book(p, f, tape, state, env, a)


def show_all(p, state, out, marks):
    """Let the agents of new episodes enter; observe."""
    env = cuda.grid(1)  # type: ignore[call-arg]
    if env < marks.order.shape[0]:
        if marks.renew[env]:
            enter_episode(p, state, env)
            marks.renew[env] = 0
        show_env(p, state, out, env)


def start_all(p, f, tape, state, out, marks):
    """All of a start in one launch: episode 0 of every environment, observed."""
    env = cuda.grid(1)  # type: ignore[call-arg]
    if env < marks.order.shape[0]:
        start_env(p, f, tape, state, out, env)


def step_all(p, f, tape, state, out, marks, maker, taker, arb):
    """All of a step in one launch, a thread an environment."""
    i = cuda.grid(1)  # type: ignore[call-arg]
    if i < marks.order.shape[0]:
        env = marks.order[i]
        place = nan_place(maker, taker, arb, env)
        if place >= 0:
            if marks.fault[env] < 0:
                marks.fault[env] = place
        else:
            step_env(p, f, tape, state, out, maker, taker, arb, env)


# What each kernel is launched with.
ARGUMENTS: dict[Callable[..., None], tuple[str, ...]] = {
    begin_all: ("params", "flow", "state", "marks", "actions"),
    step_books: ("params", "flow", "tape", "state", "marks"),
    close_all: ("params", "flow", "state", "out", "marks"),
    open_all: ("params", "flow", "state", "out", "marks"),
    renew_books: ("params", "flow", "tape", "state", "marks"),
    show_all: ("params", "state", "out", "marks"),
    start_all: ("params", "flow", "tape", "state", "out", "marks"),
    step_all: ("params", "flow", "tape", "state", "out", "marks", "actions"),
}


@cache
def kernels(max_registers: int | None = None) -> dict[Callable[..., None], Any]:
    """Each phase -> its kernel, compiled at its first launch and kept on disk beside the CPU's.

    A bound on registers has a folder of its own: numba's key of a kept kernel does not hold it.
    """
    options: dict[str, Any] = {}
    if not simulated():
        from numba.cuda.core import config as cuda_config  # type: ignore[import-not-found]  # numba-cuda's

        folder = Path(numba_config.CACHE_DIR)  # type: ignore[attr-defined]
        if max_registers is not None:
            folder = folder / f"registers-{max_registers}"
            options["max_registers"] = max_registers
        folder.mkdir(parents=True, exist_ok=True)
        setattr(cuda_config, "CACHE_DIR", str(folder))  # noqa: B010 (defined at run time)
        options |= {"cache": True, "shared_memory_carveout": "MaxL1"}  # no kernel has shared memory
    return {phase: cuda.jit(**options)(phase) for phase in ARGUMENTS}
