"""Tables of a comparison as HTML: means with intervals by actor, and differences from the baseline.

In: long tables, a row per actor and measure. Out: HTML text in which everything given is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from .labels import Label, foremost, label, number, ordered

UNPAIRED = ("unpaired_low", "unpaired_high")


def mean_table(names: Sequence[str], intervals: pd.DataFrame, differences: pd.DataFrame | None) -> str:
    """Measures as rows under their groups, actors as columns: means over episodes with their intervals.

    intervals: the rows of one role and regime; differences: rows of the same, from which follows what is bold: the best
    mean where its paired difference from the baseline excludes zero; the baseline's own, where every other actor's does.
    Measures without a better side are never bold.
    """
    there = set(intervals["actor"])
    shown = [n for n in names if n in there]
    sure = _sure(differences)
    head = "".join(f"<th>{_name(n)}{'<small>baseline</small>' if n == names[0] else ''}</th>" for n in shown)
    lines = [f"<tr><th></th><th class=unit>unit</th>{head}</tr>"]
    group = ""
    for measure in ordered(intervals["measure"]):
        said = label(measure)
        if said.group != group:
            group = said.group
            lines.append(f'<tr class=group><th colspan="{len(shown) + 2}">{escape(group)}</th></tr>')
        rows = intervals[intervals["measure"] == measure].set_index("actor")
        means = {n: rows.loc[[n]].iloc[0] for n in shown if n in rows.index}
        of = {n: float(row["mean"]) for n, row in means.items()}
        best = _best(said, of, names[0], sure.get(measure, {}))
        cells = "".join(f"<td>{_mean(means[n], n == best) if n in means else '–'}</td>" for n in shown)
        lines.append(f"<tr><th>{escape(said.words)}</th><td class=unit>{escape(said.unit)}</td>{cells}</tr>")
    return f"<div class=wide><table>{''.join(lines)}</table></div>"


def _name(name: str) -> str:
    """An actor's name, which may be broken after its punctuation."""
    return escape(name).replace(":", ":<wbr>").replace(",", ",<wbr>").replace("/", "/<wbr>")


def _mean(row: Any, bold: bool) -> str:
    value = number(float(row["mean"]))
    value = f"<b>{value}</b>" if bold else value
    ends = (float(row["low"]), float(row["high"]))
    return value + (
        f"<small>[{number(ends[0])}, {number(ends[1])}]</small>" if np.isfinite(ends).all() else ""
    )


def _sure(differences: pd.DataFrame | None) -> dict[str, dict[str, bool]]:
    """measure -> actor -> whether its paired interval excludes zero, and p after Holm is below .05."""
    found: dict[str, dict[str, bool]] = {}
    rows: Any = (
        ()
        if differences is None
        else differences[["actor", "measure", "low", "high", "p_adjusted"]].itertuples(index=False)
    )
    for actor, measure, low, high, p in rows:
        found.setdefault(measure, {})[actor] = bool(p < 0.05 and (low > 0 or high < 0))
    return found


def _best(said: Label, means: dict[str, float], base: str, sure: dict[str, bool]) -> str | None:
    """The actor to print in bold, None where the data do not single one out."""
    finite = {n: m for n, m in means.items() if np.isfinite(m)}
    if not said.better or len(finite) < 2:
        return None
    best = max(finite, key=lambda n: said.better * finite[n])
    if best != base:
        return best if sure.get(best, False) else None
    return base if all(sure.get(n, False) for n in finite if n != base) else None


def difference_table(names: Sequence[str], differences: pd.DataFrame) -> str:
    """Rows of one role and regime: difference, both intervals, how much pairing narrows, correlation, p, effect size.

    The measures that are looked for first stand open, the others behind a line that opens.
    """
    there = differences.loc[differences["mean"].notna(), "measure"]
    first = foremost(there, str(differences["role"].iloc[0]))
    rest = [m for m in ordered(there) if m not in first]
    text = _difference_rows(names, differences, first)
    if rest:
        more = _difference_rows(names, differences, rest)
        text += f"<details><summary>{len(rest)} more measures</summary>{more}</details>"
    return text


def _difference_rows(names: Sequence[str], differences: pd.DataFrame, measures: Sequence[str]) -> str:
    head = ("measure", "actor", "difference", "paired interval", "unpaired interval", "narrower", "correlation",
            "p", "p adjusted", "effect")  # fmt: skip
    lines = ["<tr>" + "".join(f"<th{' class=name' if h == 'actor' else ''}>{h}</th>" for h in head) + "</tr>"]
    for measure in measures:
        part = differences[differences["measure"] == measure].set_index("actor")
        rows = [(n, part.loc[[n]].iloc[0]) for n in names if n in part.index]
        said = label(measure)
        for i, (name, row) in enumerate(rows):
            unit = f"<small>{escape(said.unit)}</small>" if said.unit else ""
            first = f'<th rowspan="{len(rows)}">{escape(said.words)}{unit}</th>' if i == 0 else ""
            cells = f"<td class=name>{_name(name)}</td>{_difference(row)}"
            lines.append(f"<tr{' class=first' if i == 0 else ''}>{first}{cells}</tr>")
    return f"<div class=wide><table class=differences>{''.join(lines)}</table></div>"


def _difference(row: Any) -> str:
    paired, unpaired = (row["low"], row["high"]), tuple(row[c] for c in UNPAIRED)
    widths = (paired[1] - paired[0], unpaired[1] - unpaired[0])
    factor = widths[1] / widths[0] if widths[0] > 0 else np.nan
    clear = paired[0] > 0 or paired[1] < 0
    mean = number(float(row["mean"]))
    cells = (
        f"<b>{mean}</b>" if clear else mean, _ends(paired), _ends(unpaired),
        f"{number(float(factor), 2)} ×" if np.isfinite(factor) else "–", number(float(row["correlation"]), 2),
        p_value(float(row["p"])), p_value(float(row["p_adjusted"])), number(float(row["effect"]), 2),
    )  # fmt: skip
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _ends(ends: Sequence[float]) -> str:
    return f"[{number(float(ends[0]))}, {number(float(ends[1]))}]" if np.isfinite(ends).all() else "–"


def p_value(p: float) -> str:
    """To two digits, and no further than a test of this kind can tell."""
    return "–" if not np.isfinite(p) else "&lt; 0.0001" if p < 1e-4 else number(p, 2)
