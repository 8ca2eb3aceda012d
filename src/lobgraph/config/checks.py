"""What settings of different sections ask of each other. Every check raises ValueError, which names the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from .faults import messages
from .flow import FlowConfig
from .types import ROLES

if TYPE_CHECKING:
    from .tree import Config


def check_flows(cfg: Config) -> None:
    if unknown := sorted(set(cfg.flow_per_book) - set(cfg.market.books)):
        raise ValueError(f"flow_per_book: unknown book {unknown[0]!r}; books are {cfg.market.books}")
    for book in cfg.flow_per_book:
        try:
            FlowConfig.model_validate(cfg.flow.model_dump(exclude_unset=True) | cfg.flow_per_book[book])
        except ValidationError as error:
            raise ValueError("; ".join(messages(error, FlowConfig, ("flow_per_book", book)))) from None
    for book, flow in zip(cfg.market.books, cfg.flows, strict=True):
        reach = len(flow.limit_table()) + max(r.widen for r in cfg.regimes.kinds.values())
        if reach >= cfg.market.window:
            raise ValueError(
                f"flow ({book}): placements reach {reach} ticks from the opposite best, beyond market.window "
                f"({cfg.market.window}); use a window of at least {1 << reach.bit_length()}"
            )


def check_excitation(cfg: Config) -> None:
    """Cross-excitation needs other books that are correlated."""
    under = cfg.market.underlying_index
    weight = np.abs(cfg.fundamentals.matrix(len(cfg.market.underlyings))[under[:, None], under[None, :]])
    np.fill_diagonal(weight, 0.0)
    for a, (book, flow) in enumerate(zip(cfg.market.books, cfg.flows, strict=True)):
        if flow.hawkes and flow.hawkes.cross > 0 and not weight[a].sum() > 0:
            raise ValueError(
                f"flow.hawkes.cross ({book}): needs another book of a correlated underlying (fundamentals.correlation)"
            )
        if flow.hawkes and flow.hawkes.cross > 0 and min(f.mean_rates().min() for f in cfg.flows) <= 0:
            raise ValueError("flow.hawkes.cross: needs limit, market and cancel orders in every book")


def check_intraday(cfg: Config) -> None:
    day = cfg.intraday
    if day is None:
        return
    if cfg.replay.files:
        raise ValueError("intraday: a replayed market has the day of its record")
    length, episode = day.width * len(day.activity), cfg.market.dt * cfg.env.episode_steps
    if episode > length:
        raise ValueError(
            f"intraday: an episode of {episode:g} s does not fit into the day of {length:g} s (width, activity)"
        )
    if day.start + length > 86400.0 + 1e-6:
        raise ValueError(
            f"intraday: the day must end by midnight; start and width times activity reach {day.start + length:g} s"
        )


def check_curriculum(cfg: Config) -> None:
    before = 0.0
    for i, stage in enumerate(cfg.curriculum):
        key = f"curriculum.{i}"
        if stage.until <= before:
            raise ValueError(
                f"{key}.until: must be above that of the stage before ({before:g}), got {stage.until:g}"
            )
        before = stage.until
        initial = stage.initial or {}
        if unknown := sorted(set(initial) - set(cfg.regimes.kinds)):
            raise ValueError(
                f"{key}.initial: unknown regime {unknown[0]!r}; kinds are {sorted(cfg.regimes.kinds)}"
            )
        if stage.initial is not None and abs(sum(initial.values()) - 1.0) > 1e-6:
            raise ValueError(f"{key}.initial: probabilities must sum to 1, got {sum(initial.values()):g}")
    if cfg.curriculum and cfg.replay.files:
        raise ValueError("curriculum: a replayed market has the regimes of its record, none to choose")


def check_fundamentals(cfg: Config) -> None:
    n, f = len(cfg.market.underlyings), cfg.fundamentals
    if isinstance(f.volatility, list) and len(f.volatility) != n:
        raise ValueError(
            f"fundamentals.volatility: needs one value per underlying ({n}), got {len(f.volatility)}"
        )
    vols = f.volatility if isinstance(f.volatility, list) else [f.volatility]
    if min(vols) < 0 or max(vols) > 1e5:
        raise ValueError(
            "fundamentals.volatility: must not be negative, and at most 100000 ticks per sqrt(second)"
        )
    if 0.0 < f.news_rate * cfg.market.dt < 1e-6:
        raise ValueError(
            f"fundamentals.news_rate: must be 0 or at least 1e-06 a step of market.dt ({1e-6 / cfg.market.dt:g} per second), "
            f"got {f.news_rate:g}"
        )
    if isinstance(f.lag, list) and len(f.lag) != n:
        raise ValueError(f"fundamentals.lag: needs one value per underlying ({n}), got {len(f.lag)}")
    lags = f.lag if isinstance(f.lag, list) else [f.lag]
    if min(lags) < 0 or max(lags) > 1e5:
        raise ValueError("fundamentals.lag: must be 0 to 100000 seconds")
    venues = n < cfg.market.num_books
    if venues and 6.0 * f.venue_deviation > min(cfg.market.prices):
        raise ValueError(
            f"fundamentals.venue_deviation: {f.venue_deviation:g} ticks would take prices below zero; "
            f"at most a sixth of market.initial_price ({min(cfg.market.prices)})"
        )
    try:
        c = f.matrix(n)
    except ValueError:
        raise ValueError("fundamentals.correlation: rows must have equal lengths") from None
    if c.shape != (n, n):
        raise ValueError(
            f"fundamentals.correlation: must be {n} x {n} (underlyings), got {' x '.join(map(str, c.shape))}"
        )
    if not np.allclose(c, c.T, atol=1e-9):
        raise ValueError("fundamentals.correlation: must be symmetric")
    if not np.allclose(np.diag(c), 1.0, atol=1e-9):
        raise ValueError("fundamentals.correlation: the diagonal must be 1")
    if np.abs(c).max() > 1.0 + 1e-9 or np.linalg.eigvalsh(c).min() < -1e-8:
        raise ValueError(
            f"fundamentals.correlation: must be positive semidefinite with entries in [-1, 1]; "
            f"its smallest eigenvalue is {np.linalg.eigvalsh(c).min():.4g}"
        )


def check_replay(cfg: Config) -> None:
    files = cfg.replay.files
    if not files:
        return
    if set(files) != set(cfg.market.books):
        raise ValueError(
            f"replay.files: needs one file for each of market.books {cfg.market.books}, got {sorted(files)}"
        )
    if key := _noise_feature(cfg):
        raise ValueError(
            f"{key}: a replayed market has the orders of its record, and no flow that this could change"
        )
    r = cfg.replay
    if r.start is not None and r.end is not None and r.end - r.start < cfg.market.dt * cfg.env.episode_steps:
        raise ValueError(
            f"replay.start/end: {r.end - r.start:g} s cannot hold an episode of "
            f"{cfg.env.episode_steps} steps of {cfg.market.dt:g} s"
        )


def _noise_feature(cfg: Config) -> str:
    """The first setting that turns a feature of the noise flow on; "" where all are off."""
    for book, flow in zip(cfg.market.books, cfg.flows, strict=True):
        for name in ("hawkes", "metaorders", "reactive", "reference", "round_lot", "revision_rate"):
            if getattr(flow, name) != FlowConfig.model_fields[name].default:
                own = name in cfg.flow_per_book.get(book, {})
                return f"flow_per_book.{book}.{name}" if own else f"flow.{name}"
    values = cfg.fundamentals.model_dump(include={"mean_reversion", "lag", "news_rate", "jump_rate"})
    return next((f"fundamentals.{name}" for name, value in values.items() if np.any(value)), "")


def check_agents(cfg: Config) -> None:
    books, agents = cfg.market.books, cfg.agents
    if sum(cfg.counts.values()) > 128:
        raise ValueError(f"agents: at most 128 in one market, got {sum(cfg.counts.values())}")
    for role in ROLES:
        if getattr(agents, role).latency >= cfg.market.dt:
            raise ValueError(f"agents.{role}.latency: must be below market.dt ({cfg.market.dt:g} s)")
    taker = agents.taker
    if unknown := sorted(set(taker.target_books or []) - set(books)):
        raise ValueError(f"agents.taker.target_books: unknown book {unknown[0]!r}; books are {books}")
    if taker.target == 0 and taker.target_books is not None:
        raise ValueError(
            "agents.taker.target_books: says where a target is to be traded, but agents.taker.target is 0"
        )
    reach = taker.max_size * cfg.env.episode_steps
    if taker.count and taker.target > min(reach, taker.risk.max_inventory):
        raise ValueError(
            f"agents.taker.target: {taker.target} lots cannot be reached: max_size * env.episode_steps is {reach}, "
            f"risk.max_inventory is {taker.risk.max_inventory}"
        )
    arb = agents.arbitrageur
    if isinstance(arb.pairs, list):
        for pair in arb.pairs:
            for book in pair:
                if book not in books:
                    raise ValueError(f"agents.arbitrageur.pairs: unknown book {book!r}; books are {books}")
            if pair[0] == pair[1]:
                raise ValueError(f"agents.arbitrageur.pairs: {list(pair)} must name two different books")
        if len({frozenset(p) for p in arb.pairs}) != len(arb.pairs):
            raise ValueError("agents.arbitrageur.pairs: a pair is given twice")
    if arb.count and not len(cfg.pairs):
        raise ValueError("agents.arbitrageur: needs at least two books (market.books) to form a pair")


def check_risk(cfg: Config) -> None:
    dt, price = cfg.market.dt, int(max(cfg.market.prices))
    for role in cfg.counts:
        risk, key = getattr(cfg.agents, role).risk, f"agents.{role}.risk"
        if risk.breach != "cut" and risk.max_position is None:
            raise ValueError(f"{key}.breach: says what ends a position past max_position, which is not set")
        if risk.max_position is not None and risk.max_position < price:
            raise ValueError(
                f"{key}.max_position: {risk.max_position:g} tick-lots are not one lot's worth; "
                f"a lot is worth {price} (market.initial_price)"
            )
        if risk.max_order_rate is None:
            continue
        count, steps = risk.messages(dt)
        if not 1 <= steps <= 62:
            raise ValueError(
                f"{key}.order_window: must be 1 to 62 decisions, {dt:g} to {62 * dt:g} s (market.dt), "
                f"got {risk.order_window:g} s"
            )
        if count < 1:
            raise ValueError(
                f"{key}.max_order_rate: {risk.max_order_rate:g} /s is not one message in {steps * dt:g} s "
                "(order_window); use a longer window"
            )
    taker = cfg.agents.taker
    if taker.count and taker.risk.max_position is not None and taker.target * price > taker.risk.max_position:
        raise ValueError(
            f"agents.taker.target: {taker.target} lots are worth {taker.target * price} tick-lots, more than "
            f"risk.max_position ({taker.risk.max_position:g})"
        )


def check_stress(cfg: Config) -> None:
    length, dt, books = cfg.env.episode_steps * cfg.market.dt, cfg.market.dt, cfg.market.books
    if cfg.replay.files and (cfg.stress or cfg.circuit_breaker):
        key = "stress" if cfg.stress else "circuit_breaker"
        raise ValueError(f"{key}: a replayed market has the events and halts of its record")
    for i, event in enumerate(cfg.stress):
        key = f"stress.{i}"
        if unknown := sorted(set(event.books or []) - set(books)):
            raise ValueError(f"{key}.books: unknown book {unknown[0]!r}; books are {books}")
        if isinstance(event.at, float) and event.at >= length:
            raise ValueError(f"{key}.at: {event.at:g} s is not within an episode, which lasts {length:g} s")
    breaker = cfg.circuit_breaker
    if breaker is not None and not 1 <= round(breaker.window / dt) <= 4096:
        raise ValueError(
            f"circuit_breaker.window: must be 1 to 4096 decisions, {dt:g} to {4096 * dt:g} s (market.dt), "
            f"got {breaker.window:g} s"
        )


def check_minibatches(cfg: Config, envs: int | None = None) -> None:
    """A rollout over `envs` environments (None: env.num_envs) can be cut into ppo.minibatches equal parts."""
    envs = cfg.env.num_envs if envs is None else envs
    parts, samples = cfg.ppo.minibatches, cfg.ppo.rollout_steps * envs
    if cfg.graph.memory != "none" and envs % parts:
        raise ValueError(
            f"ppo.minibatches: {parts} must divide env.num_envs = {envs} with graph.memory: {cfg.graph.memory}, "
            "whose minibatches are whole environments"
        )
    if samples % parts:
        raise ValueError(f"ppo.minibatches: {parts} must divide ppo.rollout_steps * env.num_envs = {samples}")
