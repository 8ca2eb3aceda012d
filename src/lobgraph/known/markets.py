"""The known markets by name.

market = make_known("cj_making", num_envs=64, phi=0.05)
market.value()                                         # what the best policy earns, in closed form
market.estimate(market.simulate(policy, 10_000))       # what another one does, and its standard error
"""

from __future__ import annotations

from typing import Any

from ..config import ConfigError, make_section
from .almgren_chriss import AlmgrenChrissMarket
from .avellaneda_stoikov import AvellanedaStoikovMarket
from .cartea_jaimungal import ExecutionMarket, MakingMarket
from .market import KnownMarket
from .pair import PairMarket
from .params import (
    AlmgrenChrissParams,
    AvellanedaStoikovParams,
    ExecutionParams,
    KnownParams,
    MakingParams,
    PairParams,
)

MARKETS: dict[str, tuple[type[KnownMarket], type[KnownParams]]] = {
    "avellaneda_stoikov": (AvellanedaStoikovMarket, AvellanedaStoikovParams),
    "cj_making": (MakingMarket, MakingParams),
    "cj_execution": (ExecutionMarket, ExecutionParams),
    "almgren_chriss": (AlmgrenChrissMarket, AlmgrenChrissParams),
    "pair": (PairMarket, PairParams),
}


def make_known(name: str, num_envs: int = 64, seed: int = 0, **params: Any) -> KnownMarket:
    """A market by name with these parameters; the rest is as published. Raises ConfigError naming what is wrong."""
    if name not in MARKETS:
        raise ConfigError(f"market {name!r}: no such known market; markets are {', '.join(MARKETS)}")
    market, section = MARKETS[name]
    return market(make_section(section, params, (), name), num_envs, seed)
