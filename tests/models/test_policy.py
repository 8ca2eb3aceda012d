"""PolicySet: equivariance, sizes, sharing, units, and its agreement between layouts."""

import itertools

import pytest
import torch
from toy import HIGH, LOW, Obs, ToyEnv, toy_config

from lobgraph.config import load_config
from lobgraph.models.distributions import to_normalised
from lobgraph.models.policy import PolicyError, PolicySet

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 2}


def policies_for(env: ToyEnv, *overrides: str) -> PolicySet:
    """Policies with heads turned up, so that differences show."""
    cfg = toy_config(*overrides)
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo, seed=3).attach(env)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for actor in policies.actors.values():
            actor.out.weight.normal_(generator=g)  # type: ignore[union-attr, operator]
        for std in policies.log_std.values():
            std.normal_(-1.0, 0.1, generator=g)
    return policies


SHARING = list(itertools.product(("role", "agent", "all"), ("true", "false")))


@pytest.mark.parametrize(("sharing", "shared"), SHARING)
def test_permuting_the_nodes_permutes_the_actions(sharing: str, shared: str) -> None:
    env = ToyEnv(ROLES, nodes=5, num_envs=4)
    policies = policies_for(env, f"ppo.sharing={sharing}", f"graph.shared={shared}")
    obs = env.reset(1)
    actions, values = policies.act(obs, deterministic=True), policies.values(obs)
    p = torch.tensor([3, 0, 4, 1, 2])  # new node i is old node p[i]
    back = torch.argsort(p)
    policies.weights, policies.pairs = policies.weights[p][:, p], back[policies.pairs]
    moved = {r: Obs(o.nodes[:, :, p], o.edges, o.vector) for r, o in obs.items()}
    moved_actions, moved_values = policies.act(moved, deterministic=True), policies.values(moved)
    for role in ROLES:
        want = actions[role] if role == "arbitrageur" else actions[role][:, :, p]
        torch.testing.assert_close(moved_actions[role], want, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(moved_values[role], values[role], atol=1e-5, rtol=1e-4)
        assert float(want.std()) > 0.1


@pytest.mark.parametrize(("sharing", "shared"), SHARING)
def test_agents_share_what_they_should(sharing: str, shared: str) -> None:
    """Two makers that see the same act the same, unless each has its own policy."""
    env = ToyEnv(ROLES, num_envs=4)
    policies = policies_for(env, f"ppo.sharing={sharing}", f"graph.shared={shared}")
    env.reset(1)
    env.nodes[:, 1], env.vector[:, 1] = env.nodes[:, 0], env.vector[:, 0]
    actions = policies.act(env._views(env.nodes, env.edges, env.vector), deterministic=True)["maker"]
    assert torch.equal(actions[:, 0], actions[:, 1]) == (sharing != "agent")
    count = {"role": 3, "agent": 5, "all": 1}[sharing]
    assert len(policies.critics) == count
    assert len(policies.encoders) == (1 if shared == "true" else count)


def test_evaluate_actions_recomputes_what_was_sampled() -> None:
    env = ToyEnv(ROLES, num_envs=6)
    policies = policies_for(env)
    obs = env.reset(1)
    sent = policies.act(obs, generator=torch.Generator().manual_seed(5))
    raw, g = {}, torch.Generator().manual_seed(5)
    with torch.no_grad():
        outputs, _ = policies._outputs(obs)
    for role, out in outputs.items():
        raw[role] = out.policy.sample(g).permute(2, 0, 1, 3)
    beyond = 0
    for role, (logprob, entropy, values) in policies.evaluate_actions(obs, raw).items():
        assert logprob.shape == values.shape == (6, ROLES[role])
        assert entropy.shape == ()
        low = torch.tensor([LOW])
        torch.testing.assert_close(
            to_normalised(sent[role], low, torch.tensor([HIGH])), raw[role].clamp(-1, 1)
        )
        torch.testing.assert_close(logprob.t(), outputs[role].policy.log_prob(raw[role].permute(1, 2, 0, 3)))
        beyond += int((raw[role].abs() > 1).sum())
        assert logprob.requires_grad
        assert values.requires_grad
    assert beyond > 5  # samples beyond the range: clipped for the market, not in the log-probability


def test_other_numbers_of_books_and_agents() -> None:
    policies = policies_for(ToyEnv(ROLES, nodes=4))
    big = ToyEnv({"maker": 5, "taker": 2, "arbitrageur": 1}, nodes=32, num_envs=2)
    actions = policies.attach(big).act(big.reset())
    assert actions["maker"].shape == (2, 5, 32, 1)
    assert actions["arbitrageur"].shape == (2, 1, 32 * 31 // 2, 1)
    alone = policies.subset("taker").attach(big)
    assert torch.equal(alone.act(big.reset(), True)["taker"], policies.act(big.reset(), True)["taker"])
    assert set(alone.act(big.reset())) == {"taker"}


def test_one_policy_each_serves_fewer_agents_not_more() -> None:
    policies = policies_for(ToyEnv({"maker": 2}), "ppo.sharing=agent")
    one = ToyEnv({"maker": 1}, num_envs=2)
    assert policies.attach(one).act(one.reset())["maker"].shape == (2, 1, 3, 1)
    with pytest.raises(PolicyError, match="one policy for each of 2 agents"):
        policies.attach(ToyEnv({"maker": 3}))


def test_what_does_not_fit_is_named() -> None:
    from dataclasses import replace

    env = ToyEnv(ROLES)
    policies = policies_for(env)
    with pytest.raises(PolicyError, match=r"acts for 'taker', but the market has only \['maker'\]"):
        policies.attach(ToyEnv({"maker": 1}))
    env.specs["maker"] = replace(env.specs["maker"], node_features=("x0", "x1", "z"))
    with pytest.raises(
        PolicyError, match=r"maker policy: node_features differ.*missing \['x2'\], new \['z'\]"
    ):
        policies.attach(env)
    env.specs["maker"] = replace(env.specs["maker"], node_features=("x1", "x0", "x2"))
    with pytest.raises(PolicyError, match="the order differs"):
        policies.attach(env)
    cfg = load_config()
    loose = PolicySet(ToyEnv(ROLES).specs, cfg.graph, cfg.ppo)
    with pytest.raises(PolicyError, match="call attach"):
        loose.act(ToyEnv(ROLES).reset())


def test_parameters_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    env, cfg = ToyEnv(ROLES), toy_config()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (PolicySet(env.specs, cfg.graph, cfg.ppo, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["actors.maker.out.weight"], c["actors.maker.out.weight"])


def test_first_policy_is_near_the_middle_with_the_given_std() -> None:
    env, cfg = ToyEnv(ROLES), toy_config("ppo.initial_std=0.4")
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo).attach(env)
    for role, actions in policies.act(env.reset(), deterministic=True).items():
        assert float((actions - 0.5 * (LOW + HIGH)).abs().max()) < 0.2 * (HIGH - LOW) / 2, role
    torch.testing.assert_close(policies.log_std["maker"].exp(), torch.tensor([0.4]))


def test_hidden_features_are_not_seen() -> None:
    env = ToyEnv(ROLES, num_envs=4)
    policies = policies_for(env, "graph.hide=[x0, time_left]")
    obs = env.reset(1)
    before = policies.act(obs, deterministic=True)
    env.nodes[..., 0] += 3.0
    env.vector[..., 1] -= 2.0
    hidden = policies.act(env._views(env.nodes, env.edges, env.vector), deterministic=True)
    env.nodes[..., 1] += 3.0
    seen = policies.act(env._views(env.nodes, env.edges, env.vector), deterministic=True)
    for role in ROLES:
        assert torch.equal(before[role], hidden[role])
        assert not torch.equal(before[role], seen[role])
    with pytest.raises(PolicyError, match=r"graph.hide: no node or vector feature 'x9'; there are x0"):
        policies_for(env, "graph.hide=[x9]")
