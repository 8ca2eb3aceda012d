"""Maximum likelihood of the Hawkes flow on simulated processes whose parameters are known."""

import numpy as np
import pytest

from lobgraph.config import HawkesConfig
from lobgraph.data.events import Events
from lobgraph.data.hawkes import HawkesFit, fit_hawkes
from oracle.hawkes import simulate_hawkes

RATES = np.array([3.0, 1.0, 2.5])
DECAYS = (20.0, 1.0)


def shares():
    """Of each kind's orders, those brought by others."""
    s = np.zeros((2, 3, 2, 3))
    s[0, 0, 0] = [0.25, 0.0, 0.2]  # limit orders bring limit orders and cancels of their side, fast
    s[0, 2, 1, 0] = 0.1  # cancels bring limit orders of the other side
    s[1, 1, 0, 1] = 0.5  # market orders bring market orders of their side, slowly
    s[1, 1, 1] = [0.15, 0.1, 0.3]
    return s


def flow(seconds, seed=0, **more):
    time, kind, side = simulate_hawkes(RATES, shares(), DECAYS, seconds, seed, **more)
    zero = np.zeros(len(time), np.int64)
    return Events(time, kind, side, zero, zero, zero, seconds)


@pytest.fixture(scope="module")
def made():
    return flow(2500.0)


def test_recovers_known_parameters(made):
    fit = fit_hawkes(made, decays=DECAYS)
    assert fit.decays == DECAYS
    assert fit.shares == pytest.approx(shares(), abs=0.04)
    assert fit.base == pytest.approx(1.0 - shares().sum(axis=(0, 1, 2)), abs=0.05)
    assert fit.level == pytest.approx(np.ones(3), abs=0.03)
    assert (fit.gain > 0.03).all()
    assert fit.bound == ()


def test_rescaled_waits_tell_a_true_model_from_poisson(made):
    """Of a true model they are Exp(1) to chance (5 % point 1.36 / sqrt n) and independent; of Poisson they are not."""
    fit = fit_hawkes(made, decays=DECAYS)
    chance = 1.36 / np.sqrt(fit.counts)
    assert (fit.ks[:, 1] < 1.3 * chance).all()
    assert (fit.ks[:, 0] > 2.0 * chance).all()
    assert (np.abs(fit.memory[:, 1]) < 3.0 / np.sqrt(fit.counts)).all()


def test_decays_are_found_on_the_grid(made):
    fit = fit_hawkes(made, decays=(0.05, 0.3, 1.0, 4.0, 20.0, 100.0), count=2)
    assert fit.decays == DECAYS


def test_section_keeps_the_shares_for_other_rates(made):
    """Orders brought follow the rates of the tables; the branching ratio does not depend on them."""
    fit = fit_hawkes(made, decays=DECAYS)
    for rates in (RATES, np.array([3.0, 0.2, 2.9])):
        cfg = HawkesConfig(**fit.section(rates))
        brought = rates @ cfg.kernel().sum(axis=(0, 2)) / rates
        assert 1.0 - brought == pytest.approx(fit.base, abs=0.002)
        assert cfg.radius() == pytest.approx(fit.radius, abs=0.002)
    assert fit.radius < 1.0


def test_a_known_pattern_is_not_taken_for_excitation():
    """Rates that alternate every 20 s: fitted as excitation without their scale, and not with it."""

    def scale(t):
        return np.full((3, 2), 1.6 if t % 40.0 < 20.0 else 0.4)

    rng = np.random.default_rng(5)
    time = np.sort(rng.random(40_000)) * 2000.0
    time = time[rng.random(len(time)) < np.where(time % 40.0 < 20.0, 0.8, 0.2)]
    edges = (
        np.arange(1, 100) * 20.0
    )  # the scale holds from event to event, so that the changes are events too
    kind, side = rng.integers(0, 3, len(time)), rng.integers(0, 2, len(time))
    order = np.argsort(np.concatenate([time, edges + 1e-6]))
    kind, side = (np.concatenate([x, rng.integers(0, n, 99)])[order] for x, n in ((kind, 3), (side, 2)))
    time = np.concatenate([time, edges + 1e-6])[order]
    zero = np.zeros(len(time), np.int64)
    made = Events(time, kind, side, zero, zero, zero, 2000.0)
    known = np.stack([scale(t + 1e-9) for t in [0.0, *time]])
    blind, told = fit_hawkes(made, decays=(0.1,)), fit_hawkes(made, known, decays=(0.1,))
    assert blind.base.max() < 0.7
    assert told.base.min() > 0.9


def test_the_base_is_kept_above_its_bound():
    """A process that hardly has a base of its own is fitted with the least that HawkesConfig can use, and says so."""
    time = np.repeat(np.arange(40) * 50.0, 300) + np.tile(np.arange(300) * 1e-3, 40)
    rng = np.random.default_rng(2)
    n = len(time)
    zero = np.zeros(n, np.int64)
    made = Events(time, rng.integers(0, 3, n), rng.integers(0, 2, n), zero, zero, zero, 2000.0)
    fit = fit_hawkes(made, decays=(200.0,))
    assert set(fit.bound) == {"limit", "market", "cancel"}
    assert (fit.base >= 0.0195).all()
    HawkesConfig(**fit.section(np.array([2.0, 2.0, 2.0])))


def test_a_scenario_never_says_that_others_bring_more_than_all():
    """Tables whose rates were moved away from the counted events would otherwise be refused."""
    shares = np.zeros((1, 3, 2, 3))
    shares[0, :, 0, :] = 0.32  # .96 of each kind
    fit = HawkesFit(
        (1.0,),
        shares,
        np.full(3, 0.04),
        np.ones(3),
        np.full(3, 500),
        np.zeros(3),
        np.ones((3, 2)),
        np.zeros((3, 2)),
        (),
    )
    happen = np.array([2.0, 0.2, 1.8])
    for rates in (happen, happen * [1.3, 1.2, 1.0]):
        orders = np.array(fit.section(rates, 1.0, happen)["branching"])
        of_rates = (orders * rates[:, None] / rates).sum(axis=(0, 1))
        assert (of_rates <= 0.996).all()
        assert of_rates == pytest.approx(np.full(3, min(0.32 * (rates / happen).sum(), 0.995)), abs=0.002)
