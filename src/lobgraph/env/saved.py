"""The whole of a batch of markets as tensors by name, and back: what a training must keep to go on where it stopped.

Everything that a step reads and changes is in State, Buffers, the regimes' law and the seed; all else follows from the
configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..market.state import CASH, INVENTORY

if TYPE_CHECKING:
    from .market_env import MarketEnv

SEED, LAW = "seed", "law"


def arrays_of(env: MarketEnv) -> Iterator[tuple[str, Any]]:
    """Name and array (on a GPU tensor) of all that changes."""
    for kind, bag in (("state", env.state), ("out", env.buffers)):
        for name, array in zip(bag._fields, bag, strict=True):
            yield f"{kind}.{name}", array


def save(env: MarketEnv, chain: np.ndarray) -> dict[str, Tensor]:
    """Copies, on the CPU. chain: the regimes' law in force, of Params."""
    saved = {name: torch.as_tensor(array).detach().cpu().clone() for name, array in arrays_of(env)}
    return saved | {SEED: torch.tensor(env.seed), LAW: torch.from_numpy(chain.copy())}


def check(env: MarketEnv, chain: np.ndarray, saved: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless `saved` is of a market of the same sizes, naming what differs."""
    wanted = {name: tuple(array.shape) for name, array in arrays_of(env)} | {SEED: (), LAW: chain.shape}
    if odd := sorted(wanted.keys() ^ saved.keys()):
        raise ValueError(f"saved market: {odd[0]!r} is in one of the two only; it is of another version")
    for name, shape in wanted.items():
        if tuple(saved[name].shape) != tuple(shape):
            raise ValueError(
                f"saved market: {name} is {tuple(saved[name].shape)}, and of this market {tuple(shape)}"
            )


def put_back(env: MarketEnv, saved: Mapping[str, Tensor]) -> None:
    """Overwrite the arrays in place: kernels hold them."""
    for name, array in arrays_of(env):
        torch.as_tensor(array).copy_(saved[name])


def imbalance(accounts: Any) -> str | None:
    """Where cash or lots were made or lost, in words; None: nowhere. accounts: (E, A, G + 1, ACCOUNT) int64.

    The last account of a book is that of the noise traders: what one pays another gets, so that every book's sum is zero.
    """
    sums = torch.as_tensor(accounts)[..., [CASH, INVENTORY]].sum(2)  # (E, A, 2)
    if not bool(sums.any()):
        return None
    env, book, column = (int(i) for i in sums.nonzero()[0])
    what = ("tick-lots of cash", "lots")[column]
    return (
        f"the accounts of env {env}, book {book} sum to {int(sums[env, book, column])} {what} in place of 0"
    )
