"""An episode event by event: the episode that evaluate plays, fills that add up to the accounts, every fill in the log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_day, write_pair
from test_record import busy, market

from lobgraph.config import Config, ConfigError, make_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.evaluation import episode_log
from lobgraph.evaluation.episode_log import log_episode
from lobgraph.evaluation.evaluate import evaluate
from lobgraph.evaluation.event_trace import MARKS, EventTrace, agent_number, book_number, follow, trace
from lobgraph.evaluation.follow_book import BookFollower, MismatchError
from lobgraph.evaluation.record import Series, acting, cast_all, play
from lobgraph.evaluation.story import story
from lobgraph.market.state import (
    LOG_CANCEL,
    LOG_FILL,
    LOG_KIND,
    LOG_LOTS,
    LOG_PLACE,
    LOG_PX,
    LOG_REST,
    LOG_SIDE,
    LOG_TRADE,
    LOG_WHO,
)
from lobgraph.market.step import NS
from lobgraph.models.policy import make_policies

MARKETS = {
    "fifo": (),
    "pro_rata": ("market.matching=pro_rata", "agents.maker.latency=0.3"),
    "crossing": ("market.self_trade=allow", "agents.maker.post_only=false", "agents.maker.latency=0.3"),
    "drawdown": ("agents.maker.risk.max_drawdown=10",),
    "limits": ("agents.maker.risk.max_position=60000", "agents.maker.latency=0.1"),
    "fees": ("market.maker_rebate=0.0002", "market.taker_fee=0.0005"),
}  # fmt: skip


def check_books(t: EventTrace) -> None:
    """Fills add up to every account, after each step and to the last tick-lot; each is in the log, with its place."""
    s, names = t.log.series, t.names
    fills = t.fill_table()
    assert len(fills) > 0
    signed = np.where(fills["side"] == "bought", fills["lots"], -fills["lots"])
    for g, name in enumerate(names):
        for a, book in enumerate(t.log.cfg.market.books):
            own = ((fills["agent"] == name) & (fills["book"] == book)).to_numpy()
            by_step = np.bincount(fills["step"][own], signed[own], len(s.volume)).cumsum()
            np.testing.assert_array_equal(by_step, s.inventory[1:, 0, g, a])
            paid = np.bincount(fills["step"][own], (signed * fills["px"])[own], len(s.volume)).cumsum()
            np.testing.assert_array_equal(-paid, s.cash[1:, 0, g, a])
            passive = own & (fills["how"] == "resting").to_numpy()
            assert fills["lots"][passive].sum() == s.passive[:, 0, g, a].sum()
        fees = fills.loc[fills["agent"] == name, "fee"].sum()
        assert fees == pytest.approx(s.fees[-1, 0, g], abs=1e-6)
    for f in t.fills:
        entries = t.log.entries[f.step][f.book]
        kind, who, side = (LOG_FILL, f.agent, f.side) if f.passive else (LOG_TRADE, f.agent, -f.side)
        found = entries[
            (entries[:, LOG_KIND] == kind) & (entries[:, LOG_WHO] == who) & (entries[:, LOG_SIDE] == side)
            & (entries[:, LOG_PX] == f.px)
        ]  # fmt: skip
        assert len(found)
        if f.passive:
            assert [f.lots, f.ahead] in found[:, [LOG_LOTS, LOG_PLACE]].tolist()
            assert f.order is not None
            assert f.order.px == f.px
            assert f.order.ns <= f.ns
        event = t.books[f.book].events[f.row]
        assert (event.kind, event.who, event.px) == ("fill" if f.passive else "trade", names[f.agent], f.px)


def check_orders(t: EventTrace) -> None:
    """What went from before an order is what is missing; what it was filled with is in the fills."""
    for o in t.orders:
        gone = sum(m.lots for m in o.moves)
        assert o.before - gone == o.ahead
        assert o.ahead >= 0
        assert o.filled == sum(f.lots for f in t.fills if f.order is o)
        assert (o.end == "filled") <= (o.rest == 0)
        assert [ns for ns, _, _ in o.path] == sorted(ns for ns, _, _ in o.path)
        if o.end == "filled" and t.log.cfg.market.matching == "fifo":
            assert o.ahead == 0


@pytest.mark.parametrize("name", MARKETS)
def test_fills_add_up_to_the_accounts(name: str) -> None:
    """The follower raises where its best prices or places differ from the kernels'; here the money."""
    t = trace(market(*MARKETS[name]), busy(), episode=3, episodes=5, seed=7)
    check_books(t)
    check_orders(t)
    s = t.log.series
    edge = t.fill_table().groupby(["agent", "book"])["earned"].sum()
    for g, agent in enumerate(t.names):
        for a, book in enumerate(t.log.cfg.market.books):
            assert edge.get((agent, book), 0.0) == s.edge[-1, 0, g, a]
    if name == "drawdown":
        assert (t.fill_table()["note"] == "liquidated").any()
        assert "It was liquidated" in story(t, next(f.number for f in t.fills if f.note))
    if name == "limits":
        assert (t.order_table()["end"] == "limit").any()
    if name == "crossing":
        fills = t.fill_table()
        assert (fills["agent"].str.startswith("maker") & (fills["how"] == "incoming")).any()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), pro_rata=st.booleans(), latency=st.sampled_from([0.0, 0.25]))
