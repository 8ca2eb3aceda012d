"""Markets whose best policy is known: the interface of MarketEnv over textbook models, to hold a learner's score against.

    market = make_known("cj_making", num_envs=64, phi=0.05)
    market.value()                                         # what the best policy earns, in closed form
    market.estimate(market.simulate(policy, 10_000))       # what another one does, and its standard error
"""

from __future__ import annotations

from typing import Any

from ..config import ConfigError, make_section
from .almgren_chriss import AlmgrenChrissMarket, AlmgrenChrissParams
from .avellaneda_stoikov import AvellanedaStoikovMarket, AvellanedaStoikovParams
from .cartea_jaimungal import ExecutionMarket, ExecutionParams, MakingMarket, MakingParams
from .market import KnownMarket, Policy, Results
from .pair import PairMarket, PairParams

MARKETS: dict[str, tuple[type[KnownMarket], type]] = {
    "avellaneda_stoikov": (AvellanedaStoikovMarket, AvellanedaStoikovParams),
    "cj_making": (MakingMarket, MakingParams),
    "cj_execution": (ExecutionMarket, ExecutionParams),
    "almgren_chriss": (AlmgrenChrissMarket, AlmgrenChrissParams),
    "pair": (PairMarket, PairParams),
}

__all__ = [
    "MARKETS",
    "AlmgrenChrissMarket",
    "AlmgrenChrissParams",
    "AvellanedaStoikovMarket",
    "AvellanedaStoikovParams",
    "ExecutionMarket",
    "ExecutionParams",
    "KnownMarket",
    "MakingMarket",
    "MakingParams",
    "PairMarket",
    "PairParams",
    "Policy",
    "Results",
    "make_known",
]


def make_known(name: str, num_envs: int = 64, seed: int = 0, **params: Any) -> KnownMarket:
    """A market by name with these parameters; the rest is as published. Raises ConfigError naming what is wrong."""
    if name not in MARKETS:
        raise ConfigError(f"market {name!r}: no such known market; markets are {', '.join(MARKETS)}")
    market, section = MARKETS[name]
    return market(make_section(section, params, (), name), num_envs, seed)
