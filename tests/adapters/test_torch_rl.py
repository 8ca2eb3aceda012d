"""TorchRL: its check, the market's numbers under its keys, agents that end early, resets in part."""

import numpy as np
import pytest
import torch

pytest.importorskip("torchrl", reason="needs the extra `torchrl`")
from torchrl.envs import EnvBase
from torchrl.envs.utils import check_env_specs

from lobgraph import MarketEnv
from lobgraph.adapters.torch_rl import TorchRLMarket


@pytest.mark.parametrize("actions", ["normalised", "physical", "discrete"])
def test_specs_hold(many, one, actions):
    check_env_specs(TorchRLMarket(many, num_envs=3, actions=actions), seed=1)
    check_env_specs(TorchRLMarket(one, num_envs=3, actions=actions), seed=1)


def test_groups_are_the_roles(many):
    env = TorchRLMarket(many, num_envs=2)
    assert env.group_map == {
        "maker": ["maker_0", "maker_1"],
        "taker": ["taker_0"],
        "arbitrageur": ["arbitrageur_0"],
    }
    assert TorchRLMarket(many, num_envs=2, others={"taker": "twap"}).group_map.keys() == {
        "maker",
        "arbitrageur",
    }
    td = env.reset()
    assert td["maker", "observation"].shape == (2, 2, env.encoder.size)
    assert env.full_action_spec["arbitrageur", "action"].shape == (2, 1, 9)


def test_numbers_are_marketenvs(many):
    env, market = (
        TorchRLMarket(many, num_envs=3, seed=2, stagger=False),
        MarketEnv(many, 3, 2, autoreset=False),
    )
    td, seen = env.reset(), market.reset()
    torch.manual_seed(0)
    for _ in range(15):
        td = env.rand_action(td)
        physical = {}
        for role, spec in market.specs.items():
            flat = torch.cat(
                [seen[role].nodes.flatten(2), seen[role].edges.flatten(2), seen[role].vector], -1
            )
            assert torch.equal(td[role, "observation"], flat)
            low, high = torch.from_numpy(spec.low), torch.from_numpy(spec.high)
            raw = td[role, "action"].view(3, spec.count, spec.items, -1)
            physical[role] = raw * ((high - low) / 2) + (high + low) / 2
        nxt = env.step(td)["next"]
        seen, reward, *_ = market.step(physical)
        for role in market.specs:
            assert torch.equal(nxt[role, "reward"][..., 0], reward[role])
        td = nxt


def test_long_play_stays_within_specs_and_ends_as_the_market_does(many):
    env = TorchRLMarket(many, num_envs=8, seed=0, stagger=False)
    torch.manual_seed(0)
    roll = env.rollout(130, break_when_any_done=False)
    for when in (roll, roll["next"]):
        assert all(env.observation_spec.contains(when[:, t]) for t in range(0, 130, 13))
    done, cut = roll["next", "done"], roll["next", "truncated"]
    assert torch.equal(done, roll["next", "terminated"] | cut)
    assert done.sum() >= 8 * 5  # time, or before it
    maker, mask = roll["next", "maker"], roll["maker", "mask"]
    assert maker["terminated"].any()
    assert (maker["reward"][..., 0][~mask] == 0).all()  # of those that had ended before
    assert (~mask).any()
    assert roll["next", "taker", "terminated"].any()
    assert not roll["next", "taker", "truncated"].any()
    # after an end of the root everybody is back, and elsewhere nobody comes back
    over = done[:, :-1, 0]
    assert mask[:, 1:][over].all()
    back = mask[:, 1:] & ~mask[:, :-1]
    assert not back[~over].any()


def test_the_same_seed_the_same_play(many):
    env = TorchRLMarket(many, num_envs=4)

    def play(seed):
        env.set_seed(seed)
        torch.manual_seed(0)
        return env.rollout(30, break_when_any_done=False)["next", "maker", "observation"]

    first = play(3)
    assert torch.equal(play(3), first)
    assert not torch.equal(play(4), first)


def test_discrete_actions_reach_the_market(one):
    env = TorchRLMarket(one, num_envs=2, actions="discrete", stagger=False)
    td = env.reset()
    td["maker", "action"] = torch.tensor([[0], [13]])
    env.step(td)
    lots = np.stack([env.market.snapshot(e)["quotes"][0, 0, :, 1] for e in range(2)])
    assert not lots[0].any()
    assert lots[1].any()


def with_extras(td, t):
    """What policies write beside an environment's keys, at the root and in a group."""
    td["hidden"] = torch.full((td.shape[0], 2), float(t))
    td["maker", "loc"] = torch.full((*td["maker"].shape, 3), float(t))
    return td


def test_the_short_way_is_torchrls_own(many):
    """step_and_maybe_reset against EnvBase's: every key, value, shape and dtype of both results, through many episodes."""
    short, long = (TorchRLMarket(many, num_envs=6, seed=1, stagger=True) for _ in range(2))
    torch.manual_seed(0)
    one, other = short.reset(), long.reset()
    ended = 0
    for t in range(140):
        actions = short.rand_action(one.clone())
        for role in short.group_map:
            one[role, "action"] = actions[role, "action"].clone()
            other[role, "action"] = actions[role, "action"].clone()
        with_extras(one, t), with_extras(other, t)
        done, one = short.step_and_maybe_reset(one)
        same, other = EnvBase.step_and_maybe_reset(long, other)
        for ours, theirs in ((done, same), (one, other)):
            assert ours.batch_size == theirs.batch_size
            keys = set(theirs.keys(True, True))
            assert set(ours.keys(True, True)) == keys
            for key in keys:
                assert ours[key].dtype == theirs[key].dtype
                assert ours[key].shape == theirs[key].shape
                assert torch.equal(ours[key], theirs[key]), (t, key)
            for role in short.group_map:
                assert ours[role].batch_size == theirs[role].batch_size
        ended += int(done["next", "done"].sum())
    assert ended >= 6 * 3


def test_what_was_returned_is_not_overwritten(many):
    env = TorchRLMarket(many, num_envs=3, seed=1, stagger=True)
    torch.manual_seed(0)
    kept, td = [], env.reset()
    for _ in range(40):
        done, td = env.step_and_maybe_reset(env.rand_action(td))
        so = td.select(*env.observation_keys, *env.done_keys)
        kept.append((done, done.clone(), td, so.clone()))
    for done, then, after, so in kept:
        for key in then["next"].keys(True, True):
            assert torch.equal(done["next", key], then["next", key])
        for key in so.keys(True, True):
            assert torch.equal(after[key], so[key])


def test_a_collector_takes_it(one):
    from torchrl.collectors import Collector

    env = TorchRLMarket(one, num_envs=4, seed=2)
    collector = Collector(env, None, frames_per_batch=64, total_frames=192)
    batches = list(collector)
    collector.shutdown()
    assert [batch.numel() for batch in batches] == [64] * 3
    assert all(torch.isfinite(batch["next", "maker", "reward"]).all() for batch in batches)


def test_preset_keys_go_the_long_way(one):
    """A step that names its own "next" overrides what the market says, as TorchRL promises."""
    env = TorchRLMarket(one, num_envs=2, seed=2)
    td = env.rand_action(env.reset())
    td["next", "mark"] = torch.ones(2, 1)
    done, _ = env.step_and_maybe_reset(td)
    assert done["next", "mark"].all()
