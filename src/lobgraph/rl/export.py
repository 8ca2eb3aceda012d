"""One policy as a file for other programs: ONNX, or a torch.export program. Any number of books and any batch.

In: a run (or policy file) and a role. The graph holds all that `PolicySet.act` does for one agent by its mean: normaliser, edge
weights, encoder, memory, head, and the clip to physical units. Agents that share a policy are rows of the batch.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..config import ROLES, ConfigError
from ..files import new_file, write_atomic
from ..models.distributions import to_physical
from ..models.encoder import message_weights
from ..models.policy import PolicyError, PolicySet
from .checkpoint import HEADER, load_policies
from .extras import need

FORMATS = ("onnx", "torch")
OPSET = 20
CLOSE = 1e-4  # of an action's range, by which a file may differ from the policy before it is refused


class OneAgent(nn.Module):
    """The mean action of one policy. Inputs and outputs by name, B agents (of one or many environments), N books, P pairs:

    nodes (B, N, F), vector (B, V), adjacency (N, N) edge weights with targets as rows (not of an encoder that has no exchange);
    of a role that acts on pairs also edges (B, P, Fe) and pairs (P, 2) int64; with memory state (B, N, H), zeros at first, and
    fresh (B,) bool, whose episode starts here. Observations are raw, as the market gives them, float32.
    Returns action (B, N or P, D) in physical units, and with memory next_state (B, N, H).
    """

    def __init__(self, policies: PolicySet, role: str, agent: int = 0) -> None:
        super().__init__()
        self.part = policies.subset(role)
        self.role, self.spec = role, self.part.specs[role]
        keys = self.part.keys(role)
        self.key = keys[agent if len(keys) > 1 else 0]
        self.encoder_key = "all" if self.part.one_encoder else self.key
        self.recurrent, self.kind = self.part.recurrent, self.part.graph.encoder
        self.on_pairs = self.spec.acts_on == "pair"
        one_hot = [float(role == r) for r in ROLES]
        self.register_buffer("which", torch.tensor(one_hot), persistent=False)

    @property
    def inputs(self) -> list[str]:
        names = ["nodes", "vector"]
        names += ["adjacency"] if self.kind in ("sage", "gat") else []
        names += ["edges", "pairs"] if self.on_pairs else []
        return names + (["state", "fresh"] if self.recurrent else [])

    @property
    def outputs(self) -> list[str]:
        return ["action", "next_state"] if self.recurrent else ["action"]

    def forward(
        self, nodes: Tensor, vector: Tensor, adjacency: Tensor | None = None, edges: Tensor | None = None,
        pairs: Tensor | None = None, state: Tensor | None = None, fresh: Tensor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        part = self.part
        x, v = nodes.permute(1, 0, 2).unsqueeze(0).contiguous(), vector.unsqueeze(0)
        e = nodes.new_zeros(1, 1, len(self.spec.edge_features)) if edges is None else edges.transpose(0, 1)
        x, e, v = part.normalise_(x.clone(), e.clone(), v.clone())
        if part.ppo.sharing == "all":
            v = torch.cat([v, self.get_buffer("which").expand(1, v.shape[1], -1)], -1)
        books = nodes.shape[1]
        given = nodes.new_ones(books, books) if adjacency is None else adjacency
        h = part.encoders[self.encoder_key](x, message_weights(part.graph.encoder, given), True)
        if state is not None:
            memory: Any = part.memories[self.encoder_key]
            h = memory.step(h, state.transpose(0, 1).unsqueeze(0), fresh)
            state = h[0].transpose(0, 1)
        if part.trunk is not None:
            h = part.trunk(h, v)
        mean = part.actors[self.key](h, e, v, pairs)[0].permute(1, 0, 2)  # (B, I, D)
        low, high = part.get_buffer(f"{self.role}_low"), part.get_buffer(f"{self.role}_high")
        action = to_physical(mean, low, high)
        return (action,) if state is None else (action, state)

    def example(self, batch: int, books: int, pairs: int = 4, seed: int = 0) -> dict[str, Tensor]:
        """Random inputs by name."""
        g, spec = torch.Generator().manual_seed(seed), self.spec
        between = torch.randn(books, books, generator=g)
        made = {
            "nodes": torch.randn(batch, books, len(spec.node_features), generator=g),
            "vector": torch.randn(batch, len(spec.vector_features), generator=g),
            "adjacency": (between + between.T) * (1 - torch.eye(books)),
            "edges": torch.randn(batch, pairs, len(spec.edge_features), generator=g),
            "pairs": torch.randint(books, (pairs, 2), generator=g),
            "state": torch.randn(batch, books, self.part.graph.hidden, generator=g),
            "fresh": torch.rand(batch, generator=g) < 0.3,
        }
        return {name: made[name] for name in self.inputs}

    def about(self) -> dict[str, Any]:
        """What a reader of the file needs: the role's features, actions and bounds, and the names of inputs and outputs."""
        return {
            **self.spec.to_json(),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "graph": self.part.graph.model_dump(mode="json"),
        }


