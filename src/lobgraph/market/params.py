"""Configuration -> Params: every constant of a run as arrays the kernels can read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import expm

from ..config import ROLES, Config, PerBook
from .state import (
    ALLOW,
    ARRIVAL,
    CANCEL_BOTH,
    CANCEL_INCOMING,
    CANCEL_RESTING,
    DECREMENT,
    FIFO,
    MTM,
    PRO_RATA,
    TWAP,
    Params,
)
from .stress_tables import stress_tables

ONE = 65536.0
BENCHMARKS = {"mtm": MTM, "arrival": ARRIVAL, "twap": TWAP}
MATCHINGS = {"fifo": FIFO, "pro_rata": PRO_RATA}
SELF_TRADES = {
    "allow": ALLOW,
    "cancel_resting": CANCEL_RESTING,
    "cancel_incoming": CANCEL_INCOMING,
    "cancel_both": CANCEL_BOTH,
    "decrement": DECREMENT,
}


def _cumulative32(p: np.ndarray) -> np.ndarray:
    """Cumulative probabilities along the last axis in 1/2^32, int64."""
    return np.round(np.cumsum(p, axis=-1) * 2.0**32).astype(np.int64)


def _table(columns: list, dtype: type) -> np.ndarray:
    """Columns (in the order of their codes in state.py) to a contiguous table, one row a book or agent."""
    return np.ascontiguousarray(np.array(columns, dtype=np.float64).T.astype(dtype).reshape(-1, len(columns)))


def _square_root(correlation: np.ndarray) -> np.ndarray:
    """Lower-triangular square root of a positive semidefinite matrix (QR of the symmetric root: it may be singular)."""
    values, vectors = np.linalg.eigh(correlation)
    upper = np.asarray(np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T, mode="r"))
    r = upper.T
    return r * np.where(np.diag(r) < 0, -1.0, 1.0)


def regime_chain(
    cfg: Config, initial: Mapping[str, float] | None = None, switch: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(R,) initial probabilities and (R, R) transition probabilities over one step, exp(rates * dt).

    `initial` stands in the place of cfg.regimes.initial; `switch` multiplies the switch rates.
    """
    names = cfg.regimes.names
    rates = np.zeros((len(names), len(names)))
    for start, targets in cfg.regimes.switch_rates.items():
        for end, rate in targets.items():
            rates[names.index(start), names.index(end)] = switch * rate
    rates -= np.diag(rates.sum(axis=1))
    given = cfg.regimes.initial if initial is None else initial
    start = np.array([given.get(n, 0.0) for n in names])
    return start / start.sum(), expm(rates * cfg.market.dt)


def regime_table(cfg: Config, initial: Mapping[str, float] | None = None, switch: float = 1.0) -> np.ndarray:
    """Params.chain of that law."""
    start, chain = regime_chain(cfg, initial, switch)
    return _cumulative32(np.vstack([chain, start]))


def edge_weights(cfg: Config) -> np.ndarray:
    """(A, A) float32 weights of the market graph, row: target, zero diagonal, not normalised (config graph.edges)."""
    under = cfg.market.underlying_index
    same = (under[:, None] == under[None, :]).astype(np.float64)
    if cfg.graph.edges == "full":
        w = np.ones_like(same)
    elif cfg.graph.edges == "underlying":
        w = same
    else:
        w = cfg.fundamentals.matrix(len(cfg.market.underlyings))[under[:, None], under[None, :]]
    return (w * (1.0 - np.eye(len(under)))).astype(np.float32)


def _day(cfg: Config) -> np.ndarray:
    """Params.day."""
    if cfg.intraday is None:
        return np.zeros((0, 2), np.int64)
    activity = np.asarray(cfg.intraday.activity)
    volatility = np.sqrt(activity) if cfg.intraday.volatility is None else np.asarray(cfg.intraday.volatility)
    return np.ascontiguousarray(np.round(np.stack([activity, volatility], axis=1) * 4096.0).astype(np.int64))


def _follow(lag: PerBook, count: int, dt: float) -> np.ndarray:
    """Params.follow: the share of its way that an exponential lag of this mean goes in a step."""
    lags = np.broadcast_to(np.asarray(lag, dtype=np.float64), (count,))
    return np.round(-np.expm1(-dt / np.maximum(lags, 1e-12)) * ONE).astype(np.int64)


