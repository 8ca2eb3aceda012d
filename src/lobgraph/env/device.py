"""The loop of drive.py on a GPU: one thread an environment, calling the very functions that the CPU calls.

Arguments are those of drive.py's `start_range` and `step_range`, with every array on the device (numpy arrays under
numba's CUDA simulator). Launch at least E threads: `step_all.forall(E)(...)`. Needs the extra `cuda`.
"""

from __future__ import annotations

from numba import cuda

from .drive import start_env, step_env


@cuda.jit
def start_all(p, f, tape, state, out):
    """Start episode 0 of every environment and observe it."""
    env = cuda.grid(1)  # type: ignore[call-arg]
    if env < state.clock.shape[0]:
        start_env(p, f, tape, state, out, env)


@cuda.jit
def step_all(p, f, tape, state, out, maker, taker, arb):
    """One decision of every environment, start to end, with same-step reset."""
    env = cuda.grid(1)  # type: ignore[call-arg]
    if env < state.clock.shape[0]:
        step_env(p, f, tape, state, out, maker, taker, arb, env)
