"""Rewards recomputed by hand from the accounts, money and lots that balance, limits that hold, fills that come."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import STILL, Accounts, mids, one_book, random_actions, scene, still_actions

from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def quotes_within(env: MarketEnv, distance: float) -> np.ndarray:
    """(E, G) share of books with both quotes within `distance` of the mid."""
    order = env.state.order
    rest, px = order[:, :, ms.ORDER_REST], order[:, :, ms.ORDER_PX]
    mid = mids(env)[..., None]
    bid = (rest[..., 0::2] > 0) & (mid - px[..., 0::2] <= distance)
    ask = (rest[..., 1::2] > 0) & (px[..., 1::2] - mid <= distance)
    return (bid & ask).mean(axis=1)


def terms_by_hand(env: MarketEnv, before: Accounts, after: Accounts) -> dict[str, np.ndarray]:
    """(E, K, 4) by role, in the order of reward_terms."""
    agents, held, terms = env.cfg.agents, after.inventory, {}
    target = env.state.target
    sign = np.sign(target)
    left = np.maximum(sign * (target - held), 0)
    own = {
        "maker": agents.maker.liquidity_reward * quotes_within(env, agents.maker.presence_distance),
        "taker": -agents.taker.delay_penalty * left.sum(axis=2),
        "arbitrageur": -agents.arbitrageur.unhedged_penalty * np.abs(held.sum(axis=2)),
    }
    for role, s in env.specs.items():
        penalty = getattr(agents, role).inventory_penalty * (held.astype(float) ** 2).sum(axis=2)
        gain = after.equity - before.equity
        if role == "taker":
            share = {
                "mtm": 0.0,
                "arrival": 1.0,
                "twap": env.state.clock[:, ms.STEP] / env.cfg.env.episode_steps,
            }
            moved = (target * (after.mid - before.mid)[:, None]).sum(axis=2)  # (E, G)
            gain = gain - np.reshape(share[agents.taker.benchmark], (-1, 1)) * moved
        terms[role] = np.stack([gain, before.fees - after.fees, -penalty, own[role]], axis=-1)[:, s.agents]
    return terms


PENALISED = {
    "maker": {"count": 2, "max_size": 6, "inventory_penalty": 0.01, "liquidity_reward": 0.5, "presence_distance": 3.0},
    "taker": {"count": 2, "max_size": 8, "target": 60, "inventory_penalty": 0.003, "delay_penalty": 0.07, "target_books": ["X2", "Y"]},
    "arbitrageur": {"count": 2, "max_size": 5, "inventory_penalty": 0.02, "unhedged_penalty": 0.03},
}  # fmt: skip


@pytest.mark.parametrize(
    ("mark", "benchmark", "seed"),
    [("others", "arrival", 0), ("others", "mtm", 1), ("mid", "twap", 2), ("mid", "arrival", 3)],
)
def test_rewards_are_the_formulas_of_the_accounts(mark, benchmark, seed):
    """Every term of every role, step by step over episodes: nothing of an old episode is in a new one's first reward."""
    market = {**scene().market.model_dump(), "mark": mark}
    agents = {**PENALISED, "taker": {**PENALISED["taker"], "benchmark": benchmark}}
    env = MarketEnv(scene(agents=agents, env={"episode_steps": 9}, market=market), num_envs=5, seed=seed)
    env.reset()
    rng = np.random.default_rng(seed)
    sums = dict.fromkeys(env.specs, 0.0)
    for step in range(30):
        before = Accounts(env)
        if step % 9 == 0:
            assert not before.equity.any()
            assert not before.fees.any()
            assert not before.inventory.any()
        _, reward, _, _, info = env.step(random_actions(env, rng))
        if not info["done"].any():
            for role, want in terms_by_hand(env, before, Accounts(env)).items():
                np.testing.assert_allclose(
                    info["terms"][role].numpy(), want, rtol=1e-5, atol=1e-6, err_msg=role
                )
        for role in env.specs:
            np.testing.assert_allclose(reward[role], info["terms"][role].sum(-1), rtol=1e-5, atol=1e-5)
            sums[role] = sums[role] + info["terms"][role].double().numpy()
        if info["done"].all():
            for role in env.specs:
                e, got = info["episodes"], sums[role]
                if role == "taker" and benchmark != "mtm":
                    sums[role] = 0.0
                    continue
                np.testing.assert_allclose(got[..., 0] + got[..., 1], e["equity"][role], atol=1e-3)
                np.testing.assert_array_equal(got[..., 0] * 2 % 1, 0)  # half tick-lots, exactly
                sums[role] = 0.0


