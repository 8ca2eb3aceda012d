"""The shipped scenarios by name, and their ids in gymnasium's registry: `gymnasium.make("lobgraph/SingleMaker-v0")`.

Importing lobgraph registers them, and imports no gymnasium for it: where it is not loaded yet, they are registered as soon as it is.
"""

# pyright: reportMissingImports=false
# gymnasium is an extra.
from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config import Config

PACKAGED = Path(__file__).parents[1] / "configs"  # in a wheel
SOURCE = Path(__file__).parents[3] / "configs"  # in a checkout
# id -> scenario, the role that is played and who holds the others, unless make() says otherwise
IDS: dict[str, dict[str, Any]] = {
    "lobgraph/SingleMaker-v0": {"cfg": "single_maker", "role": "maker"},
    "lobgraph/MultiAgentBasic-v0": {
        "cfg": "multi_agent_basic",
        "role": "taker",
        "others": {"maker": "fixed_spread"},
    },
    "lobgraph/MultiAssetGnn-v0": {
        "cfg": "multi_asset_gnn",
        "role": "arbitrageur",
        "others": {"maker": "fixed_spread"},
    },
    "lobgraph/LeadLag-v0": {"cfg": "lead_lag", "role": "maker"},
    "lobgraph/StressLab-v0": {"cfg": "stress_lab", "role": "maker"},
    "lobgraph/Replay-v0": {"cfg": "replay", "role": "maker"},
}


def scenarios() -> dict[str, Path]:
    """The shipped scenario files by name."""
    home = PACKAGED if PACKAGED.is_dir() else SOURCE
    return {path.stem: path for path in sorted(home.glob("*.yaml"))}


def as_config(given: Config | str | Path) -> Config:
    """A Config as it is, the name of a shipped scenario, or the path of a file. Raises ConfigError for neither."""
    from ..config import Config, ConfigError, load_config

    if isinstance(given, Config):
        return given
    shipped = scenarios()
    if not isinstance(given, str | Path):
        raise ConfigError(
            f"cfg: must be a Config, the path of a scenario file, or the name of a shipped scenario ({', '.join(shipped)}), "
            f"got {given!r}"
        )
    if str(given) in shipped:
        return load_config(shipped[str(given)])
    if not Path(given).is_file():
        raise ConfigError(
            f"cfg {str(given)!r}: no such file, and no scenario; there are {', '.join(shipped)}"
        )
    return load_config(given)


def register() -> None:
    """Put IDS into gymnasium's registry, once."""
    import gymnasium

    for name, kwargs in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="lobgraph.adapters.gym:RoleEnv",
                vector_entry_point="lobgraph.adapters.gym:RoleVectorEnv",
                kwargs=kwargs,
            )


def register_when_loaded() -> None:
    """`register`, now or when gymnasium is imported."""
    if "gymnasium" in sys.modules:
        if hasattr(sys.modules["gymnasium"], "register"):  # it may be loading just now
            register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:  # importlib.abc's base class would cost `lobgraph --help` a fifth of its time
    """Finds gymnasium as Python would, once, and registers when it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
