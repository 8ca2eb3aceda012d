"""Makers by formula: two quotes around the mid, or around a price shifted by what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .strategy import Strategy
from .view import View


@dataclass
class FixedSpread(Strategy):
    """Quotes `half_spread` ticks from the mid on both sides, whatever it holds."""

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "fixed_spread"

    half_spread: float = 2.0  # ticks
    size: float = 5.0  # lots

    def act(self, view: View) -> np.ndarray:
        mid = view.mid[:, None, :]
        return view.quote(mid - self.half_spread, mid + self.half_spread, self.size)
