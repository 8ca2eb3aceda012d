"""sweep: settings searched by training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..report.console import say, show, written
from .app import Overrides, app, note

if TYPE_CHECKING:
    from ..sweep.study import Sweep


@app.command()
def sweep(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG_OR_SWEEP", help="Scenario file; or a sweep's directory, to go on with it."
        ),
    ],
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="What to vary: ppo.lr=1e-4..1e-2:log, ppo.epochs=2..8, graph.hidden=32,64; repeatable.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials in all. Default 20, or as many as a sweep was begun with."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials side by side, a process each.")] = 1,
    role: Annotated[str | None, typer.Option(help="Role whose measure counts, where several learn.")] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help="What counts: return (the default), objective, pnl or another measure of an episode."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of each trial; their mean counts. Default 1.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=2, help="Unseen episodes a policy is judged by. Default 200.")
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Stop trials whose evaluations are below the median of the others."),
    ] = False,
    overrides: Overrides = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="A sweep goes to DIR/<time>-<scenario>/. Default artifacts/sweep."),
    ] = None,
) -> None:
    """Search settings by training (Optuna): what mattered, and the best scenario as a file that train accepts."""
    from ..config import ConfigError

    if what.is_dir():
        given = {"--over": over, "--set": overrides, "--role": role, "--measure": measure, "--seeds": seeds,
                 "--episodes": episodes, "--prune": prune, "--dir": directory}  # fmt: skip
        if wrong := [name for name, value in given.items() if value]:
            raise ConfigError(
                f"{wrong[0]}: {what} goes on as it was begun (sweep.yaml); only --trials and --jobs may change"
            )
        from ..sweep.study import load

        path, asked = what, load(what, trials)
    else:
        asked = _asked(what, over, overrides, role, measure or "return")
        asked = dataclasses.replace(
            asked, trials=trials or 20, seeds=seeds or 1, episodes=episodes or 200, prune=prune
        )
        from ..sweep.study import start

        path = start(asked, directory or Path("artifacts/sweep"))
        say(f"sweep: {path}")
    _work(asked, path, jobs)


def _asked(
    config: Path, over: list[str] | None, overrides: list[str] | None, role: str | None, measure: str
) -> Sweep:
    from ..config import ConfigError, load_config
    from ..report.labels import HIGHER, LABELS, NEITHER
    from ..sweep.study import Sweep

    cfg = load_config(config, overrides or ())
    if role is None:
        role = cfg.run.best_role or (cfg.learners[0] if len(cfg.learners) == 1 else None)
    if role is None:
        raise ConfigError(
            f"--role: {' and '.join(cfg.learners) or 'nobody'} learn; say whose {measure} counts"
        )
    better = LABELS[measure].better if measure in LABELS else NEITHER
    if better == NEITHER:
        good = ", ".join(name for name, label in LABELS.items() if label.better == HIGHER)
        raise ConfigError(f"--measure {measure}: it is not known which way is better; such as {good} count")
    tree = cfg.model_dump(mode="json", exclude_unset=True)
    return Sweep(tree=tree, over=list(over or ()), role=role, measure=measure, better=better, trials=1)


def _work(asked: Sweep, path: Path, jobs: int) -> None:
    from ..sweep.study import best_trial, run
    from ..sweep.summary import finish

    try:
        table = run(asked, path, jobs, note)
    except KeyboardInterrupt:
        note(f"interrupted; lobgraph sweep {path} goes on with it")
        raise
    shown = table.sort_values("value", ascending=asked.better < 0, kind="stable").head(10)
    show(shown.drop(columns="note"), f"The first 10 of {len(table)} trials by {asked.role}'s {asked.measure}")
    best = best_trial(asked, table)
    if best is None:
        say("no trial is complete: trials.csv says why")
    else:
        complete = list(table["state"]).count("complete")
        say(
            f"best: trial {best['trial']}. It was chosen among {complete}, so its "
            f"{asked.measure} is too high by some of its luck; train best.yaml with other seeds before you believe it."
        )
    written(finish(asked, path, table))
