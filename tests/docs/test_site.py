"""The site: its pages are all there, its list of names and columns is complete, its notebook runs; hooks turn links and equations."""

import ast
import json
import re
import runpy

import pandas as pd
import pytest
import yaml
from blocks import ROOT

import lobgraph
import lobgraph.adapters
import lobgraph.agents
from lobgraph.cli.app import app
from lobgraph.evaluation.statistics import DIFFERENCES, INTERVALS
from lobgraph.evaluation.stress_measures import STRESS_MEASURES
from lobgraph.report.console import EXIT_CODES
from lobgraph.report.metrics import SUMMARY
from lobgraph.rl.run import REWARD_COLUMNS

DOCS = ROOT / "docs"


def words_of(page):
    """Everything set as code on a page."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text(encoding="utf-8")))


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = [page for section in nav for pages in section.values() for page in pages]
    assert len(listed) == len(set(listed))
    there = {p.relative_to(DOCS).as_posix() for p in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]}
    (table,) = re.findall(
        r"^FROM_ROOT = (\{.*\})$", (ROOT / "scripts/site/hooks.py").read_text(), re.MULTILINE
    )
    assert set(listed) == there | set(ast.literal_eval(table).values())


def test_the_reference_has_every_public_name():
    named = set(re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    public = {f"lobgraph.{name}" for name in lobgraph.__all__}
    public |= {f"lobgraph.agents.{name}" for name in lobgraph.agents.__all__}
    public |= {f"lobgraph.adapters.{name}" for name in lobgraph.adapters.__all__} - {
        "lobgraph.adapters.aec_env", "lobgraph.adapters.parallel_env",
    }  # fmt: skip
    assert named == public | {"lobgraph.known.make_known"}


@pytest.mark.parametrize("columns", [REWARD_COLUMNS, SUMMARY, INTERVALS, DIFFERENCES, STRESS_MEASURES])
def test_every_column_is_explained(columns):
    assert set(columns) <= words_of("measures.md")


def test_every_metric_of_a_training_is_explained(kept, provide):
    provide("artifacts/multi_agent_basic")
    columns = pd.read_parquet(kept / "artifacts/multi_agent_basic/latest/seed_0/metrics.parquet").columns
    known = words_of("measures.md")
    for column in columns:
        group, *rest = column.split("/")
        name = "/".join([group, *("ROLE" if part in ("maker", "taker") else part for part in rest)])
        assert ("terms/ROLE/TERM" if group == "terms" else name) in known, column


def test_every_exit_code_is_explained():
    table = re.findall(r"^\| (\d+) \|", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert {int(code) for code in table} == set(EXIT_CODES)
    assert all(str(code) in (app.info.epilog or "") for code in EXIT_CODES)


def test_the_notebook_runs_and_is_kept_without_outputs(monkeypatch):
    monkeypatch.chdir(DOCS)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names = {}
    for cell in json.loads((DOCS / "tour.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    assert len(names["difference"]) == 50


def test_hooks():
    pytest.importorskip("latex2mathml")
    pytest.importorskip("mkdocs")
    hooks = runpy.run_path(str(ROOT / "scripts" / "site" / "hooks.py"))
    drawn = hooks["on_page_content"](
        '<p><span class="arithmatex">\\(a &lt; b\\)</span></p>', None, None, None
    )
    assert drawn.startswith("<p><math")
    assert "&#x0003C;" in drawn
    assert "arithmatex" not in drawn
    link = hooks["LINK"].sub(hooks["_below_docs"], "[a](docs/gpu.md#x), [b](ARCHITECTURE.md)")
    assert link == "[a](gpu.md#x), [b](architecture.md)"
