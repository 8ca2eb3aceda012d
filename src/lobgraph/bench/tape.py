"""Case of replay: recorded messages, with an agent's orders resting in the book."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..env.market_env import MarketEnv
from ..market.state import (
    EVENTS,
    ORDER_REST,
    PASSIVE_NOTIONAL,
    STEP,
    TAPE_CANCEL,
    TAPE_LIMIT,
    TAPE_TRADE,
    Tape,
)
from .timing import Effort, Windows
from .world import Setting, case, counter, make_env, play

MESSAGES = 100_000  # of the synthetic tape, 1 ms apart
PX0 = 10_000


@lru_cache(maxsize=2)
def synthetic_tape(messages: int, seed: int = 0) -> Tape:
    """A consistent recorded stream of one book: limit orders, cancels of them, trades at the best; 1 ms apart."""
    rng = np.random.default_rng(seed)
    live: dict[int, list[tuple[int, int]]] = {1: [], -1: []}
    depth: dict[int, dict[int, int]] = {1: {PX0 - 1: 50}, -1: {PX0 + 1: 50}}
    rows = np.zeros((messages, 4), np.int64)
    for i in range(messages):
        side = 1 if rng.random() < 0.5 else -1
        u = rng.random()
        if u < 0.5 or len(live[side]) < 50:
            px, qty = PX0 - side * int(rng.integers(1, 40)), int(rng.integers(1, 6))
            live[side].append((px, qty))
            depth[side][px] = depth[side].get(px, 0) + qty
            rows[i] = TAPE_LIMIT, side, px, qty
        elif u < 0.95:
            px, qty = live[side].pop(int(rng.integers(len(live[side]))))
            qty = (
                min(qty, depth[side].get(px, 0)) or -1
            )  # traded away meanwhile: a limit order at its price instead
            depth[side][px] = depth[side].get(px, 0) - qty
            rows[i] = (TAPE_CANCEL, side, px, qty) if qty > 0 else (TAPE_LIMIT, side, px, 1)
        else:
            px = max((p * side for p, q in depth[side].items() if q > 0), default=side * (PX0 - side)) * side
            qty = min(3, depth[side].get(px, 0))
            depth[side][px] = depth[side].get(px, 0) - qty
            rows[i] = TAPE_TRADE, side, px, qty
    return Tape(
        time=np.arange(1, messages + 1, dtype=np.int64) * 1_000_000,
        kind=rows[:, 0].astype(np.uint8),
        side=rows[:, 1].astype(np.int8),
        px=rows[:, 2].astype(np.int32),
        qty=rows[:, 3].astype(np.int32),
        start=np.array([0, messages], np.int64),
        snap_px=np.array([[[PX0 - 1], [PX0 + 1]]], np.int32),
        snap_qty=np.array([[[50], [50]]], np.int32),
        snap_start=np.array([0, 1], np.int64),
        every=messages + 1,
    )


def recorded_file() -> Path | None:
    """A LOBSTER message file below the folder LOBGRAPH_DATA, or None."""
    folder = os.environ.get("LOBGRAPH_DATA")
    found = sorted(Path(folder).rglob("AMZN*_message_*.csv*")) if folder else []
    return found[0] if found else None


def tape_messages(setting: Setting, effort: Effort) -> dict[str, Any]:
    """A synthetic tape with a maker's two quotes resting 16 ticks from the mid, amid the levels that messages go to.

    They are set anew once a step, after `setting.events` messages; where the mid stayed they keep their place. Each
    environment starts at its own place in the first half of the tape: in step with one another they would teach the
    processor's branch predictor the tape, which made messages look half as dear.

    Raises RuntimeError if a quote was filled or gone at a step's end: the figure would not be what it says.
    """
    setting = replace(setting, makers=1, takers=0, arbitrageurs=0, books=1)
    length = int(MESSAGES // 2 // setting.events)
    overrides = [f"env.episode_steps={length}", "env.stagger=false", "agents.maker.quote_spread=2"]
    env = make_env(setting, 1e-3 * setting.events, overrides)
    env.reset()
    play(env, synthetic_tape(MESSAGES), MESSAGES // 2 * 1_000_000)
    windows, events, rested = _replay(env, min(length - 1, _steps_within(setting, effort)), effort)
    if rested < 1.0:
        raise RuntimeError(
            f"tape_messages: the maker's quotes rested in {rested:.2%} of the steps, not in all"
        )
    return case("tape_messages", env, events, windows, "messages/s", source="synthetic", resting_share=rested)


def file_messages(setting: Setting, effort: Effort) -> dict[str, Any]:
    """A recorded day of one stock, ten minutes a step, with a maker's quotes 8 money units from the mid."""
    setting, path = replace(setting, makers=1, takers=0, arbitrageurs=0, books=1), recorded_file()
    if path is None:
        raise FileNotFoundError(2, "no LOBSTER message file AMZN*_message_*.csv below LOBGRAPH_DATA")
    overrides = [
        "env.episode_steps=13", "env.stagger=false", "market.window=8192", "market.initial_price=20000",
        "agents.maker.quote_spread=100", f"replay.files={{A0: {path}}}",
    ]  # fmt: skip
    env = MarketEnv(setting.config(600.0, overrides))
    env.reset()
    windows, events, rested = _replay(env, 12, effort)
    return case("tape_messages", env, events, windows, "messages/s", source=path.name, resting_share=rested)


def _steps_within(setting: Setting, effort: Effort) -> int:
    """Steps of a window of `effort.seconds`, at the 30 ns that a message takes, about."""
    return max(2, round(effort.seconds / (setting.envs * setting.events * 30e-9)))


def _replay(env: MarketEnv, steps: int, effort: Effort) -> tuple[Windows, float, float]:
    """Windows, messages per env step, and the share of (step, environment) at whose end both quotes rested unfilled."""
    quote = {"maker": torch.full((env.num_envs, 1, 1, 3), 8.0, device=env.device)}
    windows, rested = Windows(), []

    def work() -> float:
        for _ in range(steps):
            env.step(quote)
        return counter(env, EVENTS)

    _rewind(env, quote)
    for _ in range(steps):  # looks at every step; the timed windows do the same steps on the same tape
        env.step(quote)
        rested.append(float(_resting(env).mean()))
    for _ in range(effort.repeats):
        _rewind(env, quote)
        windows.measure(work)
        rested.append(float(_resting(env).mean()))  # fills are counted since the episode's start
    return windows, counter(env, EVENTS) / steps / env.num_envs, float(np.mean(rested))


def _rewind(env: MarketEnv, actions: dict[str, torch.Tensor]) -> None:
    """Put the books at the start of their tape: by the last step of an episode."""
    env.state.clock[:, STEP] = env.cfg.env.episode_steps - 1
    env.step(actions)


def _resting(env: MarketEnv) -> torch.Tensor:
    """(E,) float64: 1 where agent 0's two quotes rest and none of its orders was filled in this episode."""
    order, account = torch.as_tensor(env.state.order), torch.as_tensor(env.state.account)
    both = (order[:, 0, ORDER_REST, :2] > 0).all(1)
    return (both & (account[:, 0, 0, PASSIVE_NOTIONAL] == 0)).double()
