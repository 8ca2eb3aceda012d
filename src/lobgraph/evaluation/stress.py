"""The stress laboratory: the same episodes with an event and without it, with agents and without them.

Events draw nothing from the noise and agents neither, so that all four markets meet the same noise, and are equal to the bit
until the event begins or the first agent acts. What an event did is the difference from the market without it; what agents
did to it is the difference of that difference from the one in the market that they left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..config import Config, ConfigError, make_config
from ..config.stress import SHAPES
from ..rl.actors import Actor
from .compare import Note
from .event_time import Paths, beginnings, joined, paths
from .pace import Pace
from .record import play, rehearse
from .stress_measures import effects, measure_paths

ALONE = "no agents"
CONFIGURED = "configured"  # the configuration's own events, all of them
START = 0.3  # of the episode: when an event of which the configuration says nothing begins
BATCH = 64  # episodes played at once


@dataclass(frozen=True)
class Scenario:
    """Events that are played together, and what is looked at."""

    name: str
    events: tuple[int, ...]  # rows of cfg.stress
    kinds: frozenset[str]
    direction: int  # -1: prices fall, measured from the event's beginning; +1: rise; 0: either, the larger
    length: int  # steps that the longest event lasts
    span: int  # steps looked at from its beginning


@dataclass(frozen=True)
class Laboratory:
    """What was played and found."""

    cfg: Config  # with every scenario's events
    role: str
    names: list[str]  # ALONE first
    scenarios: list[Scenario]
    episodes: int
    seed: int
    paths: dict[
        tuple[str, str, bool], Paths
    ]  # (scenario, name, with the event) -> its episodes in event time
    measures: pd.DataFrame  # a row per scenario, actor, event, episode and who (market, a role, noise)
    effects: (
        pd.DataFrame
    )  # a row per scenario, actor, who and measure: what the event did, and what the actor did to it


def laboratory(cfg: Config, names: Sequence[str] | None, after: float) -> tuple[Config, list[Scenario]]:
    """The configuration with the events of all scenarios, and the scenarios.

    names: kinds of events, or CONFIGURED; None: CONFIGURED where the configuration has events, else crash, drought and
    fat_finger. A kind's events are the configuration's own of that kind, else one of its default magnitude at START of the
    episode. after: seconds looked at beyond an event's end. Raises ConfigError for an unknown name.
    """
    given = list(names or ([CONFIGURED] if cfg.stress else ["crash", "drought", "fat_finger"]))
    tree = cfg.model_dump(mode="json")
    listed: list[dict[str, Any]] = list(tree["stress"])
    rows: dict[str, tuple[int, ...]] = {}
    for name in given:
        if name == CONFIGURED:
            if not cfg.stress:
                raise ConfigError(f"scenario {name!r}: the configuration has no events (stress)")
            rows[name] = tuple(range(len(cfg.stress)))
            continue
        if name not in SHAPES:
            raise ConfigError(
                f"scenario {name!r}: no such event; there are {', '.join([*SHAPES, CONFIGURED])}"
            )
        rows[name] = tuple(i for i, event in enumerate(cfg.stress) if event.kind == name)
        if not rows[name]:
            rows[name] = (len(listed),)
            at = np.floor(START * cfg.env.episode_steps) * cfg.market.dt
            listed.append({"kind": name, "at": float(at)})
    full = make_config(tree | {"stress": listed})
    return full, [_scenario(full, name, rows[name], after) for name in rows]


def _scenario(cfg: Config, name: str, rows: tuple[int, ...], after: float) -> Scenario:
    events = [cfg.stress[i] for i in rows]
    ways = {{"buy": 1, "sell": -1}.get(event.way or "", 0) for event in events}
    dt, steps = cfg.market.dt, cfg.env.episode_steps
    length = max(max(round(event.seconds / dt), 1) for event in events)
    span = min(length + max(round(after / dt), 1), steps)
    direction = 0 if name == "drought" or len(ways) > 1 else ways.pop()
    return Scenario(name, rows, frozenset(e.kind for e in events), direction, length, span)


def only(cfg: Config, rows: Sequence[int]) -> Config:
    """The configuration in which these events come and the others never do: all else is equal, to the draws."""
    tree = cfg.model_dump(mode="json")
    for i, event in enumerate(tree["stress"]):
        if i not in rows:
            event |= {"at": "never", "rate": None}
    return make_config(tree)


def stress(
    cfg: Config,
    role: str,
    actors: Mapping[str, Actor],
    others: Mapping[str, Actor] | None = None,
    scenarios: Sequence[str] | None = None,
    episodes: int = 500,
    seed: int = 1_000_003,
    after: float = 60.0,
    note: Note | None = None,
) -> Laboratory:
    """Play every actor in `role` (the other roles as `others` says) and nobody at all through every scenario.

    Raises ConfigError, StrategyError, PolicyError before anything is played.
    """
    if role not in cfg.counts:
        raise ConfigError(
            f"agents.{role}.count: is 0; set it to see what actors in this role do under stress"
        )
    if ALONE in actors:
        raise ConfigError(f"{ALONE!r}: is what the market without agents is called; name the actor otherwise")
    full, listed = laboratory(cfg, scenarios, after)
    worlds: dict[str, dict[str, Actor]] = {ALONE: dict.fromkeys(cfg.counts)}
    worlds |= {name: {**(dict(others) if others else {}), role: actor} for name, actor in actors.items()}
    rehearse(only(full, ()), worlds.values(), seed)
    found: dict[tuple[str, str, bool], Paths] = {}
    begins: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    pace = Pace(len(worlds) * (len(listed) + 1) * episodes)
    for name, agents in worlds.items():
        for scenario in listed:
            begins_here, parts = [], []
            for s in play(only(full, scenario.events), agents, episodes, seed, batch=BATCH):
                if name == ALONE:
                    begins_here.append(beginnings(s, set(scenario.kinds)))
                    moment = begins_here[-1]
                else:
                    moment = _of(begins[scenario.name], s.episode)
                parts.append(paths(s, moment[0], moment[1], scenario.span))
                _tell(note, f"{name}, {scenario.name}: {s.episode[-1] + 1} of {episodes} episodes{pace(s)}")
            if name == ALONE:
                begins[scenario.name] = _moments(scenario, begins_here)
            found[scenario.name, name, True] = joined(parts)
        calm: dict[str, list[Paths]] = {scenario.name: [] for scenario in listed}
        for s in play(only(full, ()), agents, episodes, seed, batch=BATCH):
            for scenario in listed:
                step, hit = _of(begins[scenario.name], s.episode)
                calm[scenario.name].append(paths(s, step, hit, scenario.span))
            _tell(note, f"{name}, no event: {s.episode[-1] + 1} of {episodes} episodes{pace(s)}")
        found |= {(scenario, name, False): joined(parts) for scenario, parts in calm.items()}
    measured = pd.concat(
        [
            measure_paths(found[s.name, name, event], s.direction, s.length, full.market.dt).assign(
                scenario=s.name, actor=name, event=event
            )
            for s in listed
            for name in worlds
            for event in (False, True)
        ],
        ignore_index=True,
    )
    return Laboratory(
        full, role, list(worlds), listed, episodes, seed, found, measured, effects(measured, ALONE)
    )


def _moments(scenario: Scenario, parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    step, hit = (np.concatenate(x) for x in zip(*parts, strict=True))
    if (step < 0).all():
        raise ConfigError(
            f"scenario {scenario.name!r}: no event came in {len(step)} episodes; raise its rate"
        )
    return step, hit


def _of(moments: tuple[np.ndarray, np.ndarray], episode: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return moments[0][episode], moments[1][episode]


def _tell(note: Note | None, line: str) -> None:
    if note is not None:
        note(line)