def test_any_episode_can_be_followed(seed: int, pro_rata: bool, latency: float) -> None:
    cfg = market(f"market.matching={'pro_rata' if pro_rata else 'fifo'}", f"agents.maker.latency={latency}")
    t = trace(cfg, busy(seed), 0, 1, seed)
    check_books(t)
    check_orders(t)


def test_it_is_the_episode_that_evaluate_plays() -> None:
    """With networks, whose output may hang on the number of rows: the same rewards to the bit, and the same table."""
    cfg = market("graph.hidden=8")
    policies = make_policies(MarketEnv(cfg, num_envs=1), cfg)
    agents = dict.fromkeys(cfg.counts, policies)
    episodes, number = 7, 4
    (whole,) = play(cfg, agents, episodes, seed=11)
    t = trace(cfg, agents, number, episodes, seed=11)
    for field in dataclasses.fields(Series):
        x = getattr(whole, field.name)
        if isinstance(x, np.ndarray):
            axis = 0 if field.name in ("episode", "cluster", "target", "cut", "cause") else 1
            one = getattr(t.log.series, field.name)
            np.testing.assert_array_equal(one, np.take(x, [number], axis), err_msg=field.name)
    table = evaluate(cfg, agents, episodes, seed=11)
    rewards = t.reward_table()
    for role in cfg.counts:
        for k in range(cfg.counts[role]):
            row = table[(table["episode"] == number) & (table["role"] == role) & (table["agent"] == k)]
            own = rewards[rewards["agent"] == f"{role}_{k}"]
            assert own["equity"].iloc[-1] == row["equity"].item()
            for name in whole.specs[role].reward_terms:
                assert own[f"terms/{name}"].to_numpy().sum(dtype=np.float64) == pytest.approx(
                    row[f"terms/{name}"].item()
                )


def test_rewards_are_those_of_the_environment() -> None:
    """Played by hand beside it: every reward of every step, to the bit."""
    cfg, number = market(), 2
    t = trace(cfg, busy(), number, 3, seed=5)
    env = MarketEnv(cfg, num_envs=3, seed=5, autoreset=False)
    acts = acting(env, *cast_all(cfg, busy()))
    obs, rewards = env.reset(), {role: [] for role in env.specs}
    for _ in range(cfg.env.episode_steps):
        obs, reward, _, _, _ = env.step({role: act(obs) for role, act in acts.items()})
        for role in rewards:
            rewards[role].append(reward[role][number].numpy().copy())
    table = t.reward_table()
    for role, values in rewards.items():
        for k, column in enumerate(np.array(values).T):
            own = table.loc[table["agent"] == f"{role}_{k}", "reward"].to_numpy()
            assert own.dtype == np.float32
            np.testing.assert_array_equal(own, column)


def test_more_events_than_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = market("env.episode_steps=20")
    whole = log_episode(cfg, busy(), 0, 1, 3)
    monkeypatch.setattr(episode_log, "ROOM", 8)
    again = log_episode(cfg, busy(), 0, 1, 3)
    assert max(len(e) for step in whole.entries for e in step) > 8
    for one, other in zip(whole.entries, again.entries, strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)
    monkeypatch.setattr(episode_log, "MOST_ROOM", 8)
    with pytest.raises(ConfigError, match=r"market\.dt: more than 8 events"):
        log_episode(cfg, busy(), 0, 1, 3)


def test_events_are_told_from_noise() -> None:
    stress = (
        "stress=[{kind: fat_finger, at: 10, magnitude: 40, side: sell}, {kind: drought, at: 20, magnitude: .8}]",
    )
    t = trace(market(*stress), {"maker": "fixed_spread:half_spread=1"}, 0, 1, 2)
    events = t.event_table()
    finger = events[events["who"] == "fat_finger"]
    assert set(finger["event"]) == {"trade"}
    assert set(finger["time"]) == {10.0}
    assert (finger.groupby("book")["lots"].sum() == 40).all()
    drought = events[events["who"] == "drought"]
    assert set(drought["event"]) == {"cancel"}
    assert set(drought["time"]) == {20.0}
    hit = t.fill_table()
    hit = hit[hit["counterparty"] == "fat_finger"]
    assert len(hit)
    assert "from a fat finger" in story(t, int(hit["fill"].iloc[0]))


