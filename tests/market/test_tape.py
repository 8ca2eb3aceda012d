"""Replay of hand-made tapes: what each message does, agents' orders among recorded ones, episodes anywhere in the day."""

from __future__ import annotations

import numpy as np
import pytest
import tapes
from numba import njit
from tapes import SECOND, apply, exchange, make_tape, random_messages

from lobgraph.config import make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import book as bk
from lobgraph.market import state as ms
from lobgraph.market import tape as tp
from lobgraph.market.state import TAPE_CANCEL, TAPE_HALT, TAPE_HIDDEN, TAPE_LIMIT, TAPE_SET, TAPE_TRADE

WINDOW, AGENTS = 256, 2
PLACE = 100  # a command beside the tape's kinds: an agent's order, time holds the slot
LEVELS = {990 + i: 5 + i % 3 for i in range(10)} | {1001 + i: 6 + i % 4 for i in range(10)}
BID = 999


def make_book() -> ms.Book:
    i32 = np.int32
    orders = [np.zeros(2 * AGENTS, i32) for _ in range(4)]
    b = ms.Book(
        np.zeros(WINDOW, i32),
        np.zeros(ms.HEAD, np.int64),
        *orders,
        np.zeros((AGENTS + 1, ms.ACCOUNT), np.int64),
    )
    bk.clear.py_func(b, BID, 1001)
    return b


@njit(cache=True)
def run_messages(b, messages, bits, rows):
    """Apply messages (n, 5) one by one and write best prices, counters, orders and lots at 900..1099 after each."""
    h = b.head
    for i in range(messages.shape[0]):
        m = messages[i]
        if m[1] == PLACE:
            if b.rest[m[0]] == 0:
                bk.place(b, m[0], m[3], m[4], 1, 0)
        else:
            tp.apply_message(b, m[1], m[2], m[3], m[4], bits[i] << np.uint64(32))
        row = rows[i]
        row[0], row[1], row[2], row[3] = h[ms.BID], h[ms.ASK], h[ms.CLIPPED], h[ms.TRADED]
        for s in range(b.px.shape[0]):
            row[4 + 2 * s] = b.rest[s]
            row[5 + 2 * s] = b.ahead[s] if b.rest[s] > 0 else 0
        for k in range(200):
            row[20 + k] = b.qty[(900 + k) & (b.qty.shape[0] - 1)]


@njit(cache=True)
def books_at(b, tape, a, times, rows):
    """Load the tape at each time: rows (best prices, next message, lots at 900..1099)."""
    for i in range(times.shape[0]):
        tp.load_tape(b, tape, a, np.uint64(7), times[i])
        rows[i, 0], rows[i, 1], rows[i, 2] = b.head[ms.BID], b.head[ms.ASK], b.head[ms.TAPE_POS]
        for k in range(200):
            rows[i, 20 + k] = b.qty[(900 + k) & (b.qty.shape[0] - 1)]


def start(levels: dict[int, int] = LEVELS) -> list[tuple]:
    """Messages that make the levels."""
    return [(0, TAPE_LIMIT, 1 if px <= BID else -1, px, qty) for px, qty in levels.items()]


def replay(messages: list[tuple], bits: np.ndarray | None = None) -> tuple[np.ndarray, ms.Book]:
    b = make_book()
    rows = np.zeros((len(messages), 220), np.int64)
    bits = np.zeros(len(messages), np.uint64) if bits is None else bits
    run_messages(b, np.array(messages, np.int64).reshape(-1, 5), bits, rows)
    return rows, b


def lots(row: np.ndarray, px: int) -> int:
    return int(row[20 + px - 900])


