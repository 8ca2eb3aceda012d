"""A traced episode drawn and written: what stands in the figure is what stands in the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from lobgraph.config import load_config
from lobgraph.evaluation.event_trace import EventTrace, trace
from lobgraph.report import event_figure, event_tables
from lobgraph.report.event_figure import episode
from lobgraph.report.event_tables import around, summary, write_trace


@pytest.fixture(scope="module")
def told() -> EventTrace:
    cfg = load_config(None, [
        "market.books=[X,Y]", "agents.maker.count=1", "agents.taker.count=1", "agents.taker.target=30",
        "env.episode_steps=30", "env.threads=1", "flow.warmup=2",
    ])  # fmt: skip
    return trace(cfg, {"maker": "fixed_spread:half_spread=1", "taker": "twap"}, 0, 1, 4)


@pytest.mark.parametrize("most", [0, 10**6])
@pytest.mark.parametrize(("agent", "book"), [(0, 0), (0, 1), (1, 0)])
def test_marks_and_lines_are_fills_and_orders(
    told: EventTrace, agent: int, book: int, most: int, monkeypatch
) -> None:
    monkeypatch.setattr(event_figure, "MOST_EVENTS", most)
    fig = episode(told, agent, book)
    price, held, queue, reward = fig.axes
    fills = [f for f in told.fills if (f.agent, f.book) == (agent, book)]
    points = np.concatenate(
        [np.asarray(c.get_offsets()) for c in price.collections if isinstance(c, PathCollection)]
    )
    drawn = sorted(map(tuple, points.tolist()))
    assert drawn == sorted((told.seconds(f.ns), float(f.px)) for f in fills)
    orders = [o for o in told.orders if (o.agent, o.book) == (agent, book)]
    lines = [c for c in price.collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in lines) == len(orders)
    assert (len(orders) == 0) == (agent == 1)
    low, high = price.get_ylim()
    assert all(low < f.px < high for f in fills)
    assert held.lines[0].get_ydata()[-1] == told.log.series.inventory[-1, 0, agent, book]
    assert reward.lines[-2].get_ydata()[-1] == pytest.approx(told.log.series.terms[:, 0, agent].sum())
    assert bool(queue.texts) == (agent == 1)
    legend = {text.get_text() for text in fig.legends[0].get_texts()}
    assert ("ringed: with an agent" in legend) == any(f.other in told.names for f in fills)


def test_a_stretch_around_a_fill(told: EventTrace) -> None:
    fill = next(f for f in told.fills if f.order is not None and f.step > 8)
    first, last = around(told, fill.number)
    assert first <= told.seconds(fill.order.ns) <= told.seconds(fill.ns) <= last
    fig = episode(told, fill.agent, fill.book, (first, last), fill.number)
    price, held, _, _ = fig.axes
    assert price.get_xlim() == (first, last)
    now = [
        f for f in told.fills if (f.agent, f.book) == (fill.agent, fill.book) and told.seconds(f.ns) <= last
    ]
    low, high = held.get_ylim()
    assert low < sum(f.side * f.lots for f in now) < high
    assert f"fill {fill.number}" in {text.get_text() for text in fig.legends[0].get_texts()}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_are_read_back(told: EventTrace, form: str, tmp_path) -> None:
    files = write_trace(told, tmp_path / "new", form, fill=3)
    assert [f.name for f in files] == [
        *(f"{n}.{form}" for n in ("events", "orders", "fills", "rewards", "positions", "market")), "episode.png", "fill_3.png",
    ]  # fmt: skip
    read = pd.read_csv if form == "csv" else pd.read_parquet
    for file, (name, table) in zip(files, told.tables().items(), strict=False):
        again = read(file)
        assert file.stem == name
        pd.testing.assert_frame_equal(again.fillna(""), table.fillna(""), check_dtype=False)


def test_nothing_is_overwritten(told: EventTrace, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(event_tables, "episode", lambda *_: Figure())
    files = [write_trace(told, tmp_path, "csv") for _ in range(2)]
    assert not set(files[0]) & set(files[1])
    assert files[0][0].read_text() == files[1][0].read_text()


def test_the_summary_counts_every_fill(told: EventTrace) -> None:
    table, fills = summary(told), told.fill_table()
    assert table["fills"].sum() == len(fills)
    assert table["lots"].sum() == fills["lots"].sum()
    assert table["earned"].sum() == pytest.approx(fills["earned"].sum())
    assert set(zip(table["agent"], table["counterparty"], strict=True)) >= {
        ("maker_0", "noise"),
        ("taker_0", "noise"),
    }
