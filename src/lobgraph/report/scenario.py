"""From a scenario file to trained seeds, figures, a table and links: what the scripts and `lobgraph train` run.

One seed makes a run directory. Several make a directory with a run in seed_<n>/ each, and over all of them
rewards.csv (with a column `seed`), rewards.png, summary.csv, and the policies and figures of the first seed.
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
    from lobgraph.rl.run import kept_if_used, numbered_directory
    from lobgraph.rl.train import train

    from .directory import publish
    from .figures import make_figures
    from .metrics import read_rewards, summarize

    started = time.perf_counter()
    home = Path(out) if out is not None else Path(cfg.run.dir) / cfg.name
    numbers = [cfg.run.seed + i for i in range(seeds)]
    span = f"s{numbers[0]}" if seeds == 1 else f"s{numbers[0]}-{numbers[-1]}"
    directory = numbered_directory(home, span)
    paths = {number: directory if seeds == 1 else directory / f"seed_{number}" for number in numbers}
    tables, complete = {}, True
    for i, (number, path) in enumerate(paths.items()):
        if seeds > 1:
            say(f"seed {number} ({i + 1} of {seeds})")
        with kept_if_used(directory):
            done = train(with_seed(cfg, number), directory=path)
        tables[number] = read_rewards(path / "rewards.csv")
        complete = done.stopped != "interrupted"
        if not complete:  # Ctrl-C: training has saved what there is
            break
    figures = make_figures(paths[numbers[0]])
    if seeds > 1:
        figures = [*_gather(directory, paths[numbers[0]], tables), *figures]
    summary = summarize({cfg.name: list(tables.values())})
    summary.to_csv(directory / "summary.csv", index=False)
    publish(home, directory)
    if len(tables) > 1 or not cfg.run.progress:
        show(summary, "Episode reward (tick-lots): mean of the first and the last tenth of updates")
    _explain(len(tables), time.perf_counter() - started)
    say(f"run:     {directory} (and {home / 'latest'})")
    say("figures: " + "\n         ".join(map(str, figures)))
    if not complete:
        raise KeyboardInterrupt
    return directory


def with_seed(cfg: Config, seed: int) -> Config:
    """The same scenario with another seed."""
    from lobgraph.config import make_config

    return make_config(cfg.model_dump(exclude_unset=True), [f"run.seed={seed}"])


def _gather(directory: Path, first: Path, tables: Mapping[int, pd.DataFrame]) -> list[Path]:
    """Write what stands for all seeds into their common directory; policies are the first seed's, unchosen."""
    import pandas as pd

    from .figures import rewards_figure

    together = pd.concat([table.assign(seed=number) for number, table in tables.items()], ignore_index=True)
    together.to_csv(directory / "rewards.csv", index=False)
    for policy in first.glob("*_policy*"):
        shutil.copy2(policy, directory / policy.name)
    return [rewards_figure(directory)]


def _explain(seeds: int, seconds: float) -> None:
    if seeds > 1:
        say(
            "spread: standard deviation of the last reward over seeds; gain low/high: 95 % interval of the gain;"
        )
        say("learned: the gain exceeds the spread of both ends; held: the role was not to learn.")
    else:
        say("one seed has no spread to compare the gain with; --seeds 3 gives one.")
    say(f"took {seconds:.0f} s")
