"""Tables over several actors: each one's measures with intervals, and its paired differences from a baseline.

In: rows per episode, role and agent (or book) with columns `actor` and `regime`. Out: one row per actor, regime, role and
measure. Agents of one episode are averaged first: they share its market, only episodes are independent. Those that have
the same `cluster`, where there is such a column, are not: they count as one (`clusters.by_cluster`, Student's t).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .blocks import block_interval
from .clusters import by_cluster, effective
from .intervals import (
    Interval,
    Method,
    Paired,
    Unpaired,
    adjust,
    by_pattern,
    interval,
    intervals,
    paired,
    pairs,
    unpaired,
)

__all__ = [
    "DIFFERENCES",
    "INTERVALS",
    "Interval",
    "Paired",
    "Unpaired",
    "adjust",
    "block_interval",
    "compare_table",
    "interval",
    "interval_table",
    "paired",
    "unpaired",
]

KEYS = ("actor", "regime", "role", "cluster", "episode", "agent", "book")  # columns that are no measures
GROUP = ["actor", "regime", "role"]
# fmt: off
INTERVALS = (*GROUP, "measure", "mean", "std", "low", "high", "n", "method")
DIFFERENCES = (
    "actor", "baseline", "regime", "role", "measure", "mean", "low", "high", "unpaired_low", "unpaired_high", "correlation",
    "p", "p_adjusted", "effect", "n", "gain", "test", "p_t", "p_wilcoxon", "effect_unpaired", "family",
)
# fmt: on


def interval_table(
    measures: pd.DataFrame,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    method: Method = "bca",
) -> pd.DataFrame:
    """Mean over episodes of every measure with its interval; columns INTERVALS, `n` episodes (or clusters of them) that have
    the measure.

    `names`: the measures wanted; None: all. Measures that no episode of an actor has are left out.
    """
    means, names = _means(measures, names)
    parts = []
    key: Any
    for key, table in means.groupby(GROUP, sort=False):
        x, cluster = table[names].to_numpy(np.float64), table["cluster"].to_numpy()
        for known, columns in by_pattern(~np.isnan(x)):
            if known.any():
                (part,), how, freedom = _independent([x[known][:, columns]], cluster[known], method)
                parts.append(_part(key, names, columns, intervals(part, level, how, freedom)))
    return _table(parts, means, names, INTERVALS)


def compare_table(
    measures: pd.DataFrame,
    baseline: str,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    method: Method = "bca",
    correction: str = "holm",
) -> pd.DataFrame:
    """Paired differences of every other actor from `baseline`, episode by episode; columns DIFFERENCES.

    `mean` is actor less baseline over the `n` episodes in which both have the measure; the others as in
    `intervals.Paired`. `p_adjusted` is corrected over the actors that are compared with the baseline in one measure of
    one role in one regime: a family of `family` comparisons. It is not corrected over measures, roles or regimes.
    Tables of the market have no role: it is "market". Raises ValueError for a baseline, a measure or a column that is
    not there, for rows that stand twice, and for actors without an episode in common with the baseline.
    """
    means, names = _means(measures, names)
    actors = list(dict.fromkeys(means["actor"]))
    if baseline not in actors:
        raise ValueError(f"baseline: no actor {baseline!r}; there are {', '.join(actors)}")
    tables: dict[Any, Any] = {key: t.set_index("episode") for key, t in means.groupby(GROUP, sort=False)}
    parts = []
    for (actor, regime, role), table in tables.items():
        base = tables.get((baseline, regime, role))
        if actor == baseline or base is None:
            continue
        common = table.index.intersection(base.index)
        if not len(common):
            raise ValueError(
                f"{actor}: no {role} episode ({regime}) in common with {baseline}; evaluate both on one seed"
            )
        x, y = (t.loc[common, names].to_numpy(np.float64) for t in (table, base))
        cluster = table.loc[common, "cluster"].to_numpy()
        for known, columns in by_pattern(~(np.isnan(x) | np.isnan(y))):
            if known.any():
                both = [v[known][:, columns] for v in (x, y)]
                both, how, freedom = _independent(both, cluster[known], method)
                found = pairs(both[0], both[1], level, how, freedom) | {"baseline": baseline}
                parts.append(_part((actor, regime, role), names, columns, found))
    table: Any = _table(parts, means, names, (*GROUP, "measure", *DIFFERENCES))
    family = table.groupby(["regime", "role", "measure"], sort=False)["p"]
    table["p_adjusted"] = family.transform(lambda p: adjust(p.to_numpy(), correction)).astype(np.float64)
    table["family"] = family.transform("count").astype(np.int64)
    return table[list(DIFFERENCES)]


def _independent(
    samples: list[np.ndarray], cluster: np.ndarray, method: Method
) -> tuple[list[np.ndarray], Method, float | None]:
    """Samples (n, M) with rows that are independent of each other, the method for them and its degrees of freedom."""
    if len(np.unique(cluster)) == len(cluster):
        return samples, method, None
    return [by_cluster(x, cluster) for x in samples], "t", max(effective(cluster) - 1.0, 1e-3)


def _part(key: tuple, names: list[str], columns: np.ndarray, found: dict) -> pd.DataFrame:
    """The rows of one actor, regime and role for some of the measures."""
    measure = [names[c] for c in columns]
    return pd.DataFrame(dict(zip(GROUP, key, strict=True)) | {"measure": measure} | found)


def _table(
    parts: list[pd.DataFrame], means: pd.DataFrame, names: list[str], columns: Sequence[str]
) -> pd.DataFrame:
    """The parts as one table, rows in the order in which actors, regimes, roles and measures were given."""
    columns = list(dict.fromkeys(columns))
    if not parts:
        return pd.DataFrame(columns=columns)
    table: Any = pd.concat(parts, ignore_index=True)
    order = {c: list(dict.fromkeys(means[c])) for c in GROUP} | {"measure": names}
    ranks: Any = [
        table[c].map({v: i for i, v in enumerate(order[c])}) for c in ("measure", "role", "regime", "actor")
    ]
    return table.iloc[np.lexsort(ranks)].reindex(columns=columns).reset_index(drop=True)


def _means(measures: pd.DataFrame, names: Sequence[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """One row per actor, regime, role and episode, with its cluster; and the names of the measures."""
    for column in ("actor", "regime", "episode"):
        if column not in measures:
            raise ValueError(f"measures: no column {column!r}; there are {', '.join(measures.columns)}")
    if "role" not in measures:
        measures = measures.assign(role="market")
    if "cluster" not in measures:
        measures = measures.assign(cluster=measures["episode"])
    known = [c for c in measures.columns if c not in KEYS and pd.api.types.is_numeric_dtype(measures[c])]
    names = known if names is None else list(names)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"measures: no measure {name!r}; {hint}")
    keys = [k for k in KEYS if k in measures]
    twice: Any = measures.duplicated(keys)
    if twice.any():
        raise ValueError(f"measures: rows stand twice: {measures.loc[twice, keys].iloc[0].to_dict()}")
    means: Any = measures.groupby([*GROUP, "cluster", "episode"], sort=False, observed=True)[names].mean()
    means = means.reset_index()
    group = means.groupby(
        GROUP, sort=False
    ).ngroup()  # in order of appearance; episodes in theirs: the resamples' order
    return means.assign(group=group).sort_values(["group", "episode"]).drop(columns="group"), names
