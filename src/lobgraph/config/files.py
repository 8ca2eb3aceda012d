"""From YAML and `key=value` overrides to a validated section or the whole tree, and back to YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from .faults import messages
from .flow import RegimesConfig
from .tree import Config
from .types import ConfigError, Section

MAX_YAML_BYTES = 4 << 20
MAX_YAML_NODES = 1 << 20  # of the tree, an alias (*name) counted with all that it stands for
MAX_YAML_DEPTH = 64  # of brackets
# What the YAML parser raises for text that is none: some of its own constructors stumble over a tag's value (!!bool x).
_UNPARSABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
AnySection = TypeVar("AnySection", bound=Section)


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (the second would silently win), and aliases that grow without bound."""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        if self.flow_level >= MAX_YAML_DEPTH:  # the scanner's work grows with the square of the depth
            raise yaml.constructor.ConstructorError(
                None, None, f"brackets deeper than {MAX_YAML_DEPTH}", self.get_mark()
            )
        super().fetch_flow_collection_start(TokenClass)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MAX_YAML_NODES:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"with its aliases written out larger than {MAX_YAML_NODES} values",
                node.start_mark,
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool) and str(key) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} given twice", key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node, its aliases written out. Raises ConstructorError where a node holds itself."""
    if id(node) not in known:
        known[id(node)] = -1
        size = 1
        if isinstance(node, yaml.CollectionNode):
            for child in node.value:
                size += sum(_size(n, known) for n in (child if isinstance(child, tuple) else (child,)))
        known[id(node)] = size
    if known[id(node)] < 0:
        raise yaml.constructor.ConstructorError(
            None, None, "an alias stands for what holds it", node.start_mark
        )
    return known[id(node)]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Parse a YAML file of settings. Raises ConfigError with file and line for anything but a mapping."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_YAML_BYTES} bytes, not a config file")
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except _UNPARSABLE as error:
        raise ConfigError(f"{path}: not valid YAML: {_fault(error)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: the top level must be a mapping of sections, got {type(data).__name__}")
    return data


_DEFAULT_TABLES: dict[tuple[str, ...], dict[str, Any]] = {
    ("regimes", name): table
    for name, table in RegimesConfig().model_dump(mode="json").items()
    if isinstance(table, dict)
}


def _fault(error: Exception) -> str:
    """What the parser says, in a line: what is wrong, within what, and where."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    said = [
        error.problem or "",
        error.context or "",
        f"line {mark.line + 1}, column {mark.column + 1}" if mark else "",
    ]
    return ", ".join(part for part in said if part)


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in place; the value is read as YAML."""
    key, sep, text = override.partition("=")
    if not sep or not all(part.strip() for part in key.split(".")):
        raise ConfigError(f"--set {override!r}: must have the form section.key=value")
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except _UNPARSABLE as error:
        raise ConfigError(f"--set {override!r}: value is not valid YAML: {_fault(error)}") from None
    *parents, last = key.strip().split(".")
    node = tree
    for depth, part in enumerate(parents):
        child = node.get(part)
        if child is None:  # a table with default entries (the regimes) keeps those that are not named
            child = _DEFAULT_TABLES.get(tuple(parents[: depth + 1]), {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {part!r} is a value, not a section")
        node[part] = child = dict(child)
        node = child
    node[last] = value


def _check_text(x: Any, source: str, path: tuple[str, ...]) -> None:
    """Raise ConfigError for text that neither a file's name nor a figure can hold."""
    if isinstance(x, str):
        if "\0" in x or (not x.isascii() and x != x.encode(errors="ignore").decode()):
            where = ".".join(repr(part)[1:-1] for part in path)
            raise ConfigError(
                f"{source}: {where}: {x!r} holds a character that is none (NUL, or half of a pair)"
            )
    elif isinstance(x, Mapping):
        for key, part in x.items():
            _check_text(key, source, (*path, str(key)))
            _check_text(part, source, (*path, str(key)))
    elif isinstance(x, list | tuple):
        for i, part in enumerate(x):
            _check_text(part, source, (*path, str(i)))


def make_section(
    section: type[AnySection], data: Mapping[str, Any], overrides: Iterable[str] = (), source: str = "config"
) -> AnySection:
    """Validate a tree of plain values as `section` after applying `key=value` overrides. Raises ConfigError."""
    tree = dict(data)
    for override in overrides:
        _apply(tree, override)
    _check_text(tree, source, ())
    # A section written with every key commented out reads as null: it means the defaults.
    tree = {k: v for k, v in tree.items() if v is not None or k not in section.model_fields}
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in messages(error, section))) from None


def make_config(data: Mapping[str, Any], overrides: Iterable[str] = (), source: str = "config") -> Config:
    """Validate a tree of plain values after applying `key=value` overrides. Raises ConfigError."""
    return make_section(Config, data, overrides, source)


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a scenario file and apply overrides such as `["env.num_envs=256", "ppo.lr=3e-4"]`.

    `path=None` starts from the defaults. Raises ConfigError, naming the key and what would be right.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of 'key=value', got the string {overrides!r}")
    if path is None:
        return make_config({}, overrides, "defaults")
    return make_config(read_yaml(path), overrides, str(path))


def dump_config(cfg: Config) -> str:
    """The resolved tree as YAML; `load_config` of it gives an equal Config."""
    return yaml.safe_dump(cfg.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key with dots, value) of every setting of a tree; lists are values."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
