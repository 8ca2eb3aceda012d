"""One episode written down step by step, for figures: prices, depth, quotes, fills, inventories.

In: an environment that does not reset itself and a function that maps its observations to actions. Out: one `Trace` per
environment asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lobgraph.env.market_env import MarketEnv

Act = Callable[[Any], Any]  # observations by role -> actions by role, as MarketEnv.step takes them

# What a trace keeps of the environment's snapshots, one row per step; whole books only of the first environment.
FIELDS = ("best_bid", "best_ask", "mid", "fundamental", "bid_qty", "ask_qty", "regime", "quotes", "inventory",
          "remaining", "fills_passive", "fills_aggressive", "book_px0", "book_qty")  # fmt: skip
MAX_STEPS = 2000  # of an episode, so that a trace stays a figure's worth


@dataclass(frozen=True)
class Trace:
    """T steps of one environment with A books and G agents; row t is the market at the end of step t."""

    time: np.ndarray  # (T,) float seconds since the episode's start
    best_bid: np.ndarray  # (T, A) int ticks
    best_ask: np.ndarray  # (T, A) int ticks
    mid: np.ndarray  # (T, A) float ticks
    fundamental: np.ndarray  # (T, A) float ticks
    bid_qty: np.ndarray  # (T, A, L) int lots at the L ticks from the best bid downwards
    ask_qty: np.ndarray  # (T, A, L) int lots at the L ticks from the best ask upwards
    regime: np.ndarray  # (T,) int index into `regimes`
    quotes: np.ndarray  # (T, G, A, 2, 2) int: [..., 0 bid | 1 ask, 0 px | 1 qty]; qty 0 is no order
    inventory: np.ndarray  # (T, G, A) int lots
    remaining: np.ndarray  # (T, G, A) int lots still to trade, + to buy
    fills_passive: np.ndarray  # (T, G, A) int lots filled at the agent's resting orders in the step, + bought
    fills_aggressive: np.ndarray  # (T, G, A) int lots the agent took in the step, + bought
    book_px0: np.ndarray  # (T, A) int ticks: price of book_qty[..., 0]
    book_qty: (
        np.ndarray
    )  # (T, A, W) int32 lots at each price of the window, bids and asks; W 0 where not kept
    books: tuple[str, ...]
    regimes: tuple[str, ...]
    roles: tuple[str, ...]  # (G,) each agent's role
    horizon: float  # seconds in a full episode

    def agents(self, role: str) -> list[int]:
        """Indices of the role's agents among the G."""
        return [g for g, r in enumerate(self.roles) if r == role]


def record(env: MarketEnv, act: Act, seed: int = 0, envs: Sequence[int] | None = None) -> list[Trace]:
    """Run one episode from `reset(seed)` and trace it in each environment of `envs` (None: all of them)."""
    if env.autoreset:
        raise ValueError("record: needs MarketEnv(..., autoreset=False), or an episode's end is not seen")
    indices = list(range(env.num_envs) if envs is None else envs)
    rows: dict[int, list[dict[str, np.ndarray]]] = {e: [] for e in indices}
    observations = env.reset(seed=seed)
    running = set(indices)
    for _ in range(min(env.cfg.env.episode_steps, MAX_STEPS)):
        observations, _, _, _, info = env.step(act(observations))
        for e in running:
            rows[e].append(_row(env.snapshot(e), whole_book=e == indices[0]))
        running = {e for e in running if not info["done"][e]}
        if not running:
            break
    return [_trace(env, rows[e]) for e in indices]


def _row(snapshot: dict[str, Any], whole_book: bool) -> dict[str, np.ndarray]:
    row = {name: np.array(snapshot[name]) for name in FIELDS}
    row["book_qty"] = row["book_qty"].astype(np.int32)[:, : None if whole_book else 0]
    return row


def _trace(env: MarketEnv, rows: list[dict[str, np.ndarray]]) -> Trace:
    arrays = {name: np.stack([row[name] for row in rows]) for name in FIELDS}
    dt = env.cfg.market.dt
    return Trace(
        time=dt * np.arange(1, len(rows) + 1),
        **arrays,
        books=tuple(env.cfg.market.books),
        regimes=tuple(env.cfg.regimes.names),
        roles=tuple(role for role, spec in env.specs.items() for _ in range(spec.count)),
        horizon=dt * env.cfg.env.episode_steps,
    )
