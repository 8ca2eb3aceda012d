"""The strategies of the books in the markets whose answer is known: the same formulas, and what they earn there."""

import numpy as np
import pytest
from stand_ins import Standing, market

from lobgraph.agents.makers import AvellanedaStoikov, Glft
from lobgraph.agents.takers import holdings
from lobgraph.known import make_known
from lobgraph.known.quoting import table_policy

MAKING = {"gamma": 0.1, "sigma": 2.0, "k": 1.5, "A": 140.0}


def offsets(strategy, steps: int, most: int) -> np.ndarray:
    """(steps, 2 most + 1, 2) distances of bid and ask from the mid that a strategy wants, by step and inventory."""
    cfg = market(maker={}, steps=steps, dt=1.0 / steps)
    held = np.arange(-most, most + 1)
    table = np.empty((steps, len(held), 2))
    for t in range(steps):
        book = np.ones((len(held), 1))
        view = Standing(cfg, "maker", 998 * book, 1002 * book, t, inventory=held[:, None, None])
        strategy.start(view)
        strategy.act(view)
        bid, ask = view.asked
        table[t] = np.stack([1000 - bid[:, 0, 0], ask[:, 0, 0] - 1000], axis=-1)
    return table


def test_avellaneda_stoikov_quotes_as_in_its_own_market():
    known = make_known("avellaneda_stoikov", **MAKING)
    most = known.params.max_inventory
    strategy = AvellanedaStoikov(gamma=0.1, sigma=2.0, kappa=1.5, size=1)
    own, theirs = offsets(strategy, known.steps, most), known.table(known.inventory_strategy())
    np.testing.assert_allclose(np.clip(own, theirs.min(), theirs.max()), theirs, atol=1e-9)
    middle = slice(most - 5, most + 6)  # where nothing is cut
    np.testing.assert_allclose(own[:, middle], theirs[:, middle], atol=1e-9)


def test_glft_earns_nearly_the_optimum_in_its_own_market():
    """Its quotes are those far from the end, so that it loses a little towards it; Avellaneda-Stoikov's loses more."""
    known = make_known("avellaneda_stoikov", **MAKING, steps=1000)
    strategy = Glft(gamma=0.1, sigma=2.0, kappa=1.5, A=140.0, size=1)
    glft = known.exact_value(table_policy("glft", offsets(strategy, known.steps, known.params.max_inventory)))
    best, other = known.exact_value(known.optimal()), known.exact_value(known.inventory_strategy())
    assert other < glft < best
    assert glft > 0.99 * best


@pytest.mark.parametrize("risk", [0.0, 1e-7, 1e-6, 1e-5])
def test_almgren_chriss_lies_on_its_own_frontier(risk):
    known = make_known("almgren_chriss", risk=risk)
    p = known.params
    own = p.X * holdings(known.kappa(), p.tau, known.steps)
    assert known.cost(own) == pytest.approx(tuple(known.frontier(np.array([risk]))[0]), rel=1e-9)
