"""A synthetic market run without agents and measured as recorded days are: what calibration compares with the data.

In: Config. Out: `Simulated` per book. Environments differ only in their random numbers, the same ones for every call with
the same seed: two configurations are compared on common random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..config import Config, make_config
from ..market import announce_compiling
from ..market.jit import kernel
from ..market.params import make_params
from ..market.state import (
    ASK,
    BID,
    COUNT,
    KIND_CANCEL,
    KIND_LIMIT,
    KIND_MARKET,
    NOISE_ASK,
    NOISE_BID,
    REGIME,
    RICH,
    empty_tape,
    make_state,
)
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
    correlation: dict[int, tuple[float, ...]] = field(
        default_factory=dict
    )  # horizon [s] -> correlation of the mid's changes with every book's


def simulate(
    cfg: Config, *, seconds: float = 2000.0, burn_in: float = 60.0, envs: int = 8, seed: int = 0
) -> list[Simulated]:
    """Run `envs` markets of `seconds` each after a burn-in, without agents; one result per book.

    Averages are over samples at the end of every step of `market.dt`. Rates of flows without features are their own
    intensities at those times, which has the same mean as counting events and less noise; others are counted. The pattern
    of the day is left out: its multipliers are 1 in the mean.
    """
    steps, skip = max(round(seconds / cfg.market.dt), 2), round(burn_in / cfg.market.dt)
    quiet = make_config(
        cfg.model_dump(mode="json", exclude_unset=True)
        | {
            "agents": {"maker": {"count": 0}},
            "replay": {},
            "intraday": None,
            "stress": [],
            "circuit_breaker": None,
            "env": {"num_envs": 1, "episode_steps": 1_000_000},
        }
    )
    books = cfg.market.num_books
    p, f = make_params(quiet, seed), make_flow(quiet)
    per_step = np.where(f.book[:, RICH] > 0, cfg.market.dt, 1.0)  # counts of a step, or rates
    state = make_state(envs, books, cfg.market.window, 0, len(cfg.market.underlyings), memory_of(f))
    sums = np.zeros((books, HELD + 1))
    mids = np.zeros((envs, steps, books))
    announce_compiling("simulate._run")
    _run(p, f, empty_tape(books), state, *_intensities(cfg), skip, sums, mids)
    n, held = envs * steps, np.maximum(sums[:, HELD], 1.0)
    horizons = [h for h in (1, 10, 60) if h >= cfg.market.dt and 3 * h <= seconds]
    jumps = {h: max(round(h / cfg.market.dt), 1) for h in horizons}
    together = {
        h: _correlation((mids[:, j::j] - mids[:, :-j:j]).reshape(-1, books))
        for h, j in jumps.items()
        if steps > j
    }
    return [
        Simulated(
            name=name,
            seconds=n * cfg.market.dt,
            spread=float(sums[a, SPREAD] / held[a]),
            depth_best=float(sums[a, DEPTH] / held[a] / 2),
            limit_rate=float(sums[a, LIMITS] / n / per_step[a]),
            market_rate=float(sums[a, MARKETS] / n / per_step[a]),
            cancel_rate=float(sums[a, CANCELS] / n / per_step[a]),
            one_sided=float(1.0 - sums[a, HELD] / n),
            volatility={h: float((mids[:, j::j, a] - mids[:, :-j:j, a]).std()) if steps > j else 0.0
                        for h, j in jumps.items()},
            correlation={h: tuple(row[a].tolist()) for h, row in together.items()},
        )
        for a, name in enumerate(cfg.market.books)
    ]  # fmt: skip


def _correlation(moves: np.ndarray) -> np.ndarray:
    """(A, A) correlation of (samples, A) moves about 0; 0 where a book never moves."""
    size = np.sqrt(np.maximum((moves * moves).sum(axis=0), 1e-300))
    return moves.T @ moves / np.outer(size, size)


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
                    rate = _sample(state, env, a, cancels, sums) * cancel_scale[regime]
                    if f.book[a, RICH]:
                        count = state.head[env, a, COUNT : COUNT + 6]
                        sums[a, LIMITS] += count[2 * KIND_LIMIT] + count[2 * KIND_LIMIT + 1]
                        sums[a, MARKETS] += count[2 * KIND_MARKET] + count[2 * KIND_MARKET + 1]
                        sums[a, CANCELS] += count[2 * KIND_CANCEL] + count[2 * KIND_CANCEL + 1]
                    else:
                        sums[a, LIMITS] += orders[regime, a, 0]
                        sums[a, MARKETS] += orders[regime, a, 1]
                        sums[a, CANCELS] += rate
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
