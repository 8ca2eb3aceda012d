"""Ways to damage a file: bytes in, other bytes out. What comes out may still be right, which its reader then must say."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable

import numpy as np

from .made_npz import make_arrays, pack

Damage = Callable[[np.random.Generator, bytes], bytes]
NUMBERS = (
    b"", b"0", b"-1", b"1", b"99999999999", b"-9999999999", b"9223372036854775807", b"9223372036854775808",
    b"1e5", b"1e999999999", b"0x10", b"nan", b"inf", b"null", b"+7", b" 7", b"7 ", b"007", b"1_000", b"1.5", b"-0",
    b"\x00", b"\xff\xfe", b'"5"', b"9" * 400, b"34200.000000001", b"1.0000000000000000001", "１２".encode(),
)  # fmt: skip


# --- any bytes ---


def cut_short(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(0, len(data) + 1)]


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        if out:
            out[rng.integers(0, len(out))] ^= 1 << rng.integers(0, 8)
    return bytes(out)


def put_in(rng: np.random.Generator, data: bytes) -> bytes:
    at = int(rng.integers(0, len(data) + 1))
    junk = rng.choice([b"\x00", b"\n", b"\r", b"\xef\xbb\xbf", rng.bytes(9), b",", b"-", b'"', b"\x1a"])
    return data[:at] + bytes(junk) + data[at:]


def repeat_part(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = sorted(rng.integers(0, len(data) + 1, 2))
    return data[:b] + data[a:b] + data[b:]


def noise(rng: np.random.Generator, data: bytes) -> bytes:
    return rng.bytes(int(rng.integers(0, 2000)))


# --- lines of numbers ---


def change_numbers(rng: np.random.Generator, data: bytes) -> bytes:
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(rng.integers(1, 4)):
        row = rows[rng.integers(0, len(rows))]
        row[rng.integers(0, len(row))] = NUMBERS[rng.integers(0, len(NUMBERS))]
    return b"\n".join(b",".join(row) for row in rows)


def nudge_numbers(rng: np.random.Generator, data: bytes) -> bytes:
    """Numbers a little off, so that the file still reads but may tell of an impossible book."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(rng.integers(1, 6)):
        row = rows[rng.integers(0, len(rows))]
        at = rng.integers(0, len(row))
        if re.fullmatch(rb"-?\d{1,18}", row[at]):
            row[at] = b"%d" % (int(row[at]) + int(rng.choice([-10000, -100, -1, 1, 100, 10000])))
    return b"\n".join(b",".join(row) for row in rows)


def mix_lines(rng: np.random.Generator, data: bytes) -> bytes:
    rows = data.split(b"\n")
    a, b = rng.integers(0, len(rows), 2)
    if rng.random() < 0.4:
        rows[a], rows[b] = rows[b], rows[a]
    elif rng.random() < 0.5:
        del rows[a]
    else:
        rows.insert(int(a), rows[b])
    return b"\n".join(rows)


def line_ends(rng: np.random.Generator, data: bytes) -> bytes:
    ends = [(b"\r\n",), (b"\r",), (b"\n", b"\r\n"), (b"\n", b"\r"), (b"\n\n", b"\n"), (b"\n", b"\x00\n")]
    chosen = ends[rng.integers(0, len(ends))]
    return b"".join(row + chosen[rng.integers(0, len(chosen))] for row in data.split(b"\n"))


def columns(rng: np.random.Generator, data: bytes) -> bytes:
    at = int(rng.integers(0, 8))
    add = rng.random() < 0.5
    rows = [line.split(b",") for line in data.split(b"\n")]
    return b"\n".join(b",".join([*r[:at], b"1", *r[at:]] if add else [*r[:at], *r[at + 1 :]]) for r in rows)


def long_line(rng: np.random.Generator, data: bytes) -> bytes:
    return data + rng.choice([b"1,", b"9", b" ", b"\x00"]) * int(rng.integers(1, 1 << 21))


# --- packed files ---


def gz_bomb(rng: np.random.Generator, data: bytes) -> bytes:
    return gzip.compress(data + b"0" * (48 << 20), 9)


def packed(rng: np.random.Generator, data: bytes) -> bytes:
    """As gz, then damaged."""
    return _bytes(rng, gzip.compress(data))


