"""The cointegrated pair: profits by threshold, simulated and exact; the best threshold by search; Bertram's limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..known.market import mean_error
from ..known.pair import PairMarket
from .known_settings import Pair
from .table import Row

NAME = "pair"
PAPER = "Bertram 2010"
EXACT = "integral equation over steps"
TOLERANCE = 0.01
MULTIPLES = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])  # of the long run's threshold
BEST = 3  # place of 1 among them


class Outcome(NamedTuple):
    rows: list[Row]
    s: Pair
    curve: np.ndarray  # (n, 3) threshold; exact profit an episode in steps; Bertram's rate times T
    measured: np.ndarray  # (len(MULTIPLES), 3) threshold, mean profit of an episode, error
    best: tuple[float, float, float]  # threshold in the long run, Bertram's, profit under the best schedule
    schedule: np.ndarray  # (steps,) the best thresholds of an episode
    example: np.ndarray  # (steps, 2) gap before and position after each decision, one episode


def run(s: Pair, seed: int, note: Callable[[str], None]) -> Outcome:
    """Simulate the best schedule and constant thresholds; tolerance 1 % of the best profit (or four standard errors)."""
    market = PairMarket(s)
    given = f"theta {s.theta:g}, sigma {s.sigma:g}, c {s.cost:g}, T {s.T:g}, {s.steps} steps"
    b, limit, value = market.long_run(), market.bertram(), market.value()

    def row(
        name: str, of: str, measured: float, error: float, expected: float, source: str, tolerance: float
    ) -> Row:
        return Row(NAME, name, f"{of}{of and ', '}{given}", measured, error, expected, source, tolerance)

    rows, measured, profits = [], [], []
    mean, error = mean_error(market.simulate(market.optimal(), s.episodes, seed).profit)
    rows.append(row("profit an episode", "best thresholds", mean, error, value, EXACT, TOLERANCE * value))
    note(f"{NAME}: best thresholds: profit {mean:.4g} an episode")
    exact = [market.profit(float(b * m)) for m in MULTIPLES]
    for multiple, expected in zip(MULTIPLES, exact, strict=True):
        profits.append(market.simulate(market.thresholds(float(b * multiple)), s.episodes, seed).profit)
        mean, error = mean_error(profits[-1])
        measured.append((b * multiple, mean, error))
        rows.append(row("profit an episode", f"thresholds of {multiple:g} times the best", mean, error, expected,
                        EXACT, TOLERANCE * value))  # fmt: skip
    for i, multiple in enumerate(MULTIPLES):
        if i != BEST:
            paired = mean_error(profits[i] - profits[BEST])
            rows.append(row("profit less the best's, same noise", f"thresholds of {multiple:g} times the best", *paired,
                            exact[i] - exact[BEST], EXACT, TOLERANCE * value))  # fmt: skip
    threshold, rate = _limits(s)
    name = "extrapolated to steps of no length"
    rows.append(row(f"threshold, {name}", "", threshold, 0.0, limit, PAPER, TOLERANCE * limit))
    rows.append(row(f"profit per time, {name}", "", rate, 0.0, market.continuous_rate(limit), PAPER,
                    TOLERANCE * market.continuous_rate(limit)))  # fmt: skip
    grid = np.linspace(0.1, 2.5, 25) * b
    curve = np.array([(x, market.profit(float(x)), market.continuous_rate(float(x)) * s.T) for x in grid])
    return Outcome(
        rows, s, curve, np.array(measured), (b, limit, value), market.schedule(), _example(market, seed)
    )


def _limits(s: Pair) -> tuple[float, float]:
    """Best threshold and profit per time at Bertram's, by three fine steps and a parabola in the root of the step.

    Between decisions the gap overshoots a threshold by a multiple of that root (Broadie, Glasserman, Kou 1997).
    """
    roots, found = [], []
    longest = 0.01 * min(
        1.0 / s.theta, (PairMarket(s).bertram() / s.sigma) ** 2
    )  # a tenth of the threshold a step
    for dt in (longest, 0.5 * longest, 0.25 * longest):
        market = PairMarket(s.model_copy(update={"T": s.steps * dt}))
        roots.append(np.sqrt(dt))
        found.append((market.long_run(), market.rate(market.bertram())))
    threshold, rate = np.polyfit(roots, np.array(found), 2)[-1]
    return float(threshold), float(rate)


def _example(market: PairMarket, seed: int) -> np.ndarray:
    one, policy = market.copy(1, seed), market.optimal()
    obs, seen = one.reset(), []
    for _ in range(one.steps):
        before = float(one.gap[0])
        obs, _, _, _, info = one.step(policy(obs))
        ended = info["episodes"]
        held = one.inventory[0, 0] if ended is None else ended["inventory"]["arbitrageur"][0, 0, 0]
        seen.append((before, float(held)))
    return np.array(seen)
