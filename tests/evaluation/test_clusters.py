"""Means over crossed seeds and episodes: the variance by hand, special cases, and how often the interval covers."""

import numpy as np
import pytest
from scipy import stats

from lobgraph.evaluation.clusters import crossed, crossed_ratio


def draw(
    rng: np.random.Generator, seeds: int, episodes: int, of_seed: float, of_episode: float
) -> np.ndarray:
    """(S, E) around 1: seeds' and episodes' own deviations, and noise of standard deviation 1."""
    a, b = of_seed * rng.standard_normal((seeds, 1)), of_episode * rng.standard_normal(episodes)
    return 1.0 + a + b + rng.standard_normal((seeds, episodes))


def test_by_hand() -> None:
    x = np.array([[1.0, 2.0, 6.0], [3.0, 6.0, 6.0]])  # means 4; of seeds 3, 5; of episodes 2, 4, 6
    of_seeds, of_episodes = 2.0 / 2, 4.0 / 3
    rest = np.array([[0.0, -1.0, 1.0], [0.0, 1.0, -1.0]])
    of_rest = (rest**2).sum() / 2 / 6
    variance = of_seeds + of_episodes - of_rest
    freedom = variance**2 / (of_seeds**2 / 1 + of_episodes**2 / 2 + of_rest**2 / 2)
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    found = crossed(x)
    assert found[:3] == pytest.approx((4.0, 4.0 - half, 4.0 + half))
    assert (found.n, found.method) == (6, "seeds and episodes")


def test_one_seed_is_student_over_episodes() -> None:
    x = np.random.default_rng(0).standard_normal((1, 20))
    want = stats.ttest_1samp(x[0], 0.0).confidence_interval(0.95)
    assert crossed(x)[1:3] == pytest.approx((want.low, want.high))
    assert crossed(x).method == "episodes"


def test_equal_values_have_no_spread() -> None:
    assert crossed(np.full((3, 5), 2.0))[:3] == (2.0, 2.0, 2.0)
    assert crossed(np.full((1, 5), 2.0))[:3] == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("of_seed", "of_episode"), [(0.0, 0.0), (0.5, 0.0), (0.0, 2.0), (0.3, 0.5), (2.0, 1.0)]
)
def test_covers(of_seed: float, of_episode: float) -> None:
    """At least nominally often, whichever part dominates (3 seeds, 60 episodes, 1,000 draws: standard error .007)."""
    rng = np.random.default_rng(1)
    hits = [
        f.low <= 1.0 <= f.high for f in (crossed(draw(rng, 3, 60, of_seed, of_episode)) for _ in range(1000))
    ]
    assert np.mean(hits) > 0.93
    if (of_seed, of_episode) == (
        2.0,
        1.0,
    ):  # an interval over all values as if independent would be far too narrow
        flat = [draw(rng, 3, 60, 2.0, 1.0).ravel() for _ in range(200)]
        assert np.mean([abs(x.mean() - 1) < 1.96 * x.std() / x.size**0.5 for x in flat]) < 0.4


def test_ratio() -> None:
    rng = np.random.default_rng(2)
    y = 10.0 + rng.standard_normal((3, 400))
    exact = crossed_ratio(0.9 * y, y)
    assert exact[:3] == pytest.approx((0.9, 0.9, 0.9))
    hits = []
    for _ in range(300):
        x, y = 8.0 + draw(rng, 3, 100, 0.2, 1.0) - 1.0, 10.0 + rng.standard_normal((3, 100))
        found = crossed_ratio(x, y)
        hits.append(found.low <= 0.8 <= found.high)
    assert np.mean(hits) > 0.92
    assert np.isnan(crossed_ratio(y, -y).mean)


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((2, 1)), np.array([[1.0, np.nan]])])
def test_refuses_what_has_no_interval(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite values of shape"):
        crossed(x)
