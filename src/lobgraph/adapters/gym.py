"""Gymnasium: one agent's seat in one market (`RoleEnv`) or in a batch of them (`RoleVectorEnv`). Needs the extra `gym`."""

# pyright: reportMissingImports=false
# The library is an extra.
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import GraphInstance
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ..config import Config, ConfigError
from ..rl.actors import Actor
from .batch import Seat
from .decode import Decoder
from .encode import Encoder, check_choice
from .registry import as_config
from .render import MODES, check_mode, render
from .spaces import action_space, observation_space

MOST_SEED = 2**31 - 1


class RoleEnv(gymnasium.Env[Any, Any]):
    """One agent in one market; the others are held.

    An episode is terminated where the agent broke a limit or its target's deadline has come, truncated by the time limit.
    `info` is empty but at an episode's end: "terms", the reward's terms summed over the episode.

    Args:
        cfg: a Config, the path of a scenario file, or the name of a shipped scenario.
        role: whose first agent is played; default the only role that nobody holds.
        others: role -> who holds it: the text of a strategy, a run directory, policies, a function, None (does nothing).
            Roles that it does not name are held as agents.<role>.actor says; those that are to learn do nothing.
        observations: "flat", "dict" or "graph", see spaces.observation_space.
        actions: "normalised" (in [-1, 1]), "physical" (the units of MarketEnv) or "discrete".
        choices: table of "discrete", see decode.choices_of.
        seed: of all draws until reset(seed=...); default: drawn at random.
        render_mode: "ansi" or "rgb_array".
    """

    metadata = {"render_modes": list(MODES), "render_fps": 10}

    def __init__(
        self,
        cfg: Config | str | Path,
        role: str | None = None,
        others: Mapping[str, Actor] | None = None,
        observations: str = "flat",
        actions: str = "normalised",
        choices: np.ndarray | None = None,
        seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        cfg = as_config(cfg)
        self.kind = check_choice("observations", observations, ("flat", "dict", "graph"))
        self.render_mode = check_mode(render_mode)
        self.seat = Seat(cfg, role, 1, seed, others, stagger=False)
        self._first_seed = self.seat.market.seed if seed is not None else None
        self.role, self.market = self.seat.role, self.seat.market
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg, self.seat.spec, actions, choices)
        self.observation_space = observation_space(cfg, observations)
        self.action_space = action_space(self.decoder)
        self._which = np.ones(1, np.bool_)
        self._running, self._started = False, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """The next episode; with a seed episode 0 of that seed."""
        super().reset(seed=seed)
        if seed is None and not self._started:
            seed = self._first_seed
            if seed is None:
                seed = int(self.np_random.integers(MOST_SEED))
        if seed is None:
            self.seat.restart(self._which)
        else:
            self.seat.reset(seed)
        self._running = self._started = True
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self._running:
            raise RuntimeError("step: the episode has ended or not begun; call reset()")
        if np.shape(action) != self.action_space.shape:
            raise ValueError(
                f"action of the {self.role}: shape must be {self.action_space.shape}, got {np.shape(action)}"
            )
        seat = self.seat
        seat.play(self.decoder(action)[None])
        terminated, truncated = bool(seat.terminated[0]), bool(seat.truncated[0])
        info = {}
        if terminated or truncated:
            self._running = False
            info["terms"] = seat.terms(0)
        return self._observe(), float(seat.reward[0]), terminated, truncated, info

    def _observe(self) -> Any:
        seat = self.seat
        arrays = (seat.nodes, seat.edges, seat.vector)
        if self.kind == "flat":
            return self.encoder.flat(*arrays)[0]
        parts = {name: array[0] for name, array in self.encoder.dict(*arrays).items()}
        if self.kind == "dict":
            return parts
        links = self.encoder.links.copy() if len(self.encoder.links) else None
        return {"graph": GraphInstance(parts["nodes"], parts.get("edges"), links), "vector": parts["vector"]}

    def render(self) -> Any:
        return render(self.market, self.render_mode)


class RoleVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """One agent's seat in each of `num_envs` markets, stepped as one batch.

    Resets within the step that ends an episode (AutoresetMode.SAME_STEP): the last observations stand in
    `infos["final_obs"]` (an object array), the reward's terms in `infos["final_info"]["terms"]`. Arguments are those of RoleEnv;
    observations "flat" or "dict", and `stagger`: whether first episodes start in the middle, so that not all end at once.
    """

    metadata = {"render_modes": list(MODES), "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        cfg: Config | str | Path,
        num_envs: int = 1,
        role: str | None = None,
        others: Mapping[str, Actor] | None = None,
        observations: str = "flat",
        actions: str = "normalised",
        choices: np.ndarray | None = None,
        seed: int | None = None,
        stagger: bool = False,
        render_mode: str | None = None,
    ) -> None:
        cfg = as_config(cfg)
        if observations == "graph":
            raise ConfigError('observations: "graph" is of one environment at a time; use "dict" or "flat"')
        self.kind = check_choice("observations", observations, ("flat", "dict"))
        self.render_mode = check_mode(render_mode)
        self.seat = Seat(cfg, role, num_envs, seed, others, stagger)
        self._first_seed = self.seat.market.seed if seed is not None else None
        self.role, self.market, self.num_envs = self.seat.role, self.seat.market, self.seat.num_envs
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg, self.seat.spec, actions, choices)
        self.single_observation_space = observation_space(cfg, observations)
        self.single_action_space = action_space(self.decoder)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._shape = (self.num_envs, *self.decoder.shape)
        self._started = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """The next episodes; with a seed episode 0 of that seed in every environment, another in each.

        options["reset_mask"]: (num_envs,) bool, only these are reset.
        """
        if isinstance(seed, list | tuple | np.ndarray):
            raise ValueError(f"seed: one number for the whole batch, whose environments differ, got {seed!r}")
        super().reset(seed=seed)
        which = np.ones(self.num_envs, np.bool_)
        if options and "reset_mask" in options:
            which = self._mask(options["reset_mask"], seed)
        elif seed is None and not self._started:
            seed = int(self.np_random.integers(MOST_SEED)) if self._first_seed is None else self._first_seed
        if seed is None:
            self.seat.restart(which)
        else:
            self.seat.reset(seed)
        self._started = True
        return self._observe(), {}

    def _mask(self, mask: Any, seed: int | None) -> np.ndarray:
        if not self._started or seed is not None:
            raise ValueError("reset_mask: is of environments that run, and goes without a seed")
        mask = np.ascontiguousarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"reset_mask: must be bool of shape ({self.num_envs},), got {mask.dtype} of {mask.shape}"
            )
        return mask

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if not self._started:
            raise RuntimeError("step: call reset() first")
        if np.shape(actions) != self._shape:
            raise ValueError(f"actions: shape must be {self._shape}, got {np.shape(actions)}")
        seat = self.seat
        seat.play(self.decoder(actions, ("environment",)))
        reward = seat.reward.astype(np.float64)
        terminated, truncated = seat.terminated.copy(), seat.truncated.copy()
        infos: dict[str, Any] = {}
        ended = terminated | truncated
        if ended.any():
            infos = self._final(ended)
            seat.restart(ended)
        return self._observe(), reward, terminated, truncated, infos

    def _observe(self, rows: Any = slice(None)) -> Any:
        encode = self.encoder.flat if self.kind == "flat" else self.encoder.dict
        return encode(self.seat.nodes[rows], self.seat.edges[rows], self.seat.vector[rows])

    def _final(self, ended: np.ndarray) -> dict[str, Any]:
        """The last observations and sums of the episodes that end, in gymnasium's form."""
        ids = np.flatnonzero(ended)
        last = self._observe(ids)
        final = np.full(self.num_envs, None, dtype=object)
        sums = {name: np.zeros(self.num_envs) for name in self.seat.spec.reward_terms}
        for row, env in enumerate(ids.tolist()):
            final[env] = last[row] if self.kind == "flat" else {name: x[row] for name, x in last.items()}
            for name, value in self.seat.terms(env).items():
                sums[name][env] = value
        terms: dict[str, np.ndarray] = {}
        for name, values in sums.items():
            terms[name], terms[f"_{name}"] = values, ended.copy()
        return {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": {"terms": terms, "_terms": ended.copy()},
            "_final_info": ended.copy(),
        }

    def render(self) -> Any:
        if self.render_mode is None:
            gymnasium.logger.warn(
                'render: give render_mode="ansi" or "rgb_array" when the environment is made'
            )
            return None
        return tuple(render(self.market, self.render_mode, env) for env in range(self.num_envs))
