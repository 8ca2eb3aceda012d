"""What each agent did and earned in an episode, in numbers: one row per episode, role and agent.

In: a `Series`. Out: a table with a column for each of MEASURES. Money in tick-lots, prices in ticks, time in seconds.
Only steps in which an agent was active count: what happens after its termination is not its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..config import ROLES, Config
from ..market.state import BY_DRAWDOWN, BY_VALUE
from .by_role import of_arbitrageurs, of_makers, of_takers
from .own import Own, ratio
from .record import Series


class Measure(NamedTuple):
    """What a number is. The one description that tables, docs and reports use."""

    unit: str
    meaning: str
    roles: tuple[str, ...] = ROLES  # for which it is defined


_M, _T, _A = ("maker",), ("taker",), ("arbitrageur",)
PENALTIES = ("inventory", "delay", "unhedged")  # reward terms that the objective counts beside pnl
TAIL = 20  # var_95 and cvar_95: the worst 1 in 20 steps

# fmt: off
MEASURES: dict[str, Measure] = {
    "return": Measure("tick-lots", "sum of its rewards: pnl and what the scenario adds or takes for inventory, delay, presence or being unhedged"),
    "objective": Measure("tick-lots", "pnl less the role's penalties (inventory, delay, being unhedged): return without what is given for presence"),
    "length": Measure("steps", "decisions until its episode ended"),
    "pnl": Measure("tick-lots", "equity at its end: cash and inventory at the mark, after fees; spread_capture + holding - fees"),
    "spread_capture": Measure("tick-lots", "by how much its fills were better than the mid when the incoming order arrived"),
    "holding": Measure("tick-lots", "what the mid's moves did to its inventory: pnl before fees less spread_capture"),
    "fees": Measure("tick-lots", "fees paid less rebates received"),
    "sharpe": Measure("s^-1/2", "mean over standard deviation of equity changes; times sqrt(seconds) for a horizon (Sharpe 1994)"),
    "sortino": Measure("s^-1/2", "likewise over the root mean square of losses, target 0 (Sortino and Price 1994)"),
    "calmar": Measure("1/s", "pnl per second over max_drawdown (Young 1991)"),
    "max_drawdown": Measure("tick-lots", "largest fall of equity from its running peak"),
    "var_95": Measure("tick-lots/step", "loss that 1 in 20 steps reach: historical value at risk, + is a loss"),
    "cvar_95": Measure("tick-lots/step", "mean loss of the worst 1 in 20 steps (Acerbi and Tasche 2002), + is a loss"),
    "turnover": Measure("lots", "lots bought and sold"),
    "max_inventory": Measure("lots", "largest |inventory| in one book"),
    "final_inventory": Measure("lots", "sum over books of |inventory| at its end"),
    "mean_abs_inventory": Measure("lots", "mean over steps of the sum over books of |inventory|"),
    "passive_share": Measure("share", "lots filled at rest over lots traded"),
    "cut_inventory": Measure("lots", "of its orders, cut by risk.max_inventory"),
    "cut_value": Measure("lots", "of its orders, cut by risk.max_position; NaN where there is no such limit, as in the next ones"),
    "cut_rate": Measure("messages", "not sent for risk.max_order_rate"),
    "refused": Measure("messages", "refused while a book was halted"),
    "liquidated_drawdown": Measure("share", "1 if risk.max_drawdown ended its episode, else 0"),
    "liquidated_value": Measure("share", "1 if risk.max_position ended its episode, else 0"),
    "fill_ratio": Measure("share", "lots filled at rest over lots quoted: those filled in a step and those left after it", _M),
    "time_at_best": Measure("share", "of its quotes after each step, those at the best price", _M),
    "quoted_spread": Measure("ticks", "ask less bid where both its sides rest after a step", _M),
    "presence": Measure("share", "steps and books after which both its sides rest", _M),
    "liquidity_share": Measure("share", "its part of the lots within depth_levels ticks of the best, both sides", _M),
    "shortfall": Measure("ticks/lot", "implementation shortfall (Perold 1988): target traded at the first mid, less what it made, "
                         "the rest at the last mid; before fees, per lot of the target", _T),
    "slippage_twap": Measure("ticks/lot", "paid above (sold below) the mean mid at its decisions, per lot traded; + is worse", _T),
    "slippage_vwap": Measure("ticks/lot", "likewise against the market's volume-weighted price; + is worse", _T),
    "completion": Measure("share", "lots of the target that were traded", _T),
    "aggressive_share": Measure("share", "lots filled by incoming orders over lots traded", _T),
    "hedge_error": Measure("lots", "mean over steps and pairs of |sum of the inventories in a pair's books|", _A),
    "gap_entry": Measure("ticks", "|price gap of a pair| when its legs were opened, by lots opened", _A),
    "gap_captured": Measure("ticks/lot", "pnl before fees over lots traded, the lots of both legs counted", _A),
    "exposure": Measure("lots", "mean over steps of the sum over books of |inventory|", _A),
    "net_exposure": Measure("lots", "mean over steps of |sum over books of inventory|", _A),
}
# fmt: on


def measure(series: Series) -> pd.DataFrame:
    """One row per episode, role and agent: episode, role, agent and MEASURES, float64; NaN where one does not apply.

    A ratio is NaN where its denominator is zero (no lots traded, equity that never moved, no drawdown).
    """
    tables = [_of_role(Own(series, role)) for role in series.specs]
    columns = ["episode", "role", "agent", *MEASURES]
    if not tables:
        return pd.DataFrame(columns=columns)
    return pd.concat(tables, ignore_index=True).reindex(columns=columns)


def _of_role(own: Own) -> pd.DataFrame:
    b, k = own.end.shape
    values = _money(own) | _risk(own) | _trades(own) | _limits(own)
    values |= {"maker": of_makers, "taker": of_takers, "arbitrageur": of_arbitrageurs}[own.role](own, values)
    head = {
        "episode": np.repeat(own.series.episode, k),
        "role": own.role,
        "agent": np.tile(np.arange(k), b),
    }
    return pd.DataFrame(head | {name: np.asarray(x, np.float64).ravel() for name, x in values.items()})


def _money(own: Own) -> dict[str, np.ndarray]:
    s = own.series
    pnl, fees = own.at_end(own.equity), own.at_end(own.of(s.fees))
    edge = own.at_end(own.of(s.edge)).sum(axis=-1)
    terms = own.of(s.terms)
    penalty = [name in PENALTIES for name in s.specs[own.role].reward_terms]
    return {
        "return": own.total(terms),
        "objective": pnl + own.total(terms[..., penalty]),
        "length": own.end,
        "pnl": pnl,
        "spread_capture": edge,
        "holding": pnl + fees - edge,
        "fees": fees,
    }


def _risk(own: Own) -> dict[str, np.ndarray]:
    """Of the changes of equity from step to step, and of its path."""
    dt = own.series.cfg.market.dt
    change = np.where(own.active, np.diff(own.equity, axis=0), 0.0)  # (T, B, K)
    size = np.abs(change).max(axis=0, initial=0.0)
    mean = own.mean(change)
    square = own.total((change - mean) ** 2)
    std = np.sqrt(ratio(square, np.where(own.end > 1, own.end - 1, 0)))
    std = np.where(std > 1e-9 * size, std, 0.0)  # what rounding leaves of equal changes is no risk
    loss = np.sqrt(own.mean(np.minimum(change, 0.0) ** 2))
    peak = np.maximum.accumulate(own.equity, axis=0)
    drawdown = np.where(own.active, (peak - own.equity)[1:], 0.0).max(axis=0)
    var, cvar = _tail(-change, own)
    return {
        "sharpe": ratio(mean, std * dt**0.5),
        "sortino": ratio(mean, loss * dt**0.5),
        "calmar": ratio(mean / dt, drawdown),
        "max_drawdown": drawdown,
        "var_95": var,
        "cvar_95": cvar,
    }


def _tail(losses: np.ndarray, own: Own) -> tuple[np.ndarray, np.ndarray]:
    """Value at risk and expected shortfall of losses (T, B, K) at 1 in TAIL; (B, K) each.

    With n losses and k = n / TAIL rounded up, the value at risk is the k-th largest; the expected shortfall
    averages the n / TAIL worst, the last of them in part.
    """
    worst = np.sort(np.where(own.active, losses, -np.inf), axis=0)[::-1]
    k = -(-own.end // TAIL)
    var = np.take_along_axis(worst, np.maximum(k - 1, 0)[None], axis=0)[0]
    beyond = np.maximum(worst - var, 0.0).sum(axis=0)
    return var, var + ratio(beyond * TAIL, own.end)


def _trades(own: Own) -> dict[str, np.ndarray]:
    s = own.series
    passive, aggressive = own.total(own.of(s.passive)), own.total(own.of(s.aggressive))
    held = np.abs(own.inventory)
    largest = np.where(own.active, held[1:].max(axis=-1), 0).max(axis=0)
    return {
        "turnover": passive + aggressive,
        "max_inventory": largest,
        "final_inventory": own.at_end(held).sum(axis=-1),
        "mean_abs_inventory": own.mean(held[1:].sum(axis=-1)),
        "passive_share": ratio(passive, passive + aggressive),
    }


def can_halt(cfg: Config) -> bool:
    """Whether a book may be halted."""
    return cfg.circuit_breaker is not None or any(event.kind == "halt" for event in cfg.stress)


def _limits(own: Own) -> dict[str, np.ndarray]:
    """What the limits of its role cut, stopped and ended."""
    s = own.series
    risk = getattr(s.cfg.agents, own.role).risk
    cut = s.cut[:, own.agents].sum(axis=2)  # (B, K, 4)
    cause = s.cause[:, own.agents]
    by_value = risk.max_position is not None and risk.breach == "liquidate"
    found = {
        "cut_inventory": (cut[..., 0], True),
        "cut_value": (cut[..., 1], risk.max_position is not None),
        "cut_rate": (cut[..., 2], risk.max_order_rate is not None),
        "refused": (cut[..., 3], can_halt(s.cfg)),
        "liquidated_drawdown": (cause == BY_DRAWDOWN, risk.max_drawdown is not None),
        "liquidated_value": (cause == BY_VALUE, by_value),
    }
    return {name: np.where(there, x, np.nan) for name, (x, there) in found.items()}
