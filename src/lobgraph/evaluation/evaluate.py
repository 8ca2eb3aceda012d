"""Who acts against the market, episode by episode, on seeds apart from training; the table statistics start from.

Episode i is the first episode of environment i, so two evaluations with one seed meet the same noise: compare them
row by row (paired), which removes most of the variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..config import Config
from ..rl.actors import Actor
from .record import BATCH, Series, play


def evaluate(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episodes: int = 100,
    seed: int = 1,
    deterministic: bool = True,
    batch: int = BATCH,
) -> pd.DataFrame:
    """Run `episodes` episodes. Roles that `agents` does not name act as `cfg.agents.<role>.actor` says; `learn`: not at all.

    `agents`: role -> a run directory or policy file, a strategy or the text that names one, policies, a function of the
    observations, or None. Returns one row per episode, role and agent: episode, role, agent, return, length (steps it
    acted in), terms/<term>, equity (tick-lots), max_inventory, final_inventory (sum over books of |lots|), remaining (sum
    of |lots| not traded).
    Raises ValueError for an unknown role, PolicyError for a policy that does not fit, StrategyError.
    """
    tables = [outcomes(s) for s in play(cfg, agents, episodes, seed, deterministic, batch)]
    return pd.concat(tables, ignore_index=True).sort_values(["episode", "role", "agent"], ignore_index=True)


def outcomes(s: Series) -> pd.DataFrame:
    """One row per episode, role and agent of a Series, in the columns of `evaluate`."""
    return pd.concat([_of_role(s, role) for role in s.specs], ignore_index=True)


def _of_role(s: Series, role: str) -> pd.DataFrame:
    spec = s.specs[role]
    own = spec.agents
    terms = s.terms[:, :, own].sum(axis=0, dtype=np.float64)  # (B, K, 4)
    b, k, _ = terms.shape
    columns = {
        "episode": np.repeat(s.episode, k),
        "role": role,
        "agent": np.tile(np.arange(k), b),
        "return": terms.sum(-1).ravel(),
        "length": s.active[:, :, own].sum(axis=0).ravel(),
    }
    for i, name in enumerate(spec.reward_terms):
        columns[f"terms/{name}"] = terms[..., i].ravel()
    held = np.abs(s.inventory[:, :, own])
    columns["equity"] = s.equity[-1, :, own].ravel()
    columns["max_inventory"] = held.max(axis=(0, 3)).ravel().astype(np.float64)
    columns["final_inventory"] = held[-1].sum(-1).ravel()
    columns["remaining"] = np.abs(s.remaining[-1, :, own]).sum(-1).ravel()
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
