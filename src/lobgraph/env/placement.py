"""Where a batch lives: names of devices, what they need, and arrays that torch owns and numba's kernels read in place.

In: numpy arrays as `make_state` and its like allocate them. Out: the same as tensors on the device, and as what a kernel
launch takes (`__cuda_array_interface__`; nothing is copied). Under numba's CUDA simulator the device is the host.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numba.core import config as numba_config

from ..config import ConfigError

Bag = TypeVar("Bag", bound=tuple)
Layout = Literal["env_major", "env_last", "mixed"]
LAYOUTS: tuple[Layout, ...] = ("env_major", "env_last", "mixed")
INSTALL = "pip install 'lobgraph[cuda]'"


class GpuOptions(NamedTuple):
    """How a batch runs on a GPU; results do not depend on it. docs/gpu.md says why these are the defaults."""

    layout: Layout = (
        "mixed"  # env_major: as on the CPU; env_last: neighbouring threads touch neighbouring words;
    )
    # mixed: so too, but the levels of a book, which threads touch at different places, stay together
    block: int = 128  # threads
    max_registers: int | None = None  # of a thread; None: as many as the compiler likes
    sort: bool = (
        False  # environments of one regime next to each other, so that a warp's books have as many events
    )
    fused: bool = False  # one launch a step, a thread doing all books of an environment, in place of five
    graph: bool = True  # replay a step as a CUDA graph: a launch from Python costs about 70 arguments


def simulated() -> bool:
    """Whether this process runs numba's CUDA simulator (NUMBA_ENABLE_CUDASIM)."""
    return bool(numba_config.ENABLE_CUDASIM)  # type: ignore[attr-defined]


def missing() -> str | None:
    """What a GPU would need and is not there, in one line; None: all is there."""
    if simulated():
        return None
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is a build without CUDA; install one with it (https://pytorch.org)"
    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU: no driver, or none it can use (nvidia-smi says which)"
    if find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {INSTALL}"
    if not _redirected():
        return (
            "numba.cuda is numba's own: numba-cuda stands in a folder whose .pth files Python does not read"
        )
    return None


def _redirected() -> bool:
    """Whether numba.cuda is the package numba-cuda, which takes its place by a .pth file."""
    import numba.cuda

    return "numba_cuda" in str(numba.cuda.__file__)


def device_of(wanted: str) -> torch.device:
    """The device of that name. "auto": the GPU where there is one that can be used, else the CPU.

    Raises ConfigError in one line for a name that is none, or for a GPU that cannot be used, saying why.
    """
    name, _, number = wanted.partition(":")
    if wanted == "auto":
        lacking = missing()
        if lacking is None and not simulated():
            return torch.device("cuda", torch.cuda.current_device())
        if lacking is not None and torch.backends.cuda.is_built() and torch.cuda.is_available():
            _say_once(f"device auto: this machine has a GPU, but the CPU is used: {lacking}")
        return torch.device("cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    if name != "cuda" or (number and not number.isdecimal()) or (not number and ":" in wanted):
        raise ConfigError(f"device: must be auto, cpu, cuda or cuda:N, got {wanted!r}")
    if (lacking := missing()) is not None:
        raise ConfigError(f"device {wanted}: {lacking}")
    if simulated():
        if not numba_config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise ConfigError(
                f"device {wanted}: NUMBA_ENABLE_CUDASIM is set, and the simulator needs NUMBA_DISABLE_JIT=1 too"
            )
        return torch.device("cpu")
    count = torch.cuda.device_count()
    index = int(number) if number else torch.cuda.current_device()
    if index >= count:
        raise ConfigError(f"device {wanted}: there are {count} GPUs, cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def runs_kernels(wanted: str, device: torch.device) -> bool:
    """Whether a batch on `device`, asked for as `wanted`, is stepped by GPU kernels (real or simulated ones)."""
    return device.type == "cuda" or (simulated() and wanted.startswith("cuda"))


def check_options(options: GpuOptions) -> GpuOptions:
    """Raise ConfigError for options that no GPU has."""
    if options.layout not in LAYOUTS:
        raise ConfigError(f"layout: must be one of {', '.join(LAYOUTS)}, got {options.layout!r}")
    if not 1 <= options.block <= 1024:
        raise ConfigError(f"block: must be 1 to 1024 threads, got {options.block}")
    if options.max_registers is not None and not 16 <= options.max_registers <= 255:
        raise ConfigError(f"max_registers: must be 16 to 255, got {options.max_registers}")
    return options


def env_last(fields: Collection[str], layout: Layout) -> tuple[str, ...]:
    """Which of the state's arrays are stored with the environment as the fastest axis."""
    if layout == "env_major":
        return ()
    return tuple(name for name in fields if layout == "env_last" or name != "qty")


def place(bag: Bag, device: torch.device, last: Collection[str] = ()) -> Bag:
    """A NamedTuple of numpy arrays (and scalars, which stay) as one of tensors on the device, copied.

    last: names of fields (E, ...) that are stored as (..., E) and shown as (E, ...).
    """
    names = getattr(bag, "_fields", ())
    values = [_tensor(x, device, name in last) for name, x in zip(names, bag, strict=True)]
    return type(bag)(*values)


def kernel_view(bag: Bag, last: Collection[str] = ()) -> Bag:
    """The same memory as arguments of a kernel; `last` as in `place`."""
    names = getattr(bag, "_fields", ())
    return cast(Bag, type(bag)(*(view(x, name in last) for name, x in zip(names, bag, strict=True))))


def _tensor(x: Any, device: torch.device, last: bool) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    host = torch.from_numpy(x)
    if last and x.ndim > 1:
        return host.movedim(0, -1).contiguous().to(device, copy=True).movedim(-1, 0)
    return host.contiguous().to(device, copy=True)


def view(x: Any, strided: bool = False) -> Any:
    """A tensor as a kernel's argument; anything else as it is.

    strided: of the type of any strides, also where an axis of length 0 or 1 lets it pass for contiguous: one compiled
    kernel serves all markets.
    """
    if not isinstance(x, torch.Tensor):
        return x
    if x.device.type == "cpu":
        return x.numpy()
    from numba import cuda

    array = cuda.as_cuda_array(x)
    if strided and x.ndim > 1:
        array.__dict__["_numba_type_"] = array._numba_type_.copy(layout="A")
    return array
