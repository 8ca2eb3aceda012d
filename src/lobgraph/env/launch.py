"""A batch on a GPU: its arrays, and the launches that start and step it, on torch's current stream.

Nothing here waits for the device or copies to the host. Five launches a step (or one, GpuOptions.fused), whose arguments
never change, so that a CUDA graph can hold them: this loop's own, or one that the caller captures.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numba import cuda

from ..market.state import REGIME, Flow, Params, State, Tape
from . import device as phases
from .device import ARGUMENTS, Marks, kernels
from .drive import Buffers
from .placement import GpuOptions, env_last, kernel_view, place, simulated, view


class DeviceLoop:
    """Arrays of a batch on one device, and its loop.

    Args:
        params, flow, tape, state, out: as numpy arrays; copied to the device.
        shapes: of the actions of makers, takers and arbitrageurs, (E, K, items, act_dim); K may be 0.
        device: where; the host under numba's simulator.
        options: how; the results are the same.

    `state`, `out`, `params` and `actions` (static buffers) are tensors on the device.
    """

    def __init__(
        self,
        params: Params,
        flow: Flow,
        tape: Tape,
        state: State,
        out: Buffers,
        shapes: Sequence[tuple[int, ...]],
        device: torch.device,
        options: GpuOptions,
    ) -> None:
        envs, books = state.head.shape[:2]
        self.device, self.options = device, options
        self.params, self.flow, self.tape = place(params, device), place(flow, device), place(tape, device)
        last = env_last(State._fields, options.layout)
        self.state = place(state, device, last)
        self.out = place(out, device)
        self.actions = [torch.zeros(shape, device=device) for shape in shapes]
        none = np.full(envs, -1, np.int64)
        self.marks = place(Marks(np.arange(envs), np.zeros(envs, np.uint8), none), device)
        self._kernels = kernels(options.max_registers)
        self._views = {
            "params": kernel_view(self.params),
            "flow": kernel_view(self.flow),
            "tape": kernel_view(self.tape),
            "state": kernel_view(self.state, last),
            "out": kernel_view(self.out),
            "marks": kernel_view(self.marks),
        }
        self._own_views = [view(x) for x in self.actions]
        of_books = (phases.step_books, phases.renew_books)
        self._threads: dict[Callable[..., None], int] = dict.fromkeys(of_books, envs * books)
        self._envs = envs
        self._configured: dict[tuple[Callable[..., None], int], Any] = {}
        self._regimes = torch.zeros(
            envs, dtype=torch.int64, device=device
        )  # sorted; only their order is of use
        self._graph: torch.cuda.CUDAGraph | None = None
        self._launched = False

    # --- what a MarketEnv calls ---

    def start(self) -> None:
        """Start episode 0 of every environment and observe it."""
        fused = (phases.start_all,)
        with self._here():
            for phase in (
                fused if self.options.fused else (phases.open_all, phases.renew_books, phases.show_all)
            ):
                self._launch(phase)

    def step(self, actions: Sequence[torch.Tensor]) -> None:
        """One decision of every environment by `actions`, as `shapes` are: float32, contiguous, on the device."""
        with self._here():
            if self._captured_by_caller() or not self._replays():
                own = all(given is mine for given, mine in zip(actions, self.actions, strict=True))
                self._step(self._own_views if own else [view(x) for x in actions])
                return
            for mine, given in zip(self.actions, actions, strict=True):
                if given is not mine:
                    mine.copy_(given)
            if self._graph is not None:
                self._graph.replay()
            elif not self._launched:  # compiles, and loads what a capture must find loaded
                self._step(self._own_views)
            else:
                self._graph = self._capture()
                self._graph.replay()

    def set_seed(self, seed: int) -> None:
        """Draw from another seed from the next start on."""
        self.params.seed.fill_(seed)  # type: ignore[attr-defined]

    def set_chain(self, chain: np.ndarray) -> None:
        """Params.chain from the next step on."""
        self.params.chain.copy_(torch.from_numpy(chain))  # type: ignore[attr-defined]

    def play(self, params: Params, tape: Tape) -> None:
        """Other constants and another tape from the next step on; a graph is captured anew."""
        self.params, self.tape = place(params, self.device), place(tape, self.device)
        self._views |= {"params": kernel_view(self.params), "tape": kernel_view(self.tape)}
        self._graph = None

    def compile(self, phase: Callable[..., None]) -> None:
        """Compile one of device.ARGUMENTS' kernels, or load it, without launching it."""
        kernel = self._kernels[phase]
        with self._here():
            kernel.compile(tuple(map(kernel.typeof_pyval, self._arguments(phase, self._own_views))))

    def fault(self) -> torch.Tensor:
        """() int64 on the device: a place of a NaN in the actions (drive.nan_place) since the flags were cleared; -1: none."""
        fault: Any = self.marks.fault
        least = torch.where(fault < 0, 1 << 62, fault).amin()
        return torch.where(least < 1 << 62, least, -1)

    def host_state(self) -> State:
        """The state as numpy arrays, copied (this waits for the device)."""
        return State(*(np.ascontiguousarray(x.cpu().numpy()) for x in self.state))  # type: ignore[attr-defined]

    # --- launches ---

    def _step(self, actions: Sequence[Any]) -> None:
        if self.options.sort:
            self._sort()
        parts = (phases.begin_all, phases.step_books, phases.close_all, phases.renew_books, phases.show_all)
        for phase in (phases.step_all,) if self.options.fused else parts:
            self._launch(phase, actions)
        self._launched = True

    def _arguments(self, phase: Callable[..., None], actions: Sequence[Any]) -> list[Any]:
        names = ARGUMENTS[phase]
        given = [self._views[name] for name in names if name != "actions"]
        return [*given, *actions] if "actions" in names else given

    def _sort(self) -> None:
        """Environments by the regime they were in (most stay in it): threads of a warp then have as many events."""
        regimes = self.state.clock[:, REGIME]
        torch.sort(regimes, stable=True, out=(self._regimes, self.marks.order))  # type: ignore[call-overload]

    def _launch(self, phase: Callable[..., None], actions: Sequence[Any] = ()) -> None:
        pointer = self._stream()
        configured = self._configured.get((phase, pointer))
        if configured is None or simulated():  # the simulator's kernels remember one configuration for all
            configured = self._configured[phase, pointer] = self._configure(phase, pointer)
        configured(*self._arguments(phase, actions))

    def _configure(self, phase: Callable[..., None], pointer: int) -> Any:
        block = self.options.block
        grid = ((self._threads.get(phase) or self._envs) + block - 1) // block
        stream = cuda.external_stream(pointer) if pointer else 0
        with warnings.catch_warnings():  # of small grids, which small batches have on purpose
            warnings.simplefilter("ignore")
            return self._kernels[phase][grid, block, stream]

    def _stream(self) -> int:
        return torch.cuda.current_stream(self.device).cuda_stream if self.device.type == "cuda" else 0

    def _here(self) -> Any:
        """torch's current device is this one: its context is that of the launches."""
        return torch.cuda.device(self.device if self.device.type == "cuda" else -1)

    # --- graphs ---

    def _replays(self) -> bool:
        return self.options.graph and self.device.type == "cuda"

    def _captured_by_caller(self) -> bool:
        return self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def _capture(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream(self.device)
        for phase in self._kernels:
            self._configured[phase, side.cuda_stream] = self._configure(phase, side.cuda_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self._step(self._own_views)
        return graph
