"""Run the plan, print its progress and its table, save it as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..config import ConfigError
from ..env.placement import device_of
from ..files import new_file, write_atomic
from .derive import add_overhead, linearity, one_environment
from .gpu import card, compile_seconds, gpu_plan
from .gpu import tune as compare_ways
from .machine import cores, load, machine
from .plan import NAMES, START, Case, chosen, plan
from .start import process_start
from .table import agents_of, one_line, print_report
from .timing import Effort
from .world import Setting

FULL, QUICK = Effort(), Effort(seconds=0.05, repeats=3)


def run_bench(
    quick: bool = False,
    json_path: str | Path | None = None,
    only: Sequence[str] = (),
    cases: Sequence[tuple[Case, Setting]] | None = None,
    effort: Effort | None = None,
    device: str = "cpu",
    tune: bool = False,
) -> dict[str, Any]:
    """Measure, print, save; returns the report that is saved.

    quick: fewer cases and shorter windows. json_path: where to save; its folder is made. only: names of NAMES or START.
    cases: another plan than `plan.plan`. effort: another length and number of windows.
    device: "cuda" or "cuda:1" measures there (gpu.py); the report then also holds card and compile_seconds. tune: compares
    ways of running there, in the place of the cases that `only` does not name.
    The report holds machine, cases (a dict each, see `world.case`), state_bytes_per_book, linearity, one_environment
    (None where not measured) and process_start. Raises ConfigError for an unknown name, OSError where it cannot save.
    """
    if unknown := sorted(set(only) - {*NAMES, START}):
        raise ConfigError(f"--only: unknown case {unknown[0]!r}; cases are {', '.join((*NAMES, START))}")
    on_gpu, planned = device_of(device).type == "cuda", cases is not None
    if tune and not on_gpu:
        raise ConfigError("--tune: compares ways of running on a GPU; it needs --device cuda")
    path = None if json_path is None else _place(Path(json_path))
    console, begun = Console(), time.perf_counter()
    report: dict[str, Any] = {"machine": machine(), "cases": []}
    about = report["machine"]
    console.print(
        f"{about['processor']}, {about['cores']} cores, load {about['load_before']:.1f}; "
        "the first run of a new version compiles its kernels (about a minute)",
        highlight=False,
        soft_wrap=True,
    )
    effort = effort or (QUICK if quick else FULL)
    if on_gpu:
        report |= _on_gpu(device, console)
    if cases is None:
        cases = gpu_plan(device, quick) if on_gpu else plan(cores(), quick)
    for function, setting in [] if tune and not only else chosen(cases, tuple(only)):
        report["cases"].append(function(setting, effort))
        console.print(one_line(report["cases"][-1]), highlight=False, soft_wrap=True)
    report["process_start"] = {}
    if tune:
        report["tune"] = compare_ways(device, effort, quick, console)
    if START in only or not (only or planned or on_gpu):
        console.print(
            "  process start: new processes; with an empty kernel cache a minute or two", highlight=False
        )
        report["process_start"] = process_start(repeats=1 if quick else 3, cold=not quick)
    _complete(report)
    about["load_after"], about["seconds"] = load(), round(time.perf_counter() - begun, 1)
    print_report(console, report)
    if path is not None:
        write_atomic(path, (json.dumps(report, indent=1) + "\n").encode())
        console.print(f"saved {path}", highlight=False, soft_wrap=True)
    return report


def _on_gpu(device: str, console: Console) -> dict[str, Any]:
    found = {"card": card(device), "compile_seconds": compile_seconds(device)}
    about = f"{found['card']['name']}; first start and steps, with kernels compiled or loaded: "
    console.print(f"{about}{found['compile_seconds']:.1f} s", highlight=False, soft_wrap=True)
    return found


def _complete(report: dict[str, Any]) -> None:
    """Add what follows from several cases together."""
    cases = report["cases"]
    add_overhead(cases)
    report["linearity"] = linearity(cases)
    report["one_environment"] = one_environment(cases)
    report["state_bytes_per_book"] = {
        f"{c['books']} books, {agents_of(c)}": c["state_bytes_per_book"] for c in cases if "source" not in c
    }


def _place(path: Path) -> Path:
    """Where a new file can be written, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return new_file(path)
