"""Policies on disk: one safetensors file whose header holds everything needed to use it, and a readable JSON beside it.

Writes are atomic (temporary file in the same directory, fsync, replace, fsync of the directory): a reader sees the old
file or the new one. A checksum over the header and the tensors stands before it and is checked on reading. The JSON is for people;
loading reads the header, so the two cannot disagree.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..config import GraphConfig, PPOConfig
from ..files import write_atomic
from ..models.policy import PolicyError, PolicySet
from .places import POLICY, find_run

FORMAT, READ = 2, (1, 2)  # written, and read; 1: a checksum of the tensors alone, or none
HEADER = "lobgraph"  # the key of the safetensors header; what stands under it: a checksum in hex, a line's end, JSON
CHECKSUM = "sha256"  # where it stood in format 1: a key of the JSON


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Write `path` (.safetensors) atomically with `about` (plain values) and a checksum in its header. Raises OSError."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({**about, "format": FORMAT})
    write_atomic(path, save(own, metadata={HEADER: f"{_checksum(own, text)}\n{text}"}))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `save_tensors` wrote. Raises PolicyError naming a file that is missing, damaged or not one of lobgraph's."""
    about = read_header(path)
    try:
        with safe_open(path, "pt") as file:
            checksum, _, text = file.metadata()[HEADER].rpartition("\n")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise PolicyError(f"{path}: a damaged file: {error}") from None
    if about["format"] == 1:
        good = about.get(CHECKSUM) in (None, _checksum(tensors))
    else:
        good = checksum == _checksum(tensors, text)
    if not good:
        raise PolicyError(f"{path}: a damaged file: its contents are not those of its checksum")
    return tensors, about


def _checksum(tensors: Mapping[str, torch.Tensor], header: str = "") -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _describe(policies: PolicySet, extra: dict[str, Any]) -> dict[str, Any]:
    return {
        "specs": {role: spec.to_json() for role, spec in policies.specs.items()},
        "graph": policies.graph.model_dump(mode="json"),
        "ppo": policies.ppo.model_dump(mode="json"),
        **extra,
    }


def _statistics(policies: PolicySet) -> dict[str, Any]:
    """Normaliser statistics by feature name, for the reader of the JSON."""
    spec = next(iter(policies.specs.values()))
    groups = {
        "nodes": (spec.node_features, policies.node_norm),
        "edges": (spec.edge_features, policies.edge_norm),
        "vector": (spec.vector_features, policies.vector_norm),
    }
    return {
        group: {
            name: {"mean": round(mean, 6), "std": round(math.sqrt(var), 6)}
            for name, mean, var in zip(names, norm.mean.tolist(), norm.var.tolist(), strict=True)
        }
        for group, (names, norm) in groups.items()
    }


def save_policies(path: str | Path, policies: PolicySet, **extra: Any) -> Path:
    """Write `path` (.safetensors) and the JSON beside it; `extra` is kept in both (config, update, ...)."""
    path = Path(path)
    about = _describe(policies, extra)
    save_tensors(path, policies.state_dict(), about)
    readable = json.dumps({"format": FORMAT, **about, "normaliser": _statistics(policies)}, indent=1)
    write_atomic(path.with_suffix(".json"), readable.encode())
    return path


def read_header(path: Path) -> dict[str, Any]:
    """What a policy file says of itself. Raises PolicyError naming the file."""
    if not path.is_file():
        raise PolicyError(f"{path}: no such policy file")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
        about = json.loads(text.rpartition("\n")[2]) if text is not None else None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise PolicyError(f"{path}: not a readable policy file: {error}") from None
    if not isinstance(about, dict):
        raise PolicyError(f"{path}: a safetensors file, but not one of lobgraph's policies")
    if about.get("format") not in READ:
        raise PolicyError(
            f"{path}: policy format {about.get('format')!r}; this version reads {' and '.join(map(str, READ))}"
        )
    return about


def load_policies(path: str | Path, env: Any = None) -> PolicySet:
    """Policies by a path alone: a run's directory, a group of seeds (its first), a scenario's directory (its newest run), or
    one policy file. In evaluation mode, and on the CPU, wherever they were trained.

    With `env` they are attached to it: any number of books, agents (with ppo.sharing other than "agent") and pairs.
    Raises PolicyError if the file is missing, damaged, or its features or actions differ from the environment's.
    """
    path = Path(path)
    if path.is_dir():
        try:
            path = find_run(path, POLICY) / POLICY
        except FileNotFoundError:
            raise PolicyError(f"{path}: not a run directory, it has no {POLICY}") from None
    tensors, about = load_tensors(path)
    try:
        policies = PolicySet(
            about["specs"], GraphConfig.model_validate(about["graph"]), PPOConfig.model_validate(about["ppo"])
        )
        policies.load_state_dict(tensors)
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
        raise PolicyError(f"{path}: a damaged policy file: {error}") from None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise PolicyError(f"{path}: a damaged policy file: {name} is not finite")
    policies.eval().requires_grad_(False)
    return policies if env is None else policies.attach(env)
