"""The market: books, flow, replay, accounts. numba and numpy only.

Compiled kernels are cached per hash of their sources: numba's own cache does not see edits in other modules.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numba
from numba.core import config as numba_config

_announced = False
HOST_ONLY = (
    "episodes.py",
    "launch.py",
    "market_env.py",
    "placement.py",
    "saved.py",
)  # of env/: no kernel, nor what one depends on
KEPT_DAYS = 60  # kernels of a version that was not used for so long are removed


def _version() -> str:
    package = Path(__file__).resolve().parent.parent
    every = [*(package / "market").glob("*.py"), *(package / "env").glob("*.py")]
    sources = sorted(p for p in every if p.name not in HOST_ONLY)
    # the path too: numba keeps the kernels of each copy of the package apart
    content = b"".join([str(package).encode(), *(p.read_bytes() for p in sources)])
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"numba-{numba.__version__}-{digest}"


def _cache_directory() -> Path:
    """A folder of this version's own that can be written to: below NUMBA_CACHE_DIR, the user's caches, or the temporary.

    numba would otherwise fall back to folders beside the sources, where kernels of several versions mix.
    """
    temporary = Path(tempfile.gettempdir()) / f"lobgraph-{os.getuid() if hasattr(os, 'getuid') else 0}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lobgraph"
    for root in (Path(chosen) if chosen else caches, temporary):
        path = root / _version()
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if root == temporary and hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
                continue  # somebody else's: what it holds would be run
            path.mkdir(exist_ok=True)
            if os.access(path, os.W_OK | os.X_OK):
                os.utime(path)
                _prune(root)
                return path
    return Path(tempfile.mkdtemp(prefix="lobgraph-"))


def _prune(root: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for path in root.glob("numba-*-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def is_compiled(loop: str = "drive.step_range") -> bool:
    """Whether the kernels of this version have been compiled on this machine before, as part of a loop (module.function)."""
    return any(Path(numba_config.CACHE_DIR).rglob(f"{loop}-*.nbc"))  # type: ignore[attr-defined]


def announce_compiling(loop: str = "drive.step_range") -> None:
    """Say on stderr that what follows compiles the kernels, where it does: once in a process, before the first of them."""
    global _announced
    if not _announced and not is_compiled(loop):
        _announced = True
        line = "compiling the market's kernels: one to five minutes, once for each version"
        print(line, file=sys.stderr, flush=True)


setattr(numba_config, "CACHE_DIR", str(_cache_directory()))  # noqa: B010 (defined at run time)
