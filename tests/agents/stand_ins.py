"""Views of markets that are not there: the arrays given, the rest as the real View derives it; small real markets."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np

from lobgraph.agents.view import View
from lobgraph.config import Config, make_config
from lobgraph.env.actions import role_specs

AGENTS = {
    "maker": {"count": 1, "max_offset": 50.0, "max_size": 50},
    "taker": {"count": 1, "max_size": 10, "target": 1},
    "arbitrageur": {"count": 1, "max_size": 4},
}


def market(books: int = 1, steps: int = 40, dt: float = 1.0, **agents: dict[str, Any]) -> Config:
    """A market with the agents given, each role's settings over those of AGENTS; books share one underlying."""
    roles = {role: AGENTS[role] | agents.get(role, {"count": 0}) for role in AGENTS}
    tree = {
        "market": {"books": books, "underlying": ["X"] * books, "dt": dt, "initial_price": 1000},
        "agents": roles,
        "env": {"episode_steps": steps, "threads": 1},
        "flow": {"warmup": 5.0},
    }
    return _made(json.dumps(tree))


@lru_cache
def _made(tree: str) -> Config:
    return make_config(json.loads(tree))


class Standing(View):
    """A View of given arrays. `bid`, `ask` (E, A) ticks; whatever else is asked for must be given by name."""

    def __init__(self, cfg: Config, role: str, bid: Any, ask: Any, step: Any = 0, **arrays: Any) -> None:
        self.role, self.cfg, self.spec = role, cfg, role_specs(cfg)[role]
        self.section = getattr(cfg.agents, role)
        bid, ask = np.atleast_2d(bid), np.atleast_2d(ask)
        self.envs, self.books = bid.shape
        self.agents = self.spec.count
        self.dt, self.steps, self.pairs = cfg.market.dt, cfg.env.episode_steps, cfg.pairs
        own = (self.envs, self.agents, self.books)
        given = {
            "best_bid": bid, "best_ask": ask, "step": np.broadcast_to(step, self.envs),
            "inventory": np.zeros(own, np.int64), "fills": np.zeros((*own, 2, 2), np.int64),
            "volume": np.zeros(bid.shape, np.int64), "target": np.zeros(own, np.int64),
            "quotes": np.zeros((*own, 2, 3), np.int64),
        }  # fmt: skip
        for name, value in (given | arrays).items():
            shape = given[name].shape if name in given else np.shape(value)
            self.__dict__[name] = np.broadcast_to(value, shape).copy()

    def quote(self, bid: Any, ask: Any, size: Any) -> np.ndarray:
        """As the real one; keeps the prices asked for."""
        self.asked = np.broadcast_arrays(bid, ask)
        return super().quote(bid, ask, size)


def lots(actions: np.ndarray) -> np.ndarray:
    """Signed lots of a taker's actions, (E, K, A)."""
    return actions[..., 0] * actions[..., 1]
