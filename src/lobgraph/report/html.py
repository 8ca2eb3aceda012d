"""A comparison as one HTML file that needs nothing else, with its figures as PNG and its tables as CSV beside it.

In: the tables and episodes of a comparison. Out: report.html, figures/*.png, measures.csv, market.csv, differences.csv.
Every text that is given is escaped; there is no script and no link to anywhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..config import Config
from ..rl.checkpoint import write_atomic
from .comparison import caption, comparison_figures
from .labels import label, ordered
from .page_style import STYLE
from .panels import Played
from .style import save
from .tables import difference_table, mean_table, measures_of


@dataclass
class Report:
    """What a report says: see `write_report`. Figures are drawn when it is written."""

    title: str
    names: Sequence[str]
    role: str
    measures: pd.DataFrame
    market: pd.DataFrame | None = None
    differences: pd.DataFrame | None = None
    series: Played = field(default_factory=dict)
    cfg: Config | None = None
    notes: Sequence[str] = ()
    command: str = ""
    seed: int | None = None
    definitions: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)


def write_report(
    directory: str | Path,
    title: str,
    names: Sequence[str],
    role: str,
    measures: pd.DataFrame,
    market: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
    series: Played | None = None,
    cfg: Config | None = None,
    notes: str | Sequence[str] = (),
    command: str = "",
    *,
    seed: int | None = None,
    definitions: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Write the report of a comparison into `directory`, which is made; returns the path of report.html.

    Args:
        names: the actors; the first is the baseline.
        role: the role that they fill.
        measures: one row per episode, role and agent: episode, role, agent, actor, regime, and the measures.
        market: one row per episode and book: episode, book, actor, regime, and the measures.
        differences: actor, baseline, regime, role ("market" for the market's measures), measure, mean, low, high,
            unpaired_low, unpaired_high, correlation, p, p_adjusted, effect.
        series: (actor, regime) -> some of their episodes, for the figures.
        notes: paragraphs for the reader. command: what repeats the comparison. seed: the evaluation's.
        definitions: measure -> what it is. figures: more of them, such as policy_map's, named "policy-<actor>".

    Raises ValueError for tables without the columns above, before anything is written.
    """
    given = Report(title, list(names), role, measures, market, differences, series or {}, cfg,
                   [notes] if isinstance(notes, str) and notes else list(notes), command, seed, definitions or {},
                   figures or {})  # fmt: skip
    _check(given)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    drawn = comparison_figures(given.names, given.series, role, market, differences)
    images = {
        n: save(fig, directory / "figures" / f"{file_name(n)}.png")
        for n, fig in {**drawn, **given.figures}.items()
    }
    sizes = {
        n: tuple(round(100 * v) for v in fig.get_size_inches())
        for n, fig in {**drawn, **given.figures}.items()
    }
    for name, table in (("measures", measures), ("market", market), ("differences", differences)):
        if table is not None and len(table):
            write_atomic(directory / f"{name}.csv", table.to_csv(index=False).encode())
    path = directory / "report.html"
    write_atomic(path, page(given, images, sizes).encode())
    return path


def file_name(name: str) -> str:
    """A name as part of a file's: letters, digits, and `-`, `_`, `=` and `.` inside."""
    return re.sub(r"[^\w=.-]+", "-", name, flags=re.ASCII).strip("-.") or "figure"


def _check(report: Report) -> None:
    needed = {
        "measures": (report.measures, {"episode", "role", "actor", "regime"}),
        "market": (report.market, {"episode", "actor", "regime"}),
        "differences": (report.differences, {
            "actor", "baseline", "regime", "role", "measure", "mean", "low", "high", "unpaired_low", "unpaired_high",
            "correlation", "p", "p_adjusted", "effect",
        }),
    }  # fmt: skip
    for name, (table, columns) in needed.items():
        if table is None or not len(table):
            continue
        if missing := sorted(columns - set(table.columns)):
            raise ValueError(f"{name}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
        if unknown := sorted(set(table["actor"]) - set(report.names)):
            raise ValueError(f"{name}: {unknown[0]!r} is not among the names {list(report.names)}")
    if not report.names:
        raise ValueError("names: give at least one actor")


def page(report: Report, images: Mapping[str, Path], sizes: Mapping[str, tuple[int, ...]]) -> str:
    """The whole HTML text; images: PNG files by figure name, sizes: their width and height on the page in pixels."""
    sections = {
        "Means": _means(report),
        "Figures": "".join(_figure(name, path, sizes[name]) for name, path in images.items()),
        "Differences": _differences(report),
        "Definitions": _definitions(report),
    }
    sections = {name: text for name, text in sections.items() if text}
    links = " · ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        _about(report),
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        f"<p>{links}</p>" if links else "",
        *(
            f'<section id="{name.lower()}"><h2>{_heading(name, report)}</h2>{text}</section>'
            for name, text in sections.items()
        ),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )  # fmt: skip


