"""What a strategy remembers, as plain values and named arrays, and back: so that a training that holds it can be resumed.

A file never says which classes to make: `thaw` fills an object that `start` has just made anew. What could not be put back
as it was is refused when it is written down.
"""

from __future__ import annotations

import enum
import inspect
import random
from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .strategy import Strategy, StrategyError

PLAIN = (bool, int, float, str, type(None))
DTYPES = [np.dtype(code) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")]
DEEP, BITS = 50, 4096  # levels within each other; of a whole number
OF_C = 1 << 8  # a type's flag: it cannot be changed, as those that are written in C
KINDS = "arrays, numbers, text, random generators, and lists, tuples, deques, dicts and objects of these"


def freeze(strategy: Strategy, made: Mapping[str, str] | None = None) -> tuple[Any, dict[str, np.ndarray]]:
    """A tree that JSON can hold, and the arrays that it names. made: the objects that there were after `start` (`objects_of`).

    Raises StrategyError naming an attribute that is none of KINDS, that two attributes share (copies would be put back), or
    that is an object which `start` does not make.
    """
    frozen = _Frozen()
    tree = frozen.of(strategy, str(strategy), ())
    frozen.refuse_shared_memory()
    for where, kind in frozen.objects.items():
        if made is not None and made.get(where) != kind:
            raise StrategyError(
                f"{where}: a {kind.rpartition('.')[2]} that `start` does not make cannot be saved for a resume"
            )
    return tree, frozen.arrays


class _Frozen:
    """One pass over what a strategy holds."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.objects: dict[str, str] = {}  # where -> class
        self.seen: dict[int, tuple[str, Any]] = {}  # what could be changed in one place and seen in another

    def of(self, x: Any, where: str, above: tuple[int, ...]) -> Any:
        if type(x) in PLAIN and not (type(x) is int and x.bit_length() > BITS):
            return x
        if isinstance(x, np.bool_ | np.integer | np.floating) and np.asarray(x).dtype in DTYPES:
            self.arrays[where] = np.asarray(x)
            return {"scalar": where}
        if len(above) > DEEP:
            raise StrategyError(f"{where[:200]}...: nested too deeply to be saved for a resume")
        if id(x) in above:
            raise StrategyError(f"{where}: refers to itself, and cannot be saved for a resume")
        above = (*above, id(x))
        if isinstance(x, tuple):
            parts = self._parts(x, where, above)
            return {"tuple": parts} if type(x) is tuple else {"named": [self._object(x, where), parts]}
        self._refuse_twice(x, where)
        if type(x) is np.ndarray and x.dtype in DTYPES:
            columns = x.flags.f_contiguous and not x.flags.c_contiguous
            self.arrays[where] = x.copy()
            return {"columns" if columns else "array": where}
        if isinstance(x, np.random.Generator):
            return {"generator": x.bit_generator.state}
        if type(x) is random.Random:
            version, numbers, gauss = x.getstate()
            return {"random": [version, list(numbers), gauss]}
        if type(x) is list:
            return {"list": self._parts(x, where, above)}
        if type(x) is deque:
            return {"deque": [x.maxlen, self._parts(x, where, above)]}
        if type(x) is dict and all(_is_key(key) for key in x):
            keys = [self.of(key, where, above) for key in x]
            parts = [self.of(part, f"{where}[{key!r}]", above) for key, part in x.items()]
            return {"dict": [list(pair) for pair in zip(keys, parts, strict=True)]}
        if _holds_its_attributes(x):
            values = {name: self.of(value, f"{where}.{name}", above) for name, value in vars(x).items()}
            return {"object": [self._object(x, where), values]}
        if type(x) is dict:
            raise StrategyError(
                f"{where}: keys that are no text, numbers or tuples of these cannot be saved for a resume"
            )
        what = f"{type(x).__name__} of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise StrategyError(f"{where}: a {what} cannot be saved for a resume; {KINDS} can")

    def _object(self, x: Any, where: str) -> str:
        self.objects[where] = _name(x)
        return self.objects[where]

    def _parts(self, x: Any, where: str, above: tuple[int, ...]) -> list[Any]:
        return [self.of(part, f"{where}[{i}]", above) for i, part in enumerate(x)]

    def _refuse_twice(self, x: Any, where: str) -> None:
        if getattr(getattr(type(x), "__dataclass_params__", None), "frozen", False):
            return  # what cannot be changed may be there twice
        if id(x) in self.seen:
            raise StrategyError(
                f"{where}: is the same object as {self.seen[id(x)][0]}, and cannot be saved for a resume"
            )
        self.seen[id(x)] = where, x

    def refuse_shared_memory(self) -> None:
        arrays = [(*byte_bounds(x), where, x) for where, x in self.seen.values() if isinstance(x, np.ndarray)]
        arrays.sort(key=lambda found: found[:2])
        open_: list[tuple[int, str, np.ndarray]] = []
        for low, high, where, x in arrays:
            open_ = [found for found in open_ if found[0] > low]  # those that may reach to here
            for _, other, y in open_:
                if _share(x, y):
                    raise StrategyError(
                        f"{where}: shares its memory with {other}, and cannot be saved for a resume; copy it"
                    )
            open_.append((high, where, x))


def _is_key(x: Any) -> bool:
    return all(_is_key(part) for part in x) if type(x) is tuple else type(x) in PLAIN


def _share(x: np.ndarray, y: np.ndarray) -> bool:
    try:
        return bool(np.shares_memory(x, y, max_work=10_000))  # type: ignore[arg-type]  # any number of steps
    except np.exceptions.TooHardError:
        return True


def _holds_its_attributes(x: Any) -> bool:
    """Whether vars(x) is all that an object is: no container or number by birth, no slots, nothing from outside."""
    kinds = type(x).__mro__
    return (
        hasattr(x, "__dict__")
        and not isinstance(x, enum.Enum | random.Random)
        and not any(
            kind.__flags__ & OF_C for kind in kinds[:-1] if kind is not SimpleNamespace
        )  # has more in it than its attributes
        and not any(set(_slots(kind)) - {"__dict__", "__weakref__"} for kind in kinds)
        and not (
            inspect.ismodule(x)
            or inspect.isclass(x)
            or callable(x)
            or type(x).__module__.startswith(("torch", "lobgraph.agents.view", "lobgraph.env"))
        )
    )


def _slots(kind: type) -> tuple[str, ...]:
    named = vars(kind).get("__slots__", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _name(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def objects_of(strategy: Strategy) -> dict[str, str]:
    """Where in what a strategy holds objects are -> their class. Raises as `freeze` does."""
    frozen = _Frozen()
    frozen.of(strategy, str(strategy), ())
    return frozen.objects


def thaw(tree: Any, live: Any, arrays: Mapping[str, np.ndarray], where: str = "") -> Any:
    """What `freeze` wrote, with `live` (which `start` made) filled in where it is an object. Returns it.

    Raises StrategyError where `live` is not of the kind that was written down.
    """
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "scalar":
        return arrays[value][()]
    if kind in ("array", "columns"):
        return arrays[value].copy(order="C" if kind == "array" else "F")
    if kind in ("list", "tuple"):
        parts = _thaw_parts(value, live, arrays, where)
        return parts if kind == "list" else tuple(parts)
    if kind == "deque":
        return deque(_thaw_parts(value[1], live, arrays, where), value[0])
    if kind == "dict":
        olds, found = live if isinstance(live, dict) else {}, {}
        for frozen, part in value:
            key = thaw(frozen, None, arrays)
            found[key] = thaw(part, olds.get(key), arrays, f"{where}[{key!r}]")
        return found
    if kind == "generator":
        if not isinstance(live, np.random.Generator) or (
            type(live.bit_generator).__name__ != value["bit_generator"]
        ):
            raise StrategyError(
                f"{where}: a random generator {value['bit_generator']} was remembered; `start` makes none such"
            )
        live.bit_generator.state = value
        return live
    if kind == "random":
        if type(live) is not random.Random:
            raise StrategyError(f"{where}: a random.Random was remembered; `start` makes none in its place")
        live.setstate((value[0], tuple(value[1]), value[2]))
        return live
    if live is None or _name(live) != value[0]:
        raise StrategyError(f"{where}: a {value[0]} was remembered; `start` makes none in its place")
    if kind == "named":
        return type(live)(*_thaw_parts(value[1], live, arrays, where))
    made = (
        live if isinstance(live, Strategy) else object.__new__(type(live))
    )  # `live` may be a constant of others
    values = {
        name: thaw(part, getattr(live, name, None), arrays, f"{where}.{name}")
        for name, part in value[1].items()
    }
    for name in set(vars(made)) - set(values):
        object.__delattr__(made, name)  # it had been taken away
    for name, x in values.items():
        object.__setattr__(made, name, x)
    return made


def _thaw_parts(parts: list[Any], live: Any, arrays: Mapping[str, np.ndarray], where: str) -> list[Any]:
    olds = list(live) if isinstance(live, list | tuple | deque) else []
    return [
        thaw(part, olds[i] if i < len(olds) else None, arrays, f"{where}[{i}]")
        for i, part in enumerate(parts)
    ]
