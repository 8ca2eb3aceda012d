"""What a learned policy would do at inventories, imbalances and times of our choice, all else as it met it.

In: a policy and observations of a short run. Out: actions averaged over those observations, in each of which what is
asked for has been overwritten, together with the features that follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import Config
from ..env.market_env import MarketEnv
from ..env.observe import Observation
from ..evaluation.record import Series, play
from ..models.policy import PolicySet
from ..rl.actors import Actor
from .decisions import VALUES

SAMPLES = 48  # observations that a cell is averaged over


class Background(NamedTuple):
    """Observations that the policy met, and the sign of the target then."""

    nodes: Tensor  # (M, K, N, F) float32
    edges: Tensor  # (M, K, P, Fe) float32
    vector: Tensor  # (M, K, V) float32
    side: Tensor  # (M, K, N) float32 +1 a target to buy, -1 to sell, 0 none


def meet(
    policies: PolicySet, cfg: Config, role: str, others: Mapping[str, Actor], episodes: int, seed: int
) -> tuple[Series, Background]:
    """Play the policy's mean action, and keep SAMPLES of the observations it met, spread over steps and episodes."""
    kept: list[Observation] = []
    act = _acting(policies, cfg, role)
    every = max(1, cfg.env.episode_steps // SAMPLES)
    step = 0

    def spy(obs: Mapping[str, Observation]) -> Tensor:
        nonlocal step
        if step % every == 0:
            kept.append(Observation(*(part.clone() for part in obs[role])))
        step += 1
        return act(obs[role])

    series = next(play(cfg, {**others, role: spy}, episodes, seed))
    chosen = [
        (i, i % len(series.episode)) for i in range(min(SAMPLES, len(kept)))
    ]  # another episode at each step
    nodes, edges, vector = (torch.stack([kept[i][part][e] for i, e in chosen]) for part in range(3))
    side = np.sign(series.target[[e for _, e in chosen]][:, series.specs[role].agents])
    if role == "taker" and cfg.agents.taker.mirror:
        side = np.abs(side)  # what it saw and says is the target's side already
    return series, Background(nodes, edges, vector, torch.from_numpy(side.astype(np.float32)))


def _acting(policies: PolicySet, cfg: Config, role: str) -> Callable[[Observation], Tensor]:
    part = policies.subset(role).attach(MarketEnv(cfg, num_envs=1))
    return lambda obs: part.act({role: obs}, deterministic=True)[role]


def asked(
    policies: PolicySet,
    cfg: Config,
    role: str,
    back: Background,
    x: np.ndarray,
    y: np.ndarray,
    time_left: float,
) -> dict[str, np.ndarray]:
    """The role's mapped values (decisions.VALUES) over the grid y x x at one share of time left, each (y, x) float64.

    x: imbalance, or the gap in ticks of the first pair; y: inventory in lots in the first book, or the share of the
    target still to trade in percent. Other books, and all other features, stay as they were met.
    """
    grid_y, grid_x = (
        torch.as_tensor(g.ravel(), dtype=torch.float32) for g in np.meshgrid(y, x, indexing="ij")
    )
    cells, m = len(grid_x), len(back.nodes)
    nodes, edges, vector = (t.repeat(cells, *[1] * (t.ndim - 1)) for t in back[:3])  # cell-major
    gx, gy = (g.repeat_interleave(m)[:, None] for g in (grid_x, grid_y))  # (cells * M, 1) over agents
    spec = policies.specs[role]
    node, edge = ({n: i for i, n in enumerate(f)} for f in (spec.node_features, spec.edge_features))
    side = back.side.repeat(cells, 1, 1)
    vector[..., spec.vector_features.index("time_left")] = time_left
    if role == "arbitrageur":
        _set_gap(cfg, nodes, edges, node, edge, gx, gy)
        side = torch.ones_like(side)
    else:
        towards = side[:, :, 0] if (side[:, :, 0] != 0).any() else torch.ones_like(side[:, :, 0])
        _set_imbalance(cfg, nodes, edges, node, edge, gx * towards)
        _set_inventory(cfg, role, nodes, node, gy, side[:, :, 0])
        side = towards[:, :, None]
    action = _acting(policies, cfg, role)(Observation(nodes, edges, vector))[:, :, 0]  # (cells * M, K, D)
    values = _values(cfg, role, action, side[:, :, 0], gy)
    return {k: v.double().mean(dim=1).view(len(y), len(x), m).mean(dim=2).numpy() for k, v in values.items()}


def _set_imbalance(cfg: Config, nodes: Tensor, edges: Tensor, node: Any, edge: Any, value: Tensor) -> None:
    """Overwrite the first book's imbalance; the lots at its two best prices follow, their sum as it was."""
    book = nodes[:, :, 0]
    total = book[..., node["bid_size"]].expm1() + book[..., node["ask_size"]].expm1()
    book[..., node["bid_size"]] = (total * (1 + value) / 2).log1p()
    book[..., node["ask_size"]] = (total * (1 - value) / 2).log1p()
    book[..., node["imbalance"]] = value
    for p, (i, j) in enumerate(cfg.pairs):
        if 0 in (i, j):
            edges[:, :, p, edge["imbalance"]] = (
                nodes[:, :, i, node["imbalance"]] - nodes[:, :, j, node["imbalance"]]
            )


def _set_inventory(cfg: Config, role: str, nodes: Tensor, node: Any, value: Tensor, side: Tensor) -> None:
    """Overwrite what is held in the first book: lots, or for a target the percent of it still to trade."""
    limit = getattr(cfg.agents, role).risk.max_inventory
    if role == "taker" and (side != 0).any():
        left = value / 100.0
        nodes[:, :, 0, node["remaining"]] = left * side
        nodes[:, :, 0, node["inventory"]] = (1.0 - left) * side * cfg.agents.taker.target / limit
    else:
        nodes[:, :, 0, node["inventory"]] = value / limit


def _set_gap(
    cfg: Config, nodes: Tensor, edges: Tensor, node: Any, edge: Any, gap: Tensor, held: Tensor
) -> None:
    """Overwrite the first pair's gap and what is held in its legs: as many lots long in one as short in the other."""
    first, second = cfg.pairs[0]
    limit = cfg.agents.arbitrageur.risk.max_inventory
    edges[:, :, 0, edge["gap"]] = gap
    under = cfg.market.underlying_index
    if under[first] == under[second] and (under == under[first]).sum() == 2:
        nodes[:, :, first, node["gap_venues"]] = -gap
        nodes[:, :, second, node["gap_venues"]] = gap
    nodes[:, :, first, node["inventory"]] = held / limit
    nodes[:, :, second, node["inventory"]] = -held / limit


def _values(cfg: Config, role: str, action: Tensor, side: Tensor, held: Tensor) -> dict[str, Tensor]:
    """What is mapped, (cells * M, K) each, from actions (cells * M, K, D) in physical units."""
    if role == "maker":
        unit = cfg.agents.maker.quote_spread
        bid, ask = unit * action[..., 0], unit * action[..., 1]
        return dict(zip(VALUES[role], (bid, ask, (ask - bid) / 2), strict=True))
    threshold = getattr(cfg.agents, role).threshold
    direction = torch.where(action[..., 0].abs() > threshold, action[..., 0].sign(), 0.0)
    lots = action[..., -1].round()
    if role == "taker":
        return dict.fromkeys(VALUES[role], side * direction * lots)
    closing = -held.sign() * torch.minimum(lots, held.abs())
    return dict.fromkeys(VALUES[role], torch.where(action[..., 1] > threshold, closing, direction * lots))