@pytest.mark.parametrize("role", ["maker", "arbitrageur"])
def test_marks_to_market_add_up_to_the_final_equity_exactly(role):
    agents = {role: {"count": 2, "max_size": 9, "risk": {"max_inventory": 50}}}
    market = {"maker_rebate": 0.0, "taker_fee": 0.0}
    env = MarketEnv(
        scene(agents=agents, market={**scene().market.model_dump(), **market}), num_envs=6, seed=1
    )
    env.reset()
    rng, total = np.random.default_rng(0), np.zeros((6, 2))
    for _ in range(12):
        _, _, _, _, info = env.step(random_actions(env, rng))
        total += info["terms"][role][..., 0].double().numpy()
    np.testing.assert_array_equal(total, info["episodes"]["equity"][role])
    assert total.any()


def test_rewards_hold_when_another_agents_liquidation_moves_the_mid():
    """All agents are marked after the step's liquidations, also those that come before the liquidated one."""
    risk = {"max_inventory": 20, "max_drawdown": 150.0}
    taker = {"count": 3, "max_size": 10, "target": 20, "target_side": "buy", "risk": risk}
    env = MarketEnv(one_book({"taker": taker}, flow={**STILL, "initial_depth": 3}), num_envs=1, seed=0)
    env.reset()
    actions = still_actions(env)
    actions["taker"][:] = torch.tensor([1.0, 3.0])
    env.step(actions)  # all hold 3
    before, mid = Accounts(env), mids(env).item()
    env.state.account[:, 0, 1, ms.CASH] -= 500  # the second loses all it may
    _, _, terminated, _, info = env.step(still_actions(env))
    after = Accounts(env)
    assert terminated["taker"].flatten().tolist() == [False, True, False]
    assert mids(env).item() < mid
    want = terms_by_hand(env, before, after)["taker"][..., 0]
    np.testing.assert_allclose(info["terms"]["taker"][..., 0], want, atol=1e-4)
    assert not env.step(still_actions(env))[4]["terms"]["taker"][..., 0].any()


def test_delay_counts_what_is_filled_not_what_is_asked():
    """A thin still book: 3 of the 10 lots asked for can be had, then none."""
    taker = {"count": 1, "target": 30, "max_size": 10, "target_side": "buy", "delay_penalty": 1.0}
    market = {"maker_rebate": 0.0, "taker_fee": 0.0}
    flow = {**STILL, "initial_depth": 3, "limit_rates": [0.0]}  # one level a side
    env = MarketEnv(one_book({"taker": taker}, flow=flow, market=market), num_envs=1, seed=0)
    env.reset()
    actions = {"taker": torch.tensor([[[[1.0, 10.0]]]])}
    for held in (3, 3):
        _, _, _, _, info = env.step(actions)
        assert env.snapshot()["inventory"].item() == held
        assert env.snapshot()["remaining"].item() == 30 - held
        assert info["terms"]["taker"][0, 0, 3] == -(30 - held)
    assert env.state.head[0, 0, ms.UNFILLED] == 17


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
@pytest.mark.parametrize(("stop", "held"), [(True, 5), (False, 8)])
def test_a_target_reached_leaves_nothing_to_do(side, sign, stop, held):
    taker = {
        "count": 1,
        "target": 5,
        "max_size": 10,
        "target_side": side,
        "delay_penalty": 1.0,
        "stop_at_target": stop,
    }
    env = MarketEnv(one_book({"taker": taker}, flow={**STILL, "initial_depth": 50}), num_envs=1, seed=0)
    env.reset()
    _, _, _, _, info = env.step({"taker": torch.tensor([[[[float(sign), 8.0]]]])})
    assert env.snapshot()["inventory"].item() == held * sign
    assert env.snapshot()["remaining"].item() == 0
    assert info["terms"]["taker"][0, 0, 3] == 0.0


def test_a_maker_cannot_raise_its_own_mark():
    """Long 10 and alone at a bid inside the spread: worth no more, unless inventory is marked at the mid itself."""
    for mark, gain in (("others", 0.0), ("mid", 10 * 1.5)):
        cfg = one_book(
            {"maker": {"count": 1, "inventory_penalty": 0.0, "liquidity_reward": 0.0}},
            flow={**STILL, "initial_depth": 9, "initial_spread": 8}, market={"mark": mark},
        )  # fmt: skip
        env = MarketEnv(cfg, num_envs=1, seed=0)
        env.reset()
        env.state.account[0, 0, 0, ms.INVENTORY] = 10
        env.step(still_actions(env))
        _, reward, *_ = env.step({"maker": torch.tensor([1.0, 8.0, 5.0]).expand(1, 1, 1, 3)})
        assert env.snapshot()["quotes"][0, 0, 0, 0] == env.snapshot()["best_bid"][0]
        assert reward["maker"].item() == gain


