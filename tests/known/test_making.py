"""Makers: closed forms against the printed numbers, against differential equations and dynamic programming, and simulation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobgraph.known.avellaneda_stoikov import AvellanedaStoikovMarket
from lobgraph.known.cartea_jaimungal import MakingMarket
from lobgraph.known.market import mean_error, spread_error
from lobgraph.known.markets import make_known
from lobgraph.known.params import AvellanedaStoikovParams, MakingParams
from lobgraph.known.quoting import table_policy


def stoikov(**params) -> AvellanedaStoikovMarket:
    return AvellanedaStoikovMarket(AvellanedaStoikovParams(**params), 8)


def making(**params) -> MakingMarket:
    return MakingMarket(MakingParams(**params), 8)


def best_by_search(market, values=None):
    """Value of the best policy of the market's own steps: offsets improved one side at a time on a grid that narrows."""
    p, most = market.params, market.params.max_inventory
    held, g = np.arange(-most, most + 1.0), market.gamma
    value = np.zeros_like(held) if g else -market.alpha * held**2
    offsets = np.full((len(held), 2), 1.0 / p.k)

    def step(offsets):
        at, law, edge, squared = market._outcomes(offsets)
        if g:
            gain = 0.5 * (g * p.sigma * held[at]) ** 2 * p.dt - g * (edge + value[at])
            return -np.log(np.sum(law * np.exp(gain), axis=(1, 2))) / g
        return np.sum(law * (edge - market.phi * p.dt * squared + value[at]), axis=(1, 2))

    for _ in range(market.steps):
        for width in (0.5 / p.k, 0.05 / p.k, 0.005 / p.k):
            for side in (0, 1):
                tries = []
                for shift in np.linspace(-width, width, 9):
                    moved = offsets.copy()
                    moved[:, side] += shift
                    tries.append((step(moved), moved[:, side]))
                best = np.argmax([v for v, _ in tries], axis=0)
                offsets[:, side] = np.array([o for _, o in tries])[best, np.arange(len(held))]
        value = step(offsets)
    return float(value[most])


# --- printed numbers ---


def test_the_papers_strategies_at_its_own_steps():
    """Table 1 of Avellaneda and Stoikov (1,000 paths): profit, its deviation, that of the final inventory."""
    market = stoikov()
    assert market.params.dt == 0.005
    inventory, symmetric = (market.exact(market.policies()[name]) for name in ("inventory", "symmetric"))
    assert inventory[:3] == pytest.approx((65.0, 6.6, 2.9), abs=0.15)
    assert symmetric[:3] == pytest.approx((68.4, 12.7, 8.4), abs=0.8)
    one_fill = stoikov(fills="exact")
    assert one_fill.exact(one_fill.inventory_strategy())[:2] == pytest.approx((57.2, 6.4), abs=0.05)


def test_certainty_equivalents():
    """The optimum's in continuous time; Avellaneda and Stoikov's, in 1,000 steps and without steps."""
    market = stoikov(steps=1000)
    assert market.value() == pytest.approx(64.13, abs=0.005)
    assert market.exact_value(market.inventory_strategy()) == pytest.approx(61.58, abs=0.12)
    assert market.continuous_value(market.inventory_strategy()) == pytest.approx(61.4035, abs=1e-3)


def test_the_makers_value_and_depth():
    market = making()
    assert market.value() == pytest.approx(67.038, abs=5e-4)
    assert market.table(market.optimal())[0, market.params.max_inventory] == pytest.approx(
        [0.685] * 2, abs=5e-4
    )


