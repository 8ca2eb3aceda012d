"""Avellaneda and Stoikov (2008): a maker with exponential utility of its final wealth.

The exact optimum for fills at rate A exp(-k delta), with bounded inventory, is that of Gueant, Lehalle and
Fernandez-Tapia (2013); Avellaneda and Stoikov's own strategy is an approximation to it, and a policy among others here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ..env.observe import Observation
from .market import Policy, Results, actor
from .params import AvellanedaStoikovParams
from .quoting import QuotingMarket, log_solution, table_policy

RESAMPLE = 10  # purpose of draws


class AvellanedaStoikovMarket(QuotingMarket[AvellanedaStoikovParams]):
    """Maximise E[-exp(-gamma W_T)].

    With `reward` utility, that of a step is the rise of -exp(-gamma (W_t - C t / T)) / gamma, with C the value of the best
    policy: its sum over an episode, (1 - exp(-gamma (W_T - C))) / gamma, has mean 0 under the best policy. It is as steep as
    the utility: a bad policy's rewards overflow. With `reward` wealth it is the rise of W, of which a learner is to
    maximise the certainty equivalent (agents.maker.risk_aversion: gamma).
    """

    def __init__(
        self, params: AvellanedaStoikovParams | None = None, num_envs: int = 64, seed: int = 0
    ) -> None:
        params = params or AvellanedaStoikovParams()
        self.terms = ("utility",) if params.reward == "utility" else ("edge", "holding")
        super().__init__(params, num_envs, seed)
        self.gamma = self.params.gamma
        self._log_v = self._solve()

    def _start(self) -> None:
        super()._start()
        self._level = np.ones(self.num_envs)  # exp(-gamma (W_t - C t / T))

    def _advance(self, action: np.ndarray) -> np.ndarray:
        edge, holding, _ = self._trade(action)
        if self.params.reward == "wealth":
            return np.stack([edge, holding], axis=1)
        target = self.value() * (self.t + 1) / self.steps
        before, self._level = self._level, np.exp(-self.gamma * (self.equity - target))
        return ((before - self._level) / self.gamma)[:, None]

    def estimate(self, results: Results) -> tuple[float, float]:
        """Certainty equivalent of the final wealth, money; its error to first order.

        The mean of exp(-gamma W) has few large parts where gamma times the deviation of W exceeds 2: use `population`.
        """
        level = np.exp(-self.gamma * (results.profit - self.value()))
        mean, error = float(level.mean()), float(level.std(ddof=1) / np.sqrt(len(level)))
        return self.value() - np.log(mean) / self.gamma, error / mean / self.gamma

    def population(self, policy: Any, particles: int, seed: int = 0, groups: int = 8) -> np.ndarray:
        """(groups,) certainty equivalents by simulation with resampling, independent of each other.

        Environments of a group are copied or dropped by exp(-gamma dW), which works for any gamma (a Feynman-Kac particle
        model, Del Moral 2004); the bias vanishes as `particles` / `groups`, the size of a group, grows.
        """
        act, size = actor(policy), max(2, particles // groups)
        market = self.copy(size * groups, seed)
        obs, log, since = market.reset(), np.zeros(groups), np.zeros(size * groups)
        for i in range(self.steps):
            obs, _, _, _, info = market.step(act(obs))
            last = i + 1 == self.steps
            wealth = info["episodes"]["equity"]["maker"][:, 0].numpy() if last else market.equity
            gain = -self.gamma * (wealth - since).reshape(groups, size)
            weight = np.exp(gain - gain.max(axis=1, keepdims=True))
            total = weight.sum(axis=1)
            if last or (total**2 < 0.7 * size * (weight**2).sum(axis=1)).any():
                log += np.log(total / size) + gain.max(axis=1)
                if not last:
                    rows = _resample(weight, market.uniform(RESAMPLE)[:groups])
                    obs = market._keep(rows)
                    if getattr(policy, "state", None) is not None:
                        policy.state = policy.state[:, :, rows]  # what it remembers of environment i
                    since = np.array(market.equity)
        return -log / self.gamma

    def _keep(self, rows: np.ndarray) -> dict[str, Observation]:
        """Replace environment i by rows[i]."""
        for x in (self.inventory, self.equity, self.move, self._level):
            x[:] = x[rows]
        return self._seen()

    # --- closed form ---

    def _solve(self) -> np.ndarray:
        """(steps + 1, 2 Q + 1) log v_q(t), Gueant, Lehalle, Fernandez-Tapia (2013), theorem 1."""
        p = self.params
        held = np.arange(-p.max_inventory, p.max_inventory + 1.0)
        beside = p.A * np.exp(-(1.0 + p.k / p.gamma) * np.log1p(p.gamma / p.k))
        diagonal = -0.5 * p.k * p.gamma * p.sigma**2 * held**2
        return log_solution(diagonal, beside, np.zeros_like(held), p.dt, p.steps)

    def value(self) -> float:
        """Certainty equivalent of the best policy in continuous time, from no inventory: ln v_0(0) / k."""
        return float(self._log_v[0, self.params.max_inventory] / self.params.k)

    def optimal(self) -> Policy:
        """The exact best offsets in continuous time, Gueant, Lehalle, Fernandez-Tapia (2013), theorem 2."""
        p, log_v = self.params, self._log_v[:-1]
        steps = np.diff(log_v, axis=1) / p.k  # ln(v_{q+1} / v_q) / k
        base, widest = np.log1p(p.gamma / p.k) / p.gamma, p.offset_bound
        bid = np.pad(base - steps, ((0, 0), (0, 1)), constant_values=widest)
        ask = np.pad(base + steps, ((0, 0), (1, 0)), constant_values=widest)
        return table_policy("optimal", np.stack([bid, ask], axis=-1))

    def half_spread(self, left: np.ndarray | float) -> np.ndarray | float:
        """Half of Avellaneda and Stoikov's spread (equation 3.18) with `left` time to go, money."""
        p = self.params
        return 0.5 * p.gamma * p.sigma**2 * left + np.log1p(p.gamma / p.k) / p.gamma

    def inventory_strategy(self) -> Policy:
        """Avellaneda and Stoikov's: that half spread on both sides of the reservation price (equation 3.17)."""
        p = self.params

        def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
            left = p.T - step * p.dt
            shift, half = nodes[:, 0, 0] * p.gamma * p.sigma**2 * left, self.half_spread(left)
            return np.stack([half + shift, half - shift], axis=-1)

        return Policy("inventory", "maker", p.steps, rule)

    def symmetric_strategy(self) -> Policy:
        """The paper's benchmark: the same strategy's mean spread, around the mid."""
        p = self.params
        half = float(self.half_spread(0.5 * p.T))

        def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
            return np.full((len(step), 2), half)

        return Policy("symmetric", "maker", p.steps, rule)

    def policies(self) -> dict[str, Policy]:
        return {p.name: p for p in (self.optimal(), self.inventory_strategy(), self.symmetric_strategy())}

    def continuous_value(self, policy: Policy) -> float:
        """Certainty equivalent of a policy whose offsets change continuously, for steps of no length.

        Backward equation of E[exp(-gamma W_T)] by (inventory); the policy's rule is called at fractional steps.
        """
        p, g, most = self.params, self.gamma, self.params.max_inventory
        held = np.arange(-most, most + 1.0)
        nodes, edges = np.zeros((len(held), 1, 2)), np.zeros((len(held), 0, 1))
        nodes[:, 0, 0] = held

        def slope(s: float, y: np.ndarray) -> np.ndarray:
            """d/ds of the certainty equivalent y(q) with s time to go."""
            step = np.full(len(held), (p.T - s) / p.dt)
            offset = np.clip(policy.rule(step, nodes, edges), self._low, self._high)
            rate = p.A * np.exp(-p.k * offset) / g
            up = rate[:-1, 0] * -np.expm1(-g * (offset[:-1, 0] + y[1:] - y[:-1]))
            down = rate[1:, 1] * -np.expm1(-g * (offset[1:, 1] + y[:-1] - y[1:]))
            return np.append(up, 0.0) + np.append(0.0, down) - 0.5 * g * (p.sigma * held) ** 2

        solved = solve_ivp(
            slope, (0.0, p.T), np.zeros_like(held), "LSODA", rtol=1e-8, atol=1e-8, lband=1, uband=1
        )
        if not solved.success:
            raise RuntimeError(f"continuous_value: {solved.message}")
        return float(solved.y[most, -1])


def _resample(weight: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Systematic resampling: rows to keep, in place of each row, by weights (groups, n) and one draw (groups,) each."""
    groups, n = weight.shape
    rows = []
    for k in range(groups):
        share = np.cumsum(weight[k]) / weight[k].sum()
        rows.append(k * n + np.searchsorted(share, (np.arange(n) + draw[k]) / n).clip(max=n - 1))
    return np.concatenate(rows)
