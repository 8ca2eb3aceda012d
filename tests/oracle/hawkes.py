"""A Hawkes process by Ogata's thinning, one candidate at a time: slow and obvious."""

from __future__ import annotations

import numpy as np


def simulate_hawkes(rates, shares, decays, seconds, seed=0, scale=lambda t: np.ones((3, 2))):
    """Times, kinds and sides of a Hawkes process over `seconds`.

    `rates` (3,): mean events per second and side by kind. `shares` (M, 3, 2, 3): of the effect's events, by decay, cause,
    same or opposite side and effect. `scale(t)`: (3, 2) multipliers of all rates, at most 2.
    """
    rng = np.random.default_rng(seed)
    rates, shares, decays = (np.asarray(x, np.float64) for x in (rates, shares, decays))
    excited = np.zeros((len(decays), 3, 2))  # by decay, cause and its side: sum of exp(-decay * age)
    base = 1.0 - shares.sum(axis=(0, 1, 2))

    def intensity(y):
        lit = decays[:, None, None] * y / rates[:, None]  # mean 1 each
        own = np.einsum("mij,mis->js", shares[:, :, 0], lit)
        other = np.einsum("mij,mis->js", shares[:, :, 1], lit[:, :, ::-1])
        return rates[:, None] * (base[:, None] + own + other)

    now, out = 0.0, []
    while True:
        bound = 2.0 * intensity(excited).sum()
        step = rng.exponential(1.0 / bound)
        now += step
        if now > seconds:
            break
        excited *= np.exp(-decays * step)[:, None, None]
        here = (intensity(excited) * scale(now)).ravel()
        u = rng.random() * bound
        if u < here.sum():
            kind, side = divmod(int(np.searchsorted(np.cumsum(here), u)), 2)
            excited[:, kind, side] += 1.0
            out.append((now, kind, side))
    time, kind, side = zip(*out, strict=True)
    return np.array(time), np.array(kind), np.array(side)
