"""Actions as other libraries give them -> physical units: as they are, from [-1, 1], or from a table of choices.

In, of one agent: physical (items, act_dim) float; normalised (items * act_dim,) float, a vector as most libraries want it;
discrete a whole number, or (items,) of them. Out: (items, act_dim) float32 within the role's bounds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..config import Config, ConfigError
from ..env.actions import RoleSpec
from .encode import check_choice

Actions = Literal["physical", "normalised", "discrete"]
ACTIONS: tuple[Actions, ...] = ("physical", "normalised", "discrete")
OFFSETS = (1 / 12, 1 / 6, 1 / 3, 1 / 2, 1.0)  # of max_offset, each for bid and ask
SIZES = (1 / 4, 1 / 2, 1.0)  # of max_size


def choices_of(spec: RoleSpec) -> np.ndarray:
    """(M, act_dim) float32 the actions that a role chooses from with `actions="discrete"`; the first does nothing.

    Maker: no quotes, then every bid offset with every ask offset, at max_size. Taker: wait, buy, sell at each size.
    Arbitrageur: nothing, the pair's first book bought and its second sold, the reverse, close, at each size.
    """
    size = float(spec.high[-1])
    lots = sorted({max(1.0, np.rint(share * size)) for share in SIZES})
    rows: list[tuple[float, ...]]
    if spec.role == "maker":
        far = float(spec.high[0])
        rows = [(far, far, 0.0), *((b * far, a * far, size) for b in OFFSETS for a in OFFSETS)]
    elif spec.role == "taker":
        rows = [(0.0, 0.0), *((side, n) for side in (1.0, -1.0) for n in lots)]
    else:
        ways = ((1.0, -1.0), (-1.0, -1.0), (0.0, 1.0))
        rows = [(0.0, -1.0, 0.0), *((*way, n) for way in ways for n in lots)]
    return np.array(rows, np.float32)


class Decoder:
    """Actions of one role in one of three forms. `choices` (M, act_dim): another table for "discrete", in physical units."""

    def __init__(
        self, cfg: Config, spec: RoleSpec, actions: str = "normalised", choices: np.ndarray | None = None
    ) -> None:
        self.kind = check_choice("actions", actions, ACTIONS)
        self.spec, self.dims = spec, len(spec.action_names)
        self.low, self.high = spec.low, spec.high
        self._half, self._middle = (spec.high - spec.low) / 2, (spec.high + spec.low) / 2
        if choices is not None and actions != "discrete":
            raise ConfigError(f'choices: belong to actions="discrete", not to {actions!r}')
        self.choices = choices_of(spec) if choices is None else _checked(choices, spec)
        # what one agent gives: its shape, and how many leading axes are left for agents and environments
        self.shape = (spec.items, self.dims)
        if actions == "normalised":
            self.shape = (spec.items * self.dims,)
        elif actions == "discrete":
            self.shape = () if spec.items == 1 else (spec.items,)

    def __call__(self, given: np.ndarray, axes: tuple[str, ...] = ()) -> np.ndarray:
        """(..., *shape) -> (..., items, act_dim) float32. `axes`: what the leading axes count, for errors.

        Raises ValueError for a choice that is not in the table, and for numbers that are not finite.
        """
        if self.kind != "discrete" and not np.isfinite(given).all():
            place = np.argwhere(~np.isfinite(given))[0]
            where = "".join(f", {axis} {i}" for axis, i in zip(axes, place, strict=False))
            raise ValueError(
                f"actions of {self.spec.role}{where}: must be finite numbers, got {np.asarray(given)[tuple(place)]}"
            )
        if self.kind == "physical":
            return np.asarray(given, np.float32)
        if self.kind == "normalised":
            scaled = np.clip(given, -1.0, 1.0, dtype=np.float32)
            scaled = scaled.reshape(*scaled.shape[:-1], self.spec.items, self.dims)
            scaled *= self._half
            scaled += self._middle
            return scaled
        index = np.asarray(given)
        if index.dtype.kind not in "iu" or (index < 0).any() or (index >= len(self.choices)).any():
            raise ValueError(
                f"actions of {self.spec.role}: choices are whole numbers from 0 to {len(self.choices) - 1}, got {given!r}"
            )
        return self.choices[index[..., None] if self.spec.items == 1 else index]

    def encode(self, physical: np.ndarray) -> np.ndarray:
        """The inverse of "normalised", for those who start from physical units."""
        scaled = (np.asarray(physical, np.float32) - self._middle) / self._half
        return scaled.reshape(*scaled.shape[:-2], -1)


def _checked(choices: np.ndarray, spec: RoleSpec) -> np.ndarray:
    table = np.array(choices, np.float32)
    if table.ndim != 2 or table.shape[1] != len(spec.action_names) or len(table) < 2:
        raise ConfigError(
            f"choices: must be at least two rows of {', '.join(spec.action_names)}, got shape {table.shape}"
        )
    if not ((table >= spec.low) & (table <= spec.high)).all():
        raise ConfigError(f"choices: must lie within {spec.low.tolist()} and {spec.high.tolist()}")
    return table
