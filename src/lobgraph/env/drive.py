"""The loop over environments: one pass does actions, market, rewards, observation and reset while the data is in cache.

Environments are independent, so a batch is cut into ranges and each range runs on its own thread (`nogil`). What a step
does before its books (`begin_env`), and after them (`close_env`), stands apart: a GPU runs each as a kernel (device.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ..market.jit import inlined, kernel
from ..market.state import ACT_NONE, ACTION, BEFORE, EPISODE, FREE, INVENTORY, NOW, ROLE, STEP, TAKER
from ..market.step import begin_step, end_step, enter_episode, open_episode, reset_book, step_book
from .actions import decode
from .observe import mark_mid, observe_env, update_features
from .reward import remaining_of, reward_env

TERMINATED, TRUNCATED, ACTIVE = 0, 1, 2  # columns of Buffers.flag
LARGEST, EQUITY = 4, 5  # columns of Buffers.running and ended, after the four reward terms
# columns of Buffers.tally, over the episodes that ended: sum, sum of squares, least and most of the return; then sums of
# the four terms, the largest |inventory| in a book, the sum of the equities
RETURN, SQUARES, LEAST, MOST, TERMS, HELD, WORTH = 0, 1, 2, 3, 4, 8, 9
TALLY = 10
COUNT, STEPS = 0, 1  # columns of Buffers.tallied


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
    tally: np.ndarray  # (E, G, TALLY) float64 of all episodes that ended since it was last read (episodes.py)
    tallied: np.ndarray  # (E, 2) int64 how many these are, and their steps


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
        tally=np.zeros((e, g, TALLY), np.float64),
        tallied=np.zeros((e, 2), np.int64),
    )


@inlined()
def step_env(p, f, tape, state, out, maker, taker, arb, env):
    """One decision of one environment, start to end, with same-step reset."""
    books = state.head.shape[1]
    begin_env(p, f, state, maker, taker, arb, env)
    for a in range(books):
        step_book(p, f, tape, state, env, a)
    if close_env(p, f, state, out, env):
        for a in range(books):
            reset_book(p, f, tape, state, env, a)
        enter_episode(p, state, env)
    show_env(p, state, out, env)


@inlined()
def begin_env(p, f, state, maker, taker, arb, env):
    """What comes before the books' steps: the agents' messages, and what befalls the environment."""
    decode(p, state, maker, taker, arb, env)
    begin_step(p, f, state, env)


@inlined()
def close_env(p, f, state, out, env):
    """What comes after the books' steps: limits, rewards, ends of episodes.

    Returns 1 where a new episode begins: its books are still to be made, and its agents to enter.
    """
    agents = p.agent.shape[0]
    books = state.head.shape[1]
    still = end_step(p, state, env)
    update_features(state, env)
    reward_env(p, state, out.terms, out.reward, env)
    over = state.clock[env, STEP] >= p.episode_steps
    done = over or (agents > 0 and still == 0)
    counts = p.autoreset or not out.done[env]  # an episode left as it ended ends once
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
    if not done:
        return 0
    observe_env(p, state, out.final_nodes, out.final_edges, out.final_vector, env)
    close_episode(p, state, out, env, counts)
    if p.autoreset == 0:
        return 0
    state.clock[env, EPISODE] += 1
    open_episode(p, f, state, env)
    return 1


@inlined()
def show_env(p, state, out, env):
    """What the agents see for their next decision."""
    observe_env(p, state, out.nodes, out.edges, out.vector, env)
    mark_mid(state, env)


@kernel()
def close_episode(p, state, out, env, counts):
    """Keep the statistics of the episode that ended; add them to the tally if it `counts` and is no first one cut short."""
    out.ended_length[env] = state.clock[env, STEP]
    for g in range(p.agent.shape[0]):
        for i in range(5):
            out.ended[env, g, i] = out.running[env, g, i]
            out.running[env, g, i] = 0.0
        out.ended[env, g, EQUITY] = 0.5 * state.equity[env, g, NOW] - state.money[env, g, NOW]
        for a in range(state.head.shape[1]):
            out.ended_books[env, g, a, 0] = state.account[env, a, g, INVENTORY]
            out.ended_books[env, g, a, 1] = remaining_of(state, env, g, a)
    if counts and not (p.stagger and state.clock[env, EPISODE] == 0):
        tally_episode(p, out, env)


@kernel()
def tally_episode(p, out, env):
    """Add the episode that ended to Buffers.tally."""
    first = out.tallied[env, COUNT] == 0
    out.tallied[env, COUNT] += 1
    out.tallied[env, STEPS] += out.ended_length[env]
    for g in range(p.agent.shape[0]):
        ended, tally = out.ended[env, g], out.tally[env, g]
        total = 0.0
        for i in range(4):
            total += ended[i]
            tally[TERMS + i] += ended[i]
        tally[RETURN] += total
        tally[SQUARES] += total * total
        tally[LEAST] = total if first else min(tally[LEAST], total)
        tally[MOST] = total if first else max(tally[MOST], total)
        tally[HELD] = max(tally[HELD], ended[LARGEST])
        tally[WORTH] += ended[EQUITY]


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
    open_env(p, f, state, out, env)
    for a in range(state.head.shape[1]):
        reset_book(p, f, tape, state, env, a)
    enter_episode(p, state, env)
    show_env(p, state, out, env)


@kernel()
def open_env(p, f, state, out, env):
    """Forget all episodes and open the first one."""
    state.clock[env, EPISODE] = 0
    out.done[env] = False
    out.tallied[env, COUNT] = 0
    out.tallied[env, STEPS] = 0
    for g in range(p.agent.shape[0]):
        for i in range(5):
            out.running[env, g, i] = 0.0
        for i in range(TALLY):
            out.tally[env, g, i] = 0.0
    open_episode(p, f, state, env)


@njit(nogil=True, cache=True)
def first_nan(values):
    """Position of the first NaN in a flat float32 array, -1: none."""
    for i in range(values.shape[0]):
        if values[i] != values[i]:
            return i
    return -1


@kernel()
def nan_place(maker, taker, arb, env):
    """Where the first NaN in one environment's actions stands: role << 48 | position in the role's array; -1: none.

    Roles in the order of actions.ACTION_NAMES.
    """
    place = _nan_of(maker, env, 0)
    if place < 0:
        place = _nan_of(taker, env, 1)
    if place < 0:
        place = _nan_of(arb, env, 2)
    return place


@kernel()
def _nan_of(actions, env, role):
    _, agents, items, width = actions.shape
    for k in range(agents):
        for i in range(items):
            for j in range(width):
                value = actions[env, k, i, j]
                if value != value:
                    return (np.int64(role) << 48) | (((env * agents + k) * items + i) * width + j)
    return np.int64(-1)


@kernel()
def silence(state, env):
    """No agent of the environment sends anything."""
    for a in range(state.message.shape[1]):
        for g in range(state.message.shape[2]):
            state.message[env, a, g, ACTION] = ACT_NONE
