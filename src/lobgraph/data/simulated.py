"""A simulated market as recorded data: one Recording per book, with order ids, as an exchange would have published it.

In: a Config, whose market runs without agents here (`realism.playing` lets agents act); or the log of any book. Time 0 of
the market is `OPEN` unless said otherwise. What is decided about orders that the kernel does not know: see `orders`.
"""

from __future__ import annotations

import numpy as np

from ..config import Config, ConfigError, make_config
from ..market import announce_compiling
from ..market.jit import kernel
from ..market.log import take_log
from ..market.params import make_params
from ..market.state import LOG_ROOM, LOGGED, START_NS, State, empty_tape, make_state
from ..market.step import begin_step, end_step, reset_env, step_book
from ..market.stress_tables import stress_sizes
from ..market.tables import make_flow, memory_of
from .orders import messages
from .recording import MAX_PRICE, NS, DataError, Recording, make_recording

OPEN = 34_200.0  # seconds after midnight
DAY = 86_400.0
ROOM = 1 << 16  # entries of a book's log
MOST_LEVELS = 200
DATE = "2000-01-01"  # of simulated days


def check_request(cfg: Config, seconds: float, levels: int, start: float = OPEN) -> None:
    """Raise ConfigError or DataError for what cannot be recorded."""
    if cfg.replay.files or cfg.replay.required:
        raise ConfigError(f"{cfg.name}: replays recorded files; only a synthetic market can be simulated")
    if not 1 <= levels <= MOST_LEVELS:
        raise DataError(f"levels: must be 1 to {MOST_LEVELS}, got {levels}")
    if not cfg.market.dt <= seconds <= DAY - start or start < 0:
        raise DataError(
            f"seconds: must be from one step ({cfg.market.dt:g}) to the end of the day that starts at {start:g} s, "
            f"{DAY - start:g}; got {seconds:g}"
        )


def simulate_recordings(
    cfg: Config,
    *,
    seconds: float,
    levels: int = 10,
    seed: int = 0,
    start: float = OPEN,
    tick: int = 100,
    lot: int = 1,
) -> list[Recording]:
    """Run the market of `cfg` without agents for `seconds` and record every event, book by book.

    `levels`: of the rows; `tick`, `lot`: price units per tick and shares per lot that the recording is to have.
    Raises ConfigError for a market that replays files, DataError for a length or number of levels that cannot be.
    """
    check_request(cfg, seconds, levels, start)
    quiet = make_config(
        cfg.model_dump(mode="json", exclude_unset=True)
        | {"agents": {"maker": {"count": 0}}, "env": {"num_envs": 1, "stagger": False}}
    )
    steps, books = round(seconds / cfg.market.dt), cfg.market.num_books
    p, f, tape = make_params(quiet, seed), make_flow(quiet), empty_tape(books)
    logs, room = Logs(books), ROOM
    sizes = (1, books, cfg.market.window, 0, len(cfg.market.underlyings), memory_of(f), *stress_sizes(quiet))
    state = make_state(*sizes, log=room)
    announce_compiling("simulated._run")
    _start(p, f, tape, state)
    while not logs.collect(state):  # more happened before the first decision than a log holds
        room *= 4
        state = make_state(*sizes, log=room)
        _start(p, f, tape, state)
    if cfg.intraday:
        state.clock[0, START_NS] = round(start * NS)
    done = 0
    while done < steps:
        done += _run(p, f, tape, state, steps - done)
        if not logs.collect(state):
            raise too_much(cfg)
    return logs.recordings(quiet, steps, levels, start, tick, lot)


def too_much(cfg: Config) -> ConfigError:
    return ConfigError(
        f"market.dt: more than {ROOM} events happen in a book within {cfg.market.dt:g} s; use a shorter step"
    )


@kernel()
def _start(p, f, tape, state):
    reset_env(p, f, tape, state, 0)


@kernel()
def _run(p, f, tape, state, steps):
    """Run up to `steps` steps, until a log is half full. Returns the steps done."""
    for t in range(steps):
        begin_step(p, f, state, 0)
        for a in range(state.head.shape[1]):
            step_book(p, f, tape, state, 0, a)
        end_step(p, state, 0)
        for a in range(state.head.shape[1]):
            if 2 * state.head[0, a, LOGGED] > state.head[0, a, LOG_ROOM]:
                return t + 1
    return steps


class Logs:
    """The growing logs of the books of environment 0."""

    def __init__(self, books: int) -> None:
        self.parts: list[list[np.ndarray]] = [[] for _ in range(books)]

    def collect(self, state: State) -> bool:
        """Take what the books have logged since the last call; False, and nothing, where a log was too small for it."""
        head = state.head[0]
        if (head[:, LOGGED] > head[:, LOG_ROOM]).any():
            return False
        for a, parts in enumerate(self.parts):
            parts.append(take_log(head[a]))
        return True

    def recordings(
        self, cfg: Config, steps: int, levels: int, start: float, tick: int, lot: int
    ) -> list[Recording]:
        """One Recording per book of `steps` steps that began with the logs."""
        opens = round(start * NS)
        return [
            recording_of(
                np.concatenate(parts), window=cfg.market.window, agents=sum(cfg.counts.values()), levels=levels,
                name=name, start=opens, end=opens + round(steps * cfg.market.dt * NS), tick=tick, lot=lot,
            )
            for name, parts in zip(cfg.market.books, self.parts, strict=True)
        ]  # fmt: skip


def recording_of(
    log: np.ndarray, *, window: int, agents: int, levels: int, name: str, start: int, end: int, tick: int = 100,
    lot: int = 1,
) -> Recording:  # fmt: skip
    """The Recording of one book's log (n, LOG) int64 from its making on; time 0 of the log becomes `start` (ns).

    Raises DataError where nothing happens in the visible levels, or prices leave what files can hold.
    """
    text, row_px, row_qty = messages(log, window, agents, levels, since=0)
    if len(text) == 0:
        raise DataError(f"{name}: nothing happened in the {levels} best levels; simulate for longer")
    there = row_px[row_qty > 0]
    if len(there) and (there.min() < 1 or there.max() > MAX_PRICE):
        raise DataError(
            f"{name}: prices went from {there.min()} to {there.max()} ticks; files hold 1 to {MAX_PRICE}: another "
            "initial_price, or calmer fundamentals"
        )
    time, kind, order, side, px, qty = text.T
    return make_recording(
        name=name, date=DATE, tick=tick, lot=lot, start=start, end=end, time=start + time, type=kind, order=order,
        side=side, px=px, qty=qty, row_px=row_px, row_qty=row_qty,
    )  # fmt: skip
