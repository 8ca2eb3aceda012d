"""Markets without agents for the tests of flow, theory and randomness."""

from __future__ import annotations

import numpy as np

from lobgraph.config import Config, make_config
from lobgraph.env.market_env import MarketEnv

UNIT = {"values": [1], "weights": [1]}
UNITS = {"limit_size": UNIT, "market_size": UNIT, "cancel_size": UNIT}
CST = {  # Cont, Stoikov, Talreja 2010
    "limit_rates": [1.85, 1.51, 1.09, 0.88, 0.77], "market_rate": 0.94,
    "cancel_rates": [0.71, 0.81, 0.68, 0.56, 0.47], "tilt": 0.0, **UNITS,
}  # fmt: skip


def config(flow: dict | None = None, **sections) -> Config:
    """A market without agents, in one regime."""
    tree = {
        "market": {"window": 256},
        "flow": flow or {},
        "agents": {"maker": {"count": 0}},
        "regimes": {"kinds": {"normal": {}}, "initial": {"normal": 1.0}, "switch_rates": {}},
        "env": {"episode_steps": 1_000_000},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return make_config(tree)


def steps(env: MarketEnv, count: int, read) -> np.ndarray:
    """(count, ...) what `read` returns after each of `count` steps without actions."""
    seen = []
    for _ in range(count):
        env.step({})
        seen.append(read())
    return np.array(seen)
