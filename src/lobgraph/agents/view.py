"""What a strategy sees of a batch of markets at one decision, in ticks, lots and seconds; and orders in the same units.

Arrays are numpy, made when first asked for, and copies: a strategy may keep them. E environments, K agents of its role,
A books, P pairs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Config
from ..env.actions import RoleSpec
from ..env.observe import Observation
from ..market.reading import depth, remaining
from ..market.state import (
    AGGRESSIVE_BOUGHT,
    ASK,
    BID,
    CASH,
    EPISODE,
    HALTED_UNTIL,
    INVENTORY,
    ORDER_AHEAD,
    ORDER_PX,
    ORDER_REST,
    PASSIVE_BOUGHT,
    REGIME,
    SIGNED,
    STEP,
    VOLUME,
)

if TYPE_CHECKING:
    from ..env.market_env import MarketEnv


class View:
    """One role's view of the market now. Made anew for every decision."""

    _first = False

    def __init__(self, env: MarketEnv, role: str, first: bool = False) -> None:
        """`first`: nothing was seen of these environments before; staggered ones start in the middle of an episode."""
        self._env, self._state, self._first = env, env.state, first
        self.role = role
        self.spec: RoleSpec = env.specs[role]
        self.cfg: Config = env.cfg
        self.section: Any = getattr(
            env.cfg.agents, role
        )  # the role's settings: max_size, risk.max_inventory, ...
        self.envs, self.agents, self.books = env.num_envs, self.spec.count, env.cfg.market.num_books
        self.dt = env.cfg.market.dt  # seconds between decisions
        self.steps = env.cfg.env.episode_steps  # decisions in an episode
        self.pairs: np.ndarray = env.cfg.pairs.copy()  # (P, 2) int64 books of each pair

    @property
    def observation(self) -> Observation:
        """What a policy of the role sees: nodes (E, K, N, F), edges, vector; the environment's own buffers, not a copy."""
        env, own = self._env, self.spec.agents
        edges = env.edges[:, None].expand(-1, self.agents, -1, -1)
        return Observation(env.nodes[:, own], edges, env.vector[:, own])

    # --- the market, the same for every agent ---

    @cached_property
    def step(self) -> np.ndarray:
        """(E,) int64 decisions taken in this episode; 0 at its start."""
        return self._state.clock[:, STEP].copy()

    @cached_property
    def fresh(self) -> np.ndarray:
        """(E,) bool: the first decision in an episode; what was remembered of the last one is void."""
        return (self.step == 0) | self._first

    @cached_property
    def episode(self) -> np.ndarray:
        """(E,) int64 episodes ended before this one."""
        return self._state.clock[:, EPISODE].copy()

    @cached_property
    def time_left(self) -> np.ndarray:
        """(E,) float64 seconds to the episode's end."""
        return (self.steps - self.step) * self.dt

    @cached_property
    def best_bid(self) -> np.ndarray:
        """(E, A) int64 ticks."""
        return self._state.head[:, :, BID].copy()

    @cached_property
    def best_ask(self) -> np.ndarray:
        """(E, A) int64 ticks."""
        return self._state.head[:, :, ASK].copy()

    @cached_property
    def mid(self) -> np.ndarray:
        """(E, A) float64 ticks."""
        return 0.5 * (self.best_bid + self.best_ask)

    @cached_property
    def spread(self) -> np.ndarray:
        """(E, A) int64 ticks."""
        return self.best_ask - self.best_bid

    @cached_property
    def bid_qty(self) -> np.ndarray:
        """(E, A) int64 lots at the best bid."""
        return self.depth[:, :, 0, 0]

    @cached_property
    def ask_qty(self) -> np.ndarray:
        """(E, A) int64 lots at the best ask."""
        return self.depth[:, :, 1, 0]

    @cached_property
    def imbalance(self) -> np.ndarray:
        """(E, A) float64 (bid - ask) / (bid + ask) lots at the best, own orders included, in -1..1; 0 where both are empty."""
        total = self.bid_qty + self.ask_qty
        return (self.bid_qty - self.ask_qty) / np.maximum(total, 1)

    @cached_property
    def depth(self) -> np.ndarray:
        """(E, A, 2, L) int64 lots at the L ticks from the best bid downwards, and from the best ask upwards."""
        return depth(self._state.qty, self._state.head, self.cfg.market.depth_levels).astype(np.int64)

    @cached_property
    def volume(self) -> np.ndarray:
        """(E, A) int64 lots traded in the last step."""
        return np.where(self.fresh[:, None], 0, self._state.head[:, :, VOLUME])

    @cached_property
    def signed_volume(self) -> np.ndarray:
        """(E, A) int64 lots bought less sold by incoming orders in the last step."""
        return np.where(self.fresh[:, None], 0, self._state.head[:, :, SIGNED])

    @cached_property
    def halted(self) -> np.ndarray:
        """(E, A) bool: trading is halted now, as any exchange says, shown to policies or not. Only cancels are carried out."""
        return self.step[:, None] < self._state.stress[:, :, HALTED_UNTIL]

    @cached_property
    def regime(self) -> np.ndarray:
        """(E,) int64 index into cfg.regimes.names. Known to no trader unless env.show_regime."""
        return self._state.clock[:, REGIME].copy()

    @cached_property
    def fundamental(self) -> np.ndarray:
        """(E, A) float64 ticks: the value that noise traders lean towards, which no trader sees; NaN in replayed markets."""
        return self._env.fundamental()

    @cached_property
    def initial_price(self) -> np.ndarray:
        """(A,) int64 ticks. Venues of one underlying are compared by mid less initial_price."""
        return self.cfg.market.prices

    # --- the agents' own ---

    @cached_property
    def inventory(self) -> np.ndarray:
        """(E, K, A) int64 lots."""
        return self._account(INVENTORY)

    @cached_property
    def cash(self) -> np.ndarray:
        """(E, K, A) int64 tick-lots, before fees."""
        return self._account(CASH)

    @cached_property
    def fills(self) -> np.ndarray:
        """(E, K, A, 2, 2) int64 lots filled in the last step: [..., 0 passive | 1 aggressive, 0 bought | 1 sold]."""
        columns = [self._account(c) for c in range(PASSIVE_BOUGHT, AGGRESSIVE_BOUGHT + 2)]
        lots = np.stack(columns, axis=-1).reshape(self.envs, self.agents, self.books, 2, 2)
        return np.where(self.fresh[:, None, None, None, None], 0, lots)

    @cached_property
    def target(self) -> np.ndarray:
        """(E, K, A) int64 signed lots to trade in this episode, + buys; 0 without one."""
        return self._state.target[:, self.spec.agents].copy()

    @cached_property
    def remaining(self) -> np.ndarray:
        """(E, K, A) int64 signed lots of the target still to trade."""
        return remaining(self.target, self.inventory)

    @cached_property
    def quotes(self) -> np.ndarray:
        """(E, K, A, 2, 3) int64 own resting orders: [..., 0 bid | 1 ask, 0 price | 1 lots | 2 lots ahead]; 0 lots: none."""
        rows = [ORDER_PX, ORDER_REST, ORDER_AHEAD]
        own = self._state.order[:, :, rows].astype(np.int64)  # (E, A, 3, S)
        own = own.reshape(self.envs, self.books, 3, -1, 2)[:, :, :, self.spec.agents]
        return own.transpose(0, 3, 1, 4, 2)

    def _account(self, column: int) -> np.ndarray:
        return self._state.account[:, :, self.spec.agents, column].transpose(0, 2, 1).copy()

    # --- orders, as actions of the role ---

    def quote(self, bid: Any, ask: Any, size: Any) -> np.ndarray:
        """A maker's actions: a bid and an ask at these prices (ticks), each of `size` lots.

        Arrays that broadcast to (E, K, A), float or int. Bids are rounded down and asks up to whole ticks. Neither
        passes the mid, nor is further from it than max_offset * quote_spread ticks. Returns (E, K, A, 3) float32.
        """
        bid, ask, size = (self._each(what, x) for what, x in (("bid", bid), ("ask", ask), ("size", size)))
        unit = round(self.section.quote_spread * 65536) / 65536  # as the market rounds it
        mid = self.mid[:, None, :]
        near = 1e-4  # ticks; a price that is whole but for rounding stays where it is
        actions = np.empty((self.envs, self.agents, self.books, 3), np.float32)
        actions[..., 0] = np.maximum(mid - bid - near, 0.0) / unit
        actions[..., 1] = np.maximum(ask - mid - near, 0.0) / unit
        actions[..., 2] = size
        return actions

    def _each(self, what: str, x: Any) -> np.ndarray:
        """One value for every environment, agent and book."""
        x, shape = np.asarray(x), (self.envs, self.agents, self.books)
        try:
            return np.broadcast_to(x, shape)
        except ValueError:
            from .strategy import StrategyError  # which imports this module

            raise StrategyError(
                f"view: {what} has shape {x.shape}, which does not broadcast to {shape} (envs, agents, books)"
            ) from None

    def trade(self, lots: Any) -> np.ndarray:
        """A taker's actions: market orders of these signed lots, + buys; 0 waits. (E, K, A) -> (E, K, A, 2) float32.

        Orders above max_size are cut to it. Fractions are rounded to the nearest lot.
        """
        lots = np.rint(self._each("lots", lots))
        mirrored = self.section.mirror & (self.target < 0)  # where the direction is + towards the target
        return np.stack([np.where(mirrored, -1, 1) * np.sign(lots), np.abs(lots)], axis=-1).astype(np.float32)

    def legs(self, lots: Any, close: Any = False) -> np.ndarray:
        """An arbitrageur's actions: + buys the pair's first book and sells the second; 0 does nothing. (E, K, P) each.

        Where `close` is true, up to |lots| of what is held in both legs are sold off instead. Returns (E, K, P, 3) float32.
        """
        shape = (self.envs, self.agents, len(self.pairs))
        lots, close = np.rint(np.broadcast_to(lots, shape)), np.broadcast_to(close, shape)
        return np.stack([np.sign(lots), np.where(close, 1.0, -1.0), np.abs(lots)], axis=-1).astype(np.float32)
