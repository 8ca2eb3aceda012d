"""One handle for all arrays of a batch: what a loop over environments takes in place of sixty arrays.

numba unpacks every array of every argument at every call from Python, which costs 10 microseconds for a whole market;
a structref is unpacked once and costs 0.1.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.experimental import structref

FIELDS = ("params", "flow", "tape", "state", "out")


@structref.register
class WorldType(types.StructRef):
    """numba's type of a World; its fields have the types of the tuples given to `make_world`."""

    def preprocess_fields(self, fields: Any) -> Any:
        return tuple((name, types.unliteral(of)) for name, of in fields)


class World(structref.StructRefProxy):
    """Params, Flow, Tape, State and Buffers of a batch, by reference. Made by `make_world`."""


structref.define_proxy(World, WorldType, FIELDS)


@njit(cache=True)
def make_world(params, flow, tape, state, out):
    """Bind the arrays of a batch (none is copied)."""
    return World(params, flow, tape, state, out)
