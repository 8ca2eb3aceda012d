"""The market: books, flow, replay, accounts. numba and numpy only.

Compiled kernels are cached per hash of their sources: numba's own cache does not see edits in other modules.
"""

import hashlib
import os
from pathlib import Path

import numba
from numba.core import config as numba_config


def _cache_directory() -> Path:
    package = Path(__file__).resolve().parent.parent
    sources = sorted([*(package / "market").glob("*.py"), *(package / "env").glob("*.py")])
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "lobgraph" / f"numba-{numba.__version__}-{digest}"


def is_compiled() -> bool:
    """Whether the kernels of this version have been compiled on this machine before."""
    return any(Path(numba_config.CACHE_DIR).rglob("drive.step_range-*.nbc"))  # type: ignore[attr-defined]


if not os.environ.get("NUMBA_CACHE_DIR"):
    setattr(numba_config, "CACHE_DIR", str(_cache_directory()))  # noqa: B010 (defined at run time)
