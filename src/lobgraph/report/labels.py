"""How measures are called in tables and figures: words, unit, which way is better, and in which group they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

HIGHER, LOWER, NEITHER = 1, -1, 0


class Label(NamedTuple):
    """How one measure is shown."""

    group: str
    words: str
    unit: str  # "" for pure numbers
    better: int = NEITHER


_MONEY, _RISK = "Profit and loss", "Risk"
LABELS = {
    "return": Label(_MONEY, "episode reward", "tick-lots", HIGHER),
    "objective": Label(_MONEY, "profit less penalties", "tick-lots", HIGHER),
    "pnl": Label(_MONEY, "profit after fees", "tick-lots", HIGHER),
    "spread_capture": Label(_MONEY, "spread capture", "tick-lots", HIGHER),
    "holding": Label(_MONEY, "holding (mark to market)", "tick-lots", HIGHER),
    "fees": Label(_MONEY, "fees less rebates", "tick-lots", LOWER),
    "sharpe": Label(_RISK, "Sharpe ratio", "per √s", HIGHER),
    "sortino": Label(_RISK, "Sortino ratio", "per √s", HIGHER),
    "calmar": Label(_RISK, "Calmar ratio", "1/s", HIGHER),
    "max_drawdown": Label(_RISK, "largest drawdown", "tick-lots", LOWER),
    "var_95": Label(_RISK, "value at risk, 95 %", "tick-lots per step", LOWER),
    "cvar_95": Label(_RISK, "expected shortfall, 95 %", "tick-lots per step", LOWER),
    "max_inventory": Label(_RISK, "largest inventory", "lots"),
    "mean_abs_inventory": Label(_RISK, "mean |inventory|", "lots"),
    "final_inventory": Label(_RISK, "final |inventory|", "lots"),
    "cut_inventory": Label(_RISK, "cut by the inventory limit", "lots"),
    "cut_value": Label(_RISK, "cut by the limit of value", "lots"),
    "cut_rate": Label(_RISK, "not sent for the limit of rate", "messages"),
    "refused": Label(_RISK, "refused in a halt", "messages"),
    "liquidated_drawdown": Label(_RISK, "liquidated by drawdown", "share of episodes", LOWER),
    "liquidated_value": Label(_RISK, "liquidated by value", "share of episodes", LOWER),
    "turnover": Label("Trading", "lots traded", "lots"),
    "passive_share": Label("Trading", "passive share", "share"),
    "aggressive_share": Label("Trading", "aggressive share", "share"),
    "length": Label("Trading", "steps acted in", "steps"),
    "fill_ratio": Label("Quoting", "fill ratio", "share"),
    "time_at_best": Label("Quoting", "time at best", "share"),
    "quoted_spread": Label("Quoting", "quoted spread", "ticks"),
    "presence": Label("Quoting", "two-sided presence", "share", HIGHER),
    "liquidity_share": Label("Quoting", "share of liquidity", "share"),
    "shortfall": Label("Execution", "implementation shortfall", "ticks per lot", LOWER),
    "slippage_twap": Label("Execution", "slippage against TWAP", "ticks per lot", LOWER),
    "slippage_vwap": Label("Execution", "slippage against VWAP", "ticks per lot", LOWER),
    "completion": Label("Execution", "completion", "share", HIGHER),
    "hedge_error": Label("Arbitrage", "hedge error", "lots", LOWER),
    "gap_entry": Label("Arbitrage", "gap at entry", "ticks"),
    "gap_captured": Label("Arbitrage", "gap captured", "ticks per lot", HIGHER),
    "exposure": Label("Arbitrage", "gross exposure", "lots"),
    "net_exposure": Label("Arbitrage", "net exposure", "lots", LOWER),
    "spread": Label("Market", "spread", "ticks", LOWER),
    "depth": Label("Market", "depth within L ticks", "lots", HIGHER),
    "depth_best": Label("Market", "depth at the best", "lots", HIGHER),
    "volatility": Label("Market", "volatility", "ticks per √s", LOWER),
    "pricing_error": Label("Market", "distance from the fundamental", "ticks", LOWER),
    "variance_ratio": Label("Market", "variance ratio, 10 steps / 1", ""),
    "volume": Label("Market", "volume", "lots/s"),
    "crash_depth": Label("Market", "crash depth", "ticks", LOWER),
    "recovery_time": Label("Market", "recovery time", "s", LOWER),
    "hhi": Label("Agents together", "concentration (HHI)", ""),
    "coordination": Label("Agents together", "coordination", ""),
    "diversity": Label("Agents together", "diversity", "ticks or lots per step"),
}
KEYS = ("episode", "cluster", "role", "agent", "actor", "regime", "book")  # columns that are not measures

# What a reader looks for first, by role; the other measures follow in the full tables.
FIRST = {
    "maker": ("objective", "pnl", "spread_capture", "holding", "fees", "sharpe", "max_drawdown", "cvar_95", "mean_abs_inventory",
              "turnover", "fill_ratio", "quoted_spread", "time_at_best"),
    "taker": ("shortfall", "slippage_twap", "slippage_vwap", "completion", "pnl", "fees", "aggressive_share",
              "mean_abs_inventory"),
    "arbitrageur": ("pnl", "spread_capture", "holding", "fees", "sharpe", "gap_captured", "hedge_error", "exposure",
                    "turnover"),
    "market": ("spread", "depth", "depth_best", "volatility", "pricing_error", "crash_depth", "recovery_time", "volume"),
}  # fmt: skip


def label(measure: str) -> Label:
    """How a measure is shown; one that is not known here goes by its own name."""
    return LABELS.get(measure, Label("Other", measure.replace("_", " "), ""))


def axis(measure: str) -> str:
    """Words and unit, as an axis says them."""
    known = label(measure)
    return f"{known.words} ({known.unit})" if known.unit else known.words


def ordered(measures: Iterable[str]) -> list[str]:
    """Known measures in the order of LABELS, then the others as they come."""
    given = list(dict.fromkeys(measures))
    return [m for m in LABELS if m in given] + [m for m in given if m not in LABELS]


def foremost(measures: Iterable[str], role: str) -> list[str]:
    """Those of the measures that are looked for first in this role; all of them where none is."""
    given = ordered(measures)
    return [m for m in FIRST.get(role, ()) if m in given] or given


def number(value: float, digits: int = 3) -> str:
    """To `digits` significant digits, whole numbers from there on; an en dash for NaN."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    decimals = digits - 1 - int(np.floor(np.log10(abs(float(f"{value:.{digits - 1}e}")))))
    if decimals > 6:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:,.{max(decimals, 0)}f}".replace("-", "−")
