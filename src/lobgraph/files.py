"""Files that are whole or not there, and never in the place of another's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = ".tmp"  # what files end with that are not yet what they will be


class DamagedFileError(ValueError):
    """A file that cannot be read for what it should be: names it, and what is wrong with it."""


def write_atomic(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Put `data`, or what it writes into a file, at `path`, whole or not at all. Raises OSError (full disk, missing directory) and leaves no litter."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data) if isinstance(data, bytes) else data(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_parquet(path: Path) -> pd.DataFrame:
    """A parquet file, the checksums of its pages verified. Raises DamagedFileError, FileNotFoundError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        return pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DamagedFileError(f"{path}: damaged: {error}") from None


def clear_temporaries(directory: Path) -> None:
    """Remove what writers left that were killed. Nobody else may be writing there."""
    for path in directory.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Put a table at `path`, as CSV or by a suffix .parquet as that, as `write_atomic` does. Returns the path."""
    if path.suffix == ".parquet":
        write_atomic(path, lambda file: table.to_parquet(file, index=False, write_page_checksum=True))
    else:
        write_atomic(path, table.to_csv(index=False).encode())
    return path


def new_file(path: Path) -> Path:
    """The path, once it is known that a new file can be written there: the error must come before the work. Raises OSError."""
    if path.is_dir():
        raise IsADirectoryError(21, "is a directory; name the file to write", str(path))
    if path.exists():
        raise FileExistsError(17, "exists already; choose another file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(2, f"no such directory {path.parent}", str(path))
    path.open("x").close()
    path.unlink()
    return path
