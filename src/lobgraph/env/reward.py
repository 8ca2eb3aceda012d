"""Rewards by role, term by term; every term is kept by name and the reward is their sum. Money in tick-lots.

maker: dMTM - fees - l_inv |inventory|^2 + l_liq presence;
taker: dMTM - paper - fees - l_inv |inventory|^2 - l_delay |remaining|;
arbitrageur: dMTM - fees - l_inv |inventory|^2 - l_unhedged |sum inventory|.
|inventory|^2 sums over books, remaining likewise; presence is the share of books with both quotes resting within
`presence_distance` of the mid. paper is what the step's move of the mid earned a portfolio that trades the target at mids
for nothing: all of it at the start (benchmark: arrival), so that dMTM - paper is the change of cash less what is left to
trade at the mid, and its sum over an episode minus the implementation shortfall (Perold 1988), the part left undone
charged at the last mid; or evenly in time (twap), which is the slippage against the mean mid and moves less with prices
that nobody can foresee. mtm: none.
"""

from __future__ import annotations

import numpy as np

from ..config import Section
from ..market.jit import inlined, kernel
from ..market.state import (
    ARRIVAL,
    ASK,
    BEFORE,
    BENCHMARK,
    BID,
    INVENTORY,
    INVENTORY_PENALTY,
    MAKER,
    MID_PREV,
    NOW,
    ORDER_PX,
    ORDER_REST,
    OWN_WEIGHT,
    PRESENCE,
    ROLE,
    STEP,
    TAKER,
    TWAP,
)

TERMS = {
    "maker": ("mtm", "fees", "inventory", "liquidity"),
    "taker": ("mtm", "fees", "inventory", "delay"),
    "arbitrageur": ("mtm", "fees", "inventory", "unhedged"),
}
MTM, FEES, PENALTY, OWN = 0, 1, 2, 3
# Name of the first term of a taker with a target, by benchmark.
AGAINST = {"mtm": "mtm", "arrival": "shortfall", "twap": "slippage"}


def reward_terms(role: str, section: Section) -> tuple[str, ...]:
    """Names of the terms of a role's reward, in their order. `section`: the role's settings."""
    first, *others = TERMS[role]
    if role == "taker" and getattr(section, "target", 0) > 0:
        first = AGAINST[getattr(section, "benchmark", "mtm")]
    return (first, *others)


@kernel()
def remaining_of(state, env, g, a):
    """Signed lots of the agent's target that are still to trade: target less what it has traded, int64."""
    target = state.target[env, g, a]
    left = target - state.account[env, a, g, INVENTORY]
    return max(left, 0) if target > 0 else (min(left, 0) if target < 0 else 0)


@inlined()
def _presence(p, state, env, g):
    books = state.head.shape[1]
    count = 0
    for a in range(books):
        mid = 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK])
        order = state.order[env, a]
        both = order[ORDER_REST, 2 * g] > 0 and order[ORDER_REST, 2 * g + 1] > 0
        far = max(mid - order[ORDER_PX, 2 * g], order[ORDER_PX, 2 * g + 1] - mid)
        if both and far <= p.agent_float[g, PRESENCE]:
            count += 1
    return count / books


@inlined()
def _paper(p, state, env, g):
    """What the step's moves of the mids earned the paper portfolio of agent g's benchmark, tick-lots."""
    share = 0.0
    if p.agent[g, BENCHMARK] == ARRIVAL:
        share = 1.0
    elif p.agent[g, BENCHMARK] == TWAP:
        share = state.clock[env, STEP] / p.episode_steps  # already counts the decision of this step
    earned = 0.0
    if share > 0.0:
        for a in range(state.head.shape[1]):
            mid = 0.5 * (state.head[env, a, BID] + state.head[env, a, ASK])
            earned += share * state.target[env, g, a] * (mid - state.feature[env, a, MID_PREV])
    return earned


@inlined()
def reward_env(p, state, terms, reward, env):
    """Fill `terms[env]` (G, 4) and `reward[env]` (G,), float32, from the change over the step just made.
    An agent whose episode had ended gets zeros.
    """
    for g in range(p.agent.shape[0]):
        squares = 0.0
        net = 0
        left = 0
        for a in range(state.head.shape[1]):
            inventory = state.account[env, a, g, INVENTORY]
            squares += np.float64(inventory) * inventory
            net += inventory
            left += abs(remaining_of(state, env, g, a))
        own = p.agent_float[g, OWN_WEIGHT]
        if p.agent[g, ROLE] == MAKER:
            own *= _presence(p, state, env, g)
        elif p.agent[g, ROLE] == TAKER:
            own *= -left
        else:
            own *= -abs(net)
        live = np.float64(state.active[env, g, BEFORE])
        gain = 0.5 * (state.equity[env, g, NOW] - state.equity[env, g, BEFORE])
        terms[env, g, MTM] = live * (gain - _paper(p, state, env, g))
        terms[env, g, FEES] = -live * (state.money[env, g, NOW] - state.money[env, g, BEFORE])
        terms[env, g, PENALTY] = -live * p.agent_float[g, INVENTORY_PENALTY] * squares
        terms[env, g, OWN] = live * own
        total = 0.0
        for i in range(4):
            total += terms[env, g, i]
        reward[env, g] = total
