"""The figures of training: learning curves over seeds or agents, and where the reward comes from.

In: rewards tables grouped as in metrics.py. Out: matplotlib figures. Steps are environment steps, rewards tick-lots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from .metrics import Curve, curve, held_by, on_grid, peaks, roles_of
from .style import CYCLE, MID, ROLE, figure, legend_below, style

Groups = Mapping[str, Sequence[pd.DataFrame]]


def learning_curves(groups: Groups, title: str = "", histories: Sequence[pd.DataFrame] = ()) -> Figure:
    """Mean episode reward (above) and largest inventory (below) against steps, a column per role.

    One group: a line per seed and the mean over seeds with its standard deviation; a single run shows its agents,
    or the spread of its episodes when there is one agent. Several groups: each group's mean and deviation.
    histories: metrics of the runs of one group; their evaluations are drawn over the training's rewards, and where no episode
    ended, the rewards of a step in their place.
    """
    roles = list(dict.fromkeys(r for runs in groups.values() for run in runs for r in roles_of(run)))
    if not roles and (learnt := sorted({c for h in histories for c in h if _of_steps(c)})):
        return _step_rewards(histories, learnt, title or "Learning curves")
    with style():
        fig, axes = figure(
            2, max(1, len(roles)), 4.6 if len(roles) > 1 else 6.4, 2.5, sharex=True, height_ratios=(2, 1)
        )
        if not roles:
            axes[0][0].text(0.5, 0.5, "no episode ended", transform=axes[0][0].transAxes, ha="center")
        for column, role in enumerate(roles):
            top, bottom = axes[0][column], axes[1][column]
            for i, (label, runs) in enumerate(groups.items()):
                of_role = [run for run in runs if role in roles_of(run)]
                if not of_role:
                    continue
                colour = ROLE.get(role, CYCLE[0]) if len(groups) == 1 else CYCLE[i % len(CYCLE)]
                _rewards(top, of_role, role, colour, label if len(groups) > 1 else "")
                _inventories(bottom, of_role, role, colour)
            _evaluations(top, histories, role)
            every = [run for runs in groups.values() for run in runs if role in roles_of(run)]
            top.set_title(_title(role, held_by(every, role)))
            bottom.set(xlabel="environment steps", ylim=(0, None))
            bottom.xaxis.set_major_formatter(EngFormatter(sep=""))
            top.margins(x=0.02)
        axes[0][0].set_ylabel("episode reward (tick-lots)")
        axes[1][0].set_ylabel("largest |inventory|\nin a book (lots)")
        fig.suptitle(title or "Learning curves", x=0.01, ha="left", fontsize=11)
        room = int(fig.get_size_inches()[0] * 14)  # letters in a line
        longest = max([len(text) for ax in axes[0] for text in ax.get_legend_handles_labels()[1]], default=0)
        legend_below(fig, *axes[0], columns=max(1, min(3, room // (longest + 6))))
    return fig


def _of_steps(column: str) -> bool:
    return column.startswith("rewards/") and column.endswith("/step")


def _step_rewards(histories: Sequence[pd.DataFrame], columns: Sequence[str], title: str) -> Figure:
    """Of a training too short for an episode to end: the mean reward of a step, a panel per role and a line per run."""
    with style():
        fig, axes = figure(1, len(columns), 4.6 if len(columns) > 1 else 6.4, 3.2)
        for ax, column in zip(axes[0], columns, strict=True):
            role = column.split("/")[1]
            for history in (h for h in histories if column in h):
                steps = history["env_steps"].to_numpy(dtype=float)
                ax.plot(steps, history[column], color=ROLE.get(role, CYCLE[0]), marker=_marker(steps))
            ax.set(title=role, xlabel="environment steps")
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.margins(x=0.02)
        axes[0][0].set_ylabel("mean reward of a step (tick-lots)")
        fig.suptitle(
            f"{title}: no episode ended, so rewards are those of single steps", x=0.01, ha="left", fontsize=11
        )
    return fig


def _evaluations(ax: Axes, histories: Sequence[pd.DataFrame], role: str) -> None:
    """Rewards of the evaluations: of one run with their errors over episodes, of several the mean and its error over runs."""
    runs = [h.dropna(subset=[f"eval/{role}/reward"]) for h in histories if f"eval/{role}/reward" in h]
    if not runs:
        return
    if len(runs) == 1:
        done, what = runs[0], "episodes"
        steps, mean, error = (
            done[c].to_numpy(dtype=float) for c in ("env_steps", f"eval/{role}/reward", f"eval/{role}/error")
        )
        best = done["update"].to_numpy() == float(done["eval/best"].iloc[-1])
        ax.plot(
            steps[best], mean[best], ls="", marker="*", ms=11, mew=0.6, mec="white", color=MID, zorder=5,
            label="the policy that was kept",
        )  # fmt: skip
    else:
        steps, values = on_grid(
            [Curve(*(h[c].to_numpy(dtype=float) for c in ("env_steps", f"eval/{role}/reward"))) for h in runs]
        )
        count, what = np.isfinite(values).sum(axis=0), f"{len(runs)} seeds"
        mean, error = np.nanmean(values, axis=0), np.full(len(steps), np.nan)
        some = count > 1
        error[some] = np.nanstd(values[:, some], axis=0, ddof=1) / np.sqrt(count[some])
    label = f"evaluated by the mean action, \N{PLUS-MINUS SIGN}1 std error over {what}"
    ax.errorbar(
        steps, mean, np.nan_to_num(error), color=MID, lw=1.2, ls="--", marker=".", capsize=2, elinewidth=0.8, zorder=4,
        label=label,
    )  # fmt: skip


def settings(history: pd.DataFrame, title: str = "") -> Figure | None:
    """What changed over training besides the policies: a panel each for the learning rate, the entropy coefficient, the
    standard deviation of the actions by role, and the stage of the curriculum. Those without a value are left out.
    """
    roles = [c.split("/")[1] for c in history.columns if c.startswith("charts/") and c.endswith("/std")]
    panels: dict[str, dict[str, str]] = {
        "learning rate": {"": "charts/lr"},
        "entropy coefficient": {"": "charts/ent_coef"},
        "std of actions (half ranges)": {role: f"charts/{role}/std" for role in roles},
        "stage of the curriculum": {"": "charts/stage"},
    }
    shown = {}
    for name, lines in panels.items():
        kept = {label: c for label, c in lines.items() if c in history and np.asarray(history[c]).any()}
        if kept:
            shown[name] = kept
    if not shown:
        return None
    with style():
        fig, axes = figure(1, len(shown), 3.2 if len(shown) > 1 else 5.0, 2.6)
        for ax, (name, lines) in zip(axes[0], shown.items(), strict=True):
            for label, column in lines.items():
                steps, colour = history["env_steps"].to_numpy(), ROLE.get(label, CYCLE[0])
                steplike = "steps-post" if column == "charts/stage" else "default"
                ax.plot(
                    steps,
                    history[column],
                    color=colour,
                    label=label,
                    marker=_marker(steps),
                    drawstyle=steplike,
                )
            ax.set(title=name, xlabel="environment steps", ylim=(0, None))
            if "charts/stage" in lines.values():
                ax.yaxis.set_major_locator(MaxNLocator(integer=True))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            if len(lines) > 1:
                ax.legend()
        axes[0][0].set_ylabel("value in the update")
        fig.suptitle(title or "Settings over the training", x=0.01, ha="left", fontsize=11)
    return fig


def _title(role: str, held: str) -> str:
    """The role and what held it; of a long path the end."""
    return f"{role} (held: {held if len(held) <= 36 else '...' + held[-33:]})" if held else role


def _rewards(ax: Axes, runs: Sequence[pd.DataFrame], role: str, colour: str, label: str) -> None:
    """Draw one group of one role: the mean of its lines, the lines themselves and a band around the mean."""
    if len(runs) > 1:
        lines, what = [curve(run, role) for run in runs], f"{len(runs)} seeds"
    else:
        agents = np.unique(runs[0]["agent"][runs[0]["role"] == role])
        lines = [curve(runs[0], role, agent=agent) for agent in agents]
        what = f"{len(lines)} agents" if len(lines) > 1 else "episodes"
    steps, values = on_grid(lines)
    if not len(steps):
        ax.text(0.5, 0.5, "no episode ended", transform=ax.transAxes, ha="center")
        return
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    if len(lines) > 1:
        deviation = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1))
        deviation[count < 2] = np.nan
    else:
        deviation = _within(runs[0], role, steps)
    prefix = f"{label}: " if label else ""
    if len(lines) > 1 and not label:
        for k, line in enumerate(values):
            entry = f"one of {what}" if k == 0 else None
            ax.plot(steps, line, color=colour, lw=0.7, alpha=0.55, label=entry)
    entry = f"{prefix}mean" if len(lines) > 1 or label else "mean of episodes"
    ax.plot(steps, mean, color=colour, lw=2.0, marker=_marker(steps), label=entry)
    band = f"{prefix}\N{PLUS-MINUS SIGN}1 std over {what}"
    if len(steps) == 1:
        ax.errorbar(steps, mean, np.nan_to_num(deviation), color=colour, capsize=4, label=band)
    elif np.isfinite(deviation).any():
        ax.fill_between(steps, mean - deviation, mean + deviation, color=colour, alpha=0.18, lw=0, label=band)


def _within(run: pd.DataFrame, role: str, steps: np.ndarray) -> np.ndarray:
    """Standard deviation over the episodes of each update, on the curve's steps; NaN where unknown."""
    inside = curve(run, role, "reward_std") if "reward_std" in run else None
    if inside is None or not len(inside.steps):
        return np.full(len(steps), np.nan)
    return np.interp(steps, inside.steps, inside.values)


