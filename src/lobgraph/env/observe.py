"""Market arrays -> node, edge and vector features, float32, unnormalised but of order one to ten.

Nodes are books: public features are the same for every agent, private ones are the agent's own. Edges are the pairs of
the configuration. The same node layout serves every role, so that one encoder can read them all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from ..config import Config
from ..market.jit import inlined
from ..market.state import (
    ASK,
    BID,
    INITIAL_PX,
    INVENTORY,
    MAX_DRAWDOWN,
    MAX_INVENTORY,
    MAX_SIZE,
    MID_PREV,
    MID_SLOW,
    MID_START,
    MIRROR,
    NOW,
    OFI,
    ORDER_AHEAD,
    ORDER_PX,
    ORDER_REST,
    PEAK,
    REGIME,
    SIGNED,
    STEP,
    UNDERLYING,
    VARIANCE,
)
from ..market.stress import share_under
from ..market.stress_tables import shown_kinds
from .reward import remaining_of

PUBLIC = (
    "move",  # mid's move over the last step, ticks
    "drift",  # mid less its value at the episode's start, in 10 ticks
    "gap_slow",  # mid less its slow average, ticks: a proxy of mispricing
    "gap_venues",  # mean over the other venues of the same underlying of their price less this one's, ticks
    "spread",  # ticks
    "bid_size",  # log(1 + lots) at the best
    "ask_size",
    "imbalance",  # (bid - ask) / (bid + ask) at the best
    "bid_depth",  # log(1 + lots) within L ticks of the best
    "ask_depth",
    "depth_imbalance",
    "volatility",  # ticks per sqrt(step), exponential average
    "order_flow",  # order-flow imbalance of the step (Cont, Kukanov, Stoikov 2014), signed log(1 + lots)
    "trade_flow",  # bought less sold by aggressors in the step, signed log(1 + lots)
)
PRIVATE = (
    "inventory",  # share of the limit
    "bid_distance",  # mid less own bid, ticks; 0: no quote
    "bid_share",  # own lots over max_size
    "bid_queue",  # share of the level ahead of it
    "ask_distance",
    "ask_share",
    "ask_queue",
    "remaining",  # signed share of the target still to trade
)
# gap: first book's price less the second's, in ticks (venues: at par; else: both since the episode's start); cost: mean
# spread, ticks; imbalance: difference at the best.
EDGES = ("weight", "same_underlying", "gap", "cost", "imbalance")
PUBLIC_COUNT = len(PUBLIC)
# What changes where the book is seen from the other side: buys for sells, up for down.
NODE = PUBLIC + PRIVATE
SIGNED_FEATURES = ("move", "drift", "gap_slow", "gap_venues", "imbalance", "depth_imbalance", "order_flow", "trade_flow",
                   "inventory", "remaining")  # fmt: skip
NEGATED = tuple(NODE.index(name) for name in SIGNED_FEATURES)
SWAPPED = tuple((NODE.index(n), NODE.index(n.replace("bid", "ask"))) for n in NODE if n.startswith("bid"))
SLOW = 0.05  # weight of a new mid in the slow average, of a new move in the variance


class Observation(NamedTuple):
    """What the agents of one role see. E environments, K agents, N nodes, P pairs."""

    nodes: torch.Tensor  # (E, K, N, F) float32
    edges: torch.Tensor  # (E, K, P, Fe) float32
    vector: torch.Tensor  # (E, K, V) float32


def node_feature_names() -> tuple[str, ...]:
    return NODE


def edge_feature_names() -> tuple[str, ...]:
    return EDGES


def vector_feature_names(cfg: Config) -> tuple[str, ...]:
    regimes = tuple(f"regime_{n}" for n in cfg.regimes.names) if cfg.env.show_regime else ()
    return ("time_left", "equity", "drawdown", *regimes, *(f"stress_{kind}" for kind in shown_kinds(cfg)))


@inlined()
def _signed_log(x):
    return math.log1p(x) if x > 0 else -math.log1p(-x)


@inlined()
def _imbalance(bid, ask):
    return (bid - ask) / (bid + ask) if bid + ask > 0 else 0.0


@inlined()
def _level(p, state, env, a):
    """Mid less the configured initial price: comparable between venues of one underlying, ticks."""
    return 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK]) - p.book[a, INITIAL_PX]


@inlined()
def update_features(state, env):
    """Advance the running features (variance, slow mid) of one environment by one step; call before `observe_env`."""
    for a in range(state.head.shape[1]):
        mid = 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK])
        feature = state.feature[env, a]
        move = mid - feature[MID_PREV]
        feature[VARIANCE] += SLOW * (move * move - feature[VARIANCE])
        feature[MID_SLOW] += SLOW * (mid - feature[MID_SLOW])


@inlined()
def _observe_book(p, state, out, env, a):
    """Public features of book a into `out` (len(PUBLIC),)."""
    h = state.head[env, a]
    w = state.qty.shape[2]
    feature = state.feature[env, a]
    mid = 0.5 * (h[BID] + h[ASK])
    bid_best = np.float64(state.qty[env, a, h[BID] & (w - 1)])
    ask_best = np.float64(state.qty[env, a, h[ASK] & (w - 1)])
    bid_depth, ask_depth = 0.0, 0.0
    for i in range(p.depth_levels):
        bid_depth += state.qty[env, a, (h[BID] - i) & (w - 1)]
        ask_depth += state.qty[env, a, (h[ASK] + i) & (w - 1)]
    drift = mid - feature[MID_START]
    others, count = 0.0, 0
    for i in range(state.head.shape[1]):
        if i != a and p.book[a, UNDERLYING] == p.book[i, UNDERLYING]:
            others += _level(p, state, env, i)
            count += 1
    out[0] = mid - feature[MID_PREV]
    out[1] = 0.1 * drift
    out[2] = mid - feature[MID_SLOW]
    out[3] = others / count - _level(p, state, env, a) if count > 0 else 0.0
    out[4] = h[ASK] - h[BID]
    out[5] = math.log1p(bid_best)
    out[6] = math.log1p(ask_best)
    out[7] = _imbalance(bid_best, ask_best)
    out[8] = math.log1p(bid_depth)
    out[9] = math.log1p(ask_depth)
    out[10] = _imbalance(bid_depth, ask_depth)
    out[11] = math.sqrt(feature[VARIANCE])
    out[12] = _signed_log(np.float64(h[OFI]))
    out[13] = _signed_log(np.float64(h[SIGNED]))


@inlined()
def _observe_own(p, state, out, env, g, a):
    """Private features of agent g in book a into `out` from column len(PUBLIC) on."""
    w = state.qty.shape[2]
    h = state.head[env, a]
    mid = 0.5 * (h[BID] + h[ASK])
    base = PUBLIC_COUNT
    out[base] = state.account[env, a, g, INVENTORY] / p.agent[g, MAX_INVENTORY]
    for k in range(2):
        s = 2 * g + k
        at = base + 1 + 3 * k
        rest = state.order[env, a, ORDER_REST, s]
        if rest > 0:
            px = state.order[env, a, ORDER_PX, s]
            level = state.qty[env, a, px & (w - 1)]
            out[at] = mid - px if k == 0 else px - mid
            out[at + 1] = rest / p.agent[g, MAX_SIZE]
            out[at + 2] = state.order[env, a, ORDER_AHEAD, s] / level
        else:
            out[at] = 0.0
            out[at + 1] = 0.0
            out[at + 2] = 0.0
    out[base + 7] = remaining_of(state, env, g, a) / p.target[g, a] if p.target[g, a] > 0 else 0.0


@inlined()
def _mirror(row):
    """One agent's features of a book (F,), seen from the other side, in place."""
    for i in NEGATED:
        row[i] = -row[i]
    for i, j in SWAPPED:
        row[i], row[j] = row[j], row[i]


