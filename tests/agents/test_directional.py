"""Directional traders' positions on price paths made by hand."""

import numpy as np
import pytest
from stand_ins import Standing, lots, market

from lobgraph.agents.directional import (
    Directional,
    Fundamental,
    MaCrossover,
    MeanReversion,
    Momentum,
    Rsi,
)
from lobgraph.agents.strategy import StrategyError

CFG = market(taker={"target": 0}, steps=30)


def positions(strategy: Directional, mids: list[float], spread: int = 2, **arrays: list[float]) -> list[int]:
    """What is held after each decision of an episode in which orders of up to 10 lots are filled."""
    held, path = 0, []
    for t, mid in enumerate(mids):
        bid, ask = [[mid - spread / 2]], [[mid + spread / 2]]
        extra = {name: np.full((1, 1), values[t]) for name, values in arrays.items()}
        view = Standing(CFG, "taker", bid, ask, t, inventory=held, **extra)
        if t == 0:
            strategy.start(view)
        held += int(np.clip(lots(strategy.act(view))[0, 0, 0], -10, 10))
        path.append(held)
    return path


def test_momentum() -> None:
    mids = [100, 101, 103, 104, 104, 100, 99]  # moves over 2: - - 3 3 1 -4 -5
    assert positions(Momentum(window=2, threshold=2, size=4), mids) == [0, 0, 4, 4, 0, -4, -4]


def test_large_positions_are_built_in_orders_of_max_size() -> None:
    mids = [100, 110, 120, 130, 120]
    assert positions(Momentum(window=1, threshold=1, size=15), mids) == [0, 10, 15, 15, 5]


def test_mean_reversion() -> None:
    # Windows of 3: [0 0 6] mean 2, std sqrt(8): z = 1.41; [0 6 3] mean 3, std 2.45: z = 0; [6 3 -6]: mean 1, std 5.10: -1.37
    mids = [100, 100, 106, 103, 94]
    strategy = MeanReversion(window=3, entry=1.2, exit=0.5, size=4)
    assert positions(strategy, mids) == [0, 0, -4, 0, 4]
    # [3 -6 -4]: mean -2.33, std 3.86, z = -.43: closed within .5, kept with exit 0
    assert positions(strategy, [*mids, 96]) == [0, 0, -4, 0, 4, 0]
    assert positions(MeanReversion(window=3, entry=1.2, exit=0.0, size=4), [*mids, 96])[-1] == 4
    assert positions(strategy, [100.0] * 6) == [0] * 6  # nothing moves: no deviation


def test_rsi_is_wilders() -> None:
    mids = [10, 11, 10, 13, 13, 11]  # rises 1 0 3 | 0 0, falls 0 1 0 | 0 2
    strategy, index = Rsi(period=3), []
    for t, mid in enumerate(mids):
        view = Standing(CFG, "taker", [[mid - 1]], [[mid + 1]], t)
        if t == 0:
            strategy.start(view)
        index.append(float(strategy.index(view)[0, 0]))
    # Means of the first three: 4/3 and 1/3: 80. Then 8/9, 2/9: 80. Then 16/27, 4/27 + 2/3 = 22/27: 100 * 16 / 38.
    assert index == pytest.approx([50, 50, 50, 80, 80, 1600 / 38])


def test_rsi_positions() -> None:
    # The same path: short above 70 from the third move on, closed when the index falls through 50.
    assert positions(Rsi(period=3, size=4), [10, 11, 10, 13, 13, 11]) == [0, 0, 0, -4, -4, 0]
    assert positions(Rsi(period=2, size=4), [20, 19, 18, 18, 24]) == [0, 0, 4, 4, -4]
    assert positions(Rsi(period=2), [20.0] * 5) == [0] * 5
    # Falls of 1 and 1: 0, long. A rise of 1.2: U .6, D .5, index 54.5: beyond 50, closed.
    assert positions(Rsi(period=2, size=4), [20, 19, 18, 19.2]) == [0, 0, 4, 0]


def test_ma_crossover() -> None:
    # Means over 2 and 4: - - - | 101.5 100.75 | 100.5 100.5 | 98 99.75
    strategy = MaCrossover(fast=2, slow=4, band=0.5, size=4)
    assert positions(strategy, [100, 100, 101, 102, 99, 97]) == [0, 0, 0, 4, 0, -4]
    with pytest.raises(StrategyError, match="fast must be below slow = 5, got 5"):
        MaCrossover(fast=5, slow=5)


def test_fundamental() -> None:
    # Prices 99 / 101. Value 104: buys at 101. 100: the bid is 1 below it, kept; 99: sold at the bid. 96: sells. 101: bought back.
    values = [103.0, 104.0, 100.0, 99.0, 96.0, 100.0, 101.0, 101.0]
    strategy = Fundamental(entry=2.0, exit=0.0, size=4)
    assert positions(strategy, [100.0] * 8, fundamental=values) == [0, 4, 4, 0, -4, -4, 0, 0]


def test_they_need_a_free_hand() -> None:
    view = Standing(market(taker={}), "taker", [[999]], [[1001]])
    with pytest.raises(StrategyError, match=r"rsi: trades both ways, which needs agents.taker.target: 0"):
        Rsi().start(view)
    replayed = CFG.model_copy(update={"replay": CFG.replay.model_copy(update={"files": {"A0": "x"}})})
    with pytest.raises(StrategyError, match="fundamental: a replayed market has no fundamental value"):
        Fundamental().start(Standing(replayed, "taker", [[999]], [[1001]]))
