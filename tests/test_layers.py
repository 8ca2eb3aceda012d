"""Imports go one way, the market knows neither torch nor gymnasium, and no module has a name that says nothing."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "lobgraph"
MODULES = sorted(PACKAGE.rglob("*.py"))

PARTS = ("config", "market", "data", "env", "agents", "known", "models", "rl", "adapters", "evaluation", "realism", "report",
         "bench", "sweep", "validate", "cli")  # fmt: skip
# What each part may import of the others. `__init__` and `bench` offer or measure the whole.
ALLOWED = {
    "files": set(),
    "config": set(),
    "market": {"config"},
    "data": {"config", "market"},
    "env": {"config", "market", "data"},
    "agents": {"config", "market", "data", "env"},
    "known": {"config", "market", "data", "env", "agents"},
    "models": {"config", "market", "data", "env"},
    "rl": {"config", "market", "data", "env", "agents", "models"},
    "adapters": {"config", "market", "data", "env", "agents", "models", "rl"},
    "evaluation": {"config", "market", "data", "env", "agents", "models", "rl"},
    "realism": {"config", "market", "data", "env", "agents", "models", "rl", "evaluation"},
    "report": {"config", "market", "data", "env", "agents", "models", "rl", "evaluation", "realism"},
    "bench": {
        "config",
        "market",
        "data",
        "env",
        "agents",
        "models",
        "rl",
        "adapters",
        "evaluation",
        "report",
    },
    "sweep": {"config", "market", "data", "env", "agents", "models", "rl", "evaluation", "report"},
    "validate": {
        "config",
        "market",
        "data",
        "env",
        "agents",
        "known",
        "models",
        "rl",
        "evaluation",
        "report",
    },
    "cli": set(PARTS) - {"cli", "__main__", "__init__"},
    "__main__": {"cli"},
    "__init__": {
        "config",
        "market",
        "data",
        "env",
        "agents",
        "models",
        "rl",
        "adapters",
        "evaluation",
        "report",
    },
}


def part_of(path: Path) -> str:
    """The part a module belongs to: its top directory within the package, or its own name."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module the file imports, absolute, also inside functions and type-checking blocks."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = ["lobgraph", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def parts_imported(path: Path) -> set[str]:
    names = {
        name.split(".")[1] for name in imports(path) if name.startswith("lobgraph.") and name != "lobgraph."
    }
    return (names & set(ALLOWED)) - {part_of(path), "files"}  # `files` imports none, and any may import it


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_the_package_is_there():
    assert {"config", "market", "data", "env", "models", "rl", "report", "cli"} <= {
        part_of(p) for p in MODULES
    }
    assert {part_of(p) for p in MODULES} <= set(ALLOWED), "a new part needs a place in ALLOWED"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_one_way(path):
    assert parts_imported(path) <= ALLOWED[part_of(path)]


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) == "market"], ids=name)
def test_the_market_needs_neither_torch_nor_gymnasium(path):
    assert not {n.split(".")[0] for n in imports(path)} & {"torch", "torch_geometric", "gymnasium", "pandas"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_names_say_something(path):
    assert not {"utils", "util", "common", "helpers", "helper", "base", "misc"} & {
        p.removesuffix(".py") for p in path.parts
    }


def test_the_rule_sees_relative_imports(tmp_path, monkeypatch):
    """The check itself: relative and nested imports are found."""
    inside = tmp_path / "market" / "flow.py"
    inside.parent.mkdir()
    inside.write_text(
        "from ..rl.train import train\ndef f():\n    from .. import report\n    import torch.nn\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert parts_imported(inside) == {"rl", "report"}
    assert "torch.nn" in imports(inside)
