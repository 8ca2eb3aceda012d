"""Zero-shot: policies trained on a few books act on markets of other sizes, beside policies trained at each size.

In: a scenario, sizes, and the size to train on. Out: reward per book at each size, and the share that the policy from
elsewhere keeps of what one trained there earns, with intervals over trainings and episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import Config, ConfigError, make_config
from ..models.policy import PolicySet
from .ablate import Note, by_seed, played, train_all
from .clusters import crossed, crossed_ratio

HERE, ZERO = "trained here", "zero-shot"
COSTS = ("episodes", "steps")  # in which a policy trained at another size costs as much


@dataclass(frozen=True)
class Transfer:
    """What was trained and found."""

    cfg: Config
    sizes: list[int]
    train_on: int
    seeds: list[int]
    episodes: int
    seed: int  # of the episodes
    equal: str  # of COSTS
    outcomes: pd.DataFrame  # a row per size, variant (ZERO, HERE), seed, role and episode: return per book
    shares: (
        pd.DataFrame
    )  # a row per role and size: both means per book, their difference and share, with intervals


def resized(cfg: Config, books: int) -> Config:
    """The same kind of market with another number of books: book i is like book i mod m of the m that `cfg` has.

    What belongs to a book (flow, initial price, underlying, being a target or half of a pair) repeats with it; book i beyond
    m is named after its model, with _1, _2 and so on, and has an underlying of its own round. Correlation must be one value,
    or a matrix of which a part is wanted. What is paid for a whole market (liquidity_reward) or bounds all of it
    (max_drawdown) grows with the books, so that the objective stays that of a book times their number.
    Raises ConfigError for recorded books, and for what does not repeat.
    """
    m = cfg.market.num_books
    if cfg.replay.files or cfg.replay.required:
        raise ConfigError(
            "replay.files: a market of recorded books has the books of its files, no other number"
        )
    if books < 1:
        raise ConfigError(f"books: must be at least 1, got {books}")
    if books == m:
        return cfg
    tree = cfg.model_dump(mode="json", exclude_unset=True)
    names = [_name(cfg.market.books[i % m], i // m) for i in range(books)]
    market = tree.setdefault("market", {})
    market["books"] = names
    if cfg.market.underlying is not None:
        market["underlying"] = [_name(cfg.market.underlying[i % m], i // m) for i in range(books)]
    if isinstance(cfg.market.initial_price, list) and len(cfg.market.initial_price) > 1:
        market["initial_price"] = [cfg.market.initial_price[i % m] for i in range(books)]
    tree["flow_per_book"] = {
        name: dict(cfg.flow_per_book[cfg.market.books[i % m]])
        for i, name in enumerate(names)
        if cfg.market.books[i % m] in cfg.flow_per_book
    }
    _resize_fundamentals(cfg, tree, books)
    tree["agents"] = cfg.agents.model_dump(mode="json")
    for role, section in tree["agents"].items():
        _resize_agents(cfg, role, section, names)
    return make_config(tree, source=f"{cfg.name} with {books} books")


def _name(model: str, repeat: int) -> str:
    return f"{model}_{repeat}" if repeat else model


def _resize_fundamentals(cfg: Config, tree: dict[str, Any], books: int) -> None:
    f, section = cfg.fundamentals, tree.get("fundamentals", {})
    m, under = cfg.market.num_books, cfg.market.underlying_index
    repeats = [(int(under[i % m]), i // m) for i in range(books)]
    wanted = [u for u, _ in dict.fromkeys(repeats)]  # the underlying that each of the new ones is like
    if isinstance(f.volatility, list):
        section["volatility"] = [f.volatility[u] for u in wanted]
    if isinstance(f.correlation, list):
        if books > m:
            raise ConfigError(
                f"fundamentals.correlation: a matrix of {len(f.correlation)} underlyings does not say how {books} books "
                "move together; give one value for all pairs"
            )
        section["correlation"] = [[f.correlation[u][v] for v in wanted] for u in wanted]


def _resize_agents(cfg: Config, role: str, section: dict[str, Any], names: list[str]) -> None:
    own, m, n = getattr(cfg.agents, role), cfg.market.num_books, len(names)
    if isinstance(getattr(own, "pairs", None), list):
        section["pairs"] = [
            pair
            for repeat in range(-(-n // m))
            for pair in ([_name(book, repeat) for book in two] for two in own.pairs)
            if set(pair) <= set(names)
        ]
    if getattr(own, "target_books", None) is not None:
        section["target_books"] = [
            x for i, x in enumerate(names) if cfg.market.books[i % m] in own.target_books
        ]
    if own.risk.max_drawdown is not None:
        section["risk"]["max_drawdown"] = own.risk.max_drawdown * n / m
    if role == "maker":
        section["liquidity_reward"] = own.liquidity_reward * n / m


def at_equal(cost: str, cfg: Config, books: int, of: int) -> Config:
    """`cfg` resized, with the updates of a training on `of` books and as many episodes, or as many book-steps.

    episodes: the same environments, so that the cost goes with the books. One advantage covers the actions in all books:
    on n books it holds n signals and, of independent books, sqrt(n) times the noise, which meets the sqrt(n) of their
    actions' scores. The gradient's signal to noise is thus that of as many episodes, not of as many book-steps.
    steps: environments fewer as books are more. In both a policy's divergence is the sum over the books it acts in, so its
    bound (target_kl) goes with their number, and that of the probability ratio (clip) with its root.
    """
    if cost not in COSTS:
        raise ConfigError(f"equal: no {cost!r}; there are {', '.join(COSTS)}")
    own = resized(cfg, books)
    envs = cfg.env.num_envs if cost == "episodes" else max(1, round(cfg.env.num_envs * of / books))
    updates = math.ceil(cfg.ppo.total_steps / (cfg.ppo.rollout_steps * cfg.env.num_envs))
    whole = envs if cfg.graph.memory != "none" else cfg.ppo.rollout_steps * envs
    tree = own.model_dump(mode="json", exclude_unset=True)
    tree["env"] = tree.get("env", {}) | {"num_envs": envs}
    tree["ppo"] = tree.get("ppo", {}) | {
        "total_steps": updates * cfg.ppo.rollout_steps * envs,
        "minibatches": math.gcd(cfg.ppo.minibatches, whole),
        "target_kl": None if cfg.ppo.target_kl is None else cfg.ppo.target_kl * books / of,
        "clip": min(cfg.ppo.clip * math.sqrt(books / of), 0.9),
    }
    return make_config(tree)


def transfer(
    cfg: Config,
    directory: str | Path,
    sizes: Sequence[int] = (2, 4, 8, 16, 32),
    train_on: int = 4,
    seeds: int = 1,
    episodes: int = 1000,
    seed: int = 1_000_003,
    note: Note = print,
    equal: str = "episodes",
) -> Transfer:
    """Train on `train_on` books and, at `equal` cost, at every other size; play both at each size on the same episodes.

    Runs are written to directory/<n> books-s<seed>. Raises ConfigError for a scenario that cannot be resized.
    """
    sizes = sorted(dict.fromkeys(sizes))
    if not sizes:
        raise ConfigError("books: names no size to play on, such as 2,4,8")
    configs = {n: at_equal(equal, cfg, n, train_on) for n in sorted({*sizes, train_on})}
    numbers = [cfg.run.seed + i for i in range(seeds)]
    plan = {
        (f"{n} books", s): make_config(own.model_dump(mode="json", exclude_unset=True), [f"run.seed={s}"])
        for s in numbers
        for n, own in configs.items()
    }
    policies, _ = train_all(plan, Path(directory), note)
    parts = []
    for n in sizes:
        note(f"playing {n} books")
        worlds: dict[tuple[str, int], dict[str, PolicySet]] = {}
        for s in numbers:
            for label, at in ((ZERO, train_on), *(((HERE, n),) if n != train_on else ())):
                worlds[label, s] = dict.fromkeys(cfg.learners, policies[f"{at} books", s])
        table = played(configs[n], worlds, episodes, seed, note)
        parts.append(table.assign(books=n, **{"return": table["return"] / n, "pnl": table["pnl"] / n}))
    outcomes = pd.concat(parts, ignore_index=True)
    return Transfer(
        cfg, sizes, train_on, numbers, episodes, seed, equal, outcomes, share_table(outcomes, train_on)
    )


def share_table(outcomes: pd.DataFrame, train_on: int) -> pd.DataFrame:
    """Per role and size: reward per book of both policies, their difference and share, with intervals.

    At the size trained on there is one policy, and its share is 1 by definition.
    """
    rows = []
    key: Any
    for key, own in outcomes.groupby(["role", "books"], sort=False):
        role, n = key
        zero = by_seed(own, role, ZERO, "return")
        here = zero if n == train_on else by_seed(own, role, HERE, "return")
        row = {"role": role, "books": n}
        for label, found in (
            ("zero", crossed(zero)),
            ("here", crossed(here)),
            ("difference", crossed(zero - here)),
            ("share", crossed_ratio(zero, here)),
        ):
            row |= {label: found.mean, f"{label}_low": found.low, f"{label}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)
