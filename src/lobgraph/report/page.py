"""The text of a report's page: what was compared, means, figures, differences, definitions.

In: a `Report` and the PNG files of its figures. Out: one HTML text that refers to nothing outside itself. Everything
given is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import Config
from .comparison import caption
from .labels import label, ordered
from .page_style import STYLE
from .tables import difference_table, mean_table

MEANS = """<p>Mean over episodes, in brackets the 95 % interval of that mean (agents and books of an episode are averaged
first; episodes that replay the same stretch of a record count as one). Bold: the best of the row, where its difference from the baseline has a paired interval without zero and an
adjusted p below .05; for the baseline itself, where every other’s does. Measures that are neither good nor bad in themselves are never bold.</p>"""
DIFFERENCES = """<p>Paired: from the differences episode by episode, under the same noise. Unpaired: what the same episodes say
when the pairing is ignored; “narrower” is how many times shorter the paired interval is. Correlation: of the two actors’
episodes; where it is near zero, pairing gains little. p adjusted: by Holm over the rivals of the baseline in this measure
and regime, not over measures or regimes. Effect: mean difference in standard deviations. Bold: the paired interval excludes zero. All of it is in differences.csv beside this page.</p>"""


@dataclass
class Report:
    """What a page says; the tables and texts are those of `html.write_report`."""

    title: str
    names: Sequence[str]
    role: str
    measures: pd.DataFrame
    intervals: pd.DataFrame  # actor, regime, role, measure, mean, low, high
    differences: pd.DataFrame | None = None
    cfg: Config | None = None
    notes: Sequence[str] = ()
    command: str = ""
    seed: int | None = None
    definitions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A figure on the page."""

    name: str
    path: Path  # of its PNG
    width: int  # on the page, in pixels
    height: int


def page(report: Report, images: Sequence[Image]) -> str:
    """The whole HTML text."""
    sections = {
        "Means": _means(report),
        "Figures": _figures(images),
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
    return html(report.title, parts)


def html(title: str, parts: Iterable[str]) -> str:
    """A page of these parts, which are HTML; the title is escaped."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, parts))
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


def _means(report: Report) -> str:
    """The tables of means: the compared role first, then the market, then the other roles."""
    table: Any = report.intervals
    text = ""
    for role in _order(table["role"], report.role):
        for regime in dict.fromkeys(table["regime"]):
            own, against = _of(table, role, regime), _of(report.differences, role, regime)
            if len(own) and not _idle(report, role):
                text += f"<h3>{_who(role, report.role)}, {escape(str(regime))}</h3>"
                text += mean_table(report.names, own, against)
    for role in _order(table["role"], report.role):
        text += f"<p>{_who(role, report.role)} never trades.</p>" if _idle(report, role) else ""
    return MEANS + text if text else ""


def _idle(report: Report, role: str) -> bool:
    """Whether a role beside the compared one never trades, whoever is compared: its tables would be zeros."""
    table: Any = report.intervals
    lots = table[(table["role"] == role) & (table["measure"] == "turnover")]["mean"]
    return role not in (report.role, "market") and len(lots) > 0 and not lots.any()


def _of(table: Any, role: str, regime: str) -> Any:
    """The rows of one role and regime; None of no table."""
    return None if table is None else table[(table["role"] == role) & (table["regime"] == regime)]


def _order(roles: Iterable[str], first: str) -> list[str]:
    """The compared role, the market, the others."""
    return sorted(set(roles), key=lambda r: (r != first, r != "market", r))


def _who(role: str, compared: str) -> str:
    return escape(f"The {role}" if role in (compared, "market") else f"The {role} beside it")


def _differences(report: Report) -> str:
    table: Any = report.differences
    if table is None:
        return ""
    text = ""
    for role in _order(table["role"], report.role):
        for regime in dict.fromkeys(table["regime"]):
            own = _of(table, role, regime)
            if own["mean"].notna().any() and not _idle(report, role):
                text += f"<h3>{_who(role, report.role)}, {escape(str(regime))}</h3>"
                text += difference_table(report.names, own)
    return DIFFERENCES + text if text else ""


def _figures(images: Sequence[Image]) -> str:
    """Figures of one kind, as of several regimes, have their caption once."""
    said, text = set(), ""
    for image in images:
        words = caption(image.name)
        text += figure_of(image, "As above." if words in said else words)
        said.add(words)
    return text


def figure_of(image: Image, words: str) -> str:
    """A figure on the page, with the words under it."""
    data = base64.b64encode(image.path.read_bytes()).decode()
    alt = escape(image.name.replace("_", " ").replace("-", ", "), quote=True)
    return (
        f'<figure><img alt="{alt}" width="{image.width}" height="{image.height}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def _definitions(report: Report) -> str:
    """What each measure that the report shows is, as far as it was given."""
    shown = set(report.intervals["measure"])
    if report.differences is not None:
        shown |= set(report.differences["measure"])
    known = [m for m in ordered(report.definitions) if m in shown]
    rows = "".join(
        f"<dt>{escape(label(m).words)} ({escape(m)})</dt><dd>{escape(_text(report.definitions[m]))}</dd>"
        for m in known
    )
    return f"<dl class=definitions>{rows}</dl>" if rows else ""


def _text(definition: Any) -> str:
    """A definition that is text, or has a `meaning` and a `unit`."""
    if isinstance(definition, str):
        return definition
    return f"{definition.meaning} ({definition.unit})"
