"""Cases of the engine: noise flow alone, agents' messages alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numba import njit

from ..env.actions import decode
from ..env.market_env import MarketEnv
from ..market.state import ADDED, EVENTS, STEP, TRADED, UNFILLED
from ..market.step import step_book
from .timing import Effort, windows_of
from .world import Setting, case, counter, settled

ENDLESS = "env.episode_steps=1000000"  # no reset while a counter runs: it would clear it


# --- noise flow ---


REACTIVE = """{spreads: [1, 2, 4], queues: [0, 6, 12],
    limit: [[1.2, 1.0, 0.8], [1.3, 1.0, 0.8], [1.4, 1.1, 0.9]],
    market: [[1.3, 1.0, 0.8], [1.1, 0.9, 0.7], [0.9, 0.7, 0.5]],
    cancel: [[0.8, 1.0, 1.2], [0.8, 1.0, 1.2], [0.8, 1.0, 1.2]]}"""
FEATURES = [
    "flow.hawkes={branching: 0.6, decays: [20.0, 0.5]}",
    "flow.metaorders={active: 10}",
    f"flow.reactive={REACTIVE}",
]


def flow_events(setting: Setting, effort: Effort) -> dict[str, Any]:
    """Noise flow alone: no agents, no resets. The rate counts events carried out (no cancel that thinning refused)."""
    return _flow_events("flow_events", setting, effort, [])


def featured_events(setting: Setting, effort: Effort) -> dict[str, Any]:
    """The same with two-speed Hawkes excitation, hidden orders and rates that react to spread and queues."""
    return _flow_events("featured_events", setting, effort, FEATURES)


def _flow_events(name: str, setting: Setting, effort: Effort, overrides: list[str]) -> dict[str, Any]:
    setting = replace(setting, makers=0, takers=0, arbitrageurs=0)
    env, _ = settled(setting, [ENDLESS, *overrides])
    total_steps = total_events = 0

    def work(steps: int) -> float:
        nonlocal total_steps, total_events
        before = counter(env, EVENTS)
        for _ in range(steps):
            env.step({})
        events = counter(env, EVENTS) - before
        total_steps, total_events = total_steps + steps, total_events + events
        return events

    windows = windows_of(work, effort)
    return case(name, env, total_events / total_steps / setting.envs, windows, "events/s")


# --- agents' messages ---

QUIET = [
    "flow.intensity=0", "flow.market_rate=0", "flow.cancel_rate=0", "flow.warmup=0", ENDLESS,
    "env.stagger=false", "agents.maker.risk.max_inventory=1000000000",
    "agents.taker.risk.max_inventory=1000000000", "agents.taker.target=1", "agents.taker.stop_at_target=false",
]  # fmt: skip
QUOTE_LOTS = 5  # lots per quote
OFFSETS = 8  # distances from the mid that a maker's quotes go through


def message_actions(env: MarketEnv) -> list[dict[str, torch.Tensor]]:
    """OFFSETS sets: makers move both quotes at every step, by 3 or 5 ticks, so that a moving mid does not keep them; takers buy and sell one lot in turn."""
    sets = []
    for step in range(OFFSETS):
        actions = {}
        for role, spec in env.specs.items():
            action = torch.zeros((env.num_envs, spec.count, spec.items, len(spec.low)))
            turn = torch.arange(spec.count)[None, :, None] + step
            if role == "maker":
                action[..., 0] = action[..., 1] = 1.0 + (3 * turn) % OFFSETS
                action[..., 2] = QUOTE_LOTS
            else:
                action[..., 0], action[..., 1] = 1.0 - 2.0 * (turn % 2), 1.0
            actions[role] = action
        sets.append(actions)
    return sets


def messages_done(env: MarketEnv) -> float:
    """Agents' messages the books carried out since the episode began, from the books' own counters.

    A maker's message rests QUOTE_LOTS anew on both sides; a taker's is for one lot, traded or without a counterpart.
    """
    initial = env.cfg.flow.initial_depth * 2 * min(env.cfg.flow.distances, env.cfg.market.window // 4)
    placed = counter(env, ADDED) - initial * env.num_envs * env.cfg.market.num_books
    return placed / (2 * QUOTE_LOTS) + counter(env, TRADED) + counter(env, UNFILLED)


def agent_messages(setting: Setting, effort: Effort) -> dict[str, Any]:
    """Every agent sends a message a step and book and there is no noise: a maker replaces both quotes, a taker trades.

    Whole env steps, with rewards and every agent's observation.
    """
    env, actions = _quiet(setting)
    return _messages(env, actions, env.step, effort, driver="env.step")


def book_messages(setting: Setting, effort: Effort) -> dict[str, Any]:
    """The same on one thread by the books alone: actions decoded, each book's step; no rewards, no observation."""
    env, actions = _quiet(replace(setting, threads=1))

    def step(arrays: list[np.ndarray]) -> None:
        arguments = [env._world, *arrays, 0, env.num_envs]
        step_books(*arguments)

    return _messages(env, [env._arrays(a) for a in actions], step, effort, driver="books")


@njit(nogil=True, cache=True)
def step_books(world, maker, taker, arb, first, last):
    """One step of the books of environments first..last - 1 of a World: the market's part of `drive.step_env`."""
    p, f, tape, state = world.params, world.flow, world.tape, world.state
    for env in range(first, last):
        decode(p, state, maker, taker, arb, env)
        for a in range(state.head.shape[1]):
            step_book(p, f, tape, state, env, a)
        state.clock[env, STEP] += 1


def _quiet(setting: Setting) -> tuple[MarketEnv, list[dict[str, torch.Tensor]]]:
    env = MarketEnv(setting.config(1.0, QUIET))
    env.reset()
    return env, message_actions(env)


def _messages(
    env: MarketEnv, actions: list[Any], step: Callable[[Any], Any], effort: Effort, driver: str
) -> dict[str, Any]:
    total = 0

    def work(steps: int) -> float:
        nonlocal total
        before = messages_done(env)
        for _ in range(steps):
            step(actions[total % OFFSETS])
            total += 1
        return messages_done(env) - before

    windows = windows_of(work, effort)
    sent = total * env.num_envs * env.cfg.market.num_books * sum(env.cfg.counts.values())
    share = round(messages_done(env) / sent, 6)
    return case("agent_messages", env, 0.0, windows, "messages/s", driver=driver, carried_out_share=share)
