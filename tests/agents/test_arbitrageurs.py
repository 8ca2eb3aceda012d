"""Pairs opened and closed on gaps made by hand; the lead of one book over another found where it was put."""

import numpy as np
import pytest
from stand_ins import Standing, market

from lobgraph.agents.arbitrageurs import GapThreshold, LeadLag, Pairs, ZScore, gaps
from lobgraph.agents.strategy import StrategyError
from lobgraph.config import make_config

CFG = market(books=2, arbitrageur={}, steps=300)
FOREVER = 1e9  # seconds: all of the past weighs the same


def standing(t: int, mids, cfg=CFG, spread: int = 2) -> Standing:
    mids = np.atleast_2d(np.asarray(mids, dtype=float))
    return Standing(cfg, "arbitrageur", mids - spread / 2, mids + spread / 2, t)


def legs(actions: np.ndarray) -> list[int | str]:
    """Per pair: signed lots opened, or "close N"."""
    return [
        f"close {size:g}" if close > 0 else int(sign * size) for sign, close, size in actions[0, 0].tolist()
    ]


def play(
    strategy: Pairs, first: list[float], second: list[float] | None = None, spread: int = 2
) -> list[int | str]:
    second = [1000.0] * len(first) if second is None else second
    found = []
    for t, mids in enumerate(zip(first, second, strict=True)):
        view = standing(t, mids, spread=spread)
        if t == 0:
            strategy.start(view)
        found += legs(strategy.act(view))
    return found


def test_gap_is_measured_from_the_initial_prices() -> None:
    cfg = make_config({
        "market": {"books": 3, "initial_price": [1000, 2000, 600]},
        "agents": {"arbitrageur": {"count": 1, "pairs": [["A0", "A1"], ["A2", "A1"]]}},
    })  # fmt: skip
    np.testing.assert_array_equal(gaps(standing(0, [1005, 2001, 590], cfg)), [[4.0, 11.0]])  # A1 - A2: 1 + 10


def test_positions_are_built_and_taken_back_in_orders_of_max_size() -> None:
    view, pairs = standing(1, [1000, 1000]), ZScore(size=6)
    pairs.start(view)
    sides = [1, 1, 1, -1, -1, -1, 0, 0]
    found = [legs(pairs.hold(view, np.full((1, 1), side)))[0] for side in sides]
    # max_size 4. A pair is closed before it turns; with nothing open, whatever is held is sold off.
    assert found == [4, 2, 0, "close 4", "close 2", -4, "close 4", "close 4"]
    assert legs(pairs.hold(standing(0, [1000, 1000]), np.ones((1, 1))))[0] == 4  # a new episode forgets


def test_pairs_that_share_a_book_do_not_sell_off_each_others() -> None:
    cfg = market(books=3, arbitrageur={"pairs": "all"})
    view, pairs = standing(1, [1000, 1000, 1000], cfg), ZScore(size=3)
    pairs.start(view)
    assert legs(pairs.hold(view, np.array([[1, 0, 0]]))) == [3, "close 0", "close 0"]  # books 01 02 12
    assert legs(pairs.hold(view, np.array([[0, 0, -1]]))) == ["close 3", "close 0", -3]
    assert legs(pairs.hold(view, np.array([[0, 0, -1]]))) == ["close 0", "close 0", 0]


def test_zscore_opens_holds_and_closes() -> None:
    # Mean 0 known: z = gap / root mean square. 1 -1 1 -1 6: 6 / sqrt(8) = 2.12; then 2 / sqrt(44 / 6) = .74; then -1.
    first = [1001.0, 999.0, 1001.0, 999.0, 1006.0, 1002.0, 999.0, 999.0]
    strategy = ZScore(entry=2.0, exit=0.0, least=3.0, half_life=FOREVER, warmup=0.0, size=4)
    shut = ["close 4"] * 4
    assert play(strategy, first) == [*shut, -4, 0, "close 4", "close 4"]
    mirrored = [2000.0 - m for m in first]
    assert play(strategy, mirrored) == [*shut, 4, 0, "close 4", "close 4"]
    assert play(ZScore(2.0, 0.8, 3.0, 6.0, FOREVER, 0.0, size=4), first)[5] == "close 4"  # .74 is within .8
    assert play(ZScore(2.0, 0.0, 3.0, 6.0, FOREVER, 5.0, size=4), first) == ["close 4"] * 8  # too early
    assert play(strategy, first, spread=3)[4] == "close 4"  # 6 less 3 to cross is not above 3


def test_zscore_about_its_own_mean() -> None:
    # 0 2 0 2 7: mean 2.2, variance 57 / 5 - 4.84 = 6.56: z = 4.8 / 2.56 = 1.874
    first = [1000.0, 1002.0, 1000.0, 1002.0, 1007.0]
    for entry, opened in ((1.87, -4), (1.88, "close 4")):
        strategy = ZScore(entry, 0.0, 0.0, 6.0, FOREVER, 0.0, centred=False, size=4)
        assert play(strategy, first)[4] == opened
    view = standing(0, [1000, 1000])
    strategy.start(view)
    assert strategy.score(view)[0] == 0.0


