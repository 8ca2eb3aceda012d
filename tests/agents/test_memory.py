"""Windows and exponential averages against plain lists and pandas, each environment forgetting at its own time."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from lobgraph.agents.memory import Exponential, Window, steps


def test_steps() -> None:
    assert [steps(10.0, 1.0), steps(0.1, 1.0), steps(10.0, 4.0)] == [10, 1, 2]


@given(length=st.integers(1, 6), pushes=st.integers(1, 20), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_windows_are_lists(length: int, pushes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    window, lists = Window(length), [[], [], []]
    for i in range(pushes):
        values, fresh = rng.normal(size=(3, 2)), rng.random(3) < (1.0 if i == 0 else 0.15)
        window.push(values, fresh)
        for e in range(3):
            lists[e] = [*([] if fresh[e] else lists[e]), values[e]][-length:]
            kept = np.array(lists[e])
            assert window.count[e] == len(kept)
            assert window.full[e] == (len(kept) == length)
            np.testing.assert_array_equal(window.oldest[e], kept[0])
            np.testing.assert_allclose(window.mean()[e], kept.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(window.std()[e], kept.std(axis=0), atol=1e-12)


@given(half_life=st.floats(0.5, 50), pushes=st.integers(1, 20), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_exponential_is_that_of_pandas(half_life: float, pushes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    average, lists = Exponential.half_life(half_life, dt=2.0), [[], []]
    for i in range(pushes):
        values, fresh = rng.normal(5.0, 1.0, size=2), rng.random(2) < (1.0 if i == 0 else 0.15)
        average.push(values, fresh)
        for e in range(2):
            lists[e] = [*([] if fresh[e] else lists[e]), values[e]]
            weighted = pd.Series(lists[e]).ewm(halflife=half_life / 2.0)
            np.testing.assert_allclose(average.mean[e], weighted.mean().iloc[-1], rtol=1e-9)
            np.testing.assert_allclose(average.variance[e], weighted.var(bias=True).iloc[-1], atol=1e-9)
