"""Figures of a comparison: what is drawn is what was played, axes are named, legends hide nothing, empty cases say so."""

import dataclasses

import numpy as np
import pytest
import torch
from played import REGIMES, Even, arbitrageurs, config, makers, tables, takers

from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation.measures import MEASURES
from lobgraph.evaluation.quality import GROUP_MEASURES, MARKET_MEASURES
from lobgraph.evaluation.record import play
from lobgraph.models.policy import PolicyError, make_policies
from lobgraph.report import comparison, decisions, forest, ladder, panels, paths, policy_map, probe
from lobgraph.report.comparison import CAPTIONS, caption, comparison_figures
from lobgraph.report.crash import around, crash, troughs
from lobgraph.report.decisions import Decisions, cell_means
from lobgraph.report.labels import LABELS, axis, label, number
from lobgraph.report.levels import levels
from lobgraph.report.style import save

AGENTS = {"equity", "equity_fans", "inventory", "distribution", "quotes", "decisions", "crash"}


def figures(names, series, role):
    measured, market, differences = tables(names, series)
    return comparison_figures(names, series, role, levels(measured, market), differences)


def looks_right(fig):
    """A title; data or a word of why not in each panel; labels at the edges; legends beside the panels."""
    assert fig.get_suptitle()
    panels = [ax for ax in fig.axes if ax.get_label() != "<colorbar>"]
    assert all(ax.has_data() or ax.texts for ax in panels)
    assert all(ax.get_xlabel() for ax in panels if ax.get_subplotspec().is_last_row())
    fig.set_dpi(50)
    fig.canvas.draw()
    for legend in fig.legends:
        assert not any(legend.get_window_extent().overlaps(ax.get_window_extent()) for ax in panels)
        assert legend.get_window_extent().x0 >= 0
        assert legend.get_window_extent().x1 <= fig.bbox.x1
    for ax in panels:
        assert ax.get_legend() is None
    named = {ax.get_subplotspec().rowspan.start for ax in panels if ax.get_ylabel() or ax.get_yticklabels()}
    assert named == {ax.get_subplotspec().rowspan.start for ax in panels}


@pytest.mark.parametrize(("count", "regimes"), [(1, 1), (2, 2), (6, 1)])
def test_makers(count, regimes):
    made = figures(*makers(count, regimes), "maker")
    expected = AGENTS | {"market"} | ({"differences", "market_differences"} if count > 1 else set())
    assert {name.partition("-")[0] for name in made} == expected
    assert ("quotes-stress" in made) == (regimes > 1)
    for name, fig in made.items():
        looks_right(fig)
        assert caption(name)


def test_four_books_and_two_agents():
    made = figures(*makers(2, 1, scenario="multi_asset_gnn"), "maker")
    assert "agent 0 of 2" in made["quotes"].get_suptitle()
    assert "in each book" in made["inventory"].get_suptitle()
    for fig in made.values():
        looks_right(fig)


def test_takers_and_arbitrageurs():
    made = figures(*takers(), "taker")
    assert "execution" in made
    for fig in [*made.values(), *figures(*arbitrageurs(), "arbitrageur").values()]:
        looks_right(fig)


def test_every_figure_has_its_caption():
    assert set(CAPTIONS) >= AGENTS | {"differences", "market_differences", "market", "execution", "policy"}
    assert caption("policy-a_b-c") == CAPTIONS["policy"]


def test_equity_is_the_mean_over_episodes_and_agents():
    names, series = makers(2, 1, scenario="multi_asset_gnn")
    fig = paths.equity(names, series, "maker")
    for line, name in zip(fig.axes[0].lines, names, strict=False):
        s = series[name, "normal"]
        np.testing.assert_allclose(
            line.get_ydata(), s.equity[:, :, s.specs["maker"].agents].mean(axis=(1, 2))
        )
        np.testing.assert_allclose(line.get_xdata(), s.time)


