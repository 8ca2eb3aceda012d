"""A Series written by hand: a still market in which nobody does anything, to be changed array by array."""

from __future__ import annotations

import numpy as np

from lobgraph.config import Config, load_config
from lobgraph.env.actions import role_specs
from lobgraph.evaluation.record import Series


def config(*overrides: str, steps: int = 4) -> Config:
    """One maker, one taker, one arbitrageur on two venues of one underlying; a decision every 4 seconds."""
    base = ("market.books=[X,Y]", "market.underlying=[U,U]", "market.dt=4", "market.depth_levels=2",
            "market.initial_price=1000", "agents.taker.count=1", "agents.arbitrageur.count=1",
            "agents.taker.max_size=100")  # fmt: skip
    return load_config(None, [*base, f"env.episode_steps={steps}", *overrides])


def still(cfg: Config, episodes: int = 1) -> Series:
    """Best bid 999, best ask 1001, 5 lots at each of two levels a side, fundamental 1000; agents hold and quote nothing."""
    specs = role_specs(cfg)
    t, b, a = cfg.env.episode_steps, episodes, cfg.market.num_books
    g, levels = sum(s.count for s in specs.values()), cfg.market.depth_levels
    return Series(
        cfg=cfg,
        specs=specs,
        episode=np.arange(b),
        cluster=np.arange(b),
        best_bid=np.full((t + 1, b, a), 999),
        best_ask=np.full((t + 1, b, a), 1001),
        bid_qty=np.full((t + 1, b, a, levels), 5, np.int32),
        ask_qty=np.full((t + 1, b, a, levels), 5, np.int32),
        fundamental=np.full((t + 1, b, a), 1000.0),
        regime=np.zeros((t + 1, b), np.int64),
        volume=np.zeros((t, b, a), np.int64),
        signed=np.zeros((t, b, a), np.int64),
        event=np.zeros((t, b, a), np.uint8),
        inventory=np.zeros((t + 1, b, g, a), np.int64),
        cash=np.zeros((t + 1, b, g, a), np.int64),
        equity=np.zeros((t + 1, b, g)),
        fees=np.zeros((t + 1, b, g)),
        edge=np.zeros((t + 1, b, g, a)),
        passive=np.zeros((t, b, g, a, 2), np.int64),
        aggressive=np.zeros((t, b, g, a, 2), np.int64),
        quote_px=np.zeros((t + 1, b, g, a, 2), np.int32),
        quote_qty=np.zeros((t + 1, b, g, a, 2), np.int32),
        terms=np.zeros((t, b, g, 4), np.float32),
        active=np.ones((t, b, g), bool),
        target=np.zeros((b, g, a), np.int64),
        cut=np.zeros((b, g, a, 4), np.int64),
        cause=np.zeros((b, g), np.int64),
    )


def move_mid(s: Series, mid: list[int], book: int = 0) -> None:
    """Put the best prices of one book a tick around these mids, row by row."""
    s.best_bid[:, :, book] = np.array(mid)[:, None] - 1
    s.best_ask[:, :, book] = np.array(mid)[:, None] + 1
