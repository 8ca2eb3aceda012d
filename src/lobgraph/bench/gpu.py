"""The cases on a GPU: which sizes, and which way of running them (block, layout, registers) is the fastest.

Times are on the wall with the device waited for at both ends; compilation is timed apart, first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ..env.placement import LAYOUTS, GpuOptions, device_of
from .market import flow_events
from .steps import env_steps, train_steps
from .tape import tape_messages
from .timing import Effort
from .world import Setting, make_env, random_actions, synchronise

ENVS = (1024, 4096, 16384, 65536, 262144)
TUNED = 65536  # environments of --tune
TRAIN = Setting(makers=2, takers=0, arbitrageurs=1, books=4)


def gpu_plan(device: str, quick: bool) -> list[tuple[Any, Setting]]:
    """Cases in the order in which they run; the CPU's baseline with more environments."""
    base = Setting(device=device)
    if quick:
        return [
            (flow_events, replace(base, envs=16384, events=400.0)),
            (tape_messages, replace(base, makers=1, takers=0, envs=16384, events=100.0)),
            *((env_steps, replace(base, envs=n)) for n in (4096, 65536)),
        ]
    return [
        *((flow_events, replace(base, envs=n, events=400.0)) for n in ENVS),
        *((tape_messages, replace(base, makers=1, takers=0, envs=n, events=100.0)) for n in (4096, 65536)),
        *((env_steps, replace(base, envs=n)) for n in ENVS),
        *((env_steps, replace(base, envs=65536, events=float(n))) for n in (1, 10, 400)),
        *((env_steps, replace(base, envs=16384, makers=n, takers=n)) for n in (5, 10)),
        *((env_steps, replace(base, envs=16384, books=n)) for n in (4, 16)),
        *((train_steps, replace(TRAIN, envs=n, device=device)) for n in (4096, 16384)),
    ]


def ways(quick: bool) -> Iterator[GpuOptions]:
    """Options to compare: each alone against the default, not all their products. `quick`: those that compile nothing new
    but for the layouts."""
    base = GpuOptions()
    yield base
    yield from (base._replace(layout=layout) for layout in LAYOUTS if layout != base.layout)
    yield from (base._replace(block=block) for block in (32, 64, 256, 512) if block != base.block)
    yield base._replace(sort=True)
    yield base._replace(graph=False)
    if not quick:
        yield base._replace(fused=True)
        yield from (base._replace(max_registers=n) for n in (64, 96, 128))


def compile_seconds(device: str) -> float:
    """Seconds until the first start and steps of the default environments are done: kernels compiled or loaded, graph made."""
    begun = perf_counter()
    env = make_env(Setting(envs=1024, device=device))
    actions = random_actions(env)
    env.reset()
    for i in range(3):
        env.step(actions[i])
    synchronise(env)
    return perf_counter() - begun


def tune(device: str, effort: Effort, quick: bool, console: Console) -> list[dict[str, Any]]:
    """env_steps in every way of `ways`, printed best first. Several compilations: minutes, unless quick."""
    cases = []
    for options in ways(quick):
        begun = perf_counter()
        case = env_steps(Setting(envs=TUNED, device=device, gpu=options), effort)
        cases.append(case | {"gpu": options._asdict(), "case_seconds": perf_counter() - begun})
        console.print(f"  {_differences(options)}: {case['median']:,.0f} {case['unit']}", highlight=False)
    cases.sort(key=lambda c: -c["median"])
    table = Table(title=f"env steps/s at {TUNED:,} environments", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("options", "env steps/s", "GB/s", "seconds with compilation"):
        table.add_column(name, justify="left" if name == "options" else "right")
    for case in cases:
        shown = (f"{case[key]:,.0f}" for key in ("median", "gigabytes_per_second", "case_seconds"))
        table.add_row(_differences(GpuOptions(**case["gpu"])), *shown)
    console.print(table)
    return cases


def _differences(options: GpuOptions) -> str:
    """What options differ in from the defaults."""
    standard = GpuOptions()
    changed = (f"{k}={v}" for k, v in options._asdict().items() if v != getattr(standard, k))
    return ", ".join(changed) or f"default ({standard.layout}, block {standard.block})"


def card(device: str) -> dict[str, Any]:
    """What the figures were taken on."""
    where = device_of(device)
    if where.type != "cuda":
        return {"name": "none: numba's CUDA simulator"}
    about = torch.cuda.get_device_properties(where)
    return {
        "name": about.name,
        "memory_gigabytes": round(about.total_memory / 1e9, 1),
        "multiprocessors": about.multi_processor_count,
        "l2_megabytes": round(about.L2_cache_size / 2**20),
        "cuda": torch.version.cuda,
    }
