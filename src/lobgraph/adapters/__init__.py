"""The market for other libraries: PettingZoo, Gymnasium, Stable-Baselines3, TorchRL, RLlib. What they need is imported on first use.

docs/adapters.md says which extra installs what.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .acting import ModelStrategy, as_actor
    from .gym import RoleEnv, RoleVectorEnv
    from .rllib import RLlibMarket
    from .sb3 import Sb3VecEnv
    from .torch_rl import TorchRLMarket
    from .zoo import ParallelMarket, aec_env, parallel_env

__all__ = [
    "ModelStrategy",
    "ParallelMarket",
    "RLlibMarket",
    "RoleEnv",
    "RoleVectorEnv",
    "Sb3VecEnv",
    "TorchRLMarket",
    "aec_env",
    "as_actor",
    "parallel_env",
]

# name -> module, the extra that it needs
_HOMES = {
    "ModelStrategy": ("acting", ""),
    "as_actor": ("acting", ""),
    "ParallelMarket": ("zoo", "gym"),
    "parallel_env": ("zoo", "gym"),
    "aec_env": ("zoo", "gym"),
    "RoleEnv": ("gym", "gym"),
    "RoleVectorEnv": ("gym", "gym"),
    "Sb3VecEnv": ("sb3", "sb3"),
    "TorchRLMarket": ("torch_rl", "torchrl"),
    "RLlibMarket": ("rllib", "ray"),
}
_LIBRARIES = ("gymnasium", "pettingzoo", "stable_baselines3", "torchrl", "tensordict", "ray")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _HOMES[name]
    try:
        return getattr(import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
            raise
        raise ImportError(
            f"lobgraph.{name}: {error.name} is not installed; install the extra {extra!r} "
            f"(EXTRAS={extra} make setup, or pip install 'lobgraph[{extra}]')"
        ) from error
