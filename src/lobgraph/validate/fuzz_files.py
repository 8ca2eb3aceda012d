"""Damaged data and scenario files against their readers: a clear error of the reader's own, or what the file says.

What a file says is read here once more, the slow and obvious way (Python's own int and Fraction, a dict of levels), so
that a reader that takes a damaged file in and tells something else is found. Each case is a dict of file names and bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import resource
import signal
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..config import ConfigError, dump_config, load_config
from ..data.lobster import read_lobster
from ..data.nasdaq10 import ORDERS, ROWS, read_nasdaq10
from ..data.recording import DataError, Recording
from . import damage as dm
from .made_files import STEM, Replay, make_day
from .made_npz import NPZ_NAME, make_arrays, pack

Files = dict[str, bytes]
LEVELS = 3
MESSAGES, BOOKS = f"{STEM}_message_{LEVELS}.csv", f"{STEM}_orderbook_{LEVELS}.csv"
PAIR_ZIP, SCENARIO = f"{STEM}_{LEVELS}.zip", "scenario.yaml"
READERS = ("lobster", "npz", "scenario")
SECONDS = 20.0  # of processor time that a reader may take on these small files
MEMORY = 1 << 30  # bytes by which it may grow
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes
BOMB = (
    "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
).encode()
YAML_PARTS = (
    b"{", b"[", b"}", b"]", b": ", b"\n  ", b"- ", b"&a ", b"*a", b"<<: *a\n", b"!!python/object:os.system x", b"!!bool x",
    b"!!int ''", b"!!timestamp x", b"!!binary x", b"!!set {a, b}", b"!!omap [a: 1]", b"? [1]\n: 2", b"1: 2", b"2020-99-99",
    b".nan", b".inf", b"-1", b"1e400", b"yes", b"~", b"0o7", b"9" * 5000, b"\x00", b"\xff", b"\xef\xbb\xbf", b"---\n", b"%YAML 9\n",
    b"'", b'"\\ud800"', b"[" * 3000, b"{a: " * 2000, b"market: {}\n", b"market: &m {books: *m}\n",
)  # fmt: skip


def draw(rng: np.random.Generator, reader: str) -> Files:
    """A case for a reader: its files as they should be, one of them damaged."""
    if reader == "npz":
        good = pack(make_arrays(seed=int(rng.integers(0, 1 << 30))))
        return {NPZ_NAME: dm.damage(rng, good, dm.ARRAYS if rng.random() < 0.7 else dm.BYTES)}
    if reader == "scenario":
        return {SCENARIO: _damaged_scenario(rng)}
    pair = _pair(int(rng.integers(2, 60)), int(rng.integers(0, 1 << 30)))
    files = dict(zip((MESSAGES, BOOKS), pair, strict=True))
    victim = (MESSAGES, BOOKS)[rng.integers(0, 2)]
    way = rng.random()
    if way < 0.8:
        files[victim] = dm.damage(rng, files[victim], dm.LINES if rng.random() < 0.8 else dm.BYTES)
    elif way < 0.9:
        return {PAIR_ZIP: dm.zip_of(rng, files)}
    elif way < 0.905:
        files[f"{victim}.gz"] = dm.gz_bomb(rng, files.pop(victim))
    else:
        files[f"{victim}.gz"] = dm.packed(rng, files.pop(victim))
    return files


def _damaged_scenario(rng: np.random.Generator) -> bytes:
    text = dump_config(load_config(None, ["agents.maker.count=1"])).encode()
    if rng.random() < 0.02:
        return BOMB
    if rng.random() < 0.3:
        return dm.damage(rng, text, dm.BYTES)
    for _ in range(rng.integers(1, 4)):
        spans = [m.span() for m in re.finditer(rb"[^\s,:\[\]{}]+", text)] or [(0, 0)]
        a, b = spans[rng.integers(0, len(spans))]
        text = text[:a] + YAML_PARTS[rng.integers(0, len(YAML_PARTS))] + text[b:]
    return text


def prepare() -> None:
    """Read files as they should be: kernels that readers use are compiled now, and not within a case's time."""
    for reader, files in (
        ("lobster", dict(zip((MESSAGES, BOOKS), _pair(20, 0), strict=True))),
        ("npz", {NPZ_NAME: pack(make_arrays(seed=0))}),
    ):
        with tempfile.TemporaryDirectory(prefix="lobgraph-fuzz-") as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            assert not _READ[reader](Path(folder), files), reader


def _pair(rows: int, seed: int) -> list[bytes]:
    """A LOBSTER message file and its book file, as they should be."""
    return [("\n".join(text) + "\n").encode() for text in make_day(rows=rows, levels=LEVELS, seed=seed)]


