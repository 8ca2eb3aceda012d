"""Between what values each feature of an observation lies: what the market enforces, or what its integers can hold.

Prices are 32-bit ticks, lots of a level 32-bit, money 64-bit tick-lots; both best prices lie in one window of W ticks. So every
bound is finite and none is reached in a sane market: they are true, not typical. Learners should normalise by what they see.
"""

from __future__ import annotations

import math

import numpy as np

from ..config import Config
from ..env.observe import edge_feature_names, node_feature_names, vector_feature_names

APART = 2.0**32  # ticks between two prices of 32 bits
LEVEL = math.log1p(2.0**31)  # log(1 + lots) of a level
COUNT = math.log1p(2.0**63)  # signed log(1 + x) of a 64-bit count
MONEY = 2.0**64  # tick-lots: 64 bits of equity, and as much in fees

Bounds = tuple[np.ndarray, np.ndarray]  # low, high (features,) float32


def node_bounds(cfg: Config) -> Bounds:
    """Of the features of a book, (F,) each."""
    window = float(cfg.market.window)
    depth = math.log1p(cfg.market.depth_levels * 2.0**31)
    bounds = {
        "move": (-APART, APART),
        "drift": (-APART / 10, APART / 10),
        "gap_slow": (-APART, APART),
        "gap_venues": (-2 * APART, 2 * APART),
        "spread": (0.0, window),
        "bid_size": (0.0, LEVEL),
        "ask_size": (0.0, LEVEL),
        "imbalance": (-1.0, 1.0),
        "bid_depth": (0.0, depth),
        "ask_depth": (0.0, depth),
        "depth_imbalance": (-1.0, 1.0),
        "volatility": (0.0, APART),
        "order_flow": (-COUNT, COUNT),
        "trade_flow": (-COUNT, COUNT),
        "inventory": (-1.0, 1.0),
        "bid_distance": (0.0, window),
        "bid_share": (0.0, 1.0),
        "bid_queue": (0.0, 1.0),
        "ask_distance": (0.0, window),
        "ask_share": (0.0, 1.0),
        "ask_queue": (0.0, 1.0),
        "remaining": (-1.0, 1.0),
    }
    return _arrays([bounds[name] for name in node_feature_names()])


def edge_bounds(cfg: Config) -> Bounds:
    """Of the features of a pair, (Fe,) each."""
    bounds = {
        "weight": (-1.0, 1.0),
        "same_underlying": (0.0, 1.0),
        "gap": (-2 * APART, 2 * APART),
        "cost": (0.0, float(cfg.market.window)),
        "imbalance": (-2.0, 2.0),
    }
    return _arrays([bounds[name] for name in edge_feature_names()])


def vector_bounds(cfg: Config) -> Bounds:
    """Of an agent's own features, (V,) each; the same for the agents of all roles."""
    limits = [getattr(cfg.agents, role).risk.max_drawdown for role in cfg.counts]
    limit = min((x for x in limits if x is not None), default=MONEY)
    most = max(1.0, MONEY / limit)
    bounds = {
        "time_left": (0.0, 1.0),
        "equity": (-math.log1p(MONEY), math.log1p(MONEY)),
        # below 0 where a liquidation, the agent's or another's, moved its mark after the peak was taken
        "drawdown": (-most, most),
    }
    # flags of regimes and shares of books under an event
    return _arrays([bounds.get(name, (0.0, 1.0)) for name in vector_feature_names(cfg)])


def _arrays(bounds: list[tuple[float, float]]) -> Bounds:
    low, high = np.array(bounds, np.float64).T
    return _outwards(low, -np.inf), _outwards(high, np.inf)


def _outwards(x: np.ndarray, way: float) -> np.ndarray:
    """float32 at or beyond x."""
    near = x.astype(np.float32)
    inside = near > x if way < 0 else near < x
    return np.where(inside, np.nextafter(near, np.float32(way)), near).astype(np.float32)
