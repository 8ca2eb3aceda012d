"""One row per number that was measured: what theory says, how far off it is, how far off it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

SIGMAS = 4.0  # a tolerance is never below so many standard errors: 6 honest rows in 100,000 fall outside
COLUMNS = ["model", "quantity", "parameters", "measured", "error", "expected", "source", "difference", "tolerance", "ok"]  # fmt: skip
FEW = 6  # rows of a kind that are printed one by one


@dataclass(frozen=True)
class Row:
    """A number of the engine beside one of theory."""

    model: str
    quantity: str
    parameters: str
    measured: float
    error: float  # standard error of the difference
    expected: float
    source: str
    tolerance: float  # as stated; the table has it, or SIGMAS errors if that is more


def make_table(rows: Sequence[Row]) -> pd.DataFrame:
    """DataFrame with COLUMNS: difference = measured - expected, ok where it is within the tolerance (never if NaN)."""
    table = pd.DataFrame([vars(row) for row in rows])
    table["difference"] = table["measured"] - table["expected"]
    table["tolerance"] = table["tolerance"].clip(lower=SIGMAS * table["error"])
    table["ok"] = table["difference"].abs() <= table["tolerance"]
    return table[COLUMNS]


def condense(table: pd.DataFrame) -> pd.DataFrame:
    """The table as printed: of more than FEW rows of a kind only the one nearest its tolerance, and all that fail."""
    parts = []
    for _, kind in table.groupby(["model", "quantity", "source"], sort=False):
        if len(kind) > FEW:
            share = kind["difference"].abs() / kind["tolerance"].clip(lower=1e-300)
            worst = kind.loc[(~kind["ok"]) | (kind.index == share.idxmax())].copy()
            worst["parameters"] += f" (worst of {len(kind)})"
            parts.append(worst)
        else:
            parts.append(kind)
    short = pd.concat(parts)
    return short.assign(ok=short["ok"].map({True: "yes", False: "NO"})).rename(columns={"error": "+-"})
