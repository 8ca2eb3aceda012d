"""The 100 ms snapshot sets: values, net flows, and a clear error for every bad array."""

import zipfile

import numpy as np
import pytest

from lobgraph.data.distance import rates_by_distance
from lobgraph.data.facts import measure
from lobgraph.data.nasdaq10 import read_nasdaq10
from lobgraph.data.recording import DataError

NAME = "TEST_20200102_100000_100001.npz"


def arrays():
    """Five rows of two levels: a bid of 50 comes at 1.0002, a buy takes 30 from the ask, the bid goes."""
    return {
        "t_ms": np.array([36_000_200, 36_000_300, 36_000_400, 36_000_500, 36_000_600], np.int32),
        "bid_px": np.array(
            [[1000000, 999900]] + [[1000100, 1000000]] * 2 + [[1000000, 999900]] * 2, np.int32
        ),
        "ask_px": np.array([[1000300, 1000400]] * 5, np.int32),
        "bid_sz": np.array([[100, 200], [50, 100], [50, 100], [100, 200], [100, 200]], np.int32),
        "ask_sz": np.array([[300, 400], [300, 400], [270, 400], [270, 390], [270, 390]], np.int32),
        "mo_t_ms": np.array([36_000_350], np.int32),
        "mo_vol": np.array([30], np.int32),
        "mo_sign": np.array([1], np.int8),
    }


def write(path, **changes):
    data = arrays() | changes
    np.savez(path / NAME, **{k: v for k, v in data.items() if v is not None})
    return path / NAME


def test_values(tmp_path):
    s = read_nasdaq10(write(tmp_path))
    assert (s.name, s.date, s.levels, s.rows, s.seconds) == ("TEST", "2020-01-02", 2, 5, 1.0)
    assert s.row_px[1].tolist() == [[10001, 10000], [10003, 10004]]
    assert s.time[0] == 36_000_200_000_000
    assert (s.unsorted, s.crossed) == (0, 0)
    f = measure(s)
    assert (f.spread, f.market_rate, f.market_size) == pytest.approx((2.6, 1.0, 30.0))
    assert np.isnan(f.limit_rate)


def test_net_flows(tmp_path):
    r = rates_by_distance(read_nasdaq10(write(tmp_path)), 4)
    # The bid of 50, two ticks below the ask; the levels it pushed out of view and back count as nothing.
    assert r.limit_orders == pytest.approx([0, 1 / 2, 0, 0])
    assert r.limit_shares == pytest.approx([0, 50 / 2, 0, 0])
    # Its end, and 10 of the second ask, three ticks above the bid; the 30 of the first ask were traded.
    assert r.cancelled_shares == pytest.approx([0, 50 / 2, 10 / 2, 0])


def test_unsorted_rows_are_counted_and_sorted(tmp_path):
    a = arrays()
    for key in ("ask_px", "ask_sz"):
        a[key][3] = a[key][3][::-1]
    s = read_nasdaq10(write(tmp_path, **a))
    assert s.unsorted == 1
    assert s.row_px[3, 1].tolist() == [10003, 10004]
    a = arrays()
    a["bid_px"][2, 0] = 1000300
    assert read_nasdaq10(write(tmp_path, **a)).crossed == 1


def changed(key, index, value):
    a = arrays()[key].copy()
    a[index] = value
    return {key: a}


BAD = {
    "missing array": ({"mo_sign": None}, "array 'mo_sign' is missing"),
    "wrong rows": ({"bid_px": arrays()["bid_px"][:4]}, "bid_px: must have shape|must have shape"),
    "wrong levels": ({"ask_sz": arrays()["ask_sz"][:, :1]}, "ask_sz: must have shape"),
    "one-dimensional": ({"ask_sz": arrays()["ask_sz"][:, 0]}, "ask_sz: must have shape"),
    "uneven time": (changed("t_ms", 2, 36_000_401), "t_ms: must be evenly spaced and rising; row 2"),
    "backward time": (changed("t_ms", slice(None), [5, 4, 3, 2, 1]), "evenly spaced and rising"),
    "off the tick": (changed("ask_px", (1, 0), 1000350), "multiples of the tick 100; row 1"),
    "negative size": (changed("bid_sz", (4, 1), -1), "bid_sz, ask_sz: must be 0 to .*; row 4"),
    "negative price": (changed("bid_px", (4, 1), -100), "must be 1 to .*; row 4"),
    "floats": ({"bid_px": arrays()["bid_px"] * 1.0}, "bid_px: must hold whole numbers, got float64"),
    "bad sign": ({"mo_sign": np.array([0], np.int8)}, "mo_sign: must be"),
    "zero volume": ({"mo_vol": np.array([0], np.int32)}, "mo_vol: must be 1"),
    "orders of other length": ({"mo_vol": np.array([30, 40], np.int32)}, "mo_vol: must have shape"),
    "objects": ({"t_ms": np.array([{}] * 5, object)}, "t_ms: must hold whole numbers"),
    "empty": ({"t_ms": np.zeros(0, np.int32), **{k: np.zeros((0, 2), np.int32) for k in ("bid_px", "ask_px", "bid_sz", "ask_sz")}}, "evenly spaced"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_named(tmp_path, case):
    changes, says = BAD[case]
    with pytest.raises(DataError, match=says) as caught:
        read_nasdaq10(write(tmp_path, **changes))
    assert NAME in str(caught.value)


def test_bad_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_nasdaq10(tmp_path / "none.npz")
    path = tmp_path / NAME
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a readable npz"):
        read_nasdaq10(path)
    whole = write(tmp_path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable npz"):
        read_nasdaq10(path)
    path.write_bytes(whole[:80] + bytes(30) + whole[110:])
    with pytest.raises(DataError):
        read_nasdaq10(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"t_ms": np.arange(5) * (1 << 58)}, "t_ms.*0 to 86400000"),  # in ns it would run over 64 bits
        ({"t_ms": np.arange(-3, 2)}, "t_ms.*0 to 86400000"),
        ({"mo_t_ms": np.array([1 << 60])}, "mo_t_ms.*0 to 86400000"),
        ({"mo_vol": np.array([(1 << 64) - 30], np.uint64)}, "mo_vol.*more than fits"),
    ],
)
def test_numbers_that_would_run_over(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        read_nasdaq10(write(tmp_path, **changes))


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    """numpy alone would ask for the petabytes."""
    path = write(tmp_path)
    with zipfile.ZipFile(path) as z:
        held = {name: z.read(name) for name in z.namelist()}
    for shape, says in (
        ("(1000000000000000,)", "bytes long"),
        ("(5,", "not a readable npz"),
        ("(-1,)", "bytes long"),
    ):
        head = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
        lie = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(40)
        with zipfile.ZipFile(path, "w") as z:
            for name, data in held.items():
                z.writestr(name, lie if name == "mo_vol.npy" else data)
        with pytest.raises(DataError, match=says):
            read_nasdaq10(path)