def test_replayed_markets(tmp_path) -> None:
    messages = write_pair(tmp_path, *make_day(rows=3000, levels=3), levels=3)
    cfg = make_config({
        "market": {"books": ["T"], "window": 2048, "dt": 0.5},
        "replay": {"files": {"T": str(messages)}},
        "agents": {"maker": {"count": 1, "max_offset": 20.0}},
        "env": {"episode_steps": 40, "threads": 1},
    })  # fmt: skip
    t = trace(cfg, {"maker": "fixed_spread:half_spread=1"}, 1, 2, 0)
    check_books(t)
    check_orders(t)
    events = t.event_table()
    assert set(events["who"]) == {"recorded", "maker_0"}
    assert events["time"].between(0.0, 20.0).all()


# --- by hand ---


def by_hand(*entries: tuple[int, int, int, int, int, int, int]) -> BookFollower:
    """A book of 4 lots at 9 and 5 at 11, one agent; entries of the log follow."""
    qty, head = np.zeros(16, np.int32), np.zeros(25, np.int64)
    qty[9], qty[11] = 4, 5
    head[:3] = 9, 11, 2
    book = BookFollower(0, qty, head, ["maker_0"], [], [])
    book.step(0, 0, 100, np.array(entries, np.int64))
    return book


REST = (1, LOG_REST, 1, 9, 3, 4, 0)  # maker_0 bids 3 lots at 9 behind 4


def test_a_queue_by_hand() -> None:
    book = by_hand(
        REST,
        (2, LOG_CANCEL, 1, 9, 1, 0, -1),  # the first noise lot goes: 3 before it
        (3, LOG_TRADE, 1, 9, 2, 0, -1),  # 1 before it
        (4, LOG_REST, 1, 9, 6, 4, -1),
        (5, LOG_CANCEL, 1, 9, 2, 5, -1),  # behind it
        (6, LOG_FILL, 1, 9, 2, 1, 0),
        (6, LOG_TRADE, 1, 9, 3, 0, -1),
        (7, LOG_FILL, 1, 9, 1, 0, 0),
        (7, LOG_TRADE, 1, 9, 5, 0, -1),  # all of the level: the bid side is empty, its price stays
    )
    (order,) = book.orders
    assert [(m.why, m.lots) for m in order.moves] == [("cancel", 1), ("trade", 2), ("trade", 1)]
    assert (order.filled, order.rest, order.end, order.end_ns) == (3, 0, "filled", 7)
    assert [(f.lots, f.ahead, f.traded, f.other) for f in book.fills] == [
        (2, 1, 3, "noise"),
        (1, 0, 5, "noise"),
    ]
    assert book.best == [9, 11]
    assert book.lots == [0, 5]


def test_an_order_that_crosses_by_hand() -> None:
    """It takes the whole ask, rests what is left at its limit, and the empty side's last price gives way."""
    book = by_hand(
        (1, LOG_TRADE, -1, 11, 5, 0, 0), (1, LOG_REST, 1, 11, 2, 0, 0), (2, LOG_REST, -1, 13, 1, 0, -1)
    )
    assert [(f.side, f.lots, f.px, f.passive, f.other, f.mid) for f in book.fills] == [
        (1, 5, 11, False, "noise", 10.0)
    ]
    assert [(e.kind, e.note, e.bid, e.ask) for e in book.events] == [
        ("trade", "", 9, 11), ("order", "crosses", 11, 12), ("order", "", 11, 13),
    ]  # fmt: skip
    assert book.lots == [6, 1]


@pytest.mark.parametrize(("wrong", "says"), [
    ([REST, (2, LOG_FILL, 1, 9, 1, 4, 0), (2, LOG_TRADE, 1, 9, 4, 0, -1)], "0 lots of order 0 trade, 1 by the log"),
    ([REST, (2, LOG_TRADE, 1, 9, 6, 0, -1)], "2 lots of order 0 trade, 0 by the log"),
    ([REST, (2, LOG_FILL, 1, 9, 2, 3, 0), (2, LOG_TRADE, 1, 9, 5, 0, -1)], "4 lots before order 0, 3 by the kernels"),
    ([(2, LOG_FILL, 1, 9, 1, 0, 0)], "maker_0 has no order at 9"),
])  # fmt: skip
def test_a_log_that_does_not_fit_is_an_error(wrong: list[tuple], says: str) -> None:
    with pytest.raises(MismatchError, match=says):
        by_hand(*wrong)


