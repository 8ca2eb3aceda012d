"""TorchRL: its check, the market's numbers under its keys, agents that end early, resets in part."""

import numpy as np
import pytest
import torch

pytest.importorskip("torchrl", reason="needs the extra `torchrl`")
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