def make_params(
    cfg: Config, seed: int, first_env: int = 0, replay_span: tuple[int, int] = (0, 0), autoreset: bool = True
) -> Params:
    """All constants of a run. `replay_span`: earliest and latest start of an episode in ns, for replayed markets."""
    m, fd, dt = cfg.market, cfg.fundamentals, cfg.market.dt
    under, books = m.underlying_index, m.num_books
    count = len(m.underlyings)
    origin = np.array([m.prices[list(under).index(u)] for u in range(count)]) * ONE
    k = (
        fd.mean_reversion
    )  # over one step a mean-reverting fundamental moves as a Brownian one does over `span`
    span = -np.expm1(-2.0 * k * dt) / (2.0 * k) if k > 0 else dt
    vol = np.array([r.volatility for r in cfg.regimes.kinds.values()])[:, None]
    sigma = vol * np.broadcast_to(np.asarray(fd.volatility, dtype=np.float64), (count,)) * np.sqrt(span) * ONE
    news = -np.expm1(-fd.news_rate * dt)  # chance of a step in which the fundamentals move; 0: they always do
    sigma /= np.sqrt(news or 1.0)
    keep = np.exp(-fd.venue_reversion * dt)
    venue = np.array([(under == u).sum() > 1 for u in under]) * fd.venue_deviation * ONE
    agents = [(code, k, getattr(cfg.agents, role)) for code, role in enumerate(ROLES) if role in cfg.counts
              for k in range(getattr(cfg.agents, role).count)]  # fmt: skip
    taker = cfg.agents.taker
    wanted = [b in (taker.target_books or m.books) for b in m.books]
    side = {"buy": 1, "sell": -1, "random": 0}[taker.target_side]

    def of(name: str, default: float) -> np.ndarray:
        return np.array([getattr(a, name, default) for _, _, a in agents], dtype=np.float64)

    own_term = {0: "liquidity_reward", 1: "delay_penalty", 2: "unhedged_penalty"}
    books_table = [
        m.prices,
        [f.initial_depth for f in cfg.flows],
        [f.initial_spread for f in cfg.flows],
        [min(len(f.limit_table()), m.window // 4) for f in cfg.flows],
        [round(f.warmup * 1e9) for f in cfg.flows],
        under,
        np.round(venue * np.sqrt(1.0 - keep * keep)),
        np.round(venue),
    ]
    agents_table = [
        [code for code, _, _ in agents],
        [k for _, k, _ in agents],
        [a.risk.max_inventory for _, _, a in agents],
        of("max_size", 1),
        np.round(of("quote_spread", 1.0) * ONE),
        of("post_only", 0),
        [side] * len(agents),
        of("stop_at_target", 0),
        [int(code == 1 and a.target == 0) for code, _, a in agents],
        of("must_finish", 0),
        [BENCHMARKS[getattr(a, "benchmark", "mtm")] for _, _, a in agents],
        of("mirror", 0),
        np.array([2.0 * (a.risk.max_position or 0.0) for _, _, a in agents]),
        [a.risk.messages(dt)[0] for _, _, a in agents],
        [a.risk.messages(dt)[1] for _, _, a in agents],
        [int(a.risk.breach == "liquidate") for _, _, a in agents],
    ]
    agents_float = [
        of("latency", 0.0),
        [a.risk.max_drawdown or np.inf for _, _, a in agents],
        of("max_offset", 0.0),
        of("presence_distance", 0.0),
        of("threshold", 0.0),
        of("inventory_penalty", 0.0),
        [getattr(a, own_term[code]) for code, _, a in agents],
    ]
    return Params(
        seed=np.array([seed], np.int64),
        first_env=first_env,
        dt=float(dt),
        dt_ns=round(dt * 1e9),
        replay=int(bool(cfg.replay.files)),
        replay_from=replay_span[0],
        replay_to=replay_span[1],
        mark_others=int(m.mark == "others"),
        matching=MATCHINGS[m.matching],
        self_trade=SELF_TRADES[m.self_trade],
        episode_steps=cfg.env.episode_steps,
        stagger=int(cfg.env.stagger),
        autoreset=int(autoreset),
        day=_day(cfg),
        day_start=round(cfg.intraday.start * 1e9) if cfg.intraday else 0,
        day_width=round(cfg.intraday.width * 1e9) if cfg.intraday else 1,
        revert=round((1.0 - np.exp(-fd.mean_reversion * dt)) * ONE),
        news_chance=round(news * 2.0**32),
        jump_chance=round((1.0 - np.exp(-fd.jump_rate * dt)) * 2.0**32),
        jump_size=round(fd.jump_size * ONE),
        venue_keep=round(keep * ONE),
        maker_rebate=float(m.maker_rebate),
        taker_fee=float(m.taker_fee),
        depth_levels=m.depth_levels,
        show_regime=int(cfg.env.show_regime),
        book=_table(books_table, np.int64),
        agent=_table(agents_table, np.int64),
        agent_float=_table(agents_float, np.float64),
        target=np.array(
            [[taker.target * (c == 1 and w) for w in wanted] for c, _, _ in agents], dtype=np.int64
        ).reshape(-1, books),
        chain=regime_table(cfg),
        origin=np.round(origin).astype(np.int64),
        mix=np.ascontiguousarray(np.round(_square_root(fd.matrix(count)) * ONE).astype(np.int64)),
        follow=_follow(fd.lag, count, dt),
        sigma=np.round(sigma).astype(np.int64),
        **stress_tables(cfg),
        pairs=cfg.pairs,
        pair_weight=edge_weights(cfg)[cfg.pairs[:, 0], cfg.pairs[:, 1]],
    )
