"""Start the next episode of some environments of a batch, whenever their user says so.

`MarketEnv` resets an environment when all of it has ended. Users of one agent's seat reset when that agent has ended, and
may do so in the middle of an episode; so adapters keep `autoreset=False` and call this.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..env.market_env import MarketEnv
from ..env.observe import mark_mid, observe_env
from ..market.state import EPISODE
from ..market.step import reset_env


@njit(nogil=True, cache=True)
def restart_range(world, which, first, last):
    """Next episode of those of environments first..last - 1 of a World that `which` (E,) bool marks; observe them."""
    p, f, tape, state, out = world.params, world.flow, world.tape, world.state, world.out
    for env in range(first, last):
        if which[env]:
            state.clock[env, EPISODE] += 1
            out.running[env] = 0.0
            out.done[env] = False
            out.flag[env] = False
            reset_env(p, f, tape, state, env)
            observe_env(p, state, out.nodes, out.edges, out.vector, env)
            mark_mid(state, env)


def restart(market: MarketEnv, which: np.ndarray) -> None:
    """Start the next episode of the environments that `which` (E,) bool marks; the market's buffers show its first observation."""
    market._run(restart_range, which)
