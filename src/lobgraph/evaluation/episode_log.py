"""One episode of an evaluation played again with a log of every event in its books.

In: a market, who acts, the episode's number. Out: an `EpisodeLog`: its `Series`, the books as it began, what happened in
them step by step. It is the episode that `evaluate` plays: the same batch is played first, since a network's output may
hang on the number of rows it is given, and what was done in the one environment is then done again by itself, logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..config import Config
from ..config.stress import SHAPES
from ..market.log import take_log
from ..market.state import (
    EVENT_BOOKS,
    EVENT_KIND,
    LOGGED,
    ORDER_AHEAD,
    ORDER_REST,
    SINCE_STEP,
    START_NS,
    STEP,
)
from ..rl.actors import Act, Actor
from .record import Series, acting, batches, cast_all, record, whole_episodes

if TYPE_CHECKING:
    from ..env.market_env import MarketEnv

KINDS = list(SHAPES)
ROOM, MOST_ROOM = 1 << 12, 1 << 22  # entries of a book's log between two decisions: at first, at most


@dataclass(frozen=True)
class EpisodeLog:
    """An episode of T steps with A books and G agents, and every event in its books."""

    series: Series  # of this one episode, B = 1
    number: int
    seed: int
    start_ns: int  # time of the log at which the episode starts
    qty: np.ndarray  # (A, W) int32 lots of the books as it starts
    head: np.ndarray  # (A, HEAD) int64 their headers
    entries: list[list[np.ndarray]]  # by step and book: (n, LOG) int64 as market.log.take_log gives them
    ahead: np.ndarray  # (T, A, S) int32 lots before each resting order after each step; 0 where there is none
    struck: list[list[tuple[str, ...]]]  # by step and book: the kinds of events that began there

    @property
    def cfg(self) -> Config:
        return self.series.cfg


def log_episode(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episode: int = 0,
    episodes: int = 100,
    seed: int = 1,
) -> EpisodeLog:
    """Play episode `episode` of `evaluate(cfg, agents, episodes, seed)` with a log. Raises what `evaluate` raises, ValueError
    for an episode that it does not have, and ConfigError where too much happens between two decisions.
    """
    from ..env.market_env import MarketEnv

    if not 0 <= episode < episodes:
        raise ValueError(f"episode: must be 0 to {episodes - 1} of {episodes} episodes, got {episode}")
    own, held = cast_all(cfg, agents)
    cfg = whole_episodes(cfg)
    first, count = next((f, n) for f, n in batches(cfg, episodes) if f <= episode < f + n)
    batch = MarketEnv(cfg, num_envs=count, seed=seed, first_env=first, autoreset=False)
    done: dict[str, list[torch.Tensor]] = {role: [] for role in batch.specs}
    played = _one(
        record(
            batch,
            {
                role: _spied(act, done[role], episode - first)
                for role, act in acting(batch, own, held).items()
            },
        ),
        episode - first,
    )
    room = ROOM
    while True:
        env = MarketEnv(cfg, num_envs=1, seed=seed, first_env=episode, autoreset=False, log=room)
        taken = _Taken()
        try:
            series = record(env, {role: _repeat(actions) for role, actions in done.items()}, taken.look)
        except OverflowError as error:
            room *= 4
            if room > MOST_ROOM:
                raise too_busy(cfg) from error
            continue
        break
    _check_same(played, series)
    ahead = np.array(taken.ahead).reshape(len(taken.ahead), cfg.market.num_books, -1)
    return EpisodeLog(
        series, episode, seed, taken.start_ns, taken.qty, taken.head, taken.entries, ahead, taken.struck
    )


def too_busy(cfg: Config) -> Exception:
    from ..config import ConfigError

    return ConfigError(
        f"market.dt: more than {MOST_ROOM} events happen in a book within {cfg.market.dt:g} s; use a shorter step"
    )


def _one(s: Series, row: int) -> dict[str, np.ndarray]:
    """The arrays of one episode of a Series, copied."""
    by_episode = ("episode", "cluster", "target", "cut", "cause")
    found = {}
    for each in fields(s):
        value = getattr(s, each.name)
        if isinstance(value, np.ndarray):
            found[each.name] = (value[row] if each.name in by_episode else value[:, row]).copy()
    return found


def _check_same(played: Mapping[str, np.ndarray], again: Series) -> None:
    """What was played twice must be one episode, to the bit."""
    for name, value in _one(again, 0).items():
        if not np.array_equal(played[name], value, equal_nan=value.dtype.kind == "f"):
            raise RuntimeError(f"the episode played again differs from the one played first: {name}")


def _spied(act: Act, done: list[torch.Tensor], row: int) -> Act:
    """The same actor, whose actions in environment `row` are kept."""

    def call(obs: Any) -> Any:
        actions = act(obs)
        done.append(torch.as_tensor(actions)[row : row + 1].detach().clone())
        return actions

    return call


def _repeat(actions: list[torch.Tensor]) -> Act:
    rest = iter(actions)
    return lambda obs: next(rest)


@dataclass
class _Taken:
    """What is taken out of the one environment after its reset and after each step."""

    start_ns: int = 0
    qty: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    head: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    entries: list[list[np.ndarray]] = field(default_factory=list)
    ahead: list[np.ndarray] = field(default_factory=list)
    struck: list[list[tuple[str, ...]]] = field(default_factory=list)
    begun: bool = False

    def look(self, env: MarketEnv) -> None:
        s = env.state
        if not self.begun:  # what happened before the episode is of no interest
            self.begun = True
            self.qty, self.head = s.qty[0].copy(), s.head[0].copy()
            self.start_ns = int(s.clock[0, START_NS]) if env.cfg.replay.files else 0
            s.head[0, :, LOGGED] = 0
            return
        self.entries.append([take_log(head) for head in s.head[0]])
        order = s.order[0]
        self.ahead.append(np.where(order[:, ORDER_REST] > 0, order[:, ORDER_AHEAD], 0))
        began = s.event[0, :, SINCE_STEP] == s.clock[0, STEP] - 1
        kinds = [(KINDS[row[EVENT_KIND]], row[EVENT_BOOKS:] != 0) for row in env._params.stress[began]]
        self.struck.append([tuple(kind for kind, hit in kinds if hit[a]) for a in range(len(s.head[0]))])
