"""Markets with agents as recorded data: who acts, and what of it stands in the record."""

import numpy as np
import pytest

from lobgraph.config import make_config
from lobgraph.data.recording import EXECUTE, SUBMIT
from lobgraph.data.simulated import simulate_recordings
from lobgraph.env.market_env import MarketEnv
from lobgraph.market.state import AGGRESSIVE_NOTIONAL, ASK, BID, PASSIVE_NOTIONAL
from lobgraph.realism.playing import record_market, stretched
from lobgraph.rl.actors import actor, idle

CFG = {
    "market": {"window": 512, "dt": 0.5},
    "flow": {"warmup": 5.0},
    "agents": {"maker": {"count": 2, "latency": 0.1}, "taker": {"count": 1, "target": 40}},
    "env": {"num_envs": 4, "episode_steps": 60},
}
ACTORS = {"maker": "fixed_spread", "taker": "twap"}


def alike(one, two) -> bool:
    return np.array_equal(one.time, two.time) and np.array_equal(one.row_px, two.row_px)


def test_nobody_acts():
    """Roles that are to learn, of which nothing is known, and agents who do nothing leave the market as it is."""
    cfg = make_config(CFG)
    (alone,) = simulate_recordings(cfg, seconds=30, levels=3, seed=2)
    (played,) = record_market(cfg, seconds=30, levels=3, seed=2)
    assert alike(alone, played)
    still = idle(MarketEnv(cfg, num_envs=1), "maker")
    (idling,) = record_market(cfg, {"maker": lambda obs: still}, seconds=30, levels=3, seed=2)
    assert alike(alone, idling)


@pytest.mark.parametrize("matching", ["fifo", "pro_rata"])
def test_the_record_holds_what_agents_do(matching):
    """The recorded book is the simulated one after every step, and agents' orders and trades are in it.

    Messages at the very time of a step's end are of the next step's decisions.
    """
    cfg = make_config(CFG | {"market": CFG["market"] | {"matching": matching}})
    (r,) = record_market(cfg, ACTORS, seconds=60, levels=6, seed=4)
    assert r.mismatches == 0
    quiet = simulate_recordings(cfg, seconds=60, levels=6, seed=4)[0]
    assert not np.array_equal(r.row_px[:100], quiet.row_px[:100])
    longer = stretched(cfg, 120)
    assert longer.agents.taker.target == 80
    env = MarketEnv(longer, num_envs=1, seed=4, autoreset=False)
    obs = env.reset()
    acts = {role: actor(name, role, env) for role, name in ACTORS.items()}
    notional = 0
    for step in range(1, 121):
        obs, *_ = env.step({role: act(obs) for role, act in acts.items()})
        row = np.searchsorted(r.time, r.start + step * 500_000_000, side="left") - 1
        for k, best, sign in ((0, BID, -1), (1, ASK, 1)):
            px = env.state.head[0, 0, best] + sign * np.arange(128)
            lots = env.state.qty[0, 0, px & 511]
            shown = r.row_qty[row, k] > 0
            assert r.row_px[row, k][shown].tolist() == px[lots > 0][:6].tolist()
            assert r.row_qty[row, k][shown].tolist() == lots[lots > 0][:6].tolist()
    account = env.state.account[0, 0]
    notional = account[:3, [PASSIVE_NOTIONAL, AGGRESSIVE_NOTIONAL]].sum()
    traded = (r.px * r.qty)[r.type == EXECUTE].astype(np.int64).sum()
    assert 0 < notional <= 2 * traded
    # makers quote 0.1 s after decisions: their orders come to rest at those times and no other's do so exactly
    late = (r.time - r.start) % 500_000_000 == 100_000_000
    assert late[r.type == SUBMIT].sum() > 50


def test_unknown_roles():
    with pytest.raises(ValueError, match="the market has no 'arbitrageur'"):
        record_market(make_config(CFG), {"arbitrageur": None}, seconds=30)
