"""Who acts against the market, episode by episode, on seeds apart from training; the table statistics start from.

Episode i is the first episode of environment i, so two evaluations with one seed meet the same noise: compare them
row by row (paired), which removes most of the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ..config import Config
from ..rl.actors import Actor
from .intervals import Method
from .measures import measure
from .pace import Pace
from .record import BATCH, Series, play, with_clusters
from .statistics import interval_table


def evaluate(
    cfg: Config,
    agents: Mapping[str, Actor] | None = None,
    episodes: int = 100,
    seed: int = 1,
    deterministic: bool = True,
    batch: int = BATCH,
    note: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run `episodes` episodes. Roles that `agents` does not name act as `cfg.agents.<role>.actor` says; `learn`: not at all.

    `agents`: role -> a run directory or policy file, a strategy or the text that names one, policies, a function of the
    observations, or None. Returns one row per episode, role and agent: episode, role, agent, the measures of
    `measures.MEASURES`, terms/<term> of the reward, equity (tick-lots), remaining (sum of |lots| of the target not traded).
    `note` is called with a line of progress after each batch.
    Raises ValueError for an unknown role, PolicyError for a policy that does not fit, StrategyError.
    """
    tables, pace = [], Pace(episodes)
    for s in play(cfg, agents, episodes, seed, deterministic, batch):
        tables.append(outcomes(s))
        told = pace(s)
        if note is not None and pace.played < episodes:
            note(f"{pace.played} of {episodes} episodes{told}")
    return pd.concat(tables, ignore_index=True).sort_values(["episode", "role", "agent"], ignore_index=True)


def outcomes(s: Series) -> pd.DataFrame:
    """One row per episode, role and agent of a Series, in the columns of `evaluate`."""
    table = with_clusters(s, measure(s))
    extra = [_rewards(s, role) for role in s.specs]
    return pd.concat([table, pd.concat(extra, ignore_index=True)], axis=1) if extra else table


def _rewards(s: Series, role: str) -> pd.DataFrame:
    """What `measure` leaves out: the reward term by term, the equity and what of the target remains; rows as there."""
    spec = s.specs[role]
    own = spec.agents
    terms = s.terms[:, :, own].sum(axis=0, dtype=np.float64)  # (B, K, 4)
    columns = {f"terms/{name}": terms[..., i].ravel() for i, name in enumerate(spec.reward_terms)}
    columns["equity"] = s.equity[-1, :, own].ravel()
    columns["remaining"] = np.abs(s.remaining[-1, :, own]).sum(-1).ravel()
    return pd.DataFrame(columns)


def summary(table: pd.DataFrame, level: float = 0.95, method: Method = "bca") -> pd.DataFrame:
    """Mean, standard deviation and interval of every measure by role; columns role, measure, n, mean, std, low, high.

    Agents of one episode are averaged first: they share its market, only episodes are independent. `n`: episodes that
    have the measure. `method`: see `intervals.interval`.
    """
    found = interval_table(table.assign(actor="", regime=""), level=level, method=method)
    return found.reindex(columns=["role", "measure", "n", "mean", "std", "low", "high"])
