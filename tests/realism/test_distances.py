"""Scores of a day computed by hand, distances of samples with known answers, and their intervals."""

import numpy as np
import pytest
from make import make_day, write_pair

from lobgraph.data.lobster import read_lobster
from lobgraph.data.nasdaq10 import read_nasdaq10
from lobgraph.data.recording import DataError
from lobgraph.realism.distances import (
    COLUMNS,
    MEANS,
    compare_scores,
    distances,
    total_variation,
    wasserstein,
)
from lobgraph.realism.sampling import as_snapshots, part
from lobgraph.realism.scores import CORE, FROM_ROWS, OTHERS, Score, best_flow, scores

STEM = "HAND_2020-01-02_36000000_36010000"  # ten seconds from 10:00
HAND = [  # message, row: two levels a side
    ("36000.0,1,1,100,9900,1", "10200,100,9900,100,10300,7,9800,50"),
    ("36002.0,1,2,50,10000,1", "10200,100,10000,50,10300,7,9900,100"),
    ("36002.0,2,2,20,10000,1", "10200,100,10000,30,10300,7,9900,100"),
    ("36003.0,5,0,10,10050,1", "10200,100,10000,30,10300,7,9900,100"),  # hidden: no row of the visible book
    ("36004.5,4,2,10,10000,1", "10200,100,10000,20,10300,7,9900,100"),
    ("36004.7,4,2,20,10000,1", "10200,100,9900,100,10300,7,9800,50"),
    ("36006.0,3,3,100,10200,-1", "10300,7,9900,100,10400,40,9800,50"),
    ("36008.0,3,1,100,9900,1", "10300,7,9800,50,10400,40,9700,5"),
]


@pytest.fixture
def day(tmp_path):
    return read_lobster(write_pair(tmp_path, [m for m, _ in HAND], [b for _, b in HAND], 2, stem=STEM))


@pytest.fixture(scope="module")
def long_day(tmp_path_factory):
    folder = tmp_path_factory.mktemp("day")
    return read_lobster(write_pair(folder, *make_day(3000, 5, 4), 5))


def test_scores_of_a_hand_made_day(day):
    found = scores(day)
    assert tuple(found) == CORE + OTHERS

    def values(name):
        return found[name].value.tolist()

    assert values("spread") == [3, 2, 2, 2, 3, 4, 5]
    assert values("imbalance") == pytest.approx([0, -1 / 3, -7 / 13, -2 / 3, 0, 93 / 107, 43 / 57])
    assert values("ask volume at touch") == [100, 100, 100, 100, 100, 7, 7]
    assert values("bid volume") == [150, 150, 130, 120, 150, 150, 55]
    gaps = np.log([2000, 1e-9, 2500, 200, 1300, 2000])  # milliseconds; none is 0 but two messages of one time
    assert found["log inter-arrival"].value == pytest.approx(gaps)
    assert values("log time to cancel") == pytest.approx([np.log(1e-9), np.log(8.0)])  # orders 2 and 1
    assert values("bid limit depth") == pytest.approx([1.5, 1.0])  # from the mids 100.5 and 101
    assert values("ask limit depth") == []
    assert values("ask cancel depth") == pytest.approx([1.0])  # 102 from the mid after it, 101
    assert values("bid cancel depth") == pytest.approx([1.0, 1.5])  # 100 from 101, 99 from 100.5
    assert values("bid limit level") == [1, 1]
    assert values("bid cancel level") == [1, 1]
    assert values("ask cancel level") == [1]
    assert values("volume a minute") == [1800]
    assert values("order-flow imbalance") == []  # fewer rows than its window


def test_flow_at_the_best_prices(day):
    visible = day.type != 5
    flow = best_flow(day.row_px[visible].astype(np.int64), day.row_qty[visible])
    assert flow.tolist() == [50, -20, -10, -20, 100, -100]


def test_flow_imbalance_is_a_mean_over_a_hundred_rows(long_day):
    visible = long_day.type < 5
    flow = best_flow(long_day.row_px[visible].astype(np.int64), long_day.row_qty[visible].astype(np.int64))
    found = scores(long_day)
    assert len(found["order-flow imbalance"].value) == len(flow) - 99
    assert found["order-flow imbalance"].value[7] == pytest.approx(flow[7:107].mean())
    parts = [found[f"imbalance before {move}"] for move in ("rises", "no move", "falls")]
    assert 0 < sum(len(p.value) for p in parts) <= len(flow) - 100
    assert np.diff(parts[0].time).min() >= 0


def test_total_variation_of_known_samples():
    x = np.arange(10.0)
    assert total_variation(x, x[::-1]) == 0.0
    assert total_variation(x, x, discrete=True) == 0.0
    assert total_variation(x, x + 100.0) == 1.0
    assert total_variation(x, x + 5.0, discrete=True) == pytest.approx(0.5)
    assert total_variation(
        np.array([1.0, 1, 1, 2]), np.array([1.0, 2, 2, 2]), discrete=True
    ) == pytest.approx(0.5)
    assert total_variation(x, np.zeros(0)) == 1.0
    assert np.isnan(total_variation(np.zeros(0), np.zeros(0)))
    # Freedman and Diaconis: of 0..7 twice, IQR 3.5 and n 16 give a width 2.78, three bins: {0 1 2} {3 4} {5 6} and {7}
    x, y = np.arange(8.0), np.array([0.0, 1, 2, 3, 4, 7, 7, 7])
    both = np.concatenate([x, y])
    width = 2 * np.subtract(*np.percentile(both, [75, 25])) / 16 ** (1 / 3)
    count = int(np.ceil(7.0 / width))
    p, q = (np.bincount((v / 7.0 * count).astype(int), minlength=count + 1) / 8 for v in (x, y))
    assert total_variation(x, y) == pytest.approx(0.5 * np.abs(p - q).sum())
    assert 0 < total_variation(x, y) < 1


