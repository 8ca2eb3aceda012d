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
            which = torch.ones(self.batch.num_envs, dtype=torch.bool)
        else:
            which = which.reshape(self.batch.num_envs)
            self.batch.restart(which.numpy().copy())
        out = self._observed()
        for role in self.batch.specs:
            # of environments that go on, what they had ended with stays
            ended = ~out[role, "mask"] & ~which[:, None]
            own = out.get(role)
            own.update(_ends(ended[..., None], torch.zeros_like(ended)[..., None]))
        never = torch.zeros((self.batch.num_envs, 1), dtype=torch.bool)
        out.update(_ends(never, never.clone()))
        return out

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        actions = {}
        for role, decode in self.decoders.items():
            given = tensordict.get((role, "action")).detach().numpy()
            spec = self.batch.specs[role]
            actions[role] = decode(given.reshape(self.batch.num_envs, spec.count, *decode.shape))
        self.batch.step(actions)
        out, buffers = self._observed(), self.market.buffers
        done = torch.from_numpy(buffers.done.copy())[:, None]  # (E, 1)
        flags = torch.from_numpy(buffers.flag)
        cut = torch.zeros_like(done)
        for role, spec in self.batch.specs.items():
            own = flags[:, spec.agents]
            truncated = own[..., TRUNCATED]
            gone = own[..., TERMINATED] | ~own[..., ACTIVE]  # in this step, or before
            out.get(role).update(_ends(gone[..., None].clone(), truncated[..., None].clone()))
            reward = torch.from_numpy(buffers.reward[:, spec.agents].copy())
            out[role, "reward"] = reward[..., None]
            cut |= truncated.any(1, keepdim=True)
        out.update(_ends(done & ~cut, done & cut))
        return out

    def _observed(self) -> TensorDict:
        """Observations and masks of all groups, copied."""
        envs, out = self.batch.num_envs, self.market.buffers
        found = TensorDict(batch_size=[envs], device=self.device)  # without its device TorchRL would copy all
        for role, spec in self.batch.specs.items():
            own, count = spec.agents, spec.count
            nodes = out.nodes[:, own].reshape(envs * count, *self.encoder.nodes)
            edges = out.edges if count == 1 else np.repeat(out.edges, count, axis=0)
            vector = out.vector[:, own].reshape(envs * count, -1)
            flat = torch.from_numpy(self.encoder.flat(nodes, edges, vector)).view(envs, count, -1)
            mask = torch.from_numpy(self.market.state.active[:, own, 0] != 0)
            parts = {"observation": flat, "mask": mask}
            found[role] = TensorDict(parts, batch_size=[envs, count], device=self.device)
        return found


def _flags(shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        name: Categorical(2, shape=torch.Size(shape), dtype=torch.bool)
        for name in ("done", "terminated", "truncated")
    }


def _ends(terminated: torch.Tensor, truncated: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"done": terminated | truncated, "terminated": terminated, "truncated": truncated}
