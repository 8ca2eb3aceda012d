"""What the market was like, episode by episode and book by book, and how the agents of a role behaved together.

In: a `Series`. Out: tables with the columns of MARKET_MEASURES and GROUP_MEASURES. The market counts to the last step,
whoever is left in it. Prices in ticks, time in seconds.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from .measures import Measure
from .own import Own, ratio
from .record import Series

LAGS = 10  # steps of the long returns in variance_ratio

# fmt: off
MARKET_MEASURES: dict[str, Measure] = {
    "spread": Measure("ticks", "mean after each step of best ask less best bid"),
    "depth": Measure("lots", "mean of the lots within depth_levels ticks of the best, both sides"),
    "depth_best": Measure("lots", "mean of the lots at the best prices, both sides"),
    "volatility": Measure("ticks/sqrt(s)", "root mean square of the mid's moves from step to step"),
    "pricing_error": Measure("ticks", "root mean square of mid less fundamental: 0 is efficient; NaN in replayed markets"),
    "variance_ratio": Measure("1", f"variance of {LAGS}-step moves over {LAGS} times that of one-step moves: 1 for a random walk, "
                              "less where prices revert (Lo and MacKinlay 1988)"),
    "volume": Measure("lots/s", "lots traded"),
    "crash_depth": Measure("ticks", "largest fall of the mid from its running peak"),
    "recovery_time": Measure("s", "from the bottom of that fall until half of it is regained; the episode's rest if it never is"),
}
GROUP_MEASURES: dict[str, Measure] = {
    "hhi": Measure("1", "Herfindahl index of the lots filled at rest: 1 if one agent has all, 1/agents if all have equal parts"),
    "coordination": Measure("1", "mean over pairs of agents and books of the correlation of inventory changes"),
    "diversity": Measure("ticks or lots/step", "mean over pairs of agents of the difference of mean quotes (makers: distances of bid "
                         "and ask from the mid, ticks) or of mean trades (others: lots a step)"),
}
# fmt: on


def market_quality(series: Series) -> pd.DataFrame:
    """One row per episode and book: episode, book (its name) and MARKET_MEASURES, float64."""
    s, dt = series, series.cfg.market.dt
    books = s.cfg.market.books
    mid = s.mid
    depth, crash = s.bid_qty[1:] + s.ask_qty[1:], _crash(mid)
    values = {
        "spread": (s.best_ask - s.best_bid)[1:].mean(axis=0),
        "depth": depth.sum(axis=-1).mean(axis=0),
        "depth_best": depth[..., 0].mean(axis=0),
        "volatility": np.sqrt((np.diff(mid, axis=0) ** 2).mean(axis=0) / dt),
        "pricing_error": np.sqrt(((mid - s.fundamental)[1:] ** 2).mean(axis=0)),
        "variance_ratio": variance_ratio(mid, LAGS),
        "volume": s.volume.mean(axis=0) / dt,
        "crash_depth": crash[0],
        "recovery_time": crash[1] * dt,
    }
    head = {"episode": np.repeat(s.episode, len(books)), "book": np.tile(books, len(s.episode))}
    return pd.DataFrame(head | {name: np.asarray(x, np.float64).ravel() for name, x in values.items()})


def variance_ratio(price: np.ndarray, lags: int) -> np.ndarray:
    """Unbiased variance ratio over overlapping moves, price (T + 1, ...) -> (...); NaN if T < 2 lags or nothing moves."""
    steps = len(price) - 1
    if steps < 2 * lags:
        return np.full(price.shape[1:], np.nan)
    drift = (price[-1] - price[0]) / steps
    short = ((np.diff(price, axis=0) - drift) ** 2).sum(axis=0) / (steps - 1)
    weight = lags * (steps - lags + 1) * (1 - lags / steps)
    long = ((price[lags:] - price[:-lags] - lags * drift) ** 2).sum(axis=0) / weight
    return ratio(long, short)


def _crash(mid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a mid (T + 1, B, A): depth of its largest fall, and steps from its bottom to half of it; 0 and NaN without a fall."""
    fall = np.maximum.accumulate(mid, axis=0) - mid
    bottom = fall.argmax(axis=0)[None]  # the first of equal ones
    depth = np.take_along_axis(fall, bottom, axis=0)[0]
    half = np.take_along_axis(mid, bottom, axis=0)[0] + 0.5 * depth
    row = np.arange(len(mid))[:, None, None]
    back = (row > bottom) & (mid >= half)
    steps = np.where(back.any(axis=0), back.argmax(axis=0), len(mid) - 1) - bottom[0]
    return depth, np.where(depth > 0, steps, np.nan)