def _heading(section: str, report: Report) -> str:
    base = f"Differences from the baseline, {escape(report.names[0])}"
    return {"Differences": base, "Definitions": "What the measures are"}.get(section, section)


def _about(report: Report) -> str:
    """What was compared, on what, when, and how to repeat it."""
    from .. import __version__

    regimes = list(dict.fromkeys(report.measures["regime"])) if len(report.measures) else []
    each = report.measures.groupby(["actor", "regime"])["episode"].nunique() if len(report.measures) else []
    counts = sorted(set(map(int, each)))
    facts = {
        f"compared ({report.role})": ", ".join(report.names[1:]) or report.names[0],
        "baseline": report.names[0],
        "market": _market(report.cfg) if report.cfg is not None else "",
        "regimes": ", ".join(map(str, regimes)),
        "episodes": " to ".join(map(str, counts[:: max(1, len(counts) - 1)]))
        + (" for each actor and regime" if counts else ""),
        "seed": "" if report.seed is None else str(report.seed),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, lobgraph {__version__}",
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v)
    again = f"<p>To repeat it:</p><pre>{escape(report.command)}</pre>" if report.command else ""
    return f"<dl>{rows}</dl>{again}"


def _market(cfg: Config) -> str:
    m, steps = cfg.market, cfg.env.episode_steps
    agents = ", ".join(f"{count} {role}{'s' if count > 1 else ''}" for role, count in cfg.counts.items())
    books = ", ".join(m.books[:8]) + (f" and {m.num_books - 8} more" if m.num_books > 8 else "")
    return f"{cfg.name}: {'book' if m.num_books == 1 else f'{m.num_books} books'} {books}; {agents}; episodes of {steps} steps of {m.dt:g} s"


MEANS = """<p>Mean over episodes, in brackets the 95 % t interval of that mean (agents and books of an episode are averaged
first). Bold: the best of the row, where the paired interval of its difference from the baseline excludes zero; for the
baseline itself, where every other’s does. Measures that are neither good nor bad in themselves are never bold.</p>"""
DIFFERENCES = """<p>Paired: from the differences episode by episode, under the same noise. Unpaired: what the same episodes say
when the pairing is ignored; “narrower” is how many times shorter the paired interval is. Correlation: of the two actors’
episodes; where it is near zero, pairing gains little. p adjusted: for the number of comparisons. Effect: mean difference
in standard deviations. Bold: the paired interval excludes zero.</p>"""


def _means(report: Report) -> str:
    """The tables of means: the compared role first, then the market, then the other roles."""
    tables: dict[str, Any] = {}
    for role, part in report.measures.groupby("role", sort=True) if len(report.measures) else ():
        tables[str(role)] = part
    if report.market is not None:
        tables["market"] = report.market
    tables = {role: table for role, table in tables.items() if len(table) and measures_of(table)}
    text = ""
    for role in _order(tables, report.role):
        for regime in dict.fromkeys(tables[role]["regime"]):
            own = tables[role][tables[role]["regime"] == regime]
            text += f"<h3>{_who(role, report.role)}, {escape(str(regime))}</h3>"
            text += mean_table(report.names, own, report.differences, role)
    return MEANS + text if text else ""


def _order(roles: Iterable[str], first: str) -> list[str]:
    """The compared role, the market, the others."""
    return sorted(set(roles), key=lambda r: (r != first, r != "market", r))


def _who(role: str, compared: str) -> str:
    return escape(f"The {role}" if role in (compared, "market") else f"The {role} beside it")


def _differences(report: Report) -> str:
    table: Any = report.differences
    if table is None or not len(table):
        return ""
    text = DIFFERENCES
    for role in _order(table["role"], report.role):
        for regime in dict.fromkeys(table["regime"]):
            own = table[(table["role"] == role) & (table["regime"] == regime)]
            if own["mean"].notna().any():
                text += f"<h3>{_who(role, report.role)}, {escape(str(regime))}</h3>"
                text += difference_table(report.names, own, role)
    return text


def _figure(name: str, path: Path, size: tuple[int, ...]) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    words = escape(caption(name))
    alt = escape(name.replace("_", " ").replace("-", ", "), quote=True)
    return (
        f'<figure><img alt="{alt}" width="{size[0]}" height="{size[1]}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _definitions(report: Report) -> str:
    """What each measure that the report shows is, as far as it was given."""
    shown = set(measures_of(report.measures)) if len(report.measures) else set()
    for table in (report.market, report.differences):
        if table is not None and len(table):
            shown |= set(table["measure"]) if "measure" in table else set(measures_of(table))
    known = [m for m in ordered(report.definitions) if m in shown]
    if not known:
        return ""
    rows = "".join(
        f"<dt>{escape(label(m).words)} ({escape(m)})</dt><dd>{escape(_text(report.definitions[m]))}</dd>"
        for m in known
    )
    return f"<dl class=definitions>{rows}</dl>"


def _text(definition: Any) -> str:
    return definition if isinstance(definition, str) else "; ".join(map(str, definition))