def test_targets_have_both_sides_and_only_their_books():
    env = MarketEnv(scene(agents=PENALISED), num_envs=200, seed=0)
    env.reset()
    target = env.state.target[:, 2:4]
    assert not env.state.target[:, :2].any()
    assert not target[..., 0].any()
    assert set(np.unique(target[..., 1:])) == {-60, 60}
    assert abs((target[..., 1:] > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(800)


# --- what must balance ---


@pytest.mark.parametrize("self_trade", ["cancel_resting", "allow"])
def test_lots_and_cash_are_conserved(self_trade):
    agents = {**PENALISED, "maker": PENALISED["maker"] | {"post_only": False, "latency": 0.3}}
    market = {**scene().market.model_dump(), "self_trade": self_trade}
    env = MarketEnv(scene(agents=agents, market=market, env={"episode_steps": 200}), num_envs=16, seed=2)
    env.reset()
    rng = np.random.default_rng(0)
    one_sided = 0
    for _ in range(150):
        env.step(random_actions(env, rng))
        h, s = env.state.head, env.state
        assert not s.account[..., ms.INVENTORY].sum(axis=2).any()
        assert not s.account[..., ms.CASH].sum(axis=2).any()
        lots = s.qty.sum(axis=2, dtype=np.int64)
        np.testing.assert_array_equal(
            lots, h[..., [ms.ADDED]].sum(-1) - h[..., [ms.CANCELLED, ms.TRADED, ms.DROPPED]].sum(-1)
        )
        np.testing.assert_array_equal(lots, h[..., ms.NOISE_BID : ms.OWN_ASK + 1].sum(-1))
        assert (s.qty >= 0).all()
        assert (h[..., ms.BID] < h[..., ms.ASK]).all(), "crossed"
        rest = s.order[:, :, ms.ORDER_REST]
        np.testing.assert_array_equal(rest[..., 0::2].sum(-1), h[..., ms.OWN_BID])
        np.testing.assert_array_equal(rest[..., 1::2].sum(-1), h[..., ms.OWN_ASK])
        one_sided += (h[..., ms.NOISE_BID : ms.NOISE_ASK + 1] == 0).any(axis=-1).sum()
        w = s.qty.shape[2]
        px = s.order[:, :, ms.ORDER_PX]
        level = np.take_along_axis(s.qty, px & (w - 1), axis=2)
        assert (s.order[:, :, ms.ORDER_AHEAD] + rest <= level)[rest > 0].all()
        assert (px[rest > 0] >= np.broadcast_to(h[..., ms.LOW, None], px.shape)[rest > 0]).all()
    assert one_sided <= 0.01 * 150 * h[..., 0].size
    assert env.state.account[:, :, :2, ms.PASSIVE_NOTIONAL].any()


def test_fees_follow_the_notional_and_post_only_makers_pay_none():
    env = MarketEnv(scene(env={"episode_steps": 100}), num_envs=8, seed=2)
    env.reset()
    rng = np.random.default_rng(0)
    fees = dict.fromkeys(env.specs, 0.0)
    for _ in range(80):
        *_, info = env.step(random_actions(env, rng))
        for role in env.specs:
            fees[role] = fees[role] + info["terms"][role][..., 1].double().numpy()
    account = env.state.account.sum(axis=1)
    assert not account[:, :2, ms.AGGRESSIVE_NOTIONAL].any()
    assert not account[:, 2:5, ms.PASSIVE_NOTIONAL].any()
    np.testing.assert_allclose(fees["maker"], 0.0002 * account[:, :2, ms.PASSIVE_NOTIONAL], rtol=1e-4)
    np.testing.assert_allclose(fees["taker"], -0.0005 * account[:, 2:3, ms.AGGRESSIVE_NOTIONAL], rtol=1e-4)
    np.testing.assert_allclose(
        fees["arbitrageur"], -0.0005 * account[:, 3:5, ms.AGGRESSIVE_NOTIONAL], rtol=1e-4
    )
    assert (fees["maker"] > 0).all()


# --- limits ---


def test_the_inventory_limit_is_never_broken_and_cuts_are_counted():
    tight = {
        "maker": {
            "count": 2,
            "max_size": 9,
            "max_offset": 2.0,
            "post_only": False,
            "risk": {"max_inventory": 7},
        },
        "taker": {
            "count": 1,
            "max_size": 30,
            "target": 11,
            "stop_at_target": False,
            "risk": {"max_inventory": 11},
        },
        "arbitrageur": {"count": 2, "max_size": 6, "pairs": "all", "risk": {"max_inventory": 4}},
    }
    limits = np.array([7, 7, 11, 4, 4])
    env = MarketEnv(scene(agents=tight, env={"episode_steps": 300}), num_envs=16, seed=2)
    env.reset()
    rng = np.random.default_rng(0)
    reached = np.zeros(5, bool)
    for _ in range(200):
        env.step(random_actions(env, rng))
        held = np.abs(env.state.account[:, :, :-1, ms.INVENTORY])
        assert (held <= limits).all()
        reached |= (held == limits).any(axis=(0, 1))
        rest = env.state.order[:, :, ms.ORDER_REST]
        assert (rest[..., 0::2] + env.state.account[:, :, :-1, ms.INVENTORY] <= limits).all()
    assert reached.all()
    assert (env.state.account[:, :, :-1, ms.CUT] > 0).any(axis=(0, 1)).all()


def test_cuts_by_hand():
    """A limit of 12: buys of 8 become 8, 4, 0, and quotes of 5 a bid of 0 and an ask of 5."""
    taker = {"count": 1, "target": 10, "max_size": 8, "stop_at_target": False, "risk": {"max_inventory": 12}}
    maker = {"count": 1, "max_size": 5, "risk": {"max_inventory": 3}}
    cfg = one_book({"maker": maker, "taker": taker}, flow={**STILL, "initial_depth": 50})
    env = MarketEnv(cfg, num_envs=1, seed=0)
    env.reset()
    actions = still_actions(env)
    actions["taker"][:] = torch.tensor([1.0, 8.0])
    for held, cut in ((8, 0), (12, 4), (12, 12)):
        env.step(actions)
        assert env.state.account[0, 0, 1, [ms.INVENTORY, ms.CUT]].tolist() == [held, cut]
    actions = still_actions(env)
    actions["maker"][:] = torch.tensor([2.0, 2.0, 5.0])
    env.state.account[0, 0, 0, ms.INVENTORY] = 3
    env.step(actions)
    assert env.snapshot()["quotes"][0, 0, :, 1].tolist() == [0, 5]
    assert env.state.account[0, 0, 0, ms.CUT] == 5


# --- fills ---


def test_makers_are_filled():
    """Quoting one tick from the mid in a lively market: a fill in most steps, at the quoted price."""
    cfg = one_book({"maker": {"count": 1, "max_size": 5}}, market={"maker_rebate": 0.0}, flow={"warmup": 20.0},
                   env={"episode_steps": 500})  # fmt: skip
    env = MarketEnv(cfg, num_envs=8, seed=0)
    env.reset()
    actions = {"maker": torch.tensor([1.0, 1.0, 3.0]).expand(8, 1, 1, 3)}
    bought = sold = 0
    for _ in range(200):
        env.step(actions)
        account = env.state.account[:, 0, 0]
        bought, sold = bought + account[:, ms.PASSIVE_BOUGHT].sum(), sold + account[:, ms.PASSIVE_SOLD].sum()
        assert (account[:, ms.PASSIVE_BOUGHT] <= 3).all()
    assert min(bought, sold) > 0.3 * 8 * 200


def test_a_maker_is_filled_by_another_agents_order():
    """The maker stands alone at the best ask of a still book; the taker takes it at that price."""
    agents = {
        "maker": {"count": 1, "max_size": 4},
        "taker": {"count": 1, "max_size": 6, "target": 10, "target_side": "buy", "latency": 0.5},
    }
    flow = {**STILL, "initial_depth": 9, "initial_spread": 6}
    env = MarketEnv(
        one_book(agents, flow=flow, market={"maker_rebate": 0.001, "taker_fee": 0.002}), num_envs=1, seed=0
    )
    env.reset()
    mid = mids(env).item()
    env.step({"maker": torch.tensor([[[[1.0, 1.0, 4.0]]]]), "taker": torch.tensor([[[[1.0, 6.0]]]])})
    maker, taker = env.state.account[0, 0, 0], env.state.account[0, 0, 1]
    assert (maker[ms.INVENTORY], maker[ms.CASH]) == (-4, 4 * (mid + 1))
    assert (taker[ms.INVENTORY], taker[ms.CASH]) == (6, -4 * (mid + 1) - 2 * (mid + 3))
    assert env.snapshot()["fills_passive"][:, 0].tolist() == [-4, 0]
    assert env.snapshot()["fills_aggressive"][:, 0].tolist() == [0, 6]


def test_quotes_last_and_keep_their_place_while_nothing_changes():
    """The same quotes at a still mid, step after step: the queue ahead only falls."""
    cfg = one_book(
        {"maker": {"count": 1, "max_size": 5}}, flow={**STILL, "initial_depth": 40, "cancel_rate": 0.05}
    )
    env = MarketEnv(cfg, num_envs=4, seed=0)
    env.reset()
    actions = {"maker": torch.tensor([2.0, 2.0, 5.0]).expand(4, 1, 1, 3)}
    ahead = np.full((4, 2), 1000)
    for _ in range(8):
        env.step(actions)
        now = env.state.order[:, 0, ms.ORDER_AHEAD]
        assert (now <= ahead).all()
        ahead = now.copy()
    assert (ahead < 40).all()
    assert (ahead > 0).all()