def _inventories(ax: Axes, runs: Sequence[pd.DataFrame], role: str, colour: str) -> None:
    for run in runs:
        steps, largest = peaks(run, role)
        ax.plot(steps, largest, color=colour, lw=0.9, alpha=0.8, marker=_marker(steps))


def _marker(steps: np.ndarray) -> str | None:
    """Dots where a line would have too few points to be seen."""
    return "o" if len(steps) < 5 else None


def reward_terms(
    history: pd.DataFrame, title: str = "", held: Mapping[str, str] | None = None
) -> Figure | None:
    """What each role's reward is made of over training: a panel per role, a line per term; None if no terms.

    held: role -> what held it, for the panels' titles.
    """
    columns = [c for c in history.columns if c.startswith("terms/")]
    roles = list(dict.fromkeys(c.split("/")[1] for c in columns))
    if not roles:
        return None
    with style():
        fig, axes = figure(1, len(roles), 4.6 if len(roles) > 1 else 6.4, 3.2)
        for ax, role in zip(axes[0], roles, strict=True):
            for i, column in enumerate(c for c in columns if c.split("/")[1] == role):
                values = history[column].to_numpy(dtype=float)
                known = np.isfinite(values)
                steps = history["env_steps"].to_numpy()[known]
                ax.plot(
                    steps,
                    values[known],
                    marker=_marker(steps),
                    color=CYCLE[i % len(CYCLE)],
                    label=column.split("/")[2],
                )
            ax.axhline(0.0, color="#888888", lw=0.8)
            ax.set(title=_title(role, (held or {}).get(role, "")), xlabel="environment steps")
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, columnspacing=1.2)
        axes[0][0].set_ylabel("mean per episode (tick-lots)")
        fig.suptitle(title or "Reward by term", x=0.01, ha="left", fontsize=11)
    return fig
