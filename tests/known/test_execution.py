"""Sellers: closed forms against the printed numbers, against general minimisation, and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from lobgraph.known.almgren_chriss import AlmgrenChrissMarket
from lobgraph.known.cartea_jaimungal import ExecutionMarket
from lobgraph.known.market import mean_error, spread_error
from lobgraph.known.params import AlmgrenChrissParams, ExecutionParams


def seller(**params) -> ExecutionMarket:
    return ExecutionMarket(ExecutionParams(**params), 8)


def block(**params) -> AlmgrenChrissMarket:
    return AlmgrenChrissMarket(AlmgrenChrissParams(**params), 8)


# --- Cartea, Jaimungal ---


def test_the_sellers_printed_values():
    market = seller()
    assert market.value() == pytest.approx(-3.2229, abs=5e-5)
    assert market.twap_value() == pytest.approx(-4.3833, abs=5e-5)
    even = 1 - np.arange(market.steps + 1) / market.steps
    assert market.objective_of(even) == pytest.approx(market.twap_value(), rel=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    k=st.floats(0.001, 1.0), b=st.floats(0.0, 0.1), phi=st.floats(0.0, 5.0), alpha=st.floats(0.06, 20.0),
    T=st.floats(0.1, 5.0),
)  # fmt: skip
def test_the_sellers_value_solves_its_riccati_equation(k, b, phi, alpha, T):
    """dh/ds = -phi + (h + b / 2)^2 / k with s time to go, h = -alpha at the end; the path falls at -(h + b / 2) / k."""
    market = seller(k=k, b=b, phi=phi, alpha=alpha, T=T)
    solved = solve_ivp(
        lambda s, h: -phi + (h + b / 2) ** 2 / k, (0, T), [-alpha], "LSODA", rtol=1e-10, atol=1e-12
    )
    assert float(market.h(0.0)) == pytest.approx(solved.y[0, -1], rel=1e-6)
    assert float(market.h(T)) == pytest.approx(-alpha, rel=1e-12)
    t = np.linspace(0, T, 4001)
    rate = -np.gradient(np.log(market.path(t)), t)[1:-1]
    np.testing.assert_allclose(rate[::100], (-(market.h(t) + b / 2) / k)[1:-1][::100], rtol=1e-2)


def test_no_schedule_beats_the_seller():
    """A general minimiser over all schedules finds the closed form's, and in steps never more than its value."""
    market = seller(steps=20, phi=0.3)
    t = np.linspace(0, 1, 21)

    def loss(q):
        return -market.objective_of(np.append(1.0, q))

    found = minimize(loss, 1 - t[1:], method="BFGS", options={"gtol": 1e-9})
    assert -found.fun <= market.value() + 1e-9
    assert -found.fun == pytest.approx(market.objective_of(market.path(t)), rel=1e-3)
    np.testing.assert_allclose(np.append(1.0, found.x), market.path(t), atol=0.02)


@pytest.mark.parametrize(
    "params", [{}, {"phi": 0.0, "alpha": 0.2}, {"sigma": 1.0, "b": 0.1, "q0": 3.0, "T": 2.0}]
)
def test_simulated_sellers(params):
    market = seller(steps=60, **params)
    for policy, shares in (
        (market.optimal(), market.path),
        (market.twap(), lambda t: 1 - t / market.params.T),
    ):
        q = market.params.q0 * shares(np.linspace(0, market.params.T, 61))
        results = market.simulate(policy, 8000, seed=3)
        mean, error = market.estimate(results)
        assert abs(mean - market.objective_of(q / q[0])) < 4.5 * error
        std = market.params.sigma * np.sqrt(
            market.params.dt * np.sum(q[1:] ** 2 + q[1:] * q[:-1] + q[:-1] ** 2) / 3
        )
        found, error = spread_error(results.profit)
        assert abs(found - std) < 4.5 * error
        np.testing.assert_allclose(results.inventory[:, 0], q[-1], atol=1e-5 * q[0])


def test_a_seller_cannot_sell_more_than_it_has():
    market = seller(steps=4)
    market.reset()
    for _ in range(3):
        market.step({"taker": np.full((8, 1, 1, 1), 1e9)})
    assert market.inventory.min() >= 0.0
    assert market.spec.low.tolist() == [0.0]


