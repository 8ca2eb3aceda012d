"""A synthetic day of one stock as the two files LOBSTER sells, made so that two engines must agree on it to the lot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OPEN = 34_200  # s
TICK = 100  # 1e-4 money units
MID = 10_000  # ticks
LEVELS = 10
SPACING = 1_000_000  # ns between messages
FIRST = 2 * LEVELS  # messages that fill the levels, before the files begin
STEM = "SYN_2024-01-02_34200000_57600000"


def write_day(folder: Path, messages: int, seed: int = 0) -> Path:
    """A day of orders within LEVELS ticks of a fixed mid, 30 to 60 alive on a side, as the two files LOBSTER sells."""
    rng = np.random.default_rng(seed)
    sides = (1, -1)
    live: dict[int, list[list[int]]] = {1: [], -1: []}  # [id, level, lots], oldest first
    depth = {side: np.zeros(LEVELS, np.int64) for side in sides}
    message_lines, book_lines = [], []
    first = [(side, level) for level in range(LEVELS) for side in sides]
    for i in range(messages):
        side = int(rng.choice(sides))
        orders, u = live[side], rng.random()
        if i < len(first) or len(orders) < 30 or (u < 0.5 and len(orders) < 60):
            side, level = first[i] if i < len(first) else (side, int(rng.integers(LEVELS)))
            order = [i + 1, level, int(rng.integers(1, 10))]
            live[side].append(order)
            kind, lots = 1, order[2]
            depth[side][level] += lots
        else:
            best = int(np.flatnonzero(depth[side])[0])
            trades = u > 0.9
            at = (
                next(k for k, o in enumerate(orders) if o[1] == best)
                if trades
                else int(rng.integers(len(orders)))
            )
            order = orders[at]
            alone = (
                depth[side][order[1]] == order[2]
            )  # the last one of a level stays: all levels are always there
            lots = int(rng.integers(1, order[2] + 1)) if trades else order[2]
            lots = min(lots, order[2] - 1) if alone else lots
            if lots == 0:
                order = [i + 1, order[1], int(rng.integers(1, 10))]
                orders.append(order)
                kind, lots = 1, order[2]
                depth[side][order[1]] += lots
            else:
                kind = 4 if trades else (3 if lots == order[2] else 2)
                depth[side][order[1]] -= lots
                order[2] -= lots
                if order[2] == 0:
                    orders.pop(at)
        px = (MID - side * (1 + order[1])) * TICK
        time = OPEN * 10**9 + (i + 1) * SPACING
        message_lines.append(f"{time // 10**9}.{time % 10**9:09d},{kind},{order[0]},{lots},{px},{side}")
        book_lines.append(_book_line(depth))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{STEM}_message_{LEVELS}.csv"
    path.write_text("\n".join(message_lines[len(first) :]) + "\n")
    (folder / f"{STEM}_orderbook_{LEVELS}.csv").write_text("\n".join(book_lines[len(first) :]) + "\n")
    return path


def _book_line(depth: dict[int, np.ndarray]) -> str:
    values = []
    for level in range(LEVELS):
        for side in (-1, 1):  # ask first
            values += [(MID - side * (1 + level)) * TICK, int(depth[side][level])]
    return ",".join(map(str, values))
