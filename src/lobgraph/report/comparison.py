"""Every figure of a comparison by file name, and the words that go under it.

In: the actors' names (the first is the baseline), their episodes, and the tables of measures. Out: matplotlib figures.
What the data cannot show (an execution without a target, quotes that nobody placed) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from . import forest, ladder, paths
from .crash import crash
from .panels import Played, plain, regimes_of, short_names
from .policy_map import decision_maps

CAPTIONS = {
    "differences": "Each measure's mean difference from the baseline, in the measure's own unit. Thick: the paired interval, "
    "from episode-by-episode differences under the same noise. Thin and grey: the interval that the same episodes give when "
    "the pairing is ignored. An interval that excludes zero is evidence of a difference.",
    "market_differences": "The effect on the market itself, as differences from the baseline. Thick: paired interval; thin "
    "and grey: unpaired. Where nothing was changed, the difference is exactly zero.",
    "equity": "Equity is marked to market after fees, and averaged over the role's agents. The bands are intervals of the "
    "mean, not the spread of episodes; bands of two actors that overlap may still differ when paired.",
    "equity_fans": "The same equity, as quantiles over episodes: what a single episode may look like.",
    "inventory": "Quantiles of the inventory at each moment, over episodes, agents and books.",
    "distribution": "How often so many lots are held, over all steps and episodes. The outermost bins hold what lies beyond.",
    "quotes": "One episode, the first, not chosen; all actors meet the same noise in it. Prices are ticks from the mid at "
    "each decision; a quote is drawn from the decision that placed it to the next. Full marks: fills of resting orders, at "
    "their price. Hollow marks: orders that took, at the opposite best price of the decision. A mark's area grows with the lots, "
    "up to ten.",
    "execution": "Share of the target still to trade, over episodes, agents and books with a target. The dashed line trades "
    "the same number of lots at every step.",
    "market": "Means over episodes, books averaged first, with their intervals. These are levels, not differences: intervals "
    "that overlap may hide a difference that pairing shows.",
    "crash": "In each episode, the moment and the book are those of the deepest fall below a running peak where the baseline "
    "acts; every actor is shown at that same moment. The moment is chosen for being the baseline's lowest, so its own mid "
    "must rise afterwards; compare the actors with each other, not with zero.",
    "decisions": "Means of decisions that were made, sorted by where the agent stood when it made them; cells with fewer than "
    "five decisions are grey. Quotes are those that stood after the decision, in whole ticks. What differs between cells may "
    "come from anything that goes with inventory or imbalance, not from them alone.",
    "policy": "The policy's mean action when it is told these inventories, imbalances and times: in observations that it met "
    "in a short run, these features are overwritten in the first book (with the sizes at the best prices, which follow from "
    "the imbalance), everything else is left as it was, and the action is averaged. Combinations that it never met are "
    "extrapolated.",
}  # fmt: skip


def caption(name: str) -> str:
    """The words under a figure, from its file name: `quotes-stress` has those of `quotes`."""
    return CAPTIONS.get(name.partition("-")[0], "")


def comparison_figures(
    names: Sequence[str],
    series: Played,
    role: str,
    intervals: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
) -> dict[str, Figure]:
    """The figures of a comparison by file name, in the order in which they are read.

    names: actors, the baseline first. series: (actor, regime) -> episodes, which may lack some. role: the one that is
    compared; one that the market does not have leaves out the figures of agents. intervals (for the
    market's rows), differences: tables as in `html.write_report`. Raises ValueError for episodes of an actor that is not in `names`.
    """
    if unknown := sorted({actor for actor, _ in series} - set(names)):
        raise ValueError(f"series: {unknown[0]!r} is not among the names {list(names)}")
    made: dict[str, Figure | None] = {}
    names, series, intervals, differences = _plain(names, series, intervals, differences)
    if differences is not None and len(differences):
        for what, of in (("differences", role), ("market_differences", "market")):
            found = [(r, forest.differences(names, differences, of, r)) for r in _order(differences)]
            made |= _by_regime(what, found)
    if series and all(role in s.specs for s in series.values()):
        made |= _agents(names, series, role)
    if intervals is not None and len(intervals):
        made |= _by_regime("market", [(r, forest.market(names, intervals, r)) for r in _order(intervals)])
    if series:
        made["crash"] = crash(names, series)
    return {name: fig for name, fig in made.items() if fig is not None}


def _agents(names: Sequence[str], series: Played, role: str) -> dict[str, Figure | None]:
    """The figures of what the role's agents did."""
    made: dict[str, Figure | None] = {
        "equity": paths.equity(names, series, role),
        "equity_fans": paths.equity_fans(names, series, role),
        "execution": paths.execution(names, series, role) if role == "taker" else None,
        "inventory": paths.inventory_fans(names, series, role),
        "distribution": paths.inventory_distribution(names, series, role),
    }
    made |= _by_regime("quotes", [(r, ladder.ladder(names, series, role, r)) for r in regimes_of(series)])
    made["decisions"] = decision_maps(names, series, role)
    return made


def _plain(
    names: Sequence[str], series: Played, *tables: pd.DataFrame | None
) -> tuple[list[str], Played, pd.DataFrame | None, pd.DataFrame | None]:
    """All of them with the actors' names as figures have them."""
    shown = {name: plain(short) for name, short in short_names(names).items()}
    renamed = {(shown[actor], regime): s for (actor, regime), s in series.items()}
    intervals, differences = (
        t if t is None else t.replace({"actor": shown, "baseline": shown}) for t in tables
    )
    return list(shown.values()), renamed, intervals, differences


def _order(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["regime"]))


def _by_regime(name: str, figures: Sequence[tuple[str, Figure | None]]) -> dict[str, Figure | None]:
    """File names: the first regime's figure has the plain one, the others say their regime."""
    return {f"{name}-{regime}" if i else name: fig for i, (regime, fig) in enumerate(figures)}
