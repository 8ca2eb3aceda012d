"""One learner on one market with a known answer. In: market, parameters, seed. Out: what its policy brings, and its rule.

A policy is judged by its mean action on episodes it was not trained on, as a share of what the best policy brings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..config import Config, load_config
from ..known.almgren_chriss import AlmgrenChrissMarket
from ..known.avellaneda_stoikov import AvellanedaStoikovMarket
from ..known.market import KnownMarket, actor, mean_error
from ..known.markets import MARKETS
from ..known.params import AvellanedaStoikovParams
from ..known.quoting import QuotingMarket
from ..models.policy import PolicySet
from ..rl.checkpoint import save_policies
from ..rl.trainer import Trainer

POINTS = 12  # of a learning curve
NO_COST = (np.nan, np.nan, np.nan)
UNSEEN = 1 << 40  # added to the seed of the episodes on which a policy is judged
LIMIT_COST = 1e-3  # share of the best policy's value
EXPLORED = 10  # lots of inventory with which a maker's episodes start in training, at most
FEWEST_STEPS = 1000  # of an episode on which a policy in Avellaneda and Stoikov's market is judged


class Learner(NamedTuple):
    """How PPO is run on one market, and how good its policy has to be. A rollout is a whole episode of all environments:
    they start together, and a learner that saw one part of the episode at a time would forget the others."""

    num_envs: int
    total_steps: int
    lr: float
    gae_lambda: float
    least: float  # share of the best policy's objective; for a cost: 2 less its multiple
    more: tuple[str, ...] = ()  # other settings


# Exploration and steps were chosen on the published parameters; docs/training.md says what mattered.
LEARNERS = {
    "avellaneda_stoikov": Learner(128, 3_000_000, 1.5e-3, 0.95, 0.97),
    "cj_making": Learner(128, 3_000_000, 1.5e-3, 0.95, 0.97),
    # The seller's speed costs next to nothing to vary, and prices are noise: left alone, its deviation is gone before it knows.
    "cj_execution": Learner(64, 4_000_000, 1.5e-3, 0.9, 0.97, ("ppo.ent_coef=0.02", "ppo.minibatches=16")),
    "almgren_chriss": Learner(1024, 2_000_000, 1.5e-3, 0.9, 0.97),
    "pair": Learner(64, 4_000_000, 1.5e-3, 0.95, 0.95),
}


class Point(NamedTuple):
    """One evaluation on the way."""

    env_steps: int
    share: float  # of the best policy's value
    error: float


@dataclass
class Learned:
    """What one training found. Holds arrays only, so that it travels between processes."""

    market: str
    seed: int
    seconds: float  # of training, without the evaluations
    env_steps: int
    value: float  # of the learned policy, in the market's unit
    error: float
    best: float  # of the best policy, closed form
    in_steps: float  # of the best policy in the market's own steps: what a learner could reach
    rule: np.ndarray  # what is drawn: see `rules`
    cost: tuple[float, float, float]  # of a schedule: mean, its error, variance; NaN elsewhere
    curve: list[Point]


def training_params(name: str, params: Any) -> Any:
    """The market's parameters as the learner gets them: ranges of actions that its first steps can explore.

    A maker's offsets reach 3 / k, where one order in twenty of those at the mid would fill it, and what two lots of
    inventory shift them by. Exponential utility weighs most what next to never happens: there it has a position limit
    (`position_limit`), and training starts with any inventory within it. A block is sold in trades of at most twice the
    best first one.
    """
    if name == "avellaneda_stoikov":
        steep = (1.0 + params.gamma / params.k) ** (1.0 + params.k / params.gamma)
        shift = params.sigma * float(np.sqrt(0.5 * params.gamma / (params.k * params.A) * steep))
        limited = params.model_copy(update={"reward": "wealth", "max_inventory": position_limit(params)})
        return limited.model_copy(update=_exploring(limited, shift))
    if name == "cj_making":
        return params.model_copy(
            update=_exploring(params, 2.0 * float(np.sqrt(params.phi * np.e / (params.k * params.A))))
        )
    if name == "almgren_chriss" and params.max_size is None:
        first = -np.diff(AlmgrenChrissMarket(params).holdings())[0]
        largest = min(params.X, max(2.0 * first, 4.0 * params.X / params.steps))
        return params.model_copy(update={"max_size": float(largest)})
    return params


def position_limit(params: AvellanedaStoikovParams) -> int:
    """Lots at which the learner no longer quotes the side that adds to them: the fewest that cost the best policy at most
    LIMIT_COST of its value. Inventories beyond, which it never meets, would decide its utility."""
    best = AvellanedaStoikovMarket(params, 1).value()
    for lots in range(1, params.max_inventory):
        limited = AvellanedaStoikovMarket(params.model_copy(update={"max_inventory": lots}), 1)
        if limited.value() > best - LIMIT_COST * abs(best):
            return lots
    return params.max_inventory


def _exploring(params: Any, shift: float) -> dict[str, Any]:
    """`shift`: what a lot of inventory moves the best offsets by in the long run, money."""
    widest = params.max_offset or min(3.0 / params.k + 2.0 * shift, params.offset_bound)
    return {"max_offset": widest, "start_inventory": min(EXPLORED, params.max_inventory)}


def judging_market(market: KnownMarket) -> KnownMarket:
    """The market itself: from no inventory, and Avellaneda and Stoikov's, whose closed form is that of steps of no length,
    with short ones."""
    if not isinstance(market, QuotingMarket):
        return market
    steps = max(market.steps, FEWEST_STEPS) if isinstance(market, AvellanedaStoikovMarket) else market.steps
    return type(market)(
        market.params.model_copy(update={"steps": steps, "start_inventory": 0}), 1, market.seed
    )


def settings(name: str, market: KnownMarket, seed: int, overrides: tuple[str, ...] = ()) -> Config:
    """The training's configuration; `overrides` such as ppo.lr=1e-3 come last."""
    how = LEARNERS[name]
    std = 0.35
    if isinstance(market, QuotingMarket):  # fills change by a factor e over 1 / k, far less than the range
        std = 0.8 / (market.params.k * market.params.offset_bound)
    own = [
        f"run.seed={seed}",
        f"env.num_envs={how.num_envs}",
        f"market.books={market.books}",
        "graph.encoder=mlp",
        "ppo.gamma=1.0",
        f"ppo.rollout_steps={max(market.steps, 2)}",
        f"ppo.total_steps={how.total_steps}",
        f"ppo.lr={how.lr}",
        "ppo.lr_schedule=cosine",
        f"ppo.gae_lambda={how.gae_lambda}",
        f"ppo.initial_std={std}",
        *how.more,
    ]
    if isinstance(market, AvellanedaStoikovMarket):
        own.append(f"agents.maker.risk_aversion={market.gamma}")
    return load_config(None, [*own, *overrides])