class Exported(NamedTuple):
    """What `export` wrote."""

    path: Path
    inputs: list[str]
    outputs: list[str]
    difference: float  # from the policy, the largest on random inputs, as a share of the action's range


def export(
    run: str | Path, role: str | None, format: str, out: str | Path, agent: int | None = None
) -> Exported:
    """Write one policy of a run to `out`, after comparing it with the policy. role: None where there is only one.

    Raises PolicyError, ConfigError for what does not fit or is not installed, FileExistsError: nothing is overwritten.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: must be {' or '.join(FORMATS)}")
    for package in ("onnx", "onnxscript", "onnxruntime") if format == "onnx" else ():
        need(package, "export", "--format onnx")
    out = new_file(Path(out))
    policies = load_policies(run)
    role = _role(policies, role)
    model = OneAgent(policies, role, _agent(policies, role, agent)).eval().requires_grad_(False)
    program = traced(model)
    data = _onnx(model, program) if format == "onnx" else _torch(model, program)
    difference = _difference(model, format, data)
    if not difference <= CLOSE:
        raise PolicyError(
            f"{run}: the exported graph differs from the policy by {difference:.2g} of the action's range"
        )
    write_atomic(out, data)
    return Exported(out, model.inputs, model.outputs, difference)


def _role(policies: PolicySet, role: str | None) -> str:
    there = ", ".join(policies.specs)
    if role is None:
        if len(policies.specs) > 1:
            raise ConfigError(f"--role: the run has policies of {there}; say whose")
        return next(iter(policies.specs))
    if role not in policies.specs:
        raise PolicyError(f"--role {role}: the run has no such policy; there are {there}")
    return role


def _agent(policies: PolicySet, role: str, agent: int | None) -> int:
    count = len(policies.keys(role))
    if agent is None and count > 1:
        raise ConfigError(
            f"--agent: {role} has a policy for each of {count} agents (ppo.sharing: agent); say whose, from 0"
        )
    if not 0 <= (agent or 0) < policies.specs[role].count:
        raise ConfigError(f"--agent {agent}: the run has {policies.specs[role].count} of {role}, from 0")
    return agent or 0


def traced(model: OneAgent) -> torch.export.ExportedProgram:
    """The model as a graph in which batch, books and pairs are free."""
    b, n, p = (torch.export.Dim(name, min=1) for name in ("batch", "books", "num_pairs"))
    free = {"nodes": {0: b, 1: n}, "vector": {0: b}, "adjacency": {0: n, 1: n}, "edges": {0: b, 1: p}, "pairs": {0: p},
            "state": {0: b, 1: n}, "fresh": {0: b}}  # fmt: skip
    shapes = {name: free[name] for name in model.inputs}
    return torch.export.export(model, (), model.example(3, 5), dynamic_shapes=shapes)


def _torch(model: OneAgent, program: torch.export.ExportedProgram) -> bytes:
    data = io.BytesIO()
    torch.export.save(program, data, extra_files={f"{HEADER}.json": json.dumps(model.about())})
    return data.getvalue()


def _onnx(model: OneAgent, program: torch.export.ExportedProgram) -> bytes:
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)  # it warns of packages that have no part in this
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
            made = torch.onnx.export(
                program, (), kwargs=model.example(3, 5), input_names=model.inputs, output_names=model.outputs,
                opset_version=OPSET, dynamo=True, verbose=False,
            )  # fmt: skip
    finally:
        log.setLevel(before)
    assert made is not None
    proto = made.model_proto
    proto.metadata_props.add(key=HEADER, value=json.dumps(model.about()))
    return proto.SerializeToString()


def _difference(model: OneAgent, format: str, data: bytes) -> float:
    """The largest over random inputs of several sizes, one book and one row among them."""
    play = _onnx_player(model, data) if format == "onnx" else _torch_player(data)
    width = np.asarray(model.spec.high) - np.asarray(model.spec.low)
    worst = 0.0
    for i, (batch, books, pairs) in enumerate(((3, 5, 4), (1, 1, 1), (7, 2, 1), (2, 16, 40))):
        given = model.example(batch, books, pairs, seed=i)
        got, want = play(given), model(**given)
        worst = max(worst, float(np.abs((got[0] - want[0].numpy()) / width).max()))
        worst = max(
            [worst, *(float(np.abs(a - b.numpy()).max()) for a, b in zip(got[1:], want[1:], strict=True))]
        )
    return worst


def _torch_player(data: bytes) -> Any:
    module = torch.export.load(io.BytesIO(data)).module()
    return lambda given: [x.numpy() for x in module(**given)]


def _onnx_player(model: OneAgent, data: bytes) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda given: session.run(model.outputs, {name: x.numpy() for name, x in given.items()})
