"""What a taker with a target is paid for, and the rules and the sight it trades by: by hand, and against the measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import STILL, one_book, random_actions, scene

from lobgraph.agents.view import View
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.observe import node_feature_names
from lobgraph.evaluation.evaluate import outcomes
from lobgraph.evaluation.record import play
from lobgraph.market import state as ms

FREE_OF_FEES = {"maker_rebate": 0.0, "taker_fee": 0.0}


def still_taker(steps: int = 4, depth: int = 10, **changes) -> MarketEnv:
    """A buyer of 20 lots alone in a still book at 999 / 1001, `depth` lots a level."""
    taker = {"count": 1, "max_size": 10, "target": 20, "target_side": "buy", "delay_penalty": 0.0, **changes}
    flow = {**STILL, "initial_depth": depth, "initial_spread": 2}
    env = MarketEnv(
        one_book(
            {"taker": taker}, flow=flow, market=FREE_OF_FEES, env={"episode_steps": steps, "threads": 1}
        ),
        num_envs=1,
    )
    env.reset()
    return env


def terms(env: MarketEnv, *orders: tuple[float, float]) -> list[float]:
    """The taker's first reward term after each order (direction, size)."""
    steps = (env.step({"taker": torch.tensor(order).reshape(1, 1, 1, 2)})[4] for order in orders)
    return [info["terms"]["taker"][0, 0, 0].item() for info in steps]


@pytest.mark.parametrize(("side", "sign"), [("buy", 1.0), ("sell", -1.0)])
@pytest.mark.parametrize(
    ("benchmark", "want"),
    # Mid 1000. 10 lots at 1001 empty that level: the mid is 1000.5. 4 lots at 1002, of 10 there: it stays.
    # arrival: 10 lots a tick above the mid they were marked at, and 10 left that cost .5 more: -10 - 5; then 4 at 1.5.
    # twap: the paper portfolio has 5 of its 20 lots after the first of 4 decisions: -10 + 5 - 5 / 2.
    # mtm: 10 lots cost 10 ticks and gain .5 each.
    [("arrival", [-15.0, -6.0, 0.0]), ("twap", [-7.5, -6.0, 0.0]), ("mtm", [-5.0, -6.0, 0.0])],
)  # fmt: skip
def test_terms_by_hand(side, sign, benchmark, want):
    env = still_taker(target_side=side, benchmark=benchmark)
    assert terms(env, (sign, 10), (sign, 4), (0, 0)) == want


def test_the_first_term_is_named_by_what_it_sums_to():
    names = {b: still_taker(benchmark=b).specs["taker"].reward_terms[0] for b in ("arrival", "twap", "mtm")}
    assert names == {"arrival": "shortfall", "twap": "slippage", "mtm": "mtm"}
    assert still_taker(target=0).specs["taker"].reward_terms[0] == "mtm"


def test_without_a_target_nothing_is_measured_against():
    """Bought 10 of 10 at 1001, mid 1000 to 1000.5: 10 lots gained half a tick, after they cost one."""
    assert terms(still_taker(target=0), (1, 10)) == [-5.0]


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("drawdown", [None, 60.0])
def test_rewards_sum_to_the_shortfall(finish, drawdown):
    """Random orders in a lively market: minus the sum over an episode is the measure `shortfall` times the target's lots,

    whether all of it was traded or not, and where an agent was liquidated on the way.
    """
    taker = {"count": 2, "max_size": 4, "target": 30, "delay_penalty": 0.0, "must_finish": finish,
             "target_books": ["X2", "Y"], "risk": {"max_inventory": 100, "max_drawdown": drawdown}}  # fmt: skip
    cfg = scene(
        agents={"maker": {"count": 1, "max_size": 6}, "taker": taker}, env={"episode_steps": 20, "threads": 1}
    )
    rng = np.random.default_rng(0)

    def act(obs):
        shape = (len(obs["taker"].nodes), 2, 3, 1)
        return np.concatenate([rng.uniform(-0.6, 1, shape), rng.uniform(0, 4, shape)], -1).astype(np.float32)

    for series in play(cfg, {"taker": act, "maker": "fixed_spread"}, episodes=40, seed=3):
        table = outcomes(series)
        table = table[table["role"] == "taker"]
        np.testing.assert_allclose(-table["terms/shortfall"], table["shortfall"] * 60, atol=1e-3)
        done = table["completion"] == 1.0
        assert not done.all() or finish
        if finish and drawdown is None:
            assert done.all()
        if drawdown is not None:
            assert (table["length"] < 20).any()


