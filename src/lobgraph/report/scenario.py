"""From a scenario file to trained seeds, figures, a table and links: what the scripts and `lobgraph train` run.

One seed makes a run directory. Several make a directory with a run in seed_<n>/ each, and over all of them
rewards.csv and metrics.parquet (with a column `seed`), rewards.png, summary.csv, and the policies and figures of the first seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .console import clear_errors, say, show, yield_idle_threads

if TYPE_CHECKING:
    import pandas as pd

    from lobgraph.config import Config
    from lobgraph.rl.run import Run

# Enough to see every part work, in seconds; not to learn.
QUICK = (
    "env.num_envs=8",
    "env.episode_steps=40",
    "ppo.rollout_steps=20",
    "ppo.minibatches=2",
    "ppo.total_steps=960",
)


def main(
    description: str | None,
    config: str | Path,
    *,
    seeds: int = 1,
    replay: bool = False,
    argv: Sequence[str] | None = None,
) -> None:
    """The command line of a scenario's script: parse, train, report. Exits with 2 on a user's error.

    config: default scenario file; seeds: default number of seeds; replay: take message files as arguments.
    """
    args = _parser(description, config, seeds, replay).parse_args(argv)
    yield_idle_threads()
    with clear_errors():
        from lobgraph.config import load_config

        overrides = [*(QUICK if args.quick else ()), *(replay_overrides(args.files) if replay else ())]
        if args.steps is not None:
            overrides.append(f"ppo.total_steps={args.steps}")
        if args.resume is not None:
            resume(args.resume, args.set)
            return
        cfg = load_config(args.config, [*overrides, f"run.seed={args.seed}", *args.set])
        run(cfg, args.seeds, args.out)


def _parser(description: str | None, config: str | Path, seeds: int, replay: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if replay:
        parser.add_argument(
            "files", nargs="+", metavar="MESSAGE_FILE", help="LOBSTER message files, one per asset"
        )
    parser.add_argument(
        "--config", default=config, metavar="FILE", help=f"scenario file (default {Path(config).name})"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. ppo.lr=1e-3"
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed (default %(default)s)")
    parser.add_argument(
        "--seeds", type=_positive, default=seeds, help="number of seeds (default %(default)s)"
    )
    parser.add_argument(
        "--steps", type=_positive, help="environment steps per seed (default: the scenario's)"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with a run that was stopped or killed, as it was configured"
    )
    parser.add_argument("--out", metavar="DIR", help="where runs and links go (default artifacts/<scenario>)")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: all parts run, little is learned"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def replay_overrides(files: Sequence[str | Path]) -> list[str]:
    """Overrides that make one book of each LOBSTER message file, named by its ticker; paths become absolute."""
    from lobgraph.data.load import without_partners

    books: dict[str, str] = {}
    for file in without_partners(files):
        ticker = Path(file).name.removeprefix("LOBSTER_SampleFile_").split("_")[0].split(".")[0] or "book"
        name, n = ticker, 2
        while name in books:
            name, n = f"{ticker}-{n}", n + 1
        books[name] = str(Path(file).resolve())
    return [f"market.books={json.dumps(list(books))}", f"replay.files={json.dumps(books)}"]


def run(cfg: Config, seeds: int = 1, out: str | Path | None = None) -> Path:
    """Train `seeds` seeds from cfg.run.seed on, draw the figures, print the summary. Returns the new directory.

    out: the scenario's directory; default cfg.run.dir/cfg.name. Raises KeyboardInterrupt after Ctrl-C, with
    everything so far saved, drawn and linked.
    """
    from lobgraph.rl.inputs import pinned
    from lobgraph.rl.run import kept_if_used, numbered_directory

    cfg = pinned(cfg)
    home = Path(out) if out is not None else Path(cfg.run.dir) / cfg.name
    numbers = [cfg.run.seed + i for i in range(seeds)]
    span = f"s{numbers[0]}" if seeds == 1 else f"s{numbers[0]}-{numbers[-1]}"
    directory = numbered_directory(home, span)
    with kept_if_used(directory):
        _plan(directory, cfg, numbers)
        return _train_all(directory, cfg, numbers)


def resume(directory: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Go on with what `run` began in `directory` and did not end, as if it had never been stopped; then as `run` does.

    A scenario's directory stands for its newest run. overrides: of lobgraph.rl.resume.FREE. Raises ResumeError, FileNotFoundError.
    """
    from lobgraph.rl.resume import ResumeError
    from lobgraph.rl.run import PLAN, locked

    path = Path(directory)
    if not path.is_dir():
        what = "a file, not a run's directory" if path.exists() else "no such run directory"
        raise FileNotFoundError(2, what, str(path))
    path = path.resolve()
    begun = path if _is_begun(path) else None
    if begun is None:
        inside = [p for p in sorted(path.iterdir(), reverse=True) if p.is_dir() and not p.is_symlink()]
        begun = next((p for p in inside if _is_begun(p)), None)
    if begun is None:
        raise ResumeError(
            f"{directory}: no training was begun here; give a run's directory, or a scenario's that holds some"
        )
    plan = next((p / PLAN for p in (begun, begun.parent) if (p / PLAN).is_file()), None)
    if plan is None:  # of a training begun by `train` itself
        return _resume_alone(begun, overrides)
    try:
        told = json.loads(plan.read_text())
        seeds, settings = [int(x) for x in told["seeds"]], told["config"]
        if not seeds or not isinstance(settings, dict):
            raise ValueError("it names no seeds or no configuration")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ResumeError(f"{plan}: a damaged plan: {error}") from None

    from lobgraph.config import make_config
    from lobgraph.rl.resume import check_free

    check_free(overrides)
    cfg = make_config(settings, overrides, str(plan))
    if overrides:  # seeds that have not begun, and those that have ended, follow what is asked for last
        for path in (plan.parent, *(p for p in plan.parent.glob("seed_*") if p.is_dir())):
            with locked(path):  # nobody trains there
                pass
        _plan(plan.parent, cfg, seeds)
    if len(seeds) > 1:
        overrides = [*overrides, f"ppo.total_steps={cfg.ppo.total_steps}"]
    return _train_all(plan.parent, cfg, seeds, overrides)


