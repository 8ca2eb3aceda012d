"""The stress laboratory's findings on the screen and on disk: the answer first, then tables, figures and files.

In: a Laboratory. Out: <directory>/<time>-s<seed>/ with report.html, figures/*.png, measures.csv, effects.csv, stress.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config import dump_config
from ..evaluation.event_time import NOISE
from ..evaluation.stress import ALONE, Laboratory
from ..evaluation.stress_measures import LATE, MARKET, STRESS_MEASURES
from ..files import write_atomic, write_table
from ..rl.run import numbered_directory
from .console import say, show
from .html import save_images
from .labels import number
from .page import figure_of, html
from .stress_figures import caption, stress_figures

TABLE = ("volatility", "fall", "spread", "depth", "spread_half", "depth_half", "mid_half")
SHORT = ("volatility", "fall", "depth")  # of it on the screen
ROLES = (
    "share_before",
    "share_during",
    "share_after",
    "against_during",
    "supplied_during",
    "pnl_during",
    "pnl_after",
)


def present_stress(lab: Laboratory, directory: str | Path, notes: Sequence[str], command: str) -> Path:
    """Print the answer and the tables of the market, write everything. Returns the report's path."""
    title = f"{lab.cfg.name} under stress"
    market, roles = market_table(lab), role_table(lab)
    show(
        market,
        f"{title}: means over {lab.episodes} episodes, with the event; against: the same without agents",
    )
    answer = answers(lab)
    for line in answer:
        say(line)
    path = numbered_directory(directory, f"s{lab.seed}")
    write_table(path / "measures.csv", lab.measures)
    write_table(path / "effects.csv", lab.effects)
    write_atomic(path / "stress.json", json.dumps(_facts(lab, answer, command), indent=1).encode())
    write_atomic(path / "config.yaml", dump_config(lab.cfg).encode())
    images = save_images(path / "figures", stress_figures(lab))
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p><strong>{escape(line)}</strong></p>" for line in answer),
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>The market</h2>" + _table(market),
        "<h2>The roles</h2>" + _table(roles),
        "<h2>Figures</h2>" + "".join(figure_of(image, caption(image.name)) for image in images),
        "<h2>What the measures are</h2>" + _definitions(),
        f"<p>To repeat it:</p><pre>{escape(command)}</pre>" if command else "",
    ]
    report = path / "report.html"
    write_atomic(report, html(title, body).encode())
    say(f"report: {report} (tables as CSV and figures beside it)")
    return report


def answers(lab: Laboratory) -> list[str]:
    """Do these actors amplify or damp each event, by how much, with what confidence? A line for each."""
    table: Any = lab.effects[lab.effects["who"] == MARKET]
    table = table.set_index(["scenario", "actor", "measure"])
    lines = []
    for scenario in lab.scenarios:
        for name in lab.names[1:]:
            said = []
            for measure, words in (("fall", "the mid moves {} times as far as"), ("volatility", "the event raises volatility {} times as much as")):  # fmt: skip
                row = table.loc[[(scenario.name, name, measure)]].iloc[0]
                mean, low, high = (float(row[f"factor_against{end}"]) for end in ("", "_low", "_high"))
                said.append(
                    f"{words.format(_interval(mean, low, high))} without agents: {verdict(low, high)}"
                )
            lines.append(f"{scenario.name}, {name}: {'; '.join(said)}")
    return lines


def verdict(low: float, high: float) -> str:
    """What an interval of a factor says."""
    if not np.isfinite([low, high]).all():
        return "not known"
    return "damped" if high < 1.0 else "amplified" if low > 1.0 else "no effect that can be told"


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def market_table(lab: Laboratory) -> pd.DataFrame:
    """A row per scenario, measure and actor: without and with the event, and the difference from no agents."""
    own: Any = lab.effects[(lab.effects["who"] == MARKET) & lab.effects["measure"].isin(TABLE)]
    late = lab.effects.set_index(["scenario", "actor", "who", "measure"])["event"]
    rows = []
    for row in own.to_dict("records"):
        found = {key: row[key] for key in ("scenario", "measure", "actor", "calm", "event")}
        key = (row["scenario"], row["actor"], MARKET, f"{row['measure']}_late")
        found["late"] = late.get(key, np.nan)
        for name, column in (("effect", ""), ("effect_against", "against_"), ("event_against", "beside_")):
            mean = row.get({"": "effect", "against_": "against", "beside_": "beside"}[column], np.nan)
            found[name] = _signed(mean, row.get(f"{column}low", np.nan), row.get(f"{column}high", np.nan))
        rows.append(found)
    order = {name: i for i, name in enumerate(TABLE)}
    table = pd.DataFrame(rows)
    scenarios = {s.name: i for i, s in enumerate(lab.scenarios)}
    table["_"] = [
        scenarios[s] * 100 + order[m] for s, m in zip(table["scenario"], table["measure"], strict=True)
    ]
    return table.sort_values("_", kind="stable").drop(columns="_").reset_index(drop=True)


def role_table(lab: Laboratory) -> pd.DataFrame:
    """A row per scenario, actor and who, with the event: shares of depth, whom they traded against, profit."""
    own: Any = lab.effects[(lab.effects["who"] != MARKET) & lab.effects["measure"].isin(ROLES)]
    table = own.pivot_table(index=["scenario", "actor", "who"], columns="measure", values="event", sort=False)
    table = table.reindex(columns=[m for m in ROLES if m in table.columns])
    table = table.reset_index()
    return table[(table["who"] == NOISE) | (table["actor"] != ALONE)].reset_index(drop=True)


def _signed(mean: float, low: float, high: float) -> str:
    return "" if not np.isfinite(mean) else f"{number(mean)} ({number(low)} to {number(high)})"


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(str(c).replace('_', ' '))}</th>" for c in table.columns)
    lines = []
    for row in table.itertuples(index=False):
        cells = (number(v) if isinstance(v, float) else escape(str(v)) for v in row)
        lines.append("<tr>" + "".join(f"<td class=name>{c}</td>" for c in cells) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _definitions() -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(f'{m.meaning} ({m.unit})')}</dd>"
        for name, m in STRESS_MEASURES.items()
    )
    late = "late: share of episodes that do not recover within the time looked at"
    return f"<dl class=definitions>{rows}<dt>{escape(', '.join(LATE[:1]))}, ...</dt><dd>{late}</dd></dl>"


def _facts(lab: Laboratory, answer: Sequence[str], command: str) -> dict[str, Any]:
    table = lab.effects.astype(object).where(lab.effects.notna(), None)
    return {
        "answers": list(answer), "command": command, "seed": lab.seed, "episodes": lab.episodes, "role": lab.role,
        "actors": lab.names, "scenarios": [s.name for s in lab.scenarios], "effects": table.to_dict("records"),
    }  # fmt: skip
