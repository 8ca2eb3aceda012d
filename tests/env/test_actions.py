"""Actions to messages: every role's decoding by hand, order of arrival, prices paid."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
import torch
from scenes import STILL, mids, one_book, random_actions, scene, still_actions

from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def messages(env: MarketEnv) -> np.ndarray:
    """(E, A, G, 6) of the step just made."""
    return env.state.message.copy()


def signed_orders(env: MarketEnv) -> np.ndarray:
    """(E, G, A) signed lots of market orders sent in the step just made."""
    m = messages(env)
    return np.where(m[..., ms.ACTION] == ms.ACT_MARKET, m[..., ms.MARKET_QTY], 0).swapaxes(1, 2)


@pytest.mark.parametrize("unit", [1.0, 0.5, 1.75])
def test_quotes_are_offsets_from_the_mid_rounded_away_from_it(unit):
    maker = {"count": 2, "quote_spread": unit, "max_offset": 8.0, "max_size": 7}
    env = MarketEnv(scene(agents={"maker": maker}), num_envs=6, seed=0)
    env.reset()
    rng = np.random.default_rng(1)
    for _ in range(10):
        mid = mids(env)
        actions = random_actions(env, rng)["maker"]
        actions = torch.round(actions * 64) / 64  # exact in the fixed point of the kernel
        env.step({"maker": actions})
        m = messages(env)
        for e, k, a in np.ndindex(6, 2, 3):
            low, high, size = (Fraction(float(x)) for x in actions[e, k, a])
            bid = floor(Fraction(mid[e, a]) - low * Fraction(unit))
            ask = ceil(Fraction(mid[e, a]) + high * Fraction(unit))
            bid = min(bid, ask - 1)
            lots = floor(size + Fraction(1, 2))
            assert m[e, a, k].tolist() == [ms.ACT_QUOTE, bid, lots, ask, lots, m[e, a, k, ms.MARKET_QTY]]


def test_quotes_never_cross_even_without_offsets():
    env = MarketEnv(scene(agents={"maker": {"count": 1, "post_only": False}}), num_envs=4, seed=0)
    env.reset()
    for _ in range(6):
        env.step({"maker": torch.tensor([0.0, 0.0, 5.0]).expand(4, 1, 3, 3)})
        m = messages(env)[..., 0, :]
        assert (m[..., ms.BID_PX] < m[..., ms.ASK_PX]).all()


@pytest.mark.parametrize(
    ("signal", "size", "want"),
    [(1.0, 4.0, 4), (0.31, 4.0, 4), (0.29, 4.0, 0), (-0.29, 4.0, 0), (-0.31, 2.4, -2), (-1.0, 2.6, -3), (1.0, 0.4, 0), (9.0, 99.0, 8)],
)  # fmt: skip
def test_takers_buy_sell_or_wait(signal, size, want):
    taker = {"count": 1, "max_size": 8, "threshold": 0.3, "target": 50, "target_books": ["X1", "Y"]}
    taker["stop_at_target"] = False
    env = MarketEnv(scene(agents={"taker": taker}), num_envs=1, seed=0)
    env.reset()
    env.step({"taker": torch.tensor([signal, size]).expand(1, 1, 3, 2)})
    assert signed_orders(env)[0, 0].tolist() == [want, 0, want]


def test_takers_stop_at_their_target_and_do_not_turn():
    taker = {"count": 1, "max_size": 8, "target": 10, "target_side": "buy"}
    env = MarketEnv(scene(agents={"taker": taker}, flow={**STILL, "initial_depth": 100}), num_envs=1, seed=0)
    env.reset()
    for signal, size, order, held in (
        (-1, 5, 0, 0),
        (1, 7, 7, 7),
        (1, 7, 3, 10),
        (-1, 8, -8, 2),
        (-1, 8, -2, 0),
    ):
        env.step({"taker": torch.tensor([signal, size]).float().expand(1, 1, 3, 2)})
        assert signed_orders(env)[0, 0].tolist() == [order] * 3
        assert env.snapshot()["inventory"][0].tolist() == [held] * 3


def test_takers_without_a_target_trade_both_ways():
    taker = {"count": 1, "max_size": 8, "target": 0}
    env = MarketEnv(scene(agents={"taker": taker}, flow={**STILL, "initial_depth": 100}), num_envs=1, seed=0)
    obs = env.reset()
    for signal, size, order, held in ((-1, 5, -5, -5), (1, 8, 8, 3), (0, 8, 0, 3)):
        obs, _, _, _, info = env.step({"taker": torch.tensor([signal, size]).float().expand(1, 1, 3, 2)})
        assert signed_orders(env)[0, 0].tolist() == [order] * 3
        assert env.snapshot()["inventory"][0].tolist() == [held] * 3
        assert env.snapshot()["remaining"][0].tolist() == [0] * 3
        assert float(info["terms"]["taker"][0, 0, 3]) == 0.0
    assert obs["taker"].nodes[..., -1].eq(0).all()


def arbitrageur(pairs, **changes) -> MarketEnv:
    section = {"count": 1, "max_size": 6, "threshold": 0.2, "pairs": pairs, **changes}
    env = MarketEnv(
        scene(agents={"arbitrageur": section}, flow={**STILL, "initial_depth": 100}), num_envs=1, seed=0
    )
    env.reset()
    return env


def send(env: MarketEnv, *rows: tuple[float, float, float]) -> list[int]:
    """Signed orders by book after (direction, close, size) for each pair."""
    env.step({"arbitrageur": torch.tensor(rows)[None, None]})
    return signed_orders(env)[0, 0].tolist()


def test_pairs_buy_one_leg_and_sell_the_other_and_net_in_a_book():
    env = arbitrageur([["X1", "X2"], ["X2", "Y"]])
    assert env.pairs.tolist() == [[0, 1], [1, 2]]
    assert send(env, (0.5, -1, 3), (0.1, -1, 5)) == [3, -3, 0]
    assert send(env, (0.5, -1, 3), (0.5, -1, 5)) == [3, -3 + 5, -5]
    assert send(env, (-0.5, -1, 4), (0.5, -1, 5)) == [-4, 9, -5]
    assert send(env, (0.5, -1, 5), (0.5, 0, 5)) == [5, 0, -5]
    assert env.snapshot()["inventory"][0].tolist() == [3 + 3 - 4 + 5, -3 + 2 + 9, -5 - 5 - 5]


def test_pairs_are_ordered_by_book():
    env = arbitrageur([["Y", "X1"]])
    assert env.pairs.tolist() == [[0, 2]]
    assert send(env, (0.5, -1, 3)) == [3, 0, -3]


def test_close_reduces_both_legs_and_opens_nothing():
    env = arbitrageur([["X1", "X2"]])
    assert send(env, (1, 1, 6)) == [0, 0, 0]
    send(env, (1, -1, 6)), send(env, (1, -1, 3))
    assert send(env, (1, 0.3, 4)) == [-4, 4, 0]
    assert send(env, (-1, 0.5, 4)) == [-4, 4, 0]
    assert send(env, (-1, 0.5, 4)) == [-1, 1, 0]
    assert send(env, (-1, 0.5, 4)) == [0, 0, 0]
    assert env.snapshot()["inventory"][0].tolist() == [0, 0, 0]
    assert send(env, (1, 0.1, 4)) == [4, -4, 0]  # a close signal below the threshold is none


def test_pairs_that_close_the_same_book_do_not_turn_its_position():
    """Held 4 in X1 from two pairs; both close up to 6: 4 are sold, not 8."""
    env = arbitrageur("all")
    send(env, (1, -1, 2), (1, -1, 2), (0, -1, 0))
    assert env.snapshot()["inventory"][0].tolist() == [4, -2, -2]
    send(env, (0, 1, 6), (0, 1, 6), (0, 1, 6))
    assert env.snapshot()["inventory"][0].tolist() == [0, 0, 0]


def test_agents_without_quotes_or_orders_send_nothing():
    env = MarketEnv(scene(), num_envs=3, seed=0)
    env.reset()
    env.step(random_actions(env, np.random.default_rng(0)))
    env.step(still_actions(env))
    assert not signed_orders(env).any()
    assert not env.state.order[:, :, ms.ORDER_REST].any()  # a maker's size 0 takes its quotes away


# --- order of arrival and price ---


def still_book(agents: dict, depth: int = 5) -> MarketEnv:
    market = {"maker_rebate": 0.0, "taker_fee": 0.0}
    env = MarketEnv(
        one_book(agents, flow={**STILL, "initial_depth": depth}, market=market), num_envs=64, seed=0
    )
    env.reset()
    return env


def taker(**changes) -> dict:
    return {"count": 1, "max_size": 12, "target": 50, "target_side": "buy", **changes}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_market_order_pays_the_levels_it_walks(sign):
    env = still_book({"taker": taker(target_side="buy" if sign > 0 else "sell")})
    best = env.snapshot()["best_ask" if sign > 0 else "best_bid"][0]
    env.step({"taker": torch.tensor([sign, 12.0]).expand(64, 1, 1, 2)})
    account = env.state.account[:, 0, 0]
    assert (account[:, ms.INVENTORY] == sign * 12).all()
    paid = 5 * best + 5 * (best + sign) + 2 * (best + 2 * sign)
    assert (account[:, ms.CASH] == -sign * paid).all()
    assert (env.state.head[:, 0, ms.TRADED] == 12).all()


def two_takers(env: MarketEnv, roles: tuple[str, str]) -> np.ndarray:
    """(64,) whether the first agent paid the better price when both buy the 5 lots of a level."""
    env.step({"taker": torch.tensor([1.0, 5.0]).expand(64, 2, 1, 2)})
    cash = env.state.account[:, 0, :2, ms.CASH]
    assert (np.abs(cash[:, 0] - cash[:, 1]) == 5).all()
    return cash[:, 0] > cash[:, 1]


def test_equal_latencies_arrive_in_random_order():
    for latency in (0.0, 0.4):
        firsts = []
        env = still_book({"taker": taker(count=2, latency=latency)}, depth=5)
        for episode in range(8):
            env.reset(seed=episode)
            firsts.append(two_takers(env, ("taker", "taker")))
        share = np.mean(firsts)
        assert abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(8 * 64)


@pytest.mark.parametrize("fast", ["maker", "taker"])
def test_lower_latency_comes_first(fast):
    """The maker quotes inside the spread at the moment the taker buys: it is hit only if it was there before."""
    agents = {
        "maker": {"count": 1, "latency": 0.1 if fast == "maker" else 0.6},
        "taker": taker(latency=0.3),
    }
    market = {"maker_rebate": 0.0, "taker_fee": 0.0}
    flow = {**STILL, "initial_depth": 5, "initial_spread": 8}
    env = MarketEnv(one_book(agents, flow=flow, market=market), num_envs=8, seed=0)
    env.reset()
    mid = mids(env)[0, 0]
    quote, order = torch.tensor([1.0, 1.0, 5.0]), torch.tensor([1.0, 5.0])
    env.step({"maker": quote.expand(8, 1, 1, 3), "taker": order.expand(8, 1, 1, 2)})
    paid = -env.state.account[:, 0, 1, ms.CASH]
    assert (paid == 5 * (mid + (1 if fast == "maker" else 4))).all()
    assert (env.state.account[:, 0, 0, ms.INVENTORY] == (-5 if fast == "maker" else 0)).all()


def test_latency_lets_the_noise_go_first():
    """At latency 0 a taker meets the book it saw; at .9 s the noise of most of the step has changed it."""
    paid = []
    for latency in (0.0, 0.9):
        cfg = one_book(
            {"taker": taker(latency=latency)}, flow={"market_rate": 6.0}, market={"taker_fee": 0.0}
        )
        env = MarketEnv(cfg, num_envs=200, seed=1)
        env.reset()
        best = env.state.head[:, 0, ms.ASK].copy()
        env.step({"taker": torch.tensor([1.0, 1.0]).expand(200, 1, 1, 2)})
        paid.append(-env.state.account[:, 0, 0, ms.CASH] - best)
    assert not paid[0].any()
    assert (paid[1] != 0).mean() > 0.3
