"""A comparison as one HTML file that needs nothing else, with its figures as PNG and its tables as CSV beside it.

In: the tables and episodes of a comparison. Out: report.html, figures/*.png, measures.csv, market.csv, differences.csv.
Every text that is given is escaped; there is no script and no link to anywhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
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
from .panels import Played
from .style import save
from .tables import difference_table, mean_table, measures_of

STYLE = """
body { font: 15px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
       padding: 1.5rem; max-width: 1120px; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { max-width: 52rem; margin: .4rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: .6rem 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .5rem .7rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { padding: .16rem .6rem; text-align: right; vertical-align: top; }
th { font-weight: 600; } tr > th:first-child, td.unit, th.unit, td.name { text-align: left; }
tr:first-child th { border-bottom: 1px solid #888; vertical-align: bottom; }
tr + tr > th:first-child { font-weight: 400; } tr.group > th:first-child { font-weight: 600; padding-top: .6rem; }
tr.group th, table.differences tr.first > * { border-top: 1px solid #ddd; }
td.unit, th.unit, small { color: #666; } small { display: block; font-size: .76rem; font-weight: 400; white-space: nowrap; }
table.differences td { white-space: nowrap; } table.differences td.name { white-space: normal; }
figure { margin: 1.2rem 0 1.8rem; break-inside: avoid; } img { max-width: 100%; height: auto; display: block; }
figcaption { color: #444; font-size: .86rem; max-width: 60rem; margin-top: .3rem; }
summary { cursor: pointer; color: #0072B2; margin: .3rem 0; }
.definitions { grid-template-columns: minmax(8rem, 15rem) 1fr; font-size: .86rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""


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
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        _about(report),
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        _means(report),
        _differences(report),
        "<h2>Figures</h2>" if images else "",
        *(_figure(name, path, sizes[name]) for name, path in images.items()),
        _definitions(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )  # fmt: skip


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
    """The tables of means: the compared role first, then the other roles, then the market."""
    table, text = report.measures, ""
    if len(table):
        roles = sorted(set(table["role"]), key=lambda r: (r != report.role, r))
        for role in roles:
            own = table[table["role"] == role]
            if measures_of(own):
                more = "" if role == report.role else " beside it"
                text += _by_regime(report, own, f"The {role}{more}: means", role)
    if report.market is not None and len(report.market) and measures_of(report.market):
        text += _by_regime(report, report.market, "The market: means", "market")
    said = (
        "<p>Mean over episodes, in brackets the 95 % t interval of that mean (agents and books of an episode are averaged "
        "first). Bold: the best of the row, where the paired interval of its difference from the baseline excludes zero; "
        "for the baseline itself, where every other's does.</p>"
    )
    return text.replace("</h2>", f"</h2>{said}", 1)


def _by_regime(report: Report, table: pd.DataFrame, heading: str, role: str) -> str:
    regimes = list(dict.fromkeys(table["regime"]))
    text = f"<h2>{escape(heading)}</h2>"
    for regime in regimes:
        text += f"<h3>Regime: {escape(str(regime))}</h3>" if len(regimes) > 1 else ""
        text += mean_table(report.names, table[table["regime"] == regime], report.differences, role)
    return text


def _differences(report: Report) -> str:
    table = report.differences
    if table is None or not len(table):
        return ""
    text = (
        f"<h2>Differences from the baseline, {escape(report.names[0])}</h2>"
        "<p>Paired: from the differences episode by episode, under the same noise. Unpaired: what the same episodes say "
        "when the pairing is ignored; “narrower” is how many times shorter the paired interval is. Correlation: of the two "
        "actors’ episodes; where it is near zero, pairing gains nothing. p adjusted: for the number of comparisons. Effect: "
        "mean difference in standard deviations. Bold: the paired interval excludes zero.</p>"
    )
    roles = sorted(set(table["role"]), key=lambda r: (r != report.role, r == "market", r))
    for role in roles:
        for regime in dict.fromkeys(table["regime"]):
            own = table[(table["role"] == role) & (table["regime"] == regime)]
            if len(own):
                who = "The market" if role == "market" else f"The {role}"
                text += f"<h3>{escape(who)}, {escape(str(regime))}</h3>" + difference_table(
                    report.names, own, role
                )
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
    return f"<h2>What the measures are</h2><dl class=definitions>{rows}</dl>"


def _text(definition: Any) -> str:
    return definition if isinstance(definition, str) else "; ".join(map(str, definition))
