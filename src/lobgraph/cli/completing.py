"""What the shell offers behind a command: scenario files, runs, strategies, roles, settings.

In: the word that is being typed. Out: what it may become. A shell asks on each press of a key, so nothing heavy is imported:
strategies are read from the sources' text, of which a test says that it names the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

AGENTS = Path(__file__).parents[1] / "agents"
NAMED = re.compile(r'^    name: ClassVar\[str\] = "(\w+)"$', re.MULTILINE)
MOST = 100  # runs offered; more would fill the screen


def scenarios(incomplete: str) -> list[str]:
    """YAML files, and folders on the way to them; of an empty word also those in configs/."""
    found = list(_paths(incomplete, {".yaml", ".yml"}))
    if not incomplete:
        found += [path.as_posix() for path in sorted(Path("configs").glob("*.yaml"))]
    return found


def runs(incomplete: str) -> list[str]:
    """Runs below artifacts/ that begin with the word, newest last; else folders on the way to others."""
    home = sorted(Path("artifacts").glob("*/*/config.yaml")) + sorted(
        Path("artifacts").glob("*/*/*/config.yaml")
    )
    known = [file.parent.as_posix() for file in home]
    known += [path.as_posix() for path in sorted(Path("artifacts").glob("*/latest")) if path.is_dir()]
    fitting = [path for path in dict.fromkeys(known) if path.startswith(incomplete)]
    return fitting[-MOST:] or list(_paths(incomplete, {".safetensors"}))


def scenarios_and_runs(incomplete: str) -> list[str]:
    return [*scenarios(incomplete), *runs(incomplete)]


def strategies() -> list[str]:
    """Names of the scripted strategies, and `nothing`."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(AGENTS.glob("*.py"))]
    return [*(name for text in texts for name in NAMED.findall(text)), "nothing"]


def actors(incomplete: str) -> list[str]:
    """Who can act: strategies and runs."""
    return [*(name for name in strategies() if name.startswith(incomplete)), *runs(incomplete)]


def roles(incomplete: str) -> list[str]:
    return [role for role in ("maker", "taker", "arbitrageur") if role.startswith(incomplete)]


def casts(incomplete: str) -> list[str]:
    """ROLE=WHO."""
    role, sep, who = incomplete.partition("=")
    if not sep:
        return [f"{name}=" for name in roles(role)]
    return [f"{role}={actor}" for actor in actors(who)]


def settings(incomplete: str) -> list[str]:
    """Keys of the tree of settings, up to the section that is being typed."""
    from ..config import Config

    *above, last = incomplete.partition("=")[0].split(".")
    fields = _keys(Config)
    for part in above:
        fields = _keys(fields.get(part))
    start = "".join(f"{part}." for part in above)
    return [
        f"{start}{name}{'.' if _keys(kind) else '='}"
        for name, kind in fields.items()
        if name.startswith(last)
    ]


def _keys(kind: Any) -> dict[str, Any]:
    """Keys of a section with their types; none of what is no section."""
    return {name: field.annotation for name, field in getattr(kind, "model_fields", {}).items()}


def _paths(incomplete: str, suffixes: set[str]) -> Iterator[str]:
    """Files with one of these endings, and folders, that begin with the word."""
    prefix = incomplete[: incomplete.rfind("/") + 1]
    folder = Path(prefix or ".")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        shown = f"{prefix}{path.name}"
        if not path.name.startswith(".") and shown.startswith(incomplete):
            if path.is_dir():
                yield f"{shown}/"
            elif path.suffix in suffixes:
                yield shown
