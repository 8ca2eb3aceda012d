"""Which settings are measured: a baseline, and one sweep per axis through it.

Baseline: 1,024 environments, 1 book, a maker and a taker, about 100 events a step. Axes: environments, threads, books,
agents per role, events per step (also for one environment alone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from .adapters import adapters, installed
from .market import agent_messages, book_messages, featured_events, flow_events
from .steps import env_steps, train_steps
from .tape import file_messages, recorded_file, tape_messages
from .timing import Effort
from .world import Setting

Case = Callable[[Setting, Effort], dict[str, Any]]

ENVS = (1, 16, 256, 1024, 4096, 16384)
BOOKS = (4, 16)
AGENTS = (2, 5, 10)  # per role
EVENTS = (1, 3, 10, 30, 100, 400)  # per step
START = "process_start"
NAMES = (
    "flow_events",
    "featured_events",
    "tape_messages",
    "agent_messages",
    "env_steps",
    "adapters",
    "train_steps",
)
FLOW_BATCH = 8192  # events of a batch and step in flow_events, at least: the call from Python must not count

TRAIN = Setting(makers=2, takers=0, arbitrageurs=1, books=4)
ALONE = ("pettingzoo", "gymnasium")  # adapters of one environment
TRIO = Setting(envs=1, arbitrageurs=1, books=2, events=10.0)  # three agents in one environment


def plan(cores: int, quick: bool) -> list[tuple[Case, Setting]]:
    """Cases in the order in which they run. `quick`: the baseline, its neighbours and the ends of two sweeps."""
    makers = Setting(makers=10, takers=0)
    tape = Setting(envs=16, events=5000)
    base = Setting()
    if quick:
        one = replace(base, envs=1)
        return [
            *((flow_events, _flow(replace(base, threads=t))) for t in _threads(cores)),
            (flow_events, _flow(one)),
            (featured_events, _flow(base)),
            (tape_messages, tape),
            (agent_messages, makers),
            (book_messages, makers),
            *((env_steps, replace(base, threads=t)) for t in _threads(cores)),
            *((env_steps, replace(one, events=e)) for e in (1, 10, 100, 400)),
            (env_steps, replace(base, envs=256, books=4)),
            *_adapters((256,)),
            (train_steps, replace(TRAIN, envs=64, threads=cores)),
        ]
    return [
        *((flow_events, _flow(s)) for s in _batches(base, cores)),
        *((flow_events, replace(base, books=n, envs=base.envs // n, events=400.0)) for n in BOOKS),
        *((flow_events, replace(base, events=float(n))) for n in EVENTS if 1 < n < 400),
        *((featured_events, _flow(replace(base, envs=e))) for e in (1, 1024)),
        *((tape_messages, replace(tape, envs=e, events=n)) for e, n in ((1, 5000), (16, 5000), (1024, 100))),
        *((tape_messages, replace(tape, threads=t)) for t in _threads(cores)[1:]),
        *([(file_messages, Setting(envs=16))] if recorded_file() else []),
        *((agent_messages, s) for s in _batches(makers, cores)),
        *((agent_messages, replace(makers, makers=n)) for n in (1, *AGENTS[:-1])),
        (agent_messages, replace(makers, makers=5, takers=5)),
        *((agent_messages, replace(makers, books=n, envs=base.envs // n)) for n in BOOKS),
        *((book_messages, replace(makers, makers=n)) for n in (1, 10)),
        (book_messages, replace(makers, makers=5, takers=5)),
        *((env_steps, s) for s in _batches(base, cores)),
        *((env_steps, replace(base, books=n, envs=base.envs // n)) for n in BOOKS),
        *((env_steps, replace(base, makers=n, takers=n)) for n in AGENTS),
        (env_steps, replace(TRAIN, envs=256)),
        *((env_steps, replace(base, envs=e, events=float(n))) for e in (1, 1024) for n in EVENTS if n != 100),
        *_adapters((256, 1024, 4096)),
        *((train_steps, replace(TRAIN, envs=e, threads=cores)) for e in (64, 256, 1024)),
        *((train_steps, replace(TRAIN, envs=256, threads=t)) for t in _threads(cores)[:-1]),
    ]  # fmt: skip


def chosen(cases: Iterable[tuple[Case, Setting]], only: tuple[str, ...]) -> list[tuple[Case, Setting]]:
    """The cases whose name is in `only`, all if it is empty."""
    return [(f, s) for f, s in cases if not only or case_name(f) in only]


def case_name(function: Case) -> str:
    """The name its cases carry."""
    if isinstance(function, partial):
        function = function.func
    variants: dict[Case, str] = {file_messages: "tape_messages", book_messages: "agent_messages"}
    return variants.get(function, function.__name__)


def _adapters(sizes: Iterable[int]) -> Iterator[tuple[Case, Setting]]:
    """Each installed adapter: those of one environment with three agents, the others with batches."""
    for name in installed():
        case = partial(adapters, adapter=name)
        if name in ALONE:
            yield case, TRIO
        else:
            yield from ((case, replace(Setting(), envs=e)) for e in sizes)


def _threads(cores: int) -> list[int]:
    return sorted({1, cores})


def _batches(setting: Setting, cores: int) -> Iterator[Setting]:
    """Each size on one core, and on all where the batch is large enough to be cut."""
    for threads in _threads(cores):
        for envs in ENVS:
            if threads == 1 or envs >= 16:
                yield replace(setting, envs=envs, threads=threads)


def _flow(setting: Setting) -> Setting:
    return replace(setting, events=max(400.0, FLOW_BATCH / (setting.envs * setting.books)))
