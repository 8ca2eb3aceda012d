"""The sweep itself: trials chosen by Optuna, trained side by side in processes, kept so that it can go on after any end.

<directory>/ holds sweep.yaml (what was asked), trials.journal (Optuna's record), trial_<n>/ (a run each, or a group of seeds)
and, written anew after every trial: trials.csv, best.yaml.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..config import Config, ConfigError, dump_config, make_config, read_yaml
from ..config.faults import messages
from ..files import DamagedFileError, write_atomic, write_table
from ..report.labels import LABELS
from ..rl.extras import need
from ..rl.run import kept_if_used, locked, numbered_directory
from .space import Space, parse, setting, suggest
from .trial import JOURNAL, STUDY, Job, Outcome, begin, directory_of, pruner, run_trial, storage_of

ASKED = "sweep.yaml"
# Settings of how a training shows and keeps itself
UNLEARNED = ("run.dir", "run.progress", "run.loggers", "run.checkpoint_every", "run.keep", "run.tensorboard", "run.tensorboard_mb")  # fmt: skip
AGAIN = 2  # times that values which took their process down run once more
Note = Callable[[str], None]


@dataclass(frozen=True)
class Sweep:
    """What is asked; sweep.yaml holds it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    tree: Mapping[str, Any]  # the scenario, without what is varied
    over: list[str]
    role: str  # whose measure counts
    measure: str
    better: int  # 1: the more the better, -1: the less
    trials: int  # in all
    seeds: int = 1  # trainings of each
    episodes: int = 200  # unseen ones, the same for all trials
    seed: int = 1_000_003  # of these
    prune: bool = False

    @property
    def space(self) -> Space:
        return parse(self.over, self.tree)

    @property
    def base(self) -> Config:
        return make_config(self.tree)


def check(sweep: Sweep) -> None:
    """Raise ConfigError for a sweep that cannot start: a key, a range, a role, a missing package."""
    need("optuna", "sweep", "sweep")
    space, cfg = sweep.space, sweep.base
    if sweep.role not in cfg.learners:
        raise ConfigError(
            f"--role {sweep.role}: does not learn; those that do are {', '.join(cfg.learners) or 'none'}"
        )
    if sweep.measure not in LABELS or sweep.better not in (1, -1):
        raise ConfigError(
            f"--measure {sweep.measure}, better {sweep.better}: no measure of an episode, or not 1 or -1"
        )
    if sweep.prune and sweep.measure != "return":
        raise ConfigError(
            "--prune: evaluations while training know the return alone; it needs --measure return"
        )
    if sweep.prune and not cfg.run.evaluate_every:
        raise ConfigError("--prune: needs evaluations while training, and run.evaluate_every is 0")
    for key in space:
        if key.split(".")[0] == "name" or key in UNLEARNED:
            raise ConfigError(f"--over {key}: changes nothing that is learned")


def start(sweep: Sweep, parent: str | Path) -> Path:
    """Check and write a new sweep's directory, parent/<time>-<scenario>. Returns it."""
    check(sweep)
    with kept_if_used(numbered_directory(parent, sweep.base.name)) as path:
        write_atomic(path / ASKED, yaml.safe_dump(asdict(sweep), sort_keys=False, width=120).encode())
    return path


def load(directory: str | Path, trials: int | None = None) -> Sweep:
    """What a sweep's directory asks for; with `trials` that many in all from now on. Raises ConfigError, FileNotFoundError."""
    path = Path(directory) / ASKED
    if not path.is_file():
        raise FileNotFoundError(2, "no such file; a sweep's directory has one", str(path))
    try:
        sweep = TypeAdapter(Sweep).validate_python(read_yaml(path))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in messages(error, Sweep))) from None
    if trials is not None:
        sweep = replace(sweep, trials=trials)
    check(sweep)
    return sweep


