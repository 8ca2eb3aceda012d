"""Makes a 10-level npz set: what data/nasdaq10.py reads, from a random walk of the mid."""

from __future__ import annotations

import io

import numpy as np

NPZ_NAME = "TEST_20200102_100000_100100.npz"


def make_arrays(rows: int = 60, levels: int = 3, seed: int = 1) -> dict[str, np.ndarray]:
    """The arrays of a set: `rows` snapshots 100 ms apart from 10:00 on, a market order after every second one."""
    rng = np.random.default_rng(seed)
    mid = 10_000 + np.cumsum(rng.integers(-1, 2, rows))
    away = 1 + np.arange(levels)
    orders = np.arange(rows // 2)
    i32 = np.int32
    return {
        "t_ms": (36_000_100 + 100 * np.arange(rows)).astype(i32),
        "bid_px": (100 * (mid[:, None] - away)).astype(i32),
        "ask_px": (100 * (mid[:, None] + away)).astype(i32),
        "bid_sz": rng.integers(1, 500, (rows, levels)).astype(i32),
        "ask_sz": rng.integers(1, 500, (rows, levels)).astype(i32),
        "mo_t_ms": (36_000_150 + 200 * orders).astype(i32),
        "mo_vol": rng.integers(1, 100, len(orders)).astype(i32),
        "mo_sign": rng.choice(np.array([-1, 1], np.int8), len(orders)),
    }


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of an npz."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
