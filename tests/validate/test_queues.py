"""Exact laws of queues against the published numbers, closed forms and each other."""

import numpy as np
import pytest
from scipy.stats import nbinom, poisson

from lobgraph.validate import queues
from lobgraph.validate.cst import EXECUTED, UP


def test_the_published_probabilities():
    rates = 1.85, 0.94, 0.71
    assert np.abs(queues.move_up(*rates)[0, :5] - UP).max() < 0.0006
    assert np.abs(queues.executed_first(1, *rates)[0, :5] - EXECUTED).max() < 0.0006


def test_queues_that_only_shrink():
    """Without births and cancels each event is a coin toss: who has fewer tosses to win, negative binomial."""
    up = queues.move_up(0.0, 2.0, 0.0, most=12)
    done = queues.executed_first(12, 0.0, 2.0, 0.0, most=12)
    for bids in range(1, 6):
        for asks in range(1, 6):
            assert up[bids - 1, asks - 1] == pytest.approx(nbinom.cdf(bids - 1, asks, 0.5))
            assert done[bids - 1, asks - 1] == pytest.approx(nbinom.cdf(asks - 1, bids, 0.5))


def test_orders_inside_the_spread():
    """One order a side, none joining: four exponential clocks."""
    market, cancel, inside = 1.5, 0.5, 0.8
    args = 0.0, market, cancel, inside, 4
    assert queues.move_up(*args)[0, 0] == pytest.approx(0.5)
    total = 2 * (market + cancel + inside)
    assert queues.race_time(*args)[0, 0] == pytest.approx(1 / total)
    assert queues.executed_first(1, *args)[0, 0] == pytest.approx(
        market / (total - cancel)
    )  # its own is never cancelled


@pytest.mark.parametrize("rates", [(1.85, 0.94, 0.71, 0.0), (0.6, 1.2, 0.3, 0.4), (3.0, 2.0, 0.2, 0.1)])
def test_buyers_and_sellers_are_alike(rates):
    up = queues.move_up(*rates, most=40)
    np.testing.assert_allclose(up + up.T, 1.0, atol=1e-10)
    assert (np.diff(up[:20, :20], axis=0) > 0).all()
    assert (np.diff(up[:20, :20], axis=1) < 0).all()


def test_the_cut_off_is_far_enough():
    rates = 20.0, 10.0, 0.4
    most = queues.enough(*rates, longest=5)
    assert most > queues.MOST
    near, far = queues.move_up(*rates, most=most), queues.move_up(*rates, most=2 * most)
    assert np.abs(near[:5, :5] - far[:5, :5]).max() < 1e-9


def test_stationary_laws():
    law = queues.stationary(6.0, 0.0, 0.5)
    np.testing.assert_allclose(law, poisson.pmf(np.arange(len(law)), 12.0), atol=1e-13)
    law = queues.stationary(6.0, 2.0, 0.5)
    n = np.arange(1, len(law))
    np.testing.assert_allclose(6.0 * law[:-1], (2.0 + 0.5 * n) * law[1:], atol=1e-15)
    assert law.sum() == pytest.approx(1.0)