def check(reader: str, files: Files) -> tuple[str, str]:
    """('read' or 'refused', '') where the reader did right, else ('wrong', what it did)."""
    with tempfile.TemporaryDirectory(prefix="lobgraph-fuzz-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with _limited():
                read = _READ[reader](Path(folder), files)
        except (DataError, ConfigError) as error:
            named = folder in str(error) or reader == "scenario"
            return ("refused", "") if named else ("wrong", f"an error that names no file: {error}")
        except Exception as error:  # whatever else a reader raises is what this looks for
            last = traceback.extract_tb(error.__traceback__)[-1]
            return (
                "wrong",
                f"{type(error).__name__}: {str(error)[:300]} ({Path(last.filename).name}:{last.lineno})",
            )
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_UNIT
        if grown > MEMORY:
            return "wrong", f"took {grown >> 20} MiB"
        return ("wrong", read) if read else ("read", "")


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise TimeoutError in what takes longer than SECONDS (in the main thread, where signals come)."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS:g} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# --- what the files say, the slow way; each returns what is wrong with the reader's answer, or '' ---


def _lobster(folder: Path, files: Files) -> str:
    day = read_lobster(folder / next(iter(sorted(files))), every=16)
    if PAIR_ZIP in files:
        with zipfile.ZipFile(io.BytesIO(files[PAIR_ZIP])) as z:
            files = {n: z.read(n) for n in (MESSAGES, BOOKS)}  # what else is in it nobody reads
    plain = {n.removesuffix(".gz"): gzip.decompress(d) if n.endswith(".gz") else d for n, d in files.items()}
    try:
        messages = [[Fraction(f.decode()) for f in line] for line in _lines(plain[MESSAGES])]
        rows = [[int(f) for f in line] for line in _lines(plain[BOOKS])]
    except (ValueError, ZeroDivisionError) as error:
        return f"read what is no number: {error}"
    if any(len(line) != 6 for line in messages) or len({len(line) for line in rows}) > 1:
        return "read lines of other lengths"
    if len(messages) != day.rows or len(rows) != day.rows:
        return f"read {day.rows} rows of {len(messages)} messages and {len(rows)} book rows"
    return _same_day(day, messages, rows) or _same_tape(day)


def _lines(data: bytes) -> list[list[bytes]]:
    lines = re.split(rb"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf"))
    return [line.split(b",") for line in lines[: -1 if lines[-1] == b"" else None]]


def _same_day(day: Recording, messages: list[list[Fraction]], rows: list[list[int]]) -> str:
    for i, (time, kind, order, size, price, side) in enumerate(messages):
        told = int(day.type[i]), int(day.order[i]), int(day.qty[i]), int(day.side[i])
        if told != (kind, order, size, side) or abs(int(day.time[i]) - time * 10**9) > Fraction(1, 2):
            return f"line {i + 1} of the messages was read as {int(day.time[i])} ns, {told}"
        if kind != 7 and int(day.px[i]) != price // 100:
            return f"line {i + 1} of the messages: price was read as {int(day.px[i])} ticks"
        for j in range(day.levels):
            for k, at in ((1, 4 * j), (0, 4 * j + 2)):  # asks first
                px, qty = rows[i][at : at + 2]
                want = (Fraction(px, 100), qty) if qty else (0, 0)
                if (int(day.row_px[i, k, j]), int(day.row_qty[i, k, j])) != want:
                    return f"line {i + 1} of the book: level {j + 1} was read wrong"
    return ""


def _same_tape(day: Recording) -> str:
    """The tape played on a dict of levels must give every row, and every snapshot be the book before its message."""
    tape, book, at = day.tape, Replay(day.row_px[0], day.row_qty[0]), 0

    def levels(px: np.ndarray, qty: np.ndarray) -> list[list[tuple[int, int]]]:
        return [[(int(p), int(q)) for p, q in zip(px[k], qty[k], strict=True) if q] for k in (0, 1)]

    for i in range(day.rows):
        while at < day.row_end[i]:
            if at % tape.every == 0:
                s = at // tape.every
                shown = [book.levels(k)[: day.levels] for k in (0, 1)]
                if levels(tape.snap_px[s], tape.snap_qty[s]) != shown:
                    return f"snapshot {s} is not the book before its message"
            book.apply(*(int(c[at]) for c in (tape.kind, tape.side, tape.px, tape.qty)))
            at += 1
        if [book.levels(k) for k in (0, 1)] != levels(day.row_px[i], day.row_qty[i]):
            return f"line {i + 1} of the book: the tape gives another"
    return ""


def _npz(folder: Path, files: Files) -> str:
    day = read_nasdaq10(folder / NPZ_NAME)
    with np.load(folder / NPZ_NAME, allow_pickle=False) as z:
        a = {key: z[key].tolist() for key in ("t_ms", *ROWS, *ORDERS)}  # Python's integers: nothing overflows
    if day.time.tolist() != [t * 10**6 for t in a["t_ms"]]:
        return "t_ms was read wrong"
    if (
        day.order_time.tolist() != [t * 10**6 for t in a["mo_t_ms"]]
        or day.order_side.tolist() != a["mo_sign"]
    ):
        return "market orders were read wrong"
    if not all(0 <= t <= 86_400_000 for t in a["t_ms"] + a["mo_t_ms"]):
        return "times out of the day were read"
    for k, side in enumerate(("bid", "ask")):
        for i, (px, qty) in enumerate(zip(a[f"{side}_px"], a[f"{side}_sz"], strict=True)):
            want = sorted(((p // 100, q) for p, q in zip(px, qty, strict=True) if q), reverse=k == 0)
            got = [
                (p, q)
                for p, q in zip(day.row_px[i, k].tolist(), day.row_qty[i, k].tolist(), strict=True)
                if q
            ]
            if sorted(got) != sorted(want) or [p for p, _ in got] != [p for p, _ in want]:
                return f"{side} row {i} was read wrong"
            if len({p for p, _ in got}) < len(got):
                return f"{side} row {i} has a price twice"
    return ""


def _scenario(folder: Path, files: Files) -> str:
    cfg = load_config(folder / SCENARIO)
    again = folder / "again.yaml"
    again.write_text(dump_config(cfg), encoding="utf-8")
    return "" if load_config(again) == cfg else "what was read and dumped reads as another scenario"


_READ = {"lobster": _lobster, "npz": _npz, "scenario": _scenario}