def zip_of(rng: np.random.Generator, files: dict[str, bytes]) -> bytes:
    """A zip of files, perhaps with an odd method, a lie in its directory or a member too many, perhaps damaged."""
    out = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(out, "w", int(method)) as z:
        for name, data in files.items():
            z.writestr(name, data)
        if rng.random() < 0.2:
            z.writestr("../outside.csv", b"1,2\n")
    data = bytearray(out.getvalue())
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):  # the directory at the end holds sizes, names, methods, flags
            data[-int(rng.integers(1, min(len(data), 300)))] = rng.integers(0, 256)
    return bytes(data) if rng.random() < 0.7 else _bytes(rng, bytes(data))


# --- arrays ---


def change_arrays(rng: np.random.Generator, data: bytes) -> bytes:
    """A set in which some array has another type, shape, order, or numbers that cannot be."""
    arrays = make_arrays(seed=int(rng.integers(0, 1 << 30)))
    for _ in range(rng.integers(1, 3)):
        key = str(rng.choice(list(arrays)))
        a = np.atleast_1d(arrays[key])
        if a.size == 0 or a.dtype.kind not in "iu":
            continue
        draw = rng.integers(0, 9)
        if draw == 0:
            kinds = [np.float64, np.uint64, np.int64, "S3", bool, np.complex64, "U2", "datetime64[s]"]
            arrays[key] = a.astype(kinds[rng.integers(0, len(kinds))])
        elif draw == 1:
            arrays[key] = [a[:-1], a[::-1], a[None], a[:0], a.ravel(), a.T, np.array(7)][rng.integers(0, 7)]
        elif draw in (2, 3, 4):
            wide = a.astype(np.int64)
            extreme = [-(1 << 63), (1 << 63) - 1, -1, 0, 1 << 31, 1 << 40, 7, 86_400_001]
            wide.ravel()[rng.integers(0, a.size)] = extreme[rng.integers(0, len(extreme))]
            arrays[key] = wide
        elif draw == 5:
            arrays[key] = a.astype(np.int64) * int(rng.choice([-1, 3, 1 << 20, 1 << 45]))
        elif draw == 6:
            arrays[key] = a.astype(np.uint64) + np.uint64(1 << 63)
        elif draw == 7:
            del arrays[key]
        else:
            arrays[key] = a.astype(a.dtype.newbyteorder(">"))
    return pack(arrays)


def lying_header(rng: np.random.Generator, data: bytes) -> bytes:
    """A member whose header promises another shape or type than it holds: petabytes, objects, nonsense."""
    shape = rng.choice(["(10**15,)", "(1000000000000,)", "(-1,)", "(3,)", "()", "(2, 2, 2)", "(1,", "'a'"])
    kind = rng.choice(["<i4", "<i8", "|O", "<f8", "|V8", "<U1000000", "[('a', '<i4')]", "<i9", "\\x00"])
    text = f"{{'descr': '{kind}', 'fortran_order': {rng.choice(['False', 'True', '7'])}, 'shape': {shape}, }}"
    head = text.encode().ljust(117) + b"\n"
    version = bytes([rng.integers(0, 4), rng.integers(0, 2)])
    lie = b"\x93NUMPY" + version + len(head).to_bytes(2, "little") + head + bytes(int(rng.integers(0, 64)))
    arrays = make_arrays()
    victim = str(rng.choice(list(arrays)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z, zipfile.ZipFile(io.BytesIO(data)) as good:
        for name in good.namelist():
            z.writestr(name, lie if name == f"{victim}.npy" else good.read(name))
    return out.getvalue()


BYTES: tuple[Damage, ...] = (cut_short, flip, put_in, repeat_part, noise)
LINES: tuple[Damage, ...] = (
    change_numbers, change_numbers, nudge_numbers, nudge_numbers, mix_lines, line_ends, columns, long_line,
)  # fmt: skip
ARRAYS: tuple[Damage, ...] = (change_arrays, change_arrays, lying_header)


def _bytes(rng: np.random.Generator, data: bytes) -> bytes:
    return BYTES[rng.integers(0, len(BYTES))](rng, data)


def damage(rng: np.random.Generator, data: bytes, ways: tuple[Damage, ...]) -> bytes:
    """One or two of the ways, drawn, after one another."""
    for _ in range(1 if rng.random() < 0.7 else 2):
        if data:
            data = ways[rng.integers(0, len(ways))](rng, data)
    return data
