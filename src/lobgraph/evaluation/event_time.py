"""Episodes seen from the moment at which an event begins: the market's and the roles' paths in event time.

In: a `Series`, the step in which each episode's event begins, the books it hits. Out: `Paths`, means over those books. R rows
from BEFORE steps before the event to `span` steps after its beginning, row 0 in time the state just before it; B episodes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..config.stress import SHAPES
from .record import Series

BEFORE = 30  # steps
NOISE = "noise"  # everybody who is no agent
HALTED = np.uint8(1 << list(SHAPES).index("halt"))


@dataclass(frozen=True)
class Paths:
    """What happened around the events, mean over the books hit; NaN outside of the episode."""

    offset: np.ndarray  # (R,) int64 steps from the event's beginning
    move: np.ndarray  # (R, B) ticks of the mid from where it was at the beginning
    spread: np.ndarray  # (R, B) ticks
    depth: np.ndarray  # (R, B) lots within depth_levels ticks of the best, both sides
    square: np.ndarray  # (R, B) ticks^2: the square of the mid's next move
    halted: np.ndarray  # (R, B) share of the books that are halted in the next step
    resting: dict[str, np.ndarray]  # by role and NOISE, (R, B) lots: whose depth it is
    bought: dict[str, np.ndarray]  # by role and NOISE, (R, B) lots bought less sold in the next step
    supplied: dict[str, np.ndarray]  # by role, (R, B) lots filled at rest in the next step
    taken: dict[str, np.ndarray]  # by role, (R, B) lots filled by incoming orders
    equity: dict[str, np.ndarray]  # by role, (R, B) tick-lots of all its agents, over all books


def beginnings(s: Series, kinds: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """(B,) int64 the first step with an event of these kinds, -1: none; (B, A) bool the books that it hits."""
    bits = sum(1 << k for k, kind in enumerate(SHAPES) if kind in kinds)
    on = (s.event & np.uint8(bits)) != 0  # (T, B, A)
    some = on.any(axis=2)
    step = np.where(some.any(axis=0), some.argmax(axis=0), -1)
    return step, on[np.maximum(step, 0), np.arange(len(step))]


def paths(s: Series, step: np.ndarray, hit: np.ndarray, span: int) -> Paths:
    """The paths of a Series around `step` (B,) in the books `hit` (B, A); episodes without an event are NaN."""
    offset = np.arange(-min(BEFORE, max(int(step.max()), 0)), span + 1)
    weight = hit / np.maximum(hit.sum(axis=1, keepdims=True), 1)

    def rows(x: np.ndarray) -> np.ndarray:
        """x (T or T + 1, B, ...) -> (R, B, ...) float64."""
        at = step + offset[:, None]
        inside = (at >= 0) & (at < len(x)) & (step >= 0)
        picked = x[np.clip(at, 0, len(x) - 1), np.arange(len(step))].astype(np.float64)
        return np.where(inside.reshape(*inside.shape, *[1] * (picked.ndim - 2)), picked, np.nan)

    def mean(x: np.ndarray) -> np.ndarray:
        """x (..., B, A) -> (R, B) over the books hit."""
        return (rows(x) * weight).sum(axis=-1)

    mid = rows(s.mid)
    resting = {role: _near(s, role) for role in s.specs}
    total = (s.bid_qty + s.ask_qty).sum(axis=-1)
    resting[NOISE] = total - sum(resting.values(), np.zeros_like(total))
    bought = {role: _net(s, role) for role in s.specs}
    bought[NOISE] = -sum(bought.values(), np.zeros_like(s.signed))
    return Paths(
        offset=offset,
        move=((mid - mid[offset == 0]) * weight).sum(axis=-1),
        spread=mean(s.best_ask - s.best_bid),
        depth=mean(total),
        square=mean(np.diff(s.mid, axis=0) ** 2),
        halted=mean((s.event & HALTED) != 0),
        resting={who: mean(x) for who, x in resting.items()},
        bought={who: mean(x) for who, x in bought.items()},
        supplied={role: mean(_of(s, s.passive, role).sum(axis=(2, 4))) for role in s.specs},
        taken={role: mean(_of(s, s.aggressive, role).sum(axis=(2, 4))) for role in s.specs},
        equity={role: rows(_of(s, s.equity, role).sum(axis=2)) for role in s.specs},
    )


def joined(parts: list[Paths]) -> Paths:
    """Batches of episodes together."""
    if len(parts) == 1:
        return parts[0]
    found = {}
    for field in fields(Paths):
        values = [getattr(p, field.name) for p in parts]
        if isinstance(values[0], dict):
            found[field.name] = {k: np.concatenate([v[k] for v in values], axis=1) for k in values[0]}
        else:
            found[field.name] = values[0] if values[0].ndim == 1 else np.concatenate(values, axis=1)
    return Paths(**found)


def _of(s: Series, x: np.ndarray, role: str) -> np.ndarray:
    return x[:, :, s.specs[role].agents]


def _near(s: Series, role: str) -> np.ndarray:
    """(T + 1, B, A) lots of the role's quotes within depth_levels ticks of the best."""
    px, lots = _of(s, s.quote_px, role), _of(s, s.quote_qty, role)  # (T + 1, B, K, A, 2)
    best = np.stack([s.best_bid, s.best_ask], axis=-1)[:, :, None]
    near = np.abs(px - best) < s.cfg.market.depth_levels
    return np.where(near, lots, 0).sum(axis=(2, 4), dtype=np.int64)


def _net(s: Series, role: str) -> np.ndarray:
    """(T, B, A) lots that the role bought less those that it sold."""
    lots = _of(s, s.passive, role) + _of(s, s.aggressive, role)
    return (lots[..., 0] - lots[..., 1]).sum(axis=2)