def orders(env: MarketEnv, *actions: tuple[float, float]) -> list[int]:
    """Signed lots sent after each action (direction, size)."""
    sent = []
    for action in actions:
        env.step({"taker": torch.tensor(action).reshape(1, 1, 1, 2)})
        m = env.state.message[0, 0, 0]
        sent.append(int(m[ms.MARKET_QTY]) if m[ms.ACTION] == ms.ACT_MARKET else 0)
    return sent


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_must_finish_by_hand(side, sign):
    """20 lots, 5 decisions, 6 a decision: after the first, 4 x 6 can still do it; 2 of them must come with the second."""
    rules = {"target_side": side, "max_size": 6, "must_finish": True}
    env = still_taker(steps=5, depth=100, **rules)
    waits = (0.1 * sign, 6)
    assert orders(env, waits, waits, waits, waits, waits) == [0, 2 * sign, 6 * sign, 6 * sign, 6 * sign]
    env = still_taker(steps=5, depth=100, **rules)
    away, towards = (-sign, 6), (sign, 5)
    assert orders(env, towards, away, towards, towards, away) == [5 * sign, 0, 5 * sign, 5 * sign, 5 * sign]
    env = still_taker(steps=5, depth=100, **rules)
    assert orders(env, *[(0.0, 6)] * 5) == [0] * 5  # a direction of exactly 0: nobody is there


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_mirrored_directions_are_towards_the_target(side, sign):
    env = still_taker(depth=100, target_side=side, mirror=True)
    assert orders(env, (1, 5), (-1, 2), (0.1, 5)) == [5 * sign, -2 * sign, 0]
    view = View(env, "taker")
    env.step({"taker": view.trade(sign * 4)})
    assert env.state.message[0, 0, 0, ms.MARKET_QTY] == sign * 4  # a strategy speaks of lots, whoever mirrors


def test_sellers_see_the_book_from_their_side():
    """What a mirrored seller sees is what it would see unmirrored with buys for sells; buyers and makers see no change."""
    agents = {
        "maker": {"count": 1, "max_size": 6},
        "taker": {"count": 2, "max_size": 8, "target": 60, "target_books": ["X2", "Y"]},
        "arbitrageur": {"count": 1, "pairs": "all"},
    }
    plain = MarketEnv(scene(agents=agents), num_envs=6, seed=1)
    mirrored = MarketEnv(
        scene(agents={**agents, "taker": agents["taker"] | {"mirror": True}}), num_envs=6, seed=1
    )
    one, two = plain.reset(), mirrored.reset()
    sells = plain.state.target[:, plain.specs["taker"].agents] < 0  # (E, K, A)
    assert sells.any(axis=(0, 1)).tolist() == [False, True, True]
    rng = np.random.default_rng(0)
    for _ in range(6):
        actions = random_actions(plain, rng)
        one = plain.step(actions)[0]
        turned = actions["taker"].clone()
        turned[..., 0] = torch.where(torch.from_numpy(sells), -turned[..., 0], turned[..., 0])
        two = mirrored.step(actions | {"taker": turned})[0]
    names = {n: i for i, n in enumerate(node_feature_names())}
    for role in ("maker", "arbitrageur"):
        assert all(torch.equal(x, y) for x, y in zip(one[role], two[role], strict=True))
    seen, saw = one["taker"].nodes.numpy(), two["taker"].nodes.numpy()
    np.testing.assert_array_equal(saw[~sells], seen[~sells])
    signed = ["move", "drift", "gap_slow", "gap_venues", "imbalance", "depth_imbalance", "order_flow", "trade_flow",
              "inventory", "remaining"]  # fmt: skip
    swapped = {"bid_size": "ask_size", "bid_depth": "ask_depth", "bid_distance": "ask_distance",
               "bid_share": "ask_share", "bid_queue": "ask_queue"}  # fmt: skip
    swapped |= {b: a for a, b in swapped.items()}
    for name, i in names.items():
        j = names[swapped.get(name, name)]
        np.testing.assert_array_equal(
            saw[sells][:, i], (-1 if name in signed else 1) * seen[sells][:, j], name
        )
    assert (saw[..., names["remaining"]][:, :, 1:] >= 0).all()
    assert set(names) - set(signed) - set(swapped) == {"spread", "volatility"}
