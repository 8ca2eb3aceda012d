"""Markets, actions and hand-made bookkeeping that the environment's tests share."""

from __future__ import annotations

import numpy as np
import torch

from lobgraph.config import Config, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms

MARKET = {
    "books": ["X1", "X2", "Y"],
    "underlying": ["X", "X", "Y"],
    "window": 256,
    "initial_price": [10_000, 10_040, 700],
}
AGENTS = {
    "maker": {"count": 2, "max_size": 6, "risk": {"max_inventory": 20}},
    "taker": {
        "count": 1,
        "max_size": 8,
        "target": 60,
        "stop_at_target": False,
        "risk": {"max_inventory": 100},
    },
    "arbitrageur": {"count": 2, "pairs": "all", "max_size": 5, "risk": {"max_inventory": 15}},
}
STILL = {"intensity": 0.0, "market_rate": 0.0, "cancel_rate": 0.0, "warmup": 0.0}  # nobody but the agents


def scene(**sections) -> Config:
    """Two venues of X and one book of Y, two makers, a taker, two arbitrageurs; sections replace or add keys."""
    tree: dict = {
        "market": dict(MARKET) | {"mark": "mid", "maker_rebate": 0.0002, "taker_fee": 0.0005},
        "agents": AGENTS,
        "env": {"episode_steps": 12, "threads": 1},
        "flow": {"warmup": 5.0},
    }
    for name, section in sections.items():
        tree[name] = (
            {**tree.get(name, {}), **section}
            if name not in ("agents", "stress")
            else section
            if name == "stress"
            else {"maker": {"count": 0}} | section
        )
    return make_config(tree)


def one_book(agents: dict, **sections) -> Config:
    """One book; only the agents given."""
    market = {"mark": "mid", "books": ["A"], "underlying": None, "initial_price": 1000} | sections.pop(
        "market", {}
    )
    return scene(market=market, agents=agents, **sections)


def random_actions(env: MarketEnv, rng: np.random.Generator, beyond: float = 0.0) -> dict[str, torch.Tensor]:
    """Uniform in the bounds, or up to `beyond` of their width outside."""
    actions = {}
    for role, s in env.specs.items():
        shape = (env.num_envs, s.count, s.items, len(s.action_names))
        width = s.high - s.low
        u = rng.uniform(-beyond, 1.0 + beyond, shape)
        actions[role] = torch.as_tensor(s.low + u * width, dtype=torch.float32)
    return actions


def still_actions(env: MarketEnv) -> dict[str, torch.Tensor]:
    """No quotes, no orders."""
    return {
        role: torch.zeros(env.num_envs, s.count, s.items, len(s.action_names))
        for role, s in env.specs.items()
    }


def mids(env: MarketEnv) -> np.ndarray:
    """(E, A) float64 ticks."""
    return 0.5 * (env.state.head[..., ms.BID] + env.state.head[..., ms.ASK])


def marks(env: MarketEnv) -> np.ndarray:
    """(E, A, G) what an agent's inventory is worth a lot: the mid of everybody else's quotes (market.mark: others)."""
    s, w = env.state, env.state.qty.shape[2]
    marks = np.repeat(mids(env)[..., None], s.order.shape[3] // 2, axis=2)
    if env.cfg.market.mark == "mid":
        return marks
    for e, a, g in np.ndindex(marks.shape):
        bid, ask, low = s.head[e, a, [ms.BID, ms.ASK, ms.LOW]]
        book = {px: int(s.qty[e, a, px & (w - 1)]) for px in range(low, low + w)}
        for px, lots in s.order[e, a, : ms.ORDER_REST + 1, 2 * g : 2 * g + 2].T:
            if lots > 0:
                book[int(px)] -= lots
        bids = [px for px, lots in book.items() if lots and px <= bid]
        asks = [px for px, lots in book.items() if lots and px >= ask]
        marks[e, a, g] = 0.5 * (max(bids, default=bid) + min(asks, default=ask))
    return marks


class Accounts:
    """What the accounts say at one moment, by hand: arrays over (E, G)."""

    def __init__(self, env: MarketEnv) -> None:
        account = env.state.account[:, :, :-1]  # (E, A, G, C)
        self.mid = mids(env)  # (E, A)
        self.inventory = account[..., ms.INVENTORY].swapaxes(1, 2).copy()  # (E, G, A)
        self.equity = (account[..., ms.CASH] + account[..., ms.INVENTORY] * marks(env)).sum(axis=1)
        m = env.cfg.market
        aggressive = account[..., ms.AGGRESSIVE_NOTIONAL].sum(axis=1)
        passive = account[..., ms.PASSIVE_NOTIONAL].sum(axis=1)
        self.fees = m.taker_fee * aggressive - m.maker_rebate * passive


def copied(obs) -> dict:
    return {role: [x.clone() for x in o] for role, o in obs.items()}


def equal_obs(one: dict, two: dict) -> bool:
    return all(torch.equal(x, y) for role in one for x, y in zip(one[role], two[role], strict=True))


# --- markets that something befalls (config: stress) ---

NOBODY = {"maker": {"count": 0}}
FLAT = {"kinds": {"normal": {}}, "initial": {"normal": 1.0}, "switch_rates": {}}


def market(*events: dict, agents: dict = NOBODY, **sections) -> Config:
    """Three books without agents (scene), one regime."""
    return scene(agents=agents, stress=list(events), regimes=FLAT, **sections)


def still(*events: dict, agents: dict | None = None, depth: int = 12, **sections) -> MarketEnv:
    """One still book, best prices 999 and 1001, reset."""
    cfg = one_book(agents or NOBODY, flow={**STILL, "initial_depth": depth}, stress=list(events), **sections)
    env = MarketEnv(cfg, num_envs=1, seed=0)
    env.reset()
    return env


def started(cfg: Config, envs: int, seed: int = 0, first_env: int = 0) -> MarketEnv:
    env = MarketEnv(cfg, envs, seed, first_env=first_env, autoreset=False)
    env.reset()
    return env


def wait(env: MarketEnv, steps: int) -> None:
    for _ in range(steps):
        env.step(still_actions(env))
