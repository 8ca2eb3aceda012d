"""The pair: exact thresholds and profits against Bertram's limit, against dynamic programming on a grid, and simulation."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from lobgraph.known.market import mean_error
from lobgraph.known.pair import PairMarket
from lobgraph.known.params import PairParams

OTHERS = [
    {},
    {"theta": 4.0, "sigma": 0.3, "cost": 0.02, "T": 5.0, "steps": 200},
    {"cost": 0.6},
    {"T": 5.0, "steps": 20},
]


def pair(**params) -> PairMarket:
    return PairMarket(PairParams(**params), 8)


def on_a_grid(market, cells=801):
    """Backward induction over (step, gap cell, position -1, 0, 1): mean profit of an episode, thresholds at the start.

    Transition probabilities between cells are those of the autoregression; nothing is assumed of the best rule.
    """
    p = market.params
    edges = np.linspace(-6 * p.gap_std, 6 * p.gap_std, cells + 1)
    x = 0.5 * (edges[1:] + edges[:-1])
    step = ndtr((edges[None, :] - p.memory * x[:, None]) / p.step_std)
    step[:, 0], step[:, -1] = 0.0, 1.0
    move = np.diff(step, axis=1)
    positions = np.array([-1.0, 0.0, 1.0])
    drift = -(1 - p.memory) * x
    cost = p.cost * np.abs(positions[:, None] - positions[None, :])
    value = np.zeros((3, cells))  # by position held before the decision
    for _ in range(p.steps):
        after = positions[:, None] * drift + value @ move.T  # by position taken
        choices = after[None, :, :] - cost[:, :, None]
        value, taken = choices.max(axis=1), positions[choices.argmax(axis=1)]
    start = np.diff(ndtr(edges / p.gap_std))
    short_from = x[np.argmax(taken[2] == -1)]  # leaving a long position
    entered = x[np.argmax(taken[1] == -1)]
    return float(value[1] @ start), short_from, entered, float(edges[1] - edges[0])


@pytest.mark.parametrize("params", OTHERS)
def test_dynamic_programming_over_three_positions_finds_the_thresholds(params):
    market = pair(**params)
    value, reverses, enters, cell = on_a_grid(market)
    assert value == pytest.approx(market.value(), rel=2e-3)
    assert reverses == pytest.approx(market.schedule()[0], abs=1.5 * cell)
    assert enters == pytest.approx(market.schedule()[0], abs=1.5 * cell)


@pytest.mark.parametrize("params", OTHERS)
def test_the_long_runs_threshold_is_best(params):
    market = pair(**params)
    b = market.long_run()
    rates = [market.rate(b * m) for m in (0.9, 0.99, 1.0, 1.01, 1.1)]
    assert int(np.argmax(rates)) == 2
    assert market.schedule()[0] == pytest.approx(b, rel=1e-6) or market.params.cost == 0.6
    assert (np.diff(market.schedule()) > -1e-9).all()  # wider towards the end
    assert market.value() >= max(market.profit(b), market.profit(market.bertram()))


def test_rates_are_what_long_episodes_bring():
    short, long = pair(T=20.0, steps=400), pair(T=40.0, steps=800)
    assert (long.profit(0.3) - short.profit(0.3)) / 20.0 == pytest.approx(short.rate(0.3), rel=1e-6)


@pytest.mark.parametrize(("theta", "sigma", "cost"), [(1.0, 1.0, 0.1), (4.0, 0.3, 0.02), (0.2, 2.0, 1.0)])
def test_bertrams_threshold(theta, sigma, cost):
    market = pair(theta=theta, sigma=sigma, cost=cost)
    b, rate = market.bertram(), market.continuous_rate
    assert rate(b) > max(rate(0.99 * b), rate(1.01 * b))
    z = (
        b / market.params.gap_std
    )  # mean passage time by its double integral, with the scale and speed densities
    inner = lambda u: np.exp(u * u / 2) * np.sqrt(2 * np.pi) * ndtr(u)  # noqa: E731
    assert market.passage_time(b) == pytest.approx(quad(inner, -z, z)[0] / theta, rel=1e-9)


def test_steps_of_no_length():
    """Steps four times finer halve the threshold's gap to continuous time; near the top the rate's falls by four."""
    limit, thresholds, rates = pair().bertram(), [], []
    for steps in (2000, 8000, 32_000):
        market = pair(steps=steps)
        thresholds.append(limit - market.long_run())
        rates.append(market.rate(limit) - market.continuous_rate(limit))
    for gaps, falls in ((np.abs(thresholds), 0.5), (np.abs(rates), 0.25)):
        assert gaps[2] < 0.03 * limit
        np.testing.assert_allclose(gaps[1:] / gaps[:-1], falls, rtol=0.1)


@pytest.mark.parametrize("params", OTHERS)
def test_simulated_pairs(params):
    market = pair(**params)
    b = market.long_run()
    profits = {"optimal": market.value()} | {m: market.profit(m * b) for m in (0.5, 1.0, 2.0)}
    for name, want in profits.items():
        policy = market.optimal() if name == "optimal" else market.thresholds(name * b)
        mean, error = mean_error(market.simulate(policy, 2500, seed=4).profit)
        assert abs(mean - want) < 4.5 * error, name


def test_other_rules_are_worse():
    """Out at the middle, or trading at random now and then: less on the same noise."""
    market, rng = pair(), np.random.default_rng(0)
    best, b = market.optimal(), market.schedule()

    def to_the_middle(step, nodes, edges):
        out = best.rule(step, nodes, edges)
        gap, held = edges[:, 0, 0], edges[:, 0, 1]
        out[:, 1] = np.where((gap * held >= 0) & (np.abs(gap) < b[step]), 1.0, -1.0)
        return out

    def nervous(step, nodes, edges):
        out = best.rule(step, nodes, edges)
        out[:, 0] = np.where(rng.random(len(out)) < 0.02, -edges[:, 0, 1], out[:, 0])
        return out

    mine = market.simulate(best, 2500, seed=6).profit
    for rule in (to_the_middle, nervous):
        other = type(best)("other", "arbitrageur", market.steps, rule)
        gain, error = mean_error(mine - market.simulate(other, 2500, seed=6).profit)
        assert gain > 4 * error


def test_what_actions_do():
    """Long and short by direction, kept in between, none by close; cash and positions follow."""
    market = pair(steps=6, T=1.0)
    market.reset(1)
    held = []
    for direction, close in ((0.0, -1.0), (0.9, -1.0), (0.2, 0.0), (-0.8, -1.0), (-0.8, 1.0)):
        gap, before, position = market.gap.copy(), market.equity.copy(), market.inventory[:, 0].copy()
        market.step({"arbitrageur": np.tile([direction, close], (8, 1)).reshape(8, 1, 1, 2)})
        held.append(market.inventory[0].tolist())
        now = market.inventory[:, 0]
        earned = now * (market.gap - gap) - 0.1 * np.abs(now - position)
        np.testing.assert_allclose(market.equity - before, earned, atol=1e-12)
    assert held == [[0, 0], [1, -1], [1, -1], [-1, 1], [0, 0]]
    np.testing.assert_allclose(
        market.move[:, 0] - market.move[:, 1], market.gap - market_start(market), atol=1e-12
    )


def market_start(market):
    """The gaps at the start of the same episode."""
    again = market.copy(8, market.seed)
    again.reset()
    return again.gap
