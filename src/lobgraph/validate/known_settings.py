"""Parameters of the markets with known answers, and how much of them to simulate. See known/params.py."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from ..config import Int
from ..known.params import (
    AlmgrenChrissParams,
    AvellanedaStoikovParams,
    ExecutionParams,
    MakingParams,
    PairParams,
)

Episodes = Annotated[Int, Field(ge=100, le=10_000_000)]


class AvellanedaStoikov(AvellanedaStoikovParams):
    """Avellaneda, Stoikov 2008; Gueant, Lehalle, Fernandez-Tapia 2013: a maker with exponential utility."""

    episodes: Episodes = 40_000
    """Episodes of each strategy."""
    particles: Episodes = 16_000
    """Episodes, copied or dropped on the way, that measure a certainty equivalent."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 4000, "particles": 4000}

    @model_validator(mode="after")
    def _check(self) -> Self:
        half = 0.25 * self.gamma * self.sigma**2 * self.T + np.log1p(self.gamma / self.k) / self.gamma
        fills = self.A * self.T * np.exp(-self.k * half)
        if fills < 1.0:
            raise ValueError(
                f"gamma: quotes {half:.3g} from the mid, half of Avellaneda and Stoikov's spread, would be filled "
                f"{fills:.1g} times a side in an episode, at least 1 is measured; use a lower gamma, sigma or k"
            )
        return self


class CjMaking(MakingParams):
    """Cartea, Jaimungal, Penalva 2015, chapter 10: a maker with inventory penalties."""

    episodes: Episodes = 40_000
    """Episodes of each policy."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 4000}


class CjExecution(ExecutionParams):
    """Cartea, Jaimungal, Penalva 2015, chapter 6: a seller with temporary and permanent impact."""

    episodes: Episodes = 40_000
    """Episodes of each policy."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 4000}


class AlmgrenChriss(AlmgrenChrissParams):
    """Almgren, Chriss 2000: a block sold at discrete times; shares, dollars, days."""

    episodes: Episodes = 400_000
    """Episodes of each schedule."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 100_000}


class Pair(PairParams):
    """Bertram 2010 in continuous time, and its counterpart in steps: a cointegrated pair traded at a cost."""

    episodes: Episodes = 20_000
    """Episodes of each threshold."""
    QUICK: ClassVar[dict[str, Any]] = {"episodes": 2500}
