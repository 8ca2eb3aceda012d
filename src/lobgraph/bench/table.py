"""Cases and what follows from them -> lines and a table in the terminal."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = (
    "case",
    "envs",
    "books",
    "agents",
    "events/step",
    "threads",
    "median",
    "min",
    "max",
    "unit",
    "notes",
)
LEFT = {"case", "agents", "unit", "notes"}
WIDTH = 180  # of a log or a pipe, which has none of its own


def agents_of(case: dict[str, Any]) -> str:
    """Such as `2 maker + 1 arbi`, `-` for none."""
    return " + ".join(f"{n} {role[:5]}" for role, n in case["agents_per_role"].items()) or "-"


def notes_of(case: dict[str, Any]) -> str:
    """What only this kind of case reports."""
    notes = []
    if case.get("overhead_ns") is not None:
        notes.append(f"{case['overhead_ns']:,.0f} ns beyond events")
    if "reset_ns_per_step" in case:
        notes.append(f"resets {case['reset_ns_per_step']:,.0f} ns")
    if "phase_shares" in case:
        notes.append(" ".join(f"{phase} {share:.0%}" for phase, share in case["phase_shares"].items()))
    if "source" in case:
        notes.append(f"{case['source'].split('_')[0]}, quotes rest {case['resting_share']:.0%}")
    if "adapter" in case:
        share = case["median"] / case["native"]
        notes.append(
            f"{case['adapter']}: {share:.0%} of native, {case['added_us']:+,.0f} µs a step of the batch"
        )
    if "carried_out_share" in case:
        notes.append(f"by {case['driver']}, {case['carried_out_share']:.2%} carried out")
    if "gigabytes_per_second" in case:
        notes.append(
            f"{case['messages_per_second']:,.0f} events/s, {case['gigabytes_per_second']:,.0f} GB/s at least, "
            f"{case['peak_bytes'] / 2**30:.1f} GiB"
        )
    elif case["busy_cores"] < 0.9 * case["threads"]:
        notes.append(f"had {case['busy_cores']:.1f} of {case['threads']} cores")
    return ", ".join(notes)


def one_line(case: dict[str, Any]) -> str:
    """Progress: a case that is done."""
    through = f" ({case['adapter']})" if "adapter" in case else ""
    return (
        f"  {case['name']}{through}: {case['environments']} envs x {case['books']} books, {agents_of(case)}, "
        f"{case['events_per_step']:.4g} events/step, {case['threads']} threads: "
        f"{case['median']:,.0f} {case['unit']}"
    )


def print_report(console: Console, report: dict[str, Any]) -> None:
    """The table, grouped by case, then what follows from several cases."""
    wide = console if console.is_terminal else Console(width=WIDTH)
    if report["cases"]:
        wide.print(_table(report["cases"]))
    for line in _conclusions(report):
        console.print(line, highlight=False, soft_wrap=True)


def _table(cases: list[dict[str, Any]]) -> Table:
    table = Table(title="lobgraph bench", title_justify="left", box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
    for _, group in groupby(cases, key=lambda c: c["name"]):
        for c in group:
            numbers = (f"{c[k]:,.0f}" for k in ("median", "min", "max"))
            counts = (str(c["environments"]), str(c["books"]), agents_of(c), f"{c['events_per_step']:,.4g}")
            table.add_row(c["name"], *counts, str(c["threads"]), *numbers, c["unit"], notes_of(c))
        table.add_section()
    return table


def _conclusions(report: dict[str, Any]) -> list[str]:
    lines = []
    for kind, run in report.get("process_start", {}).items():
        lines.append(
            f"process start to first env step, {kind} kernels: {run['seconds']:.1f} s "
            f"(import {run['import_seconds']:.1f} s, first call {run['first_call_seconds']:.1f} s)"
        )
    if alone := report.get("one_environment"):
        few = alone["few_events_us"]
        shown = "-" if few is None else f"{few:.1f}"
        lines.append(
            f"one environment alone, beyond its events: {shown} µs a step by few events, "
            f"{alone['intercept_us']:.1f} µs by the line over events (slope {alone['slope_ns_per_event']:.0f} ns/event)"
        )
    titles = {
        "environments": "env step over environments, against 1,024",
        "flow_environments": "flow event over environments, against 1,024",
        "events": "env step over events per step, against a line",
    }
    for key, title in titles.items():
        if found := report.get("linearity", {}).get(key):
            tail = found.get("worst_percent_from_256")
            more = "" if tail is None else f" ({tail:+.1f} % from 256 environments up)"
            lines.append(f"worst deviation from linear cost, {title}: {found['worst_percent']:+.1f} %{more}")
    if sizes := report.get("state_bytes_per_book"):
        lines.append("bytes of state per book: " + ", ".join(f"{v:,} ({k})" for k, v in sizes.items()))
    return lines
