"""Episodes written down step by step: what the market and every agent looked like after each decision.

In: an environment that does not reset itself, and who acts. Out: a `Series` of arrays over steps and episodes, from which
every measure and every figure of an evaluation is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..config import Config
from ..env.actions import RoleSpec
from ..market.reading import depth, happening, remaining
from ..market.state import (
    AGGRESSIVE_BOUGHT,
    ASK,
    BEFORE,
    BID,
    CASH,
    CAUSE,
    CUT,
    CUT_RATE,
    CUT_VALUE,
    EDGE,
    INVENTORY,
    NOW,
    ORDER_PX,
    ORDER_REST,
    PASSIVE_BOUGHT,
    REFUSED,
    REGIME,
    SIGNED,
    START_NS,
    VOLUME,
)
from ..market.step import NS
from ..rl.actors import Act, Actor, actor, cast, held_actors, resolve

if TYPE_CHECKING:
    from ..env.market_env import MarketEnv

BATCH = 256  # environments stepped at once
MEMORY = 1 << 29  # bytes that the arrays of one Series may take
STRETCH = 2  # lengths of an episode


@dataclass(frozen=True)
class Series:
    """B episodes of T steps with A books and G agents of all roles.

    Arrays over T + 1 hold the state at the start (row 0) and after each step; arrays over T what happened in the step.
    An agent that was terminated stays as it was left: `active` says which steps are its own.
    """

    cfg: Config
    specs: Mapping[str, RoleSpec]  # role -> spec; spec.agents are its columns among the G
    episode: np.ndarray  # (B,) int64 number of each episode: equal numbers met equal noise
    cluster: np.ndarray  # (B,) int64 stretch of the tape where each starts; its own number without a tape
    # the market
    best_bid: np.ndarray  # (T + 1, B, A) int64 ticks
    best_ask: np.ndarray  # (T + 1, B, A) int64 ticks
    bid_qty: np.ndarray  # (T + 1, B, A, L) int32 lots at the L ticks from the best bid downwards
    ask_qty: np.ndarray  # (T + 1, B, A, L) int32 lots at the L ticks from the best ask upwards
    fundamental: np.ndarray  # (T + 1, B, A) float64 ticks; NaN in replayed markets
    regime: np.ndarray  # (T + 1, B) int64 index into cfg.regimes.names
    volume: np.ndarray  # (T, B, A) int64 lots traded
    signed: np.ndarray  # (T, B, A) int64 lots bought less sold by incoming orders
    event: (
        np.ndarray
    )  # (T, B, A) uint8 bit k: an event of kind k of config.stress.SHAPES went on; the last: halted
    # the agents
    inventory: np.ndarray  # (T + 1, B, G, A) int64 lots
    cash: np.ndarray  # (T + 1, B, G, A) int64 tick-lots, before fees
    equity: np.ndarray  # (T + 1, B, G) float64 tick-lots, marked to market, after fees
    fees: np.ndarray  # (T + 1, B, G) float64 tick-lots paid less rebates since the start
    edge: (
        np.ndarray
    )  # (T + 1, B, G, A) float64 tick-lots by which fills since the start were better than the mid then
    passive: np.ndarray  # (T, B, G, A, 2) int64 lots [bought, sold] by resting orders
    aggressive: np.ndarray  # (T, B, G, A, 2) int64 lots [bought, sold] by incoming orders
    quote_px: np.ndarray  # (T + 1, B, G, A, 2) int32 ticks of the resting bid and ask
    quote_qty: np.ndarray  # (T + 1, B, G, A, 2) int32 lots of it; 0: none
    terms: np.ndarray  # (T, B, G, 4) float32 reward terms, see spec.reward_terms
    active: np.ndarray  # (T, B, G) bool: it could act in this step
    target: np.ndarray  # (B, G, A) int64 signed lots to trade in the episode
    cut: (
        np.ndarray
    )  # (B, G, A, 4) int64 by the end: lots cut by inventory, by value; messages stopped by rate, by a halt
    cause: (
        np.ndarray
    )  # (B, G) int64 what ended its episode early: market.state.GOING_ON, BY_DRAWDOWN, BY_VALUE

    @property
    def mid(self) -> np.ndarray:
        """(T + 1, B, A) float64 ticks."""
        return 0.5 * (self.best_bid + self.best_ask)

    @property
    def time(self) -> np.ndarray:
        """(T + 1,) float64 seconds since the episode's start."""
        return self.cfg.market.dt * np.arange(len(self.best_bid))

    def head(self, episodes: int) -> Series:
        """The first episodes alone, copied."""
        by_episode = ("episode", "cluster", "target", "cut", "cause")
        kept = {name: getattr(self, name)[:episodes].copy() for name in by_episode}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in kept and isinstance(value, np.ndarray):
                kept[field.name] = value[:, :episodes].copy()
        return replace(self, **kept)

    @property
    def remaining(self) -> np.ndarray:
        """(T + 1, B, G, A) int64 signed lots of the target still to trade."""
        return remaining(self.target, self.inventory)


