"""Heat maps of what a policy or strategy does, over (inventory, imbalance) and time left.

Two kinds, and each figure says which it is. `decision_maps` and `policy_map` of a strategy average decisions that were
made, by cell; cells that were hardly visited stay grey, and what differs between cells may also come from what else
differed then. `policy_map` of a learned policy asks it: in observations that it met, inventory, imbalance and time are
overwritten and its mean action averaged, so that only what is on the axes changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from ..config import Config
from ..evaluation.record import Series, play
from ..models.policy import PolicySet
from ..rl.actors import Actor, resolve
from . import probe
from .decisions import VALUES, WINDOWS, Decisions, cell_means, decisions, x_edges, y_edges
from .panels import WIDTH, Played, heading, plain, short_names, wrapped
from .style import figure, style

ACTORS = 6  # rows at most
GRID = 15  # inventories and imbalances at which a policy is asked
TIMES = (0.9, 0.5, 0.1)  # shares of the episode's time left at which it is asked
UNSEEN = "#d9d9d9"
EVER = (1.0, 0.0)  # the whole episode

Row = tuple[
    str, dict[str, np.ndarray], np.ndarray, np.ndarray
]  # label, column -> (y, x) values, edges of y and x


def decision_maps(names: Sequence[str], series: Played, role: str) -> Figure | None:
    """A row per actor: its decisions by inventory and imbalance, over all regimes; a maker's at all times together.

    Roles with one value show it by time left. None where no actor decided anything that left a trace.
    """
    rows, some = [], None
    for name in names:
        batches = [s for (actor, _), s in series.items() if actor == name]
        if batches and len((d := together(batches, role)).x) and _acts(d):
            some = some or d
            rows.append(_watched(d, role, name, WINDOWS if role != "maker" else (EVER,)))
    if some is None:
        return None
    more = f", first {ACTORS} of {len(rows)}" if len(rows) > ACTORS else ""
    return _draw(
        rows[:ACTORS], role, some, f"Decisions of the {role}: mean by cell{more}; grey: hardly ever there"
    )


def policy_map(
    actor: Actor, cfg: Config, role: str, name: str = "", others: Mapping[str, Actor] | None = None, episodes: int = 64,
    seed: int = 1,
) -> Figure | None:  # fmt: skip
    """Heat maps of one actor at several times left; `others` act for the other roles in the run that it needs.

    A learned policy is asked (see probe.asked), a strategy is watched. None for a role that does nothing. Raises what
    `play` raises, and PolicyError for policies of other roles.
    """
    given, others, name = resolve(actor, role), dict(others or {}), plain(name or role)
    if isinstance(given, PolicySet):
        s, background = probe.meet(given, cfg, role, others, episodes, seed)
        seen = decisions(s, role)
        x, y = (np.linspace(e[0], e[-1], GRID) for e in (x_edges(seen), y_edges(seen)))
        asked = {
            f"{100 * t:.0f} % of time left": probe.asked(given, cfg, role, background, x, y, t) for t in TIMES
        }
        rows = _rows(asked, role, name, _edges(y), _edges(x))
        told = "what it is told, with nothing remembered" if given.recurrent else "what it is told"
        return _draw(rows, role, seen, f"{name}: mean action of the policy, by {told}")
    seen = together(list(play(cfg, {**others, role: given}, episodes, seed)), role)
    if not _acts(seen):
        return None
    y, x = y_edges(seen), x_edges(seen)
    by_time = {
        _window(w): {value: cell_means(seen, value, y, x, w) for value in VALUES[role]} for w in WINDOWS
    }
    return _draw(
        _rows(by_time, role, name, y, x),
        role,
        seen,
        f"{name}: decisions, mean by cell; grey: hardly ever there",
    )


def policy_maps(
    actors: Mapping[str, Actor], cfg: Config, role: str, others: Mapping[str, Actor] | None = None, episodes: int = 64,
    seed: int = 1,
) -> dict[str, Figure]:  # fmt: skip
    """`policy_map` of every learned policy among the actors (label -> actor), named as captions need it."""
    shown = short_names(list(actors))
    resolved = {name: resolve(actor, role) for name, actor in actors.items()}
    made = {
        f"policy-{name}": policy_map(actor, cfg, role, shown[name], others, episodes, seed)
        for name, actor in resolved.items()
        if isinstance(actor, PolicySet)
    }
    return {name: fig for name, fig in made.items() if fig is not None}


def together(batches: Sequence[Series], role: str) -> Decisions:
    """The decisions of several Series of one actor as one."""
    parts = [decisions(s, role) for s in batches]
    x, y, left = (np.concatenate([getattr(p, k) for p in parts]) for k in ("x", "y", "left"))
    values = {k: np.concatenate([p.values[k] for p in parts]) for k in parts[0].values}
    return Decisions(x, y, left, values, parts[0].x_name, parts[0].y_name)


def _acts(d: Decisions) -> bool:
    return any(np.nan_to_num(v).any() for v in d.values.values())


def _watched(d: Decisions, role: str, name: str, windows: Sequence[tuple[float, float]]) -> Row:
    """One actor's row: its values as columns, or the one value by time left."""
    y, x = y_edges(d), x_edges(d)
    columns = {
        (value if len(windows) == 1 else _window(w)): cell_means(d, value, y, x, w) for w in windows for value in VALUES[role]
    }  # fmt: skip
    return name, columns, y, x


