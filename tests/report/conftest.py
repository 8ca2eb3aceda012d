"""Made-up runs and traces for the figures: a random walk with quotes around it, learning curves that rise."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lobgraph.report.trace import Trace

sys.path.insert(0, str(Path(__file__).parent))  # lets the tests import what they share


@pytest.fixture
def make_rewards():
    def make(seed=0, gain=10.0, roles=("maker",), agents=2, updates=30):
        rng = np.random.default_rng(seed)
        rows = []
        for update in range(updates):
            for role in roles:
                for agent in range(agents):
                    level = -20.0 + gain * (1.0 - np.exp(-update / 8.0)) + agent
                    episodes = 0 if update == 0 else 4  # no episode ends in the first update
                    mean = level + rng.normal() if episodes else np.nan
                    rows.append({
                        "update": update, "env_steps": (update + 1) * 1000, "seconds": 0.5 * update, "role": role,
                        "agent": agent, "episodes": episodes, "reward_mean": mean, "reward_std": 3.0,
                        "reward_min": mean - 5, "reward_max": mean + 5, "length_mean": 200.0,
                        "inventory_max": 40.0 * np.exp(-update / 15.0) + 5,
                    })  # fmt: skip
        return pd.DataFrame(rows)

    return make


@pytest.fixture
def make_trace():
    def make(seed=0, books=2, roles=("maker", "taker"), steps=120, levels=5, window=128, stress_at=60):
        rng = np.random.default_rng(seed)
        agents = len(roles)
        walk = np.cumsum(rng.normal(0, 0.6, (steps, books)), axis=0) + 10_000
        half = rng.integers(1, 4, (steps, books))
        bid, ask = np.floor(walk).astype(int) - half, np.floor(walk).astype(int) + half
        px0 = np.full((steps, books), 10_000 - window // 2)
        px = px0[..., None] + np.arange(window)
        distance = np.maximum(bid[..., None] - px, px - ask[..., None])
        qty = np.where(distance >= 0, rng.poisson(3 + 20 * np.exp(-np.maximum(distance - 6, 0) / 10.0)), 0)
        quotes = np.zeros((steps, agents, books, 2, 2), int)
        quotes[:, 0, :, 0] = np.stack([bid - 1, rng.integers(0, 8, (steps, books))], -1)
        quotes[:, 0, :, 1] = np.stack([ask + 1, rng.integers(0, 8, (steps, books))], -1)
        passive = np.zeros((steps, agents, books), int)
        passive[:, 0] = rng.integers(-4, 5, (steps, books)) * (rng.random((steps, books)) < 0.2)
        aggressive = np.zeros_like(passive)
        remaining = np.zeros_like(passive)
        if "taker" in roles:
            g = roles.index("taker")
            aggressive[:, g] = rng.integers(0, 2, (steps, books))
            remaining[:, g] = 100 - np.cumsum(aggressive[:, g], axis=0)
        depth = np.arange(levels)
        return Trace(
            time=np.arange(1.0, steps + 1), best_bid=bid, best_ask=ask, mid=(bid + ask) / 2, fundamental=walk,
            bid_qty=rng.poisson(6 + 2 * depth, (steps, books, levels)),
            ask_qty=rng.poisson(6 + 2 * depth, (steps, books, levels)),
            regime=(np.arange(steps) >= stress_at).astype(int), quotes=quotes,
            inventory=np.cumsum(passive + aggressive, axis=0), remaining=remaining, fills_passive=passive,
            fills_aggressive=aggressive, book_px0=px0, book_qty=qty,
            books=tuple(f"A{i}" for i in range(books)), regimes=("normal", "stress"), roles=tuple(roles),
            horizon=float(steps),
        )  # fmt: skip

    return make
