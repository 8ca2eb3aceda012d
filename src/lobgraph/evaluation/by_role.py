"""The measures that only one role has: quotes of makers, execution of takers, pairs of arbitrageurs.

In: an agent's part of a Series (`own.Own`). Out: arrays (B, K) by the names in `measures.MEASURES`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .own import Own, ratio
from .record import Series

BID, ASK = 0, 1  # last axis of quotes


def of_makers(own: Own, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Quotes as they stand after each step."""
    s = own.series
    px, qty = own.of(s.quote_px)[1:], own.of(s.quote_qty)[1:]  # (T, B, K, A, 2)
    best = np.stack([s.best_bid[1:], s.best_ask[1:]], axis=-1)[:, :, None]  # (T, B, 1, A, 2)
    rests = qty > 0
    both = rests[..., BID] & rests[..., ASK]
    filled = own.total(own.of(s.passive))
    near = np.abs(px - best) < s.cfg.market.depth_levels
    depth = (s.bid_qty[1:].sum(axis=-1) + s.ask_qty[1:].sum(axis=-1))[:, :, None]  # (T, B, 1, A)
    return {
        "fill_ratio": ratio(filled, filled + own.total(qty)),
        "time_at_best": ratio(own.total(rests & (px == best)), own.total(rests)),
        "quoted_spread": ratio(own.total(np.where(both, px[..., ASK] - px[..., BID], 0)), own.total(both)),
        "presence": own.mean(both.mean(axis=-1)),
        "liquidity_share": ratio(
            own.total(np.where(near, qty, 0)),
            own.total(np.broadcast_to(depth, both.shape)),
        ),
    }


def of_takers(own: Own, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Execution against benchmarks. Costs come from cash: fills at prices p cost sum(signed lots * p) = -cash."""
    s = own.series
    lots, mid = values["turnover"], s.mid
    cash, held = own.at_end(own.of(s.cash)), own.at_end(own.inventory)  # (B, K, A)
    target = s.target[:, own.agents]
    size = np.abs(target).sum(axis=-1)  # (B, K)
    last = np.take_along_axis(mid, own.end.T[:, :, None], axis=0).swapaxes(0, 1)  # (B, K, A) at its end
    paper = target * (last - mid[0][:, None])  # the target bought at the first mid
    done = np.clip(np.sign(target) * held, 0, np.abs(target)).sum(axis=-1)
    asked = size > 0
    return {
        "shortfall": ratio((paper - cash - held * last).sum(axis=-1), size),
        "slippage_twap": np.where(asked, _slippage(cash, held, lots, twap(own)), np.nan),
        "slippage_vwap": np.where(asked, _slippage(cash, held, lots, vwap(own)), np.nan),
        "completion": ratio(done, size),
        "aggressive_share": 1.0 - values["passive_share"],
    }


def _slippage(cash: np.ndarray, held: np.ndarray, lots: np.ndarray, benchmark: np.ndarray) -> np.ndarray:
    """Ticks per lot traded by which fills were worse than a price per book (B, K, A); NaN prices count where it traded."""
    cost = np.where((cash == 0) & (held == 0), 0.0, -cash - held * benchmark)
    return ratio(cost.sum(axis=-1), lots)


def twap(own: Own) -> np.ndarray:
    """(B, K, A) mean mid at an agent's decisions, ticks."""
    mid = own.series.mid[:-1]
    return np.einsum("tbk,tba->bka", own.active, mid) / own.end[..., None]


def vwap(own: Own) -> np.ndarray:
    """(B, K, A) the market's price by volume over an agent's steps, ticks; NaN where nothing traded.

    Prices of single trades are not kept. A step's buys count at the ask and its sells at the bid, each the mean of its
    values before and after the step.
    """
    s = own.series
    bid, ask = (0.5 * (x[1:] + x[:-1]) for x in (s.best_bid, s.best_ask))
    bought, sold = (s.volume + s.signed) / 2, (s.volume - s.signed) / 2
    money = np.einsum("tbk,tba->bka", own.active, bought * ask + sold * bid)
    return ratio(money, np.einsum("tbk,tba->bka", own.active, s.volume.astype(np.float64)))


def of_arbitrageurs(own: Own, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inventories and gaps of the configured pairs."""
    s, held = own.series, own.inventory
    pairs = s.cfg.pairs
    error, opened, entry = (np.zeros(own.end.shape) for _ in range(3))
    for i, j in pairs:
        error += own.mean(np.abs(held[1:, ..., i] + held[1:, ..., j]))
        lots = _opened(held[..., i], held[..., j])
        opened += own.total(lots)
        entry += own.total(lots * np.abs(gap(s, i, j))[:-1, :, None])
    net = np.abs(held[1:].sum(axis=-1))
    return {
        "hedge_error": ratio(error, np.full(error.shape, len(pairs))),
        "gap_entry": ratio(entry, opened),
        "gap_captured": ratio(values["pnl"] + values["fees"], values["turnover"]),
        "exposure": values["mean_abs_inventory"],
        "net_exposure": own.mean(net),
    }


def gap(s: Series, i: int, j: int) -> np.ndarray:
    """(T + 1, B) ticks by which book i stands above book j: venues of one underlying at par, else since the start."""
    under = s.cfg.market.underlying_index
    level = s.mid[..., [i, j]]
    level = level - (s.cfg.market.prices[[i, j]] if under[i] == under[j] else level[0])
    return level[..., 0] - level[..., 1]


def _opened(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T, B, K) lots opened in both legs in each step; `first`, `second` (T + 1, B, K) their inventories.

    A pair's position is what the legs hold against each other, the smaller of two opposite inventories.
    """
    hedged = np.where(first * second < 0, np.minimum(np.abs(first), np.abs(second)), 0) * np.sign(first)
    before, after = hedged[:-1], hedged[1:]
    kept = np.where(before * after > 0, np.abs(before), 0)
    return np.maximum(np.abs(after) - kept, 0)
