"""Several actors in one role's place, on the same episodes: what each measures, and paired differences with intervals.

Every actor meets the same noise (episode i has the same draws whoever acts), in each regime apart: the regime is fixed for
the whole episode, so that a table says where an actor is good. Draws made by policies themselves are not used: they act by
their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import Config, ConfigError, make_config
from ..rl.actors import Actor
from .measures import measure
from .pace import Pace
from .quality import market_quality, multi_agent
from .record import Series, play, rehearse, with_clusters
from .statistics import compare_table, interval_table

KEPT, KEPT_BYTES = 200, 1 << 29
MIXED = "as configured"  # regimes drawn and switched as the configuration says
Note = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """What was played and found. The first of `names` is the baseline that differences are taken from."""

    cfg: Config
    role: str
    names: list[str]
    worlds: dict[str, dict[str, Actor]]  # name -> who acted, by role
    regimes: list[str]
    episodes: int  # in each regime
    seed: int
    measures: pd.DataFrame  # a row per actor, regime, episode, role and agent; see measures.measure
    market: pd.DataFrame  # a row per actor, regime, episode and book; see quality.market_quality
    several: pd.DataFrame  # a row per actor, regime, episode and role; see quality.multi_agent
    intervals: pd.DataFrame  # a row per actor, regime, role and measure: mean, std, low, high
    differences: (
        pd.DataFrame
    )  # a row per actor but the baseline, regime, role and measure: paired and unpaired intervals
    series: dict[tuple[str, str], Series]  # (actor, regime) -> the first episodes, step by step, for figures


def regime_configs(cfg: Config, regimes: Sequence[str] | None = None) -> dict[str, Config]:
    """The configuration by regime, each kept for the whole episode; MIXED: as it is. None: all of them, one by one.

    Recorded markets have no regimes to choose from: always MIXED. Raises ConfigError for a regime that does not exist.
    """
    if cfg.replay.files:
        if regimes:
            raise ConfigError(
                f"regime {regimes[0]!r}: a replayed market has the regimes of its record, none to choose"
            )
        return {MIXED: cfg}
    chosen = list(regimes) if regimes else cfg.regimes.names
    found = {}
    for name in chosen:
        if name == MIXED and MIXED not in cfg.regimes.names:
            found[name] = cfg
            continue
        if name not in cfg.regimes.names:
            raise ConfigError(
                f"regime {name!r}: no such regime; there are {', '.join([*cfg.regimes.names, MIXED])}"
            )
        tree = cfg.model_dump(mode="json")
        tree["regimes"] |= {"initial": {name: 1.0}, "switch_rates": {}}
        found[name] = make_config(tree)
    return found


def compare(
    cfg: Config,
    role: str,
    actors: Mapping[str, Actor],
    others: Mapping[str, Actor] | None = None,
    episodes: int = 1000,
    seed: int = 1_000_003,
    regimes: Sequence[str] | None = None,
    note: Note | None = None,
) -> Comparison:
    """Play every actor in `role`, the other roles as `others` says (default: as the configuration does).

    `actors`: label -> actor, the first is the baseline. `note` is called with a line of progress after each batch.
    Raises ConfigError, StrategyError, PolicyError before anything is played.
    """
    if role not in cfg.counts:
        raise ConfigError(f"agents.{role}.count: is 0; set it to compare actors in this role")
    if len(actors) < 2:
        raise ConfigError(
            "compare: one actor has nothing to be compared with; name two or more (`nothing` is one, too)"
        )
    worlds = {name: {**(dict(others) if others else {}), role: actor} for name, actor in actors.items()}
    return play_all(cfg, role, worlds, episodes, seed, regimes, note)


def play_all(
    cfg: Config,
    role: str,
    worlds: Mapping[str, Mapping[str, Actor]],
    episodes: int,
    seed: int,
    regimes: Sequence[str] | None,
    note: Note | None,
) -> Comparison:
    """Play each world (label -> actors by role) in each regime and compare them with the first."""
    configs = regime_configs(cfg, regimes)
    rehearse(next(iter(configs.values())), worlds.values(), seed)
    if note is not None:
        note(f"{len(worlds)} times {episodes} episodes in each of {', '.join(configs)}")
    series: dict[tuple[str, str], Series] = {}

    def keep(name: str, regime: str, s: Series) -> None:
        if (name, regime) not in series:
            series[name, regime] = s.head(_kept(s, len(worlds) * len(configs)))

    measured = {"measures": measure, "market": market_quality, "several": multi_agent}
    tables = play_worlds(configs, worlds, episodes, seed, measured, note, keep)
    names = list(worlds)
    every = _long(tables)
    return Comparison(
        cfg, role, names, {name: dict(w) for name, w in worlds.items()}, list(configs), episodes, seed, **tables,
        intervals=interval_table(every), differences=compare_table(every, names[0]), series=series,
    )  # fmt: skip


def play_worlds(
    configs: Mapping[str, Config],
    worlds: Mapping[str, Mapping[str, Actor]],
    episodes: int,
    seed: int,
    measured: Mapping[str, Callable[[Series], pd.DataFrame]],
    note: Note | None = None,
    keep: Callable[[str, str, Series], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Play each world in each configuration (by regime), on the same episodes; a table for each of `measured`.

    Tables have columns `actor` and `regime` besides those of the measures. `keep` is called with every batch played.
    """
    parts: dict[str, list[pd.DataFrame]] = {kind: [] for kind in measured}
    pace = Pace(len(configs) * len(worlds) * episodes)
    for regime, own in configs.items():
        for name, agents in worlds.items():
            done = 0
            for s in play(own, agents, episodes, seed):
                if keep is not None:
                    keep(name, regime, s)
                done += len(s.episode)
                for kind, of in measured.items():
                    parts[kind].append(with_clusters(s, of(s)).assign(actor=name, regime=regime))
                if note is not None:
                    note(f"{name}, {regime}: {done} of {episodes} episodes{pace(s)}")
    return {kind: pd.concat(found, ignore_index=True) for kind, found in parts.items()}


