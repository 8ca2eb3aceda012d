"""CUDA graphs: a function that puts the same work on the GPU at every call, recorded once and then replayed.

Python and its launches, some five microseconds a kernel, are left out of every later call. What is recorded is the very
function that runs without graphs. It must read and write tensors that stay where they are, ask the device nothing, and
change nothing of Python's. Without a GPU, or with `run.cuda_graphs: off`, it is called as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

WARM = 2  # ordinary calls first: kernels are compiled, workspaces allocated, the optimiser makes its state


class Captured:
    """Call it as the function that it holds.

    function: without arguments and results. generators: whose random numbers the function draws; each replay goes on
    where the last one ended. on: False calls the function each time.
    """

    def __init__(
        self, function: Callable[[], None], on: bool, generators: Iterable[torch.Generator] = ()
    ) -> None:
        self.function, self.on, self.generators = function, on, tuple(generators)
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream() if on else None  # one for warm calls and the recording

    def __call__(self) -> None:
        if not self.on:
            self.function()
        elif self.graph is not None:
            self.graph.replay()
        elif self.calls < WARM:
            self._aside()
        else:
            self._record()
            self.__call__()  # a recording does nothing by itself
        self.calls += 1

    def _aside(self) -> None:
        """Call the function on the stream on which it will be recorded."""
        assert self.stream is not None
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.function()
        torch.cuda.current_stream().wait_stream(self.stream)

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        # thread_local: other threads (a writer of files, NCCL's watchdog) may use the GPU meanwhile
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self.function()
        self.graph = graph


def use_graphs(switch: str, device: torch.device) -> bool:
    """Whether run.cuda_graphs (auto, off) leaves graphs on for work on `device`."""
    return switch == "auto" and device.type == "cuda"