def _plan(directory: Path, cfg: Config, seeds: Sequence[int]) -> None:
    """What is to be trained, beside it: so that a part of it can be gone on with."""
    from lobgraph.files import write_atomic
    from lobgraph.rl.run import PLAN

    plan = {"seeds": list(seeds), "config": cfg.model_dump(mode="json", exclude_unset=True)}
    write_atomic(directory / PLAN, json.dumps(plan, indent=1).encode())


def _is_begun(path: Path) -> bool:
    from lobgraph.rl.run import PLAN

    return (path / PLAN).is_file() or (path / "config.yaml").is_file()


def _resume_alone(path: Path, overrides: Sequence[str]) -> Path:
    from lobgraph.rl.train import resume as go_on

    from .figures import make_figures

    done = go_on(path, list(overrides))
    say("figures: " + "\n         ".join(map(str, make_figures(path))))
    if done.stopped == "interrupted":
        raise KeyboardInterrupt
    return path


def _train_all(
    directory: Path, cfg: Config, numbers: Sequence[int], overrides: Sequence[str] | None = None
) -> Path:
    """Train each seed, or with `overrides` go on with it; then figures, tables and links of all."""
    from ..files import write_table
    from .directory import publish
    from .figures import make_figures
    from .metrics import read_rewards, summarize

    started, seeds, home = time.perf_counter(), len(numbers), directory.parent
    paths = {number: directory if seeds == 1 else directory / f"seed_{number}" for number in numbers}
    tables, complete = {}, True
    for i, (number, path) in enumerate(paths.items()):
        if seeds > 1:
            say(f"seed {number} ({i + 1} of {seeds})")
        done = _train_one(cfg, number, path, overrides)
        tables[number] = read_rewards(path / "rewards.csv")
        complete = done.stopped != "interrupted"
        if not complete:  # Ctrl-C: training has saved what there is
            break
    figures = make_figures(paths[numbers[0]])
    if seeds > 1:
        figures = [*_gather(directory, paths[numbers[0]], tables), *figures]
    summary = summarize({cfg.name: list(tables.values())})
    write_table(directory / "summary.csv", summary)
    publish(home, directory)
    if len(tables) > 1 or not cfg.run.progress:
        show(summary, "Episode reward (tick-lots): mean of the first and the last tenth of updates")
    _explain(len(tables), time.perf_counter() - started)
    updates = {number: int(table["update"].max()) for number, table in tables.items() if len(table)}
    if len(set(updates.values())) > 1 or len(tables) < seeds:
        told = ", ".join(f"{number} for {count}" for number, count in updates.items())
        say(
            f"seeds are not equally far: trained for updates: {told}; {seeds - len(tables)} of {seeds} not begun; first and last are each seed's own"
        )
    say(f"run:     {directory} (and {home / 'latest'})")
    say("figures: " + "\n         ".join(map(str, figures)))
    if not complete:
        raise KeyboardInterrupt
    return directory


def _train_one(cfg: Config, number: int, path: Path, overrides: Sequence[str] | None) -> Run:
    """A seed from its start, or with `overrides` from where it stopped; one that has no state yet has not begun."""
    from lobgraph.rl import train
    from lobgraph.rl.resume import forget_beginning
    from lobgraph.rl.run import kept_if_used

    if overrides is not None and any(path.glob("checkpoints/state-*")):
        return train.resume(path, list(overrides))
    if overrides is not None:
        forget_beginning(path)
    with kept_if_used(path):
        return train.train(with_seed(cfg, number, overrides or ()), directory=path)


def with_seed(cfg: Config, seed: int, overrides: Sequence[str] = ()) -> Config:
    """The same scenario with another seed."""
    from lobgraph.config import make_config

    return make_config(cfg.model_dump(exclude_unset=True), [*overrides, f"run.seed={seed}"])


def _gather(directory: Path, first: Path, tables: Mapping[int, pd.DataFrame]) -> list[Path]:
    """Write what stands for all seeds into their common directory; policies are the first seed's, unchosen."""
    import pandas as pd

    from ..files import read_parquet, write_table
    from .figures import rewards_figure

    together = pd.concat([table.assign(seed=number) for number, table in tables.items()], ignore_index=True)
    write_table(directory / "rewards.csv", together)
    metrics = {n: read_parquet(directory / f"seed_{n}" / "metrics.parquet") for n in tables}
    history = pd.concat([table.assign(seed=n) for n, table in metrics.items()], ignore_index=True)
    write_table(directory / "metrics.parquet", history)
    for policy in first.glob("*_policy*"):
        shutil.copy2(policy, directory / policy.name)
    return [rewards_figure(directory)]


def _explain(seeds: int, seconds: float) -> None:
    if seeds > 1:
        say(
            "spread: standard deviation of the last reward over seeds; gain low/high: 95 % interval of the gain;"
        )
        say(
            "learned: the gain exceeds the spread of both ends, and its interval lies above 0; held: the role was not to learn."
        )
    else:
        say("one seed has no spread to compare the gain with; --seeds 3 gives one.")
    say(f"took {seconds:.0f} s")
