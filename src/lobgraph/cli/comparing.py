"""compare, counterfactual, strategies: who does better, and what does a population do to the market?"""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..report.console import say, show
from . import completing
from .app import Overrides, Seed, app

if TYPE_CHECKING:
    from ..config import Config
    from ..rl.actors import Actor

Episodes = Annotated[int, typer.Option(min=1, help="Episodes in each regime.")]
Regimes = Annotated[
    list[str] | None,
    typer.Option(
        "--regime", help='A regime to play in, or "as configured"; repeatable. Default: each regime apart.'
    ),
]
Played = Annotated[
    Path | None,
    typer.Option(
        help="Scenario to play; default: that of the first run among WHO.",
        autocompletion=completing.scenarios,
    ),
]
ActedRole = Annotated[
    str | None,
    typer.Option(help="Role that WHO act in, where it is not plain.", autocompletion=completing.roles),
]
Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        metavar="ROLE=WHO",
        help="Who acts in another role: a strategy, a run or nothing; repeatable.",
        autocompletion=completing.casts,
    ),
]


@app.command()
def compare(
    who: Annotated[
        list[str],
        typer.Argument(
            metavar="WHO...",
            help="Runs and strategies, e.g. twap or fixed_spread:half_spread=2; the first is the baseline.",
            autocompletion=completing.actors,
        ),
    ],
    config: Played = None,
    role: ActedRole = None,
    agents: Agents = None,
    overrides: Overrides = None,
    episodes: Episodes = 1000,
    seed: Seed = 1_000_003,
    regimes: Regimes = None,
    directory: Annotated[Path, typer.Option("--dir", help="Reports go to DIR/<time>-s<seed>/.")] = Path(
        "artifacts/compare"
    ),
) -> None:
    """Play runs and strategies on the same episodes; paired differences, tests, a report."""
    from ..evaluation.compare import compare as play
    from ..report.present import present

    cfg, own, actors, others = who_plays("compare", who, config, overrides, role, agents)
    check_directory(directory)
    notes = [f"{name}: {actor}" for name in who if (actor := run_of(name)) and str(actor) != name]
    notes += [beside(cfg, r, others[r]) for r in others]
    result = play(cfg, own, actors, others, episodes, seed, regimes, Progress(notes))
    present(result, directory, f"{own}s of {cfg.name}", own, notes, command_line())


@app.command()
def counterfactual(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG_OR_RUN",
            help="Scenario file, or a run: its policies act.",
            autocompletion=completing.scenarios_and_runs,
        ),
    ],
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="Take this role out; repeatable.", autocompletion=completing.roles),
    ] = None,
    swap: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=WHO",
            help="Put another in this role's place; repeatable.",
            autocompletion=completing.casts,
        ),
    ] = None,
    agents: Agents = None,
    overrides: Overrides = None,
    episodes: Episodes = 1000,
    seed: Seed = 1_000_003,
    regimes: Regimes = None,
    directory: Annotated[Path, typer.Option("--dir", help="Reports go to DIR/<time>-s<seed>/.")] = Path(
        "artifacts/counterfactual"
    ),
) -> None:
    """What a population does to the market: the same noise with it and without it."""
    from ..config import ConfigError, load_config
    from ..evaluation.compare import counterfactual as play
    from ..report.present import present

    run = run_of(str(what)) if what.is_dir() else None
    cfg = load_config(run / "config.yaml" if run else what, overrides or ())
    acting = others_of(cfg, None, agents, run)
    changed = _pairs(swap, "--swap")
    check_directory(directory)
    for role in [*(without or ()), *changed]:
        if role in cfg.counts and acting.get(role) is None and not _given(agents, role):
            raise ConfigError(
                f"{role}: nobody acts in this role (one that learns needs its run); give a run in place of the scenario, or "
                f"--agent {role}=STRATEGY (lobgraph strategies lists them)"
            )
    notes = [beside(cfg, r, acting[r]) for r in acting]
    result = play(cfg, acting, without or (), changed, episodes, seed, regimes, Progress(notes))
    title = f"{cfg.name}: {result.names[1]} against {result.names[0]}"
    present(result, directory, title, "market", notes, command_line())