def test_the_inventory_distribution_adds_up_and_names_who_holds_nothing():
    names, series = makers(6, 2)
    fig = paths.inventory_distribution(names, series, "maker")
    for ax in fig.axes:
        for step in ax.patches:
            values, edges, _ = step.get_data()
            assert np.sum(values * np.diff(edges)) == pytest.approx(100.0)
    drawn = {
        regime: {n for (n, r), s in series.items() if r == regime and s.inventory[1:].any()}
        for regime in REGIMES
    }
    assert [len(ax.patches) for ax in fig.axes] == [len(drawn[r]) for r in REGIMES]
    for ax in fig.axes:
        assert "nothing (never holds any)" in ax.get_legend_handles_labels()[1]


def test_no_regime_s_peak_is_cut_off():
    """The first regime's distribution is flat, the second's one peak."""
    names, series = makers(2, 2)
    rng = np.random.default_rng(0)
    held = {regime: rng.integers(-20, 21, series[names[0], regime].inventory.shape) for regime in REGIMES}
    held["stress"][:, :4] = 3
    made = {(n, r): dataclasses.replace(s, inventory=held[r]) for (n, r), s in series.items()}
    fig = paths.inventory_distribution(names, made, "maker")
    heights = [step.get_data()[0].max() for ax in fig.axes for step in ax.patches]
    assert max(heights) > 50 > 3 * min(heights)
    assert all(ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > max(heights) for ax in fig.axes)


def test_a_path_is_called_by_its_end():
    short = panels.short_names
    assert short(["artifacts/single_maker/latest", "glft:gamma=0.1", "my/own/maker.py:Mine:skew=1"]) == {
        "artifacts/single_maker/latest": "single_maker/latest",
        "glft:gamma=0.1": "glft:gamma=0.1",
        "my/own/maker.py:Mine:skew=1": "maker.py:Mine:skew=1",
    }
    assert list(short(["a/x/one/latest", "b/x/one/latest/"]).values()) == ["a/x/one/latest", "b/x/one/latest"]
    assert list(short(["one", "./one", "/one"]).values()) == ["one", "./one", "/one"]  # as they were given
    names, series = makers(2, 1)
    long = {name: f"artifacts/some_scenario/run_{i}" for i, name in enumerate(names)}
    fig = comparison_figures(list(long.values()), {(long[n], r): s for (n, r), s in series.items()}, "maker")
    rows = [ax.get_ylabel().split("\n")[0] for ax in fig["decisions"].axes if ax.get_ylabel()]
    assert rows[:2] == ["some_scenario/run_0", "some_scenario/run_1"]


def test_what_never_differs_is_named_and_not_drawn():
    names, series = makers(2, 1)
    *_, differences = tables(names, series)
    part = differences[differences["role"] == "maker"].dropna().copy()
    values = ["mean", "low", "high"]
    part.loc[part["measure"] == "turnover", values] = 0.0  # the unpaired interval has a width all the same
    fig = forest.differences(names, part, "maker", "normal")
    assert fig is not None
    assert [ax.get_xlabel() for ax in fig.axes] == [axis("pnl")]
    assert fig.get_suptitle().endswith(f"exactly 0 in every episode: {label('turnover').words}")
    part[values] = 0.0  # nothing to draw in any: all are kept, and said
    fig = forest.differences(names, part, "maker", "normal")
    assert fig is not None
    assert [ax.get_xlabel() for ax in fig.axes] == [axis("pnl"), axis("turnover")]
    assert label("pnl").words in fig.get_suptitle()


def test_execution_falls_from_the_whole_target_along_twap():
    names, series = takers()
    fig = paths.execution(names, series, "taker")
    assert fig is not None
    even, late, nothing = fig.axes
    median, twap = even.lines
    assert list(twap.get_xdata()) == [0.0, 30.0]
    assert list(twap.get_ydata()) == [100.0, 0.0]
    np.testing.assert_allclose(median.get_ydata(), np.linspace(100, 0, 31), atol=1e-9)  # 30 lots in 30 steps
    assert late.lines[0].get_ydata()[15] == 100.0
    assert (nothing.lines[0].get_ydata() == 100.0).all()