def run(sweep: Sweep, directory: str | Path, jobs: int = 1, note: Note = print) -> pd.DataFrame:
    """Train until there are `sweep.trials` trials. Returns the table of trials; it, and the best scenario, are on disk at any time.

    Trials that an earlier process left unfinished are named and run again. Raises FileExistsError if another process works here.
    """
    import optuna

    path = Path(directory)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with locked(path):
        _drop_half_line(path)
        before = (
            len(optuna.load_study(study_name=STUDY, storage=storage_of(path)).trials) if _begun(path) else 0
        )
        study = optuna.create_study(
            study_name=STUDY, storage=storage_of(path), load_if_exists=True, pruner=pruner(),
            direction="maximize" if sweep.better > 0 else "minimize",
            sampler=optuna.samplers.TPESampler(seed=sweep.base.run.seed + before, constant_liar=jobs > 1),
        )  # fmt: skip
        _again(study, note, "an earlier process ended before it did")
        _compile(sweep.base)
        board = _Board(sweep, path, study, note)
        while board.left:
            try:
                board.work(jobs)
            except BrokenProcessPool:
                _again(study, note, "its process was killed, or its neighbour's")
        return board.table()


def _drop_half_line(path: Path) -> None:
    """Cut off what a process that was killed while it wrote left of a line of Optuna's journal: another's would be glued to it.

    Raises DamagedFileError for a line that is none.
    """
    journal = path / JOURNAL
    if not journal.is_file():
        return
    data = journal.read_bytes()
    if not data.endswith(b"\n"):
        os.truncate(journal, data.rfind(b"\n") + 1)
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{journal}: line {number}: damaged: {error}") from None


def _begun(path: Path) -> bool:
    import optuna

    return STUDY in optuna.get_all_study_names(storage_of(path))


def _again(study: Any, note: Note, why: str) -> None:
    """End trials that say they run, and queue their values once more, unless they take their process down each time."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        times = sum(t.params == trial.params and "killed" in t.user_attrs for t in study.get_trials()) + 1
        storage = study._storage
        storage.set_trial_user_attr(trial._trial_id, "killed", times)
        again = trial.params and times <= AGAIN
        text = f"killed: {why}" + ("; its values run again" if again else "; given up")
        storage.set_trial_user_attr(trial._trial_id, "note", text)
        study.tell(trial.number, state=TrialState.FAIL)
        note(f"trial {trial.number}: {text}")
        if again:
            study.enqueue_trial(trial.params)


def _compile(cfg: Config) -> None:
    """Compile the market's kernels once, before processes would do it side by side."""
    from ..env.market_env import MarketEnv
    from ..rl.train import compile_market

    compile_market(MarketEnv(cfg, 1, cfg.run.seed, "cpu"))


