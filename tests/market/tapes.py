"""Hand-made tapes: messages in, a Tape with snapshots out, the recorded books kept by the per-order exchange."""

from __future__ import annotations

import numpy as np

from lobgraph.market.state import TAPE_CANCEL, TAPE_LIMIT, TAPE_SET, TAPE_TRADE, Tape
from lobgraph.validate.exchange import NOISE, Exchange

SECOND = 1_000_000_000
Message = tuple[int, int, int, int, int]  # time in ns, kind, side, px, qty


def apply(x: Exchange, message: Message, share: int = 0) -> int:
    """One message on the exchange; a cancel starts `share`/2^32 along the noise queue. Returns the lots clipped."""
    _, kind, side, px, qty = message
    inside = x.low <= px < x.low + x.window
    ours = inside and (px - x.best[-side]) * side < 0
    if kind == TAPE_LIMIT:
        x.limit(side, px, qty)
    elif kind == TAPE_CANCEL:
        return qty - (x.cancel_noise(px, qty, share * x.noise(px) >> 32) if ours else 0)
    elif kind == TAPE_TRADE:
        return qty - trade_to(x, -side, px, qty)
    elif kind == TAPE_SET and not x.set_noise(side, px, qty):
        return qty
    return 0


def trade_to(x: Exchange, side: int, px: int, qty: int) -> int:
    """An order that trades up to px and is then gone."""
    before = x.traded
    left = qty
    while left > 0 and x.queues[-side] and (x.best[-side] - px) * side <= 0:
        left -= x.market(NOISE, side, min(left, x.level(x.best[-side])[0].qty))
    return x.traded - before


def exchange(window: int, levels: dict[int, int], bid: int, agents: int = 1) -> Exchange:
    """An exchange with noise lots at prices; those up to `bid` are bids."""
    asks = [px for px in levels if px > bid]
    x = Exchange(window, bid, min(asks), agents)
    for px, qty in levels.items():
        x.limit(1 if px <= bid else -1, px, qty)
    return x


def make_tape(
    levels: dict[int, int], bid: int, messages: list[Message], every: int = 16, deep: int = 64
) -> Tape:
    """A one-book tape that starts from `levels`; all of the book (up to `deep` levels a side) is in the snapshots."""
    x = exchange(4096, levels, bid)
    snaps = []
    for i in range(len(messages) + 1):
        if i % every == 0:
            snaps.append(_snapshot(x, deep))
        if i < len(messages):
            apply(x, messages[i])
    columns = list(zip(*messages, strict=True)) or [()] * 5
    types = (np.int64, np.uint8, np.int8, np.int32, np.int32)
    snap = np.array(snaps)
    return Tape(
        *(np.array(c, t) for c, t in zip(columns, types, strict=True)),
        start=np.array([0, len(messages)], np.int64),
        snap_px=snap[..., 0].astype(np.int32).copy(),
        snap_qty=snap[..., 1].astype(np.int32).copy(),
        snap_start=np.array([0, len(snaps)], np.int64),
        every=every,
    )


def _snapshot(x: Exchange, deep: int) -> list:
    sides = []
    for side in (1, -1):
        prices = sorted(x.queues[side], reverse=side > 0)[:deep]
        sides.append([(px, x.lots(px)) for px in prices] + [(0, 0)] * (deep - len(prices)))
    return sides


def join(one: Tape, two: Tape) -> Tape:
    """Two books' tapes as one."""
    assert one.every == two.every
    arrays = [np.concatenate([a, b]) for a, b in zip(one[:5], two[:5], strict=True)]
    return Tape(
        *arrays,
        start=np.array([0, len(one.time), len(one.time) + len(two.time)], np.int64),
        snap_px=np.concatenate([one.snap_px, two.snap_px]),
        snap_qty=np.concatenate([one.snap_qty, two.snap_qty]),
        snap_start=np.array([0, len(one.snap_px), len(one.snap_px) + len(two.snap_px)], np.int64),
        every=one.every,
    )


def random_messages(
    rng: np.random.Generator, levels: dict[int, int], bid: int, n: int, fits: bool = True
) -> list[Message]:
    """A recorded day: messages that refer to what is there (or, with fits=False, also to what is not)."""
    x = exchange(4096, levels, bid)
    time, messages = 0, []
    centre = (x.best[1] + x.best[-1]) // 2
    for _ in range(n):
        time += int(rng.integers(0, 3)) * SECOND // 10
        side = int(rng.choice([1, -1]))
        other = x.best[-side]
        offset = 1 + int(rng.geometric(0.3))
        kind = int(
            rng.choice(
                [TAPE_LIMIT, TAPE_CANCEL, TAPE_TRADE, TAPE_SET, 4, 5], p=[0.5, 0.25, 0.1, 0.05, 0.05, 0.05]
            )
        )
        px, qty = other - side * (offset - 1 if offset > 1 else 1), int(rng.geometric(0.25))
        px = max(min(px, centre + 40), centre - 40)
        if (px - other) * side >= 0:  # never through the other side: the day was recorded after matching
            px = other - side
        if fits and kind == TAPE_TRADE:
            queue = x.queues[side]
            if len(queue) < 3:
                kind = TAPE_LIMIT
            else:
                px, qty = x.best[side], min(qty, x.lots(x.best[side]))
        elif fits and kind == TAPE_CANCEL:
            if x.side_of(px) != side or x.lots(px) == 0 or len(x.queues[side]) < 3:
                kind = TAPE_LIMIT
            else:
                qty = min(qty, x.lots(px))
        elif kind == TAPE_SET:
            px, qty = (min if side > 0 else max)(px, x.best[side]), int(rng.integers(1, 9))
        messages.append((time, kind, side, px, qty))
        apply(x, messages[-1])
    return messages
