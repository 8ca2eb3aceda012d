"""A policy's importances drawn: the market graph with arrows as wide as a book's influence, and its features as bars.

In: an Importance. Out: a figure; influences in per cent of the action's range.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ArrowStyle, Circle, FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from ..config import read_yaml
from ..evaluation.importance import Importance, importance_of_run
from ..files import write_table
from .style import CYCLE, figure, save, style

OWN, OTHERS = CYCLE[0], CYCLE[1]
FEATURES = 14  # bars shown
ARROWS = 40  # arrows drawn, the widest
WIDEST = 7.0  # points
NUMBERS = 8  # books up to which a matrix has its numbers written in


def draw_importance(run: Path, seed: int) -> dict[str, Importance]:
    """Write figures/importance_<role>.png, importance_<role>.csv and importance_<role>_books.csv of a run. Returns the importances by role."""
    graph, name = read_yaml(run / "config.yaml")["graph"], read_yaml(run / "config.yaml")["name"]
    found = importance_of_run(run, seed)
    for role, own in found.items():
        write_table(run / f"importance_{role}.csv", own.table())
        write_table(run / f"importance_{role}_books.csv", own.pairs())
        title = f"{name}: what the {role}'s policy looks at ({graph['encoder']}{', gru' if graph['memory'] == 'gru' else ''})"
        save(importance_figure(own, title), run / "figures" / f"importance_{role}.png")
    return found


def importance_figure(found: Importance, title: str = "") -> Figure:
    """The graph (left), the features (middle), and with a gat encoder the attention of its first layer (right)."""
    panels = 2 if found.attention is None else 3
    with style():
        fig, [axes] = figure(1, panels, 4.6, 4.6)
        _graph(axes[0], found)
        _bars(axes[1], found)
        if found.attention is not None:
            _attention(axes[2], found.books, found.attention[0])
        fig.suptitle(title or f"What the {found.role}'s policy looks at", x=0.01, ha="left", fontsize=11)
    return fig


def _graph(ax: Axes, found: Importance) -> None:
    """Books on a circle; arrows from the book that is looked at to the one whose action it moves."""
    n = len(found.books)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    place = [(float(np.cos(a)), float(np.sin(a))) for a in angle] if n > 1 else [(0.0, 0.0)]
    radius = min(0.26, 0.75 * np.pi / max(n, 3) / 1.3)
    across = found.influence - np.diag(np.diag(found.influence))
    largest = float(across.max(initial=0.0))
    order = sorted(((float(across[i, j]), i, j) for i, j in np.argwhere(across > 0)), reverse=True)
    points = radius * 72 * 4.6 / 3.3  # of the circle's radius on paper, so that arrows end at it
    for value, i, j in order[:ARROWS]:
        share = value / largest
        wide = WIDEST * share
        arrow = FancyArrowPatch(
            place[j], place[i], connectionstyle="arc3,rad=0.16", color=OTHERS, alpha=0.25 + 0.6 * share, lw=0.0,
            arrowstyle=ArrowStyle("Simple", tail_width=wide, head_width=4 + 1.6 * wide, head_length=5 + wide),
            mutation_scale=1.0, shrinkA=points, shrinkB=points, zorder=1,
        )  # fmt: skip
        ax.add_patch(arrow)
    for i, name in enumerate(found.books):
        ax.add_patch(Circle(place[i], radius, fc="white", ec=OWN, lw=1.4, zorder=2))
        text = f"{name}\n{found.influence[i, i]:.1f} %" if n <= NUMBERS else name
        ax.text(*place[i], text, ha="center", va="center", fontsize=7.5 if n <= NUMBERS else 6, zorder=3)
    ax.set(
        xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal", title="A book's influence on another's action"
    )
    ax.axis("off")
    if largest > 0:
        marks = [
            Line2D([], [], color=OTHERS, alpha=0.25 + 0.6 * s, lw=WIDEST * s, label=f"{largest * s:.2g} %")
            for s in (1.0, 0.5, 0.2)
        ]
        what = "mean change of the action when the source is seen at its mean, % of the action's range"
        if n <= NUMBERS:
            what += "; in a circle: of the book's own features"
        if n * (n - 1) > ARROWS:
            what += f"; the {ARROWS} largest"
        ax.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=3, handlelength=2.6)
        ax.text(0.5, -0.1, _broken(what), transform=ax.transAxes, ha="center", va="top", fontsize=7.5)
    else:
        ax.text(0.5, 0.02, "no book moves another's action", transform=ax.transAxes, ha="center", fontsize=8)


def _broken(text: str) -> str:
    half = text.rfind(" ", 0, len(text) // 2 + 8)
    return f"{text[:half]}\n{text[half + 1 :]}"


def _bars(ax: Axes, found: Importance) -> None:
    """The most important features: of the book itself (or of the agent), and of all other books."""
    table = found.table().head(FEATURES)
    y = np.arange(len(table))
    own, others = table["of_the_book"].to_numpy(), np.nan_to_num(table["of_others"].to_numpy())
    heard = bool(others.any())
    high = 0.38 if heard else 0.7
    ax.barh(y - (high / 2 if heard else 0.0), own, high, color=OWN, label="the book's own, or the agent's")
    if heard:
        ax.barh(y + high / 2, others, high, color=OTHERS, label="all other books'")
    ax.set_yticks(y, [name.replace("_", " ") for name in table["feature"]])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set(title="Features", xlabel="mean change of the action, % of its range")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.13), ncols=2)


def _attention(ax: Axes, books: list[str], alpha: np.ndarray) -> None:
    """Rows attend to columns; each row sums to 1."""
    image = ax.imshow(alpha, cmap="Blues", vmin=0.0, vmax=1.0)
    ax.grid(visible=False)
    ax.set_xticks(range(len(books)), books, rotation=90 if len(books) > NUMBERS else 0)
    ax.set_yticks(range(len(books)), books)
    ax.set(title="Attention of the first layer", xlabel="to this book", ylabel="of this book")
    if len(books) <= NUMBERS:
        for i, j in np.ndindex(*alpha.shape):
            shade = "white" if alpha[i, j] > 0.55 else "black"
            ax.text(j, i, f"{alpha[i, j]:.2f}", ha="center", va="center", color=shade, fontsize=8)
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="mean over states and heads; rows sum to 1")