class _Board:
    """Which trials there are, run and are left."""

    def __init__(self, sweep: Sweep, path: Path, study: Any, note: Note) -> None:
        self.sweep, self.path, self.study, self.note = sweep, path, study, note
        self.space, self.tree = sweep.space, dict(sweep.tree)

    @property
    def left(self) -> int:
        """Trials to start. Those that were killed and run again do not count."""
        begun = [t for t in self.study.get_trials(deepcopy=False) if t.state.name != "WAITING"]
        return max(0, self.sweep.trials - sum(not 0 < t.user_attrs.get("killed", 0) <= AGAIN for t in begun))

    def work(self, jobs: int) -> None:
        """Until nothing is left or runs. Raises BrokenProcessPool if a process was killed; ends all of them on any error."""
        context = multiprocessing.get_context("spawn")  # a fork would have torch's threads, but not run them
        jobs = max(1, min(jobs, self.left))
        threads = max(1, len(os.sched_getaffinity(0)) // jobs) if hasattr(os, "sched_getaffinity") else 1
        with ProcessPoolExecutor(jobs, context, begin, (os.getpid(),)) as pool:
            running: dict[Future[Outcome], Any] = {}
            try:
                while self.left or running:
                    while self.left and len(running) < jobs:
                        if (trial := self._ask()) is not None:
                            running[pool.submit(run_trial, self._job(trial, threads))] = trial
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        outcome = future.result()
                        self._tell(running.pop(future), outcome)
            except BaseException:
                processes = list((pool._processes or {}).values())  # the pool forgets them at shutdown
                pool.shutdown(wait=False, cancel_futures=True)
                for process in processes:  # nobody waits for what they would still find
                    process.kill()  # SIGTERM would end the update first
                for process in processes:
                    process.join()
                raise

    def _ask(self) -> Any:
        """The next trial; None for one whose values were tried before, which has the same outcome."""
        trial = self.study.ask()
        chosen = suggest(trial, self.space)
        for other in self.study.get_trials(deepcopy=False):
            if (
                other.number != trial.number
                and other.params == chosen
                and other.state.name in ("COMPLETE", "PRUNED")
            ):
                outcome = Outcome(other.state.name.lower(), other.value if other.value is not None else float("nan"),
                                  other.user_attrs.get("error", float("nan")), 0.0, f"as trial {other.number}")  # fmt: skip
                self._tell(trial, outcome)
                return None
        return trial

    def _job(self, trial: Any, threads: int) -> Job:
        s = self.sweep
        settings = [setting(key, value) for key, value in trial.params.items()]
        return Job(str(self.path), trial.number, trial._trial_id, self.tree, settings, s.role, s.measure, s.seeds,
                   s.episodes, s.seed, s.prune, threads)  # fmt: skip

    def _tell(self, trial: Any, outcome: Outcome) -> None:
        from optuna.trial import TrialState

        for name in ("error", "seconds", "note"):
            trial.set_user_attr(name, getattr(outcome, name))
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[
            outcome.state
        ]
        self.study.tell(trial, outcome.value if outcome.state == "complete" else None, state=state)
        values = ", ".join(setting(key, value) for key, value in trial.params.items())
        what = (
            f"{outcome.value:.4g} \N{PLUS-MINUS SIGN} {outcome.error:.4g}"
            if outcome.state == "complete"
            else outcome.state
        )
        more = f" ({outcome.note})" if outcome.note else ""
        self.note(f"trial {trial.number}: {values}: {what}{more}, {outcome.seconds:.0f} s")
        self.write()

    def write(self) -> None:
        """trials.csv, and best.yaml once a trial is complete."""
        table = self.table()
        write_table(self.path / "trials.csv", table)
        if (best := best_settings(self.sweep, table)) is not None:
            write_atomic(self.path / "best.yaml", dump_config(make_config(self.tree, best)).encode())

    def table(self) -> pd.DataFrame:
        return trials_table(self.study, self.sweep, self.path)


def trials_table(study: Any, sweep: Sweep, path: Path) -> pd.DataFrame:
    """A row per trial: trial, state, value (of the measure), error, each key that is varied, seconds, run, note."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "WAITING":
            continue
        about = trial.user_attrs
        state = "killed" if "killed" in about else {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(
            trial.state.name, "running")  # fmt: skip
        home = directory_of(path, trial.number)
        rows.append({
            "trial": trial.number, "state": state, "value": trial.value if state == "complete" else None,
            "error": about.get("error") if state == "complete" else None, **trial.params,
            "seconds": about.get("seconds"), "run": home.name if home.is_dir() else "", "note": about.get("note", ""),
        })  # fmt: skip
    columns = ["trial", "state", "value", "error", *sweep.space, "seconds", "run", "note"]
    return pd.DataFrame(rows, columns=columns)


def best_trial(sweep: Sweep, table: pd.DataFrame) -> pd.Series | None:
    """The row of the best complete trial, the first of equals."""
    complete: Any = table[table["state"] == "complete"]
    if not len(complete):
        return None
    return complete.loc[(sweep.better * complete["value"].astype(float)).idxmax()]


def best_settings(sweep: Sweep, table: pd.DataFrame) -> Sequence[str] | None:
    """key=value of the best complete trial; None if there is none."""
    best = best_trial(sweep, table)
    return None if best is None else [setting(key, best[key]) for key in sweep.space]