@app.command("strategies")
def list_strategies() -> None:
    """List the scripted strategies and their parameters."""
    from ..agents.strategy import describe

    show(describe(), "Strategies, as text: NAME:key=value,key=value")
    say(
        "In ticks, lots and seconds. None: measured from the market before the first episode (sigma, kappa, A, eta), or"
    )
    say(
        "chosen by the strategy. Prices are rounded outwards to whole ticks. Your own: FILE.py:CLASS:key=value,... (README)."
    )


def run_of(text: str) -> Path | None:
    """The run directory that a path means; None for what is no path but a strategy."""
    from ..agents.strategy import strategies
    from ..report.directory import find_run

    if text.partition(":")[0] in strategies():
        return None
    return find_run(text) if os.path.isdir(text) else Path(text) if text.endswith(".safetensors") else None


def check_directory(directory: Path) -> None:
    """A place that cannot be written to is known before the work; it is made after it, when there is something to write."""
    there = next(path for path in (directory, *directory.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise NotADirectoryError(20, "is no directory", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(13, "permission denied", str(there))


def who_plays(
    command: str, who: list[str], config: Path | None, overrides: list[str] | None, role: str | None,
    agents: list[str] | None,
) -> tuple[Config, str, dict[str, Actor], dict[str, Actor]]:  # fmt: skip
    """The market to play (of --config, else of the first run in WHO), the role compared, who plays it and who the others.

    Raises ConfigError where somebody is given twice, or nobody tells the market; StrategyError or PolicyError for one who
    is not there.
    """
    from ..config import ConfigError, load_config
    from ..rl.actors import resolve_all

    if len(set(who)) < len(who):
        raise ConfigError(f"{command}: {_twice(who)!r} is given twice")
    own, actors = resolve_all({name: run_of(name) or name for name in who}, role)
    runs = [path for path in map(run_of, who) if path is not None and path.is_dir()]
    source = config or (runs[0] / "config.yaml" if runs else None)
    if source is None:
        raise ConfigError(f"{command}: no run among WHO tells which market to play; give --config CONFIG")
    cfg = load_config(source, overrides or ())
    return cfg, own, actors, others_of(cfg, own, agents, runs[0] if runs and config is None else None)


def others_of(cfg: Config, own: str | None, agents: list[str] | None, run: Path | None) -> dict[str, Actor]:
    """Who acts in the roles but `own`: as --agent says, as the configuration says, by the run's policies, or nobody."""
    given = _pairs(agents, "--agent")
    others: dict[str, Actor] = {}
    for role in cfg.counts:
        if role == own:
            continue
        fixed = getattr(cfg.agents, role).actor
        others[role] = given.get(role, fixed if fixed != "learn" else (str(run) if run else None))
    from ..config import ConfigError

    if wrong := sorted(set(given) - set(others)):
        what = (
            "is what is compared"
            if wrong[0] == own
            else f"is no role with agents; they are {sorted(cfg.counts)}"
        )
        raise ConfigError(f"--agent {wrong[0]}: {what}")
    return others


def _pairs(texts: list[str] | None, option: str) -> dict[str, Actor]:
    from ..config import ConfigError

    pairs: dict[str, Actor] = {}
    for text in texts or ():
        role, sep, actor = text.partition("=")
        if not sep or not actor:
            raise ConfigError(f"{option} {text!r}: must have the form ROLE=WHO")
        pairs[role.strip()] = run_of(actor.strip()) or actor.strip()
    return pairs


def _given(agents: list[str] | None, role: str) -> bool:
    return any(text.partition("=")[0].strip() == role for text in agents or ())


def beside(cfg: Config, role: str, actor: Actor) -> str:
    """A line that says who acts in a role that is not compared."""
    if actor is not None:
        return f"{role}: {actor}"
    learns = role in cfg.learners
    return f"{role}: nothing" + (
        f" (it learns in the scenario; --agent {role}=WHO fills it)" if learns else ""
    )


def _twice(names: list[str]) -> str:
    return next(name for i, name in enumerate(names) if name in names[:i])


def command_line() -> str:
    return shlex.join(["lobgraph", *sys.argv[1:]])


class Progress:
    """Lines on stderr: who acts, once the work begins, then one every few seconds."""

    def __init__(self, first: list[str], every: float = 5.0) -> None:
        self.first, self.every, self.last = first, every, -math.inf

    def __call__(self, line: str) -> None:
        if time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            for text in [*self.first, line]:
                print(text, file=sys.stderr, flush=True)
            self.first = []
