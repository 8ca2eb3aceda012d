"""Configuration -> Flow: the tables of every regime and book."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ..config import Config, FlowConfig, HawkesConfig, ReactiveConfig, SizeConfig
from .state import ACTIVE_META, EXACT_LOTS, EXCITE, HEAD, RICH, SIZE_CANCEL, TYPES, Flow
from .stress_tables import presses_rates

SIZE_BINS = 1024
WAIT_BINS = 2048
LENGTH_BINS = 1024
SPREAD_BINS = 1025
QUEUE_BINS = 1024
ONE12, ONE24 = 4096.0, 2.0**24


def size_table(size: SizeConfig) -> np.ndarray:
    """(1024,) int64 lots by quantile; the sum is that of the exact mean (rounded), spread over the last bins."""
    if size.mean is not None:
        p = 1.0 / size.mean
        u = (np.arange(SIZE_BINS) + 0.5) / SIZE_BINS
        table = np.ceil(np.log1p(-u) / np.log1p(-p)) if p < 1.0 else np.ones(SIZE_BINS)
        mean = size.mean
    else:
        values, weights = np.asarray(size.values), np.asarray(size.weights, dtype=np.float64)
        order = np.argsort(values)
        values, weights = values[order], weights[order] / weights.sum()
        u = (np.arange(SIZE_BINS) + 0.5) / SIZE_BINS
        table = values[np.minimum(np.searchsorted(np.cumsum(weights), u), len(values) - 1)].astype(np.float64)
        mean = float(values @ weights)
    table = np.maximum(table, 1).astype(np.int64)
    table[-1] = max(table[-1] + round(mean * SIZE_BINS - table.sum()), 1)
    return table


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias table: (D,) int64 cuts of 65536 and (D,) int64 alternatives. Uniform where all weights are 0."""
    n = len(weights)
    total = weights.sum()
    share = weights * n / total if total > 0 else np.ones(n)
    cut, to = np.ones(n), np.arange(n)
    small = [i for i in range(n) if share[i] < 1.0]
    large = [i for i in range(n) if share[i] >= 1.0]
    share = share.copy()
    while small and large:
        s, g = small.pop(), large.pop()
        cut[s], to[s] = share[s], g
        share[g] -= 1.0 - share[s]
        (small if share[g] < 1.0 else large).append(g)
    return np.round(cut * 65536).astype(np.int64), to.astype(np.int64)


def exponential_table() -> np.ndarray:
    """(WAIT_BINS + 1,) int64 -log(i / WAIT_BINS) in 1/2^32; entry 0 is not used. Scaled so that linear interpolation
    between the entries has mean exactly 1 (a chord lies above the logarithm by 1 part in 25,000)."""
    edges = -np.log(np.maximum(np.arange(WAIT_BINS + 1), 1) / WAIT_BINS)
    chords = 0.5 * (edges[1:-1] + edges[2:])
    mean = (chords.sum() + edges[1]) / WAIT_BINS / (1.0 - 1.0 / WAIT_BINS)
    return np.round(edges / mean * 2.0**32).astype(np.int64)


def normal_table(bins: int = 4096) -> np.ndarray:
    """(bins,) int64 means of the unit normal between its quantiles in 1/65536, scaled to variance 1."""
    edges = norm.pdf(norm.ppf(np.arange(bins + 1) / bins))
    z = -np.diff(edges) * bins
    return np.round(z / np.sqrt((z * z).mean()) * 65536).astype(np.int64)


def _padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, rows))
    return np.stack([np.pad(r, (0, width - len(r)), mode="edge") for r in rows]), np.array(
        [len(r) for r in rows]
    )


def memory_of(flow: Flow) -> int:
    """Columns of State.head behind HEAD that the features of the flow need."""
    if not flow.book[:, RICH].any():
        return 0
    return EXCITE - HEAD + TYPES * flow.decay.shape[1] + int(flow.book[:, ACTIVE_META].max())


