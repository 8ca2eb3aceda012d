"""Markets without agents for the tests of flow, theory and randomness."""

from __future__ import annotations

import numpy as np

from lobgraph.config import Config, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.validate.markets import UNITS
from lobgraph.validate.settings import Cst

CST = {
    **Cst().model_dump(include={"limit_rates", "market_rate", "cancel_rates"}, mode="json"),
    "tilt": 0.0,
    **UNITS,
}


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
        tree[name] = section if isinstance(section, list) else {**tree.get(name, {}), **section}
    return make_config(tree)


def steps(env: MarketEnv, count: int, read) -> np.ndarray:
    """(count, ...) what `read` returns after each of `count` steps without actions."""
    seen = []
    for _ in range(count):
        env.step({})
        seen.append(read())
    return np.array(seen)
