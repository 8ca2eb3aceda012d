"""Exported policies act as the policies do: any number of books and any batch, in a market whose observations they see raw."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lobgraph.config import ConfigError, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.models.policy import PolicyError, PolicySet
from lobgraph.rl import export as exporting
from lobgraph.rl import extras
from lobgraph.rl.checkpoint import save_policies
from lobgraph.rl.export import OneAgent, export

TINY = ("agents.maker.count=2", "graph.hidden=8", "graph.heads=2", "env.num_envs=3", "env.episode_steps=4", "flow.warmup=1.0",
        "ppo.minibatches=1")  # fmt: skip
PAIRS = ("agents.arbitrageur.count=1", "market.books=3")


def policies_of(env: MarketEnv, cfg: Any, seed: int = 0) -> PolicySet:
    """As after some training: every parameter moved, the normaliser with statistics of its own."""
    made = PolicySet(env.specs, cfg.graph, cfg.ppo, seed)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=g))
        for norm in (made.node_norm, made.edge_norm, made.vector_norm):
            norm.shift.copy_(torch.randn(norm.shift.shape, generator=g))
            norm.scale.copy_(0.5 + torch.rand(norm.scale.shape, generator=g))
    return made.eval().requires_grad_(False)


def player(path: Path) -> Any:
    """function(inputs by name) -> outputs, by what a user would load it with."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda given: [x.numpy() for x in module(**given)]
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {name: x.numpy() for name, x in given.items()})


def compare_in_markets(
    path: Path, policies: PolicySet, role: str, agent: int, books: tuple[int, ...]
) -> None:
    """Four decisions in markets of several sizes, two episodes: what the file says is what `act` says."""
    play, spec = player(path), policies.specs[role]
    width = np.asarray(spec.high) - np.asarray(spec.low)
    for n in books:
        more = PAIRS if "arbitrageur" in policies.specs else ()
        env = MarketEnv(load_config(None, [*TINY, *more, f"market.books={n}"]), seed=n)
        policies.attach(env)
        obs, state = env.reset(), torch.zeros(env.num_envs, n, 8)
        fresh = torch.ones(env.num_envs, dtype=torch.bool)
        for _ in range(6):
            o = obs[role]
            given = {"nodes": o.nodes[:, agent], "vector": o.vector[:, agent], "adjacency": env.adjacency.float(),
                     "edges": o.edges[:, agent], "pairs": env.pairs, "state": state, "fresh": fresh}  # fmt: skip
            names = OneAgent(policies, role, agent).inputs
            got = play({name: given[name].clone() for name in names})
            actions = policies.act(obs, deterministic=True)
            np.testing.assert_allclose(got[0] / width, actions[role][:, agent].numpy() / width, atol=2e-6)
            state = torch.from_numpy(got[1].copy()) if policies.recurrent else state
            obs, _, _, _, info = env.step(actions)
            fresh = info["done"].clone()


CASES = {
    "sage": ("maker", 1, ()),
    "gru": ("maker", 0, ("graph.memory=gru", "graph.encoder=gat", "ppo.sharing=agent")),
    "pairs": ("arbitrageur", 0, (*PAIRS, "ppo.sharing=all", "graph.encoder=mean", "graph.hide=[gap_venues]")),
}


def check(case: str, form: str, tmp_path: Path) -> Path:
    role, agent, more = CASES[case]
    cfg = load_config(None, [*TINY, *more, "market.books=3"])
    policies = policies_of(MarketEnv(cfg), cfg)
    save_policies(tmp_path / "policy.safetensors", policies)
    out = tmp_path / ("out.onnx" if form == "onnx" else "out.pt2")
    own = agent if cfg.ppo.sharing == "agent" else None
    found = export(tmp_path / "policy.safetensors", role, form, out, own)
    assert found.difference < 1e-6
    compare_in_markets(out, policies, role, agent, (2, 3, 7) if role == "arbitrageur" else (1, 3, 7))
    return out


@pytest.mark.parametrize(
    "case",
    ["sage", pytest.param("gru", marks=pytest.mark.slow), pytest.param("pairs", marks=pytest.mark.slow)],
)
def test_torch_export_acts_as_the_policy(case: str, tmp_path: Path) -> None:
    out = check(case, "torch", tmp_path)
    extra = {"lobgraph.json": ""}
    torch.export.load(out, extra_files=extra)
    assert json.loads(extra["lobgraph.json"])["role"] == CASES[case][0]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_onnx_acts_as_the_policy(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    model = onnx.load(check(case, "onnx", tmp_path))
    about = json.loads({p.key: p.value for p in model.metadata_props}["lobgraph"])
    assert about["inputs"] == [i.name for i in model.graph.input]
    assert about["outputs"] == [o.name for o in model.graph.output]
    assert len(about["node_features"]) == model.graph.input[0].type.tensor_type.shape.dim[2].dim_value


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    cfg = load_config(None, [*TINY, *PAIRS, "ppo.sharing=agent"])
    return save_policies(tmp_path / "p.safetensors", policies_of(MarketEnv(cfg), cfg))


def test_what_cannot_be_exported_is_said(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.pt2"
    for args, kind, match in (
        ((None, "torch", out), ConfigError, "--role: the run has policies of maker, arbitrageur"),
        (("taker", "torch", out), PolicyError, "no such policy; there are maker, arbitrageur"),
        (("maker", "torch", out), ConfigError, "--agent: maker has a policy for each of 2 agents"),
        (("maker", "torch", out, 2), ConfigError, "--agent 2: the run has 2 of maker"),
        (("maker", "tf", out), ConfigError, "--format tf: must be onnx or torch"),
        (("maker", "torch", saved), FileExistsError, "exists already"),
        (("maker", "torch", tmp_path / "no" / "x"), FileNotFoundError, "no such directory"),
    ):
        with pytest.raises(kind, match=match):
            export(saved, *args)
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match="--format onnx: onnx is not installed; install the extra 'export'"):
        export(saved, "maker", "onnx", out, 0)
    assert not out.exists()


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = exporting._torch

    def wrong(model: OneAgent, program: Any) -> bytes:
        other = torch.export.load(io.BytesIO(own(model, program)))
        with torch.no_grad():
            for x in other.state_dict.values():
                x.add_(0.01)
        data = io.BytesIO()
        torch.export.save(other, data)
        return data.getvalue()

    monkeypatch.setattr(exporting, "_torch", wrong)
    with pytest.raises(PolicyError, match="differs from the policy by"):
        export(saved, "maker", "torch", tmp_path / "x.pt2", 0)
    assert not (tmp_path / "x.pt2").exists()
