"""A market with its agents as recorded data: scripted strategies, trained policies, or nobody.

In: a Config, and who acts in the roles that learn. Out: one Recording per book of one long episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..config import Config
from ..data.recording import Recording
from ..data.simulated import OPEN, ROOM, Logs, check_request, simulate_recordings, too_much
from ..rl.actors import Actor, actor, cast, held_actors, resolve


def record_market(
    cfg: Config, agents: Mapping[str, Actor] | None = None, *, seconds: float, levels: int = 10, seed: int = 0,
    start: float = OPEN, tick: int = 100, lot: int = 1,
) -> list[Recording]:  # fmt: skip
    """Run the market of `cfg` for `seconds` with whoever acts in it, and record every event, book by book.

    `agents`: role -> who acts, as in `evaluate`; other roles act as `cfg.agents.<role>.actor` says, those that are to learn
    do nothing, and a market where nobody acts runs without agents. It is one episode, however long: targets of takers grow
    with it, so that they trade as fast as in episodes of the configured length. Other arguments as
    `data.simulated.simulate_recordings`, and errors; also ValueError, PolicyError and StrategyError as `evaluate`.
    """
    check_request(cfg, seconds, levels, start)
    agents = dict(agents or {})
    if unknown := sorted(set(agents) - set(cfg.counts)):
        raise ValueError(f"agents: the market has no {unknown[0]!r}; its roles are {sorted(cfg.counts)}")
    held = held_actors(cfg, [role for role in cfg.counts if role not in agents])
    own = {role: resolve(agents.get(role), role) for role in cfg.counts if role not in held}
    where = {"seconds": seconds, "levels": levels, "seed": seed, "start": start, "tick": tick, "lot": lot}
    if all(given is None for given in (*own.values(), *held.values())):
        return simulate_recordings(cfg, **where)
    steps = round(seconds / cfg.market.dt)
    env, obs, logs = _market(stretched(cfg, steps), seed)
    generator = torch.Generator().manual_seed(seed)
    acts = {role: actor(given, role, env, True, generator) for role, given in own.items()} | cast(env, held)
    for _ in range(steps):
        obs, _, _, _, _ = env.step({role: act(obs) for role, act in acts.items()})
        if not logs.collect(env.state):
            raise too_much(cfg)
    return logs.recordings(env.cfg, steps, levels, start, tick, lot)


def stretched(cfg: Config, steps: int) -> Config:
    """The same market with episodes of `steps` steps, and takers' targets and limits that grow in proportion."""
    taker = cfg.agents.taker
    longer = max(steps / cfg.env.episode_steps, 1.0)
    target = round(taker.target * longer)
    risk = taker.risk.model_copy(update={"max_inventory": max(taker.risk.max_inventory, target)})
    changed = taker.model_copy(update={"target": target, "risk": risk})
    return cfg.model_copy(
        update={
            "agents": cfg.agents.model_copy(update={"taker": changed}),
            "env": cfg.env.model_copy(update={"episode_steps": steps, "num_envs": 1, "stagger": False}),
        }
    )


def _market(cfg: Config, seed: int) -> tuple[Any, Any, Logs]:
    """One market at its start, the observations of it, and its logs, with room for what happened before it."""
    from ..env.market_env import MarketEnv

    room = ROOM
    while True:
        env = MarketEnv(cfg, num_envs=1, seed=seed, autoreset=False, log=room)
        obs, logs = env.reset(), Logs(cfg.market.num_books)
        if logs.collect(env.state):
            return env, obs, logs
        room *= 4
