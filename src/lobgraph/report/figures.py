"""All figures of a run from its directory alone: learning curves, reward terms, and one evaluated episode.

In: a run directory. Out: rewards.png beside rewards.csv and the others in figures/. The episode's seed is not one of
training's, and each policy acts by its mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lobgraph.config import load_config, read_yaml
from lobgraph.files import read_parquet

from . import episode, plots
from .metrics import held_by, read_rewards, roles_of
from .style import save
from .trace import Trace, record

EVALUATION_SEED = 1_000_003  # added to the run's seed
EPISODES = 16  # traced at once; the first is drawn, all of them enter the figure by regime


def make_figures(run: str | Path, seed: int | None = None) -> list[Path]:
    """Draw every figure of a run and return their paths. Raises FileNotFoundError naming what the run lacks."""
    run = Path(run)
    for needed in ("config.yaml", "rewards.csv"):
        if not (run / needed).is_file():
            raise FileNotFoundError(2, "no such file; a run directory has one", str(run / needed))
    made = [rewards_figure(run)]
    if (run / "metrics.parquet").is_file():
        rewards = read_rewards(run / "rewards.csv")
        held = {role: held_by([rewards], role) for role in roles_of(rewards)}
        history = read_parquet(run / "metrics.parquet")
        terms = plots.reward_terms(history, held=held)
        made += _save_all(run, {"terms": terms, "settings": plots.settings(history)})
    made += _save_all(run, episode_figures(trace_run(run, seed)))

    cfg = load_config(run / "config.yaml")
    if cfg.market.num_books > 1 and cfg.graph.encoder != "mlp":
        from .importance import draw_importance

        roles = draw_importance(run, cfg.run.seed + EVALUATION_SEED if seed is None else seed)
        made += [run / "figures" / f"importance_{role}.png" for role in roles]
    return made


def rewards_figure(run: Path) -> Path:
    """rewards.png from rewards.csv and metrics.parquet of a run, or of a group of seeds (a column `seed`)."""
    rewards = read_rewards(run / "rewards.csv")
    runs = [part for _, part in rewards.groupby("seed")] if "seed" in rewards else [rewards]
    title = "Learning curves"
    for config in (run / "config.yaml", *sorted(run.glob("seed_*/config.yaml"))):
        if config.is_file():
            title += f": {read_yaml(config).get('name', '')}"
            break
    metrics = read_parquet(run / "metrics.parquet") if (run / "metrics.parquet").is_file() else pd.DataFrame()
    histories = [part for _, part in metrics.groupby("seed")] if "seed" in metrics else [metrics]
    return save(plots.learning_curves({run.name: runs}, title, histories), run / "rewards.png")


def trace_run(run: Path, seed: int | None = None, episodes: int = EPISODES) -> list[Trace]:
    """Let a run's policies, and what holds the other roles, act for one episode in each of `episodes` environments."""
    from lobgraph.config import load_config
    from lobgraph.env.market_env import MarketEnv
    from lobgraph.rl.actors import cast, held_actors
    from lobgraph.rl.checkpoint import load_policies

    cfg = load_config(
        run / "config.yaml", [f"env.num_envs={episodes}", "env.stagger=false", "ppo.minibatches=1"]
    )
    seed = cfg.run.seed + EVALUATION_SEED if seed is None else seed
    env = MarketEnv(cfg, seed=seed, autoreset=False)
    policies, held = load_policies(run, env), cast(env, held_actors(cfg))

    def act(obs: Any) -> dict[str, Any]:
        return policies.act(obs, deterministic=True) | {role: own(obs) for role, own in held.items()}

    return record(env, act, seed)


def episode_figures(traces: list[Trace]) -> dict[str, Figure | None]:
    """The figures of traced episodes by file name; None where the scenario has nothing to show."""
    first = traces[0]
    return {
        "quotes": episode.quotes(first),
        "inventory": episode.inventories(first),
        "execution": episode.execution(first),
        "regimes": episode.regimes(traces),
        "book": episode.heat_map(first),
    }


def _save_all(run: Path, figures: dict[str, Figure | None]) -> list[Path]:
    return [save(fig, run / "figures" / f"{name}.png") for name, fig in figures.items() if fig is not None]
