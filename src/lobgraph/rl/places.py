"""Where things are in a run directory, which run a path means, and how it stands with it; read without torch."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

from ..files import DamagedFileError

CONFIG = Path("config.yaml")  # within a run directory, as are the others
POLICY = Path("checkpoints") / "policy.safetensors"
STATE = Path("state.json")
MACHINE = Path("machine.json")
TIMED = re.compile(r"\d{8}-\d{6}-.+")  # names of runs


def find_run(path: str | Path, holds: str | Path = CONFIG) -> Path:
    """The run directory meant by `path`: itself, its first seed, or a scenario's newest run (`latest`; without that, by name).

    holds: the file by which a run is known. Raises FileNotFoundError if there is no run.
    """
    path = Path(path)
    newest = [] if (path / "latest").exists() else _subdirectories(path)
    for candidate in (path, path / "latest", *newest):
        for run in (candidate, *seeds_of(candidate)):
            if (run / holds).is_file():
                return run
    what = f"no run in it (no {holds})" if path.is_dir() else "no such run directory"
    raise FileNotFoundError(2, what, str(path))


def _subdirectories(path: Path) -> list[Path]:
    """Runs by their names, the last first: these are their times. Not what is within a run."""
    if not path.is_dir() or (path / "plan.json").is_file() or (path / CONFIG).is_file():
        return []
    return sorted((p for p in path.iterdir() if TIMED.fullmatch(p.name) and p.is_dir()), reverse=True)


def run_or_group(path: Path) -> Path:
    """As `find_run`, but a group of seeds where `path` means one."""
    run = find_run(path)
    group = run.parent
    return group if run in seeds_of(group) and path not in (run, Path(os.path.abspath(run))) else run


def seeds_of(group: Path) -> list[Path]:
    """The seeds' directories of a group, by their numbers."""
    found = [p for p in group.glob("seed_*") if p.name.removeprefix("seed_").isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("seed_")))


def read_machine(directory: Path) -> dict[str, Any]:
    """What `machine_info` said of a run, and under "resumed" of each time that it was resumed. Raises DamagedFileError, FileNotFoundError."""
    file = directory / MACHINE
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        about.setdefault("resumed", [])
        if any(not isinstance(start["update"], int) for start in about["resumed"]):
            raise ValueError("it does not say after which update the run was resumed")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{file}: damaged: {error}") from None
    return about


class State(NamedTuple):
    """How a training stands, as its own state.json says."""

    state: str  # running, finished, stopped, failed; killed: it says running, but its process is gone; "": not known
    why: str = ""  # of one that was stopped or failed
    started: str = ""  # YYYY-mm-ddTHH:MM:SS+zzzz


def read_state(run: Path) -> State:
    """The state of the training that wrote `run`; one that says it runs on this machine is looked for."""
    try:
        about = json.loads((run / STATE).read_text(encoding="utf-8"))
        state, why, started = (str(about[key]) for key in ("state", "why", "started"))
        here, pid = about["host"] == socket.gethostname(), int(about["pid"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return State("")
    if state == "running" and here and not _alive(pid):
        return State("killed", why, started)
    return State(state, why, started)


def _alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere there is no harmless signal
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False  # no number of a process
    except PermissionError:
        pass  # another user's
    return True