def multi_agent(series: Series) -> pd.DataFrame:
    """One row per episode and role: episode, role and GROUP_MEASURES, float64.

    NaN where they do not apply: hhi without passive fills; the others for one agent alone, or agents that never moved.
    """
    tables = []
    for role in series.specs:
        own = Own(series, role)
        passive = own.of(series.passive).sum(axis=(0, 3, 4), dtype=np.float64)  # (B, K)
        share = ratio(passive, passive.sum(axis=-1, keepdims=True))
        values = {
            "hhi": (share**2).sum(axis=-1),
            "coordination": _coordination(own),
            "diversity": _diversity(own),
        }
        tables.append(pd.DataFrame({"episode": series.episode, "role": role} | values))
    columns = ["episode", "role", *GROUP_MEASURES]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _coordination(own: Own) -> np.ndarray:
    """(B,) over the steps in which both agents of a pair were active."""
    change = np.diff(own.inventory, axis=0).astype(np.float64)  # (T, B, K, A)
    pairs = list(combinations(range(change.shape[2]), 2))
    found = [
        _correlation(change[:, :, i], change[:, :, j], own.active[:, :, i] & own.active[:, :, j])
        for i, j in pairs
    ]
    return _mean_of_known(np.concatenate(found, axis=-1)) if pairs else np.full(change.shape[1], np.nan)


def _correlation(x: np.ndarray, y: np.ndarray, both: np.ndarray) -> np.ndarray:
    """(B, A) of x, y (T, B, A) over the steps where `both` (T, B); NaN where one does not vary."""
    w, n = both[..., None], both.sum(axis=0)[:, None]
    x, y = (np.where(w, v - ratio(np.where(w, v, 0.0).sum(axis=0), n), 0.0) for v in (x, y))
    return ratio((x * y).sum(axis=0), np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0)))


def _diversity(own: Own) -> np.ndarray:
    """(B,) mean absolute difference between two agents' mean behaviour, averaged over books, sides and pairs."""
    behaviour = _quotes(own) if own.role == "maker" else _trades(own)  # (B, K, items)
    pairs = list(combinations(range(behaviour.shape[1]), 2))
    apart = [np.abs(behaviour[:, i] - behaviour[:, j]) for i, j in pairs]
    return _mean_of_known(np.concatenate(apart, axis=-1)) if pairs else np.full(len(behaviour), np.nan)


def _quotes(own: Own) -> np.ndarray:
    """(B, K, 2 A) mean ticks from the mid to the resting bid and ask; NaN for a side that never rested."""
    s = own.series
    rests = (own.of(s.quote_qty)[1:] > 0) & own.active[..., None, None]  # (T, B, K, A, 2)
    away = np.abs(own.of(s.quote_px)[1:] - s.mid[1:, :, None, :, None])
    mean = ratio(np.where(rests, away, 0.0).sum(axis=0), rests.sum(axis=0))
    return mean.reshape(*mean.shape[:2], -1)


def _trades(own: Own) -> np.ndarray:
    """(B, K, A) mean signed lots traded a step."""
    return own.at_end(own.inventory) / own.end[..., None]


def _mean_of_known(x: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(x)
    return ratio(np.where(known, x, 0.0).sum(axis=-1), known.sum(axis=-1))
