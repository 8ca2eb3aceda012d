"""What comes in from outside: nothing that runs what it reads, pins that are locked by hash, licences that are known."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for folder in ("src", "scripts") for p in (ROOT / folder).rglob("*.py"))
# Calls that could run what a file holds, and stay: (file, call) -> why.
ALLOWED = {
    (
        "src/lobgraph/config/files.py",
        "yaml.load",
    ): "with a SafeLoader's subclass, which refuses a key given twice",
    (
        "src/lobgraph/rl/processes.py",
        "pickle.loads",
    ): "of bytes that this process has just made of its own exception",
    (
        "scripts/examples/sb3_strategy.py",
        "pickle.loads",
    ): "Stable-Baselines3 keeps its normalisation so; the file is the user's own",
}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call as (dotted name, node)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def unsafe(name: str, call: ast.Call) -> bool:
    """Whether a call may run what it is given: eval, exec, pickles, and the loaders that fall back on pickles or tags."""
    words = {k.arg: ast.unparse(k.value) for k in call.keywords}
    last = name.rsplit(".", 1)[-1]
    pickles = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
    if name in ("eval", "exec", "compile", "pd.read_pickle", "pandas.read_pickle", "os.system"):
        return True
    if name.partition(".")[0] in pickles and last in ("load", "loads", "Unpickler", "open"):
        return True
    if name == "torch.load":
        return words.get("weights_only") != "True"
    if name.startswith("yaml."):
        return last in ("load", "load_all", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all")
    return last == "load" and "allow_pickle" in words and words["allow_pickle"] != "False"


def test_nothing_runs_what_it_reads():
    found = {
        (str(p.relative_to(ROOT)), name) for p in SOURCES for name, call in calls(p) if unsafe(name, call)
    }
    assert found == set(ALLOWED)


def test_yaml_is_loaded_by_the_safe_loader_only():
    from lobgraph.config.files import _UniqueKeyLoader

    for name, call in calls(ROOT / "src/lobgraph/config/files.py"):
        if name == "yaml.load":
            assert [ast.unparse(k.value) for k in call.keywords if k.arg == "Loader"] == ["_UniqueKeyLoader"]
    assert "SafeLoader" in [c.__name__ for c in _UniqueKeyLoader.__mro__]
    assert "UnsafeLoader" not in [c.__name__ for c in _UniqueKeyLoader.__mro__]


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')", "pickle.load(f)", "torch.load(p)", "torch.load(p, weights_only=False)", "yaml.load(t, Loader=L)",
        "np.load(p, allow_pickle=True)", "numpy.load(p, allow_pickle=flag)", "pd.read_pickle(p)",
    ],
)  # fmt: skip
def test_the_check_sees(line):
    call = ast.parse(line).body[0].value
    assert unsafe(ast.unparse(call.func), call)


@pytest.mark.parametrize(
    "line", ["torch.load(p, weights_only=True)", "np.load(p)", "yaml.safe_load(t)", "json.load(f)"]
)
def test_the_check_lets_pass(line):
    call = ast.parse(line).body[0].value
    assert not unsafe(ast.unparse(call.func), call)


# --- pins ---


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = (re.match(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", m[1]).lower(): m[2] for m in found if m}


def test_the_lock_holds_every_pin_with_hashes_but_torch():
    pins, lock = pinned("requirements.txt"), pinned("requirements.lock")
    assert lock == {name: version for name, version in pins.items() if name != "torch"}
    blocks = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())
    assert len(blocks) == len(lock)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def test_pins_lie_in_the_ranges_of_pyproject():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = pinned("requirements.txt")
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(text)
        assert pins[wanted.name.lower()] in wanted.specifier, text


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements.lock", "pyproject.toml", "Makefile", "scripts/setup.sh"]
)
def test_no_file_names_an_index(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--find-links|https?://(?!github\.com)", text)


# --- licences ---


def script():
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "supply" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_pin_has_a_licence_that_is_permissive_or_explained():
    licences = script()
    listed = {
        cells[1].strip(): cells
        for cells in (row.split("|") for row in licences.old() if row.startswith("| "))
    }
    for name, (version, _) in licences.pins().items():
        assert name in listed, f"{name} is not in docs/licences.md: make licences"
        assert listed[name][2].strip() == version, f"{name}: make licences"
        assert licences.is_permissive(listed[name][3].strip()) or name in licences.EXPLAINED, listed[name]


def test_the_page_says_what_the_metadata_say():
    from importlib import metadata

    licences = script()
    page = licences.PAGE.read_text(encoding="utf-8")
    for name, (version, _) in licences.pins().items():
        try:
            same = metadata.version(name) == version
        except metadata.PackageNotFoundError:
            continue
        if same:  # an environment of other versions says nothing about these
            assert f"| {name} | {version} | {licences.licence(name)} |" in page


@pytest.mark.parametrize(
    "text", ["GPL-3.0", "MIT AND GPL-2.0-only", "LGPL", "not stated", "LicenseRef-Proprietary", "MPL-2.0"]
)
def test_what_is_not_permissive(text):
    assert not script().is_permissive(text)
