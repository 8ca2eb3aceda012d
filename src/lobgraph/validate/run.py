"""Run the models, write what they found to a directory. In: names and settings. Out: the table, and its files.

<directory>/<time>-s<seed>/ holds params.yaml, table.csv, machine.json and figures/<model>.png.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..config import load_config
from ..files import write_atomic, write_table
from ..rl.run import machine_info, numbered_directory
from . import (
    cst,
    figures,
    glosten_milgrom,
    known_execution,
    known_figures,
    known_making,
    known_pair,
    kyle,
    large_tick,
    zero_intelligence,
)
from .settings import choose, make_settings
from .table import make_table


def silent(_: str) -> None:
    pass


def validate(
    models: Iterable[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    *,
    quick: bool = False,
    seed: int = 0,
    directory: str | Path | None = None,
    note: Callable[[str], None] = silent,
) -> pd.DataFrame:
    """Measure published models in the engine and compare.

    Args:
        models: names among settings.MODELS; default all.
        settings: {model: {parameter: value}}; what is not given is as published.
        overrides: the same as "model.parameter=value".
        quick: a sixth of the work; tolerances grow with the standard errors.
        seed: root of all draws.
        directory: a new directory <time>-s<seed> with the files is made in it, its path stands in
            `table.attrs["directory"]`; None: nothing is written.
        note: called with a line of progress now and then.

    Returns a DataFrame with the columns of table.COLUMNS, `ok` False where something is out of tolerance.
    Raises ConfigError for unknown models or parameters that cannot be run.
    """
    chosen = choose(models)
    resolved = make_settings(settings, overrides, quick, chosen)
    load_config(None, [f"run.seed={seed}"])  # an impossible seed is named before anything runs
    runs: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "zero_intelligence": (zero_intelligence.run, figures.zero_intelligence),
        "cst": (cst.run, figures.cst),
        "large_tick": (large_tick.run, figures.large_tick),
        "kyle": (kyle.run, figures.kyle),
        "glosten_milgrom": (glosten_milgrom.run, figures.glosten_milgrom),
        "avellaneda_stoikov": (known_making.avellaneda_stoikov, known_figures.avellaneda_stoikov),
        "cj_making": (known_making.cj_making, known_figures.cj_making),
        "cj_execution": (known_execution.cj_execution, known_figures.cj_execution),
        "almgren_chriss": (known_execution.almgren_chriss, known_figures.almgren_chriss),
        "pair": (known_pair.run, known_figures.pair),
    }
    path = None if directory is None else numbered_directory(directory, f"s{seed}")
    if (
        path is not None
    ):  # before the work: a place that cannot be written to is known now, and a stopped run says its aim
        tree = resolved.model_dump(mode="json", include=set(chosen))
        write_params(path, {"models": chosen, "quick": quick, "seed": seed, "settings": tree})
    outcomes = {}
    for name in chosen:
        start = time.perf_counter()
        outcomes[name] = runs[name][0](getattr(resolved, name), seed, note)
        note(f"{name}: {time.perf_counter() - start:.1f} s")
    table = make_table([row for outcome in outcomes.values() for row in outcome.rows])
    if path is not None:
        table.attrs["directory"] = str(path)
        write_table(path / "table.csv", table)
        for name, outcome in outcomes.items():
            figures.save(runs[name][1](outcome), path / "figures" / f"{name}.png")
    return table


def write_params(path: Path, params: dict[str, Any]) -> None:
    text = yaml.safe_dump(params, sort_keys=False, default_flow_style=None)
    write_atomic(path / "params.yaml", text.encode())
    about = machine_info(load_config(None, [f"run.seed={params['seed']}"]))
    write_atomic(path / "machine.json", json.dumps(about, indent=1).encode())