def play(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episodes: int = 100,
    seed: int = 1,
    deterministic: bool = True,
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Series]:
    """Play `episodes` episodes, batch by batch.

    Roles that `agents` does not name act as `cfg.agents.<role>.actor` says, those that are to learn do nothing. Episode i
    is the first episode of environment i: with one seed, the same noise whoever acts. `deterministic` is about policies in
    `agents`. `progress` is called with the number of episodes that are done. Raises ValueError for an unknown role, PolicyError, StrategyError.
    """
    from ..env.market_env import MarketEnv

    if episodes < 1:
        raise ValueError(f"episodes: must be at least 1, got {episodes}")
    own, held = cast_all(cfg, agents)
    cfg = whole_episodes(cfg)
    generator = torch.Generator().manual_seed(seed)
    for first, count in batches(cfg, episodes, batch):
        env = MarketEnv(cfg, num_envs=count, seed=seed, first_env=first, autoreset=False)
        yield record(env, acting(env, own, held, deterministic, generator))
        if progress is not None:
            progress(first + count)


def batches(cfg: Config, episodes: int, batch: int = BATCH) -> list[tuple[int, int]]:
    """What is played at once, as (first episode, number of episodes): at most `batch`, and what MEMORY holds."""
    most = max(1, min(batch, MEMORY // _bytes_an_episode(cfg)))
    return [(first, min(most, episodes - first)) for first in range(0, episodes, most)]


def whole_episodes(cfg: Config) -> Config:
    """The same market whose first episodes are not cut short by stagger."""
    if not cfg.env.stagger:
        return cfg
    return cfg.model_copy(update={"env": cfg.env.model_copy(update={"stagger": False})})


def rehearse(cfg: Config, worlds: Iterable[Mapping[str, Actor]], seed: int) -> None:
    """Let everybody act once in one market: whatever cannot act for its role raises here, before the work.

    Who is not there, or does not fit, is known of all worlds before the first kernel is compiled.
    """
    from ..env.market_env import MarketEnv

    env = MarketEnv(cfg, num_envs=1, seed=seed, autoreset=False)
    for acts in [acting(env, *cast_all(cfg, agents)) for agents in worlds]:
        obs = env.reset()
        env.step({role: act(obs) for role, act in acts.items()})


def cast_all(cfg: Config, agents: Mapping[str, Actor] | None) -> tuple[dict[str, Actor], dict[str, Actor]]:
    """Who acts, by role: those that `agents` names (roles that are to learn: nobody), and those of the configuration.

    Raises ValueError for a role that the market does not have, PolicyError, StrategyError.
    """
    agents = dict(agents or {})
    if unknown := sorted(set(agents) - set(cfg.counts)):
        raise ValueError(f"agents: the market has no {unknown[0]!r}; its roles are {sorted(cfg.counts)}")
    held = held_actors(cfg, [role for role in cfg.counts if role not in agents])
    return {role: resolve(agents.get(role), role) for role in cfg.counts if role not in held}, held


def acting(
    env: MarketEnv,
    own: Mapping[str, Actor],
    held: Mapping[str, Actor],
    deterministic: bool = True,
    generator: torch.Generator | None = None,
) -> dict[str, Act]:
    """The functions that act in `env` for those of `cast_all`."""
    acts = {role: actor(given, role, env, deterministic, generator) for role, given in own.items()}
    return acts | cast(env, held)


def record(
    env: MarketEnv, acts: Mapping[str, Act], look: Callable[[MarketEnv], None] | None = None
) -> Series:
    """Reset an environment made with `autoreset=False` and write down one episode of each of its markets.

    `look` is called after the reset and after every step.
    """
    if env.autoreset:
        raise ValueError(
            "record: needs MarketEnv(..., autoreset=False), or the end of an episode is not seen"
        )
    obs = env.reset()
    steps = env.cfg.env.episode_steps
    start = _state(env)
    arrays = {k: np.empty((steps + 1, *v.shape), v.dtype) for k, v in start.items()}
    for k, v in start.items():
        arrays[k][0] = v
    within: dict[str, np.ndarray] = {}
    target, cluster = env.state.target.copy(), _clusters(env)
    if look is not None:
        look(env)
    for t in range(steps):
        obs, _, _, _, _ = env.step({role: act(obs) for role, act in acts.items()})
        if look is not None:
            look(env)
        for k, v in _state(env).items():
            arrays[k][t + 1] = v
        for k, v in _step(env).items():
            if t == 0:
                within[k] = np.empty((steps, *v.shape), v.dtype)
            within[k][t] = v
    episode = env.first_env + np.arange(env.num_envs)
    return Series(
        cfg=env.cfg,
        specs=env.specs,
        episode=episode,
        cluster=cluster,
        target=target,
        **arrays,
        **within,
        **_end(env),
    )


def with_clusters(s: Series, table: pd.DataFrame) -> pd.DataFrame:
    """The table, a row per episode and more, with a column `cluster` where episodes of the Series are not independent."""
    if not s.cfg.replay.files:
        return table
    return table.assign(cluster=s.cluster[np.searchsorted(s.episode, table["episode"])])  # episodes ascend


def _clusters(env: MarketEnv) -> np.ndarray:
    """Episodes that replay the same stretch of a tape are not independent: those that start within STRETCH lengths of an
    episode are one cluster. (B,) int64."""
    if not env.cfg.replay.files:
        return env.first_env + np.arange(env.num_envs)
    length = round(env.cfg.env.episode_steps * env.cfg.market.dt * NS)
    return env.state.clock[:, START_NS] // (STRETCH * length)


def _state(env: MarketEnv) -> dict[str, np.ndarray]:
    """What stands after a step; views and new arrays, to be copied."""
    s = env.state
    envs, books, _ = s.qty.shape
    bid, ask = s.head[:, :, BID], s.head[:, :, ASK]
    lots = depth(s.qty, s.head, env.cfg.market.depth_levels)
    account = s.account[:, :, :-1].transpose(0, 2, 1, 3)  # (E, G, A, columns) without the noise traders'
    orders = s.order.reshape(envs, books, 4, -1, 2).transpose(0, 3, 1, 4, 2)  # (E, G, A, side, row)
    return {
        "best_bid": bid,
        "best_ask": ask,
        "bid_qty": lots[:, :, 0],
        "ask_qty": lots[:, :, 1],
        "fundamental": env.fundamental(),
        "regime": s.clock[:, REGIME],
        "inventory": account[..., INVENTORY],
        "cash": account[..., CASH],
        "equity": 0.5 * s.equity[..., NOW] - s.money[..., NOW],
        "fees": s.money[..., NOW],
        "edge": 0.5 * account[..., EDGE],
        "quote_px": orders[..., ORDER_PX],
        "quote_qty": orders[..., ORDER_REST],
    }


def _step(env: MarketEnv) -> dict[str, np.ndarray]:
    """What happened in the step just made."""
    s = env.state
    account = s.account[:, :, :-1].transpose(0, 2, 1, 3)
    return {
        "volume": s.head[:, :, VOLUME],
        "signed": s.head[:, :, SIGNED],
        "event": happening(s, env._params),
        "passive": account[..., PASSIVE_BOUGHT : PASSIVE_BOUGHT + 2],
        "aggressive": account[..., AGGRESSIVE_BOUGHT : AGGRESSIVE_BOUGHT + 2],
        "terms": env.buffers.terms,
        "active": s.active[..., BEFORE] != 0,
    }


def _end(env: MarketEnv) -> dict[str, np.ndarray]:
    """What the limits have done by the episode's end."""
    s = env.state
    account = s.account[:, :, :-1].transpose(0, 2, 1, 3)
    return {
        "cut": account[..., [CUT, CUT_VALUE, CUT_RATE, REFUSED]],
        "cause": s.active[..., CAUSE].astype(np.int64),
    }


def _bytes_an_episode(cfg: Config) -> int:
    books, agents = cfg.market.num_books, sum(cfg.counts.values())
    market = books * (5 * 8 + 1 + 8 * cfg.market.depth_levels) + 8
    return cfg.env.episode_steps * (market + agents * (books * (3 * 8 + 4 * 8 + 4 * 4) + 40))
