"""One row per number that was measured: what theory says, how far off it is, how far off it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SIGMAS = 4.0  # a tolerance is never below so many standard errors: 6 honest rows in 100,000 fall outside
WEAK = 4.0  # a row whose tolerance had to grow by more than this says little
COLUMNS = [
    "model", "quantity", "parameters", "measured", "error", "expected", "source", "difference", "tolerance", "ok", "weak",
]  # fmt: skip
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
    """DataFrame with COLUMNS: difference = measured - expected, ok where it is within the tolerance (never if NaN).

    weak: too few samples for the tolerance that the model states; it was widened more than WEAK times.
    """
    table = pd.DataFrame([vars(row) for row in rows])
    table["difference"] = table["measured"] - table["expected"]
    stated = table["tolerance"]
    table["tolerance"] = stated.clip(lower=SIGMAS * table["error"])
    table["weak"] = table["tolerance"] > WEAK * stated
    table["ok"] = table["difference"].abs() <= table["tolerance"]
    return table.reindex(columns=COLUMNS)


def condense(table: pd.DataFrame) -> pd.DataFrame:
    """The table as printed: of more than FEW rows of a kind only the one nearest its tolerance, and all that fail."""
    share = (table["difference"].abs() / table["tolerance"].clip(lower=1e-300)).to_numpy()
    ok = table["ok"].to_numpy(dtype=bool)
    parameters = list(table["parameters"])
    keep: list[int] = []
    for rows in table.groupby(["model", "quantity", "source"], sort=False).indices.values():
        if len(rows) > FEW:
            worst = int(rows[np.argmax(share[rows])])
            parameters[worst] += f" (worst of {len(rows)})"
            keep += sorted({worst, *rows[~ok[rows]].tolist()})
        else:
            keep += rows.tolist()
    verdict = np.where(ok, np.where(table["weak"], "weak", "yes"), "NO")
    short = table.assign(parameters=parameters, ok=verdict).iloc[sorted(keep)]
    return short.drop(columns="weak").rename(columns={"error": "std. error"})


def summary(table: pd.DataFrame) -> str:
    """A line: how many rows are within tolerance, and how many of them could hardly have failed."""
    ok, thin = (table[name].to_numpy(dtype=bool) for name in ("ok", "weak"))
    weak = int((ok & thin).sum())
    more = (
        f"; {weak} of them are weak: too few samples for the stated tolerance, simulate more" if weak else ""
    )
    return f"{int(ok.sum())} of {len(table)} numbers within tolerance{more}"


def misses(table: pd.DataFrame) -> list[str]:
    """A line for each row that is out of tolerance."""
    return [
        f"{model}: {quantity}, {parameters}: {measured:.6g} is {difference:+.3g} off {expected:.6g} ({source}), "
        f"more than {tolerance:.3g}"
        for model, quantity, parameters, measured, _, expected, source, difference, tolerance, ok, _ in table[
            COLUMNS
        ].itertuples(index=False)
        if not ok
    ]
