"""Stable-Baselines3: a VecEnv over the batched market, without a wrapper per environment. Needs the extra `sb3`."""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from ..config import Config, ConfigError
from ..rl.actors import Actor
from .acting import Predict, as_actor
from .batch import Seat
from .decode import Decoder
from .encode import Encoder, check_choice
from .registry import as_config
from .spaces import action_space, observation_space

__all__ = ["Sb3VecEnv", "as_actor", "predictor"]


class Sb3VecEnv(VecEnv):
    """One agent's seat in each of `num_envs` markets.

    An episode's end is in infos as SB3 wants it: "terminal_observation", "TimeLimit.truncated", and "episode" (r: reward,
    l: steps, t: seconds since the start) with "terms", the reward's terms summed over the episode.

    Arguments are those of adapters.gym.RoleEnv; observations "flat" or "dict". num_envs: default cfg.env.num_envs. seed: default
    cfg.run.seed, or what `seed()` says. stagger: whether first episodes start in the middle, so that not all end at once; default
    cfg.env.stagger.
    """

    def __init__(
        self,
        cfg: Config | str | Path,
        num_envs: int | None = None,
        role: str | None = None,
        others: Mapping[str, Actor] | None = None,
        observations: str = "flat",
        actions: str = "normalised",
        choices: np.ndarray | None = None,
        seed: int | None = None,
        stagger: bool | None = None,
    ) -> None:
        cfg = as_config(cfg)
        self.kind = check_choice("observations", observations, ("flat", "dict"))
        self.render_mode = None
        self.seat = Seat(cfg, role, num_envs, seed, others, stagger)
        self.market, self.role = self.seat.market, self.seat.role
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg, self.seat.spec, actions, choices)
        super().__init__(self.seat.num_envs, observation_space(cfg, observations), action_space(self.decoder))
        self._actions: Any = None
        self._started = False
        self._begun = time.perf_counter()
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)

    def reset(self) -> Any:
        """Episode 0 of the seed the first time and after `seed()`, then the next episodes."""
        given = self._seeds[0]
        if given is None and self._started:
            self.seat.restart(np.ones(self.num_envs, np.bool_))
        else:
            self.seat.reset(given)
        self._reset_seeds()
        self._reset_options()
        self._started = True
        self._returns[:], self._lengths[:] = 0.0, 0
        return self._observe()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        seat = self.seat
        seat.play(self.decoder(self._actions, ("environment",)))
        reward = seat.reward.copy()
        ended = seat.terminated | seat.truncated
        self._returns += reward
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            self._finish(ended, infos)
            seat.restart(ended)
        return self._observe(), reward, ended, infos

    def _finish(self, ended: np.ndarray, infos: list[dict[str, Any]]) -> None:
        ids = np.flatnonzero(ended)
        last = self._observe(ids)
        seconds = round(time.perf_counter() - self._begun, 6)
        for row, env in enumerate(ids.tolist()):
            infos[env] = {
                "terminal_observation": last[row]
                if self.kind == "flat"
                else {n: x[row] for n, x in last.items()},
                "TimeLimit.truncated": bool(self.seat.truncated[env]),
                "episode": {"r": float(self._returns[env]), "l": int(self._lengths[env]), "t": seconds},
                "terms": self.seat.terms(env),
            }
        self._returns[ids], self._lengths[ids] = 0.0, 0

    def _observe(self, rows: Any = slice(None)) -> Any:
        encode = self.encoder.flat if self.kind == "flat" else self.encoder.dict
        return encode(self.seat.nodes[rows], self.seat.edges[rows], self.seat.vector[rows])

    def close(self) -> None:
        """Nothing is held that would need it."""

    # --- there is one object for all environments ---

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        raise ConfigError(
            f"set_attr({attr_name!r}): the environments of a batch share their settings; make another"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        raise ConfigError(
            f"env_method({method_name!r}): the environments of a batch are one object; call it there"
        )

    def env_is_wrapped(self, wrapper_class: Any, indices: int | Iterable[int] | None = None) -> list[bool]:
        """Episode statistics come with it, as from SB3's Monitor; no other wrapper."""
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))


def predictor(model: Any, normalise: VecNormalize | None = None, deterministic: bool = True) -> Predict:
    """What `as_actor` takes, of an SB3 model and the VecNormalize it was trained with."""

    def predict(observations: Any) -> np.ndarray:
        if normalise is not None:
            observations = normalise.normalize_obs(observations)
        return model.predict(observations, deterministic=deterministic)[0]

    return predict
