"""Self-excitation of the order flow by maximum likelihood: a multi-exponential Hawkes process of kinds and sides.

In: events, and what the tables say of their rates between them. Out: shares of each kind's orders that others brought.
An event's rate is table rate x g, g = base + sum over (decay, cause, same or opposite side) of share x y, where y is the
excitation by that cause, scaled so that its mean is 1 (Hawkes 1971; Bacry, Mastromatteo, Muzy 2015). Base and shares add
up to 1, so that the tables stay the mean rates and the process is stable whatever the data. Given the decays the
likelihood is concave and separate for each kind of effect (Ozaki 1979); the decays are chosen from a grid, one after
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import kstwobign

from ..config import KINDS, HawkesConfig
from ..market.jit import kernel
from .events import Events

GRID = (0.02, 0.1, 0.5, 2.0, 10.0, 50.0, 200.0, 1000.0)  # decays to choose from, per second
LEAST_BASE = 0.02  # of g: what no other order brought; HawkesConfig wants it to be there
MOST_BROUGHT = 0.995  # of a kind's mean rate, by others: a scenario with more than all of it is refused


@dataclass(frozen=True)
class HawkesFit:
    """What brings orders. P = 1 + 6 M columns: base, then by decay, cause and same or opposite side."""

    decays: tuple[float, ...]  # M, per second
    shares: (
        np.ndarray
    )  # (M, 3, 2, 3) float64 by decay, cause, same or opposite side, effect: of the effect's orders
    base: np.ndarray  # (3,) float64: of g, what no order brought
    level: np.ndarray  # (3,) float64: fitted mean rate over the one given, near 1
    counts: np.ndarray  # (3,) int64 events
    gain: np.ndarray  # (3,) float64 log likelihood above that of the tables alone, per event
    ks: (
        np.ndarray
    )  # (3, 2) Kolmogorov-Smirnov distances of the rescaled waits to Exp(1): tables alone, with excitation
    memory: np.ndarray  # (3, 2) autocorrelation of the rescaled waits at lag 1, likewise
    bound: tuple[str, ...]  # kinds whose base is at its bound LEAST_BASE

    @property
    def radius(self) -> float:
        """The branching ratio: the same in orders as in shares."""
        return float(np.abs(np.linalg.eigvals(self.shares.sum(axis=(0, 2)))).max())

    def section(
        self, rates: np.ndarray, strength: float = 1.0, happen: np.ndarray | None = None
    ) -> dict[str, Any]:
        """HawkesConfig's fields for tables whose mean rates are `rates` (3,) per second and side, while events `happen` (3,)
        times a second (None: as the tables say): one of kind i brings shares[i, j] rates[j] / happen[i] of kind j, times
        `strength`; less of a kind of which others would bring more than MOST_BROUGHT."""
        happen = rates if happen is None else happen
        brought = strength * self.shares.sum(axis=2)
        same = np.where(brought > 0, strength * self.shares[:, :, 0] / np.maximum(brought, 1e-300), 0.5)
        orders = brought * (rates / happen[:, None])
        of_rates = (orders * rates[:, None] / rates).sum(axis=(0, 1))
        orders = orders * np.minimum(1.0, MOST_BROUGHT / np.maximum(of_rates, 1e-300))
        found = {
            "decays": [float(d) for d in self.decays],
            "branching": [[[float(f"{v:.4g}") for v in row] for row in table] for table in orders],
            "same_side": [[[round(float(v), 4) for v in row] for row in table] for table in same],
        }
        HawkesConfig(**found)
        return found

    def figures(self) -> dict[str, float]:
        """Named numbers of the fit, for tables."""
        found = {"branching ratio": self.radius}
        found |= {f"decay {m + 1} [1/s]": d for m, d in enumerate(self.decays)}
        for i, kind in enumerate(KINDS):
            found[f"{kind}: share brought by others"] = 1.0 - float(self.base[i])
            found[f"{kind}: log likelihood gain per event"] = float(self.gain[i])
            found[f"{kind}: KS, Poisson"], found[f"{kind}: KS"] = (float(v) for v in self.ks[i])
            found[f"{kind}: KS of chance (5 %)"] = float(
                kstwobign.isf(0.05) / np.sqrt(max(self.counts[i], 1))
            )
            found[f"{kind}: autocorrelation of waits, Poisson"] = float(self.memory[i, 0])
            found[f"{kind}: autocorrelation of waits"] = float(self.memory[i, 1])
        return found


def fit_hawkes(
    flow: Events, scale: np.ndarray | None = None, decays: Sequence[float] = GRID, count: int = 3
) -> HawkesFit:
    """Fit to `flow`. `scale` (n + 1, 3, 2) float64: table rates over their mean, by kind and side, before the first event
    and after each (None: constant). `decays`: all that may be chosen, `count` of them are (all, where they are no more).
    """
    n = len(flow.time)
    scale = np.ones((n + 1, 3, 2)) if scale is None else np.ascontiguousarray(scale, np.float64)
    grid = np.sort(np.asarray(decays, np.float64))[::-1].copy()
    counts = np.bincount(flow.kind, minlength=3)
    if scale.shape != (n + 1, 3, 2) or counts.min() == 0:
        raise ValueError(
            f"hawkes: needs events of all kinds and scale of shape ({n + 1}, 3, 2), got {scale.shape}"
        )
    problem = _Problem(flow, scale, grid)
    chosen = list(range(len(grid))) if len(grid) <= count else _choose(problem, count)
    fits = [problem.fit(j, chosen) for j in range(3)]
    theta = np.stack([f[0] for f in fits], axis=1)  # (P, 3)
    share = theta / theta.sum(axis=0)
    poisson = problem.waits(np.pad(np.ones((1, 3)), ((0, 6 * len(grid)), (0, 0))))
    waits = problem.waits(problem.widen(theta, chosen))
    return HawkesFit(
        decays=tuple(float(grid[m]) for m in chosen),
        shares=share[1:].reshape(len(chosen), 3, 2, 3),
        base=share[0],
        level=theta.sum(axis=0),
        counts=counts,
        gain=np.array([f[1] / c for f, c in zip(fits, counts, strict=True)]),
        ks=np.array([[_distance(x) for x in pair] for pair in zip(poisson, waits, strict=True)]),
        memory=np.array([[_memory(x) for x in pair] for pair in zip(poisson, waits, strict=True)]),
        bound=tuple(kind for kind, b in zip(KINDS, share[0], strict=True) if b < 1.05 * LEAST_BASE),
    )


class _Problem:
    """The likelihood's ingredients over a grid of decays: y at every event, and each y's integral."""

    def __init__(self, flow: Events, scale: np.ndarray, grid: np.ndarray) -> None:
        self.grid, n, self.flow, self.scale = grid, len(flow.time), flow, scale
        rates = np.bincount(flow.kind, minlength=3) / (2.0 * flow.seconds)
        self.weight = grid[:, None] / rates  # y of an event, (M, 3) by decay and cause
        self.seen = np.empty((n, 1 + 6 * len(grid)))
        self.spent = np.zeros((3, 1 + 6 * len(grid)))
        args = flow.time, flow.kind, flow.side, flow.seconds, scale, grid, self.weight
        _features(*args, np.zeros((len(grid), 3, 2)), self.seen, self.spent)
        self.args = args
        self.spent *= rates[:, None]  # expected events were the coefficient 1

    def columns(self, chosen: Sequence[int]) -> np.ndarray:
        """Columns of the base and of the chosen decays."""
        return np.concatenate([[0], *(1 + 6 * m + np.arange(6) for m in chosen)]).astype(np.int64)

    def fit(self, effect: int, chosen: Sequence[int]) -> tuple[np.ndarray, float]:
        """(P,) coefficients of one kind's g, and the log likelihood above that of the base alone."""
        use = self.columns(chosen)
        seen = np.ascontiguousarray(self.seen[self.flow.kind == effect][:, use])
        spent = self.spent[effect, use]
        n = len(seen)
        unit = spent / n  # coefficients in units of their share of the events

        def minus(x: np.ndarray) -> tuple[float, np.ndarray]:
            rate = seen @ (x / unit)
            slope = 1.0 - (seen.T @ (1.0 / rate)) / unit / n
            return float(x.sum() - np.log(rate).mean()), slope

        start = np.full(len(use), 0.5 / max(len(use) - 1, 1))
        start[0] = 0.5
        bounds = [(LEAST_BASE, None)] + [(0.0, None)] * (len(use) - 1)
        live = unit > 1e-12
        unit = np.where(live, unit, 1.0)
        bounds = [b if ok else (0.0, 0.0) for b, ok in zip(bounds, live, strict=True)]
        start[~live] = 0.0
        done = minimize(
            minus, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 400, "ftol": 1e-10}
        )
        return done.x / unit, float(n * (1.0 + np.log(unit[0]) - done.fun))

    def widen(self, theta: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
        """(P, 3) coefficients of the chosen decays among those of all."""
        full = np.zeros((self.seen.shape[1], 3))
        full[self.columns(chosen)] = theta
        return full

    def waits(self, theta: np.ndarray) -> list[np.ndarray]:
        """Per kind: integrals of the rate between the events of one side, both sides one after the other (time-rescaling
        theorem, Brown et al. 2002): Exp(1) and independent under a true model. Scaled to the events' number."""
        theta = theta * (np.bincount(self.flow.kind, minlength=3) / (theta * self.spent.T).sum(axis=0))
        rates = np.bincount(self.flow.kind, minlength=3) / (2.0 * self.flow.seconds)
        out = np.empty(len(self.flow.time))
        _rescale(*self.args, theta * rates, np.zeros((len(self.grid), 3, 2)), np.zeros((3, 2)), out)
        parts = []
        for j in range(3):
            sides = [out[(self.flow.kind == j) & (self.flow.side == s)] for s in range(2)]
            parts.append(np.concatenate([s[1:] for s in sides]))
        return parts


def _choose(problem: _Problem, count: int) -> list[int]:
    """Decays by forward selection on the likelihood of all kinds, then exchanged one at a time while that helps."""
    every = range(len(problem.grid))
    known: dict[tuple[int, ...], float] = {}

    def value(chosen: list[int]) -> float:
        key = tuple(sorted(chosen))
        if key not in known:
            known[key] = sum(problem.fit(j, key)[1] for j in range(3))
        return known[key]

    chosen: list[int] = []
    for _ in range(count):
        chosen.append(max((m for m in every if m not in chosen), key=lambda m: value([*chosen, m])))
    for _ in range(3):
        before = value(chosen)
        for place in range(count):
            rest = chosen[:place] + chosen[place + 1 :]
            chosen = [*rest, max((m for m in every if m not in rest), key=lambda m: value([*rest, m]))]
        if value(chosen) <= before + 1e-6 * abs(before):
            break
    return sorted(chosen)


def _distance(waits: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance to Exp(1)."""
    u = -np.expm1(-np.sort(waits))
    n = len(u)
    return float(max((np.arange(1, n + 1) / n - u).max(), (u - np.arange(n) / n).max())) if n else np.nan


def _memory(waits: np.ndarray) -> float:
    """Autocorrelation of the waits at lag 1, through their ranks: a few long ones do not decide it."""
    if len(waits) < 3:
        return np.nan
    rank = np.argsort(np.argsort(waits)).astype(np.float64)
    return float(np.corrcoef(rank[:-1], rank[1:])[0, 1])


def excitation(flow: Events, fit: HawkesFit) -> np.ndarray:
    """(n + 1, 3, 2) float64 mean of g over each stretch between events, by kind and side; 1 in the long run."""
    decays = np.asarray(fit.decays)
    rates = np.bincount(flow.kind, minlength=3) / (2.0 * flow.seconds)
    out = np.empty((len(flow.time) + 1, 3, 2))
    y = np.zeros((len(decays), 3, 2))
    _mean_g(
        flow.time,
        flow.kind,
        flow.side,
        flow.seconds,
        decays,
        decays[:, None] / rates,
        fit.base,
        fit.shares,
        y,
        out,
    )
    return out


@kernel()
def _mean_g(time, kind, side, seconds, decays, weight, base, shares, y, out):
    """Write `out` (n + 1, 3, 2): mean of g before each event since the last, and after the last. y (M, 3, 2) is scratch."""
    now = 0.0
    for e in range(time.shape[0] + 1):
        dt = (time[e] if e < time.shape[0] else seconds) - now
        for j in range(3):
            for s in range(2):
                out[e, j, s] = base[j]
        for d in range(decays.shape[0]):
            left = np.exp(-decays[d] * dt)
            area = (1.0 - left) / (decays[d] * dt) if dt > 0.0 else 1.0
            for i in range(3):
                for s in range(2):
                    for j in range(3):
                        for r in range(2):
                            out[e, j, s ^ r] += shares[d, i, r, j] * y[d, i, s] * area
                    y[d, i, s] *= left
        if e < time.shape[0]:
            now = time[e]
            for d in range(decays.shape[0]):
                y[d, kind[e], side[e]] += weight[d, kind[e]]


@kernel()
def _features(time, kind, side, seconds, scale, decays, weight, y, seen, spent):
    """Write `seen` (n, P): y before each event as its own side sees it; `spent` (3, P): integrals of scale x y over both
    sides. y (M, 3, 2) is scratch."""
    n, m = time.shape[0], decays.shape[0]
    now = 0.0
    for e in range(n + 1):
        then = time[e] if e < n else seconds
        dt = then - now
        for j in range(3):
            spent[j, 0] += (scale[e, j, 0] + scale[e, j, 1]) * dt
        for d in range(m):
            left = np.exp(-decays[d] * dt)
            area = (1.0 - left) / decays[d]
            for i in range(3):
                for s in range(2):
                    for j in range(3):
                        for r in range(2):
                            spent[j, 1 + 6 * d + 2 * i + r] += scale[e, j, s ^ r] * y[d, i, s] * area
                    y[d, i, s] *= left
        if e < n:
            seen[e, 0] = 1.0
            s = side[e]
            for d in range(m):
                for i in range(3):
                    seen[e, 1 + 6 * d + 2 * i] = y[d, i, s]
                    seen[e, 2 + 6 * d + 2 * i] = y[d, i, 1 - s]
                y[d, kind[e], s] += weight[d, kind[e]]
        now = then


@kernel()
def _rescale(time, kind, side, seconds, scale, decays, weight, rate, y, since, out):
    """Write `out` (n,): each event's integral of its rate since the last of its kind and side. rate (P, 3) per second and
    side; y (M, 3, 2) and since (3, 2) are scratch."""
    now = 0.0
    for e in range(time.shape[0]):
        dt = time[e] - now
        for j in range(3):
            for s in range(2):
                total = rate[0, j] * dt
                for d in range(decays.shape[0]):
                    area = -np.expm1(-decays[d] * dt) / decays[d]
                    for i in range(3):
                        p = 1 + 6 * d + 2 * i
                        total += (rate[p, j] * y[d, i, s] + rate[p + 1, j] * y[d, i, 1 - s]) * area
                since[j, s] += total * scale[e, j, s]
        for d in range(decays.shape[0]):
            left = np.exp(-decays[d] * dt)
            for i in range(3):
                for s in range(2):
                    y[d, i, s] *= left
            y[d, kind[e], side[e]] += weight[d, kind[e]]
        out[e] = since[kind[e], side[e]]
        since[kind[e], side[e]] = 0.0
        now = time[e]
