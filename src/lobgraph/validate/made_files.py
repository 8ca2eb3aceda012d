"""Makes LOBSTER file pairs from a random order-by-order book, as the exchange would: only L levels are shown."""

from __future__ import annotations

import gzip
import random
import zipfile
from pathlib import Path

EMPTY = 9_999_999_999
STEM = "TEST_2020-01-02_34200000_34800000"


class OrderBook:
    """Orders by id in FIFO queues: prices in ticks, price -> [[id, lots], ...], one dict a side (+1, -1)."""

    def __init__(self) -> None:
        self.queue: dict[int, dict[int, list[list[int]]]] = {1: {}, -1: {}}

    def best(self, side: int) -> int | None:
        return (max if side > 0 else min)(self.queue[side], default=None)

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(price, lots), best first."""
        return [
            (p, sum(q for _, q in self.queue[side][p])) for p in sorted(self.queue[side], reverse=side > 0)
        ]

    def take(self, side: int, px: int, position: int, lots: int) -> None:
        orders = self.queue[side][px]
        orders[position][1] -= lots
        if orders[position][1] == 0:
            del orders[position]
        if not orders:
            del self.queue[side][px]


def make_day(rows: int = 600, levels: int = 3, seed: int = 1, tick: int = 100) -> tuple[list[str], list[str]]:
    """Lines of a message and an orderbook file of `rows` rows: limit orders, cancels, trades (hidden too), halts."""
    rng = random.Random(seed)
    book, number, clock = OrderBook(), 0, 34_200 * 10**9 + 1_000_000
    messages: list[str] = []
    books: list[str] = []

    def show() -> str:
        cells = []
        asks, bids = book.levels(-1)[:levels], book.levels(1)[:levels]
        for j in range(levels):
            for side, shown in ((1, asks), (-1, bids)):
                px, lots = shown[j] if j < len(shown) else (0, 0)
                cells += [str(px * tick if lots else side * EMPTY), str(lots)]
        return ",".join(cells)

    def log(kind: int, order: int, lots: int, price: int, side: int, visible: bool = True) -> None:
        if visible:
            text = f"{clock // 10**9}.{clock % 10**9:09d}"
            messages.append(
                f"{text.rstrip('0') if rng.random() < 0.5 else text},{kind},{order},{lots},{price},{side}"
            )
            books.append(show())

    def seen(side: int, px: int) -> bool:
        return px in [p for p, _ in book.levels(side)[:levels]]

    def add(side: int, px: int, lots: int, quiet: bool = False) -> None:
        nonlocal number
        number += 1
        book.queue[side].setdefault(px, []).append([number, lots])
        if not quiet:
            log(1, number, lots, px * tick, side, seen(side, px))

    for i in range(2 * levels + 3):
        add(1, 9_999 - i, rng.randint(1, 500), quiet=True)
        add(-1, 10_002 + i, rng.randint(1, 500), quiet=True)
    while len(messages) < rows:
        clock += rng.choice([0, 7, 1_000, 1_234_567, 50_000_000])
        side = rng.choice([1, -1])
        other, draw = book.best(-side), rng.random()
        thin = len(book.queue[side]) <= 2 * levels and draw < 0.97
        if draw < 0.45 or thin or not book.queue[side]:
            reference = other if other is not None else (book.best(side) or 10_000) + side
            add(side, reference - side * rng.randint(1, 12), rng.choice([1, 20, 100, 100, 100, 300]))
        elif draw < 0.85:
            px = rng.choice(list(book.queue[side]))
            position = rng.randrange(len(book.queue[side][px]))
            order, lots = book.queue[side][px][position]
            part = rng.randint(1, lots) if draw < 0.5 else lots
            visible = seen(side, px)
            book.take(side, px, position, part)
            log(2 if part < lots else 3, order, part, px * tick, side, visible)
        elif draw < 0.95:
            left = rng.choice([1, 50, 100, 400])
            while left and (px := book.best(side)) is not None:
                order, lots = book.queue[side][px][0]
                part = min(left, lots)
                left -= part
                book.take(side, px, 0, part)
                log(4, order, part, px * tick, side)
        elif draw < 0.98 and other is not None and (best := book.best(side)) is not None:
            middle = (best + other) * tick // 2  # half ticks happen
            log(5, 0, rng.randint(1, 200), middle, side)
        elif draw > 0.995:
            log(7, 0, 0, rng.choice([-1, 0, 1]), -1)
    return messages[:rows], books[:rows]


def write_pair(
    folder: Path,
    messages: list[str],
    books: list[str],
    levels: int,
    packing: str = "",
    stem: str = STEM,
) -> Path:
    """Write both files as csv ("", ".gz", ".zip": one zip each, "both": one zip for the two); returns what to read."""
    texts = {
        f"{stem}_message_{levels}.csv": "\n".join(messages) + "\n",
        f"{stem}_orderbook_{levels}.csv": "\n".join(books) + "\n",
    }
    if packing == "both":
        path = folder / f"{stem}_{levels}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("ReadMe.txt", "made for a test")
            for name, text in texts.items():
                z.writestr(name, text)
        return path
    for name, text in texts.items():
        if packing == ".gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        elif packing == ".zip":
            with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as z:
                z.writestr(name, text)
        else:
            (folder / name).write_text(text)
    return folder / f"{stem}_message_{levels}.csv{packing}"


class Replay:
    """The slow, obvious book of a tape: one dict a side. Levels as an orderbook row shows them."""

    def __init__(self, px, qty) -> None:
        self.lots = [
            dict(zip(px[k][qty[k] > 0].tolist(), qty[k][qty[k] > 0].tolist(), strict=True)) for k in (0, 1)
        ]

    def apply(self, kind: int, side: int, px: int, qty: int) -> None:
        book = self.lots[0 if side > 0 else 1]
        if kind == 0:
            book[px] = book.get(px, 0) + qty
        elif kind in (1, 2):
            if kind == 2:
                assert px == (max if side > 0 else min)(book)
            book[px] -= qty
        elif kind == 3:
            book[px] = qty
        assert book.get(px, 0) >= 0
        if book.get(px) == 0:
            del book[px]

    def levels(self, k: int) -> list[tuple[int, int]]:
        return sorted(self.lots[k].items(), reverse=k == 0)
