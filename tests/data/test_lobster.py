"""Reading LOBSTER files: exact times, packing, names, and a clear error for every bad input."""

import contextlib
import gzip
import zipfile

import numpy as np
import pytest
from make import STEM, make_day, write_pair

from lobgraph.data import files
from lobgraph.data.lobster import read_lobster
from lobgraph.data.recording import DataError

LEVELS = 2
MESSAGES, BOOKS = make_day(60, LEVELS)
BOOK_NAME = f"{STEM}_orderbook_{LEVELS}.csv"


def same(a, b):
    return all(
        np.array_equal(getattr(a, f), getattr(b, f))
        for f in ("time", "type", "px", "qty", "row_px", "row_qty")
    )


def test_values_come_through(tmp_path):
    r = read_lobster(write_pair(tmp_path, MESSAGES, BOOKS, LEVELS))
    assert (r.name, r.date, r.levels, r.rows) == ("TEST", "2020-01-02", LEVELS, 60)
    assert (r.start, r.end, r.seconds) == (34_200 * 10**9, 34_800 * 10**9, 600.0)
    fields = [line.split(",") for line in MESSAGES]
    assert r.order.tolist() == [int(f[2]) for f in fields]
    assert r.qty.tolist() == [int(f[3]) for f in fields]
    assert r.side.tolist() == [int(f[5]) for f in fields]
    cells = [int(c) for c in BOOKS[7].split(",")]
    assert r.row_px[7].tolist() == [
        [cells[2] // 100, cells[6] // 100],
        [cells[0] // 100, cells[4] // 100],
    ]
    assert r.row_qty[7].tolist() == [[cells[3], cells[7]], [cells[1], cells[5]]]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("34200", 34_200_000_000_000),
        ("34200.000000001", 34_200_000_000_001),
        ("34200.1", 34_200_100_000_000),
        ("57599.999999999", 57_599_999_999_999),
        ("43002.632812672004", 43_002_632_812_672),  # float noise of published files
        ("34200.12345678901234", 34_200_123_456_789),
        ("0.5", 500_000_000),
    ],
)
def test_times_are_exact(tmp_path, text, ns):
    line = text + MESSAGES[0][MESSAGES[0].index(",") :]
    assert read_lobster(write_pair(tmp_path, [line], BOOKS[:1], LEVELS)).time.tolist() == [ns]


@pytest.mark.parametrize("packing", [".gz", ".zip", "both"])
def test_packed_files_read_the_same(tmp_path, packing):
    (tmp_path / "plain").mkdir()
    plain = read_lobster(write_pair(tmp_path / "plain", MESSAGES, BOOKS, LEVELS))
    packed = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, packing)
    assert same(plain, read_lobster(packed))
    assert same(plain, read_lobster(packed.parent / packed.name.replace("message", "orderbook")))


def test_files_of_any_name_and_mixed_packing(tmp_path):
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS)
    a, b = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    a.write_bytes(path.read_bytes())
    b.write_bytes(gzip.compress((tmp_path / BOOK_NAME).read_bytes()))
    r = read_lobster(a, b)
    assert same(r, read_lobster(path))
    assert (r.name, r.date, r.start) == ("a", "", r.time[0])
    (tmp_path / BOOK_NAME).unlink()
    (tmp_path / f"{BOOK_NAME}.gz").write_bytes(b.read_bytes())
    assert same(r, read_lobster(path))


def test_windows_line_ends_and_no_last_newline(tmp_path):
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS)
    plain = read_lobster(path)
    path.write_bytes("\r\n".join(MESSAGES).encode())
    assert same(plain, read_lobster(path))


def test_tick_and_lot_scale(tmp_path):
    messages, books = ["34200.5,1,1,300,1000200,1"], ["1000400,500,1000200,300"]
    stem = "TEST_2020-01-02_34200000_34800000"
    r = read_lobster(write_pair(tmp_path, messages, books, 1, stem=stem), tick=200, lot=100)
    assert (r.px[0], r.qty[0], r.row_px[0].ravel().tolist(), r.row_qty[0].ravel().tolist()) == (
        5001, 3, [5001, 5002], [3, 5],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"line 1: .*multiples of lot 200"):
        read_lobster(tmp_path / f"{stem}_message_1.csv", lot=200)
    with pytest.raises(DataError, match="tick: must be a whole number"):
        read_lobster(tmp_path / f"{stem}_message_1.csv", tick=0)


