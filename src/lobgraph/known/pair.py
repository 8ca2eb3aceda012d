"""A cointegrated pair: prices F + X / 2 and F - X / 2, F a Brownian motion, the gap X an Ornstein-Uhlenbeck process.

The position, -1, 0 or 1, is one unit of the first asset against one of the second; c is paid per unit of change. The best
rule reverses at two thresholds, long at X <= -b, short at X >= b, and is never flat once in: a position in {-1, 0, 1} is
the sum of two in {-1/2, 1/2}, cost and profit add up, and both halves have the same best rule. In continuous time b is
Bertram's (2010). In steps it follows from the equation of the advantage G(x) of being long over being short,

    G(x) = 2 E[X' - x | x] + E[min(max(G(X'), -2c), 2c) | x],    G(b) = -2c,

which is solved to rounding on Gauss-Legendre nodes, for the long run and, backwards, for an episode that ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfi, ndtr

from .market import KnownMarket, Policy
from .params import PairParams

GAP, FACTOR, START = 1, 2, 3  # purposes of draws
FAR = 8.0  # deviations of the gap beyond which it is never seen
DENSITY = 6.0  # nodes per half-width of the interval and deviation of a step: errors below 1e-10


class Line(NamedTuple):
    """Gauss-Legendre nodes on an interval."""

    at: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)


class PairMarket(KnownMarket[PairParams]):
    """Maximise the mean profit of an episode, from a gap drawn from its long-run law and no position."""

    role = "arbitrageur"
    action_names = ("direction", "close")  # > .5: long, < -.5: short, else keep; close > .5: none instead
    terms = ("holding", "cost")
    node_features = ("inventory", "move")  # units of the asset; price less its value at the start, money
    edge_features = ("gap", "position")  # money, of the first less the second price; -1, 0 or 1
    books = 2

    def __init__(self, params: PairParams | None = None, num_envs: int = 64, seed: int = 0) -> None:
        super().__init__(params or PairParams(), num_envs, seed)
        self._schedule: np.ndarray | None = None

    def _bounds(self) -> tuple[list[float], list[float]]:
        return [-1.0, -1.0], [1.0, 1.0]

    def _start(self) -> None:
        self.gap = self.params.gap_std * self.normal(START)  # (E,)
        self.move = np.zeros((self.num_envs, 2))

    def _look(self) -> None:
        self.nodes[:, 0, :, 0].numpy()[:] = self.inventory
        self.nodes[:, 0, :, 1].numpy()[:] = self.move
        self.edges[:, 0, 0].numpy()[:] = self.gap
        self.edges[:, 0, 1].numpy()[:] = self.inventory[:, 0]

    def _advance(self, action: np.ndarray) -> np.ndarray:
        p, before = self.params, self.inventory[:, 0].copy()
        towards = np.where(np.abs(action[:, 0]) > 0.5, np.sign(action[:, 0]), before)
        position = np.where(action[:, 1] > 0.5, 0.0, towards)
        gap = p.memory * self.gap + p.step_std * self.normal(GAP)
        rise = gap - self.gap
        factor = p.sigma_factor * np.sqrt(p.dt) * self.normal(FACTOR)
        self.move += np.stack([factor + 0.5 * rise, factor - 0.5 * rise], axis=1)
        holding, cost = position * rise, -p.cost * np.abs(position - before)
        self.gap = gap
        self.inventory[:] = np.stack([position, -position], axis=1)
        self.equity += holding + cost
        return np.stack([holding, cost], axis=1)

    # --- policies ---

    def thresholds(self, b: float | np.ndarray, name: str = "thresholds") -> Policy:
        """Long where the gap is at most -b, short where it is at least b, else as before; b one number or (steps,)."""
        by_step = np.broadcast_to(np.asarray(b, float), (self.steps,))

        def rule(step: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
            gap, most = edges[:, 0, 0], by_step[step]
            direction = np.where(gap >= most, -1.0, np.where(gap <= -most, 1.0, 0.0))
            return np.stack([direction, np.full_like(direction, -1.0)], axis=1)

        return Policy(name, "arbitrageur", self.steps, rule)

    def optimal(self) -> Policy:
        """The best thresholds of each step of an episode that ends: wider towards the end."""
        return self.thresholds(self.schedule(), "optimal")

    def policies(self) -> dict[str, Policy]:
        b = {"long_run": self.long_run(), "bertram": self.bertram(), "entry_at_cost": self.params.cost}
        return {"optimal": self.optimal()} | {name: self.thresholds(at, name) for name, at in b.items()}

    def value(self) -> float:
        """Mean profit of an episode under the best thresholds, money."""
        return self.profit(self.schedule())

    # --- continuous time ---

    def passage_time(self, b: float) -> float:
        """Mean time of the gap from -b to b: pi / theta erfi(b / (sqrt(2) deviation)) (Bertram 2010, equation 9)."""
        return float(np.pi / self.params.theta * erfi(b / (np.sqrt(2.0) * self.params.gap_std)))

    def continuous_rate(self, b: float) -> float:
        """Mean profit per time in the long run of reversing at -b and b without delay, money: 2 (b - c) / passage time."""
        return 2.0 * (b - self.params.cost) / self.passage_time(b)

    def bertram(self) -> float:
        """The threshold with the largest `continuous_rate`."""
        std, c = self.params.gap_std, self.params.cost / self.params.gap_std

        def slope(z: float) -> float:  # of the rate, times positive factors; z = b / deviation
            return float(
                np.pi * erfi(z / np.sqrt(2.0)) * np.exp(-0.5 * z * z) - (z - c) * np.sqrt(2.0 * np.pi)
            )

        return std * root(slope, c, FAR)

    # --- steps, in the long run ---

    def _line(self, low: float, high: float) -> Line:
        n = int(DENSITY * 0.5 * (high - low) / self.params.step_std) + 24
        x, w = _rule(n)
        return Line(0.5 * (low + high) + 0.5 * (high - low) * x, 0.5 * (high - low) * w)

    def _reach(self, x: np.ndarray, line: Line, b: float) -> tuple[np.ndarray, np.ndarray]:
        """From gaps x (m,): (m, n) weights of the next gap on the line, and (m,) P(next <= -b) - P(next >= b).

        The process looks the same backwards: these are the previous gap's as well.
        """
        p = self.params
        z = (line.at - p.memory * x[:, None]) / p.step_std
        inside = line.weight * np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * p.step_std)
        return inside, ndtr((-b - p.memory * x) / p.step_std) - ndtr((p.memory * x - b) / p.step_std)

    def long_run(self) -> float:
        """The best threshold of an episode without end."""
        p = self.params

        def excess(b: float) -> float:  # G(b) + 2c
            line = self._line(-b, b)
            inside, outside = self._reach(line.at, line, b)
            drift = -2.0 * (1.0 - p.memory)
            g = np.linalg.solve(np.eye(len(line.at)) - inside, drift * line.at + 2.0 * p.cost * outside)
            row, beyond = self._reach(np.array([b]), line, b)
            return float(drift * b + row[0] @ g + 2.0 * p.cost * beyond[0] + 2.0 * p.cost)

        low = min(1e-3 * p.gap_std, 0.5 * p.cost)
        return root(excess, low, 1.5 * self.bertram())  # steps make it smaller: a late reversal is a far one

    def rate(self, b: float) -> float:
        """Mean profit per time in the long run with threshold b in steps, money."""
        line = self._line(-b, b)
        inside, outside = self._reach(line.at, line, b)
        held = np.linalg.solve(np.eye(len(line.at)) - inside, outside)
        weight, rest = self._beyond(line, b, b)
        paid = 2.0 * self.params.cost * float(weight @ held + rest)
        return (self._holding(line, held, b) - paid) / self.params.dt

    def _holding(self, line: Line, held: np.ndarray, b: float) -> float:
        """Mean profit of a step from the mean position `held` on the line, 1 below it, -1 above it."""
        p = self.params
        law = _density(line.at / p.gap_std) / p.gap_std
        inside = np.sum(line.weight * law * line.at * held)
        return float((1.0 - p.memory) * (2.0 * p.gap_std * _density(b / p.gap_std) - inside))

    def _beyond(self, line: Line, b_before: float, b: float) -> tuple[np.ndarray, float]:
        """Weights (n,) and a constant: E[position of the step before + 1 where the gap is now at least b].

        To be applied to the mean position of the step before on its line.
        """
        p = self.params
        end = min(
            FAR * p.gap_std, (b + 10.0 * p.step_std) / p.memory
        )  # beyond it, the step before was beyond b too
        far = self._line(b, max(b + p.step_std, end))
        inside, outside = self._reach(far.at, line, b_before)
        law = far.weight * _density(far.at / p.gap_std) / p.gap_std
        return law @ inside, float(law @ (1.0 + outside))

    # --- steps, in an episode ---

    def schedule(self) -> np.ndarray:
        """(steps,) best thresholds of the steps of an episode, by backward induction."""
        if self._schedule is None:
            self._schedule = self._solve()
        return self._schedule

    def _solve(self) -> np.ndarray:
        far, two_c = FAR * self.params.gap_std, 2.0 * self.params.cost
        out = np.empty(self.steps)
        out[-1] = b = min(self.params.cost / (1.0 - self.params.memory), far)
        line = self._line(-b, b)
        g = -2.0 * (1.0 - self.params.memory) * line.at  # the advantage on the line, at the last decision
        for i in range(self.steps - 2, -1, -1):

            def excess(x: float, line: Line = line, g: np.ndarray = g, b: float = b) -> float:
                return float(self._advantage(np.array([x]), line, g, b)[0]) + two_c

            before = b, line, g
            b = far if excess(far) > 0.0 else root(excess, 0.0, far)
            line = self._line(-b, b)
            g = self._advantage(line.at, before[1], before[2], before[0])
            out[i] = b
            same = abs(b - before[0]) < 1e-12 * far and len(g) == len(before[2])
            if same and np.abs(g - before[2]).max() < 1e-12 * two_c:
                out[:i] = b  # as if there were no end
                break
        return out

    def _advantage(self, x: np.ndarray, line: Line, g: np.ndarray, b: float) -> np.ndarray:
        """G at gaps x (m,), from G on the line of the next step, whose threshold is b."""
        inside, outside = self._reach(x, line, b)
        return -2.0 * (1.0 - self.params.memory) * x + inside @ g + 2.0 * self.params.cost * outside

    def profit(self, b: float | np.ndarray) -> float:
        """Mean profit of an episode with thresholds b, one number or (steps,), money; exact."""
        by_step = np.broadcast_to(np.asarray(b, float), (self.steps,)).clip(1e-9, FAR * self.params.gap_std)
        two_c = 2.0 * self.params.cost
        at = float(by_step[0])
        line = self._line(-at, at)
        held = np.zeros(len(line.at))  # mean position after the decision, by gap
        total = self._holding(line, held, at) - two_c * float(ndtr(-at / self.params.gap_std))
        known = np.nan, np.nan  # the thresholds of the weights at hand
        weight = inside = outside = held
        rest, new = 0.0, line
        for now in by_step[1:].tolist():
            if known != (at, now):
                known, new = (at, now), self._line(-now, now)
                weight, rest = self._beyond(line, at, now)
                inside, outside = self._reach(new.at, line, at)
            total -= two_c * float(weight @ held + rest)
            line, at, held = new, now, inside @ held + outside
            total += self._holding(line, held, at)
        return total


@lru_cache(maxsize=256)
def _rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(n)


def _density(z: np.ndarray | float) -> np.ndarray | float:
    return np.exp(-0.5 * np.square(z)) / np.sqrt(2.0 * np.pi)


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes sign between low and high, to rounding."""
    found: Any = brentq(f, low, high, xtol=1e-13 * high)
    return float(found)
