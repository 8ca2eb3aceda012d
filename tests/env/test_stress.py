"""What events do, by hand and by count; what they leave alone; who sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import (
    NOBODY,
    STILL,
    equal_obs,
    market,
    mids,
    random_actions,
    scene,
    started,
    still,
    still_actions,
    wait,
)

from lobgraph.config import ConfigError
from lobgraph.env.market_env import MarketEnv
from lobgraph.market import state as ms


def never(event: dict) -> dict:
    return {k: v for k, v in event.items() if k != "rate"} | {"at": "never"}


# --- what they do ---


@pytest.mark.parametrize(("side", "sign"), [("sell", -1), ("buy", 1)])
def test_a_fat_finger_takes_exactly_its_lots(side, sign):
    """50 lots at 12 a level: four levels and 2 lots of the fifth, in its own step and in no other."""
    env = still({"kind": "fat_finger", "at": 2, "magnitude": 50, "side": side})
    wait(env, 2)
    head = env.state.head[0, 0]
    assert head[ms.TRADED] == 0
    wait(env, 1)
    assert (head[ms.TRADED], head[ms.SIGNED], head[ms.VOLUME]) == (50, sign * 50, 50)
    best, w = head[ms.BID if sign < 0 else ms.ASK], env.state.qty.shape[2]
    assert best == 1000 + sign * 5
    assert env.state.qty[0, 0, best & (w - 1)] == 10
    wait(env, 3)
    assert head[ms.TRADED] == 50


def test_a_fat_finger_meets_the_quotes_of_the_decision_before():
    env = still({"kind": "fat_finger", "at": 1, "magnitude": 20}, agents={"maker": {"count": 1}})
    env.step({"maker": torch.tensor([[[[0.5, 0.5, 6.0]]]])})
    env.step(still_actions(env))  # which would have cancelled
    assert env.state.account[0, 0, 0, ms.INVENTORY] == 6
    assert not env.state.account[..., ms.CASH].sum()


@pytest.mark.parametrize(
    ("side", "shares"), [("both", (0.3, 0.3)), ("buy", (0.3, 0.0)), ("sell", (0.0, 0.3))]
)
def test_a_drought_withdraws_its_share(side, shares):
    """Of the noise's lots, level by level; an agent's order stays and moves up."""
    agents = {"maker": {"count": 1, "max_size": 10}}
    env = still({"kind": "drought", "at": 1, "withdraw": 0.3, "side": side}, agents=agents)
    quotes = {"maker": torch.tensor([[[[2.0, 2.0, 10.0]]]])}
    env.step(quotes)
    head, order = env.state.head[0, 0], env.state.order[0, 0]
    before, ahead = head[ms.NOISE_BID : ms.NOISE_ASK + 1].copy(), order[ms.ORDER_AHEAD].copy()
    levels = env.state.qty[0, 0].copy()
    env.step(quotes)
    for k, share in enumerate(shares):
        assert head[ms.NOISE_BID + k] == before[k] - int(before[k] * round(share * 65536) / 65536)
        assert (order[ms.ORDER_AHEAD, k] < ahead[k]) == (share > 0)
    assert order[ms.ORDER_REST].tolist() == [10, 10]
    gone = levels - env.state.qty[0, 0]
    assert set(np.unique(gone)) <= {0, 3, 4}
    assert head[ms.CANCELLED] == gone.sum()


def counts(env: MarketEnv, steps: int) -> np.ndarray:
    """(6,) noise events by type over these steps, all environments and books."""
    total = np.zeros(6, np.int64)
    for _ in range(steps):
        wait(env, 1)
        total += env.state.head[..., ms.COUNT : ms.COUNT + 6].sum(axis=(0, 1))
    return total


@pytest.mark.parametrize(
    ("event", "kind", "factors"),
    [
        ({"kind": "crash", "magnitude": 6, "side": "sell"}, ms.KIND_MARKET, (1.0, 6.0)),
        ({"kind": "crash", "magnitude": 3, "side": "both"}, ms.KIND_MARKET, (3.0, 3.0)),
        ({"kind": "drought", "magnitude": 0.75, "side": "buy", "withdraw": 0}, ms.KIND_LIMIT, (0.25, 1.0)),
    ],
)
def test_rates_are_multiplied_while_it_lasts(event, kind, factors):
    """Counts of the orders concerned, 48 markets, 10 s of the event in the middle: within 4.5 deviations of Poisson's."""
    flow = {"intensity": 10.0, "market_rate": 1.5, "tilt": 0.0, "warmup": 5.0}
    cfg = market({"at": 5, "duration": 10, **event}, flow=flow, env={"episode_steps": 25})
    env = started(cfg, 16)
    rate = {ms.KIND_LIMIT: 10.0, ms.KIND_MARKET: 1.5}[kind] * 16 * 3
    for steps, on in ((5, False), (10, True), (10, False)):
        found = counts(env, steps)[2 * kind : 2 * kind + 2]
        want = rate * steps * (np.array(factors) if on else 1.0)
        assert (np.abs(found - want) < 4.5 * np.sqrt(want)).all(), (on, found, want)


