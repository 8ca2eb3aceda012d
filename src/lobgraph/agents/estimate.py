"""What the formulas of makers and takers need to know of a market, measured in a short simulation of it.

In: a configuration. Out: volatility, the fills that a quote gets by its distance from the mid, the cost of a market
order. Part of the environments are left alone; in the rest one probe quotes at distances that change from time to time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq

from ..config import Config, make_config
from ..env.market_env import MarketEnv
from ..market.state import ASK, ASK_PX, BID, BID_PX, PASSIVE_BOUGHT, PASSIVE_SOLD

BOOK_SECONDS = 150_000.0  # simulated in all books together: a second of one core in a synthetic market
STEPS = 300  # decisions
HOLD = 10  # decisions for which the probe keeps its distances
DISTANCES = 16  # that it tries, evenly spread
STEEPEST = 50.0  # 1/tick, largest kappa
FIRST_ENV = 1 << 40  # environments numbered far beyond those that anybody trains or is judged in


class Estimate(NamedTuple):
    """A books. Orders of `size` lots count as one, as the models know only unit orders."""

    sigma: np.ndarray  # (A,) float64 ticks per sqrt(second): volatility of the mid over a tenth of an episode
    A: np.ndarray  # (A,) float64 fills per second of an order at the mid, if the law held so near
    kappa: (
        np.ndarray
    )  # (A,) float64 1/tick: fills per second at distance d are A exp(-kappa d); both NaN if they are not
    half_spread: np.ndarray  # (A,) float64 ticks, mean
    eta: np.ndarray  # (A,) float64 ticks per lot, per lot/s: cost beyond the half spread of trading at a rate


def estimate(cfg: Config, size: int = 1, seed: int = 0) -> Estimate:
    """Measure the market of `cfg` without its agents, for a maker whose orders are `size` lots and a taker of max_size.

    The same configuration is measured once per process: half a second in a synthetic market; a replayed one loads its
    files again. A and kappa are NaN in books where the probe is hardly ever filled or no less often far from the mid.
    """
    return _measure(_probe_config(cfg, size).model_dump_json(), seed)


def _probe_config(cfg: Config, size: int) -> Config:
    """The market of `cfg` with one maker; settings that do not matter here are left at their defaults."""
    tree = cfg.model_dump(
        include={"market", "flow", "flow_per_book", "regimes", "fundamentals", "replay"}, exclude_unset=True
    )
    maker, length = cfg.agents.maker, cfg.env.episode_steps
    # Its own distances, or a quarter of the window where it may go further than any book reaches.
    reach = min(maker.max_offset * maker.quote_spread, cfg.market.window / 4)
    tree["agents"] = {
        "maker": {
            "count": 1, "latency": maker.latency, "post_only": maker.post_only, "quote_spread": 1.0,
            "max_offset": max(reach, 1.0), "max_size": size, "risk": {"max_inventory": 1 << 30},
        },
        "taker": {"max_size": cfg.agents.taker.max_size, "target": 0},
    }  # fmt: skip
    tree["env"] = {"episode_steps": length, "threads": 1}
    return make_config(tree)


@lru_cache(maxsize=64)
def _measure(text: str, seed: int) -> Estimate:
    cfg = Config.model_validate_json(text)
    steps = min(STEPS, cfg.env.episode_steps) if cfg.replay.files else STEPS
    books = cfg.market.num_books
    envs = int(np.clip(BOOK_SECONDS / (books * steps * cfg.market.dt), 32, 512))
    env = MarketEnv(cfg, num_envs=envs, seed=seed, first_env=FIRST_ENV, autoreset=False)
    quiet = envs // 4
    mids, distance, filled, costs, spreads = [], [], [], [], []
    env.reset()
    for t in range(steps):
        head = env.state.head
        mid = 0.5 * (head[:, :, BID] + head[:, :, ASK])
        mids.append(mid[:quiet])
        spreads.append((head[:quiet, :, ASK] - head[:quiet, :, BID]).mean(axis=0))
        costs.append(_sweep_cost(env, quiet, cfg.agents.taker.max_size))
        env.step({"maker": torch.from_numpy(_probe(cfg, envs, quiet, t))})
        message, account = env.state.message[quiet:, :, 0], env.state.account[quiet:, :, 0]
        for side, px, lots in ((1, BID_PX, PASSIVE_BOUGHT), (-1, ASK_PX, PASSIVE_SOLD)):
            distance.append(side * (mid[quiet:] - message[..., px]))
            filled.append(account[..., lots] / cfg.agents.maker.max_size)
    law = [
        fit_intensity(np.stack(distance)[..., a], np.stack(filled)[..., a], cfg.market.dt)
        for a in range(books)
    ]
    horizon = max(1, min(cfg.env.episode_steps, steps) // 10)
    moves = np.stack(mids)[horizon:] - np.stack(mids)[:-horizon]
    rate = cfg.agents.taker.max_size / cfg.market.dt
    return Estimate(
        sigma=np.sqrt((moves**2).mean(axis=(0, 1)) / (horizon * cfg.market.dt)),
        A=np.array([a for a, _ in law]),
        kappa=np.array([k for _, k in law]),
        half_spread=0.5 * np.mean(spreads, axis=0),
        eta=np.mean(costs, axis=0) / rate,
    )


def _probe(cfg: Config, envs: int, quiet: int, t: int) -> np.ndarray:
    """(E, 1, A, 3) float32 quotes; the first `quiet` environments stay without."""
    maker = cfg.agents.maker
    grid = np.linspace(0.5, maker.max_offset, DISTANCES)
    turn = np.arange(envs) + t // HOLD
    actions = np.zeros((envs, 1, cfg.market.num_books, 3), np.float32)
    actions[..., 0] = grid[turn % DISTANCES][:, None, None]
    actions[..., 1] = grid[(turn * 7 + turn // DISTANCES) % DISTANCES][:, None, None]  # apart from the bid's
    actions[quiet:, ..., 2] = maker.max_size
    return actions


def _sweep_cost(env: MarketEnv, quiet: int, lots: int) -> np.ndarray:
    """(A,) mean ticks per lot beyond the best price that a market order of `lots` pays in the first environments."""
    s, levels = env.state, env.cfg.market.depth_levels
    rows = np.arange(quiet)[:, None, None], np.arange(env.cfg.market.num_books)[:, None]
    depth = np.arange(levels)
    cost = np.zeros(env.cfg.market.num_books)
    for best, sign in ((s.head[:quiet, :, BID], -1), (s.head[:quiet, :, ASK], 1)):
        qty = s.qty[(*rows, (best[..., None] + sign * depth) & (s.qty.shape[2] - 1))]
        before = np.cumsum(qty, axis=-1) - qty
        taken = np.clip(lots - before, 0, qty)
        rest = lots - taken.sum(axis=-1)  # what lies deeper than the levels counted, put just behind them
        cost += ((taken * depth).sum(axis=-1) + rest * levels).mean(axis=0) / (2 * lots)
    return cost


def fit_intensity(distance: np.ndarray, filled: np.ndarray, dt: float) -> tuple[float, float]:
    """A (fills/s) and kappa (1/tick) of A exp(-kappa distance) by Poisson maximum likelihood.

    `distance` ticks and `filled` orders in `dt` seconds each, of one shape. At the maximum the fills' mean distance is
    the exposures', weighted by exp(-kappa distance), and A makes the totals equal. NaN with fewer than 10 fills, or
    where kappa would not lie between 0 and 50.
    """
    d, n = np.ravel(distance).astype(np.float64), np.ravel(filled).astype(np.float64)
    total, nearest = n.sum(), d.min()
    if total < 10:
        return np.nan, np.nan
    mean = (n * d).sum() / total

    def excess(kappa: float) -> float:
        w = np.exp(-kappa * (d - nearest))
        return (w * d).sum() / w.sum() - mean

    if excess(0.0) <= 0.0 or excess(STEEPEST) >= 0.0:
        return np.nan, np.nan
    kappa = float(brentq(excess, 0.0, STEEPEST, xtol=1e-9))  # type: ignore[arg-type]
    return float(total / (dt * np.exp(-kappa * d).sum())), kappa
