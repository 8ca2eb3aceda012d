"""The loop over environments: one pass does actions, market, rewards, observation and reset while the data is in cache.

Environments are independent, so a batch is cut into ranges and each range runs on its own thread (`nogil`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ..market.jit import inlined, kernel
from ..market.state import BEFORE, EPISODE, FREE, INVENTORY, NOW, ROLE, STEP, TAKER
from ..market.step import begin_step, end_step, reset_env, step_book
from .actions import decode
from .observe import mark_mid, observe_env, update_features
from .reward import remaining_of, reward_env

TERMINATED, TRUNCATED, ACTIVE = 0, 1, 2  # columns of Buffers.flag
LARGEST, EQUITY = 4, 5  # columns of Buffers.running and ended, after the four reward terms


class Buffers(NamedTuple):
    """What a step writes for the learner. G agents of all roles."""

    nodes: np.ndarray  # (E, G, N, F) float32
    edges: np.ndarray  # (E, P, Fe) float32
    vector: np.ndarray  # (E, G, V) float32
    final_nodes: np.ndarray  # likewise, the last observation of the episodes that ended in this step
    final_edges: np.ndarray
    final_vector: np.ndarray
    reward: np.ndarray  # (E, G) float32
    terms: np.ndarray  # (E, G, 4) float32
    flag: np.ndarray  # (E, G, 3) bool: terminated, truncated, acted in this step
    done: np.ndarray  # (E,) bool
    running: (
        np.ndarray
    )  # (E, G, 5) float64 of the running episode: sums of the terms, largest |inventory| in a book
    ended: np.ndarray  # (E, G, 6) float64 of the last ended one: the same, and equity after fees
    ended_books: np.ndarray  # (E, G, A, 2) int64 at its end: inventory, remaining
    ended_length: np.ndarray  # (E,) int64 its steps


def make_buffers(
    envs: int, agents: int, books: int, pairs: int, features: int, edge_features: int, vector: int
) -> Buffers:
    """Allocate the buffers, all zero."""
    e, g = envs, agents
    shapes = ((e, g, books, features), (e, pairs, edge_features), (e, g, vector))
    return Buffers(
        *(np.zeros(shape, np.float32) for _ in range(2) for shape in shapes),
        reward=np.zeros((e, g), np.float32),
        terms=np.zeros((e, g, 4), np.float32),
        flag=np.zeros((e, g, 3), np.bool_),
        done=np.zeros(e, np.bool_),
        running=np.zeros((e, g, 5), np.float64),
        ended=np.zeros((e, g, 6), np.float64),
        ended_books=np.zeros((e, g, books, 2), np.int64),
        ended_length=np.zeros(e, np.int64),
    )


@inlined()
def step_env(p, f, tape, state, out, maker, taker, arb, env):
    """One decision of one environment, start to end, with same-step reset."""
    agents = p.agent.shape[0]
    books = state.head.shape[1]
    decode(p, state, maker, taker, arb, env)
    begin_step(p, f, state, env)
    for a in range(books):
        step_book(p, f, tape, state, env, a)
    still = end_step(p, state, env)
    update_features(state, env)
    reward_env(p, state, out.terms, out.reward, env)
    over = state.clock[env, STEP] >= p.episode_steps
    done = over or (agents > 0 and still == 0)
    out.done[env] = done
    for g in range(agents):
        was = state.active[env, g, BEFORE] != 0
        # A target has a deadline: there is nothing beyond it to be worth anything. The others' markets go on.
        deadline = over and p.agent[g, ROLE] == TAKER and p.agent[g, FREE] == 0
        out.flag[env, g, TERMINATED] = was and (state.active[env, g, NOW] == 0 or deadline)
        out.flag[env, g, TRUNCATED] = over and state.active[env, g, NOW] != 0 and not deadline
        out.flag[env, g, ACTIVE] = was
        for i in range(4):
            out.running[env, g, i] += out.terms[env, g, i]
        for a in range(books):
            held = np.float64(abs(state.account[env, a, g, INVENTORY]))
            out.running[env, g, LARGEST] = max(out.running[env, g, LARGEST], held)
    if done:
        observe_env(p, state, out.final_nodes, out.final_edges, out.final_vector, env)
        close_episode(p, state, out, env)
        if p.autoreset:
            state.clock[env, EPISODE] += 1
            reset_env(p, f, tape, state, env)
    observe_env(p, state, out.nodes, out.edges, out.vector, env)
    mark_mid(state, env)


@kernel()
def close_episode(p, state, out, env):
    """Keep the statistics of the episode that ended."""
    out.ended_length[env] = state.clock[env, STEP]
    for g in range(p.agent.shape[0]):
        for i in range(5):
            out.ended[env, g, i] = out.running[env, g, i]
            out.running[env, g, i] = 0.0
        out.ended[env, g, EQUITY] = 0.5 * state.equity[env, g, NOW] - state.money[env, g, NOW]
        for a in range(state.head.shape[1]):
            out.ended_books[env, g, a, 0] = state.account[env, a, g, INVENTORY]
            out.ended_books[env, g, a, 1] = remaining_of(state, env, g, a)


@njit(nogil=True, cache=True)
def step_range(world, maker, taker, arb, first, last):
    """Step environments first..last - 1 of a World."""
    p, f, tape, state, out = world.params, world.flow, world.tape, world.state, world.out
    for env in range(first, last):
        step_env(p, f, tape, state, out, maker, taker, arb, env)


@njit(nogil=True, cache=True)
def start_range(world, first, last):
    """Start episode 0 of environments first..last - 1 of a World and observe it."""
    p, f, tape, state, out = world.params, world.flow, world.tape, world.state, world.out
    for env in range(first, last):
        start_env(p, f, tape, state, out, env)


@kernel()
def start_env(p, f, tape, state, out, env):
    """Start episode 0 of one environment and observe it."""
    state.clock[env, EPISODE] = 0
    for g in range(p.agent.shape[0]):
        for i in range(5):
            out.running[env, g, i] = 0.0
    reset_env(p, f, tape, state, env)
    observe_env(p, state, out.nodes, out.edges, out.vector, env)
    mark_mid(state, env)


@njit(nogil=True, cache=True)
def first_nan(values):
    """Position of the first NaN in a flat float32 array, -1: none."""
    for i in range(values.shape[0]):
        if values[i] != values[i]:
            return i
    return -1