def test_equal_quartiles_do_not_hide_a_difference():
    """Where most values are equal the rule's width is 0; one bin for all would say that the samples are alike."""
    x, y = np.r_[np.full(90, 100.0), np.full(10, 7.0)], np.r_[np.full(80, 100.0), np.full(20, 300.0)]
    assert total_variation(x, y) == pytest.approx(0.2)


def test_wasserstein_of_known_samples():
    x = np.arange(10.0)
    assert wasserstein(x, x[::-1]) == 0.0
    shift = wasserstein(x, x + 5.0)
    assert shift == pytest.approx(5.0 / np.concatenate([x, x + 5.0]).std(ddof=1))
    assert wasserstein(1000.0 * x, 1000.0 * (x + 5.0)) == pytest.approx(shift)  # no units
    assert np.isnan(wasserstein(x, np.zeros(0)))
    assert wasserstein(np.ones(3), np.ones(5)) == 0.0


def normal(seed: int, n: int, past: float, shift: float = 0.0) -> Score:
    """An AR(1) series of unit variance."""
    noise = np.random.default_rng(seed).normal(size=n)
    x = noise.copy()
    for i in range(1, n):
        x[i] = past * x[i - 1] + (1.0 - past * past) ** 0.5 * noise[i]
    return Score(np.arange(n) * 10**8, x + shift)


def test_intervals_hold_the_distance_of_known_laws():
    """Normals a standard deviation apart: L1 2 Phi(1/2) - 1 = .3829, Wasserstein 1 / sd of the mixture (5/4)^.5 = .894."""
    found = compare_scores({"spread": normal(1, 4000, 0.0)}, {"spread": normal(2, 4000, 0.0, 1.0)}).iloc[0]
    assert found["wasserstein_low"] < 0.8944 < found["wasserstein_high"]
    name = {"imbalance": normal(1, 4000, 0.0)}, {"imbalance": normal(2, 4000, 0.0, 1.0)}
    found = compare_scores(*name).iloc[0]
    assert found["l1_low"] < 0.3829 < found["l1_high"]
    assert found["l1_high"] - found["l1_low"] < 0.1


def test_intervals_know_of_dependence():
    wide, narrow = (
        compare_scores({"imbalance": normal(1, 4000, past)}, {"imbalance": normal(2, 4000, past, 1.0)}).iloc[
            0
        ]
        for past in (0.98, 0.0)
    )
    assert wide["l1_high"] - wide["l1_low"] > 2 * (narrow["l1_high"] - narrow["l1_low"])


def test_the_table(long_day):
    same = distances(long_day, long_day, resamples=20)
    assert tuple(same.columns) == COLUMNS
    assert same["score"].tolist() == [*CORE, *OTHERS, *MEANS]
    assert same["l1"].tolist() == [0.0] * len(same)
    assert same["wasserstein"].abs().max() < 1e-12
    one, two = part(long_day, None, 34_203), part(long_day, 34_203)
    table = distances(one, two, resamples=20).set_index("score")
    assert table.loc["mean", "l1"] == pytest.approx(table.loc[list(CORE), "l1"].mean())
    assert table.loc["mean of all", "l1"] == pytest.approx(table.loc[[*CORE, *OTHERS], "l1"].mean())
    assert (table["l1_low"] <= table["l1"]).all()
    assert (table["l1"] <= table["l1_high"]).all()
    assert distances(two, one, resamples=0)["l1"].to_numpy() == pytest.approx(table["l1"].to_numpy())


def test_a_set_of_snapshots_is_compared_with_one(long_day, day):
    rows = as_snapshots(long_day)
    assert np.diff(rows.time).tolist() == [10**8] * (rows.rows - 1)
    at = np.searchsorted(long_day.time, rows.time[100], side="right") - 1
    assert (rows.row_px[100] == long_day.row_px[at]).all()
    table = distances(long_day, rows, resamples=0)
    assert set(table["score"]) == {*FROM_ROWS, *MEANS}
    assert table["l1"].max() == 0.0
    with pytest.raises(DataError, match="levels must be the same"):
        distances(long_day, day)


def test_parts_of_a_day(day):
    late = part(day, 36_002, 36_006)
    assert (late.start, late.end, late.rows) == (36_002 * 10**9, 36_006 * 10**9, 5)
    assert late.mismatches == 0
    assert part(day) is day
    with pytest.raises(DataError, match="nothing lies between 20000 and 30000"):
        part(day, 20_000, 30_000)


def test_the_real_morning_and_last_hour(real):
    """Real against real: near, and nearer than a Cont-Stoikov-Talreja flow is to its data (.475)."""
    whole = read_lobster(real("lobster/GOOG_*message*")[0])
    table = distances(part(whole, None, 46_800), part(whole, 46_800), resamples=50).set_index("score")
    assert 0.1 < table.loc["mean", "l1_low"] < table.loc["mean", "l1_high"] < 0.3
    assert table["l1"].max() < 0.4


def test_scores_of_real_snapshots(real):
    day = part(read_nasdaq10(real("nasdaq10/INTC_*.npz")[0]), 40_000, 40_600)
    found = scores(day)
    assert set(found) == set(FROM_ROWS)
    assert np.median(found["spread"].value) == 1.0
