"""The market around the largest fall of its mid: how far it fell, how wide and how thin it became, and its way back.

In: `series` of several actors (panels.Played). Out: a figure; time in seconds, prices in ticks, depth in lots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.record import Series
from .panels import WIDTH, Played, grey_legend, heading, look, regimes_of
from .style import figure, style

REACH = 30  # steps on either side of the trough

ROWS: tuple[tuple[str, Callable[[Series], np.ndarray]], ...] = (  # label -> (T + 1, B, A)
    ("mid less the\nbaseline's low (ticks)", lambda s: s.mid),
    ("spread (ticks)", lambda s: s.best_ask - s.best_bid),
    ("depth near the best,\nboth sides (lots)", lambda s: s.bid_qty.sum(axis=-1) + s.ask_qty.sum(axis=-1)),
)


def troughs(s: Series) -> tuple[np.ndarray, np.ndarray]:
    """(B,) book and (B,) step in which each episode's mid was furthest below its running peak."""
    fall = np.maximum.accumulate(s.mid, axis=0) - s.mid  # (T + 1, B, A)
    book = fall.max(axis=0).argmax(axis=1)
    return book, fall[:, np.arange(len(book)), book].argmax(axis=0)


def around(values: np.ndarray, book: np.ndarray, step: np.ndarray, reach: int = REACH) -> np.ndarray:
    """(2 reach + 1, B) float64: values (T + 1, B, A) in each episode's book, `reach` steps before to after; NaN outside."""
    at = step + np.arange(-reach, reach + 1)[:, None]
    inside = (at >= 0) & (at < len(values))
    picked = values[np.clip(at, 0, len(values) - 1), np.arange(len(book)), book]
    return np.where(inside, picked, np.nan)


def crash(names: Sequence[str], series: Played) -> Figure | None:
    """Mid, spread and depth around each episode's deepest fall, mean over episodes; a column per regime.

    Every actor is shown around the baseline's trough: with common noise, the same moment of the same episode. An actor
    whose episodes are others is left out; None without a baseline.
    """
    regimes = [r for r in regimes_of(series) if (names[0], r) in series]
    if not regimes:
        return None
    with style():
        fig, axes = figure(3, len(regimes), WIDTH / len(regimes), 1.9, sharex=True, sharey="row")
        for column, regime in enumerate(regimes):
            base = series[names[0], regime]
            moment = troughs(base)
            for i, name in enumerate(names):
                s = series.get((name, regime))
                if s is not None and np.array_equal(s.episode, base.episode):
                    for (_, of), row in zip(ROWS, axes, strict=True):
                        values = of(s) - (_lowest(base, *moment) if row is axes[0] else 0)
                        mean = _mean(around(values, *moment))
                        dt = s.cfg.market.dt
                        row[column].plot(dt * np.arange(-REACH, REACH + 1), mean, label=name, **look(i))
            for row in axes:
                row[column].axvline(0.0, color="#888888", lw=0.6)
            axes[0][column].set_title(regime)
            axes[-1][column].set_xlabel("time from the baseline's lowest mid (s)")
        for (label, _), row in zip(ROWS, axes, strict=True):
            row[0].set_ylabel(label)
        heading(
            fig, f"Around each episode's largest fall of the mid (where {names[0]} acts): mean over episodes"
        )
        grey_legend(fig, axes[0][0].get_legend_handles_labels()[0], columns=3)
    return fig


def _lowest(s: Series, book: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(B, 1) float64 ticks: the mid at each episode's trough."""
    return s.mid[step, np.arange(len(step)), book][:, None]


def _mean(window: np.ndarray) -> np.ndarray:
    """Mean over the episodes that reach so far; NaN where none does."""
    known = np.isfinite(window)
    total = np.where(known, window, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
