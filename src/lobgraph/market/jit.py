"""The one way kernels are compiled: no reference counting (they allocate nothing), results cached on disk.

Without `_nrt=False` every array handed from function to function costs atomic increments: 5 to 20 times slower here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numba import njit

_jit: Callable[..., Any] = njit
kernel = partial(_jit, cache=True, _nrt=False, error_model="numpy")  # @kernel(): a function on the hot path
inlined = partial(_jit, cache=True, _nrt=False, error_model="numpy", forceinline=True)
pasted = partial(
    _jit, inline="always"
)  # for what returns arrays: a kernel cannot hand their ownership to its caller
