"""What exchange between the nodes buys: the same scenario trained with several encoders, played on the same unseen episodes.

In: a scenario and the encoders to try. Out: each one's objective and its difference from no exchange, with intervals over
both trainings and episodes. Nobody is told of other books by another way: features that speak of them are hidden from
every variant alike (OF_OTHERS). What remains shared is the value of training, which averages the nodes and does not act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config import Config, ConfigError, make_config
from ..market.params import edge_weights
from ..models.encoder import KINDS
from ..models.policy import PolicySet
from ..rl.progress import Teller
from ..rl.train import train
from .clusters import by_cluster, crossed
from .compare import MIXED, play_worlds
from .measures import measure

ALONE = "mlp"  # no exchange: what the others are compared with
OF_OTHERS = (
    "gap_venues",
    "equity",
    "drawdown",
)  # a node's neighbours' price; an agent's money over all books
MEASURES = ("return", "pnl")  # of which tables are made; `return` is the objective
Note = Callable[[str], None]


@dataclass(frozen=True)
class Ablation:
    """What was trained and found. `seeds` and `variants` in the order given."""

    cfg: Config
    variants: list[str]
    seeds: list[int]
    episodes: int
    seed: int  # of the episodes
    parameters: dict[str, int]  # variant -> number of trained parameters
    runs: dict[tuple[str, int], Path]  # (variant, seed) -> run directory
    outcomes: pd.DataFrame  # a row per variant, seed, role and episode: the MEASURES, mean over agents
    levels: pd.DataFrame  # a row per role, variant and measure: mean, low, high
    differences: (
        pd.DataFrame
    )  # a row per role, other variant and measure, less ALONE's (or the last variant's)


def variant_config(cfg: Config, encoder: str, seed: int) -> Config:
    """The scenario with another encoder and seed, and with the features of OF_OTHERS hidden."""
    if encoder not in KINDS:
        raise ConfigError(f"variants: no encoder {encoder!r}; there are {', '.join(KINDS)}")
    hide = list(dict.fromkeys([*cfg.graph.hide, *OF_OTHERS]))
    tree = cfg.model_dump(mode="json", exclude_unset=True)
    tree["graph"] = tree.get("graph", {}) | {"encoder": encoder, "hide": hide}
    return make_config(tree, [f"run.seed={seed}"])


def ablate(
    cfg: Config,
    directory: str | Path,
    variants: Sequence[str] = ("sage", "gat", "mean", "mlp"),
    seeds: int = 3,
    episodes: int = 1000,
    seed: int = 1_000_003,
    note: Note = print,
) -> Ablation:
    """Train every variant `seeds` times (from cfg.run.seed on) for ppo.total_steps, then play them on the same episodes.

    Runs are written to directory/<variant>-s<seed>. `note` is called with a line of progress. Raises ConfigError for an
    unknown variant, or fewer than two, or a scenario of one book.
    """
    variants = list(dict.fromkeys(variants))
    if len(variants) < 2:
        raise ConfigError(f"variants: needs two encoders or more of {', '.join(KINDS)}")
    if cfg.market.num_books < 2:
        raise ConfigError("market.books: with one book there is nobody to exchange anything with")
    numbers = [cfg.run.seed + i for i in range(seeds)]
    configs = {(v, s): variant_config(cfg, v, s) for s in numbers for v in variants}
    if {"sage", "mean"} <= set(variants) and _alike(cfg):
        note("all edges weigh the same: mean is sage here, to the last bit")
    policies, runs = train_all(configs, Path(directory), note)
    worlds = {key: dict.fromkeys(cfg.learners, policies[key]) for key in configs}
    outcomes = played(cfg, worlds, episodes, seed, note)
    base = ALONE if ALONE in variants else variants[-1]
    parameters = {v: sum(p.numel() for p in policies[v, numbers[0]].parameters()) for v in variants}
    return Ablation(
        cfg, variants, numbers, episodes, seed, parameters, runs, outcomes,
        levels=level_table(outcomes, variants), differences=difference_table(outcomes, variants, base),
    )  # fmt: skip


def _alike(cfg: Config) -> bool:
    """Whether all edges of the market's graph weigh the same."""
    weights = edge_weights(cfg)
    others = weights[~np.eye(len(weights), dtype=bool)]
    return bool((others == others[0]).all() and others[0] > 0)