def test_without_a_target_there_is_no_schedule():
    names, series = takers(target=0)
    assert paths.execution(names, series, "taker") is None
    assert "execution" not in figures(names, series, "taker")


def test_fills_are_marked_where_they_happened():
    names, series = makers(1, 1)
    s = series[names[0], "normal"]
    fig = ladder.ladder(names, series, "maker", "normal")
    marks = np.concatenate([c.get_offsets() for c in fig.axes[0].collections[1:]])
    fills = [(t, side) for side in (0, 1) for t in np.flatnonzero(s.passive[:, 0, 0, 0, side])]
    assert len(fills) > 0
    expected = [(s.time[t], s.quote_px[t + 1, 0, 0, 0, side] - s.mid[t, 0, 0]) for t, side in fills]
    np.testing.assert_allclose(marks, np.array(expected, dtype=float))


def test_forest_draws_both_intervals_at_their_ends():
    names, series = makers(2, 1)
    _, _, differences = tables(names, series)
    fig = forest.differences(names, differences, "maker", "normal")
    assert fig is not None
    row = differences[(differences["role"] == "maker") & (differences["measure"] == "pnl")].iloc[0]
    unpaired, paired, mean, zero = fig.axes[0].lines
    assert tuple(unpaired.get_xdata()) == (row["unpaired_low"], row["unpaired_high"])
    assert tuple(paired.get_xdata()) == (row["low"], row["high"])
    assert list(mean.get_xdata()) == [row["mean"]]
    assert list(zero.get_xdata()) == [0.0, 0.0]
    assert forest.differences(names, differences, "taker", "normal") is None


def test_missing_and_unknown_actors():
    names, series = makers(2, 2)
    some = {key: s for key, s in series.items() if key != (names[1], "stress")}
    for fig in figures(names, some, "maker").values():
        looks_right(fig)
    with pytest.raises(ValueError, match=r"half_spread=1\.5' is not among the names"):
        comparison_figures(names[:1], series, "maker")
    assert set(comparison_figures(names, series, "taker")) == {"crash"}  # the market has no taker
    assert comparison_figures(names, {}, "maker") == {}


def test_one_episode_and_measures_that_are_nan():
    names, series = makers(2, 1, 1)
    measured, market, differences = tables(names, series)
    differences[["low", "high", "unpaired_low", "unpaired_high"]] = np.nan
    market["spread"] = np.nan
    made = comparison_figures(names, series, "maker", levels(measured, market), differences)
    assert "market" not in made
    for fig in made.values():
        looks_right(fig)


# --- crashes ---


def test_trough_is_the_deepest_fall_below_a_running_peak():
    names, series = makers(1, 1)
    s = series[names[0], "normal"]
    bid = np.full((31, 2, 1), 100)
    bid[:, 0, 0] = [110] * 5 + [104] * 5 + [120] * 5 + [113] + [115] * 15  # falls by 6, then by 7
    bid[:, 1, 0] = np.arange(31) + 50  # never falls
    made = dataclasses.replace(s, best_bid=bid, best_ask=bid + 2)
    book, step = troughs(made)
    assert list(step) == [15, 0]
    window = around(made.mid, book, step, 2)
    assert list(window[:, 0]) == [121, 121, 114, 116, 116]
    np.testing.assert_array_equal(window[:, 1], [np.nan, np.nan, 51, 52, 53])


def test_crash_is_zero_at_the_baselines_own_trough():
    names, series = makers(2, 1)
    fig = crash(names, series)
    assert fig is not None
    line = fig.axes[0].lines[0]
    assert line.get_ydata()[list(line.get_xdata()).index(0.0)] == 0.0


# --- decisions and policies ---