def _rows(
    by_time: Mapping[str, Mapping[str, np.ndarray]], role: str, name: str, y: np.ndarray, x: np.ndarray
) -> list[Row]:
    """A row per time with the values as columns; for roles with one value, one row with the times as columns."""
    if len(VALUES[role]) > 1:
        return [(time, dict(values), y, x) for time, values in by_time.items()]
    (value,) = VALUES[role]
    return [(name, {time: values[value] for time, values in by_time.items()}, y, x)]


def _window(window: tuple[float, float]) -> str:
    return f"{100 * window[1]:.0f} to {100 * window[0]:.0f} % of time left"


def _edges(points: np.ndarray) -> np.ndarray:
    half = (points[1] - points[0]) / 2
    return np.append(points - half, points[-1] + half)


def _draw(rows: Sequence[Row], role: str, some: Decisions, title: str) -> Figure:
    columns = list(rows[0][1])
    groups = (
        [columns] if role != "maker" else [columns[:2], columns[2:]]
    )  # a scale each: both offsets have one
    with style():
        height = 1.8 if len(rows) > 3 else 2.3 if len(rows) > 1 else 3.2
        fig, axes = figure(len(rows), len(columns), WIDTH / len(columns), height, sharex="col")
        for group in groups:
            scale = _scale([maps[c] for _, maps, _, _ in rows for c in group], signed=group is groups[-1])
            over = [axes[i][columns.index(c)] for i in range(len(rows)) for c in group]
            for ax, (maps, y, x, c) in zip(over, [(*row[1:], c) for row in rows for c in group], strict=True):
                _heat(ax, maps[c], y, x, *scale)
            bar = fig.colorbar(
                ScalarMappable(scale[1], scale[0]), ax=over, pad=0.02, aspect=12 * len(rows) + 8
            )
            bar.set_label(_meaning(role, some, group))
        for ax, column in zip(axes[0], columns, strict=True):
            ax.set_title(column, fontsize=9)
        for ax in axes[-1]:
            ax.set_xlabel(some.x_name)
        for line, (name, *_) in zip(axes, rows, strict=True):
            line[0].set_ylabel(
                f"{wrapped(name, 26)}\n{some.y_name}" if len(rows) > 1 else some.y_name, fontsize=8
            )
        heading(fig, title)
    return fig


def _meaning(role: str, some: Decisions, group: Sequence[str]) -> str:
    """What a colour bar says."""
    if role == "maker":
        return "ticks from the mid" if len(group) > 1 else "ticks, + above the mid"
    (value,) = VALUES[role]
    return f"{value}, + towards its target" if some.y_name.startswith("still") else f"{value}, + bought"


def _scale(maps: Sequence[np.ndarray], signed: bool) -> tuple[Colormap, Normalize]:
    """Colours for several maps of one value: diverging about 0, or from the lowest to the highest."""
    seen = np.concatenate([z[np.isfinite(z)] for z in maps])
    if signed:
        top = float(np.quantile(np.abs(seen), 0.99)) if len(seen) else 0.0
        top = max(top, 0.5)  # half a tick or lot: less is nothing
        return colormaps["RdBu"], Normalize(-top, top)
    low, high = (float(q) for q in np.quantile(seen, [0.01, 0.99])) if len(seen) else (0.0, 1.0)
    return colormaps["viridis_r"], Normalize(low, max(high, low + 0.5))


def _heat(ax: Axes, z: np.ndarray, y: np.ndarray, x: np.ndarray, colours: Colormap, norm: Normalize) -> None:
    ax.set_facecolor(UNSEEN)
    ax.grid(visible=False)
    ax.pcolormesh(x, y, np.ma.masked_invalid(z), cmap=colours, norm=norm, rasterized=True)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
