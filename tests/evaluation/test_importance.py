"""Importance of policies whose answer is known: who is heard, what of them, and by how much."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.patches import FancyArrowPatch

sys.path.insert(0, str(Path(__file__).parents[1] / "rl"))
from toy import ToyEnv, toy_config

from lobgraph.evaluation.importance import Importance, States, importance
from lobgraph.models.policy import PolicySet
from lobgraph.report.importance import importance_figure

NAMES = ["B0", "B1", "B2", "B3"]


def hears_first(encoder: str = "sage") -> tuple[PolicySet, torch.Tensor]:
    """Each book hears book 0 alone, of it x1 alone, and acts by it; book 0 hears nobody."""
    cfg = toy_config(
        f"graph.encoder={encoder}", "graph.layers=1", "graph.hidden=4", "graph.heads=1", "ppo.norm_obs=false"
    )
    adjacency = torch.zeros(4, 4)
    adjacency[1:, 0] = 1.0
    env = ToyEnv({"maker": 1}, nodes=4, adjacency=adjacency)
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo).attach(env).requires_grad_(False)
    layer, head = policies.encoders["all"].convs[0], policies.actors["maker"]
    for p in (*layer.parameters(), *head.parameters()):
        p.zero_()
    (layer.lin_l if encoder == "gat" else layer.lin_rel).weight[0, 1] = 0.5  # h = tanh(.5 x1 of book 0)
    head.body.embedding.weight[0, 0] = 1.0
    head.out.weight[0, 0] = 2.0  # action = 2 tanh(h)
    return policies, adjacency


def states(seed: int = 0, count: int = 200) -> States:
    g = torch.Generator().manual_seed(seed)
    return States(
        torch.rand(count, 1, 4, 3, generator=g) * 2 - 1,
        torch.zeros(count, 1, 6, 2),
        torch.rand(count, 1, 2, generator=g),
    )


def by_hand(x: torch.Tensor) -> float:
    """Mean change of the action in per cent of its range (2 half-ranges) when x1 of book 0 is put to its mean."""

    def act(x: torch.Tensor) -> torch.Tensor:
        return (2.0 * torch.tanh(torch.tanh(0.5 * x))).clamp(-1.0, 1.0)

    return float((act(x) - act(x.mean())).abs().mean()) * 50.0


@pytest.mark.parametrize("encoder", ["sage", "gat"])
def test_only_one_feature_of_one_book_matters(encoder: str) -> None:
    policies, adjacency = hears_first(encoder)
    seen = states()
    found = importance(policies, "maker", seen, NAMES, adjacency)
    want = by_hand(seen.nodes[:, 0, 0, 1])
    assert want > 10
    np.testing.assert_allclose(found.influence[1:, 0], want, rtol=1e-4)
    assert not found.influence[0].any()  # book 0 hears nobody
    assert not found.influence[:, 1:].any()  # nobody hears the others, nor itself
    np.testing.assert_allclose(found.others, [0, 0.75 * want, 0], rtol=1e-4)  # three books of four
    assert not found.own.any()
    assert not found.agent.any()
    assert np.isnan(found.edges).sum() == 13
    assert (found.edges[1:, 0] > 0).all()
    assert found.table()["feature"].iloc[0] == "x1"
    if encoder == "gat":
        assert found.attention is not None
        np.testing.assert_allclose(found.attention[0], adjacency.numpy())  # one edge each: all attention
    assert len(importance_figure(found).axes) == (4 if encoder == "gat" else 2)  # with a colour bar


def test_a_policy_without_exchange_reads_its_own_book() -> None:
    cfg = toy_config("graph.encoder=mlp", "graph.layers=1", "graph.hidden=4", "ppo.norm_obs=false")
    env = ToyEnv({"maker": 1}, nodes=4)
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo).attach(env).requires_grad_(False)
    layer, head = policies.encoders["all"].convs[0], policies.actors["maker"]
    for p in (*layer.parameters(), *head.parameters()):
        p.zero_()
    layer.lin_root.weight[0, 2] = 0.5
    head.body.embedding.weight[0, 0], head.out.weight[0, 0] = 1.0, 2.0
    head.body.vector.weight[1, 0], head.out.weight[0, 1] = 0.5, 0.2
    found = importance(policies, "maker", states(), NAMES, env.adjacency)
    assert (np.diag(found.influence) > 10).all()
    assert not (found.influence - np.diag(np.diag(found.influence))).any()
    assert found.own[2] > 10
    assert not found.own[:2].any()
    assert not found.others.any()
    assert found.agent[0] > 0.1
    assert found.agent[1] == 0
    assert np.isnan(found.edges).all()
    assert "no book moves another's action" in {t.get_text() for t in importance_figure(found).axes[0].texts}


def test_value_and_pairs() -> None:
    """Of a pair's action the books are those it trades; values are counted in tick-lots."""
    env = ToyEnv({"arbitrageur": 1}, nodes=4)
    cfg = toy_config("graph.encoder=mlp", "graph.hidden=8", "ppo.norm_obs=false")
    policies = PolicySet(env.specs, cfg.graph, cfg.ppo, seed=1).attach(env).requires_grad_(False)
    head = policies.actors["arbitrageur"]
    head.out.weight.mul_(30.0)
    found = importance(policies, "arbitrageur", states(), NAMES, env.adjacency)
    assert (np.diag(found.influence) > found.influence.sum(1) - np.diag(found.influence)).any()
    assert (found.node_value > 0).all()
    policies.scaler("arbitrageur").scale.fill_(0.1)
    again = importance(policies, "arbitrageur", states(), NAMES, env.adjacency)
    np.testing.assert_allclose(again.node_value, 10 * found.node_value, rtol=1e-5)
    np.testing.assert_allclose(again.influence, found.influence)


def test_arrows_go_from_source_to_target_and_are_as_wide_as_important() -> None:
    influence = np.array([[9.0, 4.0, 0.0], [1.0, 9.0, 0.0], [2.0, 0.0, 9.0]])
    zeros = np.zeros(2)
    found = Importance(
        "maker", ["A", "B", "C"], np.ones((3, 3)), influence, np.full((3, 3), np.nan), np.zeros(3), ["f", "g"], zeros + 1,
        zeros, [], np.zeros(0), None,
    )  # fmt: skip
    fig = importance_figure(found)
    arrows = [p for p in fig.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert [p.get_arrowstyle().tail_width for p in arrows] == pytest.approx([7.0, 3.5, 1.75])
    tail, head = arrows[0]._posA_posB  # the widest: from B to A, and A is the first on the circle, at the top
    assert tuple(head) == pytest.approx((0.0, 1.0))
    assert tail[0] > 0.5
