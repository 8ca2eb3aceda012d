"""Strategies by name: the class that all derive from, and text such as `avellaneda_stoikov:gamma=0.1` made into one.

A strategy is a dataclass whose fields are its parameters, with one method: `act`. A user's own is named by its file,
`my_maker.py:Quoter:width=3`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import math
import sys
import zlib
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from .view import View

if TYPE_CHECKING:
    import pandas as pd

MODULES = ("makers", "takers", "arbitrageurs", "directional")  # where the strategies of this package stand


class StrategyError(ValueError):
    """A strategy that cannot be made: names it, the parameter, and what there is."""


class Strategy:
    """Base of every strategy. Derive a dataclass from it, set `role`, write `act`.

    One object acts for all agents of its role in all environments of a batch. Parameters are dataclass fields with a
    default and a float, int, bool or str type, or such a type or None. What it remembers between decisions belongs in
    attributes set by `start`, and is void in the environments where `view.fresh` is true.
    """

    role: ClassVar[str]
    name: ClassVar[str] = ""  # as used on the command line; default: the class's name

    def start(self, view: View) -> None:
        """Called before the first decision in a new batch of environments."""

    def act(self, view: View) -> np.ndarray:
        """The actions of all agents of the role, (E, K, items, act_dim): `view.quote`, `view.trade` or `view.legs`."""
        raise NotImplementedError(f"{type(self).__name__}.act: a strategy must say what it does")

    def __str__(self) -> str:
        """The text that makes it: name and the parameters that are not the defaults."""
        given = []
        for field in dataclasses.fields(self) if dataclasses.is_dataclass(self) else ():
            value = getattr(self, field.name)
            if field.init and value != field.default:
                given.append(f"{field.name}={_text(value)}")
        return ":".join([self.name or type(self).__name__, *([",".join(given)] if given else [])])

    def _within(self, low: float, high: float, *names: str, strict: bool = False) -> None:
        """Raise StrategyError unless low <= parameter <= high (strict: low <); None passes, NaN and inf do not."""
        for name in names:
            value = getattr(self, name)
            if value is None or (
                math.isfinite(value) and (low < value <= high or (value == low and not strict))
            ):
                continue
            least = (
                "finite"
                if math.isinf(low) or math.isinf(value)
                else f"{'above' if strict else 'at least'} {low:g}"
            )
            most = f" and at most {high:g}" if math.isfinite(high) else ""
            raise StrategyError(
                f"{self.name or type(self).__name__}: {name} must be {least}{most}, got {value}"
            )


def strategies() -> dict[str, type[Strategy]]:
    """The strategies of this package by name."""
    found = {}
    for module in MODULES:
        for value in vars(importlib.import_module(f".{module}", __package__)).values():
            if isinstance(value, type) and issubclass(value, Strategy) and value.name:
                found[value.name] = value
    return found


def describe() -> pd.DataFrame:
    """A row per strategy of this package: strategy, role, parameters with their defaults, what it does (one line)."""
    import pandas as pd

    rows = []
    for name, kind in strategies().items():
        defaults = [f"{f.name}={_text(f.default)}" for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
        first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
        rows.append((name, kind.role, ", ".join(defaults), " ".join(first.split())))
    return pd.DataFrame(rows, columns=["strategy", "role", "parameters", "description"])


def make_strategy(text: str, role: str | None = None) -> Strategy:
    """A strategy from `NAME`, `NAME:key=value,key=value`, or `FILE.py:CLASS[:key=value,...]`.

    Raises StrategyError for a name, a class or a parameter that does not exist, a value of the wrong type, or a strategy
    of another role than `role`.
    """
    first, _, rest = text.partition(":")
    if first.endswith(".py"):
        name, _, rest = rest.partition(":")
        kind = _load_class(Path(first), name)
    else:
        known = strategies()
        if first not in known:
            close = difflib.get_close_matches(first, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
            raise StrategyError(f"{text!r}: no strategy {first!r}; {hint}")
        kind = known[first]
    if role is not None and kind.role != role:
        raise StrategyError(f"{text!r}: is a strategy for {article(kind.role)}, not for {article(role)}")
    try:
        return kind(**_parameters(text, kind, rest))
    except (TypeError, ValueError) as error:
        if isinstance(error, StrategyError):
            raise
        raise StrategyError(f"{text!r}: {error}") from None


def _parameters(text: str, kind: type[Strategy], given: str) -> dict[str, Any]:
    types = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind) if f.init] if dataclasses.is_dataclass(kind) else []
    values = {}
    for part in given.split(",") if given else ():
        key, sep, raw = part.partition("=")
        key = key.strip()
        if not sep or key not in names:
            raise StrategyError(
                f"{text!r}: no parameter {key!r}; it takes {', '.join(names) or 'none'} (as key=value)"
            )
        if key in values:
            raise StrategyError(f"{text!r}: {key} is given twice")
        values[key] = _typed(text, key, raw.strip(), types[key])
    return values


def _typed(text: str, key: str, raw: str, wanted: Any) -> Any:
    if get_origin(wanted) in (UnionType, Union):  # T | None
        if raw.lower() in ("none", "null"):
            return None
        wanted = next(t for t in get_args(wanted) if t is not type(None))
    try:
        if wanted is bool:
            value = yaml.safe_load(raw)
            if not isinstance(value, bool):
                raise ValueError
            return value
        if wanted in (int, float, str):
            return wanted(raw)
        return yaml.safe_load(raw)
    except (ValueError, yaml.YAMLError):
        name = getattr(wanted, "__name__", str(wanted))
        raise StrategyError(f"{text!r}: {key} must be of type {name}, got {raw!r}") from None


def article(role: str) -> str:
    """The role with its article, for messages."""
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


def _text(value: Any) -> str:
    """A parameter as `make_strategy` reads it."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _load_class(path: Path, name: str) -> type[Strategy]:
    if not path.is_file():
        raise StrategyError(f"{path}: no such file")
    title = f"lobgraph_user_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(title, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # dataclasses with annotations as text look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[title]
        raise StrategyError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
    classes = {
        k: v
        for k, v in vars(module).items()
        if isinstance(v, type) and issubclass(v, Strategy) and v.__module__ == title
    }
    if not name:
        known = (
            ", ".join(f"{path}:{k}" for k in sorted(classes))
            or "a class of lobgraph.Strategy, which the file lacks"
        )
        raise StrategyError(f"{path}: say which strategy of the file: {known}")
    if name not in classes:
        raise StrategyError(
            f"{path}: no strategy class {name!r}; it has {', '.join(sorted(classes)) or 'none'}"
        )
    if getattr(classes[name], "role", None) not in ("maker", "taker", "arbitrageur"):
        raise StrategyError(f"{path}: {name}.role must be 'maker', 'taker' or 'arbitrageur'")
    return classes[name]
