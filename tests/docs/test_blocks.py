"""Python blocks of the documentation are executed, scenario blocks are loaded; what the text names in code exists."""

import re

import pytest
import yaml
from blocks import ROOT, blocks, spans
from pydantic import BaseModel
from shortened import FOREIGN, NOT_RUN, PYTHON

from lobgraph.config import Config, load_config

CODE = [*blocks("python")]
SCENARIOS = [*blocks("yaml")]
SOURCES = [
    *sorted((ROOT / "src").rglob("*.py")), *(p for p in sorted((ROOT / "scripts").rglob("*.*")) if p.suffix != ".pyc"),
    *sorted((ROOT / "configs").glob("*.yaml")), ROOT / "Makefile", ROOT / "pyproject.toml",
]  # fmt: skip


def imported(text: str) -> set[str]:
    """Top-level packages that a block imports."""
    return set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))


def test_every_block_says_its_language():
    assert [block.place for block in blocks("")] == []


@pytest.mark.parametrize("block", CODE, ids=lambda b: b.place)
def test_python_runs(block, clone, provide):
    text = block.text
    compile(text, block.place, "exec")
    if unavailable := imported(text) & set(NOT_RUN):
        pytest.skip(f"{unavailable}: {NOT_RUN[unavailable.pop()]}")
    for package in imported(text):
        pytest.importorskip(package)
    for word in re.findall(r'"(artifacts/[\w/.]+)"', text):
        provide(word)
    for page, old, new in PYTHON:
        if page == block.page:
            text = text.replace(old, new)
    exec(compile(text, block.place, "exec"), {"__name__": "block"})


@pytest.mark.parametrize(("page", "old", "new"), PYTHON)
def test_what_is_shortened_is_there(page, old, new):
    assert any(old in block.text for block in CODE if block.page == page)


@pytest.mark.parametrize("block", SCENARIOS, ids=lambda b: b.place)
def test_scenarios_load(block, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(block.text)
    assert load_config(path) != load_config(None)


SUFFIXES = (".py", ".md", ".yaml", ".png", ".sh", ".csv", ".npz")


def test_files_named_in_the_text_exist():
    homes = (
        ROOT,
        ROOT / "docs",
        ROOT / "src",
        ROOT / "src" / "lobgraph",
        ROOT / "scripts" / "examples",
        ROOT / "tests",
    )
    missing = []
    for place, text in spans():
        path = text.split(":")[0].rstrip("/")
        if not re.fullmatch(r"[\w./]+", path) or not (
            path.endswith((".py", ".md", ".sh")) or text.endswith("/")
        ):
            continue
        written = {block.file for block in blocks("python", "yaml")}
        if path not in written and not any((home / path).exists() for home in homes):
            missing += [f"{place}: {text}"] if not list((ROOT / "src").rglob(path)) else []
    assert not missing


def test_links_lead_somewhere():
    missing = [
        f"{page.name}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert not missing


def knows(model, keys) -> bool:
    """Whether a path of keys is in the tree of settings, as far as sections are concerned."""
    for key in keys:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return True  # a free table: regimes.kinds.stress
        if key not in model.model_fields:
            return False
        model = next(
            (
                x
                for x in _types(model.model_fields[key].annotation)
                if isinstance(x, type) and issubclass(x, BaseModel)
            ),
            None,
        )
    return True


def _types(annotation):
    inner = getattr(annotation, "__args__", None)
    return [annotation] if inner is None else [x for part in inner for x in _types(part)]


KEY = re.compile(rf"((?:{'|'.join(Config.model_fields)})(?:\.\w+)+)(?:[:=].*)?")


def test_settings_named_in_the_text_exist():
    unknown = []
    own = (
        ROOT / "src" / "lobgraph" / "env" / "market_env.py"
    ).read_text()  # `env` is an environment's name, too
    for place, text in spans():
        found = KEY.fullmatch(text)
        if not found or "(" in text or text.endswith(".csv") or (ROOT / "src" / "lobgraph" / text).exists():
            continue
        section, *keys = found[1].split(".")
        attribute = section == "env" and re.search(rf"\b(self\.|def ){keys[0]}\b", own)
        if not attribute and not knows(Config, [section, *keys]):
            unknown.append(f"{place}: {text}")
    assert not unknown


def test_options_named_in_the_text_exist():
    known = set(re.findall(r"--[\w-]+", "\n".join(p.read_text() for p in SOURCES if p.suffix != ".png")))
    known |= {
        f"--{name.replace('_', '-')}"
        for p in (ROOT / "src/lobgraph/cli").glob("*.py")
        for name in re.findall(r"^    (\w+): ", p.read_text(), re.MULTILINE)
    }
    unknown = [
        f"{place}: {text}"
        for place, text in spans()
        for option in re.findall(r"^--[\w-]+", text)
        if option not in known
    ]
    assert not unknown


def test_names_in_the_text_exist():
    """An identifier set as code is a word of the sources, scripts, tests or scenarios, or of another library (FOREIGN)."""
    words = set(
        re.findall(
            r"\w+",
            "\n".join(
                p.read_text(encoding="utf-8") for p in SOURCES if p.suffix in (".py", ".yaml", ".toml", "")
            ),
        )
    )
    unknown = []
    for place, text in spans():
        name = re.fullmatch(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w{2,})(?:\(\.*\))?", text)
        if name and name[1] not in words and text not in FOREIGN:
            unknown.append(f"{place}: {text}")
    assert not unknown


def test_foreign_names_are_named():
    assert {text for _, text in spans()} >= set(FOREIGN)


def test_yaml_within_the_text_is_yaml():
    for place, text in spans():
        if re.fullmatch(r"\w+: \{.*\}", text):
            assert yaml.safe_load(text), place
