"""How long the phases of an update take, also where a GPU does them after they were asked for."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import Any

import torch


class Phases:
    """`start`, then `end(name)` at the end of each phase, then `read` once: seconds by name.

    On a GPU the marks are events of its stream, and reading waits for the last one; elsewhere they are the clock's.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        """Forget what was marked; the first phase begins now."""
        self.marks = [("", self._now())]

    def end(self, name: str) -> None:
        self.marks.append((name, self._now()))

    def _now(self) -> Any:
        if not self.on_gpu:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> dict[str, float]:
        seconds: dict[str, float] = defaultdict(float)
        if self.on_gpu:
            self.marks[-1][1].synchronize()
        for (_, before), (name, after) in zip(self.marks, self.marks[1:], strict=False):
            seconds[name] += before.elapsed_time(after) / 1e3 if self.on_gpu else after - before
        return dict(seconds)
