"""One toy problem learned by one process or by two: what the processes run, importable by spawned ones."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from toy import Obs, ToyEnv, toy_config

from lobgraph.rl.group import ALONE, Group
from lobgraph.rl.processes import _meeting, _work
from lobgraph.rl.rollout import Rollout
from lobgraph.rl.trainer import Trainer

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}


class Part:
    """Environments first..last - 1 of a ToyEnv, which plays all of them."""

    def __init__(self, whole: ToyEnv, first: int, last: int) -> None:
        self.whole, self.rows = whole, slice(first, last)
        self.num_envs = last - first
        self.specs, self.pairs, self.adjacency = whole.specs, whole.pairs, whole.adjacency

    @property
    def nodes(self) -> torch.Tensor:
        return self.whole.nodes[self.rows]

    @property
    def edges(self) -> torch.Tensor:
        return self.whole.edges[self.rows]

    @property
    def vector(self) -> torch.Tensor:
        return self.whole.vector[self.rows]

    def _own(self, by_role: Any) -> Any:
        def cut(x: Any) -> Any:
            return Obs(*(part[self.rows] for part in x)) if isinstance(x, Obs) else x[self.rows]

        return None if by_role is None else {role: cut(x) for role, x in by_role.items()}

    def reset(self, seed: int | None = None) -> Any:
        return self._own(self.whole.reset(seed))

    def step(self, actions: Any) -> tuple[Any, ...]:
        padded = {}
        for role, own in actions.items():
            padded[role] = own.new_zeros(self.whole.num_envs, *own.shape[1:])
            padded[role][self.rows] = own
        *parts, info = self.whole.step(padded)
        shown = {name: self._own(info[name]) for name in ("active", "terms", "final_obs")}
        shown["done"] = info["done"][self.rows]
        shown["episodes"] = None if info["episodes"] is None else {
            key: x[self.rows] if isinstance(x, torch.Tensor) else self._own(x) for key, x in info["episodes"].items()
        }  # fmt: skip
        return (*(self._own(part) for part in parts), shown)


def trainer(group: Group, overrides: list[str], env: dict[str, Any]) -> Trainer:
    whole = ToyEnv(ROLES, **env)
    share = whole.num_envs // group.size
    part = Part(whole, group.rank * share, (group.rank + 1) * share)
    return Trainer(toy_config(*overrides), part, {}, group)  # type: ignore[arg-type]


def as_dealt(learner: Trainer, parts: int) -> None:
    """Let one process take the minibatches that `parts` processes take together."""
    ppo = learner.ppo

    def minibatches(rollout: Rollout) -> Iterator[torch.Tensor]:
        own = rollout.E // parts
        recurrent = learner.policies.recurrent
        count = own if recurrent else rollout.T * own
        for index in torch.randperm(count, generator=ppo.generator).split(count // ppo.ppo.minibatches):
            if recurrent:
                envs = torch.cat([rank * own + index for rank in range(parts)])
                yield (torch.arange(rollout.T).mul_(rollout.E).unsqueeze(1) + envs).view(-1)
            else:
                t, e = index // own, index % own
                yield torch.cat([t * rollout.E + rank * own + e for rank in range(parts)])

    ppo._minibatches = minibatches  # type: ignore[method-assign]


def learn(learner: Trainer, updates: int) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    learner.start()
    history = [learner.step() for _ in range(updates)]
    return {k: v.double().numpy() for k, v in learner.policies.state_dict().items()}, history


def learn_alone(parts: int, overrides: list[str], env: dict[str, Any], updates: int) -> Any:
    learner = trainer(ALONE, overrides, env)
    as_dealt(learner, parts)
    return learn(learner, updates)


def _learn_one(
    rank: int, size: int, file: str, overrides: list[str], env: dict[str, Any], updates: int, pipe: Any
) -> None:
    torch.set_num_threads(1)
    group = Group(rank, size)
    with _meeting(group, torch.device("cpu"), file):
        pipe.send(learn(trainer(group, overrides, env), updates))


def learn_together(
    size: int, place: Path, overrides: list[str], env: dict[str, Any], updates: int
) -> list[Any]:
    """What each process has learned and told."""
    return _spawn(size, _learn_one, (size, str(place / "file"), overrides, env, updates))


def _spawn(size: int, work: Any, args: tuple[Any, ...]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        workers.append(context.Process(target=work, args=(rank, *args, theirs), daemon=True))
        workers[-1].start()
        theirs.close()
        pipes.append(ours)
    try:
        found = [pipe.recv() for pipe in pipes]
        for worker in workers:
            worker.join(60)
        return found
    finally:
        for worker in workers:
            worker.kill()


__all__ = ["_work", "learn_alone", "learn_together"]
