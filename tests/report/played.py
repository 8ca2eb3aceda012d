"""Real episodes of several actors, and tables with the columns of a comparison, for the tests of its report."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from lobgraph.agents.strategy import Strategy
from lobgraph.config import Config, load_config
from lobgraph.evaluation.record import Series, play

CONFIGS = Path(__file__).parents[2] / "configs"
QUICK = ("env.episode_steps=30", "flow.warmup=2", "env.threads=1", "run.torch_threads=1")
FIXED = "regimes.switch_rates={}"
REGIMES = {
    "normal": ("regimes.initial={normal: 1.0, stress: 0.0}", FIXED),
    "stress": ("regimes.initial={normal: 0.0, stress: 1.0}", FIXED),
}


@dataclass
class Even(Strategy):
    """Trades the rest of its target in equal parts over what is left of the episode, from `late` seconds on."""

    role: ClassVar[str] = "taker"
    late: float = 0.0

    def act(self, view):
        left = np.maximum(view.time_left / view.dt, 1)[:, None, None]
        go = (view.step * view.dt >= self.late)[:, None, None]
        return view.trade(np.where(go, view.remaining / left, 0))


@dataclass
class Gap(Strategy):
    """Sells the dearer book of a pair and buys the other while they are `at` ticks apart."""

    role: ClassVar[str] = "arbitrageur"
    at: float = 1.0

    def act(self, view):
        level = view.mid - view.initial_price
        gap = (level[:, view.pairs[:, 0]] - level[:, view.pairs[:, 1]])[:, None]
        return view.legs(np.where(np.abs(gap) > self.at, -2 * np.sign(gap), 0))


def config(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", [*QUICK, *overrides])


@cache
def makers(count: int, regimes: int = 1, episodes: int = 8, scenario: str = "single_maker"):
    """Names and (actor, regime) -> Series of makers that differ in their half spread; the sixth does nothing."""
    names = [f"fixed_spread:half_spread={h}" for h in (1, 1.5, 2, 3, 4)][:count]
    names += ["nothing"] if count > 5 else []
    return names, {
        (name, regime): one(config(scenario, *REGIMES[regime]), {"maker": name}, episodes)
        for regime in list(REGIMES)[:regimes]
        for name in names
    }


@cache
def takers(target: int = 30):
    """Names and Series of takers beside a maker: at once in equal parts, late, and nothing."""
    cfg = config("multi_agent_basic", f"agents.taker.target={target}")
    actors = {"even": Even(), "late": Even(15.0), "nothing": None}
    played = {
        (n, "as configured"): one(cfg, {"maker": "fixed_spread", "taker": a}, 8) for n, a in actors.items()
    }
    return list(actors), played


@cache
def arbitrageurs():
    cfg = config("multi_asset_gnn")
    actors = {"nothing": None, "gap": Gap()}
    played = {
        (n, "as configured"): one(cfg, {"maker": "fixed_spread", "arbitrageur": a}, 8)
        for n, a in actors.items()
    }
    return list(actors), played


def one(cfg: Config, agents, episodes: int) -> Series:
    (series,) = play(cfg, agents, episodes)
    return series


def tables(names, series) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Measures, market and differences of the episodes, with normal intervals."""
    measures, market = [], []
    for (actor, regime), s in series.items():
        key = {"actor": actor, "regime": regime}
        for role, spec in s.specs.items():
            agents = range(spec.agents.start, spec.agents.stop)
            measures += [
                pd.DataFrame({
                    "episode": s.episode, "role": role, "agent": k, "pnl": s.equity[-1, :, g], "completion": np.nan,
                    "turnover": (s.passive + s.aggressive)[:, :, g].sum(axis=(0, 2, 3)).astype(float), **key,
                })
                for k, g in enumerate(agents)
            ]  # fmt: skip
        for a, book in enumerate(s.cfg.market.books):
            wide = (s.best_ask - s.best_bid)[:, :, a].mean(axis=0)
            market.append(pd.DataFrame({"episode": s.episode, "book": book, "spread": wide, **key}))
    measured, quality = pd.concat(measures, ignore_index=True), pd.concat(market, ignore_index=True)
    long = pd.concat([measured, quality.assign(role="market")], ignore_index=True)
    return measured, quality, pd.DataFrame(list(_differences(names, long)))


def _differences(names, long):
    for (role, regime), part in long.groupby(["role", "regime"], sort=False):
        for measure in ("pnl", "turnover", "spread"):
            by = part.pivot_table(index="episode", columns="actor", values=measure)
            for actor in [n for n in names[1:] if n in by]:
                d = by[actor] - by[names[0]]
                half = 2 * float(d.std()) / len(d) ** 0.5
                wide = 2 * float(np.hypot(by[actor].std(), by[names[0]].std())) / len(d) ** 0.5
                mean = float(d.mean())
                yield {
                    "actor": actor, "baseline": names[0], "regime": regime, "role": role, "measure": measure,
                    "mean": mean, "low": mean - half, "high": mean + half, "unpaired_low": mean - wide,
                    "unpaired_high": mean + wide, "correlation": 0.5, "p": 0.01, "p_adjusted": 0.02, "effect": 0.3,
                }  # fmt: skip
