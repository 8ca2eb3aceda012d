"""Small markets that the adapters' tests share."""

import pytest

from lobgraph.config import make_config


def market(**sections):
    """Two venues and another book; two makers that may break a drawdown limit, a taker with a target, an arbitrageur."""
    tree = {
        "market": {"books": ["X1", "X2", "Y"], "underlying": ["X", "X", "Y"], "window": 256},
        "agents": {
            "maker": {"count": 2, "max_size": 6, "max_offset": 3.0, "risk": {"max_inventory": 20, "max_drawdown": 60.0}},
            "taker": {"count": 1, "target": 30, "max_size": 4},
            "arbitrageur": {"count": 1, "pairs": "all"},
        },
        "env": {"episode_steps": 25, "threads": 1},
        "flow": {"warmup": 5.0},
    }  # fmt: skip
    return make_config({**tree, **sections})


def lone_maker(**risk):
    """One maker in one book; episodes of 20 steps."""
    return make_config({
        "market": {"window": 256},
        "agents": {"maker": {"max_offset": 3.0, "risk": risk}},
        "env": {"episode_steps": 20, "threads": 1},
        "flow": {"warmup": 5.0},
    })  # fmt: skip


@pytest.fixture
def many():
    return market()


@pytest.fixture
def one():
    return lone_maker()


@pytest.fixture
def fragile():
    """One maker that often breaks its drawdown limit."""
    return lone_maker(max_drawdown=15.0)


@pytest.fixture
def fragile_among_others():
    """A fragile maker beside a taker, which goes on when the maker has ended."""
    return make_config({
        "market": {"window": 256},
        "agents": {
            "maker": {"count": 1, "max_offset": 3.0, "risk": {"max_drawdown": 15.0}},
            "taker": {"count": 1, "target": 30, "actor": "twap"},
        },
        "env": {"episode_steps": 20, "threads": 1},
        "flow": {"warmup": 5.0},
    })  # fmt: skip
