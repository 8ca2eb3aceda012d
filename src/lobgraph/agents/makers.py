"""Makers by formula: two quotes around the mid, or around a price shifted by what they hold or by what the book shows.

Every quote goes through `view.quote`: bids at or below the mid and asks at or above it, rounded away from it to whole
ticks, and none further than max_offset * quote_spread. Where a formula asks for a bid above the mid, as it does for
a maker that is short by much, the maker quotes at the mid. Both sides have one size: none can be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .estimate import estimate
from .strategy import Strategy, StrategyError
from .view import View


@dataclass
class FixedSpread(Strategy):
    """Quotes `half_spread` ticks from the mid on both sides, whatever it holds."""

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "fixed_spread"

    half_spread: float = 2.0  # ticks
    size: float = 5.0  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "half_spread", "size")

    def act(self, view: View) -> np.ndarray:
        mid = view.mid[:, None, :]
        return view.quote(mid - self.half_spread, mid + self.half_spread, self.size)


@dataclass
class AtBest(Strategy):
    """Joins the best bid and the best ask of the others, or stands `improve` ticks inside of them.

    Where the others show nothing within market.depth_levels ticks of the best, it stays at the best.
    """

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "at_best"

    improve: float = 0.0  # ticks towards the mid
    size: float = 5.0  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "improve", "size")

    def act(self, view: View) -> np.ndarray:
        behind = np.argmax(
            others_depth(view) > 0, axis=-1
        )  # (E, K, A, 2) ticks from the best to the others' best
        bid = view.best_bid[:, None] - behind[..., 0] + self.improve
        ask = view.best_ask[:, None] + behind[..., 1] - self.improve
        return view.quote(bid, ask, self.size)


@dataclass
class InventorySkew(Strategy):
    """Quotes `half_spread` ticks from the mid less `skew` ticks per lot held: bid, ask = mid - skew q -+ half_spread.

    The linear rule that Avellaneda-Stoikov's reservation price has at a fixed time; Ho and Stoll (1981) shift likewise.
    """

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "inventory_skew"

    half_spread: float = 2.0  # ticks
    skew: float = 0.1  # ticks per lot held
    size: float = 5.0  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "half_spread", "skew", "size")

    def act(self, view: View) -> np.ndarray:
        centre = view.mid[:, None] - self.skew * view.inventory
        return view.quote(centre - self.half_spread, centre + self.half_spread, self.size)


@dataclass
class Imbalance(Strategy):
    """Inventory skew around a price that leans to the thinner side of the book, where the next move goes.

    centre = mid + lean I spread / 2 - skew q, with I = (bid lots - ask lots) / (bid lots + ask lots) over `levels`
    ticks from the best of each side, its own orders left out. With lean 1 and one level this is the price weighted by
    the opposite quantities, (bid_qty ask + ask_qty bid) / (bid_qty + ask_qty) (Gatheral and Oomen 2010; Stoikov 2018
    corrects it to the microprice).
    """

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "imbalance"

    half_spread: float = 2.0  # ticks
    lean: float = 1.0  # half spreads at full imbalance
    levels: int = 3  # ticks from the best, at most market.depth_levels
    skew: float = 0.1  # ticks per lot held
    size: float = 5.0  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "half_spread", "lean", "skew", "size")
        self._within(1, np.inf, "levels")

    def start(self, view: View) -> None:
        if self.levels > (most := view.cfg.market.depth_levels):
            raise StrategyError(
                f"{self.name}: levels must be at most market.depth_levels = {most}, got {self.levels}"
            )

    def act(self, view: View) -> np.ndarray:
        lots = others_depth(view)[..., : self.levels].sum(axis=-1)
        imbalance = (lots[..., 0] - lots[..., 1]) / np.maximum(lots.sum(axis=-1), 1)
        centre = (
            view.mid[:, None] + self.lean * imbalance * view.spread[:, None] / 2 - self.skew * view.inventory
        )
        return view.quote(centre - self.half_spread, centre + self.half_spread, self.size)


@dataclass
class AvellanedaStoikov(Strategy):
    """Avellaneda and Stoikov (2008), eqs (29) and (30): quotes around a reservation price that falls with inventory.

    r = mid - q gamma sigma^2 (T - t), total spread = gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / kappa), T the
    end of the episode; bid, ask = r -+ half of it. The paper trades one share at a time. Here an order of `size` lots
    is the unit: with q' = q / size and gamma' = gamma size the same formulas give q' gamma' = q gamma, so that size
    matters for the spread only: gamma size sigma^2 (T - t) + (2 / (gamma size)) ln(1 + gamma size / kappa). What is not
    given is measured in a simulation of the market (agents/estimate.py).
    """

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "avellaneda_stoikov"

    gamma: float = 0.001  # risk aversion, 1 / tick-lot
    sigma: float | None = None  # volatility of the mid, ticks per sqrt(second)
    kappa: float | None = None  # decay of fills with distance, 1/tick
    horizon: float | None = None  # seconds that T - t is at most
    size: int = 5  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "gamma", "kappa", "horizon", strict=True)
        self._within(0.0, np.inf, "sigma")
        self._within(1, np.inf, "size")

    def start(self, view: View) -> None:
        self._sigma, self._kappa = _known(self, view, "sigma", "kappa")

    def act(self, view: View) -> np.ndarray:
        left = np.minimum(view.time_left, np.inf if self.horizon is None else self.horizon)
        risk = self.gamma * self._sigma**2 * left[:, None]  # (E, A) ticks per lot
        unit = self.gamma * self.size
        half = 0.5 * self.size * risk + np.log1p(unit / self._kappa) / unit
        centre = view.mid[:, None] - view.inventory * risk[:, None]
        return view.quote(centre - half[:, None], centre + half[:, None], self.size)


@dataclass
class Glft(Strategy):
    """Gueant, Lehalle and Fernandez-Tapia (2013), closed-form approximation of the quotes far from the end (section 4).

    Distances from the mid: bid c + (2 q + 1) / 2 s, ask c - (2 q - 1) / 2 s, with c = ln(1 + gamma / kappa) / gamma and
    s = sqrt(sigma^2 gamma / (2 kappa A) (1 + gamma / kappa)^(1 + kappa / gamma)). Orders at distance d from the mid are
    filled A exp(-kappa d) times per second. An order of `size` lots is the unit: q counts orders (inventory / size, also
    fractions), gamma is gamma size, A fills of whole orders. What is not given is measured in a simulation of the
    market (agents/estimate.py).
    """

    role: ClassVar[str] = "maker"
    name: ClassVar[str] = "glft"

    gamma: float = 0.01  # risk aversion, 1 / tick-lot
    sigma: float | None = None  # volatility of the mid, ticks per sqrt(second)
    kappa: float | None = None  # decay of fills with distance, 1/tick
    A: float | None = None  # fills per second of an order at the mid
    size: int = 5  # lots

    def __post_init__(self) -> None:
        self._within(0.0, np.inf, "gamma", "kappa", "A", strict=True)
        self._within(0.0, np.inf, "sigma")
        self._within(1, np.inf, "size")

    def start(self, view: View) -> None:
        sigma, kappa, rate = _known(self, view, "sigma", "kappa", "A")
        unit = self.gamma * self.size
        growth = np.exp((1.0 + kappa / unit) * np.log1p(unit / kappa))
        self._near = np.log1p(unit / kappa) / unit  # (A,) ticks
        self._slope = np.sqrt(sigma**2 * unit / (2.0 * kappa * rate) * growth)  # (A,) ticks per order held

    def act(self, view: View) -> np.ndarray:
        orders = view.inventory / self.size
        mid = view.mid[:, None]
        bid = mid - self._near - (2.0 * orders + 1.0) / 2.0 * self._slope
        ask = mid + self._near - (2.0 * orders - 1.0) / 2.0 * self._slope
        return view.quote(bid, ask, self.size)


def others_depth(view: View) -> np.ndarray:
    """(E, K, A, 2, L) int64 lots at the L ticks from the best prices (as `view.depth`), each agent's own left out."""
    own = view.quotes  # (E, K, A, 2, 3)
    best = np.stack([view.best_bid, view.best_ask], axis=-1)[:, None]
    behind = (own[..., 0] - best) * np.array([-1, 1])  # ticks from the best price of the side
    at = behind[..., None] == np.arange(view.cfg.market.depth_levels)
    return view.depth[:, None] - np.where(at, own[..., 1, None], 0)


def _known(strategy: AvellanedaStoikov | Glft, view: View, *names: str) -> list[np.ndarray]:
    """(A,) each: the parameters as given, or measured where they are None."""
    given = {name: getattr(strategy, name) for name in names}
    if None in given.values():
        measured = estimate(view.cfg, strategy.size)
        given = {k: getattr(measured, k) if v is None else v for k, v in given.items()}
    values = [np.broadcast_to(np.asarray(v, dtype=np.float64), view.books) for v in given.values()]
    for name, value in zip(names, values, strict=True):
        if np.isnan(value).any():
            book = view.cfg.market.books[int(np.isnan(value).argmax())]
            raise StrategyError(
                f"{strategy}: {name} could not be measured in book {book} (too few fills, or no fewer far from the "
                f"mid); give it, as in {strategy.name}:{name}=1"
            )
    return values
