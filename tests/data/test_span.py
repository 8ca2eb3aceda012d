"""Days cut to a span: still valid days, whose parts add up to the whole."""

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.data.facts import market_orders, measure, weights
from lobgraph.data.load import read
from lobgraph.data.recording import NS, DataError
from lobgraph.data.span import cut, time_of_day


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return read(write_pair(tmp_path_factory.mktemp("day"), *make_day(1500, 3), 3))


def test_parts_of_a_recording_add_up(day):
    middle = 34_200 + 0.4 * (day.time[-1] / NS - 34_200)
    early, late = cut(day, None, middle), cut(day, middle)
    assert early.rows + late.rows == day.rows
    assert early.time[-1] < middle * NS <= late.time[0]
    assert early.seconds + late.seconds == pytest.approx(day.seconds)
    assert len(market_orders(early).time) + len(market_orders(late).time) == len(market_orders(day).time)
    for part in (early, late):
        assert part.mismatches == 0  # messages still explain every row
        assert part.row_end[-1] == len(part.tape.time)
        assert weights(part).sum() <= part.seconds
    assert late.row_px[0].tolist() == day.row_px[early.rows].tolist()
    assert measure(late).messages == late.rows
    assert cut(day, 0.0, 86_400.0) is day


def test_a_span_outside_the_day_is_refused(day):
    with pytest.raises(DataError, match="start and end must leave some of"):
        cut(day, 50_000.0, 60_000.0)
    with pytest.raises(DataError, match="TEST: start and end"):
        cut(day, 34_300.0, 34_250.0)


def test_time_of_day():
    assert [time_of_day(t) for t in ("09:30", "13:00:30", "46800.5")] == [34_200.0, 46_830.0, 46_800.5]
    for text in ("25:00", "12:60", "noon", "-1", "90000"):
        with pytest.raises(DataError, match="must be like 13:00"):
            time_of_day(text)


def test_snapshots_tell_of_the_time_before_them(real):
    whole = read(real("nasdaq10/INTC_*.npz")[0])
    early, late = cut(whole, None, 46_800.0), cut(whole, 46_800.0)
    assert early.rows + late.rows == whole.rows
    assert early.time[-1] == 46_800 * NS < late.time[0]
    assert len(early.order_time) + len(late.order_time) == len(whole.order_time)
    assert (early.start, early.end, late.end) == (whole.start, 46_800 * NS, whole.end)
    assert np.array_equal(late.row_qty[-1], whole.row_qty[-1])
