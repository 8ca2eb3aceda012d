"""Policies against the market, episode by episode, on seeds apart from training; the table statistics start from.

Episode i is the first episode of environment i, so two evaluations with one seed meet the same noise: compare them
row by row (paired), which removes most of the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from ..config import Config
from ..models.policy import PolicySet
from .checkpoint import load_policies

# What may act for a role: a run directory or policy file, policies, any function of the observations (by role) that
# returns the role's actions (E, K, items, act_dim) or a mapping by role that holds them, or None: do nothing.
Actor = str | Path | PolicySet | Callable[[Any], Any] | None
BATCH = 256  # environments stepped at once


def evaluate(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episodes: int = 100,
    seed: int = 1,
    deterministic: bool = True,
    batch: int = BATCH,
) -> pd.DataFrame:
    """Run `episodes` episodes; roles of `cfg` that `agents` does not name do nothing.

    Returns one row per episode, role and agent: episode, role, agent, return, length, terms/<term>, equity
    (tick-lots), max_inventory, final_inventory (sum over books of |lots|), remaining (sum of |lots| not traded).
    Raises ValueError for an unknown role, PolicyError for a policy that does not fit.
    """
    from ..env.market_env import MarketEnv

    if episodes < 1:
        raise ValueError(f"episodes: must be at least 1, got {episodes}")
    agents = dict(agents or {})
    if unknown := sorted(set(agents) - set(cfg.counts)):
        raise ValueError(f"agents: the market has no {unknown[0]!r}; its roles are {sorted(cfg.counts)}")
    if cfg.env.stagger:  # would cut the first episodes short
        cfg = cfg.model_copy(update={"env": cfg.env.model_copy(update={"stagger": False})})
    generator = torch.Generator().manual_seed(seed)
    tables = []
    for first in range(0, episodes, batch):
        env = MarketEnv(cfg, num_envs=min(batch, episodes - first), seed=seed, first_env=first)
        actors = {role: _actor(role, agents.get(role), env, deterministic, generator) for role in env.specs}
        tables.append(_episodes(env, actors, first))
    return pd.concat(tables, ignore_index=True).sort_values(["episode", "role", "agent"], ignore_index=True)


def _actor(
    role: str, given: Actor, env: Any, deterministic: bool, generator: torch.Generator
) -> Callable[[Any], Tensor]:
    """A function of the observations by role that returns the role's actions."""
    spec = env.specs[role]
    if given is None:
        low, high = torch.as_tensor(spec.low), torch.as_tensor(spec.high)
        still = torch.zeros(env.num_envs, spec.count, spec.items, len(spec.action_names)).clamp(low, high)
        return lambda obs: still
    if isinstance(given, str | Path):
        given = load_policies(given)
    if isinstance(given, PolicySet):
        if role not in given.specs:
            raise ValueError(f"agents: the policies given for {role!r} act only for {sorted(given.specs)}")
        policies = given.subset(role).attach(env)
        return lambda obs: policies.act(obs, deterministic, generator)[role]
    if not callable(given):
        raise ValueError(
            f"agents[{role!r}]: expected a path, policies, a function or None, got {type(given).__name__}"
        )
    function = given

    def call(obs: Any) -> Tensor:
        actions = function(obs)
        return actions[role] if isinstance(actions, Mapping) else actions

    return call


def _episodes(env: Any, actors: Mapping[str, Callable[[Any], Tensor]], first: int) -> pd.DataFrame:
    """Step until every environment has ended one episode."""
    obs = env.reset()
    open_ = np.ones(env.num_envs, dtype=bool)
    rows = []
    while open_.any():
        obs, _, _, _, info = env.step({role: act(obs) for role, act in actors.items()})
        ended = info["episodes"]
        if ended is None:
            continue
        ids = np.asarray(ended["env"])
        fresh = open_[ids]
        open_[ids] = False
        rows += [_rows(env, ended, role, fresh, first) for role in env.specs]
    return pd.concat(rows, ignore_index=True)


def _rows(env: Any, ended: dict[str, Any], role: str, fresh: np.ndarray, first: int) -> pd.DataFrame:
    """One row per environment in `fresh` (D,) bool and agent of the role."""
    spec = env.specs[role]
    part = {key: np.asarray(ended[key][role], dtype=np.float64)[fresh] for key in
            ("return", "terms", "equity", "max_inventory", "inventory", "remaining")}  # fmt: skip
    d, k = part["return"].shape
    columns = {
        "episode": np.repeat(np.asarray(ended["env"])[fresh] + first, k),
        "role": role,
        "agent": np.tile(np.arange(k), d),
        "return": part["return"].ravel(),
        "length": np.repeat(np.asarray(ended["length"])[fresh], k),
    }
    for i, name in enumerate(spec.reward_terms):
        columns[f"terms/{name}"] = part["terms"][..., i].ravel()
    columns["equity"] = part["equity"].ravel()
    columns["max_inventory"] = part["max_inventory"].ravel()
    columns["final_inventory"] = np.abs(part["inventory"]).sum(-1).ravel()
    columns["remaining"] = np.abs(part["remaining"]).sum(-1).ravel()
    return pd.DataFrame(columns)


def summary(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Mean, standard deviation and t interval of every column by role.

    Agents of one episode are averaged first: they share its market, only episodes are independent.
    Returns columns role, metric, episodes, mean, std, low, high.
    """
    metrics = [c for c in table.columns if c not in ("episode", "role", "agent")]
    rows = []
    for role, part in table.groupby("role", sort=False):
        means: Any = part.groupby("episode")[metrics].mean()  # one row per episode
        for metric in metrics:
            x = np.asarray(means[metric], dtype=float)
            x = x[~np.isnan(x)]
            if not len(x):
                continue
            std = float(x.std(ddof=1)) if len(x) > 1 else float("nan")
            half = (
                float(stats.t.ppf(0.5 + level / 2, len(x) - 1)) * std / len(x) ** 0.5
                if len(x) > 1
                else float("nan")
            )
            mean = float(x.mean())
            rows.append((role, metric, len(x), mean, std, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["role", "metric", "episodes", "mean", "std", "low", "high"])
