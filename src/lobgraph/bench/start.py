"""Time from the start of a new process to the end of its first env step, with kernels to compile and with cached ones."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from numba.core import config as numba_config

from ..market import is_compiled

CHILD = """
import json, sys, time
begun = time.time()
import numpy as np
from lobgraph import MarketEnv, load_config
imported = time.time()
env = MarketEnv(load_config(None, ["env.num_envs=1", "agents.taker.count=1"]))
env.reset()
env.step({r: np.ones((1, s.count, s.items, len(s.low)), np.float32) for r, s in env.specs.items()})
print(json.dumps([begun, imported, time.time()]))
"""


def process_start(repeats: int = 3, cold: bool = True) -> dict[str, dict[str, float]]:
    """`cold`: an empty kernel cache; `cached`: the same cache afterwards, median of `repeats` processes.

    Without `cold` only the latter, on the user's own cache. Each: seconds in all, interpreter_seconds, import_seconds,
    first_call_seconds (environment made, reset, one step) and compiled, the kernels written to the cache. Raises
    RuntimeError if the cold one wrote none or a cached one any.
    """
    if not cold:
        own = Path(numba_config.CACHE_DIR)  # type: ignore[attr-defined]
        if not is_compiled():
            _start(own)
        return {"cached": _median([_start(own) for _ in range(repeats)])}
    with tempfile.TemporaryDirectory() as directory:
        first = _start(Path(directory))
        runs = [_start(Path(directory)) for _ in range(repeats)]
    if not first["compiled"]:
        raise RuntimeError("process start: an empty kernel cache stayed empty, so that nothing was compiled")
    return {"cold": first, "cached": _median(runs)}


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    if any(run["compiled"] for run in runs):
        raise RuntimeError("process start: kernels were compiled although the cache held them")
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _start(cache: Path) -> dict[str, float]:
    """Time one process that keeps its kernels in `cache`."""
    before = len(list(cache.rglob("*.nbc")))
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH")) if p)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path}
    start = time.time()  # the clock that both processes share
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, stdout=subprocess.PIPE, check=True)
    begun, imported, end = json.loads(done.stdout.splitlines()[-1])
    return {
        "seconds": end - start,
        "interpreter_seconds": begun - start,
        "import_seconds": imported - begun,
        "first_call_seconds": end - imported,
        "compiled": len(list(cache.rglob("*.nbc"))) - before,
    }