def test_zscore_stops() -> None:
    # 1 x4, 6: z = 2.12, opens; 40: 40 / sqrt(1640 / 6) = 2.42, stops; 41: 41 / sqrt(3321 / 7) = 1.88 < entry: free again;
    # 80: 80 / sqrt(9721 / 8) = 2.29 > entry: opens.
    first = [1001.0, 999.0, 1001.0, 999.0, 1006.0, 1040.0, 1041.0, 1080.0]
    strategy = ZScore(2.0, 0.0, 0.0, 2.4, FOREVER, 0.0, size=4)
    assert play(strategy, first)[4:] == [-4, "close 4", "close 4", -4]
    # With entry 1.8, 1.88 does not free it.
    assert play(ZScore(1.8, 0.0, 0.0, 2.4, FOREVER, 0.0, size=4), first)[4:] == [
        -4,
        "close 4",
        "close 4",
        "close 4",
    ]


def test_gap_threshold_opens_holds_closes_and_turns() -> None:
    # Less 2 ticks to cross: 3, 4.5, then 3, -1 and -9.
    first = [1005.0, 1006.5, 1001.0, 999.0, 989.0, 997.0, 999.5]
    assert play(GapThreshold(open=4.0, size=4), first) == ["close 4", -4, 0, "close 4", 4, 0, 0]
    shut = ["close 4"] * 2
    assert play(GapThreshold(open=4.0, close=1.0, size=4), first) == [shut[0], -4, *shut, 4, 0, "close 4"]
    assert play(GapThreshold(open=4.0, size=4), [1008.0, 990.0, 990.0]) == [-4, "close 4", 4]
    assert play(GapThreshold(open=4.0, size=4), first, spread=3)[1] == "close 4"  # 6.5 less 3


def lagged(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A random walk, and one that makes half its moves one decision later."""
    moves = np.random.default_rng(seed).normal(0, 3, n)
    late = 0.5 * np.concatenate([[0.0], moves[:-1]]) + np.random.default_rng(seed + 1).normal(0, 0.1, n)
    return 1000 + np.cumsum(moves), 1000 + np.cumsum(late)


@pytest.mark.parametrize("swapped", [False, True])
def test_lead_lag_finds_the_leader(swapped: bool) -> None:
    leader, laggard = lagged()
    mids = (laggard, leader) if swapped else (leader, laggard)
    strategy, found = LeadLag(window=1.0, half_life=FOREVER, warmup=0.0), []
    for t, now in enumerate(zip(*mids, strict=True)):
        view = standing(t, now)
        if t == 0:
            strategy.start(view)
        found.append(float(strategy.expected(view)[0, 0]))
    r, s = np.diff(leader), np.diff(laggard)
    beta = (r[:-1] * s[1:]).sum() / (r[:-1] ** 2).sum()
    assert beta == pytest.approx(0.5, abs=0.01)
    assert found[-1] == pytest.approx((1 if swapped else -1) * beta * r[-1])
    # It foresees the laggard's next move; + is the first book rising against the second.
    foreseen = np.array(found[20:-1]) * (1 if swapped else -1)
    assert np.corrcoef(foreseen, s[20:])[0, 1] > 0.99


def test_lead_lag_keeps_a_position_for_its_time() -> None:
    strategy = LeadLag(
        leader="first", window=1.0, threshold=1.0, hold_for=3.0, half_life=FOREVER, warmup=0.0, size=4
    )
    # The first book moves +4, then the second +2 (beta 1/2); +4 again: expects +2 in the second, sells the pair.
    first, second = (
        [1000, 1004, 1004, 1008, 1008, 1008, 1008, 1008],
        [1000, 1000, 1002, 1002, 1004, 1004, 1004, 1004],
    )
    found = play(strategy, first, second)  # type: ignore[arg-type]
    assert found == [*["close 4"] * 3, -4, 0, 0, "close 4", "close 4"]
    assert play(LeadLag("second", 1.0, 1.0, 3.0, FOREVER, 0.0, 4), first, second) != found  # type: ignore[arg-type]


def test_impossible_parameters() -> None:
    with pytest.raises(StrategyError, match="zscore: exit must be at least 0 and at most 1, got 2"):
        ZScore(entry=1.0, exit=2.0)
    with pytest.raises(StrategyError, match="zscore: stop must be above 2, got 2"):
        ZScore(entry=2.0, stop=2.0)
    with pytest.raises(StrategyError, match="leader must be auto, first or second, got 'third'"):
        LeadLag(leader="third")
    with pytest.raises(StrategyError, match="gap_threshold: open must be at least 0, got -1"):
        GapThreshold(open=-1)