def make_flow(cfg: Config, rich: bool = False) -> Flow:
    """Tables of every regime and book, from `cfg.flows` and `cfg.regimes`.

    rich: rates by type in all books, whether or not they have features.
    """
    regimes, flows = list(cfg.regimes.kinds.values()), cfg.flows
    scale = np.array([[r.limit, r.market, r.cancel] for r in regimes])
    limits = [f.limit_table() for f in flows]
    cancels = [f.cancel_table() for f in flows]
    sizes = np.stack(
        [np.stack([size_table(s) for s in (f.limit_size, f.market_size, f.cancel_size)]) for f in flows]
    )
    cancel_mean = sizes[:, SIZE_CANCEL].mean(axis=1)
    highest = np.array([t.max() for t in cancels])
    accept, accept_len = _padded(
        [np.round(t / max(m, 1e-300) * 65536).astype(np.int64) for t, m in zip(cancels, highest, strict=True)]
    )
    rates = [
        2.0 * scale[:, :1] * np.array([t.sum() for t in limits]),
        2.0 * scale[:, 1:2] * np.array([f.market_rate for f in flows]),
        # 24 bits, so that rate times lots is exact up to 2^29 lots: a GPU's fused multiply-add then rounds as the CPU does
        (scale[:, 2:] * highest / cancel_mean).astype(np.float32).astype(np.float64),
    ]
    by_type = np.stack([0.5 * rates[0] * 2.0**20, 0.5 * rates[1] * 2.0**20, rates[2] * 2.0**32], axis=-1)
    spread_bin, queue_bin, queue_shift, react = _reactive(flows)
    decay, jump, ground, excited = _excitation(flows, scale)
    metas = [f.metaorders for f in flows]
    columns = [
        [round(f.tilt * 65536) for f in flows],
        [round(f.tilt_max * 65536) for f in flows],
        [len(t) for t in limits],
        accept_len,
        [int(rich or cfg.intraday is not None or presses_rates(cfg) or is_rich(f)) for f in flows],
        [int(f.reference == "own") for f in flows],
        [f.inside for f in flows],
        queue_shift,
        [m.active if m else 0 for m in metas],
        [round(m.share * 65536) if m else 0 for m in metas],
        [round(f.hawkes.cross * ONE24) if f.hawkes else 0 for f in flows],
        [round(_others_first(f.hawkes, cfg.market.dt) * ONE24) if f.hawkes else 0 for f in flows],
        [f.round_lot for f in flows],
        [round(-np.expm1(-f.revision_rate * cfg.market.dt) * 2.0**32) for f in flows],
    ]
    return Flow(
        rate=np.ascontiguousarray(np.stack(rates, axis=-1)),
        widen=np.array([r.widen for r in regimes], dtype=np.int64),
        alias=_placement(flows, limits, react.shape[1]),
        accept=accept,
        size=sizes.astype(np.int32),
        book=np.ascontiguousarray(np.array(columns, dtype=np.int64).T),
        type_rate=np.ascontiguousarray(np.round(np.minimum(by_type, 2.0**41)).astype(np.int64)),
        spread_bin=spread_bin,
        queue_bin=queue_bin,
        react=react,
        decay=decay,
        jump=jump,
        ground=ground,
        excited=excited,
        spill=_spill(cfg, scale),
        wait=exponential_table(),
        half=np.round(2.0 ** -(np.arange(4097) / 4096.0) * ONE24).astype(np.int64),
        length=np.stack(
            [length_table(m.exponent, m.longest) if m else np.ones((3, LENGTH_BINS), np.int64) for m in metas]
        ),
        normal=normal_table(),
    )


def _others_first(hawkes: HawkesConfig, dt: float) -> float:
    """Mean excitation by other books at the beginning of a step, after what the last step's events add."""
    x = min(hawkes.decays) * dt
    return hawkes.cross * x / -np.expm1(-x)


def is_rich(flow: FlowConfig) -> bool:
    """Whether the book's flow needs rates by type."""
    return flow.reference == "own" or any((flow.hawkes, flow.metaorders, flow.reactive))


def _placement(flows: tuple[FlowConfig, ...], limits: list[np.ndarray], bins: int) -> np.ndarray:
    """(A, S, D, 2) alias tables of the placements by spread."""
    width, rows = max(map(len, limits)), []
    for f, table in zip(flows, limits, strict=True):
        given = f.reactive.placement if f.reactive and f.reactive.placement else [table]
        pairs = [np.stack(alias_table(np.asarray(w, dtype=np.float64)), axis=-1) for w in given]
        pairs += [pairs[-1]] * (bins - len(pairs))
        rows.append(np.stack([np.pad(x, ((0, width - len(x)), (0, 0)), mode="edge") for x in pairs]))
    return np.ascontiguousarray(np.stack(rows))


