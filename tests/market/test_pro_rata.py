"""Pro-rata matching: cases worked by hand, on both engines; the configuration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from markets import config, steps
from parity import (
    POLICIES,
    fills_of,
    limit,
    make_book,
    market,
    place,
    take,
)  # fmt: skip
from parity import play as play_either

from lobgraph.env.market_env import MarketEnv
from lobgraph.market import book as bk
from lobgraph.market import state as ms
from lobgraph.validate.exchange import NOISE, Exchange


def play(*commands, self_trade="cancel_resting") -> Exchange:
    return play_either(*commands, matching="pro_rata", self_trade=self_trade)


# --- cases worked by hand ---


def standing(x: Exchange, agent: int, side: int) -> tuple[int, int]:
    """(lots, lots ahead) of an agent's order."""
    return x.own[agent, side].qty, x.ahead(x.own[agent, side])


def test_shares_in_proportion_and_the_remainder_in_time_order():
    """6 of 12 lots (noise 6, agents 3 and 3): floors 3, 1, 1; the sixth lot goes to whoever is first."""
    x = play(limit(1, -1, 6), place(0, 1, -1, 3), place(1, 1, -1, 3), market(-1, 6))
    assert fills_of(x) == [(NOISE, NOISE, -1, 999, 4), (0, NOISE, -1, 999, 1), (1, NOISE, -1, 999, 1)]
    assert (standing(x, 0, 1), standing(x, 1, 1)) == ((2, 2), (2, 4))
    x = play(place(0, 1, -1, 3), limit(1, -1, 6), place(1, 1, -1, 3), market(-1, 6))
    assert fills_of(x) == [(0, NOISE, -1, 999, 2), (NOISE, NOISE, -1, 999, 3), (1, NOISE, -1, 999, 1)]
    assert (standing(x, 0, 1), standing(x, 1, 1)) == ((1, 0), (2, 4))


def test_the_noise_is_one_participant_served_from_its_oldest_lots():
    """Noise 2, agent 0's 4, noise 6: a sale of 6 takes 4 noise lots, the 2 ahead of the agent among them, and 2 of its."""
    x = play(limit(1, -1, 2), place(0, 1, -1, 4), limit(1, -1, 6), market(-1, 6))
    assert fills_of(x) == [(NOISE, NOISE, -1, 999, 2), (0, NOISE, -1, 999, 2), (NOISE, NOISE, -1, 999, 2)]
    assert standing(x, 0, 1) == (2, 0)
    x = play(place(0, 1, -1, 4), *[limit(1, -1, 1)] * 4, market(-1, 4))  # single lots: 2 of 4, not 0 each
    assert x.own[0, 1].qty == 2


def test_a_level_that_is_taken_whole_fills_everyone():
    below = [limit(1, -2, 4), place(1, 1, -2, 4)]
    x = play(limit(1, -1, 2), place(0, 1, -1, 2), *below, market(-1, 8))
    assert (0, 1) not in x.own
    assert x.accounts[0].inventory == 2
    assert x.accounts[1].inventory == 2  # 4 of 8 at the next level
    assert standing(x, 1, 1) == (2, 2)


def test_the_largest_level_does_not_overflow():
    half = 1 << 29
    x = play(limit(1, -1, half), place(0, 1, -1, half), market(-1, 2 * half - 1))
    assert standing(x, 0, 1) == (1, 0)
    assert x.accounts[0].cash == -999 * (half - 1)


LADDER = [limit(-1, 1, 1), place(0, -1, 1, 3), limit(-1, 1, 2)]  # asks at 1001: noise 1, agent 0's 3, noise 2


@pytest.mark.parametrize(
    ("self_trade", "fills", "resting"),
    [
        ("allow", [(NOISE, 1), (0, 2), (NOISE, 1)], 1),
        ("cancel_resting", [(NOISE, 1), (NOISE, 2)], None),
        ("cancel_incoming", [], 3),
        ("cancel_both", [], None),
        ("decrement", [(NOISE, 1)], None),
    ],
)
def test_self_trade(self_trade, fills, resting):
    """An agent that buys 4 of 6 lots would get 2 of its own 3: they meet before anything trades at the level."""
    x = play(*LADDER, take(0, 1, 4), self_trade=self_trade)
    assert fills_of(x) == [(maker, 0, 1, 1001, qty) for maker, qty in fills]
    assert (x.own[0, -1].qty if (0, -1) in x.own else None) == resting


@pytest.mark.parametrize("self_trade", POLICIES)
def test_an_order_without_a_share_is_left_alone(self_trade):
    """One of 10 lots: every floor is 0 and the noise is first, so the agent's own lot is not met."""
    x = play(limit(-1, 1, 9), place(0, -1, 1, 1), take(0, 1, 1), self_trade=self_trade)
    assert fills_of(x) == [(NOISE, 0, 1, 1001, 1)]
    assert standing(x, 0, -1) == (1, 8)


# --- market.matching ---


def test_a_book_made_anew_keeps_its_matching():
    b = make_book("pro_rata")
    bk.clear.py_func(b, 10, 12)
    assert b.head[ms.MATCHING] == ms.PRO_RATA
    kept = [ms.BID, ms.ASK, ms.LOW, ms.MATCHING, ms.LOG_ROOM, ms.LOGGED]
    assert not np.delete(b.head[: ms.HEAD], kept).any()


def test_noise_among_itself_does_not_know_the_matching():
    def run(matching):
        env = MarketEnv(config(market={"matching": matching}), num_envs=2, seed=4)
        env.reset()
        return steps(
            env, 50, lambda: np.concatenate([env.state.qty[:, 0], env.state.head[:, 0, : ms.MATCHING]], 1)
        )

    np.testing.assert_array_equal(run("fifo"), run("pro_rata"))


@pytest.mark.parametrize("matching", ["fifo", "pro_rata"])
def test_the_setting_reaches_every_book(matching):
    """Makers join the best prices behind 400 noise lots, which market orders eat slowly: only pro rata fills them at once."""
    only_market_orders = {"intensity": 0.0, "cancel_rate": 0.0, "initial_depth": 400, "warmup": 0.0}
    makers = {"count": 2, "max_size": 100, "risk": {"max_inventory": 1000}}
    cfg = config(
        only_market_orders, market={"matching": matching}, agents={"maker": makers}, env={"episode_steps": 5}
    )
    env = MarketEnv(cfg, num_envs=4, seed=1)
    env.reset()
    spec = env.specs["maker"]
    quotes = {"bid_offset": 1.0, "ask_offset": 1.0, "size": 100.0}
    action = torch.tensor([quotes[name] for name in spec.action_names]).expand(4, 2, 1, -1)
    filled = quoted = 0
    for _ in range(12):  # two episodes end on the way
        env.step({"maker": action.contiguous()})
        s = env.state
        assert (s.head[..., ms.MATCHING] == (matching == "pro_rata")).all()
        assert not s.account[..., ms.INVENTORY].sum(-1).any()
        assert not s.account[..., ms.CASH].sum(-1).any()
        rest, px, ahead = (s.order[:, :, k] for k in (ms.ORDER_REST, ms.ORDER_PX, ms.ORDER_AHEAD))
        there = np.take_along_axis(s.qty, px & (s.qty.shape[2] - 1), axis=2)
        assert (ahead + rest <= there)[rest > 0].all()
        quoted += (rest > 0).all()
        filled += s.account[:, :, :2, ms.PASSIVE_BOUGHT : ms.PASSIVE_BOUGHT + 2].sum()
    assert quoted == 10  # all but the steps that start an episode
    assert (filled > 0) == (matching == "pro_rata")
