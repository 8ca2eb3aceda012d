"""The report: one file that refers to nothing else, everything given escaped, whole files, tables that say what holds."""

import base64
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from played import config, makers, tables, takers

from lobgraph.report.html import file_name, write_report
from lobgraph.report.paths import equity
from lobgraph.report.tables import difference_table, mean_table, p_value

EMPTY = {"meta", "img", "wbr", "br"}
NASTY = "<script>alert('x')</script> & \"$\\frac$\""


class Page(HTMLParser):
    """Reads a page and complains of tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of two makers in two regimes, with text that must be escaped wherever text can be given."""
    names, series = makers(2, 2, 4)
    given = tables(names, series)
    new = {names[0]: names[0], names[1]: NASTY}
    named = [table.replace({"actor": new}) for table in given]
    played = {(new[actor], regime): s for (actor, regime), s in series.items()}
    directory = tmp_path_factory.mktemp("report") / "new" / "place"
    path = write_report(
        directory, f"Title {NASTY}", [names[0], NASTY], "maker", *named, played, config("single_maker"),
        [f"Note {NASTY}", "second"], f"lobgraph compare {NASTY}", seed=17,
        definitions={"pnl": f"what is left {NASTY}", "spread": SimpleNamespace(meaning="ask less bid", unit="ticks"),
                     "shortfall": "not in this report"},
    )  # fmt: skip
    return path, named, Page(path.read_text(encoding="utf-8"))


def test_refers_to_nothing_outside(written):
    path, _, page = written
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value for _, name, value in page.attributes if name in ("href", "action", "srcset", "data")]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    sources = [value for _, name, value in page.attributes if name == "src"]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    style = re.search(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.S)
    assert style is not None
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)


def test_holds_its_figures(written):
    path, _, page = written
    sources = [value for _, name, value in page.attributes if name == "src"]
    files = sorted((path.parent / "figures").iterdir())
    embedded = {base64.b64decode(s.partition(",")[2]) for s in sources}
    assert embedded == {file.read_bytes() for file in files}
    assert {f.stem for f in files} >= {
        "equity",
        "differences",
        "differences-stress",
        "quotes",
        "decisions",
        "market",
    }
    assert all(data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82") for data in embedded)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", path.read_text(encoding="utf-8"), re.S)
    assert len(captions) == len(files)
    assert all(captions)


def test_escapes_what_is_given(written):
    path, _, page = written
    assert "<script" not in path.read_text(encoding="utf-8")
    for text in (f"Title {NASTY}", f"Note {NASTY}", f"lobgraph compare {NASTY}", f"what is left {NASTY}"):
        assert text in page.words


def test_says_what_was_compared(written):
    _, _, page = written
    for text in ("single_maker: book A0; 1 maker; episodes of 30 steps of 1 s", "normal, stress", "4 for each actor",
                 "seed 17", "lobgraph 0.", "ask less bid (ticks)", "second"):  # fmt: skip
        assert text in page.words.replace("seed17", "seed 17")
    assert "not in this report" not in page.words
    assert not re.search(r"\bnan\b", page.words, re.I)


def test_files_are_whole(written):
    path, (measures, market, differences), _ = written
    assert {p.name for p in path.parent.iterdir()} == {
        "report.html", "figures", "measures.csv", "market.csv", "differences.csv", "intervals.csv",
    }  # fmt: skip
    for name, table in (("measures", measures), ("market", market), ("differences", differences)):
        read = pd.read_csv(path.parent / f"{name}.csv")
        pd.testing.assert_frame_equal(read, table.reset_index(drop=True), check_dtype=False)


def test_written_again_replaces(written):
    path, (measures, market, _), _ = written
    names = list(dict.fromkeys(measures["actor"]))
    again = write_report(path.parent.parent / "other", "first", names, "maker", measures, market)
    assert "first" in again.read_text(encoding="utf-8")
    again = write_report(path.parent.parent / "other", "second", names, "maker", measures, market)
    assert "first" not in again.read_text(encoding="utf-8").partition("</style>")[2].partition("<dl>")[0]
    assert not list(again.parent.rglob("*.tmp"))


def test_one_episode_without_fills_or_differences(tmp_path):
    _, series = takers()
    only = {key: s for key, s in series.items() if key[0] == "nothing"}
    measures, market, differences = tables(["nothing"], only)
    assert differences.empty
    first = measures["episode"] == 0
    path = write_report(tmp_path, "t", ["nothing"], "taker", measures[first], market[market["episode"] == 0],
                        differences, only)  # fmt: skip
    page = Page(path.read_text(encoding="utf-8"))
    assert "Differences" not in page.words
    assert not re.search(r"\bnan\b", page.words, re.I)


def test_a_role_that_never_trades_has_a_line_in_place_of_tables(tmp_path):
    names, series = makers(2, 1, 4, "multi_asset_gnn")  # its arbitrageur does nothing
    measures, _, differences = tables(names, series)
    path = write_report(tmp_path, "t", names, "maker", measures, None, differences)
    page = Page(path.read_text(encoding="utf-8"))
    assert "The arbitrageur beside it never trades." in page.words
    assert "The arbitrageur beside it, normal" not in page.words
    assert page.words.count("The maker, normal") == 2  # means and differences