def train_all(
    configs: Mapping[tuple[str, int], Config], directory: Path, note: Note
) -> tuple[dict[tuple[str, int], PolicySet], dict[tuple[str, int], Path]]:
    """Train each configuration, with a line every few seconds; (label, seed) -> policies, and run directories."""
    policies, runs = {}, {}
    for i, ((label, number), own) in enumerate(configs.items()):
        note(f"training {i + 1} of {len(configs)}: {label}, seed {number}, {own.ppo.total_steps:,} steps")
        quiet = own.model_copy(update={"run": own.run.model_copy(update={"progress": False})})
        done = train(quiet, directory=directory / f"{label}-s{number}", callback=Teller(note))
        if done.stopped == "interrupted":  # half a comparison is none
            raise KeyboardInterrupt
        policies[label, number], runs[label, number] = done.policies, done.directory
    return policies, runs


def played(
    cfg: Config,
    worlds: Mapping[tuple[str, int], Mapping[str, PolicySet]],
    episodes: int,
    seed: int,
    note: Note | None,
) -> pd.DataFrame:
    """The MEASURES of the learning roles: a row per variant, seed, role and episode, agents of an episode averaged."""
    names = {f"{label} s{number}": (label, number) for label, number in worlds}
    by_name = {name: worlds[key] for name, key in names.items()}
    table: Any = play_worlds({MIXED: cfg}, by_name, episodes, seed, {"measures": measure}, note)["measures"]
    table = table[table["role"].isin(cfg.learners)]
    table = table.assign(
        variant=table["actor"].map({name: key[0] for name, key in names.items()}),
        seed=table["actor"].map({name: key[1] for name, key in names.items()}),
    )
    keys = [k for k in ("variant", "seed", "role", "cluster", "episode") if k in table]
    return table.groupby(keys, sort=False)[list(MEASURES)].mean().reset_index()


def by_seed(outcomes: pd.DataFrame, role: str, variant: str, name: str) -> np.ndarray:
    """(S, E) values of one measure, seeds and episodes in increasing order; of clusters where episodes are in clusters."""
    own: Any = outcomes[(outcomes["role"] == role) & (outcomes["variant"] == variant)]
    values = own.pivot(index="episode", columns="seed", values=name)
    x = values.to_numpy(np.float64)
    if "cluster" not in own:
        return x.T
    cluster = own.groupby("episode")["cluster"].first().loc[values.index].to_numpy()
    return (x if len(set(cluster)) == len(cluster) else by_cluster(x, cluster)).T


def level_table(outcomes: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Each variant's mean with its interval over seeds and episodes; `seeds`: the means by seed."""
    rows = []
    for role in outcomes["role"].unique():
        for variant in variants:
            for name in MEASURES:
                x = by_seed(outcomes, role, variant, name)
                found = crossed(x)
                rows.append({"role": role, "variant": variant, "measure": name, "mean": found.mean, "low": found.low,
                             "high": found.high, "over": found.method, "seeds": _by_seed_text(x)})  # fmt: skip
    return pd.DataFrame(rows)


def difference_table(outcomes: pd.DataFrame, variants: Sequence[str], base: str) -> pd.DataFrame:
    """Each variant less `base`, seed by seed and episode by episode; `episodes_low/high`: these trainings, other episodes."""
    rows = []
    for role in outcomes["role"].unique():
        for variant in (v for v in variants if v != base):
            for name in MEASURES:
                d = by_seed(outcomes, role, variant, name) - by_seed(outcomes, role, base, name)
                found, fixed = crossed(d), crossed(d.mean(axis=0, keepdims=True))
                rows.append({"role": role, "variant": variant, "baseline": base, "measure": name, "mean": found.mean,
                             "low": found.low, "high": found.high, "over": found.method, "episodes_low": fixed.low,
                             "episodes_high": fixed.high, "seeds": _by_seed_text(d)})  # fmt: skip
    return pd.DataFrame(rows)


def _by_seed_text(x: np.ndarray) -> str:
    return " ".join(f"{mean:.4g}" for mean in x.mean(axis=1))