def test_a_state_that_does_not_fit_is_an_error() -> None:
    book = by_hand(REST)
    book.check(9, 11, np.array([4, 0]), 100)
    with pytest.raises(MismatchError, match=r"best prices \[9, 11\], by the kernels \[8, 11\]"):
        book.check(8, 11, np.array([4, 0]), 100)
    with pytest.raises(MismatchError, match="4 lots before order 0, 2 by the kernels"):
        book.check(9, 11, np.array([2, 0]), 100)


def test_another_episode_is_not_passed_off_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    repeat = episode_log._repeat
    monkeypatch.setattr(episode_log, "_repeat", lambda actions: repeat([0.5 * a for a in actions]))
    with pytest.raises(RuntimeError, match="differs from the one played first"):
        log_episode(market(), busy(), 0, 1, 3)


# --- the story ---


@pytest.fixture(scope="module")
def told() -> EventTrace:
    return trace(market("market.taker_fee=0.0005"), busy(), 0, 1, 1)


def test_a_story_says_what_the_tables_say(told: EventTrace) -> None:
    fills, orders = told.fill_table().set_index("fill"), told.order_table().set_index("order")
    passive = fills[(fills["how"] == "resting") & (fills["ahead_placed"] > 2) & (fills["ahead"] == 0)].iloc[0]
    text = story(told, int(passive.name))
    order = orders.loc[passive["order"]]
    assert f"at {passive['time']:.3f} s (step {passive['step']})" in text
    assert f"had come to rest at {order['time']:.3f} s (step {order['step']})" in text
    assert f"behind {order['ahead']} lots" in text
    assert "nothing left before it" in text
    traded = sum(
        m.lots
        for m in told.orders[passive["order"]].moves
        if m.why == "trade" and m.ns < told.fills[passive.name].ns
    )
    if traded:
        assert f"{traded} lot" in text
    assert f"{passive['earned']:+,.1f} tick-lots against the mid it met" in text
    assert f"{passive['earned_end']:+,.1f} at the episode's end" in text
    active = fills[(fills["how"] == "incoming") & fills["counterparty"].str.startswith("maker")].iloc[0]
    text = story(told, int(active.name))
    assert f"with {active['counterparty']}" in text
    assert f"fees of {active['fee']:.2f}" in text


def test_every_fill_has_a_story(told: EventTrace) -> None:
    for fill in told.fills:
        text = story(told, fill.number)
        assert text.startswith(f"Fill {fill.number} of episode 0: {told.names[fill.agent]} ")
        assert "nan" not in text


def test_marks_are_mids(told: EventTrace) -> None:
    """On the grid of steps the mid event by event is the Series' own, and marks are taken from it."""
    s = told.log.series
    for a in range(2):
        for t, mid in enumerate(s.mid[:, 0, a]):
            ns = round(t * s.cfg.market.dt * NS)
            if t:  # just before the next step's messages, which arrive at once
                assert told.mid_at(a, ns - 1) == mid
    fills = told.fill_table()
    late = fills["time"] + MARKS[-1] > s.time[-1]
    assert fills.loc[late, f"earned_{MARKS[-1]:g}s"].isna().all()
    assert fills.loc[~late, f"earned_{MARKS[-1]:g}s"].notna().all()


def test_tables_and_errors(told: EventTrace) -> None:
    tables = told.tables()
    assert set(tables) == {"events", "orders", "fills", "rewards", "positions", "market"}
    events = tables["events"]
    for a, book in enumerate(("X", "Y")):
        own = events[events["book"] == book]
        assert len(own) == sum(len(step[a]) for step in told.log.entries)
        assert own["time"].is_monotonic_increasing
        after = own.groupby("step").last()
        np.testing.assert_array_equal(after["best_bid"], told.log.series.best_bid[1:, 0, a][after.index])
    traded = events[events["event"] == "trade"].groupby("step")["lots"].sum()
    np.testing.assert_array_equal(traded, told.log.series.volume.sum(axis=(1, 2))[traded.index])
    assert isinstance(tables["positions"], pd.DataFrame)
    cfg: Config = told.log.cfg
    assert agent_number(cfg, "maker_1") == 1
    assert book_number(cfg, "Y") == 1
    with pytest.raises(ConfigError, match="there are maker_0, maker_1, taker_0, arbitrageur_0"):
        agent_number(cfg, "maker_2")
    with pytest.raises(ConfigError, match="there are X, Y"):
        book_number(cfg, "Z")
    with pytest.raises(ConfigError, match=f"numbered 0 to {len(told.fills) - 1}"):
        story(told, len(told.fills))
    with pytest.raises(ValueError, match="must be 0 to 2 of 3 episodes"):
        log_episode(cfg, busy(), 3, 3)
    assert follow(told.log).fill_table().equals(told.fill_table())
