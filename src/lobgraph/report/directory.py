"""Run directories as a user finds them: new ones that overwrite nothing, and links to the newest run's files.

artifacts/<scenario>/<run>/ holds a run; artifacts/<scenario>/{latest, rewards.csv, rewards.png, <role>_policy.*} are
symbolic links into the newest one. A link is replaced; a file that is not a link is the user's and is left alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..rl.places import find_run as find_run

PUBLISHED = ("rewards.csv", "rewards.png", "summary.csv", "*_policy*")


def publish(scenario: str | Path, run: str | Path) -> list[Path]:
    """Point the links of a scenario's directory at one of its runs. Returns the links made.

    Links whose file this run does not have are removed, so that no two links speak of different runs.
    """
    scenario, run = Path(scenario), Path(run)
    made = [scenario / "latest"] if _link(scenario / "latest", os.path.relpath(run, scenario)) else []
    targets = {file.name for pattern in PUBLISHED for file in run.glob(pattern) if file.is_file()}
    for stale in (link for pattern in PUBLISHED for link in scenario.glob(pattern) if link.is_symlink()):
        if stale.name not in targets and os.readlink(stale).startswith("latest/"):
            stale.unlink()
    return made + [scenario / n for n in sorted(targets) if _link(scenario / n, f"latest/{n}")]


def _link(path: Path, target: str) -> bool:
    """Make or replace a link in one move; False if something that is no link stands there."""
    if path.exists() and not path.is_symlink():
        return False
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    os.symlink(target, part)
    os.replace(part, path)
    return True
