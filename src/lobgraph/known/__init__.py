"""Markets whose best policy is known, with the interface of MarketEnv: a mark to hold a learner's score against.

`make_known("almgren_chriss", num_envs=64)` makes one: `optimal()`, `value()`, `policies()` and `simulate(policy, ...)` beside
`reset` and `step`; `MARKETS` names them. `rl.trainer.Trainer(cfg, env)` trains on them as on MarketEnv.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .markets import MARKETS, make_known

__all__ = ["MARKETS", "make_known"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: torch takes seconds to import
        return getattr(import_module(".markets", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
