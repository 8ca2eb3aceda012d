"""The whole of a training in one file, so that it goes on to the bit: policies, normalisers, optimiser, random states, what the
rollout carries over, the markets themselves, what the evaluations have found, and how far the tables had come.

A state is written last of all at a checkpoint: one that can be read stands for a run whose other files are at least as far.
Every process of a group writes its own. The newest that all of them have whole is the one to go on from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..agents.strategy import StrategyError
from ..config import Config, ConfigError, make_config
from ..files import clear_temporaries
from ..models.policy import PolicyError
from .checkpoint import load_tensors, read_header, save_tensors
from .group import ALONE, Group
from .rollout import TrainingError
from .run import PLAN, REWARDS, locked

if TYPE_CHECKING:
    from .evaluator import Evaluator
    from .trainer import Trainer

STATES = re.compile(r"state-(\d+)(?:-(\d+)of(\d+))?\.safetensors")
MARKET = "MarketEnv"  # what the command makes; another was given from Python, and must be again
REST = "metrics.rest"  # the tensor of rows that metrics.parquet does not have yet
# What may differ from the run's own configuration: how a training shows itself, and how long it is
FREE = (
    "ppo.total_steps",
    "run.progress",
    "run.checkpoint_every",
    "run.keep",
    "run.tensorboard",
    "run.tensorboard_mb",
)


class ResumeError(ValueError):
    """A training that cannot go on: says what is missing or differs, and where."""


# --- a training as tensors and plain values ---


def state_of(trainer: Trainer, evaluator: Evaluator | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (copies are not made) and values, of this process. Raises StrategyError for what cannot be written down."""
    tensors: dict[str, Tensor] = {}

    def put(prefix: str, parts: Mapping[str, Tensor]) -> None:
        tensors.update({f"{prefix}.{name}": x for name, x in parts.items()})

    put("policies", trainer.policies.state_dict())
    put("adam", trainer.ppo.optimizer.state.get(trainer.ppo.flat, {}))
    put("random", {"sampling": trainer.sampling.get_state(), "shuffling": trainer.shuffling.get_state()})
    put("rollout", trainer.rollout.carried())
    put("env", trainer.env.save_state())  # type: ignore[attr-defined]
    values: dict[str, Any] = {"update": trainer.update, "env_steps": trainer.env_steps}
    if evaluator is not None:
        values["evaluator"], marks = evaluator.save()
        put("evaluator", {name: torch.from_numpy(x) for name, x in marks.items()})
    return tensors, values


