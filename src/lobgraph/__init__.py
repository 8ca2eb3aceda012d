"""lobgraph: liquidity in many limit order books at once, studied with multi-agent reinforcement learning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .adapters.registry import register_when_loaded

if TYPE_CHECKING:
    from .adapters.zoo import aec_env, parallel_env
    from .config import Config, ConfigError, load_config
    from .env.market_env import MarketEnv
    from .evaluation.evaluate import evaluate
    from .rl.checkpoint import load_policies
    from .rl.train import resume, train

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ConfigError",
    "MarketEnv",
    "aec_env",
    "evaluate",
    "load_config",
    "load_policies",
    "parallel_env",
    "resume",
    "train",
]

# Loaded on first use: importing torch and numba takes seconds, `lobgraph --help` must not.
_HOMES = {
    "Config": ".config",
    "ConfigError": ".config",
    "load_config": ".config",
    "MarketEnv": ".env.market_env",
    "aec_env": ".adapters",
    "parallel_env": ".adapters",
    "evaluate": ".evaluation.evaluate",
    "load_policies": ".rl.checkpoint",
    "resume": ".rl.train",
    "train": ".rl.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_when_loaded()
