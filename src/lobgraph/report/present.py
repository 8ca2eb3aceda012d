"""A comparison on the screen and on disk: short tables to read at once, a report with everything to keep.

In: a Comparison. Out: <directory>/<time>-s<seed>/ with report.html, figures/*.png and the tables as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd

from ..evaluation.compare import Comparison
from ..evaluation.intervals import FEW
from ..evaluation.measures import MEASURES
from ..evaluation.quality import GROUP_MEASURES, MARKET_MEASURES
from ..rl.run import numbered_directory
from .console import say, show
from .html import write_report
from .policy_map import policy_maps
from .tables import p_value

NARROWER = 0.8  # paired over unpaired width from which on pairing is said to have helped little
# What is printed by role; the report has all measures.
KEY = {
    "maker": ("objective", "return", "pnl", "spread_capture", "holding", "fees", "mean_abs_inventory", "quoted_spread",
              "fill_ratio"),
    "taker": ("return", "pnl", "shortfall", "slippage_twap", "slippage_vwap", "completion", "turnover", "fees"),
    "arbitrageur": ("return", "pnl", "gap_captured", "hedge_error", "exposure", "fees"),
    "market": ("spread", "depth", "volatility", "pricing_error", "crash_depth", "recovery_time"),
}  # fmt: skip


def present(
    c: Comparison, directory: str | Path, title: str, role: str, notes: list[str], command: str
) -> Path:
    """Print the tables of `role` ("market": of the market) and write the report. Returns its path."""
    show(_means(c, role), f"{title}: means over {c.episodes} episodes in each regime, seed {c.seed}")
    show(
        _differences(c, role),
        f"Differences from {c.names[0]}, paired, with 95 % intervals; p by Holm over its rivals",
    )
    own = [f"{name}: {MEASURES[name].meaning}" for name in ("objective", "return") if name in KEY[role]]
    own.append(pairing(c, role))
    for line in own:
        say(line)
    notes = [*notes, *own]
    path = numbered_directory(directory, f"s{c.seed}")
    acting = {name: c.worlds[name].get(c.role) for name in c.names}
    maps = policy_maps(acting, c.cfg, c.role, others=c.worlds[c.names[0]], seed=c.seed)
    report = write_report(
        path, title, names=c.names, role=c.role, measures=c.measures, market=c.market, differences=c.differences,
        intervals=c.intervals, seed=c.seed, series=c.series, cfg=c.cfg, notes=notes, command=command, figures=maps,
        definitions=MEASURES | MARKET_MEASURES | GROUP_MEASURES,
    )  # fmt: skip
    say(f"report: {report} (tables as CSV and figures beside it)")
    return report


def pairing(c: Comparison, role: str) -> str:
    """What pairing bought: how wide the paired intervals of the first key measures are next to the unpaired ones, and why."""
    chosen = _first(c, role)
    part = _rows(c.differences, role, chosen)
    unpaired = (part["unpaired_high"] - part["unpaired_low"]).to_numpy()
    paired = (part["high"] - part["low"]).to_numpy()
    both = (unpaired > 0) & np.isfinite(paired)
    if not both.any():
        return "pairing: nothing to compare, the differences do not vary"
    width = float(np.median(paired[both] / unpaired[both]))
    told = f"pairing: paired intervals are {width:.2f} times as wide as unpaired ones (median of {', '.join(chosen)})"
    if width < NARROWER or c.episodes < FEW:
        return told
    correlation = float(np.nanmedian(part["correlation"].to_numpy()))
    return (
        f"{told}; their episodes correlate by {correlation:.2f} only: what one earns hangs on its own fills and inventory, "
        "and once orders differ the same noise meets different books"
    )


def _first(c: Comparison, role: str) -> list[str]:
    """The measures that tell most, as far as they are there: a trader without a target has no shortfall."""
    there = set(c.differences.loc[c.differences["role"] == role, "measure"])
    return [m for m in KEY[role] if m in there][: 3 if role == "taker" else 2]


def _rows(table: pd.DataFrame, role: str, measures: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(table[(table["role"] == role) & table["measure"].isin(measures)])


def _means(c: Comparison, role: str) -> pd.DataFrame:
    """A row per regime and actor, a column per key measure."""
    part = c.intervals[(c.intervals["role"] == role) & c.intervals["measure"].isin(KEY[role])]
    table = part.pivot_table(index=["regime", "actor"], columns="measure", values="mean", sort=False)
    order = [(r, a) for r in c.regimes for a in c.names]
    table = table.reindex(index=order, columns=[m for m in KEY[role] if m in table.columns])
    return table.reset_index()


def _differences(c: Comparison, role: str) -> pd.DataFrame:
    """The objective and what it is made of: paired and unpaired intervals side by side."""
    d = c.differences
    shown = KEY[role] if role == "market" else _first(c, role)
    part = d[(d["role"] == role) & d["measure"].isin(shown)]
    columns = ["regime", "measure", "actor", "mean", "low", "high", "unpaired_low", "unpaired_high", "correlation",
               "p_adjusted", "effect"]  # fmt: skip
    table = pd.DataFrame(part[columns]).rename(columns={"mean": "difference"})
    table["p_adjusted"] = [unescape(p_value(p)) for p in table["p_adjusted"]]
    return table