def test_a_cell_is_the_mean_of_its_decisions_and_grey_with_too_few():
    x = np.array([-0.5] * 6 + [0.5] * 4)
    d = Decisions(
        x, np.zeros(10), np.linspace(1.0, 0.1, 10), {"v": np.arange(10.0)}, "imbalance", "inventory (lots)"
    )
    rows, columns = np.array([-1.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(cell_means(d, "v", rows, columns), [[2.5, np.nan]])
    early = cell_means(d, "v", rows, columns, (1.0, 0.55))  # the first five
    np.testing.assert_array_equal(early, [[2.0, np.nan]])


def test_decisions_of_a_fixed_spread_are_its_spread():
    names, series = makers(3, 1)
    d = decisions.decisions(series[names[2], "normal"], "maker")  # 2 ticks a side, rounded away from the mid
    bid, ask, middle = d.values.values()
    assert len(bid) == 8 * 30
    assert set(bid[np.isfinite(bid)]) == set(ask[np.isfinite(ask)]) == {2.0, 2.5}
    assert (middle[np.isfinite(middle)] == 0).all()
    assert d.left.max() == 1.0
    assert d.left.min() == pytest.approx(1 / 30)


def test_decisions_of_a_taker_are_towards_its_target():
    _, series = takers()
    d = decisions.decisions(series["even", "as configured"], "taker")
    lots = d.values["lots traded"]
    assert (lots[np.isfinite(lots)] == 1).all()  # also where it sells
    assert series["even", "as configured"].target.min() < 0
    np.testing.assert_allclose(d.y, 100 * d.left)


def test_no_decisions_no_map():
    names, series = takers()
    only = {("nothing", "as configured"): series["nothing", "as configured"]}
    assert policy_map.decision_maps(names, only, "taker") is None
    cfg = config("single_maker")
    assert policy_map.policy_map(None, cfg, "maker", episodes=2) is None


@pytest.fixture(scope="module")
def met():
    """Fresh policies of all roles in one market, and a background for each."""
    cfg = config("multi_asset_gnn", "agents.taker.count=1", "graph.hidden=16")
    policies = make_policies(MarketEnv(cfg, num_envs=1), cfg)
    others = {"maker": "fixed_spread", "taker": Even()}
    back = {}

    def a_lot_a_step(obs):
        side = obs.nodes[..., policies.specs["taker"].node_features.index("remaining")].sign()
        return torch.stack([side, torch.ones_like(side)], -1)

    with pytest.MonkeyPatch.context() as patch:
        for role in cfg.counts:
            beside = {r: a for r, a in others.items() if r != role}
            if role == "taker":  # a fresh policy never trades; this one takes a lot at every step
                patch.setattr(probe, "_acting", lambda *_: a_lot_a_step)
            back[role] = probe.meet(policies, cfg, role, beside, 4, 1)[1]
            patch.undo()
    return cfg, policies, back


def test_telling_a_policy_what_is_true_changes_nothing(met):
    """Features that are overwritten are overwritten in their own units, and what follows from them follows."""
    cfg, policies, back = met
    spec = policies.specs["maker"]
    node, edge = ({n: i for i, n in enumerate(f)} for f in (spec.node_features, spec.edge_features))
    nodes, edges = back["maker"].nodes.clone(), back["maker"].edges.clone()
    probe._set_imbalance(cfg, nodes, edges, node, edge, nodes[:, :, 0, node["imbalance"]].clone())
    torch.testing.assert_close(nodes, back["maker"].nodes)
    torch.testing.assert_close(edges, back["maker"].edges)

    nodes = back["taker"].nodes.clone()
    left = 100 * nodes[:, :, 0, node["remaining"]].abs()
    assert len(left.unique()) > 10
    probe._set_inventory(cfg, "taker", nodes, node, left, back["taker"].side[:, :, 0])
    torch.testing.assert_close(nodes, back["taker"].nodes)

    nodes, edges = back["arbitrageur"].nodes.clone(), back["arbitrageur"].edges.clone()
    gap = edges[:, :, 0, edge["gap"]].clone()
    held = nodes[:, :, cfg.pairs[0, 0], node["inventory"]] * cfg.agents.arbitrageur.risk.max_inventory
    probe._set_gap(cfg, nodes, edges, node, edge, gap, held)
    nodes[..., node["inventory"]] = back["arbitrageur"].nodes[
        ..., node["inventory"]
    ]  # the second leg's is made up
    torch.testing.assert_close(nodes, back["arbitrageur"].nodes)


def test_a_policy_is_asked_at_each_inventory_and_imbalance(met, monkeypatch):
    """With an action that repeats what it is told, the map shows the axes."""
    cfg, policies, back = met
    spec = policies.specs["maker"]
    at = {name: spec.node_features.index(name) for name in ("inventory", "imbalance")}

    def repeat(obs):
        told = obs.nodes[..., 0, at["inventory"]] * cfg.agents.maker.risk.max_inventory
        time = obs.vector[..., spec.vector_features.index("time_left")]
        action = torch.stack([told, obs.nodes[..., 0, at["imbalance"]], time], -1)
        return action[:, :, None].expand(-1, -1, 4, -1)

    monkeypatch.setattr(probe, "_acting", lambda *_: repeat)
    x, y = np.array([-1.0, 0.0, 0.5]), np.array([-7.0, 3.0])
    bid, ask, middle = probe.asked(policies, cfg, "maker", back["maker"], x, y, 0.25).values()
    np.testing.assert_allclose(bid, [[-7] * 3, [3] * 3], rtol=1e-6)
    np.testing.assert_allclose(ask, [[-1, 0, 0.5]] * 2, atol=1e-6)
    np.testing.assert_allclose(middle, (ask - bid) / 2, rtol=1e-5)


@pytest.mark.parametrize("role", ["maker", "taker", "arbitrageur"])
def test_policy_maps_of_a_learned_policy(met, role, tmp_path):
    cfg, policies, _ = met
    made = policy_map.policy_maps({"new": policies, "old": None}, cfg, role, episodes=4)
    assert list(made) == ["policy-new"]
    panels = [ax for ax in made["policy-new"].axes if ax.get_label() != "<colorbar>"]
    assert len(panels) == (9 if role == "maker" else 3)
    assert save(made["policy-new"], tmp_path / "a.png").stat().st_size > 5000


def test_policy_map_of_a_strategy_and_of_a_policy_of_another_role(met):
    cfg, policies, _ = met
    fig = policy_map.policy_map("fixed_spread", config("single_maker"), "maker", episodes=8)
    assert fig is not None
    assert len([ax for ax in fig.axes if ax.get_label() != "<colorbar>"]) == 9
    with pytest.raises(PolicyError, match=r"given for 'taker' act only for \['maker'\]"):
        policy_map.policy_map(policies.subset("maker"), cfg, "taker", "fresh")


def test_series_of_several_batches_are_one(met):
    cfg = config("single_maker")
    whole = policy_map.together(list(play(cfg, {"maker": "fixed_spread"}, 6)), "maker")
    parts = policy_map.together(list(play(cfg, {"maker": "fixed_spread"}, 6, batch=4)), "maker")
    assert sorted(whole.y) == sorted(parts.y)


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.6, "12,346"), (-3.14159, "−3.14"), (9.996, "10.0"), (0.00012345, "0.000123"),
     (1.5e-9, "1.50e−09"), (np.nan, "–"), (-np.inf, "−∞"), (999.6, "1,000")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_levels_average_the_agents_of_an_episode_first():
    names, series = makers(2, 1, scenario="multi_asset_gnn")
    measured, market, _ = tables(names, series)
    found = levels(measured, market).set_index(["actor", "role", "measure"])
    row = found.loc[(names[0], "maker", "pnl")]
    each = series[names[0], "normal"].equity[-1, :, :2].mean(axis=1)
    assert row["mean"] == pytest.approx(each.mean())
    assert row["high"] - row["mean"] == pytest.approx(2.364624 * each.std(ddof=1) / 8**0.5)  # t of 7 degrees
    assert (names[0], "maker", "completion") not in found.index  # all NaN
    assert comparison.caption("unknown") == ""


def test_every_measure_has_its_words():
    assert set(LABELS) == {*MEASURES, *MARKET_MEASURES, *GROUP_MEASURES}
