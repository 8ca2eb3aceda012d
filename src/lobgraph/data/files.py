"""Where a LOBSTER pair lies (csv, gz or zip) and its bytes, decompressed up to a bound."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import IO, NamedTuple

from .recording import DataError

MAX_BYTES = 1 << 30  # of one file, decompressed
MAX_RATIO = 300  # decompressed size over compressed; order books compress 5 to 60 times
NAME = re.compile(
    r"^(?P<ticker>.+)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<start>\d{1,8})_(?P<end>\d{1,8})"
    r"_(?P<kind>message|orderbook)_(?P<levels>\d{1,3})\.csv(\.gz|\.zip)?$"
)
# What gzip and zipfile raise for bytes that are none of theirs.
UNREADABLE = (
    BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,
    ValueError,
)
PATTERN = "TICKER_YYYY-MM-DD_START_END_message_LEVELS.csv[.gz|.zip]"


class Source(NamedTuple):
    """Where one csv lies: a file, or a member of a zip."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(self.member or self.path).name

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


# --- finding the pair ---


def find_pair(message_path: str | Path, orderbook_path: str | Path | None = None) -> tuple[Source, Source]:
    """Where the message and the orderbook csv lie. Raises DataError where one is missing or several would do."""
    sources = _sources(Path(message_path))
    if orderbook_path is not None:
        sources += _sources(Path(orderbook_path))
    messages = [s for s in sources if _kind(s) == "message"]
    books = [s for s in sources if _kind(s) == "orderbook"]
    if orderbook_path is not None and len(sources) == 2 and not (messages and books):
        return sources[0], sources[1]  # names that say nothing: the order of the arguments does
    if not messages and not books:
        held = ", ".join(s.name for s in sources[:5]) or "nothing"
        raise DataError(f"{message_path}: expected a name like {PATTERN}, found {held}; or give both files")
    if len(messages) > 1 or len(books) > 1:
        raise DataError(
            f"{message_path}: holds several pairs ({', '.join(s.name for s in sources)}); give one pair"
        )
    if not messages:
        messages = [_partner(books[0], "message")]
    if not books:
        books = [_partner(messages[0], "orderbook")]
    return messages[0], books[0]


def _kind(source: Source) -> str | None:
    found = NAME.match(source.name)
    return found["kind"] if found else None


def _sources(path: Path) -> list[Source]:
    """The csv files that a path stands for: itself, or the members of a zip."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix != ".zip":
        return [Source(path)]
    try:
        with zipfile.ZipFile(path) as z:
            members = [m.filename for m in z.infolist() if not m.is_dir() and m.filename.endswith(".csv")]
    except (*UNREADABLE, OSError) as error:
        raise DataError(f"{path}: not a readable zip: {error}") from None
    if not members:
        raise DataError(f"{path}: the zip holds no .csv file")
    return [Source(path, m) for m in members]


def _partner(source: Source, kind: str) -> Source:
    """The other file of the pair, beside the given one, packed in any of the three ways."""
    name = NAME.match(source.name)
    assert name is not None
    stem = re.sub(
        r"\.csv(\.gz|\.zip)?$",
        "",
        source.name[: name.start("kind")] + kind + source.name[name.end("kind") :],
    )
    tried = [source.path.parent / f"{stem}.csv{end}" for end in ("", ".gz", ".zip")]
    for path in tried:
        if path.is_file():
            return next((s for s in _sources(path) if _kind(s) == kind), Source(path))
    raise DataError(f"{source}: its {kind} file is missing; expected {tried[0]} (or .gz, .zip) beside it")


# --- bytes ---


def read_bytes(source: Source) -> bytes:
    """The decompressed bytes of a csv, at most MAX_BYTES of them."""
    try:
        if source.member:
            with zipfile.ZipFile(source.path) as z:
                packed = max(z.getinfo(source.member).compress_size, 1)
                with z.open(source.member) as f:
                    return _read(f, packed, source)
        packed = max(source.path.stat().st_size, 1)
        with open(source.path, "rb") as raw:
            if source.path.suffix == ".gz":
                with GzipFile(fileobj=raw) as f:
                    return _read(f, packed, source)
            return _read(raw, packed, source)
    except EOFError:
        raise DataError(f"{source}: the compressed file is cut short; fetch it again") from None
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source}: not a readable compressed file: {error}") from None
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from None


def _read(f: IO[bytes] | GzipFile, packed: int, source: Source) -> bytes:
    parts, size = [], 0
    while part := f.read(1 << 22):
        size += len(part)
        if size > MAX_BYTES:
            raise DataError(f"{source}: larger than {MAX_BYTES >> 20} MiB decompressed, refused")
        if size > MAX_RATIO * packed and size > 1 << 24:
            raise DataError(
                f"{source}: grows more than {MAX_RATIO} times when decompressed: not order-book data"
            )
        parts.append(part)
    if size == 0:
        raise DataError(f"{source}: the file is empty")
    return b"".join(parts)