def trainer_for(name: str, params: Any, seed: int, overrides: tuple[str, ...] = ()) -> Trainer:
    """A training on a market, not started. Raises ConfigError, PolicyError for settings with which it could not be."""
    params = training_params(name, params)
    market = MARKETS[name][0](params, LEARNERS[name].num_envs, seed)
    cfg = settings(name, market, seed, overrides)
    if cfg.env.num_envs != market.num_envs:
        market = market.copy(cfg.env.num_envs, seed)
    return Trainer(cfg, market, {})


def train_one(
    name: str,
    params: Any,
    seed: int,
    episodes: int,
    overrides: tuple[str, ...] = (),
    save_to: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Learned:
    """Train on a market and judge the policy on `episodes` unseen episodes.

    name: among LEARNERS. params: the market's parameters. overrides: settings of the training, such as ppo.lr=1e-3.
    save_to: policy file to write; None: none.
    """
    torch.set_num_threads(1)
    trainer = trainer_for(name, params, seed, overrides)
    market: Any = trainer.market
    judged, asked = judging_market(market), judging_market(MARKETS[name][0](params, 1, seed))
    best = asked.value()  # without the learner's own limits
    trainer.start()
    curve, seconds, few = [], 0.0, max(200, episodes // 20)
    marks = {round(trainer.updates * (i + 1) / POINTS) for i in range(POINTS)}
    while trainer.update < trainer.updates:
        start = time.perf_counter()
        trainer.step()
        seconds += time.perf_counter() - start
        if trainer.update in marks:
            value, error, _ = judge(judged, trainer.policies, few, seed)
            share, spread = share_of(value, best), error / abs(best)
            curve.append(Point(trainer.env_steps, share, spread))
            note(
                f"{name}, seed {seed}: {trainer.env_steps:,} steps, {seconds:.0f} s: {share:.3f} of the best"
            )
    if save_to is not None:
        save_policies(save_to, trainer.policies, config=trainer.cfg.model_dump(mode="json"))
    value, error, cost = judge(judged, trainer.policies, episodes, seed)
    in_steps = max(best, asked.exact_value(asked.optimal())) if isinstance(asked, QuotingMarket) else best
    return Learned(
        name, seed, seconds, trainer.env_steps, value, error, best, in_steps, rule_of(market, trainer.policies),
        cost, curve,
    )  # fmt: skip


def share_of(value: float, best: float) -> float:
    """1 at the best, less below it: the ratio of gains, 2 less the ratio of costs."""
    return 1.0 + (value - best) / abs(best)


def judge(
    market: KnownMarket, policies: PolicySet, episodes: int, seed: int
) -> tuple[float, float, tuple[float, float, float]]:
    """Value of the policies' mean actions, its standard error and `Learned.cost`, on episodes not trained on."""
    if isinstance(market, AvellanedaStoikovMarket):
        return *mean_error(market.population(policies, episodes, seed + UNSEEN)), NO_COST
    played = market.simulate(policies, episodes, seed + UNSEEN)
    cost = NO_COST
    if isinstance(market, AlmgrenChrissMarket):
        cost = *mean_error(-played.profit), float(played.profit.var())
    return *market.estimate(played), cost


# --- what the policy does, for figures ---


def rule_of(market: KnownMarket, policies: PolicySet) -> np.ndarray:
    """Makers: (steps, 2 Q + 1, 2) offsets by step and inventory. Sellers: (steps + 1,) mean holdings at the decisions.

    The pair: (steps, 2) the highest gap at which it turns long, the lowest at which it turns short; NaN: none seen.
    """
    if isinstance(market, QuotingMarket):
        return _offsets(market, policies)
    if market.role == "taker":
        return _holdings(market, policies)
    return _turns(market, policies)


def _offsets(market: QuotingMarket, policies: PolicySet) -> np.ndarray:
    """Where the mid has not moved."""
    most = market.params.max_inventory
    probe = market.copy(2 * most + 1, 0)
    obs, rows = probe.reset(), []
    probe.nodes[:, 0, 0, 0] = torch.arange(-most, most + 1)
    for i in range(market.steps):
        probe.vector[:, 0, 0] = 1.0 - i / market.steps
        rows.append(policies.act(obs, deterministic=True)["maker"][:, 0, 0].numpy())
    return np.stack(rows)


def _holdings(market: KnownMarket, policies: PolicySet, envs: int = 1000) -> np.ndarray:
    """By a batch of episodes of its own."""
    batch, act = market.copy(envs, UNSEEN), actor(policies)
    obs, held, info = batch.reset(), [], {}
    for _ in range(market.steps):
        held.append(batch.inventory[:, 0].mean())
        obs, _, _, _, info = batch.step(act(obs))
    ended = info["episodes"]["inventory"][market.role]
    return np.array([*held, float(ended.double().mean())])


def _turns(market: KnownMarket, policies: PolicySet) -> np.ndarray:
    """From the side that a trader is on: short for the turn to long, long for the turn to short."""
    gaps = np.linspace(-4.0, 4.0, 401) * market.params.gap_std
    probe = market.copy(2 * len(gaps), 0)
    obs = probe.reset()
    probe.edges[:, 0, 0] = torch.from_numpy(np.tile(gaps, 2))
    side = torch.ones(2 * len(gaps))
    side[: len(gaps)] = -1.0  # short
    probe.edges[:, 0, 1], probe.nodes[:, 0, 0, 0], probe.nodes[:, 0, 1, 0] = side, side, -side
    probe.nodes[:, 0, 0, 1], probe.nodes[:, 0, 1, 1] = 0.5 * probe.edges[:, 0, 0], -0.5 * probe.edges[:, 0, 0]
    out = np.full((market.steps, 2), np.nan)
    for i in range(market.steps):
        probe.vector[:, 0, 0] = 1.0 - i / market.steps
        direction = policies.act(obs, deterministic=True)[market.role][:, 0, 0, 0].numpy()
        long, short = gaps[direction[: len(gaps)] > 0.5], gaps[direction[len(gaps) :] < -0.5]
        if len(long):
            out[i, 0] = long.max()
        if len(short):
            out[i, 1] = short.min()
    return out
