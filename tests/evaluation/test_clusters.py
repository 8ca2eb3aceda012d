"""Means of numbers that hang together: the variance by hand and by statsmodels, special cases, how often intervals cover."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from lobgraph.evaluation.clusters import by_cluster, crossed, crossed_ratio, effective
from lobgraph.evaluation.intervals import intervals
from lobgraph.evaluation.statistics import compare_table, interval_table


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
    assert np.mean(hits) > 0.93
    assert np.isnan(crossed_ratio(y, -y).mean)


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((2, 1)), np.array([[1.0, np.nan]])])
def test_refuses_what_has_no_interval(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite values of shape"):
        crossed(x)


def stretches(rng: np.random.Generator, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Values around 1 with a deviation that a whole stretch shares, in stretches of 5 to 40; and their stretches."""
    cluster = np.repeat(np.arange(count), rng.integers(5, 41, count))
    return 1.0 + rng.standard_normal(count)[cluster] + rng.standard_normal(len(cluster)), cluster


def table_of(values: dict[str, np.ndarray], cluster: np.ndarray) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"episode": np.arange(len(x)), "cluster": cluster, "pnl": x, "actor": actor})
        for actor, x in values.items()
    ]
    return pd.concat(parts).assign(regime="as configured", role="maker", agent=0)


def test_clusters_variance_is_that_of_statsmodels() -> None:
    x, cluster = stretches(np.random.default_rng(3))
    fit = sm.OLS(x, np.ones(len(x))).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    z = by_cluster(x[:, None], cluster)[:, 0]
    assert z.mean() == pytest.approx(x.mean())
    n, c = len(x), len(z)  # statsmodels corrects by (n - 1) / (n - 1) c / (c - 1) for one parameter
    assert z.std(ddof=1) / c**0.5 == pytest.approx(float(fit.bse[0]) * ((n - 1) / (n - 1)) ** 0.5)


def test_clusters_of_one_are_the_values() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3))
    np.testing.assert_allclose(by_cluster(x, np.arange(20)[::-1])[::-1], x, atol=1e-12)
    y = np.random.default_rng(1).standard_normal((20, 3))
    cluster = np.arange(20) // 3
    np.testing.assert_allclose(
        by_cluster(x, cluster) - by_cluster(y, cluster), by_cluster(x - y, cluster), atol=1e-12
    )


def test_tables_count_a_cluster_as_one() -> None:
    rng = np.random.default_rng(4)
    (x, cluster), noise = stretches(rng), rng.standard_normal(500)
    y = x - 0.5 + noise[: len(x)]
    table = table_of({"base": y, "other": x}, cluster)
    own = interval_table(table).set_index("actor").loc["other"]
    z = by_cluster(x[:, None], cluster)[:, 0]
    sizes = np.bincount(cluster)
    freedom = sizes.sum() ** 2 / (sizes**2).sum() - 1
    assert 7 < freedom < 11
    half = stats.t.ppf(0.975, freedom) * z.std(ddof=1) / 12**0.5
    assert (own["n"], own["method"]) == (12, "t")
    assert (own["low"], own["high"]) == pytest.approx((x.mean() - half, x.mean() + half))
    alone = interval_table(table.drop(columns="cluster")).set_index("actor").loc["other"]
    assert own["high"] - own["low"] > 2 * (alone["high"] - alone["low"])
    difference = compare_table(table, "base").iloc[0]
    d = by_cluster((x - y)[:, None], cluster)[:, 0]
    half = stats.t.ppf(0.975, freedom) * d.std(ddof=1) / 12**0.5
    assert (difference["n"], difference["test"]) == (12, "t")
    assert difference["high"] == pytest.approx((x - y).mean() + half)
    assert difference["p"] == pytest.approx(
        2 * stats.t.sf(abs(d.mean()) / (d.std(ddof=1) / 12**0.5), freedom)
    )
    assert np.isnan(difference["p_wilcoxon"])
    pd.testing.assert_frame_equal(  # every episode its own cluster: as without the column
        interval_table(table.assign(cluster=table["episode"])), interval_table(table.drop(columns="cluster"))
    )


def test_clustered_intervals_cover() -> None:
    rng = np.random.default_rng(5)
    hits, naive = [], []
    for _ in range(1000):
        x, cluster = stretches(rng, 18)
        z = by_cluster(x[:, None], cluster)
        found = intervals(z, method="t", freedom=effective(cluster) - 1)
        hits.append(found["low"][0] <= 1.0 <= found["high"][0])
        naive.append(abs(x.mean() - 1) < 1.96 * x.std() / len(x) ** 0.5)
    assert np.mean(hits) > 0.92
    assert np.mean(naive) < 0.6


@pytest.mark.parametrize(
    ("sizes", "shared"), [([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 100], 1.0), ([200] + [1] * 19, 1.0)]
)
def test_a_few_large_clusters_are_few(sizes: list[int], shared: float) -> None:
    """However unequal they are, intervals are not too narrow."""
    rng, cluster, hits = np.random.default_rng(6), np.repeat(np.arange(len(sizes)), sizes), []
    for _ in range(500):
        x = shared * rng.standard_normal(len(sizes))[cluster] + rng.standard_normal(len(cluster))
        found = intervals(by_cluster(x[:, None], cluster), method="t", freedom=effective(cluster) - 1)
        hits.append(found["low"][0] <= 0.0 <= found["high"][0])
    assert np.mean(hits) > 0.88  # with 11 and 19 degrees of freedom .88 and .06
    assert effective(np.arange(7)) == pytest.approx(7.0)
