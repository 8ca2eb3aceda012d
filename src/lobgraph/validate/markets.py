"""Markets of unit orders without agents, and books whose every message is given: what the models run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from ..config import Config, make_config
from ..market.params import make_params
from ..market.state import ACTION, EPISODE, LATENCY, NOW, STEP, State, empty_tape, make_state
from ..market.step import reset_env, step_book
from ..market.tables import make_flow, memory_of

UNIT = {"values": [1], "weights": [1]}
UNITS = {"limit_size": UNIT, "market_size": UNIT, "cancel_size": UNIT}  # flow of one-lot orders
SILENT = {"limit_rates": [0.0], "market_rate": 0.0, "cancel_rates": [0.0], "initial_depth": 0, "warmup": 0.0}
PRICE = 1 << 20  # ticks, where the books start: far from zero


def noise_market(flow: Mapping[str, Any], **market: Any) -> Config:
    """One book, one regime, unit orders that no fundamental tilts, no agents; `flow` and `market` as in Config."""
    return make_config({
        "market": {"initial_price": PRICE, **market},
        "flow": {"tilt": 0.0, **UNITS, **flow},
        "agents": {"maker": {"count": 0}},
        "regimes": {"kinds": {"normal": {}}, "initial": {"normal": 1.0}, "switch_rates": {}},
        "fundamentals": {"volatility": 0.0},
        "env": {"episode_steps": 1_000_000},
    })  # fmt: skip


@njit(nogil=True, cache=True)
def _open(p, f, tape, state):
    for env in range(state.clock.shape[0]):
        state.clock[env, EPISODE] += 1
        reset_env(p, f, tape, state, env)


@njit(nogil=True, cache=True)
def _step(p, f, tape, state):
    for env in range(state.clock.shape[0]):
        for a in range(state.head.shape[1]):
            step_book(p, f, tape, state, env, a)
        state.clock[env, STEP] += 1


class Exchange:
    """E silent books in which agents trade with each other by messages, matched by the engine's own step.

    Agent 0 is a maker, whose messages arrive first; the `takers` after it arrive together, in random order.
    """

    MAKER = 0

    def __init__(self, envs: int, takers: int, window: int, seed: int) -> None:
        unlimited = {"risk": {"max_inventory": 1 << 30}}
        cfg = make_config({
            "market": {"window": window, "initial_price": PRICE, "dt": 1.0},
            "flow": SILENT,
            "regimes": {"kinds": {"normal": {}}, "initial": {"normal": 1.0}, "switch_rates": {}},
            "fundamentals": {"volatility": 0.0},
            "agents": {
                "maker": {"count": 1, **unlimited},
                "taker": {"count": takers, "target": 0, "latency": 0.5, **unlimited},
            },
        })  # fmt: skip
        self.params, self.flow, self.tape = make_params(cfg, seed), make_flow(cfg), empty_tape(1)
        assert self.params.agent_float[self.MAKER, LATENCY] < self.params.agent_float[1:, LATENCY].min()
        self.state: State = make_state(envs, 1, window, 1 + takers, 1, memory_of(self.flow))
        self.envs = envs

    def open(self) -> None:
        """Start an episode in every environment: empty books, flat accounts."""
        _open(self.params, self.flow, self.tape, self.state)

    def messages(self) -> np.ndarray:
        """(E, G, MESSAGE) int32 the next interval's messages, all set to ACT_NONE; written in place."""
        message = self.state.message[:, 0]
        message[:, :, ACTION] = 0
        return message

    def step(self) -> None:
        """Run one decision interval of every book with the messages as they stand."""
        assert self.state.active[:, :, NOW].all()
        _step(self.params, self.flow, self.tape, self.state)

    def account(self, column: int) -> np.ndarray:
        """(E, G + 1) int64 copy of a column of the accounts; the last row is the noise flow's, which is silent."""
        return self.state.account[:, 0, :, column].copy()
