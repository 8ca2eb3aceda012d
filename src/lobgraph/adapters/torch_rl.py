"""TorchRL: the batched market with a group of agents for each played role, under nested keys. Needs the extra `torchrl`.

    ("maker", "observation") (E, K, size)   ("maker", "action") (E, K, items * act_dim)   ("maker", "reward") (E, K, 1)
    ("maker", "mask") (E, K), ("maker", "done" | "terminated" | "truncated") (E, K, 1)    "done" | ... (E, 1)

as TorchRL's multi-agent environments have them, so that its losses and BenchMARL's algorithms take the market as it is.
"""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, MultiCategorical, Unbounded
from torchrl.envs import EnvBase

from ..config import Config
from ..env.drive import ACTIVE, TERMINATED, TRUNCATED
from ..rl.actors import Actor
from .batch import Batch
from .bounds import edge_bounds, node_bounds, vector_bounds
from .decode import Decoder
from .encode import Encoder
from .registry import as_config

CPU = torch.device("cpu")
ENDS = ("done", "terminated", "truncated")
OWN_KEYS = frozenset(
    ("observation", "mask", "reward", *ENDS)
)  # of a group; its action is carried on, as TorchRL does

REWARD = frozenset(("reward",))


class TorchRLMarket(EnvBase):
    """E markets, batch_size [E]; the groups are the roles that nobody holds.

    The root ends when all agents have ended or the time is over, and is then reset by TorchRL (`_reset`). An agent that ended
    before is out of the "mask": what it does counts for nothing, its reward is 0. The root is terminated where no agent's
    episode was cut short by the time limit.

    Args:
        cfg: a Config, the path of a scenario file, or the name of a shipped scenario.
        num_envs: E; default cfg.env.num_envs.
        others: role -> who holds it, see adapters.gym.RoleEnv; roles with agents.<role>.actor other than `learn` are held too.
        actions: "normalised" (in [-1, 1]) or "discrete" (whole numbers).
        choices: role -> table of "discrete", see decode.choices_of.
        seed: of all draws; default cfg.run.seed.
        stagger: whether first episodes start in the middle, so that not all end at once; default cfg.env.stagger.
    """

    def __init__(
        self,
        cfg: Config | str | Path,
        num_envs: int | None = None,
        others: Mapping[str, Actor] | None = None,
        actions: str = "normalised",
        choices: Mapping[str, np.ndarray] | None = None,
        seed: int | None = None,
        stagger: bool | None = None,
    ) -> None:
        cfg = as_config(cfg)
        batch = Batch(cfg, num_envs, seed, others, stagger=stagger)
        super().__init__(device=torch.device("cpu"), batch_size=torch.Size([batch.num_envs]))
        self.batch, self.market, self.cfg = batch, batch.market, cfg
        self.encoder = Encoder(cfg)
        self.decoders = {
            role: Decoder(cfg, spec, actions, (choices or {}).get(role)) for role, spec in batch.specs.items()
        }
        self.group_map = {
            role: [f"{role}_{k}" for k in range(spec.count)] for role, spec in batch.specs.items()
        }
        self._own_keys = frozenset((*ENDS, *batch.specs))  # of the root
        self._played = [
            g for spec in batch.specs.values() for g in range(spec.agents.start, spec.agents.stop)
        ]
        self._seed_to_use: int | None = batch.market.seed
        self._specs()

    def _specs(self) -> None:
        envs, cfg = self.batch.num_envs, self.cfg
        bounds = [node_bounds(cfg), edge_bounds(cfg), vector_bounds(cfg)]
        times = (self.encoder.nodes[0], self.encoder.edges[0], 1)
        low, high = (
            torch.from_numpy(np.concatenate([np.tile(b[i], n) for b, n in zip(bounds, times, strict=True)]))
            for i in range(2)
        )
        observations, actions, rewards, dones = (Composite(shape=(envs,)) for _ in range(4))
        for role, spec in self.batch.specs.items():
            lead = torch.Size((envs, spec.count))
            size = torch.Size((*lead, self.encoder.size))
            observations[role] = Composite(
                observation=Bounded(low.expand(size), high.expand(size), size, dtype=torch.float32),
                mask=Binary(n=spec.count, shape=lead, dtype=torch.bool),
                shape=lead,
            )
            actions[role] = Composite(action=self._action_spec(role, lead), shape=lead)
            rewards[role] = Composite(
                reward=Unbounded(torch.Size((*lead, 1)), dtype=torch.float32), shape=lead
            )
            dones[role] = Composite(_flags((*lead, 1)), shape=lead)
        dones.update(_flags((envs, 1)))
        self.observation_spec, self.full_action_spec = observations, actions
        self.full_reward_spec, self.full_done_spec = rewards, dones

    def _action_spec(self, role: str, lead: torch.Size) -> Any:
        decoder, spec = self.decoders[role], self.batch.specs[role]
        if decoder.kind != "discrete":
            size = torch.Size((*lead, spec.items * decoder.dims))
            if decoder.kind == "normalised":
                return Bounded(-1.0, 1.0, size, dtype=torch.float32)
            low, high = (torch.from_numpy(np.tile(b, spec.items)) for b in (spec.low, spec.high))
            return Bounded(low.expand(size), high.expand(size), size, dtype=torch.float32)
        count = len(decoder.choices)
        if spec.items == 1:
            return Categorical(count, shape=lead, dtype=torch.int64)
        return MultiCategorical(
            [count] * spec.items, shape=torch.Size((*lead, spec.items)), dtype=torch.int64
        )

    def _set_seed(self, seed: int | None) -> None:
        """The next reset of all environments starts episode 0 of this seed."""
        self._seed_to_use = seed

    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        which = None if tensordict is None else tensordict.get("_reset", None)
        if which is None or bool(which.all()):
            if self._seed_to_use is None:
                self.batch.restart(np.ones(self.batch.num_envs, np.bool_))
            else:
                self.batch.reset(self._seed_to_use)
                self._seed_to_use = None
            started = np.ones(self.batch.num_envs, np.bool_)
        else:
            started = which.numpy().reshape(self.batch.num_envs).copy()
            self.batch.restart(started)
        return self._started(started, {}, {role: {} for role in self.batch.specs})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        actions = {}
        for role, decode in self.decoders.items():
            given = tensordict.get((role, "action")).detach().numpy()
            spec = self.batch.specs[role]
            actions[role] = decode(
                given.reshape(self.batch.num_envs, spec.count, *decode.shape), ("environment", "agent")
            )
        self.batch.step(actions)
        buffers = self.market.buffers
        truncated = buffers.flag[..., TRUNCATED].copy()  # (E, G)
        gone = buffers.flag[..., TERMINATED] | ~buffers.flag[..., ACTIVE]  # in this step, or before
        reward = buffers.reward.copy()
        parts: dict[str, Any] = {}
        for role, spec in self.batch.specs.items():
            own = spec.agents
            group = self._observed(role) | _ends(gone[:, own, None], truncated[:, own, None])
            group["reward"] = torch.from_numpy(reward[:, own, None])
            parts[role] = self._group(role, group)
        done, cut = buffers.done, truncated[:, self._played].any(axis=1)
        parts |= _ends((done & ~cut)[:, None], (done & cut)[:, None])
        return self._root(parts)

    def step_and_maybe_reset(self, tensordict: TensorDictBase) -> tuple[TensorDictBase, TensorDictBase]:
        """TorchRL's own, in fewer steps: what has just been made by `_step` and `_started` is not checked and copied again.

        What stands beside the environment's own keys (of a policy: its action, its state) is carried to the next step, as
        there, and zeroed where some environments, not all, begin anew.
        """
        kept = _others(tensordict, self._own_keys)
        inside = {role: _others(tensordict.get(role), OWN_KEYS) for role in self.batch.specs}
        plain = all(isinstance(v, torch.Tensor) for extra in (kept, *inside.values()) for v in extra.values())
        if not plain or "_step" in kept or self._post_step_mdp_hooks is not None:
            return super().step_and_maybe_reset(tensordict)
        self._assert_tensordict_shape(tensordict)
        after = self._step(tensordict)
        tensordict.set("next", after)
        done = self.market.buffers.done
        if done.any():
            started = done.copy()
            self.batch.restart(started)
            if not started.all():
                rows = torch.from_numpy(started)
                kept = _zeroed(kept, rows)
                inside = {role: _zeroed(extra, rows) for role, extra in inside.items()}
            return tensordict, self._started(started, kept, inside)
        for role, extra in inside.items():
            kept[role] = self._group(role, extra | _others(after.get(role), REWARD))
        kept.update({name: after.get(name) for name in ENDS})
        return tensordict, self._root(kept)

    def _started(
        self, started: np.ndarray, kept: dict[str, Any], inside: dict[str, dict[str, Any]]
    ) -> TensorDictBase:
        """What agents see before a step, where environments `started` (E,) bool have just begun an episode.

        `kept`, and `inside` by group: what else is to stand there.
        """
        ended = (self.market.state.active[..., 0] == 0) & ~started[
            :, None
        ]  # in those that go on, as they ended
        never = np.zeros_like(ended)
        for role, spec in self.batch.specs.items():
            flags = _ends(ended[:, spec.agents, None], never[:, spec.agents, None])
            kept[role] = self._group(role, inside[role] | self._observed(role) | flags)
        on = np.zeros((self.batch.num_envs, 1), np.bool_)
        return self._root(kept | _ends(on, on.copy()))

    def _observed(self, role: str) -> dict[str, torch.Tensor]:
        """A group's observations and mask, copied."""
        out, spec = self.market.buffers, self.batch.specs[role]
        own, count, envs = spec.agents, spec.count, self.batch.num_envs
        nodes = out.nodes[:, own].reshape(envs * count, *self.encoder.nodes)
        edges = out.edges if count == 1 else np.repeat(out.edges, count, axis=0)
        vector = out.vector[:, own].reshape(envs * count, -1)
        flat = torch.from_numpy(self.encoder.flat(nodes, edges, vector)).view(envs, count, -1)
        return {"observation": flat, "mask": torch.from_numpy(self.market.state.active[:, own, 0] != 0)}

    def _group(self, role: str, parts: dict[str, Any]) -> TensorDict:
        return _unchecked(parts, torch.Size((self.batch.num_envs, self.batch.specs[role].count)))

    def _root(self, parts: dict[str, Any]) -> TensorDict:
        return _unchecked(parts, self.batch_size)


def _unchecked(parts: dict[str, Any], shape: torch.Size) -> TensorDict:
    """A TensorDict of tensors whose shapes are known to fit: TorchRL's own way to leave out the checks."""
    return TensorDict._new_unsafe(parts, batch_size=shape, device=CPU)


def _others(tensordict: TensorDictBase, own: frozenset[str]) -> dict[str, Any]:
    """What stands under other keys than `own`."""
    return {key: tensordict.get(key) for key in tensordict.keys() if key not in own}  # noqa: SIM118 (iterates over rows)


def _zeroed(values: dict[str, torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Copies with 0 in some environments."""
    found = {key: value.clone() for key, value in values.items()}
    for value in found.values():
        value[rows] = 0
    return found


def _flags(shape: tuple[int, ...]) -> dict[str, Any]:
    return {name: Categorical(2, shape=torch.Size(shape), dtype=torch.bool) for name in ENDS}


def _ends(terminated: np.ndarray, truncated: np.ndarray) -> dict[str, torch.Tensor]:
    ends = {"done": terminated | truncated, "terminated": terminated, "truncated": truncated}
    return {name: torch.from_numpy(flag) for name, flag in ends.items()}
