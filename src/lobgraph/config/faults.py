"""What was wrong with a tree of settings, one line per fault: the key's full path and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from .flow import RegimeConfig, RegimesConfig

# What is asked of a value, by pydantic's name of the fault, in the words of our own checks.
WORDS = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table of keys and values",
    "model_type": "must be a section of keys and values",
    "literal_error": "must be {expected}",
    "too_short": "needs at least {min_length} entries, got {actual_length}",
    "too_long": "takes at most {max_length} entries, got {actual_length}",
    "missing": "is missing",
    "unexpected_keyword_argument": "unknown key",
}


def _suggest(key: str, model: Any) -> str:
    fields = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    close = difflib.get_close_matches(key, fields, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known keys: {', '.join(fields)}" if fields else ""


def _model_at(model: Any, path: Iterable[Any]) -> Any:
    """The section class that holds the last key of `path`, or None where the path leaves the tree."""
    for part in path:
        if part == "kinds":
            model = RegimesConfig
            continue
        if model is RegimesConfig:
            model = RegimeConfig
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return None
        model = field.annotation
    return model


def messages(error: ValidationError, model: Any, prefix: tuple[str, ...] = ()) -> list[str]:
    """One line per fault: the key's full path, what was wrong and what would be right."""
    lines: dict[str, str] = {}
    for fault in error.errors():
        unknown = fault["type"] == "extra_forbidden"
        last = (
            len(fault["loc"]) - 1
        )  # an unknown key stays; what else is left out are the kinds a value may be of
        loc = [
            p
            for i, p in enumerate(fault["loc"])
            if (unknown and i == last)
            or not (isinstance(p, str) and ("[" in p or p in ("float", "int", "list")))
        ]
        path = ".".join(map(str, (*prefix, *loc)))
        if unknown:
            lines.setdefault(path, f"{path}: unknown key{_suggest(str(loc[-1]), _model_at(model, loc[:-1]))}")
            continue
        words = WORDS.get(fault["type"])
        text = words.format(**fault.get("ctx", {})) if words else fault["msg"].removeprefix("Value error, ")
        joint = (
            "" if not path else f"{path}." if fault["type"] == "value_error" and ": " in text else f"{path}: "
        )
        given = fault.get("input")
        shown = (
            f" (got {given!r})"
            if fault["type"] != "value_error" and isinstance(given, str | int | float)
            else ""
        )
        lines.setdefault(path, f"{joint}{text}{shown}")
    # Where a value may be of several kinds, each kind complains: keep the complaint that goes deepest.
    return [
        line for path, line in lines.items() if not path or not any(p.startswith(f"{path}.") for p in lines)
    ]