@inlined()
def observe_env(p, state, nodes, edges, vector, env):
    """Write one environment's observation: nodes (E, G, N, F), edges (E, P, Fe), vector (E, G, V), float32."""
    books = state.head.shape[1]
    if p.agent.shape[0] == 0:
        return
    for a in range(books):
        first = nodes[env, 0, a]
        _observe_book(p, state, first, env, a)
        for g in range(1, p.agent.shape[0]):
            for i in range(PUBLIC_COUNT):
                nodes[env, g, a, i] = first[i]
        for g in range(p.agent.shape[0]):
            _observe_own(p, state, nodes[env, g, a], env, g, a)
    for i in range(p.pairs.shape[0]):
        x, y = p.pairs[i, 0], p.pairs[i, 1]
        edges[env, i, 0] = p.pair_weight[i]
        if p.book[x, UNDERLYING] == p.book[y, UNDERLYING]:
            edges[env, i, 1] = 1.0
            edges[env, i, 2] = _level(p, state, env, x) - _level(p, state, env, y)
        else:
            edges[env, i, 1] = 0.0
            edges[env, i, 2] = 10.0 * (nodes[env, 0, x, 1] - nodes[env, 0, y, 1])
        edges[env, i, 3] = 0.5 * (nodes[env, 0, x, 4] + nodes[env, 0, y, 4])
        edges[env, i, 4] = nodes[env, 0, x, 7] - nodes[env, 0, y, 7]
    for g in range(p.agent.shape[0]):
        for a in range(books if p.agent[g, MIRROR] else 0):
            if state.target[env, g, a] < 0:
                _mirror(nodes[env, g, a])
    clock = state.clock[env]
    for g in range(p.agent.shape[0]):
        net = 0.5 * state.equity[env, g, NOW] - state.money[env, g, NOW]
        vector[env, g, 0] = 1.0 - clock[STEP] / p.episode_steps
        vector[env, g, 1] = _signed_log(
            net / books
        )  # a book's share: the scale does not grow with the market
        vector[env, g, 2] = (state.money[env, g, PEAK] - net) / p.agent_float[g, MAX_DRAWDOWN]
        if p.show_regime:
            for r in range(p.chain.shape[1]):
                vector[env, g, 3 + r] = 1.0 if clock[REGIME] == r else 0.0
        for i in range(p.shown.shape[0]):
            at = vector.shape[2] - p.shown.shape[0] + i
            vector[env, g, at] = share_under(p, state, env, p.shown[i])


@inlined()
def mark_mid(state, env):
    """Remember the mids at this decision, from which the next step's moves are measured."""
    for a in range(state.head.shape[1]):
        state.feature[env, a, MID_PREV] = 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK])
