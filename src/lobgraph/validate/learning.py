"""Does PPO find the known optima? In: names of markets and settings. Out: a table, a figure and policies for each market.

Trainings run side by side, one process and one thread each. <directory>/<time>-learning-s<seed>/ holds params.yaml,
table.csv, machine.json, policies/<market>-s<seed>.safetensors and figures/<market>.png.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from ..config import ConfigError
from ..files import write_table
from ..known.almgren_chriss import AlmgrenChrissMarket
from ..rl.processes import follow
from ..rl.run import numbered_directory
from . import figures, learning_figures
from .known_making import GLFT
from .learners import LEARNERS, Learned, share_of, train_one, trainer_for, training_params
from .run import silent, write_params
from .settings import TRAINING, Settings, make_settings
from .table import Row, make_table

CJ = "Cartea, Jaimungal, Penalva 2015"
SOURCE = {
    "avellaneda_stoikov": GLFT,
    "cj_making": CJ,
    "cj_execution": CJ,
    "almgren_chriss": "Almgren, Chriss 2000",
    "pair": "backward induction",
}
ABOVE = 0.005  # of the value, by which a policy may exceed the best one before its error speaks


def learn(
    markets: Iterable[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    *,
    seeds: int = 3,
    seed: int = 0,
    workers: int | None = None,
    directory: str | Path | None = None,
    note: Callable[[str], None] = silent,
) -> pd.DataFrame:
    """Train PPO on markets whose best policy is known, and compare.

    Args:
        markets: names among LEARNERS; default all.
        settings: {market: {parameter: value}}; what is not given is as published.
        overrides: the same as "market.parameter=value"; and settings of all trainings, such as "ppo.lr=1e-3".
        seeds: trainings of each market, with the seeds `seed`, `seed` + 1, ...
        workers: trainings side by side; None: one for each core.
        directory: a new directory with the files is made in it, its path stands in `table.attrs["directory"]`; None:
            nothing is written.
        note: called with a line of progress now and then, from another thread.

    Returns a DataFrame with the columns of table.COLUMNS; `table.attrs["learned"]` has what was learned, by market.
    Raises ConfigError for unknown markets or settings that cannot be run.
    """
    chosen = choose(markets)
    own, common = split(overrides)
    resolved = make_settings(settings, own, False, chosen)
    for name in chosen:
        trainer_for(name, getattr(resolved, name), seed, tuple(common))  # whatever cannot start raises here
    if seeds < 1 or (workers is not None and workers < 1):
        raise ConfigError(f"seeds and workers: must be at least 1, got {seeds} and {workers}")
    path = None if directory is None else numbered_directory(directory, f"learning-s{seed}")
    if path is not None:
        (path / "policies").mkdir()
        tree = resolved.model_dump(mode="json", include=set(chosen))
        write_params(
            path, {"markets": chosen, "seeds": seeds, "seed": seed, "training": common, "settings": tree}
        )
    jobs = [(name, seed + i) for i in range(seeds) for name in chosen]
    found: dict[tuple[str, int], Learned] = {}
    try:
        _train(jobs, resolved, tuple(common), path, workers or os.cpu_count() or 1, note, found)
    except BaseException:  # what is done is kept if the rest fails or is interrupted
        if found:
            _write(found, resolved, path)
        raise
    return _write(found, resolved, path)


def _write(found: Mapping[tuple[str, int], Learned], resolved: Settings, path: Path | None) -> pd.DataFrame:
    """The table of the trainings that are done; with `path` it, and a figure for each market, are written there."""
    learned = {name: [found[key] for key in sorted(found) if key[0] == name] for name in LEARNERS}
    learned = {name: runs for name, runs in learned.items() if runs}
    table = make_table([row for name in learned for row in rows_of(learned[name], getattr(resolved, name))])
    table.attrs["learned"] = learned
    if path is not None:
        table.attrs["directory"] = str(path)
        write_table(path / "table.csv", table)
        for name in learned:
            fig = learning_figures.draw(learned[name], getattr(resolved, name))
            figures.save(fig, path / "figures" / f"{name}.png")
    return table


def choose(markets: Iterable[str] | None) -> list[str]:
    """The markets asked for, in the order of LEARNERS; None or none: all. Raises ConfigError for an unknown name."""
    asked = list(markets or LEARNERS)
    for name in asked:
        if name not in LEARNERS:
            known = (
                "a model of the engine, nothing to learn"
                if name in Settings.model_fields
                else "no such market"
            )
            raise ConfigError(f"market {name!r}: {known}; markets to learn are {', '.join(LEARNERS)}")
    return [name for name in LEARNERS if name in asked]


def split(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Overrides of the markets' parameters, and those of the trainings' configuration."""
    given = list(overrides)
    common = [text for text in given if text.partition(".")[0].strip() in TRAINING]
    return [text for text in given if text not in common], common


