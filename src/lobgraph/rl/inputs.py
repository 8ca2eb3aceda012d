"""What a training reads besides its configuration: policies and strategies that hold roles, recorded data. Which files, and the same still?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..agents.strategy import strategies
from ..config import LEARN, NOTHING, Config
from ..data.files import find_pair
from ..data.recording import DataError
from .places import POLICY, find_run


def pinned(cfg: Config) -> Config:
    """The configuration with each policy that holds a role named by its file: a scenario's newest run is another one tomorrow."""
    change = {}
    for role in cfg.counts:
        own = getattr(cfg.agents, role)
        path = _policy(own.actor)
        if path is not None and str(path) != own.actor:
            change[role] = own.model_copy(update={"actor": str(path)})
    return cfg.model_copy(update={"agents": cfg.agents.model_copy(update=change)}) if change else cfg


def inputs_of(cfg: Config) -> dict[str, dict[str, str]]:
    """Setting -> {path, sha256} of every file that the training reads; a file that is not there is left out."""
    found: dict[str, Path] = {}
    for role in cfg.counts:
        text = getattr(cfg.agents, role).actor
        path = Path(text.partition(":")[0]) if text.partition(":")[0].endswith(".py") else _policy(text)
        if path is not None:
            found[f"agents.{role}.actor"] = path
    for book, text in cfg.replay.files.items():
        try:
            pair = [Path(text)] if text.endswith(".npz") else [source.path for source in find_pair(text)]
        except DataError:
            continue  # who reads it says so
        found |= {f"replay.files.{book}{' (orderbook)' * i}": path for i, path in enumerate(pair)}
    return {key: {"path": str(path), "sha256": _hash(path)} for key, path in found.items() if path.is_file()}


def changed(before: Any, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each input that is another one now; `before`: of an earlier `inputs_of`, as it was written down."""
    lines = []
    for key, own in now.items():
        was = before.get(key) if isinstance(before, dict) else None
        if isinstance(was, dict) and was.get("sha256") != own["sha256"]:
            lines.append(f"{key}: {own['path']} is not the file that it was")
    return lines


def _policy(text: str) -> Path | None:
    """The policy file that an actor's text means; None where it means none."""
    if text in (LEARN, NOTHING) or text.partition(":")[0] in strategies() or not os.path.exists(text):
        return None
    path = Path(text)
    try:
        found = path if path.is_file() else find_run(path, POLICY) / POLICY
    except FileNotFoundError:
        return None
    if path.suffix == ".py":
        return None
    whole = Path(os.path.realpath(found))  # not by way of `latest`
    return whole if path.is_absolute() else Path(os.path.relpath(whole))


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
