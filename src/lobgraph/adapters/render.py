"""What a market looks like now, as text or as an image, from MarketEnv.snapshot."""

# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import numpy as np

from ..env.market_env import MarketEnv

MODES = ("ansi", "rgb_array")


def render(market: MarketEnv, mode: str | None, env: int = 0) -> str | np.ndarray | None:
    """ "ansi": text. "rgb_array": (height, width, 3) uint8, a panel for each book. None: a warning, and nothing."""
    if mode is None:
        import gymnasium

        gymnasium.logger.warn('render: give render_mode="ansi" or "rgb_array" when the environment is made')
        return None
    shot = market.snapshot(env)
    return _text(market, shot) if mode == "ansi" else _image(market, shot)


def _text(market: MarketEnv, shot: dict[str, Any]) -> str:
    cfg = market.cfg
    lines = [
        f"step {shot['step']} of {cfg.env.episode_steps}, episode {shot['episode']}, {cfg.regimes.names[shot['regime']]}"
    ]
    for a, book in enumerate(cfg.market.books):
        lines.append(
            f"{book}: {shot['bid_qty'][a, 0]} @ {shot['best_bid'][a]} | {shot['best_ask'][a]} @ {shot['ask_qty'][a, 0]}"
        )
        for role, spec in market.specs.items():
            for k, g in enumerate(range(spec.agents.start, spec.agents.stop)):
                (bid, bid_lots), (ask, ask_lots) = shot["quotes"][g, a].tolist()
                quotes = f", bid {bid_lots} @ {bid}" if bid_lots else ""
                quotes += f", ask {ask_lots} @ {ask}" if ask_lots else ""
                lines.append(f"  {role}_{k}: holds {shot['inventory'][g, a]}{quotes}")
    return "\n".join(lines)


def _image(market: MarketEnv, shot: dict[str, Any]) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    books = market.cfg.market.books
    figure = Figure(figsize=(2.4 * len(books), 3.0), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    levels = np.arange(shot["bid_qty"].shape[1])
    for a, (axes, book) in enumerate(
        zip(figure.subplots(1, len(books), squeeze=False)[0], books, strict=True)
    ):
        axes.barh(shot["best_bid"][a] - levels, shot["bid_qty"][a], color="#4477aa")
        axes.barh(shot["best_ask"][a] + levels, shot["ask_qty"][a], color="#cc6677")
        px, lots = shot["quotes"][:, a, :, 0], shot["quotes"][:, a, :, 1]
        axes.plot(lots[lots > 0], px[lots > 0], "k|", markersize=9)  # agents' own orders
        axes.set_title(f"{book}, step {shot['step']}", fontsize=9)
        axes.tick_params(labelsize=7)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check_mode(mode: str | None) -> str | None:
    """Raise ValueError for a mode that is not there."""
    if mode is not None and mode not in MODES:
        raise ValueError(f"render_mode: must be {', '.join(MODES)} or None, got {mode!r}")
    return mode
