"""A maker alone before Poisson buyers and sellers: what Avellaneda-Stoikov's and Cartea-Jaimungal's markets share.

The mid is S0 + sigma * Brownian motion. A quote `delta` from the mid is filled, one lot at a time, at rate A exp(-k delta).
Within a step the offsets stand; then the mid moves. Fills of a side in a step:
- linear: one with probability min(1, A exp(-k delta) dt), as in Avellaneda and Stoikov's simulation;
- exact: one with probability 1 - exp(-A exp(-k delta) dt): the quote is not renewed within the step;
- poisson: as many as the rate brings, up to the inventory limit, at uniform times.
Besides the simulation there is an exact recursion for any policy of (step, inventory).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import gammaln

from .market import KnownMarket, Policy
from .params import QuotingParams

BUYS, SELLS, MOVE, START = 1, 2, 3, 4  # purposes of draws
Q = TypeVar("Q", bound=QuotingParams)


class Exact(NamedTuple):
    """What a policy brings in the market of given steps, without simulation."""

    profit: float  # mean, money
    profit_std: float
    inventory_std: float  # of the final inventory, lots
    value: float  # mean objective, or certainty equivalent, money


class QuotingMarket(KnownMarket[Q]):
    """One maker, one book; see the module for `params.fills`."""

    role = "maker"
    action_names = ("bid_offset", "ask_offset")  # from the mid, money; a negative one is beyond it
    node_features = ("inventory", "move")  # lots; mid less its value at the start, money
    gamma: float = 0.0  # absolute risk aversion, per money; 0: the mean counts
    phi: float = 0.0  # running penalty, money per lot^2 and time
    alpha: float = 0.0  # penalty on the final inventory, money per lot^2

    def _bounds(self) -> tuple[list[float], list[float]]:
        widest = self.params.offset_bound
        return [-widest, -widest], [widest, widest]

    def _start(self) -> None:
        self.move = np.zeros(self.num_envs)  # (E,) mid less S0
        if widest := min(self.params.start_inventory, self.params.max_inventory):
            self.inventory[:, 0] = np.floor((2 * widest + 1) * self.uniform(START)) - widest

    def _look(self) -> None:
        self.nodes[:, 0, 0, 0].numpy()[:] = self.inventory[:, 0]
        self.nodes[:, 0, 0, 1].numpy()[:] = self.move

    def _trade(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fill and move the mid. Returns edge and holding profit (E,) money, and the time integral of q^2 (E,)."""
        p, q = self.params, self.inventory[:, 0]
        bought = self._fills(action[:, 0], p.max_inventory - q, BUYS)
        sold = self._fills(action[:, 1], p.max_inventory + q, SELLS)
        squared = integral_of_square(q, bought, sold) * p.dt
        q += bought - sold  # in place
        shock = p.sigma * np.sqrt(p.dt) * self.normal(MOVE)
        edge, holding = bought * action[:, 0] + sold * action[:, 1], q * shock
        self.move += shock
        self.equity += edge + holding
        return edge, holding, squared

    def _fills(self, offset: np.ndarray, room: np.ndarray, purpose: int) -> np.ndarray:
        """(E,) lots filled at these offsets, at most `room`."""
        draw = self.uniform(purpose)
        mean = self.params.A * np.exp(-self.params.k * offset) * self.params.dt
        if self.params.fills != "poisson":
            chance = np.minimum(mean, 1.0) if self.params.fills == "linear" else -np.expm1(-mean)
            return np.where(room > 0, draw < chance, False).astype(float)
        count, pmf = np.zeros(self.num_envs), np.exp(-mean)
        more, below, n = 1.0 - draw > pmf, pmf, 0  # a small draw fills, as in the other laws
        while (more := more & (count < room)).any():
            count += more
            n += 1
            pmf = pmf * mean / n
            below = below + pmf
            more &= 1.0 - draw > below
        return count

    # --- any policy, exactly ---

    def table(self, policy: Policy) -> np.ndarray:
        """(steps, 2 Q + 1, 2) offsets of a policy by step and inventory -Q..Q, where the mid has not moved."""
        held = np.arange(-self.params.max_inventory, self.params.max_inventory + 1.0)
        nodes = np.zeros((len(held), 1, 2))
        nodes[:, 0, 0] = held
        edges = np.zeros((len(held), 0, 1))
        rows = [policy.rule(np.full(len(held), i), nodes, edges) for i in range(self.steps)]
        return np.clip(rows, self._low, self._high)

    def exact(self, policy: Policy) -> Exact:
        """Mean, deviation and value of a policy by backward recursion over (step, inventory); no simulation."""
        p, most = self.params, self.params.max_inventory
        held = np.arange(-most, most + 1.0)
        mean, square, final, final_square = np.zeros_like(held), np.zeros_like(held), held, held**2
        for offsets in self.table(policy)[::-1]:
            at, law, edge, _ = self._outcomes(offsets)
            noise = p.sigma**2 * p.dt * held[at] ** 2
            square = np.sum(law * (edge**2 + noise + 2.0 * edge * mean[at] + square[at]), axis=(1, 2))
            mean = np.sum(law * (edge + mean[at]), axis=(1, 2))
            final, final_square = (np.sum(law * x[at], axis=(1, 2)) for x in (final, final_square))
        spread = np.sqrt(np.maximum(square - mean**2, 0.0)), np.sqrt(np.maximum(final_square - final**2, 0.0))
        profit, std, left = (float(x[most]) for x in (mean, *spread))
        return Exact(profit, std, left, self.exact_value(policy))

    def exact_value(self, policy: Policy) -> float:
        """Mean objective of a policy, or with `gamma` its certainty equivalent, money; by the same recursion."""
        p, g = self.params, self.gamma
        held = np.arange(-p.max_inventory, p.max_inventory + 1.0)
        value = np.zeros_like(held) if g else -self.alpha * held**2
        for offsets in self.table(policy)[::-1]:
            at, law, edge, squared = self._outcomes(offsets)
            if g:
                gain = 0.5 * (g * p.sigma * held[at]) ** 2 * p.dt - g * (edge + value[at])
                top = np.where(law > 0, gain, -np.inf).max(axis=(1, 2), keepdims=True)
                mean = np.sum(law * np.exp(np.minimum(gain - top, 0.0)), axis=(1, 2))
                value = -(np.log(mean) + top[:, 0, 0]) / g
            else:
                value = np.sum(law * (edge - self.phi * p.dt * squared + value[at]), axis=(1, 2))
        return float(value[p.max_inventory])

    def _outcomes(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What a step may bring at `offsets` (2 Q + 1, 2), by inventory, lots bought and lots sold, (2 Q + 1, M, M).

        Index of the next inventory, probability, edge (money) and mean squared inventory on the way.
        """
        most = self.params.max_inventory
        counts, law = self._law(offsets)
        bought, sold = counts[:, None], counts[None, :]
        held = np.arange(-most, most + 1)[:, None, None]
        at = np.clip(held + bought - sold, -most, most) + most
        edge = bought * offsets[:, 0, None, None] + sold * offsets[:, 1, None, None]
        return at, law, edge, integral_of_square(held, bought, sold)

    def _law(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts 0..M and the law (2 Q + 1, M + 1, M + 1) of bids and asks filled in a step at `offsets` (2 Q + 1, 2)."""
        most = self.params.max_inventory
        held = np.arange(-most, most + 1)
        mean = self.params.A * np.exp(-self.params.k * offsets) * self.params.dt  # (2 Q + 1, 2)
        room = np.stack([most - held, most + held], axis=1)
        if self.params.fills != "poisson":
            chance = np.minimum(mean, 1.0) if self.params.fills == "linear" else -np.expm1(-mean)
            chance = np.where(room > 0, chance, 0.0)
            law = np.stack([1.0 - chance, chance], axis=-1)
        else:
            largest = float(np.minimum(mean, room).max())
            top = min(2 * most, int(largest + 10.0 * np.sqrt(largest) + 12))
            i = np.arange(top + 1)
            pmf = np.exp(i * np.log(mean)[..., None] - mean[..., None] - gammaln(i + 1))
            law = np.where(i < room[..., None], pmf, 0.0)
            last = np.minimum(room, top)[..., None]  # where the side is full: all that is left of the law
            law = np.where(i == last, 1.0 - law.sum(axis=-1, keepdims=True), law).clip(min=0.0)
        return np.arange(law.shape[-1]), law[:, 0, :, None] * law[:, 1, None, :]


def integral_of_square(q: np.ndarray, bought: np.ndarray, sold: np.ndarray) -> np.ndarray:
    """Mean over a step of the squared inventory when fills come at uniform times, in expectation over these times."""
    d = bought - sold
    return q**2 + q * d + d**2 / 3.0 + (bought + sold) / 6.0


def table_policy(name: str, table: np.ndarray) -> Policy:
    """Offsets looked up in `table` (steps, 2 Q + 1, 2) by step and inventory."""
    most = table.shape[1] // 2

    def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
        held = np.clip(np.rint(nodes[:, 0, 0]).astype(np.int64), -most, most)
        return table[step, held + most]

    return Policy(name, "maker", len(table), rule)


def log_solution(diagonal: np.ndarray, beside: float, last: np.ndarray, dt: float, steps: int) -> np.ndarray:
    """log w at times 0, dt, ..., steps * dt, (steps + 1, n), of -dw/dt = B w, w(end) = exp(last).

    B is tridiagonal with `diagonal` (n,) and `beside` >= 0 next to it. All products are of non-negative numbers (a
    Taylor series of exp(B dt) shifted by its smallest diagonal entry, squared), so that small entries are accurate too.
    """
    shift = diagonal.min()
    matrix = (np.diag(diagonal - shift) + beside * (np.eye(len(last), k=1) + np.eye(len(last), k=-1))) * dt
    halvings = max(0, int(np.ceil(np.log2(max(matrix.sum(axis=1).max(), 1e-300)))))
    power, term = np.eye(len(last)), np.eye(len(last))
    for i in range(1, 24):
        term = term @ matrix / (i * 2.0**halvings)
        power = power + term
    scale = 0.0  # log of what was divided out
    for _ in range(halvings):
        power = power @ power
        scale = 2.0 * scale + np.log(power.max())
        power /= power.max()
    out = [last]
    for _ in range(steps):
        top = out[-1].max()
        out.append(np.log(power @ np.exp(out[-1] - top)) + top + scale + shift * dt)
    return np.array(out[::-1])
