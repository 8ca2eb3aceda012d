"""One look for all figures: sizes, colours by meaning, and saving. Figures are made without a display (Agg canvas)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
ROLE = {"maker": "#0072B2", "taker": "#D55E00", "arbitrageur": "#009E73"}
REGIME = {"normal": "#56B4E9", "stress": "#D55E00"}
BID, ASK, MID = "#0072B2", "#D55E00", "#222222"

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.formatter.useoffset": False,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}


def figure(rows: int, columns: int, width: float, height: float, **kwargs) -> tuple[Figure, list[list[Axes]]]:
    """A figure of rows x columns axes, each `width` x `height` inches; kwargs go to Figure.subplots."""
    fig = Figure(figsize=(width * columns, height * rows))
    FigureCanvasAgg(fig)
    return fig, [list(row) for row in fig.subplots(rows, columns, squeeze=False, **kwargs)]


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of this package, for the duration of a `with` block."""
    with mpl.rc_context(RC):
        yield


def legend_below(fig: Figure, *axes: Axes, columns: int = 6) -> None:
    """Put one legend for the whole figure under the axes, where it hides nothing: what is named in any of them, once."""
    named: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        fig.legend(
            list(named.values()), list(named), loc="outside lower center", ncols=min(columns, len(named))
        )


def save(fig: Figure, path: str | Path) -> Path:
    """Write the figure, replacing an older one only when complete. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    with style():
        fig.savefig(part)
    os.replace(part, path)
    return path
