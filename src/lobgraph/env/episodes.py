"""What the episodes that ended brought: the tally that the kernels keep (Buffers.tally), read once per update.

On a GPU that is one copy of a few numbers to the host, and the only time a training must wait for the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .actions import RoleSpec
from .drive import COUNT, HELD, LEAST, MOST, RETURN, SQUARES, STEPS, TERMS, WORTH

ByRole = dict[str, np.ndarray]


@dataclass(frozen=True)
class Episodes:
    """Statistics of the episodes that ended since they were last read; K agents of a role, all float64."""

    count: int
    length: float  # mean, steps
    mean: ByRole  # (K,) of the return of an episode
    std: ByRole  # (K,) over episodes (not of a sample: divided by their count)
    least: ByRole  # (K,)
    most: ByRole  # (K,)
    terms: ByRole  # (K, 4) mean sums of the reward's terms
    max_inventory: ByRole  # (K,) the largest in a book at any time
    equity: ByRole  # (K,) mean at the end, after fees

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Episodes | None:
        """The same of what environments without a tally report step by step, info["episodes"]; None: nothing ended."""
        rows = list(rows)
        if not rows:
            return None

        def all_of(key: str) -> ByRole:
            return {
                role: np.concatenate([np.asarray(row[key][role], dtype=np.float64) for row in rows])
                for role in rows[0][key]
            }

        lengths = np.concatenate([np.asarray(row["length"], dtype=np.float64) for row in rows])
        returns = all_of("return")
        return cls(
            count=len(lengths),
            length=float(lengths.mean()),
            mean={role: x.mean(0) for role, x in returns.items()},
            std={role: x.std(0) for role, x in returns.items()},
            least={role: x.min(0) for role, x in returns.items()},
            most={role: x.max(0) for role, x in returns.items()},
            terms={role: x.mean(0) for role, x in all_of("terms").items()},
            max_inventory={role: x.max(0) for role, x in all_of("max_inventory").items()},
            equity={role: x.mean(0) for role, x in all_of("equity").items()},
        )

    @classmethod
    def merge(cls, parts: Sequence[Episodes]) -> Episodes:
        """The same of all episodes of several batches (at least one) of the same roles together."""
        share = np.array([part.count for part in parts], dtype=np.float64)
        share /= share.sum()

        def mean_of(values: Sequence[ByRole]) -> ByRole:
            return {
                role: np.sum([w * x[role] for w, x in zip(share, values, strict=True)], axis=0)
                for role in values[0]
            }

        def extreme(values: Sequence[ByRole], of: Callable[..., Any]) -> ByRole:
            return {role: of([x[role] for x in values], axis=0) for role in values[0]}

        mean = mean_of([part.mean for part in parts])
        squares = mean_of([{r: part.std[r] ** 2 + part.mean[r] ** 2 for r in part.mean} for part in parts])
        return cls(
            count=sum(part.count for part in parts),
            length=float(share @ [part.length for part in parts]),
            mean=mean,
            std={role: np.sqrt(np.maximum(squares[role] - mean[role] ** 2, 0.0)) for role in mean},
            least=extreme([part.least for part in parts], np.min),
            most=extreme([part.most for part in parts], np.max),
            terms=mean_of([part.terms for part in parts]),
            max_inventory=extreme([part.max_inventory for part in parts], np.max),
            equity=mean_of([part.equity for part in parts]),
        )


def condense(tally: torch.Tensor, tallied: torch.Tensor) -> torch.Tensor:
    """(2 + G * TALLY,) float64 on the tally's device: episodes, their steps, then the tally over all environments.

    tally: (E, G, TALLY), tallied: (E, 2) of Buffers.
    """
    some = (tallied[:, COUNT] > 0)[:, None]
    total = tally.sum(0)
    total[:, LEAST] = torch.where(some, tally[..., LEAST], torch.inf).amin(0)
    total[:, MOST] = torch.where(some, tally[..., MOST], -torch.inf).amax(0)
    total[:, HELD] = tally[..., HELD].amax(0)
    return torch.cat([tallied.sum(0).double(), total.flatten()])


def episodes_of(numbers: np.ndarray, specs: Mapping[str, RoleSpec]) -> Episodes | None:
    """`condense`d numbers, on the host, by role; None: no episode ended."""
    count = int(numbers[COUNT])
    if count == 0:
        return None
    rows = numbers[2:].reshape(sum(spec.count for spec in specs.values()), -1)
    mean = rows / count
    spread = np.sqrt(np.maximum(mean[:, SQUARES] - mean[:, RETURN] ** 2, 0.0))

    def by_role(column: np.ndarray) -> ByRole:
        return {role: column[spec.agents] for role, spec in specs.items()}

    return Episodes(
        count=count,
        length=float(numbers[STEPS]) / count,
        mean=by_role(mean[:, RETURN]),
        std=by_role(spread),
        least=by_role(rows[:, LEAST]),
        most=by_role(rows[:, MOST]),
        terms=by_role(mean[:, TERMS : TERMS + 4]),
        max_inventory=by_role(rows[:, HELD]),
        equity=by_role(mean[:, WORTH]),
    )
