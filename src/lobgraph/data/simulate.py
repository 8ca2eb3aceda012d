"""A synthetic market run without agents and measured as recorded days are: what calibration compares with the data.

In: Config. Out: `Simulated` per book. Environments differ only in their random numbers, the same ones for every call with
the same seed: two configurations are compared on common random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config import Config, make_config
from ..market.jit import kernel
from ..market.params import make_params
from ..market.state import ASK, BID, NOISE_ASK, NOISE_BID, REGIME, empty_tape, make_state
from ..market.step import begin_step, end_step, reset_env, step_book
from ..market.tables import make_flow, memory_of, size_table

SPREAD, DEPTH, CANCELS, LIMITS, MARKETS, HELD = range(6)  # columns of the kernel's sums


@dataclass(frozen=True)
class Simulated:
    """Time averages of one book of a synthetic market, in the units of `Facts`."""

    name: str
    seconds: float  # simulated, over all environments, after the burn-in
    spread: float  # ticks, while both sides are there
    depth_best: float  # lots, mean of bid and ask
    limit_rate: float  # per second, both sides
    market_rate: float
    cancel_rate: float
    one_sided: float  # fraction of the time without a bid or an ask
    volatility: dict[int, float]  # horizon [s] -> std of the mid's change, ticks


def simulate(
    cfg: Config, *, seconds: float = 2000.0, burn_in: float = 60.0, envs: int = 8, seed: int = 0
) -> list[Simulated]:
    """Run `envs` markets of `seconds` each after a burn-in, without agents; one result per book.

    Averages are over samples at the end of every step of `market.dt`; event rates are the flow's own intensities at
    those times, which has the same mean as counting events and less noise.
    """
    steps, skip = max(round(seconds / cfg.market.dt), 2), round(burn_in / cfg.market.dt)
    quiet = make_config(
        cfg.model_dump(mode="json", exclude_unset=True)
        | {
            "agents": {"maker": {"count": 0}},
            "replay": {},
            "env": {"num_envs": 1, "episode_steps": 1_000_000},
        }
    )
    books = cfg.market.num_books
    p, f = make_params(quiet, seed), make_flow(quiet)
    state = make_state(envs, books, cfg.market.window, 0, len(cfg.market.underlyings), memory_of(f))
    sums = np.zeros((books, HELD + 1))
    mids = np.zeros((envs, steps, books))
    _run(p, f, empty_tape(books), state, *_intensities(cfg), skip, sums, mids)
    n, held = envs * steps, np.maximum(sums[:, HELD], 1.0)
    horizons = [h for h in (1, 10, 60) if h >= cfg.market.dt and 3 * h <= seconds]
    jumps = {h: max(round(h / cfg.market.dt), 1) for h in horizons}
    return [
        Simulated(
            name=name,
            seconds=n * cfg.market.dt,
            spread=float(sums[a, SPREAD] / held[a]),
            depth_best=float(sums[a, DEPTH] / held[a] / 2),
            limit_rate=float(sums[a, LIMITS] / n),
            market_rate=float(sums[a, MARKETS] / n),
            cancel_rate=float(sums[a, CANCELS] / n),
            one_sided=float(1.0 - sums[a, HELD] / n),
            volatility={h: float((mids[:, j::j, a] - mids[:, :-j:j, a]).std()) if steps > j else 0.0
                        for h, j in jumps.items()},
        )
        for a, name in enumerate(cfg.market.books)
    ]  # fmt: skip


def _intensities(cfg: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R, A, 2) limit and market orders per second, both sides; (A, C) cancels per second and lot by distance, the last
    entry holding beyond; (R,) multipliers of these."""
    flows, regimes = cfg.flows, list(cfg.regimes.kinds.values())
    orders = np.array([[f.limit_table().sum(), f.market_rate] for f in flows])
    scale = np.array([[r.limit, r.market] for r in regimes])
    tables = [f.cancel_table() / size_table(f.cancel_size).mean() for f in flows]
    width = max(map(len, tables))
    cancels = np.stack([np.pad(t, (0, width - len(t)), mode="edge") for t in tables])
    return 2.0 * scale[:, None, :] * orders, cancels, np.array([r.cancel for r in regimes])


@kernel()
def _run(p, f, tape, state, orders, cancels, cancel_scale, skip, sums, mids):
    """Run every environment. Writes sums (A, 6) over the sampled steps and mids (E, steps, A)."""
    envs, steps, books = mids.shape
    for env in range(envs):
        reset_env(p, f, tape, state, env)
        for t in range(skip + steps):
            begin_step(p, f, state, env)
            for a in range(books):
                step_book(p, f, tape, state, env, a)
            end_step(p, state, env)
            if t >= skip:
                regime = state.clock[env, REGIME]
                for a in range(books):
                    sums[a, LIMITS] += orders[regime, a, 0]
                    sums[a, MARKETS] += orders[regime, a, 1]
                    sums[a, CANCELS] += _sample(state, env, a, cancels, sums) * cancel_scale[regime]
                    mids[env, t - skip, a] = 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK])


@kernel()
def _sample(state, env, a, cancels, sums):
    """Add one book's present spread and depth to sums[a]; returns its rate of cancels before the regime's multiplier."""
    h = state.head[env, a]
    qty = state.qty[env, a]
    w = qty.shape[0]
    rate = 0.0
    for k in range(2):
        px, opposite, left = h[BID + k], h[ASK - k], h[NOISE_BID + k]
        while left > 0:  # from the best price outwards, until all lots of the side are found
            lots = qty[px & (w - 1)]
            if lots > 0:
                rate += lots * cancels[a, min(abs(opposite - px), cancels.shape[1]) - 1]
                left -= lots
            px += 2 * k - 1
    if h[NOISE_BID] > 0 and h[NOISE_ASK] > 0:
        sums[a, HELD] += 1.0
        sums[a, SPREAD] += h[ASK] - h[BID]
        sums[a, DEPTH] += qty[h[BID] & (w - 1)] + qty[h[ASK] & (w - 1)]
    return rate
