"""Role actions -> messages to the books. Physical units in, integer prices and lots out.

A maker quotes each node: bid offset and ask offset from the mid (in units of `quote_spread` ticks), size (lots).
A taker trades each node that it has a target in (all, where the target is 0): direction (buy > threshold, sell <
-threshold, else wait), size (lots). With `mirror` the direction is + towards the target. A direction of exactly 0 sends
nothing, whatever the rules for targets say.
An arbitrageur trades each pair (i, j): direction (> threshold: buy i, sell j; < -threshold: the reverse), close
(> threshold: instead, reduce what it holds in both legs), size (lots per leg). Its pairs' orders in one book are netted.
Prices are computed in 1/65536 tick, so that CPU and GPU agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config import ROLES, Config
from ..market.jit import inlined
from ..market.state import (
    ACT_MARKET,
    ACT_NONE,
    ACT_QUOTE,
    ACTION,
    ARBITRAGEUR,
    ASK,
    ASK_PX,
    ASK_QTY,
    BID,
    BID_PX,
    BID_QTY,
    FREE,
    INVENTORY,
    MAKER,
    MARKET_QTY,
    MAX_OFFSET,
    MAX_SIZE,
    MIRROR,
    MUST_FINISH,
    NOW,
    QUOTE_SPREAD,
    ROLE,
    SLOT,
    STEP,
    STOP_AT_TARGET,
    TAKER,
    THRESHOLD,
)
from .observe import edge_feature_names, node_feature_names, vector_feature_names
from .reward import reward_terms

ACTION_NAMES = {
    "maker": ("bid_offset", "ask_offset", "size"),
    "taker": ("direction", "size"),
    "arbitrageur": ("direction", "close", "size"),
}


@dataclass(frozen=True)
class RoleSpec:
    """What one role sees and does: shapes, names and bounds. `low`/`high` (act_dim,) float32, physical units."""

    role: str
    count: int  # K agents
    acts_on: str  # "node" or "pair"
    items: int  # N nodes or P pairs
    action_names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    node_features: tuple[str, ...]
    edge_features: tuple[str, ...]
    vector_features: tuple[str, ...]
    reward_terms: tuple[str, ...]
    agents: slice  # rows of the buffers common to all roles


def role_specs(cfg: Config) -> dict[str, RoleSpec]:
    """Specs of the roles present, in the order of ROLES."""
    specs, first = {}, 0
    for role in ROLES:
        section = getattr(cfg.agents, role)
        if section.count == 0:
            continue
        size = float(section.max_size)
        low, high = {
            "maker": ([0.0, 0.0, 0.0], [getattr(section, "max_offset", 0.0)] * 2 + [size]),
            "taker": ([-1.0, 0.0], [1.0, size]),
            "arbitrageur": ([-1.0, -1.0, 0.0], [1.0, 1.0, size]),
        }[role]
        pair = role == "arbitrageur"
        specs[role] = RoleSpec(
            role=role,
            count=section.count,
            acts_on="pair" if pair else "node",
            items=len(cfg.pairs) if pair else cfg.market.num_books,
            action_names=ACTION_NAMES[role],
            low=np.array(low, dtype=np.float32),
            high=np.array(high, dtype=np.float32),
            node_features=node_feature_names(),
            edge_features=edge_feature_names(),
            vector_features=vector_feature_names(cfg),
            reward_terms=reward_terms(role, section),
            agents=slice(first, first + section.count),
        )
        first += section.count
    return specs


@inlined()
def _bounded(x, low, high):
    return min(max(np.float64(x), low), high)


@inlined()
def _lots(x, most):
    """Whole lots nearest to x in 0..most."""
    return np.int64(_bounded(x, 0.0, np.float64(most)) + 0.5)


@inlined()
def decode(p, state, maker, taker, arb, env):
    """Write the messages of all agents to all books of one environment into `state.message[env]`.

    `maker` (E, K, N, 3), `taker` (E, K, N, 2), `arb` (E, K, P, 3) float32, in physical units; clipped to their bounds.
    """
    for a in range(state.head.shape[1]):
        for g in range(p.agent.shape[0]):
            message = state.message[env, a, g]
            message[ACTION] = ACT_NONE
            if state.active[env, g, NOW] == 0:
                continue
            k = p.agent[g, SLOT]
            role = p.agent[g, ROLE]
            if role == MAKER:
                _quote(p, state.head[env, a], maker[env, k, a], message, g)
            elif role == TAKER:
                if p.target[g, a] > 0 or p.agent[g, FREE]:
                    _order(message, _towards_target(p, state, taker[env, k, a], env, a, g))
            elif role == ARBITRAGEUR:
                _order(message, _net_legs(p, state, arb[env, k], env, a, g))


@inlined()
def _quote(p, head, action, message, g):
    mid = (head[BID] + head[ASK]) << 15
    bid_off = (
        np.int64(_bounded(action[0], 0.0, p.agent_float[g, MAX_OFFSET]) * 65536.0) * p.agent[g, QUOTE_SPREAD]
    ) >> 16
    ask_off = (
        np.int64(_bounded(action[1], 0.0, p.agent_float[g, MAX_OFFSET]) * 65536.0) * p.agent[g, QUOTE_SPREAD]
    ) >> 16
    bid = (mid - bid_off) >> 16
    ask = -((-(mid + ask_off)) >> 16)
    if bid >= ask:
        bid = ask - 1
    lots = _lots(action[2], p.agent[g, MAX_SIZE])
    message[ACTION] = ACT_QUOTE
    message[BID_PX] = bid
    message[ASK_PX] = ask
    message[BID_QTY] = lots
    message[ASK_QTY] = lots


@inlined()
def _sign(signal, threshold):
    return 1 if signal > threshold else (-1 if signal < -threshold else 0)


@inlined()
def _order(message, signed):
    if signed != 0:
        message[ACTION] = ACT_MARKET
        message[MARKET_QTY] = signed


@inlined()
def _towards_target(p, state, action, env, a, g):
    """Signed lots of a taker's order.

    With stop_at_target cut so that its inventory stays between 0 and the target. With must_finish never against the
    target's side, and at least what max_size at every later decision could not make up for.
    """
    most = p.agent[g, MAX_SIZE]
    lots = _sign(action[0], p.agent_float[g, THRESHOLD]) * _lots(action[1], most)
    if p.agent[g, FREE] or action[0] == 0.0:
        return lots
    held = state.account[env, a, g, INVENTORY]
    target = state.target[env, g, a]
    side = 1 if target > 0 else -1
    if p.agent[g, MIRROR]:
        lots *= side
    if p.agent[g, MUST_FINISH]:
        later = max(p.episode_steps - state.clock[env, STEP] - 1, 0) * most
        lots = side * min(max(lots * side, abs(target) - side * held - later, 0), most)
    if p.agent[g, STOP_AT_TARGET]:
        lots = min(max(lots, min(target, 0) - held), max(target, 0) - held)
    return lots


@inlined()
def _net_legs(p, state, action, env, a, g):
    """Net signed lots that an arbitrageur's pairs send to book a."""
    net = 0
    held = state.account[env, a, g, INVENTORY]
    for i in range(p.pairs.shape[0]):
        if p.pairs[i, 0] != a and p.pairs[i, 1] != a:
            continue
        lots = _lots(action[i, 2], p.agent[g, MAX_SIZE])
        if action[i, 1] > p.agent_float[g, THRESHOLD]:
            lots = min(lots, abs(held))
            lots = lots if held > 0 else -lots
            held -= lots  # so that several pairs together do not turn the position
            net -= lots
        else:
            leg = 1 if p.pairs[i, 0] == a else -1
            net += leg * _sign(action[i, 0], p.agent_float[g, THRESHOLD]) * lots
    return net
