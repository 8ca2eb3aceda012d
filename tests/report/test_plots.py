"""Figures: everything that should be drawn is, axes have names, and files hold an image."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from lobgraph.report import episode, plots
from lobgraph.report.style import save


def colours(path):
    """Number of distinct colours: an empty figure has hardly any."""
    image = (255 * matplotlib.image.imread(path)[::2, ::2, :3]).astype(np.int64)
    return len(np.unique(image @ (1, 256, 65536)))


def looks_right(fig, path):
    for ax in fig.axes:
        if ax.get_label() != "<colorbar>":
            assert ax.has_data()
    assert any(ax.get_xlabel() for ax in fig.axes)
    assert any(ax.get_ylabel() for ax in fig.axes)
    assert colours(save(fig, path)) > 20
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no litter


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("agents", [1, 2])
def test_learning_curves(make_rewards, tmp_path, runs, agents):
    tables = [make_rewards(s, roles=("maker", "arbitrageur"), agents=agents) for s in range(runs)]
    fig = plots.learning_curves({"x": tables})
    looks_right(fig, tmp_path / "a.png")
    assert [ax.get_title(loc="left") for ax in fig.axes[:2]] == ["maker", "arbitrageur"]


def evaluated(seed=0, every=5):
    """Metrics of 30 updates with an evaluation at every fifth."""
    update = np.arange(30)
    due = update % every == every - 1
    reward = np.where(due, -18.0 + 10.0 * (1.0 - np.exp(-update / 8.0)) + seed, np.nan)
    columns = {"update": update, "env_steps": (update + 1) * 1000, "eval/best": np.where(due, 24, np.nan)}
    columns |= {"eval/maker/reward": reward, "eval/maker/error": np.where(due, 0.5, np.nan)}
    return pd.DataFrame(columns)


@pytest.mark.parametrize("runs", [1, 2])
def test_evaluations_are_drawn_over_the_rewards(make_rewards, tmp_path, runs):
    tables, histories = [make_rewards(s) for s in range(runs)], [evaluated(s) for s in range(runs)]
    fig = plots.learning_curves({"x": tables}, histories=histories)
    looks_right(fig, tmp_path / "a.png")
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    what = "episodes" if runs == 1 else "2 seeds"
    assert f"evaluated by the mean action, ±1 std error over {what}" in labels
    assert ("the policy that was kept" in labels) == (runs == 1)
    (bars,) = fig.axes[0].containers
    x, y = bars.lines[0].get_data()
    assert x.tolist() == [5000, 10000, 15000, 20000, 25000, 30000]
    want = evaluated()["eval/maker/reward"].dropna() + (runs - 1) / 2
    np.testing.assert_allclose(y, want)
    if runs == 1:
        (star,) = [line for line in fig.axes[0].lines if line.get_marker() == "*"]
        assert star.get_xdata() == [25000]


@pytest.mark.parametrize("runs", [1, 2])
def test_without_an_ended_episode_the_rewards_of_steps_are_drawn(make_rewards, tmp_path, runs):
    columns = {"rewards/maker/step": [0.5, 1.0, 2.0], "rewards/taker/step": [-1.0, 0.0, 1.0]}
    history = pd.DataFrame({"env_steps": [100, 200, 300], "rewards/maker/mean": np.nan, **columns})
    fig = plots.learning_curves(
        {"x": [make_rewards().iloc[:0]] * runs}, "Learning curves: x", [history] * runs
    )
    looks_right(fig, tmp_path / "a.png")
    assert "no episode ended" in fig.get_suptitle()
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["maker", "taker"]
    for ax, values in zip(fig.axes, columns.values(), strict=True):
        assert [line.get_ydata().tolist() for line in ax.lines] == [values] * runs
    ended = plots.learning_curves({"x": [make_rewards()]}, histories=[history])
    assert "no episode ended" not in ended.get_suptitle()


def test_settings_over_the_training(tmp_path):
    steps = np.arange(1, 21) * 100
    history = pd.DataFrame({
        "env_steps": steps, "charts/lr": 1e-3 / steps, "charts/ent_coef": 0.0, "charts/maker/std": 0.3, "charts/taker/std": 0.2,
        "charts/stage": np.repeat([0, 1], 10),
    })  # fmt: skip
    fig = plots.settings(history)
    assert fig is not None
    looks_right(fig, tmp_path / "a.png")
    titles = [ax.get_title(loc="left") for ax in fig.axes]
    assert titles == ["learning rate", "std of actions (half ranges)", "stage of the curriculum"]
    assert plots.settings(history[["env_steps"]]) is None


def test_a_held_role_is_named(make_rewards, tmp_path):
    rewards = make_rewards(roles=("maker", "taker"))
    who = {"maker": "learn", "taker": "runs/long/" + "x" * 40 + "/policy"}
    fig = plots.learning_curves({"x": [rewards.assign(actor=rewards["role"].map(who))]})
    assert fig.axes[0].get_title(loc="left") == "maker"
    title = fig.axes[1].get_title(loc="left")
    assert title.startswith("taker (held: ...xxx")
    assert title.endswith("/policy)")
    looks_right(fig, tmp_path / "a.png")


def test_learning_curves_side_by_side(make_rewards, tmp_path):
    fig = plots.learning_curves({"a": [make_rewards(0)], "b": [make_rewards(1, roles=("taker",))]})
    looks_right(fig, tmp_path / "a.png")


@pytest.mark.parametrize("runs", [1, 3])
def test_a_single_update_is_still_visible(make_rewards, tmp_path, runs):
    fig = plots.learning_curves({"x": [make_rewards(s, updates=2, agents=1) for s in range(runs)]})
    assert fig.axes[0].lines[-1].get_marker() != "None"
    looks_right(fig, tmp_path / "a.png")


def test_a_run_without_finished_episodes_says_so(make_rewards, tmp_path):
    rewards = make_rewards()
    rewards["episodes"] = 0
    fig = plots.learning_curves({"x": [rewards]})
    assert fig.axes[0].texts[0].get_text() == "no episode ended"
    save(fig, tmp_path / "a.png")


def test_reward_terms(tmp_path):
    steps = np.arange(1, 20) * 100
    history = pd.DataFrame(
        {"env_steps": steps, "terms/maker/pnl": np.sqrt(steps), "terms/maker/inventory": -1.0}
    )
    fig = plots.reward_terms(history)
    assert fig is not None
    looks_right(fig, tmp_path / "a.png")
    assert plots.reward_terms(history[["env_steps"]]) is None
    fig = plots.reward_terms(history, held={"maker": "fixed_spread"})
    assert fig is not None
    assert fig.axes[0].get_title(loc="left") == "maker (held: fixed_spread)"


@pytest.mark.parametrize("books", [1, 2, 6])
def test_episode_figures(make_trace, tmp_path, books):
    trace = make_trace(books=books)
    for i, fig in enumerate([episode.quotes(trace), episode.inventories(trace), episode.execution(trace),
                             episode.regimes([trace, make_trace(1, books=books)]), episode.heat_map(trace)]):  # fmt: skip
        assert fig is not None
        looks_right(fig, tmp_path / str(i) / "a.png")


def test_no_taker_no_execution_figure(make_trace):
    assert episode.execution(make_trace(roles=("maker",))) is None


def test_one_regime_only(make_trace, tmp_path):
    looks_right(episode.regimes([make_trace(stress_at=1000)]), tmp_path / "a.png")


def test_signed_depth_puts_quantities_at_their_prices(make_trace):
    trace = make_trace(books=1, steps=3)
    bid, ask = trace.best_bid[1, 0], trace.best_ask[1, 0]
    prices = np.arange(bid - 3, ask + 4)
    image = episode.signed_depth(trace, 0, prices)
    px0 = trace.book_px0[1, 0]
    assert image[1, 0] == trace.book_qty[1, 0, bid - 3 - px0]
    assert image[1, -1] == -trace.book_qty[1, 0, ask + 3 - px0]
    assert (image[1, 4:-4] == 0).all() or ask - bid == 1
    far = episode.signed_depth(trace, 0, np.array([px0 - 1, px0 + trace.book_qty.shape[-1]]))
    assert (far == 0).all()


def test_execution_starts_at_the_target_and_ends_with_what_remains(make_trace):
    trace = make_trace(books=1)
    fig = episode.execution(trace)
    assert fig is not None
    path = fig.axes[0].lines[0].get_ydata()
    assert path[0] == 100
    assert path[-1] == trace.remaining[-1, 1, 0]
    straight = fig.axes[0].lines[1]
    assert list(straight.get_xdata()) == [0.0, trace.horizon]
    assert list(straight.get_ydata()) == [100, 0]
