"""Exact laws of birth-death queues: who empties first, who is executed first, how long a queue is.

A best queue grows by limit orders (`birth`), shrinks by market orders (`market`) and by cancels (`cancel` per order):
Cont, Stoikov, Talreja (2010), section 3. At spreads above one, an order inside the spread (`inside`, per side) moves
the mid as well. Solved as sparse linear systems on queues of at most `most` orders (births stop there).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_banded
from scipy.sparse import csc_matrix, identity, kron
from scipy.sparse.linalg import spsolve

MOST = 80  # orders in a queue; doubled until the answer stands still
LARGEST = 320


def _one_queue(birth: float, market: float, cancel: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(most,) rates up and down out of lengths 1..most."""
    n = np.arange(1, most + 1)
    return np.where(n < most, birth, 0.0), market + cancel * n


def _race(birth: float, market: float, cancel: float, inside: float, most: int) -> csc_matrix:
    """(most^2, most^2) generator of two queues, killed when one empties or an order comes inside the spread."""
    up, down = _one_queue(birth, market, cancel, most)
    one = csc_matrix(np.diag(-(up + down)) + np.diag(up[:-1], 1) + np.diag(down[1:], -1))
    eye = identity(most)
    return csc_matrix(kron(one, eye) + kron(eye, one) - 2.0 * inside * identity(most * most))


def move_up(birth: float, market: float, cancel: float, inside: float = 0.0, most: int = MOST) -> np.ndarray:
    """(most, most) float64: P(the next mid move is up) with i + 1 bids and j + 1 asks at the best prices.

    Up: the ask queue empties, or a buyer's order comes inside the spread. Rates per second; `birth`, `market`, `inside`
    per side, `cancel` per order. Cont, Stoikov, Talreja 2010, propositions 3 and 4, here without Laplace transforms.
    """
    _, down = _one_queue(birth, market, cancel, most)
    to_up = np.full((most, most), inside)
    to_up[:, 0] += down[0]
    chance = spsolve(_race(birth, market, cancel, inside, most), -to_up.ravel())
    return np.asarray(chance).reshape(most, most)


def race_time(
    birth: float, market: float, cancel: float, inside: float = 0.0, most: int = MOST
) -> np.ndarray:
    """(most, most) float64 s: mean time until the mid moves, from i + 1 bids and j + 1 asks."""
    seconds = spsolve(_race(birth, market, cancel, inside, most), -np.ones(most * most))
    return np.asarray(seconds).reshape(most, most)


def executed_first(
    places: int, birth: float, market: float, cancel: float, inside: float = 0.0, most: int = MOST
) -> np.ndarray:
    """(places, most) float64: P(the bid with i orders ahead trades before the mid moves) with j + 1 asks.

    The order itself is never cancelled; each of those ahead may be. Cont, Stoikov, Talreja 2010, proposition 5.
    """
    up, down = _one_queue(birth, market, cancel, most)
    chances = np.empty((places, most))
    nearer = np.ones(most)  # one place nearer the front: at first, executed
    for ahead in range(places):
        forward = market + cancel * ahead
        bands = np.zeros((3, most))
        bands[0, 1:] = -up[:-1]
        bands[1] = up + down + forward + 2.0 * inside
        bands[2, :-1] = -down[1:]
        nearer = chances[ahead] = solve_banded((1, 1), bands, forward * nearer)
    return chances


def enough(birth: float, market: float, cancel: float, longest: int) -> int:
    """Orders at which a queue that starts at up to `longest` may be cut off: MOST, doubled up to LARGEST.

    Beyond its most likely length a queue is as rare as its stationary law says; at the cut-off, by a factor of 1e-13.
    """
    most = MOST
    while most < LARGEST:
        n = np.arange(longest + 1, most + 1)
        with np.errstate(divide="ignore"):
            logs = np.cumsum(np.log(birth) - np.log(market + cancel * n))
        if logs[-1] - max(logs.max(), 0.0) < -30.0:
            break
        most *= 2
    return most


def stationary(birth: float, market: float, cancel: float) -> np.ndarray:
    """(n,) float64: stationary law of a queue's length 0, 1, ...: birth `birth`, death market + cancel * length.

    With market = 0 it is Poisson's with mean birth / cancel. The tail beyond is below 1e-15.
    """
    mean = birth / cancel
    n = np.arange(1, int(mean + 12.0 * np.sqrt(mean) + 60.0))
    logs = np.concatenate([[0.0], np.cumsum(np.log(birth) - np.log(market + cancel * n))])
    law = np.exp(logs - logs.max())
    return law / law.sum()
