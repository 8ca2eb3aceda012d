"""Cartea, Jaimungal and Penalva (2015): a maker (chapter 10) and a seller (chapter 6), with quadratic penalties.

Both maximise mean wealth less phi * integral of inventory^2 less alpha * (final inventory)^2. Offsets and speeds stand
within a step and penalties are integrated over it, so that no policy can beat the closed form but by luck (a maker's
with `fills` poisson, the default, and a seller's always).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from .market import KnownMarket, Policy
from .params import ExecutionParams, MakingParams
from .quoting import QuotingMarket, log_solution, table_policy

MOVE, BRIDGE = 1, 2  # purposes of draws


class MakingMarket(QuotingMarket[MakingParams]):
    """Maximise E[W_T - alpha q_T^2 - phi integral q^2 dt]; the terms of the reward are its parts."""

    terms = ("edge", "holding", "running_penalty", "final_penalty")

    def __init__(self, params: MakingParams | None = None, num_envs: int = 64, seed: int = 0) -> None:
        super().__init__(params or MakingParams(), num_envs, seed)
        self.phi, self.alpha = self.params.phi, self.params.alpha
        self.h = self._solve()  # (steps + 1, 2 Q + 1) money

    def _advance(self, action: np.ndarray) -> np.ndarray:
        edge, holding, squared = self._trade(action)
        last = self.t + 1 == self.steps
        final = -self.alpha * self.inventory[:, 0] ** 2 if last else np.zeros(self.num_envs)
        return np.stack([edge, holding, -self.phi * squared, final], axis=1)

    def _solve(self) -> np.ndarray:
        """h(t, q) = log w / k, w = exp(B (T - t)) exp(-alpha k q^2) (proposition 10.3)."""
        p = self.params
        held = np.arange(-p.max_inventory, p.max_inventory + 1.0)
        last = -p.alpha * p.k * held**2
        return log_solution(-p.phi * p.k * held**2, p.A / np.e, last, p.dt, p.steps) / p.k

    def value(self) -> float:
        """Objective of the best policy in continuous time from no inventory, h(0, 0), money."""
        return float(self.h[0, self.params.max_inventory])

    def optimal(self) -> Policy:
        """The best offsets in continuous time: 1 / k + h(q) - h(q +- 1)."""
        return self._quote("optimal", self.h[:-1])

    def _quote(self, name: str, h: np.ndarray) -> Policy:
        p = self.params
        rise, widest = np.diff(h, axis=1), p.offset_bound
        bid = np.pad(1.0 / p.k - rise, ((0, 0), (0, 1)), constant_values=widest)
        ask = np.pad(1.0 / p.k + rise, ((0, 0), (1, 0)), constant_values=widest)
        return table_policy(name, np.stack([bid, ask], axis=-1))

    def scaled(self, multiple: float) -> Policy:
        """The best offsets times `multiple`."""
        return table_policy(f"optimal x {multiple:g}", multiple * self.table(self.optimal()))

    def symmetric(self) -> Policy:
        """1 / k on both sides: the best without penalties."""
        return self._quote("symmetric", np.zeros((self.steps, 2 * self.params.max_inventory + 1)))

    def policies(self) -> dict[str, Policy]:
        return {"optimal": self.optimal(), "symmetric": self.symmetric()}

    def integrated_value(self) -> float:
        """`value` without the closed form: the differential equation of h(t, q) (equation 10.8), integrated numerically."""
        p = self.params
        held = np.arange(-p.max_inventory, p.max_inventory + 1.0)

        def slope(s: float, h: np.ndarray) -> np.ndarray:
            """dh/ds with s time to go: the best offsets' gains at each inventory."""
            up = p.A / (np.e * p.k) * np.exp(p.k * np.diff(h))
            down = p.A / (np.e * p.k) * np.exp(-p.k * np.diff(h))
            return np.append(up, 0.0) + np.append(0.0, down) - p.phi * held**2

        solved = solve_ivp(
            slope, (0.0, p.T), -p.alpha * held**2, "LSODA", rtol=1e-9, atol=1e-9, lband=1, uband=1
        )
        if not solved.success:
            raise RuntimeError(f"integrated_value: {solved.message}")
        return float(solved.y[p.max_inventory, -1])


