"""The processes that train one set of policies together, and what they tell each other. One process is a group too.

Also `read`: how numbers leave the device, all together and so with one wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """Process `rank` of `size`. With more than one torch.distributed must have been started (see processes.py).

    Sums come out the same to the bit in all processes: what follows from them need not be told.
    """

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        return self.size == 1

    def sum(self, x: Tensor) -> Tensor:
        """x summed over all processes, in place."""
        if not self.alone:
            dist.all_reduce(x)
        return x

    def most(self, x: Tensor) -> Tensor:
        """The largest of all processes, entry by entry, in place."""
        if not self.alone:
            dist.all_reduce(x, dist.ReduceOp.MAX)
        return x

    def collect(self, part: T) -> list[T]:
        """Everybody's `part` (anything that can be pickled) in the order of ranks, in process 0; elsewhere nothing."""
        if self.alone:
            return [part]
        parts: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(part, parts, group=_hosts())
        return parts or []

    def told(self, word: T) -> T:
        """What process 0 says, in all of them."""
        if self.alone:
            return word
        words: list[Any] = [word]
        dist.broadcast_object_list(words, group=_hosts())
        return words[0]


ALONE = Group()
_HOSTS: Any = None  # of this process: the group that speaks through host memory


def _hosts() -> Any:
    """Objects go through gloo also where tensors go through NCCL, which would take them to the GPU and back."""
    global _HOSTS
    if _HOSTS is None:
        _HOSTS = dist.new_group(backend="gloo") if dist.get_backend() != "gloo" else dist.group.WORLD
    return _HOSTS


def read(numbers: Mapping[str, Tensor]) -> dict[str, Any]:
    """Small tensors as floats, or flat lists of them, by name, in one copy. Waits until the device has done its work."""
    flat = torch.cat([x.detach().double().reshape(-1) for x in numbers.values()]).tolist()
    found, start = {}, 0
    for name, x in numbers.items():
        found[name] = flat[start : start + x.numel()] if x.dim() else flat[start]
        start += x.numel()
    return found
