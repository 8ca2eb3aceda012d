"""How often 95 % intervals contain the truth, on series and samples whose truth is known. Run it for the full table:

python tests/evaluation/covering.py --repetitions 2000
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from scipy import signal, stats

from lobgraph.evaluation.blocks import block_interval
from lobgraph.evaluation.intervals import interval

DRIFT = 0.1  # mean over standard deviation of every series, so that the Sharpe ratio is not zero
BURN = 300  # steps before a series counts


def ar1(phi: float):
    """Series (repetitions, n) of an AR(1) with unit variance and mean DRIFT."""

    def make(rng: np.random.Generator, repetitions: int, n: int) -> np.ndarray:
        noise = rng.standard_normal((repetitions, n + BURN)) * (1 - phi**2) ** 0.5
        return DRIFT + signal.lfilter([1.0], [1.0, -phi], noise, axis=1)[:, BURN:]

    return make


def garch(rng: np.random.Generator, repetitions: int, n: int) -> np.ndarray:
    """GARCH(1, 1) with alpha .1, beta .85: unit variance, mean DRIFT, calm and wild times."""
    x, variance = np.empty((repetitions, n + BURN)), np.ones(repetitions)
    for t in range(n + BURN):
        x[:, t] = variance**0.5 * rng.standard_normal(repetitions)
        variance = 0.05 + 0.1 * x[:, t] ** 2 + 0.85 * variance
    return DRIFT + x[:, BURN:]


def heavy(rng: np.random.Generator, repetitions: int, n: int) -> np.ndarray:
    """AR(1) with phi .5 driven by Student's t with 5 degrees of freedom: unit variance, mean DRIFT."""
    noise = stats.t(5).rvs((repetitions, n + BURN), random_state=rng) * (0.6 * 0.75) ** 0.5
    return DRIFT + signal.lfilter([1.0], [1.0, -0.5], noise, axis=1)[:, BURN:]


SERIES = {
    "AR(1) .0": ar1(0.0), "AR(1) .5": ar1(0.5), "AR(1) .8": ar1(0.8), "AR(1) -.5": ar1(-0.5), "GARCH(.1, .85)": garch,
    "AR(1) .5, t5": heavy,
}  # fmt: skip


def covered(
    name: str, method: str, statistic: str, repetitions: int, n: int = 1000, seed: int = 0
) -> np.ndarray:
    """(repetitions,) bool: whether the 95 % interval of a series of SERIES contains the truth.

    `method`: of block_interval, or "independent": Student's, as if the steps were. Every series has mean DRIFT and standard deviation 1, so that DRIFT is its mean and its Sharpe ratio.
    """
    series = SERIES[name](np.random.default_rng(seed), repetitions, n)
    if method == "independent":
        found = [interval(x, method="t") for x in series]
    else:
        found = [block_interval(x, statistic, method=method, seed=i) for i, x in enumerate(series)]  # type: ignore[arg-type]
    return np.array([i.low <= DRIFT <= i.high for i in found])


SAMPLES = {"normal": stats.norm(), "exponential": stats.expon(), "lognormal": stats.lognorm(1.0)}


def covered_sample(name: str, method: str, repetitions: int, n: int, seed: int = 0) -> np.ndarray:
    """(repetitions,) bool: whether the 95 % interval of n independent values contains their distribution's mean."""
    law = SAMPLES[name]
    samples = law.rvs((repetitions, n), random_state=np.random.default_rng(seed))
    found = [interval(x, method=method) for x in samples]  # type: ignore[arg-type]
    return np.array([i.low <= law.mean() <= i.high for i in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 200])
    args = parser.parse_args()
    for n in args.lengths:
        for statistic, name in itertools.product(("mean", "sharpe"), SERIES):
            methods = [
                "studentised",
                "percentile",
                "cosine",
                *(["independent"] if statistic == "mean" else []),
            ]
            row = [covered(name, m, statistic, args.repetitions, n).mean() for m in methods]
            print(f"{statistic} n={n} {name:16}", *(f"{100 * c:6.1f}" for c in row), flush=True)
    for n in (30, 100):
        for name in SAMPLES:
            row = [covered_sample(name, m, args.repetitions, n).mean() for m in ("bca", "percentile", "t")]
            print(f"sample n={n} {name:12}", *(f"{100 * c:6.1f}" for c in row), flush=True)


if __name__ == "__main__":
    main()