# --- independent solutions, other parameters ---


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    gamma=st.floats(0.01, 1.0), k=st.floats(0.5, 5.0), A=st.floats(5.0, 200.0), sigma=st.floats(0.1, 3.0),
    T=st.floats(0.1, 2.0), Q=st.integers(1, 12),
)  # fmt: skip
def test_the_exponential_optimum_solves_its_backward_equation(gamma, k, A, sigma, T, Q):
    """The closed form's own offsets, evaluated by a differential equation that knows nothing of it, bring its value."""
    market = stoikov(
        gamma=gamma,
        k=k,
        A=A,
        sigma=sigma,
        T=T,
        max_inventory=Q,
        steps=2000,
        max_offset=20 / k + 30 * gamma * sigma**2,
    )
    exact = market.optimal()
    table = market.table(exact)

    def rule(step, nodes, edges):  # linear between the steps
        low = np.clip(np.floor(step).astype(int), 0, market.steps - 2)
        part = (step - low)[:, None]
        row = np.arange(len(step))
        return (1 - part) * table[low, row] + part * table[low + 1, row]

    smooth = type(exact)("smooth", "maker", market.steps, rule)
    assert market.continuous_value(smooth) == pytest.approx(market.value(), rel=1e-3, abs=1e-3 / k)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    phi=st.floats(0.0, 1.0), alpha=st.floats(0.0, 1.0), k=st.floats(0.5, 5.0), A=st.floats(1.0, 200.0),
    T=st.floats(0.1, 3.0), Q=st.integers(1, 20),
)  # fmt: skip
def test_the_quadratic_optimum_solves_its_differential_equation(phi, alpha, k, A, T, Q):
    market = making(phi=phi, alpha=alpha, k=k, A=A, T=T, max_inventory=Q)
    assert market.integrated_value() == pytest.approx(market.value(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("market", [stoikov(max_inventory=4, T=0.2, steps=200, fills="exact", gamma=0.5),
                                    making(max_inventory=4, T=0.2, steps=100, phi=1.0, alpha=0.05)],
                         ids=["exponential", "quadratic"])  # fmt: skip
def test_dynamic_programming_finds_hardly_better_offsets(market):
    """The best policy of the steps themselves: between the closed form's policy and, with honest fills, its value."""
    best, closed = best_by_search(market), market.exact_value(market.optimal())
    assert closed <= best + 1e-9
    assert best == pytest.approx(closed, rel=2e-3)
    assert best < market.value()


@pytest.mark.parametrize(
    "params", [{}, {"phi": 1.0, "alpha": 1.0}, {"max_inventory": 3}, {"k": 0.3, "A": 20.0, "T": 4.0}]
)
def test_steps_cost_and_vanish(params):
    """With poisson fills the market of steps is worth less than the closed form, by less and less."""
    gaps = []
    for steps in (100, 200, 400):
        market = making(steps=steps, **params)
        gaps.append(1 - market.exact_value(market.optimal()) / market.value())
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.65 * gaps[1]
    assert gaps[1] < 0.015


# --- simulation ---


@pytest.mark.parametrize("market", [stoikov(steps=100), stoikov(steps=60, gamma=0.5, fills="exact", A=60.0, k=0.8),
                                    making(steps=50), making(steps=100, phi=1.0, fills="linear"),
                                    making(steps=50, max_inventory=2, phi=0.01)])  # fmt: skip
def test_simulation_meets_the_recursion(market):
    for policy in market.policies().values():
        results, exact = market.simulate(policy, 12_000, seed=5), market.exact(policy)
        found = [
            mean_error(results.profit),
            spread_error(results.profit),
            spread_error(results.inventory[:, 0]),
        ]
        if not market.gamma:
            found.append(mean_error(results.objective))
        for (x, error), want in zip(found, exact, strict=False):
            assert abs(x - want) < 4.5 * error, (policy.name, x, want, error)


@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_populations_measure_certainty_equivalents(gamma):
    market = stoikov(gamma=gamma, steps=400, T=0.4)
    for policy in (market.optimal(), market.inventory_strategy()):
        found, error = mean_error(market.population(policy, 8000, seed=1))
        assert found == pytest.approx(market.exact_value(policy), abs=4 * error + 0.05)
        assert error < 0.2
    plain, error = market.estimate(market.simulate(market.optimal(), 4000))
    if gamma == 0.1:
        assert abs(plain - market.exact_value(market.optimal())) < 4 * error


@pytest.mark.parametrize("name", ["avellaneda_stoikov", "cj_making"])
def test_other_policies_are_worse(name):
    """Scaled, skewed and noisy versions of the best offsets, exactly and (the worst of them) by paired simulation."""
    market = make_known(name, 8, steps=400)
    table, rng = market.table(market.optimal()), np.random.default_rng(0)
    best = market.exact_value(market.optimal())
    held = np.arange(-market.params.max_inventory, market.params.max_inventory + 1)
    skew = 0.05 * held[None, :, None] * np.array([1, -1])
    others = [1.15 * table, 0.85 * table, table + skew, table - skew, table + rng.normal(0, 0.2, table.shape)]
    values = [market.exact_value(table_policy("other", x)) for x in others]
    assert max(values) < best - 0.05
    worst = others[int(np.argmin(values))]
    a, b = (market.simulate(p, 3000, seed=1) for p in (market.optimal(), table_policy("worst", worst)))
    gain, error = mean_error(a.objective - b.objective)
    assert gain > 4 * error


def test_a_full_inventory_is_not_added_to():
    market = making(max_inventory=1, steps=20)
    always = table_policy("eager", np.full((20, 3, 2), -1.0))
    results = market.simulate(always, 500)
    assert set(np.unique(results.inventory)) <= {-1.0, 0.0, 1.0}


def test_exploring_starts_are_even_and_leave_the_rest_alone():
    market = making(start_inventory=3, max_inventory=5)
    market = market.copy(70_000, 1)
    market.reset()
    values, counts = np.unique(market.inventory[:, 0], return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert np.abs(counts / 10_000 - 1.0).max() < 0.05
    assert (
        np.abs(making(start_inventory=9, max_inventory=5).copy(500, 1).reset()["maker"].nodes[..., 0]).max()
        == 5
    )
    assert market.value() == making(max_inventory=5).value()


def test_wealth_as_reward_adds_up_to_the_profit():
    utility, wealth = stoikov(steps=50), stoikov(steps=50, reward="wealth")
    a, b = (m.simulate(m.inventory_strategy(), 2000, 3) for m in (utility, wealth))
    np.testing.assert_array_equal(a.profit, b.profit)
    np.testing.assert_allclose(b.objective, b.profit, atol=1e-9)
    assert utility.estimate(a) == wealth.estimate(b)


class Remembering:
    """Quotes the same always, and remembers the inventory it saw, as a recurrent policy would."""

    def __init__(self) -> None:
        self.state, self.jumps = None, []

    def act(self, obs, deterministic):
        held = obs["maker"].nodes[:, 0, 0, 0]
        if self.state is not None:
            self.jumps.append(float((held - self.state[0, 0, :, 0]).abs().max()))
        self.state = held.clone().view(1, 1, -1, 1)
        return {"maker": torch.full((len(held), 1, 1, 2), 0.5)}


def test_what_a_policy_remembers_goes_with_the_environment_it_remembers() -> None:
    """Through resampling: between two decisions an inventory changes by one fill of each side at most."""
    market = AvellanedaStoikovMarket(AvellanedaStoikovParams(gamma=1.0, steps=200, reward="wealth"), 1, 0)
    policy = Remembering()
    market.population(policy, 800, seed=3)
    assert len(policy.jumps) > 150
    assert max(policy.jumps) <= 1.0