def message(column, value):
    """Replace one field of message line 31."""

    def change(messages, books):
        fields = messages[30].split(",")
        fields[column] = value
        messages[30] = ",".join(fields)

    return change


def row(column, value):
    def change(messages, books):
        cells = books[30].split(",")
        cells[column] = value
        books[30] = ",".join(cells)

    return change


def crossed(messages, books):
    cells = books[30].split(",")
    cells[2] = cells[0]
    books[30] = ",".join(cells)


def first_visible(messages, books):
    """An off-tick price on a visible limit order."""
    i = next(i for i, line in enumerate(messages) if line.split(",")[1] == "1")
    fields = messages[i].split(",")
    fields[4] = str(int(fields[4]) + 50)
    messages[i] = ",".join(fields)


BAD_LINES = {
    "too few fields": (
        lambda m, b: m.__setitem__(30, "34200.5,1,2,100,1000000"),
        r"line 31: has 5 fields, expected 6",
    ),
    "too many fields": (
        lambda m, b: m.__setitem__(30, m[30] + ",7"),
        r"line 31: has 7 fields, expected 6",
    ),
    "blank line": (lambda m, b: m.__setitem__(30, ""), r"line 31: has 1 fields, expected 6"),
    "header": (
        lambda m, b: m.__setitem__(0, "Time,Type,Order ID,Size,Price,Direction"),
        r"line 1: time 'Time' is not",
    ),
    "text in time": (message(0, "noon"), r"line 31: time 'noon' is not seconds"),
    "time nan": (message(0, "nan"), r"line 31: time 'nan' is not"),
    "time inf": (message(0, "inf"), r"line 31: time 'inf' is not"),
    "too many decimals": (
        message(0, "34200.1234567890123456"),
        r"line 31: time .* at most 14 decimals",
    ),
    "huge time": (message(0, "99999999999999999999"), r"line 31: time"),
    "negative time": (message(0, "-1.5"), r"line 31: time: must be seconds after midnight"),
    "time past midnight": (message(0, "86400.5"), r"line 31: time: must be seconds after midnight"),
    "time backwards": (message(0, "34200.000000001"), r"line 31: time: must not go backwards"),
    "text in size": (message(3, "many"), r"line 31: size 'many' is not a whole number"),
    "decimal size": (message(3, "10.5"), r"line 31: size '10.5' is not a whole number"),
    "empty size": (message(3, ""), r"line 31: size '' is not a whole number"),
    "negative size": (message(3, "-100"), r"line 31: size: must be 0|line 31: size: must be 1"),
    "huge size": (message(3, "99999999999"), r"line 31: size: must be"),
    "overflowing size": (message(3, "9" * 30), r"line 31: size"),
    "unknown type": (message(1, "9"), r"line 31: type: must be 1 to 7, got 9"),
    "type zero": (message(1, "0"), r"line 31: type: must be 1 to 7, got 0"),
    "bad direction": (
        message(5, "0"),
        r"line 31: direction: must be 1 \(buy\) or -1 \(sell\), got 0",
    ),
    "price off the tick": (first_visible, r"price: must be a multiple of the tick 100"),
    "binary": (message(2, "\x00\x01\x02"), r"line 31: order id .* is not a whole number"),
    "text in the book": (row(1, "x"), r"orderbook.*line 31: ask size 1 'x' is not a whole number"),
    "negative book size": (row(1, "-5"), r"orderbook.*line 31: sizes must be"),
    "book off the tick": (row(0, "1000450"), r"orderbook.*line 31: prices must be multiples"),
    "wrong price of an empty level": (
        row(1, "0"),
        r"orderbook.*line 31: a level of size 0 must have price",
    ),
    "book out of order": (row(4, "100"), r"orderbook.*line 31: levels must be sorted"),
    "crossed book": (crossed, r"orderbook.*line 31: the best bid must be below the best ask"),
    "short book line": (
        lambda m, b: b.__setitem__(30, "1,2,3,4"),
        r"orderbook.*line 31: has 4 fields, expected 8",
    ),
    "fewer book rows": (lambda m, b: b.pop(), r"has 59 rows but .* has 60"),
    "fewer messages": (lambda m, b: m.pop(), r"has 60 rows but .* has 59"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_lines_are_named(tmp_path, case):
    change, says = BAD_LINES[case]
    messages, books = list(MESSAGES), list(BOOKS)
    change(messages, books)
    path = write_pair(tmp_path, messages, books, LEVELS)
    with pytest.raises(DataError, match=says) as caught:
        read_lobster(path)
    assert STEM in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_lobster(tmp_path / f"{STEM}_message_2.csv")
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS)
    (tmp_path / BOOK_NAME).unlink()
    with pytest.raises(DataError, match=f"its orderbook file is missing; expected .*{BOOK_NAME}"):
        read_lobster(path)
    other = tmp_path / "data.csv"
    other.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="expected a name like TICKER_"):
        read_lobster(other)
    with pytest.raises(DataError, match="no such file"):
        read_lobster(tmp_path)


