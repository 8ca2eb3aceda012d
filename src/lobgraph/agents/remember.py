"""What a strategy remembers, as plain values and named arrays, and back: so that a training that holds it can be resumed.

A file never says which classes to make: `thaw` fills an object that `start` has just made anew.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .strategy import Strategy, StrategyError

PLAIN = (bool, int, float, str, type(None))
KINDS = "biuf"  # of arrays: numbers and truth values


def freeze(strategy: Strategy) -> tuple[Any, dict[str, np.ndarray]]:
    """A tree that JSON can hold, and the arrays that it names. Raises StrategyError naming an attribute that is neither plain
    values, arrays, random generators, nor lists, tuples, dicts and objects of these.
    """
    arrays: dict[str, np.ndarray] = {}
    return _freeze(strategy, str(strategy), arrays, ()), arrays


def _freeze(x: Any, where: str, arrays: dict[str, np.ndarray], above: tuple[int, ...]) -> Any:
    if isinstance(x, np.bool_ | np.integer | np.floating):
        x = np.asarray(x)
    if isinstance(x, PLAIN):
        return x
    if isinstance(x, np.ndarray) and x.dtype.kind in KINDS:
        arrays[where] = x.copy()
        return {"array": where}
    if isinstance(x, np.random.Generator):
        return {"generator": x.bit_generator.state}
    if id(x) in above:
        raise StrategyError(f"{where}: refers to itself, and cannot be saved for a resume")
    above = (*above, id(x))
    if isinstance(x, list | tuple):
        return {"list": [_freeze(part, f"{where}[{i}]", arrays, above) for i, part in enumerate(x)]}
    if isinstance(x, dict) and all(isinstance(key, str) for key in x):
        return {"dict": {key: _freeze(part, f"{where}[{key!r}]", arrays, above) for key, part in x.items()}}
    if hasattr(x, "__dict__") and not _foreign(x):
        return {"object": {k: _freeze(v, f"{where}.{k}", arrays, above) for k, v in vars(x).items()}}
    raise StrategyError(
        f"{where}: a {type(x).__name__} cannot be saved for a resume; arrays, numbers, text, random generators, and "
        "lists, dicts and objects of these can"
    )


def _foreign(x: Any) -> bool:
    """What is no memory: modules, classes, functions, views of the market, models of torch."""
    return (
        inspect.ismodule(x)
        or inspect.isclass(x)
        or callable(x)
        or type(x).__module__.startswith(("torch", "lobgraph.agents.view", "lobgraph.env"))
    )


def thaw(tree: Any, live: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `freeze` wrote, with `live` (which `start` made) filled in where it is an object. Returns it.

    Raises StrategyError where `live` is not of the kind that was written down.
    """
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "array":
        array = arrays[value].copy()
        return array[()] if array.ndim == 0 and not isinstance(live, np.ndarray) else array
    if kind == "list":
        olds = list(live) if isinstance(live, list | tuple) else []
        parts = [thaw(part, _at(olds, i), arrays) for i, part in enumerate(value)]
        if not isinstance(live, tuple):
            return parts
        return type(live)(*parts) if hasattr(live, "_fields") else tuple(parts)
    if kind == "dict":
        olds = live if isinstance(live, dict) else {}
        return {key: thaw(part, olds.get(key), arrays) for key, part in value.items()}
    if kind == "generator":
        if not isinstance(live, np.random.Generator) or (
            type(live.bit_generator).__name__ != value["bit_generator"]
        ):
            raise StrategyError(
                f"a random generator {value['bit_generator']} was remembered; `start` makes none such"
            )
        live.bit_generator.state = value
        return live
    if not hasattr(live, "__dict__"):
        raise StrategyError(
            f"an object with {', '.join(value) or 'nothing'} was remembered; `start` makes none in its place"
        )
    for name, part in value.items():
        object.__setattr__(live, name, thaw(part, getattr(live, name, None), arrays))
    return live


def _at(olds: list[Any], i: int) -> Any:
    return olds[i] if i < len(olds) else None
