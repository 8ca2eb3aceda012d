"""Makers with known answers: simulation against the exact recursion of its steps, and both against the closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..known.avellaneda_stoikov import AvellanedaStoikovMarket
from ..known.cartea_jaimungal import MakingMarket
from ..known.market import Results, mean_error, spread_error
from ..known.quoting import Exact
from .known_settings import AvellanedaStoikov, CjMaking
from .table import Row

AS_PAPER = "Avellaneda, Stoikov 2008"
GLFT = "Gueant, Lehalle, Fernandez-Tapia 2013"
CJ_PAPER = "Cartea, Jaimungal, Penalva 2015"
RECURSION = "exact recursion over steps"
ODE = "backward equation"
TOLERANCE = 0.01  # of the value
PUBLISHED = {  # profit, its deviation, that of the final inventory; gamma .1, 1,000 paths (tables 1)
    "inventory": (65.0, 6.6, 2.9),
    "symmetric": (68.4, 12.7, 8.4),
}
PATHS = 1000
FINEST = 20_000  # steps
MULTIPLES = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])  # of the best offsets
BEST = 3  # place of 1 among them


class AvellanedaStoikovOutcome(NamedTuple):
    rows: list[Row]
    s: AvellanedaStoikov
    played: dict[str, Results]
    offsets: dict[str, np.ndarray]  # (2 Q + 1, 2) at the start
    convergence: (
        np.ndarray
    )  # (n, 4) steps; value of the best policy, linear and exact fills; of the inventory strategy
    measured: (
        np.ndarray
    )  # (2, 3) steps, certainty equivalent and error of optimal and inventory by simulation
    limits: tuple[float, float]  # certainty equivalents of the two in continuous time


class CjMakingOutcome(NamedTuple):
    rows: list[Row]
    s: CjMaking
    played: dict[str, Results]
    offsets: np.ndarray  # (3, 2 Q + 1, 2) of the best policy at the start, near the end, at the end
    times: tuple[float, ...]  # of those, time left
    search: np.ndarray  # (len(MULTIPLES), 3) simulated objective, error, exact
    value: float


def fine_steps(s: AvellanedaStoikov | CjMaking) -> int:
    """Steps in which hardly a second fill of a side falls, at least 1,000."""
    return int(np.clip(np.ceil(7.0 * s.A * s.T), max(1000, s.steps), FINEST))


def _moments(row: Callable[..., Row], name: str, played: Results, exact: Exact) -> list[Row]:
    """Three rows: profit, its deviation, that of the final inventory; tolerance 1 % of the profit's scale."""
    scale = max(abs(exact.profit), exact.profit_std)
    held = spread_error(played.inventory[:, 0])
    return [
        row("mean profit", name, *mean_error(played.profit), exact.profit, RECURSION, TOLERANCE * scale),
        row("deviation of profit", name, *spread_error(played.profit), exact.profit_std, RECURSION,
            2 * TOLERANCE * max(exact.profit_std, TOLERANCE * scale)),
        row("deviation of final inventory", name, *held, exact.inventory_std, RECURSION,
            2 * TOLERANCE * max(exact.inventory_std, 1.0)),
    ]  # fmt: skip


def avellaneda_stoikov(
    s: AvellanedaStoikov, seed: int, note: Callable[[str], None]
) -> AvellanedaStoikovOutcome:
    """Profits of three strategies at the given steps, certainty equivalents at fine ones, limits for steps of no length."""
    market = AvellanedaStoikovMarket(s)
    given = f"gamma {s.gamma:g}, k {s.k:g}, A {s.A:g}, sigma {s.sigma:g}, T {s.T:g}"

    def row(
        name: str, of: str, measured: float, error: float, expected: float, source: str, tolerance: float
    ) -> Row:
        return Row("avellaneda_stoikov", name, f"{of}, {given}", measured, error, expected, source, tolerance)

    rows, played, offsets = [], {}, {}
    default = {k: v for k, v in AvellanedaStoikov() if k not in ("episodes", "particles")}
    published = all(getattr(s, k) == v for k, v in default.items())
    for name, policy in market.policies().items():
        played[name] = market.simulate(policy, s.episodes, seed)
        offsets[name] = market.table(policy)[0]
        rows += _moments(row, f"{name}, {s.steps} steps", played[name], market.exact(policy))
        if published and name in PUBLISHED:
            rows += _printed(row, name, played[name])
        note(f"avellaneda_stoikov: {name}: profit {played[name].profit.mean():.4g}")
    limits = market.value(), market.continuous_value(market.inventory_strategy())
    convergence = _converge(s)
    fine = AvellanedaStoikovMarket(s.model_copy(update={"steps": fine_steps(s)}))
    scale = max(abs(limits[0]), 1.0 / s.k)
    measured = []
    for policy, limit, source in (
        (fine.optimal(), limits[0], GLFT),
        (fine.inventory_strategy(), limits[1], ODE),
    ):
        ce = mean_error(fine.population(policy, s.particles, seed))
        measured.append((fine.steps, *ce))
        name = f"{policy.name}, {fine.steps} steps"
        rows.append(
            row("certainty equivalent", name, *ce, fine.exact_value(policy), RECURSION, TOLERANCE * scale)
        )
        rows.append(row("certainty equivalent", name, *ce, limit, source, 3 * TOLERANCE * scale))
        note(f"avellaneda_stoikov: {policy.name}: certainty equivalent {ce[0]:.4g}")
    for name, column, limit, source in (("optimal", 1, limits[0], GLFT), ("inventory", 3, limits[1], ODE)):
        extrapolated = 2.0 * convergence[-1, column] - convergence[-2, column]
        rows.append(row("certainty equivalent, extrapolated to steps of no length", name, float(extrapolated), 0.0,
                        limit, source, 0.002 * scale))  # fmt: skip
    return AvellanedaStoikovOutcome(rows, s, played, offsets, convergence, np.array(measured), limits)