def _kept(s: Series, count: int) -> int:
    """Episodes of which every step is kept for figures, so that `count` such series fit into KEPT_BYTES."""
    size = sum(v.nbytes for v in vars(s).values() if isinstance(v, np.ndarray)) / len(s.episode)
    return max(1, min(KEPT, int(KEPT_BYTES / count / size)))


def _long(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Agents, their role together, and the market (role "market", a book an agent) in one table of measures."""
    market = tables["market"].rename(columns={"book": "agent"}).assign(role="market")
    return pd.concat([tables["measures"], tables["several"], market], ignore_index=True)


def counterfactual(
    cfg: Config,
    agents: Mapping[str, Actor],
    without: Sequence[str] = (),
    swap: Mapping[str, Actor] | None = None,
    episodes: int = 1000,
    seed: int = 1_000_003,
    regimes: Sequence[str] | None = None,
    note: Note | None = None,
) -> Comparison:
    """The effect of a population on the market: the same noise with it and without it, or with another in its place.

    `agents`: who acts, by role. `without`: roles taken out; the differences are "with" less "without". `swap`: role -> who
    acts in its place; the differences are the changed market less the one of `agents`. Noise draws do not depend on
    agents (a function of seed, environment, book, step and event), so a difference is caused by the population alone.
    Raises ConfigError for a role that is not in the market.
    """
    swap = dict(swap or {})
    for role in [*without, *swap]:
        if role not in cfg.counts:
            raise ConfigError(f"agents.{role}.count: is 0; there is nobody to take out")
    if bool(without) == bool(swap):
        raise ConfigError("counterfactual: say either which roles to take out, or whom to put in their place")
    before = dict(agents)
    if without:
        named = " and ".join(without)
        worlds = {f"without {named}": before | dict.fromkeys(without), f"with {named}": before}
        return play_all(cfg, without[0], worlds, episodes, seed, regimes, note)
    label = ", ".join(f"{role} {actor or 'nothing'}" for role, actor in swap.items())
    named = ", ".join(f"{role} {before.get(role) or 'nothing'}" for role in swap)
    worlds = {named: before, label: before | swap}
    return play_all(cfg, next(iter(swap)), worlds, episodes, seed, regimes, note)
