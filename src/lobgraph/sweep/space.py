"""What a sweep varies: `--over KEY=LOW..HIGH[:log]` or `--over KEY=a,b,c`, checked against the scenario before anything runs.

In: text. Out: a `Range` or `Choice` by key; each knows its Optuna distribution, and values as `--set` takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..config import Config, ConfigError, make_config

WHOLE = re.compile(r"[+-]?\d[\d_]*")
FORM = "must have the form KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=a,b,c"


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both among them."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Choice:
    """One of several values, as YAML reads them."""

    values: tuple[str, ...]

    @property
    def ends(self) -> list[Any]:
        return list(self.values)


Space = dict[str, Range | Choice]


def parse(texts: Iterable[str], tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> Space:
    """What each `--over` says; every end of a range and every choice must make a valid scenario of `tree` with `overrides`.

    Raises ConfigError naming the option, the key and what would be right.
    """
    space: Space = {}
    given = list(overrides)
    fixed = {text.partition("=")[0].strip() for text in given}
    for text in texts:
        key, sep, values = (part.strip() for part in text.partition("="))
        if not sep or not key or not values:
            raise ConfigError(f"--over {text!r}: {FORM}")
        if key in space or key in fixed:
            raise ConfigError(f"--over {text!r}: {key} is given twice")
        space[key] = _values(text, values)
        cfg = Config()
        for value in space[key].ends:
            cfg = make_config(tree, [*given, setting(key, value)], f"--over {text!r}")
        space[key] = _typed(text, key, space[key], cfg)
    if not space:
        raise ConfigError(f"--over: a sweep needs something to vary; {FORM.replace('must have', 'in')}")
    return space


def setting(key: str, value: Any) -> str:
    """As `--set` takes it."""
    return f"{key}={value}"


def _values(option: str, text: str) -> Range | Choice:
    if ".." not in text:
        return Choice(_choices(option, text))
    ends, colon, scale = text.partition(":")
    if colon and scale != "log":
        raise ConfigError(f"--over {option!r}: after a range only :log may stand, got {scale!r}")
    low, _, high = (part.strip() for part in ends.partition(".."))
    whole = all(WHOLE.fullmatch(end) for end in (low, high))
    try:
        found = Range(*((int if whole else float)(end) for end in (low, high)), log=bool(colon), whole=whole)
    except ValueError:
        raise ConfigError(f"--over {option!r}: {ends!r} is no range of numbers; {FORM}") from None
    if not found.low < found.high < float("inf"):
        raise ConfigError(f"--over {option!r}: a range goes from a lower to a higher number")
    if found.log and found.low <= 0:
        raise ConfigError(f"--over {option!r}: a range with :log must start above 0")
    return found


def _choices(option: str, text: str) -> tuple[str, ...]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    values = tuple(part.strip() for part in parts)
    if not all(values) or len(set(values)) < len(values) or len(values) < 2:
        raise ConfigError(f"--over {option!r}: needs two different values or more, with commas; {FORM}")
    return values


def _typed(option: str, key: str, values: Range | Choice, cfg: Config) -> Range | Choice:
    """A range of whole numbers where the setting is one, of any numbers elsewhere (`ppo.vf_coef=1..4`)."""
    if isinstance(values, Choice):
        return values
    node: Any = cfg.model_dump()
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, int) and not values.whole:
        raise ConfigError(f"--over {option!r}: {key} is a whole number; give whole ends")
    return replace(values, whole=values.whole and not isinstance(node, float))


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """A value for each key, by an Optuna trial."""
    chosen: dict[str, Any] = {}
    for key, values in space.items():
        if isinstance(values, Choice):
            chosen[key] = trial.suggest_categorical(key, values.values)
        elif values.whole:
            chosen[key] = trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
        else:
            chosen[key] = trial.suggest_float(key, values.low, values.high, log=values.log)
    return chosen