def _printed(row: Callable[..., Row], name: str, played: Results) -> list[Row]:
    """The paper's three numbers, each with the sampling error of its 1,000 paths."""
    names = "mean profit", "deviation of profit", "deviation of final inventory"
    found = mean_error(played.profit), spread_error(played.profit), spread_error(played.inventory[:, 0])
    rows = []
    for quantity, (x, error), paper in zip(names, found, PUBLISHED[name], strict=True):
        theirs = error * np.sqrt(len(played.profit) / PATHS)
        rows.append(row(quantity, name, x, float(np.hypot(error, theirs)), paper, AS_PAPER, 0.5))
    return rows


def _converge(s: AvellanedaStoikov) -> np.ndarray:
    """(4, 4) number of steps, up to the fine one, and the exact values of AvellanedaStoikovOutcome.convergence."""
    out = []
    for part in (8, 4, 2, 1):
        fine = s.model_copy(update={"steps": fine_steps(s) // part, "fills": "linear"})
        linear = AvellanedaStoikovMarket(fine)
        exact = AvellanedaStoikovMarket(fine.model_copy(update={"fills": "exact"}))
        values = [m.exact_value(m.optimal()) for m in (linear, exact)]
        out.append((fine.steps, *values, linear.exact_value(linear.inventory_strategy())))
    return np.array(out)


def cj_making(s: CjMaking, seed: int, note: Callable[[str], None]) -> CjMakingOutcome:
    """Objectives at the given steps and at fine ones; the value by its differential equation; other offsets are worse."""
    market = MakingMarket(s)
    given = f"phi {s.phi:g}, alpha {s.alpha:g}, k {s.k:g}, A {s.A:g}, T {s.T:g}, Q {s.max_inventory}"

    def row(
        name: str, of: str, measured: float, error: float, expected: float, source: str, tolerance: float
    ) -> Row:
        return Row(
            "cj_making", name, f"{of}{of and ', '}{given}", measured, error, expected, source, tolerance
        )

    rows, played = [], {}
    scale = max(abs(market.value()), 1.0 / s.k)
    for name, policy in market.policies().items():
        played[name] = market.simulate(policy, s.episodes, seed)
        exact, at = market.exact(policy), f"{name}, {s.steps} steps"
        rows += _moments(row, at, played[name], exact)
        mean = mean_error(played[name].objective)
        rows.append(row("objective", at, *mean, exact.value, RECURSION, TOLERANCE * scale))
        note(f"cj_making: {name}: objective {mean[0]:.4g}")
    fine = MakingMarket(s.model_copy(update={"steps": fine_steps(s), "fills": "poisson"}))
    mean = mean_error(fine.simulate(fine.optimal(), max(s.episodes // 4, 100), seed).objective)
    rows.append(
        row("objective", f"optimal, {fine.steps} steps", *mean, market.value(), CJ_PAPER, TOLERANCE * scale)
    )
    rows.append(
        row("value h(0, 0)", ODE, market.integrated_value(), 0.0, market.value(), CJ_PAPER, 1e-5 * scale)
    )
    search, lost = _search(market, s.episodes // 4, seed)
    for multiple, (_, _, exact_value), (mean, error) in zip(MULTIPLES, search, lost, strict=True):
        if multiple != 1.0:
            name, expected = f"{multiple:g} times the best offsets", exact_value - search[BEST, 2]
            rows.append(row("objective less the best, same noise", name, mean, error, expected, RECURSION,
                            TOLERANCE * scale))  # fmt: skip
    table = market.table(market.optimal())
    near = s.steps - max(1, s.steps // 20)
    times = tuple(s.T * (1.0 - i / s.steps) for i in (0, near, s.steps - 1))
    return CjMakingOutcome(rows, s, played, table[[0, near, -1]], times, search, market.value())


def _search(market: MakingMarket, episodes: int, seed: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """With the best offsets multiplied: (len(MULTIPLES), 3) mean objective, error, exact; mean and error less the best's."""
    exact = [market.exact_value(market.scaled(float(m))) for m in MULTIPLES]
    played = [market.simulate(market.scaled(float(m)), max(episodes, 100), seed).objective for m in MULTIPLES]
    search = np.array([(*mean_error(x), want) for x, want in zip(played, exact, strict=True)])
    return search, [mean_error(x - played[BEST]) for x in played]
