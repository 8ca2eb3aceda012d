"""A model of another library in a role: its `predict` made into an actor of this package.

What comes back is a function of the observations, as `evaluate`, `compare` and `others` take them; a `ModelStrategy` is
the same as a strategy, for the command line (scripts/examples/sb3_strategy.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..agents import Strategy, View
from ..config import Config, ConfigError
from ..env.actions import role_specs
from ..env.observe import Observation
from .decode import Decoder
from .encode import Encoder, check_choice
from .registry import as_config

Predict = Callable[[Any], Any]  # observations (B, ...) -> actions (B, ...), in the forms of RoleVectorEnv


def as_actor(
    predict: Predict,
    cfg: Config | str | Path,
    role: str,
    observations: str = "flat",
    actions: str = "normalised",
    choices: np.ndarray | None = None,
) -> Callable[[Mapping[str, Observation]], np.ndarray]:
    """A function that acts for all agents of `role` in any batch of the market `cfg`.

    predict: observations of B agents -> their actions, in the forms that `observations` and `actions` name, as the model was
    trained on them. Of Stable-Baselines3: `sb3.predictor(model, normalise)`.
    """
    translate = _Translation(as_config(cfg), role, observations, actions, choices)
    return lambda obs: translate(predict, obs[role])


class _Translation:
    """Observations of a role -> those of a model; its actions -> those of the market."""

    def __init__(
        self, cfg: Config, role: str, observations: str, actions: str, choices: np.ndarray | None = None
    ) -> None:
        specs = role_specs(cfg)
        if role not in specs:
            raise ConfigError(f"role {role!r}: has no agents in {cfg.name}; roles are {', '.join(specs)}")
        self.kind = check_choice("observations", observations, ("flat", "dict"))
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg, specs[role], actions, choices)

    def __call__(self, predict: Predict, obs: Observation) -> np.ndarray:
        """(E, K, ...) -> (E, K, items, act_dim)."""
        envs, agents = obs.nodes.shape[:2]
        parts = (x.numpy().reshape(envs * agents, *x.shape[2:]) for x in obs)
        encode = self.encoder.flat if self.kind == "flat" else self.encoder.dict
        actions = np.asarray(predict(encode(*parts)))
        shape = (envs * agents, *self.decoder.shape)
        if actions.shape != shape:
            raise ValueError(f"model: predict must return actions of shape {shape}, got {actions.shape}")
        physical = self.decoder(actions, ("row",))
        return physical.reshape(envs, agents, *physical.shape[1:])


class ModelStrategy(Strategy):
    """Base of strategies that ask a model. Derive a dataclass, set `role`, and write `load`, which returns a Predict."""

    observations: str = "flat"
    actions: str = "normalised"

    def load(self, view: View) -> Predict:
        """Called before the first decision in a new batch of environments."""
        raise NotImplementedError(f"{type(self).__name__}.load: a model must be loaded from somewhere")

    def start(self, view: View) -> None:
        self._predict = self.load(view)
        self._translate = _Translation(view.cfg, view.role, self.observations, self.actions)

    def act(self, view: View) -> np.ndarray:
        return self._translate(self._predict, view.observation)
