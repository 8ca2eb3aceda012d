"""Almgren and Chriss (2000): selling a block at discrete times, mean cost against variance.

Trade n_k in period k of length tau gets S_{k-1} - eps - eta n_k / tau; then S_k = S_{k-1} + sigma sqrt(tau) xi_k - gamma n_k.
"""

from __future__ import annotations

import numpy as np

from .market import KnownMarket, Policy
from .params import AlmgrenChrissParams

MOVE = 1  # purpose of draws


class AlmgrenChrissMarket(KnownMarket[AlmgrenChrissParams]):
    """Minimise E[cost] + lambda * sigma^2 * sum of tau x_k^2, with x_k the shares held in period k; all is sold at the end.

    For a schedule fixed in advance the sum is the variance of its cost.
    """

    role = "taker"
    action_names = ("size",)  # shares sold now; what is left at the last trade is sold
    terms = ("spread", "temporary_impact", "permanent_impact", "holding", "risk")
    node_features = ("remaining", "move")  # share of X; price less S0, $

    def __init__(self, params: AlmgrenChrissParams | None = None, num_envs: int = 64, seed: int = 0) -> None:
        super().__init__(params or AlmgrenChrissParams(), num_envs, seed)

    def _bounds(self) -> tuple[list[float], list[float]]:
        return [0.0], [self.params.max_size or self.params.X]

    def _start(self) -> None:
        self.inventory[:] = self.params.X
        self.move = np.zeros(self.num_envs)

    def _look(self) -> None:
        self.nodes[:, 0, 0, 0].numpy()[:] = self.inventory[:, 0] / self.params.X
        self.nodes[:, 0, 0, 1].numpy()[:] = self.move

    def _advance(self, action: np.ndarray) -> np.ndarray:
        p, held = self.params, self.inventory[:, 0].copy()
        size = held if self.t + 1 == self.steps else np.minimum(action[:, 0], held)
        left = held - size
        shock = p.sigma * np.sqrt(p.tau) * self.normal(MOVE)
        spread, temporary = -p.eps * size, -p.eta / p.tau * size**2
        permanent, holding = -p.gamma * size * left, left * shock
        self.inventory[:, 0] = left
        self.move += shock - p.gamma * size
        self.equity += spread + temporary + permanent + holding
        return np.stack(
            [spread, temporary, permanent, holding, -p.risk * p.sigma**2 * p.tau * left**2], axis=1
        )

    # --- closed form ---

    def kappa(self, risk: float | None = None) -> float:
        """Rate of trading, per day (equations 18 and 19)."""
        p = self.params
        square = (p.risk if risk is None else risk) * p.sigma**2 / p.eta_left
        return float(2.0 * np.arcsinh(0.5 * np.sqrt(square) * p.tau) / p.tau)

    def holdings(self, risk: float | None = None) -> np.ndarray:
        """(steps + 1,) shares held after each trade under the best schedule (equation 17), the first X, the last 0."""
        p, rate = self.params, self.kappa(risk)
        t = np.linspace(0.0, p.T, p.steps + 1)
        if rate * p.T < 1e-9:
            return p.X * (1.0 - t / p.T)
        return p.X * np.exp(-rate * t) * np.expm1(-2.0 * rate * (p.T - t)) / np.expm1(-2.0 * rate * p.T)

    def cost(self, holdings: np.ndarray) -> tuple[float, float]:
        """Mean ($) and variance ($^2) of the cost of a schedule (steps + 1,) shares (equations 7, 8)."""
        p, x = self.params, np.asarray(holdings, float)
        n = -np.diff(x)
        if abs(x[0] - p.X) > 1e-6 * p.X or abs(x[-1]) > 1e-6 * p.X:
            raise ValueError(f"holdings: must go from X = {p.X:g} to 0, got {x[0]:g} to {x[-1]:g}")
        mean = p.gamma * np.sum(n * x[1:]) + p.eps * np.abs(n).sum() + p.eta / p.tau * np.sum(n**2)
        return float(mean), float(p.sigma**2 * p.tau * np.sum(x[1:] ** 2))

    def frontier(self, risks: np.ndarray) -> np.ndarray:
        """(n, 2) mean and variance of the best schedules for risk aversions (n,)."""
        return np.array([self.cost(self.holdings(float(risk))) for risk in risks])

    def value(self) -> float:
        """Minus (E + lambda V) of the best schedule, $."""
        mean, variance = self.cost(self.holdings())
        return -(mean + self.params.risk * variance)

    def schedule(self, name: str, holdings: np.ndarray) -> Policy:
        """Sell to be left with `holdings` (steps + 1,) shares."""
        target = np.asarray(holdings, float)
        X = self.params.X

        def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
            return (nodes[:, 0, 0] * X - target[step + 1]).clip(min=0.0)[:, None]

        return Policy(name, "taker", self.steps, rule)

    def optimal(self) -> Policy:
        """The best schedule for the market's risk aversion; it reacts to nothing but time."""
        return self.schedule("optimal", self.holdings())

    def twap(self) -> Policy:
        """The same size at each trade: the least mean cost."""
        return self.schedule("twap", self.holdings(0.0))

    def at_once(self) -> Policy:
        """All in the first trade: no variance."""
        return self.schedule("at_once", self.params.X * (np.arange(self.steps + 1) == 0))

    def policies(self) -> dict[str, Policy]:
        return {p.name: p for p in (self.optimal(), self.twap(), self.at_once())}