def _train(
    jobs: list[tuple[str, int]],
    resolved: Settings,
    common: tuple[str, ...],
    path: Path | None,
    workers: int,
    note: Callable[[str], None],
    done: dict[tuple[str, int], Learned],
) -> None:
    """All jobs, in processes of their own; a failure ends the others. `done` is filled as they end."""
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would have numba's and torch's threads, but not run them
    lines = context.Queue()
    reader = threading.Thread(target=lambda: [note(line) for line in iter(lines.get, None)], daemon=True)
    reader.start()
    start = time.perf_counter()
    try:
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (lines, os.getpid())) as pool:
            futures = {}
            for name, seed in jobs:
                save_to = None if path is None else path / "policies" / f"{name}-s{seed}.safetensors"
                section = getattr(resolved, name)
                futures[pool.submit(_job, name, section, seed, common, save_to)] = name, seed
            try:
                for future in as_completed(futures):
                    done[futures[future]] = found = future.result()
                    note(
                        f"{found.market}, seed {found.seed}: {share_of(found.value, found.best):.4f} of the best; "
                        f"{len(done)} of {len(jobs)} done after {time.perf_counter() - start:.0f} s"
                    )
            except BaseException:
                running = list(pool._processes.values())  # the pool forgets them at shutdown
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in running:  # nobody waits for what they would still find
                    worker.terminate()
                for worker in running:
                    worker.join()
                raise
    finally:
        lines.put(None)
        reader.join()


_LINES: Any = None  # of this worker process: where its notes go


def _begin(lines: Any, parent: int) -> None:
    """Of a worker: Ctrl-C is its parent's to answer, and it ends when its parent has."""
    global _LINES
    _LINES = lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow(parent)


def _job(name: str, section: Any, seed: int, common: tuple[str, ...], save_to: Path | None) -> Learned:
    return train_one(name, section, seed, section.episodes, common, save_to, _LINES.put)


# --- the table ---


def rows_of(learned: list[Learned], section: Any) -> list[Row]:
    """For each seed: the share of the best policy's objective, and that it is not beyond it."""
    rows = []
    for one in learned:
        how = LEARNERS[one.market]
        share, error = share_of(one.value, one.best), one.error / abs(one.best)
        given = f"seed {one.seed}, {one.env_steps:,} steps in {one.seconds:.0f} s, {_given(section)}"

        def row(
            name: str,
            measured: float,
            error: float,
            expected: float,
            tolerance: float,
            source: str = SOURCE[one.market],
            market: str = one.market,
            given: str = given,
        ) -> Row:
            return Row(market, name, given, measured, error, expected, source, tolerance)  # fmt: skip

        rows.append(row("objective, share of the best", share, error, 1.0, 1.0 - how.least))
        above = max(0.0, share_of(one.value, one.in_steps) - 1.0)
        rows.append(row("objective beyond the best of its steps", above, error, 0.0, ABOVE))
        if one.market == "almgren_chriss":
            mean, spread, variance = one.cost
            best = frontier_cost(AlmgrenChrissMarket(training_params(one.market, section)), variance)
            rows.append(
                row(
                    "expected cost over the frontier's at its variance",
                    mean / best,
                    spread / best,
                    1.0,
                    1.0 - how.least,
                )
            )
    return rows


def _given(section: Any) -> str:
    """The parameters that differ from the published ones."""
    default = type(section)()
    changed = [
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in section if v != getattr(default, k)
    ]
    return ", ".join(changed) or "as published"


def frontier_cost(market: AlmgrenChrissMarket, variance: float) -> float:
    """Least mean cost of a schedule with this variance, $: on the frontier, or the even schedule's beyond it."""
    low, high = 1e-12 / market.params.X, 1e6 / market.params.X

    def of(risk: float) -> np.ndarray:
        return np.array(market.cost(market.holdings(risk)))

    if of(0.0)[1] <= variance:
        return float(of(0.0)[0])
    for _ in range(200):  # variance falls with risk aversion
        middle = np.sqrt(low * high)
        low, high = (middle, high) if of(middle)[1] > variance else (low, middle)
    return float(of(np.sqrt(low * high))[0])


def summary(learned: Mapping[str, list[Learned]]) -> pd.DataFrame:
    """A line for each market: share of the best over seeds with its 95 % interval (Student), the worst, what is asked."""
    rows = []
    for name, runs in learned.items():
        shares = np.array([share_of(one.value, one.best) for one in runs])
        half = np.nan
        if len(shares) > 1:
            half = student.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / np.sqrt(len(shares))
        rows.append({
            "market": name, "seeds": len(runs), "share of the best": shares.mean(), "low": shares.mean() - half,
            "high": shares.mean() + half, "worst seed": shares.min(), "asked": LEARNERS[name].least,
            "seconds a training": float(np.mean([one.seconds for one in runs])),
        })  # fmt: skip
    return pd.DataFrame(rows)