# --- messages ---


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_messages_with_agents_orders_among_them_match_the_exchange(seed, fits):
    """Random recorded days, agents' orders put in between, clipped where they took what the record refers to."""
    rng = np.random.default_rng(seed)
    messages = start() + random_messages(rng, LEVELS, BID, 1500, fits)
    for at in sorted(rng.integers(20, 1500, 150)):
        slot = int(rng.integers(0, 4))
        px = messages[at][3] + int(rng.integers(-2, 3))  # near where the record is busy
        messages.insert(at, (slot, PLACE, 0, px, int(rng.integers(1, 12))))
    bits = rng.integers(0, 1 << 32, len(messages), dtype=np.uint64)
    rows, b = replay(messages, bits)
    x = tapes.Exchange(WINDOW, BID, 1001, AGENTS)
    clipped = 0
    for i, m in enumerate(messages):
        slot, kind, _, px, qty = m
        if kind != PLACE:
            clipped += apply(x, m, int(bits[i]))
        elif (slot // 2, 1 - 2 * (slot % 2)) not in x.own:
            x.place(slot // 2, 1 - 2 * (slot % 2), px, qty, "cancel_resting", post_only=False)
        own = [x.own.get((s // 2, 1 - 2 * (s % 2))) for s in range(4)]
        want = [x.best[1], x.best[-1], clipped, x.traded]
        want += [v for o in own for v in ((o.qty, x.ahead(o)) if o else (0, 0))]
        assert rows[i, : len(want)].tolist() == want, (i, m)
        assert rows[i, 20:].tolist() == [x.lots(900 + k) for k in range(200)], (i, m)
    assert clipped > 0
    assert b.account[:AGENTS, ms.PASSIVE_NOTIONAL].any(), "no agent's order was reached"
    assert b.account[:, ms.CASH].sum() == b.account[:, ms.INVENTORY].sum() == 0


def test_each_kind_of_message():
    base = start()
    row = replay([*base, (1, TAPE_LIMIT, 1, 1000, 4)])[0][-1]
    assert (row[0], lots(row, 1000)) == (1000, 4)
    row = replay([*base, (1, TAPE_CANCEL, -1, 1003, 2)])[0][-1]
    assert lots(row, 1003) == LEVELS[1003] - 2
    row = replay([*base, (1, TAPE_TRADE, 1, 999, 3)])[0][-1]
    assert (lots(row, 999), row[3]) == (LEVELS[999] - 3, 3)
    row = replay([*base, (1, TAPE_TRADE, -1, 1002, 100)])[0][-1]  # to its price and no further
    assert (row[1], row[3], row[2]) == (1003, LEVELS[1001] + LEVELS[1002], 100 - LEVELS[1001] - LEVELS[1002])
    row = replay([*base, (1, TAPE_SET, 1, 985, 9), (2, TAPE_SET, 1, 990, 0), (3, TAPE_SET, 1, 991, 2)])[0][-1]
    assert (lots(row, 985), lots(row, 990), lots(row, 991)) == (9, 0, 2)
    before = replay(base)[0][-1]
    for kind in (TAPE_HIDDEN, TAPE_HALT):
        rows, b = replay([*base, (1, kind, 1, 999, 5)])
        np.testing.assert_array_equal(rows[-1], before)
        assert b.head[ms.EVENTS] == len(base) + 1


def test_an_agents_order_waits_its_turn():
    """Behind 8 recorded lots; 6 of those trade, 2 are cancelled, later ones stand behind it."""
    queue = [*start(), (0, PLACE, 0, 999, 5), (1, TAPE_LIMIT, 1, 999, 7)]
    ahead = LEVELS[999]
    rows, b = replay([*queue, (2, TAPE_TRADE, 1, 999, ahead)])
    assert (rows[-1, 4], rows[-1, 5]) == (5, 0)
    rows, b = replay([*queue, (2, TAPE_TRADE, 1, 999, ahead + 3)])
    assert rows[-1, 4] == 2
    assert (b.account[0, ms.INVENTORY], b.account[0, ms.CASH]) == (3, -3 * 999)
    rows, _ = replay([*queue, (2, TAPE_CANCEL, 1, 999, 4)])  # drawn at the queue's front: bits 0
    assert rows[-1, 5] == ahead - 4
    back = np.full(len(queue) + 1, 2**32 - 2**20, np.uint64)  # its end: one lot behind, then the front
    assert replay([*queue, (2, TAPE_CANCEL, 1, 999, 4)], back)[0][-1, 5] == ahead - 3


def test_what_no_longer_fits_is_clipped_and_counted():
    """An agent takes 4 of the best ask's lots: the recorded cancel of all of them finds 4 fewer, then nothing."""
    full = LEVELS[1001]
    rows, _ = replay(
        [*start(), (1, PLACE, 0, 0, 0), (0, PLACE, 0, 1001, 4), (2, TAPE_CANCEL, -1, 1001, full)]
    )
    assert lots(rows[-1], 1001) == 0
    assert rows[-1, 2] == 4
    gone = [(3, TAPE_CANCEL, -1, 1001, 3), (4, TAPE_TRADE, -1, 1001, 2), (5, TAPE_CANCEL, 1, 5000, 1)]
    rows, _ = replay([*start(), (0, PLACE, 0, 1001, 4), (2, TAPE_CANCEL, -1, 1001, full), *gone])
    assert rows[-1, 2] == 4 + 3 + 2 + 1


def test_recorded_orders_trade_with_an_agents_better_price():
    """An agent improves the bid; a recorded sell limit through it, resting in the record, meets it first."""
    rows, b = replay([*start(), (0, PLACE, 0, 1000, 3), (1, TAPE_LIMIT, -1, 1000, 5)])
    assert (rows[-1, 0], rows[-1, 1], lots(rows[-1], 1000)) == (999, 1000, 2)
    assert b.account[0, ms.INVENTORY] == 3
    assert b.account[AGENTS, ms.INVENTORY] == -3


def test_a_level_that_comes_into_view_stands_ahead_and_one_that_leaves_forgets_no_agent():
    rows, _ = replay([*start(), (0, PLACE, 0, 980, 3), (1, TAPE_SET, 1, 980, 8), (2, TAPE_SET, 1, 980, 0)])
    assert (lots(rows[-2], 980), rows[-2, 5]) == (11, 8)
    assert (lots(rows[-1], 980), rows[-1, 4], rows[-1, 5]) == (3, 3, 0)


# --- loading ---


@pytest.mark.parametrize("every", [1, 16, 4000])
def test_loading_at_any_time_equals_replay_from_the_start(every):
    rng = np.random.default_rng(3)
    messages = random_messages(rng, LEVELS, BID, 2000)
    tape = make_tape(LEVELS, BID, messages, every)
    last = messages[-1][0]
    times = np.array(
        [-5, 0, last, last + 5 * SECOND, *rng.integers(0, last, 200), *tape.time[::50]], np.int64
    )
    rows = np.zeros((len(times), 220), np.int64)
    books_at(make_book(), tape, 0, times, rows)
    all_rows = replay(start() + messages)[0][len(LEVELS) - 1 :]
    done = np.searchsorted(tape.time, times, side="right")
    np.testing.assert_array_equal(rows[:, 2], done)
    np.testing.assert_array_equal(rows[:, :2], all_rows[done, :2])
    np.testing.assert_array_equal(rows[:, 20:], all_rows[done, 20:])


def test_a_day_that_starts_with_an_empty_book_fills_it():
    """No level in the first snapshot: the window must still come to where the messages are."""
    messages = [(SECOND * i, TAPE_LIMIT, s, 5000 - s * (1 + i % 3), 2) for i in range(1, 20) for s in (1, -1)]
    tape = make_tape({999: 1, 1001: 1}, 999, messages, every=4000, deep=4)
    tape.snap_qty[:] = 0
    tape.snap_px[:] = 0
    rows = np.zeros((1, 220), np.int64)
    books_at(make_book(), tape, 0, np.array([SECOND * 30]), rows)
    assert (rows[0, 0], rows[0, 1]) == (4999, 5001)


def test_a_one_sided_snapshot_is_loaded():
    tape = make_tape(
        {998: 3, 999: 4, 1001: 2}, 999, [(1, TAPE_TRADE, -1, 1001, 2), (2, TAPE_HALT, 1, 999, 1)], every=1
    )
    assert tape.snap_qty[2, 1].sum() == 0
    rows = np.zeros((1, 220), np.int64)
    books_at(make_book(), tape, 0, np.array([2]), rows)
    assert (rows[0, 0], lots(rows[0], 999), lots(rows[0], 1001)) == (999, 4, 0)


# --- in the environment ---


def replay_env(
    monkeypatch, tape: ms.Tape, span: tuple[int, int], envs: int = 1, books: int = 1, **sections
) -> MarketEnv:
    """A MarketEnv that replays a hand-made tape."""
    import lobgraph.data.load as load

    monkeypatch.setattr(load, "load_tape_files", lambda cfg: (tape, span), raising=False)
    names = [f"A{i}" for i in range(books)]
    tree = {
        "market": {"books": names, "window": WINDOW, "dt": 1.0},
        "replay": {"files": dict.fromkeys(names, "day.csv")},
        "agents": {"maker": {"count": 0}},
        "env": {"episode_steps": 10},
    }
    return MarketEnv(make_config(tree | sections), num_envs=envs, seed=2)


def recorded_book(
    messages: list[tuple], at: int, levels: dict[int, int] = LEVELS, bid: int = BID
) -> dict[int, int]:
    x = exchange(4096, levels, bid)
    for m in messages:
        if m[0] <= at:
            apply(x, m)
    return {px: x.lots(px) for side in (1, -1) for px in x.queues[side]}


def lots_of(env: MarketEnv, e: int, a: int = 0) -> dict[int, int]:
    snap = env.snapshot(e)
    qty = snap["book_qty"][a]
    return {int(snap["book_px0"][a]) + int(i): int(qty[i]) for i in np.flatnonzero(qty)}


@pytest.mark.parametrize("stagger", [False, True])
def test_every_step_shows_the_recorded_book_of_its_time(monkeypatch, stagger):
    rng = np.random.default_rng(4)
    days = [random_messages(rng, LEVELS, BID, 1200) for _ in range(2)]
    tape = tapes.join(*(make_tape(LEVELS, BID, day) for day in days))
    span = (5 * SECOND, 60 * SECOND)
    env = replay_env(monkeypatch, tape, span, envs=6, books=2, env={"episode_steps": 10, "stagger": stagger})
    env.reset()
    starts = set()
    for _ in range(25):
        for e in range(6):
            clock = env.state.clock[e]
            starts.add(int(clock[ms.START_NS]))
            at = int(clock[ms.START_NS] + clock[ms.STEP] * SECOND)
            assert span[0] <= at < span[1] + 10 * SECOND
            for a in range(2):
                assert lots_of(env, e, a) == recorded_book(days[a], at), (e, a, clock)
        env.step({})
    assert len(starts) > 12, "episodes should start anywhere"


def test_an_agents_message_arrives_between_recorded_ones(monkeypatch):
    """A market order of 2 with latency .5 s: before it the record has moved the ask twice."""
    messages = [
        (SECOND * 10 + 200_000_000, TAPE_TRADE, -1, 1001, LEVELS[1001]),
        (SECOND * 10 + 500_000_000, TAPE_TRADE, -1, 1002, LEVELS[1002]),
        (SECOND * 10 + 500_000_001, TAPE_TRADE, -1, 1003, LEVELS[1003]),
    ]
    tape = make_tape(LEVELS, BID, messages)
    taker = {"count": 1, "latency": 0.5, "target": 20, "target_side": "buy"}
    env = replay_env(
        monkeypatch, tape, (10 * SECOND, 10 * SECOND), agents={"maker": {"count": 0}, "taker": taker}
    )
    env.reset()
    env.step({"taker": np.array([[[[1.0, 2.0]]]], np.float32)})
    account = env.state.account[0, 0]
    assert (account[0, ms.INVENTORY], account[0, ms.CASH]) == (2, -2 * 1003)
    assert env.state.head[0, 0, ms.CLIPPED] == 2
    assert env.snapshot()["best_ask"][0] == 1004


def test_a_quoting_agent_is_filled_by_recorded_trades(monkeypatch):
    """The maker joins the best bid behind the recorded lots; trades reach it in the second step only."""
    messages = [
        (SECOND * 10 + 1, TAPE_TRADE, 1, 999, LEVELS[999]),
        (SECOND * 11 + 1, TAPE_LIMIT, 1, 999, 50),
        (SECOND * 11 + 2, TAPE_TRADE, 1, 999, 4),
    ]
    tape = make_tape(LEVELS, BID, messages)
    env = replay_env(monkeypatch, tape, (10 * SECOND, 10 * SECOND), agents={"maker": {"count": 1}})
    env.reset()
    quotes = np.array([[[[1.0, 1.0, 6.0]]]], np.float32)
    env.step({"maker": quotes})
    snap = env.snapshot()
    assert snap["quotes"][0, 0].tolist() == [[999, 6], [1001, 6]]
    assert snap["inventory"][0, 0] == 0
    env.step({"maker": quotes})
    assert env.snapshot()["inventory"][0, 0] == 4
    assert env.snapshot()["fills_passive"][0, 0] == 4
