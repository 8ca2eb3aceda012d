"""The memory of a recurrent policy: torch's GRU step by step, with states zeroed where episodes start."""

import pytest
import torch
from toy import Obs, ToyEnv, toy_config

from lobgraph.models.memory import Memory
from lobgraph.models.policy import PolicyError, PolicySet

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}


def test_it_is_a_gru_that_starts_anew_with_episodes() -> None:
    torch.manual_seed(0)
    k, n, steps, envs, hidden = 2, 3, 7, 4, 5
    memory, cell = Memory(hidden), torch.nn.GRUCell(hidden, hidden)
    with torch.no_grad():
        memory.input.bias.normal_()
        memory.state.bias.normal_()
        cell.weight_ih.copy_(memory.input.weight)
        cell.weight_hh.copy_(memory.state.weight)
        cell.bias_ih.copy_(memory.input.bias)
        cell.bias_hh.copy_(memory.state.bias)
    x, start = torch.randn(k, n, steps, envs, hidden), torch.randn(k, n, envs, hidden)
    fresh = torch.rand(steps, envs) < 0.3
    got, last = memory(x.view(k, n, steps * envs, hidden), start, fresh.view(-1))
    got = got.view(k, n, steps, envs, hidden)
    for a in range(k):
        for b in range(n):
            for e in range(envs):
                h = start[a, b, e]
                for t in range(steps):
                    h = cell(x[a, b, t, e], torch.zeros(hidden) if fresh[t, e] else h)
                    torch.testing.assert_close(got[a, b, t, e], h, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(last[a, b, e], h, atol=1e-5, rtol=1e-5)
    assert fresh.any()


def policies_for(env: ToyEnv, *overrides: str) -> PolicySet:
    cfg = toy_config("graph.memory=gru", *overrides)
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo, seed=3).attach(env)
    with torch.no_grad():
        for actor in policies.actors.values():
            actor.out.weight.normal_(generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, operator]
    return policies


def test_one_memory_for_each_encoder() -> None:
    env = ToyEnv(ROLES)
    assert len(policies_for(env).memories) == 1
    assert set(policies_for(env, "graph.shared=false").memories) == set(ROLES)
    assert len(policies_for(env, "graph.shared=false", "ppo.sharing=agent").memories) == 4
    assert policies_for(env, "graph.memory=none").blank(6).shape == (4, 3, 6, 0)


@pytest.mark.parametrize("sharing", ["role", "agent", "all"])
def test_permuting_the_nodes_permutes_what_is_remembered(sharing: str) -> None:
    env = ToyEnv(ROLES, nodes=5, num_envs=4)
    plain, moved = policies_for(env, f"ppo.sharing={sharing}"), policies_for(env, f"ppo.sharing={sharing}")
    p = torch.tensor([3, 0, 4, 1, 2])  # new node i is old node p[i]
    moved.weights, moved.pairs = plain.weights[p][:, p], torch.argsort(p)[plain.pairs]
    for step in range(3):
        obs = env.reset(step)
        fresh = torch.full((4,), step == 0)
        want = plain.act(obs, deterministic=True, fresh=fresh)
        other = {r: Obs(o.nodes[:, :, p], o.edges, o.vector) for r, o in obs.items()}
        got = moved.act(other, deterministic=True, fresh=fresh)
        torch.testing.assert_close(got["maker"], want["maker"][:, :, p], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(got["arbitrageur"], want["arbitrageur"], atol=1e-4, rtol=1e-4)


def test_acting_remembers_until_an_episode_starts() -> None:
    env = ToyEnv(ROLES, num_envs=4, episode=5)
    policies = policies_for(env)
    obs = env.reset(1)
    first = {r: Obs(*(x.clone() for x in o)) for r, o in obs.items()}
    start = policies.act(first, deterministic=True)
    values = policies.values(first)["maker"]
    assert torch.equal(policies.values(first)["maker"], values)  # looking does not add to the memory
    again = policies.act(first, deterministic=True)  # time_left is 1: an episode starts
    assert all(torch.equal(again[r], start[r]) for r in ROLES)
    some = torch.tensor([True, False, True, False])
    mixed = policies.act(first, deterministic=True, fresh=some)["maker"]
    torch.testing.assert_close(mixed[some], start["maker"][some])
    assert ((mixed - start["maker"])[~some].abs().amax((1, 2, 3)) > 1e-3).all()
    policies.attach(env)
    none = torch.zeros(4, dtype=torch.bool)
    torch.testing.assert_close(policies.act(first, True, fresh=none)["maker"], start["maker"])
    big = ToyEnv({"maker": 5, "taker": 2, "arbitrageur": 1}, nodes=32, num_envs=2)
    assert policies.attach(big).act(big.reset())["maker"].shape == (2, 5, 32, 1)


def test_memory_needs_to_know_where_episodes_start() -> None:
    from dataclasses import replace

    env = ToyEnv()
    env.specs["maker"] = replace(env.specs["maker"], vector_features=("v0", "v1"))
    policies = policies_for(env)
    with pytest.raises(PolicyError, match="no 'time_left'; give `fresh`"):
        policies.act(env.reset())
    assert policies.act(env.reset(), fresh=torch.ones(32, dtype=torch.bool))