def test_measures_that_are_all_nan_and_more_figures_of_one_name(tmp_path):
    names, series = makers(2, 1, 4)
    measures, _, differences = tables(names, series)
    differences[["mean", "low", "high"]] = np.nan
    fig = equity(names, series, "maker")
    path = write_report(tmp_path, "t", names, "maker", measures, None, differences,
                        figures={"policy-a b": fig, "policy-A/b": fig})  # fmt: skip
    page = Page(path.read_text(encoding="utf-8"))
    assert "completion" not in page.words
    assert {f.name for f in (tmp_path / "figures").iterdir()} >= {"policy-a-b.png", "policy-A-b-2.png"}


def test_wrong_tables_leave_nothing_behind(tmp_path):
    names, series = makers(2, 1, 4)
    measures, market, differences = tables(names, series)
    wrong = (
        ({"measures": measures.drop(columns="regime")}, "measures: no column 'regime'; it has episode"),
        ({"differences": differences.drop(columns="p_adjusted")}, "differences: no column 'p_adjusted'"),
        (
            {"market": market.replace({"actor": {names[1]: "other"}})},
            "market: 'other' is not among the names",
        ),
        ({"names": [names[0], names[0]]}, "names: must be present and different"),
    )
    right = {
        "names": names,
        "role": "maker",
        "measures": measures,
        "market": market,
        "differences": differences,
    }
    for change, words in wrong:
        with pytest.raises(ValueError, match=re.escape(words)):
            write_report(tmp_path / "x", "t", **{**right, **change})
    assert not (tmp_path / "x").exists()


# --- tables ---


def row(actor, measure, mean, low, high, **more):
    return {"actor": actor, "measure": measure, "regime": "r", "role": "maker", "mean": mean, "low": low, "high": high,
            "baseline": "a", "unpaired_low": low - 1, "unpaired_high": high + 1, "correlation": 0.9, "p": 1e-9,
            "p_adjusted": 0.0312, "effect": 0.5, **more}  # fmt: skip


LEVELS = pd.DataFrame([row(a, "pnl", m, m - 1, m + 1) for a, m in (("a", 1.0), ("b", 3.0), ("c", 2.0))])


@pytest.mark.parametrize(
    ("of_b", "of_c", "base", "bold"),
    [
        ((1.0, 3.0), (-1.0, 3.0), 1.0, "3.00"),  # the best, surely better than the baseline
        ((-0.1, 4.0), (0.5, 1.5), 1.0, None),  # the best is not sure; another, who is, is not the best
        ((-9.0, -1.0), (-9.0, -1.0), 9.0, "9.00"),  # the baseline is best, and all are surely worse
        ((-9.0, -1.0), (-9.0, 1.0), 9.0, None),  # one of them may not be
        (None, None, 1.0, None),
    ],
)
def test_bold_where_the_paired_interval_excludes_zero(of_b, of_c, base, bold):
    levels = LEVELS.copy()
    levels.loc[levels["actor"] == "a", "mean"] = base
    rows = [row(n, "pnl", sum(ends) / 2, *ends) for n, ends in (("b", of_b), ("c", of_c)) if ends]
    text = mean_table(["a", "b", "c"], levels, pd.DataFrame(rows) if rows else None)
    assert re.findall("<b>(.*?)</b>", text) == ([bold] if bold else [])


def test_lower_is_better_for_losses_and_neither_for_turnover():
    sure = pd.DataFrame([row("b", m, -1.0, -2.0, -0.5) for m in ("max_drawdown", "turnover")])
    levels = pd.DataFrame(
        [row(a, m, v, v, v) for m in ("max_drawdown", "turnover") for a, v in (("a", 5.0), ("b", 4.0))]
    )
    text = mean_table(["a", "b"], levels, sure)
    assert re.findall("<b>(.*?)</b>", text) == ["4.00"]
    assert text.index("largest drawdown") < text.index("<b>") < text.index("lots traded")


def test_difference_table_says_how_much_pairing_narrows():
    rows = pd.DataFrame([row("b", "pnl", 0.5, 0.0, 1.0), row("b", "length", 2.0, 1.0, 3.0)])
    text = difference_table(["a", "b"], rows)
    first, _, rest = text.partition("<details>")
    assert "[0, 1.00]" in first
    assert "[−1.00, 2.00]" in first
    assert "3.0 ×" in first
    assert "<b>" not in first
    assert "&lt; 0.0001" in first
    assert "0.031" in first
    assert "steps acted in" in rest
    assert "<b>2.00</b>" in rest


def test_p_values_and_file_names():
    assert p_value(float("nan")) == "–"
    assert p_value(0.04567) == "0.046"
    assert p_value(1.0) == "1.0"
    assert file_name("policy-my maker.py:Quoter:width=3") == "policy-my-maker.py-Quoter-width=3"
    assert file_name("../../x") == "x"
    assert file_name("///") == "figure"
