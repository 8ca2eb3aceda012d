"""Signs of the market orders of a flow that excites itself and has hidden orders: its events without a book."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..market.jit import kernel
from .hawkes import HawkesFit
from .metaorders import length, unit

SIGNS = 20_000  # market orders simulated


def market_signs(
    fit: HawkesFit, rates: np.ndarray, metaorders: dict[str, Any] | None, seed: int = 1
) -> np.ndarray:
    """(SIGNS,) int8 signs. `rates` (3,): mean events per second and side by kind; `metaorders`: MetaorderConfig's fields
    (None: sides as excitation has them). A part of a hidden order excites as its own side does, as in the market."""
    m = metaorders or {"active": 1, "exponent": 1.5, "longest": 1, "share": 0.0}
    decays = np.asarray(fit.decays)
    out = np.zeros(SIGNS, np.int8)
    y = np.zeros((len(decays), 3, 2))
    settings = seed, m["active"], float(m["exponent"]), float(m["share"]), m["longest"]
    _thin(settings, decays, decays[:, None] / rates, fit.base, fit.shares, rates,
          np.zeros(m["active"], np.int64), np.zeros(m["active"], np.int8), y, np.zeros((3, 2)), out)  # fmt: skip
    return out


@kernel()
def _thin(settings, decays, weight, base, shares, rates, left, side, y, g, out):
    """Write (n,) signs by Ogata's thinning (1981). y (M, 3, 2), g (3, 2) and left, side (active,) are scratch."""
    seed, active, exponent, share, longest = settings
    count = 0
    found = -500  # the first ones only mix short and long orders
    bound = _intensities(decays, base, shares, rates, y, g)
    while found < out.shape[0]:
        count += 5
        step = -np.log(1.0 - unit(seed, count)) / bound
        for d in range(decays.shape[0]):
            fall = np.exp(-decays[d] * step)
            for i in range(3):
                y[d, i, 0] *= fall
                y[d, i, 1] *= fall
        now = _intensities(decays, base, shares, rates, y, g)
        u = unit(seed, count + 1) * bound
        bound = now
        if u >= now:
            continue
        kind, s = 0, 0
        while kind < 2 and u >= g[kind, 0] + g[kind, 1]:
            u -= g[kind, 0] + g[kind, 1]
            kind += 1
        s = 1 if u >= g[kind, 0] else 0
        if kind == 1:
            own = share * base[1] * rates[1] / g[1, s]
            u = unit(seed, count + 2)
            if u < own:
                i = np.int64(u / own * active)
                if left[i] == 0:
                    left[i] = length(unit(seed, count + 3), exponent, longest)
                    side[i] = 1 if unit(seed, count + 4) < 0.5 else 0
                left[i] -= 1
                s = side[i]
            if found >= 0:
                out[found] = 1 - 2 * s
            found += 1
        for d in range(decays.shape[0]):
            y[d, kind, s] += weight[d, kind]
        bound = _intensities(decays, base, shares, rates, y, g)


@kernel()
def _intensities(decays, base, shares, rates, y, g):
    """Write the rates g (3, 2) by kind and side; returns their sum."""
    total = 0.0
    for j in range(3):
        for s in range(2):
            g[j, s] = base[j]
            for d in range(decays.shape[0]):
                for i in range(3):
                    g[j, s] += shares[d, i, 0, j] * y[d, i, s] + shares[d, i, 1, j] * y[d, i, 1 - s]
            g[j, s] *= rates[j]
            total += g[j, s]
    return total