def _reactive(flows: tuple[FlowConfig, ...]) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
    """Bins by spread and by shifted lots, the shifts, and the multipliers (A, S, Q, 3)."""
    given = [f.reactive or ReactiveConfig() for f in flows]
    most = max(len(r.spreads) for r in given), max(len(r.queues) for r in given)
    spreads = np.stack([np.searchsorted(r.spreads, np.arange(SPREAD_BINS), side="right") - 1 for r in given])
    shifts = [max(int(max(r.queues)).bit_length() - EXACT_LOTS.bit_length() + 1, 0) for r in given]
    few, many = np.arange(EXACT_LOTS), np.arange(QUEUE_BINS - EXACT_LOTS)
    queues = np.stack([
        np.searchsorted(r.queues, np.concatenate([few, many << s]), side="right") - 1
        for r, s in zip(given, shifts, strict=True)
    ])  # fmt: skip
    react = np.stack([
        np.pad(m, ((0, 0), (0, most[0] - m.shape[1]), (0, most[1] - m.shape[2])), mode="edge")
        for m in (r.multipliers() for r in given)
    ])  # fmt: skip
    react = np.ascontiguousarray(np.round(np.moveaxis(react, 1, -1) * ONE12).astype(np.int64))
    return np.maximum(spreads, 0).astype(np.int64), queues.astype(np.int64), shifts, react


def _excitation(flows: tuple[FlowConfig, ...], scale: np.ndarray) -> tuple[np.ndarray, ...]:
    """Flow.decay, jump, ground, excited. Jumps are in units of the mean rate of what they bring, and smaller where the
    regime has more of their cause, so that the mean rates are those of the tables in every regime."""
    books, most = len(flows), max((len(f.hawkes.decays) for f in flows if f.hawkes), default=0)
    decay, mean = np.zeros((books, most)), np.zeros((books, most, 3))
    jump, ground = np.zeros((books, most, 3, 2, 3)), np.ones((books, 3))
    for a, f in enumerate(flows):
        if f.hawkes is None:
            continue
        order = np.argsort(f.hawkes.decays)  # the slowest first
        m, rates, kernel = len(order), f.mean_rates(), f.hawkes.kernel()[order]
        decays = np.asarray(f.hawkes.decays)[order]
        decay[a, :m] = decays
        mean[a, :m] = np.einsum("i,misj,j->mj", rates, kernel, 1.0 / rates)
        jump[a, :m] = kernel * decays[:, None, None, None] / rates
        ground[a] = np.maximum(1.0 - mean[a].sum(axis=0) - f.hawkes.cross, 0.0)
    jump = jump[None] / np.maximum(scale, 1e-9)[:, None, None, :, None, None]
    fixed = (np.minimum(x * ONE24, 2.0**37) for x in (decay * np.log2(np.e), jump, ground, mean))
    return tuple(np.ascontiguousarray(np.round(x).astype(np.int64)) for x in fixed)


def _spill(cfg: Config, scale: np.ndarray) -> np.ndarray:
    """(R, A, A, 3) jumps of the slowest excitation in other books, by the weights of the correlation between them;
    smaller where the regime has more of their cause, as those in the book itself. (R, 0, 0, 3) where no book has any."""
    flows, count = cfg.flows, cfg.market.num_books
    if not any(f.hawkes and f.hawkes.cross > 0 for f in flows):
        return np.zeros((len(scale), 0, 0, 3), np.int64)
    under = cfg.market.underlying_index
    weight = cfg.fundamentals.matrix(len(cfg.market.underlyings))[under[:, None], under[None, :]] * (
        1.0 - np.eye(count)
    )
    weight /= np.maximum(np.abs(weight).sum(axis=0, keepdims=True), 1e-12)
    spill = np.zeros((count, count, 3))
    for a, f in enumerate(flows):
        if f.hawkes is not None and f.hawkes.cross > 0:
            for other, g in enumerate(flows):
                cause = g.mean_rates()
                if cause.min() > 0:
                    spill[other, a] = weight[other, a] * f.hawkes.cross * min(f.hawkes.decays) / cause
    spill = spill[None] / np.maximum(scale, 1e-9)[:, None, None, :]
    return np.ascontiguousarray(np.round(np.clip(spill * ONE24, -(2.0**37), 2.0**37)).astype(np.int64))


def length_table(exponent: float, longest: int) -> np.ndarray:
    """(3, 1024) int64 parts of a hidden order, P(parts >= n) = n^-exponent up to `longest`: by quantile from the longest
    down; the first of these quantiles finer; and of the parts left in one met at a random part of it."""
    n = np.arange(1, longest + 1, dtype=np.float64)
    tail = n**-exponent  # P(parts >= n)
    u = (np.arange(LENGTH_BINS) + 0.5) / LENGTH_BINS
    left = np.cumsum(tail[::-1])[::-1] / tail.sum()  # P(left >= n): renewal theory
    rows = [np.searchsorted(-x, -v, side="right") for x, v in ((tail, u), (tail, u / LENGTH_BINS), (left, u))]
    return np.maximum(np.stack(rows), 1).astype(np.int64)
