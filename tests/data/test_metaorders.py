"""Hidden orders on simulated signs of known exponent, and the estimators of memory on series of known memory."""

import numpy as np
import pytest

from lobgraph.config import MetaorderConfig
from lobgraph.data.metaorders import aggregated_variance, autocorrelation, dfa, fit_metaorders, simulate_signs
from lobgraph.data.recording import DataError


def slow_signs(n, active, exponent, share, seed):
    """The model in plain Python: the oracle of `simulate_signs`."""
    rng = np.random.default_rng(seed)
    left, side, out = [0] * active, [0] * active, []
    for t in range(-50 * active, n):
        sign = int(rng.choice([-1, 1]))
        if rng.random() < share:
            i = int(rng.integers(active))
            if left[i] == 0:
                left[i] = int(min((1.0 - rng.random()) ** (-1.0 / exponent), 10_000))
                side[i] = int(rng.choice([-1, 1]))
            left[i] -= 1
            sign = side[i]
        if t >= 0:
            out.append(sign)
    return np.array(out)


def test_simulated_signs_agree_with_the_slow_model():
    fast = autocorrelation(simulate_signs(200_000, 4, 1.5, 0.8, seed=3).astype(float), 5)
    slow = autocorrelation(slow_signs(60_000, 4, 1.5, 0.8, seed=3).astype(float), 5)
    assert fast == pytest.approx(slow, abs=0.03)
    assert abs(simulate_signs(200_000, 4, 1.5, 0.0, seed=3).mean()) < 0.01


@pytest.mark.parametrize(("active", "exponent", "share"), [(4, 1.5, 1.0), (10, 1.3, 1.0), (10, 2.0, 1.0)])
def test_recovers_the_exponent(active, exponent, share):
    """40,000 signs: a bias of -.13 to +.04 and a deviation of .07 to .13 over samples."""
    found = [fit_metaorders(simulate_signs(40_000, active, exponent, share, seed=100 + s)) for s in range(4)]
    assert np.mean([f.exponent for f in found]) == pytest.approx(exponent, abs=0.2)
    for f in found:
        assert f.fitted[:6] == pytest.approx(f.measured[:6], abs=0.02, rel=0.12)
        assert MetaorderConfig(**f.section()).active == f.active


def test_no_memory_gives_no_share():
    signs = np.random.default_rng(1).choice([-1, 1], 20_000)
    fit = fit_metaorders(signs)
    assert np.abs(fit.fitted).max() < 0.02
    assert fit.hurst["DFA"] == pytest.approx(0.5, abs=0.04)
    with pytest.raises(DataError, match="at least 500"):
        fit_metaorders(signs[:100])


@pytest.mark.parametrize("hurst", [0.5, 0.7, 0.85])
def test_hurst_of_fractional_noise(hurst):
    """Fractional Gaussian noise by its covariance (Davies, Harte 1987)."""
    n = 1 << 14
    k = np.arange(n + 1, dtype=float)
    cov = 0.5 * ((k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + np.abs(k - 1) ** (2 * hurst))
    power = np.fft.fft(np.concatenate([cov, cov[-2:0:-1]])).real
    rng = np.random.default_rng(4)
    noise = rng.normal(size=len(power)) + 1j * rng.normal(size=len(power))
    x = np.fft.fft(np.sqrt(np.maximum(power, 0) / len(power)) * noise).real[:n]
    assert dfa(x) == pytest.approx(hurst, abs=0.04)
    assert aggregated_variance(x) == pytest.approx(hurst, abs=0.07)