def test_events_at_once_multiply():
    flow = {"intensity": 10.0, "market_rate": 1.0, "tilt": 0.0}
    crash = {"kind": "crash", "at": 1, "duration": 2, "side": "sell"}
    env = started(market(crash | {"magnitude": 2}, crash | {"magnitude": 3}, flow=flow), 2)
    scale = env.state.head[..., ms.SCALE : ms.SCALE + 6]
    for want in (4096, 6 * 4096, 6 * 4096, 4096):
        wait(env, 1)
        assert (scale[..., 3] == want).all()
        assert (scale[..., [0, 1, 2, 4, 5]] == 4096).all()


FUNDAMENTALS = {"volatility": [0.5, 2.0], "correlation": 0.3}


def fundamentals(event: dict, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps + 1, E, U) 1/65536 tick, without the event and with it."""
    paths = []
    for own in (never(event), event):
        env = started(market(own, fundamentals=FUNDAMENTALS), 4, seed=1)
        path = [env.state.fundamental.copy()]
        for _ in range(steps):
            wait(env, 1)
            path.append(env.state.fundamental.copy())
        paths.append(np.array(path))
    return paths[0], paths[1]


def test_volatility_multiplies_the_fundamentals_moves_and_nothing_else():
    event = {"kind": "volatility", "at": 3, "duration": 4, "magnitude": 2.5, "books": ["Y"]}
    without, with_it = fundamentals(event, 10)
    moves, changed = np.diff(without, axis=0), np.diff(with_it, axis=0)
    on = np.zeros((10, 1, 2), np.int64)
    on[3:7, :, 1] = 1
    np.testing.assert_array_equal(changed, np.where(on, (moves * 10240) >> 12, moves))


@pytest.mark.parametrize(
    ("event", "jump"),
    [
        ({"magnitude": 12.5, "side": "sell"}, (-12.5, -12.5)),
        ({"magnitude": 3, "unit": "deviations", "side": "buy"}, (1.5, 6.0)),
        ({"magnitude": 7, "side": "buy", "books": ["X1", "X2"]}, (7.0, 0.0)),  # two venues move as one
    ],
)
def test_fundamentals_jump_exactly(event, jump):
    without, with_it = fundamentals({"kind": "shock", "at": 4, **event}, 7)
    moved = (with_it - without) / 65536
    assert not moved[:5].any()
    assert (moved[5:] == jump).all()


def test_both_sides_are_drawn():
    env = started(market({"kind": "shock", "at": 0, "side": "random"}, fundamentals={"volatility": 0.0}), 64)
    before = env.state.fundamental.copy()
    wait(env, 1)
    moved = (env.state.fundamental - before) / 65536
    assert set(np.unique(moved)) == {-20.0, 20.0}
    assert (moved[:, 0] == moved[:, 1]).all()
    assert 16 < (moved[:, 0] > 0).sum() < 48


# --- what they leave alone ---

MANY = (
    {"kind": "crash", "rate": 0.15, "duration": 3, "side": "random"},
    {"kind": "drought", "at": "random", "duration": 4, "books": ["X1"]},
    {"kind": "volatility", "rate": 0.1, "duration": 3},
    {"kind": "shock", "rate": 0.1, "side": "random"},
    {"kind": "fat_finger", "at": "random", "magnitude": 90, "side": "random"},
    {"kind": "halt", "rate": 0.05, "duration": 3, "books": ["Y"]},
)
AGENTS = {"maker": {"count": 2, "max_size": 6}, "arbitrageur": {"count": 1, "pairs": "all"}}
NAMES = ("qty", "head", "order", "account", "fundamental", "event", "stress")


@pytest.mark.parametrize("event", [{"kind": "crash"}, {"kind": "drought"}, {"kind": "volatility"}, {"kind": "shock"},
                                   {"kind": "fat_finger"}, {"kind": "halt"}], ids=lambda e: e["kind"])  # fmt: skip
def test_until_it_begins_the_market_is_that_without_it(event):
    """To the bit, observations too; and not after."""
    worlds = [
        started(market(e, agents=AGENTS, env={"episode_steps": 20}), 4, seed=2)
        for e in (event | {"at": 8}, event | {"at": "never"})
    ]
    rng = np.random.default_rng(0)
    for step in range(14):
        actions = random_actions(worlds[0], rng)
        (one, *_), (two, *_) = (env.step(actions) for env in worlds)
        same = all(
            np.array_equal(*(getattr(env.state, name) for env in worlds)) for name in NAMES if name != "event"
        )
        assert same == (step < 8)
        if step < 8:
            assert equal_obs(one, two)


def test_events_depend_on_neither_agents_nor_batch():
    """Times and sides of random events: whoever acts; the fourth environment of eight, and alone."""
    cfg = market(*MANY, agents=AGENTS, env={"episode_steps": 40, "threads": 2})
    quiet, busy, alone = (
        started(cfg, 8, seed=4),
        started(cfg, 8, seed=4),
        started(cfg, 1, seed=4, first_env=3),
    )
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        actions = random_actions(busy, rng)
        busy.step(actions)
        wait(quiet, 1)
        alone.step({role: a[3:4] for role, a in actions.items()})
        np.testing.assert_array_equal(quiet.state.event, busy.state.event)
        for name in NAMES:
            np.testing.assert_array_equal(
                getattr(alone.state, name)[0], getattr(busy.state, name)[3], err_msg=name
            )
        began = busy.state.event[:, :, ms.SINCE_STEP] == busy.state.clock[:, None, ms.STEP] - 1
        seen |= {int(k) for k in np.flatnonzero(began.any(axis=0))}
    assert seen == set(range(len(MANY)))
    assert not np.array_equal(quiet.state.head, busy.state.head)


def test_lots_and_cash_are_conserved_under_stress():
    rule = {"move": 8, "window": 10, "halt": 3}
    env = started(market(*MANY, agents=AGENTS, env={"episode_steps": 60}, circuit_breaker=rule), 8, seed=5)
    rng = np.random.default_rng(1)
    for _ in range(60):
        env.step(random_actions(env, rng))
        h, s = env.state.head, env.state
        assert not s.account[..., [ms.INVENTORY, ms.CASH]].sum(axis=2).any()
        lots = s.qty.sum(axis=2, dtype=np.int64)
        gone = h[..., [ms.CANCELLED, ms.TRADED, ms.DROPPED]].sum(-1)
        np.testing.assert_array_equal(lots, h[..., ms.ADDED] - gone)
        np.testing.assert_array_equal(lots, h[..., ms.NOISE_BID : ms.OWN_ASK + 1].sum(-1))
        assert (s.qty >= 0).all()
        assert (h[..., ms.BID] < h[..., ms.ASK]).all()
    assert env.state.stress[..., ms.HALTS].any()
    assert not np.array_equal(mids(env), np.zeros_like(mids(env)))


def test_random_events_come_at_their_rate():
    """0.1 /s, 3 s long: a cycle lasts 3 + 10 - .5 s with one-second steps; over 64 markets of 300 s."""
    cfg = market({"kind": "shock", "rate": 0.1, "side": "buy", "magnitude": 0}, env={"episode_steps": 300},
                 flow=STILL, market={"books": ["A"], "underlying": None, "initial_price": 10_000})  # fmt: skip
    env, count = started(cfg, 64), 0
    for step in range(300):
        wait(env, 1)
        count += (env.state.event[:, 0, ms.SINCE_STEP] == step).sum()
    want = 64 * 300 * -np.expm1(-0.1)
    assert abs(count - want) < 4.5 * np.sqrt(want)


def test_a_new_episode_forgets():
    cfg = market({"kind": "halt", "at": 3, "duration": 50}, env={"episode_steps": 6})
    env = MarketEnv(cfg, 2, 0)
    env.reset()
    wait(env, 6)
    before = env.state.head[..., ms.EVENTS].copy()
    wait(env, 1)
    assert (env.state.head[..., ms.EVENTS] > before).all()


# --- what agents see ---


def test_agents_see_events_only_where_told():
    events = (
        {"kind": "crash", "at": 2, "duration": 2, "books": ["X1"]},
        {"kind": "halt", "at": 1, "duration": 3},
    )
    hidden = started(market(*events, agents=AGENTS), 2)
    plain = started(market(agents=AGENTS), 2)
    assert hidden.specs["maker"].vector_features == plain.specs["maker"].vector_features
    shown = started(market(*(e | {"show": True} for e in events), agents=AGENTS), 2)
    names = shown.specs["maker"].vector_features
    assert names[-2:] == ("stress_crash", "stress_halt")
    seen = []
    for _ in range(5):
        obs, *_ = shown.step(still_actions(shown))
        hidden.step(still_actions(hidden))
        seen.append(obs["maker"].vector[0, 0, -2:].tolist())
    third = pytest.approx(1 / 3)
    assert seen == [[0, 0], [0, 1], [third, 1], [third, 0], [0, 0]]
    np.testing.assert_array_equal(shown.state.head, hidden.state.head)


# --- settings ---


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"stress": [{"kind": "crash"}]}, r"stress\.0\.at: an event needs a time"),
        ({"stress": [{"kind": "crash", "at": 1, "rate": 1}]}, r"stress\.0\.at: an event needs a time"),
        ({"stress": [{"kind": "tsunami", "at": 1}]}, r"stress\.0\.kind: must be 'crash'"),
        ({"stress": [{"kind": "crash", "at": 1, "magnitud": 3}]}, r"stress\.0\.magnitud: unknown key"),
        ({"stress": [{"kind": "halt", "at": 1}, {"kind": "halt", "at": 12}]}, r"stress\.1\.at: 12 s is not within"),
        ({"stress": [{"kind": "crash", "at": 1, "books": ["Z"]}]}, r"stress\.0\.books: unknown book 'Z'"),
        ({"stress": [{"kind": "halt", "at": 1, "magnitude": 3}]}, r"stress\.0\.magnitude: a halt has none"),
        ({"stress": [{"kind": "shock", "at": 1, "duration": 3}]}, r"stress\.0\.duration: a shock has none"),
        ({"stress": [{"kind": "drought", "at": 1, "magnitude": 3}]}, r"magnitude: of a drought must be 0 to 1"),
        ({"stress": [{"kind": "fat_finger", "at": 1, "magnitude": 2.5}]}, r"must be whole lots"),
        ({"stress": [{"kind": "fat_finger", "at": 1, "side": "both"}]}, r"stress\.0\.side: of a fat_finger must be"),
        ({"stress": [{"kind": "halt", "at": 1, "side": "buy"}]}, r"stress\.0\.side: a halt has none"),
        ({"stress": [{"kind": "crash", "at": 1, "withdraw": 0.1}]}, r"stress\.0\.withdraw: belongs to a drought"),
        ({"circuit_breaker": {}}, r"circuit_breaker\.move: say how far"),
        ({"circuit_breaker": {"move": 3, "percent": 1}}, r"circuit_breaker\.move: say how far"),
        ({"circuit_breaker": {"move": 3, "window": 0.1}}, r"circuit_breaker\.window: must be 1 to 4096 decisions"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(sections, said):
    with pytest.raises(ConfigError, match=said):
        scene(
            agents=NOBODY,
            **{k: v for k, v in sections.items() if k == "circuit_breaker"},
            stress=sections.get("stress", []),
        )


def test_a_replayed_market_has_its_own_events():
    files = {"X1": "a.csv", "X2": "b.csv", "Y": "c.csv"}
    for key, value in (("stress", [{"kind": "halt", "at": 1}]), ("circuit_breaker", {"move": 3})):
        with pytest.raises(ConfigError, match=f"{key}: a replayed market"):
            scene(agents=NOBODY, replay={"files": files}, **({"stress": []} | {key: value}))