# --- Almgren, Chriss ---


def test_the_papers_example():
    market = block()
    mean, variance = market.cost(market.holdings())
    assert market.kappa() == pytest.approx(0.607, abs=5e-4)
    assert mean == pytest.approx(911_227, abs=0.5)
    assert np.sqrt(variance) == pytest.approx(603_431, abs=0.5)
    np.testing.assert_allclose(market.holdings(), [1e6, 541_956, 289_854, 147_897, 62_142, 0], atol=0.6)
    twap, _ = market.cost(market.holdings(0.0))
    assert twap == pytest.approx(
        0.5 * 2.5e-7 * 1e12 + 0.0625e6 + (2.5e-6 - 1.25e-7) * 1e12 / 5
    )  # equation 10


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    risk=st.floats(0.0, 2e-5), steps=st.integers(2, 30), T=st.floats(0.5, 10.0), sigma=st.floats(0.1, 2.0),
    eta=st.floats(2e-6, 2e-5),
)  # fmt: skip
def test_the_best_schedule_is_the_solution_of_linear_equations(risk, steps, T, sigma, eta):
    market = block(risk=risk, steps=steps, T=T, sigma=sigma, eta=eta)
    p = market.params
    n = steps - 1
    trade = 2 * (p.eta - 0.5 * p.gamma * p.tau) / p.tau
    matrix = np.diag(np.full(n, 2 * trade + 2 * risk * sigma**2 * p.tau)) - trade * (
        np.eye(n, k=1) + np.eye(n, k=-1)
    )
    right = np.zeros(n)
    right[0] = trade * p.X
    np.testing.assert_allclose(market.holdings()[1:-1], np.linalg.solve(matrix, right), atol=1e-6 * p.X)


def test_nothing_lies_below_the_frontier():
    market, rng = block(), np.random.default_rng(0)
    frontier = market.frontier(np.geomspace(1e-9, 1e-3, 400))
    assert (np.diff(frontier[:, 0]) > 0).all()
    assert (np.diff(frontier[:, 1]) < 0).all()
    for parts in rng.dirichlet(np.full(5, 0.7), 500):
        held = 1e6 * np.append(1.0, 1 - np.cumsum(parts))
        held[-1] = 0.0
        mean, variance = market.cost(held)
        same_risk = np.interp(variance, frontier[::-1, 1], frontier[::-1, 0])
        assert mean > same_risk * (1 - 1e-4)


@pytest.mark.parametrize("params", [{}, {"steps": 20, "T": 2.0, "risk": 3e-6}, {"X": 500.0, "risk": 0.0}])
def test_simulated_blocks(params):
    market = block(**params)
    schedules = {"optimal": market.holdings(), "twap": market.holdings(0.0)}
    for name, held in schedules.items():
        results = market.simulate(market.policies()[name], 20_000, seed=1)
        mean, variance = market.cost(held)
        for (x, error), want in (
            (mean_error(-results.profit), mean),
            (spread_error(results.profit), np.sqrt(variance)),
        ):
            assert abs(x - want) < 4.5 * error
        objective, error = market.estimate(results)
        assert abs(objective + mean + market.params.risk * variance) < 4.5 * error
    assert (results.inventory == 0).all()


def test_reacting_to_the_price_does_not_help():
    """Selling faster after the price has risen (or fallen) is not better on the same noise."""
    market = block()
    best = market.optimal()
    for sign in (1, -1):

        def rule(step, nodes, edges, sign=sign):
            return best.rule(step, nodes, edges) * (1 + 0.3 * sign * np.tanh(nodes[:, 0, 1]))[:, None]

        other = type(best)("reacts", "taker", market.steps, rule)
        a, b = (market.simulate(p, 50_000, seed=2).objective for p in (best, other))
        gain, error = mean_error(a - b)
        assert gain > -4 * error


def test_a_schedule_that_does_not_fit():
    with pytest.raises(ValueError, match="must go from X = 1e\\+06 to 0, got 5 to 0"):
        block().cost(np.array([5.0, 0.0]))