def put_back(
    trainer: Trainer, evaluator: Evaluator | None, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Make a new Trainer what that one was. Raises ResumeError, ValueError or KeyError for what does not fit."""

    def of(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(f"{prefix}."): x for name, x in tensors.items() if name.startswith(f"{prefix}.")}  # fmt: skip

    trainer.env.load_state(of("env"))  # type: ignore[attr-defined]
    for name, place in trainer.rollout.carried().items():
        place.copy_(_fitting(of("rollout"), name, place))
    own = trainer.policies.state_dict()
    for name, place in own.items():
        place.copy_(_fitting(of("policies"), name, place))
    ppo = trainer.ppo
    adam = {name: x.to(ppo.flat.device, copy=True) for name, x in of("adam").items()}
    if adam:
        ppo.optimizer.state[ppo.flat] = adam
    random = of("random")
    trainer.sampling.set_state(random["sampling"])
    trainer.shuffling.set_state(random["shuffling"])
    trainer.update, trainer.env_steps = int(values["update"]), int(values["env_steps"])
    if evaluator is not None:
        evaluator.load(values["evaluator"], {name: x.numpy() for name, x in of("evaluator").items()})


def _fitting(saved: Mapping[str, Tensor], name: str, place: Tensor) -> Tensor:
    if saved[name].shape != place.shape:
        raise ResumeError(f"{name} is {tuple(saved[name].shape)}, and should be {tuple(place.shape)}")
    return saved[name]


# --- its files ---


class Keeper:
    """Writes the states of one process of a training into DIR/checkpoints, the last `keep` of them.

    What cannot be saved (an environment without save_state, a strategy that remembers strange things) is not: `why` says so.
    """

    def __init__(self, directory: Path, cfg: Config, group: Group = ALONE) -> None:
        self.places, self.cfg, self.group = directory / "checkpoints", cfg, group
        self.keep = cfg.run.keep if group.alone else max(cfg.run.keep, 2)  # one process may be a state ahead
        self.why = ""

    def save(
        self, trainer: Trainer, evaluator: Evaluator | None, rest: Tensor | None = None, **values: Any
    ) -> None:
        """Write the state of now; `values` and `rest` (of the metrics) are kept beside. Raises OSError; the states before are whole then."""
        if self.why:
            return
        if not hasattr(trainer.market, "save_state"):
            self.why = f"{type(trainer.market).__name__} has no save_state"
            return
        try:
            tensors, own = state_of(trainer, evaluator)
        except StrategyError as error:
            self.why = str(error)
            for path in self._states():
                path.unlink(missing_ok=True)  # to go on from there would be to go on from another training
            return
        if rest is not None:
            tensors[REST] = rest
        about = {
            "config": self.cfg.model_dump(mode="json"), "threads": torch.get_num_threads(), "torch": torch.__version__,
            "device": trainer.policies.device.type, "market": type(trainer.market).__name__, **own, **values,
        }  # fmt: skip
        part = "" if self.group.alone else f"-{self.group.rank}of{self.group.size}"
        save_tensors(self.places / f"state-{trainer.update:07d}{part}.safetensors", tensors, about)
        for path in self._states()[: -self.keep]:
            path.unlink(missing_ok=True)

    @contextmanager
    def repro_of(self, trainer: Trainer) -> Iterator[None]:
        """If the training fails, leave the last state with what failed beside it: `again.repro` replays that.

        Not where a file could not be written: nothing is wrong with the training then.
        """
        try:
            yield
        except TrainingError as error:
            states = self._states()
            if states and self.group.alone and not isinstance(error.__cause__, OSError):
                tensors, about = load_tensors(states[-1])
                failed = {"update": trainer.update, "error": str(error)}
                path = self.places.parent / f"repro-{trainer.update:07d}.safetensors"
                save_tensors(path, tensors, {**about, "failed": failed})
                if about.get("market") == MARKET:
                    error.args = (f"{error}; to see it again: lobgraph repro {path}",)
            raise

    def _states(self) -> list[Path]:
        """This process's, the oldest first."""
        wanted = (None, None) if self.group.alone else (str(self.group.rank), str(self.group.size))
        return [path for path, _, part in _files(self.places) if part == wanted]


def _files(places: Path) -> list[tuple[Path, int, tuple[str | None, str | None]]]:
    """Path, update, (rank, size) of each state, the oldest first."""
    found = [(path, STATES.fullmatch(path.name)) for path in places.glob("state-*.safetensors")]
    return sorted((path, int(m[1]), (m[2], m[3])) for path, m in found if m)


def find_state(directory: Path) -> Path:
    """The newest state, of process 0 where there are several, from which all of them can go on. Raises ResumeError.

    One that is damaged is passed over for the one before.
    """
    places, reasons = directory / "checkpoints", []
    for path, update, (rank, size) in reversed(_files(places)):
        if rank not in (None, "0"):
            continue
        parts = [path] if size is None else [places / f"state-{update:07d}-{r}of{size}.safetensors" for r in range(int(size))]  # fmt: skip
        try:
            for part in parts:
                load_tensors(part)
        except PolicyError as error:
            reasons.append(str(error))
            continue
        return path
    detail = f"; {reasons[0]}" if reasons else ""
    raise ResumeError(f"{directory}: holds no state of a training that can be read{detail}")


def forget_beginning(directory: Path) -> None:
    """Clear what a training left that was killed before its first state. Raises ResumeError if anything else is there."""
    if not directory.is_dir():
        return
    known = {"config.yaml", "machine.json", REWARDS, "state.json", PLAN}
    with locked(directory):
        clear_temporaries(directory)
        clear_temporaries(directory / "checkpoints")
        files = [p for p in directory.rglob("*") if p.is_file()]
        strange = [
            p for p in files if p.name not in known and p.relative_to(directory).parts[0] != "tensorboard"
        ]
        if strange:
            raise ResumeError(
                f"{directory}: holds no state of a training to go on from, but has {strange[0].relative_to(directory)}"
            )
        for path in files:
            if path.name != PLAN:
                path.unlink()
        for path in sorted((p for p in directory.rglob("*") if p.is_dir()), reverse=True):
            path.rmdir()


def part_of(state: Path, group: Group) -> Path:
    """The file of the group's process beside that of process 0. Raises ResumeError if it was another number of processes."""
    match = STATES.fullmatch(state.name)
    size = int(match[3] or 1) if match else 1
    if size != group.size:
        raise ResumeError(f"{state}: was trained by {size} processes; resume it with as many")
    return state if group.alone else state.with_name(f"{state.name.split('-0of')[0]}-{group.rank}of{size}.safetensors")  # fmt: skip


def check_free(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override that would make it another training."""
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key not in FREE:
            raise ConfigError(f"{key}: a resumed training keeps its configuration; what may change: {', '.join(FREE)}")  # fmt: skip


def config_of(state: Path, overrides: list[str] | None = None) -> Config:
    """The configuration of the training. Raises ConfigError for an override that would make it another one."""
    check_free(overrides or ())
    about = read_header(state)
    return make_config(about["config"], overrides or (), str(state))


def check_market(about: Mapping[str, Any], env: Any, state: Path) -> None:
    """Raise ResumeError if the training was one in another kind of environment."""
    was = about.get("market", type(env).__name__)  # older states do not say
    if was != type(env).__name__:
        raise ResumeError(
            f"{state}: was trained in a {was}, and this is a {type(env).__name__}; from Python: lobgraph.resume(directory, env={was}(...))"
        )


def differences(about: Mapping[str, Any], trainer: Trainer) -> list[str]:
    """What is not as it was, and makes the results equal to rounding only."""
    now = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": trainer.policies.device.type,
    }
    names = {"threads": "torch threads", "torch": "torch", "device": "device"}
    return [f"{names[key]}: {value}, was {about[key]}" for key, value in now.items() if about.get(key, value) != value]  # fmt: skip
