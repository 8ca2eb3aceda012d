"""All sections together, and what follows from several of them: books, flows, pairs, roles."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from .checks import (
    check_agents,
    check_curriculum,
    check_excitation,
    check_flows,
    check_fundamentals,
    check_intraday,
    check_minibatches,
    check_replay,
    check_risk,
    check_stress,
)
from .flow import FlowConfig, IntradayConfig, RegimesConfig
from .sections import (
    AgentsConfig,
    EnvConfig,
    FundamentalsConfig,
    GraphConfig,
    MarketConfig,
    PPOConfig,
    ReplayConfig,
    RunConfig,
    StageConfig,
)
from .stress import BreakerConfig, EventConfig
from .types import LEARN, ROLES, Section


class Config(Section):
    """The whole tree. Make one with `load_config`; `model_copy` does not validate, so change it through overrides."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = "default"
    market: MarketConfig = MarketConfig()
    flow: FlowConfig = FlowConfig()
    # book -> the keys of `flow` in which it differs
    flow_per_book: dict[str, dict[str, Any]] = Field(default_factory=dict)
    regimes: RegimesConfig = RegimesConfig()
    intraday: IntradayConfig | None = None  # none: the same at all times of the day
    # stages of training, in order; after the last: regimes as configured
    curriculum: list[StageConfig] = Field(default_factory=list)
    fundamentals: FundamentalsConfig = FundamentalsConfig()
    replay: ReplayConfig = ReplayConfig()
    stress: Annotated[list[EventConfig], Field(max_length=64)] = Field(default_factory=list)
    circuit_breaker: BreakerConfig | None = None
    agents: AgentsConfig = AgentsConfig()
    env: EnvConfig = EnvConfig()
    graph: GraphConfig = GraphConfig()
    ppo: PPOConfig = PPOConfig()
    run: RunConfig = RunConfig()

    @cached_property
    def flows(self) -> tuple[FlowConfig, ...]:
        """One FlowConfig per book, in the order of market.books."""
        base = self.flow.model_dump(exclude_unset=True)
        return tuple(
            FlowConfig.model_validate(base | self.flow_per_book.get(b, {})) for b in self.market.books
        )

    @cached_property
    def pairs(self) -> np.ndarray:
        """(P, 2) int64: the arbitrageurs' pairs as book indices, first < second."""
        n, given, under = self.market.num_books, self.agents.arbitrageur.pairs, self.market.underlying_index
        every = [(i, j) for i in range(n) for j in range(i + 1, n)]
        if isinstance(given, list):
            names = self.market.books
            chosen = [(min(i, j), max(i, j)) for i, j in ((names.index(a), names.index(b)) for a, b in given)]
        elif given == "auto":
            chosen = [(i, j) for i, j in every if under[i] == under[j]] or every
        else:
            chosen = every
        return np.array(chosen, dtype=np.int64).reshape(-1, 2)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # holds lists

    @property
    def counts(self) -> dict[str, int]:
        """Number of agents of each role present, in the order of ROLES."""
        return {r: c for r in ROLES if (c := getattr(self.agents, r).count) > 0}

    @property
    def learners(self) -> list[str]:
        """Roles present whose policies are to be learned, in the order of ROLES."""
        return [r for r in self.counts if getattr(self.agents, r).actor == LEARN]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for check in (
            check_flows,
            check_intraday,
            check_curriculum,
            check_fundamentals,
            check_replay,
            check_excitation,
            check_agents,
            check_risk,
            check_stress,
            check_minibatches,
        ):
            check(self)
        return self