class ExecutionMarket(KnownMarket[ExecutionParams]):
    """Maximise E[cash + q_T (S_T - alpha q_T) - phi integral q^2 dt] - q0 S0 by the speed of selling, never buying."""

    role = "taker"
    action_names = ("speed",)  # lots per time
    terms = ("temporary_impact", "permanent_impact", "holding", "running_penalty", "final_penalty")
    node_features = ("remaining", "move")  # share of q0; mid less its value at the start, money

    def __init__(self, params: ExecutionParams | None = None, num_envs: int = 64, seed: int = 0) -> None:
        super().__init__(params or ExecutionParams(), num_envs, seed)

    def _bounds(self) -> tuple[list[float], list[float]]:
        p = self.params
        grid = np.array([0.0, p.dt])
        first = (1.0 - np.divide(*self.path(grid)[::-1])) * p.q0 / p.dt
        return [0.0], [p.max_speed or max(2.0 * first, 4.0 * p.q0 / p.T)]

    def _start(self) -> None:
        self.inventory[:] = self.params.q0
        self.move = np.zeros(self.num_envs)

    def _look(self) -> None:
        self.nodes[:, 0, 0, 0].numpy()[:] = self.inventory[:, 0] / self.params.q0
        self.nodes[:, 0, 0, 1].numpy()[:] = self.move

    def _advance(self, action: np.ndarray) -> np.ndarray:
        p, q = self.params, self.inventory[:, 0].copy()
        speed = np.minimum(action[:, 0], q / p.dt)
        left = q - speed * p.dt
        shock = p.sigma * np.sqrt(p.dt) * self.normal(MOVE)
        # integral of q dW over the step: q falls linearly, and the part that the mid's total move does not tell
        bridge = p.sigma * np.sqrt(p.dt**3 / 12.0) * self.normal(BRIDGE)
        holding = 0.5 * (q + left) * shock + speed * bridge
        temporary = -p.k * speed**2 * p.dt
        permanent = -0.5 * p.b * (q**2 - left**2)
        running = -p.phi * p.dt * (q**2 + q * left + left**2) / 3.0
        final = -p.alpha * left**2 if self.t + 1 == self.steps else np.zeros_like(q)
        self.inventory[:, 0] = left
        self.move += shock - p.b * speed * p.dt
        self.equity += temporary + permanent + holding
        return np.stack([temporary, permanent, holding, running, final], axis=1)

    # --- closed form ---

    def h(self, t: np.ndarray | float) -> np.ndarray:
        """The factor of q^2 in the value function at time t (section 6.5, with permanent impact): h(T) = -alpha.

        The book's fraction of exponentials is written with tanh, which holds for phi = 0 too.
        """
        p = self.params
        left, a = p.T - np.asarray(t, float), p.alpha - 0.5 * p.b
        rate, c = np.sqrt(p.phi / p.k), np.sqrt(p.k * p.phi)
        ratio = np.tanh(rate * left) / rate if rate > 0 else left
        return -0.5 * p.b - (a + c * np.tanh(rate * left)) / (1.0 + a * ratio / p.k)

    def path(self, t: np.ndarray) -> np.ndarray:
        """Share of q0 that the best policy still holds at times t."""
        p = self.params
        a, rate = (p.alpha - 0.5 * p.b) / p.k, np.sqrt(p.phi / p.k)
        left = p.T - np.asarray(t, float)
        if rate == 0.0:
            return (1.0 + a * left) / (1.0 + a * p.T)

        # cosh(x) + a / rate sinh(x), over its value at the start, without overflow or cancellation
        def part(x: np.ndarray | float) -> np.ndarray | float:
            return 1.0 + np.exp(-2.0 * x) - a / rate * np.expm1(-2.0 * x)

        return np.exp(rate * (left - p.T)) * part(rate * left) / part(rate * p.T)

    def value(self) -> float:
        """Objective of the best policy in continuous time: h(0) q0^2, money."""
        return float(self.h(0.0)) * self.params.q0**2

    def objective_of(self, shares: np.ndarray) -> float:
        """Mean objective of the schedule that holds `shares` (steps + 1,) of q0 at the decisions, falling linearly between."""
        p = self.params
        q = p.q0 * np.asarray(shares, float)
        sold = -np.diff(q)
        running = p.phi * p.dt * np.sum(q[:-1] ** 2 + q[:-1] * q[1:] + q[1:] ** 2) / 3.0
        return float(
            -p.k * np.sum(sold**2) / p.dt
            - 0.5 * p.b * (q[0] ** 2 - q[-1] ** 2)
            - running
            - p.alpha * q[-1] ** 2
        )

    def _follow(self, name: str, shares: Callable[[np.ndarray], np.ndarray]) -> Policy:
        """Sell in each step the share of what is left that `shares` (at times) sells."""
        p = self.params
        held = shares(np.linspace(0.0, p.T, p.steps + 1))
        part = 1.0 - held[1:] / held[:-1]

        def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
            return (part[step] * nodes[:, 0, 0] * p.q0 / p.dt)[:, None]

        return Policy(name, "taker", p.steps, rule)

    def optimal(self) -> Policy:
        """The best speed of selling, exact at the decisions: proportional to what is left."""
        return self._follow("optimal", self.path)

    def twap(self) -> Policy:
        """The same speed throughout."""
        return self._follow("twap", lambda t: 1.0 - t / self.params.T)

    def twap_value(self) -> float:
        """Objective of selling at one speed until the end: -(k / T + phi T / 3 + b / 2) q0^2."""
        p = self.params
        return -(p.k / p.T + p.phi * p.T / 3.0 + 0.5 * p.b) * p.q0**2

    def policies(self) -> dict[str, Policy]:
        return {"optimal": self.optimal(), "twap": self.twap()}
