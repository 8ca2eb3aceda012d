"""Packages that only some users have: whether one is there, known before work begins."""

from __future__ import annotations

from importlib.util import find_spec

from ..config import ConfigError


def need(package: str, extra: str, who: str) -> None:
    """Raise ConfigError, with what to install, if `package` is not there. who: the key or command that needs it."""
    if find_spec(package) is None:
        raise ConfigError(
            f"{who}: {package} is not installed; install the extra {extra!r} (EXTRAS={extra} make setup, or "
            f"pip install 'lobgraph[{extra}]')"
        )
