"""A directory like a fresh clone, in which the documentation's commands run, with the runs and files that they speak of."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from blocks import ROOT, blocks
from shortened import TINY

from lobgraph import cli

MARKET = "name: {name}\nmarket: {{window: 512}}\nflow: {{warmup: 2.0}}\n"


@pytest.fixture
def lobgraph(monkeypatch, capfd):
    """Run the command in this process. Returns what it printed; fails with what it complained of."""

    def run(words):
        monkeypatch.setattr(sys, "argv", ["lobgraph", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert not exit_.value.code, err
        return out

    return run


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Runs and files that several commands speak of; each is made once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The current directory: what a reader's has after `git clone`, and the files that the pages tell to write."""
    for name in ("configs", "scripts", "tests", "docs", "src", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks("python", "yaml"):
        if block.file and not (tmp_path / block.file).exists():
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def provide(clone, kept, lobgraph):
    """provide(word): make what a word of a command names and a reader would have by then, a run or a file."""

    def run_of(scenario):
        home = kept / "artifacts" / scenario
        if not home.exists():
            config = ROOT / "configs" / f"{scenario}.yaml"
            if scenario == "replay" or not config.is_file():
                config = ROOT / "configs" / "single_maker.yaml"
            args = ["--dir", home.parent, "--seeds", 2, *TINY, "--set", f"name={scenario}"]
            with pytest.MonkeyPatch.context() as patch:  # nobody looks at its figures
                patch.setattr("lobgraph.report.figures.make_figures", lambda run: [])
                lobgraph(["train", config, *args])
        shutil.copytree(home, clone / "artifacts" / scenario, symlinks=True)

    def provide(word):
        path = Path(word)
        if found := re.match(r"artifacts/(\w+)(?:/|$)", word):
            if not (clone / "artifacts" / found[1]).exists():
                run_of(found[1])
        elif word.startswith("made/") and not path.exists():
            made = runpy.run_path(str(ROOT / "tests" / "data" / "make.py"))
            path.parent.mkdir()
            made["write_pair"](
                path.parent, *made["make_day"](rows=3000), 3, "", path.name.split("_message")[0]
            )
        elif re.fullmatch(r"\w+\.yaml", word) and not path.exists():
            path.write_text(MARKET.format(name=path.stem))

    return provide
