"""Sellers with known answers: simulated costs against the closed forms, schedules against independent minimisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..known.almgren_chriss import AlmgrenChrissMarket
from ..known.cartea_jaimungal import ExecutionMarket
from ..known.market import mean_error, spread_error
from .known_settings import AlmgrenChriss, CjExecution
from .table import Row

CJ_PAPER = "Cartea, Jaimungal, Penalva 2015"
AC_PAPER = "Almgren, Chriss 2000"
SOLVED = "linear solve"
TOLERANCE = 0.01
ALLOWED = 0.1  # largest change of the best trajectory's exponent in a step: steps cost a 24th of its square
FINEST = 20_000  # steps
RISKS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)  # multiples of lambda on the frontier
HOLDINGS = (541_956, 289_854, 147_897, 62_142, 0)  # published, after each day
RANDOM = 2000  # schedules drawn for the figure


class CjExecutionOutcome(NamedTuple):
    rows: list[Row]
    s: CjExecution
    times: np.ndarray  # (steps + 1,) of the figure's market
    paths: dict[str, tuple[np.ndarray, np.ndarray]]  # by policy: simulated and exact lots held at `times`
    values: dict[str, tuple[float, float, float]]  # by policy: objective, its error, closed form


class AlmgrenChrissOutcome(NamedTuple):
    rows: list[Row]
    s: AlmgrenChriss
    holdings: dict[str, np.ndarray]  # by schedule (steps + 1,)
    frontier: np.ndarray  # (n, 2) mean and variance, a smooth curve
    measured: np.ndarray  # (len(RISKS), 4) mean cost, error, standard deviation, error by simulation
    random: np.ndarray  # (RANDOM, 2) mean and variance of other schedules


def cj_execution(s: CjExecution, seed: int, note: Callable[[str], None]) -> CjExecutionOutcome:
    """Objective, deviation and path of the best and the even seller; tolerance 1 % of the even seller's objective."""
    rate = np.sqrt(s.phi / s.k) * s.T
    steps = int(np.clip(np.ceil(rate / ALLOWED), s.steps, FINEST))
    market = ExecutionMarket(s.model_copy(update={"steps": steps}))
    given = f"q0 {s.q0:g}, k {s.k:g}, b {s.b:g}, phi {s.phi:g}, alpha {s.alpha:g}, T {s.T:g}"

    def row(
        name: str, of: str, measured: float, error: float, expected: float, source: str, tolerance: float
    ) -> Row:
        return Row("cj_execution", name, f"{of}, {given}", measured, error, expected, source, tolerance)

    rows, paths, values = [], {}, {}
    times = np.linspace(0.0, s.T, steps + 1)
    shares = {"optimal": market.path(times), "twap": 1.0 - times / s.T}
    closed = {"optimal": market.value(), "twap": market.twap_value()}
    episodes = max(100, min(s.episodes, s.episodes * s.steps // steps))
    for name, policy in market.policies().items():
        results = market.simulate(policy, episodes, seed)
        mean, expected = mean_error(results.objective), closed[name]
        rows.append(row("objective", name, *mean, expected, CJ_PAPER, TOLERANCE * abs(expected)))
        q = s.q0 * shares[name]
        holding = s.sigma * np.sqrt(
            market.params.dt * np.sum(q[:-1] ** 2 + q[:-1] * q[1:] + q[1:] ** 2) / 3.0
        )
        rows.append(row("deviation of profit", name, *spread_error(results.profit), float(holding),
                        "integral of the schedule", 2 * TOLERANCE * max(holding, 1e-9)))  # fmt: skip
        paths[name] = _path(market, policy), q
        middle = steps // 2
        rows.append(row("lots held at T / 2", name, float(paths[name][0][middle]), 0.0, float(q[middle]), CJ_PAPER,
                        0.002 * s.q0))  # fmt: skip
        values[name] = *mean, expected
        note(f"cj_execution: {name}: objective {mean[0]:.4g}")
    least = _best_schedule(market)
    rows.append(row("best objective of a schedule", f"{steps} steps", least, 0.0, market.value(), CJ_PAPER,
                    TOLERANCE * abs(market.value())))  # fmt: skip
    return CjExecutionOutcome(rows, s, times, paths, values)


def _path(market: ExecutionMarket, policy: Callable) -> np.ndarray:
    """(steps + 1,) lots held by the policy in a simulated episode."""
    one = market.copy(1, 0)
    obs, held = one.reset(), [market.params.q0]
    for _ in range(one.steps):
        obs, _, _, _, info = one.step(policy(obs))
        last = info["episodes"]
        held.append(float(one.inventory[0, 0] if last is None else last["inventory"]["taker"][0, 0, 0]))
    return np.array(held)


def _best_schedule(market: ExecutionMarket) -> float:
    """Largest objective over all schedules with the market's steps: a quadratic, solved as linear equations."""
    p, n = market.params, market.steps
    # minus the objective is q' H q / 2 over lots held q_1 .. q_n after each step, plus what q0 brings
    same = np.full(n, 4.0 * p.k / p.dt + 4.0 * p.phi * p.dt / 3.0)
    same[-1] = 2.0 * p.k / p.dt + 2.0 * p.phi * p.dt / 3.0 + 2.0 * p.alpha - p.b
    beside = -2.0 * p.k / p.dt + p.phi * p.dt / 3.0
    right = np.zeros(n)
    right[0] = -beside * p.q0
    q = _tridiagonal(same, beside, right)
    return market.objective_of(np.append(p.q0, q) / p.q0)


def _tridiagonal(diagonal: np.ndarray, beside: float, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric tridiagonal system with a constant beside the diagonal (Thomas)."""
    n = len(diagonal)
    upper, value = np.zeros(n), np.zeros(n)
    for i in range(n):
        pivot = diagonal[i] - (beside * upper[i - 1] if i else 0.0)
        upper[i] = beside / pivot
        value[i] = (right[i] - (beside * value[i - 1] if i else 0.0)) / pivot
    for i in range(n - 2, -1, -1):
        value[i] -= upper[i] * value[i + 1]
    return value


def almgren_chriss(s: AlmgrenChriss, seed: int, note: Callable[[str], None]) -> AlmgrenChrissOutcome:
    """Means and deviations along the frontier, and the schedule itself; tolerance 1 % (means: of the standard deviation)."""
    market = AlmgrenChrissMarket(s)
    given = f"lambda {s.risk:g}, X {s.X:g}, T {s.T:g}, N {s.steps}, sigma {s.sigma:g}, eta {s.eta:g}"

    def row(
        name: str, of: str, measured: float, error: float, expected: float, source: str, tolerance: float
    ) -> Row:
        return Row(
            "almgren_chriss", name, f"{of}{of and ', '}{given}", measured, error, expected, source, tolerance
        )

    rows, measured = [], []
    for multiple in RISKS:
        risk = multiple * s.risk
        schedule, of = market.holdings(risk), f"best at {multiple:g} lambda"
        results = market.simulate(market.schedule(of, schedule), max(s.episodes // len(RISKS), 100), seed)
        mean, variance = market.cost(schedule)
        std = float(np.sqrt(variance))
        cost, spread = mean_error(-results.profit), spread_error(results.profit)
        rows.append(row("expected cost", of, *cost, mean, AC_PAPER, TOLERANCE * max(mean, std)))
        rows.append(row("deviation of cost", of, *spread, std, AC_PAPER, TOLERANCE * max(std, 1e-3 * mean)))
        measured.append((*cost, *spread))
    note(f"almgren_chriss: expected cost {measured[RISKS.index(1.0)][0]:.6g}")
    optimum = mean_error(market.simulate(market.optimal(), s.episodes, seed).objective)
    rows.append(row("objective E + lambda V", "", -optimum[0], optimum[1], -market.value(), AC_PAPER,
                    TOLERANCE * abs(market.value())))  # fmt: skip
    best, closed = _least(s), market.holdings()
    name, trades = "holdings, best by linear equations", sorted({1, s.steps // 2, s.steps - 1} - {0, s.steps})
    rows += [
        row(name, f"after trade {k}", float(best[k]), 0.0, float(closed[k]), AC_PAPER, 1e-6 * s.X)
        for k in trades
    ]
    default = {k: v for k, v in AlmgrenChriss() if k != "episodes"}
    if all(getattr(s, k) == v for k, v in default.items()):
        for k, paper in enumerate(HOLDINGS, 1):
            rows.append(row("holdings", f"after day {k}", float(closed[k]), 0.0, paper, AC_PAPER, 1.0))
    return AlmgrenChrissOutcome(rows, s, _shown(market), *_curves(market, seed, np.array(measured)))


def _least(s: AlmgrenChriss) -> np.ndarray:
    """(steps + 1,) the schedule with the least E + lambda V, from the derivative of that quadratic."""
    trade, n = 2.0 * s.eta_left / s.tau, s.steps
    inner = np.full(n - 1, 2.0 * trade + 2.0 * s.risk * s.sigma**2 * s.tau)
    right = np.zeros(n - 1)
    if n > 1:
        right[0] = trade * s.X
    return np.concatenate([[s.X], _tridiagonal(inner, -trade, right), [0.0]])


def _shown(market: AlmgrenChrissMarket) -> dict[str, np.ndarray]:
    risk = market.params.risk
    named = {f"lambda {multiple * risk:g}": market.holdings(multiple * risk) for multiple in (0.1, 1.0, 10.0)}
    return {"TWAP (lambda 0)": market.holdings(0.0), **(named if risk > 0 else {})}


def _curves(
    market: AlmgrenChrissMarket, seed: int, measured: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frontier, the simulated points on it, and schedules that sell random parts: none may lie below."""
    risk, rng = market.params.risk or 1e-6, np.random.default_rng(seed)
    frontier = market.frontier(np.concatenate([[0.0], np.geomspace(1e-3 * risk, 1e3 * risk, 200)]))
    parts = rng.dirichlet(np.ones(market.steps), RANDOM) if market.steps > 1 else np.ones((RANDOM, 1))
    held = market.params.X * np.clip(1.0 - np.cumsum(parts, axis=1), 0.0, 1.0)
    held[:, -1] = 0.0
    start = np.full((RANDOM, 1), market.params.X)
    return frontier, measured, np.array([market.cost(x) for x in np.hstack([start, held])])
