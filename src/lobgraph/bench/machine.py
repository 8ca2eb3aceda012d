"""What a speed depends on: processor, cores, load, versions."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """Load average of the last minute; it holds this process too."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """Processor, cores, versions, date, and `load_before`; `run_bench` adds `load_after` and `seconds`."""
    from .. import __version__

    return {
        "processor": _processor(),
        "cores": cores(),
        "load_before": load(),
        "system": f"{platform.system()} {platform.release()}",
        "lobgraph": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