def test_wrong_level_count(tmp_path):
    path = write_pair(tmp_path, MESSAGES, BOOKS, 5)  # the name says 5
    with pytest.raises(DataError, match="has 2 levels, but its name says 5"):
        read_lobster(path)
    path = write_pair(tmp_path, MESSAGES, [b + ",1" for b in BOOKS], LEVELS)
    with pytest.raises(DataError, match="has 9 fields, expected 4 per level"):
        read_lobster(path)


def test_empty_files(tmp_path):
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_lobster(path)
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, ".gz")
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="the file is empty"):
        read_lobster(path)


def test_damaged_archives(tmp_path):
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, ".gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        read_lobster(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="not a readable compressed file"):
        read_lobster(path)
    path.write_bytes(whole[:40] + bytes(20) + whole[60:])
    with pytest.raises(DataError):
        read_lobster(path)
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, "both")
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(DataError, match="not a readable zip"):
        read_lobster(path)
    path.write_bytes(whole[:150] + bytes(10) + whole[160:])
    with pytest.raises(DataError):
        read_lobster(path)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("notes.txt", "nothing here")
    with pytest.raises(DataError, match=r"holds no \.csv"):
        read_lobster(path)


def test_several_pairs_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as z:
        for day in ("02", "03"):
            for kind in ("message", "orderbook"):
                z.writestr(f"TEST_2020-01-{day}_34200000_34800000_{kind}_2.csv", "1")
    with pytest.raises(DataError, match="several pairs"):
        read_lobster(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, ".gz")
    path.write_bytes(gzip.compress(b"0" * (1 << 25)))
    with pytest.raises(DataError, match="grows more than"):
        read_lobster(path)
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS, "both")
    with pytest.raises(DataError, match="larger than"):
        read_lobster(path)


def test_garbage_never_raises_anything_else(tmp_path):
    rng = np.random.default_rng(0)
    path = write_pair(tmp_path, MESSAGES, BOOKS, LEVELS)
    whole = path.read_bytes()
    for i in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 1 + i % 5):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            assert read_lobster(path).rows == 60


@pytest.mark.parametrize("number", ["0x10", "0X1F", "1e999999999", "1e9999999999999999999", "9" * 400])
def test_numbers_that_are_none_here(tmp_path, number):
    """Hexadecimal is arrow's own idea; the others would fill memory or overflow while the bad line is looked for."""
    messages, books = make_day(rows=20)
    messages[4] = messages[4].replace(messages[4].split(",")[3], number)
    with pytest.raises(DataError, match="line 5"):
        read_lobster(write_pair(tmp_path, messages, books, 3))


def test_a_damaged_lzma_member(tmp_path):
    messages, books = make_day(rows=20)
    path = write_pair(tmp_path, messages, books, 3, "both")
    with zipfile.ZipFile(path) as z:
        held = {name: z.read(name) for name in z.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as z:
        for name, data in held.items():
            z.writestr(name, data)
        at = next(m.header_offset for m in z.infolist() if "message" in m.filename)
    data = bytearray(path.read_bytes())
    data[at + 120 : at + 160] = b"\xff" * 40
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="not a readable compressed file"):
        read_lobster(path)
