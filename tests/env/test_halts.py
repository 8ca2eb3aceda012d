"""Halts: what a halted book does and takes; the circuit breaker at its threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import STILL, market, random_actions, started, still, still_actions, wait

from lobgraph.market import state as ms


def test_a_halted_book_does_not_change():
    agents = {"maker": {"count": 1, "max_size": 6}, "taker": {"count": 1, "target": 0, "max_size": 5}}
    halt = {"kind": "halt", "at": 4, "duration": 5, "books": ["X1"]}
    crash = {"kind": "crash", "at": 3, "duration": 9}
    env = started(market(halt, crash, agents=agents, env={"episode_steps": 20}), 8)
    rng = np.random.default_rng(0)
    for _ in range(4):
        env.step(random_actions(env, rng))
    names = ("qty", "order", "account", "head")
    kept = [c for c in range(ms.ACCOUNT) if not ms.PASSIVE_BOUGHT <= c < ms.CUT and c != ms.REFUSED]
    before = {name: getattr(env.state, name).copy() for name in names}
    for _ in range(5):
        actions = random_actions(env, rng)
        actions["maker"][..., 2] = 6.0  # none of its quotes only cancels
        env.step(actions)
        s = env.state
        np.testing.assert_array_equal(s.qty[:, 0], before["qty"][:, 0])
        np.testing.assert_array_equal(s.order[:, 0, :3], before["order"][:, 0, :3])
        np.testing.assert_array_equal(s.account[:, 0][..., kept], before["account"][:, 0][..., kept])
        assert not s.head[:, 0, [ms.OFI, ms.VOLUME, ms.SIGNED]].any()
        assert (s.head[:, 0, ms.EVENTS] == before["head"][:, 0, ms.EVENTS]).all()
        assert (s.head[:, 1:, ms.EVENTS] > before["head"][:, 1:, ms.EVENTS]).all()
    assert (env.state.account[:, 0, :2, ms.REFUSED] > 0).all()
    assert not env.state.account[:, 1:, :, ms.REFUSED].any()
    env.step(random_actions(env, rng))
    assert (env.state.head[:, 0, ms.EVENTS] > before["head"][:, 0, ms.EVENTS]).all()


def test_cancels_are_accepted_in_a_halt():
    env = still({"kind": "halt", "at": 1, "duration": 10}, agents={"maker": {"count": 1, "max_size": 10}})
    rest, refused = env.state.order[0, 0, ms.ORDER_REST], env.state.account[0, 0, 0]
    for quote, left, count in (
        ((2.0, 2.0, 8.0), [8, 8], 0),
        ((2.0, 2.0, 8.0), [8, 8], 0),  # as it stands
        ((2.0, 2.0, 9.0), [8, 8], 1),  # larger
        ((3.0, 2.0, 5.0), [8, 5], 2),  # one at another price, the other smaller
        ((0.0, 0.0, 0.0), [0, 0], 2),
        ((2.0, 2.0, 8.0), [0, 0], 3),
    ):
        env.step({"maker": torch.tensor([[[list(quote)]]])})
        assert rest.tolist() == left
        assert refused[ms.REFUSED] == count
    assert env.state.head[0, 0, ms.OWN_BID : ms.OWN_ASK + 1].tolist() == [0, 0]


def test_a_drawdown_in_a_halted_book_waits_until_it_trades():
    taker = {"count": 1, "target": 0, "max_size": 5, "risk": {"max_drawdown": 30.0}}
    env = still({"kind": "halt", "at": 1, "duration": 2}, agents={"taker": taker}, depth=50)
    env.step({"taker": torch.tensor([[[[1.0, 5.0]]]])})
    env.state.account[0, 0, 0, ms.CASH] -= 100
    for over, held in ((False, 5), (False, 5), (True, 0)):
        _, _, terminated, _, _ = env.step(still_actions(env))
        assert terminated["taker"].item() is over
        assert env.state.account[0, 0, 0, ms.INVENTORY] == held


# --- circuit breaker ---


def breaker(move: dict, lots: list[int], books: str = "own", **more) -> list[int]:
    """Whether the book is halted in the step after each of the taker's orders (+ buys), in a book of 10 lots a level."""
    rule = {**move, "window": 3, "halt": 2, "books": books, **more}
    taker = {"count": 1, "target": 0, "max_size": 100}
    env = still(agents={"taker": taker}, depth=10, circuit_breaker=rule)
    halted = []
    for n in lots:
        env.step({"taker": torch.tensor([[[[float(np.sign(n)), float(abs(n))]]]])})
        halted.append(int(env.state.stress[0, 0, ms.HALTED_UNTIL] >= env.state.clock[0, ms.STEP]))
    return halted


@pytest.mark.parametrize(
    ("rule", "lots", "halted"),
    [
        # 10 lots move the best price by a tick and the mid by half of one; the next decision sees it
        ({"move": 1.0}, [20, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ({"move": 1.0}, [30, 0, 0, 0, 0], [0, 1, 1, 0, 0]),
        ({"move": 1.0}, [-30, 0, 0, 0, 0], [0, 1, 1, 0, 0]),
        ({"percent": 0.1}, [20, 0, 0, 0], [0, 0, 0, 0]),  # 1 of 1000
        ({"percent": 0.1}, [30, 0, 0, 0], [0, 1, 1, 0]),
        ({"move": 1.0}, [10, 10, 10, 0, 0], [0, 0, 0, 1, 1]),  # over three steps
        ({"move": 1.0}, [10, 10, 0, 10, 0, 0], [0, 0, 0, 0, 0, 0]),  # the first has left the window
        ({"move": 1.0}, [30, 30, 30, 20, 0, 0], [0, 1, 1, 0, 0, 0]),  # refused in the halt; then the window is new
        ({"move": 1.0}, [30, 0, 0, 30, 0, 0], [0, 1, 1, 0, 1, 1]),
    ],
)  # fmt: skip
def test_the_breaker_halts_beyond_the_move_and_not_at_it(rule, lots, halted):
    assert breaker(rule, lots) == halted


def test_one_book_may_halt_all():
    for books, want in (("own", [True, False, False]), ("all", [True, True, True])):
        finger = {"kind": "fat_finger", "at": 2, "magnitude": 100, "books": ["X1"]}
        rule = {"move": 4.5, "window": 10, "halt": 4, "books": books}
        cfg = market(finger, flow={**STILL, "initial_depth": 10}, circuit_breaker=rule)
        env = started(cfg, 2)
        wait(env, 4)
        halted = env.state.stress[..., ms.HALTED_UNTIL] >= env.state.clock[:, None, ms.STEP]
        assert (halted == want).all()
        assert env.state.stress[..., ms.HALTS].tolist() == [[1, 0, 0]] * 2
